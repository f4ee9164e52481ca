//! Instructions in user code for one packet or message, counted by valgrind: steady where times are not.
//!
//! usage: scripts/instructions [--update | --json]
//!
//! Each case runs twice in a process of its own, a number of times and twice that; the difference is what one time
//! takes, without start and preparation. `benches/instructions.json` holds what each took when it was last accepted: a
//! case that takes over a twentieth more fails (exit 1), and so does one that the file does not know. `--update` writes
//! the file anew. 2 is wrong usage, or valgrind is missing.

mod cases;

use cases::{CASES, Case};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How often each case is done.
const TIMES: u16 = 2_000;
/// What is accepted above the ratchet: hosts differ in the widest vector instructions that libraries choose.
const TOLERANCE: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", name, times] => run(name, times),
        [] => measure(false, false),
        ["--json"] => measure(false, true),
        ["--update"] => measure(true, false),
        _ => wrong("usage: scripts/instructions [--update | --json]"),
    }
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

/// Under valgrind: a case, so many times.
fn run(name: &str, times: &str) -> ExitCode {
    let (Some(case), Ok(times)) = (CASES.iter().find(|case| case.name == name), times.parse::<u16>()) else {
        return wrong("no such case");
    };
    let mut once = (case.prepare)(TIMES * 2);
    (0..times).for_each(|_| once());
    ExitCode::SUCCESS
}

fn measure(update: bool, json: bool) -> ExitCode {
    let mut counts = BTreeMap::new();
    for case in CASES {
        match count(case) {
            Ok(count) => counts.insert(case.name.to_owned(), count),
            Err(error) => return wrong(&format!("{}: {error}", case.name)),
        };
    }
    if json {
        println!("{}", text(&counts));
    }
    if update {
        return write(&counts);
    }
    let limits = limits();
    let exceeded = CASES.iter().filter(|case| !holds(case, &counts, &limits, !json)).count();
    if exceeded > 0 {
        eprintln!(
            "{exceeded} above the ratchet. If that is meant: scripts/instructions --update, and say why in the commit"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions of one time.
fn count(case: &Case) -> Result<u64, String> {
    let (once, twice) = (instructions(case, TIMES)?, instructions(case, TIMES * 2)?);
    Ok(twice.saturating_sub(once) / u64::from(TIMES))
}

/// Instructions of a whole process that does a case so many times.
fn instructions(case: &Case, times: u16) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["--run", case.name, &times.to_string()]);
    let output = command.output().map_err(|error| format!("valgrind: {error} (apt-get install valgrind)"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().filter(|_| output.status.success()).find_map(|line| {
        let (_, number) = line.split_once("Collected : ")?;
        number.trim().parse().ok()
    });
    collected.ok_or_else(|| format!("valgrind counted nothing:\n{told}"))
}

/// Is the case within its limit? Tells.
fn holds(case: &Case, counts: &BTreeMap<String, u64>, limits: &BTreeMap<String, u64>, tell: bool) -> bool {
    let count = counts.get(case.name).copied().unwrap_or_default();
    let limit = limits.get(case.name).copied();
    let most = limit.map(|limit| (limit as f64 * (1.0 + TOLERANCE)).ceil() as u64);
    let verdict = match (limit, most) {
        (_, None) => "not in the file",
        (_, Some(most)) if count > most => "TOO MANY",
        (Some(limit), _) if (count as f64) < limit as f64 * (1.0 - TOLERANCE) => {
            "ok, fewer: --update keeps it so"
        }
        _ => "ok",
    };
    if tell {
        let limit = limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        println!("{:<16} {count:>7} instructions (ratchet {limit:>6}) {verdict:<8} {}", case.name, case.what);
    }
    most.is_some_and(|most| count <= most)
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/instructions.json")
}

fn limits() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn text(counts: &BTreeMap<String, u64>) -> String {
    serde_json::to_string(counts).unwrap_or_default()
}

fn write(counts: &BTreeMap<String, u64>) -> ExitCode {
    let text = serde_json::to_string_pretty(counts).unwrap_or_default() + "\n";
    match std::fs::write(file(), text) {
        Ok(()) => {
            println!("{} written", file().display());
            ExitCode::SUCCESS
        }
        Err(error) => wrong(&format!("{}: {error}", file().display())),
    }
}
