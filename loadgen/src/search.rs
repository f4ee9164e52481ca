//! The highest rate that still meets a service level.

use crate::report::Report;
use std::str::FromStr;

/// What a run must achieve to pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// Failed calls, share of all.
    pub failed: f64,
    /// Lost packets, share of all.
    pub lost: f64,
    /// 99th percentile of the setup time in milliseconds.
    pub setup_ms: f64,
    /// 99th percentile of the one-way delay in milliseconds.
    pub delay_ms: f64,
}

impl Default for Slo {
    /// No failed call, one packet in ten thousand, setup within half a second, delay within 20 ms.
    fn default() -> Self {
        Self { failed: 0.0, lost: 0.0001, setup_ms: 500.0, delay_ms: 20.0 }
    }
}

impl FromStr for Slo {
    type Err = String;

    /// `failed=0,lost=0.0001,setup=500,delay=20`; what is not named keeps its default.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut slo = Self::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part}: expected NAME=VALUE"))?;
            let value: f64 = value.parse().map_err(|_| format!("{value} is no number"))?;
            match name {
                "failed" => slo.failed = value,
                "lost" => slo.lost = value,
                "setup" => slo.setup_ms = value,
                "delay" => slo.delay_ms = value,
                _ => return Err(format!("{name}: expected failed, lost, setup or delay")),
            }
        }
        Ok(slo)
    }
}

impl Slo {
    /// Why a run does not meet it; `None` when it does. Also says when the generator was the limit, for then the run says
    /// nothing about the proxy.
    pub fn missed(&self, report: &Report) -> Option<String> {
        let failed = share(u64::from(report.calls.failed), u64::from(report.calls.attempted));
        let lost = share(report.rtp.lost, report.rtp.sent);
        let delay = report.rtp.delay_us.p99 / 1e3;
        let setup = report.setup_ms.p99;
        let checks = [
            ("failed", failed, self.failed),
            ("lost", lost, self.lost),
            ("setup", setup, self.setup_ms),
            ("delay", delay, self.delay_ms),
        ];
        let missed = checks.into_iter().find(|(_, value, limit)| value > limit);
        let missed = missed.map(|(name, value, limit)| format!("{name} {value:.4} over {limit:.4}"));
        if report.generator.limited { Some("the generator was the limit".into()) } else { missed }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// The highest rate for which `passes` holds, within a tenth: doubles from `start` on, then halves the gap. `None` when
/// not even `start` passes.
///
/// # Errors
/// The first error of `passes`.
pub fn highest<E>(start: f64, mut passes: impl FnMut(f64) -> Result<bool, E>) -> Result<Option<f64>, E> {
    const DOUBLINGS: u32 = 12;
    if !passes(start)? {
        return Ok(None);
    }
    let (mut good, mut bad) = (start, None);
    for _ in 0..DOUBLINGS {
        if !passes(good * 2.0)? {
            bad = Some(good * 2.0);
            break;
        }
        good *= 2.0;
    }
    while let Some(limit) = bad.filter(|limit| limit / good > 1.1) {
        let middle = (good + limit) / 2.0;
        if passes(middle)? { good = middle } else { bad = Some(middle) }
    }
    Ok(Some(good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn find(limit: f64) -> Option<f64> {
        let Ok(found) = highest::<Infallible>(10.0, |rate| Ok(rate <= limit));
        found
    }

    #[test]
    fn finds_the_limit_within_a_tenth() {
        for limit in [10.0, 37.0, 400.0, 12_345.0] {
            let found = find(limit).expect("a rate");
            assert!(found <= limit && found * 1.1 >= limit, "{found} for {limit}");
        }
        assert_eq!(find(9.0), None);
    }

    #[test]
    fn a_level_is_read_and_missed() {
        let slo: Slo = "lost=0.5,setup=100".parse().expect("level");
        assert_eq!((slo.lost, slo.setup_ms, slo.failed), (0.5, 100.0, 0.0));
        let mut report = Report::default();
        assert_eq!(slo.missed(&report), None);
        report.setup_ms.p99 = 101.0;
        assert!(slo.missed(&report).expect("missed").starts_with("setup"));
        assert!("speed=1".parse::<Slo>().is_err());
    }
}
