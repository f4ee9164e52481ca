//! Bytes to meaning and back: no state, no clock.
pub mod rtp;
