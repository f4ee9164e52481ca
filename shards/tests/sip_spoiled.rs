//! An INVITE is accepted with a description that cannot be passed on: whoever accepted is acknowledged and sent away,
//! the caller is told at once, and nothing stays behind.

mod support;

use portolan_shards::io::DropReason;
use std::time::Duration;
use support::call::{core_request, invite, request, response, sdp, sent_to, totals};
use support::registering::{Register, answer, calls, from, message, uri_of};
use support::{ACCESS, CORE, NAT, Sent, World, mapping};

/// A description whose port is none.
fn bad() -> String {
    sdp("10.0.0.77:zz", "")
}

fn good() -> String {
    sdp("10.0.0.77:7000", "")
}

fn home(up: &Sent) -> String {
    up.flow.local.to_string()
}

/// The caller's INVITE as the softswitch sees it.
fn called(world: &mut World, body: Option<&str>) -> Sent {
    sent_to(world.terminal_sends(NAT, &invite(body)), CORE)
}

fn find<'s>(all: &'s [Sent], start: &str) -> &'s Sent {
    let found = all.iter().find(|sent| sent.text().starts_with(start));
    found.unwrap_or_else(|| panic!("{start}: {:?}", all.iter().map(Sent::text).collect::<Vec<_>>()))
}

fn dropped(world: &mut World) -> u64 {
    world.shards.iter_mut().map(|shard| shard.stats().dropped(DropReason::Malformed)).sum()
}

/// Everybody answers what is still open; then nothing is held.
#[track_caller]
fn leaves_nothing(world: &mut World, bye: &Sent, ports: u64) {
    let done = if bye.flow.realm == CORE {
        world.core_sends(&home(bye), &answer(bye, "200 OK", "").replace(";tag=r", ""))
    } else {
        world.deliver(0, bye.flow, &answer(bye, "200 OK", "").replace(";tag=r", ""))
    };
    assert!(done.is_empty(), "{done:?}");
    world.pass(Duration::from_secs(60));
    let stats: Vec<_> = world.shards.iter_mut().map(portolan_shards::shard::Shard::stats).collect();
    assert_eq!(stats.iter().map(|s| s.transactions + s.dialogs).sum::<u64>(), 0);
    assert_eq!(totals(world), (0, ports));
}

#[test]
fn the_caller_is_told_502_and_the_called_one_gets_ack_and_bye() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let (_, ports) = totals(&mut world);
        let up = called(&mut world, Some(&sdp("192.168.1.10:5004", "")));
        let accepted = response(&up, "200 OK", "b", Some(&bad()));
        let accepted = accepted.replace("Contact: ", "Record-Route: <sip:10.0.0.20;lr;id=7>\nContact: ");
        let sent = world.core_sends(&home(&up), &accepted);
        assert_eq!(sent.len(), 3, "{sent:?}");
        for (line, start) in
            [("1 ACK", "ACK sip:b@10.0.0.20 SIP/2.0"), ("2 BYE", "BYE sip:b@10.0.0.20 SIP/2.0")]
        {
            let own = find(&sent, start);
            assert_eq!((own.flow.realm, own.header("CSeq").as_str()), (CORE, line));
            assert_eq!(own.header("Route"), "<sip:10.0.0.20;lr;id=7>");
            assert!(
                own.header("From").ends_with(";tag=a") && own.header("To").ends_with(";tag=b"),
                "{}",
                own.text()
            );
            assert_eq!(own.header("Call-ID"), up.header("Call-ID"));
        }
        let bye = find(&sent, "BYE").clone();
        assert!(bye.header("Reason").starts_with("SIP;cause=488;"), "{}", bye.text());
        let told = find(&sent, "SIP/2.0 502 Bad Gateway");
        assert_eq!(told.flow.realm, ACCESS);
        assert!(told.header("Warning").starts_with("399 portolan \"malformed: "), "{}", told.text());
        assert_eq!((dropped(&mut world), totals(&mut world).0), (1, 0));

        let again = world.core_sends(&home(&up), &accepted);
        assert_eq!(again.len(), 1, "the ACK was lost: {again:?}");
        assert_eq!(again[0].bytes, find(&sent, "ACK").bytes);
        let ack = invite(None)
            .replace("INVITE", "ACK")
            .replace("To: <sip:bob@198.51.100.10>", &format!("To: {}", told.header("To")));
        assert!(world.terminal_sends(NAT, &ack).is_empty());
        leaves_nothing(&mut world, &bye, ports);
    }
}

#[test]
fn an_offer_in_the_2xx_and_a_body_that_cannot_be_looked_into_end_alike() {
    let offer = sdp("192.168.1.10:5004", "");
    for (offer, status, spoil) in [
        (None, "200 OK", (bad(), "")),
        (Some(offer.as_str()), "200 OK", (good(), "Content-Encoding: gzip\n")),
        (Some(offer.as_str()), "488 Not Acceptable Here", (bad(), "")),
    ] {
        let mut world = World::new(mapping(1));
        let (_, ports) = totals(&mut world);
        let up = called(&mut world, offer);
        let accepted = response(&up, status, "b", Some(&spoil.0));
        let accepted = accepted.replace("Contact: ", &format!("{}Contact: ", spoil.1));
        let sent = world.core_sends(&home(&up), &accepted);
        assert_eq!(find(&sent, "SIP/2.0 502").flow.realm, ACCESS);
        assert_eq!(find(&sent, "ACK").flow.realm, CORE);
        let byes = sent.iter().filter(|sent| sent.text().starts_with("BYE")).count();
        assert_eq!((byes, totals(&mut world).0), (usize::from(status == "200 OK"), 0));
        world.pass(Duration::from_secs(60));
        assert_eq!(totals(&mut world), (0, ports));
    }
}

#[test]
fn a_terminal_that_accepts_so_is_sent_away_by_its_flow() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        let (_, ports) = totals(&mut world);
        let (up, _) =
            world.registered(from(NAT), &Register::new("<sip:alice@192.168.1.10;ob>;expires=600", 1), "");
        let contact = uri_of(&up.header("Contact"));
        assert!(calls(&mut world, &contact, "test").text().starts_with("MESSAGE"));
        let offer = good().replace('\n', "\r\n");
        let text = message(&contact, "call", "Contact: <sip:bob@10.0.0.20>\nContent-Type: application/sdp\n");
        let text = text
            .replace("MESSAGE", "INVITE")
            .replace("Content-Length: 0\n\n", &format!("Content-Length: {}\n\n{offer}", offer.len()));
        let down = sent_to(world.core_sends("10.0.0.10:6000", &text), ACCESS);
        let accepted = response(&down, "200 OK", "r", Some(&sdp("192.168.1.10:zz", "")));
        let accepted = accepted.replace("sip:r@10.0.0.20", "sip:line@192.168.1.10;y=2");
        let sent = world.deliver(0, from(NAT), &accepted);
        for start in ["ACK sip:line@192.168.1.10;y=2 ", "BYE sip:line@192.168.1.10;y=2 "] {
            assert_eq!(find(&sent, start).flow, from(NAT));
        }
        assert_eq!(find(&sent, "SIP/2.0 502").flow.realm, CORE);
        let bye = find(&sent, "BYE").clone();
        assert!(!bye.text().contains("10.0.0."), "{}", bye.text());
        world.deliver(0, from(NAT), &answer(&bye, "200 OK", "").replace(";tag=r\n", "\n"));
        world.pass(Duration::from_secs(50));
        assert_eq!(totals(&mut world), (0, ports));
    }
}

#[test]
fn a_running_call_ends_on_both_sides() {
    let mut world = World::new(mapping(1));
    let (_, ports) = totals(&mut world);
    let offer = sdp("192.168.1.10:5004", "");
    let up = called(&mut world, Some(&offer));
    let shown = world.core_sends(&home(&up), &response(&up, "200 OK", "b", Some(&good()))).remove(0);
    world.terminal_sends(NAT, &request(&shown, "ACK", 1, None));
    assert_eq!(totals(&mut world).0, 1);
    let again = sent_to(world.terminal_sends(NAT, &request(&shown, "INVITE", 2, Some(&offer))), CORE);
    let sent = world.core_sends(&home(&again), &response(&again, "200 OK", "b", Some(&bad())));
    let ends: Vec<_> = sent.iter().filter(|sent| sent.text().starts_with("BYE")).collect();
    assert_eq!((ends.len(), totals(&mut world).0), (2, 0), "{sent:?}");
    let ack = find(&sent, "ACK");
    assert_eq!((ack.flow.realm, ack.header("CSeq").as_str()), (CORE, "2 ACK"));
    assert_eq!(find(&sent, "SIP/2.0 502").header("CSeq"), "2 INVITE");
    let core = ends.iter().find(|bye| bye.flow.realm == CORE).expect("one to the core");
    assert_eq!(core.header("CSeq"), "3 BYE");
    world.pass(Duration::from_secs(60));
    assert_eq!(totals(&mut world), (0, ports));
}

#[test]
fn a_caller_that_has_cancelled_is_told_so() {
    let mut world = World::new(mapping(1));
    let up = called(&mut world, Some(&sdp("192.168.1.10:5004", "")));
    world.core_sends(&home(&up), &response(&up, "180 Ringing", "b", None));
    let cancelled = world.terminal_sends(NAT, &invite(None).replace("INVITE", "CANCEL"));
    assert_eq!(find(&cancelled, "CANCEL").flow.realm, CORE);
    let sent = world.core_sends(&home(&up), &response(&up, "200 OK", "b", Some(&bad())));
    assert_eq!(find(&sent, "SIP/2.0 487").flow.realm, ACCESS);
    assert_eq!((find(&sent, "ACK").flow.realm, find(&sent, "BYE").flow.realm), (CORE, CORE));
    assert_eq!(totals(&mut world).0, 0);
}

#[test]
fn a_second_fork_that_accepts_so_leaves_the_first_one_alone() {
    let mut world = World::new(mapping(1));
    let up = called(&mut world, Some(&sdp("192.168.1.10:5004", "")));
    let shown = world.core_sends(&home(&up), &response(&up, "200 OK", "one", Some(&good()))).remove(0);
    let sent = world.core_sends(&home(&up), &response(&up, "200 OK", "two", Some(&bad())));
    assert_eq!(sent.len(), 2, "nothing to the caller: {sent:?}");
    for start in ["ACK sip:two@10.0.0.20 ", "BYE sip:two@10.0.0.20 "] {
        assert!(find(&sent, start).header("To").ends_with(";tag=two"));
    }
    let ack = sent_to(world.terminal_sends(NAT, &request(&shown, "ACK", 1, None)), CORE);
    assert!(ack.text().starts_with("ACK sip:one@10.0.0.20 "), "{}", ack.text());
    assert_eq!(totals(&mut world).0, 1);
    let bye = core_request(&up, "one", "BYE", 8, None);
    assert!(find(&world.core_sends(&home(&up), &bye), "BYE").flow.realm == ACCESS);
}
