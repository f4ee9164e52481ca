//! `portolan demo` with gateways and their controller, smaller.

use serde_json::Value;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Every packet is judged: two demonstrations at once on two cores are too late for some of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Run it: the text, and the JSON object that it ends with.
fn demo(network: &str, arguments: &str) -> (bool, String, Value) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let small = "--calls 24 --registrations 16 --seconds 5 --json";
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["demo", "--network", network])
        .args(small.split(' ').chain(arguments.split(' ')))
        .output()
        .expect("demo");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_str(text.trim_end().lines().last().unwrap_or_default()).unwrap_or_default();
    (output.status.success(), text, json)
}

/// All calls were answered and heard both ways, and nothing is left or was seen where it must not be.
#[track_caller]
fn assert_good((good, text, json): &(bool, String, Value)) {
    assert!(good, "{text}");
    let count = |pointer: &str| json.pointer(pointer).and_then(Value::as_u64).expect(pointer);
    assert_eq!((count("/registrations/ok"), count("/calls/answered")), (16, 24), "{text}");
    for zero in [
        "/calls/failed",
        "/calls/one_way",
        "/rtp/lost",
        "/rtp/misdelivered",
        "/leaks/private_seen_by_core",
        "/leaks/core_seen_by_terminals",
        "/relay/crossings/media",
        "/relay/sessions_left",
        "/relay/ports_left",
        "/unparseable",
        "/refused_requests",
    ] {
        assert_eq!(count(zero), 0, "{zero}\n{text}");
    }
    assert!(count("/rtp/received") > 24 * 2 * 60, "{text}");
}

#[test]
fn mgcp_gateways_behind_symmetric_nats_call_each_other_and_a_trunk() {
    let run = demo("127.114", "--proto mgcp --shards 2");
    assert_good(&run);
    for step in ["CRCX recvonly", "200 CRCX (SDP)", "MDCX sendrecv (SDP)", "DLCX"] {
        assert!(run.1.contains(step), "{step}\n{}", run.1);
    }
}

#[test]
fn mgcp_gateways_are_reached_behind_each_kind_of_nat_with_one_shard_or_eight() {
    for (network, nat, shards) in
        [("127.115", "full", 1), ("127.116", "restricted", 8), ("127.117", "port", 2)]
    {
        assert_good(&demo(network, &format!("--proto mgcp --nat {nat} --shards {shards}")));
    }
}

#[test]
fn mgcp_gateways_of_one_name_and_one_public_address_are_told_apart() {
    assert_good(&demo("127.118", "--proto mgcp --namesakes"));
}

#[test]
fn h248_gateways_behind_symmetric_nats_call_each_other_and_a_trunk_in_text_and_in_binary() {
    for (network, proto) in [("127.120", "h248-text"), ("127.121", "h248-binary")] {
        let run = demo(network, &format!("--proto {proto} --shards 2"));
        assert_good(&run);
        for step in ["Add recvonly", "200 Add (SDP)", "Modify sendrecv (SDP)", "Subtract"] {
            assert!(run.1.contains(step), "{proto} {step}\n{}", run.1);
        }
    }
}

#[test]
fn h248_goes_by_connections_on_either_side() {
    for (network, options) in [
        ("127.122", "h248-text --transport tcp --core-transport tcp"),
        ("127.123", "h248-binary --transport tcp --core-transport udp"),
        ("127.124", "h248-binary --transport udp --core-transport tcp"),
    ] {
        assert_good(&demo(network, &format!("--proto {options}")));
    }
}

#[test]
fn h248_gateways_are_reached_behind_each_kind_of_nat_with_one_shard_or_eight() {
    for (network, nat, shards) in
        [("127.125", "full", 1), ("127.126", "restricted", 8), ("127.127", "port", 2)]
    {
        assert_good(&demo(network, &format!("--proto h248-text --nat {nat} --shards {shards}")));
    }
}

#[test]
fn h248_gateways_of_one_name_and_one_public_address_are_told_apart() {
    assert_good(&demo("127.128", "--proto h248-binary --namesakes"));
}

#[test]
fn what_does_not_carry_mgcp_is_refused() {
    let (good, text, _) = demo("127.119", "--proto mgcp --transport tcp");
    assert!(!good && text.contains("TCP does not carry MGCP"), "{text}");
}
