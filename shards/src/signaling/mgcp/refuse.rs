//! Refusals: the protocol's own return codes (RFC 3435 section 2.4), and why they are given.

use super::Mgcp;
use crate::fault::Fault;
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::types::{Flow, Side};
use crate::wire::mgcp;

/// Why a command is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The return code.
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
        Self { reason: Some(DropReason::Limit), ..Self::new(403, "No resources now") };
    /// This source has proven nothing, and too much of it is under way.
    pub(super) const QUOTA: Self =
        Self { reason: Some(DropReason::Quota), ..Self::new(403, "No resources now") };
    /// The process is about to end.
    pub(super) const DRAINING: Self = Self::new(403, "Going out of service");
    /// No call agent serves this gateway.
    pub(super) const UNSERVED: Self = Self::new(400, "No call agent");
    /// No gateway of this name.
    pub(super) const UNKNOWN: Self = Self::new(500, "Unknown endpoint");
    /// What this side may not ask.
    pub(super) const VERB: Self = Self::new(504, "Unsupported command");
    /// It cannot be read.
    pub(super) const PROTOCOL: Self = Self::new(510, "Protocol error");
    /// No connection of this name.
    pub(super) const CONNECTION: Self = Self::new(515, "Unknown connection");

    /// What is wrong with a description of the call agent.
    pub(super) const fn of_description(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(_) => Self::new(509, "Error in the description"),
            Fault::PeerMisbehaved(_) => Self::new(505, "Unsupported description"),
            Fault::Refused(_) => Self::FULL,
        }
    }
}

impl Mgcp {
    /// Something that is no message: a command is answered, if its number can be read.
    pub(super) fn malformed(cx: &mut Cx<'_>, bytes: &[u8], flow: Flow, fault: Fault) {
        cx.dropped(if matches!(fault, Fault::Refused(_)) {
            DropReason::Limit
        } else {
            DropReason::Malformed
        });
        if let Some((id, true)) = mgcp::transaction(bytes) {
            Self::refuse(cx, id, flow, Refusal::PROTOCOL);
        }
    }

    /// Answer a command in the place of whom it was for.
    pub(super) fn refuse(cx: &mut Cx<'_>, id: u32, flow: Flow, refusal: Refusal) {
        if let Some(reason) = refusal.reason {
            cx.dropped(reason);
        }
        cx.stats.refuse(refusal.code);
        cx.send(flow, format!("{} {id} {}\r\n", refusal.code, refusal.text).into_bytes());
    }

    /// On which side is this flow?
    pub(super) fn side(cx: &Cx<'_>, flow: &Flow) -> Side {
        cx.realm(flow).map_or(Side::Access, |realm| realm.side)
    }
}
