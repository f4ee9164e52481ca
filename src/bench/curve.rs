//! `bench curve`: what a packet costs with few and with many calls, at the same rate of packets.

use super::figures::{median, rounded};
use super::media::{Figures, Shape, sockets, turn};
use super::options::CurveOptions;
use super::place::Site;
use super::plot;
use super::relays::Kind;
use crate::io::limits::open_files;
use anyhow::{Context, ensure};
use serde::Serialize;
use std::time::Duration;

/// A turn in which the generator was the limit is repeated; the last of so many counts all the same, and is marked.
const REPEATS: u32 = 3;
/// Sockets of a call at the generator, which is one process: RTP at both ends.
const FILES_A_CALL: u64 = 2;
/// Sockets of a call at the relay: RTP and RTCP on both sides.
const SOCKETS_A_CALL: u64 = 4;
/// Listeners, and ports that are bound ahead of need.
const SPARE_FILES: u64 = 400;

/// One point.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Point {
    pub(super) calls: u32,
    pub(super) cpu_us_per_packet: f64,
    pub(super) p99_us: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Outcome {
    packets_per_s: f64,
    points: Vec<Point>,
    /// The dearest point beside the cheapest one.
    spread: f64,
}

pub(super) fn run(options: &CurveOptions) -> anyhow::Result<bool> {
    ensure!(options.calls.iter().all(|calls| (1..=10_000).contains(calls)), "--calls: 1 to 10000 each");
    ensure!(!options.calls.is_empty(), "--calls names no number");
    let numbers = affordable(&options.calls);
    ensure!(!numbers.is_empty(), "not enough files may be open (ulimit -n)");
    let mut site = Site::new(&options.place)?;
    if options.place.shards.is_none() {
        site.shards = shards(*numbers.iter().max().unwrap_or(&0), open_files());
        eprintln!("# {} shards on one core, each with its own files", site.shards);
    }
    let mut turns = vec![Vec::new(); numbers.len()];
    for round in 0..options.rounds {
        for index in order(numbers.len(), round) {
            turns[index].push(point(&site, options, numbers[index])?);
        }
    }
    let points: Vec<Point> = numbers.iter().zip(&turns).map(|(&calls, turns)| middle(calls, turns)).collect();
    let outcome = Outcome { packets_per_s: options.rate, spread: spread(&points), points };
    tell(&outcome);
    if let Some(file) = &options.svg {
        let drawn = plot::draw(&outcome.points, options.rate);
        std::fs::write(file, drawn).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.place.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(true)
}

/// The numbers for which enough files may be open; what is left out is said.
fn affordable(calls: &[u32]) -> Vec<u32> {
    let most = open_files().saturating_sub(SPARE_FILES) / FILES_A_CALL;
    let (fit, left_out): (Vec<u32>, Vec<u32>) = calls.iter().partition(|&&calls| u64::from(calls) <= most);
    if !left_out.is_empty() {
        eprintln!("# left out: {left_out:?}; {} open files are enough for {most} calls", open_files());
    }
    fit
}

/// So many that each has the files for its calls, also when the hash gives it a twentieth more than its part. All numbers of
/// calls are measured with the same.
fn shards(calls: u32, files: u64) -> u16 {
    let most = (files.saturating_sub(SPARE_FILES) / SOCKETS_A_CALL).max(1);
    let wanted = u64::from(calls);
    let each = if wanted > most { most * 20 / 21 } else { most };
    u16::try_from(wanted.div_ceil(each.max(1))).unwrap_or(u16::MAX).max(1)
}

/// Forth and back, so that a machine that grows slower does not bend the curve.
fn order(count: usize, round: u32) -> Vec<usize> {
    let forth = 0..count;
    if round.is_multiple_of(2) { forth.collect() } else { forth.rev().collect() }
}

fn point(site: &Site, options: &CurveOptions, calls: u32) -> anyhow::Result<Figures> {
    let length = Duration::from_secs(options.seconds.into());
    let shape = Shape { calls, packets_per_s: options.rate, length };
    let mut ends = sockets(site, calls)?;
    let mut figures = Figures::default();
    for _ in 0..REPEATS {
        figures = turn(Kind::Portolan, site, &mut ends, shape)?;
        eprintln!("{calls:6} calls  {}", figures.line());
        if figures.limited.is_none() {
            break;
        }
    }
    Ok(figures)
}

fn middle(calls: u32, turns: &[Figures]) -> Point {
    Point {
        calls,
        cpu_us_per_packet: rounded(median(turns.iter().map(|turn| turn.cpu_us_per_packet)), 3),
        p99_us: rounded(median(turns.iter().map(|turn| turn.p99_us)), 1),
    }
}

fn spread(points: &[Point]) -> f64 {
    let costs = || points.iter().map(|point| point.cpu_us_per_packet);
    let (least, most) = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
    rounded(most / least - 1.0, 3)
}

fn tell(outcome: &Outcome) {
    println!("{:.0} packets a second in all\n calls   CPU us a packet   delay p99 us", outcome.packets_per_s);
    for Point { calls, cpu_us_per_packet, p99_us } in &outcome.points {
        println!("{calls:6}   {cpu_us_per_packet:15.2}   {p99_us:12.0}");
    }
    println!("the dearest is {:.1} % above the cheapest", outcome.spread * 100.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_forth_and_back() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
    }

    #[test]
    fn each_shard_has_the_files_for_its_calls() {
        assert_eq!([1, 4_900, 4_901, 8_000, 10_000].map(|calls| shards(calls, 20_000)), [1, 1, 2, 2, 3]);
        assert_eq!(shards(8_000, 1 << 20), 1);
    }

    #[test]
    fn the_spread_is_between_the_extremes() {
        let point = |cost| Point { calls: 1, cpu_us_per_packet: cost, p99_us: 0.0 };
        assert_eq!(spread(&[point(5.0), point(4.0), point(4.4)]), 0.25);
    }
}
