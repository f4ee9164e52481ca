//! The media plane: who may send through a port, and where it goes. It knows no signaling protocol.
//!
//! A session opens a [`relay::Relay`] stream between two port pairs, tells it what each peer announced
//! ([`Description`]) and opens its [`Gate`]; from then on [`relay::Relay::handle`] decides on each packet alone.
//! The rules of learning an address and never losing it again are in [`latch`] (RTP) and [`companion`] (RTCP). STUN and
//! DTLS, where both ends keep ICE or DTLS-SRTP, pass beside them (`association`).

pub mod account;
mod association;
pub mod codec;
pub mod companion;
pub mod emodel;
mod forks;
pub mod formats;
pub mod latch;
pub mod meter;
pub mod ports;
pub mod quality;
pub mod relay;
pub mod rivals;
mod shelves;
mod slots;
mod stream;
pub mod trust;

pub use account::{Account, Counters};
pub use meter::Rate;
pub use ports::Ports;
pub use relay::Relay;
pub use stream::Flow;

use crate::types::MediaPort;
use formats::Formats;
use std::net::SocketAddr;
use std::time::Duration;

/// One of the two ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By convention the access side.
    A,
    /// By convention the core side.
    B,
}

impl End {
    /// Both ends, A first.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A stream of one relay. Numbers are used again after [`Relay::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// Our ports that face one end: RTP on the even port, RTCP on the odd one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndPorts {
    /// For RTP, and for RTCP too where that is multiplexed (RFC 5761).
    pub rtp: MediaPort,
    /// For RTCP.
    pub rtcp: MediaPort,
}

/// What the peer at one end announced, and what was negotiated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The announced media address; `None` when it is 0.0.0.0 or port 0, which leaves the last one in force.
    pub rtp: Option<SocketAddr>,
    /// The announced RTCP address (a=rtcp, RFC 3605), or one port above `rtp`.
    pub rtcp: Option<SocketAddr>,
    /// The softswitch announced it: send exactly there, whatever the address range and whatever is learned; what is
    /// learned still decides whose packets are accepted.
    pub trusted: bool,
    /// This end and we agreed to RTCP on the RTP port (RFC 5761).
    pub mux: bool,
    /// Payload types accepted *from* this end: bit n % 64 of word n / 64.
    pub payload_types: [u64; 2],
    /// Time between two packets.
    pub ptime: Duration,
    /// The nominal rate of what comes from this end.
    pub rate: Rate,
    /// How many times that rate is accepted; at least 1.
    pub margin: u8,
    /// RTP is expected. `false` (udptl and the like): the address alone decides, and there is no RTCP.
    pub rtp_profile: bool,
    /// What the payload types are.
    pub formats: Formats,
    /// SRTP (RFC 3711): padding and compound RTCP are encrypted, so only their first headers are checked.
    pub secure: bool,
    /// Both ends keep ICE (RFC 8445): STUN passes, and teaches nothing. The same at both ends.
    pub ice: bool,
    /// Both ends take their SRTP keys from DTLS (RFC 5763): it passes, and teaches nothing. The same at both ends.
    pub dtls: bool,
}

impl Default for Description {
    /// RTP audio of 20 ms, no address, no payload type.
    fn default() -> Self {
        Self {
            rtp: None,
            rtcp: None,
            trusted: false,
            mux: false,
            payload_types: [0; 2],
            ptime: Duration::from_millis(20),
            rate: Rate::default(),
            margin: meter::MARGIN,
            rtp_profile: true,
            formats: Formats::default(),
            secure: false,
            ice: false,
            dtls: false,
        }
    }
}

/// Which directions of a stream may pass. RTCP passes while either is open, because a receiver reports too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// From end A to end B.
    pub a_to_b: bool,
    /// From end B to end A.
    pub b_to_a: bool,
}

impl Gate {
    /// Nothing passes.
    pub const CLOSED: Self = Self { a_to_b: false, b_to_a: false };
    /// Everything passes.
    pub const OPEN: Self = Self { a_to_b: true, b_to_a: true };

    /// May RTP from `end` pass?
    pub const fn from(self, end: End) -> bool {
        match end {
            End::A => self.a_to_b,
            End::B => self.b_to_a,
        }
    }
}
