//! `portolan doctor` on machines laid out in directories: what it finds, and what mends it.

mod machine;

use machine::{CONFIGURATION, Laid, rule};
use portolan::doctor::{Finding, Host, State, examine};
use portolan::mapping::{Loaded, Loader, Machine};
use std::process::Command;

fn loaded(text: &str) -> Loaded {
    Loader::new(Machine::with_cores(4)).parse(text, "x.ron").expect("it is sound")
}

fn findings(laid: &Laid) -> Vec<Finding> {
    examine(&Host::at(laid.root()), Some(&loaded(CONFIGURATION)))
}

/// All that is not as it should be: state, name, remedy.
fn complaints(laid: &Laid) -> Vec<String> {
    let wrong = findings(laid).into_iter().filter(|finding| finding.state != State::Ok);
    wrong.map(|f| format!("{:?} {}: {}", f.state, f.name, f.mend.unwrap_or_default())).collect()
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    let findings = findings(&Laid::out());
    let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
    let expected = [
        "kernel",
        "io_uring",
        "seccomp",
        "locked memory",
        "open files",
        "net.core.rmem_max",
        "net.core.wmem_default",
        "net.core.netdev_max_backlog",
        "lent ports",
        "conntrack",
        "clock source",
        "governor",
        "eth0 queues",
        "eth0 flow rules",
        "eth0 interrupts",
        "eth0 memory node",
        "eth0 time stamps",
        "tap0 queues",
    ];
    assert_eq!(names, expected);
    assert!(findings.iter().all(|f| f.state == State::Ok && f.mend.is_none()), "{findings:#?}");
}

macro_rules! ailments {
    ($($name:ident: $path:literal is $text:expr, $complaint:expr;)+) => {
        $(#[test] fn $name() {
            let laid = Laid::out();
            laid.has($path, $text);
            assert_eq!(complaints(&laid), [$complaint]);
        })+
    };
}

ailments! {
    an_old_kernel: "proc/sys/kernel/osrelease" is "5.15.0-91-generic",
        "Fail kernel: apt-get install linux-image-amd64, then reboot";
    a_kernel_of_no_version: "proc/sys/kernel/osrelease" is "",
        "Fail kernel: apt-get install linux-image-amd64, then reboot";
    rings_for_root_only: "proc/sys/kernel/io_uring_disabled" is "1",
        "Fail io_uring: sysctl -w kernel.io_uring_disabled=0";
    rings_for_nobody: "proc/sys/kernel/io_uring_disabled" is "2",
        "Fail io_uring: sysctl -w kernel.io_uring_disabled=0";
    a_filter_of_system_calls: "proc/self/status" is "CapEff:\t0000000000000000\nSeccomp:\t2\n",
        "Warn seccomp: docker run --security-opt seccomp=FILE, with a profile that allows io_uring_setup, io_uring_enter and io_uring_register";
    little_locked_memory: "proc/self/limits" is "Max open files 1024 1048576 files\nMax locked memory 65536 65536 bytes\n",
        "Fail locked memory: LimitMEMLOCK=64M in the unit, or ulimit -l 65536";
    some_locked_memory: "proc/self/limits" is "Max open files 1024 1048576 files\nMax locked memory 8388608 8388608 bytes\n",
        "Warn locked memory: LimitMEMLOCK=64M in the unit, or ulimit -l 65536";
    few_open_files: "proc/self/limits" is "Max open files 1024 4096 files\nMax locked memory unlimited unlimited bytes\n",
        "Warn open files: LimitNOFILE=1048576 in the unit, or ulimit -Hn 1048576";
    small_buffers: "proc/sys/net/core/rmem_max" is "212992",
        "Warn net.core.rmem_max: sysctl -w net.core.rmem_max=4194304";
    a_short_queue: "proc/sys/net/core/netdev_max_backlog" is "1000",
        "Warn net.core.netdev_max_backlog: sysctl -w net.core.netdev_max_backlog=4096";
    lent_ports: "proc/sys/net/ipv4/ip_local_port_range" is "10000\t60999",
        "Warn lent ports: sysctl -w net.ipv4.ip_local_reserved_ports=16384-32767";
    a_slow_clock: "sys/devices/system/clocksource/clocksource0/current_clocksource" is "hpet",
        "Warn clock source: echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource";
    a_sleepy_core: "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor" is "powersave",
        "Warn governor: cpupower frequency-set -g performance";
    a_slice_at_the_wrong_queue: "commands/ethtool -n eth0" is &(rule(1, 16_384, 1) + &rule(2, 24_576, 1)),
        "Warn eth0 flow rules: ethtool -N eth0 flow-type udp4 dst-ip 198.51.100.10 dst-port 16384 m 0x1fff action 0";
    an_interrupt_at_the_wrong_core: "proc/irq/31/smp_affinity_list" is "0-1",
        "Warn eth0 interrupts: echo 1 > /proc/irq/31/smp_affinity_list";
    a_mover_of_interrupts: "proc/812/comm" is "irqbalance",
        "Warn eth0 interrupts: systemctl disable --now irqbalance";
    cores_far_from_the_card: "sys/class/net/eth0/device/numa_node" is "1",
        "Warn eth0 memory node: in the configuration: shards: Cores([2, 3])";
    no_time_stamps: "commands/ethtool -T eth0" is "Capabilities:\n\tsoftware-transmit\n",
        "Warn eth0 time stamps: ethtool -T eth0";
}

#[test]
fn privileges_make_up_for_limits() {
    let laid = Laid::out();
    laid.has("proc/self/status", "CapEff:\t000001ffffffffff\nSeccomp:\t0\n");
    laid.has("proc/self/limits", "Max open files 1024 4096 files\nMax locked memory 65536 65536 bytes\n");
    laid.has("proc/sys/kernel/io_uring_disabled", "1");
    assert_eq!(complaints(&laid), [] as [&str; 0]);
}

#[test]
fn ports_that_are_kept_already_stay_kept() {
    let laid = Laid::out();
    laid.has("proc/sys/net/ipv4/ip_local_port_range", "10000 60999");
    laid.has("proc/sys/net/ipv4/ip_local_reserved_ports", "8080,16384-20000");
    let expected = "Warn lent ports: sysctl -w net.ipv4.ip_local_reserved_ports=8080,16384-20000,16384-32767";
    assert_eq!(complaints(&laid), [expected]);
    laid.has("proc/sys/net/ipv4/ip_local_reserved_ports", "16384-32767");
    assert_eq!(complaints(&laid), [] as [&str; 0]);
}

#[test]
fn tracked_media_is_seen_unless_it_is_excepted() {
    let laid = Laid::out();
    laid.has("proc/sys/net/netfilter/nf_conntrack_count", "12");
    laid.has("proc/sys/net/netfilter/nf_conntrack_max", "262144");
    assert_eq!(complaints(&laid), ["Warn conntrack: scripts/tune -f FILE --apply"]);
    laid.has("commands/nft list ruleset", "table inet x { chain y { udp dport 16384-32767 notrack } }");
    assert_eq!(complaints(&laid), [] as [&str; 0]);
    laid.has("proc/sys/net/netfilter/nf_conntrack_count", "262000");
    assert_eq!(complaints(&laid), ["Fail conntrack: sysctl -w net.netfilter.nf_conntrack_max=1048576"]);
}

#[test]
fn too_few_queues_are_told_before_their_rules() {
    let laid = Laid::out();
    laid.lacks("sys/class/net/eth0/queues/rx-1");
    assert_eq!(complaints(&laid), ["Warn eth0 queues: ethtool -L eth0 combined 2"]);
}

#[test]
fn without_ethtool_nothing_is_claimed_about_rules() {
    let laid = Laid::out();
    laid.lacks("commands/ethtool -n eth0");
    assert_eq!(complaints(&laid), ["Warn eth0 flow rules: apt-get install ethtool"]);
}

#[test]
fn an_address_of_no_device_fails() {
    let laid = Laid::out();
    laid.has("proc/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask\n");
    let expected =
        ["198.51.100.10", "10.0.0.10"].map(|ip| format!("Fail address: ip address add {ip}/24 dev DEVICE"));
    assert_eq!(complaints(&laid), expected);
}

#[test]
fn a_device_of_ipv6_is_found_by_its_address() {
    let laid = Laid::out();
    laid.lacks("sys/class/net/eth0/queues/rx-1");
    let text = CONFIGURATION.replace("\"198.51.100.10\"", "\"2001:db8::10\"");
    let found = || examine(&Host::at(laid.root()), Some(&loaded(&text)));
    assert!(found().iter().any(|f| f.name == "address" && f.state == State::Fail));
    laid.has("proc/net/if_inet6", "20010db8000000000000000000000010 02 40 00 80     eth0\n");
    assert!(found().iter().any(|f| f.name == "eth0 queues" && f.state == State::Warn));
}

#[test]
fn without_a_configuration_cards_are_not_looked_at() {
    let findings = examine(&Host::at(Laid::out().root()), None);
    assert!(findings.iter().all(|f| f.state == State::Ok && !f.name.starts_with("eth0")), "{findings:#?}");
}

#[test]
fn on_this_machine_it_ends_with_its_verdict() {
    let doctor = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("doctor").args(more).output().expect("it runs")
    };
    let output = doctor(&["--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    let failed = told["fail"].as_u64().expect("a number");
    assert_eq!(output.status.code(), Some(i32::from(failed > 0)));
    assert!(told["findings"].as_array().expect("a list").iter().any(|f| f["name"] == "ring"));
    assert_eq!(doctor(&["--nonsense"]).status.code(), Some(2));
    let unsound = doctor(&["-f", "Cargo.toml"]);
    let shown = String::from_utf8_lossy(&unsound.stdout).into_owned();
    assert_eq!(unsound.status.code(), Some(1));
    assert!(
        shown.contains("FAIL  configuration") && shown.contains("portolan check -f Cargo.toml"),
        "{shown}"
    );
}
