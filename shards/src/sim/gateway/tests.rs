//! Gateways and their controller face to face over a bad line, without Portolan: they must be right before they may judge.

use super::super::bad_line::{BadLine, Flight};
use super::super::endpoint::{Endpoint, Event, MediaReport, Out, Role, Subscriber, Switch};
use super::super::spec::{CallSpec, Script, Story};
use super::{Controller, ControllerConfig, Gateway, GatewayConfig, Language};
use crate::types::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const LANGUAGES: [Language; 3] = [Language::Mgcp, Language::H248Text, Language::H248Binary];

/// Two gateways and their controller on one network that loses, repeats and delays signaling.
struct Room {
    now: Instant,
    line: BadLine,
    controller: Controller,
    gateways: Vec<Gateway>,
    events: Vec<(usize, Event)>,
}

/// The controller among the endpoints; gateway n is n.
const HUB: usize = usize::MAX;

impl Room {
    fn new(language: Language, loss: u64, copies: u64, seed: u8) -> Self {
        let hub = SocketAddr::new(IpAddr::from([10, 0, 0, 30]), language.controller_port());
        let controller = Controller::new(ControllerConfig::new(language, hub), [seed; 32]);
        let gateway = |number: u32| {
            let address =
                SocketAddr::new(IpAddr::from([192, 168, 1, 10 + number as u8]), language.gateway_port());
            Gateway::new(GatewayConfig::new(language, number, address, hub), [seed ^ number as u8; 32])
        };
        let gateways = (0..2).map(gateway).collect();
        let (now, line) = (Instant::ZERO, BadLine::new(loss, copies, seed));
        let mut room = Self { now, line, controller, gateways, events: Vec::new() };
        room.gateways.iter_mut().for_each(|gateway| gateway.register(now));
        room.run(Duration::from_secs(30));
        room
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            while let Some(Flight { from, to, bytes }) = self.line.arrived(self.now) {
                let who = self.gateways.iter().position(|one| one.address().ip() == to.ip());
                let now = self.now;
                self.endpoint(who.unwrap_or(HUB)).handle(now, to, from, &bytes);
                self.drain();
            }
            let now = self.now;
            [HUB, 0, 1].into_iter().for_each(|who| self.endpoint(who).handle_timeout(now));
            self.drain();
        }
        self.now = end;
    }

    fn endpoint(&mut self, who: usize) -> &mut dyn Endpoint {
        match self.gateways.get_mut(who) {
            Some(gateway) => gateway,
            None => &mut self.controller,
        }
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.gateways.iter().filter_map(Endpoint::poll_timeout);
        timers.chain(self.controller.poll_timeout()).chain(self.line.next()).min()
    }

    fn drain(&mut self) {
        for who in [HUB, 0, 1] {
            while let Some(out) = self.endpoint(who).poll_output() {
                match out {
                    Out::Send { local, to, bytes, kind } => {
                        let flight = Flight { from: local, to, bytes };
                        self.line.send(self.now, &flight, kind);
                    }
                    Out::Event(event) => self.events.push((who, event)),
                    Out::Open(_) | Out::Close(_) => {}
                }
            }
        }
    }

    fn seen(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| wanted(event)).count()
    }

    fn ended(&self, number: u32) -> BTreeMap<Role, (MediaReport, Story)> {
        let ended = self.events.iter().filter_map(|(_, event)| match event {
            Event::CallEnded { call, role, media, story } if *call == number => {
                Some((*role, (media.clone(), story.clone())))
            }
            _ => None,
        });
        ended.collect()
    }

    #[track_caller]
    fn assert_clean(&self) {
        let bad = |event: &&(usize, Event)| {
            let wrong = matches!(event.1, Event::Unparseable { .. } | Event::Misdelivered { .. });
            wrong || matches!(event.1, Event::Answered { status: 300.., .. })
        };
        assert_eq!(self.events.iter().find(bad), None);
        assert!(self.gateways.iter().all(|gateway| gateway.calls() == 0));
        assert_eq!(self.controller.calls(), 0);
    }

    #[track_caller]
    fn assert_two_way(&self, number: u32, packets: u32) {
        let ended = self.ended(number);
        assert_eq!(ended.len(), 2, "both ends of call {number} ended: {:?}", self.events);
        for (role, (media, _)) in &ended {
            assert_eq!(media.sent, packets, "call {number}, {role:?}");
        }
        let (caller, callee) = (&ended[&Role::Caller].0, &ended[&Role::Callee].0);
        assert_eq!((caller.missing_at(callee).1, callee.missing_at(caller).1), (0, 0), "call {number}");
    }
}

fn second_long(call: u32, to: &str) -> CallSpec {
    CallSpec::new(call, to, Duration::from_secs(1))
}

/// Calls of so many seconds.
fn calls_in_every_direction(room: &mut Room, seconds: u32) {
    let now = room.now;
    let linger = Duration::from_secs(seconds.into());
    let spec = |call, to| CallSpec { linger, ..CallSpec::new(call, to, Duration::from_secs(seconds.into())) };
    room.gateways[0].call(now, spec(1, "+4930123"));
    room.gateways[0].call(now, CallSpec { hangup: Role::Callee, ..spec(2, "gw1") });
    room.gateways[1].call(now, spec(3, "gw0"));
    room.controller.call(now, CallSpec { hangup: Role::Callee, ..spec(4, "gw1") });
    room.controller.call(now, spec(5, "gw0"));
    room.run(Duration::from_secs(120));
    (1..=5).for_each(|number| room.assert_two_way(number, seconds * 50));
    room.assert_clean();
}

#[test]
fn calls_go_both_ways_in_every_direction() {
    for language in LANGUAGES {
        let mut room = Room::new(language, 0, 0, 1);
        assert_eq!(room.controller.gateways(), 2, "{language:?}");
        calls_in_every_direction(&mut room, 1);
    }
}

#[test]
fn a_bad_line_changes_nothing_but_the_time_it_takes() {
    for language in LANGUAGES {
        for seed in 0..20 {
            let mut room = Room::new(language, 20, 20, seed);
            calls_in_every_direction(&mut room, 20);
        }
    }
}

#[test]
fn on_hold_nothing_is_heard() {
    for language in LANGUAGES {
        let mut room = Room::new(language, 0, 0, 2);
        let now = room.now;
        let spec =
            |call, to| CallSpec { script: Script::Hold, ..CallSpec::new(call, to, Duration::from_secs(4)) };
        room.gateways[0].call(now, spec(1, "+4930123"));
        room.gateways[0].call(now, spec(2, "gw1"));
        room.controller.call(now, spec(3, "gw1"));
        room.run(Duration::from_secs(60));
        for number in 1..=3 {
            let ended = room.ended(number);
            let story = &ended[&Role::Caller].1;
            assert_eq!(
                (story.offers, story.on_hold),
                (2, Some(0)),
                "{language:?} {number}: {:?}",
                room.events
            );
        }
        room.assert_clean();
    }
}

#[test]
fn calls_that_do_not_come_about_leave_nothing() {
    for language in LANGUAGES {
        let mut room = Room::new(language, 10, 10, 3);
        let now = room.now;
        let slow = Some(Duration::from_secs(20));
        let cancelled =
            |call, to| CallSpec { script: Script::Cancel, answer_after: slow, ..second_long(call, to) };
        room.gateways[0].call(now, cancelled(1, "gw1"));
        room.gateways[0].call(now, cancelled(2, "+4930123"));
        room.gateways[0].call(now, CallSpec { script: Script::Busy, ..second_long(3, "gw1") });
        room.controller.call(now, CallSpec { script: Script::Busy, ..second_long(4, "gw1") });
        room.controller.call(now, cancelled(6, "gw0"));
        room.gateways[1].call(now, second_long(5, "gw7"));
        room.run(Duration::from_secs(60));
        let failed = |call, status| {
            let event = |event: &Event| *event == Event::CallFailed { call, role: Role::Caller, status };
            room.seen(event) > 0
        };
        for (call, status) in [(1, 487), (2, 487), (3, 486), (4, 486), (5, 404), (6, 487)] {
            assert!(failed(call, status), "{language:?} {call}: {:?}", room.events);
        }
        room.gateways[1].hang_up(now, 5);
        room.run(Duration::from_secs(60));
        room.assert_clean();
    }
}

#[test]
fn a_gateway_that_leaves_takes_its_calls_along() {
    for language in LANGUAGES {
        let mut room = Room::new(language, 0, 0, 4);
        let now = room.now;
        room.gateways[0].call(now, CallSpec { talk: None, ..second_long(1, "gw1") });
        room.run(Duration::from_secs(5));
        assert_eq!(room.seen(|event| matches!(event, Event::CallAnswered { .. })), 2);
        let now = room.now;
        room.gateways[1].unregister(now);
        room.run(Duration::from_secs(60));
        assert_eq!(room.ended(1).len(), 2, "{:?}", room.events);
        assert_eq!(room.controller.calls() + room.gateways[0].calls(), 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for language in LANGUAGES {
        let run = || {
            let mut room = Room::new(language, 20, 20, 9);
            calls_in_every_direction(&mut room, 20);
            room.events
        };
        assert_eq!(run(), run());
    }
}
