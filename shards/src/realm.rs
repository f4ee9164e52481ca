//! The validated mapping: which access realm meets which core realm through which softswitch.
//!
//! The process parses RON into this; a shard only reads it. A session keeps the `Arc<Mapping>` that it was opened
//! under, so a reload touches new sessions only.

use crate::limits::Limits;
use crate::types::{RealmId, ShardId, Side, Transport};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One generation of the configuration.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Counts reloads; 1 is the first.
    pub generation: u64,
    /// How many shards share the port ranges.
    pub shards: u16,
    /// Seals labels and keys the dispatch hash. The same on every shard and over reloads.
    pub secret: [u8; 32],
    /// All realms, access and core.
    pub realms: Vec<Arc<Realm>>,
    /// All softswitches.
    pub softswitches: Vec<Arc<Softswitch>>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// How NAT mappings are kept alive.
    pub keepalive: Keepalive,
    /// What a shard may hold.
    pub limits: Limits,
}

/// A network as Portolan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Stable over reloads.
    pub id: RealmId,
    /// The name in the configuration.
    pub name: String,
    /// Terminals or softswitches.
    pub side: Side,
    /// The address that sockets bind.
    pub address: IpAddr,
    /// The address that peers are told; the same as `address` unless Portolan itself is behind a 1:1 NAT.
    pub advertised: IpAddr,
    /// Shared signaling listeners (every shard binds each with SO_REUSEPORT).
    pub sip: Vec<(Transport, u16)>,
    /// Core realms: the signaling port of shard 0; shard n has this plus n.
    pub per_shard: Option<u16>,
    /// First and last media port, shared by all shards.
    pub media: PortRange,
    /// Access realms: also accept media from the signaling source's /24 (IPv6 /64) after a longer proof (rank 2).
    pub learn_net: bool,
    /// Access realms: keepalive by OPTIONS or by CRLF.
    pub keepalive: KeepaliveMethod,
}

impl Realm {
    /// The address that the given shard's answers come home to (core realms).
    pub fn home(&self, shard: ShardId) -> Option<SocketAddr> {
        self.per_shard.map(|base| SocketAddr::new(self.address, base + shard.0))
    }

    /// The first shared signaling address, as bound.
    pub fn shared(&self) -> Option<SocketAddr> {
        self.sip.first().map(|&(_, port)| SocketAddr::new(self.address, port))
    }
}

/// An inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Even.
    pub first: u16,
    /// Odd.
    pub last: u16,
}

impl PortRange {
    /// The slice of one shard: pairs are dealt out in `shards` equal, contiguous, even-aligned parts.
    /// What does not divide is left unused.
    pub fn slice(self, shards: u16, shard: ShardId) -> Self {
        let pairs = (u32::from(self.last) + 1 - u32::from(self.first)) / 2 / u32::from(shards.max(1));
        let first = u32::from(self.first) + u32::from(shard.0) * pairs * 2;
        Self { first: first as u16, last: (first + pairs * 2 - 1) as u16 }
    }

    /// Number of ports.
    pub const fn len(self) -> usize {
        (self.last as usize + 1).saturating_sub(self.first as usize)
    }

    /// No port at all?
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Is `port` one of these?
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A softswitch, registrar, proxy or trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softswitch {
    /// The name in the configuration.
    pub name: String,
    /// The core realm it is reached through.
    pub realm: RealmId,
    /// Where requests go; the first one is used (failover is for later).
    pub targets: Vec<SocketAddr>,
    /// Sources whose requests are accepted, besides the targets' addresses.
    pub sources: Vec<IpNet>,
    /// The domain that replaces Portolan's own address in From, To and Request-URI.
    pub domain: Option<String>,
}

impl Softswitch {
    /// May this address speak to us as the softswitch?
    pub fn accepts(&self, source: IpAddr) -> bool {
        self.targets.iter().any(|t| t.ip() == source) || self.sources.iter().any(|net| net.contains(&source))
    }
}

/// Terminals of one access realm are served by one softswitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the terminals are.
    pub access: RealmId,
    /// Index into [`Mapping::softswitches`].
    pub softswitch: usize,
    /// Only requests for these domains (host of the Request-URI); empty means any.
    pub domains: Vec<String>,
}

/// How NAT mappings of the signaling flows are kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Time between two keepalives to one terminal.
    pub interval: Duration,
    /// Unanswered OPTIONS after which a binding is dropped.
    pub misses: u32,
}

/// What is sent to keep a mapping alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepaliveMethod {
    /// An OPTIONS request; any response proves that the terminal lives.
    Options,
    /// A double CRLF (RFC 5626 section 4.4.1); no answer is expected over UDP.
    Crlf,
    /// Nothing is sent.
    Off,
}

impl Mapping {
    /// The realm of this number, if this generation has it.
    pub fn realm(&self, id: RealmId) -> Option<&Arc<Realm>> {
        self.realms.iter().find(|realm| realm.id == id)
    }

    /// The access realm that listens at this address.
    pub fn access_at(&self, local: SocketAddr) -> Option<&Arc<Realm>> {
        let listens = |realm: &&Arc<Realm>| {
            let port = realm.sip.iter().any(|&(_, port)| port == local.port());
            realm.side == Side::Access && realm.address == local.ip() && port
        };
        self.realms.iter().find(listens)
    }

    /// The softswitch that serves a request for `domain` from the access realm `from`.
    pub fn route(&self, from: RealmId, domain: &str) -> Option<&Arc<Softswitch>> {
        let fits = |route: &&Route| {
            route.access == from
                && (route.domains.is_empty() || route.domains.iter().any(|d| d.eq_ignore_ascii_case(domain)))
        };
        self.routes.iter().find(fits).and_then(|route| self.softswitches.get(route.softswitch))
    }

    /// The softswitch that a core-side source is.
    pub fn softswitch_at(&self, realm: RealmId, source: IpAddr) -> Option<&Arc<Softswitch>> {
        self.softswitches.iter().find(|s| s.realm == realm && s.accepts(source))
    }
}
