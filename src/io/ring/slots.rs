//! Which entry of the ring's file table holds which socket.

use crate::io::datagrams::{Kind, Slot};

/// The life of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's.
    Free,
    /// Receives and sends.
    Open,
    /// Closed by its owner, but the kernel has not ended its receive yet.
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    generation: u32,
    kind: Kind,
    state: State,
}

/// A table of slots that grows up to its capacity. A number is used again only after [`Slots::release`], and then with
/// a new generation.
#[derive(Debug)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<u32>,
    capacity: u32,
}

impl Slots {
    /// No slot is taken.
    pub(super) const fn new(capacity: u32) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), capacity }
    }

    /// Takes a free slot; `None` when all are taken.
    pub(super) fn take(&mut self, kind: Kind) -> Option<Slot> {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            (entry.kind, entry.state) = (kind, State::Open);
            return Some(Slot::new(index, entry.generation));
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&index| index < self.capacity)?;
        self.entries.push(Entry { generation: 0, kind, state: State::Open });
        Some(Slot::new(index, 0))
    }

    /// What the socket carries and where it is in its life; `None` when this generation has ended.
    pub(super) fn get(&self, slot: Slot) -> Option<(Kind, State)> {
        let entry = self.entries.get(slot.index())?;
        (entry.generation == slot.generation() && entry.state != State::Free)
            .then_some((entry.kind, entry.state))
    }

    /// The kind of an open socket.
    pub(super) fn open(&self, slot: Slot) -> Option<Kind> {
        self.get(slot).and_then(|(kind, state)| (state == State::Open).then_some(kind))
    }

    /// Marks an open socket as closing; false when it was not open.
    pub(super) fn close(&mut self, slot: Slot) -> bool {
        let open = self.open(slot).is_some();
        if open {
            self.entries[slot.index()].state = State::Closing;
        }
        open
    }

    /// Makes a slot's number free for a new generation.
    pub(super) fn release(&mut self, slot: Slot) {
        if self.get(slot).is_none() {
            return;
        }
        let entry = &mut self.entries[slot.index()];
        entry.state = State::Free;
        entry.generation = (entry.generation + 1) % Slot::GENERATIONS;
        self.free.push(slot.index() as u32);
    }

    /// Sockets whose receive the kernel has still to end.
    pub(super) fn closing(&self) -> impl Iterator<Item = Slot> + '_ {
        let closing = self.entries.iter().enumerate().filter(|(_, entry)| entry.state == State::Closing);
        closing.map(|(index, entry)| Slot::new(index as u32, entry.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_used_again_has_a_new_generation() {
        let mut slots = Slots::new(1);
        let first = slots.take(Kind::Media).unwrap();
        assert!(slots.close(first));
        slots.release(first);
        let second = slots.take(Kind::Media).unwrap();
        assert_eq!(first.index(), second.index());
        assert_ne!(first, second);
        assert_eq!((slots.get(first), slots.open(second)), (None, Some(Kind::Media)));
    }

    #[test]
    fn a_closing_slot_is_not_used_again() {
        let mut slots = Slots::new(1);
        let slot = slots.take(Kind::Media).unwrap();
        slots.close(slot);
        assert_eq!(slots.take(Kind::Media), None);
        assert_eq!(slots.closing().collect::<Vec<_>>(), [slot]);
        slots.release(slot);
        assert_eq!(slots.closing().count(), 0);
        assert!(slots.take(Kind::Media).is_some());
    }

    #[test]
    fn closing_twice_or_after_release_is_ignored() {
        let mut slots = Slots::new(8);
        let slot = slots.take(Kind::Media).unwrap();
        assert!(slots.close(slot));
        assert!(!slots.close(slot));
        slots.release(slot);
        slots.release(slot);
        assert!(!slots.close(slot));
        assert_eq!(slots.closing().count(), 0);
    }

    #[test]
    fn capacity_is_a_maximum() {
        let mut slots = Slots::new(2);
        let taken: Vec<_> = (0..3).map(|_| slots.take(Kind::Media)).collect();
        assert!(taken[0].is_some() && taken[1].is_some() && taken[2].is_none());
    }
}
