//! Independent judges: terminals behind NATs and a softswitch, as sans-IO values.
//!
//! The simulator and the load generator drive the same endpoints, the former with a virtual clock and network, the
//! latter with real sockets on loopback. They share no code with `wire` or `signaling`: `rsip` judges every message that
//! arrives, so that a mistake in Portolan's own scanner cannot hide behind itself.
//!
//! Driving an [`Endpoint`]: call one of its `handle*` methods or commands, then drain
//! [`Endpoint::poll_output`] to `None`, then come back no later than [`Endpoint::poll_timeout`].
//!
//! [`world::run`] puts them, NATs in series, bad lines and attackers around several shards and their mesh, under virtual
//! time: one seed, one run, judged by [`judge::Judge`].

pub mod announced;
pub mod attack;
#[cfg(test)]
mod bad_line;
mod call;
mod calls;
mod cast;
pub mod clock;
mod dialog;
pub mod digest;
pub mod endpoint;
pub mod gateway;
pub mod judge;
pub mod ladder;
pub mod leak;
pub mod machine;
mod media;
pub mod message;
pub mod nat;
pub mod net;
pub mod plan;
mod ports;
mod proxy;
mod registrar;
mod registration;
pub mod rtp;
mod script;
pub mod sdp;
pub mod softswitch;
mod spec;
mod stack;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod topology;
pub mod trace;
mod transaction;
pub mod world;

pub use endpoint::{Endpoint, Event, Kind, MediaReport, Out, Role, Subscriber, Switch};
pub use gateway::{Controller, ControllerConfig, Gateway, GatewayConfig, Language};
pub use ladder::{Ladder, Lane};
pub use leak::Watch;
pub use media::PTIME;
pub use nat::{Nat, NatKind};
pub use softswitch::{Challenge, Softswitch, SoftswitchConfig};
pub use spec::{Abandon, Answering, CallSpec, REFERRED, Script, Story};
pub use terminal::{Terminal, TerminalConfig};
pub use transaction::Timing;
