//! What a restart under a fixed secret leaves to strangers: nothing.

mod support;

use support::{NAT, Sent, World, mapping};

fn register(user: &str) -> String {
    format!(
        "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{user};rport\n\
         Max-Forwards: 70\nFrom: <sip:{user}@example.net>;tag=a1\nTo: <sip:{user}@example.net>\n\
         Call-ID: reg-{user}\nCSeq: 1 REGISTER\nContact: <sip:{user}@192.168.1.10:5060>;expires=3600\n\
         Content-Length: 0\n\n"
    )
}

fn ok(request: &Sent) -> String {
    format!(
        "SIP/2.0 200 OK\nVia: {}\nFrom: {}\nTo: {};tag=t\nCall-ID: {}\nCSeq: {}\nContact: {}\nContent-Length: 0\n\n",
        request.header("Via"),
        request.header("From"),
        request.header("To"),
        request.header("Call-ID"),
        request.header("CSeq"),
        request.header("Contact"),
    )
}

/// Registers a terminal; gives the Contact URI that the softswitch knows.
fn registered(world: &mut World, user: &str, from: &str) -> String {
    let up = world.terminal_sends(from, &register(user)).remove(0);
    world.core_sends(&up.flow.local.to_string(), &ok(&up));
    up.header("Contact").split(['<', '>']).nth(1).expect("a URI").to_owned()
}

#[test]
fn a_label_from_before_a_restart_names_nobody() {
    let alice = registered(&mut World::new(mapping(1)), "alice", NAT);
    let mut restarted = World::seeded(mapping(1), 100);
    registered(&mut restarted, "bob", "203.0.113.8:40002");
    let message = format!(
        "MESSAGE {alice} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKm\nMax-Forwards: 70\n\
         From: <sip:carol@10.0.0.20>;tag=c\nTo: <sip:alice@example.net>\nCall-ID: m\nCSeq: 1 MESSAGE\n\
         Content-Length: 0\n\n"
    );
    let sent = restarted.core_sends("10.0.0.10:6000", &message).remove(0);
    assert!(sent.text().starts_with("SIP/2.0 404"), "{} got:\n{}", sent.flow.remote, sent.text());
}
