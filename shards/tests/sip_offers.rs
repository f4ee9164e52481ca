//! Who offers and who answers is told by what was offered before, not by the method (RFC 3264, RFC 6337 section 2), and
//! an offer that fails changes nothing.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use support::call::{self, NAT_MEDIA, core_request, invite, port, request, response, sdp, totals};
use support::{ACCESS, CORE, NAT, Sent, World, addr, mapping, rtp};

const PHONE: &str = "192.168.1.10:5004";
const ONE: &str = "10.0.0.21:30000";
const OTHER: &str = "10.0.0.22:32000";
const THIRD: &str = "10.0.0.23:34000";

/// A call from a terminal, and what it has seen.
struct Call {
    world: World,
    /// The INVITE as the softswitch got it.
    up: Sent,
    /// Our ports: access side, core side.
    ports: [u16; 2],
    sequence: u16,
}

impl Call {
    fn invited(body: Option<&str>) -> Self {
        let mut world = World::new(mapping(1));
        let up = world.terminal_sends(NAT, &invite(body)).remove(0);
        let core = if body.is_some() { port(&up, 0) } else { 0 };
        Self { world, up, ports: [0, core], sequence: 0 }
    }

    /// Answered by `ONE`, and acknowledged; with what the caller was shown.
    fn established() -> (Self, Sent) {
        let mut call = Self::invited(Some(&sdp(PHONE, "")));
        let up = call.up.clone();
        let shown = call.core_answers(&up, "200 OK", Some(&sdp(ONE, "")));
        call.ports[0] = port(&shown, 0);
        call.caller_asks(&shown, "ACK", 1, None);
        (call, shown)
    }

    /// The other end responds to a request that it got; what the caller gets.
    fn core_answers(&mut self, request: &Sent, status: &str, body: Option<&str>) -> Sent {
        let text = response(request, status, "b", body);
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }

    /// The caller asks within the dialog; what the other end gets.
    fn caller_asks(&mut self, shown: &Sent, method: &str, cseq: u32, body: Option<&str>) -> Sent {
        self.world.terminal_sends(NAT, &request(shown, method, cseq, body)).remove(0)
    }

    /// The other end asks within the dialog; what the caller gets.
    fn core_asks(&mut self, method: &str, cseq: u32, body: Option<&str>) -> Sent {
        let text = core_request(&self.up, "b", method, cseq, body);
        call::sent_to(self.world.core_sends(&self.up.flow.local.to_string(), &text), ACCESS)
    }

    /// The caller responds; what the other end gets.
    fn caller_answers(&mut self, request: &Sent, status: &str, body: Option<&str>) -> Sent {
        call::sent_to(self.world.terminal_sends(NAT, &response(request, status, "a", body)), CORE)
    }

    /// A packet of the caller.
    fn speaks(&mut self) -> Verdict {
        self.sequence += 1;
        self.world.media(ACCESS, self.ports[0], NAT_MEDIA, &rtp(self.sequence, 7))
    }

    /// The caller's packets go to this place.
    #[track_caller]
    fn reaches(&mut self, place: &str) {
        let verdict = self.speaks();
        assert!(matches!(verdict, Verdict::Forward { to, .. } if to == addr(place)), "{verdict:?}");
    }
}

#[test]
fn offer_in_the_invite_answer_in_the_200() {
    let (mut call, _) = Call::established();
    call.reaches(ONE);
}

#[test]
fn offer_in_the_200_answer_in_the_ack() {
    let mut call = Call::invited(None);
    let up = call.up.clone();
    let shown = call.core_answers(&up, "200 OK", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    assert_eq!(call.speaks(), Verdict::Drop(DropReason::NotArmed));
    let ack = call.caller_asks(&shown, "ACK", 1, Some(&sdp(PHONE, "")));
    call.reaches(ONE);
    let again = call.caller_asks(&shown, "ACK", 1, Some(&sdp(PHONE, "")));
    assert_eq!(port(&again, 0), port(&ack, 0), "a repeated ACK says the same");
    call.reaches(ONE);
}

#[test]
fn offer_in_a_reliable_18x_answer_in_the_prack() {
    let mut call = Call::invited(None);
    let up = call.up.clone();
    let shown = call.core_answers(&up, "183 Session Progress", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    let prack = call.caller_asks(&shown, "PRACK", 2, Some(&sdp(PHONE, "")));
    call.reaches(ONE);
    call.core_answers(&prack, "200 OK", None);
    call.core_answers(&up, "200 OK", Some(&sdp(ONE, "")));
    call.caller_asks(&shown, "ACK", 1, None);
    call.reaches(ONE);
    assert_eq!(totals(&mut call.world), (1, 4));
}

#[test]
fn offer_in_the_prack_answer_in_its_200() {
    let mut call = Call::invited(Some(&sdp(PHONE, "")));
    let up = call.up.clone();
    let shown = call.core_answers(&up, "183 Session Progress", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    call.reaches(ONE);
    let prack = call.caller_asks(&shown, "PRACK", 2, Some(&sdp(PHONE, "a=sendonly\n")));
    call.reaches(ONE);
    call.core_answers(&prack, "200 OK", Some(&sdp(OTHER, "a=recvonly\n")));
    call.reaches(OTHER);
}

#[test]
fn offer_in_an_update_answer_in_its_200_from_either_side() {
    let (mut call, shown) = Call::established();
    let update = call.caller_asks(&shown, "UPDATE", 2, Some(&sdp(PHONE, "")));
    assert_eq!(port(&update, 0), call.ports[1], "ports never change during a dialog");
    call.core_answers(&update, "200 OK", Some(&sdp(OTHER, "")));
    call.reaches(OTHER);
    let update = call.core_asks("UPDATE", 1, Some(&sdp(THIRD, "")));
    assert_eq!(port(&update, 0), call.ports[0]);
    call.reaches(OTHER);
    call.caller_answers(&update, "200 OK", Some(&sdp(PHONE, "")));
    call.reaches(THIRD);
}

#[test]
fn a_re_invite_without_an_offer_is_offered_to_in_its_200() {
    let (mut call, shown) = Call::established();
    let again = call.caller_asks(&shown, "INVITE", 2, None);
    call.core_answers(&again, "200 OK", Some(&sdp(OTHER, "")));
    call.reaches(ONE);
    call.caller_asks(&shown, "ACK", 2, Some(&sdp(PHONE, "")));
    call.reaches(OTHER);
}

#[test]
fn a_failed_re_invite_rolls_back() {
    for status in ["488 Not Acceptable Here", "491 Request Pending", "408 Request Timeout", "500 Error"] {
        let (mut call, shown) = Call::established();
        let offer = sdp(PHONE, "a=inactive\nm=video 5006 RTP/AVP 96\n");
        let again = call.caller_asks(&shown, "INVITE", 2, Some(&offer));
        assert_eq!(totals(&mut call.world), (1, 8));
        call.core_answers(&again, status, None);
        assert_eq!(totals(&mut call.world), (1, 4), "{status}: the new stream is gone");
        call.reaches(ONE);
    }
}

#[test]
fn a_re_invite_that_fails_after_an_answer_in_183_rolls_back_too() {
    for (answer, verdict) in [
        (sdp(OTHER, "a=inactive\n"), DropReason::GateClosed),
        (sdp("10.0.0.22:0", ""), DropReason::GateClosed),
    ] {
        let (mut call, shown) = Call::established();
        let again = call.caller_asks(&shown, "INVITE", 2, Some(&sdp(PHONE, "")));
        call.core_answers(&again, "183 Session Progress", Some(&answer));
        assert_eq!(call.speaks(), Verdict::Drop(verdict));
        let info = call.caller_asks(&shown, "INFO", 3, None);
        call.core_answers(&info, "200 OK", None);
        call.core_answers(&again, "488 Not Acceptable Here", None);
        call.reaches(ONE);
        assert_eq!(totals(&mut call.world), (1, 4));
    }
}

#[test]
fn a_failed_update_rolls_back_and_an_executed_one_stays() {
    let (mut call, shown) = Call::established();
    let again = call.caller_asks(&shown, "INVITE", 2, Some(&sdp(PHONE, "")));
    call.core_answers(&again, "183 Session Progress", Some(&sdp(OTHER, "")));
    let update = call.caller_asks(&shown, "UPDATE", 3, Some(&sdp(PHONE, "a=inactive\n")));
    call.core_answers(&update, "491 Request Pending", None);
    call.reaches(OTHER);
    let update = call.caller_asks(&shown, "UPDATE", 4, Some(&sdp(PHONE, "")));
    call.core_answers(&update, "200 OK", Some(&sdp(THIRD, "")));
    call.core_answers(&again, "488 Not Acceptable Here", None);
    call.reaches(THIRD);
}

#[test]
fn an_update_that_fails_before_the_invite_is_answered_leaves_its_offer() {
    let mut call = Call::invited(Some(&sdp(PHONE, "")));
    let up = call.up.clone();
    let ringing = call.core_answers(&up, "180 Ringing", None);
    let update = call.caller_asks(&ringing, "UPDATE", 2, Some(&sdp(PHONE, "a=inactive\n")));
    call.core_answers(&update, "500 Server Internal Error", None);
    let shown = call.core_answers(&up, "200 OK", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    call.reaches(ONE);
    assert_eq!(totals(&mut call.world), (1, 4));
}

#[test]
fn glare_is_left_to_the_endpoints_and_changes_nothing() {
    let (mut call, shown) = Call::established();
    let from_caller = call.caller_asks(&shown, "INVITE", 2, Some(&sdp(PHONE, "a=inactive\n")));
    let from_core = call.core_asks("INVITE", 1, Some(&sdp(THIRD, "a=inactive\n")));
    call.core_answers(&from_caller, "491 Request Pending", None);
    call.reaches(ONE);
    let refused = call.caller_answers(&from_core, "491 Request Pending", None);
    assert!(refused.text().starts_with("SIP/2.0 491 "), "{}", refused.text());
    call.reaches(ONE);
    let again = call.caller_asks(&shown, "INVITE", 3, Some(&sdp(PHONE, "")));
    call.core_answers(&again, "200 OK", Some(&sdp(OTHER, "")));
    call.reaches(OTHER);
}

#[test]
fn in_glare_the_offer_that_is_accepted_takes_effect() {
    let (mut call, shown) = Call::established();
    let from_caller = call.caller_asks(&shown, "INVITE", 2, Some(&sdp(PHONE, "a=inactive\n")));
    let from_core = call.core_asks("UPDATE", 1, Some(&sdp(THIRD, "")));
    call.core_answers(&from_caller, "491 Request Pending", None);
    call.caller_answers(&from_core, "200 OK", Some(&sdp(PHONE, "")));
    call.reaches(THIRD);
}

#[test]
fn a_description_said_again_is_no_new_answer() {
    let mut call = Call::invited(Some(&sdp(PHONE, "")));
    let up = call.up.clone();
    let shown = call.core_answers(&up, "183 Session Progress", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    let update = call.core_asks("UPDATE", 1, Some(&sdp(OTHER, "")));
    call.caller_answers(&update, "200 OK", Some(&sdp(PHONE, "")));
    call.reaches(OTHER);
    let ok = call.core_answers(&up, "200 OK", Some(&sdp(ONE, "")));
    assert_eq!(port(&ok, 0), call.ports[0]);
    assert!(ok.text().contains("c=IN IP4 198.51.100.10\r\n"), "{}", ok.text());
    call.reaches(OTHER);
}

#[test]
fn a_different_183_of_the_same_place_is_its_new_answer() {
    let mut call = Call::invited(Some(&sdp(PHONE, "")));
    let up = call.up.clone();
    let shown = call.core_answers(&up, "183 Session Progress", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    call.reaches(ONE);
    let other = call.core_answers(&up, "183 Session Progress", Some(&sdp(OTHER, "")));
    assert_eq!(port(&other, 0), call.ports[0]);
    call.reaches(OTHER);
    let back = world_hears(&mut call, OTHER);
    assert!(matches!(back, Verdict::Forward { .. }), "{back:?}");
    call.core_answers(&up, "200 OK", Some(&sdp(THIRD, "")));
    call.reaches(THIRD);
    assert_eq!(totals(&mut call.world), (1, 4));
}

/// A packet from the core side.
fn world_hears(call: &mut Call, from: &str) -> Verdict {
    let at = call.ports[1];
    call.world.media(CORE, at, from, &rtp(1, 8))
}

#[test]
fn ringing_without_a_description_changes_nothing() {
    let mut call = Call::invited(Some(&sdp(PHONE, "")));
    let up = call.up.clone();
    let shown = call.core_answers(&up, "183 Session Progress", Some(&sdp(ONE, "")));
    call.ports[0] = port(&shown, 0);
    call.core_answers(&up, "180 Ringing", None);
    call.reaches(ONE);
    call.core_answers(&up, "200 OK", None);
    call.reaches(ONE);
}
