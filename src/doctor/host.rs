//! The machine as files below a root directory, and the few commands whose answers no file holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The machine that is looked at.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    live: bool,
}

impl Host {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        Self { root: PathBuf::from("/"), live: true }
    }

    /// A machine laid out below a directory: `proc` and `sys` as on a real one, and in `commands` the answers of
    /// commands, each in a file that is named like its command line (`ethtool -n eth0`). Nothing is run.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), live: false }
    }

    /// Is it the machine that this process runs on?
    pub(super) const fn is_live(&self) -> bool {
        self.live
    }

    /// A file without the white space around it; `None` when it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds a number.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Is there such a file or directory?
    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// What a command prints; `None` when there is no such command or it fails.
    pub(super) fn command(&self, line: &str) -> Option<String> {
        if !self.live {
            return self.text(&format!("commands/{line}"));
        }
        let mut words = line.split(' ');
        let output = Command::new(words.next()?).args(words).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A line `name: value` of a file in `/proc`, as in `/proc/self/status`.
    pub(super) fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }
}

/// The numbers of the kernel's lists: `0-3,8`.
pub(super) fn numbers(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ranges_and_numbers() {
        assert_eq!(numbers("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(numbers("7"), [7]);
        assert_eq!(numbers(""), [] as [usize; 0]);
    }

    #[test]
    fn a_machine_of_files_runs_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::at(root.path());
        assert_eq!((host.command("true"), host.number("proc/x"), host.is_live()), (None, None, false));
        fs::create_dir(root.path().join("commands")).expect("writable");
        fs::write(root.path().join("commands/ethtool -n eth0"), "two rules\n").expect("writable");
        assert_eq!(host.command("ethtool -n eth0").as_deref(), Some("two rules"));
    }
}
