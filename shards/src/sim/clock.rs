//! Virtual time: a queue of what will happen, and the moment that has been reached.

use crate::types::Instant;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A clock that stands still until the next event is taken, and then jumps to it.
///
/// Events of the same moment come out in the order in which they went in, so a run never depends on anything
/// but its seed.
#[derive(Debug)]
pub struct Clock<E> {
    now: Instant,
    filed: u64,
    queue: BinaryHeap<Entry<E>>,
}

impl<E> Default for Clock<E> {
    fn default() -> Self {
        Self { now: Instant::ZERO, filed: 0, queue: BinaryHeap::new() }
    }
}

impl<E> Clock<E> {
    /// The moment that has been reached.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// `event` happens at `when`, or at once when that has passed.
    pub fn at(&mut self, when: Instant, event: E) {
        self.filed += 1;
        self.queue.push(Entry { when: when.max(self.now), filed: self.filed, event });
    }

    /// `event` happens `delay` from now.
    pub fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// Jump to the next event, if there is one no later than `limit`; otherwise jump to `limit`.
    pub fn advance(&mut self, limit: Instant) -> Option<E> {
        if self.queue.peek().is_none_or(|entry| entry.when > limit) {
            self.now = self.now.max(limit);
            return None;
        }
        let entry = self.queue.pop()?;
        self.now = entry.when;
        Some(entry.event)
    }
}

/// Ordered by time, then by order of filing; reversed, because `BinaryHeap` gives the greatest first.
#[derive(Debug)]
struct Entry<E> {
    when: Instant,
    filed: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.when, other.filed).cmp(&(self.when, self.filed))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Instant = Instant::from_nanos(u64::MAX);

    #[test]
    fn events_come_in_order_of_time_and_then_of_filing() {
        let mut clock = Clock::default();
        clock.after(Duration::from_millis(2), 'c');
        clock.after(Duration::from_millis(1), 'a');
        clock.after(Duration::from_millis(1), 'b');
        let order: Vec<char> = std::iter::from_fn(|| clock.advance(FAR)).collect();
        assert_eq!(order, ['a', 'b', 'c']);
    }

    #[test]
    fn time_stops_at_the_limit_when_nothing_happens_before() {
        let mut clock = Clock::default();
        clock.after(Duration::from_secs(2), ());
        let limit = Instant::ZERO + Duration::from_secs(1);
        assert_eq!(clock.advance(limit), None);
        assert_eq!(clock.now(), limit);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut clock = Clock::default();
        clock.after(Duration::from_secs(1), 1);
        clock.advance(FAR);
        clock.at(Instant::ZERO, 2);
        assert_eq!(clock.advance(FAR), Some(2));
        assert_eq!(clock.now(), Instant::ZERO + Duration::from_secs(1));
    }
}
