//! What a run is to do.

use crate::scenario::Scenario;
use crate::tls::Tls;
use ipnet::IpNet;
use portolan_shards::sim::plan::Speech;
use portolan_shards::sim::{Challenge, NatKind};
use portolan_shards::types::Transport;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What stands between the terminals and the access address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatChoice {
    /// Nothing: terminals have their public addresses themselves. Needed when there is no proxy.
    None,
    /// A NAT of this kind.
    Kind(NatKind),
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// A terminal calls the trunk.
    ToTrunk,
    /// The trunk calls a terminal.
    FromTrunk,
    /// Terminal to terminal behind the same NAT.
    SameNat,
    /// Terminal to terminal behind another NAT.
    OtherNat,
}

impl Direction {
    /// All four.
    pub const ALL: [Self; 4] = [Self::ToTrunk, Self::FromTrunk, Self::SameNat, Self::OtherNat];

    /// A key for the report.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ToTrunk => "terminal_to_trunk",
            Self::FromTrunk => "trunk_to_terminal",
            Self::SameNat => "same_nat",
            Self::OtherNat => "other_nat",
        }
    }
}

/// How many calls of each direction, in proportion; they are dealt in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Weights, in the order of [`Direction::ALL`].
    pub weights: [u32; 4],
}

impl Default for Mix {
    /// All directions alike.
    fn default() -> Self {
        Self { weights: [1; 4] }
    }
}

impl Mix {
    /// The direction of call number `index`.
    pub fn direction(&self, index: u32) -> Direction {
        let mut at = index % self.weights.iter().sum::<u32>().max(1);
        for (direction, weight) in Direction::ALL.into_iter().zip(self.weights) {
            if at < weight {
                return direction;
            }
            at -= weight;
        }
        Direction::ToTrunk
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everybody speaks.
    pub speech: Speech,
    /// Where terminals send: Portolan's access address, or the softswitch itself.
    pub access: SocketAddr,
    /// Portolan's core address, which no terminal may see; `None`: there is no proxy, and nothing is a leak.
    pub core: Option<SocketAddr>,
    /// Where the softswitch listens.
    pub softswitch: SocketAddr,
    /// What carries the terminals' signaling.
    pub transport: Transport,
    /// The first so many terminals speak UDP all the same.
    pub datagrams: u32,
    /// What carries the softswitch's signaling.
    pub core_transport: Transport,
    /// Certificates, where a transport is TLS.
    pub tls: Tls,
    /// The domain of everybody.
    pub domain: String,
    /// Whom the softswitch asks for a password.
    pub challenge: Challenge,
    /// Terminals that register.
    pub registrations: u32,
    /// Registrations a second.
    pub register_rate: f64,
    /// Nothing but keepalives for this long, once the terminals that speak UDP all the same have registered, and again
    /// once all have.
    pub rest: Duration,
    /// How often the proxy is to keep each terminal reachable; judged during the last rest.
    pub keepalive: Option<Duration>,
    /// Calls to make.
    pub calls: u32,
    /// Calls a second, started whatever became of the ones before.
    pub rate: f64,
    /// No new call while this many are up; it waits then, and the load is not open-loop any more.
    pub concurrent: Option<u32>,
    /// How long each end of a call sends audio.
    pub talk: Duration,
    /// Silence between the last packet and BYE.
    pub linger: Duration,
    /// From INVITE to 200 at the callee.
    pub answer_after: Duration,
    /// Send audio at all?
    pub rtp: bool,
    /// Before the terminals.
    pub nat: NatChoice,
    /// Terminals behind one NAT.
    pub per_nat: u32,
    /// Gateways behind one NAT have all the same name, as they came from the factory.
    pub namesakes: bool,
    /// How long a NAT keeps a mapping without outbound traffic.
    pub nat_expiry: Duration,
    /// Public address of the first NAT; the others follow.
    pub nat_base: Ipv4Addr,
    /// Who calls whom.
    pub mix: Mix,
    /// What happens in the calls, and how terminals register.
    pub scenario: Scenario,
    /// User part of whom terminals call at the trunk.
    pub trunk_number: String,
    /// Give up this long after the last call should have ended.
    pub patience: Duration,
    /// Draw this call's messages.
    pub ladder: u32,
    /// Pin the generator's thread to this core.
    pub pin: Option<usize>,
    /// Makes tags, branches and SSRCs repeatable.
    pub seed: u64,
}

impl Plan {
    /// A small run against `portolan run` on its loopback configuration.
    pub fn loopback() -> Self {
        Self::speaking(Speech::Sip)
    }

    /// The same for those who speak so.
    pub fn speaking(speech: Speech) -> Self {
        let at = |ip: [u8; 4], port| SocketAddr::new(IpAddr::from(ip), port);
        Self {
            speech,
            access: at([127, 0, 1, 1], speech.access_port()),
            core: Some(at([127, 0, 2, 1], speech.access_port())),
            softswitch: at([127, 0, 3, 1], speech.core_port()),
            transport: Transport::Udp,
            datagrams: 0,
            core_transport: Transport::Udp,
            tls: Tls::default(),
            domain: "example.net".into(),
            challenge: Challenge::Nobody,
            registrations: 20,
            register_rate: 200.0,
            rest: Duration::ZERO,
            keepalive: None,
            calls: 20,
            rate: 10.0,
            concurrent: None,
            talk: Duration::from_secs(2),
            linger: Duration::from_millis(500),
            answer_after: Duration::from_millis(100),
            rtp: true,
            nat: NatChoice::Kind(NatKind::Symmetric),
            per_nat: 4,
            namesakes: false,
            nat_expiry: Duration::from_secs(60),
            nat_base: Ipv4Addr::new(127, 0, 4, 1),
            mix: Mix::default(),
            scenario: Scenario::default(),
            trunk_number: "+4930123".into(),
            patience: Duration::from_secs(10),
            ladder: 1,
            pin: None,
            seed: 1,
        }
    }

    /// The same without a proxy: terminals with public addresses talk to the softswitch.
    pub fn direct() -> Self {
        Self::loopback().without_proxy()
    }

    /// The same run without a proxy.
    pub fn without_proxy(self) -> Self {
        let plan = self;
        Self { access: plan.softswitch, core: None, nat: NatChoice::None, ..plan }
    }

    /// A kind of call in the scenario that these subscribers know nothing of.
    pub(crate) fn stranger(&self) -> Option<&'static str> {
        let plays = |entry: &&crate::scenario::Entry| entry.weight > 0 && !self.speech.knows(entry.kind);
        self.scenario.mix.iter().find(plays).map(|entry| crate::scenario::label(entry.kind))
    }

    /// What carries this terminal's signaling.
    pub fn transport_of(&self, terminal: u32) -> Transport {
        if terminal < self.datagrams { Transport::Udp } else { self.transport }
    }

    /// Public address of a NAT, or of a terminal without one.
    pub fn nat_address(&self, index: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(u32::from(self.nat_base) + index / 250 * 256 + index % 250))
    }

    /// Number of NATs.
    pub fn nats(&self) -> u32 {
        self.registrations.div_ceil(self.per_nat.max(1))
    }

    /// What the softswitch must never see: private addresses and the NATs' public ones.
    pub(crate) fn secret_from_core(&self) -> Vec<IpNet> {
        if self.core.is_none() {
            return Vec::new();
        }
        let private = [[10, 0, 0, 0], [172, 16, 0, 0], [192, 168, 0, 0]].map(IpAddr::from);
        let private = private.into_iter().zip([8, 12, 16]).filter_map(|(ip, len)| IpNet::new(ip, len).ok());
        private.chain((0..self.nats()).map(|index| IpNet::from(self.nat_address(index)))).collect()
    }

    /// What the terminals must never see: the softswitch and Portolan's core side.
    pub(crate) fn secret_from_terminals(&self) -> Vec<IpNet> {
        match self.core {
            Some(core) => vec![IpNet::from(core.ip()), IpNet::from(self.softswitch.ip())],
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_deals_directions_in_proportion() {
        let mix = Mix { weights: [2, 1, 0, 1] };
        let dealt: Vec<_> = (0..4).map(|index| mix.direction(index)).collect();
        assert_eq!(
            dealt,
            [Direction::ToTrunk, Direction::ToTrunk, Direction::FromTrunk, Direction::OtherNat]
        );
    }

    #[test]
    fn every_nat_has_an_address_of_its_own() {
        let plan = Plan::loopback();
        assert_eq!(plan.nat_address(249).to_string(), "127.0.4.250");
        assert_eq!(plan.nat_address(250).to_string(), "127.0.5.1");
    }
}
