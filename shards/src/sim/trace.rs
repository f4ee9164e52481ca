//! What happened, as a number (to compare two runs) and, when asked for, as text (to read one).

use crate::types::Instant;
use std::collections::VecDeque;
use std::fmt;

/// The running digest of a run, and its last lines when they are kept.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    keep: usize,
    lines: VecDeque<String>,
}

impl Trace {
    /// Keep the last `keep` lines; 0 keeps none and formats none.
    pub fn new(keep: usize) -> Self {
        Self { hash: OFFSET, events: 0, keep, lines: VecDeque::new() }
    }

    /// Note one event: its moment and `bytes` go into the digest, `line` into the text.
    pub fn note(&mut self, now: Instant, bytes: &[u8], line: fmt::Arguments<'_>) {
        self.mix(now, bytes);
        self.say(now, line);
    }

    /// Note one event that is not worth a line.
    fn mix(&mut self, now: Instant, bytes: &[u8]) {
        self.events += 1;
        self.hash = mix(mix(self.hash, &now.as_nanos().to_le_bytes()), bytes);
    }

    /// A line of text that is not part of the digest.
    pub fn say(&mut self, now: Instant, line: fmt::Arguments<'_>) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:10.4} {line}", now.as_nanos() as f64 / 1e9));
    }

    /// The digest so far: equal for two runs in which the same things happened at the same moments.
    pub const fn digest(&self) -> u64 {
        self.hash
    }

    /// Number of events in the digest.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The lines that were kept, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// FNV-1a: not cryptographic, but the same on every machine and in every release.
pub fn fnv(bytes: &[u8]) -> u64 {
    mix(OFFSET, bytes)
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn mix(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> u64 {
        let mut trace = Trace::new(0);
        trace.note(Instant::ZERO, bytes, format_args!("x"));
        trace.digest()
    }

    #[test]
    fn the_digest_depends_on_what_happened() {
        assert_eq!(digest(b"one"), digest(b"one"));
        assert_ne!(digest(b"one"), digest(b"two"));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut trace = Trace::new(2);
        for n in 0..3 {
            trace.note(Instant::ZERO, b"", format_args!("{n}"));
        }
        let lines: Vec<&str> = trace.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('2'));
    }
}
