//! The load generator of Portolan.
