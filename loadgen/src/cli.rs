//! The command line of `loadgen`: SIPp's letters where SIPp has them.

use crate::engine::{Phase, Progress, run};
use crate::plan::{Direction, Mix, NatChoice, Plan};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::search::{Slo, highest};
use crate::tls::Tls;
use clap::{Args, Parser, ValueEnum};
use portolan_shards::sim::plan::Speech;
use portolan_shards::sim::{Challenge, Language, NatKind};
use portolan_shards::types::Transport;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Some calls failed, or something happened that must not.
const FAILED: u8 = 1;
/// No call was answered at all, or the run did not start.
const NOTHING: u8 = 99;

/// NATed terminals and a softswitch around a proxy, with calls in every direction and audio that is checked packet by packet.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen", version, about, long_about = None)]
#[command(
    after_help = "Exit codes: 0 all good, 1 some calls failed, 2 wrong usage, 99 no call.\nExample: loadgen -r 20 -m 200 -d 3000 --nat symmetric"
)]
pub struct Cli {
    /// What terminals and softswitch speak; all but sip: gateways and their controller
    #[arg(long, value_enum, default_value_t = ProtoOption::Sip)]
    proto: ProtoOption,
    /// Where terminals send: the proxy's access address; default: 127.0.1.1, at the protocol's port
    #[arg(long)]
    access: Option<SocketAddr>,
    /// The proxy's core address, which no terminal may see; default: 127.0.2.1, at the protocol's port
    #[arg(long)]
    core: Option<SocketAddr>,
    /// Where the softswitch listens; default: 127.0.3.1, at the protocol's port
    #[arg(long)]
    softswitch: Option<SocketAddr>,
    /// What carries the terminals' signaling; TLS needs --tls-ca or --tls-insecure
    #[arg(long, value_enum, default_value_t = TransportOption::Udp)]
    transport: TransportOption,
    /// What carries the softswitch's signaling; TLS needs --tls-cert and --tls-key too
    #[arg(long, value_enum, default_value_t = TransportOption::Udp)]
    core_transport: TransportOption,
    #[command(flatten)]
    tls: TlsOptions,
    /// No proxy: terminals with public addresses talk to the softswitch
    #[arg(long)]
    direct: bool,
    /// Calls a period
    #[arg(short = 'r', default_value_t = 10.0)]
    rate: f64,
    /// The period in milliseconds
    #[arg(long = "rp", value_name = "MS", default_value_t = 1000)]
    period: u64,
    /// No more calls than these at once
    #[arg(short = 'l', value_name = "CALLS")]
    concurrent: Option<u32>,
    /// Calls in all; default: the rate times --seconds
    #[arg(short = 'm', value_name = "CALLS")]
    total: Option<u32>,
    /// Length of a call in milliseconds
    #[arg(short = 'd', value_name = "MS", default_value_t = 2000)]
    duration: u64,
    /// The number that terminals call at the trunk; begins with +
    #[arg(short = 's', value_name = "NUMBER", default_value = "+4930123")]
    service: String,
    /// Own address of the softswitch, instead of the one in --softswitch
    #[arg(short = 'i', value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Own port of the softswitch, instead of the one in --softswitch
    #[arg(short = 'p', value_name = "PORT")]
    port: Option<u16>,
    /// How long calls are started, where -m does not say
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Terminals that register
    #[arg(long, default_value_t = 40)]
    registrations: u32,
    /// Before the terminals
    #[arg(long, value_enum, default_value_t = NatOption::Symmetric)]
    nat: NatOption,
    /// Terminals behind one NAT
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=200))]
    per_nat: u32,
    /// Gateways behind one NAT have all the same name, as they came from the factory
    #[arg(long)]
    namesakes: bool,
    /// Public address of the first NAT
    #[arg(long, default_value = "127.0.4.1")]
    nat_base: Ipv4Addr,
    /// Shares of terminal to trunk, trunk to terminal, same NAT, other NAT
    #[arg(long, value_delimiter = ',', num_args = 1, default_values_t = [1, 1, 1, 1])]
    mix: Vec<u32>,
    /// What happens in calls, and how terminals register (RON); default: plain calls
    #[arg(long, value_name = "FILE", value_parser = |file: &str| Scenario::load(file.as_ref()))]
    scenario: Option<Scenario>,
    /// Whom the softswitch asks for a password
    #[arg(long, value_enum, default_value_t = ChallengeOption::Nobody)]
    challenge: ChallengeOption,
    /// Signaling only
    #[arg(long)]
    no_rtp: bool,
    /// Rates to run one after the other: FROM:TO:STEP
    #[arg(long, value_parser = ramp, conflicts_with = "find_max")]
    ramp: Option<Ramp>,
    /// Find the highest rate that meets --slo
    #[arg(long)]
    find_max: bool,
    /// What a run must meet: failed=SHARE,lost=SHARE,setup=MS,delay=MS
    #[arg(long, default_value = "failed=0,lost=0.0001,setup=500,delay=20")]
    slo: Slo,
    /// Pin the generator to this core
    #[arg(long, value_name = "CORE")]
    pin: Option<usize>,
    /// Draw the messages of this call; without a number, of the first one
    #[arg(long, value_name = "CALL", num_args = 0..=1, default_missing_value = "1")]
    ladder: Option<u32>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

/// What terminals and softswitch speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtoOption {
    /// SIP (RFC 3261).
    Sip,
    /// MGCP (RFC 3435).
    Mgcp,
    /// H.248 in text.
    H248Text,
    /// H.248 in binary.
    H248Binary,
}

impl ProtoOption {
    /// The same for the endpoints.
    pub const fn speech(self) -> Speech {
        match self {
            Self::Sip => Speech::Sip,
            Self::Mgcp => Speech::Gateways(Language::Mgcp),
            Self::H248Text => Speech::Gateways(Language::H248Text),
            Self::H248Binary => Speech::Gateways(Language::H248Binary),
        }
    }
}

/// What carries signaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportOption {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
    /// Connections, enciphered.
    Tls,
}

impl From<TransportOption> for Transport {
    fn from(option: TransportOption) -> Self {
        match option {
            TransportOption::Udp => Self::Udp,
            TransportOption::Tcp => Self::Tcp,
            TransportOption::Tls => Self::Tls,
        }
    }
}

/// Certificates.
#[derive(Clone, Debug, Args)]
struct TlsOptions {
    /// Who may vouch for a server that is dialled (PEM)
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Take any certificate of a server that is dialled
    #[arg(long, conflicts_with = "tls_ca")]
    tls_insecure: bool,
    /// The name that a dialled server's certificate must show; default: the address
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// The softswitch's certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl TlsOptions {
    fn choice(&self) -> Tls {
        Tls {
            ca: self.tls_ca.clone(),
            insecure: self.tls_insecure,
            name: self.tls_name.clone(),
            certificate: self.tls_cert.clone().zip(self.tls_key.clone()),
        }
    }
}

/// What stands before the terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NatOption {
    None,
    Full,
    Restricted,
    Port,
    Symmetric,
}

/// Who must prove who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChallengeOption {
    Nobody,
    Registrations,
    Everything,
}

/// Rates one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ramp {
    from: f64,
    to: f64,
    step: f64,
}

fn ramp(text: &str) -> Result<Ramp, String> {
    let numbers: Result<Vec<f64>, _> = text.split(':').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[from, to, step]) if from > 0.0 && step > 0.0 && to >= from => Ok(Ramp { from, to, step }),
        _ => Err("expected FROM:TO:STEP, all above 0".into()),
    }
}

/// Do what the command line says. Wrong usage ends the process with 2.
pub fn main() -> ExitCode {
    // SIPp writes this one with a single dash, which clap would read as two options.
    let args = std::env::args().map(|arg| if arg == "-rp" { "--rp".into() } else { arg });
    let cli = Cli::parse_from(args);
    match cli.run() {
        Ok(report) => cli.tell(&report),
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            ExitCode::from(NOTHING)
        }
    }
}

impl Cli {
    fn run(&self) -> anyhow::Result<Report> {
        let rate = self.rate * 1000.0 / self.period.max(1) as f64;
        match self.ramp {
            Some(ramp) => self.ramp(ramp),
            None if self.find_max => self.find_max(rate),
            None => run(&self.plan(rate), show),
        }
    }

    fn ramp(&self, ramp: Ramp) -> anyhow::Result<Report> {
        let mut rate = ramp.from;
        let mut last = Report::default();
        while rate <= ramp.to {
            last = self.step(rate)?;
            rate += ramp.step;
        }
        Ok(last)
    }

    fn find_max(&self, start: f64) -> anyhow::Result<Report> {
        let mut best = None;
        let found = highest(start, |rate| {
            let report = self.step(rate)?;
            let good = self.slo.missed(&report).is_none();
            best = if good { Some(report) } else { best.take() };
            anyhow::Ok(good)
        })?;
        match found {
            Some(rate) => println!("highest rate: {rate:.1} calls a second"),
            None => println!("not even {start:.1} calls a second meet the level"),
        }
        Ok(best.unwrap_or_default())
    }

    /// One run of several: a line about it.
    fn step(&self, rate: f64) -> anyhow::Result<Report> {
        let total = (rate * self.seconds).ceil().max(1.0) as u32;
        let report = run(&Plan { calls: total, ..self.plan(rate) }, |_| {})?;
        let verdict = self.slo.missed(&report).unwrap_or_else(|| "meets the level".into());
        println!(
            "{rate:8.1}/s  {} of {} answered  {} lost  setup p99 {:.1} ms  delay p99 {:.0} us  {verdict}",
            report.calls.answered,
            report.calls.attempted,
            report.rtp.lost,
            report.setup_ms.p99,
            report.rtp.delay_us.p99
        );
        Ok(report)
    }

    fn plan(&self, rate: f64) -> Plan {
        let base = Plan::speaking(self.proto.speech());
        let softswitch = self.softswitch.unwrap_or(base.softswitch);
        let ip = self.ip.unwrap_or(softswitch.ip());
        let softswitch = SocketAddr::new(ip, self.port.unwrap_or(softswitch.port()));
        let proxied = !self.direct;
        Plan {
            access: if proxied { self.access.unwrap_or(base.access) } else { softswitch },
            core: self.core.or(base.core).filter(|_| proxied),
            softswitch,
            transport: self.transport.into(),
            core_transport: self.core_transport.into(),
            tls: self.tls.choice(),
            registrations: self.registrations,
            calls: self.total.unwrap_or((rate * self.seconds).ceil() as u32),
            rate,
            concurrent: self.concurrent,
            talk: Duration::from_millis(self.duration),
            rtp: !self.no_rtp,
            nat: if self.direct { NatChoice::None } else { self.nat.choice() },
            per_nat: self.per_nat,
            namesakes: self.namesakes,
            nat_base: self.nat_base,
            mix: self.weights(),
            scenario: self.scenario.clone().unwrap_or_default(),
            trunk_number: self.service.clone(),
            challenge: self.challenge.choice(),
            ladder: self.ladder.unwrap_or(1),
            pin: self.pin,
            ..base
        }
    }

    /// Directions that are not named get no calls.
    fn weights(&self) -> Mix {
        let at = |index| self.mix.get(index).copied().unwrap_or(0);
        Mix { weights: std::array::from_fn::<_, { Direction::ALL.len() }, _>(at) }
    }

    fn tell(&self, report: &Report) -> ExitCode {
        if self.ladder.is_some() {
            println!("\n{}", report.ladder);
        }
        println!("\n{}", report.table());
        report.findings.iter().for_each(|finding| println!("{finding}"));
        if self.json {
            println!("{}", report.json());
        }
        match (report.calls.answered, report.is_good()) {
            (_, true) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(NOTHING),
            _ => ExitCode::from(FAILED),
        }
    }
}

impl NatOption {
    const fn choice(self) -> NatChoice {
        match self {
            Self::None => NatChoice::None,
            Self::Full => NatChoice::Kind(NatKind::FullCone),
            Self::Restricted => NatChoice::Kind(NatKind::Restricted),
            Self::Port => NatChoice::Kind(NatKind::PortRestricted),
            Self::Symmetric => NatChoice::Kind(NatKind::Symmetric),
        }
    }
}

impl ChallengeOption {
    const fn choice(self) -> Challenge {
        match self {
            Self::Nobody => Challenge::Nobody,
            Self::Registrations => Challenge::Registrations,
            Self::Everything => Challenge::Everything,
        }
    }
}

/// The live line: redrawn in place on a terminal, one a second elsewhere.
pub fn show(progress: &Progress) {
    let tty = std::io::stdout().is_terminal();
    let whole_second = progress.elapsed.subsec_millis() < 250;
    if !tty && !whole_second && progress.phase != Phase::Over {
        return;
    }
    let line = progress.line();
    let mut out = std::io::stdout();
    // Nobody may be listening any more; the run goes on.
    let _ = match (tty, progress.phase) {
        (true, Phase::Over) => writeln!(out, "\r\x1b[K{line}"),
        (true, _) => write!(out, "\r\x1b[K{line}"),
        (false, _) => writeln!(out, "{line}"),
    };
    let _ = out.flush();
}

impl Progress {
    /// One line of text.
    pub fn line(&self) -> String {
        let phase = match self.phase {
            Phase::Registering => "registering",
            Phase::Resting => "resting",
            Phase::Calling => "calling",
            Phase::Ending => "ending",
            Phase::Over => "over",
        };
        format!(
            "{:6.1} s  {phase:<11}  {:5} registered  {:5} calls: {:5} answered {:4} open {:3} failed  {:8} packets {:3} lost",
            self.elapsed.as_secs_f64(),
            self.registered,
            self.attempted,
            self.answered,
            self.open,
            self.failed,
            self.received,
            self.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn plan(line: &str) -> Plan {
        let cli = Cli::try_parse_from(line.split(' ')).expect("good usage");
        cli.plan(cli.rate)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sipps_letters_mean_what_they_mean_in_sipp() {
        let plan =
            plan("loadgen -r 20 -m 200 -l 50 -d 3000 -s +1 -i 127.0.9.9 -p 5080 --nat full --mix 1,0,2");
        assert_eq!((plan.rate, plan.calls, plan.concurrent), (20.0, 200, Some(50)));
        assert_eq!((plan.talk, plan.trunk_number.as_str()), (Duration::from_secs(3), "+1"));
        assert_eq!(plan.softswitch.to_string(), "127.0.9.9:5080");
        assert_eq!(plan.nat, NatChoice::Kind(NatKind::FullCone));
        assert_eq!(plan.mix.weights, [1, 0, 2, 0]);
    }

    #[test]
    fn a_protocol_brings_its_ports() {
        let plan = plan("loadgen --proto mgcp --core 127.9.2.1:2427");
        assert_eq!((plan.access.port(), plan.softswitch.port()), (2427, 2727));
        assert_eq!(plan.core.map(|core| core.to_string()).as_deref(), Some("127.9.2.1:2427"));
    }

    #[test]
    fn a_ramp_must_rise() {
        assert_eq!(ramp("10:50:10"), Ok(Ramp { from: 10.0, to: 50.0, step: 10.0 }));
        assert!(ramp("50:10:10").is_err());
        assert!(ramp("10:50").is_err());
    }
}
