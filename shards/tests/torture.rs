//! The torture tests of RFC 4475 and RFC 5118: the verdict that each message deserves, end to end through shards.

#[path = "torture/ipv6.rs"]
mod ipv6;
mod support;
#[path = "torture/table.rs"]
mod table;

use portolan_shards::io::DropReason;
use portolan_shards::realm::Mapping;
use portolan_shards::types::{Flow, Transport};
use portolan_shards::wire::sip::{Message, Name};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{ACCESS, CORE, NAT, SOFTSWITCH, Sent, World, addr, mapping};
use table::{RFC4475, RFC5118, Verdict};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus/sip/rfc4475");
const PAGE: &str = include_str!("../../docs/TORTURE.md");
const NAT6: &str = "[2001:db8::9:255]:40001";

/// Headers that Portolan writes itself, wholly or in part. All others pass octet by octet.
const OWN: [Name; 8] = [
    Name::Via,
    Name::Route,
    Name::RecordRoute,
    Name::Contact,
    Name::From,
    Name::To,
    Name::MaxForwards,
    Name::ContentLength,
];

fn flow(realm: portolan_shards::types::RealmId, local: &str, remote: &str) -> Flow {
    Flow { realm, transport: Transport::Udp, local: addr(local), remote: addr(remote), stream: None }
}

/// The access realm over IPv6, the core over IPv4.
fn mapping6() -> Mapping {
    let mut mapping = mapping(2);
    let access = support::realm(ACCESS, "access", portolan_shards::types::Side::Access, "2001:db8::10");
    mapping.realms[0] = Arc::new(access);
    mapping
}

fn drops(world: &mut World, reason: DropReason) -> u64 {
    world.shards.iter_mut().map(|shard| shard.stats().dropped(reason)).sum()
}

fn all_drops(world: &mut World) -> u64 {
    DropReason::ALL.iter().map(|reason| drops(world, *reason)).sum()
}

/// Sessions, ports, transactions and dialogs are gone after all timers.
fn assert_empty(world: &mut World, name: &str) {
    world.pass(Duration::from_secs(8000));
    for shard in &mut world.shards {
        let stats = shard.stats();
        let left = (stats.sessions, stats.ports, stats.transactions, stats.dialogs);
        assert_eq!(left, (0, 0, 0, 0), "{name}");
    }
}

/// The status of a response, as text: an answer to a broken request copies what is broken in it.
fn status(sent: &Sent) -> Option<u16> {
    sent.text().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

/// A final answer to the sender, if there is one.
fn answer(sent: &[Sent], to: SocketAddr) -> Option<&Sent> {
    sent.iter().find(|sent| sent.flow.remote == to && status(sent).is_some_and(|status| status >= 200))
}

/// Compare what was sent for `bytes`, which came by `flow`, with the verdict.
fn judge(world: &mut World, name: &str, verdict: Verdict, bytes: &[u8], from: Flow, sent: &[Sent]) {
    match verdict {
        Verdict::Forwarded(kept, gone) => {
            assert_eq!(answer(sent, from.remote).map(Sent::text), None, "{name} was answered");
            let out = sent.iter().find(|sent| sent.flow.realm != from.realm);
            let out = out.unwrap_or_else(|| panic!("{name} did not pass: {sent:?}"));
            assert_passed(name, bytes, out);
            for text in kept {
                assert!(out.text().contains(text), "{name} without {text:?}:\n{}", out.text());
            }
            for text in gone {
                assert!(!out.text().contains(text), "{name} with {text:?}:\n{}", out.text());
            }
        }
        Verdict::Answered(status) => {
            assert!(sent.iter().all(|sent| sent.flow.realm == from.realm), "{name} passed");
            let reply = answer(sent, from.remote).unwrap_or_else(|| panic!("{name} was not answered"));
            assert!(reply.text().starts_with(&format!("SIP/2.0 {status} ")), "{name}: {}", reply.text());
            assert_eq!(reply.flow.local, from.local, "{name}");
        }
        Verdict::Absorbed => {
            assert!(sent.iter().all(|sent| sent.flow.realm != from.realm), "{name} was answered");
            assert_eq!(all_drops(world), 0, "{name}");
        }
        Verdict::Dropped(reason) => {
            assert!(sent.is_empty(), "{name}: {sent:?}");
            assert_eq!((drops(world, reason), all_drops(world)), (1, 1), "{name}");
        }
    }
}

/// What holds for everything that passes: it reads, it is the same call, and what is not ours to write is untouched
/// and in its order.
fn assert_passed(name: &str, bytes: &[u8], out: &Sent) {
    let (before, after) = (Message::parse(bytes).expect(name), Message::parse(&out.bytes).expect(name));
    assert_eq!((before.call_id(), before.cseq()), (after.call_id(), after.cseq()), "{name}");
    assert_eq!((before.from_tag(), before.to_tag()), (after.from_tag(), after.to_tag()), "{name}");
    assert_eq!(others(&before), others(&after), "{name}");
    assert!(after.content_length().is_none_or(|length| length == after.body().len()), "{name}");
}

/// The header lines that are not Portolan's, without their line ends.
fn others<'a>(message: &Message<'a>) -> Vec<&'a [u8]> {
    let foreign = message.headers().iter().filter(|header| !OWN.contains(&header.name));
    foreign.map(|header| header.line.of(message.bytes()).trim_ascii_end()).collect()
}

/// A message of RFC 4475. The file of baddn lacks the blank line that the RFC has.
fn corpus(name: &str) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(format!("{CORPUS}/{name}.dat")).ok()?;
    if name == "baddn" && !bytes.ends_with(b"\r\n\r\n") {
        bytes.extend(b"\r\n");
    }
    Some(bytes)
}

/// Send an INVITE through that a response of the corpus could answer, and give the response its Via.
fn as_our_response(world: &mut World, bytes: &[u8]) -> Vec<u8> {
    let response = String::from_utf8_lossy(bytes).into_owned();
    let call = support::header(&response, "Call-ID");
    let from = support::header(&response, "From");
    let invite = format!(
        "INVITE sip:user@example.edu SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKus;rport\nMax-Forwards: 70\n\
         From: {from}\nTo: <sip:user@example.edu>\nCall-ID: {call}\nCSeq: 35 INVITE\n\
         Contact: <sip:user@192.168.1.10>\nContent-Length: 0\n\n"
    );
    let sent = world.terminal_sends(NAT, &invite);
    let out = sent.iter().find(|sent| sent.flow.realm == CORE).expect("an INVITE toward the softswitch");
    let via = support::header(&response, "Via");
    response.replacen(&via, &out.header("Via"), 1).into_bytes()
}

fn run_4475(name: &str, verdict: Verdict, bytes: &[u8]) {
    let mut world = World::new(mapping(1));
    let is_response = bytes.starts_with(b"SIP/");
    let expected = !matches!(verdict, Verdict::Dropped(_));
    let bytes = if is_response && expected { as_our_response(&mut world, bytes) } else { bytes.to_vec() };
    let from = if is_response {
        flow(CORE, "10.0.0.10:6000", SOFTSWITCH)
    } else {
        flow(ACCESS, "198.51.100.10:5060", NAT)
    };
    let sent = world.deliver_raw(0, from, &bytes);
    judge(&mut world, name, verdict, &bytes, from, &sent);
    assert_empty(&mut world, name);
}

#[test]
fn each_message_of_rfc_4475_gets_its_verdict() {
    let mut run = 0;
    for (name, _, verdict) in RFC4475 {
        let Some(bytes) = corpus(name) else { continue };
        run_4475(name, verdict, &bytes);
        run += 1;
    }
    match run {
        0 => println!("skipped: no corpus at {CORPUS}"),
        run => assert_eq!(run, RFC4475.len(), "the corpus is not whole"),
    }
}

/// What makes wsinv a request within a dialog is its To tag; all else that is odd in it passes.
#[test]
fn the_short_tortuous_invite_passes_when_it_opens_a_dialog() {
    let Some(bytes) = corpus("wsinv") else { return println!("skipped: no corpus at {CORPUS}") };
    let text = String::from_utf8(bytes).expect("ASCII");
    let opening = text.replacen(";   tag    = 1918181833n", "", 1);
    assert_ne!(opening, text);
    let kept =
        &["NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n", "a=rtpmap:31 LPC"];
    let gone = &["IP4 192.0.2.3", "IP4 192.0.2.4", "spindle", "services.example.com", "192.168.255.111"];
    run_4475("wsinv", Verdict::Forwarded(kept, gone), opening.as_bytes());
}

/// On the core side a request is for a terminal that is not there: what is refused for its form is refused the same
/// way, everything else finds nobody.
#[test]
fn the_verdict_on_a_bad_message_does_not_depend_on_the_side() {
    for (name, _, verdict) in RFC4475 {
        let Some(bytes) = corpus(name).filter(|bytes| !bytes.starts_with(b"SIP/")) else { continue };
        let mut world = World::new(mapping(1));
        let from = flow(CORE, "10.0.0.10:5060", SOFTSWITCH);
        let sent = world.deliver_raw(0, from, &bytes);
        match verdict {
            Verdict::Answered(expected) => {
                assert_eq!(sent.first().and_then(status), Some(expected), "{name}");
            }
            _ => assert!(sent.iter().all(|sent| sent.flow.realm == CORE), "{name}: {sent:?}"),
        }
        assert_empty(&mut world, name);
    }
}

#[test]
fn each_shape_of_rfc_5118_gets_its_verdict() {
    for ((name, verdict), (of, text)) in RFC5118.into_iter().zip(ipv6::MESSAGES) {
        assert_eq!(name, of);
        let mut world = World::new(mapping6());
        let from = flow(ACCESS, "[2001:db8::10]:5060", NAT6);
        let bytes = text.replace('\n', "\r\n");
        let sent = world.deliver(0, from, &bytes);
        judge(&mut world, name, verdict, bytes.as_bytes(), from, &sent);
        assert_empty(&mut world, name);
    }
}

/// RFC 5118 section 4.5: `received` is understood either way, and written without brackets.
#[test]
fn received_is_written_without_brackets() {
    let (_, text) = ipv6::MESSAGES[4];
    let mut world = World::new(mapping6());
    let sent = world.deliver(0, flow(ACCESS, "[2001:db8::10]:5060", NAT6), text);
    let via = answer(&sent, addr(NAT6)).expect("an answer").header("Via");
    assert_eq!(via, "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKv45;received=2001:db8::9:255");
}

/// RFC 5118 section 4.7: all Vias come back, in their order.
#[test]
fn vias_of_both_families_come_back() {
    let (_, text) = ipv6::MESSAGES[7];
    let mut world = World::new(mapping6());
    let sent = world.deliver(0, flow(ACCESS, "[2001:db8::10]:5060", NAT6), text);
    let reply = answer(&sent, addr(NAT6)).expect("an answer").text();
    let vias: Vec<_> = reply.lines().filter(|line| line.starts_with("Via: ")).collect();
    assert_eq!(vias.len(), 3, "{reply}");
    assert!(vias[1].contains("192.0.2.1;") && vias[2].ends_with(";received=192.0.2.200"), "{reply}");
}

/// The rows of the page's tables: message, section, verdict.
fn rows() -> Vec<[String; 3]> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| message"));
    let cell = |line: &str, n: usize| line.split('|').nth(n).unwrap_or_default().trim().to_owned();
    lines
        .filter(|line| !line.starts_with("|---"))
        .map(|line| [cell(line, 1), cell(line, 2), cell(line, 4)])
        .collect()
}

#[test]
fn the_page_and_the_table_agree() {
    let own = RFC5118.into_iter().map(|(name, verdict)| {
        let (section, shape) = name.split_once(' ').expect("a section and a shape");
        [shape.to_owned(), section.to_owned(), verdict.to_string()]
    });
    let published = RFC4475
        .into_iter()
        .map(|(name, section, verdict)| [name.to_owned(), section.to_owned(), verdict.to_string()]);
    assert_eq!(rows(), published.chain(own).collect::<Vec<_>>());
}
