//! All calls of one endpoint: which message, packet or moment belongs to which.

use super::call::{Call, Phase};
use super::dialog::Dialog;
use super::digest::Credentials;
use super::endpoint::{Event, Out, Role};
use super::media::Media;
use super::message::{Draft, Msg, uri_of, user_of};
use super::ports::Ports;
use super::script::Branch;
use super::spec::{Answering, CallSpec, REFERRED};
use super::stack::Stack;
use super::transaction::{Key, Lapse};
use crate::realm::PortRange;
use crate::types::Instant;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a call lasts that a REFER without further words leads to.
const TALK: Duration = Duration::from_secs(1);

/// How an endpoint makes and takes calls.
#[derive(Debug)]
pub(super) struct CallsConfig {
    /// Ports for audio, on the signaling address.
    pub(super) media: PortRange,
    pub(super) domain: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) answering: Answering,
}

#[derive(Debug)]
pub(super) struct Calls {
    config: CallsConfig,
    calls: BTreeMap<u32, Call>,
    by_id: BTreeMap<String, u32>,
    ports: Ports,
    /// Calls that a REFER wants.
    wanted: Vec<CallSpec>,
    /// Numbers of calls that somebody referred us to, and the slot of the call that it was in.
    referred: BTreeMap<u32, u32>,
    due: BinaryHeap<Reverse<(Instant, u32)>>,
    next_slot: u32,
}

/// The facts of a new call.
#[derive(Debug)]
struct Opening {
    spec: CallSpec,
    role: Role,
    dialog: Dialog,
    /// Our Contact value.
    contact: String,
}

/// Where a call of ours goes.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// User part of our own name.
    pub(super) from: &'a str,
    /// Request-URI.
    pub(super) uri: String,
    /// First hop.
    pub(super) to: SocketAddr,
}

impl Calls {
    pub(super) fn new(config: CallsConfig) -> Self {
        let (calls, by_id, wanted, referred, due, next_slot) = Default::default();
        let ports = Ports::new(config.media);
        Self { config, calls, by_id, ports, wanted, referred, due, next_slot }
    }

    /// Calls that exist at this end.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Make a call.
    pub(super) fn invite(&mut self, now: Instant, stack: &mut Stack, spec: CallSpec, target: &Target<'_>) {
        let domain = &self.config.domain;
        let local = format!("<sip:{}@{domain}>;tag={}", target.from, stack.token());
        let remote = format!("<sip:{}@{domain}>", spec.to);
        let dialog = Dialog::outbound(stack.token(), local, remote, target.uri.clone(), target.to);
        let contact = stack.contact(target.from);
        let new = Opening { spec, role: Role::Caller, dialog, contact };
        self.open(now, stack, new, |call, stack| {
            call.invite(now, stack, &target.uri, None);
        });
    }

    /// The call with this number does something.
    pub(super) fn with(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        number: u32,
        act: impl FnOnce(&mut Call, &mut Stack),
    ) {
        let slot = self.calls.iter().find(|(_, call)| call.spec.call == number).map(|(&slot, _)| slot);
        if let Some(slot) = slot {
            self.touch(now, stack, slot, act);
        }
    }

    /// A new request for one of our calls, or for a new one.
    pub(super) fn request(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        key: &Key,
        msg: &Msg,
        from: SocketAddr,
    ) {
        let slot = self.by_id.get(msg.call_id()).copied();
        match (msg.method().unwrap_or_default(), slot) {
            (_, Some(slot)) if self.is_gone(slot) => {}
            ("REFER", Some(slot)) => self.refer_arrived(now, stack, (key, slot), msg, from),
            ("NOTIFY", Some(slot)) => {
                self.answer(now, stack, key, msg, from);
                self.touch(now, stack, slot, |call, _| call.notified(msg));
            }
            ("INVITE", None) if msg.tag("To").is_none() => self.offered(now, stack, key, msg, from),
            ("INVITE", Some(slot)) if msg.tag("To").is_some() => {
                self.touch(now, stack, slot, |call, stack| call.reoffered(now, stack, key, (msg, from)));
            }
            ("BYE", Some(slot)) => {
                self.answer(now, stack, key, msg, from);
                self.touch(now, stack, slot, |call, stack| call.end(now, stack));
            }
            ("OPTIONS" | "MESSAGE" | "INFO" | "UPDATE" | "NOTIFY" | "PRACK" | "REFER", _) => {
                self.answer(now, stack, key, msg, from);
            }
            ("INVITE" | "BYE", _) => stack.answer(now, key, 481, (msg, from)),
            _ => stack.answer(now, key, 501, (msg, from)),
        }
    }

    /// An ACK of a 2xx.
    pub(super) fn acknowledged(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        if let Some(&slot) = self.by_id.get(msg.call_id()) {
            self.touch(now, stack, slot, |call, stack| call.acknowledged(now, stack));
        }
    }

    /// A CANCEL of this INVITE.
    pub(super) fn cancelled(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        if let Some(&slot) = self.by_id.get(msg.call_id()) {
            self.touch(now, stack, slot, |call, stack| call.cancelled(now, stack));
        }
    }

    /// A response to a request of ours.
    pub(super) fn response(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let (status, method) = (msg.status().unwrap_or_default(), msg.cseq().1);
        let slot = self.by_id.get(msg.call_id()).copied();
        match (method, slot) {
            (_, Some(slot)) if self.is_gone(slot) => {}
            ("INVITE", Some(slot)) => self.invite_answered(now, stack, slot, status, msg),
            ("BYE", Some(slot)) if status >= 200 => {
                stack.event(Event::Answered { method: method.into(), status });
                self.touch(now, stack, slot, |call, stack| call.end(now, stack));
            }
            ("CANCEL" | "INVITE", _) => {}
            _ if status >= 200 => stack.event(Event::Answered { method: method.into(), status }),
            _ => {}
        }
    }

    /// No answer came to a request of ours, or our 200 was never acknowledged.
    pub(super) fn lapsed(&mut self, now: Instant, stack: &mut Stack, lapse: &Lapse) {
        let slot = self.by_id.get(&lapse.call_id).copied();
        match (slot, lapse.method.as_str()) {
            (Some(slot), "INVITE" | "BYE") => {
                self.touch(now, stack, slot, |call, stack| call.lapsed(now, stack));
            }
            (_, "CANCEL") => {}
            (_, method) => stack.event(Event::Answered { method: method.into(), status: 408 }),
        }
    }

    /// RTP or RTCP at one of our media ports. The caller's first packet proves that it has our 200, even if its ACK is
    /// late: our own audio starts then.
    pub(super) fn media(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        port: u16,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        if bytes.is_empty() {
            // It keeps a NAT's mapping, and says nothing (RFC 6263 section 4.1).
            return;
        }
        let even = port & !1;
        let slot = match self.ports.owner(even) {
            Some(slot) => slot,
            None if self.ports.is_late(port, bytes) => return,
            None => return stack.event(Event::Misdelivered { call: None, from }),
        };
        let Some(call) = self.calls.get_mut(&slot) else { return };
        let branch = call.branches.iter_mut().find(|branch| branch.media.local.port() == even);
        let media = branch.map_or(&mut call.media, |branch| &mut branch.media);
        let event = media.receive(now, port != even, from, bytes);
        if matches!((&event, &call.phase), (Event::RtpReceived { .. }, Phase::Accepted)) {
            self.touch(now, stack, slot, |call, _| call.media.start(now));
        }
        stack.event(event);
    }

    /// Do what is due.
    pub(super) fn timeout(&mut self, now: Instant, stack: &mut Stack) {
        let refuse = self.config.answering.refuse;
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let Some(Reverse((at, slot))) = self.due.pop() else { break };
            if self.calls.get(&slot).is_some_and(|call| call.poll_timeout() == Some(at)) {
                self.touch(now, stack, slot, |call, stack| call.timeout(now, stack, refuse));
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    fn offered(&mut self, now: Instant, stack: &mut Stack, key: &Key, msg: &Msg, from: SocketAddr) {
        let user = user_of(msg.uri()).to_owned();
        let spec = CallSpec::read(msg.header("X-Call").unwrap_or_default(), &user);
        stack.event(Event::CallIncoming { call: spec.call });
        let dialog = Dialog::inbound(msg, from, &stack.token());
        let contact = stack.contact(&user);
        let answering = self.config.answering;
        let phase = Phase::Offered {
            key: key.clone(),
            invite: Box::new(msg.clone()),
            from,
            ring_at: Some(now + answering.ring_after),
            answer_at: now + spec.answer_after.unwrap_or(answering.answer_after),
        };
        let new = Opening { spec, role: Role::Callee, dialog, contact };
        self.open(now, stack, new, |call, stack| {
            call.phase = phase;
            call.timeout(now, stack, answering.refuse);
        });
    }

    fn open(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        new: Opening,
        begin: impl FnOnce(&mut Call, &mut Stack),
    ) {
        let Opening { spec, role, dialog, contact } = new;
        let slot = self.next_slot;
        let Some(port) = self.ports.take(slot) else {
            stack.event(Event::CallFailed { call: spec.call, role, status: 500 });
            return;
        };
        self.next_slot += 1;
        let local = SocketAddr::new(stack.local.ip(), port);
        let (by_caller, packets) = (role == Role::Caller, spec.packets());
        let media = Media::new(spec.call, (by_caller, 0), local, packets, &mut stack.rng);
        occupy(stack, local);
        let losers = if by_caller { 0 } else { spec.script.losers() };
        let branches = self.branches(stack, slot, &spec, losers);
        self.by_id.insert(dialog.call_id.clone(), slot);
        let mut call = Call::new(now, spec, role, dialog, media, contact);
        call.branches = branches;
        self.calls.insert(slot, call);
        self.touch(now, stack, slot, begin);
    }

    /// Let a call act, and tell who referred us to it what became of it.
    fn touch(&mut self, now: Instant, stack: &mut Stack, slot: u32, act: impl FnOnce(&mut Call, &mut Stack)) {
        let Some((number, status)) = self.attend(stack, slot, now, act) else { return };
        if let Some(by) = self.referred.remove(&number) {
            self.attend(stack, by, now, |call, stack| call.notify(now, stack, status));
        }
    }

    /// Let a call act, then see to its timer, or bury it. Gives its number and what a referral to it has come to.
    fn attend(
        &mut self,
        stack: &mut Stack,
        slot: u32,
        now: Instant,
        act: impl FnOnce(&mut Call, &mut Stack),
    ) -> Option<(u32, u16)> {
        let call = self.calls.get_mut(&slot)?;
        let before = call.poll_timeout();
        act(call, stack);
        let number = call.spec.call;
        if matches!(call.phase, Phase::Over) {
            self.close(stack, slot);
            return Some((number, 603));
        }
        if let Some(at) = call.poll_timeout()
            && (before != Some(at) || at <= now)
        {
            self.due.push(Reverse((at, slot)));
        }
        let up = matches!(self.calls.get(&slot)?.phase, Phase::Up);
        up.then_some((number, 200))
    }

    fn close(&mut self, stack: &mut Stack, slot: u32) {
        let Some(call) = self.calls.remove(&slot) else { return };
        self.by_id.remove(&call.dialog.call_id);
        let branches = call.branches.iter().map(|branch| branch.media.local);
        for local in branches.chain([call.media.local]) {
            self.ports.release(local.port(), call.spec.call);
            stack.out.extend([Out::Close(local), Out::Close(SocketAddr::new(local.ip(), local.port() + 1))]);
        }
    }

    /// The losing branches of a call that forks, as many as there are ports for.
    fn branches(&mut self, stack: &mut Stack, slot: u32, spec: &CallSpec, losers: u8) -> Vec<Branch> {
        let mut branches = Vec::new();
        for fork in 1..=losers {
            let Some(port) = self.ports.take(slot) else { break };
            let local = SocketAddr::new(stack.local.ip(), port);
            occupy(stack, local);
            let media = Media::new(spec.call, (false, fork), local, spec.packets(), &mut stack.rng);
            branches.push(Branch::new(stack.token(), media));
        }
        branches
    }

    /// Has our end of this call lost power?
    fn is_gone(&self, slot: u32) -> bool {
        self.calls.get(&slot).is_some_and(|call| matches!(call.phase, Phase::Gone))
    }

    /// We shall call somebody else (RFC 3515 section 2.4.2).
    fn refer_arrived(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        (key, slot): (&Key, u32),
        msg: &Msg,
        from: SocketAddr,
    ) {
        stack.answer(now, key, 202, (msg, from));
        let Some(call) = self.calls.get(&slot) else { return };
        let to = user_of(uri_of(msg.header("Refer-To").unwrap_or_default()));
        let talk = msg.header("X-Talk").and_then(|ms| ms.parse().ok()).map_or(TALK, Duration::from_millis);
        let (by, rtp, linger) = (call.spec.call, call.spec.rtp, call.spec.linger);
        let new = CallSpec { rtp, linger, ..CallSpec::new(by | REFERRED, to, talk) };
        stack.event(Event::CallReferred { by, call: new.call });
        self.referred.insert(new.call, slot);
        self.touch(now, stack, slot, |call, stack| call.notify(now, stack, 100));
        self.wanted.push(new);
    }

    /// The next call that somebody referred us to: to be made now.
    pub(super) fn wanted(&mut self) -> Option<CallSpec> {
        self.wanted.pop()
    }

    /// A wanted call cannot be made at all.
    pub(super) fn unwanted(&mut self, now: Instant, stack: &mut Stack, number: u32, status: u16) {
        if let Some(slot) = self.referred.remove(&number) {
            self.touch(now, stack, slot, |call, stack| call.notify(now, stack, status));
        }
    }

    fn invite_answered(&mut self, now: Instant, stack: &mut Stack, slot: u32, status: u16, msg: &Msg) {
        let Some(call) = self.calls.get(&slot) else { return };
        let first = matches!(call.phase, Phase::Inviting { .. });
        let challenged = matches!(call.phase, Phase::Inviting { authorized: false, .. });
        let credentials = if challenged { self.credentials(status, call, msg) } else { None };
        self.touch(now, stack, slot, |call, stack| match credentials {
            Some(credentials) => {
                call.dialog.cseq += 1;
                let uri = call.dialog.target.clone();
                call.invite(now, stack, &uri, Some(credentials));
            }
            None if first => call.invited(now, stack, status, msg),
            None => call.reinvited(now, stack, status, msg),
        });
    }

    /// The header that answers a 401 or 407.
    fn credentials(&self, status: u16, call: &Call, msg: &Msg) -> Option<(&'static str, String)> {
        let (challenge, answer) = match status {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return None,
        };
        let credentials = self.config.credentials.as_ref()?;
        let value = credentials.answer(msg.header(challenge)?, "INVITE", &call.dialog.target)?;
        Some((answer, value))
    }

    fn answer(&self, now: Instant, stack: &mut Stack, key: &Key, msg: &Msg, from: SocketAddr) {
        if let Some(method @ ("MESSAGE" | "INFO")) = msg.method() {
            stack.event(Event::Text { method: method.into(), body: msg.body().into() });
        }
        if msg.method() == Some("OPTIONS") {
            stack.event(Event::Probed);
        }
        let tag = stack.token();
        let draft = Draft::answer(200, msg, from, &tag)
            .header("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE");
        stack.respond(now, key, 200, draft.end());
    }
}

fn occupy(stack: &mut Stack, local: SocketAddr) {
    stack.out.extend([Out::Open(local), Out::Open(SocketAddr::new(local.ip(), local.port() + 1))]);
}
