//! Bare load: calls, packets and relay commands without endpoints behind them, at the least cost for the generator.
//!
//! The other modules of this crate play whole terminals and judge everything that reaches them. These here only load and
//! measure, the same way whatever stands between the two ends, so that relays can be compared.

pub mod bencode;
pub mod calls;
pub mod kernel;
pub mod media;
pub mod message;
pub mod ng;
pub mod sdp;

pub use calls::{Calls, CallsPlan};
pub use media::{Counts, Media};
pub use ng::Ng;
