//! Media gateways behind NATs and who controls them: MGCP's call agent, H.248's media gateway controller.
//!
//! A gateway and a controller are the same whatever they speak: [`Language`] is all that differs. A telephone at a
//! gateway's line is lifted and dials, the controller creates connections at both ends, rings the callee, and tells each end
//! where the other one listens.

mod ber;
mod call;
mod controller;
mod desk;
mod device;
pub(super) mod dial;
mod exchange;
pub(super) mod follow;
mod h248;
mod h248_binary;
mod h248_text;
mod items;
mod language;
mod line;
mod mgcp;
mod order;
#[cfg(test)]
mod tests;
mod trunk;

pub use controller::{Controller, ControllerConfig};
pub use device::{Gateway, GatewayConfig};
pub use exchange::Repeats;
pub use language::Language;
