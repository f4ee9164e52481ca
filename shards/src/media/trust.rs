//! Whom a leg may learn: the sources of its accepted signaling (S) and the address it announced (D), and the rank that
//! these give to the source of a packet.

use super::Description;
use crate::limits::MAX_SOURCES;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A peer's address, without the flow label and scope that media has no use for: 20 octets instead of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addr {
    /// The host.
    pub ip: IpAddr,
    /// The UDP port.
    pub port: u16,
}

impl From<SocketAddr> for Addr {
    fn from(from: SocketAddr) -> Self {
        Self { ip: from.ip(), port: from.port() }
    }
}

impl From<Addr> for SocketAddr {
    fn from(from: Addr) -> Self {
        Self::new(from.ip, from.port)
    }
}

/// How well a source is vouched for; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// Exactly the announced address.
    Exact,
    /// The announced host, or a host that the leg's signaling came from.
    Host,
    /// The network of such a host, where the realm opts in.
    Network,
    /// Anything else, never learned.
    Stranger,
}

/// S and D of one leg.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust {
    sources: [Option<IpAddr>; MAX_SOURCES],
    announced: Option<Addr>,
    control: Option<Addr>,
    learn_net: bool,
    trusted: bool,
}

impl Trust {
    /// Take over what signaling says now; did S or D really change? A held description (no address) keeps the last D.
    /// Of more than [`MAX_SOURCES`] sources the last ones count.
    pub fn update(&mut self, sources: &[IpAddr], learn_net: bool, description: &Description) -> Change {
        let before = *self;
        self.sources = [None; MAX_SOURCES];
        for &source in sources {
            self.add(source);
        }
        if let Some(rtp) = description.rtp {
            self.announced = Some(rtp.into());
            self.control = description.rtcp.map(Addr::from);
        }
        self.learn_net = learn_net;
        self.trusted = description.trusted;
        Change { sources: !self.same_sources(&before), announced: self.announced != before.announced }
    }

    /// S grows by one; the oldest gives way when S is full. False when it was known already.
    pub fn add(&mut self, source: IpAddr) -> bool {
        if self.vouches(source) {
            return false;
        }
        let room = self.sources.iter().position(Option::is_none).unwrap_or_else(|| {
            self.sources.rotate_left(1);
            MAX_SOURCES - 1
        });
        self.sources[room] = Some(source);
        true
    }

    /// The rank of a packet's source.
    pub fn rank(&self, from: Addr) -> Rank {
        let announced = self.announced();
        if announced == Some(from) {
            Rank::Exact
        } else if announced.is_some_and(|d| d.ip == from.ip) || self.vouches(from.ip) {
            Rank::Host
        } else if self.learn_net && self.sources.iter().flatten().any(|s| same_network(*s, from.ip)) {
            Rank::Network
        } else {
            Rank::Stranger
        }
    }

    /// The announced media address, if it is usable: public, or a host in S, or announced by the softswitch.
    pub fn announced(&self) -> Option<Addr> {
        self.announced.filter(|&d| self.usable(d))
    }

    /// The announced RTCP address, if it is usable.
    pub fn control(&self) -> Option<Addr> {
        self.control.filter(|&d| self.usable(d))
    }

    /// Announced by the softswitch, so not limited to answering addresses.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    fn usable(&self, addr: Addr) -> bool {
        addr.port != 0
            && (self.vouches(addr.ip) || if self.trusted { is_host(addr.ip) } else { is_public(addr.ip) })
    }

    fn vouches(&self, ip: IpAddr) -> bool {
        self.sources.contains(&Some(ip))
    }

    fn same_sources(&self, other: &Self) -> bool {
        let within = |a: &Self, b: &Self| a.sources.iter().flatten().all(|s| b.vouches(*s));
        within(self, other) && within(other, self)
    }
}

/// What a new description changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// S is another set.
    pub sources: bool,
    /// D is another address.
    pub announced: bool,
}

impl Change {
    /// Must the leg learn again (rule 9)?
    pub fn any(self) -> bool {
        self.sources || self.announced
    }
}

/// The same /24 (IPv6: /64)?
fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8],
        _ => false,
    }
}

/// One host's address at all?
fn is_host(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Routable on the Internet (RFC 6890), as far as it matters here.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0 || a >= 224 || ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared || benchmark)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    !(special || ip.is_unique_local() || ip.is_unicast_link_local())
}
