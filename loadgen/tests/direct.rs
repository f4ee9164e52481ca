//! Terminals and softswitch on real loopback sockets, with nothing in between: the generator must be right first.

use portolan_loadgen::tls::Tls;
use portolan_loadgen::{Mix, Plan, Progress, Report, Scenario};
use portolan_shards::sim::plan::Speech;
use portolan_shards::sim::{Challenge, Language};
use portolan_shards::types::Transport;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One generator at a time: two on two cores are late, and nonces cross.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn run(plan: &Plan, progress: impl FnMut(&Progress)) -> anyhow::Result<Report> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    portolan_loadgen::run(plan, progress)
}

fn plan(host: u8) -> Plan {
    let softswitch = SocketAddr::from(([127, 0, 60, host], 5060));
    Plan {
        access: softswitch,
        softswitch,
        nat_base: Ipv4Addr::new(127, 0, 60 + host, 1),
        registrations: 12,
        calls: 16,
        rate: 50.0,
        talk: Duration::from_millis(600),
        challenge: Challenge::Everything,
        ..Plan::direct()
    }
}

#[test]
fn every_direction_works_without_a_proxy() {
    let report = run(&plan(1), |_| {}).expect("run");
    let text = format!("{}\n{:#?}", report.table(), report.findings);
    assert!(report.is_good(), "{text}");
    assert_eq!(report.calls.directions.len(), 4);
    assert_eq!(report.rtp.sent, 16 * 2 * 30, "{text}");
    assert_eq!(report.rtp.before_latch, 0);
    assert!(report.rtp.rtcp_received > 0);
    assert!(report.ladder.contains("INVITE (SDP)") && report.ladder.contains("BYE"), "{}", report.ladder);
}

#[test]
fn a_call_to_a_number_that_does_not_exist_fails() {
    let plan =
        Plan { trunk_number: "nobody".into(), mix: Mix { weights: [1, 0, 0, 0] }, calls: 2, ..plan(2) };
    let report = run(&plan, |_| {}).expect("run");
    assert_eq!((report.calls.failed, report.calls.statuses.get(&404)), (2, Some(&2)));
    assert!(!report.is_good());
}

#[test]
fn progress_is_told_while_it_happens() {
    let mut looks = Vec::new();
    let plan = Plan { calls: 4, ..plan(3) };
    run(&plan, |progress| looks.push((progress.phase, progress.answered))).expect("run");
    assert!(looks.len() >= 3, "{looks:?}");
    assert_eq!(looks.last(), Some(&(portolan_loadgen::Phase::Over, 4)));
}

#[test]
fn connections_carry_signaling_as_datagrams_do() {
    let tcp = Plan { transport: Transport::Tcp, core_transport: Transport::Tcp, ..plan(4) };
    let report = run(&tcp, |_| {}).expect("run");
    assert!(report.is_good(), "{}\n{:#?}", report.table(), report.findings);
    assert_eq!((report.calls.answered, report.generator.connections_lost), (16, 0));
    assert!(report.ladder.contains("INVITE (SDP)"), "{}", report.ladder);
}

/// A certificate for `name`, and its key, in files of this directory.
fn certificate(directory: &Path, name: &str) -> Tls {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("certificate");
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    fs::write(&chain, made.cert.pem()).expect("write");
    fs::write(&key, made.signing_key.serialize_pem()).expect("write");
    Tls { ca: Some(chain.clone()), certificate: Some((chain, key)), ..Tls::default() }
}

#[test]
fn tls_trusts_whom_it_was_told_to_trust() {
    let directory = tempfile::tempdir().expect("directory");
    let tls = certificate(directory.path(), "127.0.60.5");
    let plan = Plan { transport: Transport::Tls, core_transport: Transport::Tls, tls, ..plan(5) };
    let report = run(&plan, |_| {}).expect("run");
    assert!(report.is_good(), "{}\n{:#?}", report.table(), report.findings);
    let stranger = Tls { name: Some("elsewhere.example".into()), ..plan.tls.clone() };
    let few = Plan { registrations: 2, calls: 0, patience: Duration::ZERO, ..plan };
    let report = run(&Plan { tls: stranger.clone(), ..few.clone() }, |_| {}).expect("run");
    assert_eq!(report.registrations.ok, 0, "the certificate is for another name");
    let anyone = Tls { ca: None, insecure: true, ..stranger };
    let report = run(&Plan { tls: anyone, ..few }, |_| {}).expect("run");
    assert_eq!(report.registrations.ok, 2);
}

#[test]
fn every_kind_of_call_is_what_it_must_be() {
    let scenario = Scenario::parse(include_str!("../../scenarios/prompt.ron"), "prompt.ron").expect("sound");
    let plan = Plan { scenario, calls: 92, registrations: 24, rate: 40.0, ..plan(6) };
    let report = run(&plan, |_| {}).expect("run");
    let text = format!("{}\n{:#?}", report.table(), report.findings);
    assert!(report.is_good(), "{text}");
    assert_eq!(report.calls.kinds.len(), 8, "{text}");
    assert_eq!(report.calls.kinds["call"].passed, 45 + 4, "a referral makes one more\n{text}");
    assert_eq!(report.calls.as_planned, 12, "{text}");
}

/// Gateways that speak so, and their controller at `host`.
fn gateways(language: Language, host: u8) -> Plan {
    let base = Plan::speaking(Speech::Gateways(language)).without_proxy();
    let softswitch = SocketAddr::from(([127, 0, 60, host], base.softswitch.port()));
    Plan { speech: base.speech, access: softswitch, softswitch, ..plan(host) }
}

#[test]
fn gateways_and_their_controller_work_without_a_proxy() {
    let all = [
        (Language::Mgcp, Transport::Udp, "CRCX recvonly"),
        (Language::H248Text, Transport::Udp, "Add recvonly"),
        (Language::H248Binary, Transport::Tcp, "Add recvonly"),
    ];
    for (host, (language, transport, step)) in (7..).zip(all) {
        let plan = Plan { transport, core_transport: transport, ..gateways(language, host) };
        let report = run(&plan, |_| {}).expect("run");
        let text = format!("{language:?}\n{}\n{:#?}", report.table(), report.findings);
        assert!(report.is_good(), "{text}");
        assert_eq!((report.calls.answered, report.calls.directions.len()), (16, 4), "{text}");
        assert_eq!(report.rtp.sent, 16 * 2 * 30, "{text}");
        assert!(report.ladder.contains(step), "{}", report.ladder);
    }
}

#[test]
fn kinds_of_calls_that_gateways_know_are_what_they_must_be() {
    let text = "(name: \"a\", mix: [(weight: 2), (weight: 1, kind: Hold, talk_ms: 2400), (weight: 1, kind: Cancel), (weight: 1, kind: Busy)])";
    let scenario = Scenario::parse(text, "x").expect("sound");
    let plan = Plan { scenario, calls: 40, ..gateways(Language::Mgcp, 10) };
    let report = run(&plan, |_| {}).expect("run");
    let text = format!("{}\n{:#?}", report.table(), report.findings);
    assert!(report.is_good(), "{text}");
    assert_eq!((report.calls.as_planned, report.calls.kinds["hold"].passed), (16, 8), "{text}");
    let strange = Scenario::parse("(name: \"b\", mix: [(weight: 1, kind: Refer)])", "x").expect("sound");
    let refused = run(&Plan { scenario: strange, ..plan }, |_| {}).expect_err("no gateway refers");
    assert!(refused.to_string().contains("refer"), "{refused}");
}
