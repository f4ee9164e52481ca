//! Independent judges: terminals behind NATs and a softswitch, as sans-IO values.
//!
//! The simulator and the load generator drive the same endpoints, the former with a virtual clock and network, the
//! latter with real sockets on loopback. They share no code with `wire` or `signaling`: `rsip` judges every message that
//! arrives, so that a mistake in Portolan's own scanner cannot hide behind itself.
//!
//! Driving an [`Endpoint`]: call one of its `handle*` methods or commands, then drain
//! [`Endpoint::poll_output`] to `None`, then come back no later than [`Endpoint::poll_timeout`].

pub mod clock;
pub mod endpoint;
pub mod judge;
pub mod ladder;
pub mod leak;
pub mod nat;
pub mod net;
pub mod trace;

pub use endpoint::{Endpoint, Event, Kind, MediaReport, Out, Role};
pub use ladder::Ladder;
pub use nat::{Nat, NatKind};
