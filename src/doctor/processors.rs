//! Processors: clock source and frequency.

use super::{Finding, Host};
use crate::mapping::Loaded;

/// Clocks that are read without a system call.
const FAST: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
const CLOCKS: &str = "sys/devices/system/clocksource/clocksource0";

pub(super) fn findings(host: &Host, loaded: Option<&Loaded>) -> Vec<Finding> {
    vec![clock(host), governor(host, loaded)]
}

fn clock(host: &Host) -> Finding {
    const NAME: &str = "clock source";
    let Some(current) = host.text(&format!("{CLOCKS}/current_clocksource")) else {
        return Finding::ok(NAME, "not to be seen here");
    };
    if FAST.contains(&current.as_str()) {
        return Finding::ok(NAME, current);
    }
    let available = host.text(&format!("{CLOCKS}/available_clocksource")).unwrap_or_default();
    let better = available.split(' ').find(|name| FAST.contains(name));
    let why = format!("{current}: each look at it is a system call");
    match better {
        Some(better) => Finding::warn(NAME, why, format!("echo {better} > /{CLOCKS}/current_clocksource")),
        None => Finding::warn(NAME, why, "boot with tsc=reliable if the processor's TSC is constant"),
    }
}

/// The frequency of the shards' cores, or of all.
fn governor(host: &Host, loaded: Option<&Loaded>) -> Finding {
    const NAME: &str = "governor";
    let all = || host.names("sys/devices/system/cpu").iter().filter_map(|name| core(name)).collect();
    let cores: Vec<usize> = loaded.map_or_else(all, |loaded| loaded.cores.clone());
    let governor = |core: &usize| {
        let governor = host.text(&format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))?;
        Some((*core, governor))
    };
    let governors: Vec<_> = cores.iter().filter_map(governor).collect();
    let slow: Vec<_> = governors.iter().filter(|(_, governor)| governor != "performance").collect();
    match (governors.first(), slow.first()) {
        (None, _) => Finding::ok(NAME, "the kernel does not set the frequency"),
        (_, None) => Finding::ok(NAME, "performance"),
        (_, Some((core, governor))) => {
            let why = format!("{governor} on core {core}: a packet after a pause waits for a slow core");
            Finding::warn(NAME, why, "cpupower frequency-set -g performance")
        }
    }
}

fn core(name: &str) -> Option<usize> {
    name.strip_prefix("cpu")?.parse().ok()
}
