//! `portolan demo` as a person runs it, smaller.

use serde_json::Value;
use std::process::Command;

fn demo(arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_portolan")).arg("demo").args(arguments).output().expect("demo");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn the_demonstration_is_good_and_says_so_in_json() {
    let small = [
        "--shards",
        "2",
        "--calls",
        "16",
        "--registrations",
        "16",
        "--seconds",
        "5",
        "--network",
        "127.110",
        "--json",
    ];
    let (good, text) = demo(&small);
    assert!(good, "{text}");
    let json: Value = serde_json::from_str(text.trim_end().lines().last().expect("a line")).expect("JSON");
    assert_eq!(json["calls"]["answered"], 16);
    assert_eq!(json["rtp"]["lost"], 0);
    assert_eq!(json["relay"]["crossings"]["media"], 0);
    assert_eq!(json["relay"]["sessions_left"], 0);
    assert!(text.contains("INVITE (SDP)"), "{text}");
}

#[test]
fn a_bad_network_is_an_error() {
    let (good, text) = demo(&["--network", "nowhere"]);
    assert!(!good && text.contains("nowhere"), "{text}");
}
