//! The checklist stays true: every test that `docs/CHECKLIST.md` names exists.

use std::path::Path;

const PAGE: &str = include_str!("../docs/CHECKLIST.md");

/// The last cell of each row: what proves the line.
fn proofs() -> Vec<(&'static str, &'static str)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| line |"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[0], cells[cells.len() - 1])).collect()
}

/// Is there a test of this name in this file of the repository?
fn is_test(file: &str, name: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let source = std::fs::read_to_string(path).unwrap_or_default();
    let head = format!("fn {name}(");
    let at = source.match_indices(&head).find(|(at, _)| {
        let before = source[..*at].trim_end();
        let line = before
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.starts_with("//") && !line.starts_with("#[should"));
        line == Some("#[test]")
    });
    at.is_some()
}

#[test]
fn every_line_names_tests_that_exist() {
    let mut missing = Vec::new();
    for (line, proof) in proofs() {
        for test in proof.split(", ").filter(|item| !item.starts_with('—')) {
            let Some((file, name)) = test.split_once("::") else {
                missing.push(format!("{line}: {test} is not file::function"));
                continue;
            };
            if !is_test(file, name) {
                missing.push(format!("{line}: there is no test {name} in {file}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn lines_without_a_proof_are_counted() {
    let all = proofs();
    let whole: Vec<_> = all.iter().filter(|(_, proof)| *proof == "—").map(|(line, _)| *line).collect();
    let parts = all.iter().filter_map(|(line, proof)| Some((line, proof.split_once(", — ")?.1)));
    let parts: Vec<_> = parts.map(|(line, part)| format!("{line}: {part}")).collect();
    println!("{} of {} lines have no test:\n{}", whole.len(), all.len(), whole.join("\n"));
    println!("{} have none for a part:\n{}", parts.len(), parts.join("\n"));
    assert!(all.len() >= 40, "a table was not read: {} lines", all.len());
}

#[test]
fn a_test_that_is_not_there_is_seen() {
    assert!(is_test("tests/checklist.rs", "a_test_that_is_not_there_is_seen"));
    assert!(!is_test("tests/checklist.rs", "is_test"), "a function that is no test");
    assert!(!is_test("tests/checklist.rs", "nothing_of_this_name"));
    assert!(!is_test("tests/no_such_file.rs", "anything"));
}
