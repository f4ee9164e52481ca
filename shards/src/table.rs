//! A slab whose keys know when their entry has been replaced.

use slab::Slab;
use std::fmt;

/// Names one entry of a [`Table`], and no later entry of the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Index into the slab.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slot, self.generation)
    }
}

/// Entries at stable keys; looking up a key of a removed entry gives `None`.
#[derive(Debug)]
pub struct Table<T> {
    slab: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl<T> Table<T> {
    /// No entries; the first one has the generation after this. Start at random where keys outlive the process.
    pub const fn starting_at(generation: u32) -> Self {
        Self { slab: Slab::new(), generation }
    }

    /// Add an entry.
    pub fn insert(&mut self, value: T) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let slot = self.slab.insert((self.generation, value)) as u32;
        Key { slot, generation: self.generation }
    }

    /// Give back the room of removed entries after the last one that is there.
    pub fn shrink(&mut self) {
        self.slab.shrink_to_fit();
    }

    /// The entry, unless it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.slab
            .get(key.slot as usize)
            .filter(|(generation, _)| *generation == key.generation)
            .map(|(_, value)| value)
    }

    /// The entry that is in a slot now, and its key.
    pub fn at(&self, slot: u32) -> Option<(Key, &T)> {
        self.slab.get(slot as usize).map(|(generation, value)| (Key { slot, generation: *generation }, value))
    }

    /// How many entries were added after the one of this key.
    pub const fn age(&self, key: Key) -> u32 {
        self.generation.wrapping_sub(key.generation)
    }

    /// The entry to change, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let found = self.slab.get_mut(key.slot as usize)?;
        (found.0 == key.generation).then_some(&mut found.1)
    }

    /// Take the entry out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slab.remove(key.slot as usize).1)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Is there no entry?
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Slots that there are, taken or not: every [`Key::slot`] is below.
    pub fn slots(&self) -> usize {
        self.slab.capacity()
    }

    /// The entry in this slot, to change.
    pub fn at_mut(&mut self, slot: usize) -> Option<(Key, &mut T)> {
        let (generation, value) = self.slab.get_mut(slot)?;
        Some((Key { slot: slot as u32, generation: *generation }, value))
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab
            .iter()
            .map(|(slot, (generation, value))| (Key { slot: slot as u32, generation: *generation }, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_outlive_its_entry() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.at(first.slot), Some((second, &"second")));
        assert_eq!((table.age(first), table.age(second)), (1, 0));
    }
}
