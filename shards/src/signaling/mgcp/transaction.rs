//! Transactions (RFC 3435 section 3.5): each hop has its own numbers, each command is carried out at most once.
//!
//! A command is sent on under a number of ours, and its answer comes back under the sender's. We repeat nothing for
//! others: who wants an answer repeats his command, which is then sent on again under the same number, or answered with
//! what was answered before.

use crate::random::{Keyed, Rng};
use crate::session::SessionKey;
use crate::signaling::Cx;
use crate::signaling::guest::{Charges, Guest};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId, ShardId, Side};
use crate::wire::mgcp::{MAX_TRANSACTION, Verb};
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer is kept, and an unanswered command after it was last repeated: T-HIST (RFC 3435 section 3.5.1).
pub(super) const HISTORY: Duration = Duration::from_secs(30);
/// Shards that numbers can tell apart.
const SHARDS: u32 = 1024;

/// Who gave a command, and by which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// A gateway. Behind its NAT it may come by another port, but it is the same gateway.
    Gateway(Key, u32),
    /// A call agent, by the address it sends from; to this gateway.
    Agent(Key, IpAddr, u32),
    /// We ourselves.
    Own(u32),
}

/// One command on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) origin: Origin,
    /// Whom it is about.
    pub(super) gateway: Key,
    /// Where it went.
    pub(super) toward: Side,
    pub(super) verb: Verb,
    /// Our number.
    pub(super) id: u32,
    /// Where the answer goes; `None` for our own commands.
    pub(super) back: Option<Flow>,
    pub(super) to: Flow,
    /// As it was sent on.
    pub(super) sent: Bytes,
    /// When it was first sent to where it goes now.
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// The final answer, as its asker saw it.
    pub(super) answer: Option<Bytes>,
    /// Something was heard of whom it went to.
    pub(super) heard: bool,
    /// Times that it was sent, if it is our own.
    pub(super) tries: u32,
    /// Who is charged for it.
    pub(super) guest: Option<Guest>,
    pub(super) asked: Asked,
}

/// What a command asked, as far as its answer must be read by it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The local name.
    pub(super) endpoint: Box<[u8]>,
    /// C:
    pub(super) call: Box<[u8]>,
    /// M:, as it was written.
    pub(super) mode: Option<Box<[u8]>>,
    /// The gateway was told to send, although it may not yet.
    pub(super) coaxed: bool,
    /// The call agent's description, until the gateway has agreed to it.
    pub(super) offer: Option<Vec<u8>>,
    /// The session of a connection that is to be.
    pub(super) session: Option<SessionKey>,
    /// Where that has its ports.
    pub(super) realms: Option<[RealmId; 2]>,
    /// The connections that it is about.
    pub(super) connections: SmallVec<[Key; 1]>,
    /// The restart method of RSIP makes an end of all connections.
    pub(super) ends: bool,
}

/// The open and the remembered transactions of a shard.
pub(super) struct Transactions {
    table: Table<Transaction>,
    ours: HashMap<u32, Key, Keyed>,
    theirs: HashMap<Origin, Key, Keyed>,
    guests: Charges,
    serial: u32,
}

impl Transactions {
    /// None; the first number is drawn at random, because the last ones before a restart are still known.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            table: Table::default(),
            ours: HashMap::with_hasher(Keyed::new(rng)),
            theirs: HashMap::with_hasher(Keyed::new(rng)),
            guests: Charges::new(rng),
            serial: rng.below(u64::from(MAX_TRANSACTION / SHARDS)) as u32,
        }
    }

    /// A number for the next command. It comes again after a million others.
    pub(super) fn number(&mut self, shard: ShardId) -> u32 {
        loop {
            self.serial = (self.serial + 1) % (MAX_TRANSACTION / SHARDS);
            let id = self.serial * SHARDS + u32::from(shard.0);
            if id > 0 && !self.ours.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn insert(&mut self, transaction: Transaction) -> Key {
        let (id, origin) = (transaction.id, transaction.origin);
        self.guests.charge(transaction.guest);
        let key = self.table.insert(transaction);
        self.ours.insert(id, key);
        self.theirs.insert(origin, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Transaction> {
        let gone = self.table.remove(key)?;
        self.ours.remove(&gone.id);
        self.theirs.remove(&gone.origin);
        self.guests.discharge(gone.guest);
        Some(gone)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Transaction> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Transaction> {
        self.table.get_mut(key)
    }

    /// The transaction that has this number of ours.
    pub(super) fn ours(&self, id: u32) -> Option<Key> {
        self.ours.get(&id).copied()
    }

    /// The transaction that was asked for like this.
    pub(super) fn asked(&self, origin: Origin) -> Option<Key> {
        self.theirs.get(&origin).copied()
    }

    /// Transactions that this guest is charged for.
    pub(super) fn of_guest(&self, guest: Guest) -> usize {
        self.guests.of(guest)
    }

    /// Does one of them send from this address, or answer from it?
    pub(super) fn uses(&self, local: std::net::SocketAddr) -> bool {
        self.table.iter().any(|(_, t)| t.to.local == local || t.back.is_some_and(|back| back.local == local))
    }

    /// Is a connection to be made on this realm?
    pub(super) fn opens(&self, realm: RealmId) -> bool {
        let there = |asked: &Asked| asked.realms.is_some_and(|realms| realms.contains(&realm));
        self.table.iter().any(|(_, one)| one.asked.session.is_some() && there(&one.asked))
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Transaction {
    /// It is kept for so long from now on.
    pub(super) fn keep(&mut self, now: Instant) {
        self.until = now + HISTORY;
    }
}

/// The shard that gave a command this number; `None` when none of ours did.
pub(super) fn shard_of_id(cx: &Cx<'_>, id: u32) -> Option<ShardId> {
    let shard = (id % SHARDS) as u16;
    (shard < cx.mapping.shards).then_some(ShardId(shard))
}
