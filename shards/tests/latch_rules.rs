//! The latching rules of one leg, one behaviour each. Numbers are those of the rules in `media::latch`.

use portolan_shards::io::DropReason;

use portolan_shards::media::latch::{Event, Heard, Heed, Latch};
use portolan_shards::media::rivals::Rivals;
use portolan_shards::media::trust::{Addr, Rank, Trust};
use portolan_shards::media::{Description, End};
use portolan_shards::types::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const PTIME: Duration = Duration::from_millis(20);
/// The public announcement.
const D: &str = "198.51.100.2:4000";
/// The announcement of a terminal behind NAT.
const PRIVATE: &str = "10.0.0.1:4000";
/// The host that signaling came from, with the port that its NAT gave to media.
const S: &str = "203.0.113.7:30000";
/// The same host, another mapping.
const S2: &str = "203.0.113.7:40000";
/// A neighbour in the same /24.
const NEAR: &str = "203.0.113.8:30000";
/// Somebody on the Internet.
const STRANGER: &str = "192.0.2.66:6666";

const ACCEPT: Heed = Heed::Accept(Event::None);
const LATCHED: Heed = Heed::Accept(Event::Latched);
const UNPROVEN: Heed = Heed::Drop(DropReason::Unproven, Event::None);

/// A leg whose signaling came from the host of [`S`].
struct Leg {
    latch: Latch,
    trust: Trust,
    rivals: Rivals,
    now: Instant,
}

fn addr(text: &str) -> Addr {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn ip(text: &str) -> IpAddr {
    addr(text).ip.into()
}

impl Leg {
    fn unarmed() -> Self {
        let mut rivals = Rivals::default();
        rivals.reserve(0);
        let now = Instant::ZERO + Duration::from_secs(100);
        Self { latch: Latch::new(), trust: Trust::default(), rivals, now }
    }

    fn new(announced: &str) -> Self {
        let mut leg = Self::unarmed();
        leg.describe(announced, false);
        leg
    }

    fn with_net(announced: &str) -> Self {
        let mut leg = Self::unarmed();
        leg.describe(announced, true);
        leg
    }

    /// What the relay does with a description.
    fn describe(&mut self, announced: &str, learn_net: bool) {
        let rtp = Some(announced.parse().expect("an address"));
        let description = Description { rtp, ..Description::default() };
        let change = self.trust.update(&[ip(S)], learn_net, &description);
        if change.any() {
            self.latch.arm(self.now, &self.trust, change.announced);
        }
    }

    /// What the relay does when authenticated signaling comes from a new host.
    fn trust(&mut self, source: &str) {
        if self.trust.add(ip(source)) {
            self.latch.arm(self.now, &self.trust, false);
        }
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn hear(&mut self, from: &str, ssrc: u32, sequence: u16) -> Heed {
        self.receive(&Heard { from: addr(from), rtp: Some((ssrc, sequence)) })
    }

    fn receive(&mut self, heard: &Heard) -> Heed {
        let bench = self.rivals.bench(0, End::A);
        self.latch.receive(self.now, heard, &self.trust, PTIME, bench)
    }

    /// Octets that are no media.
    fn knock(&mut self, from: &str) {
        self.latch.knock(self.now, addr(from), &self.trust);
    }

    /// So many packets, 20 ms before each but the first; what became of the last.
    fn stream(&mut self, from: &str, ssrc: u32, first: u16, packets: u16) -> Heed {
        let mut last = self.hear(from, ssrc, first);
        for n in 1..packets {
            last = self.wait(20).hear(from, ssrc, first.wrapping_add(n));
        }
        last
    }

    fn latched(&self) -> Option<Addr> {
        self.latch.latched()
    }

    fn destination(&mut self) -> Option<Addr> {
        self.latch.destination(self.now, &self.trust)
    }
}

#[test]
fn rule_2_nothing_is_learned_before_the_description() {
    let mut leg = Leg::unarmed();
    assert_eq!(leg.hear(S, 1, 1), Heed::Drop(DropReason::NotArmed, Event::None));
    assert_eq!((leg.latch.source(), leg.destination()), (None, None));
}

#[test]
fn rule_3_the_announced_source_is_latched_by_its_first_packet() {
    let mut leg = Leg::new(D);
    assert_eq!(leg.hear(D, 1, 1), LATCHED);
    assert_eq!((leg.latched(), leg.destination()), (Some(addr(D)), Some(addr(D))));
}

#[test]
fn rule_3_the_first_packet_of_a_signaling_host_is_accepted() {
    let mut leg = Leg::new(PRIVATE);
    assert_eq!(leg.hear(S, 1, 1), ACCEPT);
    assert_eq!((leg.latch.source(), leg.latched()), (Some(addr(S)), None));
}

#[test]
fn rule_3_a_stranger_is_never_learned() {
    let mut leg = Leg::with_net(PRIVATE);
    for _ in 0..10 {
        assert_eq!(leg.stream(STRANGER, 1, 1, 100), Heed::Drop(DropReason::Stranger, Event::None));
    }
    assert_eq!((leg.latch.source(), leg.destination()), (None, None));
}

#[test]
fn rule_3_a_neighbour_needs_six_packets_where_the_realm_opts_in() {
    let mut leg = Leg::with_net(PRIVATE);
    assert_eq!(leg.stream(NEAR, 1, 1, 5), UNPROVEN);
    assert_eq!(leg.wait(20).hear(NEAR, 1, 6), LATCHED);
    assert_eq!(Leg::new(PRIVATE).stream(NEAR, 1, 1, 9), Heed::Drop(DropReason::Stranger, Event::None));
}

#[test]
fn rule_4_four_packets_in_order_prove_a_source() {
    let mut leg = Leg::new(PRIVATE);
    assert_eq!(leg.stream(S, 1, 65_534, 3), ACCEPT);
    assert_eq!(leg.latched(), None);
    assert_eq!(leg.wait(20).hear(S, 1, 1), LATCHED);
    assert_eq!(leg.latched(), Some(addr(S)));
}

#[test]
fn rule_4_a_burst_proves_nothing() {
    let mut leg = Leg::new(PRIVATE);
    for n in 1..=9 {
        assert_eq!(leg.wait(3).hear(S, 1, n), ACCEPT);
    }
    assert_eq!(leg.latched(), None);
}

#[test]
fn rule_4_jumping_sequences_and_changing_ssrcs_prove_nothing() {
    let mut leg = Leg::new(PRIVATE);
    for n in 0..20 {
        leg.wait(20).hear(S, 1, n * 17);
        leg.wait(20).hear(S, u32::from(n), n * 17 + 1);
    }
    assert_eq!(leg.latched(), None);
}

#[test]
fn rule_4_an_unproven_source_yields_to_a_proven_one() {
    let mut leg = Leg::new(PRIVATE);
    leg.hear(S2, 9, 500);
    assert_eq!(leg.stream(S, 1, 1, 3), UNPROVEN);
    assert_eq!(leg.wait(20).hear(S, 1, 4), LATCHED);
}

#[test]
fn rule_5_a_provisional_source_is_sent_to_after_two_packets() {
    let mut leg = Leg::new(PRIVATE);
    leg.hear(S, 1, 1);
    assert_eq!(leg.destination(), None);
    leg.wait(20).hear(S, 1, 2);
    assert_eq!(leg.destination(), Some(addr(S)));
}

#[test]
fn rule_5_an_address_that_never_answers_gets_250_packets() {
    let mut leg = Leg::new(D);
    let sent = (0..1_000).filter(|_| leg.destination() == Some(addr(D))).count();
    assert_eq!((sent, leg.destination()), (250, None));
    leg.hear(D, 1, 1);
    assert_eq!(leg.destination(), Some(addr(D)));
}

#[test]
fn rule_5_who_knocks_from_behind_nat_gets_250_packets_and_more_when_it_knocks_again() {
    let mut leg = Leg::new(PRIVATE);
    let sent = |leg: &mut Leg| (0..1_000).map_while(|_| leg.destination()).collect::<Vec<_>>();
    leg.knock(STRANGER);
    leg.knock(NEAR);
    assert_eq!(sent(&mut leg), []);
    for from in [S, S2] {
        leg.knock(from);
        assert_eq!(sent(&mut leg), [addr(from); 250]);
    }
    assert_eq!((leg.latch.source(), leg.latched()), (None, None), "it has taught nothing");
    leg.knock(S2);
    leg.describe("10.0.0.1:5000", false);
    assert_eq!(sent(&mut leg), [], "another announcement, another mapping");
    let mut leg = Leg::unarmed();
    leg.trust.add(ip(S));
    leg.knock(S);
    leg.describe(PRIVATE, false);
    assert_eq!(sent(&mut leg), [addr(S); 250], "it may knock before its description is there");
}

#[test]
fn rule_5_who_sends_only_what_it_hears_is_sent_to_from_its_first_packet_on() {
    let mut leg = Leg::new(PRIVATE);
    leg.knock(S);
    assert_eq!(leg.destination(), Some(addr(S)));
    assert_eq!((leg.hear(S, 1, 1), leg.destination()), (ACCEPT, Some(addr(S))));
    let more = (0..1_000).map_while(|_| leg.destination()).count();
    assert_eq!(more, 248, "within the budget still, unless it sends more");
    assert_eq!((leg.stream(S, 1, 2, 3), leg.destination()), (LATCHED, Some(addr(S))));
}

#[test]
fn rule_5_a_knock_is_nothing_beside_a_usable_announcement_or_a_source() {
    let mut leg = Leg::unarmed();
    leg.knock(S);
    leg.describe(D, false);
    leg.knock(S);
    assert_eq!(leg.destination(), Some(addr(D)));
    let mut leg = Leg::new(PRIVATE);
    leg.knock(S2);
    leg.stream(S, 1, 1, 4);
    leg.knock(S2);
    assert_eq!((leg.latched(), leg.destination()), (Some(addr(S)), Some(addr(S))));
}

#[test]
fn rule_5_a_refresh_does_not_renew_the_budget_but_a_new_address_does() {
    let mut leg = Leg::new(D);
    while leg.destination().is_some() {}
    leg.describe(D, false);
    assert_eq!(leg.destination(), None);
    leg.trust(STRANGER);
    assert_eq!(leg.destination(), None);
    leg.describe("198.51.100.2:4002", false);
    assert_eq!(leg.destination(), Some(addr("198.51.100.2:4002")));
}

#[test]
fn rule_5_a_private_address_is_never_guessed() {
    assert_eq!(Leg::new(PRIVATE).destination(), None);
}

#[test]
fn rule_5_the_softswitch_is_sent_to_without_limit_and_without_learning() {
    let mut leg = Leg::unarmed();
    let description =
        Description { rtp: Some("10.0.0.9:8000".parse().unwrap()), trusted: true, ..Description::default() };
    leg.trust.update(&[ip(S)], false, &description);
    leg.latch.arm(leg.now, &leg.trust, true);
    assert!((0..1_000).all(|_| leg.latch.destination(leg.now, &leg.trust) == Some(addr("10.0.0.9:8000"))));
    assert_eq!(leg.stream("10.0.0.9:9000", 1, 1, 9), ACCEPT);
    assert_eq!(leg.destination(), Some(addr("10.0.0.9:8000")));
}

#[test]
fn rule_6_inside_the_window_a_better_rank_replaces_at_once() {
    let mut leg = Leg::new(D);
    leg.stream(S, 1, 1, 9);
    assert_eq!(leg.latched(), Some(addr(S)));
    assert_eq!(leg.hear(D, 2, 1), LATCHED);
    assert_eq!(leg.hear(S, 1, 10), UNPROVEN);
    assert_eq!(leg.latched(), Some(addr(D)));
}

#[test]
fn rule_6_after_the_window_a_better_rank_does_not() {
    let mut leg = Leg::new(D);
    leg.stream(S, 1, 1, 160);
    assert_eq!(leg.hear(D, 2, 1), UNPROVEN);
    assert_eq!(leg.latched(), Some(addr(S)));
}

#[test]
fn rule_6_an_equal_or_worse_rank_does_not_replace() {
    let mut leg = Leg::new(D);
    leg.hear(D, 1, 1);
    for n in 2..100 {
        leg.wait(20).hear(D, 1, n);
        assert!(matches!(leg.hear(S, 2, n), Heed::Drop(..)));
    }
    assert_eq!(leg.latched(), Some(addr(D)));
}

/// A leg latched to S for 4 s (SSRC 1, last sequence 199), its window over.
fn settled() -> Leg {
    let mut leg = Leg::new(PRIVATE);
    leg.stream(S, 1, 0, 200);
    assert_eq!(leg.latched(), Some(addr(S)));
    leg
}

#[test]
fn rule_7_a_new_mapping_of_the_same_stream_is_followed() {
    let mut leg = settled();
    for n in 0..24 {
        assert_eq!(leg.wait(20).hear(S2, 1, 200 + n), UNPROVEN);
    }
    assert_eq!(leg.wait(20).hear(S2, 1, 224), Heed::Accept(Event::Rebound));
    assert_eq!((leg.latched(), leg.destination()), (Some(addr(S2)), Some(addr(S2))));
}

#[test]
fn rule_7_not_while_the_latched_source_speaks() {
    let mut leg = settled();
    for n in 0..100 {
        leg.wait(20).hear(S, 1, 200 + n);
        assert!(matches!(leg.hear(S2, 1, 200 + n), Heed::Drop(DropReason::Unproven, _)));
    }
    assert_eq!(leg.latched(), Some(addr(S)));
}

#[test]
fn rule_7_not_with_another_ssrc() {
    let mut leg = settled();
    assert_eq!(leg.stream(S2, 2, 200, 200), UNPROVEN);
    assert_eq!(leg.latched(), Some(addr(S)));
}

#[test]
fn rule_7_not_with_a_sequence_that_the_silence_cannot_explain() {
    let mut leg = settled();
    assert_eq!(leg.wait(500).stream(S2, 1, 20_000, 50), UNPROVEN);
}

#[test]
fn rule_7_not_to_a_neighbour() {
    let mut leg = Leg::with_net(PRIVATE);
    leg.stream(S, 1, 0, 200);
    assert_eq!(leg.stream(NEAR, 1, 200, 200), UNPROVEN);
}

#[test]
fn rule_7_rebinding_pauses_two_seconds() {
    let mut leg = settled();
    assert_eq!(leg.wait(20).stream(S2, 1, 200, 25), Heed::Accept(Event::Rebound));
    let rebound = leg.now;
    leg.wait(20).stream(S, 1, 225, 25);
    assert_eq!(leg.latched(), Some(addr(S2)));
    let mut sequence = 250;
    while leg.latched() == Some(addr(S2)) {
        leg.wait(20).hear(S, 1, sequence);
        sequence += 1;
    }
    assert_eq!(leg.now.since(rebound), Duration::from_secs(2));
}

#[test]
fn rule_7_a_call_rebinds_eight_times_at_most() {
    let mut leg = settled();
    let mut sequence = 200u16;
    for n in 0..12 {
        let from = format!("203.0.113.7:{}", 50_000 + n);
        for _ in 0..150 {
            leg.wait(20).hear(&from, 1, sequence);
            sequence += 1;
        }
    }
    assert_eq!(leg.latched(), Some(addr("203.0.113.7:50007")));
}

#[test]
fn rule_7_inside_the_window_the_ssrc_may_differ() {
    let mut leg = Leg::new(PRIVATE);
    leg.stream(S, 1, 0, 10);
    assert_eq!(leg.wait(500).stream(S2, 2, 9_000, 4), Heed::Accept(Event::Rebound));
}

#[test]
fn rule_7_inside_the_window_the_rank_does_not_worsen() {
    let mut leg = Leg::new(D);
    leg.stream(D, 1, 0, 10);
    assert_eq!(leg.wait(520).stream(S, 1, 12, 9), UNPROVEN);
    assert_eq!(leg.latch.rank(), Some(Rank::Exact));
}

#[test]
fn rule_7_after_a_hold_one_rebinding_may_show_a_new_ssrc() {
    let mut leg = settled();
    leg.wait(60_000).latch.resume();
    assert_eq!(leg.stream(S2, 77, 5, 4), Heed::Accept(Event::Rebound));
    assert_eq!(leg.wait(3_000).stream(S, 78, 5, 50), UNPROVEN);
}

#[test]
fn rule_8_a_host_with_authenticated_signaling_may_take_over() {
    for announced in [PRIVATE, D] {
        let mut leg = Leg::new(announced);
        leg.stream(if announced == D { D } else { S }, 1, 0, 200);
        assert_eq!(leg.stream(STRANGER, 1, 200, 9), Heed::Drop(DropReason::Stranger, Event::None));
        leg.trust(STRANGER);
        assert_eq!(leg.stream(STRANGER, 1, 210, 3), UNPROVEN);
        assert_eq!(leg.wait(20).hear(STRANGER, 1, 213), LATCHED);
    }
}

#[test]
fn rule_9_a_refresh_reopens_no_window() {
    let mut leg = Leg::new(D);
    leg.stream(S, 1, 0, 200);
    leg.describe(D, false);
    assert_eq!(leg.hear(D, 2, 1), UNPROVEN);
}

#[test]
fn rule_9_the_old_latch_serves_until_the_new_one_is_proven() {
    let mut leg = settled();
    leg.describe("10.0.0.1:4002", false);
    assert_eq!((leg.wait(20).hear(S, 1, 200), leg.destination()), (ACCEPT, Some(addr(S))));
    assert_eq!(leg.wait(20).stream(S2, 2, 0, 3), UNPROVEN);
    assert_eq!(leg.destination(), Some(addr(S)));
    assert_eq!(leg.wait(20).hear(S2, 2, 3), LATCHED);
    assert_eq!(leg.destination(), Some(addr(S2)));
}

#[test]
fn rule_9_a_speaking_latch_is_not_taken_by_its_neighbour_at_a_rearm() {
    let mut leg = settled();
    leg.describe("10.0.0.1:4002", false);
    for n in 0..200 {
        assert_eq!(leg.wait(20).hear(S, 1, 200 + n), ACCEPT);
        assert!(matches!(leg.hear(S2, 2, n), Heed::Drop(DropReason::Unproven, _)));
    }
    assert_eq!(leg.latched(), Some(addr(S)));
}

#[test]
fn rule_9_a_newly_announced_address_replaces_the_old_one_at_once() {
    let mut leg = Leg::new(D);
    leg.stream(D, 1, 0, 200);
    leg.describe("198.51.100.99:6000", false);
    assert_eq!(leg.wait(20).hear(D, 1, 200), ACCEPT);
    assert_eq!(leg.hear("198.51.100.99:6000", 2, 0), LATCHED);
    assert_eq!(leg.hear(D, 1, 201), Heed::Drop(DropReason::Stranger, Event::None));
}

#[test]
fn rule_9_when_the_window_ends_a_source_that_is_trusted_no_more_is_forgotten() {
    let mut leg = Leg::new(D);
    leg.stream(D, 1, 0, 200);
    leg.describe("198.51.100.99:6000", false);
    assert_eq!(leg.stream(D, 1, 200, 150), ACCEPT);
    assert_eq!(leg.wait(100).hear(D, 1, 350), Heed::Drop(DropReason::Stranger, Event::None));
    assert_eq!(leg.destination(), Some(addr("198.51.100.99:6000")));
}

#[test]
fn rule_9_when_the_window_ends_a_silent_source_stays_if_there_is_no_better_place() {
    let mut leg = settled();
    leg.describe("10.0.0.1:4002", false);
    assert_eq!(leg.wait(60_000).destination(), Some(addr(S)));
    assert_eq!(leg.hear(S, 1, 200), ACCEPT);
}

#[test]
fn rule_12_a_spray_of_ports_keeps_no_rebinding_out() {
    let mut leg = settled();
    let mut spray = 1_024u16;
    for n in 0..60 {
        leg.wait(20);
        for _ in 0..50 {
            spray = spray.wrapping_mul(25_173).wrapping_add(13_849);
            leg.hear(&format!("203.0.113.7:{}", spray | 1), 0xeeee, spray);
        }
        leg.hear(S2, 1, 200 + n);
    }
    assert_eq!(leg.latched(), Some(addr(S2)));
}

#[test]
fn rule_12_a_dropped_packet_refreshes_nothing() {
    let mut leg = settled();
    for n in 0..24 {
        leg.wait(20).hear(STRANGER, 1, 200 + n);
        leg.hear(S2, 1, 200 + n);
    }
    assert_eq!(leg.wait(20).hear(S2, 1, 224), Heed::Accept(Event::Rebound));
}

#[test]
fn rule_13_a_well_formed_rival_beside_the_peer_is_reported_once() {
    let mut leg = settled();
    let mut contested = 0;
    for n in 0..100 {
        leg.wait(10).hear(S, 1, 200 + n);
        let rival = leg.wait(10).hear(S2, 2, n);
        contested += usize::from(rival == Heed::Drop(DropReason::Unproven, Event::Contested));
    }
    assert_eq!((contested, leg.latched()), (1, Some(addr(S))));
}

#[test]
fn without_rtp_the_address_alone_decides() {
    let mut leg = Leg::new(PRIVATE);
    let heard = |from| Heard { from: addr(from), rtp: None };
    assert_eq!(leg.receive(&heard(S)), LATCHED);
    assert_eq!(leg.destination(), Some(addr(S)));
    leg.wait(5_000);
    for _ in 0..3 {
        leg.wait(20);
        assert_eq!(leg.receive(&heard(S2)), UNPROVEN);
    }
    leg.wait(20);
    assert_eq!(leg.receive(&heard(S2)), Heed::Accept(Event::Rebound));
}
