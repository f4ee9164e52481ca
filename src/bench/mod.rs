//! `portolan bench ...`: what the proxy costs on loopback, alone and beside its peers.
//!
//! The measured processes run on one core, the generator on another. Their processor time is what the kernel charged to
//! them. On loopback it charges the work of receiving a packet to whoever sent it, so the measured share of a relay is:
//! taking packets from its sockets, deciding, and sending, the delivery to the generator's socket included.

mod attack;
mod calls;
mod curve;
mod figures;
mod media;
mod options;
mod peers;
mod place;
mod plot;
mod process;
mod registrations;
mod relays;
mod signaling;
mod soak;
mod systems;

use crate::io::limits::raise_open_files;
use crate::process::OPEN_FILES;
use anyhow::Context;
pub use options::Bench;
use std::process::ExitCode;

/// Run a benchmark. The exit code is a failure when it could not run, when `registrations`, `attack` or `soak` was not good,
/// or when `calls` or `media` gave no valid figure; goals of `peers` are printed only.
pub fn run(bench: &Bench) -> ExitCode {
    let limits = raise_open_files(OPEN_FILES).context("cannot raise the limit of open files").map(drop);
    match limits.and_then(|()| measure(bench)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("portolan bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(bench: &Bench) -> anyhow::Result<bool> {
    match bench {
        Bench::Attack(options) => attack::run(options),
        Bench::Registrations(options) => registrations::run(options),
        Bench::Calls(options) => calls::run(options),
        Bench::Media(options) => media::run(options),
        Bench::Curve(options) => curve::run(options),
        Bench::Peers(options) => peers::run(options),
        Bench::Soak(options) => soak::run(options),
    }
}
