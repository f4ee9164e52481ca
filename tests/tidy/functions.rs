//! How long functions are: from the line of `fn` to the closing brace.

use crate::source::{Source, is_word, words};

/// One function with a body.
struct Function<'a> {
    name: &'a str,
    at: usize,
    lines: usize,
}

/// Functions with more lines than this.
pub(crate) fn longer_than(source: &Source, most: usize) -> Vec<String> {
    let long = functions(source).into_iter().filter(|function| function.lines > most);
    long.map(|f| source.offence(f.at, &format!("fn {} has {} lines, at most {most}", f.name, f.lines)))
        .collect()
}

/// The median length of all functions but tests.
pub(crate) fn median(sources: &[Source]) -> usize {
    let code = |source: &Source| {
        let before_tests = source.tests_at();
        let functions = functions(source).into_iter().filter(move |function| function.at < before_tests);
        functions.map(|function| function.lines).collect::<Vec<_>>()
    };
    let mut lines: Vec<usize> = sources.iter().flat_map(code).collect();
    lines.sort_unstable();
    lines.get(lines.len() / 2).copied().unwrap_or(0)
}

fn functions(source: &Source) -> Vec<Function<'_>> {
    words(&source.code, "fn").filter_map(|at| function(&source.code, at)).collect()
}

/// The function whose `fn` is here, unless it is a type or has no body.
fn function(code: &str, at: usize) -> Option<Function<'_>> {
    let head = code[at + 2..].trim_start();
    let name = &head[..head.bytes().take_while(|&octet| is_word(octet)).count()];
    let rest = &code[at..];
    let open = signature(rest).filter(|_| !name.is_empty())?;
    let body = rest[open..].starts_with('{').then(|| braces(&rest[open..]))?;
    let lines = rest[..open + body].matches('\n').count() + 1;
    Some(Function { name, at, lines })
}

/// Where the signature ends: at a brace or a semicolon outside all brackets.
fn signature(code: &str) -> Option<usize> {
    let mut depth = 0;
    code.bytes().position(|octet| {
        match octet {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(octet, b'{' | b';')
    })
}

/// Length of what stands in the braces that open here.
fn braces(code: &str) -> usize {
    let mut depth = 0;
    for (at, octet) in code.bytes().enumerate() {
        match octet {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn a_function_is_measured_from_its_name_to_its_last_brace() {
    let text = "trait T { fn none(&self); }\nfn f(g: fn(u8)) -> [u8; 2]\n{\n    if x { \"}\" }\n}\n";
    let source = Source::new("x.rs".into(), text.into());
    let found: Vec<_> = functions(&source).iter().map(|f| (f.name.to_owned(), f.lines)).collect();
    assert_eq!(found, [("f".to_owned(), 4)]);
}
