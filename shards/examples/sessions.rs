//! A shard's media in memory: nanoseconds of processor time for one packet with 1,000 to 1,000,000 sessions, in random order, and the
//! octets that a session holds.
//!
//! `cargo run --release -p portolan-shards --example sessions [SESSIONS ...]`

use portolan_shards::io::{Output, Verdict};
use portolan_shards::limits::Limits;
use portolan_shards::media::Rate;
use portolan_shards::media::formats::Formats;
use portolan_shards::random::Rng;
use portolan_shards::realm::{Keepalive, Mapping, PortRange, Realm};
use portolan_shards::session::{Anchor, Role, Sessions, View};
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId, ShardId, Side};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Sessions on one pair of realms: nearly all its ports.
const PER_REALM: usize = 16_000;
/// Packets measured in one round, and rounds; the fastest round counts, because nothing makes a round too fast.
const PACKETS: u32 = 1_000_000;
const ROUNDS: usize = 5;
/// Packets that come together: so many the ring looks ahead.
const TOGETHER: usize = 16;
const TERMINAL: ([u8; 4], u16) = ([203, 0, 113, 7], 30_000);
const CORE: ([u8; 4], u16) = ([10, 0, 0, 20], 8_000);
const STRANGER: ([u8; 4], u16) = ([192, 0, 2, 66], 6_666);

/// Ports of each session, access and core, and how many packets each of them has had.
struct Traffic {
    sessions: Sessions,
    ports: Vec<[MediaPort; 2]>,
    sequences: Vec<[u16; 2]>,
    stats: Stats,
    rng: Rng,
    now: Instant,
}

fn mapping(pairs: usize) -> Mapping {
    let realm = |n: usize, side| {
        let address = IpAddr::from([127, 0, side as u8 + 1, n as u8]);
        let media = PortRange { first: 32_768, last: 65_535 };
        Arc::new(Realm::new(RealmId((2 * n + side as usize) as u16), "realm", side, address, media))
    };
    let realms = (0..pairs).flat_map(|n| [realm(n, Side::Access), realm(n, Side::Core)]);
    Mapping {
        generation: 1,
        shards: 1,
        secret: [1; 32],
        realms: realms.collect(),
        softswitches: Vec::new(),
        routes: Vec::new(),
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits { sessions: usize::MAX, ..Limits::default() },
    }
}

fn view(rtp: ([u8; 4], u16)) -> View {
    let rtp = SocketAddr::from(rtp);
    View {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        mux: false,
        payload_types: [1, 0],
        ptime: Duration::from_millis(20),
        sends: true,
        held: false,
        receives: true,
        rate: Rate::default(),
        capped: false,
        rtp_profile: true,
        formats: Formats::default(),
        secure: false,
        dtls: false,
        either_role: false,
        ice: false,
        version: 1,
    }
}

impl Traffic {
    fn new(count: usize) -> Self {
        let mapping = mapping(count.div_ceil(PER_REALM));
        let mut traffic = Self {
            sessions: Sessions::default(),
            ports: Vec::with_capacity(count),
            sequences: vec![[0; 2]; count],
            stats: Stats::default(),
            rng: Rng::new([7; 32]),
            now: Instant::ZERO,
        };
        let mut out = VecDeque::new();
        traffic.sessions.configure(traffic.now, &mapping, ShardId(0), &mut traffic.rng, &mut out);
        for n in 0..count {
            traffic.bind(&mut out);
            traffic.open(&mapping.realms[n / PER_REALM * 2..][..2], &mut out);
        }
        traffic
    }

    /// The kernel's part: every port can be bound.
    fn bind(&mut self, out: &mut VecDeque<Output>) {
        self.sessions.refill(self.now, &mut self.rng, out);
        while let Some(output) = out.pop_front() {
            if let Output::OpenPort(port) = output {
                self.sessions.port_opened(port, true, out);
            }
        }
    }

    /// One session, offered by the terminal and answered.
    fn open(&mut self, realms: &[Arc<Realm>], out: &mut VecDeque<Output>) {
        let key = self.sessions.open(self.now, &realms[0], &realms[1]).expect("room for a session");
        self.sessions.trust(self.now, key, Side::Access, SocketAddr::from(TERMINAL).ip());
        self.sessions.trust(self.now, key, Side::Core, SocketAddr::from(CORE).ip());
        let mut anchor = |side: Side, role, view| {
            let mut with = Anchor { now: self.now, rng: &mut self.rng, out, role };
            let ours = self.sessions.anchor(&mut with, key, side, 0, view).expect("ports");
            let realm = realms[1 - side as usize].id;
            MediaPort { realm, port: ours.rtp.port() }
        };
        let core = anchor(Side::Access, Role::Offer, view(([192, 168, 1, 10], 5_004)));
        let access = anchor(Side::Core, Role::Answer, view(CORE));
        self.sessions.commit(self.now, key, out);
        self.ports.push([access, core]);
    }

    /// One packet at one port of each of some random sessions, which have come together, as the ring hands them over; says
    /// how many passed. Of the time that all sessions need for a packet each, their part passes.
    fn step(&mut self, stranger: bool) -> usize {
        let drawn = self.draw();
        for (n, side) in drawn {
            std::hint::black_box(self.ports[n][side]);
            std::hint::black_box(self.sequences[n][side]);
        }
        for (n, side) in drawn {
            self.sessions.locate(self.ports[n][side]);
        }
        for (n, side) in drawn {
            self.sessions.prefetch(self.ports[n][side]);
        }
        let gap = Duration::from_nanos(20_000_000 / (2 * self.ports.len() as u64));
        let mut passes = |(n, side)| {
            self.now += gap;
            self.packet(n, side, stranger)
        };
        drawn.into_iter().filter(|&drawn| passes(drawn)).count()
    }

    fn draw(&mut self) -> [(usize, usize); TOGETHER] {
        std::array::from_fn(|_| {
            (self.rng.below(self.ports.len() as u64) as usize, (self.rng.u64() & 1) as usize)
        })
    }

    fn packet(&mut self, n: usize, side: usize, stranger: bool) -> bool {
        let mut packet = [0; 172];
        packet[0] = 0x80;
        if !stranger {
            self.sequences[n][side] += 1;
        }
        packet[2..4].copy_from_slice(&self.sequences[n][side].to_be_bytes());
        let from = if stranger { STRANGER } else { [TERMINAL, CORE][side] };
        let at = self.ports[n][side];
        let verdict = self.sessions.media(self.now, at, from.into(), &mut packet, &mut self.stats);
        matches!(verdict, Verdict::Forward { .. })
    }

    /// Every terminal and the softswitch have spoken: all is latched.
    fn talk(&mut self) {
        for n in 0..5 * self.ports.len() {
            if n % self.ports.len() == 0 {
                self.now += Duration::from_millis(20);
            }
            for side in 0..2 {
                self.packet(n % self.ports.len(), side, false);
            }
        }
    }

    /// Nanoseconds for a packet in random order, without what the test itself costs.
    fn measure(&mut self, stranger: bool) -> f64 {
        let mut fastest = f64::MAX;
        for _ in 0..ROUNDS {
            let began = processor_time();
            let passed = (0..PACKETS as usize / TOGETHER).map(|_| self.step(stranger)).sum::<usize>();
            let took = (processor_time() - began) as f64 / f64::from(PACKETS);
            assert_eq!(passed, if stranger { 0 } else { PACKETS as usize }, "{:?}", self.stats);
            fastest = fastest.min(took);
        }
        fastest - self.bare()
    }

    /// The test's own part: the draws, and the tables of ports and sequence numbers.
    fn bare(&mut self) -> f64 {
        let began = processor_time();
        let mut sum = 0u64;
        for _ in 0..PACKETS as usize / TOGETHER {
            for (n, side) in self.draw() {
                sum += u64::from(self.ports[n][side].port) + u64::from(self.sequences[n][side]);
            }
        }
        std::hint::black_box(sum);
        (processor_time() - began) as f64 / f64::from(PACKETS)
    }
}

/// Nanoseconds that this thread has run (Linux): others on the machine do not count.
fn processor_time() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

/// Octets that the process has in memory (Linux).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}

fn main() {
    let asked = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect::<Vec<usize>>();
    let counts = if asked.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { asked };
    println!("sessions   ns a forwarded packet   ns a stranger's packet   octets a session");
    for count in counts {
        let before = resident();
        let mut traffic = Traffic::new(count);
        traffic.talk();
        let held = resident().saturating_sub(before) / count as u64;
        let (forwarded, stranger) = (traffic.measure(false), traffic.measure(true));
        println!("{count:8}   {forwarded:21.1}   {stranger:22.1}   {held:16}");
    }
}
