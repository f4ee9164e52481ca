//! Reload: a whole new generation or none. Calls keep the generation that they began under.

use crate::control::{Control, Phase};
use crate::io::datagrams::{Dscp, Kind};
use crate::io::socket::{bind, try_stream};
use crate::mapping::{Errors, Loaded, Loader, Target};
use crate::summary;
use crate::tls::{Contexts, RealmTls, TlsProblem};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use portolan_shards::realm::{Keepalive, Mapping, Realm, Registration, Route, Softswitch};
use portolan_shards::types::{RealmId, ShardId, Transport};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The directory of fragments beside the main file.
const FRAGMENTS: &str = "conf.d";

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new generation runs; what is different, a line each.
    Applied(Vec<String>),
    /// The files say what already runs.
    Unchanged,
    /// The old generation stays, and why.
    Refused(String),
}

/// Loads the files again and swaps the generation.
#[derive(Debug)]
pub struct Reloader {
    loader: Loader,
    file: PathBuf,
    control: Arc<Control>,
    /// What the files of certificates, keys and roots held when they were last put to work.
    held: HashMap<PathBuf, u64>,
}

impl Reloader {
    /// `loader` is the one that loaded the running generation from `file`.
    pub fn new(loader: Loader, file: PathBuf, control: Arc<Control>) -> Self {
        let held = held(&control.loaded().tls);
        Self { loader, file, control, held }
    }

    /// Load, compare, try the new listeners, swap; log and count the outcome.
    pub fn reload(&mut self) -> Outcome {
        let read = self.read();
        self.apply(read)
    }

    /// Read and check the files; nothing changes.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn read(&mut self) -> Result<Loaded, Errors> {
        self.loader.load(&self.file)
    }

    /// Compare what was read with what runs, try its new listeners, swap; log and count the outcome.
    pub fn apply(&mut self, read: Result<Loaded, Errors>) -> Outcome {
        let outcome = self.attempt(read);
        match &outcome {
            Outcome::Applied(differences) => {
                self.control.count_applied();
                let generation = self.control.loaded().mapping.generation;
                for difference in differences {
                    tracing::info!("reload: {difference}");
                }
                tracing::info!(generation, "configuration reloaded");
            }
            Outcome::Unchanged => {
                self.control.count_unchanged();
                tracing::info!("configuration unchanged");
            }
            Outcome::Refused(why) => {
                self.control.count_refused();
                let generation = self.control.loaded().mapping.generation;
                tracing::error!("reload refused, generation {generation} stays\n{why}");
            }
        }
        outcome
    }

    /// Names stand for other servers: the running configuration, filled in anew, becomes another generation.
    /// False when it says what runs already.
    pub fn rename(&mut self, fill: impl FnOnce(Loaded) -> Loaded) -> bool {
        let running = self.control.loaded();
        let generation = running.mapping.generation + 1;
        let mapping = Arc::new(Mapping { generation, ..Mapping::clone(&running.mapping) });
        let loaded = fill(Loaded { mapping, ..Loaded::clone(&running) });
        let differences = differences(&running, &loaded);
        for difference in &differences {
            tracing::info!(generation, "{difference}");
        }
        if !differences.is_empty() {
            self.swap(loaded);
        }
        !differences.is_empty()
    }

    fn attempt(&mut self, read: Result<Loaded, Errors>) -> Outcome {
        if self.control.phase() == Phase::Draining {
            return Outcome::Refused("error: draining".to_owned());
        }
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(errors) => return Outcome::Refused(errors.to_string()),
        };
        let held = held(&loaded.tls);
        let contexts = match contexts(&loaded) {
            Ok(contexts) => contexts,
            Err(why) => return Outcome::Refused(why),
        };
        let running = self.control.loaded();
        let mut differences = differences(&running, &loaded);
        differences.extend(rewritten(&self.held, &held));
        if differences.is_empty() {
            return Outcome::Unchanged;
        }
        if let Err(why) = try_listeners(&running.mapping, &loaded.mapping) {
            return Outcome::Refused(why);
        }
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if held != self.held || loaded.tls != running.tls {
            self.held = held;
            self.control.renew(Arc::new(contexts));
        }
        self.swap(loaded);
        Outcome::Applied(differences)
    }

    fn swap(&mut self, loaded: Loaded) {
        self.loader.accept(&loaded);
        if let Err(error) = self.control.apply(loaded) {
            tracing::error!(%error, "a shard did not take the new configuration");
        }
    }
}

/// The certificates of a configuration, after a look at their dates.
///
/// # Errors
/// All files that cannot be used, and why, a line each.
pub fn contexts(loaded: &Loaded) -> Result<Contexts, String> {
    let told = |problem: &TlsProblem| {
        let realm = loaded.mapping.realm(problem.realm).map_or("?", |realm| realm.name.as_str());
        format!("tls of realm \"{realm}\": {problem}")
    };
    let contexts = Contexts::load(&loaded.tls).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("error: {}", told(problem))).collect();
        lines.join("\n")
    })?;
    for warning in contexts.warnings() {
        tracing::warn!("{}", told(warning));
    }
    Ok(contexts)
}

fn files(tls: &RealmTls) -> impl Iterator<Item = &PathBuf> {
    let pairs = tls.certificates.iter().flat_map(|(certificate, key)| [certificate, key]);
    pairs.chain(&tls.clients).chain(&tls.roots)
}

/// What the files hold, as a hash; without those that cannot be read.
fn held(tls: &[(RealmId, RealmTls)]) -> HashMap<PathBuf, u64> {
    let hash = |file: &PathBuf| {
        let mut hasher = DefaultHasher::new();
        std::fs::read(file).ok()?.hash(&mut hasher);
        Some((file.clone(), hasher.finish()))
    };
    tls.iter().flat_map(|(_, tls)| files(tls)).filter_map(hash).collect()
}

/// Files that hold something else than before; new ones are told with the realm that names them.
fn rewritten(before: &HashMap<PathBuf, u64>, now: &HashMap<PathBuf, u64>) -> Vec<String> {
    let other = |(file, hash): &(&PathBuf, &u64)| before.get(*file).is_some_and(|before| before != *hash);
    let mut lines: Vec<_> =
        now.iter().filter(other).map(|(file, _)| format!("{} changed", file.display())).collect();
    lines.sort();
    lines
}

/// What a new generation changes, a line each; empty when nothing.
pub fn differences(before: &Loaded, now: &Loaded) -> Vec<String> {
    let (old, new) = (&*before.mapping, &*now.mapping);
    let mut lines = Vec::new();
    let old_realms: Vec<_> = old.realms.iter().map(|realm| (realm.name.as_str(), &**realm)).collect();
    let new_realms: Vec<_> = new.realms.iter().map(|realm| (realm.name.as_str(), &**realm)).collect();
    compare("realm", &old_realms, &new_realms, realm_changes, &mut lines);
    let (old_peers, new_peers) = (peers(before), peers(now));
    let old_peers: Vec<_> = old_peers.iter().map(|peer| (peer.softswitch.name.as_str(), peer)).collect();
    let new_peers: Vec<_> = new_peers.iter().map(|peer| (peer.softswitch.name.as_str(), peer)).collect();
    compare("softswitch", &old_peers, &new_peers, softswitch_changes, &mut lines);
    if named_routes(old) != named_routes(new) {
        lines.push(format!("mappings changed: {} before, {} now", old.routes.len(), new.routes.len()));
    }
    if old.keepalive != new.keepalive {
        let told = |k: &Keepalive| {
            let learn = match k.learn_max.as_secs() {
                0 => String::new(),
                seconds => format!(", learned up to {seconds} s"),
            };
            format!("interval {} s, misses {}{learn}", k.interval.as_secs(), k.misses)
        };
        lines.push(format!("keepalive changed: {} -> {}", told(&old.keepalive), told(&new.keepalive)));
    }
    change("limits", &old.limits, &new.limits, &mut lines);
    change("name servers", &before.dns, &now.dns, &mut lines);
    lines.extend(tls_changes(before, now));
    lines
}

/// Realms that are in both generations; of the others it is told that they came or went.
fn tls_changes(before: &Loaded, now: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    for realm in now.mapping.realms.iter().filter(|realm| before.mapping.realm(realm.id).is_some()) {
        let of =
            |loaded: &Loaded| loaded.tls.iter().find(|(id, _)| *id == realm.id).map(|(_, tls)| tls.clone());
        let (old, new) = (of(before), of(now));
        if old != new {
            let told = |tls: Option<RealmTls>| tls.map_or_else(|| "off".to_owned(), |tls| summary::tls(&tls));
            lines.push(format!("tls of realm \"{}\" changed: {} -> {}", realm.name, told(old), told(new)));
        }
    }
    lines
}

/// A softswitch with what it was configured with.
#[derive(PartialEq)]
struct Peer<'a> {
    softswitch: &'a Softswitch,
    targets: &'a [Target],
}

fn peers(loaded: &Loaded) -> Vec<Peer<'_>> {
    let all = loaded.mapping.softswitches.iter().zip(&loaded.targets);
    all.map(|(softswitch, targets)| Peer { softswitch, targets }).collect()
}

fn compare<T: PartialEq>(
    what: &str,
    old: &[(&str, &T)],
    new: &[(&str, &T)],
    changes: impl Fn(&T, &T) -> Vec<String>,
    lines: &mut Vec<String>,
) {
    for (name, item) in new {
        match old.iter().find(|(before, _)| before == name) {
            None => lines.push(format!("{what} \"{name}\" added")),
            Some((_, before)) if before != item => {
                lines.push(format!("{what} \"{name}\" changed: {}", changes(before, item).join(", ")));
            }
            Some(_) => {}
        }
    }
    let removed = old.iter().filter(|(name, _)| !new.iter().any(|(now, _)| now == name));
    lines.extend(removed.map(|(name, _)| format!("{what} \"{name}\" removed")));
}

fn realm_changes(old: &Realm, new: &Realm) -> Vec<String> {
    let mut parts = Vec::new();
    change("side", &old.side, &new.side, &mut parts);
    change("address", &old.address, &new.address, &mut parts);
    change("advertised", &old.advertised, &new.advertised, &mut parts);
    if old.sip != new.sip {
        let told = |realm: &Realm| realm.sip.iter().map(summary::listener).collect::<Vec<_>>().join(" ");
        parts.push(format!("sip {} -> {}", told(old), told(new)));
    }
    change("mgcp", &old.mgcp, &new.mgcp, &mut parts);
    change("h248", &old.h248, &new.h248, &mut parts);
    change("per_shard_mgcp", &old.per_shard_mgcp, &new.per_shard_mgcp, &mut parts);
    change("gateways", &old.gateways, &new.gateways, &mut parts);
    change("per_shard", &old.per_shard, &new.per_shard, &mut parts);
    change("per_shard_tls", &old.per_shard_tls, &new.per_shard_tls, &mut parts);
    change("large", &old.large, &new.large, &mut parts);
    change("media", &(old.media.first, old.media.last), &(new.media.first, new.media.last), &mut parts);
    change("learn_net", &old.learn_net, &new.learn_net, &mut parts);
    change("media_margin", &old.media_margin, &new.media_margin, &mut parts);
    change("keepalive", &old.keepalive, &new.keepalive, &mut parts);
    change("mask_call_id", &old.mask_call_id, &new.mask_call_id, &mut parts);
    change("early_media", &old.early_media, &new.early_media, &mut parts);
    change("secure_media", &old.secure_media, &new.secure_media, &mut parts);
    change("ice", &old.ice, &new.ice, &mut parts);
    change("authentication", &old.authentication, &new.authentication, &mut parts);
    change("dscp", &old.marking, &new.marking, &mut parts);
    parts
}

fn softswitch_changes(old: &Peer<'_>, new: &Peer<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    let told = |peer: &Peer<'_>| peer.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if old.targets != new.targets {
        parts.push(format!("targets [{}] -> [{}]", told(old), told(new)));
    }
    let named = old.targets.iter().chain(new.targets).any(Target::is_name);
    let (old, new) = (old.softswitch, new.softswitch);
    if named {
        change("servers", &old.targets, &new.targets, &mut parts);
    }
    change("protocol", &old.proto, &new.proto, &mut parts);
    change("realm", &old.realm.0, &new.realm.0, &mut parts);
    change("sources", &old.sources, &new.sources, &mut parts);
    change("domain", &old.domain, &new.domain, &mut parts);
    change("probe", &old.probe, &new.probe, &mut parts);
    change("patience", &old.patience, &new.patience, &mut parts);
    change("overload", &old.overload, &new.overload, &mut parts);
    parts
}

fn change<T: PartialEq + Debug>(what: &str, old: &T, new: &T, parts: &mut Vec<String>) {
    if old != new {
        parts.push(format!("{what} {old:?} -> {new:?}"));
    }
}

/// Routes by name: indices and numbers may move without a change of meaning.
fn named_routes(mapping: &Mapping) -> Vec<NamedRoute<'_>> {
    let whole = mapping.routes.iter().map(|Route { access, softswitch, domains, registration }| {
        let realm = mapping.realm(*access).map(|realm| realm.name.as_str());
        let softswitch = mapping.softswitches.get(*softswitch).map(|softswitch| softswitch.name.as_str());
        NamedRoute { realm, softswitch, domains, registration: *registration }
    });
    whole.collect()
}

#[derive(PartialEq)]
struct NamedRoute<'a> {
    realm: Option<&'a str>,
    softswitch: Option<&'a str>,
    domains: &'a [String],
    registration: Registration,
}

/// Bind each listener that the running generation does not have, and let it go again: a mistyped address must be
/// found before the swap, not after.
fn try_listeners(old: &Mapping, new: &Mapping) -> Result<(), String> {
    let running: HashSet<_> = listeners(old).collect();
    let fresh: HashSet<_> = listeners(new).filter(|listener| !running.contains(listener)).collect();
    for (transport, address) in fresh {
        let tried = match transport {
            Transport::Udp => bind(address, Kind::Signaling { shared: true }, Dscp::default()).map(drop),
            _ => try_stream(address),
        };
        tried.map_err(|error| {
            format!("error: cannot listen on {address} ({}): {error}", transport.token().to_lowercase())
        })?;
    }
    Ok(())
}

fn listeners(mapping: &Mapping) -> impl Iterator<Item = (Transport, SocketAddr)> {
    mapping.realms.iter().flat_map(|realm| {
        let shared =
            realm.services().map(|(_, transport, port)| (transport, SocketAddr::new(realm.address, port)));
        let homes = (0..mapping.shards).flat_map(|shard| mapping.homes(realm, ShardId(shard)));
        let mgcp = (0..mapping.shards).filter_map(|shard| realm.home_mgcp(ShardId(shard)));
        let mgcp = mgcp.map(|address| (Transport::Udp, address));
        shared.chain(homes).chain(mgcp).collect::<Vec<_>>()
    })
}

/// Watches the files of a configuration. Dropping it ends that.
///
/// Directories are watched, not files: editors and configuration managers replace files by renaming.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    directory: PathBuf,
    /// File names that matter besides those of configurations.
    others: Arc<Mutex<HashSet<OsString>>>,
}

impl Watch {
    /// Tell `changed` whenever the file, one of the `conf.d` beside it, or one that [`Watch::follow`] named may have
    /// changed.
    ///
    /// # Errors
    /// Those of `inotify_add_watch(2)`.
    pub fn new(file: &Path, changed: mpsc::Sender<()>) -> notify::Result<Self> {
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let others = Arc::<Mutex<HashSet<OsString>>>::default();
        let named = Arc::clone(&others);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let named = named.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| matters(&event, &named)) {
                // A full queue already holds news.
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        let mut watch = Self { watcher, directory: directory.to_owned(), others };
        watch.fragments();
        Ok(watch)
    }

    /// Watch `conf.d`, if there is one now. Call it before reading the files: then nothing is missed.
    pub fn fragments(&mut self) {
        let fragments = self.directory.join(FRAGMENTS);
        if fragments.is_dir() {
            self.add(&fragments);
        }
    }

    /// Watch these files of certificates, keys and roots too, from now on.
    pub fn follow(&mut self, tls: &[(RealmId, RealmTls)]) {
        for file in tls.iter().flat_map(|(_, tls)| files(tls)) {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            others.extend(file.file_name().map(OsStr::to_owned));
            drop(others);
            match file.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => self.add(parent),
                _ => {}
            }
        }
    }

    fn add(&mut self, directory: &Path) {
        if let Err(error) = self.watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, directory = %directory.display(), "not watched; HUP still reloads");
        }
    }
}

/// Our own reading must not look like a change.
fn matters(event: &notify::Event, others: &HashSet<OsString>) -> bool {
    // A container's mounted configuration is swapped by renaming a link of this name.
    let named = |name: &OsStr| name == "..data" || name == FRAGMENTS || others.contains(name);
    let ron = |path: &Path| path.extension().is_some_and(|extension| extension == "ron");
    let counts = |path: &PathBuf| ron(path) || path.file_name().is_some_and(named);
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(counts)
}
