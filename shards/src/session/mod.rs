//! Sessions, legs and streams: who talks to whom, over which of our ports.
//!
//! A session has two legs, one on each [`Side`], and up to [`MAX_STREAMS`] streams. Every protocol family describes
//! its media with the one verb [`Sessions::anchor`]: "the peer on this side announced these addresses for stream n;
//! which of our addresses do I announce on the other side?"

pub mod account;
mod admission;
mod fork;
mod offer;
mod one_way;
mod pool;
mod stream;

use account::{Recent, StreamSummary, Summary};
use admission::Admission;
pub use offer::{Role, Told, View};

use crate::io::{Output, Verdict};
use crate::limits::{MAX_SOURCES, MAX_STREAMS};
use crate::media::{Description, End, Gate, Relay};
use crate::random::Rng;
use crate::realm::{Mapping, Realm};
use crate::stats::Stats;
use crate::table::{Key, Table};
use crate::types::{Instant, MediaPort, RealmId, ShardId, Side};
use fork::Announced;
use one_way::Rounds;
use pool::Pools;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use stream::Stream;

/// Names a session of this shard.
pub type SessionKey = Key;

/// All sessions of one shard, with the relay and the ports that serve them.
#[derive(Default)]
pub struct Sessions {
    table: Table<Session>,
    relay: Relay,
    pools: Pools,
    admission: Admission,
    most: usize,
    /// Media that flows one way only for so long is told; zero: never.
    one_way: Duration,
    rounds: Rounds,
    recent: Recent,
}

/// Two legs and what flows between them.
struct Session {
    opened: Instant,
    legs: [Leg; 2],
    /// Room for one: most calls have no more.
    streams: SmallVec<[Option<Stream>; 1]>,
    open: bool,
    /// What the signaling allows beside the descriptions.
    allowed: Gate,
    /// What the offer that opened the session announced to the other side, as long as more forks may answer it.
    announced: Vec<Option<Announced>>,
    /// Of several forks this one was answered.
    preferred: bool,
    /// Another fork was answered.
    lost: bool,
    /// What streams that were removed have carried.
    carried: Vec<StreamSummary>,
    /// The side that was silent when media was found to flow one way only.
    one_way: Option<Side>,
}

/// One side of a session.
#[derive(Clone)]
struct Leg {
    realm: RealmId,
    advertised: IpAddr,
    learn_net: bool,
    margin: u8,
    /// Where accepted signaling of this leg came from (S of the latching rules).
    sources: SmallVec<[IpAddr; MAX_SOURCES]>,
}

/// Our addresses for one stream, as the other side is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Where that side sends RTP.
    pub rtp: SocketAddr,
    /// Where that side sends RTCP, unless it is multiplexed.
    pub rtcp: SocketAddr,
    /// What that side must be told otherwise than it was said.
    pub told: Told,
}

/// Why a stream could not be anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The descriptions ask for more media than may be granted.
    NoBandwidth,
    /// More streams than [`MAX_STREAMS`].
    TooManyStreams,
    /// No bound media port is free.
    NoPorts,
    /// An answer to a stream that was not offered.
    NotOffered,
    /// The session has ended.
    Gone,
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
        self.one_way = mapping.limits.one_way;
        self.admission.most = mapping.limits.media_kbit * 125;
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
        Some(self.table.insert(Session::new(now, [Leg::new(access), Leg::new(core)])))
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
        let session = self.table.get(key).ok_or(Refusal::Gone)?;
        let view = session.plausible(side, view);
        self.admission.check(session.streams.get(at).and_then(Option::as_ref), &view)?;
        if session.streams.get(at).is_none_or(Option::is_none) {
            self.add(cx, key, side, at)?;
        }
        let session = self.table.get_mut(key).ok_or(Refusal::Gone)?;
        let advertised = session.legs[index(side.other())].advertised;
        let fresh = session.announced.get(at).is_none_or(Option::is_none) && session.is_fresh();
        let terminal_leads = session.terminal_leads(at, side, &view);
        let allowed = session.allowed;
        let stream = session.streams[at].as_mut().ok_or(Refusal::Gone)?;
        self.admission.grant(stream, &view);
        let latched = self.relay.latched(stream.id, End::A).is_some();
        let mut told = stream.told(side, cx.role, &view, latched);
        told.terminal_leads &= terminal_leads;
        let ports = stream.ports[index(side.other())];
        match cx.role {
            Role::Offer if fresh => {
                stream.propose(side, view.clone());
                self.announce(key, side, at, view);
            }
            Role::Offer => {
                stream.propose(side, view);
                self.allow(key, allowed);
            }
            Role::Answer => {
                stream.answer(side, view);
                self.describe(cx.now, key, at);
            }
            Role::Repeat => {}
        }
        let at = |port: MediaPort| SocketAddr::new(advertised, port.port);
        Ok(Anchored { rtp: at(ports.rtp), rtcp: at(ports.rtcp), told })
    }

    /// Take ports for a stream that is not there yet. That of a fork shares those that the offer announced.
    fn add(&mut self, cx: &mut Anchor<'_>, key: SessionKey, side: Side, at: usize) -> Result<(), Refusal> {
        let session = self.table.get_mut(key).ok_or(Refusal::Gone)?;
        if at >= MAX_STREAMS {
            return Err(Refusal::TooManyStreams);
        }
        let announced = session.announced.get(at).and_then(Option::as_ref).filter(|a| a.by != side);
        let (mut known, mut pending) = ([None; 2], [None, None]);
        match (cx.role, announced) {
            (Role::Offer, _) => {}
            (Role::Answer, Some(announced)) => {
                known[index(side)] = Some(announced.ports);
                pending[index(announced.by)] = Some(announced.offer.clone());
            }
            _ => return Err(Refusal::NotOffered),
        }
        let realms = [session.legs[0].realm, session.legs[1].realm];
        let ports = self.pools.take(realms, known, cx.now, cx.rng, cx.out).ok_or(Refusal::NoPorts)?;
        if session.streams.len() <= at {
            session.streams.resize_with(at + 1, || None);
        }
        let id = self.relay.open(cx.now, ports[0], ports[1]);
        for side in [Side::Access, Side::Core] {
            for source in &session.legs[index(side)].sources {
                self.relay.trust(cx.now, id, end(side), *source);
            }
        }
        if session.preferred {
            self.relay.prefer(id);
        }
        session.streams[at] = Some(Stream::new(id, ports, pending));
        Ok(())
    }

    /// Stream `at` was refused or removed by an answer (port 0). Nothing flows any more; its ports are released when
    /// the answer is final, by [`Self::commit`].
    pub fn remove(&mut self, key: SessionKey, at: usize) {
        let stream = self.table.get_mut(key).and_then(|session| session.streams.get_mut(at)?.as_mut());
        if let Some(stream) = stream {
            stream.remove();
            self.relay.gate(stream.id, Gate::CLOSED);
            self.relay.associate(stream.id, false);
        }
    }

    /// What was answered is final (a 2xx, or its ACK): there is no way back, and what was removed is released.
    pub fn commit(&mut self, now: Instant, key: SessionKey, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.get_mut(key) else { return };
        let removed = session.streams.iter_mut().filter_map(|stream| {
            stream.as_mut()?.before = None;
            stream.take_if(|stream| stream.removed)
        });
        let removed = removed.collect::<SmallVec<[_; 2]>>();
        self.release_all(now, key, &removed, out);
    }

    /// The offer of `side` failed: what was agreed before goes on (RFC 3261 section 14.1), even if the offer had been
    /// answered by a provisional response.
    pub fn rollback(&mut self, now: Instant, key: SessionKey, side: Side, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.get_mut(key) else { return };
        let mut unused = SmallVec::<[_; 2]>::new();
        for at in 0..session.streams.len() {
            let Some(stream) = &mut session.streams[at] else { continue };
            stream.withdraw(side);
            if stream.views.iter().all(Option::is_none) {
                let initial = session.announced.get(at).and_then(Option::as_ref).filter(|a| a.by == side);
                stream.pending[index(side)] = initial.map(|announced| announced.offer.clone());
            }
            unused.extend(session.streams[at].take_if(|stream| stream.is_unused()));
        }
        for at in 0..session.streams.len() {
            self.describe(now, key, at);
        }
        self.release_all(now, key, &unused, out);
    }

    /// Open or close all gates of the session; open ones follow the negotiated directions.
    pub fn gate(&mut self, key: SessionKey, open: bool) {
        let Some(session) = self.table.get_mut(key) else { return };
        session.open = open;
        for stream in session.streams.iter().flatten() {
            self.relay.gate(stream.id, session.gate_of(stream));
            self.relay.associate(stream.id, open && !stream.removed);
        }
    }

    /// Which ways media may flow, whatever the descriptions say: where signaling names the mode of a connection beside
    /// them (RFC 3435 section 2.3.5), or a call is not answered yet ([`crate::realm::EarlyMedia`]). Both ways until it is
    /// said otherwise.
    pub fn allow(&mut self, key: SessionKey, allowed: Gate) {
        let Some(session) = self.table.get_mut(key) else { return };
        session.allowed = allowed;
        for stream in session.streams.iter().flatten() {
            self.relay.gate(stream.id, session.gate_of(stream));
        }
    }

    /// Is it known where the terminal's media comes from, for each stream that there is?
    pub fn is_latched(&self, key: SessionKey) -> bool {
        let Some(session) = self.table.get(key) else { return false };
        session.streams.iter().flatten().all(|stream| self.relay.latched(stream.id, End::A).is_some())
    }

    /// End a session: gates close, ports begin their rest, and its figures are remembered for a while.
    pub fn close(&mut self, now: Instant, key: SessionKey, stats: &mut Stats, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.remove(key) else { return };
        let both = |s: &Stream| s.gate(true) == Gate::OPEN && session.allowed == Gate::OPEN;
        let two_way = |s: &&Stream| !session.lost && both(s);
        let expected =
            session.streams.iter().flatten().filter(two_way).map(|s| s.id).collect::<SmallVec<[_; 4]>>();
        let one_way = expected.iter().any(|&id| {
            let [access, core] = self.relay.counters(id);
            (access.rtp_packets == 0) != (core.rtp_packets == 0)
        });
        stats.sessions_one_way += u64::from(one_way);
        self.forget_announced(now, &session.announced, out);
        let summary = Summary { ended: Some(now), ..self.summarize(key, &session) };
        session.streams.iter().flatten().for_each(|stream| self.release(now, stream, out));
        self.close_account(summary, stats);
    }

    /// When RTP or RTCP of the session was last forwarded (or it was opened), and whether media may flow now.
    pub fn activity(&self, key: SessionKey) -> Option<(Instant, bool)> {
        let session = self.table.get(key)?;
        let streams = || session.streams.iter().flatten();
        let last = streams().filter_map(|s| self.relay.last_media(s.id)).max();
        let flows = streams().any(|s| session.gate_of(s) != Gate::CLOSED);
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

    /// Fetch from memory which stream a port belongs to, which [`Self::prefetch`] needs to know.
    pub fn locate(&self, at: MediaPort) {
        self.relay.locate(at);
    }

    /// Fetch from memory what [`Self::media`] will need for a packet at this port.
    pub fn prefetch(&self, at: MediaPort) {
        self.relay.prefetch(at);
    }

    /// The port that RTP from this one leaves by.
    pub fn exit(&self, at: MediaPort) -> Option<MediaPort> {
        self.relay.exit(at)
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

    /// Media that running sessions may carry, as their descriptions ask, in octets of UDP payload per second and
    /// direction.
    pub const fn granted(&self) -> u64 {
        self.admission.granted()
    }

    /// Is media of this session stopped one way or both, so that the terminal may be silent?
    pub fn is_held(&self, key: SessionKey) -> bool {
        let Some(session) = self.table.get(key) else { return false };
        session.streams.iter().flatten().any(|stream| session.gate_of(stream) != Gate::OPEN)
    }

    /// Send an empty datagram to where the terminal's media comes from, so that its NAT does not forget the way while
    /// the call is on hold (RFC 6263 section 4.1).
    pub fn keep_open(&self, key: SessionKey, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.get(key) else { return };
        for stream in session.streams.iter().flatten() {
            if let Some(to) = self.relay.latched(stream.id, End::A) {
                out.push_back(Output::KeepOpen { port: stream.ports[index(Side::Access)].rtp, to });
            }
        }
    }

    /// Ports that could not be bound so far.
    pub fn port_failures(&self) -> u64 {
        self.pools.failures()
    }

    fn release(&mut self, now: Instant, stream: &Stream, out: &mut VecDeque<Output>) {
        self.relay.close(stream.id);
        self.admission.release(stream);
        self.pools.release(now, stream.ports, out);
    }

    /// Release streams that are no longer in their session.
    fn release_all(&mut self, now: Instant, key: SessionKey, streams: &[Stream], out: &mut VecDeque<Output>) {
        for stream in streams {
            let carried = self.stream_summary(stream);
            self.release(now, stream, out);
            if let Some(session) = self.table.get_mut(key) {
                session.carried.extend(carried);
            }
        }
    }

    /// Tell the relay what both ends agreed on.
    fn describe(&mut self, now: Instant, key: SessionKey, at: usize) {
        let Some(session) = self.table.get(key) else { return };
        let Some(stream) = session.streams.get(at).and_then(Option::as_ref) else { return };
        for side in [Side::Access, Side::Core] {
            let leg = &session.legs[index(side)];
            if let Some(description) = stream.description(side) {
                let description = Description { margin: leg.margin, ..description };
                self.relay.describe(now, stream.id, end(side), &leg.sources, leg.learn_net, description);
            }
        }
        self.relay.gate(stream.id, session.gate_of(stream));
        self.relay.associate(stream.id, session.open && !stream.removed);
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

impl Session {
    fn new(now: Instant, legs: [Leg; 2]) -> Self {
        Self {
            opened: now,
            legs,
            streams: SmallVec::new(),
            open: true,
            allowed: Gate::OPEN,
            announced: Vec::new(),
            preferred: false,
            lost: false,
            carried: Vec::new(),
            one_way: None,
        }
    }

    /// A peer that announces an address of ours would make us talk to ourselves: nothing is sent there. On the core side
    /// our own core address is normal: the softswitch may lead a call from one terminal to another through us twice.
    /// Our address on the other side is what ICE makes of the way through us (RFC 8839 section 4.4.1.2.2), and means the peer
    /// where it was.
    fn plausible(&self, side: Side, mut view: View) -> View {
        let [access, core] = [&self.legs[0], &self.legs[1]].map(|leg| leg.advertised);
        let ours = |announced: &SocketAddr| match side {
            Side::Access => announced.ip() == access || announced.ip() == core,
            Side::Core => view.ice && access != core && announced.ip() == access,
        };
        (view.rtp, view.rtcp) = (view.rtp.filter(|at| !ours(at)), view.rtcp.filter(|at| !ours(at)));
        view
    }

    /// Is the terminal, as far as its signaling tells, behind NAT, and has nothing but DTLS to open its way?
    fn terminal_leads(&self, at: usize, side: Side, view: &View) -> bool {
        let known = self.streams.get(at).and_then(Option::as_ref).and_then(|stream| stream.views[0].as_ref());
        let told = if side == Side::Access { view.rtp } else { None };
        let announced = told.or(known.and_then(|view| view.rtp));
        !view.ice && !announced.is_some_and(|announced| self.legs[0].sources.contains(&announced.ip()))
    }

    /// Which ways one of its streams may carry media now.
    fn gate_of(&self, stream: &Stream) -> Gate {
        let Gate { a_to_b, b_to_a } = stream.gate(self.open);
        Gate { a_to_b: a_to_b && self.allowed.a_to_b, b_to_a: b_to_a && self.allowed.b_to_a }
    }

    /// Nothing was agreed yet.
    fn is_fresh(&self) -> bool {
        self.streams.iter().flatten().all(|stream| stream.views.iter().all(Option::is_none))
    }
}

impl Leg {
    fn new(realm: &Realm) -> Self {
        Self {
            realm: realm.id,
            advertised: realm.advertised,
            learn_net: realm.learn_net,
            margin: realm.media_margin,
            sources: SmallVec::new(),
        }
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
