//! One thread that gives the endpoints their sockets, their time and their orders.

use crate::pace::Pace;
use crate::plan::{Direction, Plan};
use crate::report::{Generator, Report};
use crate::sockets::{DATAGRAM, Owner, Sockets};
use crate::streams::{Heard, Streams, What};
use crate::tally::Tally;
use crate::terminals::{Terminals, seed, user};
use crate::timers::Timers;
use crate::tls::Contexts;
use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use portolan_shards::realm::PortRange;
use portolan_shards::sim::plan::Speech;
use portolan_shards::sim::{
    Answering, CallSpec, Controller, ControllerConfig, Endpoint, Event, Kind, Ladder, Lane, Language, Out,
    Role, Script, Softswitch, SoftswitchConfig, Switch, Watch,
};
use portolan_shards::types::{Instant, Proto, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// How often the live view is told, and expired mappings are looked for.
const LOOK: Duration = Duration::from_millis(250);
/// A registration that has not come about after this long has failed.
const REGISTERING: Duration = Duration::from_secs(35);
/// An abandoned call may take its other end this long: an ACK that never comes, then a BYE that is never answered, 32
/// seconds each (RFC 3261 sections 13.3.1.4 and 17.1.2).
const ABANDONED: Duration = Duration::from_secs(75);
/// The softswitch among the endpoints; terminal n is n + 1.
const SOFTSWITCH: usize = 0;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Terminals register.
    Registering,
    /// Terminals are registered, and kept reachable.
    Resting,
    /// Calls are made.
    Calling,
    /// The last calls end.
    Ending,
    /// All is over.
    Over,
}

/// A look at a run while it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Since its start.
    pub elapsed: Duration,
    /// Terminals registered.
    pub registered: u32,
    /// Calls begun.
    pub attempted: u32,
    /// Calls answered.
    pub answered: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that are not over.
    pub open: u32,
    /// Audio packets received.
    pub received: u64,
    /// Audio packets lost in the calls that are over.
    pub lost: u64,
}

/// Do what the plan says; `progress` is told four times a second.
///
/// # Errors
/// The sockets of the softswitch or of a terminal cannot be bound, or polling fails.
pub fn run(plan: &Plan, mut progress: impl FnMut(&Progress)) -> anyhow::Result<Report> {
    if let Some(core) = plan.pin {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
    }
    let mut engine = Engine::new(plan)?;
    engine.register(&mut progress)?;
    engine.call(&mut progress)?;
    engine.end(&mut progress)?;
    Ok(engine.report())
}

struct Engine<'a> {
    plan: &'a Plan,
    epoch: std::time::Instant,
    sockets: Sockets,
    streams: Streams,
    heard: Vec<Heard>,
    terminals: Terminals,
    softswitch: Box<dyn Switch>,
    timers: Timers,
    tally: Tally,
    ladder: Ladder,
    phase: Phase,
    next_look: Instant,
    ready: Vec<usize>,
    buffer: Vec<u8>,
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan) -> anyhow::Result<Self> {
        for transport in [plan.transport, plan.core_transport] {
            plan.speech.carried_by(transport).map_err(anyhow::Error::msg)?;
        }
        if let Some(kind) = plan.stranger() {
            bail!("gateways know no call of kind {kind}");
        }
        let terminals = Terminals::new(plan);
        let lateness = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        let sockets = Sockets::new().context("cannot poll")?;
        let mut engine = Self {
            plan,
            epoch: std::time::Instant::now(),
            streams: Streams::new(
                sockets.registry().context("cannot poll")?,
                contexts(plan)?,
                plan.speech.proto() == Proto::H248,
            ),
            heard: Vec::new(),
            sockets,
            timers: Timers::new(terminals.all.len() + 1, lateness),
            terminals,
            softswitch: switch(plan),
            tally: Tally::new(plan)?,
            ladder: Ladder::of(plan.speech, plan.ladder),
            phase: Phase::Registering,
            next_look: Instant::ZERO,
            ready: Vec::new(),
            buffer: vec![0; DATAGRAM],
        };
        engine.open_signaling()?;
        Ok(engine)
    }

    /// The softswitch's own address must be had; so must the terminals', where they have no NAT.
    fn open_signaling(&mut self) -> anyhow::Result<()> {
        let address = self.plan.softswitch;
        let listening = match self.plan.core_transport {
            Transport::Udp => self.sockets.bind(address, Owner::Softswitch).map(drop),
            transport => self.streams.listen(address, transport, SOFTSWITCH),
        };
        listening.with_context(|| format!("cannot listen on {address}"))?;
        (0..=self.terminals.all.len()).for_each(|endpoint| self.drain(endpoint, Instant::ZERO));
        Ok(())
    }

    fn register(&mut self, progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<()> {
        let (first, all) = (self.plan.datagrams.min(self.plan.registrations), self.plan.registrations);
        if first > 0 {
            self.register_some(0, first, progress)?;
            self.rest(progress)?;
        }
        self.register_some(first, all - first, progress)?;
        self.tally.keepalives.begin(self.now());
        self.rest(progress)?;
        self.tally.keepalives.end(self.now());
        Ok(())
    }

    fn rest(&mut self, progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<()> {
        self.phase = Phase::Resting;
        let end = self.now() + self.plan.rest;
        while self.now() < end {
            self.turn(Some(end), progress)?;
        }
        Ok(())
    }

    fn register_some(
        &mut self,
        first: u32,
        count: u32,
        progress: &mut dyn FnMut(&Progress),
    ) -> anyhow::Result<()> {
        self.phase = Phase::Registering;
        let start = self.now();
        let mut pace = Pace::new(start, self.plan.register_rate, count);
        let end = start + REGISTERING + Duration::from_secs_f64(f64::from(count) / self.plan.register_rate);
        while self.tally.registered() + self.tally.register_failures < first + count && self.now() < end {
            let now = self.now();
            while let Some(index) = pace.due(now) {
                self.tally.registering();
                let terminal = (first + index) as usize;
                self.terminals.all[terminal].register(now);
                self.drain(terminal + 1, now);
            }
            self.turn(pace.next(), progress)?;
        }
        Ok(())
    }

    fn call(&mut self, progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<()> {
        self.phase = Phase::Calling;
        let mut pace = Pace::new(self.now(), self.plan.rate, self.plan.calls);
        let limit = self.plan.concurrent.unwrap_or(u32::MAX);
        while let Some(next) = pace.next() {
            let now = self.now();
            while self.tally.open() < limit
                && let Some(index) = pace.due(now)
            {
                self.start_call(now, index);
            }
            let wait = if self.tally.open() < limit { next } else { now + LOOK };
            self.turn(Some(wait), progress)?;
        }
        Ok(())
    }

    fn end(&mut self, progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<()> {
        self.phase = Phase::Ending;
        let plan = self.plan;
        let talk = plan.talk.max(plan.scenario.longest_talk()) * 2;
        let patience = if plan.scenario.abandons() { ABANDONED } else { plan.patience };
        let end = self.now() + plan.answer_after + talk + plan.linger + patience;
        while self.tally.open() > 0 && self.now() < end {
            self.turn(None, progress)?;
        }
        self.tally.give_up();
        // Answers that are still due: a BYE's 200 may be on its way to the other end.
        let settle = self.now() + Duration::from_millis(300);
        while self.now() < settle {
            self.turn(Some(settle), progress)?;
        }
        self.phase = Phase::Over;
        progress(&self.progress());
        Ok(())
    }

    fn report(&self) -> Report {
        let generator = Generator {
            limited: self.timers.limited(),
            latest_ms: self.timers.latest().as_secs_f64() * 1e3,
            send_failed: self.sockets.refused,
            connections: self.streams.len() as u64,
            connections_lost: self.tally.closed,
        };
        self.tally.report(generator, self.now(), self.ladder.render())
    }

    fn start_call(&mut self, now: Instant, index: u32) {
        let number = index + 1;
        let entry = self.plan.scenario.entry(index);
        let direction = entry.direction(self.plan.mix.direction(index));
        self.tally.calling(number, direction, entry.kind);
        let round = index / self.plan.mix.weights.iter().sum::<u32>().max(1);
        let (caller, callee) = self.pair(direction, round);
        let to = if direction == Direction::ToTrunk { self.plan.trunk_number.clone() } else { user(callee) };
        let spec = CallSpec {
            linger: self.plan.linger,
            hangup: hangup(number, entry.kind),
            rtp: self.plan.rtp,
            answer_after: entry.ring(),
            script: entry.kind,
            refer_to: self.third(direction, callee),
            ..CallSpec::new(number, to, entry.talk().unwrap_or(self.plan.talk))
        };
        let endpoint = if direction == Direction::FromTrunk { SOFTSWITCH } else { caller as usize + 1 };
        match endpoint {
            SOFTSWITCH => self.softswitch.call(now, spec),
            terminal => self.terminals.all[terminal - 1].call(now, spec),
        }
        self.drain(endpoint, now);
    }

    /// Whom a callee may be referred to: a terminal calls the trunk, the trunk a terminal.
    fn third(&self, direction: Direction, callee: u32) -> String {
        match direction {
            Direction::ToTrunk => user((callee + 1) % self.plan.registrations.max(1)),
            _ => self.plan.trunk_number.clone(),
        }
    }

    /// Caller and callee among the terminals, taken in turn.
    fn pair(&self, direction: Direction, round: u32) -> (u32, u32) {
        let (count, per_nat) = (self.plan.registrations.max(1), self.plan.per_nat.max(1));
        let caller = (round * 7 + direction as u32) % count;
        let first = caller / per_nat * per_nat;
        let callee = match direction {
            Direction::SameNat => first + (caller + 1 - first) % per_nat.min(count - first),
            Direction::OtherNat => (caller + per_nat) % count,
            Direction::FromTrunk | Direction::ToTrunk => caller,
        };
        (caller, callee)
    }

    /// Do what is due, then wait for datagrams until the next moment or `until`, and take them.
    fn turn(&mut self, until: Option<Instant>, progress: &mut dyn FnMut(&Progress)) -> anyhow::Result<()> {
        let now = self.now();
        while let Some(endpoint) = self.timers.due(now) {
            self.endpoint(endpoint).handle_timeout(now);
            self.drain(endpoint, now);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.terminals.expire(now, &mut self.sockets);
            progress(&self.progress());
        }
        let next = [self.timers.next(), until, Some(self.next_look)].into_iter().flatten().min();
        let wait = next.map_or(LOOK, |at| at.since(self.now()));
        let mut ready = std::mem::take(&mut self.ready);
        self.sockets.wait(wait, &mut ready).context("cannot poll")?;
        ready.drain(..).for_each(|key| self.read(key));
        self.ready = ready;
        Ok(())
    }

    fn read(&mut self, key: usize) {
        if Streams::owns(key) {
            return self.read_stream(key);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some((length, local, from, owner)) = self.sockets.receive(key, &mut buffer) {
            self.arrived(local, from, owner, &buffer[..length]);
        }
        self.buffer = buffer;
    }

    fn arrived(&mut self, local: SocketAddr, from: SocketAddr, owner: Owner, bytes: &[u8]) {
        let now = self.now();
        let (endpoint, local) = match owner {
            Owner::Softswitch => (SOFTSWITCH, local),
            Owner::Terminal(index) => (index as usize + 1, local),
            Owner::Nat(nat) => match self.terminals.inbound(now, nat, local, from) {
                Some((terminal, inside)) => (terminal as usize + 1, inside),
                None => return,
            },
        };
        if local == self.plan.softswitch
            || (endpoint != SOFTSWITCH && local.port() == self.plan.speech.access_port())
        {
            self.ladder.see(now, lane(endpoint), false, from, bytes);
        }
        self.endpoint(endpoint).handle(now, local, from, bytes);
        self.drain(endpoint, now);
    }

    fn read_stream(&mut self, key: usize) {
        let mut heard = std::mem::take(&mut self.heard);
        self.streams.ready(key, &mut heard);
        for Heard { endpoint, peer, what } in heard.drain(..) {
            match what {
                What::Message(bytes) => self.told(endpoint, peer, &bytes),
                What::Ping => {
                    let now = self.now();
                    self.tally.note(now, endpoint.checked_sub(1), Event::Probed);
                }
                What::Closed => self.tally.closed += 1,
            }
        }
        self.heard = heard;
    }

    /// A message came by a connection.
    fn told(&mut self, endpoint: usize, peer: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let local = match endpoint {
            SOFTSWITCH => self.plan.softswitch,
            terminal => self.terminals.all[terminal - 1].address(),
        };
        self.ladder.see(now, lane(endpoint), false, peer, bytes);
        self.endpoint(endpoint).handle(now, local, peer, bytes);
        self.drain(endpoint, now);
    }

    fn drain(&mut self, endpoint: usize, now: Instant) {
        while let Some(out) = self.endpoint(endpoint).poll_output() {
            match out {
                Out::Send { local, to, bytes, kind } => self.send(endpoint, now, (local, to), &bytes, kind),
                Out::Event(event) => self.tally.note(now, endpoint.checked_sub(1), event),
                Out::Open(address) => self.open(endpoint, address),
                Out::Close(address) => self.sockets.close(address),
            }
        }
        let next = self.endpoint(endpoint).poll_timeout();
        self.timers.set(endpoint, next);
    }

    fn send(
        &mut self,
        endpoint: usize,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        bytes: &[u8],
        kind: Kind,
    ) {
        let (local, to) = path;
        if kind == Kind::Signaling {
            self.ladder.see(now, lane(endpoint), true, to, bytes);
            let transport = self.transport(endpoint);
            if transport.is_reliable() {
                return self.write((endpoint, transport), to, bytes);
            }
        }
        let public = match endpoint {
            SOFTSWITCH => Some(local),
            terminal => self.terminals.outbound(now, terminal as u32 - 1, local, to, &mut self.sockets),
        };
        match public {
            Some(public) => self.sockets.send(public, to, bytes),
            None => self.sockets.refused += 1,
        }
    }

    fn write(&mut self, who: (usize, Transport), to: SocketAddr, bytes: &[u8]) {
        let from = match who.0 {
            SOFTSWITCH => SocketAddr::new(self.plan.softswitch.ip(), 0),
            terminal => self.terminals.outside(terminal as u32 - 1),
        };
        self.sockets.refused += u64::from(self.streams.send(who, from, to, bytes).is_err());
    }

    fn transport(&self, endpoint: usize) -> Transport {
        match endpoint {
            SOFTSWITCH => self.plan.core_transport,
            terminal => self.plan.transport_of(terminal as u32 - 1),
        }
    }

    /// Sockets behind a NAT come with their mappings; all others are bound here. One that cannot be bound shows as
    /// refused sends and failed calls.
    fn open(&mut self, endpoint: usize, address: SocketAddr) {
        let owner = match endpoint {
            SOFTSWITCH if address == self.plan.softswitch => return,
            SOFTSWITCH => Owner::Softswitch,
            _ if self.terminals.behind_nat() => return,
            terminal
                if address.port() == self.plan.speech.access_port()
                    && self.transport(terminal).is_reliable() =>
            {
                return;
            }
            terminal => Owner::Terminal(terminal as u32 - 1),
        };
        self.sockets.refused += u64::from(self.sockets.bind(address, owner).is_err());
    }

    fn endpoint(&mut self, endpoint: usize) -> &mut dyn Endpoint {
        match endpoint {
            SOFTSWITCH => &mut *self.softswitch,
            terminal => &mut *self.terminals.all[terminal - 1],
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            phase: self.phase,
            elapsed: self.epoch.elapsed(),
            registered: self.tally.registered(),
            attempted: self.tally.attempted,
            answered: self.tally.answered,
            failed: self.tally.failed,
            open: self.tally.open(),
            received: self.tally.rtp.received_live,
            lost: self.tally.rtp.lost,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.epoch.elapsed().as_nanos() as u64)
    }
}

/// Both ends hang up in turn; a caller that loses power does not, and one that refers waits for the outcome.
const fn hangup(number: u32, kind: Script) -> Role {
    match kind {
        Script::Abandon(_) => Role::Callee,
        _ if number % 2 == 1 => Role::Caller,
        Script::Refer => Role::Caller,
        _ => Role::Callee,
    }
}

fn contexts(plan: &Plan) -> anyhow::Result<Contexts> {
    let secure = |transport: Transport| transport == Transport::Tls;
    let core = secure(plan.core_transport);
    Contexts::load(&plan.tls, core || secure(plan.transport), core)
}

fn switch(plan: &Plan) -> Box<dyn Switch> {
    match plan.speech {
        Speech::Sip => Box::new(softswitch(plan)),
        Speech::Gateways(language) => Box::new(controller(plan, language)),
    }
}

fn controller(plan: &Plan, language: Language) -> Controller {
    let config = ControllerConfig {
        gateways: plan.core.and_then(|core| language.shared(core)),
        media: TRUNK,
        answering: Answering { answer_after: plan.answer_after, ..Answering::default() },
        watch: Watch::new(plan.secret_from_core()),
        transport: plan.core_transport,
        ..ControllerConfig::new(language, plan.softswitch)
    };
    Controller::new(config, seed(plan, u64::MAX))
}

/// Ports of the trunk's audio.
const TRUNK: PortRange = PortRange { first: 10_000, last: 29_999 };

fn softswitch(plan: &Plan) -> Softswitch {
    let config = SoftswitchConfig {
        domain: plan.domain.clone(),
        challenge: plan.challenge,
        media: TRUNK,
        answering: Answering { answer_after: plan.answer_after, ..Answering::default() },
        watch: Watch::new(plan.secret_from_core()),
        transport: plan.core_transport,
        ..SoftswitchConfig::new(plan.softswitch)
    };
    Softswitch::new(config, seed(plan, u64::MAX))
}

const fn lane(endpoint: usize) -> Lane {
    match endpoint {
        SOFTSWITCH => Lane::Core,
        _ => Lane::Access,
    }
}
