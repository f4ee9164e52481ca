//! Transactions in progress: how an answer finds its way back, and what a retransmission repeats.
//!
//! Portolan is transparent to retransmission: a repeated request is sent on as it was the first time, or answered
//! with the final response that has already passed. The timers of RFC 3261 section 17 stay with the endpoints.

use super::hop::Pair;
use super::register::Registration;
use crate::random::{Keyed, Rng};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, ShardId, Side, Transport};
use bytes::Bytes;
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a finished transaction still absorbs retransmissions (RFC 3261 section 17: 64 times T1).
pub(super) const LINGER: Duration = Duration::from_secs(32);

/// Begins every branch that Portolan makes.
const COOKIE: &str = "z9hG4bKpl";

/// One request on its way through.
pub(super) struct Transaction {
    /// Unguessable part of the branch.
    pub(super) nonce: u64,
    /// The request's method.
    pub(super) method: Bytes,
    /// Where the request came from and the answer goes.
    pub(super) server: Flow,
    /// The side that the request came from.
    pub(super) side: Side,
    /// Where the request went.
    pub(super) client: Flow,
    /// The Via lines to restore.
    pub(super) vias: Vec<u8>,
    /// The Record-Route lines to repeat in the answer (RFC 3261 section 12.1.1).
    pub(super) record_routes: Vec<u8>,
    /// URIs of From and To on both sides.
    pub(super) from: Pair,
    pub(super) to: Pair,
    /// What was sent on, to be repeated.
    pub(super) sent: Bytes,
    /// The last response that was sent back.
    pub(super) reply: Option<Bytes>,
    /// The status of the final response, once there was one.
    pub(super) status: Option<u16>,
    /// Did the request carry an offer?
    pub(super) offered: bool,
    /// The Via lines of a CANCEL for this INVITE.
    pub(super) cancel: Option<Vec<u8>>,
    /// What the response means to us.
    pub(super) purpose: Purpose,
    /// The key of `incoming`.
    pub(super) matched_by: Vec<u8>,
    /// When to forget it.
    pub(super) expires: Instant,
}

/// What a transaction is for.
pub(super) enum Purpose {
    /// Nothing to remember.
    Plain,
    /// A registration.
    Register(Registration),
    /// It starts the dialog.
    Initial(Key),
    /// It happens within the dialog.
    InDialog {
        dialog: Key,
        /// The sender's Contact: its new target, once the request has succeeded.
        target: Option<Bytes>,
    },
}

/// All transactions of the shard.
pub(super) struct Transactions {
    table: Table<Transaction>,
    incoming: HashMap<Vec<u8>, Key, Keyed>,
}

/// What a branch of ours names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A transaction.
    Transaction,
    /// A keepalive to a binding.
    Keepalive,
}

/// A branch of ours, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) named: Named,
    pub(super) shard: ShardId,
    pub(super) key: Key,
    pub(super) nonce: u64,
}

impl Transactions {
    /// None yet.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { table: Table::default(), incoming: HashMap::with_hasher(Keyed::new(rng)) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Transaction> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Transaction> {
        self.table.get_mut(key)
    }

    /// Does any transaction send from this address of ours?
    pub(super) fn uses(&self, transport: Transport, local: SocketAddr) -> bool {
        let sends = |flow: &Flow| (flow.transport, flow.local) == (transport, local);
        self.table.iter().any(|(_, t)| sends(&t.server) || sends(&t.client))
    }

    /// The transaction of a request with this matching key.
    pub(super) fn matching(&self, key: &[u8]) -> Option<Key> {
        self.incoming.get(key).copied()
    }

    pub(super) fn insert(&mut self, transaction: Transaction) -> Key {
        let matched_by = transaction.matched_by.clone();
        let key = self.table.insert(transaction);
        self.incoming.insert(matched_by, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Transaction> {
        let transaction = self.table.remove(key)?;
        self.incoming.remove(&transaction.matched_by);
        Some(transaction)
    }
}

impl Transaction {
    /// The dialog that it starts or belongs to.
    pub(super) const fn dialog(&self) -> Option<Key> {
        match self.purpose {
            Purpose::Initial(dialog) | Purpose::InDialog { dialog, .. } => Some(dialog),
            Purpose::Plain | Purpose::Register(_) => None,
        }
    }

    /// Does it start a dialog?
    pub(super) const fn is_initial(&self) -> bool {
        matches!(self.purpose, Purpose::Initial(_))
    }

    /// The branch that names it.
    pub(super) fn branch(&self, shard: ShardId, key: Key) -> String {
        Branch { named: Named::Transaction, shard, key, nonce: self.nonce }.to_string()
    }
}

impl Branch {
    /// Read a branch; `None` if we did not make it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix(COOKIE)?;
        let (kind, digits) = text.split_at_checked(1)?;
        let named = match kind {
            "t" => Named::Transaction,
            "k" => Named::Keepalive,
            _ => return None,
        };
        let hex = |from: usize, to: usize| u64::from_str_radix(digits.get(from..to)?, 16).ok();
        if digits.len() != 36 {
            return None;
        }
        let key = Key { slot: hex(4, 12)? as u32, generation: hex(12, 20)? as u32 };
        Some(Self { named, shard: ShardId(hex(0, 4)? as u16), key, nonce: hex(20, 36)? })
    }
}

impl std::fmt::Display for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.named {
            Named::Transaction => 't',
            Named::Keepalive => 'k',
        };
        let Key { slot, generation } = self.key;
        write!(f, "{COOKIE}{kind}{:04x}{slot:08x}{generation:08x}{:016x}", self.shard.0, self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_reads_back() {
        let key = Key { slot: 5, generation: u32::MAX };
        let branch = Branch { named: Named::Keepalive, shard: ShardId(9), key, nonce: 1 << 63 };
        assert_eq!(Branch::parse(branch.to_string().as_bytes()), Some(branch));
        for foreign in ["z9hG4bKpl", "z9hG4bK776asdhds", "z9hG4bKplt+0000000000000000000000000000000000000"] {
            assert_eq!(Branch::parse(foreign.as_bytes()), None, "{foreign}");
        }
    }
}
