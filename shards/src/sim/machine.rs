//! Portolan as a process would run it: all shards, the mesh between them, the sockets that they asked for. It does
//! what the runtime does with outputs, and notes every output that breaks a law.

use super::announced::{contains, media_addresses};
use super::net::Datagram;
use super::trace::fnv;
use crate::io::{Crossing, DropReason, Input, Listener, Output, Verdict};
use crate::limits::MAX_MESSAGE;
use crate::random::Rng;
use crate::realm::{Mapping, Realm};
use crate::shard::Shard;
use crate::stats::Stats;
use crate::types::{Flow, Instant, MediaPort, RealmId, ShardId, Side};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What the shards want from the network and the mesh.
#[derive(Debug)]
pub enum Effect {
    /// Send this from one of our sockets.
    Send {
        /// The side that it leaves on.
        side: Side,
        /// Media rather than signaling.
        media: bool,
        /// What to send.
        datagram: Datagram,
    },
    /// Carry this over the mesh.
    Cross {
        /// The shard that gave it away.
        from: ShardId,
        /// The shard that owns it.
        to: ShardId,
        /// The message.
        crossing: Crossing,
    },
}

/// Several shards and their sockets.
pub struct Machine {
    shards: Vec<Shard>,
    mapping: Arc<Mapping>,
    /// Realms of all generations so far; copies, for a shard may count who else still uses one.
    realms: Vec<Realm>,
    /// Media ports that another program holds, in thousandths.
    busy: u16,
    rng: Rng,
    listeners: BTreeMap<SocketAddr, BTreeMap<ShardId, Listener>>,
    ports: BTreeMap<SocketAddr, (ShardId, MediaPort)>,
    held: BTreeSet<SocketAddr>,
    /// Media addresses at which a packet was admitted since they were opened.
    used: BTreeSet<SocketAddr>,
    /// Digests of all messages that left.
    said: BTreeSet<u64>,
    broken: Vec<String>,
}

impl Machine {
    /// All shards of `mapping`, their listeners and first ports open. `busy` thousandths of the ports cannot be bound.
    pub fn new(mapping: Arc<Mapping>, busy: u16, mut rng: Rng, now: Instant) -> Self {
        let shards = (0..mapping.shards)
            .map(|n| {
                let mut seed = [0; 32];
                rng.fill(&mut seed);
                Shard::new(ShardId(n), Arc::clone(&mapping), seed, now)
            })
            .collect();
        let mut machine = Self {
            shards,
            realms: mapping.realms.iter().map(|realm| Realm::clone(realm)).collect(),
            mapping,
            busy,
            rng,
            listeners: BTreeMap::new(),
            ports: BTreeMap::new(),
            held: BTreeSet::new(),
            used: BTreeSet::new(),
            said: BTreeSet::new(),
            broken: Vec::new(),
        };
        for shard in machine.ids() {
            let effects = machine.drain(shard);
            machine.claim(effects.is_empty(), || "a shard sent something before anything happened".into());
        }
        machine
    }

    /// All shards.
    pub fn ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.mapping.shards).map(ShardId)
    }

    /// A datagram has reached one of our addresses.
    pub fn receive(&mut self, now: Instant, mut datagram: Datagram) -> Vec<Effect> {
        if let Some(&(shard, at)) = self.ports.get(&datagram.to) {
            return self.media(now, shard, at, &mut datagram).into_iter().collect();
        }
        let Some((shard, listener)) = self.steer(&datagram) else { return Vec::new() };
        if datagram.bytes.len() > MAX_MESSAGE {
            self.shards[usize::from(shard.0)].dropped(DropReason::Oversize);
            return self.drain(shard);
        }
        let flow = Flow {
            realm: listener.realm,
            transport: listener.transport,
            local: datagram.to,
            remote: datagram.from,
            stream: None,
        };
        let input = Input { flow, bytes: &datagram.bytes };
        self.shards[usize::from(shard.0)].handle_message(now, listener.proto, input);
        self.drain(shard)
    }

    /// The mesh has carried `crossing` to its owner.
    pub fn cross(&mut self, now: Instant, to: ShardId, crossing: Crossing) -> Vec<Effect> {
        self.shards[usize::from(to.0)].handle_crossing(now, crossing);
        self.drain(to)
    }

    /// When `shard` wants to be woken.
    pub fn alarm(&self, shard: ShardId) -> Option<Instant> {
        self.shards[usize::from(shard.0)].poll_timeout()
    }

    /// Wake `shard`.
    pub fn wake(&mut self, now: Instant, shard: ShardId) -> Vec<Effect> {
        self.shards[usize::from(shard.0)].handle_timeout(now);
        self.drain(shard)
    }

    /// A new generation of the mapping, on all shards.
    pub fn reload(&mut self, now: Instant, mapping: &Arc<Mapping>) -> Vec<Effect> {
        self.mapping = Arc::clone(mapping);
        self.realms.retain(|realm| mapping.realm(realm.id).is_none());
        self.realms.extend(mapping.realms.iter().map(|realm| Realm::clone(realm)));
        let mut effects = Vec::new();
        for shard in self.ids() {
            self.shards[usize::from(shard.0)].reload(now, Arc::clone(mapping));
            effects.append(&mut self.drain(shard));
        }
        effects
    }

    /// The counters of one shard.
    pub fn stats(&mut self, shard: ShardId) -> Stats {
        self.shards[usize::from(shard.0)].stats()
    }

    /// The generation that new sessions are opened under.
    pub const fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Media addresses that are open now, in order.
    pub fn open_ports(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.ports.keys().copied()
    }

    /// Those of them at which a packet was admitted, in order.
    pub fn used_ports(&self) -> &BTreeSet<SocketAddr> {
        &self.used
    }

    /// The laws that were broken so far.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// One media packet, on the shard that has the port open.
    fn media(
        &mut self,
        now: Instant,
        shard: ShardId,
        at: MediaPort,
        datagram: &mut Datagram,
    ) -> Option<Effect> {
        let owner = &mut self.shards[usize::from(shard.0)];
        let verdict = owner.handle_media(now, at, datagram.from, &mut datagram.bytes);
        let queued = self.drain(shard);
        self.claim(queued.iter().all(|e| matches!(e, Effect::Send { media: false, .. })), || {
            "media crossed to another shard".into()
        });
        let Verdict::Forward { out, to } = verdict else { return None };
        self.used.insert(datagram.to);
        let (from, side) = self.place(out)?;
        let holder = self.ports.get(&from).map(|&(holder, _)| holder);
        self.claim(holder == Some(shard), || format!("{shard:?} sent media from {from}, held by {holder:?}"));
        let datagram = Datagram { from, to, bytes: std::mem::take(&mut datagram.bytes) };
        Some(Effect::Send { side, media: true, datagram })
    }

    /// The kernel's choice among the sockets of a shared address: a hash of the 4-tuple.
    fn steer(&self, datagram: &Datagram) -> Option<(ShardId, Listener)> {
        let sockets = self.listeners.get(&datagram.to)?;
        let hash = fnv(format!("{}-{}", datagram.from, datagram.to).as_bytes());
        let pick = (hash >> 17) as usize % sockets.len();
        sockets.iter().nth(pick).map(|(&shard, &listener)| (shard, listener))
    }

    /// Perform everything that a shard has asked for.
    fn drain(&mut self, shard: ShardId) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(output) = self.shards[usize::from(shard.0)].poll_output() {
            match output {
                Output::Transmit { flow, bytes } => effects.extend(self.transmit(shard, flow, &bytes)),
                Output::KeepOpen { port, to } => effects.extend(self.keep_open(port, to)),
                Output::OpenPort(port) => self.open(shard, port),
                Output::ClosePort(port) => self.close(shard, port),
                Output::Listen(listener) => self.listen(shard, listener),
                Output::Unlisten(listener) => self.unlisten(shard, listener),
                Output::Connect { flow, .. } | Output::Disconnect(flow) => {
                    self.claim(false, || format!("{shard:?} wants a connection to {}", flow.remote));
                }
                Output::Cross { to, crossing } => effects.push(Effect::Cross { from: shard, to, crossing }),
            }
        }
        effects
    }

    fn transmit(&mut self, shard: ShardId, flow: Flow, bytes: &[u8]) -> Option<Effect> {
        let bound = self.listeners.get(&flow.local).is_some_and(|sockets| sockets.contains_key(&shard));
        self.claim(bound, || format!("{shard:?} sent from {}, where it does not listen", flow.local));
        self.announced(shard, bytes);
        let side = self.realm(flow.realm)?.side;
        let leaked = side == Side::Core && contains(bytes, b"2001:db8:");
        self.claim(!leaked, || {
            format!("an IPv6 address leaked into the core: {}", String::from_utf8_lossy(bytes))
        });
        let datagram = Datagram { from: flow.local, to: flow.remote, bytes: bytes.to_vec() };
        Some(Effect::Send { side, media: false, datagram })
    }

    fn keep_open(&mut self, port: MediaPort, to: SocketAddr) -> Option<Effect> {
        let realm = self.realm(port.realm)?;
        let (side, from) = (realm.side, SocketAddr::new(realm.address, port.port));
        let bound = self.ports.contains_key(&from);
        self.claim(bound, || format!("an empty datagram from {from}, which is not bound"));
        Some(Effect::Send { side, media: true, datagram: Datagram { from, to, bytes: Vec::new() } })
    }

    /// Every port that a description of ours announces is bound, and by the shard that announces it. What was said
    /// once may be repeated.
    fn announced(&mut self, shard: ShardId, bytes: &[u8]) {
        if !self.said.insert(fnv(bytes)) {
            return;
        }
        for place in media_addresses(bytes) {
            if self.realms.iter().any(|realm| realm.advertised == place.ip()) {
                let holder = self.ports.get(&place).map(|&(holder, _)| holder);
                self.claim(holder == Some(shard), || {
                    format!("{shard:?} announced {place}, held by {holder:?}")
                });
            }
        }
    }

    fn open(&mut self, shard: ShardId, port: MediaPort) {
        let Some((address, _)) = self.place(port) else {
            self.claim(false, || format!("{shard:?} opened {port:?} of an unknown realm"));
            return self.shards[usize::from(shard.0)].port_opened(port, false);
        };
        let own = self
            .realm(port.realm)
            .is_some_and(|realm| realm.media.slice(self.mapping.shards, shard).contains(port.port));
        self.claim(own, || format!("{shard:?} opened {address}, which is not of its slice"));
        if self.rng.below(1000) < u64::from(self.busy) {
            self.held.insert(address);
        }
        let ok = !self.held.contains(&address) && !self.ports.contains_key(&address);
        if ok {
            self.ports.insert(address, (shard, port));
        }
        self.shards[usize::from(shard.0)].port_opened(port, ok);
    }

    fn close(&mut self, shard: ShardId, port: MediaPort) {
        let address = self.place(port).map(|(address, _)| address);
        let holder = address.and_then(|address| self.ports.remove(&address)).map(|(holder, _)| holder);
        address.map(|address| self.used.remove(&address));
        self.claim(holder == Some(shard), || format!("{shard:?} closed {port:?}, held by {holder:?}"));
    }

    fn listen(&mut self, shard: ShardId, listener: Listener) {
        let sockets = self.listeners.entry(listener.address).or_default();
        let before = sockets.insert(shard, listener);
        let alone = listener.shared || sockets.len() == 1;
        self.claim(before.is_none() && alone, || format!("{shard:?} cannot bind {}", listener.address));
    }

    fn unlisten(&mut self, shard: ShardId, listener: Listener) {
        let sockets = self.listeners.entry(listener.address).or_default();
        let known = sockets.remove(&shard).is_some();
        if sockets.is_empty() {
            self.listeners.remove(&listener.address);
        }
        self.claim(known, || format!("{shard:?} closed {}, which it had not opened", listener.address));
    }

    fn realm(&self, id: RealmId) -> Option<&Realm> {
        self.realms.iter().find(|realm| realm.id == id)
    }

    fn place(&self, port: MediaPort) -> Option<(SocketAddr, Side)> {
        let realm = self.realm(port.realm)?;
        Some((SocketAddr::new(realm.address, port.port), realm.side))
    }

    fn claim(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(otherwise());
        }
    }
}
