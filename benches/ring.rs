//! The datagram ring under a relay, over real sockets on loopback: processor time and added delay of a packet.
//!
//! `cargo bench --bench ring -- --calls 100,1000,8000 --shards 1,2`; `--help` has the rest. The shards run as they do in
//! the process, with the relay alone as their brain; a thread of this program is all terminals and the softswitch.
//! Kernel time that a shard's sends spend on delivery to the receiving socket is in its figure.

use clap::Parser;
use portolan::io::datagrams::{Arrival, Datagrams, Dscp, Forward, Kind, Loss, Sink, Slot};
use portolan::io::limits::raise_open_files;
use portolan::io::ring::{Ring, Sizes};
use portolan::runtime::{Brain, Options, Runtime, ShardSnapshot};
use portolan_shards::io::{Crossing, DropReason, Input, Listener, Output, Verdict};
use portolan_shards::limits::Limits;
use portolan_shards::media::{Description, End, EndPorts, Gate, Rate, Relay};
use portolan_shards::realm::{Keepalive, Mapping, PortRange, Realm};
use portolan_shards::stats::Stats;
use portolan_shards::types::{Flow, Instant, MediaPort, Proto, RealmId, ShardId, Side};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Octets of a packet: RTP with 20 ms of G.711.
const PACKET: usize = 172;
/// Media ports of each realm.
const PORTS: PortRange = PortRange { first: 10_000, last: 59_999 };
/// Peers that share an address.
const PEERS: usize = 16_384;
/// Packets that the generator sends before it looks for arrivals.
const BURST: u64 = 64;
/// How long the generator waits at most before it looks what is due.
const PATIENCE: Duration = Duration::from_micros(50);
/// Before measuring starts: latches are learned, caches warm.
const WARM_UP: Duration = Duration::from_millis(700);
/// What is under way when sending ends arrives within this.
const TAIL: Duration = Duration::from_millis(300);

/// Measures the datagram ring under a relay.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Calls at once, in all; one line of the table each
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    calls: Vec<usize>,
    /// Shards that share them; one line of the table each
    #[arg(long, value_delimiter = ',', default_value = "1")]
    shards: Vec<u16>,
    /// Packets a second, in all; one line of the table each
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    rate: Vec<u64>,
    /// Packets a second at one port, from the address that it has learned, on top
    #[arg(long, default_value_t = 0)]
    flood: u64,
    /// `limits.batch_us`; one line of the table each
    #[arg(long, value_delimiter = ',', default_value = "0")]
    batch: Vec<u64>,
    /// How long is measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often all is measured, in turn
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Case {
    calls: usize,
    shards: u16,
    rate: u64,
    batch: u64,
    flood: u64,
    span: Duration,
}

impl Case {
    /// Packets a second of one direction of a call.
    fn stream_rate(&self) -> u64 {
        (self.rate / (self.calls as u64 * 2)).max(1)
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    raise_open_files(1 << 20)?;
    println!(
        "{:>6} {:>6} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "shards",
        "calls",
        "rate/s",
        "batch us",
        "us/packet",
        "by entry",
        "p50 us",
        "p99 us",
        "sent",
        "lost",
        "dropped"
    );
    for _ in 0..arguments.rounds {
        for case in cases(&arguments) {
            println!("{}", measure(&case)?.line(&case));
        }
    }
    Ok(())
}

fn cases(arguments: &Arguments) -> Vec<Case> {
    let Arguments { flood, seconds, .. } = *arguments;
    let span = Duration::from_secs_f64(seconds);
    let mut cases = Vec::new();
    for &shards in &arguments.shards {
        for &calls in &arguments.calls {
            for &rate in &arguments.rate {
                let case = |&batch| Case { calls, shards, rate, batch, flood, span };
                cases.extend(arguments.batch.iter().map(case));
            }
        }
    }
    cases
}

/// What one line shows.
#[derive(Debug)]
struct Outcome {
    cpu: Duration,
    forwarded: u64,
    entries: u64,
    dropped: u64,
    sent: u64,
    received: u64,
    delays: Vec<u32>,
}

impl Outcome {
    fn line(mut self, case: &Case) -> String {
        self.delays.sort_unstable();
        let at = |share: f64| {
            let index = (self.delays.len() as f64 * share) as usize;
            f64::from(self.delays.get(index).copied().unwrap_or_default()) / 1e3
        };
        let cost = self.cpu.as_secs_f64() * 1e6 / self.forwarded.max(1) as f64;
        format!(
            "{:>6} {:>6} {:>8} {:>8} {cost:>9.2} {:>8.1} {:>8.0} {:>8.0} {:>8} {:>8} {:>8}",
            case.shards,
            case.calls,
            case.rate,
            case.batch,
            self.forwarded as f64 / self.entries.max(1) as f64,
            at(0.5),
            at(0.99),
            self.sent,
            self.sent - self.received,
            self.dropped
        )
    }
}

fn measure(case: &Case) -> anyhow::Result<Outcome> {
    let runtime = Runtime::start::<Lab>(&Options {
        mapping: Arc::new(mapping(case)),
        cores: (0..usize::from(case.shards)).collect(),
        seed: Some([7; 32]),
        tls: Arc::default(),
    })?;
    let mut generator = Generator::new(case)?;
    generator.run(WARM_UP)?;
    let before = runtime.fresh_stats();
    generator.desk.measuring = true;
    generator.run(case.span)?;
    let after = runtime.fresh_stats();
    generator.listen(TAIL)?;
    let spent = |of: fn(&ShardSnapshot) -> u64| {
        after.iter().zip(&before).map(|(after, before)| of(after) - of(before)).sum::<u64>()
    };
    let outcome = Outcome {
        cpu: Duration::from_nanos(spent(|shard| shard.cpu.as_nanos() as u64)),
        forwarded: spent(|shard| shard.stats.rtp_packets),
        entries: spent(|shard| shard.ring.entries),
        dropped: spent(|shard| shard.stats.drops.iter().sum()),
        sent: generator.desk.sent,
        received: generator.desk.received,
        delays: generator.desk.delays,
    };
    runtime.stop()?;
    Ok(outcome)
}

fn relay_address(end: End) -> IpAddr {
    Ipv4Addr::new(127, 88, 1 + end as u8, 1).into()
}

/// Where the peer at one end of a call is.
fn peer(end: End, call: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(127, 88, 16 * (1 + end as u8) + (call / PEERS) as u8, 1);
    SocketAddr::new(ip.into(), 20_000 + (call % PEERS) as u16)
}

/// The RTP port that faces it.
fn port(case: (usize, u16), end: End, call: usize) -> MediaPort {
    let (calls, shards) = case;
    let each = calls.div_ceil(usize::from(shards));
    let slice = PORTS.slice(shards, ShardId((call / each) as u16));
    MediaPort { realm: RealmId(end as u16), port: slice.first + (call % each) as u16 * 2 }
}

/// Two realms. The limits say how many calls there are, and what media all of them may bring together.
fn mapping(case: &Case) -> Mapping {
    let realm = |end: End| {
        let side = if end == End::A { Side::Access } else { Side::Core };
        Arc::new(Realm::new(RealmId(end as u16), "bench", side, relay_address(end), PORTS))
    };
    let media_kbit = case.calls as u64 * case.stream_rate() * PACKET as u64 * 8 / 1000 + 1;
    Mapping {
        generation: 1,
        shards: case.shards,
        secret: [0; 32],
        realms: End::BOTH.map(realm).to_vec(),
        softswitches: Vec::new(),
        routes: Vec::new(),
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits {
            sessions: case.calls,
            media_kbit,
            batch: Duration::from_micros(case.batch),
            ..Limits::default()
        },
    }
}

/// A brain that is nothing but a relay whose calls are all there from the start.
struct Lab {
    relay: Relay,
    stats: Stats,
    outputs: Vec<Output>,
}

impl Lab {
    fn open(&mut self, mapping: &Mapping, call: usize) {
        let ports = End::BOTH.map(|end| {
            let rtp = port((mapping.limits.sessions, mapping.shards), end, call);
            EndPorts { rtp, rtcp: MediaPort { port: rtp.port + 1, ..rtp } }
        });
        // RTCP's ports would only be idle: 8,000 calls shall fit where 20,000 files may be open.
        self.outputs.extend(ports.iter().map(|pair| Output::OpenPort(pair.rtp)));
        let stream = self.relay.open(Instant::ZERO, ports[0], ports[1]);
        let octets = mapping.limits.media_kbit * 125 / mapping.limits.sessions as u64 + 1;
        let rate =
            Rate { packets_per_s: (octets / PACKET as u64).max(1) as u32, octets_per_s: octets as u32 };
        for end in End::BOTH {
            let rtp = peer(end, call);
            let said = Description { rtp: Some(rtp), payload_types: [1, 0], rate, ..Description::default() };
            self.relay.describe(Instant::ZERO, stream, end, &[rtp.ip()], false, said);
        }
        self.relay.gate(stream, Gate::OPEN);
    }
}

impl Brain for Lab {
    fn new(id: ShardId, mapping: Arc<Mapping>, _: [u8; 32], _: Instant) -> Self {
        let mut lab = Self { relay: Relay::new(), stats: Stats::default(), outputs: Vec::new() };
        for realm in &mapping.realms {
            lab.relay.slice(realm.id, realm.media.slice(mapping.shards, id));
        }
        let each = mapping.limits.sessions.div_ceil(usize::from(mapping.shards));
        let first = usize::from(id.0) * each;
        for call in first..(first + each).min(mapping.limits.sessions) {
            lab.open(&mapping, call);
        }
        lab.outputs.reverse();
        lab
    }

    fn handle_media(&mut self, now: Instant, at: MediaPort, from: SocketAddr, packet: &mut [u8]) -> Verdict {
        self.relay.handle(now, at, from, packet, &mut self.stats)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    fn port_opened(&mut self, port: MediaPort, ok: bool) {
        assert!(ok, "port {} cannot be opened", port.port);
    }

    fn dropped(&mut self, reason: DropReason) {
        self.stats.drop(reason);
    }

    fn stats(&mut self) -> Stats {
        self.stats
    }

    fn accepted(&mut self, _: Instant, _: &Listener, _: SocketAddr) -> Option<Flow> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_message(&mut self, _: Instant, _: Proto, _: Input<'_>) {}
    fn handle_crossing(&mut self, _: Instant, _: Crossing) {}
    fn closed(&mut self, _: Instant, _: Flow) {}
    fn handle_timeout(&mut self, _: Instant) {}
    fn reload(&mut self, _: Instant, _: Arc<Mapping>) {}
    fn drain(&mut self) {}
}

/// One end of a call.
#[derive(Clone, Copy, Debug)]
struct Talker {
    slot: Slot,
    to: SocketAddr,
    sequence: u16,
}

/// All terminals and the softswitch.
struct Generator {
    ring: Ring,
    desk: Desk,
    talkers: Vec<Talker>,
    rate: u64,
    flood: u64,
    turn: usize,
}

/// What arrives at them.
struct Desk {
    epoch: std::time::Instant,
    measuring: bool,
    sent: u64,
    received: u64,
    /// In nanoseconds.
    delays: Vec<u32>,
}

impl Desk {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

impl Sink<Ring> for Desk {
    fn arrived(&mut self, _: &mut Ring, arrival: Arrival<'_>) -> Option<Forward> {
        let stamp = arrival.payload.get(12..20).and_then(|stamp| stamp.try_into().ok());
        let stamp = stamp.map(u64::from_ne_bytes).filter(|&stamp| stamp > 0)?;
        if self.measuring && arrival.payload[20] == 1 {
            self.received += 1;
            self.delays.push(u32::try_from(self.now() - stamp).unwrap_or(u32::MAX));
        }
        None
    }

    fn lost(&mut self, loss: Loss) {
        assert_ne!(loss, Loss::Send(libc::EBADF), "all sockets stay open");
    }
}

impl Generator {
    fn new(case: &Case) -> anyhow::Result<Self> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        // The core that the shards leave free, if they do.
        let spare = cores.get(usize::from(case.shards));
        spare.into_iter().for_each(|&core| assert!(core_affinity::set_for_current(core)));
        let sizes = Sizes { sockets: case.calls as u32 * 2 + 16, ..Sizes::default() };
        let bell = Arc::new(portolan::io::bell::Bell::new()?);
        let mut ring = Ring::new(sizes, bell)?;
        let mut talkers = Vec::new();
        for call in 0..case.calls {
            for end in End::BOTH {
                let slot = ring.open(peer(end, call), Kind::Media, Dscp::default())?;
                let port = port((case.calls, case.shards), end, call).port;
                talkers.push(Talker { slot, to: SocketAddr::new(relay_address(end), port), sequence: 0 });
            }
        }
        let delays = Vec::with_capacity((case.rate as f64 * case.span.as_secs_f64()) as usize * 2);
        let epoch = std::time::Instant::now();
        let desk = Desk { epoch, measuring: false, sent: 0, received: 0, delays };
        Ok(Self { ring, desk, talkers, rate: case.rate, flood: case.flood, turn: 0 })
    }

    /// Sends at the rate for so long, evenly, and takes what arrives.
    fn run(&mut self, span: Duration) -> anyhow::Result<()> {
        let start = self.desk.now();
        let (mut sent, mut flooded) = (0, 0);
        loop {
            let elapsed = self.desk.now() - start;
            if elapsed >= span.as_nanos() as u64 {
                return Ok(());
            }
            let due = |rate: u64| (u128::from(elapsed) * u128::from(rate) / 1_000_000_000) as u64;
            let fresh = (due(self.rate) - sent).min(BURST);
            (0..fresh).for_each(|_| self.speak());
            sent += fresh;
            let fresh = (due(self.flood) - flooded).min(BURST);
            (0..fresh).for_each(|_| self.shout());
            flooded += fresh;
            self.round(PATIENCE)?;
        }
    }

    fn listen(&mut self, span: Duration) -> anyhow::Result<()> {
        let until = self.desk.now() + span.as_nanos() as u64;
        while self.desk.now() < until {
            self.round(Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn round(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.ring.wait(patience)?;
        self.ring.deliver(&mut self.desk);
        Ok(())
    }

    /// The next packet of the next talker.
    fn speak(&mut self) {
        self.turn = (self.turn + 1) % self.talkers.len();
        // What the flooded port still lets through of its own is not the neighbours'.
        let counted = self.desk.measuring && (self.flood == 0 || self.turn > 1);
        self.desk.sent += u64::from(counted);
        self.send(self.turn, u8::from(counted));
    }

    /// One more packet of the first talker.
    fn shout(&mut self) {
        self.send(0, 0);
    }

    fn send(&mut self, talker: usize, counted: u8) {
        let stamp = self.desk.now();
        let talker = &mut self.talkers[talker];
        talker.sequence = talker.sequence.wrapping_add(1);
        let mut packet = [0; PACKET];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&talker.sequence.to_be_bytes());
        packet[12..20].copy_from_slice(&stamp.to_ne_bytes());
        packet[20] = counted;
        let bytes = bytes::Bytes::copy_from_slice(&packet);
        let queued = self.ring.send(talker.slot, talker.to, bytes);
        assert!(queued.is_ok(), "the generator keeps up");
    }
}
