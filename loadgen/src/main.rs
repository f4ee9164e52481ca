//! The `loadgen` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_loadgen::cli::main()
}
