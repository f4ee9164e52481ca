//! What real peers and real networks do to a latch, through the relay: several streams from one source, silences,
//! events, peers that only listen, relays that face each other, and forgers who know what they should not.

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::net::SocketAddr;
use std::time::Duration;

/// Where the terminal's NAT sends its media from, and the control beside it.
const NAT: &str = "203.0.113.7:30000";
const NAT_RTCP: &str = "203.0.113.7:30001";
/// The same NAT after it has forgotten.
const NAT_AGAIN: &str = "203.0.113.7:40000";
const PRIVATE: &str = "10.0.0.1:4000";
const PUBLIC: &str = "198.51.100.2:4000";
const CORE: &str = "10.0.0.20:8000";
const STRANGER: &str = "192.0.2.66:6666";
const PTIME: Duration = Duration::from_millis(20);

/// One stream: the terminal at end A, the softswitch at end B.
struct Call {
    relay: Relay,
    id: StreamId,
    now: Instant,
    stats: Stats,
    core_sequence: u16,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn port(end: End, port: u16) -> MediaPort {
    MediaPort { realm: RealmId(end as u16), port }
}

fn description(text: &str, trusted: bool) -> Description {
    let rtp = addr(text);
    let rtcp = Some(SocketAddr::new(rtp.ip(), rtp.port() + 1));
    // PCMU, comfort noise, and telephone events as 101.
    let payload_types = [1 | 1 << 13, 1 << (101 - 64)];
    Description { rtp: Some(rtp), rtcp, trusted, payload_types, ..Description::default() }
}

fn rtp(payload_type: u8, ssrc: u32, sequence: u16) -> [u8; 172] {
    let mut packet = [0; 172];
    (packet[0], packet[1]) = (0x80, payload_type);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet
}

impl Call {
    /// The terminal announced this address, and its signaling came from its NAT.
    fn new(announced: &str) -> Self {
        Self::with(announced, CORE, true)
    }

    /// The same with another far end.
    fn with(announced: &str, core: &str, trusted: bool) -> Self {
        let mut relay = Relay::new();
        for end in End::BOTH {
            relay.slice(RealmId(end as u16), PortRange { first: 20_000, last: 20_099 });
        }
        let pair = |end| EndPorts { rtp: port(end, 20_000), rtcp: port(end, 20_001) };
        let id = relay.open(Instant::ZERO, pair(End::A), pair(End::B));
        let sources = [addr(NAT).ip()];
        relay.describe(Instant::ZERO, id, End::A, &sources, false, description(announced, false));
        let core_source = [addr(core).ip()];
        relay.describe(Instant::ZERO, id, End::B, &core_source, false, description(core, trusted));
        relay.gate(id, Gate::OPEN);
        Self { relay, id, now: Instant::ZERO, stats: Stats::default(), core_sequence: 0 }
    }

    /// Latched for five seconds: SSRC 1, sequence 0 to 249.
    fn settled(announced: &str, from: &str) -> Self {
        let mut call = Self::new(announced);
        for n in 0..250 {
            assert!(call.voice(from, 0, 1, n).is_some());
        }
        call
    }

    fn arrives(&mut self, at: MediaPort, from: &str, packet: &[u8]) -> Verdict {
        self.relay.handle(self.now, at, addr(from), packet, &mut self.stats)
    }

    /// Where a packet of the terminal's side goes, one packet time after the last.
    fn voice(&mut self, from: &str, payload_type: u8, ssrc: u32, sequence: u16) -> Option<SocketAddr> {
        self.now += PTIME;
        self.at_once(from, payload_type, ssrc, sequence)
    }

    fn at_once(&mut self, from: &str, payload_type: u8, ssrc: u32, sequence: u16) -> Option<SocketAddr> {
        to(self.arrives(port(End::A, 20_000), from, &rtp(payload_type, ssrc, sequence)))
    }

    fn report(&mut self, from: &str) -> Verdict {
        self.arrives(port(End::A, 20_001), from, &[0x80, 201, 0, 1, 0, 0, 0, 1])
    }

    /// Where the core's next packet goes.
    fn core(&mut self) -> Option<SocketAddr> {
        self.core_sequence += 1;
        let packet = rtp(0, 99, self.core_sequence);
        to(self.arrives(port(End::B, 20_000), CORE, &packet))
    }

    fn latched(&self) -> Option<SocketAddr> {
        self.relay.latched(self.id, End::A)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn to(verdict: Verdict) -> Option<SocketAddr> {
    match verdict {
        Verdict::Forward { to, .. } => Some(to),
        Verdict::Drop(_) => None,
    }
}

/// Packets of the core that find no destination while the terminal sends this: SSRC and step of its own sequence.
fn unheard(stream: impl Iterator<Item = (u32, u16)>) -> usize {
    let mut call = Call::new(PRIVATE);
    let mut sequences = std::collections::HashMap::new();
    let mut unheard = 0;
    for (ssrc, step) in stream {
        let sequence = sequences.entry(ssrc).or_insert(ssrc as u16);
        *sequence = sequence.wrapping_add(step);
        assert!(call.voice(NAT, 0, ssrc, *sequence).is_some(), "every packet of the terminal is heard");
        unheard += usize::from(call.core() != Some(addr(NAT)));
    }
    assert_eq!(call.latched(), Some(addr(NAT)));
    unheard
}

#[test]
fn one_stream_is_answered_from_its_second_packet_on() {
    assert_eq!(unheard((0..200).map(|_| (7, 1))), 1);
}

#[test]
fn two_interleaved_ssrcs_are_answered_from_the_third_packet_on() {
    assert_eq!(unheard((0..200).map(|n| (n % 2, 1))), 2);
}

#[test]
fn an_ssrc_that_changes_takes_nothing_away() {
    assert_eq!(unheard((0..200).map(|n| (n / 5, 1))), 1);
    assert_eq!(unheard((0..200).map(|n| (n / 50, 1))), 1);
}

#[test]
fn a_lossy_line_delays_but_does_not_take_away() {
    assert!(unheard((0..200).map(|n| (7, if n % 7 == 0 { 30 } else { 1 }))) <= 3);
}

#[test]
fn a_change_of_ssrc_in_mid_call_is_followed_at_once() {
    let mut call = Call::settled(PRIVATE, NAT);
    assert!(call.voice(NAT, 0, 2, 50_000).is_some());
    assert_eq!((call.core(), call.latched()), (Some(addr(NAT)), Some(addr(NAT))));
}

#[test]
fn a_rebinding_is_followed_by_either_of_two_interleaved_ssrcs() {
    let mut call = Call::new(PRIVATE);
    for n in 0..250 {
        call.voice(NAT, 0, u32::from(n % 2), n / 2);
    }
    let (from, mut back) = (call.now, None);
    for n in 250..300 {
        call.voice(NAT_AGAIN, 0, u32::from(n % 2), n / 2);
        if call.core() == Some(addr(NAT_AGAIN)) {
            back = back.or(Some(call.now - from));
        }
    }
    assert!(back.is_some_and(|back| back <= Duration::from_millis(700)), "{back:?}");
}

#[test]
fn a_rebinding_is_followed_within_700_ms() {
    for announced in [PRIVATE, NAT] {
        let mut call = Call::settled(announced, NAT);
        let (from, mut sequence) = (call.now, 250);
        while call.core() != Some(addr(NAT_AGAIN)) {
            call.voice(NAT_AGAIN, 0, 1, sequence);
            sequence += 1;
            assert!(call.now - from <= Duration::from_millis(700), "not yet after {:?}", call.now - from);
        }
    }
}

#[test]
fn a_burst_of_events_keeps_the_latch_and_passes_whole() {
    let mut call = Call::settled(PRIVATE, NAT);
    let mut sequence = 250;
    for digit in 0..10u8 {
        // RFC 4733 section 2.5.1.3: one SSRC and one sequence for voice and events; the end comes three times.
        for n in 0..8 {
            let (marker, at_once) = (if n == 0 { 0x80 } else { 0 }, n > 5);
            let payload_type = marker | 101;
            let sent = match at_once {
                true => call.at_once(NAT, payload_type, 1, sequence),
                false => call.voice(NAT, payload_type, 1, sequence),
            };
            assert_eq!(sent, Some(addr(CORE)), "digit {digit}, packet {n}");
            sequence += 1;
        }
        assert_eq!(call.core(), Some(addr(NAT)));
    }
}

#[test]
fn events_alone_are_learned_from() {
    let mut call = Call::new(PRIVATE);
    for n in 0..4 {
        assert!(call.voice(NAT, 101, 1, n).is_some());
    }
    assert_eq!((call.core(), call.latched()), (Some(addr(NAT)), Some(addr(NAT))));
}

#[test]
fn comfort_noise_with_gaps_keeps_the_latch() {
    let mut call = Call::settled(PRIVATE, NAT);
    for n in 250..290 {
        call.wait(4);
        assert!(call.voice(NAT, 13, 1, n).is_some());
        assert_eq!(call.core(), Some(addr(NAT)));
    }
    assert_eq!((call.stats.rebound, call.latched()), (0, Some(addr(NAT))));
}

#[test]
fn comfort_noise_is_enough_to_be_sent_to() {
    let mut call = Call::new(PRIVATE);
    for n in 0..4 {
        call.wait(1);
        assert!(call.voice(NAT, 13, 1, n).is_some());
        assert_eq!(call.core().is_some(), n > 0, "the second packet makes sure");
    }
    assert_eq!(call.latched(), Some(addr(NAT)));
}

#[test]
fn a_long_silence_ends_nothing() {
    let mut call = Call::settled(PRIVATE, NAT);
    call.wait(3_600);
    assert_eq!(call.core(), Some(addr(NAT)));
    assert!(call.voice(NAT, 0x80, 1, 250).is_some(), "the marker begins the next talkspurt");
    assert_eq!((call.core(), call.stats.rebound), (Some(addr(NAT)), 0));
}

#[test]
fn a_silence_opens_the_place_to_nobody_who_does_not_know_the_stream() {
    let mut call = Call::settled(PRIVATE, NAT);
    call.wait(60);
    for n in 0..200 {
        // A neighbour behind the same carrier's NAT, with a stream of his own; and one with the SSRC, but with a
        // sequence that a minute of silence cannot explain.
        assert_eq!(call.voice("203.0.113.7:50000", 0, 66, n), None);
        assert_eq!(call.at_once("203.0.113.7:50002", 0, 1, 30_000 + n), None);
        assert_eq!(call.core(), Some(addr(NAT)));
    }
}

#[test]
fn a_forged_rebinding_from_another_host_is_a_stranger_even_with_the_whole_stream() {
    let mut call = Call::settled(PRIVATE, NAT);
    call.wait(2);
    for n in 250..300 {
        let at = port(End::A, 20_000);
        call.now += PTIME;
        let verdict = call.arrives(at, STRANGER, &rtp(0, 1, n));
        assert_eq!(verdict, Verdict::Drop(DropReason::Stranger));
        assert_eq!(call.core(), Some(addr(NAT)));
    }
}

#[test]
fn a_forged_rebinding_beside_a_living_peer_is_not_followed_even_with_the_whole_stream() {
    let mut call = Call::settled(PRIVATE, NAT);
    for n in 250..500 {
        assert!(call.voice(NAT, 0, 1, n).is_some());
        assert_eq!(call.at_once(NAT_AGAIN, 0, 1, n), None);
        assert_eq!(call.core(), Some(addr(NAT)));
    }
}

#[test]
fn who_only_listens_in_the_open_gets_the_budget_and_who_reports_gets_all() {
    let mut call = Call::new(PUBLIC);
    assert_eq!((0..1_000).filter(|_| tick(&mut call)).count(), 250);
    let mut call = Call::new(PUBLIC);
    let heard = (0..1_000).filter(|n| {
        if n % 250 == 249 {
            call.report("198.51.100.2:4001");
        }
        tick(&mut call)
    });
    assert_eq!(heard.count(), 1_000);
}

/// Does the core's packet go anywhere, one packet time after the last?
fn tick(call: &mut Call) -> bool {
    call.now += PTIME;
    call.core().is_some()
}

#[test]
fn who_only_listens_behind_nat_is_found_by_the_first_two_packets() {
    let mut call = Call::new(PRIVATE);
    assert_eq!((0..500).filter(|_| tick(&mut call)).count(), 0, "there is nowhere to send to");
    call.voice(NAT, 0, 1, 0);
    call.voice(NAT, 0, 1, 1);
    assert_eq!(call.core(), Some(addr(NAT)));
    call.wait(60);
    assert!(tick(&mut call), "and stays there without a further packet");
}

#[test]
fn control_alone_teaches_nothing_and_gets_nothing() {
    let mut call = Call::new(PRIVATE);
    for from in [NAT_RTCP, NAT, STRANGER] {
        assert!(matches!(call.report(from), Verdict::Drop(_)));
    }
    assert_eq!((call.core(), call.latched()), (None, None));
}

#[test]
fn control_of_a_stranger_beside_a_call_is_dropped_and_moves_nothing() {
    let mut call = Call::settled(PRIVATE, NAT);
    assert_eq!(call.core(), Some(addr(NAT)));
    assert!(to(call.report(NAT_RTCP)).is_some());
    for second in 0..60 {
        call.wait(1);
        assert_eq!(call.report(STRANGER), Verdict::Drop(DropReason::Stranger), "{second}");
        assert_eq!(call.report("203.0.113.8:30001"), Verdict::Drop(DropReason::Stranger), "{second}");
    }
    let report = [0x80, 201, 0, 1, 0, 0, 0, 99];
    let verdict = call.arrives(port(End::B, 20_001), "10.0.0.20:8001", &report);
    assert_eq!(to(verdict), Some(addr(NAT_RTCP)));
}

/// Two of us, each the peer that the other waits for: ports of one are the announced address of the other.
fn facing(left: &str, right: &str) -> [Call; 2] {
    [Call::with(PUBLIC, right, false), Call::with(PUBLIC, left, false)]
}

/// Carry one packet of a terminal through its own relay and the other one; how many times it was sent on.
fn carry(calls: &mut [Call; 2], names: [&str; 2], n: usize, sequence: u16) -> usize {
    let (mut at, mut end, mut from, mut sent) = (n, End::A, addr(PUBLIC), 0);
    loop {
        let call = &mut calls[at];
        let packet = rtp(0, n as u32 + 1, sequence);
        let verdict = call.relay.handle(call.now, port(end, 20_000), from, &packet, &mut call.stats);
        let Some(to) = to(verdict) else { return sent };
        sent += 1;
        let Some(next) = names.iter().position(|name| addr(name) == to) else { return sent };
        (from, at, end) = (addr(names[at]), next, End::B);
        assert!(sent < 8, "a packet that goes round");
    }
}

#[test]
fn two_relays_that_face_each_other_neither_wait_for_ever_nor_reflect() {
    let names = ["198.51.100.10:20000", "198.51.100.20:20000"];
    let mut calls = facing(names[0], names[1]);
    for sequence in 0..600 {
        for n in 0..2 {
            calls[n].now += PTIME;
            let sent = carry(&mut calls, names, n, sequence);
            assert_eq!(
                sent, 2,
                "packet {sequence} of terminal {n}: through both relays to the other terminal"
            );
        }
    }
    let latched = [0, 1].map(|n| calls[n].relay.latched(calls[n].id, End::B));
    assert_eq!(latched, [Some(addr(names[1])), Some(addr(names[0]))]);
}

#[test]
fn two_relays_that_face_each_other_say_nothing_of_themselves() {
    let names = ["198.51.100.10:20000", "198.51.100.20:20000"];
    let mut calls = facing(names[0], names[1]);
    let sent = (0..500).map(|n| carry(&mut calls, names, 0, n)).sum::<usize>();
    assert!(sent > 0 && calls.iter().all(|call| call.stats.rtp_packets <= 500), "one in, one out");
    assert!(calls[1].relay.counters(calls[1].id)[0].rtp_packets == 0, "nobody spoke on the other side");
}
