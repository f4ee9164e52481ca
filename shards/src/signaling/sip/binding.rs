//! Bindings: where each registered terminal can be reached, as its NAT shows it now.

use crate::random::{Keyed, Rng};
use crate::realm::{Mapping, Realm, Softswitch};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId};
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::Arc;

/// One contact of one address of record.
pub(super) struct Binding {
    pub(super) aor: Aor,
    pub(super) realm: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
    /// The exact octets of the Contact URI that the terminal registered.
    pub(super) contact: Bytes,
    /// The label in the Contact that the registrar was given; it stays the same for the binding's whole life.
    pub(super) label: String,
    /// The terminal's current flow.
    pub(super) flow: Flow,
    /// Set by the registrar's 2xx; a binding without it is not in force.
    pub(super) expires: Option<Instant>,
    /// Registrations of it that are still unanswered.
    pub(super) pending: u32,
    /// Keepalives without an answer.
    pub(super) missed: u32,
    /// Nonce of the keepalive that is out, if any.
    pub(super) probe: Option<u64>,
    /// CSeq of the last keepalive.
    pub(super) probes: u32,
}

/// An address of record within a realm: user and host, the host in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aor {
    pub(super) realm: RealmId,
    pub(super) user: Bytes,
    pub(super) host: Bytes,
}

/// All bindings of the shard.
pub(super) struct Bindings {
    table: Table<Binding>,
    by_aor: HashMap<Aor, SmallVec<[Key; 1]>, Keyed>,
    by_user: HashMap<Bytes, SmallVec<[Key; 1]>, Keyed>,
    /// By the way there, whatever the realm is numbered.
    by_flow: HashMap<Flow, SmallVec<[Key; 1]>, Keyed>,
}

impl Bindings {
    /// None. Registrars remember our labels for longer than we live: generations begin at random, so that an old label
    /// does not name somebody else's binding.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            table: Table::starting_at(rng.u64() as u32),
            by_aor: HashMap::with_hasher(Keyed::new(rng)),
            by_user: HashMap::with_hasher(Keyed::new(rng)),
            by_flow: HashMap::with_hasher(Keyed::new(rng)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Binding> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Binding> {
        self.table.get_mut(key)
    }

    pub(super) fn insert(&mut self, binding: Binding) -> Key {
        let (aor, flow) = (binding.aor.clone(), path(&binding.flow));
        let key = self.table.insert(binding);
        self.by_flow.entry(flow).or_default().push(key);
        self.by_user.entry(aor.user.clone()).or_default().push(key);
        self.by_aor.entry(aor).or_default().push(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Binding> {
        let binding = self.table.remove(key)?;
        forget(&mut self.by_user, &binding.aor.user, key);
        forget(&mut self.by_aor, &binding.aor, key);
        forget(&mut self.by_flow, &path(&binding.flow), key);
        Some(binding)
    }

    /// The terminal is reached by this flow now; gives the flow so far.
    pub(super) fn move_to(&mut self, key: Key, flow: Flow) -> Option<Flow> {
        let old = std::mem::replace(&mut self.table.get_mut(key)?.flow, flow);
        if !old.same_path(&flow) {
            forget(&mut self.by_flow, &path(&old), key);
            self.by_flow.entry(path(&flow)).or_default().push(key);
        }
        Some(old)
    }

    /// Does a terminal whose registration is in force send by this flow?
    pub(super) fn proves(&self, flow: &Flow) -> bool {
        let keys = self.by_flow.get(&path(flow)).map(SmallVec::as_slice).unwrap_or_default();
        keys.iter().any(|key| self.get(*key).is_some_and(|binding| binding.expires.is_some()))
    }

    /// All contacts of an address of record.
    pub(super) fn of(&self, aor: &Aor) -> SmallVec<[Key; 1]> {
        self.by_aor.get(aor).cloned().unwrap_or_default()
    }

    /// The contact of an address of record with exactly this URI.
    pub(super) fn find(&self, aor: &Aor, contact: &[u8]) -> Option<Key> {
        self.of(aor).into_iter().find(|key| self.get(*key).is_some_and(|b| b.contact == contact))
    }

    /// The binding in force of this user behind this softswitch, the latest first: for softswitches that drop the
    /// label.
    pub(super) fn of_user(&self, user: &[u8], softswitch: &Softswitch) -> Option<Key> {
        let fits = |key: &Key| {
            self.get(*key).is_some_and(|b| b.expires.is_some() && b.softswitch.realm == softswitch.realm)
        };
        self.by_user.get(user)?.iter().rev().copied().find(fits)
    }

    /// The bindings whose terminal is reached by this flow.
    pub(super) fn on(&self, flow: &Flow) -> SmallVec<[Key; 1]> {
        self.by_flow.get(&path(flow)).cloned().unwrap_or_default()
    }

    /// Is any binding registered at this softswitch?
    pub(super) fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.table.iter().any(|(_, binding)| *binding.softswitch == *softswitch)
    }

    /// The realm of a binding was configured anew at the same address.
    pub(super) fn rehome(&mut self, key: Key, realm: Arc<Realm>) {
        let Some(binding) = self.table.get_mut(key) else { return };
        let old = binding.aor.clone();
        binding.aor.realm = realm.id;
        binding.flow.realm = realm.id;
        binding.realm = realm;
        let new = binding.aor.clone();
        forget(&mut self.by_aor, &old, key);
        self.by_aor.entry(new).or_default().push(key);
    }

    /// Bindings whose realm is no longer in the mapping.
    pub(super) fn outside(&self, mapping: &Mapping) -> Vec<Key> {
        let gone = self.table.iter().filter(|(_, binding)| mapping.realm(binding.realm.id).is_none());
        gone.map(|(key, _)| key).collect()
    }
}

fn path(flow: &Flow) -> Flow {
    Flow { realm: RealmId(0), ..*flow }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, SmallVec<[Key; 1]>, Keyed>, name: &K, key: Key) {
    if let Some(keys) = index.get_mut(name) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            index.remove(name);
        }
    }
}
