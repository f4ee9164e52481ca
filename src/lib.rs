//! Portolan, the process: sockets, cores, configuration, figures.
