//! Whole worlds, one seed each: several shards, NATs, bad lines, attackers, and people who call each other.
//!
//! What is left out and how one is replayed: `support/seeds.rs`.

#[path = "support/seeds.rs"]
mod seeds;

use portolan_shards::sim::plan::Speech;
use seeds::Worlds;

const WORLDS: Worlds = Worlds { speech: Speech::Sip, count: 1000, slices: 8, replay: "sim_seeds replay" };

macro_rules! slices {
    ($($name:ident $nth:literal)+) => { $(#[test] fn $name() { WORLDS.slice($nth); })+ };
}

slices! { seeds_0 0 seeds_1 1 seeds_2 2 seeds_3 3 seeds_4 4 seeds_5 5 seeds_6 6 seeds_7 7 }

#[test]
fn replay() {
    WORLDS.replay();
}
