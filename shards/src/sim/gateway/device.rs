//! A media gateway with a private address, and the telephones at its lines.

use super::super::endpoint::{Endpoint, Event, Out, Role, Subscriber};
use super::super::leak::Watch;
use super::super::media::Media;
use super::super::ports::Ports;
use super::super::spec::{Answering, CallSpec, Script};
use super::desk::{Desk, Heard};
use super::dial;
use super::exchange::{Asker, Repeats};
use super::language::Language;
use super::line::{Act, Line};
use super::order::{Answer, Method, Mode, Order, Seen, Signal, What};
use crate::realm::PortRange;
use crate::types::{Instant, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// A restart that was refused is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// No longer than this in all.
const RESTARTING: Duration = Duration::from_secs(30);
/// A command that takes a while takes this long.
const WHILE: Duration = Duration::from_millis(30);
/// One connection in so many takes a while.
const SLOW: u64 = 6;
/// For so long a gateway is in service, as far as it knows.
const SERVICE: Duration = Duration::from_secs(3600);

/// What a gateway is.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// What it speaks.
    pub language: Language,
    /// What carries it.
    pub transport: Transport,
    /// Its own signaling address.
    pub address: SocketAddr,
    /// Where it believes its controller to be: Portolan's access address.
    pub controller: SocketAddr,
    /// Its name, where its protocol gives it one (MGCP: the domain of its endpoints).
    pub name: String,
    /// Its number among all gateways, from 0: what others dial.
    pub number: u32,
    /// Its lines.
    pub lines: u16,
    /// Its ports for audio.
    pub media: PortRange,
    /// How its telephones are answered.
    pub answering: Answering,
    /// Retransmission times.
    pub repeats: Repeats,
    /// Addresses that it must never see: the core's.
    pub watch: Watch,
}

impl GatewayConfig {
    /// Gateway `number` at `address` behind `controller`, named by its own address, with eight lines and sixteen pairs of
    /// audio ports from 16384 on.
    pub fn new(language: Language, number: u32, address: SocketAddr, controller: SocketAddr) -> Self {
        Self {
            language,
            transport: Transport::Udp,
            address,
            controller,
            name: language.name(&format!("[{}]", address.ip())),
            number,
            lines: 8,
            media: PortRange { first: 16_384, last: 16_415 },
            answering: Answering::default(),
            repeats: Repeats::default(),
            watch: Watch::default(),
        }
    }
}

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    desk: Desk<Asked>,
    lines: Vec<Line>,
    ports: Ports,
    service: Service,
    /// When the last restart was begun.
    began: Instant,
    /// When a refused restart is tried again.
    retry: Option<(Instant, Method)>,
    /// Answers that take a while.
    later: Vec<(Instant, Asker, Order, Answer)>,
    next_connection: u32,
}

/// Is it in service?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// It never was.
    New,
    /// It has restarted.
    In,
    /// It goes, or is gone: it hears nothing any more.
    Out,
}

/// What a command of ours was for.
#[derive(Clone, Debug)]
enum Asked {
    Restart(Method),
    Notify(usize, Seen),
    Delete,
}

impl Gateway {
    /// A gateway that is not in service yet. The same seed makes the same numbers and SSRCs.
    pub fn new(config: GatewayConfig, seed: [u8; 32]) -> Self {
        let place = (config.address, config.transport.is_reliable());
        let mut desk = Desk::new(config.language, place, config.repeats, config.watch.clone(), seed);
        desk.me.clone_from(&config.name);
        let lines = (1..=config.lines).map(|n| Line::new(format!("{}{n}", config.language.line())));
        Self {
            desk,
            lines: lines.collect(),
            ports: Ports::new(config.media),
            config,
            service: Service::New,
            began: Instant::ZERO,
            retry: None,
            later: Vec::new(),
            next_connection: 0,
        }
    }

    fn restart(&mut self, now: Instant, method: Method) {
        self.retry = None;
        let what = What::Restart { method, number: Some(self.config.number) };
        self.say(now, self.config.language.all(), Asked::Restart(method), what);
    }

    /// Give a command to the controller.
    fn say(&mut self, now: Instant, line: String, asked: Asked, what: What) {
        let entity = self.lines.iter().find(|one| one.name == line).and_then(|one| one.entity.clone());
        let order = Order { name: self.config.name.clone(), line, entity, confirmed: Vec::new(), what };
        self.desk.ask(now, self.config.controller, asked, order);
    }

    fn notify(&mut self, now: Instant, at: usize, seen: Vec<Seen>) {
        let (line, request) = (self.lines[at].name.clone(), self.lines[at].request);
        let connection = self.lines[at].connection.as_ref().map(|one| one.id.clone());
        let last = seen.last().cloned().unwrap_or(Seen::OnHook);
        self.lines[at].guarded |= last == Seen::OnHook;
        self.say(now, line, Asked::Notify(at, last), What::Notify { request, seen, connection });
    }

    fn answered(&mut self, now: Instant, asked: Asked, answer: &Answer) {
        if let Asked::Notify(at, Seen::OnHook) = asked {
            self.lines[at].guarded = false;
        }
        match asked {
            Asked::Restart(method) => self.restarted(now, method, answer.code),
            Asked::Notify(at, seen) if !answer.is_good() => self.unheard(now, at, &seen, answer.code),
            Asked::Notify(..) | Asked::Delete => {}
        }
    }

    fn restarted(&mut self, now: Instant, method: Method, code: u16) {
        if method == Method::Forced {
            self.desk.event(Event::Unregistered);
        } else if (200..300).contains(&code) {
            let after = now.since(self.began);
            self.desk.event(Event::Registered { after, expires: SERVICE });
        } else if now.since(self.began) < RESTARTING {
            self.retry = Some((now + RETRY, method));
        } else {
            self.desk.event(Event::RegisterFailed { status: code });
        }
    }

    /// Nobody hears what happens at a line.
    fn unheard(&mut self, now: Instant, at: usize, seen: &Seen, status: u16) {
        let line = &mut self.lines[at];
        match (seen, &line.connection) {
            (Seen::OffHook | Seen::Digits(_), None) => {
                if let Some(spec) = line.dial.take() {
                    line.off_hook = false;
                    let (call, role) = (spec.call, Role::Caller);
                    self.desk.event(Event::CallFailed { call, role, status });
                }
            }
            (Seen::Flash, Some(connection)) => {
                let call = connection.spec.call;
                self.desk.event(Event::Reinvited { call, status });
            }
            (Seen::OnHook, Some(_)) => self.give_up(now, at),
            _ => {}
        }
    }

    /// We end a connection ourselves (RFC 3435 section 2.3.7).
    fn give_up(&mut self, now: Instant, at: usize) {
        let Some(connection) = &self.lines[at].connection else { return };
        let (number, id, line) = (connection.spec.call, connection.id.clone(), self.lines[at].name.clone());
        let counts = self.disconnect(now, at);
        let what = What::Delete { number: Some(number), connection: Some(id), counts };
        self.say(now, line, Asked::Delete, what);
    }

    fn ordered(&mut self, now: Instant, key: Asker, order: &Order) {
        if self.service == Service::Out {
            return;
        }
        if let Err(why) = self.config.language.judge(&self.config.name, order, self.config.controller) {
            self.desk.wrong(why);
        }
        let all = order.line.contains('*');
        for line in self.lines.iter_mut().filter(|line| all || line.name == order.line) {
            line.entity = order.entity.clone().or_else(|| line.entity.take());
        }
        let answer = self.obey(now, order);
        let slow = matches!(order.what, What::Create { .. }) && self.desk.one_in(SLOW);
        if slow && answer.is_good() {
            self.desk.pend(key);
            self.later.push((now + WHILE, key, order.clone(), answer));
        } else {
            self.desk.answer(now, key, order, &answer, false);
        }
        self.afterwards(now, order);
    }

    /// What follows from a command, once it is answered.
    fn afterwards(&mut self, now: Instant, order: &Order) {
        for at in 0..self.lines.len() {
            let line = &mut self.lines[at];
            if line.connection.is_none() && line.dial.is_none() && line.off_hook {
                line.off_hook = false;
                self.notify(now, at, vec![Seen::OnHook]);
            } else if let What::Watch { digits: true, .. } = order.what
                && line.name == order.line
                && line.off_hook
                && let Some(digits) = line.dial.as_ref().map(dial::digits)
                && !std::mem::replace(&mut line.dialled, true)
            {
                self.notify(now, at, vec![Seen::Digits(digits)]);
            }
        }
    }

    fn obey(&mut self, now: Instant, order: &Order) -> Answer {
        match &order.what {
            What::Audit => {
                self.desk.event(Event::Probed);
                Answer::code(200)
            }
            What::Watch { request, signal, .. } => self.watch(now, order, *request, *signal),
            What::Create { number, call, mode, remote } => {
                let spec = CallSpec { call: *number, ..CallSpec::read(call, "") };
                self.create(now, order, spec, *mode, remote.as_deref())
            }
            What::Modify { connection, mode, remote, .. } => {
                self.modify(now, order, connection, *mode, remote.as_deref())
            }
            What::Delete { number, connection, .. } => {
                self.delete(now, order, *number, connection.as_deref())
            }
            What::Restart { .. } | What::Notify { .. } => Answer::code(504),
        }
    }

    fn watch(&mut self, now: Instant, order: &Order, request: u32, signal: Option<Signal>) -> Answer {
        let all = order.line.contains('*');
        let after = self.config.answering.answer_after;
        let mut known = false;
        for line in self.lines.iter_mut().filter(|line| all || line.name == order.line) {
            line.request = request;
            line.sound(now, signal, after, &mut self.desk.post.out);
            known = true;
        }
        Answer::code(if known { 200 } else { 500 })
    }

    fn create(
        &mut self,
        now: Instant,
        order: &Order,
        spec: CallSpec,
        mode: Mode,
        remote: Option<&str>,
    ) -> Answer {
        let any = order.line.contains('$');
        let wanted = |line: &Line| {
            if any { line.is_idle() } else { line.name == order.line && line.connection.is_none() }
        };
        let Some(at) = self.lines.iter().position(wanted) else {
            return Answer::code(if any { 403 } else { 500 });
        };
        if !any && self.lines[at].dial.is_none() {
            return Answer::code(402);
        }
        self.desk.event(Event::CallIncoming { call: spec.call });
        if any && (self.config.answering.refuse.is_some() || spec.script == Script::Busy) {
            return Answer::code(401);
        }
        let Some(port) = self.ports.take(at as u32) else { return Answer::code(403) };
        let local = SocketAddr::new(self.config.address.ip(), port);
        self.desk.post.out.extend([Out::Open(local), Out::Open(SocketAddr::new(local.ip(), port + 1))]);
        let caller = self.lines[at].dial.is_some();
        let media = Media::new(spec.call, (caller, 0), local, spec.packets(), &mut self.desk.post.rng);
        self.next_connection += 1;
        let id = self.config.language.connection(self.next_connection);
        self.lines[at].connect(now, id.clone(), spec, media);
        let answer = self.modify_line(now, at, mode, remote);
        let line = any.then(|| self.lines[at].name.clone());
        Answer { line, connection: Some(id), local: self.described(at), ..answer }
    }

    fn described(&mut self, at: usize) -> Option<String> {
        self.lines[at].connection.as_mut().map(super::line::Connection::local)
    }

    fn modify(&mut self, now: Instant, order: &Order, id: &str, mode: Mode, remote: Option<&str>) -> Answer {
        let Some(at) = self.connected(order, Some(id), None).first().copied() else {
            return Answer::code(515);
        };
        let answer = self.modify_line(now, at, mode, remote);
        let local = if self.desk.one_in(3) { self.described(at) } else { None };
        Answer { local, ..answer }
    }

    fn modify_line(&mut self, now: Instant, at: usize, mode: Mode, remote: Option<&str>) -> Answer {
        let result = self.lines[at].modify(now, mode, remote, &mut self.desk.post.out);
        match result {
            Ok(()) => Answer::code(200),
            Err(why) => {
                self.desk.wrong(format!("{why} in {remote:?}"));
                Answer::code(505)
            }
        }
    }

    fn delete(&mut self, now: Instant, order: &Order, number: Option<u32>, id: Option<&str>) -> Answer {
        let lines = self.connected(order, id, number);
        if lines.is_empty() {
            return Answer::code(515);
        }
        let counts: Vec<_> = lines.iter().filter_map(|&at| self.disconnect(now, at)).collect();
        Answer { counts: counts.first().copied().filter(|_| counts.len() == 1), ..Answer::code(250) }
    }

    /// The lines whose connections are meant.
    fn connected(&self, order: &Order, id: Option<&str>, number: Option<u32>) -> Vec<usize> {
        let (all, language) = (order.line.contains('*'), self.config.language);
        let meant = |line: &Line| {
            (all || line.name == order.line)
                && line.connection.as_ref().is_some_and(|one| {
                    id.is_none_or(|id| language.is_meant(id, &one.id))
                        && number.is_none_or(|number| one.spec.call == number)
                })
        };
        (0..self.lines.len()).filter(|&at| meant(&self.lines[at])).collect()
    }

    fn disconnect(&mut self, now: Instant, at: usize) -> Option<super::order::Counts> {
        let (local, call, counts) = self.lines[at].disconnect(now, &mut self.desk.post.out)?;
        self.ports.release(local.port(), call);
        let rtcp = SocketAddr::new(local.ip(), local.port() + 1);
        self.desk.post.out.extend([Out::Close(local), Out::Close(rtcp)]);
        Some(counts)
    }

    /// RTP or RTCP at one of our ports.
    fn media(&mut self, now: Instant, port: u16, from: SocketAddr, bytes: &[u8]) {
        let even = port & !1;
        let line = self.ports.owner(even).and_then(|at| self.lines.get_mut(at as usize));
        let event = match line.and_then(|line| line.connection.as_mut()) {
            _ if bytes.is_empty() => return,
            Some(connection) => connection.media.receive(now, port != even, from, bytes),
            None if self.ports.is_late(port, bytes) => return,
            None => Event::Misdelivered { call: None, from },
        };
        self.desk.event(event);
    }

    fn act(&mut self, now: Instant, at: usize) {
        for act in self.lines[at].tick(now, &mut self.desk.post.out) {
            match act {
                Act::HangUp => self.lay_down(now, at),
                Act::Flash => self.notify(now, at, vec![Seen::Flash]),
                Act::Listen => self.lines[at].listen(),
            }
        }
        let line = &mut self.lines[at];
        if line.answer_at.is_some_and(|due| due <= now) {
            (line.answer_at, line.off_hook) = (None, true);
            self.notify(now, at, vec![Seen::OffHook]);
        }
    }

    fn lay_down(&mut self, now: Instant, at: usize) {
        let given_up = self.lines[at].dial.as_ref().map(|spec| spec.call);
        let lifted = self.lines[at].lay_down(now);
        let line = &self.lines[at];
        if line.connection.is_none()
            && let Some(call) = given_up
        {
            self.desk.event(Event::CallFailed { call, role: Role::Caller, status: 487 });
        }
        let seen = if lifted { vec![Seen::OnHook] } else { vec![Seen::OffHook, Seen::OnHook] };
        self.notify(now, at, seen);
    }

    fn at(&self, call: u32) -> Option<usize> {
        self.lines.iter().position(|line| line.serves(call))
    }

    fn answer_later(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, ..)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, Asker, Order, Answer)> = due;
        for (_, key, order, answer) in due {
            self.desk.answer(now, key, &order, &answer, true);
        }
    }
}

impl Subscriber for Gateway {
    fn address(&self) -> SocketAddr {
        self.desk.local()
    }

    /// The first time it restarts; later it was out of reach, and keeps its calls.
    fn register(&mut self, now: Instant) {
        self.began = now;
        let method = if self.service == Service::New { Method::Restart } else { Method::Disconnected };
        self.service = Service::In;
        self.restart(now, method);
    }

    fn unregister(&mut self, now: Instant) {
        self.service = Service::Out;
        (0..self.lines.len()).for_each(|at| {
            self.disconnect(now, at);
        });
        self.restart(now, Method::Forced);
    }

    fn call(&mut self, now: Instant, spec: CallSpec) {
        let call = spec.call;
        match self.lines.iter().rposition(Line::is_idle) {
            Some(at) => {
                self.lines[at].lift(now, spec);
                self.notify(now, at, vec![Seen::OffHook]);
            }
            None => self.desk.event(Event::CallFailed { call, role: Role::Caller, status: 600 }),
        }
    }

    fn hang_up(&mut self, now: Instant, call: u32) {
        if let Some(at) = self.at(call) {
            self.lay_down(now, at);
        }
    }

    fn hold(&mut self, now: Instant, call: u32, _: bool) {
        let up = |at: &usize| self.lines[*at].connection.as_ref().is_some_and(super::line::Connection::is_up);
        if let Some(at) = self.at(call).filter(up) {
            self.notify(now, at, vec![Seen::Flash]);
        }
    }

    fn calls(&self) -> usize {
        self.lines.iter().filter(|line| !line.is_idle()).count()
    }
}

impl Endpoint for Gateway {
    fn handle(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if local.port() != self.config.address.port() {
            return self.media(now, local.port(), from, bytes);
        }
        if self.service == Service::New {
            return;
        }
        for heard in self.desk.receive(now, from, bytes) {
            match heard {
                Heard::Order(key, order) => self.ordered(now, key, &order),
                Heard::Answer(asked, answer) => self.answered(now, asked, &answer),
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for asked in self.desk.timeout(now) {
            self.answered(now, asked, &Answer::code(408));
        }
        self.answer_later(now);
        if let Some((_, method)) = self.retry.filter(|(at, _)| *at <= now) {
            self.restart(now, method);
        }
        (0..self.lines.len()).for_each(|at| self.act(now, at));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lines = self.lines.iter().filter_map(Line::poll_timeout).min();
        let later = self.later.iter().map(|(at, ..)| *at).min();
        [self.desk.poll_timeout(), lines, later, self.retry.map(|(at, _)| at)].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Out> {
        self.desk.post.out.pop_front()
    }
}
