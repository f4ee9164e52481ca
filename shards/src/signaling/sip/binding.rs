//! Bindings: where each registered terminal can be reached, as its NAT shows it now.

use super::index::Index;
use super::keepalive::Alive;
use super::refresh::Confirmed;
use crate::random::Rng;
use crate::realm::{Mapping, Realm, Softswitch};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId};
use crate::wire::sip::same_uri;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::sync::Arc;

/// One contact of one address of record. There is one for each terminal at each instant: it is kept small.
pub(super) struct Binding {
    pub(super) texts: Texts,
    pub(super) realm: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
    /// The highest CSeq seen under its Call-ID.
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

    /// Whose contact it is.
    pub(super) fn aor(&self) -> Aor<'_> {
        Aor {
            realm: self.realm.id,
            user: self.texts.part(Texts::USER).into(),
            host: self.texts.part(Texts::HOST).into(),
        }
    }

    /// The exact octets of the Contact URI that the terminal registered.
    pub(super) fn contact(&self) -> &[u8] {
        self.texts.part(Texts::CONTACT)
    }

    /// `+sip.instance` and `reg-id` (RFC 5626 section 4.2), if the terminal gave both.
    pub(super) fn device(&self) -> Option<&[u8]> {
        Some(self.texts.part(Texts::DEVICE)).filter(|device| !device.is_empty())
    }

    /// The Call-ID under which the terminal last registered it.
    pub(super) fn call_id(&self) -> &[u8] {
        self.texts.part(Texts::CALL_ID)
    }
}

/// What a binding has of texts, one after the other: separate ones would each take the room of a pointer, a length and
/// the allocator's header.
pub(super) struct Texts {
    octets: Box<[u8]>,
    /// Where each part ends but the last one.
    ends: [u32; 4],
}

impl Texts {
    const USER: usize = 0;
    const HOST: usize = 1;
    const CONTACT: usize = 2;
    const DEVICE: usize = 3;
    const CALL_ID: usize = 4;

    /// Those of a contact of this address of record.
    pub(super) fn new(aor: &Aor<'_>, contact: &[u8], device: Option<&[u8]>, call_id: &[u8]) -> Self {
        let parts = [&*aor.user, &*aor.host, contact, device.unwrap_or_default(), call_id];
        let mut end = 0;
        let ends = std::array::from_fn(|n| {
            end += parts[n].len() as u32;
            end
        });
        Self { octets: parts.concat().into(), ends }
    }

    fn part(&self, n: usize) -> &[u8] {
        let start = if n == 0 { 0 } else { self.ends[n - 1] as usize };
        let end = self.ends.get(n).map_or(self.octets.len(), |end| *end as usize);
        &self.octets[start..end]
    }
}

/// An address of record within a realm: user and host, the host in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aor<'a> {
    pub(super) realm: RealmId,
    pub(super) user: Cow<'a, [u8]>,
    pub(super) host: Cow<'a, [u8]>,
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
            return binding.device() == Some(device);
        }
        let (old, new) = (&binding.flow, self.flow);
        let near = (old.transport, old.remote.ip()) == (new.transport, new.remote.ip());
        same_uri(binding.contact(), self.contact) && (near || binding.call_id() == self.call_id)
    }
}

/// All bindings of the shard.
pub(super) struct Bindings {
    /// Boxed, because the table grows by doubling.
    table: Table<Box<Binding>>,
    by_aor: Index,
    /// By the user alone.
    by_user: Index,
    /// By the way there, whatever the realm is numbered.
    by_flow: Index,
    /// How many are not lost.
    living: usize,
}

impl Bindings {
    /// None. Registrars remember our labels for longer than we live: generations begin at random, so that an old label
    /// does not name somebody else's binding.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            table: Table::starting_at(rng.u64() as u32),
            by_aor: Index::new(rng, |keyed, binding| keyed.hash_one(binding.aor())),
            by_user: Index::new(rng, |keyed, binding| keyed.hash_one(binding.aor().user)),
            by_flow: Index::new(rng, |keyed, binding| keyed.hash_one(path(&binding.flow))),
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
        let key = self.table.insert(Box::new(binding));
        self.living += 1;
        self.by_user.add(&self.table, key);
        self.by_aor.add(&self.table, key);
        self.by_flow.add(&self.table, key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Binding> {
        let binding = self.table.remove(key)?;
        self.living -= usize::from(!binding.lost);
        self.by_user.forget(&binding, key);
        self.by_aor.forget(&binding, key);
        self.by_flow.forget(&binding, key);
        Some(*binding)
    }

    /// The terminal is now reached by this flow; gives the one so far.
    pub(super) fn arrive(&mut self, key: Key, flow: Flow) -> Option<Flow> {
        let binding = self.table.get_mut(key)?;
        self.living += usize::from(std::mem::replace(&mut binding.lost, false));
        let old = binding.flow;
        if old.same_path(&flow) {
            binding.flow = flow;
            return Some(old);
        }
        self.by_flow.forget(binding, key);
        binding.flow = flow;
        self.by_flow.add(&self.table, key);
        Some(old)
    }

    /// Does a terminal whose registration is in force send by this flow?
    pub(super) fn proves(&self, flow: &Flow) -> bool {
        self.reached_by(flow).any(|(_, binding)| binding.is_live())
    }

    /// The terminal's flow leads nowhere any more; false if that was known.
    pub(super) fn lose(&mut self, key: Key) -> bool {
        let Some(binding) = self.table.get_mut(key).filter(|binding| !binding.lost) else { return false };
        binding.lost = true;
        self.living -= 1;
        true
    }

    /// All contacts of an address of record, the oldest first.
    pub(super) fn of(&self, aor: &Aor<'_>) -> SmallVec<[Key; 1]> {
        let all = self.by_aor.like(&self.table, aor).filter(|(_, binding)| binding.aor() == *aor);
        let mut keys = all.map(|(key, _)| key).collect::<SmallVec<_>>();
        keys.sort_unstable_by_key(|key| Reverse(self.table.age(*key)));
        keys
    }

    /// The contact of an address of record that a REGISTER names. One on the same flow fits best.
    pub(super) fn find(&self, aor: &Aor<'_>, wanted: &Wanted<'_>) -> Option<Key> {
        let keys = self.of(aor);
        let fits = |key: &&Key| self.get(**key).is_some_and(|binding| wanted.is(binding));
        let here = |key: &&Key| self.get(**key).is_some_and(|binding| binding.flow.same_path(wanted.flow));
        let mut fitting = keys.iter().filter(fits);
        fitting.clone().find(here).or_else(|| fitting.next()).copied()
    }

    /// The latest living binding of this user behind this softswitch: for softswitches that drop the label.
    pub(super) fn of_user(&self, user: &[u8], softswitch: &Softswitch) -> Option<Key> {
        let fits =
            |b: &Binding| b.is_live() && *b.aor().user == *user && b.softswitch.realm == softswitch.realm;
        let all = self.by_user.like(&self.table, user).filter(|(_, binding)| fits(binding));
        all.map(|(key, _)| key).min_by_key(|key| self.table.age(*key))
    }

    /// The bindings whose terminal is reached by this flow, in no order.
    pub(super) fn on(&self, flow: &Flow) -> SmallVec<[Key; 1]> {
        self.reached_by(flow).map(|(key, _)| key).collect()
    }

    fn reached_by(&self, flow: &Flow) -> impl Iterator<Item = (Key, &Binding)> {
        let all = self.by_flow.like(&self.table, path(flow));
        all.filter(|(_, binding)| binding.flow.same_path(flow))
    }

    /// Is any binding registered at this softswitch?
    pub(super) fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.table.iter().any(|(_, binding)| *binding.softswitch == *softswitch)
    }

    /// The realm of a binding was configured anew at the same address.
    pub(super) fn rehome(&mut self, key: Key, realm: Arc<Realm>) {
        let Some(binding) = self.table.get_mut(key) else { return };
        self.by_aor.forget(binding, key);
        binding.flow.realm = realm.id;
        binding.realm = realm;
        self.by_aor.add(&self.table, key);
    }

    /// Bindings whose realm is no longer in the mapping.
    pub(super) fn outside(&self, mapping: &Mapping) -> Vec<Key> {
        let gone = self.table.iter().filter(|(_, binding)| mapping.realm(binding.realm.id).is_none());
        gone.map(|(key, _)| key).collect()
    }
}

/// A flow without the number of its realm.
const fn path(flow: &Flow) -> Flow {
    Flow { realm: RealmId(0), ..*flow }
}
