//! What happens to a signaling message before its transaction sees it, and after.

use portolan_shards::io::{Crossing, Input, Output};
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Keepalive, Mapping, PortRange, Realm, Route, Server, Softswitch};
use portolan_shards::shard::Shard;
use portolan_shards::types::{Flow, Instant, Proto, RealmId, ShardId, Side, Transport};
use portolan_shards::wire::sdp::Sdp;
use portolan_shards::wire::sip::{Message, Name};
use portolan_shards::wire::splice::Splice;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const ACCESS: [u8; 4] = [198, 51, 100, 10];
const CORE: [u8; 4] = [10, 0, 0, 10];
const SOFTSWITCH: ([u8; 4], u16) = ([10, 0, 0, 20], 5060);
const NAT: ([u8; 4], u16) = ([203, 0, 113, 7], 40_001);

const REGISTER: &str = "REGISTER sip:example.net SIP/2.0
Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKnashds7;rport
Max-Forwards: 70
From: Alice <sip:alice@example.net>;tag=456248
To: Alice <sip:alice@example.net>
Call-ID: 1j9FpLxk3uxtm8tn@192.168.1.10
CSeq: 1826 REGISTER
Contact: <sip:alice@192.168.1.10:5060;ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"
Expires: 3600
Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
Supported: replaces, 100rel, timer, norefersub
User-Agent: Softphone 4.2
Authorization: Digest username=\"alice\", realm=\"example.net\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", uri=\"sip:example.net\", response=\"7587245234b3434cc3412213e5f113a5\"
Content-Length: 0

";

const INVITE: &str = "INVITE sip:bob@198.51.100.10 SIP/2.0
Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKnashds8;rport
Max-Forwards: 70
From: Alice <sip:alice@198.51.100.10>;tag=9fxced76sl
To: <sip:bob@198.51.100.10>
Call-ID: CALL-ID@192.168.1.10
CSeq: 2 INVITE
Contact: <sip:alice@192.168.1.10:5060;ob>
Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS
Supported: replaces, 100rel, timer, norefersub
Session-Expires: 1800
Min-SE: 90
User-Agent: Softphone 4.2
Content-Type: application/sdp
Content-Length: LENGTH

";

const DESCRIPTION: &str = "v=0
o=alice 3910023156 3910023156 IN IP4 192.168.1.10
s=call
c=IN IP4 192.168.1.10
b=AS:84
t=0 0
m=audio 49170 RTP/AVP 96 9 8 0 101
a=rtcp:49171 IN IP4 192.168.1.10
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=sendrecv
";

fn register() -> Vec<u8> {
    REGISTER.replace('\n', "\r\n").into_bytes()
}

fn invite(call_id: &str) -> Vec<u8> {
    let body = DESCRIPTION.replace('\n', "\r\n");
    let head = INVITE.replace("LENGTH", &body.len().to_string()).replace("CALL-ID", call_id);
    let head = head.replace('\n', "\r\n");
    (head + &body).into_bytes()
}

fn mapping() -> Arc<Mapping> {
    let realm = |id, name, side, address: [u8; 4]| {
        let media = PortRange { first: 16_384, last: 32_767 };
        let per_shard = (side == Side::Core).then_some(6000);
        let sip = vec![(Transport::Udp, 5060)];
        Arc::new(Realm { sip, per_shard, ..Realm::new(RealmId(id), name, side, address.into(), media) })
    };
    Arc::new(Mapping {
        generation: 1,
        shards: 2,
        secret: [7; 32],
        realms: vec![realm(0, "access", Side::Access, ACCESS), realm(1, "core", Side::Core, CORE)],
        softswitches: vec![Arc::new(Softswitch::new("sx", RealmId(1), vec![Server::udp(SOFTSWITCH.into())]))],
        routes: vec![Route::all(RealmId(0), 0)],
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits::default(),
    })
}

/// The first of two shards, with nothing left to do.
fn shard() -> Shard {
    let mut shard = Shard::new(ShardId(0), mapping(), [1; 32], Instant::ZERO);
    while let Some(output) = shard.poll_output() {
        if let Output::OpenPort(port) = output {
            shard.port_opened(port, true);
        }
    }
    shard
}

fn arrives(shard: &mut Shard, bytes: &[u8]) -> Option<Output> {
    let local = SocketAddr::from((ACCESS, 5060));
    let flow = Flow { realm: RealmId(0), transport: Transport::Udp, local, remote: NAT.into(), stream: None };
    shard.handle_message(Instant::ZERO, Proto::Sip, Input { flow, bytes });
    shard.poll_output()
}

/// An INVITE of which another shard takes care.
fn foreign() -> Vec<u8> {
    let crosses = |bytes: &Vec<u8>| matches!(arrives(&mut shard(), bytes), Some(Output::Cross { .. }));
    let messages = (10..74).map(|n| invite(&format!("38482762982201885{n}")));
    messages.into_iter().find(crosses).expect("two shards share the Call-IDs")
}

pub(super) fn dispatch(_: u16) -> Box<dyn FnMut()> {
    let (mut shard, message) = (shard(), foreign());
    Box::new(move || {
        let out = arrives(&mut shard, black_box(&message));
        assert!(matches!(out, Some(Output::Cross { crossing: Crossing::Message { .. }, .. })));
    })
}

pub(super) fn scan_register(_: u16) -> Box<dyn FnMut()> {
    let bytes = register();
    Box::new(move || {
        black_box(Message::parse(black_box(&bytes)).expect("a good REGISTER"));
    })
}

pub(super) fn scan_invite(_: u16) -> Box<dyn FnMut()> {
    let bytes = invite("3848276298220188511");
    Box::new(move || {
        let message = Message::parse(black_box(&bytes)).expect("a good INVITE");
        black_box(Sdp::parse(message.body()).expect("a good description"));
    })
}

pub(super) fn splice_register(_: u16) -> Box<dyn FnMut()> {
    let bytes = register();
    Box::new(move || {
        let message = Message::parse(black_box(&bytes)).expect("a good REGISTER");
        assert!(black_box(readdressed(&message).finish()).len() > bytes.len());
    })
}

pub(super) fn splice_invite(_: u16) -> Box<dyn FnMut()> {
    let bytes = invite("3848276298220188511");
    Box::new(move || {
        let message = Message::parse(black_box(&bytes)).expect("a good INVITE");
        let body = anchored(&Sdp::parse(message.body()).expect("a good description"));
        let mut splice = readdressed(&message);
        if let Some(header) = message.first(Name::ContentLength) {
            splice.replace(header.value, body.len().to_string());
        }
        splice.replace(message.body_span(), body);
        assert!(black_box(splice.finish()).len() > bytes.len());
    })
}

/// The edits of a request that goes up: our Via on top of the terminal's that tells where it came from, our Contact.
fn readdressed<'a>(message: &Message<'a>) -> Splice<'a> {
    let mut splice = Splice::new(message.bytes());
    if let Some(via) = message.first(Name::Via) {
        let ours = "Via: SIP/2.0/UDP 10.0.0.10:6000;branch=z9hG4bKp0000000000000001\r\n";
        splice.insert(via.line.start, ours);
        splice.insert(via.value.end, ";received=203.0.113.7");
    }
    if let Some(forwards) = message.first(Name::MaxForwards) {
        splice.replace(forwards.value, "69");
    }
    if let Some(contact) = message.first(Name::Contact) {
        splice.replace(contact.value, "<sip:p0123456789abcdef0123456789abcdef@10.0.0.10:6000>");
    }
    splice
}

/// The description with our addresses and ports.
fn anchored(sdp: &Sdp<'_>) -> Vec<u8> {
    let mut splice = Splice::new(sdp.bytes());
    let addresses = [sdp.origin.map(|o| o.address), sdp.connection.map(|c| c.address)];
    for address in addresses.into_iter().flatten() {
        splice.replace(address, "198.51.100.110");
    }
    for media in &sdp.media {
        splice.replace(media.port_span, "16384");
        if let Some(rtcp) = media.rtcp {
            splice.replace(rtcp.port_span, "16385");
            rtcp.address.iter().for_each(|address| splice.replace(*address, "198.51.100.110"));
        }
    }
    splice.finish()
}
