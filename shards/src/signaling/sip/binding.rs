//! Bindings: where each registered terminal can be reached, as its NAT shows it now.

use super::keepalive::Alive;
use super::refresh::Confirmed;
use crate::random::{Keyed, Rng};
use crate::realm::{Mapping, Realm, Softswitch};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId};
use crate::wire::sip::same_uri;
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;

/// One contact of one address of record. There is one for each terminal at each instant: it is kept small.
pub(super) struct Binding {
    pub(super) aor: Arc<Aor>,
    pub(super) realm: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
    /// The exact octets of the Contact URI that the terminal registered.
    pub(super) contact: Bytes,
    /// `+sip.instance` and `reg-id` (RFC 5626 section 4.2), if the terminal gave both.
    pub(super) device: Option<Box<[u8]>>,
    /// The Call-ID under which the terminal last registered it, and the highest CSeq seen there.
    pub(super) call_id: Box<[u8]>,
    pub(super) cseq: u32,
    /// The terminal's current flow.
    pub(super) flow: Flow,
    /// When the terminal's own registration runs out. Set by the registrar's 2xx; a binding without it is not in force.
    pub(super) expires: Option<Instant>,
    /// When the registrar forgets it.
    pub(super) core: Instant,
    /// The moment for which a timer is set to look at `expires`.
    pub(super) wake: Option<Instant>,
    /// What the registrar last confirmed, where a policy makes use of it.
    pub(super) confirmed: Option<Arc<Confirmed>>,
    /// Registrations of it that are still unanswered.
    pub(super) pending: u16,
    pub(super) alive: Alive,
    /// Is a keepalive's timer running?
    pub(super) ticking: bool,
    /// The flow leads nowhere any more (RFC 5626 section 5.3.1): the terminal has to come back first.
    pub(super) lost: bool,
    /// Say goodbye to the registrar when the terminal is gone.
    pub(super) farewell: bool,
    /// Registered with RFC 5626 outbound.
    pub(super) outbound: bool,
    /// The registrar was given the contact as it is, and a Path.
    pub(super) by_path: bool,
    /// The last REGISTER with this CSeq was answered here.
    pub(super) answered: bool,
    /// The last REGISTER that went to the registrar was not answered with 2xx.
    pub(super) doubted: bool,
}

impl Binding {
    /// Confirmed by the registrar, not run out, and its flow is alive.
    pub(super) const fn is_live(&self) -> bool {
        self.expires.is_some() && !self.lost
    }
}

/// An address of record within a realm: user and host, the host in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aor {
    pub(super) realm: RealmId,
    pub(super) user: Box<[u8]>,
    pub(super) host: Box<[u8]>,
}

/// A contact as a REGISTER names it: what tells whether it is one that is known already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) contact: &'a [u8],
    pub(super) device: Option<&'a [u8]>,
    pub(super) call_id: &'a [u8],
    pub(super) flow: &'a Flow,
}

impl Wanted<'_> {
    /// A device is known by its instance and reg-id, wherever it is now. A bare contact is known by its URI and its
    /// flow; by another flow it is the same terminal (whose NAT or connection has changed) if it goes on with its
    /// Call-ID, or comes from the same host by the same transport, and another terminal with the same private address
    /// otherwise.
    fn is(&self, binding: &Binding) -> bool {
        if let Some(device) = self.device {
            return binding.device.as_deref() == Some(device);
        }
        let (old, new) = (&binding.flow, self.flow);
        let near = (old.transport, old.remote.ip()) == (new.transport, new.remote.ip());
        same_uri(&binding.contact, self.contact) && (near || *binding.call_id == *self.call_id)
    }
}

/// All bindings of the shard.
pub(super) struct Bindings {
    /// Boxed, because the table grows by doubling.
    table: Table<Box<Binding>>,
    by_aor: HashMap<Arc<Aor>, SmallVec<[Key; 1]>, Keyed>,
    /// By hash of the user alone.
    by_user: HashMap<u64, SmallVec<[Key; 1]>, Keyed>,
    /// By hash of the way there, whatever the realm is numbered.
    by_flow: HashMap<u64, SmallVec<[Key; 1]>, Keyed>,
    /// How many are not lost.
    living: usize,
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
            living: 0,
        }
    }

    /// All, those included whose flow is lost.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Those whose flow is not lost.
    pub(super) const fn living(&self) -> usize {
        self.living
    }

    pub(super) fn get(&self, key: Key) -> Option<&Binding> {
        self.table.get(key).map(Box::as_ref)
    }

    /// To change anything but address of record and flow, which are indexed, and `lost`, which is counted.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Binding> {
        self.table.get_mut(key).map(Box::as_mut)
    }

    /// Add a binding whose flow is alive.
    pub(super) fn insert(&mut self, binding: Binding) -> Key {
        let aor = binding.aor.clone();
        let (user, path) = (self.hash(&aor.user), self.hash_path(&binding.flow));
        let key = self.table.insert(Box::new(binding));
        self.living += 1;
        self.by_user.entry(user).or_default().push(key);
        self.by_aor.entry(aor).or_default().push(key);
        self.by_flow.entry(path).or_default().push(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Binding> {
        let binding = self.table.remove(key)?;
        self.living -= usize::from(!binding.lost);
        let (user, path) = (self.hash(&binding.aor.user), self.hash_path(&binding.flow));
        forget(&mut self.by_user, &user, key);
        forget(&mut self.by_aor, &binding.aor, key);
        forget(&mut self.by_flow, &path, key);
        Some(*binding)
    }

    /// The terminal is now reached by this flow; gives the one so far.
    pub(super) fn arrive(&mut self, key: Key, flow: Flow) -> Option<Flow> {
        let binding = self.table.get_mut(key)?;
        self.living += usize::from(std::mem::replace(&mut binding.lost, false));
        let old = std::mem::replace(&mut binding.flow, flow);
        if !old.same_path(&flow) {
            let (old, new) = (self.hash_path(&old), self.hash_path(&flow));
            forget(&mut self.by_flow, &old, key);
            self.by_flow.entry(new).or_default().push(key);
        }
        Some(old)
    }

    /// Does a terminal whose registration is in force send by this flow?
    pub(super) fn proves(&self, flow: &Flow) -> bool {
        self.on(flow).iter().any(|key| self.get(*key).is_some_and(Binding::is_live))
    }

    /// The terminal's flow leads nowhere any more; false if that was known.
    pub(super) fn lose(&mut self, key: Key) -> bool {
        let Some(binding) = self.table.get_mut(key).filter(|binding| !binding.lost) else { return false };
        binding.lost = true;
        self.living -= 1;
        true
    }

    /// All contacts of an address of record.
    pub(super) fn of(&self, aor: &Aor) -> SmallVec<[Key; 1]> {
        self.by_aor.get(aor).cloned().unwrap_or_default()
    }

    /// The one copy of an address of record that is known.
    pub(super) fn share(&self, aor: Aor) -> Arc<Aor> {
        self.by_aor.get_key_value(&aor).map_or_else(|| Arc::new(aor), |(known, _)| known.clone())
    }

    /// The contact of an address of record that a REGISTER names. One on the same flow fits best.
    pub(super) fn find(&self, aor: &Aor, wanted: &Wanted<'_>) -> Option<Key> {
        let keys = self.of(aor);
        let fits = |key: &&Key| self.get(**key).is_some_and(|binding| wanted.is(binding));
        let here = |key: &&Key| self.get(**key).is_some_and(|binding| binding.flow.same_path(wanted.flow));
        let mut fitting = keys.iter().filter(fits);
        fitting.clone().find(here).or_else(|| fitting.next()).copied()
    }

    /// The living binding of this user behind this softswitch, the latest first: for softswitches that drop the label.
    pub(super) fn of_user(&self, user: &[u8], softswitch: &Softswitch) -> Option<Key> {
        let fits = |key: &Key| {
            let fits = |b: &Binding| *b.aor.user == *user && b.softswitch.realm == softswitch.realm;
            self.get(*key).is_some_and(|b| b.is_live() && fits(b))
        };
        self.by_user.get(&self.hash(user))?.iter().rev().copied().find(fits)
    }

    /// The bindings whose terminal is reached by this flow.
    pub(super) fn on(&self, flow: &Flow) -> SmallVec<[Key; 1]> {
        let mut keys = self.by_flow.get(&self.hash_path(flow)).cloned().unwrap_or_default();
        keys.retain(|key| self.get(*key).is_some_and(|binding| binding.flow.same_path(flow)));
        keys
    }

    /// Is any binding registered at this softswitch?
    pub(super) fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.table.iter().any(|(_, binding)| *binding.softswitch == *softswitch)
    }

    /// The realm of a binding was configured anew at the same address.
    pub(super) fn rehome(&mut self, key: Key, realm: Arc<Realm>) {
        let Some(binding) = self.table.get(key) else { return };
        let old = binding.aor.clone();
        let new = self.share(Aor { realm: realm.id, ..(*old).clone() });
        let Some(binding) = self.table.get_mut(key) else { return };
        binding.aor = new.clone();
        binding.flow.realm = realm.id;
        binding.realm = realm;
        forget(&mut self.by_aor, &old, key);
        self.by_aor.entry(new).or_default().push(key);
    }

    /// Bindings whose realm is no longer in the mapping.
    pub(super) fn outside(&self, mapping: &Mapping) -> Vec<Key> {
        let gone = self.table.iter().filter(|(_, binding)| mapping.realm(binding.realm.id).is_none());
        gone.map(|(key, _)| key).collect()
    }

    fn hash(&self, user: &[u8]) -> u64 {
        self.by_user.hasher().hash_one(user)
    }

    fn hash_path(&self, flow: &Flow) -> u64 {
        self.by_flow.hasher().hash_one(Flow { realm: RealmId(0), ..*flow })
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, SmallVec<[Key; 1]>, Keyed>, name: &K, key: Key) {
    if let Some(keys) = index.get_mut(name) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            index.remove(name);
        }
    }
}
