//! Transactions hop by hop (RFC 3261 section 17, RFC 6026): what is repeated, absorbed and given up, and when.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::realm::{Mapping, Realm, Server, Softswitch};
use portolan_shards::types::{Flow, Side, Transport};
use std::sync::Arc;
use std::time::Duration;
use support::{CORE, NAT, SOFTSWITCH, Sent, World, addr, mapping};

const SECOND: &str = "10.0.0.21:5060";

fn request(method: &str, branch: &str, cseq: u32) -> String {
    format!(
        "{method} sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{branch};rport\n\
         Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\nCall-ID: call-1\n\
         CSeq: {cseq} {method}\nContact: <sip:alice@192.168.1.10:5060>\nContent-Length: 0\n\n"
    )
}

fn cancel(branch: &str) -> String {
    let cancel = request("CANCEL", branch, 1).replace("Contact: <sip:alice@192.168.1.10:5060>\n", "");
    cancel.replace("Content-Length", "Reason: SIP;cause=200;text=\"elsewhere\"\nContent-Length")
}

fn answer(request: &Sent, status: &str, tag: &str) -> String {
    request.answered(status, tag, "Contact: <sip:bob@10.0.0.20:5060>\nContent-Length: 0\n\n")
}

fn ack(branch: &str, tag: &str, uri: &str) -> String {
    let ack = request("ACK", branch, 1).replace("sip:bob@198.51.100.10 SIP", &format!("{uri} SIP"));
    ack.replace("To: <sip:bob@198.51.100.10>", &format!("To: <sip:bob@198.51.100.10>;tag={tag}"))
}

fn contact(sent: &Sent) -> String {
    sent.header("Contact").trim_start_matches('<').trim_end_matches('>').to_owned()
}

fn starts(sent: &[Sent]) -> Vec<String> {
    let first = |sent: &Sent| sent.text().lines().next().unwrap_or_default().to_owned();
    sent.iter().map(first).collect()
}

/// Everything of one shard, back to nothing.
fn nothing_left(world: &mut World) {
    world.pass(Duration::from_secs(400));
    let stats = world.shards[0].stats();
    assert_eq!((stats.sessions, stats.ports, stats.transactions, stats.dialogs), (0, 0, 0, 0));
}

fn home(sent: &Sent) -> String {
    sent.flow.local.to_string()
}

#[test]
fn an_invite_is_answered_100_at_once_and_its_repetitions_are_absorbed() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    assert_eq!(world.trying.len(), 1);
    assert_eq!(world.trying[0].flow.remote, addr(NAT));
    assert!(!world.trying[0].header("To").contains("tag="));
    assert!(world.terminal_sends(NAT, &request("INVITE", "i", 1)).is_empty());
    assert_eq!(world.trying.len(), 2, "a repetition is answered with what was answered last");
    let ringing = world.core_sends(&home(&up), &answer(&up, "180 Ringing", "b")).remove(0);
    let again = world.terminal_sends(NAT, &request("INVITE", "i", 1));
    assert_eq!((again.len(), &again[0].bytes), (1, &ringing.bytes));
}

#[test]
fn a_hundred_of_the_next_hop_goes_no_further() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let before = world.trying.len();
    assert!(world.core_sends(&home(&up), &answer(&up, "100 Trying", "b")).is_empty());
    assert_eq!(world.trying.len(), before);
    assert!(world.pass(Duration::from_secs(100)).is_empty(), "an INVITE that proceeds is not repeated");
}

#[test]
fn an_invite_is_repeated_at_doubled_intervals_and_ends_with_408() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let start = world.now;
    let mut at = Vec::new();
    for _ in 0..320 {
        let sent = world.pass(Duration::from_millis(100));
        assert!(sent.iter().all(|s| s.bytes == up.bytes || s.flow.remote == addr(NAT)));
        at.extend(sent.iter().filter(|s| s.bytes == up.bytes).map(|_| (world.now - start).as_millis()));
        if let Some(last) = sent.iter().find(|s| s.flow.remote == addr(NAT)) {
            assert!(last.text().starts_with("SIP/2.0 408 "), "{}", last.text());
        }
    }
    assert_eq!(at, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    nothing_left(&mut world);
}

#[test]
fn other_requests_are_repeated_ten_times_and_then_forgotten_in_silence() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("OPTIONS", "o", 1)).remove(0);
    assert!(world.trying.is_empty(), "100 is for INVITE only (RFC 4320)");
    let sent = world.pass(Duration::from_secs(60));
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|s| s.bytes == up.bytes), "no 408 for what is not an INVITE (RFC 4320)");
    nothing_left(&mut world);
}

#[test]
fn a_request_that_proceeds_is_repeated_every_four_seconds_only() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("OPTIONS", "o", 1)).remove(0);
    world.core_sends(&home(&up), &answer(&up, "182 Queued", "b"));
    assert_eq!(world.pass(Duration::from_millis(8_600)).len(), 3);
    let ok = world.core_sends(&home(&up), &answer(&up, "200 OK", "b"));
    assert!(ok[0].text().starts_with("SIP/2.0 200 "));
    assert!(world.pass(Duration::from_secs(60)).is_empty());
}

#[test]
fn an_error_is_acknowledged_by_the_hop_and_repeated_until_the_senders_ack() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let sent = world.core_sends(&home(&up), &answer(&up, "486 Busy Here", "b"));
    assert_eq!(starts(&sent), ["ACK sip:bob@example.net SIP/2.0", "SIP/2.0 486 Busy Here"]);
    assert_eq!(sent[0].header("Via"), up.header("Via"));
    assert_eq!(sent[0].header("To"), format!("{};tag=b", up.header("To")));
    let again = world.core_sends(&home(&up), &answer(&up, "486 Busy Here", "b"));
    assert_eq!(starts(&again), ["ACK sip:bob@example.net SIP/2.0"], "a repeated error is acknowledged again");
    assert_eq!(world.pass(Duration::from_millis(3_600)).len(), 3, "after 0.5, 1.5 and 3.5 s");
    let late = world.core_sends(&home(&up), &answer(&up, "200 OK", "c"));
    assert!(late.is_empty());
    assert!(world.terminal_sends(NAT, &ack("i", "b", "sip:bob@198.51.100.10")).is_empty());
    assert!(world.pass(Duration::from_secs(60)).is_empty());
    nothing_left(&mut world);
}

#[test]
fn an_error_whose_ack_never_comes_is_given_up() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    world.core_sends(&home(&up), &answer(&up, "486 Busy Here", "b"));
    assert_eq!(world.pass(Duration::from_secs(60)).len(), 10, "timer G until timer H");
    nothing_left(&mut world);
}

#[test]
fn a_cancel_is_answered_at_once_and_waits_for_a_sign_of_life() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let ok = world.terminal_sends(NAT, &cancel("i"));
    assert_eq!(
        (starts(&ok), ok[0].header("CSeq")),
        (vec!["SIP/2.0 200 OK".to_owned()], "1 CANCEL".to_owned())
    );
    let sent = world.core_sends(&home(&up), &answer(&up, "100 Trying", "b"));
    assert_eq!(starts(&sent), ["CANCEL sip:bob@example.net SIP/2.0"]);
    assert_eq!(sent[0].header("Via"), up.header("Via"));
    assert_eq!(sent[0].header("Reason"), "SIP;cause=200;text=\"elsewhere\"");
    assert_eq!(starts(&world.pass(Duration::from_millis(600))), ["CANCEL sip:bob@example.net SIP/2.0"]);
    assert!(world.core_sends(&home(&up), &answer(&sent[0], "200 OK", "b")).is_empty());
    assert!(world.pass(Duration::from_secs(5)).is_empty());
    let end = world.core_sends(&home(&up), &answer(&up, "487 Request Terminated", "b"));
    assert_eq!(starts(&end), ["ACK sip:bob@example.net SIP/2.0", "SIP/2.0 487 Request Terminated"]);
    nothing_left(&mut world);
}

#[test]
fn a_cancelled_invite_that_never_ends_is_ended_with_487() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    world.core_sends(&home(&up), &answer(&up, "180 Ringing", "b"));
    let sent = world.terminal_sends(NAT, &cancel("i"));
    assert_eq!(starts(&sent), ["SIP/2.0 200 OK", "CANCEL sip:bob@example.net SIP/2.0"]);
    world.core_sends(&home(&up), &answer(&sent[1], "200 OK", "b"));
    let end = world.pass(Duration::from_secs(33));
    assert!(end[0].text().starts_with("SIP/2.0 487 "), "{}", end[0].text());
    nothing_left(&mut world);
}

#[test]
fn a_call_that_rings_for_ever_is_cancelled_by_timer_c() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    world.core_sends(&home(&up), &answer(&up, "180 Ringing", "b"));
    world.pass(Duration::from_secs(150));
    world.core_sends(&home(&up), &answer(&up, "180 Ringing", "b"));
    assert!(world.pass(Duration::from_secs(150)).is_empty(), "each provisional answer sets it anew");
    let sent = world.pass(Duration::from_secs(51));
    assert_eq!(starts(&sent)[0], "CANCEL sip:bob@example.net SIP/2.0");
    let end = world.core_sends(&home(&up), &answer(&up, "487 Request Terminated", "b"));
    assert_eq!(starts(&end)[1], "SIP/2.0 487 Request Terminated");
    nothing_left(&mut world);
}

#[test]
fn a_cancel_for_nothing_is_answered_481() {
    let mut world = World::new(mapping(1));
    let sent = world.terminal_sends(NAT, &cancel("i"));
    assert_eq!(starts(&sent), ["SIP/2.0 481 Call/Transaction Does Not Exist"]);
}

#[test]
fn a_repeated_2xx_passes_and_so_does_its_ack() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let ok = world.core_sends(&home(&up), &answer(&up, "200 OK", "b")).remove(0);
    assert!(world.pass(Duration::from_secs(3)).is_empty(), "its sender repeats it, not we");
    let again = world.core_sends(&home(&up), &answer(&up, "200 OK", "b"));
    assert_eq!((again.len(), &again[0].bytes), (1, &ok.bytes));
    assert!(world.terminal_sends(NAT, &request("INVITE", "i", 1)).is_empty(), "RFC 6026 section 7.1");
    for n in 0..2 {
        let ack = world.terminal_sends(NAT, &ack(&format!("ack{n}"), "b", &contact(&ok)));
        assert_eq!(starts(&ack), ["ACK sip:bob@10.0.0.20:5060 SIP/2.0"]);
        assert_ne!(ack[0].header("Via"), up.header("Via"), "a branch of its own");
    }
}

#[test]
fn a_request_that_comes_again_by_another_way_is_a_loop() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let merged = world.terminal_sends(NAT, &request("INVITE", "other", 1));
    assert_eq!(starts(&merged), ["SIP/2.0 482 Loop Detected"]);
    let echo = world.core_sends(&home(&up), &up.text());
    assert_eq!(starts(&echo), ["SIP/2.0 482 Loop Detected"]);
    let next = world.terminal_sends(NAT, &request("INVITE", "next", 2));
    assert_eq!(starts(&next), ["INVITE sip:bob@example.net SIP/2.0"], "a new attempt is no loop");
}

/// The core realm with TCP too, and the softswitch by that transport.
fn tcp_core() -> Mapping {
    let mut mapping = mapping(1);
    let server = Server { transport: Transport::Tcp, ..Server::udp(addr(SOFTSWITCH)) };
    let softswitch = Softswitch { targets: vec![server], ..(*mapping.softswitches[0]).clone() };
    mapping.softswitches = vec![Arc::new(softswitch)];
    mapping
}

fn tcp_access() -> Mapping {
    let mut mapping = mapping(1);
    let access = mapping.realms.iter().find(|realm| realm.side == Side::Access).expect("it").clone();
    let sip = vec![(Transport::Udp, 5060), (Transport::Tcp, 5060)];
    mapping.realms[0] = Arc::new(Realm { sip, ..(*access).clone() });
    mapping
}

fn core_answers(world: &mut World, flow: Flow, text: &str) -> Vec<Sent> {
    world.deliver(0, flow, text)
}

#[test]
fn a_softswitch_by_tcp_and_a_phone_by_udp_lose_no_answer() {
    let mut world = World::new(tcp_core());
    let up = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    assert_eq!(world.dialled, [up.flow], "dialled before anything is sent");
    assert!(up.header("Via").starts_with("SIP/2.0/TCP 10.0.0.10:6000;"), "{}", up.text());
    assert!(up.header("Contact").contains(";transport=tcp;pl="), "{}", up.text());
    assert!(world.pass(Duration::from_secs(5)).is_empty(), "nothing is repeated where nothing is lost");
    let ok = answer(&up, "200 OK", "b").replace("10.0.0.20:5060>", "10.0.0.20:5060;transport=tcp>");
    let ok = core_answers(&mut world, up.flow, &ok).remove(0);
    let again = world.pass(Duration::from_millis(1_600));
    assert_eq!(again.iter().map(|s| &s.bytes).collect::<Vec<_>>(), [&ok.bytes, &ok.bytes]);
    let ack = world.terminal_sends(NAT, &ack("ack", "b", &contact(&ok)));
    let line = "ACK sip:bob@10.0.0.20:5060;transport=tcp SIP/2.0".to_owned();
    assert_eq!((starts(&ack), ack[0].flow), (vec![line], up.flow), "by the connection that is there");
    assert!(world.pass(Duration::from_secs(20)).is_empty());
}

#[test]
fn a_phone_by_tcp_and_a_softswitch_by_udp_lose_no_ack() {
    let mut world = World::new(tcp_access());
    let flow = world.connects(0, Transport::Tcp, NAT);
    let up = world.deliver(0, flow, &request("INVITE", "i", 1)).remove(0);
    let ok = world.core_sends(&home(&up), &answer(&up, "200 OK", "b")).remove(0);
    assert_eq!(ok.flow, flow);
    assert!(ok.header("Contact").contains(";transport=tcp"), "{}", ok.text());
    let ack = world.deliver(0, flow, &ack("ack", "b", &contact(&ok))).remove(0);
    let again = world.core_sends(&home(&up), &answer(&up, "200 OK", "b"));
    assert_eq!((again.len(), &again[0].bytes, again[0].flow), (1, &ack.bytes, ack.flow), "the ACK was lost");
}

#[test]
fn a_phone_whose_connection_is_gone_is_never_dialled_back() {
    let mut world = World::new(tcp_access());
    let flow = world.connects(0, Transport::Tcp, NAT);
    let up = world.deliver(0, flow, &request("INVITE", "i", 1)).remove(0);
    world.closes(flow);
    assert!(
        world.core_sends(&home(&up), &answer(&up, "486 Busy Here", "b")).iter().all(|s| s.flow.realm == CORE)
    );
    assert!(world.dialled.is_empty());
    assert!(world.shards[0].stats().dropped(DropReason::SendFailed) > 0);
    nothing_left(&mut world);
}

fn two_servers(transport: Transport) -> Mapping {
    let mut mapping = mapping(1);
    let server = |address: &str, priority| Server { transport, priority, ..Server::udp(addr(address)) };
    let targets = vec![server(SECOND, 2), server(SOFTSWITCH, 1)];
    mapping.softswitches = vec![Arc::new(Softswitch { targets, ..(*mapping.softswitches[0]).clone() })];
    mapping
}

#[test]
fn a_server_that_does_not_answer_loses_the_request_to_the_next() {
    let mut world = World::new(two_servers(Transport::Udp));
    let first = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    assert_eq!(first.flow.remote, addr(SOFTSWITCH), "the lower priority");
    let sent = world.pass(Duration::from_millis(4_100));
    let second = sent.iter().find(|s| s.flow.remote == addr(SECOND)).expect("another server").clone();
    assert_ne!(second.header("Via"), first.header("Via"));
    let ok = world.deliver(0, second.flow, &answer(&second, "200 OK", "b"));
    assert!(ok[0].text().starts_with("SIP/2.0 200 "));
    let late = world.core_sends(&home(&first), &answer(&first, "200 OK", "c"));
    assert!(late.is_empty(), "the first one's branch is over");
    let next = world.terminal_sends(NAT, &request("INVITE", "n", 2)).remove(0);
    assert_eq!(next.flow.remote, addr(SECOND), "the one that is down is not asked again at once");
    world.pass(Duration::from_secs(31));
    let next = world.terminal_sends(NAT, &request("INVITE", "m", 3)).remove(0);
    assert_eq!(next.flow.remote, addr(SOFTSWITCH), "but later");
    assert_eq!(world.shards[0].stats().failovers, 1);
}

#[test]
fn a_503_sends_the_request_to_the_next_and_its_retry_after_is_respected() {
    let mut world = World::new(two_servers(Transport::Udp));
    let first = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let busy = answer(&first, "503 Service Unavailable", "x").replace("Contact", "Retry-After: 60\nContact");
    let sent = world.core_sends(&home(&first), &busy);
    assert_eq!(starts(&sent), ["ACK sip:bob@example.net SIP/2.0", "INVITE sip:bob@example.net SIP/2.0"]);
    assert_eq!(sent[1].flow.remote, addr(SECOND));
    let busy =
        answer(&sent[1], "503 Service Unavailable", "y").replace("Contact", "Retry-After: 60\nContact");
    let end = world.deliver(0, sent[1].flow, &busy);
    assert_eq!(starts(&end)[1], "SIP/2.0 503 Service Unavailable", "nobody else is left");
    let refused = world.terminal_sends(NAT, &request("OPTIONS", "o", 2));
    assert_eq!(starts(&refused), ["SIP/2.0 503 Service Unavailable"], "all of them asked for a pause");
    assert!(!refused[0].header("Retry-After").is_empty());
    world.pass(Duration::from_secs(61));
    let next = world.terminal_sends(NAT, &request("OPTIONS", "p", 3)).remove(0);
    assert_eq!(next.flow.remote, addr(SOFTSWITCH));
}

#[test]
fn a_connection_that_breaks_sends_its_requests_to_the_next_server() {
    let mut world = World::new(two_servers(Transport::Tcp));
    let first = world.terminal_sends(NAT, &request("INVITE", "i", 1)).remove(0);
    let sent = world.closes(first.flow);
    assert_eq!((sent.len(), sent[0].flow.remote), (1, addr(SECOND)));
    let end = world.closes(sent[0].flow);
    assert_eq!(starts(&end), ["SIP/2.0 503 Service Unavailable"]);
    nothing_left(&mut world);
}

#[test]
fn a_cancelled_request_is_not_sent_to_another_server() {
    let mut world = World::new(two_servers(Transport::Udp));
    world.terminal_sends(NAT, &request("INVITE", "i", 1));
    world.terminal_sends(NAT, &cancel("i"));
    let sent = world.pass(Duration::from_secs(40));
    assert!(sent.iter().all(|s| s.flow.remote != addr(SECOND)));
    assert!(sent.iter().any(|s| s.text().starts_with("SIP/2.0 487 ")));
    nothing_left(&mut world);
}

#[test]
fn a_server_that_fails_its_probes_gets_no_calls_until_it_answers_again() {
    let mut mapping = two_servers(Transport::Udp);
    let probe = Some(Duration::from_secs(10));
    mapping.softswitches = vec![Arc::new(Softswitch { probe, ..(*mapping.softswitches[0]).clone() })];
    let mut world = World::new(mapping);
    let serve = |world: &mut World, time: u64, down: &str| {
        for _ in 0..time * 10 {
            for probe in world.pass(Duration::from_millis(100)) {
                assert!(probe.text().starts_with("OPTIONS sip:example.net SIP/2.0"), "{}", probe.text());
                if probe.flow.remote != addr(down) {
                    world.deliver(0, probe.flow, &answer(&probe, "200 OK", "p"));
                }
            }
        }
    };
    serve(&mut world, 30, SOFTSWITCH);
    let up = world.terminal_sends(NAT, &request("MESSAGE", "i", 1)).remove(0);
    assert_eq!(up.flow.remote, addr(SECOND));
    world.deliver(0, up.flow, &answer(&up, "200 OK", "b"));
    serve(&mut world, 20, "10.0.0.99:5060");
    let up = world.terminal_sends(NAT, &request("MESSAGE", "j", 2)).remove(0);
    assert_eq!(up.flow.remote, addr(SOFTSWITCH));
}

#[test]
fn all_messages_of_another_shards_connection_cross_once() {
    let mut mapping = tcp_access();
    mapping.shards = 4;
    let mut world = World::new(mapping);
    let flow = world.connects(2, Transport::Tcp, NAT);
    let owner = world.deliver(2, flow, &request("INVITE", "i", 1));
    let there = world.crossings;
    let home = owner[0].flow.local;
    let shard = usize::from(home.port() - 6000);
    let answer =
        Flow { realm: CORE, transport: Transport::Udp, local: home, remote: addr(SOFTSWITCH), stream: None };
    let back = world.deliver(shard, answer, &self::answer(&owner[0], "180 Ringing", "b"));
    assert_eq!(back[0].flow, flow);
    let crossed = usize::from(shard != 2);
    assert_eq!((there, world.crossings - there), (crossed * 2, crossed), "the INVITE, its 100, and the 180");
}
