//! Sessions, legs and streams: who talks to whom, over which of our ports.
//!
//! A session has two legs, one on each [`Side`], and up to [`MAX_STREAMS`] streams. Every protocol family describes
//! its media with the one verb [`Sessions::anchor`]: "the peer on this side announced these addresses for stream n;
//! which of our addresses do I announce on the other side?"

mod offer;
mod pool;

pub use offer::{Role, View};

use crate::io::{Output, Verdict};
use crate::limits::{MAX_SOURCES, MAX_STREAMS};
use crate::media::{Counters, End, EndPorts, Gate, Relay, StreamId};
use crate::random::Rng;
use crate::realm::{Mapping, Realm};
use crate::stats::Stats;
use crate::table::{Key, Table};
use crate::types::{Instant, MediaPort, RealmId, ShardId, Side};
use pool::Pools;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// Names a session of this shard.
pub type SessionKey = Key;

/// All sessions of one shard, with the relay and the ports that serve them.
#[derive(Default)]
pub struct Sessions {
    table: Table<Session>,
    relay: Relay,
    pools: Pools,
    most: usize,
}

/// Two legs and what flows between them.
struct Session {
    opened: Instant,
    legs: [Leg; 2],
    streams: SmallVec<[Option<Stream>; 2]>,
    open: bool,
}

/// One side of a session.
struct Leg {
    realm: RealmId,
    advertised: IpAddr,
    learn_net: bool,
    /// Where accepted signaling of this leg came from (S of the latching rules).
    sources: SmallVec<[IpAddr; MAX_SOURCES]>,
}

struct Stream {
    id: StreamId,
    ports: [EndPorts; 2],
    views: [Option<View>; 2],
    offered: Option<(Side, View)>,
}

/// Our addresses for one stream, as the other side is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Where that side sends RTP.
    pub rtp: SocketAddr,
    /// Where that side sends RTCP, unless it is multiplexed.
    pub rtcp: SocketAddr,
}

/// Why a stream could not be anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More streams than [`MAX_STREAMS`].
    TooManyStreams,
    /// No bound media port is free.
    NoPorts,
    /// The session has ended.
    Gone,
}

/// What a session leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Per stream, what came from the access side and from the core side.
    pub streams: Vec<[Counters; 2]>,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Access => 0,
        Side::Core => 1,
    }
}

const fn end(side: Side) -> End {
    match side {
        Side::Access => End::A,
        Side::Core => End::B,
    }
}

impl Sessions {
    /// Take this generation's realms and limits. Realms of earlier generations stay until their last session ends.
    pub fn configure(
        &mut self,
        now: Instant,
        mapping: &Mapping,
        shard: ShardId,
        rng: &mut Rng,
        out: &mut VecDeque<Output>,
    ) {
        self.most = mapping.limits.sessions;
        self.pools.configure(mapping, shard, &mut self.relay);
        self.pools.refill(now, rng, out);
    }

    /// The world's answer to an `OpenPort`.
    pub fn port_opened(&mut self, port: MediaPort, ok: bool, out: &mut VecDeque<Output>) {
        self.pools.opened(port, ok, out);
    }

    /// Keep enough ports bound ahead of need. Call it after each message.
    pub fn refill(&mut self, now: Instant, rng: &mut Rng, out: &mut VecDeque<Output>) {
        self.pools.refill(now, rng, out);
    }

    /// A realm is no longer configured and its last session has ended.
    pub fn retire(&mut self, realm: RealmId, out: &mut VecDeque<Output>) {
        self.pools.retire(realm, out);
    }

    /// Open a session between two realms; `None` when the shard is full.
    pub fn open(&mut self, now: Instant, access: &Realm, core: &Realm) -> Option<SessionKey> {
        if self.table.len() >= self.most {
            return None;
        }
        let legs = [Leg::new(access), Leg::new(core)];
        Some(self.table.insert(Session { opened: now, legs, streams: SmallVec::new(), open: true }))
    }

    /// Signaling of this leg was accepted from `source` (rule 8: its media may come from there too).
    pub fn trust(&mut self, now: Instant, key: SessionKey, side: Side, source: IpAddr) {
        let Some(session) = self.table.get_mut(key) else { return };
        let leg = &mut session.legs[index(side)];
        if !leg.learn_source(source) {
            return;
        }
        for stream in session.streams.iter().flatten() {
            self.relay.trust(now, stream.id, end(side), source);
        }
    }

    /// The peer on `side` described stream `at`. Gives our addresses on the other side.
    ///
    /// # Errors
    /// [`Refusal`] says which limit was met; the stream is then not there.
    pub fn anchor(
        &mut self,
        cx: &mut Anchor<'_>,
        key: SessionKey,
        side: Side,
        at: usize,
        view: View,
    ) -> Result<Anchored, Refusal> {
        let session = self.table.get_mut(key).ok_or(Refusal::Gone)?;
        let view = session.legs[index(side)].plausible(side, view);
        if at >= MAX_STREAMS {
            return Err(Refusal::TooManyStreams);
        }
        if session.streams.len() <= at {
            session.streams.resize_with(at + 1, || None);
        }
        if session.streams[at].is_none() {
            let realms = [session.legs[0].realm, session.legs[1].realm];
            let ports = self.pools.take(realms, cx.now, cx.rng, cx.out).ok_or(Refusal::NoPorts)?;
            let id = self.relay.open(cx.now, ports[0], ports[1]);
            session.streams[at] = Some(Stream { id, ports, views: [None, None], offered: None });
        }
        let other = index(side.other());
        let advertised = session.legs[other].advertised;
        let stream = session.streams[at].as_mut().ok_or(Refusal::Gone)?;
        match cx.role {
            Role::Offer => stream.offered = Some((side, view)),
            Role::Answer => stream.answer(side, view),
        }
        let ports = stream.ports[other];
        if cx.role == Role::Answer {
            self.describe(cx.now, key, at);
        }
        Ok(Anchored {
            rtp: SocketAddr::new(advertised, ports.rtp.port),
            rtcp: SocketAddr::new(advertised, ports.rtcp.port),
        })
    }

    /// Stream `at` was refused or removed by an answer (port 0): its ports are released.
    pub fn remove(
        &mut self,
        now: Instant,
        key: SessionKey,
        at: usize,
        out: &mut VecDeque<Output>,
    ) -> Option<[Counters; 2]> {
        let stream = self.table.get_mut(key)?.streams.get_mut(at)?.take()?;
        Some(self.release(now, &stream, out))
    }

    /// The offer failed: what was agreed before goes on (RFC 3261 section 14.1).
    pub fn rollback(&mut self, now: Instant, key: SessionKey, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.get_mut(key) else { return };
        for at in 0..session.streams.len() {
            let Some(stream) = &mut session.streams[at] else { continue };
            stream.offered = None;
            if stream.views.iter().all(Option::is_none) {
                let stream = session.streams[at].take().expect("it was there a line ago");
                self.pools.release(now, stream.ports, out);
                self.relay.close(stream.id);
            }
        }
    }

    /// Open or close all gates of the session; open ones follow the negotiated directions.
    pub fn gate(&mut self, key: SessionKey, open: bool) {
        let Some(session) = self.table.get_mut(key) else { return };
        session.open = open;
        for stream in session.streams.iter().flatten() {
            self.relay.gate(stream.id, stream.gate(open));
        }
    }

    /// End a session: gates close, ports begin their rest.
    pub fn close(
        &mut self,
        now: Instant,
        key: SessionKey,
        stats: &mut Stats,
        out: &mut VecDeque<Output>,
    ) -> Closed {
        let Some(session) = self.table.remove(key) else { return Closed::default() };
        let two_way = |s: &&Stream| s.gate(true) == Gate::OPEN;
        let expected =
            session.streams.iter().flatten().filter(two_way).map(|s| s.id).collect::<SmallVec<[_; 4]>>();
        let one_way = expected.iter().any(|&id| {
            let [access, core] = self.relay.counters(id);
            (access.rtp_packets == 0) != (core.rtp_packets == 0)
        });
        stats.sessions_one_way += u64::from(one_way);
        let streams = session.streams.iter().flatten().map(|stream| self.release(now, stream, out)).collect();
        Closed { streams }
    }

    /// When the session last saw accepted media (or was opened), and whether media may flow now.
    pub fn activity(&self, key: SessionKey) -> Option<(Instant, bool)> {
        let session = self.table.get(key)?;
        let streams = || session.streams.iter().flatten();
        let last = streams().filter_map(|s| self.relay.last_media(s.id)).max();
        let flows = streams().any(|s| s.gate(session.open) != Gate::CLOSED);
        Some((last.unwrap_or(session.opened).max(session.opened), flows))
    }

    /// The fast door: what to do with one media packet.
    pub fn media(
        &mut self,
        now: Instant,
        at: MediaPort,
        from: SocketAddr,
        pkt: &mut [u8],
        stats: &mut Stats,
    ) -> Verdict {
        self.relay.handle(now, at, from, pkt, stats)
    }

    /// Sessions now.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Is there no session?
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Media ports that sessions hold now.
    pub fn ports_held(&self) -> usize {
        self.pools.held()
    }

    /// Ports that could not be bound so far.
    pub fn port_failures(&self) -> u64 {
        self.pools.failures()
    }

    fn release(&mut self, now: Instant, stream: &Stream, out: &mut VecDeque<Output>) -> [Counters; 2] {
        let counters = self.relay.close(stream.id);
        self.pools.release(now, stream.ports, out);
        counters
    }

    /// Tell the relay what both ends agreed on.
    fn describe(&mut self, now: Instant, key: SessionKey, at: usize) {
        let Some(session) = self.table.get(key) else { return };
        let Some(stream) = session.streams.get(at).and_then(Option::as_ref) else { return };
        for side in [Side::Access, Side::Core] {
            let leg = &session.legs[index(side)];
            if let Some(description) = stream.description(side) {
                self.relay.describe(now, stream.id, end(side), &leg.sources, leg.learn_net, description);
            }
        }
        self.relay.gate(stream.id, stream.gate(session.open));
    }
}

/// What [`Sessions::anchor`] needs besides the stream itself.
pub struct Anchor<'a> {
    /// The time.
    pub now: Instant,
    /// Where ports are drawn from.
    pub rng: &'a mut Rng,
    /// Where outputs go.
    pub out: &'a mut VecDeque<Output>,
    /// Does the description propose or agree?
    pub role: Role,
}

impl Leg {
    fn new(realm: &Realm) -> Self {
        Self {
            realm: realm.id,
            advertised: realm.advertised,
            learn_net: realm.learn_net,
            sources: SmallVec::new(),
        }
    }

    /// A terminal that announces our own address would make us talk to ourselves: nothing is sent there. On the core
    /// side our own address is normal: the softswitch may lead a call from one terminal to another through us twice.
    fn plausible(&self, side: Side, mut view: View) -> View {
        if side == Side::Access {
            view.rtp = view.rtp.filter(|announced| announced.ip() != self.advertised);
            view.rtcp = view.rtcp.filter(|announced| announced.ip() != self.advertised);
        }
        view
    }

    /// Remember a source, forgetting the oldest; false if it was known.
    fn learn_source(&mut self, source: IpAddr) -> bool {
        if self.sources.contains(&source) {
            return false;
        }
        if self.sources.len() == MAX_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(source);
        true
    }
}
