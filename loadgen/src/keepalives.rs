//! How evenly a proxy keeps its terminals reachable, and whether it forgets one.

use portolan_shards::types::Instant;
use serde::Serialize;
use std::time::Duration;

/// The width of a slot of the histogram.
pub const SLOT: Duration = Duration::from_millis(100);

/// What came of the keepalives.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Keepalives {
    /// How long they were watched, in seconds.
    pub seconds: f64,
    /// All that arrived meanwhile.
    pub seen: u64,
    /// Terminals that heard nothing for one and a half intervals.
    pub missed: u32,
    /// The longest that a terminal heard nothing, in milliseconds.
    pub longest_gap_ms: f64,
    /// Arrivals in a slot of 100 ms, on average.
    pub slot_mean: f64,
    /// Arrivals in the fullest slot.
    pub slot_max: u32,
    /// Arrivals in each slot.
    pub slots: Vec<u32>,
}

impl Keepalives {
    /// The fullest slot over the average one: 1 is perfectly even.
    pub fn peak(&self) -> f64 {
        f64::from(self.slot_max) / self.slot_mean.max(f64::MIN_POSITIVE)
    }
}

/// The keepalives that arrived while they were watched.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    interval: Option<Duration>,
    window: Option<(Instant, Instant)>,
    open: bool,
    /// When each terminal heard something last, and its longest gap.
    terminals: Vec<(Instant, Duration)>,
    slots: Vec<u32>,
}

impl Arrivals {
    pub(crate) fn new(interval: Option<Duration>, terminals: u32) -> Self {
        let terminals = vec![(Instant::ZERO, Duration::ZERO); terminals as usize];
        Self { interval, terminals, ..Self::default() }
    }

    /// Watch from now on.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.window = Some((now, now));
        self.open = true;
        self.terminals.fill((now, Duration::ZERO));
    }

    /// Watch no longer.
    pub(crate) fn end(&mut self, now: Instant) {
        self.open = false;
        self.window = self.window.map(|(start, _)| (start, now));
        (0..self.terminals.len()).for_each(|terminal| self.hear(now, terminal));
    }

    /// One arrived at this terminal; others count nothing.
    pub(crate) fn note(&mut self, now: Instant, terminal: Option<usize>) {
        let (Some(terminal), Some((start, _)), true) = (terminal, self.window, self.open) else { return };
        let slot = (now.since(start).as_nanos() / SLOT.as_nanos()) as usize;
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] += 1;
        self.hear(now, terminal);
    }

    fn hear(&mut self, now: Instant, terminal: usize) {
        let (last, gap) = &mut self.terminals[terminal];
        *gap = now.since(*last).max(*gap);
        *last = now;
    }

    pub(crate) fn report(&self) -> Option<Keepalives> {
        let (interval, (start, end)) = self.interval.zip(self.window)?;
        let seconds = end.since(start).as_secs_f64();
        let seen: u64 = self.slots.iter().map(|&count| u64::from(count)).sum();
        let missed = self.terminals.iter().filter(|(_, gap)| *gap > interval * 3 / 2).count() as u32;
        let longest = self.terminals.iter().map(|(_, gap)| *gap).max().unwrap_or_default();
        Some(Keepalives {
            seconds,
            seen,
            missed,
            longest_gap_ms: longest.as_secs_f64() * 1e3,
            slot_mean: seen as f64 * SLOT.as_secs_f64() / seconds.max(SLOT.as_secs_f64()),
            slot_max: self.slots.iter().copied().max().unwrap_or_default(),
            slots: self.slots.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_terminal_that_hears_nothing_for_too_long_is_missed() {
        let mut arrivals = Arrivals::new(Some(Duration::from_secs(1)), 2);
        arrivals.begin(at(0));
        for ms in [500, 1400, 2000] {
            arrivals.note(at(ms), Some(0));
        }
        arrivals.note(at(510), Some(1));
        arrivals.note(at(520), None);
        arrivals.end(at(3000));
        arrivals.note(at(3100), Some(1));
        let report = arrivals.report().expect("watched");
        assert_eq!((report.seen, report.missed, report.longest_gap_ms), (4, 1, 2490.0));
        assert_eq!((report.slot_max, report.slots[5]), (2, 2));
        assert_eq!(report.peak(), 2.0 / (4.0 / 30.0));
    }

    #[test]
    fn nothing_is_judged_that_was_not_watched() {
        assert_eq!(Arrivals::new(Some(Duration::from_secs(1)), 1).report(), None);
        let mut unasked = Arrivals::new(None, 1);
        unasked.begin(at(0));
        assert_eq!(unasked.report(), None);
    }
}
