//! Calls that fork: several answers to one INVITE, each with media of its own (RFC 3261 sections 12.1, 13.2.2.4, 16.7).

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::limits::MAX_FORKS;
use portolan_shards::types::MediaPort;
use std::time::Duration;
use support::call::{self, NAT_MEDIA, core_request, invite, port, request, response, sdp, totals};
use support::{ACCESS, CORE, NAT, Sent, World, addr, mapping, rtp};

const PHONE: &str = "192.168.1.10:5004";
const FORKS: [(&str, &str); 2] = [("b", "10.0.0.21:30000"), ("c", "10.0.0.22:32000")];
/// 64 times T1 and a little.
const GIVEN_UP: Duration = Duration::from_secs(33);

/// A call that two places answer.
struct Call {
    world: World,
    up: Sent,
    /// What the caller was shown of each.
    shown: Vec<Sent>,
}

impl Call {
    /// Both ring with early media.
    fn new() -> Self {
        let mut call = Self::silent();
        for (tag, media) in FORKS {
            let shown = call.answers("183 Session Progress", tag, Some(media));
            call.shown.push(shown);
        }
        call
    }

    /// Nobody has answered.
    fn silent() -> Self {
        let mut world = World::new(mapping(2));
        let up = world.terminal_sends(NAT, &invite(Some(&sdp(PHONE, "")))).remove(0);
        Self { world, up, shown: Vec::new() }
    }

    fn answers(&mut self, status: &str, tag: &str, media: Option<&str>) -> Sent {
        let body = media.map(|media| sdp(media, ""));
        let text = response(&self.up, status, tag, body.as_deref());
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }

    /// A packet of the caller to the port that fork `n` showed.
    fn caller_speaks(&mut self, n: usize, sequence: u16) -> Verdict {
        let at = port(&self.shown[n], 0);
        self.world.media(ACCESS, at, NAT_MEDIA, &rtp(sequence, 7))
    }

    /// A packet from the core side to the port that the offer announced.
    fn core_speaks(&mut self, from: &str, sequence: u16) -> Verdict {
        let at = port(&self.up, 0);
        self.world.media(CORE, at, from, &rtp(sequence, 8))
    }

    /// The caller has latched at each fork's port.
    fn latched(mut self) -> Self {
        for n in 0..self.shown.len() {
            for sequence in 1..3 {
                self.caller_speaks(n, sequence);
            }
        }
        self
    }

    fn to_caller(&self, n: usize) -> Verdict {
        let out = MediaPort { realm: ACCESS, port: port(&self.shown[n], 0) };
        Verdict::Forward { out, to: addr(NAT_MEDIA) }
    }

    fn to_fork(&self, media: &str) -> Verdict {
        Verdict::Forward { out: MediaPort { realm: CORE, port: port(&self.up, 0) }, to: addr(media) }
    }
}

#[test]
fn forks_never_mix_media() {
    let mut call = Call::new();
    assert_ne!(port(&call.shown[0], 0), port(&call.shown[1], 0));
    for (n, (_, media)) in FORKS.into_iter().enumerate() {
        assert_eq!(call.caller_speaks(n, 1), call.to_fork(media));
    }
    let mut call = call.latched();
    for sequence in 1..50 {
        for (n, (_, media)) in FORKS.into_iter().enumerate() {
            assert_eq!(call.core_speaks(media, sequence), call.to_caller(n), "{media}");
        }
    }
    assert_eq!(call.core_speaks("10.0.0.23:1", 1), Verdict::Drop(DropReason::Stranger));
    assert_eq!(totals(&mut call.world), (2, 6), "one pair on the core side, two on the access side");
}

#[test]
fn rtcp_of_forks_is_told_apart_too() {
    let mut call = Call::new();
    let report = [0x80, 201, 0, 1, 0, 0, 0, 8];
    for (n, (_, media)) in FORKS.into_iter().enumerate() {
        for sequence in 1..6 {
            call.world.now += Duration::from_millis(20);
            call.caller_speaks(n, sequence);
        }
        assert_eq!(call.core_speaks(media, 1), call.to_caller(n));
        let (caller, out) = (port(&call.shown[n], 0) + 1, port(&call.up, 0) + 1);
        let mut rtcp = addr(media);
        rtcp.set_port(rtcp.port() + 1);
        let sent = call.world.media(ACCESS, caller, "203.0.113.7:51001", &report);
        assert_eq!(sent, Verdict::Forward { out: MediaPort { realm: CORE, port: out }, to: rtcp });
        let back = call.world.media(CORE, out, &rtcp.to_string(), &report);
        let way = MediaPort { realm: ACCESS, port: caller };
        assert_eq!(back, Verdict::Forward { out: way, to: addr("203.0.113.7:51001") });
    }
}

#[test]
fn forks_that_lose_are_freed_in_time_and_the_winner_stays() {
    let mut call = Call::new().latched();
    let ok = call.answers("200 OK", "c", Some(FORKS[1].1));
    assert_eq!(port(&ok, 0), port(&call.shown[1], 0), "the ports of a dialog stay");
    assert_eq!(call.core_speaks(FORKS[0].1, 1), Verdict::Drop(DropReason::GateClosed));
    assert_eq!(call.core_speaks(FORKS[1].1, 1), call.to_caller(1));
    call.world.pass(GIVEN_UP);
    assert_eq!(totals(&mut call.world), (1, 4));
    assert_eq!(call.core_speaks(FORKS[1].1, 2), call.to_caller(1));
    assert_eq!(call.caller_speaks(1, 3), call.to_fork(FORKS[1].1));
    assert_eq!(call.caller_speaks(0, 3), Verdict::Drop(DropReason::NoSession));
    let bye = request(&ok, "BYE", 2, None);
    let bye = call.world.terminal_sends(NAT, &bye).remove(0);
    assert!(bye.text().starts_with("BYE sip:c@10.0.0.20 SIP/2.0\r\n"), "{}", bye.text());
    call.world.core_sends(&bye.flow.local.to_string(), &response(&bye, "200 OK", "c", None));
    assert_eq!(totals(&mut call.world), (0, 0));
}

#[test]
fn every_2xx_is_forwarded_and_acknowledged_on_its_own_path() {
    let mut call = Call::silent();
    call.shown = FORKS.map(|(tag, media)| call.answers("200 OK", tag, Some(media))).to_vec();
    let again = call.answers("200 OK", "b", Some(FORKS[0].1));
    assert_eq!(again.bytes, call.shown[0].bytes, "a repeated 2xx repeats its own");
    let mut call = call.latched();
    for (n, (tag, media)) in FORKS.into_iter().enumerate() {
        let ack = call.world.terminal_sends(NAT, &request(&call.shown[n].clone(), "ACK", 1, None)).remove(0);
        assert!(ack.text().starts_with(&format!("ACK sip:{tag}@10.0.0.20 SIP/2.0\r\n")), "{}", ack.text());
        assert_eq!(call.core_speaks(media, 1), call.to_caller(n));
    }
    let bye = call.world.terminal_sends(NAT, &request(&call.shown[0].clone(), "BYE", 2, None)).remove(0);
    call.world.core_sends(&bye.flow.local.to_string(), &response(&bye, "200 OK", "b", None));
    assert_eq!(call.core_speaks(FORKS[1].1, 2), call.to_caller(1), "the other call goes on");
    assert_eq!(call.core_speaks(FORKS[0].1, 2), Verdict::Drop(DropReason::Stranger));
    call.world.pass(GIVEN_UP);
    assert_eq!(totals(&mut call.world), (1, 4));
}

#[test]
fn a_fork_that_loses_first_and_answers_later_has_its_media() {
    let mut call = Call::new().latched();
    call.answers("200 OK", "b", Some(FORKS[0].1));
    call.world.pass(Duration::from_secs(5));
    call.answers("200 OK", "c", Some(FORKS[1].1));
    call.world.pass(GIVEN_UP);
    for (n, (_, media)) in FORKS.into_iter().enumerate() {
        assert_eq!(call.core_speaks(media, 1), call.to_caller(n));
    }
}

#[test]
fn a_failure_ends_all_forks() {
    let mut call = Call::new();
    call.answers("486 Busy Here", "b", None);
    assert_eq!(totals(&mut call.world), (0, 0));
}

#[test]
fn a_call_without_a_final_response_is_reaped_with_its_forks() {
    let mut call = Call::new();
    call.world.pass(Duration::from_secs(500));
    assert_eq!(totals(&mut call.world), (0, 0));
    assert_eq!(call.world.shards.iter_mut().map(|s| s.stats().dialogs).sum::<u64>(), 0);
}

#[test]
fn a_fork_given_up_by_199_is_freed_and_the_others_ring_on() {
    let mut call = Call::new().latched();
    let given_up = call.answers("199 Early Dialog Terminated", "b", None);
    assert_eq!(given_up.header("To"), "<sip:bob@198.51.100.10>;tag=b");
    assert_eq!(totals(&mut call.world), (1, 4));
    assert_eq!(call.core_speaks(FORKS[1].1, 1), call.to_caller(1));
}

#[test]
fn forks_are_limited() {
    let mut call = Call::silent();
    for n in 0..3 * MAX_FORKS {
        let sent = call.answers("183 Session Progress", &format!("t{n}"), Some("10.0.0.21:30000"));
        assert_eq!(sent.header("To"), format!("<sip:bob@198.51.100.10>;tag=t{n}"));
    }
    assert_eq!(totals(&mut call.world), (MAX_FORKS as u64, 2 + 2 * MAX_FORKS as u64));
    let displaced = call.world.shards.iter_mut().map(|s| s.stats().forks_displaced).sum::<u64>();
    assert_eq!(displaced, 2 * MAX_FORKS as u64);
    let last = format!("t{}", 3 * MAX_FORKS - 1);
    let ok = call.answers("200 OK", &last, Some("10.0.0.29:30000"));
    call.shown = vec![ok];
    assert_eq!(call.caller_speaks(0, 1), call.to_fork("10.0.0.29:30000"), "whoever answers has media");
    call.world.pass(GIVEN_UP);
    assert_eq!(totals(&mut call.world), (1, 4));
}

#[test]
fn a_host_that_several_forks_named_is_nobodys_until_one_is_answered() {
    let mut call = Call::silent();
    let media = ["10.0.0.21:30000", "10.0.0.21:32000"];
    for (tag, media) in ["b", "c"].into_iter().zip(media) {
        let shown = call.answers("183 Session Progress", tag, Some(media));
        call.shown.push(shown);
    }
    let mut call = call.latched();
    assert_eq!(call.core_speaks(media[1], 1), call.to_caller(1));
    assert_eq!(call.core_speaks("10.0.0.21:34000", 1), Verdict::Drop(DropReason::AnyFork));
    call.answers("200 OK", "b", Some(media[0]));
    assert_eq!(call.core_speaks("10.0.0.21:34000", 2), call.to_caller(0));
}

#[test]
fn one_media_server_that_speaks_for_several_forks_is_heard_at_the_newest_then_at_the_answered() {
    let mut call = Call::silent();
    let media = FORKS[0].1;
    for tag in ["b", "c"] {
        let shown = call.answers("183 Session Progress", tag, Some(media));
        call.shown.push(shown);
    }
    let mut call = call.latched();
    assert_eq!(call.core_speaks(media, 1), call.to_caller(1));
    call.answers("200 OK", "b", Some(media));
    assert_eq!(call.core_speaks(media, 2), call.to_caller(0));
}

#[test]
fn a_2xx_with_a_new_tag_and_no_description_keeps_the_early_media() {
    let mut call = Call::silent();
    let shown = call.answers("183 Session Progress", "b", Some(FORKS[0].1));
    call.shown.push(shown);
    let ok = call.answers("200 OK", "x", None);
    let mut call = call.latched();
    assert_eq!(call.core_speaks(FORKS[0].1, 1), call.to_caller(0));
    let ack = call.world.terminal_sends(NAT, &request(&ok, "ACK", 1, None)).remove(0);
    assert!(ack.text().starts_with("ACK sip:x@10.0.0.20 SIP/2.0\r\n"), "{}", ack.text());
    assert_eq!(totals(&mut call.world).0, 1);
}

#[test]
fn requests_to_a_fork_follow_its_label_and_requests_of_a_fork_its_tag() {
    let mut call = Call::new().latched();
    for (n, (tag, _)) in FORKS.into_iter().enumerate() {
        let prack =
            call.world.terminal_sends(NAT, &request(&call.shown[n].clone(), "PRACK", 2, None)).remove(0);
        assert!(prack.text().starts_with(&format!("PRACK sip:{tag}@10.0.0.20 ")), "{}", prack.text());
    }
    let moved = sdp("10.0.0.99:30000", "");
    let update = core_request(&call.up, "c", "UPDATE", 1, Some(&moved));
    let down = call.world.core_sends(&call.up.flow.local.to_string(), &update).remove(0);
    assert_eq!(port(&down, 0), port(&call.shown[1], 0), "each fork's own port");
    call.world.terminal_sends(NAT, &response(&down, "200 OK", "a", Some(&sdp(PHONE, ""))));
    assert_eq!(call.caller_speaks(1, 9), call.to_fork("10.0.0.99:30000"));
    assert_eq!(call.caller_speaks(0, 9), call.to_fork(FORKS[0].1));
    let bye = core_request(&call.up, "c", "BYE", 2, None);
    let down = call.world.core_sends(&call.up.flow.local.to_string(), &bye).remove(0);
    call.world.terminal_sends(NAT, &response(&down, "200 OK", "a", None));
    assert_eq!(totals(&mut call.world), (1, 4));
    assert_eq!(call.caller_speaks(0, 10), call.to_fork(FORKS[0].1));
}

#[test]
fn a_delayed_offer_of_each_fork_has_ports_of_its_own_on_both_sides() {
    let mut world = World::new(mapping(2));
    let up = world.terminal_sends(NAT, &invite(None)).remove(0);
    let mut call = Call { world, up, shown: Vec::new() };
    call.shown = FORKS.map(|(tag, media)| call.answers("200 OK", tag, Some(media))).to_vec();
    let answers = [0, 1].map(|n| {
        let ack = request(&call.shown[n].clone(), "ACK", 1, Some(&sdp(PHONE, "")));
        call.world.terminal_sends(NAT, &ack).remove(0)
    });
    assert_ne!(port(&answers[0], 0), port(&answers[1], 0));
    for (n, (_, media)) in FORKS.into_iter().enumerate() {
        let out = MediaPort { realm: CORE, port: port(&answers[n], 0) };
        assert_eq!(call.caller_speaks(n, 1), Verdict::Forward { out, to: addr(media) });
    }
    assert_eq!(totals(&mut call.world), (2, 8));
}

#[test]
fn a_stream_that_one_fork_refuses_another_may_take() {
    let mut world = World::new(mapping(1));
    let offer = sdp(PHONE, "m=video 5006 RTP/AVP 96\n");
    let up = world.terminal_sends(NAT, &invite(Some(&offer))).remove(0);
    let local = up.flow.local.to_string();
    let refuses =
        response(&up, "183 Session Progress", "b", Some(&sdp(FORKS[0].1, "m=video 0 RTP/AVP 96\n")));
    world.core_sends(&local, &refuses);
    let takes = response(&up, "200 OK", "c", Some(&sdp(FORKS[1].1, "m=video 32002 RTP/AVP 96\n")));
    let ok = world.core_sends(&local, &takes).remove(0);
    let mut packet = rtp(1, 9);
    packet[1] = 96;
    let verdict = world.media(ACCESS, port(&ok, 1), "203.0.113.7:51002", &packet);
    let out = MediaPort { realm: CORE, port: port(&up, 1) };
    assert_eq!(verdict, Verdict::Forward { out, to: addr("10.0.0.22:32002") });
}
