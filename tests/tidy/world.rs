//! What a shard may not touch: clocks, sockets, threads, the environment, files, globals.

use crate::source::{Source, words};

/// Names that lead out of a shard, and why they do.
const DOORS: &[(&str, &str)] = &[
    ("SystemTime", "a clock; time comes in by `now`"),
    ("UdpSocket", "a socket; datagrams leave as an Output"),
    ("UnixDatagram", "a socket"),
    ("UnixStream", "a socket"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("ToSocketAddrs", "a name lookup"),
    ("Mutex", "shared state; a shard is one core's own"),
    ("RwLock", "shared state; a shard is one core's own"),
    ("OnceLock", "a global"),
    ("LazyLock", "a global"),
    ("OnceCell", "a global"),
    ("LazyCell", "a global"),
    ("thread_local", "a global"),
    ("SystemRandom", "randomness that no seed repeats"),
    ("RandomState", "randomness that no seed repeats"),
    ("portolan", "the process above"),
    ("portolan_loadgen", "the world's impostor above"),
    ("glommio", "the runtime above"),
];

/// Paths of the standard library that lead out of a shard.
const PATHS: &[&str] = &["std::thread", "std::env", "std::fs", "std::process", "std::os", "std::io::std"];

/// Crates that `shards` may never depend on.
const CRATES: &[&str] =
    &["glommio", "socket2", "tokio", "libc", "io-uring", "rustix", "portolan", "portolan-loadgen"];

/// Everything in this file that touches the world.
pub(crate) fn touched(source: &Source) -> Vec<String> {
    let doors =
        DOORS.iter().flat_map(|(name, why)| words(&source.code, name).map(move |at| (at, *name, *why)));
    let mut found: Vec<String> =
        doors.map(|(at, name, why)| source.offence(at, &format!("{name}: {why}"))).collect();
    for path in PATHS {
        found.extend(source.code.match_indices(path).map(|(at, _)| source.offence(at, path)));
    }
    found.extend(clocks(source));
    found.extend(globals(source));
    found
}

/// `std::time::Instant` by any spelling; our own `types::Instant` is only a number.
fn clocks(source: &Source) -> Vec<String> {
    let uses =
        source.code.match_indices("std::time::").map(|(at, path)| (at, &source.code[at + path.len()..]));
    let named = uses.filter(|(_, rest)| {
        let end = rest.find(if rest.starts_with('{') { '}' } else { ';' }).unwrap_or(rest.len());
        rest[..end]
            .split(|c: char| !c.is_alphanumeric())
            .take(if rest.starts_with('{') { 9 } else { 1 })
            .any(|n| n == "Instant")
    });
    named.map(|(at, _)| source.offence(at, "std::time::Instant: a clock; time comes in by `now`")).collect()
}

fn globals(source: &Source) -> Vec<String> {
    let statics = words(&source.code, "static").filter(|&at| !source.code[..at].ends_with('\''));
    statics.map(|at| source.offence(at, "static: a global")).collect()
}

/// Banned dependencies in this manifest.
pub(crate) fn dependencies(manifest: &str) -> Vec<String> {
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or("").trim_matches('"').to_owned();
    let banned = |line: &&str| CRATES.contains(&name(line).as_str());
    manifest.lines().filter(banned).map(|line| format!("shards/Cargo.toml: {line}")).collect()
}

#[test]
fn a_clock_is_seen_by_any_spelling() {
    for text in
        ["use std::time::Instant;", "use std::time::{Duration, Instant};", "std::time::Instant::now()"]
    {
        assert_eq!(clocks(&Source::new("x.rs".into(), text.into())).len(), 1, "{text}");
    }
    let own = "use std::time::Duration; use crate::types::Instant; fn f() -> &'static str {}";
    assert_eq!(touched(&Source::new("x.rs".into(), own.into())), Vec::<String>::new());
}
