//! Transactions in progress (RFC 3261 section 17, RFC 6026): what is remembered of a request until its hop is over.
//!
//! The machines themselves are in `client` (the request's receiver) and `server` (its sender).

use super::forward::Hop;
use super::hop::Pair;
use super::register::Registration;
use super::reply::Reply;
use super::request::Upstream;
use crate::random::{Keyed, Rng};
use crate::realm::Server;
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, ShardId, Side, StreamId, Transport};
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Estimate of the round-trip time (RFC 3261 section 17.1.1.1).
pub(super) const T1: Duration = Duration::from_millis(500);
/// The longest interval between repetitions of a non-INVITE request or of an INVITE's answer.
pub(super) const T2: Duration = Duration::from_secs(4);
/// Timers B, D, F, H, J, L and M (RFC 3261 section 17, RFC 6026 section 7): 64 times T1.
pub(super) const LINGER: Duration = Duration::from_secs(32);
/// Timer K: how long answers may still arrive when nothing is repeated to us (T4).
const QUIET: Duration = Duration::from_secs(5);

/// Room for so many transactions is kept when there is none.
const ROOM: usize = 1024;

/// Begins every branch that Portolan makes.
const COOKIE: &str = "z9hG4bKpl";

/// One request on its way through: a server transaction toward its sender and a client transaction toward its
/// receiver, so that the two hops may be of different transports.
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
    /// What was sent on.
    pub(super) sent: Bytes,
    /// Has anything been answered by the receiver?
    pub(super) proceeding: bool,
    /// Repetition of the request (timers A and E).
    pub(super) again: Option<Resend>,
    /// The last response that was sent back.
    pub(super) reply: Option<Bytes>,
    /// Repetition of it (timer G; a 2xx when the receiver's hop does not repeat it).
    pub(super) reply_again: Option<Resend>,
    /// The status of the final response, once there was one.
    pub(super) status: Option<u16>,
    /// INVITE: each 2xx that was sent back, by the tag of its dialog (RFC 6026 section 7.1).
    pub(super) accepted: SmallVec<[(Bytes, Bytes); 1]>,
    /// INVITE: the ACK that went to the receiver.
    pub(super) ack: Option<(Flow, Bytes)>,
    /// The sender wants it cancelled.
    pub(super) cancel: Option<Cancel>,
    /// Did the request carry an offer?
    pub(super) offered: bool,
    /// What the response means to us.
    pub(super) purpose: Purpose,
    /// Another server may be tried, as long as the first has not answered.
    pub(super) attempt: Option<Box<Attempt>>,
    /// The key of `incoming`.
    pub(super) matched_by: Vec<u8>,
    /// What a loop has in common with it (RFC 5393 section 4.2).
    pub(super) loop_mark: u64,
    /// The source whose quota it uses.
    pub(super) guest: Option<IpAddr>,
    /// The shard that holds the binding of the terminal that receives it, where there is one.
    pub(super) keeper: Option<ShardId>,
    /// When it is over, or late.
    pub(super) expires: Instant,
}

/// A repetition that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resend {
    pub(super) at: Instant,
    pub(super) interval: Duration,
}

impl Resend {
    /// The first one.
    pub(super) fn first(now: Instant) -> Self {
        Self { at: now + T1, interval: T1 }
    }

    /// The one after this.
    pub(super) fn next(self, now: Instant, most: Duration) -> Self {
        let interval = (self.interval * 2).min(most);
        Self { at: now + interval, interval }
    }
}

/// What of a transaction is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Request,
    Reply,
    Cancel,
}

/// A CANCEL on its way.
pub(super) struct Cancel {
    /// What the sender is told if nothing final comes: its own CANCEL ends with 487, our timer C with 408.
    pub(super) otherwise: Reply,
    /// Reason header lines of the sender's (RFC 3326).
    pub(super) reason: Vec<u8>,
    /// What was sent; `None` until the receiver has answered something (RFC 3261 section 9.1).
    pub(super) sent: Option<Bytes>,
    pub(super) again: Option<Resend>,
}

/// What another attempt needs.
pub(super) struct Attempt {
    /// The request as it came.
    pub(super) original: Bytes,
    pub(super) hop: Hop,
    pub(super) body: Option<Vec<u8>>,
    /// The softswitch and the core realm.
    pub(super) upstream: Upstream,
    /// Servers that were asked.
    pub(super) tried: SmallVec<[Server; 2]>,
}

/// What a transaction is for.
#[derive(Clone)]
pub(super) enum Purpose {
    /// Nothing to remember.
    Plain,
    /// A request of our own: nobody waits for the answer but us.
    Own(Own),
    /// A registration.
    Register(Arc<Registration>),
    /// It starts the dialog.
    Initial(Key),
    /// It happens within the dialog.
    InDialog {
        dialog: Key,
        /// The sender's Contact: its new target, once the request has succeeded.
        target: Option<Bytes>,
    },
}

/// What a request of our own is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Does this server serve?
    Probe(Server),
    /// Somebody is told that a call or a registration is over, and nothing depends on what it says.
    Goodbye,
}

/// All transactions of the shard.
pub(super) struct Transactions {
    /// Boxed: after a burst the table keeps its slots, and they must be small.
    table: Table<Box<Transaction>>,
    incoming: HashMap<Vec<u8>, Key, Keyed>,
    loops: HashMap<u64, Key, Keyed>,
    by_stream: HashMap<StreamId, Vec<Key>, Keyed>,
    guests: HashMap<IpAddr, usize, Keyed>,
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
        Self {
            table: Table::default(),
            incoming: HashMap::with_hasher(Keyed::new(rng)),
            loops: HashMap::with_hasher(Keyed::new(rng)),
            by_stream: HashMap::with_hasher(Keyed::new(rng)),
            guests: HashMap::with_hasher(Keyed::new(rng)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Transaction> {
        self.table.get(key).map(|transaction| &**transaction)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Transaction> {
        self.table.get_mut(key).map(|transaction| &mut **transaction)
    }

    /// The transaction for which a branch of ours was made.
    pub(super) fn of_branch(&self, branch: &Branch) -> Option<&Transaction> {
        self.get(branch.key).filter(|transaction| transaction.nonce == branch.nonce)
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

    /// The transaction of a request that differs from the one with this mark in its path only.
    pub(super) fn looped(&self, mark: u64) -> Option<Key> {
        self.loops.get(&mark).copied()
    }

    /// The transactions whose receiver is reached by this connection.
    pub(super) fn on(&self, stream: StreamId) -> Vec<Key> {
        self.by_stream.get(&stream).cloned().unwrap_or_default()
    }

    /// How many are charged to this source.
    pub(super) fn of_guest(&self, source: IpAddr) -> usize {
        self.guests.get(&source).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, transaction: Transaction) -> Key {
        if let Some(guest) = transaction.guest {
            *self.guests.entry(guest).or_default() += 1;
        }
        let (matched_by, mark) = (transaction.matched_by.clone(), transaction.loop_mark);
        let stream = transaction.client.stream;
        let key = self.table.insert(Box::new(transaction));
        self.incoming.insert(matched_by, key);
        self.loops.insert(mark, key);
        self.ride(key, stream);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Transaction> {
        let transaction = *self.table.remove(key)?;
        self.incoming.remove(&transaction.matched_by);
        if self.looped(transaction.loop_mark) == Some(key) {
            self.loops.remove(&transaction.loop_mark);
        }
        self.alight(key, transaction.client.stream);
        if let Some(guest) = transaction.guest {
            self.discharge(guest);
        }
        self.rest();
        Some(transaction)
    }

    /// After a burst, when nothing is left of it, its room is given back.
    fn rest(&mut self) {
        if self.table.is_empty() && self.incoming.capacity() > ROOM {
            self.table.shrink();
            self.incoming.shrink_to_fit();
            self.loops.shrink_to_fit();
            self.by_stream.shrink_to_fit();
            self.guests.shrink_to_fit();
        }
    }

    fn discharge(&mut self, guest: IpAddr) {
        let Some(used) = self.guests.get_mut(&guest) else { return };
        *used -= 1;
        if *used == 0 {
            self.guests.remove(&guest);
        }
    }

    /// The request goes by another flow now.
    pub(super) fn move_client(&mut self, key: Key, client: Flow) {
        let Some(transaction) = self.table.get_mut(key) else { return };
        let old = std::mem::replace(&mut transaction.client, client);
        self.alight(key, old.stream);
        self.ride(key, client.stream);
    }

    fn ride(&mut self, key: Key, stream: Option<StreamId>) {
        if let Some(stream) = stream {
            self.by_stream.entry(stream).or_default().push(key);
        }
    }

    fn alight(&mut self, key: Key, stream: Option<StreamId>) {
        let Some(stream) = stream else { return };
        let Some(keys) = self.by_stream.get_mut(&stream) else { return };
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            self.by_stream.remove(&stream);
        }
    }
}

impl Transaction {
    /// The dialog that it starts or belongs to.
    pub(super) const fn dialog(&self) -> Option<Key> {
        match self.purpose {
            Purpose::Initial(dialog) | Purpose::InDialog { dialog, .. } => Some(dialog),
            Purpose::Plain | Purpose::Own(_) | Purpose::Register(_) => None,
        }
    }

    /// Does it start a dialog?
    pub(super) const fn is_initial(&self) -> bool {
        matches!(self.purpose, Purpose::Initial(_))
    }

    pub(super) fn is_invite(&self) -> bool {
        self.method == b"INVITE"[..]
    }

    /// How long a finished transaction still absorbs repetitions: timers D, I, L and M for INVITE; J and K else.
    pub(super) fn linger(&self) -> Duration {
        let repeats = !self.server.transport.is_reliable();
        if self.is_invite() || repeats { LINGER } else { QUIET }
    }

    /// A repetition, unless the hop loses nothing.
    pub(super) fn resend_on(flow: &Flow, now: Instant) -> Option<Resend> {
        (!flow.transport.is_reliable()).then(|| Resend::first(now))
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
