//! When the next call or registration is due.

use portolan_shards::types::Instant;
use std::time::Duration;

/// An even pace: `total` events at `rate` a second from `start` on, whatever became of the ones before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    start: Instant,
    rate: f64,
    total: u32,
    done: u32,
}

impl Pace {
    pub(crate) const fn new(start: Instant, rate: f64, total: u32) -> Self {
        Self { start, rate, total, done: 0 }
    }

    /// When the next event is due; `None` after the last.
    pub(crate) fn next(&self) -> Option<Instant> {
        let after = Duration::from_secs_f64(f64::from(self.done) / self.rate.max(0.001));
        (self.done < self.total).then(|| self.start + after)
    }

    /// The number of the event that is due, if one is.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u32> {
        self.next().filter(|at| *at <= now)?;
        self.done += 1;
        Some(self.done - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_rate_and_its_total() {
        let mut pace = Pace::new(Instant::ZERO, 10.0, 3);
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        assert_eq!(pace.due(at(0)), Some(0));
        assert_eq!(pace.due(at(99)), None);
        assert_eq!((pace.due(at(250)), pace.due(at(250)), pace.due(at(900))), (Some(1), Some(2), None));
    }
}
