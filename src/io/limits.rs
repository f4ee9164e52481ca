//! Limits of the process.

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
}
