//! `bench soak`: a long run of media, in which nothing may be lost and nothing may grow.

use super::media::{LOSS, Shape, find_max, load, ready, sockets};
use super::options::SoakOptions;
use super::place::Site;
use super::relays::{Kind, Relay};
use portolan_loadgen::bare::{Media, kernel};
use serde::Serialize;
use std::time::Duration;
use tempfile::tempdir;

/// Of the highest rate.
const SHARE: f64 = 0.7;
/// The search for it begins here.
const FROM: f64 = 20_000.0;
/// How long each step of the search takes.
const STEP: Duration = Duration::from_secs(3);
/// Before the first sample: transactions of the set-up live for 32 seconds (RFC 3261 section 17).
const WARM: Duration = Duration::from_secs(35);
/// A sample each.
const MINUTE: Duration = Duration::from_secs(60);
/// Pages that an allocator may touch without having grown.
const SLACK: u64 = 256 << 10;

/// What the relay holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Sample {
    resident: u64,
    descriptors: u64,
    /// UDP sockets that are bound to the relay's addresses.
    ports: u64,
}

impl Sample {
    fn take(site: &Site, relay: &mut dyn Relay) -> Self {
        let ports = [1, 2].map(|host| kernel::bound(site.ip(host))).iter().sum();
        let peer = relay.peer();
        Self { resident: peer.memory(), descriptors: peer.descriptors(), ports }
    }

    /// What has grown since.
    fn grown(&self, since: &Self) -> Option<&'static str> {
        let grown = [
            ("memory", self.resident > since.resident + SLACK),
            ("descriptors", self.descriptors > since.descriptors),
            ("ports", self.ports > since.ports),
        ];
        grown.into_iter().find_map(|(name, grown)| grown.then_some(name))
    }
}

#[derive(Clone, Debug, Serialize)]
struct Outcome {
    packets_per_s: f64,
    sent: u64,
    lost: u64,
    loss: f64,
    start: Sample,
    end: Sample,
    grown: Option<&'static str>,
    generator_limited_minutes: u32,
    good: bool,
}

pub(super) fn run(options: &SoakOptions) -> anyhow::Result<bool> {
    let site = Site::new(&options.place)?;
    let mut media = sockets(&site, options.calls)?;
    let shape = Shape { calls: options.calls, packets_per_s: FROM, length: STEP };
    let rate = match options.rate {
        Some(rate) => rate,
        None => SHARE * find_max(&site, &mut media, shape)?.packets_per_s,
    };
    anyhow::ensure!(rate > 0.0, "not even {FROM:.0} packets a second pass");
    let shape = Shape { packets_per_s: rate, length: MINUTE, ..shape };
    let outcome = soak(&site, &mut media, shape, options.minutes)?;
    println!(
        "{} of {} packets lost ({:.5} %), {}",
        outcome.lost,
        outcome.sent,
        outcome.loss * 100.0,
        outcome.grown.map_or("nothing has grown".into(), |what| format!("{what} HAS GROWN"))
    );
    if options.place.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(outcome.good)
}

fn soak(site: &Site, media: &mut Media, shape: Shape, minutes: u32) -> anyhow::Result<Outcome> {
    let home = tempdir()?;
    let mut relay = Kind::Portolan.start(site, home.path())?;
    ready(relay.as_mut(), media, shape.of_each_end())?;
    println!("{} calls, {:.0} packets a second", shape.calls, shape.packets_per_s);
    load(relay.as_mut(), media, Shape { length: WARM, ..shape })?;
    let start = Sample::take(site, relay.as_mut());
    row("start", (0, 0), &start, None);
    let (mut sent, mut lost, mut limited, mut end) = (0, 0, 0, start);
    for minute in 1..=minutes {
        let (_, counts) = load(relay.as_mut(), media, shape)?;
        (sent, lost) = (sent + counts.sent, lost + counts.lost());
        limited += u32::from(counts.limited().is_some());
        end = Sample::take(site, relay.as_mut());
        row(&format!("{minute} min"), (counts.sent, counts.lost()), &end, counts.limited());
    }
    relay.tear_down()?;
    let (loss, grown) = (lost as f64 / f64::max(sent as f64, 1.0), end.grown(&start));
    let good = loss <= LOSS && grown.is_none();
    let (packets_per_s, generator_limited_minutes) = (shape.packets_per_s, limited);
    Ok(Outcome { packets_per_s, sent, lost, loss, start, end, grown, generator_limited_minutes, good })
}

fn row(time: &str, packets: (u64, u64), sample: &Sample, limited: Option<String>) {
    let limited = limited.map(|why| format!("  the generator was the limit: {why}")).unwrap_or_default();
    println!(
        "{time:>8}  {:9} sent  {:6} lost  {:8} KiB  {:6} descriptors  {:6} ports{limited}",
        packets.0,
        packets.1,
        sample.resident >> 10,
        sample.descriptors,
        sample.ports
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_slack_is_not() {
        let start = Sample { resident: 1 << 20, descriptors: 10, ports: 4 };
        assert_eq!(start.grown(&start), None);
        assert_eq!(Sample { resident: start.resident + SLACK, ..start }.grown(&start), None);
        assert_eq!(Sample { resident: start.resident + SLACK + 1, ..start }.grown(&start), Some("memory"));
        assert_eq!(Sample { descriptors: 11, ..start }.grown(&start), Some("descriptors"));
        assert_eq!(Sample { ports: 5, ..start }.grown(&start), Some("ports"));
    }
}
