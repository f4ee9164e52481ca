//! The fast door allocates nothing, whatever arrives.

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay};
use portolan_shards::random::Rng;
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::net::SocketAddr;
use std::time::Duration;

const STREAMS: u16 = 64;

fn relay() -> Relay {
    let mut relay = Relay::new();
    let pair = |realm, n| {
        let port = |port| MediaPort { realm: RealmId(realm), port };
        EndPorts { rtp: port(20_000 + n * 2), rtcp: port(20_001 + n * 2) }
    };
    for realm in [0, 1] {
        relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_000 + STREAMS * 2 - 1 });
    }
    for n in 0..STREAMS {
        // In the upper half two streams at a time share their core ports, as forks do.
        let shared = if n < STREAMS / 2 { n } else { n & !1 };
        let id = relay.open(Instant::ZERO, pair(0, n), pair(1, shared));
        for (end, peer) in [(End::A, terminal()), (End::B, core())] {
            let rtcp = Some(SocketAddr::new(peer.ip(), peer.port() + 1));
            let described = Description {
                rtp: Some(peer),
                rtcp,
                payload_types: [1, 0],
                mux: n % 2 == 0,
                ice: n % 4 < 2,
                dtls: n % 4 < 2,
                ..Description::default()
            };
            relay.describe(Instant::ZERO, id, end, &[peer.ip()], true, described);
        }
        relay.gate(id, Gate::OPEN);
    }
    relay
}

fn terminal() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 6], 4_000))
}

fn core() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 20], 8_000))
}

/// A Binding request or its answer, with an attribute that fills it.
fn stun(rng: &mut Rng) -> [u8; 172] {
    let mut packet = [0; 172];
    packet[..8].copy_from_slice(&[rng.below(2) as u8, 1, 0, 152, 0x21, 0x12, 0xa4, 0x42]);
    packet[8] = rng.below(4) as u8;
    packet[20..24].copy_from_slice(&[0x80, 0x22, 0, 148]);
    packet
}

fn dtls() -> [u8; 172] {
    let mut packet = [0; 172];
    packet[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 159]);
    packet
}

fn packet(rng: &mut Rng, sequence: u16) -> [u8; 172] {
    match rng.below(8) {
        0 => return stun(rng),
        1 => return dtls(),
        _ => {}
    }
    let mut packet = [0; 172];
    packet[0] = if rng.below(20) == 0 { 0x40 } else { 0x80 };
    packet[1] = [0, 0, 0, 9, 201][rng.below(5) as usize];
    let word = if packet[1] == 201 { 42 } else { sequence };
    packet[2..4].copy_from_slice(&word.to_be_bytes());
    packet
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    let (mut relay, mut stats) = (relay(), Stats::default());
    let mut forwarded = 0;
    let at = |realm| MediaPort { realm: RealmId(realm), port: 20_000 };
    let info = allocation_counter::measure(|| {
        for n in 0..10_000u16 {
            let now = Instant::ZERO + Duration::from_millis(20) * u32::from(n);
            let mut packet = [0x80; 172];
            packet[1] = 0;
            packet[2..4].copy_from_slice(&n.to_be_bytes());
            packet[0] = 0x80;
            for (realm, from) in [(0, terminal()), (1, core())] {
                let verdict = relay.handle(now, at(realm), from, &packet, &mut stats);
                forwarded += u64::from(matches!(verdict, Verdict::Forward { .. }));
            }
        }
    });
    assert_eq!((info.count_total, forwarded), (0, 20_000));
}

#[test]
fn no_packet_of_any_kind_from_anybody_allocates() {
    let (mut relay, mut stats, mut rng) = (relay(), Stats::default(), Rng::new([3; 32]));
    let info = allocation_counter::measure(|| {
        for n in 0..100_000u32 {
            let now = Instant::ZERO + Duration::from_millis(1) * n;
            let at = MediaPort {
                realm: RealmId(rng.below(3) as u16),
                port: 19_990 + rng.below(u64::from(STREAMS) * 2 + 20) as u16,
            };
            let host = [198, 51, 100, 6 + rng.below(3) as u8];
            let from = match rng.below(4) {
                0 => terminal(),
                1 => core(),
                _ => SocketAddr::from((host, 4_000 + rng.below(40) as u16)),
            };
            let packet = packet(&mut rng, (n / 128) as u16);
            let length = if rng.below(20) == 0 { rng.below(172) as usize } else { 172 };
            relay.handle(now, at, from, &packet[..length], &mut stats);
        }
    });
    assert_eq!(info.count_total, 0);
    assert!(stats.rtp_packets > 1_000 && stats.rtcp_packets > 100, "{stats:?}");
    assert!(stats.stun_packets > 100 && stats.dtls_packets > 100, "{stats:?}");
    assert!(stats.drops.iter().filter(|count| **count > 0).count() >= 6, "{stats:?}");
}

/// An RTP packet of this SSRC.
fn voice(ssrc: u32, sequence: u16) -> [u8; 172] {
    let mut packet = [0; 172];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

#[test]
fn floods_rebindings_contests_and_control_allocate_nothing() {
    let (mut relay, mut stats) = (relay(), Stats::default());
    let at = |n: u16| MediaPort { realm: RealmId(0), port: 20_000 + n };
    let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let info = allocation_counter::measure(|| {
        for n in 0..20_000u16 {
            let now = Instant::ZERO + Duration::from_millis(20) * u32::from(n);
            // The NAT of the first one's terminal forgets every 25 s, and a neighbour contends all the time.
            let moved = SocketAddr::new(terminal().ip(), 4_000 + n / 1_250);
            relay.handle(now, at(0), moved, &voice(1, n), &mut stats);
            relay.handle(now, at(0), SocketAddr::new(terminal().ip(), 9), &voice(2, n), &mut stats);
            // The second one's terminal sends a hundred times what it may.
            for _ in 0..100 {
                relay.handle(now, at(2), terminal(), &voice(1, n), &mut stats);
                relay.handle(now, at(3), terminal(), &report, &mut stats);
            }
            relay.handle(now, at(1), SocketAddr::new(terminal().ip(), 4_001), &report, &mut stats);
            relay.handle(
                now,
                MediaPort { realm: RealmId(1), port: 20_000 },
                core(),
                &voice(3, n),
                &mut stats,
            );
        }
    });
    assert_eq!(info.count_total, 0);
    assert!(stats.rebound >= 8 && stats.contested > 0 && stats.rtcp_packets > 1_000, "{stats:?}");
    assert!(stats.dropped(DropReason::Rate) > 1_000_000, "{stats:?}");
}

#[test]
fn a_flow_at_a_hundred_times_its_rate_takes_nothing_from_its_neighbours() {
    let (mut relay, mut stats) = (relay(), Stats::default());
    let (mut heard, mut flood) = (0, 0);
    for n in 0..3_000u16 {
        let now = Instant::ZERO + Duration::from_millis(20) * u32::from(n);
        let mut passes = |realm, stream: u16, sequence| {
            let at = MediaPort { realm: RealmId(realm), port: 20_000 + 2 * stream };
            let from = if realm == 0 { terminal() } else { core() };
            let verdict = relay.handle(now, at, from, &voice(1, sequence), &mut stats);
            u64::from(matches!(verdict, Verdict::Forward { .. }))
        };
        flood += (0..100).map(|k| passes(0, 0, n.wrapping_mul(100).wrapping_add(k))).sum::<u64>();
        for stream in 0..STREAMS / 2 {
            heard += passes(1, stream, n);
            heard += if stream > 0 { passes(0, stream, n) } else { 0 };
        }
    }
    assert!(
        heard >= 3_000 * (u64::from(STREAMS) - 1) - 1,
        "all but what came before anybody was known: {heard}"
    );
    assert!((9_000..=9_200).contains(&flood), "three times its 50 a second and a burst: {flood}");
}
