//! Whatever stands in a field that Portolan rewrites or copies: what leaves can be read, has no header that did not come
//! in as one, and shows no address of the other side.

#[path = "support/messages.rs"]
mod messages;
mod support;

use messages::{access, core, response, with_body};
use portolan_shards::types::Flow;
use portolan_shards::wire::sip::{Message, Name, NameAddr, Uri};
use proptest::prelude::*;
use support::{CORE, Sent, World, mapping};

/// What an attacker would try, and what makes parsers disagree.
const PIECES: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\t",
    " ",
    "\"",
    "<",
    ">",
    "\\",
    ";",
    ",",
    "?",
    "@",
    ":",
    "=",
    "/",
    "[",
    "]",
    "%",
    "%00",
    "%0d%0a",
    "%0d%0aX-Evil:%201",
    "\r\nX-Evil: 1",
    "\r\n X-Evil: 1",
    "\nX-Evil: 1\n",
    "\rX-Evil: 1",
    "\r\rX-Evil: 1\r",
    "\r\n\r\nX-Evil: 1",
    "X-Evil: 1",
    "?X-Evil=1&Route=%3Csip:e%3E",
    "\r\nVia: SIP/2.0/UDP e",
    "\r\nContact: <sip:e@e>",
    "<sip:e@e>",
    "\"<",
    ">;tag=e",
    ";lr",
    ";pl=e",
    ";maddr=e",
    "sip:",
    "\u{e9}",
    "\u{2028}",
    "a",
    "1",
    "..",
    "é\"",
];

/// Texts after which the terminal's INVITE is spoiled: every field that is rewritten or copied.
const CALL: &[&str] = &[
    "INVITE sip:",
    "INVITE sip:bob",
    "UDP 192.168.1.10",
    "branch=z9hG4bKinv",
    ";rport",
    "From: ",
    "From: \"Alice",
    "<sip:alice",
    ";tag=a",
    "To: ",
    "To: \"Bob",
    "<sip:bob",
    "Call-ID: ",
    "Call-ID: call-1",
    "CSeq: 1",
    "Contact: ",
    "Contact: \"A",
    "<sip:line",
    "line@192.168.1.10",
    ":5060;ob",
    ">;q=1",
    "Route: ",
    "Max-Forwards: 70",
    "Content-Type: application/sdp",
];

/// Texts after which its description is spoiled.
const SDP: &[&str] = &[
    "o=",
    "o=- 1 1 ",
    "o=- 1 1 IN IP4 ",
    "1 1 IN IP4 192.168.1.10",
    "s=",
    "c=",
    "c=IN IP4 ",
    "c=IN IP4 192.168.1.10",
    "m=audio",
    "m=audio 5004",
    "a=rtcp:",
    "a=rtcp:5005",
    "a=rtcp:5005 IN IP4 ",
    "a=rtcp:5005 IN IP4 192.168.1.10",
    "a=rtpmap:0",
];

/// Texts after which the softswitch's answer is spoiled.
const ANSWER: &[&str] = &[
    "SIP/2.0 200 ",
    "From: ",
    "To: ",
    ";tag=b",
    "Contact: ",
    "Contact: \"B",
    "<sip:bob",
    "bob@10.0.0.20",
    ":5060;x",
    ">;q=1",
    "Record-Route: ",
    "<sip:10.0.0.20;lr",
];

const HEAD: &str = "INVITE sip:bob@198.51.100.10 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\r\n\
    Route: <sip:198.51.100.10;lr>\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@198.51.100.10>;tag=a\r\n\
    To: \"Bob\" <sip:bob@198.51.100.10>\r\nCall-ID: call-1\r\nCSeq: 1 INVITE\r\n\
    Contact: \"A\" <sip:line@192.168.1.10:5060;ob>;q=1\r\n";

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n\
    a=rtcp:5005 IN IP4 192.168.1.10\r\na=rtpmap:0 PCMU/8000\r\n";

/// Addresses of the access side: terminal, its NAT, and our own there.
const NEAR: &[&str] = &["192.168.", "203.0.113.", "198.51.100."];
/// Addresses of the core side.
const FAR: &[&str] = &["10.0.0."];

/// Fragments: a few pieces in a row.
fn fragment() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 1..5).prop_map(|pieces| pieces.concat())
}

fn spoiled(text: &str, after: &str, fragment: &str) -> String {
    let at = text.find(after).unwrap_or_else(|| panic!("{after:?} is not there")) + after.len();
    [&text[..at], fragment, &text[at..]].concat()
}

/// Lines as any reader could see them: CR, LF and NUL all end one.
fn has_evil_line(bytes: &[u8]) -> bool {
    bytes.split(|octet| matches!(octet, b'\r' | b'\n' | 0)).any(|line| line.starts_with(b"X-Evil"))
}

/// The headers of `out` came in as headers, or are Portolan's own.
fn assert_no_new_header(came: &Message<'_>, out: &Message<'_>) {
    let count = |message: &Message<'_>, name: &[u8]| {
        let same = |h: &&portolan_shards::wire::sip::Header| {
            h.name_span.of(message.bytes()).eq_ignore_ascii_case(name)
        };
        message.headers().iter().filter(same).count()
    };
    let own = [Name::Via, Name::MaxForwards, Name::ContentLength];
    for header in out.headers().iter().filter(|header| !own.contains(&header.name)) {
        let name = header.name_span.of(out.bytes());
        assert!(
            count(out, name) <= count(came, name),
            "{}:\n{}",
            name.escape_ascii(),
            out.bytes().escape_ascii()
        );
    }
    assert_eq!(
        out.all(Name::Via).count(),
        if out.is_request() { 1 } else { came.all(Name::Via).count().max(1) }
    );
}

/// What Portolan answers for: start line, the headers that it knows, descriptions. A header that nobody knows and a body
/// that is no description pass as they are.
fn ours_to_write(came: &Message<'_>, out: &Message<'_>) -> Vec<u8> {
    let first = out.headers().first().map_or(out.headers_end(), |header| header.line.start);
    let known = out.headers().iter().filter(|header| header.name != Name::Other);
    let lines = known.flat_map(|header| header.line.of(out.bytes()));
    let body = if came.sdp_parts().is_empty() { &[] } else { out.body() };
    out.bytes()[..first].iter().chain(lines).chain(body).copied().collect()
}

/// Somebody calls himself `user@host`: what stands before the last `@` is a name, whatever it looks like.
fn two_ats(came: &Message<'_>) -> bool {
    let ats = |value: &[u8]| value.iter().filter(|octet| **octet == b'@').count();
    came.headers().iter().any(|header| ats(header.value.of(came.bytes())) > 1)
}

/// What left for `bytes`, which came by `from`, is safe for the other side, whose foreign addresses are `foreign`.
fn assert_safe(bytes: &[u8], from: Flow, sent: &[Sent], foreign: &[&str]) {
    let came = Message::parse(bytes).ok();
    let evil = came.as_ref().is_some_and(|came| came.find(b"X-Evil").is_some());
    for out in sent.iter().filter(|out| out.flow.realm != from.realm) {
        let came = came.as_ref().unwrap_or_else(|| panic!("what cannot be read passed: {}", out.text()));
        let read = Message::parse(&out.bytes)
            .unwrap_or_else(|fault| panic!("{fault}:\n{}", out.bytes.escape_ascii()));
        if read.is_request() == came.is_request() {
            if read.is_request() {
                assert_no_new_header(came, &read);
            }
            assert_eq!((came.call_id(), came.cseq()), (read.call_id(), read.cseq()));
        }
        let seen = String::from_utf8_lossy(&ours_to_write(came, &read)).into_owned();
        for address in foreign.iter().filter(|_| !two_ats(came)) {
            assert!(!seen.contains(address), "{address} in\n{}", out.bytes.escape_ascii());
        }
    }
    for out in sent {
        let blank = |end: &[u8]| end.starts_with(b"\n\n") || end.starts_with(b"\n\r\n");
        let head = out.bytes.windows(3).position(blank).unwrap_or(out.bytes.len());
        assert!(evil || !has_evil_line(&out.bytes[..head]), "{}", out.bytes.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_field_of_a_terminal_adds_nothing(after in prop::sample::select(CALL), fragment in fragment()) {
        let whole = String::from_utf8(with_body(HEAD, "application/sdp", OFFER.as_bytes())).expect("ASCII");
        let bytes = spoiled(&whole, after, &fragment).into_bytes();
        let mut world = World::new(mapping(1));
        let sent = world.deliver_raw(0, access(), &bytes);
        assert_safe(&bytes, access(), &sent, NEAR);
    }

    #[test]
    fn a_spoiled_description_adds_nothing(after in prop::sample::select(SDP), fragment in fragment()) {
        let sdp = spoiled(OFFER, after, &fragment);
        let bytes = with_body(HEAD, "application/sdp", sdp.as_bytes());
        let mut world = World::new(mapping(1));
        let sent = world.deliver_raw(0, access(), &bytes);
        assert_safe(&bytes, access(), &sent, &NEAR[1..]);
        let torn = fragment.contains(['\r', '\n']);
        for out in sent.iter().filter(|out| out.flow.realm == CORE) {
            prop_assert!(torn || !out.text().contains("192.168."), "{}", out.bytes.escape_ascii());
        }
    }

    #[test]
    fn a_spoiled_answer_adds_nothing(after in prop::sample::select(ANSWER), fragment in fragment()) {
        let mut world = World::new(mapping(1));
        let sent = world.deliver_raw(0, access(), &with_body(HEAD, "application/sdp", OFFER.as_bytes()));
        let up = sent.iter().find(|sent| sent.flow.realm == CORE).expect("an INVITE");
        let more = "Record-Route: <sip:10.0.0.20;lr>\r\nContact: \"B\" <sip:bob@10.0.0.20:5060;x>;q=1\r\n";
        let sdp = OFFER.replace("192.168.1.10", "10.0.0.20");
        let good = String::from_utf8(response(up, "200 OK", more, sdp.as_bytes())).expect("ASCII");
        let bytes = spoiled(&good, after, &fragment).into_bytes();
        let sent = world.deliver_raw(0, core(), &bytes);
        assert_safe(&bytes, core(), &sent, FAR);
    }

    #[test]
    fn a_registered_contact_comes_back_as_a_request_uri_or_not_at_all(
        after in prop::sample::select(&["Contact: ", "Contact: <sip:", "sip:line", "line@", "192.168.1.10:5060", ";ob", ">;q=1"][..]),
        fragment in fragment(),
    ) {
        let good = "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKr;rport\r\nMax-Forwards: 70\r\n\
            From: <sip:line@example.net>;tag=a1\r\nTo: <sip:line@example.net>\r\nCall-ID: reg\r\nCSeq: 1 REGISTER\r\n\
            Contact: <sip:line@192.168.1.10:5060;ob>;q=1\r\nContent-Length: 0\r\n\r\n";
        let bytes = spoiled(good, after, &fragment).into_bytes();
        let mut world = World::new(mapping(1));
        let sent = world.deliver_raw(0, access(), &bytes);
        assert_safe(&bytes, access(), &sent, NEAR);
        let Some(up) = sent.iter().find(|sent| sent.flow.realm == CORE) else { return Ok(()) };
        let read = Message::parse(&up.bytes).expect("a message");
        let contacts: Vec<_> = read.values(Name::Contact).map(|c| c.of(&up.bytes).to_vec()).collect();
        let lines: String = contacts.iter().map(|c| format!("Contact: {};expires=60\r\n", String::from_utf8_lossy(c))).collect();
        let ok = response(up, "200 OK", &lines, b"");
        let down = world.deliver_raw(0, core(), &ok);
        assert_safe(&ok, core(), &down, FAR);
        for contact in contacts {
            let span = portolan_shards::wire::Span::new(0, contact.len());
            let Ok(address) = NameAddr::parse(&contact, span) else { continue };
            let uri = String::from_utf8_lossy(address.uri.span.of(&contact)).into_owned();
            let invite = format!(
                "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKi\r\nMax-Forwards: 70\r\nFrom: <sip:b@example.org>;tag=b\r\n\
                 To: <sip:line@example.net>\r\nCall-ID: in-1\r\nCSeq: 1 INVITE\r\nContact: <sip:b@10.0.0.20>\r\nContent-Length: 0\r\n\r\n"
            );
            let sent = world.deliver_raw(0, core(), invite.as_bytes());
            assert_safe(invite.as_bytes(), core(), &sent, FAR);
            for out in sent.iter().filter(|out| out.flow.realm != CORE) {
                let read = Message::parse(&out.bytes).expect("a message");
                let uri = Uri::parse(&out.bytes, read.request_uri().expect("a request"));
                prop_assert!(uri.is_ok_and(|uri| uri.headers.is_none()), "{}", out.text());
            }
        }
    }
}
