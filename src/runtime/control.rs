//! How the rest of the process speaks to a shard, and what the shard shows of itself.

use super::failures::SendFailures;
use super::lines::StreamFigures;
use crate::io::bell::Bell;
use crate::io::ring::Figures;
use arc_swap::ArcSwap;
use portolan_shards::realm::Mapping;
use portolan_shards::session::account::Summary;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use thiserror::Error;

/// Commands that wait for one shard.
const COMMAND_DEPTH: usize = 64;

/// What one shard looked like at a moment.
#[derive(Clone, Debug, Default)]
pub struct ShardSnapshot {
    /// Which shard.
    pub shard: ShardId,
    /// Its counters and gauges.
    pub stats: Stats,
    /// Its connections.
    pub streams: StreamFigures,
    /// What its ring has seen.
    pub ring: Figures,
    /// Datagrams that the kernel did not send.
    pub send_failures: SendFailures,
    /// CPU time of its thread so far, user and kernel.
    pub cpu: Duration,
    /// How long it has run.
    pub uptime: Duration,
    /// CPU time by wall-clock time between the last two snapshots: 0.0 idle, 1.0 a full core.
    pub busy: f64,
    /// Listeners that a reload wanted and that could not be opened, so far.
    pub listen_failures: u64,
}

/// Sessions of one shard at a moment.
#[derive(Clone, Debug)]
pub struct ShardSessions {
    /// Which shard.
    pub shard: ShardId,
    /// That moment; sessions tell their times by the same clock.
    pub now: Instant,
    /// Some or all of those that run.
    pub running: Vec<Summary>,
    /// Those that ended last, the latest first.
    pub ended: Vec<Summary>,
}

/// Why a command did not reach a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// Too many commands wait already.
    #[error("shard {} does not keep up with its commands", .0.0)]
    Busy(ShardId),
    /// It has ended or failed.
    #[error("shard {} is gone", .0.0)]
    Gone(ShardId),
}

pub(super) enum Command {
    Reload(Arc<Mapping>),
    Drain,
    Report(SyncSender<ShardSnapshot>),
    Sessions(usize, SyncSender<ShardSessions>),
}

/// A shard as seen from outside.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) shard: ShardId,
    pub(super) bell: Arc<Bell>,
    pub(super) snapshot: ArcSwap<ShardSnapshot>,
    commands: SyncSender<Command>,
    stopping: AtomicBool,
    failed: AtomicBool,
}

impl Post {
    /// A shard's two ends: the outer one and its commands.
    pub(super) fn new(shard: ShardId, bell: Arc<Bell>) -> (Arc<Self>, Receiver<Command>) {
        let (commands, inbox) = sync_channel(COMMAND_DEPTH);
        let snapshot = ArcSwap::from_pointee(ShardSnapshot { shard, ..ShardSnapshot::default() });
        let (stopping, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        (Arc::new(Self { shard, bell, snapshot, commands, stopping, failed }), inbox)
    }

    pub(super) fn command(&self, command: Command) -> Result<(), ControlError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => ControlError::Busy(self.shard),
            TrySendError::Disconnected(_) => ControlError::Gone(self.shard),
        })?;
        self.bell.ring();
        Ok(())
    }

    /// A snapshot made now, or the last one when the shard does not answer within `patience`.
    pub(super) fn fresh(&self, patience: Duration) -> Arc<ShardSnapshot> {
        let (answer, result) = sync_channel(1);
        let asked = self.command(Command::Report(answer));
        let fresh = asked.ok().and_then(|()| result.recv_timeout(patience).ok());
        fresh.map_or_else(|| self.snapshot.load_full(), Arc::new)
    }

    /// At most so many sessions that run, and as many that ended; `None` when the shard does not answer in time.
    pub(super) fn sessions(&self, most: usize, patience: Duration) -> Option<ShardSessions> {
        let (answer, result) = sync_channel(1);
        self.command(Command::Sessions(most, answer)).ok()?;
        result.recv_timeout(patience).ok()
    }

    /// Asks the shard to end. A flag, so that it cannot be lost in a full queue.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.ring();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// Notices that a shard ends without having been asked to, by an error or a panic.
pub(super) struct Watch(pub(super) Arc<Post>);

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.0.is_stopping() {
            self.0.failed.store(true, Ordering::Release);
            tracing::error!(shard = self.0.shard.0, panic = std::thread::panicking(), "a shard has failed");
        }
    }
}
