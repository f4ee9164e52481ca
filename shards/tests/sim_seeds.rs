//! Whole worlds, one seed each: several shards, NATs, bad lines, attackers, and people who call each other.
//!
//! `PORTOLAN_SEEDS=5000` runs that many (`1000..6000`: that range). A failing seed is printed with the command that
//! replays it; `PORTOLAN_WITHOUT=faults,attacks,rebinds,holds,vanishing,reloads,busy` leaves parts of it out.

use portolan_shards::sim::judge::Tally;
use portolan_shards::sim::plan::Without;
use portolan_shards::sim::world::{Outcome, run};
use std::env;
use std::ops::Range;

const SLICES: u64 = 8;

fn seeds() -> Range<u64> {
    let text = env::var("PORTOLAN_SEEDS").unwrap_or_else(|_| "1000".into());
    let number = |text: &str| text.parse().expect("PORTOLAN_SEEDS is a count, or first..last");
    match text.split_once("..") {
        Some((first, last)) => number(first)..number(last),
        None => 0..number(&text),
    }
}

fn without() -> Without {
    Without::parse(&env::var("PORTOLAN_WITHOUT").unwrap_or_default())
}

fn describe(seed: u64, outcome: &Outcome) -> String {
    let broken: Vec<String> = outcome
        .broken
        .iter()
        .map(|(at, what)| format!("  {:9.3} s  {what}", at.as_nanos() as f64 / 1e9))
        .collect();
    format!(
        "seed {seed}; replay: PORTOLAN_SEED={seed} cargo test -p portolan-shards --features sim --test sim_seeds replay -- --nocapture\n{}",
        broken.join("\n")
    )
}

/// One in [`SLICES`] of all seeds, so that the test runner spreads them over the cores.
fn slice(nth: u64) {
    if env::var("PORTOLAN_SEED").is_ok() {
        return;
    }
    let mut failed = Vec::new();
    let mut sum = Tally::default();
    for seed in seeds().filter(|seed| seed % SLICES == nth) {
        let outcome = run(seed, without(), 0);
        sum += outcome.tally;
        if !outcome.broken.is_empty() {
            failed.push(describe(seed, &outcome));
        }
    }
    println!("{sum:?}");
    let exercised = sum.answered > 0 && sum.heard > 0 && sum.refused > 0 && sum.attacks > 0;
    assert!(
        exercised || seeds().count() < 200 || without() != Without::default(),
        "too little happened: {sum:?}"
    );
    assert!(failed.is_empty(), "{} seeds failed\n{}", failed.len(), failed.join("\n"));
}

macro_rules! slices {
    ($($name:ident $nth:literal)+) => { $(#[test] fn $name() { slice($nth); })+ };
}

slices! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 seeds_4 4 seeds_5 5 seeds_6 6 seeds_7 7 }

#[test]
fn replay() {
    let Ok(seed) = env::var("PORTOLAN_SEED") else { return };
    let seed = seed.parse().expect("PORTOLAN_SEED is a number");
    let outcome = run(seed, without(), 100_000);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    assert!(outcome.broken.is_empty(), "{}", describe(seed, &outcome));
}
