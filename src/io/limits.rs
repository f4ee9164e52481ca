//! Limits of the process, and what the kernel says about those of the machine.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Raises the number of files that may be open (RLIMIT_NOFILE) to `want`, or as near as the hard limit and our
/// privileges allow. Returns what holds now.
///
/// # Errors
/// Those of `setrlimit(2)`; the limit is unchanged then.
pub fn raise_open_files(want: u64) -> io::Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let (soft, hard) = (now.current.unwrap_or(u64::MAX), now.maximum.unwrap_or(u64::MAX));
    if soft >= want {
        return Ok(soft);
    }
    // Only a privileged process may raise the hard limit too.
    if want > hard && set(want, want).is_ok() {
        return Ok(want);
    }
    let reachable = want.min(hard);
    set(reachable, hard)?;
    Ok(reachable)
}

/// How many files may be open now.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// UDP datagrams that the kernel has dropped in this network namespace, IPv4 and IPv6, by kind: `receive_buffer` and
/// `send_buffer` of a socket were full, `memory` of all sockets was (net.ipv4.udp_mem). 0 where the kernel does not tell.
///
/// A count for each socket would cost 24 octets of ancillary data with each packet (SO_RXQ_OVFL); this costs nothing.
pub fn udp_errors() -> [(&'static str, u64); 3] {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    count_udp_errors(&read("/proc/self/net/snmp"), &read("/proc/self/net/snmp6"))
}

fn count_udp_errors(v4: &str, v6: &str) -> [(&'static str, u64); 3] {
    let kinds =
        [("receive_buffer", "RcvbufErrors"), ("send_buffer", "SndbufErrors"), ("memory", "MemErrors")];
    kinds.map(|(kind, name)| (kind, in_rows(v4, name) + in_lines(v6, name)))
}

/// A row of names, then a row of values.
fn in_rows(text: &str, name: &str) -> u64 {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
    let value = names.split(' ').zip(values.split(' ')).find(|(own, _)| *own == name);
    value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

/// A name and its value a line.
fn in_lines(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp6")?.strip_prefix(name));
    lines.next().and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn set(soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(soft), maximum: (hard != u64::MAX).then_some(hard) };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_never_lowers() {
        let before = open_files();
        assert_eq!(raise_open_files(1).unwrap(), before);
        let after = raise_open_files(before + 1).unwrap();
        assert!(after >= before);
        assert_eq!(after, open_files());
    }

    #[test]
    fn the_kernel_s_counts_of_udp_are_read() {
        let v4 = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams InErrors RcvbufErrors SndbufErrors MemErrors\nUdp: 9 8 7 6 5\nUdpLite: RcvbufErrors\nUdpLite: 99\n";
        let v6 = "Ip6InReceives   \t3\nUdp6RcvbufErrors   \t30\nUdp6SndbufErrors   \t20\nUdpLite6RcvbufErrors \t99\n";
        let expected = [("receive_buffer", 37), ("send_buffer", 26), ("memory", 5)];
        assert_eq!(count_udp_errors(v4, v6), expected);
        assert_eq!(count_udp_errors("", "").map(|(_, count)| count), [0; 3]);
    }
}
