//! A process that is measured, and ended with all its children when it is no longer needed.

use anyhow::{Context, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid as ClockPid;
use portolan_loadgen::bare::kernel::is_bound;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// What a process still opens after its first socket.
const SETTLE: Duration = Duration::from_millis(500);
/// How long it may take to end when asked to.
const END: Duration = Duration::from_secs(3);

/// One started process and its children; they are a process group of their own.
#[derive(Debug)]
pub(super) struct Peer {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Peer {
    /// Start a program, its output in a file of `home`, and wait until somebody listens at `address`. It is told to end
    /// when this process ends, however that happens.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        home: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = home.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).args(arguments).process_group(0);
        command.env("PORTOLAN_LOG", "warn").current_dir(home);
        let command = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {name} by setpriv"))?;
        let mut peer = Self { name, child, log };
        peer.wait_for(address)?;
        Ok(peer)
    }

    fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while !is_bound(address) {
            self.must_live()?;
            if Instant::now() > end {
                bail!("{} does not listen at {address}: {}", self.name, self.last_words());
            }
            sleep(LOOK);
        }
        sleep(SETTLE);
        self.must_live()
    }

    /// An error when it has ended, with what it said last.
    pub(super) fn must_live(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended ({status}): {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Processor time of the whole group so far: user and system.
    pub(super) fn cpu(&self) -> Duration {
        self.members().into_iter().filter_map(cpu_of).sum()
    }

    /// Anonymous resident memory of the whole group, in octets.
    pub(super) fn memory(&self) -> u64 {
        self.members().into_iter().map(anonymous).sum()
    }

    /// Open files of the whole group.
    pub(super) fn descriptors(&self) -> u64 {
        let count = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.members().into_iter().map(count).sum::<usize>() as u64
    }

    fn members(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| group(pid) == Some(self.child.id())).collect()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // There may be nobody left in the group: that is what is wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            sleep(LOOK);
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The process group of a process (proc(5): the fifth field; the second may hold blanks).
fn group(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// User and system time of all threads of a process, ended ones included: finer than the ticks in proc(5).
fn cpu_of(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(ClockPid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// A program that must be installed.
pub(super) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed; scripts/bench installs it on Debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_and_memory_are_seen() {
        let pid = std::process::id();
        let before = cpu_of(pid).expect("time");
        let block = std::hint::black_box(vec![1_u8; 8 << 20]);
        assert!(cpu_of(pid).expect("time") > before);
        assert!(anonymous(pid) > block.len() as u64 / 2);
        assert!(group(pid).is_some());
    }

    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_words() {
        let home = tempfile::tempdir().expect("directory");
        let arguments = ["-c".into(), "echo no such thing; exit 3".into()];
        let nowhere = SocketAddr::from(([127, 96, 0, 1], 9));
        let error = Peer::start(Path::new("/bin/sh"), &arguments, home.path(), nowhere).expect_err("it ends");
        assert!(format!("{error:#}").contains("no such thing"), "{error:#}");
    }
}
