//! RON -> raw values -> validated -> [`Mapping`]: the one way a configuration comes in.
//!
//! Every problem has its file, line and column, the line's text and a hint; all problems are told at once. Files in
//! `conf.d/*.ron` beside the main file add realms, softswitches and mappings.

mod check;
mod gateways;
mod intern;
mod machine;
mod merge;
mod place;
mod problem;
mod raw;
mod realms;
mod routes;
mod syntax;
mod target;
mod tls;
mod validate;

pub use intern::Interner;
pub use machine::Machine;
pub use problem::{Errors, Place, Problem, Severity};
pub use target::{Host, Target};

use crate::tls::RealmTls;
use place::Source;
use portolan_shards::realm::{Mapping, Realm};
use portolan_shards::types::RealmId;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration file larger than this is a mistake.
const MAX_FILE: u64 = 16 << 20;

/// A validated generation and what belongs to the process around it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the shards read.
    pub mapping: Arc<Mapping>,
    /// The core of each shard, by shard number.
    pub cores: Vec<usize>,
    /// Where metrics and health are served; `None` when they are switched off.
    pub admin: Option<SocketAddr>,
    /// What each softswitch of the mapping was configured with, in their order: its servers, or names of some.
    pub targets: Vec<Vec<Target>>,
    /// The certificates of the realms that have any.
    pub tls: Vec<(RealmId, RealmTls)>,
    /// Name servers; none: the system's.
    pub dns: Vec<SocketAddr>,
    /// What the operator should look at.
    pub warnings: Vec<Problem>,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
}

/// Load a file and its `conf.d` as a first generation, for this machine.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Errors> {
    Loader::new(Machine::probe()).load(path)
}

/// Parse a text as a first generation, for this machine. `name` is what messages call it.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, name: &str) -> Result<Loaded, Errors> {
    Loader::new(Machine::probe()).parse(text, name)
}

/// Loads generation after generation: remembers what must stay the same over reloads.
#[derive(Debug)]
pub struct Loader {
    machine: Machine,
    interner: Interner,
    running: Option<Running>,
    random: [u8; 32],
}

/// What a running process cannot change.
#[derive(Clone, Debug)]
struct Running {
    generation: u64,
    cores: Vec<usize>,
    secret: [u8; 32],
    admin: Option<SocketAddr>,
    realms: Vec<Arc<Realm>>,
}

impl Loader {
    /// A loader before its first generation.
    pub fn new(machine: Machine) -> Self {
        Self { machine, interner: Interner::default(), running: None, random: random() }
    }

    /// Load a file and its `conf.d`.
    ///
    /// # Errors
    /// All that is wrong with it; also what a running process cannot change.
    pub fn load(&mut self, path: &Path) -> Result<Loaded, Errors> {
        let mut files = vec![path.to_owned()];
        files.extend(fragments(path)?);
        let sources: Result<Vec<_>, _> = files.iter().map(|file| read(file)).collect();
        let loaded = self.validate(&sources?)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let tls = loaded.tls.iter().map(|(realm, tls)| (*realm, tls::under(tls, directory))).collect();
        Ok(Loaded { files, tls, ..loaded })
    }

    /// Parse one text. `name` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong with it; also what a running process cannot change.
    pub fn parse(&mut self, text: &str, name: &str) -> Result<Loaded, Errors> {
        self.validate(&[Source::new(name, text.to_owned())])
    }

    /// This generation is the running one from now on.
    pub fn accept(&mut self, loaded: &Loaded) {
        self.running = Some(Running {
            generation: loaded.mapping.generation,
            cores: loaded.cores.clone(),
            secret: loaded.mapping.secret,
            admin: loaded.admin,
            realms: loaded.mapping.realms.clone(),
        });
    }

    fn validate(&mut self, sources: &[Source]) -> Result<Loaded, Errors> {
        let Some((main, fragments)) = sources.split_first() else { return Err(Errors(Vec::new())) };
        let valid = validate::validate(main, fragments, &self.machine, &mut self.interner)?;
        self.keeps_running(main, &valid)?;
        let running = self.running.as_ref();
        let mapping = Mapping {
            generation: running.map_or(1, |running| running.generation + 1),
            shards: valid.shards,
            secret: valid.secret.or(running.map(|running| running.secret)).unwrap_or(self.random),
            realms: valid.network.realms,
            softswitches: valid.network.softswitches,
            routes: valid.network.routes,
            keepalive: valid.keepalive,
            limits: valid.limits,
        };
        Ok(Loaded {
            mapping: Arc::new(mapping),
            cores: valid.cores,
            admin: valid.admin,
            targets: valid.network.targets,
            tls: valid.network.tls,
            dns: valid.dns,
            warnings: valid.warnings,
            files: Vec::new(),
        })
    }

    /// Refuse what only a restart can change: port slices, dispatch and sockets of the process depend on it.
    fn keeps_running(&self, main: &Source, valid: &validate::Valid) -> Result<(), Errors> {
        let Some(running) = &self.running else { return Ok(()) };
        let mut check = check::Check { machine: &self.machine, problems: Vec::new() };
        let root = main.root();
        if running.cores != valid.cores {
            let message = format!(
                "a change of shards needs a restart: {} now, on cores {:?}",
                running.cores.len(),
                running.cores
            );
            check.error(root.field("shards"), message, "each shard owns a slice of the media ports");
        }
        if valid.secret.is_some_and(|secret| secret != running.secret) {
            let hint =
                "the secret decides which shard owns a running call; leave it out to keep the running one";
            check.error(root.field("secret"), "a change of the secret needs a restart", hint);
        }
        if running.admin != valid.admin {
            let at = root.field("admin").field("listen");
            check.error(at, "a change of the admin address needs a restart", "");
        }
        for realm in valid.network.realms.iter().filter(|realm| running.masks_otherwise(realm)) {
            let message = format!("a change of `mask_call_id` of \"{}\" needs a restart", realm.name);
            let hint = "running calls are known by the Call-IDs that their parties were shown";
            check.error(root.field("realms").field(&realm.name).field("mask_call_id"), message, hint);
        }
        check.finish().map(drop)
    }
}

impl Running {
    /// Does a realm that is running already show Call-IDs in another form?
    fn masks_otherwise(&self, new: &Realm) -> bool {
        let differs = |old: &Arc<Realm>| old.id == new.id && old.mask_call_id != new.mask_call_id;
        self.realms.iter().any(differs)
    }
}

/// The `conf.d/*.ron` beside a file, sorted by name; none is fine.
fn fragments(main: &Path) -> Result<Vec<PathBuf>, Errors> {
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&directory, &error.to_string())),
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| unreadable(&directory, &error.to_string()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ron"));
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Source, Errors> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(unreadable(path, "it is larger than 16 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error.to_string()))?;
    Ok(Source::new(&path.display().to_string(), text))
}

fn unreadable(path: &Path, why: &str) -> Errors {
    let message = format!("cannot read {}: {why}", path.display());
    Errors(vec![Problem { severity: Severity::Error, message, place: None, hint: None }])
}

/// The secret of a run whose configuration names none.
fn random() -> [u8; 32] {
    let mut octets = [0; 32];
    aws_lc_rs::rand::fill(&mut octets).expect("the operating system gives random octets");
    octets
}
