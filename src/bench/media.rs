//! Packets through calls that are up: what one costs, how long it takes, and what a call takes in memory.

use super::figures::kernel_memory;
use super::options::MediaOptions;
use super::place::{FIRST_PORT, Site};
use super::relays::{Kind, Relay};
use anyhow::ensure;
use portolan_loadgen::bare::sdp::Audio;
use portolan_loadgen::bare::{Counts, Media};
use portolan_loadgen::search::highest;
use serde::Serialize;
use std::time::Duration;
use tempfile::tempdir;

/// Before it is measured: addresses are learned, caches filled.
const WARM: Duration = Duration::from_secs(1);
/// Share of packets that may be lost at the highest rate.
pub(super) const LOSS: f64 = 0.000_01;
/// While the highest rate is looked for, calls announce enough for this many packets a second in all.
const MOST: f64 = 1_000_000.0;

/// What passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) calls: u32,
    pub(super) packets_per_s: f64,
    pub(super) length: Duration,
}

impl Shape {
    /// Packets a second of each end.
    pub(super) fn of_each_end(&self) -> f64 {
        self.packets_per_s / f64::from(self.calls) / 2.0
    }
}

/// What one turn of a relay showed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) cpu_us_per_packet: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) loss: f64,
    pub(super) packets: u64,
    /// The process's own.
    pub(super) bytes_per_call: f64,
    /// The kernel's, for its sockets.
    pub(super) kernel_bytes_per_call: f64,
    /// Why it does not count: the generator was the limit.
    #[serde(skip)]
    pub(super) limited: Option<String>,
}

/// Sockets for so many calls.
pub(super) fn sockets(site: &Site, calls: u32) -> anyhow::Result<Media> {
    Media::open(calls, site.sides(), FIRST_PORT)
}

/// A relay with its calls up, and the media ends connected to it.
pub(super) fn ready(relay: &mut dyn Relay, media: &mut Media, each_end: f64) -> anyhow::Result<()> {
    let described = (0..media.calls()).map(|call| descriptions(media, call, each_end));
    let told = relay.set_up(&described.collect::<anyhow::Result<Vec<_>>>()?)?;
    ensure!(told.len() == media.calls(), "{} of {} calls are up", told.len(), media.calls());
    told.into_iter().enumerate().try_for_each(|(call, relay)| media.connect(call, relay))
}

/// What both ends of a call say of themselves, each sending so many packets a second.
fn descriptions(media: &Media, call: usize, packets_per_s: f64) -> anyhow::Result<[String; 2]> {
    Ok(media.addresses(call)?.map(|end| Audio::at_rate(end, packets_per_s).describe()))
}

/// A fresh relay, its calls, the load, and its end.
pub(super) fn turn(kind: Kind, site: &Site, media: &mut Media, shape: Shape) -> anyhow::Result<Figures> {
    let home = tempdir()?;
    let mut relay = kind.start(site, home.path())?;
    let held = |relay: &mut dyn Relay| {
        let peer = relay.peer();
        (peer.memory(), kernel_memory(peer.descriptors()))
    };
    let before = held(relay.as_mut());
    ready(relay.as_mut(), media, shape.of_each_end())?;
    media.run(shape.packets_per_s, WARM)?;
    let (cpu, counts) = load(relay.as_mut(), media, shape)?;
    let after = held(relay.as_mut());
    let per_call = |before: u64, after: u64| after.saturating_sub(before) as f64 / f64::from(shape.calls);
    let figures = Figures {
        bytes_per_call: per_call(before.0, after.0),
        kernel_bytes_per_call: per_call(before.1, after.1),
        ..figures(cpu, &counts)
    };
    relay.tear_down()?;
    Ok(figures)
}

/// The load, and the processor time that the relay spent on it.
pub(super) fn load(
    relay: &mut dyn Relay,
    media: &mut Media,
    shape: Shape,
) -> anyhow::Result<(Duration, Counts)> {
    let before = relay.peer().cpu();
    let counts = media.run(shape.packets_per_s, shape.length)?;
    relay.peer().must_live()?;
    Ok((relay.peer().cpu().saturating_sub(before), counts))
}

pub(super) fn figures(cpu: Duration, counts: &Counts) -> Figures {
    Figures {
        cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / counts.received.max(1) as f64,
        p50_us: counts.delay_us(0.5),
        p99_us: counts.delay_us(0.99),
        loss: counts.loss(),
        packets: counts.received,
        limited: counts.limited(),
        ..Figures::default()
    }
}

impl Figures {
    /// One line.
    pub(super) fn line(&self) -> String {
        let limited = self.limited.as_ref().map(|why| format!("  INVALID: {why}")).unwrap_or_default();
        format!(
            "{:6.2} us of CPU a packet  delay p50 {:4.0} us, p99 {:5.0} us  {:.4} % lost  {:6.0} octets a call, kernel {:6.0}{limited}",
            self.cpu_us_per_packet,
            self.p50_us,
            self.p99_us,
            self.loss * 100.0,
            self.bytes_per_call,
            self.kernel_bytes_per_call
        )
    }
}

/// `bench media`.
pub(super) fn run(options: &MediaOptions) -> anyhow::Result<bool> {
    let site = Site::new(&options.place)?;
    let mut media = sockets(&site, options.load.calls)?;
    let length = Duration::from_secs(options.seconds.into());
    let shape = Shape { calls: options.load.calls, packets_per_s: options.load.rate, length };
    if options.find_max {
        let found = find_max(&site, &mut media, shape)?;
        println!("highest rate: {:.0} packets a second{}", found.packets_per_s, found.remark());
        if options.place.json {
            println!("{}", serde_json::to_string(&found)?);
        }
        return Ok(found.packets_per_s > 0.0);
    }
    let figures = turn(Kind::Portolan, &site, &mut media, shape)?;
    println!("{:8.0} packets/s  {}", shape.packets_per_s, figures.line());
    if options.place.json {
        println!("{}", serde_json::to_string(&figures)?);
    }
    Ok(figures.limited.is_none())
}

/// The highest rate that passed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Highest {
    pub(super) packets_per_s: f64,
    /// More did not pass because of the generator: the relay may take more.
    pub(super) generator_limited: bool,
}

impl Highest {
    pub(super) const fn remark(&self) -> &'static str {
        if self.generator_limited { "; more was too much for the generator" } else { "" }
    }
}

/// The highest rate at which hardly anything is lost, within a tenth; the same process and the same calls throughout.
pub(super) fn find_max(site: &Site, media: &mut Media, shape: Shape) -> anyhow::Result<Highest> {
    let home = tempdir()?;
    let mut relay = Kind::Portolan.start(site, home.path())?;
    ready(relay.as_mut(), media, Shape { packets_per_s: MOST, ..shape }.of_each_end())?;
    media.run(shape.packets_per_s, WARM)?;
    let mut generator_limited = false;
    let found = highest(shape.packets_per_s, |packets_per_s| {
        let (cpu, counts) = load(relay.as_mut(), media, Shape { packets_per_s, ..shape })?;
        let figures = figures(cpu, &counts);
        println!("{packets_per_s:8.0} packets/s  {}", figures.line());
        generator_limited = figures.limited.is_some();
        anyhow::Ok(figures.limited.is_none() && figures.loss <= LOSS)
    })?;
    relay.tear_down()?;
    Ok(Highest { packets_per_s: found.unwrap_or_default(), generator_limited })
}
