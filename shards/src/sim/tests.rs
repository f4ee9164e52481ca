//! Endpoints face to face over a bad line, without Portolan: they must be right before they may judge.

use super::bad_line::{BadLine, Flight};
use super::*;
use crate::types::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const SOFTSWITCH: &str = "10.0.0.20:5060";

/// Everybody on one network that loses, repeats and delays.
struct Room {
    now: Instant,
    line: BadLine,
    softswitch: Softswitch,
    terminals: BTreeMap<IpAddr, Terminal>,
    events: Vec<(IpAddr, Event)>,
}

impl Room {
    fn new(loss: u64, copies: u64, seed: u8, challenge: Challenge) -> Self {
        let config = SoftswitchConfig { challenge, ..SoftswitchConfig::new(at(SOFTSWITCH)) };
        let mut room = Self {
            now: Instant::ZERO,
            line: BadLine::new(loss, copies, seed),
            softswitch: Softswitch::new(config, [seed; 32]),
            terminals: BTreeMap::new(),
            events: Vec::new(),
        };
        for (index, user) in ["alice", "bob"].into_iter().enumerate() {
            let address = SocketAddr::new(IpAddr::from([192, 168, 1, 10 + index as u8]), 5060);
            let config = TerminalConfig::new(user, address, at(SOFTSWITCH));
            room.terminals.insert(address.ip(), Terminal::new(config, [seed ^ index as u8; 32]));
        }
        room
    }

    fn registered(loss: u64, copies: u64, seed: u8, challenge: Challenge) -> Self {
        let mut room = Self::new(loss, copies, seed, challenge);
        let now = room.now;
        room.terminals.values_mut().for_each(|t| t.register(now));
        room.run(Duration::from_secs(40));
        room
    }

    fn terminal(&mut self, last: u8) -> &mut Terminal {
        self.terminals.get_mut(&IpAddr::from([192, 168, 1, last])).expect("terminal")
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            while let Some(flight) = self.line.arrived(self.now) {
                self.endpoint(flight.to.ip(), |e, now| e.handle(now, flight.to, flight.from, &flight.bytes));
                self.drain();
            }
            let everybody: Vec<_> = self.addresses();
            everybody.into_iter().for_each(|ip| self.endpoint(ip, |e, now| e.handle_timeout(now)));
            self.drain();
        }
        self.now = end;
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.terminals.keys().copied().chain([at(SOFTSWITCH).ip()]).collect()
    }

    fn endpoint(&mut self, ip: IpAddr, act: impl FnOnce(&mut dyn Endpoint, Instant)) {
        match self.terminals.get_mut(&ip) {
            Some(terminal) => act(terminal, self.now),
            None => act(&mut self.softswitch, self.now),
        }
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.terminals.values().filter_map(Endpoint::poll_timeout);
        timers.chain(self.softswitch.poll_timeout()).chain(self.line.next()).min()
    }

    fn drain(&mut self) {
        for ip in self.addresses() {
            let mut outs = Vec::new();
            self.endpoint(ip, |e, _| outs.extend(std::iter::from_fn(|| e.poll_output())));
            for out in outs {
                match out {
                    Out::Send { local, to, bytes, kind } => {
                        let flight = Flight { from: local, to, bytes };
                        self.line.send(self.now, &flight, kind);
                    }
                    Out::Event(event) => self.events.push((ip, event)),
                    Out::Open(_) | Out::Close(_) => {}
                }
            }
        }
    }

    fn seen(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }

    fn reports(&self, number: u32) -> BTreeMap<Role, MediaReport> {
        let ended = self.events.iter().filter_map(|(_, event)| match event {
            Event::CallEnded { call, role, media, .. } if *call == number => Some((*role, media.clone())),
            _ => None,
        });
        ended.collect()
    }

    #[track_caller]
    fn assert_clean(&self) {
        let bad = |event: &&(IpAddr, Event)| {
            matches!(event.1, Event::Unparseable { .. } | Event::Misdelivered { .. } | Event::Leak { .. })
        };
        assert_eq!(self.events.iter().find(bad), None);
        assert_eq!(self.softswitch.calls(), 0);
        assert!(self.terminals.values().all(|t| t.calls() == 0));
    }

    #[track_caller]
    fn assert_two_way(&self, number: u32, packets: u32) {
        let reports = self.reports(number);
        assert_eq!(reports.len(), 2, "both ends of call {number} ended: {:?}", self.events);
        for (role, report) in reports {
            assert_eq!((report.sent, report.received), (packets, packets), "call {number}, {role:?}");
        }
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn second_long(call: u32, to: &str) -> CallSpec {
    CallSpec::new(call, to, Duration::from_secs(1))
}

fn calls_in_every_direction(room: &mut Room) {
    let now = room.now;
    room.terminal(10).call(now, second_long(1, "+4930123"));
    room.terminal(10).call(now, second_long(2, "bob"));
    room.softswitch.call(now, CallSpec { hangup: Role::Callee, ..second_long(3, "bob") });
    room.run(Duration::from_secs(120));
    (1..=3).for_each(|number| room.assert_two_way(number, 50));
    room.assert_clean();
}

#[test]
fn calls_go_both_ways_in_every_direction() {
    let mut room = Room::registered(0, 0, 1, Challenge::Nobody);
    assert_eq!(room.softswitch.registered(room.now), 2);
    calls_in_every_direction(&mut room);
}

#[test]
fn calls_survive_loss_and_repetition() {
    for seed in 0..40 {
        let mut room = Room::registered(15, 15, seed, Challenge::Nobody);
        calls_in_every_direction(&mut room);
    }
}

#[test]
fn who_knows_the_password_may_register_and_call() {
    let mut room = Room::registered(0, 0, 2, Challenge::Everything);
    assert_eq!(room.seen(|e| matches!(e, Event::Registered { .. })), 2);
    let now = room.now;
    room.terminal(10).call(now, second_long(1, "bob"));
    room.run(Duration::from_secs(5));
    room.assert_two_way(1, 50);
    room.assert_clean();
}

#[test]
fn who_does_not_know_the_password_is_refused() {
    let mut room = Room::new(0, 0, 3, Challenge::Registrations);
    let mut config = TerminalConfig::new("eve", at("192.168.1.66:5060"), at(SOFTSWITCH));
    config.credentials.password = "guess".into();
    room.terminals.insert(config.address.ip(), Terminal::new(config, [9; 32]));
    let now = room.now;
    room.terminal(66).register(now);
    room.run(Duration::from_secs(40));
    assert_eq!(room.seen(|e| *e == Event::RegisterFailed { status: 401 }), 1);
}

#[test]
fn a_registration_is_refreshed_and_removed() {
    let mut room = Room::new(0, 0, 4, Challenge::Nobody);
    let now = room.now;
    room.terminal(10).register(now);
    room.run(Duration::from_secs(2000));
    assert_eq!(room.seen(|e| matches!(e, Event::Registered { .. })), 2);
    let now = room.now;
    room.terminal(10).unregister(now);
    room.run(Duration::from_secs(1));
    assert_eq!(room.softswitch.registered(room.now), 0);
}

#[test]
fn a_call_that_nobody_answers_in_time_can_be_cancelled() {
    for callee in ["bob", "+4930123"] {
        let slow = Answering { answer_after: Duration::from_secs(60), ..Answering::default() };
        let mut room = Room::registered(10, 10, 5, Challenge::Nobody);
        let config = SoftswitchConfig { answering: slow, ..SoftswitchConfig::new(at(SOFTSWITCH)) };
        room.softswitch = Softswitch::new(config, [1; 32]);
        let bob = TerminalConfig {
            answering: slow,
            ..TerminalConfig::new("bob", at("192.168.1.11:5060"), at(SOFTSWITCH))
        };
        room.terminals.insert(bob.address.ip(), Terminal::new(bob, [2; 32]));
        let now = room.now;
        room.terminals.values_mut().for_each(|t| t.register(now));
        room.run(Duration::from_secs(10));
        let now = room.now;
        room.terminal(10).call(now, second_long(1, callee));
        room.run(Duration::from_secs(5));
        let now = room.now;
        room.terminal(10).hang_up(now, 1);
        room.run(Duration::from_secs(40));
        assert_eq!(room.seen(|e| matches!(e, Event::CallFailed { status: 487, .. })), 2, "{callee}");
        room.assert_clean();
    }
}

#[test]
fn a_call_to_nobody_fails() {
    let mut room = Room::registered(0, 0, 6, Challenge::Nobody);
    let now = room.now;
    room.terminal(10).call(now, second_long(1, "carol"));
    room.run(Duration::from_secs(5));
    assert_eq!(room.seen(|e| matches!(e, Event::CallFailed { status: 404, role: Role::Caller, .. })), 1);
    room.assert_clean();
}

#[test]
fn hold_stops_the_audio_of_both_ends_and_resume_lets_it_go_on() {
    let mut room = Room::registered(0, 0, 7, Challenge::Nobody);
    let endless = CallSpec { talk: None, ..second_long(1, "bob") };
    let heard = |room: &Room| room.seen(|e| matches!(e, Event::RtpReceived { .. }));
    let now = room.now;
    room.terminal(10).call(now, endless);
    room.run(Duration::from_secs(2));
    let now = room.now;
    room.terminal(11).hold(now, 1, true);
    room.run(Duration::from_secs(1));
    let held = heard(&room);
    room.run(Duration::from_secs(2));
    assert_eq!(heard(&room), held);
    let now = room.now;
    room.terminal(11).hold(now, 1, false);
    room.run(Duration::from_secs(2));
    assert!(heard(&room) > held + 180);
    assert_eq!(room.seen(|e| *e == Event::Reinvited { call: 1, status: 200 }), 2);
    let now = room.now;
    room.terminal(11).hang_up(now, 1);
    room.run(Duration::from_secs(2));
    assert_eq!(room.reports(1).len(), 2);
    room.assert_clean();
}

#[test]
fn texts_arrive_outside_and_inside_a_call() {
    let mut room = Room::registered(10, 10, 8, Challenge::Nobody);
    let now = room.now;
    room.terminal(10).send(now, "MESSAGE", "bob", Some("hello"));
    room.terminal(10).call(now, CallSpec { linger: Duration::from_secs(60), ..second_long(1, "bob") });
    room.run(Duration::from_secs(20));
    let now = room.now;
    room.terminal(10).info(now, 1, "tone");
    room.run(Duration::from_secs(100));
    for (method, body) in [("MESSAGE", "hello"), ("INFO", "tone")] {
        let text = Event::Text { method: method.into(), body: body.into() };
        assert_eq!(room.seen(|e| *e == text), 1, "{method}");
    }
    room.assert_clean();
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut room = Room::registered(20, 20, 9, Challenge::Everything);
        let now = room.now;
        room.terminal(10).call(now, second_long(1, "bob"));
        room.run(Duration::from_secs(60));
        room.events
    };
    assert_eq!(run(), run());
}
