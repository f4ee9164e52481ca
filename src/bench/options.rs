//! What the command lines of `portolan bench` may hold.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Memory of registered terminals and of their connections, and the spread of keepalives
    Registrations(RegistrationsOptions),
    /// Calls a second without media, and what one costs
    Calls(CallsOptions),
    /// Packets a second through many calls, and what one costs
    Media(MediaOptions),
    /// What a packet costs with few and with many calls, at the same rate of packets
    Curve(CurveOptions),
    /// Portolan, rtpengine and Kamailio under the same load, in turn
    Peers(PeersOptions),
    /// Strangers at the ports of calls behind NAT, through Portolan and through rtpengine
    Attack(AttackOptions),
    /// A long run: nothing may be lost, and nothing may grow
    Soak(SoakOptions),
}

/// Where the measured processes and the generator run.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Core of the measured processes; those that the machine does not have count from the start again
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub relay_core: usize,
    /// Core of the generator
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub generator_core: usize,
    /// First two octets of all addresses
    #[arg(long, value_name = "A.B", default_value = "127.9")]
    pub network: String,
    /// Portolan's `limits.batch_us`; without it, what Portolan does by itself
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub batch_us: Option<u32>,
    /// Portolan's shards, all on the core of the measured processes; without it one, or for `curve` so many that each may
    /// have the sockets of its calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// End with one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Calls of a bench that carry media, and their packets.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// Calls that are up
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub calls: u32,
    /// Packets a second in all: half of them from the callers, half from the callees
    #[arg(long, value_name = "R", default_value_t = 100_000.0)]
    pub rate: f64,
}

/// How `bench calls` runs.
#[derive(Clone, Debug, Args)]
pub struct CallsOptions {
    /// Calls begun in a second
    #[arg(long, value_name = "R", default_value_t = 400.0)]
    pub rate: f64,
    /// Seconds that are measured, after two that are not
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Find the highest rate at which no call fails, from --rate on
    #[arg(long)]
    pub find_max: bool,
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench media` runs.
#[derive(Clone, Debug, Args)]
pub struct MediaOptions {
    /// What passes
    #[command(flatten)]
    pub load: Load,
    /// Seconds that are measured, after one that is not
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Find the highest rate at which one packet in 100,000 is lost at most, from --rate on
    #[arg(long)]
    pub find_max: bool,
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench curve` runs.
#[derive(Clone, Debug, Args)]
pub struct CurveOptions {
    /// Calls that are up, each number in turn
    #[arg(long, value_name = "N", value_delimiter = ',', num_args = 1, default_values_t = [100, 250, 500, 1_000, 2_000, 4_000, 8_000])]
    pub calls: Vec<u32>,
    /// Packets a second in all
    #[arg(long, value_name = "R", default_value_t = 50_000.0)]
    pub rate: f64,
    /// Rounds; what is shown are medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds that are measured, for each number
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Draw it (SVG)
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench peers` runs.
#[derive(Clone, Debug, Args)]
pub struct PeersOptions {
    /// Rounds; in each one everybody has his turn, and what counts are medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds that are measured in each turn
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// What passes through the relays
    #[command(flatten)]
    pub load: Load,
    /// Calls a second through the systems that do signaling too
    #[arg(long, value_name = "R", default_value_t = 400.0)]
    pub call_rate: f64,
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench attack` runs.
#[derive(Clone, Debug, Args)]
pub struct AttackOptions {
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench soak` runs.
#[derive(Clone, Debug, Args)]
pub struct SoakOptions {
    /// How long
    #[arg(long, value_name = "M", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub minutes: u32,
    /// Calls that are up
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub calls: u32,
    /// Packets a second; without it, 70 % of what is found to pass
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// Where
    #[command(flatten)]
    pub place: Place,
}

/// How `bench registrations` runs.
#[derive(Clone, Debug, Args)]
pub struct RegistrationsOptions {
    /// Registered terminals
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub terminals: u32,
    /// As many of them over a TCP connection each, the others over UDP
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub connections: u32,
    /// Registrations a second
    #[arg(long, value_name = "R", default_value_t = 1_000.0)]
    pub rate: f64,
    /// Seconds of keepalives alone, after the terminals over UDP and after those over TCP; transactions live 32 seconds
    #[arg(long, value_name = "S", default_value_t = 35, value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub rest: u32,
    /// Seconds between two keepalives to a terminal
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,
    /// Calls to terminals at the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub calls: u32,
    /// Shards of the proxy
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// First two octets of all addresses
    #[arg(long, value_name = "A.B", default_value = "127.0")]
    pub network: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Be the terminals
    #[arg(long, hide = true)]
    pub generator: bool,
}
