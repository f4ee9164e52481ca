//! Requests that the softswitch sends to registered terminals.

mod support;

use portolan_shards::io::Verdict;
use portolan_shards::types::{RealmId, Side};
use std::sync::Arc;
use support::{ACCESS, CORE, NAT, World, addr, mapping, realm, rtp, sdp};

fn register(user: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{user}{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:{user}@example.net>;tag=a1\nTo: <sip:{user}@example.net>\n\
         Call-ID: reg-{user}\nCSeq: {cseq} REGISTER\nContact: <sip:line@192.168.1.10:5060;ob>;expires=3600\n\
         Content-Length: 0\n\n"
    )
}

/// Registers a terminal; gives the Contact URI that the softswitch knows.
fn registered(world: &mut World, user: &str, from: &str, cseq: u32) -> String {
    let up = world.terminal_sends(from, &register(user, cseq)).remove(0);
    let contact = up.header("Contact");
    let more = format!("Contact: {contact}\nContent-Length: 0\n\n");
    world.core_sends(&up.flow.local.to_string(), &up.answered("200 OK", "t", &more));
    contact.split(['<', '>']).nth(1).expect("a URI").to_owned()
}

/// The core address that a Contact URI points at.
fn home(uri: &str) -> String {
    uri.split('@').nth(1).and_then(|rest| rest.split(';').next()).expect("a host").to_owned()
}

fn invite(uri: &str, call: &str) -> String {
    let body = sdp("10.0.0.20", 30_000);
    format!(
        "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bK{call}\n\
         Record-Route: <sip:10.0.0.20;lr>\nMax-Forwards: 69\nFrom: <sip:bob@10.0.0.20>;tag=b\nTo: <sip:line@example.net>\n\
         Call-ID: {call}\nCSeq: 7 INVITE\nContact: <sip:bob@10.0.0.20:5060>\nContent-Type: application/sdp\n\
         Content-Length: {}\n\n{body}",
        body.len()
    )
}

fn media_port(text: &str) -> u16 {
    let line = text.lines().find(|line| line.starts_with("m=audio")).expect("an m= line");
    line.split(' ').nth(1).expect("a port").parse().expect("a number")
}

#[test]
fn a_call_reaches_the_terminal_on_its_flow_with_its_own_contact() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let uri = registered(&mut world, "alice", NAT, 1);
        let down = world.core_sends(&home(&uri), &invite(&uri, "c1")).remove(0);
        assert_eq!((down.flow.remote, down.flow.local), (addr(NAT), addr("198.51.100.10:5060")));
        assert!(
            down.text().starts_with("INVITE sip:line@192.168.1.10:5060;ob SIP/2.0\r\n"),
            "{}",
            down.text()
        );
        assert!(!down.text().contains("10.0.0."), "{}", down.text());
        assert_eq!(down.header("Record-Route"), "");

        let answer = sdp("192.168.1.10", 5004);
        let more = format!(
            "Contact: <sip:line@192.168.1.10:5060>\nContent-Type: application/sdp\nContent-Length: {}\n\n{answer}",
            answer.len()
        );
        let up = world.terminal_sends(NAT, &down.answered("200 OK", "t", &more)).remove(0);
        assert_eq!(up.flow.remote, addr("10.0.0.20:5060"));
        assert_eq!(up.header("Via"), "SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKc1");
        assert_eq!(up.header("Record-Route"), "<sip:10.0.0.20;lr>");
        assert_eq!(up.header("From"), "<sip:bob@10.0.0.20>;tag=b");
        assert!(!up.text().contains("192.168."), "{}", up.text());

        let (access, core) = (media_port(&down.text()), media_port(&up.text()));
        for n in 1..3 {
            let out = world.media(ACCESS, access, "203.0.113.7:51000", &rtp(n, 1));
            assert!(matches!(out, Verdict::Forward { to, .. } if to == addr("10.0.0.20:30000")), "{out:?}");
        }
        let back = world.media(CORE, core, "10.0.0.20:30000", &rtp(1, 2));
        assert!(matches!(back, Verdict::Forward { to, .. } if to == addr("203.0.113.7:51000")), "{back:?}");
    }
}

#[test]
fn at_most_one_crossing_leads_from_the_softswitch_to_the_call() {
    let mut world = World::new(mapping(8));
    let uri = registered(&mut world, "alice", NAT, 1);
    for n in 0..20 {
        world.crossings = 0;
        world.core_sends(&home(&uri), &invite(&uri, &format!("call-{n}")));
        assert!(world.crossings <= 1, "{}", world.crossings);
    }
}

#[test]
fn a_softswitch_that_drops_the_label_still_finds_the_terminal_by_its_user() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        registered(&mut world, "alice", NAT, 1);
        let down = world.core_sends("10.0.0.10:5060", &invite("sip:alice@10.0.0.10", "c1")).remove(0);
        assert_eq!(down.flow.remote, addr(NAT));
        let nobody = world.core_sends("10.0.0.10:5060", &invite("sip:nobody@10.0.0.10", "c2")).remove(0);
        assert!(nobody.text().starts_with("SIP/2.0 404 Not Found\r\n"), "{}", nobody.text());
    }
}

#[test]
fn a_terminal_that_re_registers_from_elsewhere_takes_its_calls_along() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let uri = registered(&mut world, "alice", NAT, 1);
        let down = world.core_sends(&home(&uri), &invite(&uri, "c1")).remove(0);
        let answer = sdp("192.168.1.10", 5004);
        let more = format!(
            "Contact: <sip:line@192.168.1.10:5060>\nContent-Type: application/sdp\nContent-Length: {}\n\n{answer}",
            answer.len()
        );
        let up = world.terminal_sends(NAT, &down.answered("200 OK", "t", &more)).remove(0);
        let contact = up.header("Contact");
        assert_eq!(registered(&mut world, "alice", "203.0.113.9:40777", 2), uri);
        let dialog = contact.split(['<', '>']).nth(1).expect("a URI").to_owned();
        let to = format!("{}\n", up.header("To"));
        let bye = format!(
            "BYE {dialog} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKbye\nMax-Forwards: 69\n\
             From: <sip:bob@10.0.0.20>;tag=b\nTo: {to}Call-ID: c1\nCSeq: 8 BYE\nContent-Length: 0\n\n"
        );
        let bye = world.core_sends(&home(&dialog), &bye).remove(0);
        assert_eq!(bye.flow.remote, addr("203.0.113.9:40777"), "{shards} shards");
    }
}

#[test]
fn a_removed_realm_refuses_new_calls_and_lets_go_after_the_last() {
    let mut old = mapping(1);
    old.realms.push(Arc::new(realm(RealmId(2), "guests", Side::Access, "198.51.100.11")));
    old.routes.push(portolan_shards::realm::Route::all(RealmId(2), 0));
    let mut world = World::new(old);
    let listens = |world: &World| {
        world.listeners.iter().filter(|(_, l)| l.address == addr("198.51.100.11:5060")).count()
    };
    assert_eq!(listens(&world), 1);
    world.reload(mapping(1));
    assert_eq!(listens(&world), 0);
    assert!(world.open.iter().all(|(_, port)| port.realm != RealmId(2)));
}

#[test]
fn an_options_to_portolan_itself_is_answered_here() {
    let mut world = World::new(mapping(2));
    let options = "OPTIONS sip:10.0.0.10:5060 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKo\nMax-Forwards: 70\n\
        From: <sip:x@10.0.0.20>;tag=1\nTo: <sip:10.0.0.10>\nCall-ID: o\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n";
    let ok = world.core_sends("10.0.0.10:5060", options).remove(0);
    assert!(ok.text().starts_with("SIP/2.0 200 OK\r\n"), "{}", ok.text());
}

#[test]
fn a_softswitch_that_a_reload_removes_is_no_longer_heard() {
    let options = "OPTIONS sip:10.0.0.10:5060 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKo\nMax-Forwards: 70\n\
        From: <sip:x@10.0.0.20>;tag=1\nTo: <sip:10.0.0.10>\nCall-ID: o\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n";
    let mut world = World::new(mapping(2));
    let mut new = mapping(2);
    let moved = portolan_shards::realm::Softswitch {
        targets: vec![portolan_shards::realm::Server::udp(addr("10.0.0.21:5060"))],
        ..(*new.softswitches[0]).clone()
    };
    new.softswitches = vec![Arc::new(moved)];
    world.reload(new);
    world.pass(std::time::Duration::from_secs(100));
    assert!(world.core_sends("10.0.0.10:5060", options).is_empty());
}
