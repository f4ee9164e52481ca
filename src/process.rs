//! The life of `portolan run`: start, watch, drain, end.
//!
//! One control thread, not pinned, has the admin listener, the signals and reloads; the shards have their own threads.

use crate::admin;
use crate::control::{Control, Phase};
use crate::io::limits::raise_open_files;
use crate::mapping::{Errors, Loaded, Loader, Machine};
use crate::reload::{self, Reloader, Watch};
use crate::resolve::Names;
use crate::runtime::{Options, Runtime};
use anyhow::{Context, anyhow, bail};
use portolan_shards::shard::Shard;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing_subscriber::EnvFilter;

/// What runs when no file is given.
pub(crate) const LOOPBACK: &str = include_str!("../config/loopback.ron");
/// Open files to ask for: every media port is one.
pub(crate) const OPEN_FILES: u64 = 1 << 20;
/// A change of the files is acted upon after this much silence, so that half a save is not loaded.
const SETTLE: Duration = Duration::from_millis(200);
/// However busy the files are, act after this long.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// How long names of softswitches may take at the start and at a reload, before it goes on without them.
const NAMES: Duration = Duration::from_secs(3);
/// How often the shards are looked after.
const LOOK: Duration = Duration::from_millis(250);
/// How often a drain tells its progress.
const TELL: Duration = Duration::from_secs(5);
/// How long the shards may take to close their sockets.
const STOP: Duration = Duration::from_secs(10);

/// How the process runs.
#[derive(Clone, Debug)]
pub struct Run {
    /// The configuration; `None` is the embedded mapping on loopback.
    pub file: Option<PathBuf>,
    /// How long running calls may take to end.
    pub drain: Duration,
}

/// Run until a signal ends it. The exit code is a failure when it could not start, or when a shard failed.
pub fn run(run: &Run) -> ExitCode {
    init_logs();
    match start(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init_logs() {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    let filter = filter.with_env_var("PORTOLAN_LOG").from_env_lossy();
    // A test or an embedding program may have its own subscriber already.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = logs.with_ansi(std::io::stderr().is_terminal()).try_init();
}

fn start(run: &Run) -> anyhow::Result<()> {
    let mut loader = Loader::new(Machine::probe());
    let loaded =
        load(&mut loader, run.file.as_deref()).map_err(|errors| anyhow!("bad configuration\n{errors}"))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    loader.accept(&loaded);
    match raise_open_files(OPEN_FILES) {
        Ok(files) => tracing::debug!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.context("cannot start the control thread")?.block_on(live(run, loader, loaded))
}

fn load(loader: &mut Loader, file: Option<&Path>) -> Result<Loaded, Errors> {
    match file {
        Some(file) => loader.load(file),
        None => loader.parse(LOOPBACK, "loopback.ron (embedded)"),
    }
}

async fn live(run: &Run, loader: Loader, loaded: Loaded) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let contexts = reload::contexts(&loaded).map_err(|errors| anyhow!("bad certificates\n{errors}"))?;
    let control = Arc::new(Control::new(loaded));
    control.renew(Arc::new(contexts));
    serve_admin(&control).await?;
    let mut reloads = Reloads::new(run.file.as_deref(), loader, &control);
    reloads.name().await;
    let runtime = start_shards(&control).await?;
    let ended = look_after(&runtime, &mut signals, &mut reloads).await;
    let drained = match ended {
        Ok(()) => drain(run.drain, &control, &runtime, &mut signals).await,
        failed => failed,
    };
    let stopped = stop(runtime).await;
    tracing::info!("ended");
    drained.and(stopped)
}

/// End the shards. The process ends even when one of them does not: its thread then dies with it.
async fn stop(runtime: Arc<Runtime>) -> anyhow::Result<()> {
    let (done, stopped) = oneshot::channel();
    std::thread::spawn(move || done.send(runtime.stop()));
    match timeout(STOP, stopped).await {
        Ok(result) => result.context("stopping was interrupted")?,
        Err(_) => bail!("the shards did not stop within {} s", STOP.as_secs()),
    }
}

async fn serve_admin(control: &Arc<Control>) -> anyhow::Result<()> {
    let Some(address) = control.loaded().admin else { return Ok(()) };
    let listener = admin::bind(address).await.with_context(|| format!("cannot serve admin on {address}"))?;
    tracing::info!("metrics on http://{address}/metrics");
    let control = Arc::clone(control);
    tokio::spawn(async move {
        if let Err(error) = admin::serve(listener, control).await {
            tracing::error!(%error, "the admin listener has ended");
        }
    });
    Ok(())
}

/// Starting blocks for a moment; the admin listener already answers "starting".
async fn start_shards(control: &Arc<Control>) -> anyhow::Result<Arc<Runtime>> {
    let loaded = control.loaded();
    let (mapping, cores) = (Arc::clone(&loaded.mapping), loaded.cores.clone());
    let options = Options { mapping, cores, seed: None, tls: control.tls() };
    let started = tokio::task::spawn_blocking(move || Runtime::start::<Shard>(&options)).await;
    let runtime = Arc::new(started.context("starting was interrupted")??);
    control.started(Arc::<Runtime>::clone(&runtime));
    let (shards, realms) = (loaded.mapping.shards, loaded.mapping.realms.len());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), shards, realms, "ready");
    Ok(runtime)
}

/// The signals that the process answers.
struct Signals {
    reload: Signal,
    end: Ends,
}

/// The signals that end it: TERM and INT.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let end =
            Ends { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { reload: signal(SignalKind::hangup())?, end })
    }
}

impl Ends {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The files of the running configuration, if it has any.
struct Reloads {
    reloader: Option<Reloader>,
    names: Names,
    control: Arc<Control>,
    changed: mpsc::Receiver<()>,
    /// Keeps `changed` open, watching or not.
    _news: mpsc::Sender<()>,
    watch: Option<Watch>,
}

impl Reloads {
    fn new(file: Option<&Path>, loader: Loader, control: &Arc<Control>) -> Self {
        let (news, changed) = mpsc::channel(1);
        let watching = |file| match Watch::new(file, news.clone()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, "the configuration's directory is not watched; HUP still reloads");
                None
            }
        };
        let mut watch = file.and_then(watching);
        if let Some(watch) = &mut watch {
            watch.follow(&control.loaded().tls);
        }
        let reloader = file.map(|file| Reloader::new(loader, file.to_owned(), Arc::clone(control)));
        let (names, control) = (Names::new(Arc::clone(control.names())), Arc::clone(control));
        Self { reloader, names, control, changed, _news: news, watch }
    }

    /// Wait until the files have come to rest.
    async fn settle(&mut self) {
        let since = Instant::now();
        while since.elapsed() < SETTLE_MAX && timeout(SETTLE, self.changed.recv()).await.is_ok() {}
    }

    /// Look up the names of the first generation.
    async fn name(&mut self) {
        self.names.learn(&self.control.loaded(), NAMES).await;
        self.rename();
    }

    async fn reload(&mut self, why: &str) {
        tracing::info!("reload: {why}");
        let Some(reloader) = &mut self.reloader else {
            tracing::warn!("nothing to reload: started without a file");
            return;
        };
        if let Some(watch) = &mut self.watch {
            watch.fragments();
        }
        let read = match reloader.read() {
            Ok(loaded) => {
                // Also when it is refused for a certificate: then the certificate may be mended.
                self.watch.iter_mut().for_each(|watch| watch.follow(&loaded.tls));
                self.names.learn(&loaded, NAMES).await;
                Ok(self.names.fill(loaded))
            }
            errors => errors,
        };
        reloader.apply(read);
        self.names.keep(&self.control.loaded());
    }

    /// Names stand for other servers than before.
    fn rename(&mut self) {
        if let Some(reloader) = &mut self.reloader {
            reloader.rename(|loaded| self.names.fill(loaded));
        }
    }
}

/// Until a signal ends it; an error when a shard has failed.
async fn look_after(runtime: &Runtime, signals: &mut Signals, reloads: &mut Reloads) -> anyhow::Result<()> {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = signals.reload.recv() => reloads.reload("HUP").await,
            () = reloads.names.changed() => reloads.rename(),
            Some(()) = reloads.changed.recv() => {
                reloads.settle().await;
                reloads.reload("the files have changed").await;
            }
            () = signals.end.next() => return Ok(()),
            _ = look.tick() => sound(runtime)?,
        }
    }
}

fn sound(runtime: &Runtime) -> anyhow::Result<()> {
    match runtime.failed() {
        Some(shard) => bail!("shard {} has failed", shard.0),
        None => Ok(()),
    }
}

/// Refuse new calls until the running ones have ended, the time is over, or a second signal says now.
async fn drain(
    patience: Duration,
    control: &Control,
    runtime: &Arc<Runtime>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    control.enter(Phase::Draining);
    runtime.drain()?;
    let (started, mut told) = (Instant::now(), None::<Instant>);
    loop {
        let sessions = sessions(runtime).await?;
        if sessions == 0 {
            tracing::info!("drained");
            return Ok(());
        }
        if started.elapsed() >= patience {
            tracing::warn!(sessions, "the time to drain is over, ending with calls running");
            return Ok(());
        }
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            let left = patience.saturating_sub(started.elapsed()).as_secs();
            tracing::info!(sessions, seconds_left = left, "draining; TERM again ends now");
            told = Some(Instant::now());
        }
        sound(runtime)?;
        tokio::select! {
            () = sleep(LOOK.min(patience)) => {}
            () = signals.end.next() => {
                tracing::warn!(sessions, "told to end now, with calls running");
                return Ok(());
            }
        }
    }
}

/// Sessions open now; a shard is asked, because its last snapshot may be older than its first call.
async fn sessions(runtime: &Arc<Runtime>) -> anyhow::Result<u64> {
    let runtime = Arc::clone(runtime);
    let fresh = tokio::task::spawn_blocking(move || runtime.fresh_stats()).await?;
    Ok(fresh.iter().map(|snapshot| snapshot.stats.sessions).sum())
}
