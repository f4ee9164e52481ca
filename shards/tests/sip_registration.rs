//! Registrations through one or more shards.

mod support;

use support::{NAT, SOFTSWITCH, Sent, World, addr, mapping};

const CONTACT: &str = "<sip:alice@192.168.1.10:5060;ob>;+sip.instance=\"<urn:uuid:1>\";expires=60";

fn register(contact: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKreg{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a1\nTo: <sip:alice@198.51.100.10>\n\
         Call-ID: reg-1\nCSeq: {cseq} REGISTER\n{contact}Content-Length: 0\n\n"
    )
}

/// The registrar's answer to a forwarded REGISTER.
fn ok(request: &Sent, contacts: &str) -> String {
    format!(
        "SIP/2.0 200 OK\nVia: {}\nFrom: {}\nTo: {};tag=r\nCall-ID: {}\nCSeq: {}\n{contacts}Content-Length: 0\n\n",
        request.header("Via"),
        request.header("From"),
        request.header("To"),
        request.header("Call-ID"),
        request.header("CSeq"),
    )
}

fn register_alice(world: &mut World, from: &str, cseq: u32) -> (Sent, Sent) {
    let up = world.terminal_sends(from, &register(&format!("Contact: {CONTACT}\n"), cseq)).remove(0);
    let listed = format!("Contact: {}\n", up.header("Contact"));
    let down = world.core_sends(&up.flow.local.to_string(), &ok(&up, &listed)).remove(0);
    (up, down)
}

#[test]
fn the_softswitch_sees_a_sealed_contact_and_the_terminal_its_own() {
    let mut world = World::new(mapping(1));
    let (up, down) = register_alice(&mut world, NAT, 1);
    assert_eq!(up.flow.remote, addr(SOFTSWITCH));
    assert!(up.header("Contact").starts_with("<sip:alice@10.0.0.10:6000;ob;pl="), "{}", up.text());
    assert!(up.header("Contact").ends_with(">;+sip.instance=\"<urn:uuid:1>\";expires=60"));
    for secret in ["192.168.", "203.0.113.", "198.51.100."] {
        assert!(!up.text().contains(secret), "{}", up.text());
    }
    assert_eq!(down.flow.remote, addr(NAT));
    assert_eq!(down.header("Contact"), CONTACT);
    assert_eq!(down.header("To"), "<sip:alice@198.51.100.10>;tag=r");
    let via = "SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKreg1;rport=40001;received=203.0.113.7";
    assert_eq!(down.header("Via"), via);
    assert!(!down.text().contains("10.0.0."), "{}", down.text());
    assert_eq!(world.shards[0].stats().bindings, 1);
}

#[test]
fn a_refresh_shows_the_registrar_the_same_contact() {
    let mut world = World::new(mapping(2));
    let (first, _) = register_alice(&mut world, NAT, 1);
    let (second, _) = register_alice(&mut world, NAT, 2);
    assert_eq!(first.header("Contact"), second.header("Contact"));
    let bindings: u64 = world.shards.iter_mut().map(|shard| shard.stats().bindings).sum();
    assert_eq!(bindings, 1);
}

#[test]
fn a_refused_registration_leaves_nothing() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &register(&format!("Contact: {CONTACT}\n"), 1)).remove(0);
    let refusal = ok(&up, "").replace("200 OK", "403 Forbidden");
    let down = world.core_sends("10.0.0.10:6000", &refusal).remove(0);
    assert!(down.text().starts_with("SIP/2.0 403 Forbidden\r\n"));
    assert_eq!(world.shards[0].stats().bindings, 0);
}

#[test]
fn expires_zero_and_star_remove_the_binding_once_the_registrar_agrees() {
    let removed = format!("Contact: {}\n", CONTACT.replace("expires=60", "expires=0"));
    for contact in ["Contact: *\nExpires: 0\n".to_owned(), removed] {
        let mut world = World::new(mapping(1));
        register_alice(&mut world, NAT, 1);
        let up = world.terminal_sends(NAT, &register(&contact, 2)).remove(0);
        assert_eq!(world.shards[0].stats().bindings, 1, "not before the 2xx");
        world.core_sends("10.0.0.10:6000", &ok(&up, ""));
        assert_eq!(world.shards[0].stats().bindings, 0);
    }
}

#[test]
fn foreign_contacts_are_hidden_from_the_terminal() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &register(&format!("Contact: {CONTACT}\n"), 1)).remove(0);
    let listed = format!("Contact: <sip:alice@10.0.0.99>;expires=30, {}\n", up.header("Contact"));
    let down = world.core_sends("10.0.0.10:6000", &ok(&up, &listed)).remove(0);
    assert_eq!(down.header("Contact"), CONTACT);
}

#[test]
fn a_fetch_lists_the_bindings_with_their_own_octets() {
    let mut world = World::new(mapping(2));
    let (up, _) = register_alice(&mut world, NAT, 1);
    let fetch = world.terminal_sends(NAT, &register("", 2)).remove(0);
    assert_eq!(fetch.header("Contact"), "");
    let listed = format!("Contact: {}\n", up.header("Contact"));
    let down = world.core_sends(&fetch.flow.local.to_string(), &ok(&fetch, &listed)).remove(0);
    assert_eq!(down.header("Contact"), CONTACT);
}

#[test]
fn keepalive_reaches_the_flow_and_silence_drops_the_binding() {
    let mut world = World::new(mapping(1));
    let long = CONTACT.replace("expires=60", "expires=3600");
    let up = world.terminal_sends(NAT, &register(&format!("Contact: {long}\n"), 1)).remove(0);
    world.core_sends("10.0.0.10:6000", &ok(&up, &format!("Contact: {}\n", up.header("Contact"))));
    // The first one comes at random within the interval, and is repeated as long as it is not answered.
    let mut moments = (0..250).map(|_| world.pass(std::time::Duration::from_millis(100)));
    let probes = moments.find(|sent| !sent.is_empty()).expect("a keepalive within 25 s");
    assert_eq!(probes.len(), 1);
    assert!(
        probes[0].text().starts_with("OPTIONS sip:alice@192.168.1.10:5060;ob SIP/2.0\r\n"),
        "{}",
        probes[0].text()
    );
    assert_eq!((probes[0].flow.remote, probes[0].flow.local), (addr(NAT), addr("198.51.100.10:5060")));
    world.terminal_sends(NAT, &ok(&probes[0], ""));
    let silent = world.pass(std::time::Duration::from_secs(200));
    // Each of three is sent three times: a lost datagram is no dead terminal.
    assert_eq!(silent.len(), 9);
    assert!(silent.chunks(3).all(|copies| copies.iter().all(|copy| copy.bytes == copies[0].bytes)));
    assert_eq!(world.shards[0].stats().bindings, 0);
    assert_eq!(world.shards[0].stats().bindings_lost, 1);
}
