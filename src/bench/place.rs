//! Addresses and cores of a benchmark.

use super::options::Place;
use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::{Ipv4Addr, SocketAddr};

/// First port of the media sockets of callers and callees.
pub(super) const FIRST_PORT: u16 = 10_000;

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    network: [u8; 2],
    allowed: CpuSet,
    relay: usize,
    generator: usize,
    /// Portolan's, where it is not to be its own.
    pub(super) batch_us: Option<u32>,
    /// Portolan's.
    pub(super) shards: u16,
}

impl Site {
    /// The generator, which is this thread, moves to its core.
    pub(super) fn new(place: &Place) -> anyhow::Result<Self> {
        let bad = || format!("{} is not the beginning of an IPv4 address", place.network);
        let (a, b) = place.network.split_once('.').with_context(bad)?;
        let network = [a.parse().with_context(bad)?, b.parse().with_context(bad)?];
        let allowed = sched_getaffinity(None).context("which cores are there?")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        ensure!(!cores.is_empty(), "no core is to be had");
        let core = |wanted: usize| cores[wanted % cores.len()];
        let (relay, generator) = (core(place.relay_core), core(place.generator_core));
        if relay == generator {
            eprintln!("# one core for all: the generator takes time that the relay needs");
        }
        let (batch_us, shards) = (place.batch_us, place.shards.unwrap_or(1));
        let site = Self { network, allowed, relay, generator, batch_us, shards };
        site.pin(site.generator)?;
        Ok(site)
    }

    /// An address of the benchmark's network.
    pub(super) const fn ip(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.network[0], self.network[1], host, 1)
    }

    /// The same with a port.
    pub(super) fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip(host), port))
    }

    /// Where callers and callees have their media.
    pub(super) const fn sides(&self) -> [Ipv4Addr; 2] {
        [self.ip(4), self.ip(3)]
    }

    /// Do something on the core of the measured processes: what is started there stays there.
    pub(super) fn beside<T>(&self, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.pin(self.relay)?;
        let done = act();
        self.pin(self.generator)?;
        done
    }

    fn pin(&self, core: usize) -> anyhow::Result<()> {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).with_context(|| format!("cannot run on core {core}"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What comes after may run anywhere again; if the kernel says no, it is only slower.
        let _ = sched_setaffinity(None, &self.allowed);
    }
}
