//! A terminal names a place of its own (in a redirection, or in a transfer): whoever follows it arrives by the flow on
//! which the terminal named it, while a registration is in force there, and nowhere else.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::realm::{Mapping, Server, Softswitch};
use portolan_shards::types::{Flow, RealmId, Side, Transport};
use std::sync::Arc;
use std::time::Duration;
use support::registering::{Register, answer, from, message, uri_of};
use support::{ACCESS, CORE, NAT, Sent, World, addr, mapping, realm};

const OTHER_NAT: &str = "203.0.113.7:40002";
const ALICE: &str = "<sip:alice@192.168.1.10:5060;ob>;expires=60";
/// No terminal's registered Contact.
const PLACE: &str = "<sip:desk@192.168.1.10:7777;x=1>";

/// Alice registers; gives the Contact URI that the softswitch knows.
fn registers(world: &mut World, flow: Flow, contact: &str, cseq: u32) -> String {
    uri_of(&world.registered(flow, &Register::new(contact, cseq), "").0.header("Contact"))
}

fn carol_registers(world: &mut World) {
    let text = Register { call_id: "reg-2", ..Register::new("<sip:carol@192.168.1.50:5060>;expires=600", 1) };
    let up = world.deliver(0, from(OTHER_NAT), &text.text().replace("alice", "carol")).remove(0);
    let listed = format!("Contact: {}\n", up.header("Contact"));
    world.answers(&up, "200 OK", &listed);
}

/// A request from the softswitch for a number, as a trunk would write it: the user in To is nobody's here.
fn dialled(uri: &str, call: &str) -> String {
    message(uri, call, "").replace("To: <sip:alice@example.net>", "To: <sip:4930123@example.net>")
}

/// The softswitch sends a MESSAGE, which the terminal on this flow redirects; gives the URI that the softswitch is told.
fn redirected(world: &mut World, flow: Flow, contact: &str, call: &str, to: &str) -> String {
    let down = world.core_sends("10.0.0.10:6000", &dialled(contact, call)).remove(0);
    assert_eq!(down.flow.remote, flow.remote, "{}", down.text());
    let moved = answer(&down, "302 Moved Temporarily", &format!("Contact: {to}\n"));
    let up = world.deliver(0, flow, &moved).remove(0);
    assert!(up.text().starts_with("SIP/2.0 302") && !up.text().contains("192.168."), "{}", up.text());
    uri_of(&up.header("Contact"))
}

fn follows(world: &mut World, uri: &str, call: &str) -> Sent {
    let mut sent = world.core_sends("10.0.0.10:6000", &dialled(uri, call));
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

#[track_caller]
fn refused(world: &mut World, uri: &str, call: &str, status: &str) {
    let answered = follows(world, uri, call);
    assert!(answered.text().starts_with(&format!("SIP/2.0 {status}")), "{}", answered.text());
    assert_eq!(answered.flow.realm, CORE, "nothing goes to any terminal");
}

#[test]
fn it_arrives_at_the_exact_place_by_the_flow_of_the_terminal() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let contact = registers(&mut world, from(NAT), ALICE, 1);
        for n in 0..8 {
            let shown = redirected(&mut world, from(NAT), &contact, &format!("first-{n}"), PLACE);
            assert!(shown.starts_with("sip:desk@10.0.0.10:60") && shown.contains(";x=1;pl="), "{shown}");
            let down = follows(&mut world, &shown, &format!("again-{n}"));
            assert!(
                down.text().starts_with("MESSAGE sip:desk@192.168.1.10:7777;x=1 SIP/2.0"),
                "{}",
                down.text()
            );
            assert_eq!(down.flow, from(NAT));
            let up = world.deliver(0, from(NAT), &answer(&down, "200 OK", "")).remove(0);
            assert_eq!((up.header("Call-ID"), up.flow.realm), (format!("again-{n}"), CORE));
        }
        let counted: u64 =
            world.shards.iter_mut().map(|shard| shard.stats().refused.iter().sum::<u64>()).sum();
        assert_eq!(counted, 0);
    }
}

#[test]
fn a_call_follows_with_its_own_call_id_and_leaves_nothing() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        let contact = registers(&mut world, from(NAT), ALICE, 1);
        let invite = |uri: &str, cseq: u32| {
            let text = dialled(uri, "call")
                .replace("MESSAGE", "INVITE")
                .replace("CSeq: 1", &format!("CSeq: {cseq}"));
            let text = text.replace("z9hG4bKcall", &format!("z9hG4bKcall{cseq}"));
            text.replace("Content-Length", "Contact: <sip:bob@10.0.0.20>\nContent-Length")
        };
        let ack = |refusal: &Sent, uri: &str, cseq: u32| {
            let to = refusal.header("To");
            let text = invite(uri, cseq).replace("INVITE", "ACK");
            text.replace("To: <sip:4930123@example.net>", &format!("To: {to}"))
        };
        let down = world.core_sends("10.0.0.10:6000", &invite(&contact, 1)).remove(0);
        let moved = answer(&down, "302 Moved Temporarily", &format!("Contact: {PLACE}\n"));
        let up = world.deliver(0, from(NAT), &moved).into_iter().find(|sent| sent.flow.realm == CORE);
        let up = up.expect("the 302");
        let shown = uri_of(&up.header("Contact"));
        world.core_sends("10.0.0.10:6000", &ack(&up, &contact, 1));
        let down = world.core_sends("10.0.0.10:6000", &invite(&shown, 2)).remove(0);
        assert!(down.text().starts_with("INVITE sip:desk@192.168.1.10:7777;x=1 SIP/2.0"), "{}", down.text());
        let busy = world.deliver(0, from(NAT), &answer(&down, "486 Busy Here", ""));
        let acknowledged = busy.iter().find(|sent| sent.flow.realm == ACCESS).expect("an ACK").text();
        assert!(acknowledged.starts_with("ACK sip:desk@192.168.1.10:7777;x=1 "), "{acknowledged}");
        world.core_sends("10.0.0.10:6000", &ack(&busy[1], &shown, 2));
        world.pass(Duration::from_secs(40));
        let sessions: u64 = world.shards.iter_mut().map(|shard| shard.stats().sessions).sum();
        assert_eq!(sessions, 0);
    }
}

#[test]
fn nothing_arrives_where_no_registration_is_in_force_any_more() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        let contact = registers(&mut world, from(NAT), ALICE, 1);
        let shown = redirected(&mut world, from(NAT), &contact, "first", PLACE);
        registers(&mut world, from(OTHER_NAT), ALICE, 2);
        refused(&mut world, &shown, "moved", "480");
        let again = redirected(&mut world, from(OTHER_NAT), &contact, "second", PLACE);
        let down = follows(&mut world, &again, "third");
        assert_eq!(down.flow, from(OTHER_NAT));
        world.deliver(0, from(OTHER_NAT), &answer(&down, "200 OK", ""));
        world.pass(Duration::from_secs(100));
        refused(&mut world, &again, "expired", "480");
        let counted: u64 =
            world.shards.iter_mut().map(|shard| shard.stats().refused.iter().sum::<u64>()).sum();
        assert_eq!(counted, 2, "each refusal is counted");
    }
}

#[test]
fn a_forged_label_leads_nowhere() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        let contact = registers(&mut world, from(NAT), ALICE, 1);
        let shown = redirected(&mut world, from(NAT), &contact, "first", PLACE);
        let at = shown.find("pl=").expect("a label") + 3;
        for (n, at) in [at, (at + shown.len()) / 2, shown.len() - 1].into_iter().enumerate() {
            let mut forged = shown.clone().into_bytes();
            forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
            let forged = String::from_utf8(forged).expect("ASCII");
            refused(&mut world, &forged, &format!("forged-{n}"), "404");
        }
        let counted: u64 =
            world.shards.iter_mut().map(|shard| shard.stats().dropped(DropReason::BadLabel)).sum();
        assert_eq!(counted, 3);
        let other = World::new(Mapping { secret: [8; 32], ..mapping(shards) });
        let (mut other, flow) = (other, from(NAT));
        registers(&mut other, flow, ALICE, 1);
        refused(&mut other, &shown, "other-secret", "404");
    }
}

#[test]
fn a_stranger_who_names_a_place_is_sent_nothing() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        registers(&mut world, from(NAT), ALICE, 1);
        // It speaks as alice, behind her NAT, but not by her flow.
        let refer = "REFER sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.66:5060;branch=z9hG4bKr;rport\n\
            Max-Forwards: 70\nFrom: <sip:alice@example.net>;tag=a\nTo: <sip:bob@198.51.100.10>\nCall-ID: transfer\n\
            CSeq: 1 REFER\nContact: <sip:alice@192.168.1.66:5060>\nRefer-To: <sip:desk@192.168.1.10:7777>\n\
            Content-Length: 0\n\n";
        for (flow, call, status) in [(OTHER_NAT, "a", Some("480")), (NAT, "b", None)] {
            let refer = refer.replace("Call-ID: transfer", &format!("Call-ID: transfer-{call}"));
            let up =
                world.terminal_sends(flow, &refer).into_iter().find(|sent| sent.text().starts_with("REFER"));
            let shown = uri_of(&up.expect("sent on").header("Refer-To"));
            match status {
                Some(status) => refused(&mut world, &shown, call, status),
                None => assert_eq!(follows(&mut world, &shown, call).flow, from(NAT), "it is alice's own"),
            }
        }
    }
}

#[test]
fn a_user_who_is_registered_elsewhere_is_meant_by_its_name() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let contact = registers(&mut world, from(NAT), ALICE, 1);
        carol_registers(&mut world);
        let shown = redirected(&mut world, from(NAT), &contact, "first", "<sip:carol@192.168.1.50:7777>");
        let down = follows(&mut world, &shown, "to-carol");
        assert_eq!(down.flow, from(OTHER_NAT));
        assert!(down.text().starts_with("MESSAGE sip:carol@192.168.1.50:5060 SIP/2.0"), "{}", down.text());
        let own = redirected(&mut world, from(NAT), &contact, "second", "<sip:alice@192.168.1.10:7777>");
        let down = follows(&mut world, &own, "to-herself");
        assert_eq!(down.flow, from(NAT));
        assert!(down.text().starts_with("MESSAGE sip:alice@192.168.1.10:7777 SIP/2.0"), "{}", down.text());
    }
}

#[test]
fn a_connection_that_has_ended_leads_nowhere() {
    for shards in [1, 8] {
        let mut mapping = mapping(shards);
        let mut access = (*mapping.realms[0]).clone();
        access.sip.push((Transport::Tcp, 5060));
        mapping.realms[0] = Arc::new(access);
        let mut world = World::new(mapping);
        let flow = world.connects(usize::from(shards) - 1, Transport::Tcp, NAT);
        let at = usize::from(shards) - 1;
        let contact = "<sip:alice@192.168.1.10:5060;transport=tcp>;expires=600";
        let up = world.deliver(at, flow, &Register::new(contact, 1).text()).remove(0);
        let listed = format!("Contact: {}\n", up.header("Contact"));
        world.answers(&up, "200 OK", &listed);
        let down = follows(&mut world, &uri_of(&up.header("Contact")), "first");
        let moved =
            answer(&down, "302 Moved Temporarily", "Contact: <sip:desk@192.168.1.10:7777;transport=tcp>\n");
        let shown = uri_of(&world.deliver(at, flow, &moved).remove(0).header("Contact"));
        let down = follows(&mut world, &shown, "again");
        assert!(
            down.text().starts_with("MESSAGE sip:desk@192.168.1.10:7777;transport=tcp SIP"),
            "{}",
            down.text()
        );
        assert_eq!(down.flow, flow);
        world.closes(flow);
        refused(&mut world, &shown, "closed", "480");
        let flow = world.connects(at, Transport::Tcp, NAT);
        let up = world.deliver(at, flow, &Register::new(contact, 2).text()).remove(0);
        let listed = format!("Contact: {}\n", up.header("Contact"));
        world.answers(&up, "200 OK", &listed);
        refused(&mut world, &shown, "another-connection", "480");
    }
}

#[test]
fn another_core_realm_cannot_follow() {
    let other = RealmId(2);
    let mut mapping = mapping(1);
    mapping.realms.push(Arc::new(realm(other, "other", Side::Core, "10.1.0.10")));
    mapping.softswitches.push(Arc::new(Softswitch::new(
        "sy",
        other,
        vec![Server::udp(addr("10.1.0.20:5060"))],
    )));
    let mut world = World::new(mapping);
    let contact = registers(&mut world, from(NAT), ALICE, 1);
    let shown = redirected(&mut world, from(NAT), &contact, "first", PLACE);
    let (local, remote) = (addr("10.1.0.10:6000"), addr("10.1.0.20:5060"));
    let flow = Flow { realm: other, transport: Transport::Udp, local, remote, stream: None };
    let answered =
        world.deliver(0, flow, &dialled(&shown, "stolen").replace("10.0.0.20", "10.1.0.20")).remove(0);
    assert!(answered.text().starts_with("SIP/2.0 480"), "{}", answered.text());
    assert_eq!(answered.flow.realm, other);
}
