//! Portolan, the process: sockets, cores, configuration, figures.

pub mod io;
pub mod mapping;
