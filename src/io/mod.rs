//! The only files that touch the kernel: datagram sockets, clocks, limits, wake-ups.
//!
//! Everything that needs `unsafe` lives below this module, each block with its reason.

mod address;
pub mod bell;
pub mod clock;
pub mod datagrams;
pub mod heap;
pub mod limits;
pub mod parking;
pub mod ring;
pub mod socket;
pub mod streams;
