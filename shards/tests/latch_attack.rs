//! Thousands of seeded calls under attack, in virtual time: nothing bled, nothing injected, nobody locked out.
//!
//! The terminal (end A) may be behind NAT, may be rebound by its NAT, may move to another network with authenticated
//! signaling; attackers spray its ports. The core (end B) speaks all the time. The attacks are a matrix: whether the
//! attacker knows the terminal's stream, when he begins and ends, whether he sends RTP or RTCP, and whether he has an
//! address of his own or shares the terminal's public one. `PORTOLAN_SEEDS=10000` runs that many calls, and the table
//! of what became of them is printed.

use portolan_shards::io::Verdict;
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::random::Rng;
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

/// Calls, where the environment does not say.
const SEEDS: u64 = 3_000;
const TICK: Duration = Duration::from_millis(20);
/// 9 s.
const TICKS: u64 = 450;
const PEER_SSRC: u32 = 0x0bad_cafe;
/// An empty receiver report.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];

/// When an attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// Until the terminal has sent its first packet.
    Before,
    /// From the first packet of the call to the end of the learning window.
    During,
    /// When the learning window is over.
    After,
    /// All the time, or from some moment on.
    Throughout,
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attack {
    /// From the terminal's own public address: a neighbour behind a carrier's NAT. Else from other hosts.
    same_host: bool,
    /// He knows the SSRC and the next sequence number.
    knowing: bool,
    rtcp: bool,
    time: Time,
}

impl Attack {
    /// All cells.
    fn all() -> impl Iterator<Item = Self> {
        let times = [Time::Before, Time::During, Time::After, Time::Throughout];
        (0..32).map(move |n| Self {
            same_host: n & 1 != 0,
            knowing: n & 2 != 0,
            rtcp: n & 4 != 0,
            time: times[n >> 3],
        })
    }

    /// Does he send now? `began` is the tick of the terminal's first packet.
    fn sends(self, tick: u64, began: u64, since: u64) -> bool {
        match self.time {
            Time::Before => tick <= began,
            Time::During => tick < 150,
            Time::After => tick >= 160,
            Time::Throughout => tick >= since,
        }
    }
}

/// What happened to one call.
#[derive(Debug, Default)]
struct Outcome {
    /// Packets of attackers.
    attacks: u64,
    /// Packets of the call sent to an attacker.
    bled: u64,
    /// Packets of an attacker accepted.
    injected: u64,
    /// Packets of the terminal not accepted.
    lost: u64,
    /// Time from a change of the terminal's address until the core's voice reached it there.
    outage: Duration,
    /// The terminal's address has changed.
    moved: bool,
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
    attack: Attack,
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
    let rtcp = Some(control(rtp));
    Description { rtp: Some(rtp), rtcp, trusted, payload_types: [1, 0], ..Description::default() }
}

impl Call {
    fn new(seed: u64, attack: Attack) -> (Self, bool) {
        let mut rng = Rng::new(
            [seed as u8, (seed >> 8) as u8, (seed >> 16) as u8, 1].repeat(8).try_into().expect("32"),
        );
        let nat = rng.below(10) < 6;
        let public = if nat { "198.51.100.6" } else { "198.51.100.3" };
        let terminal = host(public, 1_024 + rng.below(60_000));
        let announced = if nat { host("10.9.9.9", 5_000) } else { terminal };
        let count = [1, 5, 39][rng.below(3) as usize];
        let attacker = |n: u64| match attack.same_host {
            false => host(&format!("192.0.2.{n}"), 1_024 + n * 7),
            true => host(public, 1_024 + (u64::from(terminal.port()) + n * 977) % 60_000),
        };
        let own = [terminal, control(terminal)];
        let attackers = (1..=count).map(attacker).filter(|a| !own.contains(a)).collect();
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
            attack,
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

    /// The terminal reports; its voice decides whether it may.
    fn terminal_reports(&mut self) {
        let from = control(self.terminal);
        self.relay.handle(self.now, port(0, 20_001), from, &REPORT, &mut self.stats);
    }

    fn attacker_speaks(&mut self) {
        let Some(last) = (self.attackers.len() as u64).checked_sub(1) else { return };
        let from = self.attackers[self.rng.below(last + 1) as usize];
        let sequence =
            if self.attack.knowing { self.sequence.wrapping_add(1) } else { self.rng.u64() as u16 };
        let ssrc = if self.attack.knowing { PEER_SSRC } else { 0xeeee };
        let accepted = match self.attack.rtcp {
            false => self.arrives(0, from, ssrc, sequence).is_some(),
            true => self.control(0, from).is_some(),
        };
        self.outcome.attacks += 1;
        self.outcome.injected += u64::from(accepted);
    }

    /// An RTCP report arrives; where does it go?
    fn control(&mut self, realm: u16, from: SocketAddr) -> Option<SocketAddr> {
        match self.relay.handle(self.now, port(realm, 20_001), from, &REPORT, &mut self.stats) {
            Verdict::Forward { to, .. } => Some(to),
            Verdict::Drop(_) => None,
        }
    }

    /// The core reports.
    fn core_reports(&mut self) {
        let to = self.control(1, control(self.core));
        self.outcome.bled += u64::from(to.is_some_and(|to| self.attackers.contains(&to)));
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
        let own = [self.terminal, control(self.terminal)];
        self.attackers.retain(|a| !own.contains(a));
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
        let starts =
            if attack.time == Time::Before { 75 } else { [0, 0, 15, 75][call.rng.below(4) as usize] };
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
                call.outcome.moved = true;
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
                } else if n != turn && attack.sends(tick, starts, attack_starts) {
                    call.attacker_speaks();
                }
            }
            talking = call.core_speaks(tick) && heard;
            if tick % 50 == 49 {
                call.terminal_reports();
                call.core_reports();
            }
            if let Some(since) = changed.filter(|_| talking) {
                call.outcome.outage = call.now - since;
                changed = None;
            }
        }
        call.outcome.locked_out = !talking;
        call.outcome
    }
}

fn control(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

fn seeds() -> u64 {
    let given = std::env::var("PORTOLAN_SEEDS").ok();
    given.map_or(SEEDS, |text| text.parse().expect("PORTOLAN_SEEDS is a count"))
}

/// Every call, run once for all tests: each cell of the matrix has its share of the seeds.
static CALLS: LazyLock<Vec<(Attack, u64, Outcome)>> = LazyLock::new(|| {
    let cells = Attack::all().collect::<Vec<_>>();
    let cell = |seed: u64| cells[(seed % cells.len() as u64) as usize];
    (0..seeds()).map(|seed| (cell(seed), seed, Call::run(seed, cell(seed)))).collect()
});

fn calls(which: impl Fn(&Attack) -> bool) -> impl Iterator<Item = &'static (Attack, u64, Outcome)> {
    CALLS.iter().filter(move |(attack, ..)| which(attack))
}

#[test]
fn the_matrix_is_printed_and_no_cell_is_empty() {
    println!("host   knows   sends  when          calls  attacks   bled  injected  locked out");
    for attack in Attack::all() {
        let all = calls(|other| *other == attack).map(|(.., outcome)| outcome).collect::<Vec<_>>();
        let sum = |figure: fn(&Outcome) -> u64| all.iter().map(|outcome| figure(outcome)).sum::<u64>();
        println!(
            "{:6} {:7} {:5}  {:12} {:6} {:8} {:6} {:9} {:11}",
            if attack.same_host { "same" } else { "other" },
            if attack.knowing { "stream" } else { "nothing" },
            if attack.rtcp { "RTCP" } else { "RTP" },
            format!("{:?}", attack.time).to_lowercase(),
            all.len(),
            sum(|outcome| outcome.attacks),
            sum(|outcome| outcome.bled),
            sum(|outcome| outcome.injected),
            sum(|outcome| u64::from(outcome.locked_out)),
        );
        assert!(sum(|outcome| outcome.attacks) > 100, "{attack:?}");
    }
}

#[test]
fn off_path_attackers_hear_nothing_say_nothing_and_lock_nobody_out() {
    for (attack, seed, outcome) in calls(|attack| !attack.same_host) {
        assert_eq!((outcome.bled, outcome.injected), (0, 0), "seed {seed}, {attack:?}: {outcome:?}");
        assert!(!outcome.locked_out, "seed {seed}, {attack:?}: {outcome:?}");
    }
}

#[test]
fn after_a_rebinding_or_a_move_the_call_is_back_within_700_ms() {
    let outages = calls(|attack| !attack.same_host).map(|(.., outcome)| outcome.outage);
    let slowest = outages.max().unwrap_or_default();
    assert!(slowest > Duration::ZERO && slowest <= Duration::from_millis(700), "{slowest:?}");
}

#[test]
fn without_a_change_of_address_no_packet_of_the_terminal_is_lost() {
    for (attack, seed, outcome) in calls(|attack| !attack.same_host) {
        assert!(outcome.moved || outcome.lost == 0, "seed {seed}, {attack:?}: {outcome:?}");
    }
}

/// Who shares the terminal's public address and knows nothing of its stream may hear what his luck gives him: two of
/// his random sequence numbers in order. That is no bound for one call, only for many together.
#[test]
fn a_blind_spray_from_the_terminals_own_host_hears_next_to_nothing_and_locks_nobody_out() {
    let (mut all, mut bled) = (0, 0);
    for (attack, seed, outcome) in calls(|attack| attack.same_host && !attack.knowing && !attack.rtcp) {
        assert!(!outcome.locked_out, "seed {seed}, {attack:?}: {outcome:?}");
        (all, bled) = (all + 1, bled + outcome.bled);
    }
    assert!(bled <= all / 20 + 1, "{bled} packets of {all} calls");
}

/// RTCP from the terminal's own host may take the place of the terminal's RTCP, which is undecidable, but no voice.
#[test]
fn control_from_the_terminals_own_host_takes_no_voice() {
    for (attack, seed, outcome) in calls(|attack| attack.same_host && attack.rtcp) {
        assert!(!outcome.locked_out, "seed {seed}, {attack:?}: {outcome:?}");
        assert!(outcome.bled <= TICKS / 50, "seed {seed}, {attack:?}: {outcome:?}");
    }
}

/// When he comes after the learning window, the terminal is latched, and even who knows its stream changes nothing as
/// long as it speaks.
#[test]
fn a_knowing_neighbour_who_comes_late_takes_nothing_from_a_peer_that_does_not_move() {
    let late =
        |attack: &Attack| attack.same_host && attack.knowing && !attack.rtcp && attack.time == Time::After;
    for (attack, seed, outcome) in calls(late).filter(|(.., outcome)| !outcome.moved) {
        assert_eq!((outcome.bled, outcome.injected), (0, 0), "seed {seed}, {attack:?}: {outcome:?}");
    }
}
