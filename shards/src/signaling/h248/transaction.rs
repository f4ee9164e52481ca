//! Transactions (H.248.1 section 8.2): their identifiers are the sender's, on both hops, because each gateway has an
//! association of its own. Each request is carried out at most once.
//!
//! We repeat nothing for others: who wants an answer repeats his request, which is then sent on again, or answered with
//! what was answered before.

use super::asked::Asked;
use crate::random::{Keyed, Rng};
use crate::signaling::guest::{Charges, Guest};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId, Side};
use bytes::Bytes;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an answer is kept, and an unanswered request after it was last repeated: LONG-TIMER (H.248.1 Annex D.1).
pub(super) const HISTORY: Duration = Duration::from_secs(30);
/// Our own requests have identifiers from here on.
const OWN: u32 = 0xF000_0000;
/// Parts of a reply that are kept to be said again.
const MAX_PARTS: usize = 16;

/// One transaction among all of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    /// Whose association it belongs to.
    pub(super) gateway: Key,
    /// Where its request went.
    pub(super) toward: Side,
    /// Its identifier.
    pub(super) id: u32,
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) name: Name,
    /// Where the answer goes; `None` for our own requests.
    pub(super) back: Option<Flow>,
    /// As it was sent on, in a message of its own.
    pub(super) sent: Bytes,
    /// Where it was sent last.
    pub(super) to: SocketAddr,
    /// When it was first sent there.
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// The answer as its asker saw it: one message, or one for each segment.
    pub(super) answer: Vec<Bytes>,
    /// The answer is complete.
    pub(super) done: bool,
    /// Something was heard of whom it went to.
    pub(super) heard: bool,
    /// Times that it was sent by our own decision.
    pub(super) tries: u32,
    /// Who is charged for it.
    pub(super) guest: Option<Guest>,
    pub(super) asked: Asked,
}

/// The open and the remembered transactions of a shard.
pub(super) struct Transactions {
    table: Table<Transaction>,
    names: HashMap<Name, Key, Keyed>,
    gateways: HashMap<Key, BTreeSet<Key>, Keyed>,
    guests: Charges,
    serial: u32,
}

impl Transactions {
    /// None; the first identifier is drawn at random, because the last ones before a restart are still known.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            table: Table::default(),
            names: HashMap::with_hasher(Keyed::new(rng)),
            gateways: HashMap::with_hasher(Keyed::new(rng)),
            guests: Charges::new(rng),
            serial: rng.below(u64::from(u32::MAX - OWN)) as u32,
        }
    }

    /// A name for a request of our own.
    pub(super) fn own(&mut self, gateway: Key, toward: Side) -> Name {
        loop {
            self.serial = (self.serial + 1) % (u32::MAX - OWN);
            let name = Name { gateway, toward, id: OWN + self.serial };
            if !self.names.contains_key(&name) {
                return name;
            }
        }
    }

    pub(super) fn insert(&mut self, transaction: Transaction) -> Key {
        let name = transaction.name;
        self.guests.charge(transaction.guest);
        let key = self.table.insert(transaction);
        self.names.insert(name, key);
        self.gateways.entry(name.gateway).or_default().insert(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Transaction> {
        let gone = self.table.remove(key)?;
        self.names.remove(&gone.name);
        if let Some(of_gateway) = self.gateways.get_mut(&gone.name.gateway) {
            of_gateway.remove(&key);
            if of_gateway.is_empty() {
                self.gateways.remove(&gone.name.gateway);
            }
        }
        self.guests.discharge(gone.guest);
        Some(gone)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Transaction> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Transaction> {
        self.table.get_mut(key)
    }

    pub(super) fn named(&self, name: Name) -> Option<Key> {
        self.names.get(&name).copied()
    }

    /// All of a gateway.
    pub(super) fn of_gateway(&self, gateway: Key) -> Vec<Key> {
        self.gateways.get(&gateway).map(|keys| keys.iter().copied().collect()).unwrap_or_default()
    }

    /// Transactions that this guest is charged for.
    pub(super) fn of_guest(&self, guest: Guest) -> usize {
        self.guests.of(guest)
    }

    /// Is a bearer to be made on this realm?
    pub(super) fn opens(&self, realm: RealmId) -> bool {
        self.table.iter().any(|(_, one)| one.asked.opens(realm))
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

    /// What its asker is told.
    pub(super) fn answered(&mut self, now: Instant, message: Bytes, whole: bool) {
        if self.answer.len() < MAX_PARTS {
            self.answer.push(message);
        }
        self.done |= whole;
        self.keep(now);
    }
}
