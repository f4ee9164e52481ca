//! Every maximum in one place. Reaching one is a counter and a clear refusal, never a surprise.

use std::time::Duration;

/// Octets of one signaling datagram (the UDP maximum).
pub const MAX_MESSAGE: usize = 65_535;
/// Octets of the start line and headers of one SIP message on a stream.
pub const MAX_HEADER_OCTETS: usize = 16_384;
/// Octets of one signaling message on a connection.
pub const MAX_STREAM_MESSAGE: usize = 65_535;
/// How long a message on a connection may take from its first octet to its last.
pub const STREAM_STALL: Duration = Duration::from_secs(10);
/// Header lines of one SIP message.
pub const MAX_HEADERS: usize = 256;
/// m= lines of one description.
pub const MAX_STREAMS: usize = 8;
/// Forks of one INVITE that have a dialog and media of their own.
pub const MAX_FORKS: usize = 8;
/// Candidates that a latch remembers (rule 12 of the latching rules).
pub const MAX_CANDIDATES: usize = 8;
/// Signaling addresses that a leg trusts at once.
pub const MAX_SOURCES: usize = 4;
/// Learning window of a latch (rule 2).
pub const LEARNING_WINDOW: Duration = Duration::from_secs(3);
/// How long a released media port rests before it is used again (rule 11).
pub const PORT_REST: Duration = Duration::from_secs(60);
/// Even/odd port pairs that each realm keeps bound in advance, so that no port is announced before it is bound.
pub const PORT_RESERVE: usize = 24;
/// Messages that wait for one shard, from all others together.
pub const MESH_DEPTH: usize = 4096;

/// Limits that the configuration sets (per shard unless said).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions open at once.
    pub sessions: usize,
    /// Registered bindings.
    pub bindings: usize,
    /// Contacts of one address of record.
    pub contacts_per_aor: usize,
    /// Transactions open at once.
    pub transactions: usize,
    /// Transactions open at once for requests outside dialogs from one address (IPv6: one /64) on flows without a
    /// registration.
    pub transactions_per_source: usize,
    /// Media that may be granted to running sessions together, in kbit/s each way; 0: no limit.
    pub media_kbit: u64,
    /// How long a packet may wait for others, so that they share an entry into the kernel; zero: not at all.
    pub batch: Duration,
    /// Connections of stream transports.
    pub streams: usize,
    /// Connections from one address (IPv6: one /64).
    pub streams_per_source: usize,
    /// A connection by which nothing came for this long is closed.
    pub stream_idle: Duration,
    /// A session in which no RTP or RTCP was forwarded for this long is reaped; on hold in both directions after twelve
    /// times this.
    pub media_idle: Duration,
    /// Media that flows one way only for this long, though both sides may speak, is told; zero: never.
    pub one_way: Duration,
    /// A session that was never answered is reaped after this long (RFC 3261 timer C and a margin).
    pub setup: Duration,
    /// The longest time between two refreshes of a session that is asked for (RFC 4028); zero: what the ends agree.
    pub session_expires: Duration,
    /// A released media port rests this long (rule 11).
    pub port_rest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            bindings: 500_000,
            contacts_per_aor: 16,
            transactions: 200_000,
            transactions_per_source: 20_000,
            media_kbit: 0,
            batch: Duration::from_micros(100),
            streams: 50_000,
            streams_per_source: 2_000,
            stream_idle: Duration::from_secs(900),
            media_idle: Duration::from_secs(300),
            one_way: Duration::from_secs(10),
            setup: Duration::from_secs(200),
            session_expires: Duration::ZERO,
            port_rest: PORT_REST,
        }
    }
}
