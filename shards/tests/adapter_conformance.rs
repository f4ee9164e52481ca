//! What every adapter owes the house: any bytes are survived, the same seed gives the same trace, framing of the
//! outputs is whole messages, and nothing is left after close.

mod support;

use portolan_shards::random::Rng;
use portolan_shards::types::{Flow, Transport};
use portolan_shards::wire::sip::Message;
use std::time::Duration;
use support::{ACCESS, CORE, NAT, SOFTSWITCH, World, addr, mapping};

const MESSAGES: [&str; 4] = [
    "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:alice@example.net>\r\nCall-ID: r{n}\r\nCSeq: 1 REGISTER\r\n\
     Contact: <sip:alice@192.168.1.10:5060>\r\nContent-Length: 0\r\n\r\n",
    "INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKi{n};rport\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:alice@192.168.1.10:5060>\r\nContent-Type: application/sdp\r\n\r\n\
     v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n",
    "OPTIONS sip:10.0.0.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:x@10.0.0.20>;tag=1\r\nTo: <sip:10.0.0.10>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\n\r\n",
    "MESSAGE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKm{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\nCall-ID: m{n}\r\nCSeq: 1 MESSAGE\r\n\
     Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
];

/// Everything that two shards sent in a random play of valid, damaged and senseless messages.
fn trace(seed: u8) -> Vec<(std::net::SocketAddr, bytes::Bytes)> {
    let mut world = World::new(mapping(2));
    let mut rng = Rng::new([seed; 32]);
    let mut trace = Vec::new();
    for n in 0..400 {
        let core = rng.below(3) == 0;
        let (realm, local, remote) =
            if core { (CORE, "10.0.0.10:5060", SOFTSWITCH) } else { (ACCESS, "198.51.100.10:5060", NAT) };
        let flow =
            Flow { realm, transport: Transport::Udp, local: addr(local), remote: addr(remote), stream: None };
        let mut bytes = MESSAGES[rng.below(4) as usize].replace("{n}", &n.to_string()).into_bytes();
        for _ in 0..rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.u64() as u8;
        }
        let sent = world.deliver_raw(rng.below(2) as usize, flow, &bytes);
        trace.extend(sent.into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
        trace.extend(
            world.pass(Duration::from_millis(rng.below(500))).into_iter().map(|s| (s.flow.remote, s.bytes)),
        );
    }
    trace
        .extend(world.pass(Duration::from_secs(8000)).into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    for shard in &mut world.shards {
        let stats = shard.stats();
        assert_eq!(
            (stats.sessions, stats.ports, stats.dialogs, stats.transactions),
            (0, 0, 0, 0),
            "seed {seed}"
        );
    }
    trace
}

#[test]
fn the_same_seed_gives_the_same_trace_and_nothing_is_left() {
    for seed in 0..8 {
        let first = trace(seed);
        assert!(first.len() > 200, "{}", first.len());
        assert!(first == trace(seed), "seed {seed} is not reproducible");
    }
}

#[test]
fn every_output_is_one_whole_message() {
    for (_, bytes) in trace(99) {
        // A refusal repeats the headers that it refuses.
        let refusal = bytes.starts_with(b"SIP/2.0 400 ") && bytes.ends_with(b"\r\n\r\n");
        let whole = &bytes[..] == b"\r\n" || refusal || Message::parse(&bytes).is_ok();
        assert!(whole, "{}", String::from_utf8_lossy(&bytes));
    }
}
