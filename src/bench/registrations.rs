//! `portolan bench registrations`: what a registered terminal and a connection cost in memory, and how evenly terminals
//! are kept reachable.
//!
//! The proxy runs in this process, so that its allocator can be asked; the terminals and their softswitch run in a child,
//! so that nothing of theirs is counted.

use super::options::RegistrationsOptions;
use crate::io::heap::{self, Heap};
use crate::io::limits::raise_open_files;
use crate::loopback::{Wanted, loopback};
use crate::process::OPEN_FILES;
use crate::runtime::{Options, Runtime};
use anyhow::{Context, bail, ensure};
use portolan_loadgen::{Mix, NatChoice, Phase, Plan};
use portolan_shards::shard::Shard;
use portolan_shards::sim::plan::Speech;
use portolan_shards::types::Transport;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Own memory that a registered terminal may take, in octets.
const BINDING: f64 = 1024.0;
/// Own memory that a connection may take, in octets.
const CONNECTION: f64 = 4096.0;
/// The fullest tenth of a second may hold this many times the average.
const PEAK: f64 = 3.0;

/// Run the benchmark; false when a goal was missed.
pub(super) fn run(options: &RegistrationsOptions) -> anyhow::Result<bool> {
    if options.generator { generate(options).map(|()| true) } else { measure(options) }
}

/// The child: terminals and softswitch. Tells its progress in lines of JSON; the last one is its report.
fn generate(options: &RegistrationsOptions) -> anyhow::Result<()> {
    raise_open_files(OPEN_FILES).context("cannot raise the limit of open files")?;
    let report = portolan_loadgen::run(&plan(options)?, |progress| {
        let line = Line { resting: progress.phase == Phase::Resting, registered: progress.registered };
        say(&serde_json::to_string(&line).unwrap_or_default());
    })?;
    say(&report.json());
    Ok(())
}

fn say(line: &str) {
    // Nobody reads any more when the parent has gone; the run ends by itself.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What the child tells four times a second.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Line {
    resting: bool,
    registered: u32,
}

fn plan(options: &RegistrationsOptions) -> anyhow::Result<Plan> {
    let at = |rest: &str| format!("{}.{rest}", options.network).parse::<SocketAddr>();
    let bad = || format!("{} is not the beginning of an IPv4 address", options.network);
    Ok(Plan {
        access: at("1.1:5060").with_context(bad)?,
        core: Some(at("2.1:5060").with_context(bad)?),
        softswitch: at("3.1:5060").with_context(bad)?,
        nat_base: format!("{}.4.1", options.network).parse().with_context(bad)?,
        nat: NatChoice::None,
        per_nat: 1,
        registrations: options.terminals,
        register_rate: options.rate,
        transport: Transport::Tcp,
        datagrams: options.terminals - options.connections,
        rest: Duration::from_secs(options.rest.into()),
        keepalive: Some(Duration::from_secs(options.interval.into())),
        calls: options.calls,
        rate: f64::from(options.calls) / 2.0,
        talk: Duration::from_millis(500),
        mix: Mix { weights: [0, 1, 0, 0] },
        ..Plan::loopback()
    })
}

/// The proxy's memory and tables at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sample {
    /// What the proxy's allocator has given out, and what the kernel keeps in memory for it.
    #[serde(flatten)]
    heap: Heap,
    bindings: u64,
    connections: u64,
    transactions: u64,
    /// Bindings that the proxy gave up so far.
    bindings_lost: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    terminals: u32,
    registered: u64,
    /// At the start, with terminals over UDP, and with terminals over TCP too.
    stages: [Sample; 3],
    binding_octets: f64,
    connection_octets: f64,
    binding_resident_octets: f64,
    connection_resident_octets: f64,
    keepalives_per_slot: f64,
    keepalives_in_fullest_slot: u64,
    keepalive_peak: f64,
    longest_gap_ms: f64,
    missed_bindings: u64,
    bindings_lost: u64,
    connections_lost: u64,
    calls_answered: u64,
    calls: u32,
    good: bool,
}

fn measure(options: &RegistrationsOptions) -> anyhow::Result<bool> {
    ensure!(options.connections <= options.terminals, "more connections than terminals");
    raise_open_files(OPEN_FILES).context("cannot raise the limit of open files")?;
    let loaded = loopback(Wanted {
        speech: Speech::Sip,
        network: &options.network,
        shards: options.shards,
        access: Transport::Tcp,
        core: Transport::Udp,
        keepalive: Some(options.interval),
    })?
    .loaded;
    let (mapping, cores) = (Arc::clone(&loaded.mapping), loaded.cores);
    let runtime = Runtime::start::<Shard>(&Options { mapping, cores, seed: None, tls: Arc::default() })?;
    std::thread::sleep(Duration::from_secs(1));
    let start = sample(&runtime);
    let mut child = spawn()?;
    let told = follow(options, &runtime, &mut child);
    if told.is_err() {
        // It has ended by itself, or is of no use any more.
        let _ = child.kill();
    }
    child.wait()?;
    let (stages, report) = told?;
    runtime.stop()?;
    let outcome = judge(options, [start, stages[0], stages[1]], &report);
    tell(options, &outcome);
    Ok(outcome.good)
}

/// The child is this very command once more, with all its options.
fn spawn() -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg("--generator");
    command.stdout(Stdio::piped()).spawn().context("cannot start the terminals")
}

/// Measure while the child runs: the last sample of each rest counts.
fn follow(
    options: &RegistrationsOptions,
    runtime: &Runtime,
    child: &mut Child,
) -> anyhow::Result<([Sample; 2], Value)> {
    let output = child.stdout.take().context("no output")?;
    let mut stages = [Sample::default(); 2];
    let mut last = String::new();
    for line in BufReader::new(output).lines() {
        last = line?;
        let Ok(progress) = serde_json::from_str::<Line>(&last) else { continue };
        if progress.resting {
            let all = progress.registered > options.terminals - options.connections;
            stages[usize::from(all)] = sample(runtime);
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r{:6} registered", progress.registered);
        }
    }
    let report: Value = serde_json::from_str(&last).context("the terminals gave no report")?;
    if let Some(shard) = runtime.failed() {
        bail!("shard {} has failed", shard.0);
    }
    Ok((stages, report))
}

fn sample(runtime: &Runtime) -> Sample {
    let shards = runtime.fresh_stats();
    Sample {
        heap: heap::now(),
        bindings: shards.iter().map(|shard| shard.stats.bindings).sum(),
        connections: shards.iter().map(|shard| shard.streams.open.iter().sum::<u64>()).sum(),
        transactions: shards.iter().map(|shard| shard.stats.transactions).sum(),
        bindings_lost: shards.iter().map(|shard| shard.stats.bindings_lost).sum(),
    }
}

fn judge(options: &RegistrationsOptions, stages: [Sample; 3], report: &Value) -> Outcome {
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
    let count = |pointer: &str| number(pointer) as u64;
    let peak = number("/keepalives/slot_max") / number("/keepalives/slot_mean").max(f64::MIN_POSITIVE);
    let (binding, connection) = costs(&stages, |heap| heap.live);
    let (binding_resident, connection_resident) = costs(&stages, |heap| heap.resident);
    let registered = count("/registrations/ok");
    let mut outcome = Outcome {
        terminals: options.terminals,
        registered,
        stages,
        binding_octets: binding,
        connection_octets: connection,
        binding_resident_octets: binding_resident,
        connection_resident_octets: connection_resident,
        keepalives_per_slot: number("/keepalives/slot_mean"),
        keepalives_in_fullest_slot: count("/keepalives/slot_max"),
        keepalive_peak: peak,
        longest_gap_ms: number("/keepalives/longest_gap_ms"),
        missed_bindings: count("/keepalives/missed"),
        bindings_lost: stages[2].bindings_lost,
        connections_lost: count("/generator/connections_lost"),
        calls_answered: count("/calls/answered"),
        calls: options.calls,
        good: false,
    };
    outcome.good = is_good(&outcome, options.connections);
    outcome
}

/// Octets of a binding, and of a connection beyond its binding.
fn costs(stages: &[Sample; 3], of: fn(&Heap) -> u64) -> (f64, f64) {
    let [start, bound, connected] = stages.map(|stage| of(&stage.heap) as f64);
    let bindings = stages[1].bindings.saturating_sub(stages[0].bindings).max(1) as f64;
    let connections = stages[2].connections.saturating_sub(stages[1].connections).max(1) as f64;
    let binding = (bound - start) / bindings;
    let further = stages[2].bindings.saturating_sub(stages[1].bindings) as f64;
    (binding, (connected - bound - binding * further) / connections)
}

fn is_good(outcome: &Outcome, connections: u32) -> bool {
    let whole = outcome.registered == u64::from(outcome.terminals)
        && outcome.stages[2].bindings == u64::from(outcome.terminals)
        && outcome.stages[2].connections == u64::from(connections)
        && outcome.calls_answered == u64::from(outcome.calls);
    let small = outcome.binding_octets <= BINDING && outcome.connection_octets <= CONNECTION;
    let lost = outcome.missed_bindings + outcome.bindings_lost + outcome.connections_lost;
    whole && small && lost == 0 && outcome.keepalive_peak <= PEAK
}

fn tell(options: &RegistrationsOptions, outcome: &Outcome) {
    if options.json {
        return println!("{}", serde_json::to_string(outcome).unwrap_or_default());
    }
    println!(
        "{:<24}{:>10}{:>13}{:>14}{:>14}{:>12}",
        "", "bindings", "connections", "transactions", "heap KiB", "RSS KiB"
    );
    let names = ["start", "terminals over UDP", "and over TCP"];
    for (name, stage) in names.into_iter().zip(&outcome.stages) {
        let (live, resident) = (stage.heap.live >> 10, stage.heap.resident >> 10);
        println!(
            "{name:<24}{:>10}{:>13}{:>14}{live:>14}{resident:>12}",
            stage.bindings, stage.connections, stage.transactions
        );
    }
    let row = |name: &str, text: String| println!("{name:<24}{text}");
    println!();
    row("registered", format!("{} of {}", outcome.registered, outcome.terminals));
    row("a binding", cost(outcome.binding_octets, outcome.binding_resident_octets));
    row("a connection", cost(outcome.connection_octets, outcome.connection_resident_octets));
    row("keepalives", spread(outcome));
    row("longest silence", format!("{:.0} ms; interval {} s", outcome.longest_gap_ms, options.interval));
    row(
        "missed bindings",
        format!("{}; {} dropped by the proxy", outcome.missed_bindings, outcome.bindings_lost),
    );
    row("connections lost", outcome.connections_lost.to_string());
    row("calls to terminals", format!("{} of {} answered", outcome.calls_answered, outcome.calls));
    println!("{}", if outcome.good { "all good" } else { "NOT GOOD" });
}

fn cost(live: f64, resident: f64) -> String {
    format!("{live:.0} octets of heap ({resident:.0} of RSS)")
}

fn spread(outcome: &Outcome) -> String {
    format!(
        "{:.1} in 100 ms on average, {} at most: {:.2} times",
        outcome.keepalives_per_slot, outcome.keepalives_in_fullest_slot, outcome.keepalive_peak
    )
}
