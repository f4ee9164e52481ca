//! Clocks: the shards themselves have none.

use portolan_shards::types::Instant;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Monotonic time since the process's own epoch; copies agree with each other on every core.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self { epoch: std::time::Instant::now() }
    }

    /// Time since the epoch.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// CPU time that the calling thread has used, in user and kernel mode.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
