//! `scripts/tune`: what it would do on machines laid out in directories, and what it does in a network namespace.

mod machine;

use machine::{CONFIGURATION, Laid};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `portolan check --json` says of [`CONFIGURATION`] on cores 0 and 1, whatever cores this machine has.
const SLICES: &str = r#"{"shards":[{"shard":0,"core":0},{"shard":1,"core":1}],"realms":[
{"realm":"access","side":"access","address":"198.51.100.10","media":[16384,32767],"slices":[
{"shard":0,"first":16384,"last":24575,"value":16384,"mask":57344},{"shard":1,"first":24576,"last":32767,"value":24576,"mask":57344}]},
{"realm":"core","side":"core","address":"10.0.0.10","media":[16384,32767],"slices":[
{"shard":0,"first":16384,"last":24575,"value":16384,"mask":57344},{"shard":1,"first":24576,"last":32767,"value":24576,"mask":57344}]}]}"#;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tune")
}

/// What it prints for this machine.
fn told(laid: &Laid, more: &[&str]) -> Output {
    let program = laid.root().join("portolan");
    fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{SLICES}\nEND\n")).expect("writable");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = Command::new(script());
    command.env("PORTOLAN", program).args(["-f", "x.ron", "--root"]).arg(laid.root()).args(more);
    command.output().expect("python3 is there")
}

fn plan(laid: &Laid) -> String {
    let output = told(laid, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_tuned_machine_is_left_alone_but_for_the_hash() {
    let expected = "#!/bin/sh
# eth0: other udp4 is spread by addresses and ports
ethtool -N eth0 rx-flow-hash udp4 sdfn
# left out: tap0 has no hardware: no queues, flow rules or interrupts to set
# to undo:
#   ethtool -N eth0 rx-flow-hash udp4 sd
";
    assert_eq!(plan(&Laid::out()), expected);
}

#[test]
fn a_machine_as_installed_gets_everything() {
    let laid = Laid::out();
    for (path, text) in [
        ("proc/sys/net/core/rmem_max", "212992"),
        ("proc/sys/net/core/netdev_max_backlog", "1000"),
        ("proc/sys/net/ipv4/ip_local_port_range", "10000\t60999"),
        ("proc/sys/net/ipv4/ip_local_reserved_ports", "8080"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "262144"),
        ("proc/irq/30/smp_affinity_list", "0-1"),
        ("proc/irq/31/smp_affinity_list", "0-1"),
        ("proc/812/comm", "irqbalance"),
        ("commands/ethtool -k eth0", "Features for eth0:\nntuple-filters: off\n"),
        ("commands/ethtool -n eth0", ""),
    ] {
        laid.has(path, text);
    }
    laid.lacks("proc/sys/net/core/wmem_default");
    let expected = "#!/bin/sh
# net.core.rmem_max from 212992 to 4194304
sysctl -q -w net.core.rmem_max=4194304
# left out: net.core.wmem_default is not to be seen in this network namespace: set it in the first one
# net.core.netdev_max_backlog from 1000 to 4096
sysctl -q -w net.core.netdev_max_backlog=4096
# net.ipv4.ip_local_reserved_ports from 8080 to 8080,16384-32767
sysctl -q -w net.ipv4.ip_local_reserved_ports=8080,16384-32767
# media is not tracked (a stateful firewall must accept these ports by their numbers)
nft -f - <<'END'
table inet portolan_tune {
  chain incoming {
    type filter hook prerouting priority raw; policy accept;
    ip daddr 198.51.100.10 udp dport 16384-32767 notrack
    ip daddr 10.0.0.10 udp dport 16384-32767 notrack
  }
  chain outgoing {
    type filter hook output priority raw; policy accept;
    ip saddr 198.51.100.10 udp sport 16384-32767 notrack
    ip saddr 10.0.0.10 udp sport 16384-32767 notrack
  }
}
END
# eth0: flow rules on
ethtool -K eth0 ntuple on
# eth0: ports 16384-24575 of \"access\" to queue 0
ethtool -N eth0 flow-type udp4 dst-ip 198.51.100.10 dst-port 16384 m 0x1fff action 0
# eth0: ports 24576-32767 of \"access\" to queue 1
ethtool -N eth0 flow-type udp4 dst-ip 198.51.100.10 dst-port 24576 m 0x1fff action 1
# eth0: other udp4 is spread by addresses and ports
ethtool -N eth0 rx-flow-hash udp4 sdfn
# irqbalance would move the interrupts
systemctl disable --now irqbalance
# eth0: the interrupt of queue 0 to core 0
echo 0 > /proc/irq/30/smp_affinity_list
# eth0: the interrupt of queue 1 to core 1
echo 1 > /proc/irq/31/smp_affinity_list
# left out: tap0 has no hardware: no queues, flow rules or interrupts to set
# to undo:
#   echo 0-1 > /proc/irq/31/smp_affinity_list
#   echo 0-1 > /proc/irq/30/smp_affinity_list
#   systemctl enable --now irqbalance
#   ethtool -N eth0 rx-flow-hash udp4 sd
#   ethtool -N eth0 delete ID   # the ID that it answered
#   ethtool -N eth0 delete ID   # the ID that it answered
#   ethtool -K eth0 ntuple off
#   nft delete table inet portolan_tune
#   sysctl -q -w net.ipv4.ip_local_reserved_ports=8080
#   sysctl -q -w net.core.netdev_max_backlog=1000
#   sysctl -q -w net.core.rmem_max=212992
";
    assert_eq!(plan(&laid), expected);
}

#[test]
fn what_a_card_cannot_do_is_said() {
    let laid = Laid::out();
    laid.has("commands/ethtool -k eth0", "Features for eth0:\nntuple-filters: off [fixed]\n");
    let plan = plan(&laid);
    assert!(plan.contains("# left out: eth0 has no flow rules (ntuple-filters: off [fixed])"), "{plan}");
    assert!(!plan.contains("flow-type"), "{plan}");
}

#[test]
fn wrong_usage_and_unsound_configurations_end_with_2() {
    let laid = Laid::out();
    assert_eq!(told(&laid, &["--apply"]).status.code(), Some(2));
    assert_eq!(told(&laid, &["--nonsense"]).status.code(), Some(2));
    let mut command = Command::new(script());
    command.env("PORTOLAN", env!("CARGO_BIN_EXE_portolan")).args(["-f", "Cargo.toml"]);
    assert_eq!(command.output().expect("it runs").status.code(), Some(2));
}

/// Needs root: in a network namespace of its own only that namespace's settings are there to be changed.
#[test]
fn applies_in_a_network_namespace_what_can_be_done_there() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let laid = Laid::out();
    let file = laid.root().join("x.ron");
    let text = CONFIGURATION.replace("(16384, 32767)", "(32768, 49151)");
    fs::write(&file, text).expect("writable");
    let tune = format!("{} -f {}", script().display(), file.display());
    let reserved = "cat /proc/sys/net/ipv4/ip_local_reserved_ports";
    let lines = format!(
        "set -e; ip link set lo up; ip link add veth0 type veth peer name veth1
         ip address add 198.51.100.10/24 dev veth0; ip link set veth0 up; ip link set veth1 up
         echo 5000 > /proc/sys/net/ipv4/ip_local_reserved_ports
         {tune} --apply; echo \"kept $({reserved})\"; {tune}"
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &lines]).env("PORTOLAN", env!("CARGO_BIN_EXE_portolan"));
    let output = command.output().expect("unshare is there");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "done: net.ipv4.ip_local_reserved_ports from 5000 to 5000,32768-49151",
        "left out: veth0 has no hardware: no queues, flow rules or interrupts to set",
        "left out: 10.0.0.10 of \"core\" is on no device that is up: its card is not looked at",
        "#   sysctl -q -w net.ipv4.ip_local_reserved_ports=5000",
        "kept 5000,32768-49151",
    ] {
        assert!(told.contains(&format!("{line}\n")), "no `{line}` in:\n{told}");
    }
    let (_, again) = told.split_once("kept ").expect("it was asked for");
    assert!(!again.contains("ip_local_reserved_ports="), "{again}");
}
