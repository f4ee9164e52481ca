//! A whole world under virtual time: Portolan's shards, their mesh, the network with its NATs, terminals, a softswitch
//! and attackers. One seed decides everything, and the same seed gives the same run to the last bit.

use super::announced::contains;
use super::attack;
use super::cast;
use super::clock::Clock;
use super::endpoint::{Endpoint, Out, Role, Subscriber, Switch};
use super::judge::{Judge, Tally};
use super::machine::{Effect, Machine};
use super::net::{Datagram, Zone};
use super::plan::{Action, Change, Plan, Speech, Who, Without, part};
use super::spec::CallSpec;
use super::topology::{self, Party, SIP, Topology, party};
use super::trace::Trace;
use crate::io::Crossing;
use crate::limits::PORT_RESERVE;
use crate::random::Rng;
use crate::types::{Instant, ShardId, Side};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often the judge looks at all calls.
const LOOK: Duration = Duration::from_millis(250);
/// Everybody gone, this much later nothing is left: transactions, setup, idle media, registrations and keepalive.
const AFTERWARDS: Duration = Duration::from_secs(1_000);
/// The same with gateways, which are remembered for an hour when they do not answer.
const LONG_AFTERWARDS: Duration = Duration::from_secs(9_000);
/// Gateways hang up, and leave so much later.
const GOODBYE: Duration = Duration::from_secs(40);
/// More events than this are a storm.
const STORM: u64 = 3_000_000;

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Equal for two runs of one seed.
    pub digest: u64,
    /// Events in the digest.
    pub events: u64,
    /// What was exercised.
    pub tally: Tally,
    /// The rules that were broken, and when.
    pub broken: Vec<(Instant, String)>,
    /// The last lines of the trace, if they were kept.
    pub trace: Vec<String>,
}

/// Run the world that `seed` stands for to its end, and keep the last `lines` lines of the trace.
pub fn run(seed: u64, without: Without, lines: usize) -> Outcome {
    run_of(Speech::Sip, seed, without, lines)
}

/// The same among those who speak so.
pub fn run_of(speech: Speech, seed: u64, without: Without, lines: usize) -> Outcome {
    let mut world = World::new(Plan::of(speech, seed, without), lines);
    if world.play() {
        world.nothing_left();
    } else {
        world.judge.blame(world.clock.now(), "given up".into());
    }
    world.finish()
}

enum Event {
    Arrive { zone: Zone, datagram: Datagram },
    Cross { to: ShardId, crossing: Crossing },
    Wake(Actor),
    Act(Action),
    Spray { attacker: usize, sequence: u16, left: u16 },
    Look,
    End,
    Leave,
}

/// Whoever has timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    Shard(ShardId),
    Person(Who),
}

struct World {
    plan: Plan,
    clock: Clock<Event>,
    topology: Topology,
    machine: Machine,
    softswitch: Box<dyn Switch>,
    terminals: Vec<Box<dyn Subscriber>>,
    judge: Judge,
    trace: Trace,
    mesh_rng: Rng,
    attack_rng: Rng,
    alarms: BTreeMap<Actor, Instant>,
    /// When the last crossing of a pair of shards arrives: the mesh keeps order.
    mesh: BTreeMap<(ShardId, ShardId), Instant>,
    blamed: usize,
}

impl World {
    fn new(plan: Plan, lines: usize) -> Self {
        let topology = Topology::new(&plan);
        let mapping = Arc::new(topology::mapping(&plan));
        let machine = Machine::new(mapping, plan.busy, part(plan.seed, "machine"), Instant::ZERO);
        let mut world = Self {
            softswitch: cast::switch(&plan),
            terminals: cast::subscribers(&plan, &topology),
            judge: Judge::new(&plan),
            trace: Trace::new(lines),
            mesh_rng: part(plan.seed, "mesh"),
            attack_rng: part(plan.seed, "attack"),
            clock: Clock::default(),
            alarms: BTreeMap::new(),
            mesh: BTreeMap::new(),
            blamed: 0,
            topology,
            machine,
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for (at, action) in std::mem::take(&mut self.plan.script) {
            self.clock.at(at, Event::Act(action));
        }
        self.clock.after(LOOK, Event::Look);
        self.clock.at(self.plan.end, Event::End);
        self.machine.ids().for_each(|shard| self.arm(Actor::Shard(shard)));
    }

    /// Play to the end; `false` when there was so much wrong, or so much going on, that it was given up.
    fn play(&mut self) -> bool {
        let limit =
            self.plan.end + if self.plan.speech == Speech::Sip { AFTERWARDS } else { LONG_AFTERWARDS };
        let mut events = 0;
        while let Some(event) = self.clock.advance(limit) {
            self.happen(event);
            self.hear_machine();
            events += 1;
            if events > STORM || self.judge.broken().len() > 20 {
                return false;
            }
        }
        true
    }

    fn finish(mut self) -> Outcome {
        let now = self.clock.now();
        self.judge.finish(now);
        Outcome {
            digest: self.trace.digest(),
            events: self.trace.events(),
            tally: self.judge.tally(),
            broken: self.judge.broken().to_vec(),
            trace: self.trace.lines().map(str::to_owned).collect(),
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Arrive { zone, datagram } => self.arrive(now, zone, datagram),
            Event::Cross { to, crossing } => {
                self.trace.note(
                    now,
                    crossing.kind().as_bytes(),
                    format_args!("mesh -> {to:?} {}", crossing.kind()),
                );
                let effects = self.machine.cross(now, to, crossing);
                self.effects(now, effects);
                self.arm(Actor::Shard(to));
            }
            Event::Wake(actor) => self.wake(now, actor),
            Event::Act(action) => self.act(now, action),
            Event::Spray { attacker, sequence, left } => self.spray(now, attacker, sequence, left),
            Event::Look => {
                self.judge.look(now);
                if now < self.plan.end {
                    self.clock.after(LOOK, Event::Look);
                }
            }
            Event::End => self.end(now),
            Event::Leave => self.leave(now),
        }
    }

    /// A datagram comes out of the line.
    fn arrive(&mut self, now: Instant, zone: Zone, datagram: Datagram) {
        let Some((host, datagram)) = self.topology.net.receive(now, zone, datagram) else { return };
        self.note(now, &datagram);
        match party(host) {
            Party::Portolan => {
                let attacker = self.topology.attackers.contains(&datagram.from.ip());
                if attacker && self.machine.used_ports().contains(&datagram.to) {
                    self.judge.attacked();
                }
                let effects = self.machine.receive(now, datagram);
                self.effects(now, effects);
                self.machine.ids().for_each(|shard| self.arm(Actor::Shard(shard)));
            }
            Party::Softswitch => self.deliver(now, Who::Trunk, &datagram),
            Party::Phone(phone) => self.deliver(now, Who::Phone(phone), &datagram),
            Party::Attacker(_) if datagram.to.port() != SIP => {
                self.judge.blame(now, format!("media bled to {} from {}", datagram.to, datagram.from));
            }
            Party::Attacker(_) => {}
        }
    }

    fn deliver(&mut self, now: Instant, who: Who, datagram: &Datagram) {
        if self.judge.vanished(who) {
            return;
        }
        if datagram.to.port() != SIP && contains(&datagram.bytes, attack::MARK) {
            self.judge.blame(now, format!("{who:?} at {} was injected from {}", datagram.to, datagram.from));
        }
        self.person(who).handle(now, datagram.to, datagram.from, &datagram.bytes);
        self.attend(now, who);
    }

    fn person(&mut self, who: Who) -> &mut dyn Endpoint {
        match who {
            Who::Phone(n) => &mut *self.terminals[n],
            Who::Trunk => &mut *self.softswitch,
        }
    }

    /// Let an endpoint say what it has to say.
    fn attend(&mut self, now: Instant, who: Who) {
        while let Some(out) = self.person(who).poll_output() {
            match out {
                Out::Send { local, to, bytes, .. } => {
                    let datagram = Datagram { from: local, to, bytes: bytes.to_vec() };
                    let zone = match who {
                        Who::Phone(n) => self.topology.phones[n].0,
                        Who::Trunk => self.topology.core,
                    };
                    self.send(now, zone, datagram);
                }
                Out::Event(event) => self.saw(now, who, &event),
                Out::Open(_) | Out::Close(_) => {}
            }
        }
        self.arm(Actor::Person(who));
    }

    fn saw(&mut self, now: Instant, who: Who, event: &super::Event) {
        match event {
            super::Event::RtpReceived { .. } | super::Event::RtcpReceived { .. } => {}
            super::Event::CallEnded { call, role, media, .. } => {
                let (sent, received) = (media.sent, media.received);
                self.trace.say(
                    now,
                    format_args!("  {who:?}: {role:?} of {call} ended, {sent} sent, {received} received"),
                );
            }
            _ => self.trace.say(now, format_args!("  {who:?}: {event:?}")),
        }
        self.judge.saw(now, who, event);
    }

    fn effects(&mut self, now: Instant, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { side, media, datagram } => {
                    let zone = match side {
                        Side::Access => self.topology.internet,
                        Side::Core => self.topology.core,
                    };
                    if media && self.topology.attackers.contains(&datagram.to.ip()) {
                        self.judge
                            .blame(now, format!("media bled to {} from {}", datagram.to, datagram.from));
                    }
                    self.send(now, zone, datagram);
                }
                Effect::Cross { from, to, crossing } => self.carry(now, from, to, crossing),
            }
        }
    }

    /// The mesh delays, but keeps the order of each pair.
    fn carry(&mut self, now: Instant, from: ShardId, to: ShardId, crossing: Crossing) {
        let delay = Duration::from_nanos(self.mesh_rng.below(self.plan.mesh.as_nanos() as u64 + 1));
        let last = self.mesh.entry((from, to)).or_default();
        *last = (*last).max(now + delay);
        self.clock.at(*last, Event::Cross { to, crossing });
    }

    fn send(&mut self, now: Instant, zone: Zone, datagram: Datagram) {
        for arrival in self.topology.net.send(now, zone, datagram) {
            let (zone, datagram) = (arrival.zone, arrival.datagram);
            self.clock.after(arrival.delay, Event::Arrive { zone, datagram });
        }
    }

    fn note(&mut self, now: Instant, datagram: &Datagram) {
        let Datagram { from, to, bytes } = datagram;
        let ports = [SIP, self.plan.speech.access_port(), self.plan.speech.core_port()];
        let signaling =
            ports.contains(&from.port()) || ports.contains(&to.port()) || (6_000..6_300).contains(&to.port());
        if signaling {
            let text = bytes[..bytes.len().min(2_000)].escape_ascii().to_string().replace("\\r\\n", "\n    ");
            self.trace.note(now, bytes, format_args!("{from} -> {to}\n    {text}"));
        } else {
            self.trace.note(now, bytes, format_args!("{from} -> {to} {} octets", bytes.len()));
        }
    }

    fn arm(&mut self, actor: Actor) {
        let next = match actor {
            Actor::Shard(shard) => self.machine.alarm(shard),
            Actor::Person(who) if self.judge.vanished(who) => None,
            Actor::Person(who) => self.person(who).poll_timeout(),
        };
        let Some(next) = next.map(|at| at.max(self.clock.now())) else { return };
        if self.alarms.get(&actor).is_none_or(|&set| next < set) {
            self.alarms.insert(actor, next);
            self.clock.at(next, Event::Wake(actor));
        }
    }

    fn wake(&mut self, now: Instant, actor: Actor) {
        if self.alarms.get(&actor) != Some(&now) {
            return;
        }
        self.alarms.remove(&actor);
        match actor {
            Actor::Shard(shard) => {
                if self.machine.alarm(shard).is_some_and(|at| at <= now) {
                    let effects = self.machine.wake(now, shard);
                    self.effects(now, effects);
                    if self.machine.alarm(shard).is_some_and(|at| at <= now) {
                        self.judge.blame(now, format!("{shard:?} wants to be woken again at once"));
                    }
                }
                self.arm(actor);
            }
            Actor::Person(who) if self.judge.vanished(who) => {}
            Actor::Person(who) => {
                self.person(who).handle_timeout(now);
                self.attend(now, who);
            }
        }
    }

    fn act(&mut self, now: Instant, action: Action) {
        self.trace.say(now, format_args!("* {action:?}"));
        match action {
            Action::Register(phone) => self.with_phone(now, phone, |phone, now| phone.register(now)),
            Action::Vanish(phone) => self.judge.vanished_now(phone),
            Action::Rebind(site) => {
                let nats = self.topology.nats[site].clone();
                nats.into_iter().for_each(|nat| self.topology.net.forget(nat));
                self.judge.rebound(now, site);
            }
            Action::Call { call, from, to } => self.call(now, call, from, to),
            Action::HangUp { call, by } => self.hang_up(now, call, by),
            Action::Hold { call, by, hold } => self.hold(now, call, by, hold),
            Action::Spray { attacker, packets } => self.spray(now, attacker, 0, packets),
            Action::Garbage { attacker, salt } => {
                let from = SocketAddr::new(self.topology.attackers[attacker], SIP);
                let speech = self.plan.speech;
                let to = SocketAddr::new(topology::ACCESS, speech.access_port());
                let bytes = match speech {
                    Speech::Sip => attack::signaling(salt),
                    Speech::Gateways(language) => attack::gateway(language, salt),
                };
                self.send(now, self.topology.internet, Datagram { from, to, bytes });
            }
            Action::Reload(change) => self.reload(now, change),
        }
    }

    fn with_phone(&mut self, now: Instant, phone: usize, act: impl FnOnce(&mut dyn Subscriber, Instant)) {
        let who = Who::Phone(phone);
        if !self.judge.vanished(who) {
            act(&mut *self.terminals[phone], now);
            self.attend(now, who);
        }
    }

    fn call(&mut self, now: Instant, call: u32, from: Who, to: Who) {
        if self.judge.vanished(from) {
            return;
        }
        self.judge.calls(now, call, from, to);
        let callee = match to {
            Who::Phone(n) => cast::user(n),
            Who::Trunk => "+4930123456".into(),
        };
        let spec = CallSpec { talk: None, ..CallSpec::new(call, callee, Duration::ZERO) };
        match from {
            Who::Phone(n) => self.terminals[n].call(now, spec),
            Who::Trunk => self.softswitch.call(now, spec),
        }
        self.attend(now, from);
    }

    fn hang_up(&mut self, now: Instant, call: u32, by: Role) {
        let Some(who) = self.judge.who(call, by).filter(|&who| !self.judge.vanished(who)) else { return };
        self.judge.hangs_up(call);
        match who {
            Who::Phone(n) => self.terminals[n].hang_up(now, call),
            Who::Trunk => self.softswitch.hang_up(now, call),
        }
        self.attend(now, who);
    }

    fn hold(&mut self, now: Instant, call: u32, by: Role, hold: bool) {
        let Some(who) = self.judge.who(call, by).filter(|&who| !self.judge.vanished(who)) else { return };
        if !self.judge.holds(call, by, hold) {
            return;
        }
        match who {
            Who::Phone(n) => self.terminals[n].hold(now, call, hold),
            Who::Trunk => self.softswitch.hold(now, call, hold),
        }
        self.attend(now, who);
    }

    fn reload(&mut self, now: Instant, change: Change) {
        let mapping = Arc::new(topology::changed(self.machine.mapping(), change));
        let effects = self.machine.reload(now, &mapping);
        self.effects(now, effects);
        self.machine.ids().for_each(|shard| self.arm(Actor::Shard(shard)));
    }

    /// One packet to an open port of the access side, mostly one that is in use, and the next one soon.
    fn spray(&mut self, now: Instant, attacker: usize, sequence: u16, left: u16) {
        let there = |at: &SocketAddr| at.ip() == topology::ACCESS;
        let mut open: Vec<SocketAddr> = self.machine.used_ports().iter().copied().filter(there).collect();
        if open.is_empty() || self.attack_rng.below(4) == 0 {
            open = self.machine.open_ports().filter(there).collect();
        }
        if left == 0 || open.is_empty() {
            return;
        }
        let to = open[self.attack_rng.below(open.len() as u64) as usize];
        let port = 40_000 + self.attack_rng.below(4) as u16;
        let from = SocketAddr::new(self.topology.attackers[attacker], port);
        let bytes = attack::media(&mut self.attack_rng, sequence, attacker as u32);
        self.send(now, self.topology.internet, Datagram { from, to, bytes });
        let next = Event::Spray { attacker, sequence: sequence.wrapping_add(1), left: left - 1 };
        self.clock.after(Duration::from_millis(5), next);
    }

    /// Everybody hangs up and leaves.
    fn end(&mut self, now: Instant) {
        self.trace.say(now, format_args!("* everybody leaves"));
        for call in self.judge.all_calls() {
            for by in [Role::Caller, Role::Callee] {
                self.hang_up(now, call, by);
            }
        }
        match self.plan.speech {
            Speech::Sip => self.leave(now),
            // A gateway that leaves forgets its calls: first they shall end as they should.
            Speech::Gateways(_) => self.clock.after(GOODBYE, Event::Leave),
        }
    }

    fn leave(&mut self, now: Instant) {
        for phone in 0..self.terminals.len() {
            let calls = self.terminals[phone].calls();
            let ended = self.plan.speech == Speech::Sip || self.judge.vanished(Who::Phone(phone));
            if calls > 0 && !ended {
                self.judge.blame(now, format!("gateway {phone} still has {calls} calls"));
            }
            self.with_phone(now, phone, |phone, now| phone.unregister(now));
        }
    }

    fn hear_machine(&mut self) {
        let now = self.clock.now();
        let broken = self.machine.broken();
        for what in &broken[self.blamed..] {
            self.judge.blame(now, what.clone());
        }
        self.blamed = broken.len();
    }

    /// Long after everybody has left: no session, port, transaction or binding, and no media ever crossed.
    fn nothing_left(&mut self) {
        let now = self.clock.now();
        for shard in self.machine.ids() {
            let stats = self.machine.stats(shard);
            let left = [
                ("sessions", stats.sessions),
                ("ports", stats.ports),
                ("transactions", stats.transactions),
                ("bindings", stats.bindings),
                ("media crossings", stats.crossings_media),
            ];
            for (what, count) in left.into_iter().filter(|&(_, count)| count > 0) {
                self.judge.blame(now, format!("{shard:?} is left with {count} {what}"));
            }
        }
        let mapping = self.machine.mapping();
        let most = mapping.realms.len() * usize::from(mapping.shards) * PORT_RESERVE * 2;
        let open = self.machine.open_ports().count();
        if open > most {
            self.judge.blame(now, format!("{open} media ports are left open; the reserve is {most}"));
        }
        for (n, terminal) in self.terminals.iter().enumerate() {
            if terminal.calls() > 0 && !self.judge.vanished(Who::Phone(n)) {
                self.judge.blame(now, format!("terminal {n} still thinks that it is in a call"));
            }
        }
    }
}
