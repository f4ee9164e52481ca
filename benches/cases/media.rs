//! What happens to a packet.

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::media::meter::Meter;
use portolan_shards::media::{Description, End, EndPorts, Gate, Rate, Relay};
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

const TERMINAL: ([u8; 4], u16) = ([198, 51, 100, 2], 4_000);
const CORE: ([u8; 4], u16) = ([10, 0, 0, 20], 8_000);
const STRANGER: ([u8; 4], u16) = ([192, 0, 2, 66], 6_666);
const FIRST_PORT: u16 = 16_384;
const PTIME: Duration = Duration::from_millis(20);
/// A receiver report without a block (RFC 3550 section 6.4.2).
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];

/// A relay, and the packets of the two ends of its first stream.
struct Traffic {
    relay: Relay,
    stats: Stats,
    now: Instant,
    packet: [u8; 172],
}

impl Traffic {
    /// Answered streams at which nothing has arrived yet.
    fn silent(streams: u16) -> Self {
        let mut relay = Relay::new();
        for realm in [0, 1] {
            relay.slice(RealmId(realm), PortRange { first: FIRST_PORT, last: FIRST_PORT + streams * 2 - 1 });
        }
        for n in 0..streams {
            let pair = |realm| EndPorts { rtp: port(realm, n * 2), rtcp: port(realm, n * 2 + 1) };
            let id = relay.open(Instant::ZERO, pair(0), pair(1));
            for (end, peer) in [(End::A, SocketAddr::from(TERMINAL)), (End::B, SocketAddr::from(CORE))] {
                let rtcp = Some(SocketAddr::new(peer.ip(), peer.port() + 1));
                let described =
                    Description { rtp: Some(peer), rtcp, payload_types: [1, 0], ..Description::default() };
                relay.describe(Instant::ZERO, id, end, &[peer.ip()], false, described);
            }
            relay.gate(id, Gate::OPEN);
        }
        let mut packet = [0; 172];
        packet[0] = 0x80;
        Self { relay, stats: Stats::default(), now: Instant::ZERO, packet }
    }

    /// One stream, latched at both ends.
    fn talking() -> Self {
        let mut traffic = Self::silent(1);
        for sequence in 0..8 {
            traffic.exchange(sequence);
        }
        traffic
    }

    /// A packet time passes: one packet each way.
    fn exchange(&mut self, sequence: u16) {
        self.now += PTIME;
        for realm in [0, 1] {
            assert!(forwarded(self.voice(realm, sequence)));
        }
    }

    /// The next packet of one end.
    fn voice(&mut self, realm: u16, sequence: u16) -> Verdict {
        self.packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        let from = if realm == 0 { TERMINAL } else { CORE };
        self.relay.handle(self.now, port(realm, 0), from.into(), black_box(&self.packet), &mut self.stats)
    }
}

fn port(realm: u16, offset: u16) -> MediaPort {
    MediaPort { realm: RealmId(realm), port: FIRST_PORT + offset }
}

fn forwarded(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward { .. })
}

pub(super) fn rtp(_: u16) -> Box<dyn FnMut()> {
    let (mut traffic, mut turn) = (Traffic::talking(), 16_u32);
    Box::new(move || {
        traffic.now += PTIME / 2;
        assert!(forwarded(traffic.voice((turn % 2) as u16, (turn / 2) as u16)));
        turn += 1;
    })
}

pub(super) fn rtcp(_: u16) -> Box<dyn FnMut()> {
    let (mut traffic, mut turn) = (Traffic::talking(), 0_u32);
    let from = [TERMINAL, CORE].map(|(ip, port)| SocketAddr::from((ip, port + 1)));
    Box::new(move || {
        let Traffic { relay, stats, now, .. } = &mut traffic;
        let realm = turn % 2;
        *now += PTIME / 2;
        let at = port(realm as u16, 1);
        assert!(forwarded(relay.handle(*now, at, from[realm as usize], black_box(&REPORT), stats)));
        turn += 1;
    })
}

pub(super) fn stranger(_: u16) -> Box<dyn FnMut()> {
    let mut traffic = Traffic::talking();
    Box::new(move || {
        let Traffic { relay, stats, now, packet } = &mut traffic;
        let verdict = relay.handle(*now, port(0, 0), STRANGER.into(), black_box(packet), stats);
        assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
    })
}

pub(super) fn policed(_: u16) -> Box<dyn FnMut()> {
    let (mut traffic, mut sequence) = (Traffic::talking(), 8);
    while forwarded(traffic.voice(0, sequence)) {
        sequence += 1;
    }
    Box::new(move || assert_eq!(traffic.voice(0, sequence), Verdict::Drop(DropReason::Rate)))
}

pub(super) fn first(times: u16) -> Box<dyn FnMut()> {
    let (mut traffic, mut stream) = (Traffic::silent(times), 0);
    Box::new(move || {
        let Traffic { relay, stats, now, packet } = &mut traffic;
        assert!(forwarded(relay.handle(
            *now,
            port(0, stream * 2),
            TERMINAL.into(),
            black_box(packet),
            stats
        )));
        stream += 1;
    })
}

pub(super) fn policer(_: u16) -> Box<dyn FnMut()> {
    let (mut meter, mut now) = (Meter::new(Rate::default()), Instant::ZERO);
    Box::new(move || {
        now = black_box(now + PTIME);
        assert!(meter.allows(now));
        meter.charge(now, black_box(172));
    })
}
