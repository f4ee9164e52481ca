//! Histograms of a few fixed buckets, for what is observed at the end of a session.

/// Share of packets that did not come, 0 to 1.
pub const LOSS: [f64; 6] = [0.0, 0.001, 0.01, 0.03, 0.1, 1.0];
/// Interarrival jitter in seconds.
pub const JITTER: [f64; 6] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1];
/// Mean opinion score, 1 to 4.5.
pub const SCORE: [f64; 6] = [2.0, 2.6, 3.1, 3.6, 4.0, 4.5];
/// Buckets with an upper bound, and the one without.
const BUCKETS: usize = 7;

/// How often what was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64; BUCKETS - 1],
    counts: [u64; BUCKETS],
    sum: f64,
}

impl Histogram {
    /// Nothing observed. A value belongs to the first bucket whose bound is not below it.
    pub const fn new(bounds: &'static [f64; BUCKETS - 1]) -> Self {
        Self { bounds, counts: [0; BUCKETS], sum: 0.0 }
    }

    /// Count one value; one that is no number belongs to the last bucket.
    pub fn observe(&mut self, value: f64) {
        let at = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(BUCKETS - 1);
        self.counts[at] += 1;
        self.sum += value;
    }

    /// Upper bounds and how many values were in each bucket alone; the last bound is the greatest number there is.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().copied().chain([f64::MAX]).zip(self.counts)
    }

    /// All values together.
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How RTP of one side was received, over sessions that have ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reception {
    /// Share of packets that did not come.
    pub loss: Histogram,
    /// Interarrival jitter in seconds.
    pub jitter: Histogram,
    /// Estimated mean opinion score of what the other side hears (ITU-T G.107).
    pub score: Histogram,
}

impl Reception {
    /// Nothing observed.
    pub const fn new() -> Self {
        let (loss, jitter, score) = (Histogram::new(&LOSS), Histogram::new(&JITTER), Histogram::new(&SCORE));
        Self { loss, jitter, score }
    }
}

impl Default for Reception {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::new(&LOSS);
        [0.0, 0.0, 0.001, 0.02, 5.0].into_iter().for_each(|value| histogram.observe(value));
        let counts = histogram.buckets().map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!(counts, [2, 1, 0, 1, 0, 0, 1]);
        assert_eq!((histogram.count(), histogram.sum()), (5, 5.021));
    }
}
