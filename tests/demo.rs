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

fn last_json(text: &str) -> Value {
    serde_json::from_str(text.trim_end().lines().last().expect("a line")).expect("JSON")
}

#[test]
fn the_demonstration_is_good_over_tls_with_every_prompt_kind_of_call() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/prompt.ron");
    let network = ["--network", "127.111", "--shards", "2", "--seconds", "6", "--json"];
    let play = ["--calls", "92", "--registrations", "40", "--scenario", scenario];
    let transports = ["--transport", "tls"];
    let (good, text) = demo(&[&network[..], &play, &transports].concat());
    assert!(good, "{text}");
    let json = last_json(&text);
    assert_eq!(json["calls"]["kinds"]["forks"]["passed"], 5, "{text}");
    assert_eq!(json["calls"]["as_planned"], 12, "{text}");
    assert!(json["generator"]["connections"].as_u64() >= Some(40), "{text}");
}

#[test]
fn who_is_not_on_the_path_gets_nothing_gives_nothing_and_stops_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["bench", "attack", "--json", "--network", "127.113"])
        .output()
        .expect("bench");
    let text = String::from_utf8_lossy(&output.stdout);
    let json = &last_json(&text)["Portolan"];
    assert_eq!(json["cells"].as_object().map(serde_json::Map::len), Some(12), "{text}");
    let got = ["bled", "injected"].map(|name| json["off_path"][name].as_u64());
    assert_eq!(got, [Some(0); 2], "{text}");
    assert!(json["off_path"]["unheard"].as_u64() < Some(50), "nobody is locked out: {text}");
    assert!(json["rebound_ms"].is_u64(), "{text}");
}

#[test]
fn the_benchmark_of_registrations_misses_no_binding() {
    let options =
        "--terminals 40 --connections 20 --rate 100 --rest 4 --interval 1 --calls 4 --network 127.112";
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["bench", "registrations", "--json"])
        .args(options.split(' '))
        .output()
        .expect("bench");
    // Of forty terminals each has its share of what is there once: the goal of memory is for thousands.
    let text = String::from_utf8_lossy(&output.stdout);
    let json = last_json(&text);
    let counts = ["registered", "calls_answered", "missed_bindings", "bindings_lost", "connections_lost"];
    assert_eq!(counts.map(|name| json[name].as_u64()), [40, 4, 0, 0, 0].map(Some), "{text}");
    assert_eq!((&json["stages"][1]["bindings"], &json["stages"][2]["connections"]), (&20.into(), &20.into()));
    assert!(json["keepalives_per_slot"].as_f64() > Some(0.0), "{text}");
}
