//! Portolan, the process: sockets, cores, configuration, figures.

pub mod admin;
pub mod bench;
pub mod cli;
pub mod control;
pub mod demo;
pub mod dispatch;
pub mod doctor;
pub mod io;
mod loopback;
pub mod mapping;
pub mod process;
pub mod reload;
pub mod resolve;
pub mod runtime;
pub mod steering;
pub mod summary;
pub mod tls;
