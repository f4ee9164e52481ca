//! The terminals of a run and the NATs before them.

use crate::plan::{NatChoice, Plan};
use crate::sockets::{Owner, Sockets};
use portolan_shards::realm::PortRange;
use portolan_shards::sim::plan::Speech;
use portolan_shards::sim::{
    Answering, Gateway, GatewayConfig, Language, Nat, Subscriber, Terminal, TerminalConfig, Timing, Watch,
};
use portolan_shards::types::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Terminals, NATs, and how packets pass between them and real sockets.
pub(crate) struct Terminals {
    pub(crate) all: Vec<Box<dyn Subscriber>>,
    nats: Vec<Nat>,
    per_nat: u32,
}

impl Terminals {
    pub(crate) fn new(plan: &Plan) -> Self {
        let nats = match plan.nat {
            NatChoice::None => Vec::new(),
            NatChoice::Kind(kind) => (0..plan.nats())
                .map(|index| {
                    Nat::new(
                        kind,
                        plan.nat_address(index),
                        plan.nat_expiry,
                        seed(plan, 1 << 40 | u64::from(index)),
                    )
                })
                .collect(),
        };
        let all = (0..plan.registrations).map(|index| subscriber(plan, index)).collect();
        Self { all, nats, per_nat: plan.per_nat.max(1) }
    }

    /// Is there a NAT at all?
    pub(crate) fn behind_nat(&self) -> bool {
        !self.nats.is_empty()
    }

    /// The NAT that a terminal is behind (the terminal itself, when there is none).
    pub(crate) fn nat_of(&self, terminal: u32) -> u32 {
        terminal / self.per_nat
    }

    /// The real address that connections of this terminal leave from: a NAT takes any port; without one it is the
    /// terminal's own, so that who knows its Contact finds the connection.
    pub(crate) fn outside(&self, terminal: u32) -> SocketAddr {
        let nat = self.nats.get(self.nat_of(terminal) as usize);
        let own = self.all[terminal as usize].address();
        nat.map_or(own, |nat| SocketAddr::new(nat.public_ip(), 0))
    }

    /// The real address that a packet of this terminal leaves from, with a new socket where the NAT makes a new mapping.
    pub(crate) fn outbound(
        &mut self,
        now: Instant,
        terminal: u32,
        local: SocketAddr,
        to: SocketAddr,
        sockets: &mut Sockets,
    ) -> Option<SocketAddr> {
        let index = self.nat_of(terminal);
        let Some(nat) = self.nats.get_mut(index as usize) else { return Some(local) };
        nat.outbound_with(now, local, to, |nat| sockets.bind_any(nat.public_ip(), Owner::Nat(index)).ok())
    }

    /// Who gets a packet that arrived at `public` of this NAT: the terminal and its inside address.
    pub(crate) fn inbound(
        &mut self,
        now: Instant,
        nat: u32,
        public: SocketAddr,
        from: SocketAddr,
    ) -> Option<(u32, SocketAddr)> {
        let inside = self.nats.get_mut(nat as usize)?.inbound(now, public, from)?;
        let IpAddr::V4(ip) = inside.ip() else { return None };
        let place = u32::from(ip.octets()[3]).checked_sub(FIRST)?;
        Some((nat * self.per_nat + place, inside))
    }

    /// Close the sockets of mappings that have expired.
    pub(crate) fn expire(&mut self, now: Instant, sockets: &mut Sockets) {
        for nat in &mut self.nats {
            nat.expire(now);
            nat.retired().into_iter().for_each(|public| sockets.close(public));
        }
    }
}

/// Last octet of the first private address behind every NAT.
const FIRST: u32 = 10;

/// The private address: the same ones behind every NAT, as in real life.
fn address(plan: &Plan, index: u32) -> SocketAddr {
    let ip = match plan.nat {
        NatChoice::None => plan.nat_address(index),
        NatChoice::Kind(_) => IpAddr::from([192, 168, 1, (FIRST + index % plan.per_nat.clamp(1, 200)) as u8]),
    };
    SocketAddr::new(ip, plan.speech.access_port())
}

fn subscriber(plan: &Plan, index: u32) -> Box<dyn Subscriber> {
    match plan.speech {
        Speech::Sip => Box::new(terminal(plan, index)),
        Speech::Gateways(language) => Box::new(gateway(plan, language, index)),
    }
}

/// Lines of a gateway: more than calls that it has at once.
const LINES: u16 = 32;
/// Their audio ports.
const MEDIA: PortRange = PortRange { first: 16_384, last: 16_384 + 2 * LINES - 1 };

fn gateway(plan: &Plan, language: Language, index: u32) -> Gateway {
    let plain = GatewayConfig::new(language, index, address(plan, index), plan.access);
    let config = GatewayConfig {
        name: if plan.namesakes { language.name("[192.168.1.1]") } else { plain.name.clone() },
        transport: plan.transport_of(index),
        lines: LINES,
        media: MEDIA,
        answering: Answering { answer_after: plan.answer_after, ..Answering::default() },
        watch: Watch::new(plan.secret_from_terminals()),
        ..plain
    };
    Gateway::new(config, seed(plan, u64::from(index)))
}

fn terminal(plan: &Plan, index: u32) -> Terminal {
    let config = TerminalConfig {
        domain: plan.domain.clone(),
        transport: plan.transport_of(index),
        expires: Duration::from_secs(plan.scenario.register.expires_s.into()),
        refresh: plan.scenario.register.refresh,
        answering: Answering { answer_after: plan.answer_after, ..Answering::default() },
        timing: Timing::default(),
        watch: Watch::new(plan.secret_from_terminals()),
        ..TerminalConfig::new(user(index), address(plan, index), plan.access)
    };
    Terminal::new(config, seed(plan, u64::from(index)))
}

/// The user name of a terminal.
pub(crate) fn user(index: u32) -> String {
    format!("t{index:05}")
}

/// A seed for each endpoint.
pub(crate) fn seed(plan: &Plan, which: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_be_bytes());
    seed[8..16].copy_from_slice(&which.to_be_bytes());
    seed
}
