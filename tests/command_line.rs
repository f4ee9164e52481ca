//! The `portolan` command's verbs and exit codes, with the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn portolan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portolan")).args(arguments).output().expect("it starts")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn file(directory: &Path, content: &str) -> String {
    let path: PathBuf = directory.join("portolan.ron");
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

const GOOD: &str = include_str!("../config/loopback.ron");

#[test]
fn check_ends_with_0_and_a_summary() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(directory.path(), GOOD);
    for arguments in [["check", "-f", &path], ["-c", "-f", &path]] {
        let output = portolan(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("access realm \"access\": 127.0.1.1, sip udp/5060"));
    }
}

#[test]
fn check_ends_with_1_and_the_place_of_each_mistake() {
    let directory = tempfile::tempdir().expect("a directory");
    let path =
        file(directory.path(), &GOOD.replace("127.0.1.1", "127.0.1").replace("127.0.3.1:5060", "127.0.3.1"));
    let output = portolan(&["check", "-f", &path]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains(&format!("--> {path}:5:")), "{errors}");
    assert!(errors.contains(&format!("--> {path}:9:")), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn check_of_a_missing_file_ends_with_1() {
    let output = portolan(&["check", "-f", "/nowhere/portolan.ron"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read /nowhere/portolan.ron"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&[][..], &["check"], &["-c"], &["fly"], &["check", "--loud"]] {
        assert_eq!(portolan(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn init_prints_what_check_accepts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(directory.path(), &text(&portolan(&["init"]).stdout));
    assert_eq!(portolan(&["check", "-f", &path]).status.code(), Some(0));
}

#[test]
fn version_names_the_package() {
    let expected = format!("portolan {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&portolan(&["--version"]).stdout), expected);
}
