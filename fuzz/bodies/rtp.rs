//! What must hold for any octets that arrive at a media port: as one packet, and as a call's worth of them.

use portolan_shards::io::Verdict;
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use portolan_shards::wire::rtp::{self, Rtp};
use std::net::SocketAddr;
use std::time::Duration;

/// The terminal's signaling host, its neighbour, its announcement, and a stranger.
const HOSTS: [[u8; 4]; 4] = [[203, 0, 113, 7], [203, 0, 113, 8], [198, 51, 100, 2], [192, 0, 2, 66]];
const STRANGER: u8 = 3;

/// Reads `data` as a packet, and then as a script of packets for one stream.
pub(crate) fn run(data: &[u8]) {
    packet(data);
    script(data, false);
    script(data, true);
}

fn packet(data: &[u8]) {
    let (plain, secure) = (Rtp::parse(data), Rtp::parse_secure(data));
    if let Some(rtp) = &plain {
        assert!(
            rtp.payload.start >= 12 && rtp.payload.start <= rtp.payload.end && rtp.payload.end <= data.len()
        );
        let secure = secure.expect("SRTP checks less");
        assert_eq!(
            (rtp.ssrc, rtp.sequence, rtp.payload.start),
            (secure.ssrc, secure.sequence, secure.payload.start)
        );
    }
    if rtp::rtcp_tiles(data) {
        assert!(rtp::is_rtcp(data) && data.len().is_multiple_of(4));
    }
}

/// Each step is four octets (who, how far the sequence, how long after, what), and packets are cut from the rest.
fn script(data: &[u8], secure: bool) {
    let (mut relay, id) = stream(secure);
    let (mut stats, mut now, mut sequence) = (Stats::default(), Instant::ZERO, 0u16);
    for step in data.chunks_exact(4).take(512) {
        now += Duration::from_millis(u64::from(step[2]) * u64::from(step[2]) / 16);
        sequence = sequence.wrapping_add(u16::from(step[1]));
        let from = SocketAddr::from((HOSTS[usize::from(step[0] & 3)], 4_000 + u16::from(step[0] >> 2 & 3)));
        let at =
            MediaPort { realm: RealmId(u16::from(step[0] >> 6 & 1)), port: 20_000 + u16::from(step[0] >> 7) };
        let packet =
            if step[3] & 1 == 0 { voice(step[3], sequence) } else { data[..data.len().min(64)].to_vec() };
        let verdict = relay.handle(now, at, from, &packet, &mut stats);
        if let Verdict::Forward { out, to } = verdict {
            assert!(step[0] & 3 != STRANGER, "a stranger was heard");
            assert!(out.realm != at.realm && to.ip() != SocketAddr::from((HOSTS[3], 0)).ip());
        }
    }
    let dropped: u64 = stats.drops.iter().sum();
    let counted: u64 = relay.close(id).iter().map(|c| c.forwarded(true).0 + c.dropped()).sum();
    let beside = stats.stun_packets + stats.dtls_packets;
    assert_eq!(stats.rtp_packets + stats.rtcp_packets + dropped, counted);
    assert!(secure || beside == 0);
}

fn stream(secure: bool) -> (Relay, StreamId) {
    let mut relay = Relay::new();
    let port = |realm, port| MediaPort { realm: RealmId(realm), port };
    for realm in [0, 1] {
        relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_001 });
    }
    let pair = |realm| EndPorts { rtp: port(realm, 20_000), rtcp: port(realm, 20_001) };
    let id = relay.open(Instant::ZERO, pair(0), pair(1));
    for end in End::BOTH {
        let rtp = Some(SocketAddr::from((HOSTS[2], 4_000)));
        let rtcp = Some(SocketAddr::from((HOSTS[2], 4_001)));
        let described =
            Description { rtp, rtcp, payload_types: [1, 0], mux: end == End::A, ..Description::default() };
        let described = Description { ice: secure, dtls: secure, ..described };
        relay.describe(Instant::ZERO, id, end, &[HOSTS[0].into()], true, described);
    }
    relay.gate(id, Gate::OPEN);
    (relay, id)
}

fn voice(ssrc: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0; 32];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[11] = ssrc >> 7;
    packet
}
