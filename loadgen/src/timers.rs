//! Who wants to be woken when, and how late the generator is about it.

use hdrhistogram::Histogram;
use portolan_shards::types::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Being later than this means that the generator, not the proxy, shapes the traffic.
pub(crate) const LATE: Duration = Duration::from_millis(20);

/// A heap of the endpoints' next moments; each endpoint has one that counts.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    set: Vec<Option<Instant>>,
    /// Lateness in microseconds.
    lateness: Histogram<u64>,
}

impl Timers {
    pub(crate) fn new(endpoints: usize, lateness: Histogram<u64>) -> Self {
        Self { heap: BinaryHeap::new(), set: vec![None; endpoints], lateness }
    }

    /// The endpoint's next moment.
    pub(crate) fn set(&mut self, endpoint: usize, at: Option<Instant>) {
        if self.set[endpoint] == at {
            return;
        }
        self.set[endpoint] = at;
        self.heap.extend(at.map(|at| Reverse((at, endpoint))));
    }

    /// An endpoint whose moment has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<usize> {
        while let Some(&Reverse((at, endpoint))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.set[endpoint] == Some(at) {
                self.set[endpoint] = None;
                self.lateness.saturating_record(now.since(at).as_micros() as u64);
                return Some(endpoint);
            }
        }
        None
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// More than one moment in a thousand was missed by more than [`LATE`].
    pub(crate) fn limited(&self) -> bool {
        Duration::from_micros(self.lateness.value_at_quantile(0.999)) > LATE
    }

    /// The worst lateness.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_micros(self.lateness.max())
    }
}
