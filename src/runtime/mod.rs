//! One executor per shard, pinned to its core, and the handle by which the rest of the process reaches them.

mod brain;
mod connections;
mod control;
mod drive;
mod failures;
mod layers;
mod lines;
mod sockets;
mod station;

use crate::dispatch::Mesh;
use crate::io::bell::Bell;
use crate::io::clock::Clock;
use crate::io::limits::open_files;
use crate::io::ring::Sizes;
use crate::tls::Contexts;
use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
pub use brain::Brain;
use control::{Command, Post};
pub use control::{ControlError, ShardSessions, ShardSnapshot};
use drive::{Drive, Seat};
pub use failures::{SendFailure, SendFailures};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
pub use lines::{StreamEnd, StreamFigures};
use portolan_shards::realm::{Mapping, Realm};
use portolan_shards::types::ShardId;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a shard may take to answer before its last snapshot is taken instead.
const ANSWER: Duration = Duration::from_secs(1);
/// The executor's own I/O memory, registered with its ring. Datagrams do not use it; this is glommio's minimum.
const IO_MEMORY: usize = 64 << 10;
/// Practically never. glommio 0.9 goes to sleep over tasks that are ready when its preemption timer fires before the
/// first of them runs, which is any time the thread loses its core for as long as this; and nothing wakes it then. So
/// the drive gives way by itself (`Parking::give_way`).
const PREEMPT: Duration = Duration::from_secs(86_400);
/// The first sleep of an executor takes 12 ms or more, however short it is meant to be.
const WARM_UP: Duration = Duration::from_millis(1);
/// Sockets that a ring has room for at least: a reload may bring realms.
const MIN_SOCKETS: u32 = 65_536;
/// Listeners of connections that a ring has room for at least, beside the connections.
const MIN_LISTENERS: usize = 1024;

type Handle = ExecutorJoinHandle<anyhow::Result<()>>;

/// What a runtime starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first generation of the configuration; says how many shards there are.
    pub mapping: Arc<Mapping>,
    /// The core of each shard, used again from the start when there are fewer; empty: not pinned.
    pub cores: Vec<usize>,
    /// Makes the shards' randomness repeatable; `None`: from the operating system.
    pub seed: Option<[u8; 32]>,
    /// The first generation of certificates and roots.
    pub tls: Arc<Contexts>,
}

/// The running shards. Dropping it stops them.
pub struct Runtime {
    posts: Vec<Arc<Post>>,
    handles: Mutex<Vec<Handle>>,
    tls: Arc<ArcSwap<Contexts>>,
}

impl Runtime {
    /// Starts one shard per core with brains of type `B`; returns when all are listening.
    ///
    /// # Errors
    /// A listener cannot be bound, a core does not exist, or io_uring is not to be had. Nothing is left running.
    pub fn start<B: Brain>(options: &Options) -> anyhow::Result<Self> {
        let shards = options.mapping.shards;
        if shards == 0 {
            bail!("a runtime needs at least one shard");
        }
        let tls = Arc::new(ArcSwap::new(options.tls.clone()));
        let mut runtime = Self { posts: Vec::new(), handles: Mutex::default(), tls };
        let (ready, started) = sync_channel(usize::from(shards));
        for seat in seats(options, &runtime.tls)? {
            let shard = seat.post.shard;
            runtime.posts.push(seat.post.clone());
            let handle = spawn::<B>(seat, placement(&options.cores, shard), ready.clone())
                .map_err(|error| anyhow!("cannot start shard {}: {error}", shard.0))?;
            runtime.handles().push(handle);
        }
        drop(ready);
        for _ in 0..shards {
            started.recv().unwrap_or_else(|_| Err(anyhow!("a shard ended while starting")))?;
        }
        Ok(runtime)
    }

    /// Gives all shards a new generation of the configuration.
    ///
    /// # Errors
    /// A shard is gone or does not keep up; the others have the new generation.
    pub fn reload(&self, mapping: &Arc<Mapping>) -> Result<(), ControlError> {
        self.command(|| Command::Reload(mapping.clone()))
    }

    /// Begins new connections with these certificates and roots from now on; the open ones go on as they are. Call it
    /// before [`Runtime::reload`] when both change.
    pub fn renew(&self, tls: Arc<Contexts>) {
        self.tls.store(tls);
    }

    /// Refuses new calls from now on; the running ones go on.
    ///
    /// # Errors
    /// A shard is gone or does not keep up; the others drain.
    pub fn drain(&self) -> Result<(), ControlError> {
        self.command(|| Command::Drain)
    }

    /// What the shards last showed of themselves: at most some 100 ms old under load, and
    /// from when it fell asleep when idle.
    pub fn stats(&self) -> Vec<Arc<ShardSnapshot>> {
        self.posts.iter().map(|post| post.snapshot.load_full()).collect()
    }

    /// Asks every shard and waits, at most a second each; one that does not answer shows its last snapshot.
    pub fn fresh_stats(&self) -> Vec<Arc<ShardSnapshot>> {
        self.posts.iter().map(|post| post.fresh(ANSWER)).collect()
    }

    /// Figures of sessions, at most so many that run and that ended of each shard. Asks every shard and waits, at most a
    /// second each; one that does not answer is left out. A shard with its media waits while it answers: some 1 us a
    /// session.
    pub fn sessions(&self, most: usize) -> Vec<ShardSessions> {
        self.posts.iter().filter_map(|post| post.sessions(most, ANSWER)).collect()
    }

    /// The first shard that ended without having been asked to. The process should end then.
    pub fn failed(&self) -> Option<ShardId> {
        self.posts.iter().find(|post| post.has_failed()).map(|post| post.shard)
    }

    /// Ends all shards now and waits for them; all sockets are closed then. Calling it again does nothing.
    ///
    /// # Errors
    /// A shard had failed or panicked before.
    pub fn stop(&self) -> anyhow::Result<()> {
        for post in &self.posts {
            post.stop();
        }
        let handles = std::mem::take(&mut *self.handles());
        let results: Vec<_> = handles.into_iter().map(join).collect();
        results.into_iter().collect()
    }

    fn handles(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: impl Fn() -> Command) -> Result<(), ControlError> {
        let results: Vec<_> = self.posts.iter().map(|post| post.command(command())).collect();
        results.into_iter().collect()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "a shard did not end well");
        }
    }
}

/// What each shard starts with: its ends of the mesh and of the control channel, and its share of the rest.
fn seats(options: &Options, tls: &Arc<ArcSwap<Contexts>>) -> anyhow::Result<Vec<Seat>> {
    let bells = (0..options.mapping.shards).map(|_| Bell::new().map(Arc::new)).collect::<Result<Vec<_>, _>>();
    let bells = bells.context("cannot create an event file")?;
    let (clock, sizes) = (Clock::start(), sizes(&options.mapping));
    let seat = |(number, mesh): (u16, Mesh)| {
        let shard = ShardId(number);
        let (post, commands) = Post::new(shard, bells[usize::from(number)].clone());
        let (mapping, seed) = (options.mapping.clone(), seed(options.seed, shard)?);
        Ok(Seat { post, commands, mesh, mapping, seed, sizes, clock, tls: tls.clone() })
    };
    (0..).zip(Mesh::among(&bells)).map(seat).collect()
}

fn join(handle: Handle) -> anyhow::Result<()> {
    handle.join().map_err(|error| anyhow!("a shard's executor has failed: {error}"))?
}

fn spawn<B: Brain>(
    seat: Seat,
    placement: Placement,
    ready: SyncSender<anyhow::Result<()>>,
) -> glommio::Result<Handle, ()> {
    LocalExecutorBuilder::new(placement)
        .name("shard")
        .io_memory(IO_MEMORY)
        .preempt_timer(PREEMPT)
        .spawn(move || shard::<B>(seat, ready))
}

/// The life of one shard, on its own thread.
async fn shard<B: Brain>(seat: Seat, ready: SyncSender<anyhow::Result<()>>) -> anyhow::Result<()> {
    name_thread(seat.post.shard);
    // Better now than during a call.
    glommio::timer::sleep(WARM_UP).await;
    // The receiver lives until every shard has reported; when another one failed, nobody listens any more.
    match Drive::<B>::open(seat) {
        Ok(drive) => {
            drop(ready.send(Ok(())));
            drop(ready);
            drive.run().await
        }
        Err(error) => {
            drop(ready.send(Err(error)));
            Ok(())
        }
    }
}

fn name_thread(shard: ShardId) {
    let name = std::ffi::CString::new(format!("shard-{}", shard.0)).unwrap_or_default();
    if let Err(error) = rustix::thread::set_name(&name) {
        tracing::debug!(%error, "a shard's thread keeps its name");
    }
}

fn placement(cores: &[usize], shard: ShardId) -> Placement {
    let core = usize::from(shard.0).checked_rem(cores.len()).map(|index| cores[index]);
    core.map_or(Placement::Unbound, Placement::Fixed)
}

/// Room for all ports and listeners of a shard, as far as the process may open files.
fn sizes(mapping: &Mapping) -> Sizes {
    let sockets = |realm: &Arc<Realm>| {
        let ports = realm.media.slice(mapping.shards, ShardId(0)).len();
        let lent = realm.gateways.map_or(0, |ports| ports.share(mapping.shards, ShardId(0)).len());
        let own = usize::from(realm.per_shard.is_some()) + usize::from(realm.per_shard_mgcp.is_some());
        ports + realm.services().count() + own + lent
    };
    let wanted: usize = mapping.realms.iter().map(sockets).sum();
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(MIN_SOCKETS);
    let allowed = u32::try_from(open_files()).unwrap_or(u32::MAX);
    let listeners =
        mapping.realms.iter().map(|realm| realm.services().count() + 2).sum::<usize>().max(MIN_LISTENERS);
    let streams = u32::try_from(mapping.limits.streams + listeners).unwrap_or(u32::MAX);
    Sizes { sockets: wanted.min(allowed), streams, ..Sizes::default() }
}

/// A shard's own seed: no two shards may draw the same numbers.
fn seed(base: Option<[u8; 32]>, shard: ShardId) -> anyhow::Result<[u8; 32]> {
    let mut seed = base.unwrap_or_default();
    match base {
        Some(_) => seed[..2].iter_mut().zip(shard.0.to_le_bytes()).for_each(|(octet, id)| *octet ^= id),
        None => aws_lc_rs::rand::fill(&mut seed).map_err(|_| anyhow!("the system has no randomness"))?,
    }
    Ok(seed)
}
