//! A slab that never moves what it holds: it grows by a shelf, so that growing costs no packet a copy of the whole table.

use slab::Slab;

/// Places of a shelf, taken from the system together.
const SHELF: usize = 4_096;

/// Values by small numbers. A number is used again when its value is gone.
#[derive(Debug)]
pub(super) struct Shelves<T> {
    shelves: Vec<Slab<T>>,
    /// Shelves with room. The last of them is filled first.
    roomy: Vec<usize>,
}

impl<T> Default for Shelves<T> {
    fn default() -> Self {
        Self { shelves: Vec::new(), roomy: Vec::new() }
    }
}

impl<T> Shelves<T> {
    /// Keep a value; its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let shelf = self.roomy.last().copied().unwrap_or_else(|| self.add());
        let slab = &mut self.shelves[shelf];
        let place = slab.insert(value);
        if slab.len() == SHELF {
            self.roomy.pop();
        }
        (shelf * SHELF + place) as u32
    }

    /// Give a value back. `None`: there is none of this number.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let (shelf, place) = split(number);
        let slab = self.shelves.get_mut(shelf)?;
        let full = slab.len() == SHELF;
        let value = slab.try_remove(place)?;
        if full {
            self.roomy.push(shelf);
        }
        Some(value)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (shelf, place) = split(number);
        self.shelves.get(shelf)?.get(place)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (shelf, place) = split(number);
        self.shelves.get_mut(shelf)?.get_mut(place)
    }

    /// Values kept.
    pub(super) fn len(&self) -> usize {
        self.shelves.iter().map(Slab::len).sum()
    }

    /// No value kept?
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self) -> usize {
        let shelf = self.shelves.len();
        self.shelves.push(Slab::with_capacity(SHELF));
        self.roomy.push(shelf);
        shelf
    }
}

const fn split(number: u32) -> (usize, usize) {
    (number as usize / SHELF, number as usize % SHELF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u32 = 3 * SHELF as u32 + 7;

    fn filled() -> Shelves<u32> {
        let mut shelves = Shelves::default();
        for value in 0..MANY {
            assert_eq!(shelves.insert(value), value);
        }
        shelves
    }

    #[test]
    fn values_are_found_by_their_numbers() {
        let mut shelves = filled();
        for value in 0..MANY {
            assert_eq!(shelves.get(value), Some(&value));
            assert_eq!(shelves.get_mut(value).copied(), Some(value));
        }
        assert_eq!((shelves.len(), shelves.get(MANY)), (MANY as usize, None));
        assert_eq!(shelves.get(u32::MAX), None);
        assert_eq!(shelves.remove(u32::MAX), None);
    }

    #[test]
    fn nothing_moves_while_it_grows() {
        let mut shelves = Shelves::default();
        shelves.insert(0);
        let before = &raw const *shelves.get(0).unwrap();
        (1..MANY).for_each(|value| assert_eq!(shelves.insert(value), value));
        assert_eq!(before, &raw const *shelves.get(0).unwrap());
    }

    #[test]
    fn numbers_are_used_again_before_a_shelf_is_added() {
        let mut shelves = filled();
        let gone = [5, SHELF as u32 + 1, SHELF as u32 + 2, MANY - 1];
        for number in gone {
            assert_eq!((shelves.remove(number), shelves.remove(number)), (Some(number), None));
        }
        let room = 4 * SHELF - shelves.len();
        let mut used = (0..room).map(|_| shelves.insert(0)).collect::<Vec<_>>();
        used.sort_unstable();
        used.dedup();
        assert_eq!((used.len(), shelves.shelves.len()), (room, 4));
        assert!(gone.iter().all(|number| used.contains(number)));
        assert_eq!(shelves.insert(0), 4 * SHELF as u32);
    }

    #[test]
    fn empty_again_when_all_is_gone() {
        let mut shelves = filled();
        assert!(!shelves.is_empty());
        (0..MANY).for_each(|number| assert_eq!(shelves.remove(number), Some(number)));
        assert!(shelves.is_empty());
    }
}
