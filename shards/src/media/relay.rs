//! All streams of one shard, and the fast door.

use super::slots::{Slot, Slots};
use super::stream::{Arrival, Stream};
use super::{Counters, Description, End, EndPorts, Gate, StreamId};
use crate::io::{DropReason, Verdict};
use crate::realm::PortRange;
use crate::stats::Stats;
use crate::types::{Instant, MediaPort, RealmId};
use slab::Slab;
use std::net::{IpAddr, SocketAddr};

/// The relay of one shard. Methods that name a stream that is not open do nothing and answer nothing.
#[derive(Debug, Default)]
pub struct Relay {
    streams: Slab<Stream>,
    slots: Slots,
}

impl Relay {
    /// No slices, no streams.
    pub fn new() -> Self {
        Self::default()
    }

    /// Know a realm's slice of ports, before streams are opened on them. A second call for the same realm replaces the
    /// slice; streams on ports of both stay reachable.
    pub fn slice(&mut self, realm: RealmId, range: PortRange) {
        self.slots.add(realm, range);
        // A stream takes four ports, so the table never has to grow, and move, while media flows.
        self.streams.reserve((self.slots.len() / 4).saturating_sub(self.streams.len()));
    }

    /// Open a stream between two pairs of ports. Gates are closed and nothing is learned until [`Self::describe`].
    pub fn open(&mut self, _now: Instant, a: EndPorts, b: EndPorts) -> StreamId {
        let id = self.streams.insert(Stream::new(a, b)) as u32;
        for (end, ports) in End::BOTH.into_iter().zip([a, b]) {
            self.slots.put(ports.rtp, Slot::new(id, end, false));
            self.slots.put(ports.rtcp, Slot::new(id, end, true));
        }
        StreamId(id)
    }

    /// What the peer at `end` announced, and `sources`: addresses that its signaling was accepted from, added to those
    /// known. Arms the latch; again only if either is really new, so a session refresh or a hold disturbs nothing.
    pub fn describe(
        &mut self,
        now: Instant,
        id: StreamId,
        end: End,
        sources: &[IpAddr],
        learn_net: bool,
        description: Description,
    ) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.describe(now, end, sources, learn_net, &description);
        }
    }

    /// Authenticated signaling of this leg came from one more address: media may too.
    pub fn trust(&mut self, now: Instant, id: StreamId, end: End, source: IpAddr) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.trust(now, end, source);
        }
    }

    /// Open or close the directions. A closed gate forwards nothing, but the latch of an armed end keeps learning
    /// behind it, so that the first packet after the answer finds its way.
    pub fn gate(&mut self, id: StreamId, gate: Gate) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.set_gate(gate);
        }
    }

    /// Decide on one packet: the fast door. No allocation, no hash, no lock.
    pub fn handle(
        &mut self,
        now: Instant,
        at: MediaPort,
        from: SocketAddr,
        packet: &[u8],
        stats: &mut Stats,
    ) -> Verdict {
        match self.route(now, at, from, packet, stats) {
            Ok((out, to)) => Verdict::Forward { out, to },
            Err(reason) => {
                stats.drop(reason);
                Verdict::Drop(reason)
            }
        }
    }

    /// Forget the stream; its ports belong to nobody now. What came from A, then from B.
    pub fn close(&mut self, id: StreamId) -> [Counters; 2] {
        let Some(stream) = self.streams.try_remove(id.0 as usize) else { return Default::default() };
        for ports in End::BOTH.map(|end| stream.ports(end)) {
            self.slots.clear(ports.rtp, id.0);
            self.slots.clear(ports.rtcp, id.0);
        }
        stream.counters()
    }

    /// What came from A, then from B, so far.
    pub fn counters(&self, id: StreamId) -> [Counters; 2] {
        self.streams.get(id.0 as usize).map(Stream::counters).unwrap_or_default()
    }

    /// When a packet, RTP or RTCP, was last forwarded either way. What is dropped does not count.
    pub fn last_media(&self, id: StreamId) -> Option<Instant> {
        self.streams.get(id.0 as usize)?.last_media()
    }

    /// The latched RTP address of an end; a provisional one is not latched yet.
    pub fn latched(&self, id: StreamId, end: End) -> Option<SocketAddr> {
        Some(self.streams.get(id.0 as usize)?.latched(end)?.into())
    }

    /// Streams open.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// No stream open?
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    fn route(
        &mut self,
        now: Instant,
        at: MediaPort,
        from: SocketAddr,
        packet: &[u8],
        stats: &mut Stats,
    ) -> Result<(MediaPort, SocketAddr), DropReason> {
        let slot = self.slots.find(at).ok_or(DropReason::NoSession)?;
        let stream = self.streams.get_mut(slot.stream() as usize).ok_or(DropReason::NoSession)?;
        let arrival = Arrival { now, end: slot.end(), rtcp_port: slot.is_rtcp(), from: from.into(), packet };
        let (out, to) = stream.relay(&arrival, stats)?;
        Ok((out, to.into()))
    }
}
