//! One seed, one run: to the last bit.

use portolan_shards::sim::plan::Without;
use portolan_shards::sim::world::run;

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..12 {
        let (one, two) = (run(seed, Without::default(), 0), run(seed, Without::default(), 0));
        assert_eq!((one.digest, one.events), (two.digest, two.events), "seed {seed}");
        assert!(one.events > 100, "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_run() {
    let (one, two) = (run(1, Without::default(), 0), run(2, Without::default(), 0));
    assert_ne!(one.digest, two.digest);
}
