//! The load generator of Portolan: NATed terminals and a softswitch on real sockets.
//!
//! The endpoints are those of the simulator (`portolan_shards::sim`); this crate gives them sockets, a clock, a plan and
//! a report. The load is open-loop: calls and packets leave when the plan says, whatever came of the ones before.
//! One thread does it all, and the report says when that thread itself was the limit.
#![forbid(unsafe_code)]

pub mod bare;
pub mod cli;
mod engine;
mod findings;
pub mod keepalives;
mod pace;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod search;
mod sockets;
mod streams;
mod tally;
mod terminals;
mod timers;
pub mod tls;

pub use engine::{Phase, Progress, run};
pub use plan::{Direction, Mix, NatChoice, Plan};
pub use report::Report;
pub use scenario::Scenario;
