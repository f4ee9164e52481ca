//! What goes in and out of a shard.
//!
//! Signaling is rich and slow: a queue of [`Output`]s, drained to the end after each `handle_*` call.
//! Media is a value: a [`Verdict`].

use crate::types::{Flow, MediaPort, Proto, RealmId, ShardId, Transport};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// One signaling message as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Where it came in and from whom.
    pub flow: Flow,
    /// The whole datagram, or one message of a stream.
    pub bytes: &'a [u8],
}

/// Something that the world must do. Perform all of them in order: a port is opened before the message that
/// announces it is sent.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send `bytes` from `flow.local` to `flow.remote`; or write them to the connection `flow.stream`, which is this
    /// shard's. On a connection that is still being dialled they wait.
    Transmit {
        /// The path to take.
        flow: Flow,
        /// The datagram, or one message of a stream.
        bytes: Bytes,
    },
    /// Dial `flow.remote` from the address of `flow.local`, at any port. What fails or ends later is told by
    /// `Shard::closed`.
    Connect {
        /// The flow that the connection will be.
        flow: Flow,
        /// What is spoken on it.
        proto: Proto,
        /// TLS: the name that the peer's certificate must have; its address when there is none.
        name: Option<Arc<str>>,
    },
    /// Write what is queued, then close the connection. `Shard::closed` is not called for it.
    Disconnect(Flow),
    /// Bind this media port on its realm's address, then call `Shard::port_opened`.
    OpenPort(MediaPort),
    /// Send an empty datagram from this media port: a NAT's mapping is kept (RFC 6263 section 4.1).
    KeepOpen {
        /// Our port.
        port: MediaPort,
        /// The terminal's media address, as its NAT shows it.
        to: SocketAddr,
    },
    /// Stop receiving on this media port and release it.
    ClosePort(MediaPort),
    /// Start to listen for signaling.
    Listen(Listener),
    /// Stop listening; the listener was opened by an earlier [`Output::Listen`].
    Unlisten(Listener),
    /// Carry `crossing` to another shard's `Shard::handle_crossing`.
    Cross {
        /// The shard that owns it.
        to: ShardId,
        /// What to carry.
        crossing: Crossing,
    },
}

/// A signaling socket of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// The realm whose traffic arrives here.
    pub realm: RealmId,
    /// What is spoken here.
    pub proto: Proto,
    /// What carries the messages.
    pub transport: Transport,
    /// The address to bind.
    pub address: SocketAddr,
    /// Every shard binds this address too (SO_REUSEPORT); otherwise it is this shard's own.
    pub shared: bool,
}

/// What may cross cores: whole signaling messages and the rare news about a signaling flow. Never media.
#[derive(Clone, Debug)]
pub enum Crossing {
    /// A message that another shard owns.
    Message {
        /// Its protocol.
        proto: Proto,
        /// Where it came in.
        flow: Flow,
        /// The whole datagram.
        bytes: Bytes,
        /// Set by the shard that owns the addressed terminal's binding: where to send the message.
        target: Option<Target>,
    },
    /// Something to send on a connection that the other shard holds.
    Transmit {
        /// The connection.
        flow: Flow,
        /// One message.
        bytes: Bytes,
    },
    /// A ping, or the answer to one, came by a flow that this shard does not know: whoever holds its registration need
    /// not ask whether the terminal lives, and may answer.
    Heard {
        /// The flow.
        flow: Flow,
        /// What came: CRLFs, or a STUN Binding request.
        ping: Bytes,
    },
    /// A connection has ended.
    FlowLost {
        /// The flow that it was.
        flow: Flow,
    },
    /// A terminal proved a new flow (REGISTER answered 200): calls that used the old one follow.
    FlowMoved {
        /// The flow so far.
        old: Flow,
        /// The flow from now on.
        new: Flow,
    },
}

impl Crossing {
    /// A short word for it in the simulator's trace.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Transmit { .. } => "transmit",
            Self::Heard { .. } => "heard",
            Self::FlowLost { .. } => "flow_lost",
            Self::FlowMoved { .. } => "flow_moved",
        }
    }
}

/// A registered terminal, as the shard that owns its binding tells it to the shard that owns a call to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The terminal's current flow.
    pub flow: Flow,
    /// The exact URI octets that the terminal registered, or named on this flow.
    pub contact: Bytes,
    /// The shard that holds its binding, if that is how it was found.
    pub keeper: Option<ShardId>,
}

/// What to do with one media packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the same octets from our port `out` to `to`.
    Forward {
        /// Our port on the other side.
        out: MediaPort,
        /// The peer there.
        to: SocketAddr,
    },
    /// Forget the packet; the reason was counted.
    Drop(DropReason),
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)+) => {
        /// Why something was dropped. Every reason has a counter (`portolan_drops_total{reason}`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $name,)+ }

        impl DropReason {
            /// All reasons, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

drop_reasons! {
    /// Media to a port that no session holds.
    NoSession => "no_session",
    /// Media while the session's state keeps the gate closed.
    GateClosed => "gate_closed",
    /// Media before the leg's description armed learning.
    NotArmed => "not_armed",
    /// Not RTP version 2, or lengths that contradict each other.
    NotRtp => "not_rtp",
    /// A payload type that was not negotiated.
    PayloadType => "payload_type",
    /// RTCP that does not tile its datagram, or is not allowed yet.
    NotRtcp => "not_rtcp",
    /// STUN between two ICE agents that is no Binding message, or contradicts itself.
    NotStun => "not_stun",
    /// DTLS beside RTP that is no handshake, or whose lengths contradict each other.
    NotDtls => "not_dtls",
    /// An answer to a STUN request that was not seen, or was answered already.
    Unasked => "unasked",
    /// From an address that may not be learned (latching rank 3).
    Stranger => "stranger",
    /// From a candidate that has not proved itself.
    Unproven => "unproven",
    /// Media at a port that several forks of a call share, from a host that more than one of them named.
    AnyFork => "any_fork",
    /// Above the rate that the description allows.
    Rate => "rate",
    /// Admitted, but the other side's address is not known.
    NoDestination => "no_destination",
    /// Signaling that is not the protocol.
    Malformed => "malformed",
    /// Signaling from a source that may not speak here.
    Untrusted => "untrusted",
    /// A keepalive or a ping of zeros: consumed, nothing to forward.
    Ping => "ping",
    /// A STUN request from a source that no registration has proved, shorter than its answer would be.
    UnprovenPing => "unproven_ping",
    /// A response or ACK that belongs to nothing we know.
    Unmatched => "unmatched",
    /// A datagram larger than the receive buffer.
    Oversize => "oversize",
    /// The mesh to the owning shard is full.
    MeshFull => "mesh_full",
    /// The kernel refused the send.
    SendFailed => "send_failed",
    /// A table is full.
    Limit => "limit",
    /// A source that has registered nothing has too many transactions open.
    Quota => "quota",
    /// A refusal of a short request of an unproven source, which would be longer than the request.
    Amplifying => "amplifying",
    /// A new request to a server that wants fewer of them (RFC 7339).
    Overload => "overload",
    /// A restart of a gateway while its call agent is sent enough of them (RFC 3435 section 4.4.6), or a command while it is
    /// still looked into who else sends in that name.
    Avalanche => "avalanche",
    /// An H.248 message with an authentication header, where the realm refuses it.
    Signed => "signed",
    /// A connection on which a message, a handshake or a dialling took too long.
    Stall => "stall",
    /// A label that does not open: forged, foreign, or sealed under an older key.
    BadLabel => "bad_label",
}
