//! Who controls gateways: MGCP's call agent, H.248's media gateway controller. It connects lines to each other and to a
//! trunk of its own.

use super::super::endpoint::{Endpoint, Event, Out, Role, Switch};
use super::super::leak::Watch;
use super::super::media::Media;
use super::super::ports::Ports;
use super::super::spec::{Answering, CallSpec, Script};
use super::call::{Act, Call, End, Leg, Phase, State, Step, other};
use super::desk::{Desk, Heard};
use super::dial;
use super::exchange::{Asker, Repeats};
use super::language::Language;
use super::order::{Answer, Method, Mode, Order, Seen, Signal, What};
use super::trunk::Trunk;
use crate::realm::PortRange;
use crate::types::{Instant, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long it rings before a trunk that gives up does so.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// What a controller is.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// What it speaks.
    pub language: Language,
    /// What carries it.
    pub transport: Transport,
    /// Its signaling address.
    pub address: SocketAddr,
    /// Where it may send what is for gateways, besides where they send from; `None`: nowhere else.
    pub gateways: Option<SocketAddr>,
    /// Ports of the trunk's audio, on its own address.
    pub media: PortRange,
    /// How the trunk answers.
    pub answering: Answering,
    /// Retransmission times.
    pub repeats: Repeats,
    /// Addresses that it must never see: the gateways' private ones and their NATs' public ones.
    pub watch: Watch,
}

impl ControllerConfig {
    /// A controller at `address`, with audio ports from 20000 on.
    pub fn new(language: Language, address: SocketAddr) -> Self {
        Self {
            language,
            transport: Transport::Udp,
            address,
            gateways: None,
            media: PortRange { first: 20_000, last: 39_999 },
            answering: Answering::default(),
            repeats: Repeats::default(),
            watch: Watch::default(),
        }
    }
}

/// A controller.
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    desk: Desk<Asked>,
    gateways: BTreeMap<u32, Known>,
    /// Gateways by the name that they have here.
    names: BTreeMap<String, u32>,
    calls: BTreeMap<u32, Call>,
    ports: Ports,
    next_request: u32,
}

/// A gateway.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    at: SocketAddr,
}

/// What a command of ours was for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Watch,
    Create(u32, Role),
    Modify(u32, Role),
    Delete(u32, Role),
}

impl Controller {
    /// A controller that knows no gateway yet. The same seed makes the same numbers and SSRCs.
    pub fn new(config: ControllerConfig, seed: [u8; 32]) -> Self {
        let place = (config.address, config.transport.is_reliable());
        let desk = Desk::new(config.language, place, config.repeats, config.watch.clone(), seed);
        let ports = Ports::new(config.media);
        let (gateways, names, calls, next_request) = Default::default();
        Self { config, desk, gateways, names, calls, ports, next_request }
    }

    /// Calls that it leads now.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Gateways that are in service.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Give a command to a gateway.
    fn say(&mut self, now: Instant, gateway: u32, line: String, asked: Asked, what: What) {
        let Some(known) = self.gateways.get(&gateway).cloned() else {
            return self.answered(now, asked, &Answer::code(500));
        };
        let own = self.config.language.entity(self.config.address);
        let entity = if self.desk.one_in(3) { own } else { None };
        let reach = self.config.language.reach(&known.name).filter(|_| !self.config.transport.is_reliable());
        let ours = self.config.gateways.or(reach).filter(|_| self.desk.one_in(2));
        let order = Order { name: known.name, line, entity, confirmed: Vec::new(), what };
        self.desk.ask(now, ours.unwrap_or(known.at), asked, order);
    }

    fn take(&mut self, now: Instant, step: Option<Step>, asked: impl FnOnce(Role) -> Asked) -> bool {
        let Some(Step { gateway, line, role, what }) = step else { return false };
        self.say(now, gateway, line, asked(role), what);
        true
    }

    fn ordered(&mut self, now: Instant, from: SocketAddr, key: Asker, order: &Order) {
        let own = self.config.language.entity(self.config.address);
        if order.entity.is_some()
            && order.entity != own
            && !self.config.language.is_ours(order, self.config.address)
        {
            self.desk.wrong(format!("{:?} is no entity of ours", order.entity));
        }
        let known = self.names.get(&order.name).copied();
        match &order.what {
            What::Restart { method, number } => {
                self.restarted(now, from, key, order, *method, number.or(known));
            }
            What::Notify { seen, .. } => {
                let Some(gateway) = known else {
                    return self.desk.answer(now, key, order, &Answer::code(500), false);
                };
                self.desk.answer(now, key, order, &Answer::code(200), false);
                if let Some(known) = self.gateways.get_mut(&gateway) {
                    known.at = from;
                }
                seen.iter().for_each(|seen| self.saw(now, gateway, &order.line, seen));
            }
            What::Delete { .. } => {
                let code = if known.is_some() { 200 } else { 500 };
                self.desk.answer(now, key, order, &Answer::code(code), false);
                known.into_iter().for_each(|gateway| self.deleted_there(now, gateway, order));
            }
            _ => self.desk.answer(now, key, order, &Answer::code(504), false),
        }
    }

    /// A gateway has ended a connection by itself.
    fn deleted_there(&mut self, now: Instant, gateway: u32, order: &Order) {
        let What::Delete { number, connection, .. } = &order.what else { return };
        let there = |end: &End| match end {
            End::Line(leg) => leg.gateway == gateway && leg.connection == *connection,
            End::Trunk(_) => false,
        };
        let mut calls = self.calls.iter().filter(|(_, call)| call.ends.iter().any(there));
        let found = number.or_else(|| calls.next().map(|(&number, _)| number));
        found.into_iter().for_each(|call| self.end(now, call, Some(408)));
    }

    fn restarted(
        &mut self,
        now: Instant,
        from: SocketAddr,
        key: Asker,
        order: &Order,
        method: Method,
        number: Option<u32>,
    ) {
        let code = if number.is_some() { 200 } else { 500 };
        self.desk.answer(now, key, order, &Answer::code(code), false);
        let Some(number) = number else { return };
        if method != Method::Disconnected {
            self.lost(now, number);
        }
        if method == Method::Forced {
            return;
        }
        let known = Known { name: order.name.clone(), at: from };
        self.names.insert(known.name.clone(), number);
        self.gateways.insert(number, known);
        self.watch(now, number, self.config.language.all(), false, None);
    }

    /// The calls of a gateway are over.
    fn lost(&mut self, now: Instant, gateway: u32) {
        let of =
            |call: &Call| call.ends.iter().any(|end| matches!(end, End::Line(leg) if leg.gateway == gateway));
        let lost: Vec<u32> = self.calls.iter().filter(|(_, call)| of(call)).map(|(&call, _)| call).collect();
        lost.into_iter().for_each(|call| self.end(now, call, Some(500)));
    }

    /// Tell what happens at a line.
    fn watch(&mut self, now: Instant, gateway: u32, line: String, digits: bool, signal: Option<Signal>) {
        let request = self.request();
        let what = What::Watch { request, digits, signal, connection: None };
        self.say(now, gateway, line, Asked::Watch, what);
    }

    const fn request(&mut self) -> u32 {
        self.next_request += 1;
        self.next_request
    }

    /// Something has happened at a line.
    fn saw(&mut self, now: Instant, gateway: u32, line: &str, seen: &Seen) {
        let at = |call: &Call| call.role_at(gateway, line).map(|role| (call.spec.call, role));
        let found = self.calls.values().filter(|call| call.phase != Phase::Ending).find_map(at);
        match (seen, found) {
            (Seen::OffHook, None) => self.watch(now, gateway, line.to_owned(), true, Some(Signal::DialTone)),
            (Seen::OffHook, Some((call, Role::Callee))) => self.lifted(now, call),
            (Seen::OnHook, Some((call, role))) => self.laid_down(now, call, role),
            (Seen::Flash, Some((call, role))) => self.flash(now, call, role),
            (Seen::Digits(digits), None) => match dial::call(digits) {
                Some(spec) => self.dialled(now, gateway, line, spec),
                None => self.desk.wrong(format!("{digits} were dialled")),
            },
            _ => {}
        }
    }

    fn dialled(&mut self, now: Instant, gateway: u32, line: &str, spec: CallSpec) {
        let caller = End::Line(Leg::new(gateway, line.to_owned()));
        let Some(callee) = self.callee(&spec) else {
            let (call, role) = (spec.call, Role::Caller);
            return self.desk.event(Event::CallFailed { call, role, status: 404 });
        };
        self.begin(now, spec, [caller, callee]);
    }

    /// Whom a call is for: `None` when nobody has the number.
    fn callee(&mut self, spec: &CallSpec) -> Option<End> {
        let Some(number) = dial::callee(&spec.to) else { return self.trunk(spec, Role::Callee) };
        let known = self.gateways.contains_key(&number);
        known.then(|| End::Line(Leg::new(number, self.config.language.any())))
    }

    fn trunk(&mut self, spec: &CallSpec, role: Role) -> Option<End> {
        let local = SocketAddr::new(self.config.address.ip(), self.ports.take(spec.call)?);
        self.desk
            .post
            .out
            .extend([Out::Open(local), Out::Open(SocketAddr::new(local.ip(), local.port() + 1))]);
        let caller = role == Role::Caller;
        let media = Media::new(spec.call, (caller, 0), local, spec.packets(), &mut self.desk.post.rng);
        Some(End::Trunk(Box::new(Trunk::new(spec, role, media))))
    }

    fn begin(&mut self, now: Instant, spec: CallSpec, ends: [End; 2]) {
        let listens = self.desk.one_in(3);
        let mode = if listens { Mode::RecvOnly } else { Mode::Inactive };
        let number = spec.call;
        let mut call = Call::new(now, spec, ends, mode);
        let step = call.create(Role::Caller);
        self.calls.insert(number, call);
        if !self.take(now, step, |role| Asked::Create(number, role)) {
            self.create_callee(now, number);
        }
    }

    fn create_callee(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.phase = Phase::Creating(Role::Callee);
        let step = call.create(Role::Callee);
        if !self.take(now, step, |role| Asked::Create(number, role)) {
            self.ring(now, number);
        }
    }

    fn ring(&mut self, now: Instant, number: u32) {
        let request = self.request();
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.phase = Phase::Ringing;
        if call.leg(Role::Callee).is_none() {
            let after = call.spec.answer_after.unwrap_or(self.config.answering.answer_after);
            call.agenda.push((now + after, Act::Answer));
        }
        if call.leg(Role::Caller).is_none() && call.spec.script == Script::Cancel {
            call.agenda.push((now + IMPATIENCE, Act::HangUp));
        }
        let busy = call.spec.script == Script::Busy && call.leg(Role::Callee).is_none();
        let back = call.sound(Role::Caller, Signal::RingBack, request);
        let ring = call.sound(Role::Callee, Signal::Ring, request);
        if busy {
            return self.end(now, number, Some(486));
        }
        self.take(now, ring, |_| Asked::Watch);
        self.take(now, back, |_| Asked::Watch);
    }

    /// The callee has answered.
    fn lifted(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.phase == Phase::Ringing) else {
            return;
        };
        call.phase = Phase::Opening;
        let step = call.modify(Role::Callee, Mode::SendRecv, false);
        if !self.take(now, step, |role| Asked::Modify(number, role)) {
            self.connect(now, number);
        }
    }

    fn connect(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.phase = Phase::Connecting;
        let step = call.modify(Role::Caller, Mode::SendRecv, true);
        if !self.take(now, step, |role| Asked::Modify(number, role)) {
            self.up(now, number);
        }
    }

    fn up(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.phase = Phase::Up;
        let setup = now.since(call.started);
        let local = [Role::Callee, Role::Caller].map(|role| call.local(role));
        let mut wrong = None;
        for (end, remote) in call.ends.iter_mut().zip(local) {
            if let (End::Trunk(trunk), Some(remote)) = (end, remote) {
                wrong = trunk.describe(now, &remote).err();
                trunk.start(now, setup, &mut self.desk.post.out);
                trunk.tick(now, &mut self.desk.post.out);
            }
        }
        call.plot(now);
        wrong.into_iter().for_each(|why| self.desk.wrong(why));
    }

    fn flash(&mut self, now: Instant, number: u32, role: Role) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.phase = match call.phase {
            Phase::Up => Phase::Holding(role, true, 0),
            Phase::Held(by) if by == role => Phase::Holding(role, false, 0),
            _ => return,
        };
        self.hold(now, number);
    }

    /// The next step into hold, or out of it: who is held falls silent first, and speaks last.
    fn hold(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Phase::Holding(by, hold, done) = call.phase else { return };
        if done == 2 {
            call.phase = if hold { Phase::Held(by) } else { Phase::Up };
            return;
        }
        call.phase = Phase::Holding(by, hold, done + 1);
        let held = (done == 0) == hold;
        let role = if held { other(by) } else { by };
        let mode = match (hold, held) {
            (false, _) => Mode::SendRecv,
            (true, true) => Mode::RecvOnly,
            (true, false) => Mode::SendOnly,
        };
        if let End::Trunk(trunk) = call.end_mut(role) {
            match held {
                true => trunk.media.hold(now, hold),
                false => trunk.holds(now, hold, &mut self.desk.post.out),
            }
            return self.hold(now, number);
        }
        let step = call.modify(role, mode, false);
        self.take(now, step, |role| Asked::Modify(number, role));
    }

    fn laid_down(&mut self, now: Instant, number: u32, role: Role) {
        let Some(call) = self.calls.get(&number) else { return };
        // A line that talks already tells by itself that its call is over.
        let talking =
            call.leg(Role::Caller).is_some() && matches!(call.phase, Phase::Opening | Phase::Connecting);
        let begun =
            matches!(call.phase, Phase::Creating(_) | Phase::Ringing | Phase::Opening | Phase::Connecting);
        let failed = begun && !talking;
        let status = if role == Role::Caller { 487 } else { 603 };
        self.end(now, number, failed.then_some(status));
    }

    /// A call is over, or (`status`) did not come about.
    fn end(&mut self, now: Instant, number: u32, status: Option<u16>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.phase == Phase::Ending {
            return;
        }
        call.phase = Phase::Ending;
        call.agenda.clear();
        let (call_number, role) = (number, Role::Caller);
        for end in &mut call.ends {
            if let End::Trunk(trunk) = end {
                trunk.finish(now, &mut self.desk.post.out);
            }
        }
        let steps = [Role::Caller, Role::Callee].map(|role| call.delete(role));
        if let Some(status) = status {
            self.desk.event(Event::CallFailed { call: call_number, role, status });
        }
        for step in steps {
            self.take(now, step, |role| Asked::Delete(number, role));
        }
        self.bury(number);
    }

    /// Forget a call of which nothing is left.
    fn bury(&mut self, number: u32) {
        if !self.calls.get(&number).is_some_and(Call::is_gone) {
            return;
        }
        let Some(gone) = self.calls.remove(&number) else { return };
        for end in gone.ends {
            if let End::Trunk(trunk) = end {
                let local = trunk.media.local;
                self.ports.release(local.port(), number);
                let rtcp = SocketAddr::new(local.ip(), local.port() + 1);
                self.desk.post.out.extend([Out::Close(local), Out::Close(rtcp)]);
            }
        }
    }

    fn answered(&mut self, now: Instant, asked: Asked, answer: &Answer) {
        match asked {
            Asked::Watch => {}
            Asked::Create(call, role) => self.created(now, call, role, answer),
            Asked::Modify(call, role) => self.modified(now, call, role, answer),
            Asked::Delete(call, role) => self.deleted(call, role, answer),
        }
    }

    fn created(&mut self, now: Instant, number: u32, role: Role, answer: &Answer) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.created(role, answer);
        if call.phase == Phase::Ending {
            let step = call.delete(role);
            self.take(now, step, |role| Asked::Delete(number, role));
            return self.bury(number);
        }
        if !answer.is_good() {
            let status = if answer.code == 401 { 486 } else { answer.code };
            return self.end(now, number, Some(status));
        }
        match role {
            Role::Caller => self.create_callee(now, number),
            Role::Callee => self.ring(now, number),
        }
    }

    fn modified(&mut self, now: Instant, number: u32, role: Role, answer: &Answer) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.phase != Phase::Ending) else {
            return;
        };
        if !answer.is_good() {
            let up = matches!(call.phase, Phase::Holding(..));
            return self.end(now, number, (!up).then_some(answer.code));
        }
        if let Some(leg) = call.leg_mut(role)
            && answer.local.is_some()
        {
            leg.local.clone_from(&answer.local);
        }
        match call.phase {
            Phase::Opening => self.connect(now, number),
            Phase::Connecting => self.up(now, number),
            Phase::Holding(..) => self.hold(now, number),
            _ => {}
        }
    }

    fn deleted(&mut self, number: u32, role: Role, answer: &Answer) {
        if let Some(leg) = self.calls.get_mut(&number).and_then(|call| call.leg_mut(role)) {
            leg.state = State::Gone;
        }
        let what = What::Delete { number: None, connection: None, counts: None };
        let method = self.config.language.verb(&what).to_owned();
        self.desk.event(Event::Answered { method, status: answer.code });
        self.bury(number);
    }

    fn act(&mut self, now: Instant, number: u32) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        for end in &mut call.ends {
            if let End::Trunk(trunk) = end {
                trunk.tick(now, &mut self.desk.post.out);
            }
        }
        for act in call.due(now) {
            match act {
                Act::Answer => self.lifted(now, number),
                Act::HangUp => self.hang_up(now, number),
                Act::Flash => self.flash(now, number, Role::Caller),
            }
        }
    }

    /// RTP or RTCP at one of the trunk's ports.
    fn media(&mut self, now: Instant, port: u16, from: SocketAddr, bytes: &[u8]) {
        let even = port & !1;
        let call = self.ports.owner(even).and_then(|call| self.calls.get_mut(&call));
        let trunk = call.and_then(|call| {
            call.ends.iter_mut().find_map(|end| match end {
                End::Trunk(trunk) if trunk.media.local.port() == even => Some(trunk),
                _ => None,
            })
        });
        let event = match trunk {
            _ if bytes.is_empty() => return,
            Some(trunk) => trunk.media.receive(now, port != even, from, bytes),
            None if self.ports.is_late(port, bytes) => return,
            None => Event::Misdelivered { call: None, from },
        };
        self.desk.event(event);
    }
}

impl Switch for Controller {
    /// The trunk calls a gateway.
    fn call(&mut self, now: Instant, spec: CallSpec) {
        let (number, role) = (spec.call, Role::Caller);
        let callee = self.callee(&spec).filter(|end| matches!(end, End::Line(_)));
        let caller = self.trunk(&spec, role).filter(|_| callee.is_some());
        match caller.zip(callee) {
            Some((caller, callee)) => self.begin(now, spec, [caller, callee]),
            None => self.desk.event(Event::CallFailed { call: number, role, status: 404 }),
        }
    }

    fn hang_up(&mut self, now: Instant, call: u32) {
        if let Some(role) = self.calls.get(&call).and_then(Call::trunk) {
            self.laid_down(now, call, role);
        }
    }

    fn hold(&mut self, now: Instant, call: u32, _: bool) {
        if let Some(role) = self.calls.get(&call).and_then(Call::trunk) {
            self.flash(now, call, role);
        }
    }
}

impl Endpoint for Controller {
    fn handle(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if local.port() != self.config.address.port() {
            return self.media(now, local.port(), from, bytes);
        }
        for heard in self.desk.receive(now, from, bytes) {
            match heard {
                Heard::Order(key, order) => self.ordered(now, from, key, &order),
                Heard::Answer(asked, answer) => self.answered(now, asked, &answer),
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for asked in self.desk.timeout(now) {
            self.answered(now, asked, &Answer::code(408));
        }
        let due = |call: &Call| call.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<u32> =
            self.calls.iter().filter(|(_, call)| due(call)).map(|(&number, _)| number).collect();
        due.into_iter().for_each(|number| self.act(now, number));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(Call::poll_timeout).min();
        [self.desk.poll_timeout(), calls].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Out> {
        self.desk.post.out.pop_front()
    }
}
