//! Nanoseconds of what is done for one packet or one message: latch, policer, dispatch, SIP scan and splice.

mod cases;

use cases::{CASES, Case};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::{Duration, Instant};

/// So many times from one preparation.
const TIMES: u16 = 8_192;

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operations");
    for case in CASES {
        group.bench_function(case.name, |bench| bench.iter_custom(|times| timed(case, times)));
    }
    group.finish();
}

/// The time of so many operations, without their preparation.
fn timed(case: &Case, times: u64) -> Duration {
    let (mut left, mut spent) = (times, Duration::ZERO);
    while left > 0 {
        let now = left.min(u64::from(TIMES));
        let mut once = (case.prepare)(TIMES);
        let start = Instant::now();
        (0..now).for_each(|_| once());
        spent += start.elapsed();
        left -= now;
    }
    spent
}

criterion_group!(benches, operations);
criterion_main!(benches);
