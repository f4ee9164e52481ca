//! Which bindings have a name in common. The name is read in the binding itself: no index stores it once more.

use super::binding::Binding;
use crate::random::{Keyed, Rng};
use crate::table::{Key, Table};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash};

/// All bindings by one name.
pub(super) struct Index {
    slots: HashTable<u32>,
    keyed: Keyed,
    /// Hash of a binding's name.
    hash: fn(&Keyed, &Binding) -> u64,
}

impl Index {
    /// Of no binding.
    pub(super) fn new(rng: &mut Rng, hash: fn(&Keyed, &Binding) -> u64) -> Self {
        Self { slots: HashTable::new(), keyed: Keyed::new(rng), hash }
    }

    /// A binding has come, or has another name now.
    pub(super) fn add(&mut self, table: &Table<Box<Binding>>, key: Key) {
        let Self { slots, keyed, hash } = self;
        let hash_at = |slot: &u32| table.at(*slot).map_or(0, |(_, binding)| hash(keyed, binding));
        slots.insert_unique(hash_at(&key.slot), key.slot, hash_at);
    }

    /// This binding goes, or is about to change its name.
    pub(super) fn forget(&mut self, binding: &Binding, key: Key) {
        let hash = (self.hash)(&self.keyed, binding);
        if let Ok(entry) = self.slots.find_entry(hash, |slot| *slot == key.slot) {
            entry.remove();
        }
    }

    /// The bindings that may have this name, in no order: some may have another.
    pub(super) fn like<'t>(
        &'t self,
        table: &'t Table<Box<Binding>>,
        name: impl Hash,
    ) -> impl Iterator<Item = (Key, &'t Binding)> {
        let slots = self.slots.iter_hash(self.keyed.hash_one(name));
        slots.filter_map(|slot| table.at(*slot)).map(|(key, binding)| (key, &**binding))
    }
}
