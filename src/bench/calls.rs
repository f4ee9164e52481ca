//! `bench calls`: calls a second through Portolan.

use super::options::CallsOptions;
use super::place::Site;
use super::signaling::turn;
use super::systems::Kind;
use portolan_loadgen::search::highest;
use serde_json::json;
use std::time::Duration;

/// A 200 that takes longer than this is no service.
const SETUP_US: f64 = 500_000.0;

pub(super) fn run(options: &CallsOptions) -> anyhow::Result<bool> {
    let site = Site::new(&options.place)?;
    let length = Duration::from_secs(options.seconds.into());
    let step = |rate: f64| {
        let figures = turn(Kind::Portolan, &site, rate, length)?;
        println!("{rate:8.0} calls/s  {}", figures.line());
        anyhow::Ok(figures)
    };
    if !options.find_max {
        let figures = step(options.rate)?;
        if options.place.json {
            println!("{}", serde_json::to_string(&figures)?);
        }
        return Ok(figures.limited.is_none());
    }
    let passes = |rate: f64| {
        let figures = step(rate)?;
        anyhow::Ok(figures.limited.is_none() && figures.setup_p99_us <= SETUP_US)
    };
    let found = highest(options.rate, passes)?.unwrap_or_default();
    println!("highest rate: {found:.0} calls a second");
    if options.place.json {
        println!("{}", json!({ "calls_per_s": found }));
    }
    Ok(found > 0.0)
}
