//! What may not stay behind in a finished house.

use crate::source::{Source, exists, word};

/// Words of unfinished work, in two pieces so that this file is not its own offender.
const UNFINISHED: &[(&str, &str)] = &[
    ("TO", "DO"),
    ("FIX", "ME"),
    ("X", "XX"),
    ("HA", "CK"),
    ("place", "holder"),
    ("for ", "now"),
    ("st", "ub"),
];
/// Code of unfinished work.
const CODE: &[(&str, &str)] = &[("to", "do!"), ("unimple", "mented!"), ("db", "g!"), ("#[ig", "nore")];
/// Where somebody's machine shows through.
const MACHINES: &[(&str, &str)] =
    &[("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/"), ("/wo", "rk/"), ("/tmp/", "wt")];
/// Wire modules that have no message of their own: they are fuzzed through the ones that use them.
const PARTS: &[(&str, &str)] = &[("splice", "sip"), ("text", "sip"), ("tpkt", "h248")];

/// Everything unfinished or private in this file.
pub(crate) fn found(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (one, two) in UNFINISHED {
        let leftover = [*one, *two].concat();
        found.extend(word(&source.text, &leftover).map(|at| offence(source, at, &leftover)));
    }
    for (one, two) in MACHINES {
        let private = [*one, *two].concat();
        found.extend(source.text.find(&private).map(|at| offence(source, at, &private)));
    }
    for (one, two) in CODE.iter().filter(|_| source.path.ends_with(".rs")) {
        let leftover = [*one, *two].concat();
        found.extend(source.code.find(&leftover).map(|at| offence(source, at, &leftover)));
    }
    found
}

fn offence(source: &Source, at: usize, what: &str) -> String {
    let line = source.text.as_bytes()[..at].iter().filter(|&&octet| octet == b'\n').count() + 1;
    format!("{}:{line}: {what}", source.path)
}

/// Is there a fuzz target for this module of `wire`, with a corpus and a body that also runs on stable?
pub(crate) fn fuzzed(module: &str) -> bool {
    let target = PARTS.iter().find(|(part, _)| *part == module).map_or(module, |(_, whole)| whole);
    let parts =
        [format!("fuzz_targets/{target}.rs"), format!("bodies/{target}.rs"), format!("corpus/{target}")];
    parts.iter().all(|part| exists(&format!("fuzz/{part}")))
}

#[test]
fn a_leftover_is_seen_as_a_word_only() {
    let (one, two) = UNFINISHED[0];
    let text = format!("// {one}{two}\nlet mktemp = \"{}\";", "X".repeat(6));
    assert_eq!(found(&Source::new("x.rs".into(), text)).len(), 1);
}

#[test]
fn each_piece_of_unfinished_code_is_seen() {
    for (one, two) in CODE {
        let source = |path: &str| Source::new(path.into(), format!("fn f() {{ {one}{two} }}\n"));
        assert_eq!(found(&source("x.rs")).len(), 1, "{one}{two}");
        assert!(found(&source("x.md")).is_empty(), "{one}{two}");
    }
}
