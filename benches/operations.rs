//! Times of what is done for one packet or one message: relay, latch, policer, dispatch, SIP scan and splice. Each figure is of
//! [`TIMES`] operations; the rate of elements is that of single ones.

mod cases;

use cases::{CASES, Case};
use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group, criterion_main};

/// So many times from one preparation.
const TIMES: u16 = 1_000;

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operations");
    group.throughput(Throughput::Elements(TIMES.into()));
    for case in CASES {
        group.bench_function(case.name, |bench| many(bench, case));
    }
    group.finish();
}

fn many(bench: &mut Bencher<'_>, case: &Case) {
    let prepared = || (case.prepare)(TIMES);
    bench.iter_batched_ref(prepared, |once| (0..TIMES).for_each(|_| once()), BatchSize::LargeInput);
}

criterion_group!(benches, operations);
criterion_main!(benches);
