//! The words that every floor shares: time, places and identities.

use std::net::SocketAddr;
use std::ops::{Add, AddAssign, Sub};
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
}

impl Proto {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sip, Self::Mgcp];

    /// Its name in figures and configurations.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Mgcp => "mgcp",
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

/// One connection of a stream transport. The numbers of a shard are never used twice in a process's life.
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
