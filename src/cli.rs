//! The command line: verbs, their options, their exit codes.

use crate::bench::{self, Bench};
use crate::mapping::{self, Problem};
use crate::steering::Steering;
use crate::{demo, doctor, process, reload, summary};
use clap::{Args, Parser, Subcommand, ValueEnum};
use portolan_loadgen::Scenario;
use portolan_loadgen::cli::{ProtoOption, TransportOption};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The commented configuration that `init` prints.
const EXAMPLE: &str = include_str!("../config/portolan.ron");

/// What a command line of `portolan` may hold.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, long_about = None, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 good, 1 failed, 2 wrong usage.\nLogs: PORTOLAN_LOG=debug (or target=level,...), default info."
)]
pub struct Cli {
    /// Check the configuration and end, as `check` does
    #[arg(short = 'c', requires = "file")]
    check: bool,
    /// The configuration to check with -c
    #[arg(short = 'f', value_name = "FILE", requires = "check")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run in the foreground: HUP or a changed file reloads, TERM drains and then ends, a second TERM ends now
    Run {
        /// The configuration; without one, an embedded mapping on loopback
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
        /// Seconds that TERM waits for running calls
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        drain_seconds: u32,
    },
    /// Check a configuration: every mistake with file, line, column and a hint
    Check {
        /// The configuration
        #[arg(short = 'f', value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object: the shards, their cores, and the ports and flow rules of their media
        #[arg(long)]
        json: bool,
    },
    /// Look at the machine: what would keep Portolan from running, or from running fast, and what mends it
    Doctor {
        /// The configuration that it shall run with
        #[arg(short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print a commented configuration to start from
    Init,
    /// Show it all on loopback in ten seconds: proxy, NATed terminals and softswitch in one process, no root needed
    Demo(DemoOptions),
    /// Measure the proxy on loopback, alone and beside its peers
    #[command(subcommand)]
    Bench(Bench),
}

/// How `demo` runs.
#[derive(Clone, Debug, Args)]
pub struct DemoOptions {
    /// What is spoken: sip between terminals and a softswitch, all others between gateways and their controller
    #[arg(long, value_enum, default_value_t = ProtoOption::Sip)]
    pub proto: ProtoOption,
    /// The NAT before the terminals
    #[arg(long, value_enum, default_value_t = DemoNat::Symmetric)]
    pub nat: DemoNat,
    /// Shards of the proxy
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// Calls in all, a quarter in each direction
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub calls: u32,
    /// Length of the demonstration
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(5..=3600))]
    pub seconds: u32,
    /// What carries the terminals' signaling
    #[arg(long, value_enum, default_value_t = TransportOption::Udp)]
    pub transport: TransportOption,
    /// What carries the softswitch's signaling
    #[arg(long, value_enum, default_value_t = TransportOption::Udp)]
    pub core_transport: TransportOption,
    /// What happens in calls, and how terminals register (RON, as in scenarios/); default: plain calls
    #[arg(long, value_name = "FILE", value_parser = |file: &str| Scenario::load(file.as_ref()))]
    pub scenario: Option<Scenario>,
    /// Registered terminals, four behind each NAT
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(8..=40_000))]
    pub registrations: u32,
    /// Gateways behind one NAT have all the same name, as they came from the factory
    #[arg(long)]
    pub namesakes: bool,
    /// First two octets of all addresses
    #[arg(long, value_name = "A.B", default_value = "127.0")]
    pub network: String,
    /// Print the totals as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// NATs that the demonstration has (RFC 3489 names; RFC 4787 behaviours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoNat {
    /// Endpoint-independent mapping and filtering.
    Full,
    /// Endpoint-independent mapping, address-dependent filtering.
    Restricted,
    /// Endpoint-independent mapping, address and port-dependent filtering.
    Port,
    /// Address and port-dependent mapping and filtering.
    Symmetric,
}

/// Do what the command line says. Wrong usage ends the process with 2.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.verb, cli.file) {
        (Some(Verb::Run { file, drain_seconds }), _) => {
            process::run(&process::Run { file, drain: Duration::from_secs(drain_seconds.into()) })
        }
        (Some(Verb::Check { file, json }), _) => check(&file, json),
        (None, Some(file)) => check(&file, false),
        (Some(Verb::Doctor { file, json }), _) => doctor::run(file.as_deref(), json),
        (Some(Verb::Init), _) => {
            print!("{EXAMPLE}");
            ExitCode::SUCCESS
        }
        (Some(Verb::Demo(options)), _) => demo::run(&options),
        (Some(Verb::Bench(bench)), _) => bench::run(&bench),
        (None, None) => ExitCode::from(2),
    }
}

fn check(file: &std::path::Path, json: bool) -> ExitCode {
    match mapping::load(file) {
        Ok(loaded) => {
            warn(&loaded.warnings);
            match json {
                true => println!("{}", serde_json::to_string(&Steering::of(&loaded)).unwrap_or_default()),
                false => print!("{}", summary::Summary(&loaded)),
            }
            certificates(&loaded)
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

/// The files that the configuration names are a part of it.
fn certificates(loaded: &mapping::Loaded) -> ExitCode {
    match reload::contexts(loaded) {
        Ok(contexts) => {
            contexts.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        eprintln!("{warning}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, i32> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.exit_code())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn c_with_f_is_check() {
        let cli = parse("portolan -c -f x.ron").expect("good usage");
        assert_eq!(cli.file, Some(PathBuf::from("x.ron")));
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for line in ["portolan", "portolan -c", "portolan -f x", "portolan fly", "portolan check"] {
            assert_eq!(parse(line).err(), Some(2), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_no_mistake() {
        assert_eq!(parse("portolan --help").err(), Some(0));
        assert_eq!(parse("portolan --version").err(), Some(0));
    }

    #[test]
    fn what_init_prints_is_a_valid_configuration() {
        mapping::Loader::new(mapping::Machine::with_cores(2)).parse(EXAMPLE, "init").expect("it is sound");
    }
}
