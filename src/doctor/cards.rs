//! Network cards: receive queues, flow rules, interrupts, memory nodes, time stamps.

use super::host::numbers;
use super::{Finding, Host};
use crate::steering::{Lane, Place, Slice, Steering};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn findings(host: &Host, steering: &Steering) -> Vec<Finding> {
    let mut cards: BTreeMap<String, Vec<&Lane>> = BTreeMap::new();
    let mut findings = Vec::new();
    for lane in &steering.realms {
        match device(host, lane.address) {
            Some(device) => cards.entry(device).or_default().push(lane),
            None => findings.push(homeless(lane)),
        }
    }
    for (device, lanes) in cards {
        findings.extend(card(host, &device, &lanes, &steering.shards));
    }
    findings
}

fn homeless(lane: &Lane) -> Finding {
    let why = format!("{} of \"{}\" is on no device that is up", lane.address, lane.realm);
    Finding::fail("address", why, format!("ip address add {}/24 dev DEVICE", lane.address))
}

/// The device that has this address: of IPv6 exactly, of IPv4 by the connected route.
fn device(host: &Host, address: IpAddr) -> Option<String> {
    match address {
        _ if address.is_loopback() => Some("lo".to_owned()),
        IpAddr::V4(address) => {
            let routes = host.text("proc/net/route")?;
            let fitting = routes.lines().filter_map(|line| connected(line, address));
            fitting.max().map(|(_, device)| device.to_owned())
        }
        IpAddr::V6(address) => {
            let hex: String = address.octets().iter().map(|octet| format!("{octet:02x}")).collect();
            let table = host.text("proc/net/if_inet6")?;
            let line = table.lines().find(|line| line.starts_with(&hex))?;
            line.split_whitespace().next_back().map(str::to_owned)
        }
    }
}

/// Length of the prefix and device of a route without gateway that holds this address (words of `/proc/net/route`
/// are little-endian).
fn connected(line: &str, address: Ipv4Addr) -> Option<(u32, &str)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let word = |n: usize| u32::from_str_radix(fields.get(n)?, 16).ok().map(u32::swap_bytes);
    let (net, gateway, mask) = (word(1)?, word(2)?, word(7)?);
    let holds = gateway == 0 && mask != 0 && u32::from(address) & mask == net;
    holds.then(|| (mask.count_ones(), fields[0]))
}

fn card(host: &Host, device: &str, lanes: &[&Lane], shards: &[Place]) -> Vec<Finding> {
    if !host.exists(&format!("sys/class/net/{device}/device")) {
        let why = "no hardware: packets are handled on the core that they come from, whatever the slices";
        return vec![Finding::ok(format!("{device} queues"), why)];
    }
    let (queues, has_queues) = queues(host, device, shards.len());
    let mut findings = vec![queues];
    if has_queues && shards.len() > 1 {
        findings.push(rules(host, device, lanes));
        findings.push(interrupts(host, device, shards));
    }
    findings.extend([node(host, device, shards), stamps(host, device)]);
    findings
}

/// As many receive queues as shards?
fn queues(host: &Host, device: &str, shards: usize) -> (Finding, bool) {
    let name = format!("{device} queues");
    let directory = format!("sys/class/net/{device}/queues");
    let seen = host.names(&directory).iter().filter(|name| name.starts_with("rx-")).count();
    if seen >= shards {
        return (Finding::ok(name, format!("{seen} receive queues for {shards} shards")), true);
    }
    let why = format!("{seen} receive queues for {shards} shards: cores share them");
    (Finding::warn(name, why, format!("ethtool -L {device} combined {shards}")), false)
}

/// Does a rule steer each slice to the queue of its shard?
fn rules(host: &Host, device: &str, lanes: &[&Lane]) -> Finding {
    let name = format!("{device} flow rules");
    let Some(told) = host.command(&format!("ethtool -n {device}")) else {
        let why = "they cannot be asked for: no ethtool, no right, or a card without them";
        return Finding::warn(name, why, "apt-get install ethtool");
    };
    let present: Vec<_> = told.split("Filter:").filter_map(Rule::parse).collect();
    let all = || lanes.iter().flat_map(|lane| lane.slices.iter().map(move |slice| (lane, slice)));
    let mut missing = all().filter(|(_, slice)| !present.iter().any(|rule| rule.steers(slice)));
    match missing.next() {
        None => Finding::ok(name, format!("all {} slices are steered to their queues", all().count())),
        Some((lane, slice)) => {
            let why = format!(
                "{} of {} slices are not steered to their queues",
                1 + missing.count(),
                all().count()
            );
            Finding::warn(name, why, slice.rule(device, lane.address))
        }
    }
}

/// A rule of the card, as far as it concerns us.
struct Rule {
    port: u16,
    /// Bits that do not matter.
    ignored: u16,
    queue: u16,
}

impl Rule {
    /// Reads one block of `ethtool -n`.
    fn parse(block: &str) -> Option<Self> {
        let after = |name: &str| block.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
        let (port, mask) = after("Dest port:")?.split_once("mask:")?;
        Some(Self {
            port: port.trim().parse().ok()?,
            ignored: u16::from_str_radix(mask.trim().trim_start_matches("0x"), 16).ok()?,
            queue: after("Action: Direct to queue")?.parse().ok()?,
        })
    }

    fn steers(&self, slice: &Slice) -> bool {
        (self.port, !self.ignored, self.queue) == (slice.value, slice.mask, slice.shard)
    }
}

/// Does the interrupt of each shard's queue go to the shard's core?
fn interrupts(host: &Host, device: &str, shards: &[Place]) -> Finding {
    let name = format!("{device} interrupts");
    let listed = |place| host.names(&format!("sys/class/net/{device}/{place}/msi_irqs"));
    let irqs = [listed("device"), listed("device/..")].concat();
    let table = host.text("proc/interrupts").unwrap_or_default();
    let queue_of = |irq: &String| Some((queue(&table, irq)?, irq.clone()));
    let by_queue: BTreeMap<u16, String> = irqs.iter().filter_map(queue_of).collect();
    let goes =
        |irq: &str| numbers(&host.text(&format!("proc/irq/{irq}/smp_affinity_list")).unwrap_or_default());
    let astray = |place: &&Place| by_queue.get(&place.shard).is_some_and(|irq| goes(irq) != [place.core]);
    let mut astray = shards.iter().filter(astray);
    match astray.next() {
        _ if by_queue.is_empty() => Finding::ok(name, "its queues have no interrupt of their own"),
        None if balanced(host) => {
            let why = "each goes to its shard's core, but irqbalance runs and will move them";
            Finding::warn(name, why, "systemctl disable --now irqbalance")
        }
        None => Finding::ok(name, "each goes to its shard's core"),
        Some(place) => {
            let why = format!("{} of them go elsewhere than to their shard's core", 1 + astray.count());
            let mend =
                format!("echo {} > /proc/irq/{}/smp_affinity_list", place.core, by_queue[&place.shard]);
            Finding::warn(name, why, mend)
        }
    }
}

/// The receive queue of an interrupt: the number at the end of its name in `/proc/interrupts` (`eth0-TxRx-3`,
/// `virtio0-input.3`, `mlx5_comp3@pci:0000:81:00.0`).
fn queue(table: &str, irq: &str) -> Option<u16> {
    let line = table.lines().find_map(|line| line.trim().strip_prefix(irq)?.strip_prefix(':'))?;
    let name = line.split_whitespace().next_back()?.split('@').next()?;
    let lower = name.to_ascii_lowercase();
    let receives = ["rx", "input", "comp"].iter().any(|word| lower.contains(word));
    let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|_| receives)
}

fn balanced(host: &Host) -> bool {
    let processes =
        host.names("proc").into_iter().filter(|name| name.bytes().all(|octet| octet.is_ascii_digit()));
    processes.into_iter().any(|id| host.text(&format!("proc/{id}/comm")).as_deref() == Some("irqbalance"))
}

/// Are the shards' cores on the memory node of the card?
fn node(host: &Host, device: &str, shards: &[Place]) -> Finding {
    let name = format!("{device} memory node");
    let number = host.text(&format!("sys/class/net/{device}/device/numa_node")).unwrap_or_default();
    let cores = host.text(&format!("sys/devices/system/node/node{number}/cpulist"));
    let Some(near) = cores.map(|list| numbers(&list)) else { return Finding::ok(name, "there is one only") };
    let far = shards.iter().filter(|place| !near.contains(&place.core)).count();
    if far == 0 {
        return Finding::ok(name, format!("all shards run on node {number}, where the card is"));
    }
    let some: Vec<_> = near.iter().take(shards.len()).map(ToString::to_string).collect();
    let why = format!("{far} shards run on another node than the card's, {number}");
    Finding::warn(name, why, format!("in the configuration: shards: Cores([{}])", some.join(", ")))
}

/// Can a capture tell when a packet came, rather than when it was looked at?
fn stamps(host: &Host, device: &str) -> Finding {
    let name = format!("{device} time stamps");
    let told = host.command(&format!("ethtool -T {device}")).unwrap_or_default();
    let has = |word: &str| told.contains(word);
    match (has("hardware-receive"), has("software-receive")) {
        (true, _) => Finding::ok(name, "by the card"),
        (_, true) => Finding::ok(name, "by the driver"),
        _ => {
            let why = "unknown: captures may show when a packet was looked at, not when it came";
            Finding::warn(name, why, format!("ethtool -T {device}"))
        }
    }
}
