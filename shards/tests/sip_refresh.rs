//! Lifetimes of registrations, and refreshes that Portolan answers itself.

mod support;

use portolan_shards::realm::Registration;
use std::time::Duration;
use support::registering::{Register, answer, calls, from, uri_of, with};
use support::{NAT, Sent, World, addr};

const PHONE: &str = "<sip:alice@192.168.1.10:5060>;expires=60";
const CREDENTIALS: &str = "Authorization: Digest username=\"alice\", nonce=\"n1\", response=\"r1\"";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Terminals come back each minute, the registrar is asked for an hour.
fn absorbing() -> Registration {
    Registration { terminal: seconds(60), registrar: seconds(3600), absorb: true, ..Registration::default() }
}

fn phone(cseq: u32) -> Register {
    Register::new(PHONE, cseq).and(CREDENTIALS)
}

fn absorbed(world: &mut World) -> u64 {
    world.shards[0].stats().registrations_absorbed
}

/// Was this answered here, and not sent on?
fn is_answer(sent: &[Sent]) -> bool {
    sent.len() == 1 && sent[0].flow.remote == addr(NAT) && sent[0].status() == 200
}

#[test]
fn both_sides_get_their_own_lifetime_in_parameter_and_header() {
    let mut world = World::new(with(absorbing()));
    let asked = Register::new("<sip:alice@192.168.1.10>;expires=60;q=0.5", 1).and("Expires: 7");
    let (up, down) = world.registered(from(NAT), &asked, "Expires: 3600\n");
    assert_eq!((up.expires(), up.header("Expires").as_str()), (3600, "3600"));
    assert!(up.header("Contact").ends_with(">;expires=3600;q=0.5"), "{}", up.text());
    assert!((54..=60).contains(&down.expires()), "{}", down.text());
    assert_eq!(down.header("Expires"), down.expires().to_string());
    assert!(down.header("Contact").ends_with(";q=0.5"), "{}", down.text());
}

#[test]
fn a_lifetime_in_the_header_alone_is_changed_there_and_one_that_is_missing_is_written() {
    let mut world = World::new(with(absorbing()));
    let up = world
        .registers(from(NAT), &Register::new("<sip:alice@192.168.1.10>", 1).and("Expires: 60"))
        .remove(0);
    assert_eq!(up.header("Expires"), "3600");
    assert!(!up.header("Contact").contains("expires"), "{}", up.text());
    let up = world.registers(from(NAT), &Register::new("<sip:alice@192.168.1.10>", 2)).remove(0);
    assert_eq!(up.expires(), 3600);
}

#[test]
fn a_terminal_that_asks_for_more_than_the_policy_keeps_it_upstream() {
    let mut world = World::new(with(absorbing()));
    let (up, down) =
        world.registered(from(NAT), &Register::new("<sip:alice@192.168.1.10>;expires=7200", 1), "");
    assert_eq!(up.expires(), 7200);
    assert!((54..=60).contains(&down.expires()));
}

#[test]
fn expires_zero_stays_zero() {
    let mut world = World::new(with(absorbing()));
    world.registered(from(NAT), &phone(1), "");
    let up =
        world.registers(from(NAT), &Register::new("<sip:alice@192.168.1.10:5060>;expires=0", 2)).remove(0);
    assert_eq!(up.expires(), 0);
    world.answers(&up, "200 OK", "");
    assert_eq!(world.bindings(), 0);
}

#[test]
fn lifetimes_are_spread() {
    let told = (1..40).map(|cseq| {
        let mut world = World::seeded(with(absorbing()), cseq as u8);
        world.registered(from(NAT), &phone(cseq), "").1.expires()
    });
    assert!(told.collect::<std::collections::HashSet<_>>().len() > 3);
}

#[test]
fn the_registrars_423_reaches_the_terminal() {
    let mut world = World::new(with(Registration::default()));
    let up = world.registers(from(NAT), &phone(1)).remove(0);
    let down = world.answers(&up, "423 Interval Too Brief", "Min-Expires: 300\n");
    assert_eq!((down.status(), down.header("Min-Expires").as_str()), (423, "300"));
    assert_eq!(world.bindings(), 0);
    let again = Register::new("<sip:alice@192.168.1.10:5060>;expires=300", 2);
    let (up, down) = world.registered(from(NAT), &again, "");
    assert_eq!((up.expires(), down.expires()), (300, 300));
}

#[test]
fn a_lifetime_shorter_than_the_policy_is_refused_with_the_shortest() {
    let mut world = World::new(with(Registration { shortest: seconds(90), ..Registration::default() }));
    let down = world.registers(from(NAT), &phone(1)).remove(0);
    assert_eq!((down.status(), down.header("Min-Expires").as_str()), (423, "90"));
    assert_eq!(down.flow.remote, addr(NAT));
    let leaving = Register::new("<sip:alice@192.168.1.10:5060>;expires=0", 2);
    assert_eq!(world.registers(from(NAT), &leaving)[0].expires(), 0, "an end is never too brief");
}

#[test]
fn a_shorter_lifetime_of_the_registrars_is_followed() {
    let mut world = World::new(with(absorbing()));
    let up = world.registers(from(NAT), &phone(1)).remove(0);
    let down =
        world.answers(&up, "200 OK", &format!("Contact: <{}>;expires=20\n", uri_of(&up.header("Contact"))));
    assert_eq!(down.expires(), 20);
    world.pass(seconds(26));
    assert_eq!(world.bindings(), 0);
}

#[test]
fn what_the_registrar_says_of_another_contact_is_followed() {
    let mut world = World::new(with(Registration::default()));
    let long = Register::new("<sip:alice@192.168.1.10:5060>;expires=3600", 1);
    let (first, _) = world.registered(from(NAT), &long, "");
    let other = Register { call_id: "reg-2", ..Register::new("<sip:alice@192.168.1.11>;expires=3600", 1) };
    let up = world.registers(from("203.0.113.7:40002"), &other).remove(0);
    let short = first.header("Contact").replace("expires=3600", "expires=10");
    world.answers(&up, "200 OK", &format!("Contact: {}\nContact: {short}\n", up.header("Contact")));
    assert_eq!(world.bindings(), 2);
    world.pass(seconds(16));
    assert_eq!(world.bindings(), 1);
    assert_eq!(
        calls(&mut world, &uri_of(&up.header("Contact")), "m1").flow.remote,
        addr("203.0.113.7:40002")
    );
}

#[test]
fn a_refresh_that_says_the_same_is_answered_with_what_the_registrar_said() {
    let mut world = World::new(with(absorbing()));
    let more = "Service-Route: <sip:10.0.0.21;lr>\nP-Associated-URI: <sip:+1234@example.net>\nSupported: path\n\
                Date: Sat, 13 Nov 2010 23:29:00 GMT\n";
    let (_, first) = world.registered(from(NAT), &phone(1), more);
    world.pass(seconds(30));
    let sent = world.registers(from(NAT), &phone(2).and("Expires: 60"));
    assert!(is_answer(&sent), "{sent:?}");
    let again = &sent[0];
    assert_eq!(uri_of(&again.header("Contact")), uri_of(&first.header("Contact")));
    assert!((54..=60).contains(&again.expires()));
    for name in ["Service-Route", "P-Associated-URI", "Supported"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.header("Date"), "");
    assert_eq!(again.header("CSeq"), "2 REGISTER");
    assert!(again.header("To").contains(";tag="));
    assert!(again.header("Via").contains("received=203.0.113.7"), "{}", again.text());
    assert_eq!(absorbed(&mut world), 1);
    let repeated = world.registers(from(NAT), &phone(2));
    assert!(is_answer(&repeated), "a repetition is answered again");
    world.pass(seconds(45));
    assert_eq!(world.bindings(), 1, "the answer counts");
}

#[test]
fn a_refresh_is_sent_on_once_less_than_half_of_the_lifetime_is_left() {
    let mut world = World::new(with(absorbing()));
    let mut upstream = 0;
    let (first, _) = world.registered(from(NAT), &phone(1), "");
    for cseq in 2..80 {
        world.pass(seconds(40));
        let alive = |sent: &Sent| sent.flow.remote == addr("10.0.0.20:5060");
        let sent = world.registers(from(NAT), &phone(cseq));
        if sent.iter().any(alive) {
            upstream += 1;
            assert_eq!(sent[0].header("Contact"), first.header("Contact"));
            let listed = format!("Contact: {}\n", sent[0].header("Contact"));
            world.answers(&sent[0], "200 OK", &listed);
        }
    }
    assert_eq!(upstream, 1, "78 refreshes in 52 minutes");
}

#[test]
fn anything_else_goes_to_the_registrar() {
    let other = |lines: &str| Register { lines: lines.to_owned(), ..phone(2) };
    let cases = [
        ("the sequence", phone(1)),
        ("the Call-ID", Register { call_id: "reg-9", ..phone(2) }),
        ("new credentials", Register::new(PHONE, 2).and(&CREDENTIALS.replace("n1", "n2"))),
        ("no credentials", Register::new(PHONE, 2)),
        ("proxy credentials", phone(2).and("Proxy-Authorization: Digest username=\"a\"")),
        ("the end", Register::new("<sip:alice@192.168.1.10:5060>;expires=0", 2).and(CREDENTIALS)),
        ("all contacts", other(&format!("Contact: *\nExpires: 0\n{CREDENTIALS}\n"))),
        ("a fetch", other(&format!("{CREDENTIALS}\n"))),
        ("another contact", Register::new("<sip:alice@192.168.1.10:5062>;expires=60", 2).and(CREDENTIALS)),
        ("one more contact", phone(2).and("Contact: <sip:alice@192.168.1.12>")),
        ("another spelling", Register::new("<sip:%61lice@192.168.1.10:5060>;expires=60", 2).and(CREDENTIALS)),
        ("a parameter", Register::new(&format!("{PHONE};q=0.3"), 2).and(CREDENTIALS)),
        ("what it supports", phone(2).and("Supported: outbound")),
    ];
    for (what, register) in cases {
        let mut world = World::new(with(absorbing()));
        world.registered(from(NAT), &phone(1), "");
        // The transaction of the first one has to be over, or a repetition would be answered by it.
        world.pass(seconds(40));
        let sent = world.registers(from(NAT), &register);
        assert_eq!(sent[0].flow.remote, addr("10.0.0.20:5060"), "{what}");
        assert_eq!(absorbed(&mut world), 0, "{what}");
    }
}

#[test]
fn a_stranger_is_never_answered_in_the_registrars_place() {
    for stranger in ["203.0.113.7:40002", "203.0.113.9:40001", "192.0.2.1:5060"] {
        let mut world = World::new(with(absorbing()));
        let (up, _) = world.registered(from(NAT), &phone(1), "");
        world.pass(seconds(33));
        // Every octet of the terminal's, but from elsewhere.
        let sent = world.registers(from(stranger), &phone(2));
        assert_eq!(sent[0].flow.remote, addr("10.0.0.20:5060"), "{stranger}");
        let refused = answer(&sent[0], "403 Forbidden", "");
        assert_eq!(world.core_sends("10.0.0.10:6000", &refused)[0].flow.remote, addr(stranger));
        assert_eq!(absorbed(&mut world), 0);
        assert_eq!(world.bindings(), 1);
        assert_eq!(calls(&mut world, &uri_of(&up.header("Contact")), "m1").flow.remote, addr(NAT));
        assert!(is_answer(&world.registers(from(NAT), &phone(3))), "a stranger's failure means nothing");
    }
}

#[test]
fn after_a_refusal_nothing_is_absorbed() {
    let mut world = World::new(with(absorbing()));
    world.registered(from(NAT), &phone(1), "");
    let up = world.registers(from(NAT), &Register::new(PHONE, 2)).remove(0);
    world.answers(&up, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n2\"\n");
    let sent = world.registers(from(NAT), &phone(3));
    assert_eq!(sent[0].flow.remote, addr("10.0.0.20:5060"));
    world.answers(&sent[0], "200 OK", &format!("Contact: {}\n", sent[0].header("Contact")));
    assert!(is_answer(&world.registers(from(NAT), &phone(4))));
}

#[test]
fn without_the_policy_every_refresh_is_sent_on() {
    let mut world = World::new(with(Registration { absorb: false, ..absorbing() }));
    world.registered(from(NAT), &phone(1), "");
    assert_eq!(world.registers(from(NAT), &phone(2))[0].flow.remote, addr("10.0.0.20:5060"));
}

#[test]
fn a_terminal_that_stays_away_is_forgotten_before_the_registrar_forgets_it() {
    let mut world = World::new(with(Registration { deregister: true, ..absorbing() }));
    let (up, _) = world.registered(from(NAT), &phone(7), "");
    let sent = world.pass(seconds(70));
    assert_eq!(world.bindings(), 0);
    let end = sent.iter().find(|sent| sent.text().starts_with("REGISTER")).expect("an end");
    assert_eq!(end.flow.remote, addr("10.0.0.20:5060"));
    assert_eq!(uri_of(&end.header("Contact")), uri_of(&up.header("Contact")));
    assert_eq!((end.expires(), end.header("Expires").as_str()), (0, "0"));
    assert_eq!((end.header("Call-ID").as_str(), end.header("CSeq").as_str()), ("reg-1", "8 REGISTER"));
    assert_eq!(end.header("To"), "<sip:alice@example.net>");
    let challenge = answer(end, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\"\n");
    assert!(world.core_sends("10.0.0.10:6000", &challenge).is_empty(), "nobody to tell");
}
