//! What must hold of the relay whatever arrives in whatever order.

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::media::latch::{Heard, Heed, Latch};
use portolan_shards::media::rivals::Rivals;
use portolan_shards::media::trust::{Addr, Rank, Trust};
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where packets come from: index 0 and 1 are announced, 2 to 4 are on hosts of signaling, 5 is their neighbour, and
/// the rest are strangers.
const PLACES: [&str; 9] = [
    "198.51.100.2:4000",
    "10.0.0.1:4000",
    "203.0.113.7:30000",
    "203.0.113.7:30002",
    "198.51.100.2:4002",
    "203.0.113.8:30000",
    "192.0.2.66:4000",
    "192.0.2.67:30000",
    "198.18.0.1:4000",
];
const FIRST_STRANGER: usize = 6;
const SIGNALING: &str = "203.0.113.7";
const CORE: &str = "10.0.0.20:8000";

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// From a place to the access port: SSRC, step of the place's sequence.
    Voice {
        place: usize,
        ssrc: u32,
        step: u16,
    },
    Report {
        place: usize,
    },
    /// Octets that are no media.
    Knock {
        place: usize,
    },
    Core,
    CoreReport,
    Describe {
        place: usize,
    },
    Gate {
        a: bool,
        b: bool,
    },
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..PLACES.len();
    let step = prop_oneof![
        8 => (0..60u64).prop_map(Step::Wait),
        1 => (400..4_000u64).prop_map(Step::Wait),
        12 => (place.clone(), 0..2u32, prop_oneof![9 => 1..3u16, 1 => any::<u16>()])
            .prop_map(|(place, ssrc, step)| Step::Voice { place, ssrc, step }),
        3 => place.clone().prop_map(|place| Step::Report { place }),
        1 => place.prop_map(|place| Step::Knock { place }),
        8 => Just(Step::Core),
        2 => Just(Step::CoreReport),
        1 => (0..2usize).prop_map(|place| Step::Describe { place }),
        1 => any::<(bool, bool)>().prop_map(|(a, b)| Step::Gate { a, b }),
    ];
    (vec(step, 1..300), 0..20u32).prop_map(|(mut steps, closes)| {
        steps.extend((closes == 0).then_some(Step::Close));
        steps
    })
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn port(realm: u16, port: u16) -> MediaPort {
    MediaPort { realm: RealmId(realm), port }
}

/// One stream, and what a strict observer knows about its access end.
struct World {
    relay: Relay,
    id: StreamId,
    stats: Stats,
    now: Instant,
    announced: usize,
    sequences: [u16; PLACES.len()],
    core_sequence: u16,
    /// Per place and SSRC: sequence and packets in order so far.
    runs: HashMap<(usize, u32), (u16, u32)>,

    /// Packets sent to an announced address since it was announced, without an answer.
    unanswered: u32,
    answered: bool,
    /// Who has knocked since the announcement, of those who may; packets sent there since the last knock without another
    /// reason.
    pinholes: (Vec<usize>, u32),
    closed: bool,
}

impl World {
    fn new() -> Self {
        let mut relay = Relay::new();
        for realm in [0, 1] {
            relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_003 });
        }
        let pair = |realm| EndPorts { rtp: port(realm, 20_000), rtcp: port(realm, 20_001) };
        let id = relay.open(Instant::ZERO, pair(0), pair(1));
        let core = Description {
            rtp: Some(addr(CORE)),
            trusted: true,
            payload_types: [1, 0],
            ..Description::default()
        };
        relay.describe(Instant::ZERO, id, End::B, &[addr(CORE).ip()], false, core);
        relay.gate(id, Gate::OPEN);
        let mut world = Self {
            relay,
            id,
            stats: Stats::default(),
            now: Instant::ZERO,
            announced: usize::MAX,
            sequences: [0; PLACES.len()],
            core_sequence: 0,
            runs: HashMap::new(),
            unanswered: 0,
            answered: false,
            pinholes: (Vec::new(), 0),
            closed: false,
        };
        world.describe(0);
        world
    }

    fn describe(&mut self, place: usize) {
        if self.announced != place {
            (self.announced, self.unanswered, self.answered) = (place, 0, false);
            self.pinholes.0.clear();
        }
        let rtp = addr(PLACES[place]);
        let rtcp = Some(SocketAddr::new(rtp.ip(), rtp.port() + 1));
        let description =
            Description { rtp: Some(rtp), rtcp, payload_types: [1, 0], ..Description::default() };
        let sources = [SIGNALING.parse().expect("an address")];
        self.relay.describe(self.now, self.id, End::A, &sources, true, description);
    }

    fn handle(&mut self, at: MediaPort, from: SocketAddr, packet: &[u8]) -> Verdict {
        self.relay.handle(self.now, at, from, packet, &mut self.stats)
    }

    fn voice(&mut self, place: usize, ssrc: u32, step: u16) -> Verdict {
        self.sequences[place] = self.sequences[place].wrapping_add(step);
        let sequence = self.sequences[place];
        let verdict = self.handle(port(0, 20_000), addr(PLACES[place]), &rtp(ssrc, sequence));
        let run = self.runs.entry((place, ssrc)).or_insert((sequence, 0));
        let follows = (1..=16).contains(&sequence.wrapping_sub(run.0));
        *run = (sequence, if follows { run.1 + 1 } else { 1 });
        self.answered |= place == self.announced && !matches!(verdict, Verdict::Drop(DropReason::NotArmed));
        verdict
    }

    fn knock(&mut self, place: usize) -> Verdict {
        let from = addr(PLACES[place]);
        if self.announced == 1 && from.ip() == addr(PLACES[2]).ip() {
            self.pinholes.0.push(place);
            self.pinholes.1 = 0;
        }
        self.handle(port(0, 20_000), from, b"#")
    }

    fn core(&mut self) -> Verdict {
        self.core_sequence = self.core_sequence.wrapping_add(1);
        self.handle(port(1, 20_000), addr(CORE), &rtp(9, self.core_sequence))
    }

    fn step(&mut self, step: &Step) -> Option<Verdict> {
        match *step {
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::Voice { place, ssrc, step } => return Some(self.voice(place, ssrc, step)),
            Step::Report { place } => {
                let from = addr(PLACES[place]);
                let from = SocketAddr::new(from.ip(), from.port() + 1);
                return Some(self.handle(port(0, 20_001), from, &[0x80, 201, 0, 1, 0, 0, 0, 1]));
            }
            Step::Knock { place } => return Some(self.knock(place)),
            Step::Core => return Some(self.core()),
            Step::CoreReport => {
                return Some(self.handle(port(1, 20_001), addr(CORE), &[0x80, 201, 0, 1, 0, 0, 0, 1]));
            }
            Step::Describe { place } => self.describe(place),
            Step::Gate { a, b } => self.relay.gate(self.id, Gate { a_to_b: a, b_to_a: b }),
            Step::Close => {
                self.relay.close(self.id);
                self.closed = true;
            }
        }
        None
    }
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0; 172];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

fn is_strange(step: &Step) -> bool {
    matches!(step, Step::Voice { place, .. } | Step::Report { place } | Step::Knock { place } if *place >= FIRST_STRANGER)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn off_path_packets_change_nothing_but_counters(steps in steps()) {
        let (mut attacked, mut quiet) = (World::new(), World::new());
        for step in &steps {
            let verdict = attacked.step(step);
            if is_strange(step) {
                prop_assert!(matches!(verdict, Some(Verdict::Drop(_))));
                continue;
            }
            prop_assert_eq!(verdict, quiet.step(step));
            prop_assert_eq!(attacked.relay.last_media(attacked.id), quiet.relay.last_media(quiet.id));
        }
        prop_assert_eq!(attacked.stats.rtp_packets, quiet.stats.rtp_packets);
    }

    #[test]
    fn the_first_packet_of_a_legitimate_source_is_accepted(
        strange in vec((FIRST_STRANGER..PLACES.len(), 1..3u16), 0..200), legitimate in prop_oneof![Just(0usize), 2..5usize],
    ) {
        let mut world = World::new();
        for (place, step) in strange {
            world.now += Duration::from_millis(3);
            prop_assert_eq!(world.voice(place, 1, step), Verdict::Drop(DropReason::Stranger));
        }
        let accepted = matches!(world.voice(legitimate, 1, 1), Verdict::Forward { .. });
        prop_assert!(accepted);
        let latched = world.relay.latched(world.id, End::A);
        prop_assert!(legitimate != 0 || latched == Some(addr(PLACES[0])));
    }

    #[test]
    fn every_packet_goes_to_the_latch_or_two_in_order_or_the_announced_or_a_pinhole_within_its_budget(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            let Some(Verdict::Forward { out, to }) = world.step(step) else { continue };
            if out.realm == RealmId(1) {
                prop_assert!(to == addr(CORE));
                continue;
            }
            if out.port == 20_001 {
                prop_assert!(world.relay.latched(world.id, End::A).is_some());
                continue;
            }
            let place = PLACES.iter().position(|p| addr(p) == to);
            let Some(place) = place else { panic!("sent to nobody's address {to}") };
            prop_assert!(place < FIRST_STRANGER);
            let latched = world.relay.latched(world.id, End::A) == Some(to);
            let in_order = world.runs.iter().any(|((of, _), run)| *of == place && run.1 >= 2);
            if latched || in_order {
                continue;
            }
            if world.pinholes.0.contains(&place) {
                world.pinholes.1 += 1;
                prop_assert!(world.pinholes.1 <= 250);
            } else {
                prop_assert_eq!(place, world.announced);
                world.unanswered += 1;
                prop_assert!(world.answered || world.unanswered <= 250);
            }
        }
    }

    #[test]
    fn nothing_leaves_a_closed_stream(steps in steps()) {
        let mut world = World::new();
        world.step(&Step::Close);
        for step in &steps {
            if let Some(verdict) = world.step(step) {
                prop_assert_eq!(verdict, Verdict::Drop(DropReason::NoSession));
            }
        }
        prop_assert!(world.closed && world.relay.is_empty());
    }

    #[test]
    fn counters_agree_with_verdicts(steps in steps()) {
        let mut world = World::new();
        let (mut forwarded, mut dropped) = (0, 0);
        for step in steps.iter().filter(|step| !matches!(step, Step::Close)) {
            match world.step(step) {
                Some(Verdict::Forward { .. }) => forwarded += 1,
                Some(Verdict::Drop(_)) => dropped += 1,
                None => {}
            }
        }
        let [a, b] = world.relay.counters(world.id);
        prop_assert_eq!(a.forwarded(true).0 + b.forwarded(true).0, forwarded);
        prop_assert_eq!(a.dropped() + b.dropped(), dropped);
        prop_assert_eq!(world.stats.drops.iter().sum::<u64>(), dropped);
    }

    #[test]
    fn inside_the_window_the_rank_never_worsens_and_only_the_holder_is_accepted(
        packets in vec((0..PLACES.len(), 0..2u32, 1..4u16, 0..40u64), 1..200),
    ) {
        let (mut latch, mut trust) = (Latch::new(), Trust::default());
        let source: IpAddr = SIGNALING.parse().unwrap();
        let description = Description { rtp: Some(addr(PLACES[0])), ..Description::default() };
        trust.update(&[source], true, &description);
        latch.arm(Instant::ZERO, &trust, true);
        let mut rivals = Rivals::default();
        rivals.reserve(0);
        let (mut now, mut sequences, mut best) = (Instant::ZERO, [0u16; PLACES.len()], Rank::Stranger);
        for (place, ssrc, step, ms) in packets {
            now += Duration::from_millis(ms);
            sequences[place] += step;
            let from = Addr::from(addr(PLACES[place]));
            let heard = Heard { from, rtp: Some((ssrc, sequences[place])) };
            let heed = latch.receive(now, &heard, &trust, Duration::from_millis(20), rivals.bench(0, End::A));
            prop_assert_eq!(matches!(heed, Heed::Accept(_)), latch.source() == Some(from));
            if let Some(rank) = latch.rank().filter(|_| latch.is_learning(now)) {
                prop_assert!(rank <= best && rank < Rank::Stranger);
                best = rank;
            }
        }
    }
}
