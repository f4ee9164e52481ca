//! All streams of one shard, and the fast door.

use super::rivals::Rivals;
use super::shelves::Shelves;
use super::slots::Slots;
use super::stream::{Arrival, Stream};
use super::trust::Addr;
use super::{Account, Counters, Description, End, EndPorts, Flow, Gate, StreamId};
use crate::io::{DropReason, Verdict};
use crate::realm::PortRange;
use crate::stats::Stats;
use crate::types::{Instant, MediaPort, RealmId};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

/// The relay of one shard. Methods that name a stream that is not open do nothing and answer nothing.
#[derive(Debug, Default)]
pub struct Relay {
    pub(super) streams: Shelves<Stream>,
    pub(super) slots: Slots,
    rivals: Rivals,
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
    }

    /// Open a stream between two pairs of ports. Gates are closed and nothing is learned until [`Self::describe`].
    /// A pair that another stream holds already is shared with it, as the forks of a call do: each packet there goes
    /// to the stream whose peer it comes from.
    pub fn open(&mut self, _now: Instant, a: EndPorts, b: EndPorts) -> StreamId {
        let id = self.streams.insert(Stream::new(a, b));
        self.rivals.reserve(id);
        for (end, ports) in End::BOTH.into_iter().zip([a, b]) {
            self.lead(id, end, ports);
        }
        StreamId(id)
    }

    /// The stream's fork was answered: at shared ports it comes before forks that were not.
    pub fn prefer(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id.0) {
            stream.preferred = true;
        }
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
        if let Some(stream) = self.streams.get_mut(id.0) {
            stream.describe(now, end, sources, learn_net, &description);
        }
    }

    /// Authenticated signaling of this leg came from one more address: media may too.
    pub fn trust(&mut self, now: Instant, id: StreamId, end: End, source: IpAddr) {
        if let Some(stream) = self.streams.get_mut(id.0) {
            stream.trust(now, end, source);
        }
    }

    /// Open or close the directions. A closed gate forwards nothing, but the latch of an armed end keeps learning
    /// behind it, so that the first packet after the answer finds its way.
    pub fn gate(&mut self, id: StreamId, gate: Gate) {
        if let Some(stream) = self.streams.get_mut(id.0) {
            stream.set_gate(gate);
        }
    }

    /// Let STUN and DTLS through, or not. The gate says nothing of them: consent must go on while a call is on hold (RFC
    /// 7675), and keys are made before anything else. They pass from [`Self::describe`] on.
    pub fn associate(&mut self, id: StreamId, open: bool) {
        if let Some(stream) = self.streams.get_mut(id.0) {
            stream.open_association(open);
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

    /// Fetch from memory which stream a port belongs to, which [`Self::prefetch`] needs to know.
    pub fn locate(&self, at: MediaPort) {
        black_box(self.slots.find(at));
    }

    /// Fetch from memory what [`Self::handle`] will need for a packet at this port.
    pub fn prefetch(&self, at: MediaPort) {
        let Some(slot) = self.slots.find(at) else { return };
        if let Some(stream) = self.streams.get(slot.stream()) {
            stream.prefetch(slot.end());
        }
    }

    /// The port that RTP from this one leaves by.
    pub fn exit(&self, at: MediaPort) -> Option<MediaPort> {
        let slot = self.slots.find(at)?;
        let stream = self.streams.get(slot.stream())?;
        Some(stream.ports(slot.end().other()).rtp)
    }

    /// Forget the stream; its ports belong to nobody now. What came from A, then from B.
    pub fn close(&mut self, id: StreamId) -> [Counters; 2] {
        let Some(stream) = self.streams.remove(id.0) else { return Default::default() };
        for end in End::BOTH {
            self.leave(id.0, &stream, end);
        }
        stream.counters()
    }

    /// What came from A, then from B, so far.
    pub fn counters(&self, id: StreamId) -> [Counters; 2] {
        self.streams.get(id.0).map(Stream::counters).unwrap_or_default()
    }

    /// What came from A, then from B, so far, with what reception was like. `None`: there is no such stream.
    pub fn accounts(&self, id: StreamId) -> Option<[Account; 2]> {
        self.streams.get(id.0).map(Stream::accounts)
    }

    /// What flows from A, then from B. `None`: there is no such stream.
    pub fn flows(&self, id: StreamId) -> Option<[Flow; 2]> {
        let stream = self.streams.get(id.0)?;
        Some(End::BOTH.map(|end| stream.flow(end)))
    }

    /// When a packet, RTP or RTCP, was last forwarded either way. What is dropped does not count.
    pub fn last_media(&self, id: StreamId) -> Option<Instant> {
        self.streams.get(id.0)?.last_media()
    }

    /// The latched RTP address of an end; a provisional one is not latched yet.
    pub fn latched(&self, id: StreamId, end: End) -> Option<SocketAddr> {
        Some(self.streams.get(id.0)?.latched(end)?.into())
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
        let arrival = Arrival { now, end: slot.end(), rtcp_port: slot.is_rtcp(), from: from.into(), packet };
        let stream = self.streams.get_mut(slot.stream()).ok_or(DropReason::NoSession)?;
        let (out, to) = match stream.next(arrival.end) {
            None => stream.relay(&arrival, self.rivals.bench(slot.stream(), arrival.end), stats),
            Some(_) => self.route_shared(slot.stream(), &arrival, stats),
        }?;
        Ok((out, to.into()))
    }

    /// At a port that forks share.
    #[cold]
    fn route_shared(
        &mut self,
        head: u32,
        arrival: &Arrival<'_>,
        stats: &mut Stats,
    ) -> Result<(MediaPort, Addr), DropReason> {
        let id = match self.claimant(head, arrival) {
            Ok(id) => id,
            Err(reason) => {
                if let Some(first) = self.streams.get_mut(head) {
                    first.count_drop(arrival, reason);
                }
                return Err(reason);
            }
        };
        let stream = self.streams.get_mut(id).ok_or(DropReason::NoSession)?;
        stream.relay(arrival, self.rivals.bench(id, arrival.end), stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const A: &str = "198.51.100.2:4000";
    /// Another port of the host of [`A`].
    const ELSEWHERE: &str = "198.51.100.2:5000";
    const B: &str = "10.0.0.20:8000";

    struct Bench {
        relay: Relay,
        id: StreamId,
        now: Instant,
        stats: Stats,
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn port(end: End, port: u16) -> MediaPort {
        MediaPort { realm: RealmId(end as u16 + 1), port }
    }

    fn pair(end: End) -> EndPorts {
        EndPorts { rtp: port(end, 20_000), rtcp: port(end, 20_001) }
    }

    fn rtp(payload_type: u8, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.resize(172, 0);
        packet
    }

    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 1];
    const BYE: [u8; 8] = [0x81, 203, 0, 1, 0, 0, 0, 1];

    impl Bench {
        /// Open, not described.
        fn bare() -> Self {
            let mut relay = Relay::new();
            for end in End::BOTH {
                relay.slice(RealmId(end as u16 + 1), PortRange { first: 20_000, last: 20_099 });
            }
            let id = relay.open(Instant::ZERO, pair(End::A), pair(End::B));
            Self { relay, id, now: Instant::ZERO, stats: Stats::default() }
        }

        /// Described at both ends, gate open.
        fn new() -> Self {
            let mut bench = Self::bare();
            bench.describe(End::A, description(A));
            bench.describe(End::B, Description { trusted: true, ..description(B) });
            bench.relay.gate(bench.id, Gate::OPEN);
            bench
        }

        fn describe(&mut self, end: End, description: Description) {
            let sources = [description.rtp.unwrap().ip()];
            self.relay.describe(self.now, self.id, end, &sources, false, description);
        }

        fn arrives(&mut self, at: MediaPort, from: &str, packet: &[u8]) -> Verdict {
            self.relay.handle(self.now, at, addr(from), packet, &mut self.stats)
        }

        fn voice(&mut self, end: End, from: &str, sequence: u16) -> Verdict {
            self.now += Duration::from_millis(20);
            self.arrives(port(end, 20_000), from, &rtp(0, sequence))
        }

        /// Both ends latched.
        fn talking() -> Self {
            let mut bench = Self::new();
            bench.talk();
            bench
        }

        fn talk(&mut self) {
            self.voice(End::A, A, 1);
            self.voice(End::B, B, 1);
        }
    }

    fn description(text: &str) -> Description {
        let rtp = addr(text);
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
        Description {
            rtp: Some(rtp),
            rtcp: Some(rtcp),
            payload_types: [1, 1 << 37],
            ..Description::default()
        }
    }

    fn forward(end: End, out: u16, to: &str) -> Verdict {
        Verdict::Forward { out: port(end, out), to: addr(to) }
    }

    #[test]
    fn voice_passes_both_ways() {
        let mut bench = Bench::new();
        assert_eq!(bench.voice(End::A, A, 1), forward(End::B, 20_000, B));
        assert_eq!(bench.voice(End::B, B, 1), forward(End::A, 20_000, A));
        assert_eq!(bench.relay.latched(bench.id, End::A), Some(addr(A)));
        assert_eq!(bench.relay.last_media(bench.id), Some(bench.now));
    }

    #[test]
    fn a_port_without_a_stream_drops() {
        let mut bench = Bench::new();
        for at in [port(End::A, 20_002), port(End::A, 19_999), port(End::A, 20_100)] {
            assert_eq!(bench.arrives(at, A, &rtp(0, 1)), Verdict::Drop(DropReason::NoSession));
        }
        let realm = MediaPort { realm: RealmId(9), port: 20_000 };
        assert_eq!(bench.arrives(realm, A, &rtp(0, 1)), Verdict::Drop(DropReason::NoSession));
        assert_eq!(bench.stats.dropped(DropReason::NoSession), 4);
    }

    #[test]
    fn an_end_that_is_not_described_drops() {
        let mut bench = Bench::bare();
        assert_eq!(bench.voice(End::A, A, 1), Verdict::Drop(DropReason::NotArmed));
        assert_eq!(bench.arrives(port(End::A, 20_001), A, &REPORT), Verdict::Drop(DropReason::NotArmed));
    }

    #[test]
    fn a_closed_gate_drops_but_learns() {
        let mut bench = Bench::new();
        bench.relay.gate(bench.id, Gate { a_to_b: false, b_to_a: true });
        assert_eq!(bench.voice(End::A, A, 1), Verdict::Drop(DropReason::GateClosed));
        assert_eq!(bench.relay.latched(bench.id, End::A), Some(addr(A)));
        assert_eq!(bench.relay.last_media(bench.id), None);
        assert_eq!(bench.voice(End::B, B, 1), forward(End::A, 20_000, A));
    }

    #[test]
    fn only_negotiated_payload_types_pass() {
        let mut bench = Bench::new();
        assert_eq!(bench.arrives(port(End::A, 20_000), A, &rtp(101, 1)), forward(End::B, 20_000, B));
        assert_eq!(bench.arrives(port(End::A, 20_000), A, &rtp(0x80 | 101, 2)), forward(End::B, 20_000, B));
        assert_eq!(
            bench.arrives(port(End::A, 20_000), A, &rtp(8, 3)),
            Verdict::Drop(DropReason::PayloadType)
        );
    }

    #[test]
    fn what_is_not_rtp_teaches_nothing() {
        let mut bench = Bench::new();
        assert_eq!(bench.arrives(port(End::A, 20_000), A, b"hello"), Verdict::Drop(DropReason::NotRtp));
        assert_eq!(bench.relay.latched(bench.id, End::A), None);
    }

    #[test]
    fn a_peer_behind_nat_that_only_listens_opens_the_way_with_octets_that_are_no_media() {
        let mut bench = Bench::bare();
        bench.relay.trust(bench.now, bench.id, End::A, addr(A).ip());
        assert_eq!(bench.arrives(port(End::A, 20_000), A, b"#"), Verdict::Drop(DropReason::NotArmed));
        assert_eq!(
            bench.arrives(port(End::A, 20_000), ELSEWHERE, &rtp(0, 1)),
            Verdict::Drop(DropReason::NotArmed)
        );
        let hidden = Description { rtp: Some(addr("192.168.1.10:4000")), ..description(A) };
        bench.relay.describe(bench.now, bench.id, End::A, &[addr(A).ip()], false, hidden);
        bench.describe(End::B, Description { trusted: true, ..description(B) });
        bench.relay.gate(bench.id, Gate::OPEN);
        assert_eq!(bench.voice(End::B, B, 1), forward(End::A, 20_000, A));
        assert_eq!(bench.arrives(port(End::A, 20_000), ELSEWHERE, b""), Verdict::Drop(DropReason::NotRtp));
        assert_eq!(bench.voice(End::B, B, 2), forward(End::A, 20_000, ELSEWHERE));
        assert_eq!(bench.relay.latched(bench.id, End::A), None);
    }

    #[test]
    fn a_flood_from_the_peer_is_policed() {
        let mut bench = Bench::talking();
        for n in 2..1_000 {
            bench.arrives(port(End::A, 20_000), A, &rtp(0, n));
        }
        let passed = bench.relay.counters(bench.id)[0].rtp_packets;
        assert!((150..160).contains(&passed), "{passed}");
        assert_eq!(bench.stats.dropped(DropReason::Rate), 999 - passed);
    }

    #[test]
    fn a_flood_of_strangers_does_not_eat_the_allowance() {
        let mut bench = Bench::talking();
        for n in 0..10_000 {
            let verdict = bench.arrives(port(End::A, 20_000), "192.0.2.66:1", &rtp(0, n));
            assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
        }
        assert_eq!(bench.voice(End::A, A, 2), forward(End::B, 20_000, B));
    }

    #[test]
    fn every_octet_is_counted_by_direction() {
        let mut bench = Bench::talking();
        bench.voice(End::A, A, 2);
        bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &REPORT);
        bench.arrives(port(End::A, 20_000), "192.0.2.66:1", &rtp(0, 1));
        let [a, b] = bench.relay.close(bench.id);
        assert_eq!((a.rtp_packets, a.rtp_payload_octets, a.rtp_ip_octets), (2, 320, 400));
        assert_eq!((a.rtcp_packets, a.rtcp_octets, a.dropped()), (1, 8, 1));
        assert_eq!((b.rtp_packets, b.rtcp_packets, b.dropped()), (1, 0, 0));
        assert_eq!((a.drops.of(DropReason::Stranger), a.dropped_octets), (1, 172));
        assert_eq!((bench.stats.rtp_packets, bench.stats.rtp_octets), (3, 3 * 172));
    }

    #[test]
    fn nothing_leaves_a_closed_stream() {
        let mut bench = Bench::talking();
        bench.relay.close(bench.id);
        assert_eq!(bench.voice(End::A, A, 2), Verdict::Drop(DropReason::NoSession));
        assert!(bench.relay.is_empty() && bench.relay.latched(bench.id, End::A).is_none());
        assert_eq!(bench.relay.close(bench.id), [Counters::default(); 2]);
    }

    #[test]
    fn a_new_slice_keeps_running_streams() {
        let mut bench = Bench::talking();
        bench.relay.slice(RealmId(1), PortRange { first: 10_000, last: 30_000 });
        assert_eq!(bench.voice(End::A, A, 2), forward(End::B, 20_000, B));
    }

    #[test]
    fn rtcp_passes_beside_latched_rtp() {
        let mut bench = Bench::talking();
        let verdict = bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &REPORT);
        assert_eq!(verdict, forward(End::B, 20_001, "10.0.0.20:8001"));
        let verdict = bench.arrives(port(End::B, 20_001), "10.0.0.20:8001", &REPORT);
        assert_eq!(verdict, forward(End::A, 20_001, "198.51.100.2:4001"));
    }

    #[test]
    fn rtcp_goes_nowhere_before_rtp_is_latched() {
        let mut bench = Bench::new();
        let verdict = bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &REPORT);
        assert_eq!(verdict, Verdict::Drop(DropReason::NoDestination));
        assert_eq!(bench.relay.latched(bench.id, End::A), None);
    }

    #[test]
    fn rtcp_that_does_not_tile_or_comes_from_a_stranger_is_dropped() {
        let mut bench = Bench::talking();
        let at = port(End::A, 20_001);
        let verdict = bench.arrives(at, "198.51.100.2:4001", &REPORT[..7]);
        assert_eq!(verdict, Verdict::Drop(DropReason::NotRtcp));
        assert_eq!(bench.arrives(at, "192.0.2.66:1", &REPORT), Verdict::Drop(DropReason::Stranger));
    }

    #[test]
    fn a_goodbye_ends_nothing() {
        let mut bench = Bench::talking();
        let verdict = bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &BYE);
        assert_eq!(verdict, forward(End::B, 20_001, "10.0.0.20:8001"));
        assert_eq!(bench.voice(End::A, A, 2), forward(End::B, 20_000, B));
    }

    #[test]
    fn multiplexed_rtcp_is_split_for_an_end_that_does_not_share() {
        let mut bench = Bench::bare();
        bench.describe(End::A, Description { mux: true, ..description(A) });
        bench.describe(End::B, Description { trusted: true, ..description(B) });
        bench.relay.gate(bench.id, Gate::OPEN);
        bench.talk();
        let verdict = bench.arrives(port(End::A, 20_000), A, &REPORT);
        assert_eq!(verdict, forward(End::B, 20_001, "10.0.0.20:8001"));
        let verdict = bench.arrives(port(End::B, 20_001), "10.0.0.20:8001", &REPORT);
        assert_eq!(verdict, forward(End::A, 20_000, A));
        let verdict = bench.arrives(port(End::A, 20_000), "192.0.2.66:1", &REPORT);
        assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
    }

    #[test]
    fn rtcp_passes_on_hold_but_not_before_the_answer() {
        let mut bench = Bench::talking();
        let report = |bench: &mut Bench| bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &REPORT);
        bench.relay.gate(bench.id, Gate { a_to_b: false, b_to_a: true });
        assert_eq!(report(&mut bench), forward(End::B, 20_001, "10.0.0.20:8001"));
        bench.relay.gate(bench.id, Gate::CLOSED);
        assert_eq!(report(&mut bench), Verdict::Drop(DropReason::GateClosed));
    }

    #[test]
    fn rtcp_from_the_announced_host_lifts_the_budget_of_a_listener() {
        let mut bench = Bench::new();
        for n in 0..250 {
            assert_eq!(bench.voice(End::B, B, n), forward(End::A, 20_000, A));
        }
        assert_eq!(bench.voice(End::B, B, 250), Verdict::Drop(DropReason::NoDestination));
        bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &REPORT);
        assert_eq!(bench.voice(End::B, B, 251), forward(End::A, 20_000, A));
    }

    #[test]
    fn encrypted_media_passes_with_unreadable_padding_and_reports() {
        let mut bench = Bench::new();
        bench.describe(End::A, Description { secure: true, ..description(A) });
        let mut voice = rtp(0, 1);
        voice[0] |= 0x20;
        assert_eq!(bench.arrives(port(End::A, 20_000), A, &voice), forward(End::B, 20_000, B));
        bench.voice(End::B, B, 1);
        let sealed = [&REPORT[..], &[0xee; 14]].concat();
        let verdict = bench.arrives(port(End::A, 20_001), "198.51.100.2:4001", &sealed);
        assert_eq!(verdict, forward(End::B, 20_001, "10.0.0.20:8001"));
    }

    #[test]
    fn without_rtp_any_datagram_of_the_peer_passes() {
        let mut bench = Bench::bare();
        for (end, text) in [(End::A, A), (End::B, B)] {
            bench.describe(
                end,
                Description { rtp_profile: false, trusted: end == End::B, ..description(text) },
            );
        }
        bench.relay.gate(bench.id, Gate::OPEN);
        assert_eq!(bench.arrives(port(End::A, 20_000), A, &[0, 1, 2]), forward(End::B, 20_000, B));
        let verdict = bench.arrives(port(End::A, 20_000), "192.0.2.66:1", &[0, 1, 2]);
        assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
        assert_eq!(bench.relay.counters(bench.id)[0].rtp_payload_octets, 3);
    }

    #[test]
    fn a_stream_takes_at_most_a_kilobyte() {
        let size = size_of::<Stream>();
        println!("a stream takes {size} octets");
        assert!(size <= 1_024, "{size}");
    }
}
