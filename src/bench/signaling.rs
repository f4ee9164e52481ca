//! Calls without media through a full system: what one costs.

use super::place::Site;
use super::relays::calls_plan;
use super::systems::Kind;
use anyhow::ensure;
use portolan_loadgen::bare::Calls;
use portolan_loadgen::bare::sdp::Audio;
use serde::Serialize;
use std::time::Duration;
use tempfile::tempdir;

/// How long a call is up.
const HOLD: Duration = Duration::from_secs(1);
/// Before it is measured: as many calls end as begin.
const WARM: Duration = Duration::from_secs(2);
/// Calls that have media addresses of their own; more share them.
const ADDRESSES: usize = 5_000;

/// What one turn of a system showed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) cpu_us_per_call: f64,
    pub(super) setup_p99_us: f64,
    pub(super) calls: u64,
    pub(super) failed: u64,
    /// Why it does not count.
    #[serde(skip)]
    pub(super) limited: Option<String>,
}

impl Figures {
    /// One line.
    pub(super) fn line(&self) -> String {
        let limited = self.limited.as_ref().map(|why| format!("  INVALID: {why}")).unwrap_or_default();
        let Self { cpu_us_per_call, setup_p99_us, calls, failed, .. } = self;
        format!(
            "{cpu_us_per_call:6.0} us of CPU a call  setup p99 {setup_p99_us:6.0} us  {calls} calls, {failed} failed{limited}"
        )
    }
}

/// A fresh system, the load, and its end.
pub(super) fn turn(kind: Kind, site: &Site, rate: f64, length: Duration) -> anyhow::Result<Figures> {
    let home = tempdir()?;
    let mut system = kind.start(site, home.path())?;
    let mut calls = Calls::open(calls_plan(site, system.proxy))?;
    let sides = site.sides();
    let sdp = |call: usize| {
        let port = 10_000 + (call % ADDRESSES * 2) as u16;
        sides.map(|side| Audio::at_rate((side, port).into(), 50.0).describe())
    };
    calls.run(rate, WARM, HOLD, sdp)?;
    let before = (system.cpu(), calls.counts.ended);
    calls.run(rate, length, HOLD, sdp)?;
    let (cpu, ended) = (system.cpu().saturating_sub(before.0), calls.counts.ended - before.1);
    calls.finish(rate)?;
    system.must_live()?;
    let counts = &calls.counts;
    ensure!(ended > 0, "no call ended; {} of {} were answered", counts.answered, counts.started);
    let failed = (counts.failed > 0).then(|| format!("{} calls failed", counts.failed));
    Ok(Figures {
        cpu_us_per_call: cpu.as_secs_f64() * 1e6 / ended as f64,
        setup_p99_us: counts.setup.value_at_quantile(0.99) as f64,
        calls: ended,
        failed: counts.failed,
        limited: counts.limited().or(failed),
    })
}
