//! One core's world as a value.
//!
//! `portolan-shards` thinks; it never touches the world. There is no socket, clock, thread or global
//! in this crate: time, bytes and randomness come in through [`shard::Shard`]'s doors, and everything
//! that must happen outside leaves as an [`io::Output`] or a [`io::Verdict`]. The same code therefore
//! runs under the sockets of package `portolan`, under the simulator and under the fuzzer.
//!
//! Floors, arrows pointing down only: `shard` (3) / `signaling`, `session`, `media`, `policy` (2) /
//! `realm`, `types`, `limits`, `stats`, `timer`, `fault`, `io`, `random` (1) / `wire` (0).
#![forbid(unsafe_code)]

pub mod fault;
pub mod histogram;
pub mod io;
pub mod limits;
pub mod media;
pub mod random;
pub mod realm;
pub mod session;
pub mod shard;
pub mod signaling;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stats;
pub mod table;
pub mod timer;
pub mod types;
pub mod wire;
