//! STUN and DTLS at the ports of media: let through between two ends that agreed to them, and worth nothing to anybody
//! else. Addresses: the terminal's media comes from its signaling's host, a NAT; what it announced is private.

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::media::{Description, End, EndPorts, Gate, Relay, StreamId};
use portolan_shards::random::Rng;
use portolan_shards::realm::PortRange;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Instant, MediaPort, RealmId};
use std::net::SocketAddr;
use std::time::Duration;

const PRIVATE: &str = "192.168.1.10:5004";
const NAT: &str = "203.0.113.7:51000";
/// Another port of the same NAT: a second socket of the terminal, or its neighbour.
const BESIDE: &str = "203.0.113.7:52000";
const STRANGER: &str = "192.0.2.66:4444";
const CORE: &str = "10.0.0.21:30000";
const TICK: Duration = Duration::from_millis(20);

const REQUEST: u16 = 0x0001;
const INDICATION: u16 = 0x0011;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

struct Call {
    relay: Relay,
    id: StreamId,
    now: Instant,
    stats: Stats,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn port(end: End, port: u16) -> MediaPort {
    MediaPort { realm: RealmId(end as u16), port }
}

/// A Binding message without attributes; `n` is its transaction.
fn stun(kind: u16, n: u8) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[n; 12]].concat()
}

/// A record of a handshake.
fn dtls() -> Vec<u8> {
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40][..], &[1; 40]].concat()
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0; 172];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

impl Call {
    /// Both ends keep these; the terminal announced `announced`.
    fn with(ice: bool, dtls: bool, mux: bool, announced: &str) -> Self {
        let mut relay = Relay::new();
        let pair = |end| EndPorts { rtp: port(end, 20_000), rtcp: port(end, 20_001) };
        for end in End::BOTH {
            relay.slice(RealmId(end as u16), PortRange { first: 20_000, last: 20_001 });
        }
        let id = relay.open(Instant::ZERO, pair(End::A), pair(End::B));
        let mut call = Self { relay, id, now: Instant::ZERO, stats: Stats::default() };
        let described =
            Description { ice, dtls, mux, secure: true, payload_types: [1, 0], ..Description::default() };
        call.describe(End::A, Description { rtp: Some(addr(announced)), ..described });
        call.describe(End::B, Description { rtp: Some(addr(CORE)), trusted: true, ..described });
        call.relay.gate(id, Gate::OPEN);
        call
    }

    fn ice() -> Self {
        Self::with(true, true, true, PRIVATE)
    }

    fn dtls() -> Self {
        Self::with(false, true, true, PRIVATE)
    }

    fn describe(&mut self, end: End, described: Description) {
        let source = if end == End::A { NAT } else { CORE };
        let above = |rtp: SocketAddr| SocketAddr::new(rtp.ip(), rtp.port() + 1);
        let rtcp = if described.mux { described.rtp } else { described.rtp.map(above) };
        let described = Description { rtcp, ..described };
        self.relay.describe(self.now, self.id, end, &[addr(source).ip()], false, described);
    }

    fn at(&mut self, at: MediaPort, from: &str, packet: &[u8]) -> Verdict {
        self.now += TICK;
        self.relay.handle(self.now, at, addr(from), packet, &mut self.stats)
    }

    fn up(&mut self, from: &str, packet: &[u8]) -> Verdict {
        self.at(port(End::A, 20_000), from, packet)
    }

    fn down(&mut self, packet: &[u8]) -> Verdict {
        self.at(port(End::B, 20_000), CORE, packet)
    }

    /// A check from there that the core answers with success.
    fn checked(&mut self, from: &str, n: u8) {
        assert_eq!(self.up(from, &stun(REQUEST, n)), to_core());
        assert_eq!(self.down(&stun(SUCCESS, n)), to_terminal(from));
    }

    fn latch(&mut self, from: &str) {
        for n in 0..6 {
            self.up(from, &rtp(n));
        }
        assert_eq!(self.relay.latched(self.id, End::A), Some(addr(from)));
    }
}

fn to_core() -> Verdict {
    Verdict::Forward { out: port(End::B, 20_000), to: addr(CORE) }
}

fn to_terminal(to: &str) -> Verdict {
    Verdict::Forward { out: port(End::A, 20_000), to: addr(to) }
}

fn dropped(reason: DropReason) -> Verdict {
    Verdict::Drop(reason)
}

#[test]
fn checks_go_both_ways_before_any_media() {
    let mut call = Call::ice();
    assert_eq!(call.down(&stun(REQUEST, 1)), dropped(DropReason::NoDestination), "nobody knows where it is");
    call.checked(NAT, 2);
    assert_eq!(call.down(&stun(REQUEST, 3)), to_terminal(NAT));
    assert_eq!(call.up(NAT, &stun(SUCCESS, 3)), to_core());
    assert_eq!((call.up(NAT, &dtls()), call.down(&dtls())), (to_core(), to_terminal(NAT)));
    assert_eq!((call.stats.stun_packets, call.stats.dtls_packets), (4, 2));
    assert_eq!((call.stats.rtp_packets, call.stats.rtcp_packets), (0, 0));
}

#[test]
fn neither_stun_nor_dtls_teaches_where_media_goes() {
    let mut call = Call::ice();
    call.checked(NAT, 1);
    call.up(NAT, &dtls());
    assert_eq!(call.relay.latched(call.id, End::A), None);
    assert_eq!(call.down(&rtp(1)), dropped(DropReason::NoDestination));
    assert_eq!(call.relay.last_media(call.id), None, "it does not keep a silent call alive");
    call.latch(BESIDE);
    call.checked(NAT, 2);
    assert_eq!(
        (call.relay.latched(call.id, End::A), call.down(&rtp(2))),
        (Some(addr(BESIDE)), to_terminal(BESIDE))
    );
}

#[test]
fn an_answer_goes_to_who_asked_and_once() {
    let mut call = Call::ice();
    call.up(NAT, &stun(REQUEST, 1));
    call.up(BESIDE, &stun(REQUEST, 2));
    assert_eq!(call.down(&stun(ERROR, 2)), to_terminal(BESIDE));
    assert_eq!(call.down(&stun(SUCCESS, 1)), to_terminal(NAT));
    assert_eq!(call.down(&stun(SUCCESS, 1)), dropped(DropReason::Unasked));
    assert_eq!(call.down(&stun(SUCCESS, 3)), dropped(DropReason::Unasked));
}

#[test]
fn the_way_back_follows_the_check_that_was_answered() {
    let mut call = Call::ice();
    call.checked(NAT, 1);
    assert_eq!(call.up(BESIDE, &stun(REQUEST, 2)), to_core());
    assert_eq!(call.down(&stun(REQUEST, 3)), to_terminal(NAT), "nobody has answered the other yet");
    assert_eq!(call.down(&stun(ERROR, 2)), to_terminal(BESIDE));
    assert_eq!(call.down(&dtls()), to_terminal(NAT), "the core does not know it");
    call.now += Duration::from_secs(60);
    assert_eq!((call.up(BESIDE, &dtls()), call.down(&dtls())), (to_core(), to_terminal(NAT)));
    call.checked(BESIDE, 4);
    assert_eq!(
        (call.down(&stun(REQUEST, 5)), call.down(&dtls())),
        (to_terminal(BESIDE), to_terminal(BESIDE))
    );
}

#[test]
fn consent_goes_on_while_the_call_is_on_hold_and_ends_with_it() {
    let mut call = Call::ice();
    call.latch(NAT);
    call.relay.gate(call.id, Gate::CLOSED);
    assert_eq!(call.up(NAT, &rtp(7)), dropped(DropReason::GateClosed));
    call.checked(NAT, 1);
    assert_eq!(call.down(&stun(INDICATION, 2)), to_terminal(NAT));
    call.relay.associate(call.id, false);
    assert_eq!(call.up(NAT, &stun(REQUEST, 3)), dropped(DropReason::GateClosed));
    assert_eq!(call.down(&dtls()), dropped(DropReason::GateClosed));
    call.relay.associate(call.id, true);
    call.checked(NAT, 4);
}

#[test]
fn without_ice_or_dtls_in_the_description_nothing_passes() {
    let mut call = Call::with(false, false, true, PRIVATE);
    for packet in [stun(REQUEST, 1), dtls()] {
        assert_eq!(call.up(NAT, &packet), dropped(DropReason::NotRtp));
    }
    let mut call = Call::dtls();
    assert_eq!(call.up(NAT, &stun(REQUEST, 1)), dropped(DropReason::NotRtp));
    let mut call = Call::with(true, false, true, PRIVATE);
    assert_eq!(call.up(NAT, &dtls()), dropped(DropReason::NotRtp));
    call.describe(End::A, Description { ice: false, ..Description::default() });
    assert_eq!(
        call.up(NAT, &stun(REQUEST, 1)),
        dropped(DropReason::NotRtp),
        "a new description took it back"
    );
}

#[test]
fn a_handshake_opens_its_own_way_behind_a_nat() {
    let mut call = Call::dtls();
    assert_eq!(call.down(&dtls()), dropped(DropReason::NoDestination));
    assert_eq!((call.up(NAT, &dtls()), call.down(&dtls())), (to_core(), to_terminal(NAT)));
    assert_eq!(call.down(&rtp(1)), dropped(DropReason::NoDestination), "not for media");
    assert_eq!(
        (call.up(BESIDE, &dtls()), call.down(&dtls())),
        (to_core(), to_terminal(NAT)),
        "the first stays"
    );
    call.now += Duration::from_millis(500);
    assert_eq!(
        (call.up(BESIDE, &dtls()), call.down(&dtls())),
        (to_core(), to_terminal(BESIDE)),
        "a new mapping"
    );
    call.latch(NAT);
    assert_eq!(call.down(&dtls()), to_terminal(NAT), "media knows better");
}

#[test]
fn an_announced_address_is_tried_until_the_budget_is_spent() {
    let public = "198.51.100.2:4000";
    let mut call = Call::with(true, false, true, public);
    let mut sent = 0;
    for n in 0..200 {
        call.now += Duration::from_secs(1);
        sent += u32::from(call.down(&stun(REQUEST, n)) == to_terminal(public));
    }
    assert_eq!(sent, 50);
    call.up(public, &stun(REQUEST, 250));
    assert_eq!(call.down(&stun(REQUEST, 251)), to_terminal(public));
}

#[test]
fn rtcp_of_its_own_port_is_a_component_of_its_own() {
    let mut call = Call::with(true, true, false, PRIVATE);
    let (up, down) = (port(End::A, 20_001), port(End::B, 20_001));
    let core = "10.0.0.21:30001";
    assert_eq!(call.at(up, BESIDE, &stun(REQUEST, 1)), Verdict::Forward { out: down, to: addr(core) });
    assert_eq!(call.at(down, core, &stun(SUCCESS, 1)), Verdict::Forward { out: up, to: addr(BESIDE) });
    assert_eq!(call.down(&stun(REQUEST, 2)), dropped(DropReason::NoDestination), "RTP's is not known by it");
    let mut call = Call::ice();
    assert_eq!(call.at(up, NAT, &stun(REQUEST, 1)), dropped(DropReason::NotRtcp), "multiplexed");
}

#[test]
fn what_is_no_binding_message_or_handshake_is_dropped() {
    let mut call = Call::ice();
    let allocate = stun(0x0003, 1);
    let longer = [&stun(REQUEST, 1)[..], &[0; 4]].concat();
    let mut forged = stun(REQUEST, 1);
    forged[3] = 8;
    forged.extend_from_slice(&[0x80, 0x28, 0, 4, 1, 2, 3, 4]);
    for packet in [allocate, longer, forged] {
        assert_eq!(call.up(NAT, &packet), dropped(DropReason::NotStun));
    }
    let mut data = dtls();
    data[0] = 23;
    for packet in [data, dtls()[..30].to_vec(), vec![22]] {
        assert_eq!(call.up(NAT, &packet), dropped(DropReason::NotDtls));
    }
    for first in [4, 16, 19, 64, 79, 127, 192] {
        assert_eq!(call.up(NAT, &[first; 40]), dropped(DropReason::NotRtp), "{first}");
    }
}

/// RFC 7345 and RFC 8841: over DTLS there is no RTP, so DTLS is the media, and only ICE is apart.
#[test]
fn where_dtls_is_the_media_it_is_learned_from() {
    let mut call = Call::ice();
    for (end, trusted) in [(End::A, false), (End::B, true)] {
        let rtp = Some(addr(if trusted { CORE } else { PRIVATE }));
        let d =
            Description { rtp, trusted, ice: true, dtls: true, rtp_profile: false, ..Description::default() };
        call.describe(end, d);
    }
    call.checked(NAT, 1);
    assert_eq!(call.relay.latched(call.id, End::A), None);
    call.up(NAT, &[23; 60]);
    assert_eq!(call.relay.latched(call.id, End::A), Some(addr(NAT)));
}

#[test]
fn each_kind_has_an_allowance_of_its_own() {
    let mut call = Call::ice();
    call.latch(NAT);
    let mut passed = (0, 0);
    for n in 0..10_000u32 {
        call.now += Duration::from_millis(1);
        let now = call.now;
        let mut sent = |packet: &[u8]| {
            let verdict = call.relay.handle(now, port(End::A, 20_000), addr(NAT), packet, &mut call.stats);
            u32::from(verdict == to_core())
        };
        passed.0 += sent(&stun(REQUEST, n as u8));
        passed.1 += sent(&dtls());
    }
    assert!((750..900).contains(&passed.0) && (300..350).contains(&passed.1), "{passed:?}");
    assert_eq!(call.up(NAT, &rtp(6)), to_core(), "media has its own");
    assert_eq!(call.relay.counters(call.id)[0].rtp_packets, 7);
}

/// A stranger sprays requests, forged answers, handshakes and copies of what the terminal sent, before, during and after
/// everything. Nothing of it passes, nothing is sent to him, and the terminal's call is as if he were not there.
#[test]
fn a_stranger_changes_nothing() {
    for seed in 0..1_000u64 {
        let mut rng = Rng::new([seed as u8, (seed >> 8) as u8, 5, 1].repeat(8).try_into().expect("32"));
        let (mut attacked, mut quiet) = (Call::ice(), Call::ice());
        let mut last = stun(REQUEST, 9);
        for step in 0..60u8 {
            for _ in 0..rng.below(4) {
                let packet = match rng.below(5) {
                    0 => last.clone(),
                    1 => stun(SUCCESS, step),
                    2 => stun(ERROR, step),
                    3 => stun(REQUEST, rng.below(60) as u8),
                    _ => dtls(),
                };
                let (now, from) = (attacked.now, addr(STRANGER));
                let at = port(if rng.below(8) == 0 { End::B } else { End::A }, 20_000);
                let verdict = attacked.relay.handle(now, at, from, &packet, &mut attacked.stats);
                assert_eq!(verdict, dropped(DropReason::Stranger), "seed {seed}");
            }
            let (terminal, from) = (rng.below(2) == 0, if rng.below(4) == 0 { BESIDE } else { NAT });
            last = match rng.below(4) {
                0 => stun(REQUEST, step),
                1 => stun(SUCCESS, step.saturating_sub(1)),
                2 => dtls(),
                _ => rtp(u16::from(step)),
            };
            let say = |call: &mut Call| if terminal { call.up(from, &last) } else { call.down(&last) };
            let (seen, alone) = (say(&mut attacked), say(&mut quiet));
            assert_eq!(seen, alone, "seed {seed} step {step}");
            assert!(!matches!(seen, Verdict::Forward { to, .. } if to == addr(STRANGER)));
        }
    }
}

/// The neighbour behind the same NAT may send what he likes: without the password the core answers no check of his, so
/// nothing of the terminal's comes to him once one of its own was answered, but the answers to his own requests.
#[test]
fn a_neighbour_behind_the_nat_gets_nothing_but_his_own_answers() {
    let mut call = Call::ice();
    call.up(BESIDE, &stun(REQUEST, 1));
    call.up(BESIDE, &dtls());
    call.checked(NAT, 2);
    for n in 3..40 {
        call.now += Duration::from_millis(250);
        call.up(BESIDE, &stun(REQUEST, n));
        call.up(BESIDE, &stun(SUCCESS, n));
        call.up(BESIDE, &dtls());
        assert_eq!(call.down(&stun(ERROR, n)), to_terminal(BESIDE));
        assert_eq!((call.down(&dtls()), call.down(&stun(REQUEST, 99))), (to_terminal(NAT), to_terminal(NAT)));
    }
    assert_eq!(call.relay.latched(call.id, End::A), None);
}

/// Requests that nobody answers fill the table; what is asked after them still finds its way.
#[test]
fn a_full_table_of_requests_forgets_the_oldest() {
    let mut call = Call::ice();
    for n in 0..30 {
        call.up(BESIDE, &stun(REQUEST, n));
    }
    call.checked(NAT, 99);
    assert_eq!(call.down(&stun(SUCCESS, 0)), dropped(DropReason::Unasked));
    assert_eq!(call.down(&stun(SUCCESS, 29)), to_terminal(BESIDE));
}
