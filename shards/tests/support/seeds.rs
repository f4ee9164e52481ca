//! Whole worlds, one seed each, spread over the tests of a file.
//!
//! `PORTOLAN_SEEDS=5000` runs that many (`1000..6000`: that range). A failing seed is printed with the command that
//! replays it; `PORTOLAN_WITHOUT=faults,attacks,rebinds,holds,vanishing,reloads,busy` leaves parts of it out.

use portolan_shards::sim::judge::Tally;
use portolan_shards::sim::plan::{Speech, Without};
use portolan_shards::sim::world::{Outcome, run_of};
use std::env;
use std::ops::Range;

/// The worlds of one file.
#[derive(Clone, Copy)]
pub(crate) struct Worlds {
    /// What everybody in them speaks.
    pub(crate) speech: Speech,
    /// Seeds, where nobody says how many.
    pub(crate) count: u64,
    /// The tests that they are spread over, so that the test runner spreads them over the cores.
    pub(crate) slices: u64,
    /// The test that replays one.
    pub(crate) replay: &'static str,
}

impl Worlds {
    /// One in so many of all seeds.
    pub(crate) fn slice(self, nth: u64) {
        if env::var("PORTOLAN_SEED").is_ok() {
            return;
        }
        let mut failed = Vec::new();
        let mut sum = Tally::default();
        for seed in self.seeds().filter(|seed| seed % self.slices == nth) {
            let outcome = run_of(self.speech, seed, without(), 0);
            sum += outcome.tally;
            if !outcome.broken.is_empty() {
                failed.push(self.describe(seed, &outcome));
            }
        }
        println!("{sum:?}");
        let exercised = sum.answered > 0 && sum.heard > 0 && sum.refused > 0 && sum.attacks > 0;
        assert!(
            exercised || self.seeds().count() < 200 || without() != Without::default(),
            "too little happened: {sum:?}"
        );
        assert!(failed.is_empty(), "{} seeds failed\n{}", failed.len(), failed.join("\n"));
    }

    /// The seed `PORTOLAN_SEED`, with all that happened in it.
    pub(crate) fn replay(self) {
        let Ok(seed) = env::var("PORTOLAN_SEED") else { return };
        let seed = seed.parse().expect("PORTOLAN_SEED is a number");
        let outcome = run_of(self.speech, seed, without(), 100_000);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        assert!(outcome.broken.is_empty(), "{}", self.describe(seed, &outcome));
    }

    fn seeds(self) -> Range<u64> {
        let text = env::var("PORTOLAN_SEEDS").unwrap_or_else(|_| self.count.to_string());
        let number = |text: &str| text.parse().expect("PORTOLAN_SEEDS is a count, or first..last");
        match text.split_once("..") {
            Some((first, last)) => number(first)..number(last),
            None => 0..number(&text),
        }
    }

    fn describe(self, seed: u64, outcome: &Outcome) -> String {
        let broken: Vec<String> = outcome
            .broken
            .iter()
            .map(|(at, what)| format!("  {:9.3} s  {what}", at.as_nanos() as f64 / 1e9))
            .collect();
        format!(
            "seed {seed}; replay: PORTOLAN_SEED={seed} cargo test -p portolan-shards --features sim --test {} -- --nocapture\n{}",
            self.replay,
            broken.join("\n")
        )
    }
}

fn without() -> Without {
    Without::parse(&env::var("PORTOLAN_WITHOUT").unwrap_or_default())
}
