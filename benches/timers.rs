//! One timer runs out and another is set, while many others wait: the wheel, and a binary heap to compare it with.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portolan_shards::timer::Timers;
use portolan_shards::types::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::Duration;

/// As large as a reason of the SIP state machine.
type Wake = (u32, u32, u32);

trait Queue: Default {
    fn schedule(&mut self, at: Instant, wake: Wake);
    fn pop(&mut self, now: Instant) -> Option<Wake>;
    fn next(&self) -> Option<Instant>;
}

impl Queue for Timers<Wake> {
    fn schedule(&mut self, at: Instant, wake: Wake) {
        self.schedule(at, wake);
    }

    fn pop(&mut self, now: Instant) -> Option<Wake> {
        self.pop(now)
    }

    fn next(&self) -> Option<Instant> {
        self.next()
    }
}

#[derive(Default)]
struct Heap {
    heap: BinaryHeap<Reverse<(Instant, u64, Wake)>>,
    sequence: u64,
}

impl Queue for Heap {
    fn schedule(&mut self, at: Instant, wake: Wake) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, wake)));
    }

    fn pop(&mut self, now: Instant) -> Option<Wake> {
        self.heap.peek().filter(|Reverse((at, ..))| *at <= now)?;
        self.heap.pop().map(|Reverse((.., wake))| wake)
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
}

/// A queue with so many timers, and the moment.
struct Load<Q> {
    queue: Q,
    now: Instant,
    dice: u64,
}

impl<Q: Queue> Load<Q> {
    fn new(timers: u32) -> Self {
        let mut load = Self { queue: Q::default(), now: Instant::ZERO, dice: 0x9e37_79b9_7f4a_7c15 };
        (0..timers).for_each(|n| load.set(n));
        (0..timers * 2).for_each(|_| load.turn());
        load
    }

    /// Half of the timers are for a transaction (up to 32 s), half for a registration (up to an hour).
    fn set(&mut self, n: u32) {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let most = if self.dice & 1 == 0 { 32_000_000_000 } else { 3_600_000_000_000 };
        self.queue.schedule(self.now + Duration::from_nanos((self.dice >> 1) % most), (n, n, n));
    }

    /// Sleep until the next deadline, take it, and set another timer.
    fn turn(&mut self) {
        self.now = self.queue.next().unwrap_or(self.now);
        let (n, ..) = self.queue.pop(self.now).unwrap_or_default();
        self.set(black_box(n));
    }
}

fn measure<Q: Queue>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group("timers");
    for timers in [1_000, 1_000_000] {
        let mut load = Load::<Q>::new(timers);
        group.bench_function(BenchmarkId::new(name, timers), |bench| bench.iter(|| load.turn()));
    }
    group.finish();
}

fn timers(criterion: &mut Criterion) {
    measure::<Heap>(criterion, "heap");
    measure::<Timers<Wake>>(criterion, "wheel");
}

criterion_group!(benches, timers);
criterion_main!(benches);
