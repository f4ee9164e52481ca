//! Floods: the tables stop at their limits, legitimate calls go on beside them, and nobody gets more octets than he sent.

#[path = "support/messages.rs"]
mod messages;
mod support;

use messages::{OFFER, access, answer, assert_empty, body, drops, invite, passed, response};
use portolan_shards::io::DropReason;
use portolan_shards::types::Flow;
use std::sync::Arc;
use std::time::Duration;
use support::{World, addr, mapping};

const TRANSACTIONS: usize = 500;
const SESSIONS: usize = 200;
const BINDINGS: usize = 100;

fn small() -> World {
    let mut mapping = mapping(1);
    mapping.limits.transactions = TRANSACTIONS;
    mapping.limits.sessions = SESSIONS;
    mapping.limits.bindings = BINDINGS;
    World::new(mapping)
}

/// From the n-th of `sources` hosts.
fn source(n: usize, sources: usize) -> Flow {
    let host = n % sources;
    Flow { remote: addr(&format!("192.0.2.{}:{}", 1 + host % 250, 1024 + host / 250)), ..access() }
}

/// The n-th message of a flood.
fn flood(method: &str, n: usize) -> Vec<u8> {
    format!(
        "{method} sip:{n}@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.7.7:5060;branch=z9hG4bKf{method}{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{n}@example.net>;tag={n}\r\nTo: <sip:{n}@example.net>\r\nCall-ID: flood-{method}-{n}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:{n}@192.168.7.7:5060>\r\nUser-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A call from its INVITE to the 200 at the caller.
fn call_succeeds(world: &mut World, n: usize) -> bool {
    let text = String::from_utf8(invite(OFFER)).expect("ASCII");
    let text = text.replace("call-1", &format!("good-{n}")).replace("z9hG4bKinv", &format!("z9hG4bKgood{n}"));
    let sent = world.deliver_raw(0, access(), text.as_bytes());
    let Some(up) = passed(&sent, access()).cloned() else { return false };
    let sdp = OFFER.replace("192.168.1.10", "10.0.0.20");
    let ok = response(&up, "200 OK", "Contact: <sip:bob@10.0.0.20>\r\n", sdp.as_bytes());
    let sent = world.deliver_raw(0, messages::core(), &ok);
    answer(&sent, access()).is_some_and(|ok| ok.text().starts_with("SIP/2.0 200 ") && !body(ok).is_empty())
}

#[test]
fn the_tables_stop_at_their_limits_and_say_so() {
    for method in ["INVITE", "REGISTER", "OPTIONS"] {
        for sources in [1, 10_000] {
            let mut world = small();
            let (mut through, total) = (0, 3_000);
            for n in 0..total {
                let sent = world.deliver_raw(0, source(n, sources), &flood(method, n));
                through += u64::from(passed(&sent, access()).is_some());
            }
            let stats = world.shards[0].stats();
            assert!(stats.transactions <= TRANSACTIONS as u64, "{method} {sources}: {}", stats.transactions);
            assert!(
                stats.sessions <= SESSIONS as u64 && stats.dialogs <= SESSIONS as u64,
                "{method} {sources}"
            );
            assert!(stats.bindings <= BINDINGS as u64, "{method} {sources}: {}", stats.bindings);
            let refused: u64 = stats.refused.iter().sum();
            assert_eq!(through + refused, total as u64, "{method} {sources}: each one passed or was refused");
            let counted = drops(&mut world, DropReason::Limit) + drops(&mut world, DropReason::Quota);
            assert_eq!(counted, refused, "{method} {sources}");
            assert!(refused > 0, "{method} {sources}: the flood met no limit");
            assert_empty(&mut world);
            assert!(call_succeeds(&mut world, 1), "{method} {sources}: after the flood");
        }
    }
}

#[test]
fn calls_succeed_beside_floods_that_the_tables_hold() {
    let mut world = World::new(mapping(1));
    let (mut good, calls) = (0, 200);
    for n in 0..calls {
        for (at, method) in ["INVITE", "REGISTER", "OPTIONS", "REGISTER", "OPTIONS"].into_iter().enumerate() {
            let n = n * 5 + at;
            world.deliver_raw(0, source(n, if n % 2 == 0 { 1 } else { 10_000 }), &flood(method, n));
        }
        good += usize::from(call_succeeds(&mut world, n));
    }
    assert!(good * 1000 >= calls * 999, "{good} of {calls}");
}

/// Octets that went to the sender of this and of its timers' repetitions.
fn octets_back(request: &[u8]) -> usize {
    let mut world = World::new(mapping(1));
    let mut back = world.deliver_raw(0, access(), request);
    back.extend(world.pass(Duration::from_secs(64)));
    back.iter().filter(|sent| sent.flow.remote == access().remote).map(|sent| sent.bytes.len()).sum()
}

/// A request as scanners and phones send them, with one text in the place of another.
fn ordinary(method: &str, text: &str, instead: &str) -> Vec<u8> {
    let whole = String::from_utf8(flood(method, 7)).expect("ASCII");
    assert!(whole.contains(text), "{text}");
    whole.replacen(text, instead, 1).into_bytes()
}

/// Every refusal that somebody unproven can draw, beside what draws it.
fn refusals(method: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("400 unreadable", ordinary(method, "CSeq: 1", "CSeq: x")),
        ("400 without From", ordinary(method, "From:", "X:")),
        ("400 headers in the Request-URI", ordinary(method, "example.net SIP", "example.net?a=b SIP")),
        ("416 scheme", ordinary(method, " sip:7@example.net SIP", " isbn:7@example.net SIP")),
        ("420 extension", ordinary(method, "User-Agent:", "Proxy-Require:")),
        ("481 no dialog", ordinary(method, "To: <sip:7@example.net>", "To: <sip:7@example.net>;tag=1")),
        ("483 hops", ordinary(method, "Max-Forwards: 70", "Max-Forwards: 0")),
        ("505 version", ordinary(method, "SIP/2.0\r\nVia", "SIP/3.0\r\nVia")),
    ]
}

#[test]
fn a_refusal_is_not_longer_than_what_it_refuses() {
    for method in ["OPTIONS", "INVITE"] {
        for (name, request) in refusals(method) {
            let back = octets_back(&request);
            println!("{method} {name}: {back} octets for {}", request.len());
            assert!(
                back > 0 && back <= request.len(),
                "{method} {name}: {back} octets for {}",
                request.len()
            );
        }
    }
}

/// SIP demands of an answer `received` and a tag: it is longer than the shortest requests that can be answered at all.
/// They draw nothing, unless a registration has shown that the source is no forgery.
#[test]
fn the_shortest_requests_draw_nothing() {
    let shortest = b"O a: SIP/2.0\r\nv:SIP/2.0/UDP a\r\nCSeq:1 O\r\n\r\n";
    let valid = b"O a:b SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:a:b\r\nt:a:b\r\ni:1\r\nCSeq:1 O\r\n\r\n";
    for request in [&shortest[..], valid] {
        let back = octets_back(request);
        assert_eq!(back, 0, "{} octets", request.len());
        let mut world = World::new(mapping(1));
        world.deliver_raw(0, access(), request);
        assert_eq!(drops(&mut world, DropReason::Amplifying), 1);
        assert!(registers(&mut world));
        let sent = world.deliver_raw(0, access(), request);
        assert!(sent.iter().any(|sent| sent.text().starts_with("SIP/2.0 4")), "{} octets", request.len());
    }
}

/// Every length up to an ordinary one: the answer is missing, or not longer.
#[test]
fn no_short_request_draws_a_longer_answer() {
    let (mut answered, mut silent) = (0, 0);
    for padding in 0..200 {
        let request = format!(
            "O a:b SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:a:b\r\nt:a:b\r\ni:1\r\nCSeq:1 O\r\ns:{}\r\n\r\n",
            "x".repeat(padding)
        );
        let back = octets_back(request.as_bytes());
        assert!(back <= request.len(), "{back} octets for {}", request.len());
        *if back == 0 { &mut silent } else { &mut answered } += 1;
    }
    println!("{answered} answered, {silent} not");
    assert!(answered > 0 && silent > 0);
}

/// Does the terminal at [`access`] get registered?
fn registers(world: &mut World) -> bool {
    let sent = world.deliver_raw(0, access(), &flood("REGISTER", 1));
    let Some(up) = passed(&sent, access()) else { return false };
    let contact = format!("Contact: {}\r\nExpires: 600\r\n", up.header("Contact"));
    let ok = response(up, "200 OK", &contact, b"");
    world.deliver_raw(0, messages::core(), &ok);
    world.shards[0].stats().bindings == 1
}

/// An ordinary call of the n-th of many well-behaved hosts, from INVITE to BYE.
fn call_from(world: &mut World, n: usize) -> bool {
    let flow = Flow { remote: addr(&format!("198.18.{}.{}:5060", n / 250, 1 + n % 250)), ..access() };
    let text = String::from_utf8(invite(OFFER)).expect("ASCII");
    let text = text.replace("call-1", &format!("good-{n}")).replace("z9hG4bKinv", &format!("z9hG4bKgood{n}"));
    let sent = world.deliver_raw(0, flow, text.as_bytes());
    let Some(up) = passed(&sent, flow).cloned() else { return false };
    let sdp = OFFER.replace("192.168.1.10", "10.0.0.20");
    let ok = response(&up, "200 OK", "Contact: <sip:bob@10.0.0.20>\r\n", sdp.as_bytes());
    let sent = world.deliver_raw(0, messages::core(), &ok);
    let Some(ok) = answer(&sent, flow).cloned() else { return false };
    ends(world, flow, &text, &ok)
}

/// The BYE of the caller gets through to the softswitch.
fn ends(world: &mut World, flow: Flow, invite: &str, ok: &support::Sent) -> bool {
    let target = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let header = |name| support::header(invite, name);
    let bye = format!(
        "BYE {target} SIP/2.0\r\nVia: {}bye\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 2 BYE\r\n\r\n",
        header("Via").replace(";rport", ""),
        header("From"),
        ok.header("To"),
        header("Call-ID")
    );
    let sent = world.deliver_raw(0, flow, bye.as_bytes());
    passed(&sent, flow).is_some_and(|bye| bye.text().starts_with("BYE "))
}

#[test]
fn one_source_cannot_fill_the_table() {
    let mut mapping = mapping(1);
    mapping.limits.transactions = 20_000;
    mapping.limits.transactions_per_source = 2_000;
    mapping.limits.sessions = 20_000;
    for realm in &mut mapping.realms {
        Arc::make_mut(realm).media.last = 59_999;
    }
    let mut world = World::new(mapping);
    let (mut good, calls) = (0, 1_000);
    for n in 0..calls {
        // Five times its quota, and never an answer.
        for part in 0..10 {
            let method = ["INVITE", "REGISTER", "OPTIONS"][part % 3];
            world.deliver_raw(0, source(0, 1), &flood(method, n * 10 + part));
        }
        good += usize::from(call_from(&mut world, n));
    }
    let refused = drops(&mut world, DropReason::Quota);
    println!("{good} of {calls} calls beside a flood of {}, of which {refused} were refused", calls * 10);
    assert!(good * 1000 >= calls * 999, "{good} of {calls}");
    assert_eq!(refused, 8_000, "all but the quota");
    assert_empty(&mut world);
}

#[test]
fn a_full_table_lets_calls_end() {
    let mut mapping = mapping(1);
    mapping.limits.transactions = TRANSACTIONS;
    let mut world = World::new(mapping);
    let text = String::from_utf8(invite(OFFER)).expect("ASCII");
    let up = passed(&world.deliver_raw(0, access(), text.as_bytes()), access()).cloned().expect("an INVITE");
    let sdp = OFFER.replace("192.168.1.10", "10.0.0.20");
    let ok = response(&up, "200 OK", "Contact: <sip:bob@10.0.0.20>\r\n", sdp.as_bytes());
    let ok = answer(&world.deliver_raw(0, messages::core(), &ok), access()).cloned().expect("a 200");
    (0..2 * TRANSACTIONS).for_each(|n| drop(world.deliver_raw(0, source(n, 1_000), &flood("OPTIONS", n))));
    assert!(drops(&mut world, DropReason::Limit) > 0 && !call_from(&mut world, 1), "no new call");
    assert!(ends(&mut world, access(), &text, &ok), "the running one can be ended");
    let stats = world.shards[0].stats();
    assert!(stats.transactions <= TRANSACTIONS as u64, "{}", stats.transactions);
}

#[test]
fn what_is_not_sip_draws_nothing() {
    for noise in [
        &b"hello"[..],
        b"\0\0\0\0",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 1200],
    ] {
        assert_eq!(octets_back(noise), 0, "{}", noise.escape_ascii());
    }
    assert_eq!(octets_back(b"\r\n\r\n"), 2, "a ping draws half its octets");
}
