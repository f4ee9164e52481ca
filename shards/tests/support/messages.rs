//! Whole messages as octets, and what a world made of them.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use super::support::{ACCESS, CORE, NAT, SOFTSWITCH, Sent, World, addr};
use portolan_shards::io::DropReason;
use portolan_shards::types::{Flow, Transport};
use portolan_shards::wire::sip::Message;
use std::time::Duration;

/// An offer of one audio stream.
pub(crate) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\n\
    m=audio 5004 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// From a terminal behind NAT to our access address.
pub(crate) fn access() -> Flow {
    Flow {
        realm: ACCESS,
        transport: Transport::Udp,
        local: addr("198.51.100.10:5060"),
        remote: addr(NAT),
        stream: None,
    }
}

/// From the softswitch to the core address of the first shard.
pub(crate) fn core() -> Flow {
    Flow {
        realm: CORE,
        transport: Transport::Udp,
        local: addr("10.0.0.10:6000"),
        remote: addr(SOFTSWITCH),
        stream: None,
    }
}

/// Header lines of an INVITE without its body's, and without the blank line.
pub(crate) fn invite_head() -> String {
    "INVITE sip:bob@198.51.100.10 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\r\n\
     Max-Forwards: 70\r\nFrom: <sip:alice@198.51.100.10>;tag=a\r\nTo: <sip:bob@198.51.100.10>\r\nCall-ID: call-1\r\n\
     CSeq: 1 INVITE\r\nContact: <sip:alice@192.168.1.10:5060>\r\n"
        .to_owned()
}

/// A message of these header lines and this body.
pub(crate) fn with_body(head: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{head}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An INVITE with this description.
pub(crate) fn invite(sdp: &str) -> Vec<u8> {
    with_body(&invite_head(), "application/sdp", sdp.as_bytes())
}

/// An INVITE with one text in the place of another, which must be in it.
pub(crate) fn invite_with(text: &str, instead: &str) -> Vec<u8> {
    let whole = String::from_utf8(invite(OFFER)).expect("ASCII");
    assert!(whole.contains(text), "{text}");
    whole.replacen(text, instead, 1).into_bytes()
}

/// A response to a request that Portolan sent, with all its Vias.
pub(crate) fn response(request: &Sent, status: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let to = request.header("To");
    let to = if to.contains("tag=") { to } else { format!("{to};tag=b") };
    let head = format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}",
        request.header("Via"),
        request.header("From"),
        request.header("Call-ID"),
        request.header("CSeq"),
    );
    if body.is_empty() {
        return format!("{head}Content-Length: 0\r\n\r\n").into_bytes();
    }
    with_body(&head, "application/sdp", body)
}

/// The status of a response, as text: an answer to a broken request copies what is broken in it.
pub(crate) fn status(sent: &Sent) -> Option<u16> {
    sent.text().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
}

/// The first datagram that went on to the other side.
pub(crate) fn passed(sent: &[Sent], from: Flow) -> Option<&Sent> {
    sent.iter().find(|sent| sent.flow.realm != from.realm)
}

/// The final answer to the sender.
pub(crate) fn answer(sent: &[Sent], from: Flow) -> Option<&Sent> {
    sent.iter().find(|sent| sent.flow.remote == from.remote && status(sent).is_some_and(|s| s >= 200))
}

/// What stands after the blank line.
pub(crate) fn body(sent: &Sent) -> Vec<u8> {
    let message = Message::parse(&sent.bytes).expect("what is sent can be read");
    assert_eq!(message.content_length().unwrap_or(message.body().len()), message.body().len());
    message.body().to_vec()
}

/// How often this was dropped, on all shards.
pub(crate) fn drops(world: &mut World, reason: DropReason) -> u64 {
    world.shards.iter_mut().map(|shard| shard.stats().dropped(reason)).sum()
}

/// After all timers no session, port, transaction or dialog is left.
#[track_caller]
pub(crate) fn assert_empty(world: &mut World) {
    world.pass(Duration::from_secs(8000));
    for shard in &mut world.shards {
        let stats = shard.stats();
        let left = (stats.sessions, stats.ports, stats.transactions, stats.dialogs);
        assert_eq!(left, (0, 0, 0, 0));
    }
}
