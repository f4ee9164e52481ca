//! Deadlines that carry their reason.

use crate::types::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of deadlines. Nothing is cancelled: whoever is woken looks whether its reason still holds.
#[derive(Debug)]
pub struct Timers<W> {
    heap: BinaryHeap<Reverse<Entry<W>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<W> {
    at: Instant,
    sequence: u64,
    wake: W,
}

impl<W> Default for Timers<W> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<W> Timers<W> {
    /// Ask to be woken at `at` for the reason `wake`.
    pub fn schedule(&mut self, at: Instant, wake: W) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, wake }));
    }

    /// The next reason that is due, earliest first; of one moment, in the order of scheduling.
    pub fn pop(&mut self, now: Instant) -> Option<W> {
        let due = self.heap.peek().is_some_and(|Reverse(entry)| entry.at <= now);
        if due { self.heap.pop().map(|Reverse(entry)| entry.wake) } else { None }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }
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
}
