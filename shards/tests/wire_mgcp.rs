//! MGCP's grammar: what is found in messages as gateways and call agents write them, and what is refused.

use portolan_shards::fault::Fault;
use portolan_shards::wire::Span;
use portolan_shards::wire::mgcp::{self, Ack, Message, Start, Verb};
use proptest::prelude::*;
use std::path::Path;

const CREATE: &[u8] = b"CRCX 1204 aaln/1@[192.168.1.5] MGCP 1.0 NCS 1.0\r\nC: A3C47F21456789F0\r\nL: p:10, a:PCMU\r\n\
    M: sendrecv\r\nN: ca@ca1.whatever.net:5678\r\nX: 0123456789AD\r\nR: L/hd\r\nS: L/rg\r\n\r\nv=0\r\n\
    o=- 25678 753849 IN IP4 128.96.41.1\r\ns=-\r\nc=IN IP4 128.96.41.1\r\nt=0 0\r\nm=audio 3456 RTP/AVP 0\r\n";

#[test]
fn a_command_with_its_parameters_and_description() {
    let message = Message::parse(CREATE).unwrap();
    let Start::Command { verb, endpoint } = message.start else { panic!("not a command") };
    assert_eq!((verb, message.transaction), (Verb::Create, 1204));
    assert_eq!(endpoint.local.of(CREATE), b"aaln/1");
    assert_eq!(endpoint.domain.of(CREATE), b"[192.168.1.5]");
    assert!(endpoint.is_literal(CREATE));
    assert_eq!(message.value("c"), Some(&b"A3C47F21456789F0"[..]));
    assert_eq!(message.value("R"), Some(&b"L/hd"[..]));
    let notified = mgcp::Endpoint::parse(CREATE, message.parameter("N").unwrap().value).unwrap();
    assert_eq!((notified.local.of(CREATE), notified.port), (&b"ca"[..], Some(5678)));
    assert_eq!(message.descriptions.len(), 1);
    assert!(message.descriptions[0].of(CREATE).starts_with(b"v=0\r\n"));
    assert!(message.descriptions[0].of(CREATE).ends_with(b"AVP 0\r\n"));
}

#[test]
fn a_response_may_describe_two_connections() {
    let text = b"200 1204 OK\nI: FDE234C8\nI2: FDE234C9\nZ2: aaln/2@gw\n\nv=0\nm=audio 1 RTP/AVP 0\n\nv=0\nm=audio 3 RTP/AVP 0";
    let message = Message::parse(text).unwrap();
    assert_eq!(message.start, Start::Response { code: 200 });
    assert_eq!(message.line_end(), "\n");
    let parts: Vec<_> = message.descriptions.iter().map(|span| span.of(text)).collect();
    assert_eq!(parts, [&b"v=0\nm=audio 1 RTP/AVP 0\n"[..], b"v=0\nm=audio 3 RTP/AVP 0"]);
}

#[test]
fn piggybacked_messages_are_parted_at_lines_of_one_dot() {
    let text = b"200 2005 OK\r\n.\r\nDLCX 1244 card23/21@tgw-7.example.net MGCP 1.0\r\nC: A3\r\n.\n\n";
    let parts = mgcp::messages(text);
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].of(text), b"200 2005 OK\r\n");
    let second = Message::parse(parts[1].of(text)).unwrap();
    assert_eq!(second.transaction, 1244);
    assert!(mgcp::messages(b".\r\n.\r\n\r\n").is_empty());
}

#[test]
fn what_is_no_message_is_refused_and_its_transaction_told_where_it_can_be() {
    for (bad, told) in [
        (&b""[..], None),
        (b"CRCX", None),
        (b"CRCX 12", Some((12, true))),
        (b"CRCX 12 aaln/1@gw SIP/2.0\r\n", Some((12, true))),
        (b"CRCX 0 aaln/1@gw MGCP 1.0\r\n", None),
        (b"CRCX 1000000000 aaln/1@gw MGCP 1.0\r\n", None),
        (b"CRCX 12 aaln/1@gw:x MGCP 1.0\r\n", Some((12, true))),
        (b"CRCX 12 aaln/1@ MGCP 1.0\r\n", Some((12, true))),
        (b"RSIP 12 aaln/1@gw MGCP 1.0\r\nno colon\r\n", Some((12, true))),
        (b"20 12 OK", Some((12, false))),
        (b"2000 12 OK", Some((12, false))),
        (b"200 x OK", None),
    ] {
        assert!(matches!(Message::parse(bad), Err(Fault::Malformed(_))), "{}", bad.escape_ascii());
        assert_eq!(mgcp::transaction(bad), told, "{}", bad.escape_ascii());
    }
    let many = format!("RSIP 1 *@gw MGCP 1.0\r\n{}", "X-a: b\r\n".repeat(mgcp::MAX_PARAMETERS + 1));
    assert_eq!(Message::parse(many.as_bytes()).err(), Some(Fault::Refused("too many MGCP parameters")));
}

#[test]
fn names_have_a_local_part_a_domain_and_maybe_a_port() {
    for (name, local, domain, port) in [
        ("aaln/1@gw1", "aaln/1", "gw1", None),
        ("*@[10.0.0.1]", "*", "[10.0.0.1]", None),
        ("ds/$/1@gw.example.net", "ds/$/1", "gw.example.net", None),
        ("ca@[10.0.0.1]:2727", "ca", "[10.0.0.1]", Some(2727)),
        ("[2001:db8::1]:2727", "", "[2001:db8::1]", Some(2727)),
        ("ca1.example.net", "", "ca1.example.net", None),
        ("a@b@10.0.0.1", "a@b", "10.0.0.1", None),
    ] {
        let read = mgcp::Endpoint::parse(name.as_bytes(), Span::new(0, name.len())).unwrap();
        assert_eq!(read.local.of(name.as_bytes()), local.as_bytes());
        assert_eq!((read.domain.of(name.as_bytes()), read.port), (domain.as_bytes(), port), "{name}");
    }
    let list = b"aaln/1@gw, aaln/2@gw,,bad@, aaln/3@gw";
    assert_eq!(mgcp::endpoints(list, Span::new(0, list.len())).count(), 3);
}

#[test]
fn acknowledged_ranges() {
    let value = b"6234-6255, 6257, 6259-6258, x, 19030-19044";
    let read: Vec<_> =
        mgcp::acks(value, Span::new(0, value.len())).map(|Ack { first, last }| (first, last)).collect();
    assert_eq!(read, [(6234, 6255), (6257, 6257), (19030, 19044)]);
}

/// Real messages, where they are present: all can be read, but for the ones that are cut.
#[test]
fn recorded_messages_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/mgcp/pcap_msgs");
    let Ok(files) = std::fs::read_dir(folder) else { return };
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for part in mgcp::messages(&bytes) {
            let part = part.of(&bytes);
            let message = Message::parse(part);
            assert!(message.is_ok(), "{}: {:?}\n{}", path.display(), message.err(), part.escape_ascii());
        }
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for part in mgcp::messages(&bytes) {
            let _ = Message::parse(part.of(&bytes)).map(|m| (m.parameters_end(), m.line_end()));
        }
        let _ = mgcp::transaction(&bytes);
    }

    #[test]
    fn a_mutated_message_keeps_its_spans_inside(at in 0..CREATE.len(), with: u8, cut in 0..CREATE.len()) {
        let mut bytes = CREATE.to_vec();
        bytes[at] = with;
        bytes.truncate(cut.max(1));
        if let Ok(message) = Message::parse(&bytes) {
            let whole = Span::new(0, bytes.len());
            prop_assert!(whole.contains(message.transaction_span));
            prop_assert!(message.parameters.iter().all(|p| whole.contains(p.line) && p.line.contains(p.value)));
            prop_assert!(message.descriptions.iter().all(|span| whole.contains(*span)));
        }
    }
}
