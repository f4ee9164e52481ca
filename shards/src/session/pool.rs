//! The media ports of every realm, bound ahead of need.

use crate::io::Output;
use crate::limits::PORT_REST;
use crate::media::{EndPorts, Ports, Relay};
use crate::random::Rng;
use crate::realm::Mapping;
use crate::types::{Instant, MediaPort, RealmId, ShardId};
use std::collections::VecDeque;
use std::time::Duration;

/// One pool for each realm that is configured or still in use.
pub(super) struct Pools {
    pools: Vec<(RealmId, Ports)>,
    rest: Duration,
    failures: u64,
}

impl Default for Pools {
    fn default() -> Self {
        Self { pools: Vec::new(), rest: PORT_REST, failures: 0 }
    }
}

impl Pools {
    /// Make a pool for each realm that has none yet.
    pub(super) fn configure(&mut self, mapping: &Mapping, shard: ShardId, relay: &mut Relay) {
        self.rest = mapping.limits.port_rest;
        for realm in &mapping.realms {
            if self.pools.iter().all(|(id, _)| *id != realm.id) {
                let slice = realm.media.slice(mapping.shards, shard);
                relay.slice(realm.id, slice);
                self.pools.push((realm.id, Ports::new(realm.id, slice)));
            }
        }
    }

    /// Bind ports until every reserve is full.
    pub(super) fn refill(&mut self, now: Instant, rng: &mut Rng, out: &mut VecDeque<Output>) {
        for (_, ports) in &mut self.pools {
            ports.refill(now, rng, self.rest, &mut |port| out.push_back(Output::OpenPort(port)));
        }
    }

    /// A port was bound, or could not be. One that comes too late for its realm is closed again.
    pub(super) fn opened(&mut self, port: MediaPort, ok: bool, out: &mut VecDeque<Output>) {
        self.failures += u64::from(!ok);
        let unwanted = match self.of(port.realm) {
            Some(ports) => ports.opened(port, ok),
            None => Some(port).filter(|_| ok),
        };
        out.extend(unwanted.map(Output::ClosePort));
    }

    /// A pair of bound ports on each of two realms; where `known` names a pair that is held already, that one is
    /// shared.
    pub(super) fn take(
        &mut self,
        realms: [RealmId; 2],
        known: [Option<EndPorts>; 2],
        now: Instant,
        rng: &mut Rng,
        out: &mut VecDeque<Output>,
    ) -> Option<[EndPorts; 2]> {
        let first = self.take_one(realms[0], known[0], rng)?;
        let Some(second) = self.take_one(realms[1], known[1], rng) else {
            self.give_back(now, first, out);
            return None;
        };
        Some([first, second])
    }

    /// One more holder of a pair.
    pub(super) fn share(&mut self, pair: EndPorts) {
        if let Some(ports) = self.of(pair.rtp.realm) {
            ports.share(pair);
        }
    }

    /// Both pairs of a stream are given back.
    pub(super) fn release(&mut self, now: Instant, pairs: [EndPorts; 2], out: &mut VecDeque<Output>) {
        for pair in pairs {
            self.give_back(now, pair, out);
        }
    }

    /// A realm is gone, and so is its last session: close what was kept in reserve.
    pub(super) fn retire(&mut self, realm: RealmId, out: &mut VecDeque<Output>) {
        for (_, mut ports) in self.pools.extract_if(.., |(id, _)| *id == realm) {
            ports.retire(&mut |port| out.push_back(Output::ClosePort(port)));
        }
    }

    /// Ports that sessions hold.
    pub(super) fn held(&self) -> usize {
        self.pools.iter().map(|(_, ports)| 2 * ports.held()).sum()
    }

    /// Ports that could not be bound.
    pub(super) const fn failures(&self) -> u64 {
        self.failures
    }

    fn take_one(&mut self, realm: RealmId, known: Option<EndPorts>, rng: &mut Rng) -> Option<EndPorts> {
        let Some(pair) = known else { return self.of(realm)?.take(rng) };
        self.share(pair);
        Some(pair)
    }

    /// One holder lets go of a pair.
    pub(super) fn give_back(&mut self, now: Instant, pair: EndPorts, out: &mut VecDeque<Output>) {
        if let Some(ports) = self.of(pair.rtp.realm) {
            ports.release(now, pair, &mut |port| out.push_back(Output::ClosePort(port)));
        }
    }

    fn of(&mut self, realm: RealmId) -> Option<&mut Ports> {
        self.pools.iter_mut().find(|(id, _)| *id == realm).map(|(_, ports)| ports)
    }
}
