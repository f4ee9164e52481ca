//! Errors by blame: whose fault was it, and which reason is counted.

use thiserror::Error;

/// Why a message was not processed, by blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The bytes are not what the protocol allows.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The bytes are well formed, but the peer may not say that now.
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(&'static str),
    /// We understood, and our own policy or limits say no.
    #[error("refused: {0}")]
    Refused(&'static str),
}
