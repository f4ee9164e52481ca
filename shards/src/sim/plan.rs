//! What one seed stands for: a topology, its bad lines, and a script of what people do.
//!
//! Every part is drawn from a generator of its own, so that leaving one out ([`Without`]) changes nothing else: that is
//! how a failing seed is made smaller.

use super::endpoint::Role;
use super::gateway::{Language, dial};
use super::nat::Behaviour;
use super::net::Link;
use super::spec::Script;
use super::trace::fnv;
use crate::random::Rng;
use crate::realm::KeepaliveMethod;
use crate::types::{Instant, Proto, Transport};
use std::time::Duration;

/// A whole run, decided in advance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// What everybody speaks.
    pub speech: Speech,
    /// Shards of the simulated Portolan.
    pub shards: u16,
    /// Is there an IPv6 access realm?
    pub ipv6: bool,
    /// How terminals are kept reachable.
    pub keepalive: KeepaliveMethod,
    /// Does the softswitch ask for passwords?
    pub challenge: bool,
    /// Media ports that cannot be bound, in thousandths.
    pub busy: u16,
    /// The line to the softswitch.
    pub core: Link,
    /// Longest time on the mesh.
    pub mesh: Duration,
    /// Where terminals are.
    pub sites: Vec<Site>,
    /// The terminals.
    pub phones: Vec<Phone>,
    /// Strangers on the internet.
    pub attackers: usize,
    /// What happens, in order of time.
    pub script: Vec<(Instant, Action)>,
    /// When everybody hangs up and goes.
    pub end: Instant,
}

/// What subscribers and softswitch speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Terminals: SIP.
    Sip,
    /// Gateways and their controller.
    Gateways(Language),
}

impl Speech {
    /// The protocol.
    pub const fn proto(self) -> Proto {
        match self {
            Self::Sip => Proto::Sip,
            Self::Gateways(language) => language.proto(),
        }
    }

    /// May their signaling be carried by this?
    ///
    /// # Errors
    /// In words, that it may not.
    pub fn carried_by(self, transport: Transport) -> Result<(), String> {
        match self {
            Self::Gateways(Language::Mgcp) if transport != Transport::Udp => {
                Err(format!("{} does not carry MGCP", transport.token()))
            }
            Self::Gateways(_) if transport == Transport::Tls => Err("TLS does not carry H.248".into()),
            _ => Ok(()),
        }
    }

    /// What a subscriber and what connects them are called.
    pub const fn parties(self) -> (&'static str, &'static str) {
        match self {
            Self::Sip => ("terminal", "softswitch"),
            Self::Gateways(_) => ("gateway", "controller"),
        }
    }

    /// Do they know what a call of this kind is?
    pub fn knows(self, script: Script) -> bool {
        match self {
            Self::Sip => true,
            Self::Gateways(_) => dial::SCRIPTS.contains(&script),
        }
    }

    /// Where a subscriber sends from, and to.
    pub const fn access_port(self) -> u16 {
        match self {
            Self::Sip => 5060,
            Self::Gateways(language) => language.gateway_port(),
        }
    }

    /// Where the softswitch listens.
    pub const fn core_port(self) -> u16 {
        match self {
            Self::Sip => 5060,
            Self::Gateways(language) => language.controller_port(),
        }
    }
}

/// A place with a line to the internet.
#[derive(Clone, Debug)]
pub struct Site {
    /// NATs in series, the outermost first; none: public addresses.
    pub nats: Vec<NatPlan>,
    /// The line of the outermost NAT, or of each terminal.
    pub link: Link,
    /// An IPv6 site (always without NAT).
    pub ipv6: bool,
    /// How its gateways are named.
    pub names: Names,
}

/// How gateways are named, where their protocol names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Each by its own address: the same ones behind every NAT.
    Addresses,
    /// All of a site alike, as they came from the factory.
    Alike,
    /// Each by a name of its own.
    Own,
}

/// One NAT.
#[derive(Clone, Copy, Debug)]
pub struct NatPlan {
    /// RFC 4787 section 4.1.
    pub mapping: Behaviour,
    /// RFC 4787 section 5.
    pub filtering: Behaviour,
    /// Life of a mapping without outbound traffic.
    pub expiry: Duration,
}

/// One terminal.
#[derive(Clone, Copy, Debug)]
pub struct Phone {
    /// Index of its site.
    pub site: usize,
    /// Lifetime of its registration.
    pub expires: Duration,
    /// From INVITE to 200.
    pub answer_after: Duration,
    /// It refuses all calls with 486.
    pub busy: bool,
}

/// An end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The terminal of this index.
    Phone(usize),
    /// The softswitch's trunk.
    Trunk,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A terminal registers (again).
    Register(usize),
    /// A terminal loses power.
    Vanish(usize),
    /// All NATs of a site forget their mappings.
    Rebind(usize),
    /// A call begins.
    Call {
        /// Its number.
        call: u32,
        /// Who calls.
        from: Who,
        /// Whom.
        to: Who,
    },
    /// An end hangs up; before the answer the caller cancels, the callee refuses.
    HangUp {
        /// The call.
        call: u32,
        /// Which end.
        by: Role,
    },
    /// An end puts the call on hold, or takes it back.
    Hold {
        /// The call.
        call: u32,
        /// Which end.
        by: Role,
        /// On hold, or back.
        hold: bool,
    },
    /// An attacker sends RTP and RTCP to `packets` random open media ports.
    Spray {
        /// Index of the attacker.
        attacker: usize,
        /// How many, one in 5 ms.
        packets: u16,
    },
    /// An attacker sends something to the signaling port.
    Garbage {
        /// Index of the attacker.
        attacker: usize,
        /// Decides what.
        salt: u64,
    },
    /// The configuration changes.
    Reload(Change),
}

/// How the configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Other keepalive and limits; the same realms.
    Timers,
    /// The access realm gets other media ports, and with them a new number.
    Ports,
    /// The media ports of the access realm grow and overlap the old ones.
    Grow,
}

/// What to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// No loss, repetition or jitter.
    pub faults: bool,
    /// No attackers.
    pub attacks: bool,
    /// No NAT forgets its mappings.
    pub rebinds: bool,
    /// Nobody holds.
    pub holds: bool,
    /// No terminal vanishes.
    pub vanishing: bool,
    /// No reload.
    pub reloads: bool,
    /// Every port can be bound.
    pub busy: bool,
}

impl Without {
    /// Parse words that stand apart by commas: `faults,attacks,rebinds,holds,vanishing,reloads,busy`. Others are
    /// ignored.
    pub fn parse(words: &str) -> Self {
        let has = |word| words.split(',').any(|w| w.trim() == word);
        Self {
            faults: has("faults"),
            attacks: has("attacks"),
            rebinds: has("rebinds"),
            holds: has("holds"),
            vanishing: has("vanishing"),
            reloads: has("reloads"),
            busy: has("busy"),
        }
    }
}

/// The generator for one part of the world that `seed` stands for.
pub fn part(seed: u64, name: &str) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&fnv(name.as_bytes()).to_le_bytes());
    Rng::new(bytes)
}

impl Plan {
    /// The plan that `seed` stands for among terminals, but for what is left out.
    pub fn new(seed: u64, without: Without) -> Self {
        Self::of(Speech::Sip, seed, without)
    }

    /// The same among those who speak so.
    pub fn of(speech: Speech, seed: u64, without: Without) -> Self {
        let mut rng = part(seed, "plan");
        let ipv6 = one_in(&mut rng, 4);
        let keepalive =
            pick(&mut rng, &[KeepaliveMethod::Options, KeepaliveMethod::Options, KeepaliveMethod::Crlf]);
        let keepalive = if speech == Speech::Sip { keepalive } else { KeepaliveMethod::Options };
        let mut plan = Self {
            seed,
            speech,
            shards: pick(&mut rng, &[1, 2, 8]),
            ipv6,
            keepalive,
            challenge: one_in(&mut rng, 2),
            busy: if one_in(&mut rng, 4) { 50 } else { 0 },
            core: Link { loss: pick(&mut rng, &[0, 0, 5]), ..line(&mut rng, 2) },
            mesh: Duration::from_micros(rng.below(2_000)),
            sites: Vec::new(),
            phones: Vec::new(),
            attackers: rng.below(3) as usize,
            script: Vec::new(),
            end: Instant::ZERO + Duration::from_secs(45),
        };
        plan.people();
        plan.calls();
        plan.trouble();
        plan.name();
        plan.leave_out(without);
        plan.script.sort_by_key(|&(at, _)| at);
        plan
    }

    fn people(&mut self) {
        let mut rng = part(self.seed, "people");
        for _ in 0..=rng.below(3) {
            let site = site(&mut rng, self.ipv6, self.keepalive);
            self.sites.push(site);
        }
        for index in 0..2 + rng.below(4) as usize {
            self.phones.push(Phone {
                site: rng.below(self.sites.len() as u64) as usize,
                expires: Duration::from_secs(60 + rng.below(540)),
                answer_after: Duration::from_millis(pick(&mut rng, &[0, 100, 100, 1000, 3000])),
                busy: one_in(&mut rng, 8),
            });
            self.script.push((millis(rng.below(2000)), Action::Register(index)));
            if one_in(&mut rng, 3) {
                self.script.push((millis(5_000 + rng.below(30_000)), Action::Register(index)));
            }
        }
    }

    /// Gateways of one name that all have moved at once cannot be told apart by anybody: their NATs forget nothing.
    fn name(&mut self) {
        let mut rng = part(self.seed, "names");
        for site in &mut self.sites {
            let alike = if site.ipv6 { Names::Addresses } else { Names::Alike };
            site.names = pick(&mut rng, &[Names::Addresses, Names::Addresses, alike, Names::Own]);
        }
        if self.speech != Speech::Sip {
            let sites = &self.sites;
            let confused =
                |action: &Action| matches!(action, Action::Rebind(at) if sites[*at].names == Names::Alike);
            self.script.retain(|(_, action)| !confused(action));
        }
    }

    fn calls(&mut self) {
        let mut rng = part(self.seed, "calls");
        for call in 1..=2 + rng.below(4) as u32 {
            let (from, to) = self.parties(&mut rng);
            let start = 8_000 + rng.below(20_000);
            let length = if one_in(&mut rng, 6) { rng.below(2_000) } else { 4_000 + rng.below(8_000) };
            let by = pick(&mut rng, &[Role::Caller, Role::Callee]);
            self.script.push((millis(start), Action::Call { call, from, to }));
            self.script.push((millis(start + length), Action::HangUp { call, by }));
            if length > 8_000 && one_in(&mut rng, 2) {
                let by = pick(&mut rng, &[Role::Caller, Role::Callee]);
                let hold = |hold| Action::Hold { call, by, hold };
                self.script.push((millis(start + 4_000), hold(true)));
                self.script.push((millis(start + 4_500 + rng.below(1_500)), hold(false)));
            }
        }
    }

    fn parties(&self, rng: &mut Rng) -> (Who, Who) {
        let phones = self.phones.len() as u64;
        let first = rng.below(phones);
        let second = (first + 1 + rng.below(phones - 1)) % phones;
        let phone = |index: u64| Who::Phone(index as usize);
        match rng.below(3) {
            0 => (phone(first), Who::Trunk),
            1 => (Who::Trunk, phone(first)),
            _ => (phone(first), phone(second)),
        }
    }

    /// What nobody asked for.
    fn trouble(&mut self) {
        let mut rng = part(self.seed, "trouble");
        for site in 0..self.sites.len() {
            if one_in(&mut rng, 3) && !self.sites[site].nats.is_empty() {
                self.rebind(&mut rng, site);
            }
        }
        if one_in(&mut rng, 3) {
            let phone = rng.below(self.phones.len() as u64) as usize;
            self.script.push((millis(12_000 + rng.below(20_000)), Action::Vanish(phone)));
        }
        if one_in(&mut rng, 3) {
            let change = pick(&mut rng, &[Change::Timers, Change::Ports, Change::Grow]);
            self.script.push((millis(9_000 + rng.below(20_000)), Action::Reload(change)));
        }
        for attacker in 0..self.attackers {
            for _ in 0..4 {
                let at = millis(7_000 + rng.below(30_000));
                let packets = 50 + rng.below(200) as u16;
                self.script.push((at, Action::Spray { attacker, packets }));
                let salt = rng.u64();
                self.script.push((millis(rng.below(40_000)), Action::Garbage { attacker, salt }));
            }
        }
    }

    /// A NAT forgets; the terminals behind it register again soon, as they would with the next refresh.
    fn rebind(&mut self, rng: &mut Rng, site: usize) {
        let at = 10_000 + rng.below(20_000);
        self.script.push((millis(at), Action::Rebind(site)));
        for index in 0..self.phones.len() {
            if self.phones[index].site == site {
                self.script.push((millis(at + 200 + rng.below(3_000)), Action::Register(index)));
            }
        }
    }

    fn leave_out(&mut self, without: Without) {
        if without.faults {
            self.core = Link::default();
            self.sites.iter_mut().for_each(|site| site.link = Link::default());
        }
        if without.busy {
            self.busy = 0;
        }
        self.script.retain(|(_, action)| match action {
            Action::Spray { .. } | Action::Garbage { .. } => !without.attacks,
            Action::Rebind(_) => !without.rebinds,
            Action::Hold { .. } => !without.holds,
            Action::Vanish(_) => !without.vanishing,
            Action::Reload(_) => !without.reloads,
            _ => true,
        });
    }
}

fn site(rng: &mut Rng, ipv6: bool, keepalive: KeepaliveMethod) -> Site {
    let ipv6 = ipv6 && one_in(rng, 2);
    let link = Link { loss: pick(rng, &[0, 0, 10, 50]), repeat: pick(rng, &[0, 0, 20]), ..line(rng, 40) };
    let nats = if ipv6 { 0 } else { pick(rng, &[0, 1, 1, 1, 1, 2]) };
    let nats = (0..nats).map(|_| nat(rng, keepalive)).collect();
    Site { nats, link, ipv6, names: Names::Addresses }
}

fn nat(rng: &mut Rng, keepalive: KeepaliveMethod) -> NatPlan {
    use Behaviour::{AddressDependent, AddressPortDependent, EndpointIndependent};
    let all = [EndpointIndependent, AddressDependent, AddressPortDependent];
    // A terminal answers OPTIONS, and the answer keeps the mapping; nothing answers CRLF over UDP.
    let expiry = match keepalive {
        KeepaliveMethod::Options => 60 + rng.below(120),
        KeepaliveMethod::Crlf | KeepaliveMethod::Off => 3_600,
    };
    NatPlan { mapping: pick(rng, &all), filtering: pick(rng, &all), expiry: Duration::from_secs(expiry) }
}

fn line(rng: &mut Rng, longest: u64) -> Link {
    let delay = Duration::from_micros(100 + rng.below(longest * 1000));
    Link { delay, jitter: Duration::from_micros(rng.below(longest * 500)), ..Link::default() }
}

fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn millis(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_part_out_changes_no_other_part() {
        let without = Without { attacks: true, ..Without::default() };
        for seed in 0..50 {
            let (all, some) = (Plan::new(seed, Without::default()), Plan::new(seed, without));
            let kept = |(_, action): &&(Instant, Action)| {
                !matches!(action, Action::Spray { .. } | Action::Garbage { .. })
            };
            assert!(all.script.iter().filter(kept).eq(some.script.iter()), "seed {seed}");
        }
    }

    #[test]
    fn words_name_what_to_leave_out() {
        let without = Without::parse("faults, holds");
        assert!(without.faults && without.holds && !without.attacks);
    }
}
