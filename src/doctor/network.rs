//! The kernel's network: socket buffers, queues, lent ports, tracked connections.

use super::{Finding, Host};
use crate::mapping::{Loaded, Machine};
use portolan_shards::realm::Realm;
use std::collections::BTreeSet;

/// What signaling sockets ask for, in octets. Media sockets ask for less: all set their own receive buffer.
const RECEIVE_MOST: u64 = 4 << 20;
/// Octets that may wait in a socket to be sent.
const SEND_LEAST: u64 = 212_992;
/// Packets that wait for a processor.
const BACKLOG: u64 = 4_096;

pub(super) fn findings(host: &Host, loaded: Option<&Loaded>) -> Vec<Finding> {
    let mut findings = vec![
        least(
            host,
            "rmem_max",
            RECEIVE_MOST,
            "a registration storm, or (below 131072) a burst of media, is cut down",
        ),
        least(host, "wmem_default", SEND_LEAST, "a burst toward one peer overflows a smaller buffer"),
        least(host, "netdev_max_backlog", BACKLOG, "bursts are dropped before any socket sees them"),
    ];
    findings.extend(loaded.map(|loaded| lent(host, loaded)));
    findings.push(tracked(host, loaded));
    findings
}

/// A setting that should be at least this.
fn least(host: &Host, name: &str, wanted: u64, otherwise: &str) -> Finding {
    let setting = format!("net.core.{name}");
    match host.number(&format!("proc/sys/net/core/{name}")) {
        None => Finding::ok(setting, "not to be seen in this network namespace"),
        Some(seen) if seen >= wanted => Finding::ok(setting, seen.to_string()),
        Some(seen) => {
            let mend = format!("sysctl -w {setting}={wanted}");
            Finding::warn(setting, format!("{seen}, better {wanted}: {otherwise}"), mend)
        }
    }
}

/// Media ports that the kernel gives to other sockets.
fn lent(host: &Host, loaded: &Loaded) -> Finding {
    const NAME: &str = "lent ports";
    let read = |name: &str| host.text(&format!("proc/sys/net/ipv4/{name}")).unwrap_or_default();
    let reserved = read("ip_local_reserved_ports");
    let machine = Machine::with_cores(1).with_ports(&read("ip_local_port_range"), &reserved);
    let lent = |realm: &&std::sync::Arc<Realm>| machine.may_lend(&(realm.media.first..=realm.media.last));
    let ranges: BTreeSet<_> = loaded.mapping.realms.iter().filter(lent).map(|realm| told(realm)).collect();
    if ranges.is_empty() {
        return Finding::ok(NAME, "the kernel lends none of the media ports to other sockets");
    }
    let ranges = ranges.into_iter().collect::<Vec<_>>().join(",");
    let all = [reserved.as_str(), &ranges].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let why = format!("{ranges} may be given to other sockets (ip_local_port_range)");
    Finding::warn(NAME, why, format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", all.join(",")))
}

/// Connection tracking costs a lookup for each packet, and drops what its table has no room for.
fn tracked(host: &Host, loaded: Option<&Loaded>) -> Finding {
    const NAME: &str = "conntrack";
    let number = |name: &str| host.number(&format!("proc/sys/net/netfilter/nf_conntrack_{name}"));
    let (Some(count), Some(max)) = (number("count"), number("max")) else {
        return Finding::ok(NAME, "not loaded");
    };
    let rules = ["nft list ruleset", "iptables-save -t raw"].map(|line| host.command(line));
    let spared = rules.iter().flatten().any(|rules| rules.to_ascii_lowercase().contains("notrack"));
    let mend = match loaded.and_then(|loaded| loaded.files.first()) {
        Some(file) => format!("scripts/tune -f {} --apply", file.display()),
        None => "scripts/tune -f FILE --apply".to_owned(),
    };
    match spared {
        _ if count > max / 5 * 4 => {
            let why = format!("its table is nearly full: {count} of {max}; packets of new flows are dropped");
            Finding::fail(NAME, why, format!("sysctl -w net.netfilter.nf_conntrack_max={}", max * 4))
        }
        true => Finding::ok(NAME, format!("loaded, with exceptions; {count} of {max} entries")),
        false => Finding::warn(NAME, format!("loaded: media is tracked too; {count} of {max} entries"), mend),
    }
}

fn told(realm: &Realm) -> String {
    format!("{}-{}", realm.media.first, realm.media.last)
}
