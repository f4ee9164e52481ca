//! Words of a scripted call: what a caller behind NAT and forks behind the softswitch say.

use super::{Sent, World};
use portolan_shards::types::RealmId;

/// Where the caller's media comes from.
pub(crate) const NAT_MEDIA: &str = "203.0.113.7:51000";

/// An audio description; `more` are further lines.
pub(crate) fn sdp(media: &str, more: &str) -> String {
    let (ip, port) = media.rsplit_once(':').expect("an address and a port");
    format!(
        "v=0\no=- 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n{more}"
    )
}

/// The end of a message: further header lines and a description, or none.
pub(crate) fn end(head: &str, body: Option<&str>) -> String {
    let Some(body) = body else { return format!("{head}Content-Length: 0\n\n") };
    let body = body.replace('\n', "\r\n");
    format!("{head}Content-Type: application/sdp\nContent-Length: {}\n\n{body}", body.len())
}

/// The caller's INVITE.
pub(crate) fn invite(body: Option<&str>) -> String {
    let head = "INVITE sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\n\
        Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\n\
        Call-ID: call-1\nCSeq: 1 INVITE\nContact: <sip:alice@192.168.1.10:5060>\n";
    end(head, body)
}

/// A request of the caller within a dialog: to the Contact that `shown` showed it, with that message's tags.
pub(crate) fn request(shown: &Sent, method: &str, cseq: u32, body: Option<&str>) -> String {
    let (contact, to) = (shown.header("Contact"), shown.header("To"));
    let uri = contact.split(['<', '>']).nth(1).expect("a URI");
    let tag = to.split("tag=").nth(1).expect("a tag");
    end(
        &format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{method}{cseq}{tag};rport\n\
             Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: {to}\nCall-ID: call-1\n\
             CSeq: {cseq} {method}\nContact: <sip:alice@192.168.1.10:5060>\n"
        ),
        body,
    )
}

/// A request of the other end within a dialog, to the Contact that our INVITE `up` showed it.
pub(crate) fn core_request(up: &Sent, tag: &str, method: &str, cseq: u32, body: Option<&str>) -> String {
    let contact = up.header("Contact");
    let uri = contact.split(['<', '>']).nth(1).expect("a URI");
    let (from, to) = (up.header("To"), up.header("From"));
    let from = from.split(";tag=").next().unwrap_or_default();
    end(
        &format!(
            "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bK{method}{cseq}{tag}\nMax-Forwards: 70\n\
             From: {from};tag={tag}\nTo: {to}\nCall-ID: call-1\nCSeq: {cseq} {method}\nContact: <sip:{tag}@10.0.0.20>\n"
        ),
        body,
    )
}

/// A response of the place with this tag; its Contact is named after the tag.
pub(crate) fn response(request: &Sent, status: &str, tag: &str, body: Option<&str>) -> String {
    let to = request.header("To");
    let to = if to.contains("tag=") { to } else { format!("{to};tag={tag}") };
    end(
        &format!(
            "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {to}\nCall-ID: {}\nCSeq: {}\nContact: <sip:{tag}@10.0.0.20>\n",
            request.header("Via"),
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq"),
        ),
        body,
    )
}

/// What went to this side: a failure is also acknowledged where it came from (RFC 3261 section 17.1.1.3).
pub(crate) fn sent_to(sent: Vec<Sent>, realm: RealmId) -> Sent {
    sent.into_iter().find(|sent| sent.flow.realm == realm).expect("something sent")
}

/// The port of the `n`th m= line.
pub(crate) fn port(sent: &Sent, n: usize) -> u16 {
    let text = sent.text();
    let line = text.lines().filter(|line| line.starts_with("m=")).nth(n).expect("an m= line");
    line.split(' ').nth(1).expect("a port").parse().expect("a number")
}

/// Sessions and ports held.
pub(crate) fn totals(world: &mut World) -> (u64, u64) {
    let stats = world.shards.iter_mut().map(portolan_shards::shard::Shard::stats);
    stats.fold((0, 0), |(sessions, ports), s| (sessions + s.sessions, ports + s.ports))
}
