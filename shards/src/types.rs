//! The words that every floor shares: time, places and identities.

use std::net::SocketAddr;
use std::ops::{Add, AddAssign, RangeInclusive, Sub};
use std::time::Duration;

/// A moment: nanoseconds since an epoch that the caller chose (process start, or the simulator's zero).
///
/// Eight octets, so that per-stream state stays small; it never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs.as_nanos() as u64))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// A shard: one core's slice of everything. `0..Mapping::shards`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A realm (a network as Portolan sees it), numbered by the configuration loader. The number stays the same
/// over reloads as long as the realm's name, address and media ports do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmId(pub u16);

/// Which side of Portolan a realm is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the terminals and their NATs are.
    Access,
    /// Where the softswitches, gatekeepers and trunks are.
    Core,
}

impl Side {
    /// Both, the access side first.
    pub const BOTH: [Self; 2] = [Self::Access, Self::Core];

    /// The word for figures.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Core => "core",
        }
    }

    /// The opposite side.
    pub const fn other(self) -> Self {
        match self {
            Self::Access => Self::Core,
            Self::Core => Self::Access,
        }
    }
}

/// A signaling protocol that Portolan speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proto {
    /// RFC 3261.
    #[default]
    Sip,
    /// RFC 3435, with the variants NCS and TGCP.
    Mgcp,
    /// RFC 3525 and H.248.1, in text and in binary.
    H248,
}

impl Proto {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sip, Self::Mgcp, Self::H248];

    /// Its name in figures and configurations.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Mgcp => "mgcp",
            Self::H248 => "h248",
        }
    }
}

/// What carries a signaling message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message per datagram.
    Udp,
    /// A stream of messages.
    Tcp,
    /// The same under TLS (RFC 3261 section 26.2).
    Tls,
    /// WebSocket (RFC 7118), one message per WebSocket message.
    Ws,
    /// The same under TLS.
    Wss,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Its name in a Via (RFC 3261 section 20.42, RFC 7118 section 5.2).
    pub const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a URI's `transport` parameter (RFC 3261 section 19.1.1; RFC 7118 section 5.3 writes `ws` for both).
    pub const fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// The transport that this token or parameter value names, in any case.
    pub fn named(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| text.eq_ignore_ascii_case(transport.token().as_bytes()))
    }

    /// Does it keep order and lose nothing? Such hops repeat no message (RFC 3261 section 17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Is it enciphered?
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port where no other is named (RFC 3261 section 19.1.2, RFC 7118 section 5.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// One connection of a stream transport. A number of a shard is used again only after 2^32 others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The shard that holds the connection: only it can write.
    pub shard: ShardId,
    /// Counts that shard's connections.
    pub serial: u32,
}

/// One of our media ports: the realm names the address, the number names the owning shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MediaPort {
    /// The realm whose address the port is bound on.
    pub realm: RealmId,
    /// The UDP port.
    pub port: u16,
}

/// The return path of a signaling peer: our socket and theirs (RFC 5626 "flow").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The realm that the local address belongs to.
    pub realm: RealmId,
    /// What carries it.
    pub transport: Transport,
    /// Our address: answers must leave from here, because the NAT's mapping points here.
    pub local: SocketAddr,
    /// The peer's address as the network shows it (behind NAT: the one that the NAT assigned).
    pub remote: SocketAddr,
    /// The connection, for all transports but UDP.
    pub stream: Option<StreamId>,
}

impl Flow {
    /// The same way there and back, whatever generation of the configuration numbered the realm.
    pub fn same_path(&self, other: &Self) -> bool {
        Self { realm: other.realm, ..*self } == *other
    }
}

/// An inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port; of media: even.
    pub first: u16,
    /// Last port; of media: odd. Less than `first`: no port.
    pub last: u16,
}

impl PortRange {
    /// The slice of one shard: `shards` equal blocks, one after the other, each a power of two of ports that begins at
    /// a multiple of its length, so that one flow rule can name it ([`Self::flow_rule`]). They are the largest such
    /// blocks that fit; what is before and after them is unused. Empty when not even a pair of ports is there for each.
    pub fn slice(self, shards: u16, shard: ShardId) -> Self {
        let len = self.slice_len(shards);
        let first = u32::from(self.first).next_multiple_of(len.max(1)) + u32::from(shard.0) * len;
        match len {
            0 => Self { first: 1, last: 0 },
            _ => Self { first: first as u16, last: (first + len - 1) as u16 },
        }
    }

    /// All slices together, which is one range; empty when there is none.
    pub fn sliced(self, shards: u16) -> Self {
        let last = ShardId(shards.max(1) - 1);
        Self { first: self.slice(shards, ShardId(0)).first, last: self.slice(shards, last).last }
    }

    /// The value and the mask that match the ports of this range and no other: `port & mask == value`. `None` unless
    /// its length is a power of two and divides its first port.
    pub fn flow_rule(self) -> Option<(u16, u16)> {
        let len = self.len();
        let aligned = len.is_power_of_two() && usize::from(self.first).is_multiple_of(len);
        aligned.then(|| (self.first, !(len - 1) as u16))
    }

    /// Ports of each slice.
    fn slice_len(self, shards: u16) -> u32 {
        let fits = |len: &u32| {
            let first = u32::from(self.first).next_multiple_of(*len);
            first + u32::from(shards.max(1)) * len <= u32::from(self.last) + 1
        };
        (1..16).rev().map(|bits| 1 << bits).find(fits).unwrap_or(0)
    }

    /// The share of one shard of ports that are lent one by one: equal, contiguous parts, which may reach port 65535.
    /// Empty when there is not one port for each.
    pub fn share(self, shards: u16, shard: ShardId) -> RangeInclusive<u16> {
        let each = (self.len() / usize::from(shards.max(1))) as u16;
        let first = self.first + shard.0 * each;
        match each {
            0 => RangeInclusive::new(1, 0),
            _ => first..=first + (each - 1),
        }
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
