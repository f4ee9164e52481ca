//! Deadlines that carry their reason.

use crate::types::Instant;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A tick is that power of two of nanoseconds: about a millisecond. It decides where a deadline is kept, not when it
/// is due.
const TICK_BITS: u32 = 20;
/// Each level has that power of two of slots. More of them would move an entry less often, and make the scan for the
/// first one longer.
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
/// As many levels as any deadline needs.
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(SLOT_BITS) as usize;
/// The end of a slot's list.
const END: usize = usize::MAX;

/// A queue of deadlines. Nothing is cancelled: whoever is woken looks whether its reason still holds.
///
/// A hierarchical timing wheel (Varghese and Lauck, 1987): a slot of level 0 holds the deadlines of one tick, a slot of
/// level n those of 256^n ticks. An entry moves down when its slot's time comes, at most once for each level, and when
/// its tick has come into a small heap that puts the tick's entries in order. Once the tables have grown to what is
/// needed at a time, nothing is allocated.
#[derive(Debug)]
pub struct Timers<W> {
    /// Entries of the current tick, and of earlier ones.
    due: BinaryHeap<Reverse<Entry<W>>>,
    /// Entries of later ticks, each in one slot's list.
    nodes: Slab<Node<W>>,
    /// Level by level.
    slots: Box<[Slot; LEVELS * SLOTS]>,
    /// One bit for each slot that is not empty.
    occupied: [u64; LEVELS * SLOTS / 64],
    /// The current tick. An entry's level is that of the highest digit in which its tick differs from this one, so
    /// that all entries of a level come before those of the next.
    tick: u64,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<W> {
    at: Instant,
    sequence: u64,
    wake: W,
}

#[derive(Debug)]
struct Node<W> {
    entry: Entry<W>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The first node of its list.
    head: usize,
    /// The earliest deadline in the list.
    earliest: Instant,
}

impl Slot {
    const EMPTY: Self = Self { head: END, earliest: Instant::from_nanos(u64::MAX) };
}

impl<W> Default for Timers<W> {
    fn default() -> Self {
        Self {
            due: BinaryHeap::new(),
            nodes: Slab::new(),
            slots: Box::new([Slot::EMPTY; LEVELS * SLOTS]),
            occupied: [0; LEVELS * SLOTS / 64],
            tick: 0,
            sequence: 0,
        }
    }
}

impl<W> Timers<W> {
    /// Ask to be woken at `at` for the reason `wake`.
    pub fn schedule(&mut self, at: Instant, wake: W) {
        self.sequence += 1;
        let entry = Entry { at, sequence: self.sequence, wake };
        if tick_of(at) <= self.tick {
            self.due.push(Reverse(entry));
        } else {
            let node = self.nodes.insert(Node { entry, next: END });
            self.link(node, at);
        }
    }

    /// The next reason that is due, earliest first; of one moment, in the order of scheduling.
    pub fn pop(&mut self, now: Instant) -> Option<W> {
        if self.due.is_empty() {
            self.advance(now);
        }
        let due = self.due.peek().is_some_and(|Reverse(entry)| entry.at <= now);
        if due { self.due.pop().map(|Reverse(entry)| entry.wake) } else { None }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse(entry)| entry.at);
        due.or_else(|| self.first().map(|slot| self.slots[slot].earliest))
    }

    /// The slot with the earliest entries.
    fn first(&self) -> Option<usize> {
        let word = self.occupied.iter().position(|&bits| bits != 0)?;
        Some(word * 64 + self.occupied[word].trailing_zeros() as usize)
    }

    /// Go to the tick of the earliest deadline, if that is not after `now`: the entries of its tick are due, the others
    /// of its slot move to lower levels. Entries in other slots stay where they are, because the digits that their
    /// level looks at have not changed.
    fn advance(&mut self, now: Instant) {
        let Some(first) = self.first().filter(|&slot| self.slots[slot].earliest <= now) else { return };
        let slot = std::mem::replace(&mut self.slots[first], Slot::EMPTY);
        self.occupied[first / 64] &= !(1 << (first % 64));
        self.tick = tick_of(slot.earliest);
        let mut at = slot.head;
        while let Some(node) = self.nodes.get(at) {
            let (deadline, next) = (node.entry.at, node.next);
            if tick_of(deadline) == self.tick {
                self.due.push(Reverse(self.nodes.remove(at).entry));
            } else {
                self.link(at, deadline);
            }
            at = next;
        }
    }

    /// Put a node, whose deadline is `at` in a later tick, at the head of its slot's list.
    fn link(&mut self, node: usize, at: Instant) {
        let tick = tick_of(at);
        let level = (tick ^ self.tick).ilog2() / SLOT_BITS;
        let digit = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        let place = level as usize * SLOTS + digit;
        let slot = &mut self.slots[place];
        self.nodes[node].next = slot.head;
        *slot = Slot { head: node, earliest: slot.earliest.min(at) };
        self.occupied[place / 64] |= 1 << (place % 64);
    }
}

fn tick_of(at: Instant) -> u64 {
    at.as_nanos() >> TICK_BITS
}

impl<W> PartialEq for Entry<W> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<W> Eq for Entry<W> {}

impl<W> PartialOrd for Entry<W> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<W> Ord for Entry<W> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn wakes_come_in_order_and_only_when_due() {
        let at = Instant::from_nanos;
        let mut timers = Timers::default();
        timers.schedule(at(20), 'c');
        timers.schedule(at(10), 'a');
        timers.schedule(at(10), 'b');
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(15)), Some('a'));
        assert_eq!(timers.pop(at(15)), Some('b'));
        assert_eq!(timers.pop(at(15)), None);
        assert_eq!(timers.pop(at(20)), Some('c'));
    }

    /// What the wheel must do, in the simplest way.
    #[derive(Default)]
    struct Model(Vec<(Instant, u32)>);

    impl Model {
        fn earliest(&self) -> Option<usize> {
            (0..self.0.len()).min_by_key(|&n| self.0[n].0)
        }

        fn pop(&mut self, now: Instant) -> Option<u32> {
            self.earliest().filter(|&n| self.0[n].0 <= now).map(|n| self.0.remove(n).1)
        }

        fn next(&self) -> Option<Instant> {
            self.earliest().map(|n| self.0[n].0)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Schedule that long after now, or before.
        Schedule(u64, bool),
        /// Let time pass, and take what is due.
        Pass(u64),
        /// Go to the earliest deadline, and take one.
        Next,
    }

    /// Times of every size, and often around the edges of ticks and slots.
    fn span() -> impl Strategy<Value = u64> {
        let edge = (0..64_u32, -2..3_i64).prop_map(|(bits, off)| (1_u64 << bits).saturating_add_signed(off));
        prop_oneof![0..50_u64, 0..5_000_000_u64, edge, Just(1 << TICK_BITS), Just(u64::MAX)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (span(), proptest::bool::weighted(0.1)).prop_map(|(by, past)| Step::Schedule(by, past)),
            1 => span().prop_map(|by| Step::Pass(by % (1 << 40))),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_is_the_model(start in span(), steps in proptest::collection::vec(step(), 1..200)) {
            let (mut wheel, mut model, mut now) = (Timers::default(), Model::default(), start / 2);
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Schedule(by, past) => {
                        let at = if past { now.saturating_sub(by) } else { now.saturating_add(by) };
                        wheel.schedule(Instant::from_nanos(at), n as u32);
                        model.0.push((Instant::from_nanos(at), n as u32));
                    }
                    Step::Next => {
                        now = model.next().map_or(now, |at| at.as_nanos().max(now));
                        let wake = model.pop(Instant::from_nanos(now));
                        prop_assert_eq!(wheel.pop(Instant::from_nanos(now)), wake);
                    }
                    Step::Pass(by) => {
                        now = now.saturating_add(by);
                        while let Some(wake) = model.pop(Instant::from_nanos(now)) {
                            prop_assert_eq!(wheel.pop(Instant::from_nanos(now)), Some(wake));
                            prop_assert_eq!(wheel.next(), model.next());
                        }
                        prop_assert_eq!(wheel.pop(Instant::from_nanos(now)), None);
                    }
                }
                prop_assert_eq!(wheel.next(), model.next());
            }
        }
    }

    #[test]
    fn steady_work_allocates_nothing() {
        let mut timers = Timers::default();
        let lap = |timers: &mut Timers<u64>, from: u64| {
            for n in from..from + 10_000 {
                let now = Instant::from_nanos(n << TICK_BITS);
                while timers.pop(now).is_some() {}
                (0..4).for_each(|k| {
                    timers.schedule(now + Duration::from_millis(1 + (n * 37 + k * 500) % 9_000), n)
                });
            }
        };
        lap(&mut timers, 0);
        let counted = allocation_counter::measure(|| lap(&mut timers, 10_000));
        assert_eq!(counted.count_total, 0);
    }
}
