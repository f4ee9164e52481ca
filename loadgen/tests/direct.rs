//! Terminals and softswitch on real loopback sockets, with nothing in between: the generator must be right first.

use portolan_loadgen::{Mix, Plan, run};
use portolan_shards::sim::Challenge;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

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
