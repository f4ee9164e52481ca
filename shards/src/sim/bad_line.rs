//! A line between endpoints that are tested without Portolan: it loses, repeats and delays signaling, and delays media.

use super::endpoint::Kind;
use crate::random::Rng;
use crate::types::Instant;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The line, and all datagrams on it.
pub(super) struct BadLine {
    rng: Rng,
    /// Lost and repeated signaling datagrams, in percent.
    loss: u64,
    copies: u64,
    flying: BTreeMap<(Instant, u64), Flight>,
    count: u64,
}

/// One datagram.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Bytes,
}

impl BadLine {
    pub(super) fn new(loss: u64, copies: u64, seed: u8) -> Self {
        Self { rng: Rng::new([seed; 32]), loss, copies, flying: BTreeMap::new(), count: 0 }
    }

    /// It sets off, or is lost.
    pub(super) fn send(&mut self, now: Instant, flight: &Flight, kind: Kind) {
        let bad = kind == Kind::Signaling;
        if bad && self.rng.below(100) < self.loss {
            return;
        }
        let copies = 1 + u64::from(bad && self.rng.below(100) < self.copies);
        for _ in 0..copies {
            let delay = Duration::from_millis(1 + self.rng.below(10));
            self.count += 1;
            self.flying.insert((now + delay, self.count), flight.clone());
        }
    }

    /// The next one that has arrived.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Flight> {
        let first = self.flying.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next one arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }
}
