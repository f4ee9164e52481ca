//! `unsafe`: only in `src/io`, and every use says why it is sound.

use crate::source::{Source, words};

/// Uses of `unsafe` outside `src/io`, or without a reason.
pub(crate) fn unexplained(source: &Source) -> Vec<String> {
    let judge = |at| {
        (!source.path.starts_with("src/io/"))
            .then_some("unsafe outside src/io")
            .or_else(|| reason(source, at))
    };
    words(&source.code, "unsafe").filter_map(|at| judge(at).map(|why| source.offence(at, why))).collect()
}

/// What is missing at the `unsafe` here.
fn reason(source: &Source, at: usize) -> Option<&'static str> {
    let lines: Vec<&str> = source.text.lines().collect();
    let line = source.line(at) - 1;
    let (mark, missing) = match source.code[at..].split_whitespace().nth(1) {
        Some("fn" | "extern") => ("# Safety", "unsafe fn without a `# Safety` section"),
        _ => ("SAFETY:", "unsafe without a `SAFETY:` comment above"),
    };
    (!comment_above(&lines, line).any(|text| text.contains(mark))).then_some(missing)
}

/// The comments of the statement that this line belongs to: up to the end of the statement before.
fn comment_above<'a>(lines: &'a [&'a str], line: usize) -> impl Iterator<Item = &'a str> {
    let ends = |text: &str| text.is_empty() || text.ends_with([';', '{', '}']) && !text.starts_with("//");
    lines[..line].iter().rev().map(|text| text.trim()).take_while(move |text| !ends(text))
}

#[test]
fn a_reason_belongs_to_one_statement() {
    let text = "fn f() {\n    // SAFETY: good.\n    let a =\n        unsafe { g() };\n    let b = unsafe { g() };\n}\n";
    let found = unexplained(&Source::new("src/io/x.rs".into(), text.into()));
    assert_eq!(found, ["src/io/x.rs:5: unsafe without a `SAFETY:` comment above"]);
}
