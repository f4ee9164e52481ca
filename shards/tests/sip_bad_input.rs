//! Bad input: the right answer or a counted drop, and nothing left behind.

#[path = "support/messages.rs"]
mod messages;
mod support;

use messages::{access, core};
use portolan_shards::io::DropReason;
use portolan_shards::random::Rng;
use std::time::Duration;
use support::{NAT, Sent, World, addr, mapping};

const INVITE: &str = "INVITE sip:bob@198.51.100.10 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\r\n\
    Max-Forwards: 70\r\nFrom: <sip:alice@198.51.100.10>;tag=a\r\nTo: <sip:bob@198.51.100.10>\r\nCall-ID: call-1\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:alice@192.168.1.10:5060>\r\nContent-Type: application/sdp\r\nContent-Length: 115\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

fn answer(text: &str) -> Vec<Sent> {
    World::new(mapping(2)).terminal_sends(NAT, text)
}

fn status(sent: &[Sent]) -> String {
    sent.first().map(|sent| sent.text().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// Every session, port and transaction is gone after enough time, whatever came in.
fn assert_empty(world: &mut World) {
    world.pass(Duration::from_secs(8000));
    for shard in &mut world.shards {
        let stats = shard.stats();
        assert_eq!((stats.sessions, stats.ports, stats.transactions, stats.dialogs), (0, 0, 0, 0));
    }
}

#[test]
fn the_template_itself_is_good() {
    assert!(status(&answer(INVITE)).starts_with("INVITE sip:bob@example.net"));
}

#[test]
fn each_mistake_gets_its_own_answer() {
    let cases = [
        (INVITE.replace("Max-Forwards: 70", "Max-Forwards: 0"), "SIP/2.0 483 Too Many Hops"),
        (INVITE.replace("Max-Forwards: 70", "Proxy-Require: nothing"), "SIP/2.0 420 Bad Extension"),
        (
            INVITE.replace("bob@198.51.100.10 SIP/2.0", "bob@198.51.100.10 SIP/7.0"),
            "SIP/2.0 505 Version Not Supported",
        ),
        (INVITE.replace("INVITE sip:bob@", "INVITE nobody:bob@"), "SIP/2.0 416 Unsupported URI Scheme"),
        (
            INVITE.replace("<sip:bob@198.51.100.10>", "<sip:bob@198.51.100.10>;tag=none"),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
        (INVITE.replace("Content-Length: 115", "Content-Length: 4294967328"), "SIP/2.0 400 Bad Request"),
        (INVITE.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), "SIP/2.0 400 Bad Request"),
        (INVITE.replace("c=IN IP4 192.168.1.10\r\n", "").replace("115", "92"), "SIP/2.0 400 Bad Request"),
        (
            INVITE.replace("Content-Type:", "Content-Encoding: gzip\r\nContent-Type:"),
            "SIP/2.0 415 Unsupported Media Type",
        ),
        (INVITE.replace("INVITE", "CANCEL"), "SIP/2.0 481 Call/Transaction Does Not Exist"),
    ];
    for (text, expected) in cases {
        let sent = answer(&text);
        assert_eq!(status(&sent), expected, "{text}");
        assert_eq!(sent.len(), 1, "{text}");
        assert_eq!(sent[0].flow.remote, addr(NAT));
    }
}

#[test]
fn white_space_before_the_colon_and_a_missing_final_line_end_are_tolerated() {
    let text =
        INVITE.replace("Call-ID:", "Call-ID \t:").replace("PCMU/8000\r\n", "PCMU/8000").replace("115", "113");
    let mut world = World::new(mapping(1));
    let sent = world.deliver_raw(0, access(), text.as_bytes());
    assert!(status(&sent).starts_with("INVITE sip:bob@example.net"), "{sent:?}");
}

#[test]
fn long_tags_and_branches_pass() {
    let text = INVITE
        .replace("tag=a", &format!("tag={}", "t".repeat(300)))
        .replace("z9hG4bKinv", &format!("z9hG4bK{}", "b".repeat(300)));
    assert!(status(&answer(&text)).starts_with("INVITE sip:bob@example.net"));
}

#[test]
fn pings_are_swallowed_and_a_double_line_end_is_answered() {
    let mut world = World::new(mapping(1));
    assert_eq!(world.deliver_raw(0, access(), b"\r\n\r\n")[0].bytes, &b"\r\n"[..]);
    assert!(world.deliver_raw(0, access(), &[0; 4]).is_empty());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Ping), 2);
}

#[test]
fn a_response_to_nothing_is_counted() {
    let mut world = World::new(mapping(2));
    let stray = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.10:6000;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:b@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    assert!(world.deliver(0, core(), stray).is_empty());
    let unmatched: u64 = world.shards.iter_mut().map(|s| s.stats().dropped(DropReason::Unmatched)).sum();
    assert_eq!(unmatched, 1);
}

#[test]
fn a_contact_cannot_smuggle_a_header_line() {
    let text = INVITE
        .replace("<sip:alice@192.168.1.10:5060>", "<sip:alice%0d%0aX-Evil:1@192.168.1.10;a=\r\n X-Evil: 2>");
    for sent in answer(&text) {
        assert!(!sent.text().lines().any(|line| line.starts_with("X-Evil")), "{}", sent.text());
    }
}

#[test]
fn random_octets_never_hurt() {
    let mut world = World::new(mapping(2));
    let mut rng = Rng::new([3; 32]);
    for _ in 0..5_000 {
        let mut bytes = vec![0; rng.below(300) as usize];
        rng.fill(&mut bytes);
        let flow = if rng.below(2) == 0 { access() } else { core() };
        world.deliver_raw(rng.below(2) as usize, flow, &bytes);
    }
    assert_empty(&mut world);
}

#[test]
fn mutated_messages_never_hurt_and_leave_nothing() {
    let mut world = World::new(mapping(2));
    let mut rng = Rng::new([4; 32]);
    for n in 0..5_000 {
        let mut bytes = INVITE.replace("call-1", &format!("call-{n}")).into_bytes();
        for _ in 0..=rng.below(6) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = rng.u64() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n:;,<>\"= "[rng.below(10) as usize]),
            }
        }
        let flow = if rng.below(4) == 0 { core() } else { access() };
        for sent in world.deliver_raw(rng.below(2) as usize, flow, &bytes) {
            assert!(sent.bytes.len() < 4 * bytes.len() + 500);
        }
    }
    assert_empty(&mut world);
}

#[test]
fn the_torture_messages_leave_nothing() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus/sip/rfc4475");
    let Ok(files) = std::fs::read_dir(corpus) else {
        println!("no corpus at {corpus}: not run");
        return;
    };
    let mut world = World::new(mapping(2));
    let mut count = 0;
    for file in files {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("a file");
        for flow in [access(), core()] {
            world.deliver_raw(0, flow, &bytes);
        }
        count += 1;
    }
    assert!(count >= 49, "{count}");
    assert_empty(&mut world);
}
