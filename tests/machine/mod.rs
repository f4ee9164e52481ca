//! A machine laid out in a directory, for the tests of `doctor` and of `scripts/tune`.

use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Two shards, on a card with two queues and on a device without hardware.
pub(crate) const CONFIGURATION: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "198.51.100.10", sip: [Udp(5060)], media: (16384, 32767)),
        "core": (side: Core, address: "10.0.0.10", sip: [Udp(5060)], per_shard: 6000, media: (16384, 32767)),
    },
    softswitches: { "sx": (realm: "core", targets: ["10.0.0.20:5060"], domain: "example.net") },
    mappings: [(access: "access", softswitch: "sx")],
)"#;

/// One rule of `ethtool -n`.
pub(crate) fn rule(id: u16, port: u16, queue: u16) -> String {
    format!(
        "Filter: {id}\n\tRule Type: UDP over IPv4\n\tSrc IP addr: 0.0.0.0 mask: 255.255.255.255\n\
         \tDest IP addr: 198.51.100.10 mask: 0.0.0.0\n\tTOS: 0x0 mask: 0xff\n\tSrc port: 0 mask: 0xffff\n\
         \tDest port: {port} mask: 0x1fff\n\tAction: Direct to queue {queue}\n\n"
    )
}

/// A machine on which everything is as it should be.
pub(crate) struct Laid(TempDir);

impl Laid {
    pub(crate) fn out() -> Self {
        let laid = Self(tempfile::tempdir().expect("a directory"));
        for (path, text) in GOOD {
            laid.has(path, text);
        }
        laid.has("commands/ethtool -n eth0", &(rule(1023, 16_384, 0) + &rule(1022, 24_576, 1)));
        laid
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// It has this file instead.
    pub(crate) fn has(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    /// It has no such file or directory.
    pub(crate) fn lacks(&self, path: &str) {
        let path = self.root().join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("it was there");
    }
}

const GOOD: &[(&str, &str)] = &[
    ("proc/sys/kernel/osrelease", "6.1.0-31-amd64\n"),
    ("proc/sys/kernel/io_uring_disabled", "0\n"),
    ("proc/self/status", "Name:\tportolan\nCapEff:\t0000000000000000\nSeccomp:\t0\nSeccomp_filters:\t0\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 1048576              files     \n\
         Max locked memory         67108864             67108864             bytes     \n",
    ),
    ("proc/sys/net/core/rmem_max", "4194304\n"),
    ("proc/sys/net/core/wmem_max", "4194304\n"),
    ("proc/sys/net/core/wmem_default", "212992\n"),
    ("proc/sys/net/core/netdev_max_backlog", "4096\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
    (
        "proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
         eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
         eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
         tap0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n",
    ),
    (
        "proc/interrupts",
        "            CPU0       CPU1\n  30:  1  0  PCI-MSIX-0000:01:00.0  0-edge  eth0-TxRx-0\n\
         \u{20}31:  0  1  PCI-MSIX-0000:01:00.0  1-edge  eth0-TxRx-1\n  32:  0  0  PCI-MSIX-0000:01:00.0  2-edge  eth0\n",
    ),
    ("proc/irq/30/smp_affinity_list", "0\n"),
    ("proc/irq/31/smp_affinity_list", "1\n"),
    ("proc/1/comm", "init\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm \n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/node/node0/cpulist", "0-1\n"),
    ("sys/devices/system/node/node1/cpulist", "2-3\n"),
    ("sys/class/net/eth0/device/numa_node", "0\n"),
    ("sys/class/net/eth0/device/msi_irqs/30", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/31", "msix\n"),
    ("sys/class/net/eth0/device/msi_irqs/32", "msix\n"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("sys/class/net/tap0/queues/rx-0/rps_cpus", "0\n"),
    ("commands/ethtool -T eth0", "Capabilities:\n\thardware-receive\n\tsoftware-receive\n"),
    ("commands/ethtool -k eth0", "Features for eth0:\nntuple-filters: on\n"),
];
