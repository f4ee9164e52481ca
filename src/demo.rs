//! `portolan demo`: proxy, NATed terminals and softswitch in one process on loopback, and what came of it.
//!
//! The terminals and the softswitch are the load generator's: they parse with a parser of their own and check every packet,
//! so that the proxy does not judge itself.

use crate::cli::{DemoNat, DemoOptions};
use crate::io::limits::raise_open_files;
use crate::loopback::{Wanted, access_port, loopback};
use crate::process::OPEN_FILES;
use crate::reload::contexts;
use crate::runtime::{Options, Runtime, ShardSnapshot};
use anyhow::{Context, anyhow, bail};
use portolan_loadgen::report::{Crossings, Relay};
use portolan_loadgen::{NatChoice, Phase, Plan, Progress, Report};
use portolan_shards::io::DropReason;
use portolan_shards::shard::Shard;
use portolan_shards::sim::NatKind;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long each end of a call talks.
const TALK: Duration = Duration::from_millis(1500);
/// Silence before BYE.
const LINGER: Duration = Duration::from_millis(500);
/// Registering may take this share of the time.
const REGISTERING: Duration = Duration::from_secs(1);
/// How long sessions may take to end after the last BYE.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where calls fork or are abandoned: another branch may still answer for 64 T1 (RFC 3261 section 13.2.2.4), and
/// so long does a BYE wait for its answer.
const LINGERING: Duration = Duration::from_secs(75);
/// Between two rows of the table when no terminal shows it.
const ROW: Duration = Duration::from_secs(1);

/// Run the demonstration. The exit code is a failure when anything at all went wrong.
pub fn run(options: &DemoOptions) -> ExitCode {
    match demonstrate(options) {
        Ok(report) => {
            tell(options, &report);
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("portolan demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(options: &DemoOptions) -> anyhow::Result<Report> {
    let plan = plan(options)?;
    let wanted = Wanted {
        network: &options.network,
        speech: options.proto.speech(),
        shards: options.shards,
        access: options.transport.into(),
        core: options.core_transport.into(),
        keepalive: None,
    };
    let loopback = loopback(wanted)?;
    let plan = Plan { tls: loopback.tls.clone(), ..plan };
    let loaded = &loopback.loaded;
    // SO_REUSEPORT would let two demonstrations share the proxy's addresses; nobody shares the softswitch's.
    drop(UdpSocket::bind(plan.softswitch).with_context(|| format!("cannot listen on {}", plan.softswitch))?);
    raise_open_files(OPEN_FILES).context("cannot raise the limit of open files")?;
    let started = Options {
        mapping: Arc::clone(&loaded.mapping),
        cores: loaded.cores.clone(),
        seed: None,
        tls: Arc::new(contexts(loaded).map_err(|errors| anyhow!("bad certificates\n{errors}"))?),
    };
    let runtime = Runtime::start::<Shard>(&started)?;
    introduce(options, &plan);
    let before = Work::of(&runtime.fresh_stats());
    let mut table = Table::new();
    let mut report = portolan_loadgen::run(&plan, |progress| table.row(progress, &runtime.stats()))?;
    let rest = settle(&runtime, if plan.scenario.lingers() { LINGERING } else { PATIENCE });
    report.relay = relay(options.shards, before, &rest);
    if let Some(shard) = runtime.failed() {
        bail!("shard {} has failed", shard.0);
    }
    runtime.stop()?;
    Ok(report)
}

fn plan(options: &DemoOptions) -> anyhow::Result<Plan> {
    let at = |rest: &str| format!("{}.{rest}", options.network).parse::<SocketAddr>();
    let bad = || format!("{} is not the beginning of an IPv4 address", options.network);
    let speech = options.proto.speech();
    let base = Plan::speaking(speech);
    let length = Duration::from_secs(options.seconds.into());
    let calling = length.saturating_sub(REGISTERING + TALK + LINGER + REGISTERING).max(REGISTERING);
    let (transport, core_transport) = (options.transport.into(), options.core_transport.into());
    speech
        .carried_by(transport)
        .and_then(|()| speech.carried_by(core_transport))
        .map_err(anyhow::Error::msg)?;
    let scenario = options.scenario.clone().unwrap_or_default();
    Ok(Plan {
        access: at(&format!("1.1:{}", access_port(speech, transport))).with_context(bad)?,
        transport,
        core_transport,
        scenario,
        core: Some(at(&format!("2.1:{}", speech.access_port())).with_context(bad)?),
        softswitch: at(&format!("3.1:{}", speech.core_port())).with_context(bad)?,
        namesakes: options.namesakes,
        nat_base: format!("{}.4.1", options.network).parse().with_context(bad)?,
        nat: NatChoice::Kind(kind(options.nat)),
        registrations: options.registrations,
        register_rate: f64::from(options.registrations) / REGISTERING.as_secs_f64(),
        calls: options.calls,
        rate: f64::from(options.calls) / calling.as_secs_f64(),
        talk: TALK,
        linger: LINGER,
        ..base
    })
}

const fn kind(nat: DemoNat) -> NatKind {
    match nat {
        DemoNat::Full => NatKind::FullCone,
        DemoNat::Restricted => NatKind::Restricted,
        DemoNat::Port => NatKind::PortRestricted,
        DemoNat::Symmetric => NatKind::Symmetric,
    }
}

fn introduce(options: &DemoOptions, plan: &Plan) {
    let (shards, nats) = (options.shards, plan.nats());
    let (one, switch) = plan.speech.parties();
    println!("Portolan with {shards} shards: access {}, {switch} at {}", plan.access, plan.softswitch);
    println!(
        "{} {one}s with private addresses behind {nats} {:?} NATs; {} calls: {one} to trunk, trunk to {one}, \
         {one} to {one} behind the same NAT and behind another\n",
        plan.registrations, options.nat, plan.calls
    );
}

/// The live table: its last line is redrawn on a terminal; elsewhere a line a second is printed.
struct Table {
    tty: bool,
    next: Duration,
}

impl Table {
    fn new() -> Self {
        println!(
            "{:>8}  what        registered   calls answered open failed   packets  lost  sessions ports",
            "time"
        );
        Self { tty: std::io::stdout().is_terminal(), next: Duration::ZERO }
    }

    fn row(&mut self, progress: &Progress, shards: &[Arc<ShardSnapshot>]) {
        let over = progress.phase == Phase::Over;
        if !self.tty && !over && progress.elapsed < self.next {
            return;
        }
        self.next = progress.elapsed + ROW;
        let row = row(progress, shards);
        let mut out = std::io::stdout();
        let (before, after) = match (self.tty, over) {
            (true, false) => ("\r\x1b[K", ""),
            (true, true) => ("\r\x1b[K", "\n"),
            (false, _) => ("", "\n"),
        };
        // Nobody may be looking any more; the demonstration goes on.
        let _ = write!(out, "{before}{row}{after}").and_then(|()| out.flush());
    }
}

fn row(progress: &Progress, shards: &[Arc<ShardSnapshot>]) -> String {
    let phase = match progress.phase {
        Phase::Registering => "registering",
        Phase::Resting => "resting",
        Phase::Calling => "calling",
        Phase::Ending => "ending",
        Phase::Over => "over",
    };
    let sessions: u64 = shards.iter().map(|shard| shard.stats.sessions).sum();
    let ports: u64 = shards.iter().map(|shard| shard.stats.ports).sum();
    format!(
        "{:6.1} s  {phase:<12} {:>8} {:>7} {:>8} {:>4} {:>6} {:>9} {:>5} {sessions:>9} {ports:>5}",
        progress.elapsed.as_secs_f64(),
        progress.registered,
        progress.attempted,
        progress.answered,
        progress.open,
        progress.failed,
        progress.received,
        progress.lost
    )
}

/// Wait until nothing is left of the calls; what is left after `patience` shows in the report.
fn settle(runtime: &Runtime, patience: Duration) -> Vec<Arc<ShardSnapshot>> {
    let end = Instant::now() + patience;
    loop {
        let shards = runtime.fresh_stats();
        let empty = shards.iter().all(|shard| shard.stats.sessions == 0 && shard.stats.ports == 0);
        if empty || Instant::now() >= end {
            return shards;
        }
        sleep(Duration::from_millis(50));
    }
}

/// What the shards have done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    cpu: Duration,
    packets: u64,
}

impl Work {
    fn of(shards: &[Arc<ShardSnapshot>]) -> Self {
        let packets = shards.iter().map(|shard| shard.stats.rtp_packets + shard.stats.rtcp_packets).sum();
        Self { cpu: shards.iter().map(|shard| shard.cpu).sum(), packets }
    }
}

fn relay(shards: u16, before: Work, rest: &[Arc<ShardSnapshot>]) -> Relay {
    let after = Work::of(rest);
    let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6;
    let sum = |of: fn(&ShardSnapshot) -> u64| rest.iter().map(|shard| of(shard)).sum();
    Relay {
        shards,
        cpu_us_per_packet: cpu / (after.packets - before.packets).max(1) as f64,
        crossings: Crossings {
            signaling: sum(|shard| shard.stats.crossings_signaling),
            media: sum(|shard| shard.stats.crossings_media),
        },
        sessions_left: sum(|shard| shard.stats.sessions),
        ports_left: sum(|shard| shard.stats.ports),
        drops: drops(rest),
    }
}

/// What all shards dropped, where they dropped anything.
fn drops(shards: &[Arc<ShardSnapshot>]) -> BTreeMap<&'static str, u64> {
    let all = |reason: DropReason| shards.iter().map(|shard| shard.stats.dropped(reason)).sum();
    let each = DropReason::ALL.iter().map(|&reason| (reason.label(), all(reason)));
    each.filter(|(_, count)| *count > 0).collect()
}

fn tell(options: &DemoOptions, report: &Report) {
    println!("\nThe first call, as both sides saw it:\n{}", report.ladder);
    println!("{}", report.table());
    report.findings.iter().for_each(|finding| println!("{finding}"));
    println!("{}", if report.is_good() { "all good" } else { "NOT GOOD" });
    if options.json {
        println!("{}", report.json());
    }
}
