//! Overload control toward softswitches (RFC 7339, RFC 7415).

#[path = "support/messages.rs"]
mod messages;
mod support;

use messages::{OFFER, access, answer, drops, invite, passed, response};
use portolan_shards::io::DropReason;
use portolan_shards::realm::{Mapping, Server, Softswitch};
use portolan_shards::types::Flow;
use std::sync::Arc;
use std::time::Duration;
use support::{CORE, SOFTSWITCH, Sent, World, addr, mapping};

const SECOND: &str = "10.0.0.21:5060";

fn with(servers: Vec<Server>, overload: bool) -> Mapping {
    let mut mapping = mapping(1);
    let domain = Some("example.net".into());
    mapping.softswitches =
        vec![Arc::new(Softswitch { domain, overload, ..Softswitch::new("sx", CORE, servers) })];
    mapping
}

fn one() -> World {
    World::new(with(vec![Server::udp(addr(SOFTSWITCH))], true))
}

/// The n-th request of its method with these header lines, from the n-th terminal.
fn sends(world: &mut World, method: &str, n: usize, user: &str, lines: &str) -> Vec<Sent> {
    let flow = Flow { remote: addr(&format!("203.0.113.7:{}", 1024 + n)), ..access() };
    let text = format!(
        "{method} sip:{user}@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.7.7;branch=z9hG4bK{method}{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{n}@example.net>;tag={n}\r\nTo: <sip:{n}@example.net>\r\nCall-ID: {method}-{n}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:{n}@192.168.7.7:5060>\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    world.deliver_raw(0, flow, text.as_bytes())
}

/// The server that this went on to.
fn went(sent: &[Sent]) -> Option<String> {
    passed(sent, access()).map(|up| up.flow.remote.to_string())
}

/// A server answers with these parameters in place of our offer.
fn says(world: &mut World, up: &Sent, params: &str) {
    let text = String::from_utf8(response(up, "200 OK", "", b"")).expect("ASCII");
    let offer = ";oc;oc-algo=\"loss,rate\"";
    assert!(text.contains(offer), "{text}");
    let flow = Flow { remote: up.flow.remote, ..messages::core() };
    world.deliver_raw(0, flow, text.replace(offer, params).as_bytes());
}

/// A first request goes up and is answered with these parameters.
fn loads(world: &mut World, n: usize, params: &str) {
    let up = passed(&sends(world, "OPTIONS", n, "x", ""), access()).cloned().expect("a request");
    says(world, &up, params);
}

/// How many of `total` requests with distinct numbers from `from` on pass.
fn passes(world: &mut World, from: usize, total: usize) -> usize {
    (from..from + total).filter(|n| went(&sends(world, "OPTIONS", *n, "x", "")).is_some()).count()
}

#[test]
fn the_via_toward_a_server_asks_and_no_other_does() {
    let mut world = one();
    let sent = world.deliver_raw(0, access(), &invite(OFFER));
    let up = passed(&sent, access()).cloned().expect("an INVITE");
    assert!(up.header("Via").ends_with(";rport;oc;oc-algo=\"loss,rate\""), "{}", up.header("Via"));
    let ok = response(
        &up,
        "200 OK",
        "Contact: <sip:bob@10.0.0.20>\r\n",
        OFFER.replace("192.168.1.10", "10.0.0.20").as_bytes(),
    );
    let text = String::from_utf8(ok).expect("ASCII").replace(";oc;", ";oc=30;oc-validity=9000;");
    let sent = world.deliver_raw(0, messages::core(), text.as_bytes());
    let down = answer(&sent, access()).expect("a 200");
    assert!(!down.text().contains("oc="), "the word is for us: {}", down.text());
    assert_eq!(world.shards[0].stats().overload_reports, 0, "which algorithm?");
    let mut silent = World::new(with(vec![Server::udp(addr(SOFTSWITCH))], false));
    let sent = silent.deliver_raw(0, access(), &invite(OFFER));
    assert!(passed(&sent, access()).is_some_and(|up| up.header("Via").ends_with(";rport")));
}

#[test]
fn loss_sheds_that_share_for_as_long_as_it_is_valid() {
    let mut world = one();
    assert_eq!(passes(&mut world, 10, 100), 100);
    loads(&mut world, 1, ";oc=40;oc-algo=\"loss\";oc-validity=5000;oc-seq=100.5");
    assert_eq!(world.shards[0].stats().overload_reports, 1);
    let passed = passes(&mut world, 1_000, 2_000);
    println!("{passed} of 2000 at a loss of 40 percent");
    assert!((1_100..=1_300).contains(&passed), "{passed}");
    assert_eq!(drops(&mut world, DropReason::Overload), 2_000 - passed as u64);
    world.pass(Duration::from_secs(6));
    assert_eq!(passes(&mut world, 5_000, 100), 100, "the word has run out");
}

#[test]
fn a_refused_request_is_answered_503_with_retry_after() {
    let mut world = one();
    loads(&mut world, 1, ";oc=100;oc-algo=\"loss\";oc-validity=60000");
    let sent = sends(&mut world, "INVITE", 2, "x", "");
    let text = sent.first().map(Sent::text).unwrap_or_default();
    assert!(text.starts_with("SIP/2.0 503 ") && text.contains("\r\nRetry-After: "), "{text}");
    assert_eq!(sent.len(), 1);
}

#[test]
fn older_words_do_not_count_and_zero_ends_them() {
    let mut world = one();
    loads(&mut world, 1, ";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=200.5");
    assert_eq!(passes(&mut world, 100, 20), 0);
    // An emergency call is the way to get one more answer.
    let mut again = |n: usize, params: &str, open: bool| {
        let up = passed(&sends(&mut world, "INVITE", n, "112", ""), access()).cloned().expect("an INVITE");
        says(&mut world, &up, params);
        assert_eq!(passes(&mut world, 100 * n, 20) == 20, open, "{params}");
    };
    again(2, ";oc=0;oc-algo=\"loss\";oc-validity=60000;oc-seq=200.25", false);
    again(3, ";oc;oc-algo=\"loss,rate\"", false);
    again(4, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=200.75", true);
}

#[test]
fn rate_keeps_to_its_rate() {
    let mut world = one();
    loads(&mut world, 1, ";oc=20;oc-algo=\"rate\";oc-validity=60000");
    let mut passed = 0;
    for n in 0..1_000 {
        passed += passes(&mut world, 100 + n, 1);
        world.pass(Duration::from_millis(10));
    }
    println!("{passed} in ten seconds at a rate of 20");
    assert!((195..=206).contains(&passed), "{passed}");
}

#[test]
fn emergencies_and_running_dialogs_are_never_refused() {
    let mut world = one();
    let sent = world.deliver_raw(0, access(), &invite(OFFER));
    let up = passed(&sent, access()).cloned().expect("an INVITE");
    let ok = response(
        &up,
        "200 OK",
        "Contact: <sip:bob@10.0.0.20>\r\n",
        OFFER.replace("192.168.1.10", "10.0.0.20").as_bytes(),
    );
    let sent = world.deliver_raw(0, messages::core(), &ok);
    let ok = answer(&sent, access()).cloned().expect("a 200");
    loads(&mut world, 1, ";oc=100;oc-algo=\"loss\";oc-validity=60000");
    assert!(went(&sends(&mut world, "INVITE", 2, "x", "")).is_none());
    assert!(went(&sends(&mut world, "INVITE", 3, "112", "")).is_some());
    assert!(went(&sends(&mut world, "INVITE", 4, "x", "Priority: emergency\r\n")).is_some());
    assert!(went(&sends(&mut world, "INVITE", 5, "x", "Resource-Priority: esnet.1\r\n")).is_some());
    let target = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    for method in ["ACK", "INFO", "BYE"] {
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@198.51.100.10>;tag=a\r\nTo: {}\r\nCall-ID: call-1\r\nCSeq: {} {method}\r\n\r\n",
            ok.header("To"),
            if method == "ACK" { 1 } else { 2 }
        );
        assert!(went(&world.deliver_raw(0, access(), text.as_bytes())).is_some(), "{method}");
    }
}

#[test]
fn requests_go_to_a_server_of_the_same_priority_that_is_not_overloaded() {
    let servers = [SOFTSWITCH, SECOND].map(|text| Server::udp(addr(text)));
    let last = Server { priority: 7, ..Server::udp(addr("10.0.0.22:5060")) };
    let mut world = World::new(with([&servers[..], &[last]].concat(), true));
    let ups = (0..50).filter_map(|n| went(&sends(&mut world, "OPTIONS", n, "x", ""))).collect::<Vec<_>>();
    assert!(ups.iter().any(|up| up == SOFTSWITCH) && ups.iter().any(|up| up == SECOND));
    let up = (50..100).find_map(|n| {
        let up = passed(&sends(&mut world, "OPTIONS", n, "x", ""), access()).cloned();
        up.filter(|up| up.flow.remote == addr(SOFTSWITCH))
    });
    says(&mut world, &up.expect("one goes there"), ";oc=100;oc-algo=\"loss\";oc-validity=60000");
    for n in 100..150 {
        assert_eq!(went(&sends(&mut world, "OPTIONS", n, "x", "")).as_deref(), Some(SECOND));
    }
    assert_eq!(drops(&mut world, DropReason::Overload), 0);
}
