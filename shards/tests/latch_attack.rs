//! Thousands of seeded calls under attack, in virtual time: nothing bled, nothing injected, nobody locked out.
//!
//! The terminal (end A) may be behind NAT, may be rebound by its NAT, may move to another network with authenticated
//! signaling; attackers spray its port. The core (end B) speaks all the time.

use portolan_shards::io::Verdict;
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::random::Rng;
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

const SEEDS: u64 = 3_000;
const TICK: Duration = Duration::from_millis(20);
/// 9 s.
const TICKS: u64 = 450;
const PEER_SSRC: u32 = 0x0bad_cafe;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// From other hosts.
    OffPath,
    /// From the terminal's own public address: its neighbour behind a carrier's NAT.
    SameHost,
}

/// What happened to one call.
#[derive(Debug, Default)]
struct Outcome {
    /// Packets of the call sent to an attacker.
    bled: u64,
    /// Packets of an attacker accepted.
    injected: u64,
    /// Packets of the terminal not accepted.
    lost: u64,
    /// Time from a change of the terminal's address until the core's voice reached it there.
    outage: Duration,
    /// At the end the terminal neither hears nor is heard.
    locked_out: bool,
}

struct Call {
    relay: Relay,
    id: StreamId,
    rng: Rng,
    stats: Stats,
    now: Instant,
    terminal: SocketAddr,
    core: SocketAddr,
    announced: SocketAddr,
    attackers: Vec<SocketAddr>,
    sequence: u16,
    outcome: Outcome,
}

fn port(realm: u16, port: u16) -> MediaPort {
    MediaPort { realm: RealmId(realm), port }
}

fn rtp(ssrc: u32, sequence: u16) -> [u8; 172] {
    let mut packet = [0; 172];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

fn host(text: &str, port: u64) -> SocketAddr {
    SocketAddr::new(text.parse().expect("an address"), port as u16)
}

fn description(rtp: SocketAddr, trusted: bool) -> Description {
    Description { rtp: Some(rtp), trusted, payload_types: [1, 0], ..Description::default() }
}

impl Call {
    fn new(seed: u64, attack: Attack) -> (Self, bool) {
        let mut rng =
            Rng::new([seed as u8, (seed >> 8) as u8, attack as u8, 1].repeat(8).try_into().expect("32"));
        let nat = rng.below(10) < 6;
        let public = if nat { "198.51.100.6" } else { "198.51.100.3" };
        let terminal = host(public, 1_024 + rng.below(60_000));
        let announced = if nat { host("10.9.9.9", 5_000) } else { terminal };
        let count = [1, 5, 39][rng.below(3) as usize];
        let attacker = |n: u64| match attack {
            Attack::OffPath => host(&format!("192.0.2.{n}"), 1_024 + n * 7),
            Attack::SameHost => host(public, 1_024 + (u64::from(terminal.port()) + n * 977) % 60_000),
        };
        let attackers = (1..=count).map(attacker).filter(|a| *a != terminal).collect();
        let (relay, id) = Self::open(terminal.ip(), announced);
        let call = Self {
            relay,
            id,
            sequence: rng.u64() as u16,
            rng,
            stats: Stats::default(),
            now: Instant::ZERO,
            terminal,
            core: host("10.0.0.20", 8_000),
            announced,
            attackers,
            outcome: Outcome::default(),
        };
        (call, nat)
    }

    fn open(source: IpAddr, announced: SocketAddr) -> (Relay, StreamId) {
        let mut relay = Relay::new();
        let pair = |realm| EndPorts { rtp: port(realm, 20_000), rtcp: port(realm, 20_001) };
        for realm in [0, 1] {
            relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_001 });
        }
        let id = relay.open(Instant::ZERO, pair(0), pair(1));
        let core = host("10.0.0.20", 8_000);
        relay.describe(Instant::ZERO, id, End::A, &[source], false, description(announced, false));
        relay.describe(Instant::ZERO, id, End::B, &[core.ip()], false, description(core, true));
        relay.gate(id, Gate::OPEN);
        (relay, id)
    }

    fn arrives(&mut self, realm: u16, from: SocketAddr, ssrc: u32, sequence: u16) -> Option<SocketAddr> {
        let packet = rtp(ssrc, sequence);
        match self.relay.handle(self.now, port(realm, 20_000), from, &packet, &mut self.stats) {
            Verdict::Forward { to, .. } => Some(to),
            Verdict::Drop(_) => None,
        }
    }

    /// The terminal speaks; was it heard?
    fn terminal_speaks(&mut self) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        let heard = self.arrives(0, self.terminal, PEER_SSRC, self.sequence).is_some();
        self.outcome.lost += u64::from(!heard);
        heard
    }

    fn attacker_speaks(&mut self) {
        let from = self.attackers[self.rng.below(self.attackers.len() as u64) as usize];
        let sequence = self.rng.u64() as u16;
        self.outcome.injected += u64::from(self.arrives(0, from, 0xeeee, sequence).is_some());
    }

    /// The core speaks; did the terminal hear it?
    fn core_speaks(&mut self, tick: u64) -> bool {
        let to = self.arrives(1, self.core, 1, tick as u16);
        self.outcome.bled += u64::from(to.is_some_and(|to| self.attackers.contains(&to)));
        to == Some(self.terminal)
    }

    /// The NAT gives the terminal another port.
    fn rebind(&mut self) {
        let port = 1_024 + self.rng.below(60_000);
        self.terminal.set_port(port as u16);
        self.attackers.retain(|a| a.port() != port as u16);
        self.attackers.push(host("192.0.2.250", 9));
    }

    /// The terminal changes its network, and says so with authenticated signaling.
    fn roam(&mut self) {
        self.terminal = host("198.51.77.9", 1_024 + self.rng.below(60_000));
        self.relay.trust(self.now, self.id, End::A, self.terminal.ip());
    }

    /// One call from beginning to end.
    fn run(seed: u64, attack: Attack) -> Outcome {
        let (mut call, nat) = Self::new(seed, attack);
        let rebinds = nat && call.rng.below(2) == 0;
        let roams = nat && !rebinds && call.rng.below(3) == 0;
        let changes = 175 + call.rng.below(125);
        let starts = [0, 0, 15, 75][call.rng.below(4) as usize];
        let attack_starts = [0, 0, 25, 100, 250][call.rng.below(5) as usize];
        let spray = 2 * [1, 2, 10][call.rng.below(3) as usize];
        let refreshes = call.rng.below(3) == 0;
        let (mut changed, mut talking) = (None, false);
        for tick in 0..TICKS {
            call.now = Instant::ZERO + TICK * tick as u32;
            if tick == changes && (rebinds || roams) {
                let change = if rebinds { Self::rebind } else { Self::roam };
                change(&mut call);
                changed = Some(call.now);
            }
            if refreshes && tick == 225 {
                let same = description(call.announced, false);
                let source = if nat { host("198.51.100.6", 0) } else { call.announced };
                call.relay.describe(call.now, call.id, End::A, &[source.ip()], false, same);
            }
            let turn = call.rng.below(spray + 1);
            let mut heard = false;
            for n in 0..=spray {
                if n == turn && tick >= starts {
                    heard = call.terminal_speaks();
                } else if n != turn && tick >= attack_starts {
                    call.attacker_speaks();
                }
            }
            talking = call.core_speaks(tick) && heard;
            if let Some(since) = changed.filter(|_| talking) {
                call.outcome.outage = call.now - since;
                changed = None;
            }
        }
        call.outcome.locked_out = !talking;
        call.outcome
    }
}

/// Every off-path call, run once for all tests.
static OFF_PATH: LazyLock<Vec<Outcome>> =
    LazyLock::new(|| (0..SEEDS).map(|seed| Call::run(seed, Attack::OffPath)).collect());

#[test]
fn off_path_attackers_hear_nothing_say_nothing_and_lock_nobody_out() {
    for (seed, outcome) in OFF_PATH.iter().enumerate() {
        assert_eq!((outcome.bled, outcome.injected), (0, 0), "seed {seed}: {outcome:?}");
        assert!(!outcome.locked_out, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn after_a_rebinding_or_a_move_the_call_is_back_within_700_ms() {
    let slowest = OFF_PATH.iter().map(|outcome| outcome.outage).max().unwrap_or_default();
    assert!(slowest > Duration::ZERO && slowest <= Duration::from_millis(700), "{slowest:?}");
}

#[test]
fn without_a_change_of_address_no_packet_of_the_terminal_is_lost() {
    for (seed, outcome) in OFF_PATH.iter().enumerate() {
        assert!(outcome.outage > Duration::ZERO || outcome.lost == 0, "seed {seed}: {outcome:?}");
    }
}

#[test]
fn a_spray_from_the_terminals_own_host_bleeds_one_packet_by_chance_at_most_and_locks_nobody_out() {
    for seed in 0..SEEDS / 3 {
        let outcome = Call::run(seed, Attack::SameHost);
        assert!(outcome.bled <= 1 && !outcome.locked_out, "seed {seed}: {outcome:?}");
    }
}
