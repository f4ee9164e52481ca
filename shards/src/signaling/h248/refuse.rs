//! Refusals: the protocol's own error codes (H.248.8), and why they are given.

use crate::fault::Fault;
use crate::io::DropReason;

/// Why a request is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The error code.
    pub(super) code: u16,
    /// The same in words.
    pub(super) text: &'static str,
    /// What is counted besides.
    pub(super) reason: Option<DropReason>,
}

impl Refusal {
    const fn new(code: u16, text: &'static str) -> Self {
        Self { code, text, reason: None }
    }

    /// There are too many transactions, gateways or sessions.
    pub(super) const FULL: Self =
        Self { reason: Some(DropReason::Limit), ..Self::new(510, "Insufficient resources") };
    /// This source has proven nothing, and too much of it is under way.
    pub(super) const QUOTA: Self =
        Self { reason: Some(DropReason::Quota), ..Self::new(510, "Insufficient resources") };
    /// The process is about to end.
    pub(super) const DRAINING: Self = Self::new(503, "Service unavailable");
    /// No controller serves this gateway.
    pub(super) const UNSERVED: Self = Self::new(502, "Not ready");
    /// No gateway of this name.
    pub(super) const UNKNOWN: Self = Self::new(502, "Not ready");
    /// The gateway's connection has ended, and only the gateway can make another.
    pub(super) const UNREACHED: Self = Self::new(503, "Service unavailable");
    /// What this side may not ask.
    pub(super) const COMMAND: Self = Self::new(443, "Unsupported or unknown command");
    /// It is signed, and what it signs is about to change.
    pub(super) const SIGNED: Self = Self::new(402, "Unauthorized");
    /// A description that cannot be read, or of which nothing can be relayed.
    const DESCRIPTION: Self = Self::new(449, "Unsupported or unknown parameter or property value");

    /// What is wrong with a description.
    pub(super) const fn of_description(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(_) | Fault::PeerMisbehaved(_) => Self::DESCRIPTION,
            Fault::Refused(_) => Self::FULL,
        }
    }
}
