//! Names of softswitches: who answers for them now, kept up to date on the control thread (RFC 3263).
//!
//! One task for each question asks, waits as long as the records hold, and asks again. A failed lookup leaves the last
//! good answer in place. The shards never see a name: new servers come to them as a new generation of the mapping.

mod book;
mod lookup;

use crate::mapping::{Loaded, Target};
use book::{Found, Question};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use lookup::Answer;
use portolan_shards::realm::{Mapping, Softswitch};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// After a failure, ask again after this long, and twice as long after each further one.
const RETRY: Duration = Duration::from_secs(1);
/// But not later than this.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// One query waits for its answer this long, and is sent twice.
const QUERY: Duration = Duration::from_secs(2);
/// Answers that wait for the control thread.
const NEWS: usize = 64;

/// What became of lookups; read by the admin listener.
#[derive(Debug, Default)]
pub struct Figures {
    /// Lookups of whole names, however many queries each took.
    pub lookups: AtomicU64,
    /// Lookups that found no server.
    pub failures: AtomicU64,
    /// Names that are served from an answer whose time is over, now.
    pub stale: AtomicU64,
    /// Names without any answer so far, now.
    pub unknown: AtomicU64,
}

/// The names of the running configuration, and what they stand for.
#[derive(Debug)]
pub struct Names {
    entries: HashMap<Question, Entry>,
    name_servers: Option<Vec<SocketAddr>>,
    resolver: Option<TokioResolver>,
    sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    figures: Arc<Figures>,
}

type News = (Question, Result<Answer, String>);

/// One question.
#[derive(Debug)]
struct Entry {
    /// The last good answer.
    found: Vec<Found>,
    /// The latest lookup ended, well or not.
    asked: bool,
    failed: bool,
    task: JoinHandle<()>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    /// Nothing is asked yet.
    pub fn new(figures: Arc<Figures>) -> Self {
        let (sender, news) = mpsc::channel(NEWS);
        Self { entries: HashMap::new(), name_servers: None, resolver: None, sender, news, figures }
    }

    /// Ask for the names of this configuration from now on, and wait for the first answers, good or bad, so long.
    /// Must be called on a tokio runtime.
    pub async fn learn(&mut self, loaded: &Loaded, patience: Duration) {
        self.ask(loaded);
        let until = Instant::now() + patience;
        while self.entries.values().any(|entry| !entry.asked) {
            let Ok(Some(news)) = timeout_at(until, self.news.recv()).await else { return };
            self.note(news);
        }
    }

    /// Ask for no other names than those of this configuration.
    pub fn keep(&mut self, loaded: &Loaded) {
        let wanted = questions(loaded);
        self.entries.retain(|question, _| wanted.contains(question));
        self.ask(loaded);
        self.count();
    }

    /// Wait until some name stands for other servers than before. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        // The sender is our own: there is always another one.
        while let Some(news) = self.news.recv().await {
            if self.note(news) {
                return;
            }
        }
    }

    /// This configuration with the servers that its names were last found to have.
    pub fn fill(&self, loaded: Loaded) -> Loaded {
        let softswitches = loaded.mapping.softswitches.iter().zip(&loaded.targets);
        let filled = softswitches.map(|(softswitch, targets)| {
            let realm =
                loaded.mapping.realm(softswitch.realm).filter(|_| targets.iter().any(Target::is_name));
            let known = |question: &Question| Some(self.entries.get(question)?.found.as_slice());
            realm.map_or_else(
                || Arc::clone(softswitch),
                |realm| {
                    let targets = book::servers(targets, realm, known);
                    Arc::new(Softswitch { targets, ..Softswitch::clone(softswitch) })
                },
            )
        });
        let softswitches = filled.collect();
        Loaded { mapping: Arc::new(Mapping { softswitches, ..Mapping::clone(&loaded.mapping) }), ..loaded }
    }

    fn ask(&mut self, loaded: &Loaded) {
        let wanted = questions(loaded);
        if wanted.is_empty() {
            return;
        }
        let others = self.name_servers.as_ref() != Some(&loaded.dns);
        if others {
            self.resolver = resolver(&loaded.dns);
            self.name_servers = Some(loaded.dns.clone());
        }
        let Some(resolver) = &self.resolver else { return };
        for question in wanted {
            let before = self.entries.remove(&question);
            let entry = match before {
                Some(entry) if !others => entry,
                before => {
                    let task = watch(resolver.clone(), question.clone(), self.sender.clone());
                    let found = before.map_or_else(Vec::new, |mut entry| std::mem::take(&mut entry.found));
                    Entry { found, asked: false, failed: false, task: tokio::spawn(task) }
                }
            };
            self.entries.insert(question, entry);
        }
    }

    /// Take news in; does the name stand for other servers now?
    fn note(&mut self, (question, result): News) -> bool {
        self.figures.lookups.fetch_add(1, Ordering::Relaxed);
        self.figures.failures.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        let Some(entry) = self.entries.get_mut(&question) else { return false };
        let (failed, host) = (entry.failed, &question.host);
        entry.asked = true;
        entry.failed = result.is_err();
        let changed = match result {
            Ok(Answer { found, .. }) if found != entry.found => {
                tracing::info!(name = %host, servers = found.len(), "a name stands for other servers");
                entry.found = found;
                true
            }
            Ok(_) => false,
            Err(error) => {
                if !failed {
                    tracing::warn!(name = %host, %error, stale = !entry.found.is_empty(), "a name is not found");
                }
                false
            }
        };
        self.count();
        changed
    }

    fn count(&self) {
        let count = |is: fn(&Entry) -> bool| self.entries.values().filter(|entry| is(entry)).count() as u64;
        self.figures.stale.store(count(|e| e.failed && !e.found.is_empty()), Ordering::Relaxed);
        self.figures.unknown.store(count(|e| e.found.is_empty()), Ordering::Relaxed);
    }
}

fn questions(loaded: &Loaded) -> HashSet<Question> {
    let softswitches = loaded.mapping.softswitches.iter().zip(&loaded.targets);
    let asked = softswitches.filter_map(|(softswitch, targets)| {
        let realm = loaded.mapping.realm(softswitch.realm)?;
        Some(targets.iter().filter_map(move |target| Question::of(target, realm)))
    });
    asked.flatten().collect()
}

/// Ask, wait, ask again, until nobody listens.
async fn watch(resolver: TokioResolver, question: Question, news: mpsc::Sender<News>) {
    let mut retry = RETRY;
    loop {
        let answer = lookup::find(&resolver, &question).await;
        let wait = match &answer {
            Ok(answer) => {
                retry = RETRY;
                answer.ttl
            }
            Err(_) => {
                let wait = retry;
                retry = (retry * 2).min(RETRY_MAX);
                wait
            }
        };
        if news.send((question.clone(), answer)).await.is_err() {
            return;
        }
        sleep(wait).await;
    }
}

/// The system's resolver, or one that asks these; `None` when there is none to be had.
fn resolver(servers: &[SocketAddr]) -> Option<TokioResolver> {
    let built = build(servers);
    built.map_err(|error| tracing::error!(%error, "names of softswitches cannot be looked up")).ok()
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let name_servers = servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), name_servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    // The answers are kept here, stale ones too.
    options.cache_size = 0;
    options.timeout = QUERY;
    options.attempts = 2;
    options.use_hosts_file = if servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
