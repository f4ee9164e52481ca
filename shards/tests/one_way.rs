//! Media that flows one way only is found while the call lasts, once, and told with the side that is silent; hold,
//! one-way descriptions, comfort noise and a call that is silent on both sides are let be.

mod support;

use portolan_shards::io::Verdict;
use portolan_shards::types::Side;
use std::time::Duration;
use support::call::{self, NAT_MEDIA, invite, port, request, response, sdp};
use support::{ACCESS, CORE, NAT, Sent, World, mapping, rtp};

const PHONE: &str = "192.168.1.10:5004";
const PEER: &str = "10.0.0.21:30000";
/// Time between two packets.
const PTIME: Duration = Duration::from_millis(20);

/// A call from a terminal.
struct Call {
    world: World,
    shown: Sent,
    up: Sent,
    ports: [u16; 2],
    sequence: u16,
}

impl Call {
    fn up(offer: &str, answer: &str) -> Self {
        let mut mapping = mapping(1);
        mapping.limits.one_way = Duration::from_secs(10);
        let mut world = World::new(mapping);
        let up = world.terminal_sends(NAT, &invite(Some(&sdp(PHONE, offer)))).remove(0);
        let ok = response(&up, "200 OK", "b", Some(&sdp(PEER, answer)));
        let shown = call::sent_to(world.core_sends(&up.flow.local.to_string(), &ok), ACCESS);
        world.terminal_sends(NAT, &request(&shown, "ACK", 1, None));
        let ports = [port(&shown, 0), port(&up, 0)];
        let mut call = Self { world, shown, up, ports, sequence: 0 };
        // Nobody can send to a terminal behind NAT before it has spoken.
        (0..5).for_each(|_| call.speak(true, false));
        call
    }

    /// A packet time in which these sides speak.
    fn speak(&mut self, access: bool, core: bool) {
        self.sequence += 1;
        if access {
            self.world.media(ACCESS, self.ports[0], NAT_MEDIA, &rtp(self.sequence, 7));
        }
        if core {
            self.world.media(CORE, self.ports[1], PEER, &rtp(self.sequence, 8));
        }
        self.world.pass(PTIME);
    }

    fn speak_for(&mut self, seconds: u32, access: bool, core: bool) {
        (0..seconds * 50).for_each(|_| self.speak(access, core));
    }

    /// How often each side was found silent.
    fn found(&mut self) -> [u64; 2] {
        self.world.shards[0].stats().one_way
    }

    /// The side that the running session says is silent.
    fn told(&self) -> Option<Side> {
        self.world.shards[0].summaries(1).0[0].one_way
    }

    /// The terminal asks for another direction.
    fn redirect(&mut self, cseq: u32, offer: &str, answer: &str) {
        let text = request(&self.shown, "INVITE", cseq, Some(&sdp(PHONE, offer)));
        let asked = self.world.terminal_sends(NAT, &text).remove(0);
        let ok = response(&asked, "200 OK", "b", Some(&sdp(PEER, answer)));
        self.world.core_sends(&self.up.flow.local.to_string(), &ok);
        self.world.terminal_sends(NAT, &request(&self.shown, "ACK", cseq, None));
    }
}

#[test]
fn a_silent_terminal_is_told_once() {
    let mut call = Call::up("", "");
    call.speak_for(9, false, true);
    assert_eq!((call.found(), call.told()), ([0, 0], None), "too early");
    call.speak_for(12, false, true);
    assert_eq!((call.found(), call.told()), ([1, 0], Some(Side::Access)));
    call.speak_for(30, false, true);
    assert_eq!(call.found(), [1, 0], "once");
}

#[test]
fn a_silent_core_is_told_also_where_it_has_spoken_before() {
    let mut call = Call::up("", "");
    call.speak_for(20, true, true);
    assert_eq!(call.found(), [0, 0]);
    call.speak_for(20, true, false);
    assert_eq!((call.found(), call.told()), ([0, 1], Some(Side::Core)));
}

#[test]
fn silence_on_both_sides_is_not_one_way() {
    let mut call = Call::up("", "");
    call.speak_for(20, false, false);
    call.speak_for(20, true, true);
    assert_eq!(call.found(), [0, 0]);
}

#[test]
fn who_only_receives_may_be_silent() {
    let mut call = Call::up("a=sendonly\n", "a=recvonly\n");
    call.speak_for(30, true, false);
    assert_eq!(call.found(), [0, 0]);
}

#[test]
fn a_call_on_hold_is_let_be_and_judged_anew_when_it_is_resumed() {
    let mut call = Call::up("", "");
    call.speak_for(6, true, true);
    call.redirect(2, "a=sendonly\n", "a=recvonly\n");
    call.speak_for(30, true, false);
    assert_eq!(call.found(), [0, 0]);
    call.redirect(3, "a=sendrecv\n", "a=sendrecv\n");
    call.speak_for(8, true, false);
    assert_eq!(call.found(), [0, 0]);
    call.speak_for(13, true, false);
    assert_eq!(call.found(), [0, 1]);
}

#[test]
fn comfort_noise_before_silence_is_heeded() {
    let mut call = Call::up("", "");
    call.speak_for(2, true, true);
    let mut rest = rtp(30_000, 7);
    rest[2..4].copy_from_slice(&(call.sequence + 1).to_be_bytes());
    rest.truncate(12 + 11);
    let verdict = call.world.media(ACCESS, call.ports[0], NAT_MEDIA, &rest);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    call.sequence += 1;
    call.speak_for(30, false, true);
    assert_eq!(call.found(), [0, 0]);
}

#[test]
fn zero_never_looks() {
    let mut call = Call::up("", "");
    let mut never = mapping(1);
    never.generation = 2;
    never.limits.one_way = Duration::ZERO;
    call.world.reload(never);
    call.speak_for(30, false, true);
    assert_eq!(call.found(), [0, 0]);
}
