//! Medians, and what the kernel keeps for sockets.

use std::fs::read_to_string;

/// The middle one; of an even number, the mean of the two in the middle. 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Rounded to so many decimal places, for reports.
pub(super) fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}

/// Objects of the kernel that a UDP socket, its file, and a receive of io_uring on it are made of: the caches of
/// slabinfo(5).
const PER_SOCKET: [&str; 3] = ["UDP", "sock_inode_cache", "io_kiocb"];
/// These belong to every open file, and other processes open files too: counted by descriptors instead.
const PER_FILE: [&str; 2] = ["filp", "dentry"];

/// What the kernel holds for sockets, in octets; 0 where slabinfo cannot be read. `descriptors` are those of the
/// measured process.
pub(super) fn kernel_memory(descriptors: u64) -> u64 {
    let text = read_to_string("/proc/slabinfo").unwrap_or_default();
    let caches = |names: &'static [&'static str]| {
        text.lines().filter_map(cache).filter(move |(name, ..)| names.contains(name))
    };
    let sockets: u64 = caches(&PER_SOCKET).map(|(_, objects, size)| objects * size).sum();
    let files: u64 = caches(&PER_FILE).map(|(.., size)| descriptors * size).sum();
    sockets + files
}

fn cache(line: &str) -> Option<(&str, u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (name, objects) = (fields.next()?, fields.next()?.parse().ok()?);
    Some((name, objects, fields.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn a_line_of_slabinfo_is_read() {
        let line = "UDP  60 108 1344 12 4 : tunables 0 0 0 : slabdata 9 9 0";
        assert_eq!(cache(line), Some(("UDP", 60, 1344)));
        assert_eq!(cache("slabinfo - version: 2.1"), None);
    }

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(rounded(1.2349, 2), 1.23);
    }
}
