//! The shard: the only type that the runtime sees.
//!
//! One law: after each `handle_*`, `port_opened`, `reload` or `drain`, take outputs until there are none.

use crate::io::{Crossing, DropReason, Input, Listener, Output, Target, Verdict};
use crate::random::Rng;
use crate::realm::{Mapping, Realm, Softswitch};
use crate::session::Sessions;
use crate::session::account::Summary;
use crate::signaling::Cx;
use crate::signaling::adapters::Adapters;
use crate::signaling::label::Sealer;
use crate::signaling::streams::Streams;
use crate::stats::Stats;
use crate::types::{Flow, Instant, MediaPort, Proto, ShardId, Side, Transport};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One core's world: its slice of the media ports, its sessions, its signaling state machines.
pub struct Shard {
    id: ShardId,
    mapping: Arc<Mapping>,
    realms: Vec<Arc<Realm>>,
    softswitches: Vec<Arc<Softswitch>>,
    listeners: Vec<Listener>,
    sealer: Sealer,
    rng: Rng,
    sessions: Sessions,
    adapters: Adapters,
    streams: Streams,
    stats: Stats,
    out: VecDeque<Output>,
    draining: bool,
    /// When to look again whether what a reload removed is still in use.
    sweep: Option<Instant>,
    /// When to look again for silent connections.
    hush: Instant,
}

/// Time between two such looks.
const SWEEP: Duration = Duration::from_secs(1);
/// Time between two looks for silent connections.
const HUSH: Duration = Duration::from_secs(30);

impl Shard {
    /// A shard of `mapping.shards`, with its listeners and its first media ports queued as outputs. `seed` decides
    /// every random choice; take it from the operating system in production.
    pub fn new(id: ShardId, mapping: Arc<Mapping>, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let mut shard = Self {
            id,
            sealer: Sealer::new(&mapping.secret),
            mapping: mapping.clone(),
            realms: Vec::new(),
            softswitches: Vec::new(),
            listeners: Vec::new(),
            sessions: Sessions::default(),
            adapters: Adapters::new(&mut rng),
            streams: Streams::new(&mut rng),
            rng,
            stats: Stats::default(),
            out: VecDeque::new(),
            draining: false,
            sweep: None,
            hush: now + HUSH,
        };
        shard.take_mapping(now, mapping);
        shard.with(now, Adapters::handle_reload);
        shard
    }

    /// Its number.
    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// The slow door: a signaling message as it arrived on this shard. It crosses if another shard owns it.
    pub fn handle_message(&mut self, now: Instant, proto: Proto, input: Input<'_>) {
        let Some(flow) = self.admit(input.flow) else { return self.stats.drop(DropReason::Untrusted) };
        self.streams.heard(now, &flow);
        let input = Input { flow, ..input };
        let shard = self.id;
        let owner = self.with(now, |_, cx| Adapters::owner(cx, proto, &input).unwrap_or(shard));
        if owner == self.id {
            return self.process(now, proto, input, None);
        }
        let bytes = Bytes::copy_from_slice(input.bytes);
        let crossing = Crossing::Message { proto, flow, bytes, target: None };
        self.with(now, |_, cx| cx.cross(owner, crossing));
    }

    /// Something that another shard sent here.
    pub fn handle_crossing(&mut self, now: Instant, crossing: Crossing) {
        match crossing {
            Crossing::Message { proto, flow, bytes, target } => {
                self.process(now, proto, Input { flow, bytes: &bytes }, target);
            }
            Crossing::Transmit { flow, bytes } => self.with(now, |_, cx| cx.send(flow, bytes)),
            Crossing::FlowMoved { old, new } => self.with(now, |all, cx| all.handle_moved(cx, old, new)),
            Crossing::Heard { flow, ping } => self.with(now, |all, cx| all.handle_heard(cx, flow, &ping)),
            Crossing::FlowLost { flow } => self.with(now, |all, cx| all.handle_lost(cx, flow)),
        }
    }

    /// Somebody connected to a listener of a stream transport. Gives the flow by which its messages come in; `None`
    /// refuses: the connection must be closed.
    pub fn accepted(&mut self, now: Instant, listener: &Listener, remote: SocketAddr) -> Option<Flow> {
        let flow = self.streams.accept(now, self.id, listener, remote, &self.mapping.limits);
        let Some(flow) = flow else {
            self.stats.drop(DropReason::Limit);
            return None;
        };
        if self.admit(flow).is_none() {
            self.streams.forget(&flow);
            self.stats.drop(DropReason::Untrusted);
            return None;
        }
        Some(flow)
    }

    /// A connection has ended, or could not be made. Connection loss is flow loss: all shards are told.
    pub fn closed(&mut self, now: Instant, flow: Flow) {
        if !self.streams.forget(&flow) {
            return;
        }
        let own = self.id;
        for to in (0..self.mapping.shards).map(ShardId).filter(|to| *to != own) {
            self.with(now, |_, cx| cx.cross(to, Crossing::FlowLost { flow }));
        }
        self.with(now, |all, cx| all.handle_lost(cx, flow));
    }

    /// The fast door: one media packet.
    pub fn handle_media(&mut self, now: Instant, at: MediaPort, from: SocketAddr, pkt: &mut [u8]) -> Verdict {
        self.sessions.media(now, at, from, pkt, &mut self.stats)
    }

    /// Fetch from memory which stream a port belongs to, which [`Self::prefetch`] needs to know.
    pub fn locate(&self, at: MediaPort) {
        self.sessions.locate(at);
    }

    /// Fetch from memory what [`Self::handle_media`] will need for a packet at this port, where many packets are known to
    /// come: their streams are then fetched at the same time, and not one after the other.
    pub fn prefetch(&self, at: MediaPort) {
        self.sessions.prefetch(at);
    }

    /// The port that RTP from this one leaves by.
    pub fn exit(&self, at: MediaPort) -> Option<MediaPort> {
        self.sessions.exit(at)
    }

    /// The answer to [`Output::OpenPort`], given while outputs are drained.
    pub fn port_opened(&mut self, port: MediaPort, ok: bool) {
        self.sessions.port_opened(port, ok, &mut self.out);
    }

    /// The runtime dropped something of ours.
    pub fn dropped(&mut self, reason: DropReason) {
        self.stats.drop(reason);
    }

    /// Do what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.with(now, Adapters::handle_timeout);
        self.hang_up_silent(now);
        self.sessions.look(now, &mut self.stats);
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hush = (!self.streams.is_empty()).then_some(self.hush);
        let look = self.sessions.next_look();
        [self.adapters.poll_timeout(), self.sweep, hush, look].into_iter().flatten().min()
    }

    /// The next thing that the world must do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Take a new generation of the configuration: new sessions use it, running ones keep theirs.
    pub fn reload(&mut self, now: Instant, mapping: Arc<Mapping>) {
        self.take_mapping(now, mapping);
        self.sweep = Some(now);
        self.with(now, Adapters::handle_reload);
        self.settle(now);
    }

    /// Refuse new calls from now on; running ones go on.
    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// Figures of at most `most` sessions that run, in no order, and of as many of those that ended last, the latest
    /// first.
    pub fn summaries(&self, most: usize) -> (Vec<Summary>, Vec<Summary>) {
        self.sessions.summaries(most)
    }

    /// All counters, with the gauges brought up to date.
    pub fn stats(&mut self) -> Stats {
        self.with(Instant::ZERO, |all, cx| all.gauges(cx));
        self.stats.sessions = self.sessions.len() as u64;
        self.stats.media_granted = self.sessions.granted();
        self.stats.ports = self.sessions.ports_held() as u64;
        self.stats.port_failures = self.sessions.port_failures();
        self.stats
    }

    /// Who may speak here: anybody on the access side, softswitches on the core side. Gives the flow with the realm
    /// that its listener belongs to now.
    fn admit(&self, flow: Flow) -> Option<Flow> {
        let listens = |realm: &&Arc<Realm>| self.listens(realm, flow.transport, flow.local);
        let current = self.mapping.realms.iter().find(listens);
        let realm = current.or_else(|| self.realms.iter().find(|realm| realm.id == flow.realm))?;
        let flow = Flow { realm: realm.id, ..flow };
        let known = |s: &Arc<Softswitch>| s.realm == realm.id && s.accepts(flow.remote.ip());
        let admitted = realm.side == Side::Access || self.softswitches.iter().any(known);
        admitted.then_some(flow)
    }

    fn listens(&self, realm: &Realm, transport: Transport, local: SocketAddr) -> bool {
        let home =
            || realm.home(self.id, transport) == Some(local) || realm.home_mgcp(self.id) == Some(local);
        let lent = || realm.gateways.is_some_and(|ports| ports.contains(local.port()));
        realm.address == local.ip() && (realm.listens(transport, local.port()) || home() || lent())
    }

    /// Close the connections by which nothing has come for too long.
    fn hang_up_silent(&mut self, now: Instant) {
        if now < self.hush {
            return;
        }
        self.hush = now + HUSH;
        let idle = self.mapping.limits.stream_idle;
        let Some(moment) = now.as_nanos().checked_sub(idle.as_nanos() as u64) else { return };
        for flow in self.streams.silent_since(Instant::from_nanos(moment)) {
            self.out.push_back(Output::Disconnect(flow));
            self.closed(now, flow);
        }
    }

    fn process(&mut self, now: Instant, proto: Proto, input: Input<'_>, target: Option<Target>) {
        let result = self.with(now, |all, cx| all.handle_input(cx, proto, input, target));
        if let Err(fault) = result {
            tracing::debug!(shard = self.id.0, %fault, "signaling message not passed on");
        }
        self.sessions.refill(now, &mut self.rng, &mut self.out);
    }

    /// Lend everything but the adapters to the adapters.
    fn with<R>(&mut self, now: Instant, f: impl FnOnce(&mut Adapters, &mut Cx<'_>) -> R) -> R {
        let mut cx = Cx {
            now,
            shard: self.id,
            mapping: &self.mapping,
            realms: &self.realms,
            softswitches: &self.softswitches,
            draining: self.draining,
            rng: &mut self.rng,
            sealer: &self.sealer,
            sessions: &mut self.sessions,
            streams: &mut self.streams,
            stats: &mut self.stats,
            out: &mut self.out,
        };
        f(&mut self.adapters, &mut cx)
    }

    fn take_mapping(&mut self, now: Instant, mapping: Arc<Mapping>) {
        self.realms.retain(|old| mapping.realm(old.id).is_none());
        self.realms.extend(mapping.realms.iter().cloned());
        self.softswitches.retain(|old| !mapping.softswitches.contains(old));
        self.softswitches.extend(mapping.softswitches.iter().cloned());
        let wanted = wanted(&mapping, self.id);
        for listener in &wanted {
            if !self.listeners.iter().any(|open| same_place(open, listener)) {
                self.listeners.push(*listener);
                self.out.push_back(Output::Listen(*listener));
            }
        }
        self.mapping = mapping;
        self.sessions.configure(now, &self.mapping, self.id, &mut self.rng, &mut self.out);
    }

    /// Let go of what is no longer configured, once the last call on it has ended; keep ports in reserve.
    fn settle(&mut self, now: Instant) {
        if self.sweep.is_some_and(|at| at <= now) {
            self.close_listeners();
            self.forget_realms();
            let leftover = self.listeners.len() > wanted(&self.mapping, self.id).len()
                || self.realms.len() > self.mapping.realms.len()
                || self.softswitches.len() > self.mapping.softswitches.len();
            self.sweep = leftover.then_some(now + SWEEP);
        }
        self.sessions.refill(now, &mut self.rng, &mut self.out);
    }

    fn close_listeners(&mut self) {
        let wanted = wanted(&self.mapping, self.id);
        let needed = |open: &Listener| {
            wanted.iter().any(|wanted| same_place(wanted, open))
                || self.adapters.uses(open.transport, open.address)
        };
        for listener in self.listeners.extract_if(.., |open| !needed(open)) {
            self.out.push_back(Output::Unlisten(listener));
        }
    }

    fn forget_realms(&mut self) {
        let (mapping, adapters) = (&self.mapping, &self.adapters);
        self.softswitches.retain(|s| mapping.softswitches.contains(s) || adapters.uses_softswitch(s));
        let gone =
            |realm: &mut Arc<Realm>| mapping.realm(realm.id).is_none() && !adapters.uses_realm(realm.id);
        for realm in self.realms.extract_if(.., gone) {
            self.sessions.retire(realm.id, &mut self.out);
        }
    }
}

/// The listeners that a mapping asks of one shard.
fn wanted(mapping: &Mapping, shard: ShardId) -> Vec<Listener> {
    let each = |realm: &Arc<Realm>| {
        let at = |proto, transport, address, shared| Listener {
            realm: realm.id,
            proto,
            transport,
            address,
            shared,
        };
        let shared = realm
            .services()
            .map(|(proto, transport, port)| at(proto, transport, SocketAddr::new(realm.address, port), true));
        let homes = mapping.homes(realm, shard).into_iter();
        let own = homes.map(|(transport, address)| at(Proto::Sip, transport, address, false));
        let mgcp = realm.home_mgcp(shard).map(|address| at(Proto::Mgcp, Transport::Udp, address, false));
        shared.chain(own).chain(mgcp).collect::<Vec<_>>()
    };
    mapping.realms.iter().flat_map(each).collect()
}

fn same_place(one: &Listener, other: &Listener) -> bool {
    (one.transport, one.address) == (other.transport, other.address)
}
