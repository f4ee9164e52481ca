//! The fast door: nanoseconds for one packet, with the state of few streams (in cache) and of many (in memory).

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay};
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

const TERMINAL: ([u8; 4], u16) = ([198, 51, 100, 2], 4_000);
const CORE: ([u8; 4], u16) = ([10, 0, 0, 20], 8_000);
const STRANGER: ([u8; 4], u16) = ([192, 0, 2, 66], 6_666);

struct Traffic {
    relay: Relay,
    stats: Stats,
    streams: u16,
    turn: u64,
    packet: [u8; 172],
}

impl Traffic {
    fn new(streams: u16) -> Self {
        let mut relay = Relay::new();
        for realm in [0, 1] {
            relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_000 + streams * 2 - 1 });
        }
        for n in 0..streams {
            let port = |realm, odd| MediaPort { realm: RealmId(realm), port: 20_000 + n * 2 + odd };
            let pair = |realm| EndPorts { rtp: port(realm, 0), rtcp: port(realm, 1) };
            let id = relay.open(Instant::ZERO, pair(0), pair(1));
            for (end, peer) in [(End::A, SocketAddr::from(TERMINAL)), (End::B, SocketAddr::from(CORE))] {
                let described =
                    Description { rtp: Some(peer), payload_types: [1, 0], ..Description::default() };
                relay.describe(Instant::ZERO, id, end, &[peer.ip()], false, described);
            }
            relay.gate(id, Gate::OPEN);
        }
        let mut packet = [0; 172];
        packet[0] = 0x80;
        let mut traffic = Self { relay, stats: Stats::default(), streams, turn: 0, packet };
        for _ in 0..u32::from(streams) * 4 {
            traffic.step(None);
        }
        traffic
    }

    /// One packet, at every stream's two ports in turn; each stream carries 50 packets a second.
    fn step(&mut self, from: Option<SocketAddr>) {
        let ports = u64::from(self.streams) * 2;
        let now = Instant::ZERO + Duration::from_nanos(self.turn * (20_000_000 / ports));
        let (round, stream, realm) =
            (self.turn / ports, (self.turn / 2) % u64::from(self.streams), self.turn % 2);
        self.turn += 1;
        self.packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        let at = MediaPort { realm: RealmId(realm as u16), port: 20_000 + stream as u16 * 2 };
        let peer = if realm == 0 { TERMINAL } else { CORE };
        let from = from.unwrap_or_else(|| peer.into());
        black_box(self.relay.handle(now, at, from, black_box(&self.packet), &mut self.stats));
    }
}

fn relay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    for streams in [1, 1_024, 16_384] {
        let mut traffic = Traffic::new(streams);
        group.bench_function(BenchmarkId::new("forward", streams), |bench| bench.iter(|| traffic.step(None)));
        assert_eq!(traffic.stats.drops.iter().sum::<u64>(), 0, "everything was forwarded");
        let stranger = Some(STRANGER.into());
        group.bench_function(BenchmarkId::new("stranger", streams), |bench| {
            bench.iter(|| traffic.step(stranger));
        });
    }
    group.finish();
}

criterion_group!(benches, relay);
criterion_main!(benches);
