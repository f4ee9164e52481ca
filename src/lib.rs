//! Portolan, the process: sockets, cores, configuration, figures.

pub mod mapping;
