//! What the control thread knows: the running generation, the phase, and the shards' figures.

use crate::mapping::Loaded;
use crate::resolve::Figures;
use crate::runtime::{ControlError, Runtime, ShardSessions, ShardSnapshot};
use crate::tls::Contexts;
use arc_swap::ArcSwap;
use portolan_shards::realm::Mapping;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The running shards, as the control thread sees them.
pub trait Shards: Send + Sync {
    /// What each shard has done so far; read without disturbing it.
    fn figures(&self) -> Vec<Arc<ShardSnapshot>>;
    /// Figures of sessions, at most so many that run and that ended of each shard. Blocks until they have answered.
    fn sessions(&self, most: usize) -> Vec<ShardSessions>;
    /// Sessions opened from now on use this mapping.
    ///
    /// # Errors
    /// A shard is gone or does not keep up.
    fn reload(&self, mapping: &Arc<Mapping>) -> Result<(), ControlError>;
    /// Connections begun from now on use these certificates.
    fn renew(&self, tls: Arc<Contexts>);
}

impl Shards for Runtime {
    fn figures(&self) -> Vec<Arc<ShardSnapshot>> {
        self.stats()
    }

    fn sessions(&self, most: usize) -> Vec<ShardSessions> {
        self.sessions(most)
    }

    fn reload(&self, mapping: &Arc<Mapping>) -> Result<(), ControlError> {
        Self::reload(self, mapping)
    }

    fn renew(&self, tls: Arc<Contexts>) {
        Self::renew(self, tls);
    }
}

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Sockets are being opened.
    Starting = 0,
    /// New calls are taken.
    Ready = 1,
    /// Running calls are finished, new ones refused.
    Draining = 2,
}

/// How many reloads ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// A new generation runs.
    pub applied: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// The old generation stayed because the new one had an error.
    pub refused: u64,
}

/// Shared by the admin listener, the reload watcher and the signal handlers.
pub struct Control {
    phase: AtomicU8,
    loaded: ArcSwap<Loaded>,
    tls: ArcSwap<Contexts>,
    names: Arc<Figures>,
    applied: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    shards: OnceLock<Arc<dyn Shards>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Control {
    /// The control of shards that are about to run this generation.
    pub fn new(loaded: Loaded) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            loaded: ArcSwap::from_pointee(loaded),
            tls: ArcSwap::default(),
            names: Arc::default(),
            applied: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            shards: OnceLock::new(),
        }
    }

    /// The shards are listening. Only the first call counts.
    pub fn started(&self, shards: Arc<dyn Shards>) {
        if self.shards.set(shards).is_ok() {
            self.enter(Phase::Ready);
        }
    }

    /// Where the process stands.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Note where the process stands now.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The running generation.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// The certificates in use.
    pub fn tls(&self) -> Arc<Contexts> {
        self.tls.load_full()
    }

    /// What became of lookups of names.
    pub fn names(&self) -> &Arc<Figures> {
        &self.names
    }

    /// What each shard has done so far; nothing while they are starting.
    pub fn figures(&self) -> Vec<Arc<ShardSnapshot>> {
        self.shards.get().map_or_else(Vec::new, |shards| shards.figures())
    }

    /// Figures of sessions, at most so many that run and that ended of each shard. Blocks until the shards have answered.
    pub fn sessions(&self, most: usize) -> Vec<ShardSessions> {
        self.shards.get().map_or_else(Vec::new, |shards| shards.sessions(most))
    }

    /// How many reloads ended how.
    pub fn reloads(&self) -> Reloads {
        Reloads {
            applied: self.applied.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Run this generation from now on.
    ///
    /// # Errors
    /// A shard did not get it: it is gone, or does not keep up. The others run it.
    pub(crate) fn apply(&self, loaded: Loaded) -> Result<(), ControlError> {
        let mapping = Arc::clone(&loaded.mapping);
        self.loaded.store(Arc::new(loaded));
        self.shards.get().map_or(Ok(()), |shards| shards.reload(&mapping))
    }

    /// Use these certificates from now on.
    pub(crate) fn renew(&self, tls: Arc<Contexts>) {
        self.tls.store(Arc::clone(&tls));
        if let Some(shards) = self.shards.get() {
            shards.renew(tls);
        }
    }

    /// Count a reload that put something new to work.
    pub(crate) fn count_applied(&self) {
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    /// Count a reload that found nothing new.
    pub(crate) fn count_unchanged(&self) {
        self.unchanged.fetch_add(1, Ordering::Relaxed);
    }

    /// Count a reload that was refused.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}
