//! Media that the signaling has not agreed to does not pass: before the answer, after the end, above the rate, of
//! another codec, or in a direction that the description forbids.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::realm::{EarlyMedia, Mapping};
use std::sync::Arc;
use std::time::Duration;
use support::call::{NAT_MEDIA, core_request, invite, port, request, response, sdp, sent_to, totals};
use support::{ACCESS, CORE, NAT, Sent, World, mapping};

const CORE_MEDIA: &str = "10.0.0.20:30000";

/// A call from the terminal, by direct words: what went up, what came down, and the ports of both sides.
struct Call {
    world: World,
    up: Sent,
    down: Option<Sent>,
    core: u16,
    access: u16,
    sequence: u16,
}

impl Call {
    /// Offered, not answered.
    fn offered(mapping: Mapping, offer: &str) -> Self {
        let mut world = World::new(mapping);
        let up = sent_to(world.terminal_sends(NAT, &invite(Some(&sdp("192.168.1.10:5004", offer)))), CORE);
        let core = port(&up, 0);
        Self { world, up, down: None, core, access: 0, sequence: 0 }
    }

    /// Answered by this status.
    fn answer(&mut self, status: &str, more: &str) {
        let answer = response(&self.up, status, "b", Some(&sdp(CORE_MEDIA, more)));
        let local = self.up.flow.local.to_string();
        let down = sent_to(self.world.core_sends(&local, &answer), ACCESS);
        self.access = port(&down, 0);
        self.down = Some(down);
    }

    fn answered(offer: &str, answer: &str) -> Self {
        Self::answered_with(mapping(1), offer, answer)
    }

    fn answered_with(mapping: Mapping, offer: &str, answer: &str) -> Self {
        let mut call = Self::offered(mapping, offer);
        call.answer("200 OK", answer);
        call
    }

    /// A packet of this payload type and size, from the terminal or from the core.
    fn packet(&mut self, up: bool, payload_type: u8, octets: usize) -> Verdict {
        self.sequence += 1;
        let mut packet = support::rtp(self.sequence, 7);
        packet[1] = payload_type;
        packet.resize(12 + octets, 0xff);
        match up {
            true => self.world.media(ACCESS, self.access, NAT_MEDIA, &packet),
            false => self.world.media(CORE, self.core, CORE_MEDIA, &packet),
        }
    }

    fn voice(&mut self, up: bool) -> Verdict {
        self.packet(up, 0, 160)
    }

    /// The terminal has spoken, and is latched.
    fn learned(mut self) -> Self {
        for _ in 0..5 {
            self.world.pass(Duration::from_millis(20));
            self.voice(true);
        }
        self
    }

    /// How many of `packets` pass when one comes every `every`.
    fn passed(&mut self, packets: u32, every: Duration, payload_type: u8, octets: usize) -> u32 {
        let mut passed = 0;
        for _ in 0..packets {
            self.world.pass(every);
            passed += u32::from(passes(self.packet(true, payload_type, octets)));
        }
        passed
    }
}

fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward { .. })
}

const fn dropped(reason: DropReason) -> Verdict {
    Verdict::Drop(reason)
}

fn with_margin(margin: u8) -> Mapping {
    let mut mapping = mapping(1);
    for realm in &mut mapping.realms {
        Arc::make_mut(realm).media_margin = margin;
    }
    mapping
}

#[test]
fn before_the_answer_nothing_passes_and_nothing_is_learned() {
    let mut call = Call::offered(mapping(1), "");
    assert_eq!(totals(&mut call.world), (1, 4), "the ports are there");
    for _ in 0..100 {
        assert_eq!(call.voice(false), dropped(DropReason::NotArmed));
    }
    call.answer("200 OK", "");
    assert!(passes(call.voice(true)));
}

#[test]
fn a_provisional_answer_opens_early_media_and_nothing_else_does() {
    let mut call = Call::offered(mapping(1), "");
    let local = call.up.flow.local.to_string();
    let ringing = response(&call.up, "180 Ringing", "b", None);
    call.world.core_sends(&local, &ringing);
    assert_eq!(call.voice(false), dropped(DropReason::NotArmed));
    call.answer("183 Session Progress", "");
    assert!(passes(call.voice(true)));
    call.voice(true);
    assert!(passes(call.voice(false)));
}

fn with_early(policy: EarlyMedia) -> Mapping {
    let mut mapping = mapping(1);
    for realm in &mut mapping.realms {
        Arc::make_mut(realm).early_media = policy;
    }
    mapping
}

#[test]
fn before_the_answer_passes_what_the_realm_allows() {
    for (policy, caller, callee) in [
        (EarlyMedia::Pass, true, true),
        (EarlyMedia::Backward, false, true),
        (EarlyMedia::Block, false, false),
    ] {
        let mut call = Call::offered(with_early(policy), "");
        call.answer("183 Session Progress", "");
        let mut call = call.learned();
        assert_eq!((passes(call.voice(true)), passes(call.voice(false))), (caller, callee), "{policy:?}");
        call.answer("200 OK", "");
        assert!(passes(call.voice(true)) && passes(call.voice(false)), "{policy:?}: answered");
    }
}

#[test]
fn an_early_update_of_the_caller_opens_nothing() {
    let mut call = Call::offered(with_early(EarlyMedia::Backward), "");
    call.answer("183 Session Progress", "");
    let mut call = call.learned();
    let down = call.down.clone().expect("an answer");
    let update = request(&down, "UPDATE", 3, Some(&sdp("192.168.1.10:5004", "")));
    let up = sent_to(call.world.terminal_sends(NAT, &update), CORE);
    assert!(!passes(call.voice(true)), "offered");
    let answer = response(&up, "200 OK", "b", Some(&sdp(CORE_MEDIA, "")));
    call.world.core_sends(&up.flow.local.to_string(), &answer);
    assert!(!passes(call.voice(true)), "agreed");
    assert!(passes(call.voice(false)));
}

#[test]
fn after_a_refusal_nothing_passes() {
    let mut call = Call::offered(mapping(1), "");
    call.answer("183 Session Progress", "");
    assert!(passes(call.voice(true)));
    let refusal = response(&call.up, "486 Busy Here", "b", None);
    let local = call.up.flow.local.to_string();
    call.world.core_sends(&local, &refusal);
    assert!(!passes(call.voice(true)) && !passes(call.voice(false)));
}

#[test]
fn after_a_bye_of_either_side_nothing_passes() {
    for terminal in [true, false] {
        let mut call = Call::answered("", "").learned();
        assert!(passes(call.voice(true)) && passes(call.voice(false)));
        let down = call.down.clone().expect("an answer");
        let ack = request(&down, "ACK", 1, None);
        call.world.terminal_sends(NAT, &ack);
        match terminal {
            true => drop(call.world.terminal_sends(NAT, &request(&down, "BYE", 2, None))),
            false => {
                let bye = core_request(&call.up, "b", "BYE", 1, None);
                let local = call.up.flow.local.to_string();
                call.world.core_sends(&local, &bye);
            }
        }
        for _ in 0..100 {
            assert_eq!(call.voice(true), dropped(DropReason::GateClosed));
            assert_eq!(call.voice(false), dropped(DropReason::GateClosed));
        }
    }
}

#[test]
fn another_codec_than_the_negotiated_one_does_not_pass() {
    let mut call = Call::answered("", "").learned();
    for payload_type in (1..128).filter(|&n| !(64..=95).contains(&n)) {
        assert_eq!(call.packet(true, payload_type, 160), dropped(DropReason::PayloadType), "{payload_type}");
        assert_eq!(call.packet(false, payload_type, 160), dropped(DropReason::PayloadType), "{payload_type}");
    }
    assert!(passes(call.voice(true)) && passes(call.voice(false)));
}

/// What one side says, what the other answers, and which ways media may flow.
const DIRECTIONS: [(&str, &str, bool, bool); 6] = [
    ("a=sendrecv\n", "a=sendrecv\n", true, true),
    ("a=sendonly\n", "a=recvonly\n", true, false),
    ("a=recvonly\n", "a=sendonly\n", false, true),
    ("a=inactive\n", "a=inactive\n", false, false),
    ("a=sendrecv\n", "a=recvonly\n", true, false),
    ("", "a=sendonly\n", false, true),
];

#[test]
fn a_direction_that_the_description_forbids_does_not_pass() {
    for (offer, answer, up, down) in DIRECTIONS {
        let mut call = Call::answered(offer, answer).learned();
        for _ in 0..20 {
            call.world.pass(Duration::from_millis(20));
            assert_eq!(passes(call.voice(true)), up, "{offer}{answer}");
            assert_eq!(passes(call.voice(false)), down, "{offer}{answer}");
        }
    }
}

#[test]
fn above_the_admitted_rate_nothing_passes() {
    let mut call = Call::answered("", "").learned();
    let passed = call.passed(10_000, Duration::from_millis(1), 0, 160);
    assert!((1_480..=1_700).contains(&passed), "3 times 50 packets/s for 10 s, and a burst: {passed}");
    let mut call = Call::answered("", "").learned();
    let passed = call.passed(500, Duration::from_millis(20), 0, 1_200);
    assert!(passed < 260, "a video in the place of a voice: {passed}");
}

#[test]
fn the_margin_of_the_realm_is_what_passes() {
    let mut call = Call::answered_with(with_margin(1), "", "").learned();
    let passed = call.passed(10_000, Duration::from_millis(1), 0, 160);
    assert!((480..=560).contains(&passed), "{passed}");
    let mut call = Call::answered_with(with_margin(1), "", "").learned();
    assert_eq!(
        call.passed(1_000, Duration::from_millis(20), 0, 160),
        1_000,
        "what was negotiated always passes"
    );
}

#[test]
fn the_rate_follows_the_bandwidth_that_the_receiver_allows() {
    let rate =
        |answer: &str| Call::answered("", answer).learned().passed(5_000, Duration::from_millis(2), 0, 400);
    let (free, wide) = (rate(""), rate("b=AS:512\n"));
    assert!(wide > free, "{wide} against {free}");
    assert!(rate("b=AS:24\n") < free && rate("b=AS:1\n") > 0);
    assert_eq!(rate("b=TIAS:512000\n"), wide);
}

#[test]
fn a_flood_of_reports_is_policed_apart_from_voice() {
    let mut call = Call::answered("", "").learned();
    for _ in 0..4 {
        call.world.pass(Duration::from_millis(20));
        call.voice(true);
        call.voice(false);
    }
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let (access, reports) = (call.access + 1, 10_000);
    let source = "203.0.113.7:51001";
    let sent = (0..reports).filter(|_| passes(call.world.media(ACCESS, access, source, &report))).count();
    assert!((1..200).contains(&sent), "{sent}");
    assert_eq!(call.world.media(ACCESS, access, source, &report), dropped(DropReason::Rate));
    assert!(passes(call.voice(true)));
}
