//! The kernel and what it allows this process: version, io_uring, locked memory, open files.

use super::{Finding, Host};
use crate::mapping::Loaded;
use portolan_shards::types::ShardId;

/// IORING_SETUP_DEFER_TASKRUN is of this version.
const KERNEL: (u32, u32) = (6, 1);
/// An executor refuses to start below this.
const MEMLOCK_LEAST: u64 = 512 << 10;
/// What the unit file gives.
const MEMLOCK: u64 = 64 << 20;
/// What Portolan asks for.
const FILES: u64 = 1_048_576;
/// Bits of CapEff (capabilities(7)).
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

pub(super) fn findings(host: &Host, loaded: Option<&Loaded>) -> Vec<Finding> {
    let mut findings = vec![version(host), rings_allowed(host), seccomp(host)];
    findings.extend(host.is_live().then(a_ring));
    findings.extend([locked_memory(host), open_files(host, loaded)]);
    findings
}

fn version(host: &Host) -> Finding {
    let release = host.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    let seen = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match seen >= KERNEL {
        true => Finding::ok("kernel", format!("Linux {release}")),
        false => {
            let why = format!("Linux {release}; the rings need {}.{} or later", KERNEL.0, KERNEL.1);
            Finding::fail("kernel", why, "apt-get install linux-image-amd64, then reboot")
        }
    }
}

fn rings_allowed(host: &Host) -> Finding {
    const NAME: &str = "io_uring";
    const MEND: &str = "sysctl -w kernel.io_uring_disabled=0";
    match host.number("proc/sys/kernel/io_uring_disabled") {
        None | Some(0) => Finding::ok(NAME, "allowed"),
        Some(1) if may(host, CAP_SYS_ADMIN) => {
            Finding::ok(NAME, "allowed for privileged processes like this")
        }
        Some(1) => Finding::fail(NAME, "for privileged processes only (io_uring_disabled is 1)", MEND),
        Some(_) => Finding::fail(NAME, "switched off (io_uring_disabled is 2)", MEND),
    }
}

fn seccomp(host: &Host) -> Finding {
    const NAME: &str = "seccomp";
    match host.field("proc/self/status", "Seccomp").as_deref() {
        None | Some("0") => Finding::ok(NAME, "no filter"),
        Some(_) => {
            let why = "system calls are filtered; profiles of containers often refuse io_uring";
            let mend = "docker run --security-opt seccomp=FILE, with a profile that allows io_uring_setup, io_uring_enter and io_uring_register";
            Finding::warn(NAME, why, mend)
        }
    }
}

/// The proof, whatever files say.
fn a_ring() -> Finding {
    match io_uring::IoUring::new(8) {
        Ok(_) => Finding::ok("ring", "one could be made"),
        Err(error) => {
            Finding::fail("ring", format!("none could be made: {error}"), "see io_uring and seccomp")
        }
    }
}

fn locked_memory(host: &Host) -> Finding {
    const NAME: &str = "locked memory";
    const MEND: &str = "LimitMEMLOCK=64M in the unit, or ulimit -l 65536";
    let (soft, _) = limit(host, "Max locked memory");
    let told = told(soft);
    match soft {
        _ if may(host, CAP_IPC_LOCK) => Finding::ok(NAME, "no limit for a privileged process"),
        soft if soft < MEMLOCK_LEAST => {
            Finding::fail(NAME, format!("{told} octets; an executor needs {MEMLOCK_LEAST}"), MEND)
        }
        soft if soft < MEMLOCK => {
            Finding::warn(NAME, format!("{told} octets; {MEMLOCK} leave room for every shard"), MEND)
        }
        _ => Finding::ok(NAME, format!("{told} octets")),
    }
}

fn open_files(host: &Host, loaded: Option<&Loaded>) -> Finding {
    const NAME: &str = "open files";
    let (_, hard) = limit(host, "Max open files");
    let wanted = loaded.map_or(FILES, sockets);
    if hard >= wanted {
        return Finding::ok(NAME, format!("{} allowed, {wanted} wanted", told(hard)));
    }
    if may(host, CAP_SYS_RESOURCE) {
        return Finding::ok(NAME, format!("{hard} allowed, {wanted} wanted; this process may raise it"));
    }
    let why = format!("{hard} allowed, {wanted} wanted: each media port and connection is one");
    Finding::warn(NAME, why, "LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576")
}

/// Sockets when every media port of every shard is open, and a thousand connections.
fn sockets(loaded: &Loaded) -> u64 {
    let mapping = &loaded.mapping;
    let slice = |realm: &std::sync::Arc<portolan_shards::realm::Realm>| {
        realm.media.slice(mapping.shards, ShardId(0)).len() * usize::from(mapping.shards)
    };
    1_000 + mapping.realms.iter().map(slice).sum::<usize>() as u64
}

/// The soft and the hard value of a line of `/proc/self/limits`.
fn limit(host: &Host, name: &str) -> (u64, u64) {
    let text = host.text("proc/self/limits").unwrap_or_default();
    let values = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let mut values = values.split_whitespace().map(|value| value.parse().unwrap_or(u64::MAX));
    (values.next().unwrap_or(u64::MAX), values.next().unwrap_or(u64::MAX))
}

fn told(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// Has this process a capability?
fn may(host: &Host, capability: u32) -> bool {
    let held = host.field("proc/self/status", "CapEff");
    let held = held.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
    held >> capability & 1 == 1
}
