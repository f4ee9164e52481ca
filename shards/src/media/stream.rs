//! One stream: two ends back to back, and the way of a packet from one to the other.

use super::account::{Account, Beside};
use super::association::{Agreed, Association, Datagram, Kind, Known};
use super::companion::Companion;
use super::formats::Formats;
use super::latch::{Event, Heard, Heed, Latch};
use super::meter::Meter;
use super::quality::Quality;
use super::rivals::Bench;
use super::trust::{Addr, Rank, Trust};
use super::{Counters, Description, End, EndPorts, Gate, Rate};
use crate::io::DropReason;
use crate::stats::Stats;
use crate::types::{Instant, MediaPort};
use crate::wire::rtcp::{self, Item};
use crate::wire::rtp::{self, Rtp};
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

/// Packet times that make sense, shortest and longest; what was announced is brought into this range.
const PTIME: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// A stream's whole state. With many streams what a packet costs is how many lines of memory (64 octets) it needs, so the
/// order of fields is laid down: the first line is both directions', and of each end what every packet needs stands together.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Stream {
    /// Where both ends keep ICE or DTLS.
    association: Option<Box<Association>>,
    last_media: Option<Instant>,
    formats: Formats,
    /// At each end, the next stream that shares its ports; [`LAST`] when there is none.
    next: [u32; 2],
    gate: Gate,
    /// Its fork was answered.
    pub(super) preferred: bool,
    ends: [Facing; 2],
}

/// No further stream.
const LAST: u32 = u32::MAX;

/// How well a stream can claim a packet that arrived at shared ports; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// Its peer announced exactly this source.
    Announced,
    /// It has learned this source.
    Learned,
    /// Its peer's signaling or description names this host.
    Host,
}

/// What we know about one end: first what RTP hardly ever needs, and what is counted of drops last. A packet to here needs
/// the end of `trust` and what follows up to the latch; one from here, `payload_types` to the first counters.
#[derive(Debug)]
#[repr(C)]
struct Facing {
    companion: Companion,
    rtcp_meter: Meter,
    trust: Trust,
    /// Microseconds.
    ptime: u32,
    payload_types: [u64; 2],
    ports: EndPorts,
    profile: Profile,
    latch: Latch,
    quality: Quality,
    mux: bool,
    secure: bool,
    meter: Meter,
    counters: Counters,
}

/// What was negotiated for the media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Rtp,
    /// T.38, for one. Once it was RTP, of this source: packets of it that come late are not what is expected now.
    Other {
        late: Option<u32>,
    },
}

/// A packet at one of our ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) now: Instant,
    pub(super) end: End,
    /// It came in at the RTCP port.
    pub(super) rtcp_port: bool,
    pub(super) from: Addr,
    pub(super) packet: &'a [u8],
}

/// What flows from one end, for whoever looks from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// RTP packets forwarded so far.
    pub packets: u64,
    /// The sender has said that it is silent.
    pub resting: bool,
    /// It is audio, as far as its packets tell.
    pub audio: bool,
}

/// The way out: our port, and the peer.
type Way = (MediaPort, Addr);

impl Stream {
    pub(super) fn new(a: EndPorts, b: EndPorts) -> Self {
        let ends = [Facing::new(a), Facing::new(b)];
        Self {
            association: None,
            last_media: None,
            formats: Formats::default(),
            next: [LAST; 2],
            gate: Gate::CLOSED,
            preferred: false,
            ends,
        }
    }

    /// Read from each line that a packet of RTP from this end needs, so that it is in the cache.
    pub(super) fn prefetch(&self, from: End) {
        let [near, far] = [from, from.other()].map(|end| &self.ends[end as usize]);
        black_box(self.gate);
        black_box(near.payload_types[0]);
        black_box(near.profile);
        black_box(near.latch.is_armed());
        black_box(near.quality.ssrc());
        black_box(near.mux);
        black_box(near.counters.rtp_ip_octets);
        black_box(far.trust.is_trusted());
        black_box(far.ports);
        black_box(far.latch.is_armed());
    }

    pub(super) fn ports(&self, end: End) -> EndPorts {
        self.ends[end as usize].ports
    }

    /// The next stream that shares the ports of this end.
    pub(super) fn next(&self, end: End) -> Option<u32> {
        Some(self.next[end as usize]).filter(|next| *next != LAST)
    }

    pub(super) fn set_next(&mut self, end: End, next: Option<u32>) {
        self.next[end as usize] = next.unwrap_or(LAST);
    }

    /// May this packet be from the peer at its end?
    pub(super) fn claim(&self, arrival: &Arrival<'_>) -> Option<Claim> {
        self.ends[arrival.end as usize].claim(arrival)
    }

    pub(super) fn counters(&self) -> [Counters; 2] {
        [self.ends[0].counters, self.ends[1].counters]
    }

    /// Both directions, that from A first.
    pub(super) fn accounts(&self) -> [Account; 2] {
        let beside = self.association.as_ref().map(|association| association.beside()).unwrap_or_default();
        [self.ends[0].account(beside[0]), self.ends[1].account(beside[1])]
    }

    /// RTP packets forwarded from an end, and whether that end has said that it is silent.
    pub(super) fn flow(&self, end: End) -> Flow {
        let facing = &self.ends[end as usize];
        let (packets, quality) = (facing.counters.rtp_packets, &facing.quality);
        Flow { packets, resting: quality.is_resting(), audio: quality.is_audio() }
    }

    /// A packet at ports that this stream is the first to hold was dropped before a stream was found for it.
    pub(super) fn count_drop(&mut self, arrival: &Arrival<'_>, reason: DropReason) {
        self.ends[arrival.end as usize].counters.drop(reason, arrival.packet.len());
    }

    pub(super) fn last_media(&self) -> Option<Instant> {
        self.last_media
    }

    pub(super) fn latched(&self, end: End) -> Option<Addr> {
        self.ends[end as usize].latch.latched()
    }

    pub(super) fn describe(
        &mut self,
        now: Instant,
        end: End,
        sources: &[IpAddr],
        learn_net: bool,
        d: &Description,
    ) {
        let announced = self.ends[end as usize].describe(now, sources, learn_net, d);
        if self.formats != d.formats {
            self.formats = d.formats;
            self.ends.iter_mut().for_each(|facing| facing.quality.renegotiated());
        }
        let agreed = Agreed { ice: d.ice, dtls: d.dtls && d.rtp_profile };
        if agreed == Agreed::NOTHING && self.association.is_none() {
            return;
        }
        let association = self.association.get_or_insert_with(|| Box::new(Association::new(agreed)));
        association.agree(agreed);
        if announced {
            association.renew(end as usize);
        }
    }

    /// Let STUN and DTLS through, or not, whatever the gate says.
    pub(super) fn open_association(&mut self, open: bool) {
        if let Some(association) = &mut self.association {
            association.set_open(open);
        }
    }

    pub(super) fn trust(&mut self, now: Instant, end: End, source: IpAddr) {
        let facing = &mut self.ends[end as usize];
        facing.latch.settle(now, &facing.trust);
        if facing.trust.add(source) && facing.latch.is_armed() {
            facing.latch.arm(now, &facing.trust, false);
        }
    }

    pub(super) fn set_gate(&mut self, gate: Gate) {
        for end in End::BOTH {
            if gate.from(end) && !self.gate.from(end) {
                self.ends[end as usize].latch.resume();
            }
        }
        self.gate = gate;
    }

    /// The way of one packet through the stream.
    pub(super) fn relay(
        &mut self,
        arrival: &Arrival<'_>,
        bench: Bench<'_>,
        stats: &mut Stats,
    ) -> Result<Way, DropReason> {
        let kind = self.association.as_ref().and_then(|association| association.kind(arrival.packet));
        let way = match kind {
            Some(kind) => self.relay_association(arrival, kind, stats),
            None if self.ends[arrival.end as usize].is_rtcp(arrival) => self.relay_rtcp(arrival, stats),
            None => self.relay_rtp(arrival, bench, stats),
        };
        match way {
            Ok(_) if kind.is_some() => {}
            Ok(_) => self.last_media = Some(arrival.now),
            Err(reason) => self.count_drop(arrival, reason),
        }
        way
    }

    fn relay_rtp(
        &mut self,
        arrival: &Arrival<'_>,
        bench: Bench<'_>,
        stats: &mut Stats,
    ) -> Result<Way, DropReason> {
        let open = self.gate.from(arrival.end);
        let formats = self.formats;
        let (near, far) = self.near_far(arrival.end);
        let rtp = near.accept_rtp(arrival, bench, stats)?;
        let payload = rtp.as_ref().map_or(arrival.packet.len(), |rtp| rtp.payload.len());
        if let Some(rtp) = rtp {
            near.quality.receive(arrival.now, &rtp, &formats);
        }
        if !open {
            return Err(DropReason::GateClosed);
        }
        let to = far.latch.destination(arrival.now, &far.trust).ok_or(DropReason::NoDestination)?;
        near.counters.rtp_packets += 1;
        near.counters.rtp_payload_octets += payload as u64;
        near.counters.rtp_ip_octets += (arrival.packet.len() + arrival.from.ip.header_octets()) as u64;
        stats.rtp_packets += 1;
        stats.rtp_octets += arrival.packet.len() as u64;
        Ok((far.ports.rtp, to))
    }

    fn relay_rtcp(&mut self, arrival: &Arrival<'_>, stats: &mut Stats) -> Result<Way, DropReason> {
        let open = self.gate != Gate::CLOSED;
        let (near, far) = self.near_far(arrival.end);
        near.latch.settle(arrival.now, &near.trust);
        far.latch.settle(arrival.now, &far.trust);
        near.accept_rtcp(arrival)?;
        if !open {
            return Err(DropReason::GateClosed);
        }
        let way = far.rtcp_way().ok_or(DropReason::NoDestination)?;
        near.counters.rtcp(arrival.packet.len());
        stats.rtcp_packets += 1;
        stats.rtcp_octets += arrival.packet.len() as u64;
        self.study(arrival);
        Ok(way)
    }

    /// What forwarded RTCP in the clear says about quality.
    fn study(&mut self, arrival: &Arrival<'_>) {
        let (near, far) = self.near_far(arrival.end);
        if near.secure {
            return;
        }
        rtcp::read(arrival.packet, |item| match item {
            Item::Sender(sender) => near.quality.sender_reported(arrival.now, &sender),
            Item::Block(block) if far.quality.ssrc() == Some(block.about) => {
                far.quality.reported(&block);
                near.quality.answered(arrival.now, &block, &far.quality);
            }
            Item::Block(_) => {}
        });
    }

    /// STUN or DTLS, at the port of its own component.
    #[cold]
    fn relay_association(
        &mut self,
        arrival: &Arrival<'_>,
        kind: Kind,
        stats: &mut Stats,
    ) -> Result<Way, DropReason> {
        let Arrival { now, end, rtcp_port: rtcp, from, packet: octets } = *arrival;
        let [near, far] = [end, end.other()].map(|end| &self.ends[end as usize]);
        if rtcp && (near.mux || far.mux) {
            return Err(DropReason::NotRtcp);
        }
        let association = self.association.as_mut().ok_or(DropReason::NotArmed)?;
        let datagram = Datagram { now, from, octets, kind, end: end as usize, rtcp };
        let to = association.relay(&datagram, near.known(rtcp), far.known(rtcp))?;
        let out = if rtcp { far.ports.rtcp } else { far.ports.rtp };
        match kind {
            Kind::Stun => stats.stun_packets += 1,
            Kind::Dtls => stats.dtls_packets += 1,
        }
        Ok((out, to))
    }

    fn near_far(&mut self, end: End) -> (&mut Facing, &mut Facing) {
        let [a, b] = &mut self.ends;
        match end {
            End::A => (a, b),
            End::B => (b, a),
        }
    }
}

impl Facing {
    fn new(ports: EndPorts) -> Self {
        let rate = Rate::default();
        Self {
            companion: Companion::new(),
            rtcp_meter: Meter::new(rate.rtcp()),
            trust: Trust::default(),
            ptime: 20_000,
            payload_types: [0; 2],
            ports,
            profile: Profile::Rtp,
            latch: Latch::new(),
            quality: Quality::default(),
            mux: false,
            secure: false,
            meter: Meter::new(rate),
            counters: Counters::default(),
        }
    }

    /// Whether the announced address is another one.
    fn describe(&mut self, now: Instant, sources: &[IpAddr], learn_net: bool, d: &Description) -> bool {
        self.latch.settle(now, &self.trust);
        let change = self.trust.update(sources, learn_net, d);
        if change.any() || !self.latch.is_armed() {
            self.latch.arm(now, &self.trust, change.announced);
        }
        if change.announced {
            self.companion.arm();
        }
        self.meter.set(d.rate, d.margin);
        self.rtcp_meter.set(d.rate.rtcp(), d.margin);
        self.payload_types = d.payload_types;
        self.ptime = d.ptime.clamp(PTIME.0, PTIME.1).as_micros() as u32;
        self.profile = match self.profile {
            _ if d.rtp_profile => Profile::Rtp,
            Profile::Rtp => Profile::Other { late: self.latch.ssrc() },
            other => other,
        };
        (self.mux, self.secure) = (d.mux, d.secure);
        change.announced
    }

    /// What STUN and DTLS go by.
    fn known(&self, rtcp: bool) -> Known<'_> {
        let latched = if rtcp { self.companion.latched() } else { self.latch.latched() };
        Known { trust: &self.trust, latched }
    }

    fn account(&self, beside: Beside) -> Account {
        Account { counters: self.counters, beside, figures: self.quality.figures(), ptime: self.ptime() }
    }

    fn claim(&self, arrival: &Arrival<'_>) -> Option<Claim> {
        let (trust, from) = (&self.trust, arrival.from);
        let (announced, learned) = match arrival.rtcp_port {
            true => (trust.control(), self.companion.latched()),
            false => (trust.announced(), self.latch.source()),
        };
        let beside = self.latch.source().is_some_and(|source| source.ip == from.ip);
        if announced == Some(from) {
            Some(Claim::Announced)
        } else if learned == Some(from) {
            Some(Claim::Learned)
        } else {
            (beside || trust.rank(from) != Rank::Stranger).then_some(Claim::Host)
        }
    }

    fn is_rtp(&self) -> bool {
        self.profile == Profile::Rtp
    }

    fn is_rtcp(&self, arrival: &Arrival<'_>) -> bool {
        arrival.rtcp_port || self.mux && self.is_rtp() && rtp::is_rtcp(arrival.packet)
    }

    /// Admission (rule 1), then the latch. The header of an accepted packet; `None` where the stream is not RTP.
    fn accept_rtp(
        &mut self,
        arrival: &Arrival<'_>,
        bench: Bench<'_>,
        stats: &mut Stats,
    ) -> Result<Option<Rtp>, DropReason> {
        if !self.latch.is_armed() {
            self.knock(arrival);
            return Err(DropReason::NotArmed);
        }
        let rtp = match self.admit(arrival.packet) {
            Err(reason) => {
                self.knock(arrival);
                return Err(reason);
            }
            Ok(rtp) => rtp,
        };
        if !self.meter.allows(arrival.now) {
            return Err(DropReason::Rate);
        }
        let order = rtp.as_ref().map(|rtp| (rtp.ssrc, rtp.sequence));
        let heard = Heard { from: arrival.from, rtp: order };
        let heed = self.latch.receive(arrival.now, &heard, &self.trust, self.ptime(), bench);
        let (Heed::Accept(event) | Heed::Drop(_, event)) = heed;
        count(event, stats);
        if let Heed::Drop(reason, _) = heed {
            return Err(reason);
        }
        self.meter.charge(arrival.now, arrival.packet.len());
        Ok(rtp)
    }

    /// What is no RTP may have opened a NAT.
    fn knock(&mut self, arrival: &Arrival<'_>) {
        if self.is_rtp() && Rtp::parse_secure(arrival.packet).is_none() {
            self.latch.knock(arrival.now, arrival.from, &self.trust);
        }
    }

    fn ptime(&self) -> Duration {
        Duration::from_micros(u64::from(self.ptime))
    }

    /// The header of a packet that was negotiated; `None` where the stream is not RTP.
    fn admit(&self, packet: &[u8]) -> Result<Option<Rtp>, DropReason> {
        if let Profile::Other { late } = self.profile {
            let late = late.is_some() && rtp_ssrc(packet) == late;
            return if late { Err(DropReason::PayloadType) } else { Ok(None) };
        }
        let parsed = if self.secure { Rtp::parse_secure(packet) } else { Rtp::parse(packet) };
        let rtp = parsed.ok_or(DropReason::NotRtp)?;
        let (word, bit) = (usize::from(rtp.payload_type / 64), rtp.payload_type % 64);
        if self.payload_types[word] >> bit & 1 == 0 {
            return Err(DropReason::PayloadType);
        }
        Ok(Some(rtp))
    }

    fn accept_rtcp(&mut self, arrival: &Arrival<'_>) -> Result<(), DropReason> {
        if !self.latch.is_armed() {
            return Err(DropReason::NotArmed);
        }
        let check = if self.secure { rtp::srtcp_starts } else { rtp::rtcp_tiles };
        if !self.is_rtp() || !check(arrival.packet) {
            return Err(DropReason::NotRtcp);
        }
        if !self.rtcp_meter.allows(arrival.now) {
            return Err(DropReason::Rate);
        }
        self.judge_rtcp(arrival)?;
        if self.trust.announced().is_some_and(|d| d.ip == arrival.from.ip) {
            self.latch.answered();
        }
        self.rtcp_meter.charge(arrival.now, arrival.packet.len());
        Ok(())
    }

    /// On the RTP port (multiplexed) RTCP comes from the RTP latch itself and teaches nothing.
    fn judge_rtcp(&mut self, arrival: &Arrival<'_>) -> Result<(), DropReason> {
        if arrival.rtcp_port {
            return self.companion.receive(arrival.now, arrival.from, &self.trust, &self.latch);
        }
        match self.latch.latched() {
            Some(addr) if addr == arrival.from => Ok(()),
            Some(_) => Err(DropReason::Stranger),
            None => Err(DropReason::NotRtcp),
        }
    }

    /// Where RTCP to this end leaves and goes.
    fn rtcp_way(&mut self) -> Option<Way> {
        if self.mux {
            let latched = self.latch.latched()?;
            return Some((self.ports.rtp, self.trust.told().unwrap_or(latched)));
        }
        self.companion.destination(&self.trust, &self.latch).map(|to| (self.ports.rtcp, to))
    }
}

/// The SSRC of a packet that looks like RTP.
fn rtp_ssrc(packet: &[u8]) -> Option<u32> {
    Rtp::parse_secure(packet).map(|rtp| rtp.ssrc)
}

fn count(event: Event, stats: &mut Stats) {
    match event {
        Event::None => {}
        Event::Latched => stats.latched += 1,
        Event::Rebound => stats.rebound += 1,
        Event::Contested => stats.contested += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn what_a_packet_needs_stands_together() {
        let near = offset_of!(Facing, counters) + 24 - offset_of!(Facing, payload_types);
        let told = size_of::<Option<Addr>>() + 2;
        let far = offset_of!(Facing, quality) - (offset_of!(Facing, trust) + size_of::<Trust>() - told);
        assert!(near <= 4 * 64 && far <= 2 * 64 + 16, "{near} and {far} octets");
        assert_eq!((offset_of!(Stream, ends), align_of::<Stream>()), (64, 64));
        assert_eq!(size_of::<Option<Stream>>(), size_of::<Stream>());
    }
}
