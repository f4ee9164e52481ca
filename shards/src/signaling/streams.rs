//! The connections of one shard: who is connected, and which connection leads to a softswitch.
//!
//! A connection lives on the shard that accepted or dialled it. It is never dialled back (RFC 5626 section 4): a
//! terminal behind NAT can be reached by the connection that it opened, or not at all.

use super::guest::network_of;
use crate::io::Listener;
use crate::limits::Limits;
use crate::random::{Keyed, Rng};
use crate::realm::Server;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Transport};
use hashbrown::HashMap;
use std::net::{IpAddr, SocketAddr};

/// The open connections of this shard.
pub struct Streams {
    serial: u32,
    open: HashMap<u32, Open, Keyed>,
    dialled: HashMap<Dialled, Flow, Keyed>,
    /// Accepted connections by source: an address, or a /64.
    sources: HashMap<IpAddr, usize, Keyed>,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
struct Open {
    flow: Flow,
    /// When something last came in by it.
    heard: Instant,
    dialled: bool,
}

/// Whose messages share a dialled connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// What is spoken on it.
    pub proto: Proto,
    /// 0 is everybody's; a peer that must have a connection of its own has a number of its own.
    pub number: u32,
}

impl Lane {
    /// The one connection for all messages of a protocol.
    pub const fn shared(proto: Proto) -> Self {
        Self { proto, number: 0 }
    }
}

/// What a dialled connection is for.
type Dialled = (Lane, RealmId, Transport, SocketAddr, Option<std::sync::Arc<str>>);

impl Streams {
    /// No connection.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            serial: 0,
            open: HashMap::with_hasher(Keyed::new(rng)),
            dialled: HashMap::with_hasher(Keyed::new(rng)),
            sources: HashMap::with_hasher(Keyed::new(rng)),
        }
    }

    /// Connections now.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Is there no connection?
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Somebody connected; `None` when there are too many connections, in all or from this source.
    pub fn accept(
        &mut self,
        now: Instant,
        shard: ShardId,
        listener: &Listener,
        remote: SocketAddr,
        limits: &Limits,
    ) -> Option<Flow> {
        let source = network_of(remote.ip());
        let from_here = self.sources.get(&source).copied().unwrap_or_default();
        if self.open.len() >= limits.streams || from_here >= limits.streams_per_source {
            return None;
        }
        self.sources.insert(source, from_here + 1);
        let path = Flow {
            realm: listener.realm,
            transport: listener.transport,
            local: listener.address,
            remote,
            stream: None,
        };
        Some(self.begin(now, shard, path, false))
    }

    /// The connection that leads to a server, and whether it has to be dialled first. `local` is where the server can
    /// call us back.
    pub fn toward(
        &mut self,
        now: Instant,
        shard: ShardId,
        lane: Lane,
        realm: RealmId,
        local: SocketAddr,
        server: &Server,
    ) -> (Flow, bool) {
        let key = (lane, realm, server.transport, server.address, server.name.clone());
        if let Some(flow) = self.dialled.get(&key) {
            return (*flow, false);
        }
        let path = Flow { realm, transport: server.transport, local, remote: server.address, stream: None };
        let flow = self.begin(now, shard, path, true);
        self.dialled.insert(key, flow);
        (flow, true)
    }

    fn begin(&mut self, now: Instant, shard: ShardId, path: Flow, dialled: bool) -> Flow {
        self.serial = self.serial.wrapping_add(1);
        let flow = Flow { stream: Some(crate::types::StreamId { shard, serial: self.serial }), ..path };
        self.open.insert(self.serial, Open { flow, heard: now, dialled });
        flow
    }

    /// Is this flow one of our open connections?
    pub fn holds(&self, flow: &Flow) -> bool {
        flow.stream.is_some_and(|stream| self.open.contains_key(&stream.serial))
    }

    /// Something came in by a connection.
    pub fn heard(&mut self, now: Instant, flow: &Flow) {
        if let Some(open) = flow.stream.and_then(|stream| self.open.get_mut(&stream.serial)) {
            open.heard = now;
        }
    }

    /// A connection is no more; false if it was forgotten already.
    pub fn forget(&mut self, flow: &Flow) -> bool {
        let Some(open) = flow.stream.and_then(|stream| self.open.remove(&stream.serial)) else {
            return false;
        };
        self.dialled.retain(|_, dialled| dialled.stream != open.flow.stream);
        let source = network_of(open.flow.remote.ip());
        if let Some(count) = self.sources.get_mut(&source).filter(|_| !open.dialled) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        true
    }

    /// Accepted connections by which nothing has come since `moment`.
    pub fn silent_since(&self, moment: Instant) -> Vec<Flow> {
        let silent = self.open.values().filter(|open| !open.dialled && open.heard < moment);
        silent.map(|open| open.flow).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn streams() -> Streams {
        Streams::new(&mut Rng::new([1; 32]))
    }

    /// Somebody connects from there, where a source may have `most` connections and there may be four in all.
    fn accept(streams: &mut Streams, remote: &str, most: usize) -> Option<Flow> {
        let (proto, transport) = (Proto::Sip, Transport::Tcp);
        let address = "198.51.100.10:5060".parse().unwrap();
        let listener = Listener { realm: RealmId(0), proto, transport, address, shared: true };
        let limits = Limits { streams: 4, streams_per_source: most, ..Limits::default() };
        streams.accept(NOW, ShardId(0), &listener, remote.parse().unwrap(), &limits)
    }

    #[test]
    fn a_source_that_is_refused_is_not_remembered() {
        let mut streams = streams();
        let open = (1..=4).map(|n| accept(&mut streams, &format!("203.0.113.{n}:40000"), 1).unwrap());
        let open: Vec<_> = open.collect();
        assert_eq!(accept(&mut streams, "192.0.2.66:40000", 1), None, "four in all");
        assert_eq!(streams.sources.len(), 4);
        assert!(open.iter().all(|flow| streams.forget(flow)));
        assert!(streams.is_empty() && streams.sources.is_empty());
    }

    #[test]
    fn addresses_of_one_64_are_one_source() {
        let mut streams = streams();
        let [first, second] = ["[2001:db8::1]:40000", "[2001:db8::2:1]:40000"]
            .map(|remote| accept(&mut streams, remote, 2).expect("the source may have two"));
        assert_eq!(accept(&mut streams, "[2001:db8::3]:40000", 2), None);
        assert!(accept(&mut streams, "[2001:db8:0:1::1]:40000", 2).is_some(), "another /64");
        assert!(streams.forget(&first));
        assert!(accept(&mut streams, "[2001:db8::3]:40000", 2).is_some(), "there is room again");
        assert!(streams.forget(&second) && !streams.forget(&second));
    }
}
