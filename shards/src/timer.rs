//! Deadlines that carry their reason.

use crate::types::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A near tick is that power of two of nanoseconds: 34 ms. It decides where a deadline is kept, not when it is due.
const NEAR_BITS: u32 = 25;
/// A far tick is that power of two of near ones: 2.1 s.
const FAR_BITS: u32 = 6;
/// One slot for each tick of a round: 137 s near, 2.4 h far. 64 times 64, because two levels of bits find the next one.
const SLOTS: u64 = 64 * 64;
/// Nodes of a page.
const PAGE: usize = 256;
/// The end of a list.
const END: u32 = u32::MAX;

/// A queue of deadlines. Nothing is cancelled: whoever is woken looks whether its reason still holds.
///
/// A hierarchical timing wheel (Varghese and Lauck, 1987) of two rounds. When a near tick comes, a small heap puts its
/// deadlines in order; when a far tick comes, its deadlines move to the near round. The slots are many and short so
/// that little moves at one moment: media waits meanwhile. Deadlines beyond the far round wait in its last slot, and
/// are put further round when its time comes.
///
/// Once the tables have grown to what is needed at a time, nothing is allocated.
#[derive(Debug)]
pub struct Timers<W> {
    /// Entries of the current near tick, and of earlier ones.
    due: BinaryHeap<Reverse<Entry<W>>>,
    /// Entries of later ticks, each in one slot's list.
    nodes: Nodes<W>,
    near: Round,
    /// Only of far ticks after the current one.
    far: Round,
    /// The current near tick.
    tick: u64,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<W> {
    at: Instant,
    sequence: u64,
    wake: W,
}

/// An entry in a list. Its fields are here because they fill the room behind `wake`: there are two nodes for each
/// registered terminal.
#[derive(Clone, Copy, Debug)]
struct Node<W> {
    at: Instant,
    sequence: u64,
    wake: W,
    next: u32,
}

/// Places for nodes. In pages, because a table that grows by doubling is half empty when it has grown, and moves as a
/// whole.
#[derive(Debug)]
struct Nodes<W> {
    /// All full but the last one.
    pages: Vec<Vec<Node<W>>>,
    /// The first of those that are free again.
    free: u32,
}

impl<W> Default for Timers<W> {
    fn default() -> Self {
        Self {
            due: BinaryHeap::new(),
            nodes: Nodes { pages: Vec::new(), free: END },
            near: Round::default(),
            far: Round::default(),
            tick: 0,
            sequence: 0,
        }
    }
}

impl<W: Copy> Timers<W> {
    /// Ask to be woken at `at` for the reason `wake`.
    pub fn schedule(&mut self, at: Instant, wake: W) {
        self.sequence += 1;
        let entry = Entry { at, sequence: self.sequence, wake };
        if near_tick(at) <= self.tick {
            self.due.push(Reverse(entry));
        } else {
            let node = self.nodes.insert(entry);
            self.link(node, at);
        }
    }

    /// The next reason that is due, earliest first; of one moment, in the order of scheduling.
    pub fn pop(&mut self, now: Instant) -> Option<W> {
        while self.due.is_empty() && self.advance(now) {}
        let due = self.due.peek().is_some_and(|Reverse(entry)| entry.at <= now);
        if due { self.due.pop().map(|Reverse(entry)| entry.wake) } else { None }
    }

    /// When to call [`Self::pop`] next: at the earliest deadline, or sooner while that is more than 2.4 h away. A call
    /// at this moment wakes somebody or puts it off.
    pub fn next(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse(entry)| entry.at);
        due.or_else(|| self.first_near().into_iter().chain(self.first_far()).map(|(_, wake)| wake).min())
    }

    fn first_near(&self) -> Option<(u64, Instant)> {
        self.near.first_after(self.tick)
    }

    fn first_far(&self) -> Option<(u64, Instant)> {
        self.far.first_after(self.tick >> FAR_BITS)
    }

    /// Go on to the next slot, if its time has come by `now`. A far slot is taken before the near ones of its time, so
    /// that nothing in it is passed over.
    fn advance(&mut self, now: Instant) -> bool {
        let (near, far) = (self.first_near(), self.first_far());
        let far_starts = far.map_or(u64::MAX, |(tick, _)| tick << FAR_BITS);
        let first_near = near.map_or(u64::MAX, |(tick, _)| tick);
        if near.is_none_or(|(_, wake)| wake > now) && far.is_none_or(|(_, wake)| wake > now) {
            self.tick = self.tick.max(near_tick(now).min(first_near.min(far_starts) - 1));
            return false;
        }
        let head = if far_starts <= first_near {
            self.tick = far_starts - 1;
            self.far.take(far_starts >> FAR_BITS)
        } else {
            self.tick = first_near;
            self.near.take(first_near)
        };
        self.spread(head);
        true
    }

    /// Put all entries of a list where they belong now.
    fn spread(&mut self, head: u32) {
        let mut at = head;
        while at != END {
            let node = *self.nodes.get_mut(at);
            if near_tick(node.at) <= self.tick {
                self.due.push(Reverse(self.nodes.remove(at)));
            } else {
                self.link(at, node.at);
            }
            at = node.next;
        }
    }

    /// Put a node, whose deadline is `at` in a later tick, at the head of a slot's list.
    fn link(&mut self, node: u32, at: Instant) {
        let tick = near_tick(at);
        let last = (self.tick >> FAR_BITS) + SLOTS;
        self.nodes.get_mut(node).next = if tick <= self.tick + SLOTS {
            self.near.put(tick, node, at)
        } else if tick >> FAR_BITS <= last {
            self.far.put(tick >> FAR_BITS, node, at)
        } else {
            self.far.put(last, node, Instant::from_nanos(last << (FAR_BITS + NEAR_BITS)))
        };
    }
}

impl<W: Copy> Nodes<W> {
    fn insert(&mut self, Entry { at, sequence, wake }: Entry<W>) -> u32 {
        let (node, place) = (Node { at, sequence, wake, next: END }, self.free);
        if place != END {
            self.free = std::mem::replace(self.get_mut(place), node).next;
            return place;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let last = self.pages.len() - 1;
        self.pages[last].push(node);
        (last * PAGE + self.pages[last].len() - 1) as u32
    }

    /// The node at a place that `insert` gave.
    fn get_mut(&mut self, place: u32) -> &mut Node<W> {
        &mut self.pages[place as usize / PAGE][place as usize % PAGE]
    }

    fn remove(&mut self, place: u32) -> Entry<W> {
        let next = std::mem::replace(&mut self.free, place);
        let node = self.get_mut(place);
        node.next = next;
        Entry { at: node.at, sequence: node.sequence, wake: node.wake }
    }
}

fn near_tick(at: Instant) -> u64 {
    at.as_nanos() >> NEAR_BITS
}

/// The lists of the `SLOTS` ticks after the current one.
#[derive(Debug)]
struct Round {
    slots: Box<[Slot; SLOTS as usize]>,
    /// One bit for each slot that is not empty.
    occupied: [u64; 64],
    /// One bit for each word of those that is not 0.
    words: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The first node of its list.
    head: u32,
    /// When to look at it: at its earliest deadline, or at its beginning if it holds one beyond the round.
    wake: Instant,
}

impl Slot {
    const EMPTY: Self = Self { head: END, wake: Instant::from_nanos(u64::MAX) };
}

impl Default for Round {
    fn default() -> Self {
        Self { slots: Box::new([Slot::EMPTY; SLOTS as usize]), occupied: [0; 64], words: 0 }
    }
}

impl Round {
    /// The first tick after `tick` whose slot is not empty, and when to look at it.
    fn first_after(&self, tick: u64) -> Option<(u64, Instant)> {
        if self.words == 0 {
            return None;
        }
        let start = place(tick + 1);
        let here = self.occupied[start / 64] >> (start % 64) << (start % 64);
        let found = if here != 0 {
            start / 64 * 64 + here.trailing_zeros() as usize
        } else {
            let after = start / 64 + 1;
            let word = (after + self.words.rotate_right(after as u32).trailing_zeros() as usize) % 64;
            word * 64 + self.occupied[word].trailing_zeros() as usize
        };
        Some((tick + 1 + (found as u64).wrapping_sub(start as u64) % SLOTS, self.slots[found].wake))
    }

    /// Make a node the head of a tick's list; gives the one that it was before.
    fn put(&mut self, tick: u64, node: u32, wake: Instant) -> u32 {
        let place = place(tick);
        self.occupied[place / 64] |= 1 << (place % 64);
        self.words |= 1 << (place / 64);
        let slot = &mut self.slots[place];
        slot.wake = slot.wake.min(wake);
        std::mem::replace(&mut slot.head, node)
    }

    /// Empty a tick's slot; gives the head of its list.
    fn take(&mut self, tick: u64) -> u32 {
        let place = place(tick);
        self.occupied[place / 64] &= !(1 << (place % 64));
        if self.occupied[place / 64] == 0 {
            self.words &= !(1 << (place / 64));
        }
        std::mem::replace(&mut self.slots[place], Slot::EMPTY).head
    }
}

/// The slot of a tick.
const fn place(tick: u64) -> usize {
    (tick % SLOTS) as usize
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

    /// Sleep until the wheel wants to be called, and again, until it wakes us. Each call must bring it forward.
    fn sleep(wheel: &mut Timers<u32>, from: Instant) -> Option<(Instant, u32)> {
        let (mut now, mut asked) = (from, None);
        loop {
            let next = wheel.next()?;
            assert!(asked < Some(next), "no progress at {next:?}");
            (asked, now) = (Some(next), now.max(next));
            if let Some(wake) = wheel.pop(now) {
                return Some((now, wake));
            }
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
        let edge = (0..44_u32, -2..3_i64).prop_map(|(bits, off)| (1_u64 << bits).saturating_add_signed(off));
        prop_oneof![
            0..50_u64,
            0..5_000_000_u64,
            edge,
            Just(SLOTS << NEAR_BITS),
            Just(SLOTS << (NEAR_BITS + FAR_BITS))
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (span(), proptest::bool::weighted(0.1)).prop_map(|(by, past)| Step::Schedule(by, past)),
            1 => span().prop_map(Step::Pass),
            2 => Just(Step::Next),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_is_the_model(start in 0..1_u64 << 45, steps in proptest::collection::vec(step(), 1..200)) {
            let (mut wheel, mut model, mut now) = (Timers::default(), Model::default(), start);
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Schedule(by, past) => {
                        let at = if past { now.saturating_sub(by) } else { now.saturating_add(by) };
                        wheel.schedule(Instant::from_nanos(at), n as u32);
                        model.0.push((Instant::from_nanos(at), n as u32));
                    }
                    Step::Next => {
                        let wake = model.next().map(|at| (at.max(Instant::from_nanos(now)), model.pop(at)));
                        let woken = sleep(&mut wheel, Instant::from_nanos(now));
                        prop_assert_eq!(woken.map(|(at, wake)| (at, Some(wake))), wake);
                        now = woken.map_or(now, |(at, _)| at.as_nanos());
                    }
                    Step::Pass(by) => {
                        now = now.saturating_add(by);
                        while let Some(wake) = model.pop(Instant::from_nanos(now)) {
                            prop_assert_eq!(wheel.pop(Instant::from_nanos(now)), Some(wake));
                        }
                        prop_assert_eq!(wheel.pop(Instant::from_nanos(now)), None);
                    }
                }
                prop_assert_eq!(wheel.next().is_some(), model.next().is_some());
                prop_assert!(wheel.next() <= model.next());
            }
        }
    }

    #[test]
    fn steady_work_allocates_nothing() {
        let mut timers = Timers::default();
        let lap = |timers: &mut Timers<u64>, from: u64, each: u64| {
            for n in from..from + 10_000 {
                let now = Instant::from_nanos(n << NEAR_BITS);
                while timers.pop(now).is_some() {}
                (0..each).for_each(|k| {
                    timers.schedule(now + Duration::from_millis(1 + (n * 37 + k * 500) % 200_000), n);
                });
            }
        };
        // A little more than what comes later, whose number at a time sways.
        lap(&mut timers, 0, 5);
        lap(&mut timers, 10_000, 5);
        let counted = allocation_counter::measure(|| lap(&mut timers, 20_000, 4));
        assert_eq!(counted.count_total, 0);
    }
}
