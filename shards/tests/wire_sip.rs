//! The SIP scanner as its users see it: hand-made messages in the manner of RFC 3261.

use portolan_shards::fault::Fault;
use portolan_shards::limits::MAX_HEADERS;
use portolan_shards::wire::sip::{self, Message, Name, NameAddr, Start, UNSUPPORTED_VERSION};
use portolan_shards::wire::splice::Splice;

const INVITE: &str = "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.example:5066;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP 10.0.0.1\r\n\
    Max-Forwards: 70\r\n\
    To: Bob <sip:bob@biloxi.example>\r\n\
    From: \"Alice, <A>\" <sip:alice@atlanta.example>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.atlanta.example>\r\n\
    v: SIP/2.0/UDP last.example\r\n\
    X-Vendor:\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\n\
    v=0\n";

const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:b@h>;tag=t2\r\n\
    From: <sip:a@h>;tag=t1\r\nCall-ID: c1\r\nCSeq: 7 BYE\r\n\r\n";

/// The fault of `text`, which must be malformed.
fn fault(text: &str) -> &'static str {
    match Message::parse(text.as_bytes()) {
        Err(Fault::Malformed(what)) => what,
        other => panic!("{text} gave {other:?}"),
    }
}

/// INVITE with one line in the place of another.
fn with(line: &str, instead: &str) -> String {
    assert!(INVITE.contains(line));
    INVITE.replace(line, instead)
}

#[test]
fn a_request_is_read() {
    let message = Message::parse(INVITE.as_bytes()).unwrap();
    assert!(message.is_request());
    assert_eq!(message.method(), b"INVITE");
    assert_eq!(message.request_uri().unwrap().of(message.bytes()), b"sip:bob@biloxi.example");
    assert_eq!((message.status(), message.max_forwards()), (None, Some(70)));
    assert_eq!(message.call_id(), b"a84b4c76e66710@pc33.atlanta.example");
    assert_eq!(message.cseq(), Some((314_159, &b"INVITE"[..])));
    assert_eq!((message.from_tag(), message.to_tag()), (Some(&b"1928301774"[..]), None));
    assert_eq!((message.content_length(), message.body()), (Some(4), &b"v=0\n"[..]));
    assert_eq!(message.top_via().unwrap().host.of(message.bytes()), b"pc33.atlanta.example");
    assert_eq!(message.value(Name::ContentType), Some(&b"application/sdp"[..]));
}

#[test]
fn a_response_takes_its_method_from_cseq() {
    let message = Message::parse(OK.as_bytes()).unwrap();
    assert!(matches!(message.start(), Start::Response { status: 200, .. }));
    assert_eq!((message.is_request(), message.status(), message.method()), (false, Some(200), &b"BYE"[..]));
    assert_eq!((message.request_uri(), message.to_tag()), (None, Some(&b"t2"[..])));
}

#[test]
fn values_run_over_all_lines_of_a_name() {
    let message = Message::parse(INVITE.as_bytes()).unwrap();
    let vias: Vec<_> = message.values(Name::Via).map(|v| v.of(message.bytes())).collect();
    let top = &b"SIP/2.0/UDP pc33.atlanta.example:5066;branch=z9hG4bK776asdhds;rport"[..];
    assert_eq!(vias, [top, b"SIP/2.0/TCP 10.0.0.1", b"SIP/2.0/UDP last.example"]);
    assert_eq!(message.all(Name::Via).count(), 2);
}

#[test]
fn headers_are_found_by_their_literal_name() {
    let message = Message::parse(INVITE.as_bytes()).unwrap();
    assert!(message.find(b"x-vendor").unwrap().value.is_empty());
    assert_eq!(message.find(b"VIA"), message.first(Name::Via));
    assert_eq!(message.find(b"X-Absent"), None);
}

#[test]
fn edits_leave_every_other_octet() {
    let message = Message::parse(INVITE.as_bytes()).unwrap();
    let mut splice = Splice::new(message.bytes());
    let contact = NameAddr::parse(message.bytes(), message.first(Name::Contact).unwrap().value).unwrap();
    splice.replace(contact.uri.hostport, "10.0.0.10:6003");
    splice.insert(contact.uri.params.start, ";pl=x");
    splice.insert(message.first(Name::Via).unwrap().line.start, "Via: SIP/2.0/UDP 10.0.0.10\r\n");
    let expected = INVITE
        .replace("alice@pc33.atlanta.example>\r\nv:", "alice@10.0.0.10:6003;pl=x>\r\nv:")
        .replacen("Via:", "Via: SIP/2.0/UDP 10.0.0.10\r\nVia:", 1);
    assert_eq!(splice.finish(), expected.as_bytes());
}

#[test]
fn line_ends_may_be_lf_and_lead() {
    let text = format!("\r\n\r\n{}", INVITE.replace("\r\n", "\n"));
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(message.body(), b"v=0\n");
    assert_eq!(&text.as_bytes()[message.headers_end()..], b"\nv=0\n");
}

#[test]
fn names_may_be_compact_folded_and_spaced() {
    let text = with("Call-ID: ", "i \t:\r\n ");
    assert_eq!(Message::parse(text.as_bytes()).unwrap().call_id(), b"a84b4c76e66710@pc33.atlanta.example");
}

#[test]
fn without_content_length_the_body_is_the_rest() {
    let text = with("Content-Length: 4\r\n", "");
    assert_eq!(Message::parse(text.as_bytes()).unwrap().body(), b"v=0\n");
}

#[test]
fn octets_after_the_body_are_ignored() {
    let text = with("Length: 4", "Length: 3");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!((message.body(), message.bytes().len()), (&b"v=0"[..], text.len()));
}

#[test]
fn bad_lengths_are_malformed() {
    assert_eq!(fault(&with("Length: 4", "Length: 5")), "Content-Length beyond the datagram");
    assert_eq!(fault(&with("Length: 4", "Length: 4294967300")), "Content-Length beyond the datagram");
    assert_eq!(fault(&with("Length: 4", "Length: 18446744073709551615")), "Content-Length");
    assert_eq!(fault(&with("Length: 4", "Length: 18446744073709551620")), "Content-Length");
    assert_eq!(fault(&with("Length: 4", "Length: -1")), "Content-Length");
    assert_eq!(fault(&with("Length: 4", "Length: 4 4")), "Content-Length");
    assert_eq!(fault(&with("Length: 4", "Length: 4\r\nl: 3")), "two Content-Length");
    assert!(Message::parse(with("Length: 4", "Length: 4\r\nl: 04").as_bytes()).is_ok());
}

#[test]
fn each_mandatory_header_is_named_when_it_is_missing() {
    for (name, text) in [("To", "no To"), ("From", "no From"), ("Call-ID", "no Call-ID"), ("CSeq", "no CSeq")]
    {
        assert_eq!(fault(&with(&format!("{name}: "), "X: ")), text);
    }
    assert_eq!(fault(&with("Via: ", "X: ").replace("v: ", "X: ")), "no Via");
    assert_eq!(fault(&with("a84b4c76e66710@pc33.atlanta.example", " ")), "no Call-ID");
}

#[test]
fn what_may_stand_once_only_is_refused_twice() {
    for (line, text) in [
        ("t: <sip:b@c>\r\n", "two To"),
        ("From: <sip:b@c>\r\n", "two From"),
        ("i: a84b4c76e66710@pc33.atlanta.example\r\n", "two Call-ID"),
        ("CSeq: 314159 INVITE\r\n", "two CSeq"),
        ("Max-Forwards: 70\r\n", "two Max-Forwards"),
    ] {
        assert_eq!(fault(&with("Contact:", &format!("{line}Contact:"))), text);
    }
}

#[test]
fn cseq_is_below_two_to_the_31_and_names_the_method() {
    assert_eq!(fault(&with("314159", "2147483648")), "CSeq");
    assert_eq!(fault(&with("314159", "4294967328")), "CSeq");
    assert_eq!(fault(&with("314159 INVITE", "314159")), "CSeq");
    assert_eq!(fault(&with("314159 INVITE", "314159 INV ITE")), "CSeq");
    assert_eq!(fault(&with("314159 INVITE", "314159 invite")), "CSeq of another method");
    assert!(Message::parse(with("314159", "2147483647").as_bytes()).is_ok());
}

#[test]
fn max_forwards_is_one_octet() {
    assert_eq!(fault(&with("Forwards: 70", "Forwards: 256")), "Max-Forwards");
    assert_eq!(fault(&with("Forwards: 70", "Forwards:")), "Max-Forwards");
    assert_eq!(Message::parse(with("Max-Forwards: 70\r\n", "").as_bytes()).unwrap().max_forwards(), None);
}

#[test]
fn unreadable_addresses_and_vias_are_refused() {
    assert_eq!(fault(&with("\"Alice, <A>\"", "\"Alice")), "From");
    assert_eq!(fault(&with("To: Bob <", "To: Bob ")), "To");
    assert_eq!(fault(&with("SIP/2.0/TCP 10.0.0.1", ";")), "Via protocol");
    assert_eq!(fault(&with("<sip:alice@pc33", "<sip:al ice@pc33")), "Contact");
    assert_eq!(fault(&with("Contact: ", "Contact: <sip:c@d>, junk, ")), "Contact");
    assert!(Message::parse(with("<sip:alice@pc33.atlanta.example>\r\nv", "*\r\nv").as_bytes()).is_ok());
    assert_eq!(fault(&with("pc33.atlanta.example:5066", "pc33.atlanta.example:99999")), "Via sent-by");
}

#[test]
fn quotes_that_are_escaped_outside_a_string_are_tolerated() {
    let text = with("\"Alice, <A>\"", "\\\"Alice\\\"");
    assert_eq!(Message::parse(text.as_bytes()).unwrap().from_tag(), Some(&b"1928301774"[..]));
}

#[test]
fn there_must_be_a_blank_line() {
    assert_eq!(fault(INVITE.split("\r\n\r\n").next().unwrap()), "no blank line after the headers");
}

#[test]
fn header_lines_are_limited() {
    let many = |n: usize| with("X-Vendor:\r\n", &"X: y\r\n".repeat(n));
    let others = Message::parse(INVITE.as_bytes()).unwrap().headers().len() - 1;
    assert!(Message::parse(many(MAX_HEADERS - others).as_bytes()).is_ok());
    assert_eq!(fault(&many(MAX_HEADERS - others + 1)), "too many headers");
}

#[test]
fn pings_are_told_from_messages() {
    assert!(sip::is_ping(b"\r\n\r\n") && sip::is_ping(b"\0\0\0\0") && sip::is_ping(b""));
    assert!(!sip::is_ping(b"\r\nx") && !sip::is_ping(INVITE.as_bytes()));
}

#[test]
fn a_refused_request_can_be_answered() {
    for bad in [
        with("SIP/2.0\r\n", "SIP/3.0\r\n"),
        with("sip:bob@biloxi.example SIP", "<sip:bob@biloxi.example> SIP"),
        with("Length: 4", "Length: 999"),
        with("X-Vendor:", "no colon"),
        with("314159", "99999999999"),
        with("Contact:", "From: <sip:b@c>\r\nContact:"),
    ] {
        assert!(Message::parse(bad.as_bytes()).is_err());
        let message = sip::parse_for_reply(bad.as_bytes()).unwrap();
        assert_eq!(message.all(Name::From).count(), 1);
        assert_eq!((message.method(), message.body()), (&b"INVITE"[..], &b""[..]));
        assert_eq!(
            message.value(Name::From).unwrap(),
            b"\"Alice, <A>\" <sip:alice@atlanta.example>;tag=1928301774"
        );
    }
    assert_eq!(fault(&with("SIP/2.0\r\n", "SIP/3.0\r\n")), UNSUPPORTED_VERSION);
}

#[test]
fn what_cannot_be_matched_by_its_sender_is_not_answered() {
    assert!(sip::parse_for_reply(OK.as_bytes()).is_none());
    assert!(sip::parse_for_reply(INVITE.replace("INVITE", "ACK").as_bytes()).is_none());
    assert!(sip::parse_for_reply(with("CSeq: ", "X: ").as_bytes()).is_none());
    assert!(sip::parse_for_reply(with("Via: ", "X: ").replace("v: ", "X: ").as_bytes()).is_none());
    assert!(sip::parse_for_reply(with("From: ", "X: ").as_bytes()).is_some(), "Via and CSeq are enough");
    assert!(sip::parse_for_reply(b"hello").is_none());
}

/// OK with this Content-Type and body.
fn parts(content_type: &str, body: &str) -> Vec<String> {
    let text = OK.replace("\r\n\r\n", &format!("\r\nc: {content_type}\r\n\r\n{body}"));
    let message = Message::parse(text.as_bytes()).expect("only the body differs");
    message.sdp_parts().iter().map(|p| String::from_utf8_lossy(p.of(message.bytes())).into_owned()).collect()
}

#[test]
fn a_description_is_found_alone_and_among_parts() {
    assert_eq!(parts("Application/SDP ;charset=utf-8", "v=0\r\n"), ["v=0\r\n"]);
    let body = "preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--b1\r\n\
        Content-Type: application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\nm=x\r\n\r\n--b1--\r\n";
    assert_eq!(parts("multipart/mixed; boundary=\"b1\"", body), ["v=0\r\nm=x\r\n"]);
    assert_eq!(parts("MULTIPART/mixed;x=y; Boundary=b1", &body.replace("\r\n", "\n")), ["v=0\nm=x\n"]);
}

#[test]
fn what_is_no_plain_description_is_not_taken_for_one() {
    assert!(parts("application/sdpx", "v=0\r\n").is_empty());
    assert!(parts("application/sdp", "").is_empty());
    assert!(parts("multipart/mixed", "--b\r\nc: application/sdp\r\n\r\nv=0\r\n--b--").is_empty());
    assert!(parts("multipart/mixed;boundary=b", "--b\r\nc: application/sdp\r\n\r\nv=0\r\n").is_empty());
    assert!(parts("multipart/mixed;boundary=b", "--bb\r\nc: application/sdp\r\n\r\nv=0\r\n--b--").is_empty());
    let coded = "--b\r\nc: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b--";
    assert!(parts("multipart/mixed;boundary=b", coded).is_empty());
    assert!(parts("application/sdp\r\nContent-Encoding: gzip", "v=0\r\n").is_empty());
}
