//! One call at one end: from INVITE to BYE.

use super::dialog::Dialog;
use super::endpoint::{Event, Role};
use super::media::Media;
use super::message::{Draft, Msg, uri_of};
use super::script::{Act, Branch};
use super::sdp::{self, Direction};
use super::spec::{Abandon, CallSpec, Script, Story};
use super::stack::Stack;
use super::transaction::Key;
use crate::types::Instant;
use bytes::Bytes;
use std::net::SocketAddr;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) spec: CallSpec,
    pub(super) role: Role,
    pub(super) dialog: Dialog,
    pub(super) phase: Phase,
    pub(super) media: Media,
    /// Our Contact value.
    pub(super) contact: String,
    started: Instant,
    hang_up_at: Option<Instant>,
    /// ACK of the last 2xx to our INVITE, for its repetitions.
    ack: Option<(u32, SocketAddr, Bytes)>,
    session: u64,
    version: u32,
    pub(super) direction: Direction,
    pub(super) agenda: Vec<(Instant, Act)>,
    pub(super) story: Story,
    /// Losing branches of a forked call that we take.
    pub(super) branches: Vec<Branch>,
    /// Tag of the first early dialog of a call that we make.
    pub(super) early_tag: Option<String>,
    /// Packets heard when the other end had been on hold for a moment.
    pub(super) quiet_since: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Our INVITE is out.
    Inviting { branch: String, rings: bool, cancel: Cancel, authorized: bool },
    /// Their INVITE is in.
    Offered { key: Key, invite: Box<Msg>, from: SocketAddr, ring_at: Option<Instant>, answer_at: Instant },
    /// Our 200 waits for its ACK.
    Accepted,
    /// Both ends know.
    Up,
    /// Our BYE waits for its answer.
    Ending,
    /// Our end has lost power; what still comes is swallowed.
    Gone,
    /// Over; to be removed.
    Over,
}

/// How far giving up has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    /// Wanted, but RFC 3261 section 9.1 says to wait for a provisional response.
    Wanted,
    Sent,
}

impl Call {
    pub(super) fn new(
        now: Instant,
        spec: CallSpec,
        role: Role,
        dialog: Dialog,
        media: Media,
        contact: String,
    ) -> Self {
        Self {
            session: u64::from(spec.call) + 1000,
            spec,
            role,
            dialog,
            phase: Phase::Over,
            media,
            contact,
            started: now,
            hang_up_at: None,
            ack: None,
            version: 1,
            direction: Direction::SendRecv,
            agenda: Vec::new(),
            story: Story::default(),
            branches: Vec::new(),
            early_tag: None,
            quiet_since: None,
        }
    }

    /// Send the INVITE, with credentials when a challenge asked for them.
    pub(super) fn invite(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        uri: &str,
        credentials: Option<(&str, String)>,
    ) {
        let branch = stack.branch();
        let authorized = credentials.is_some();
        self.dialog.target = uri.to_owned();
        let mut draft = self.dialog.request("INVITE", self.dialog.cseq, &stack.via(&branch));
        if let Some((name, value)) = credentials {
            draft = draft.header(name, value);
        }
        let bytes = self.described(draft.header("X-Call", self.spec.header()));
        stack.request(now, &branch, "INVITE", self.dialog.next_hop_of_invite(), bytes);
        self.phase = Phase::Inviting { branch, rings: false, cancel: Cancel::No, authorized };
        self.plot_invited(now);
    }

    /// A response to our first INVITE, other than a challenge that is answered.
    pub(super) fn invited(&mut self, now: Instant, stack: &mut Stack, status: u16, msg: &Msg) {
        match status {
            100..200 => self.progressing(now, stack, status, msg),
            200..300 => self.answered(now, stack, msg),
            _ => self.fail(stack, status),
        }
    }

    /// The call did not come about.
    pub(super) fn fail(&mut self, stack: &mut Stack, status: u16) {
        stack.event(Event::CallFailed { call: self.spec.call, role: self.role, status });
        self.phase = Phase::Over;
    }

    /// Our ACK of a 2xx.
    fn acknowledge(&mut self, stack: &mut Stack, answer: &Msg) {
        let (branch, cseq) = (stack.branch(), answer.cseq().0);
        let bytes = self.dialog.request("ACK", cseq, &stack.via(&branch)).end();
        let to = self.dialog.next_hop();
        stack.send(to, bytes.clone());
        self.ack = Some((cseq, to, bytes));
    }

    /// Give up an INVITE that was not answered yet.
    pub(super) fn cancel(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Inviting { branch, rings, cancel, .. } = &mut self.phase else { return };
        if !*rings || *cancel == Cancel::Sent {
            *cancel = if *rings { Cancel::Sent } else { Cancel::Wanted };
            return;
        }
        *cancel = Cancel::Sent;
        let branch = branch.clone();
        let bytes = self.dialog.request("CANCEL", self.dialog.cseq, &stack.via(&branch)).end();
        stack.request(now, &branch, "CANCEL", self.dialog.next_hop_of_invite(), bytes);
    }

    /// Their CANCEL of an INVITE that we have not answered.
    pub(super) fn cancelled(&mut self, now: Instant, stack: &mut Stack) {
        self.refuse(now, stack, 487);
    }

    /// Refuse their INVITE.
    fn refuse(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let Phase::Offered { key, invite, from, .. } = &self.phase else { return };
        let bytes = Draft::answer(status, invite, *from, self.dialog.tag()).end();
        let key = key.clone();
        stack.respond(now, &key, status, bytes);
        self.fail(stack, status);
    }

    /// The ACK of our 200.
    pub(super) fn acknowledged(&mut self, now: Instant, stack: &mut Stack) {
        if matches!(self.phase, Phase::Accepted) {
            self.up(now, stack);
        }
    }

    /// Hang up; an INVITE that was not answered is cancelled instead.
    pub(super) fn hang_up(&mut self, now: Instant, stack: &mut Stack) {
        match self.phase {
            Phase::Inviting { .. } => self.cancel(now, stack),
            Phase::Accepted | Phase::Up => {
                self.hang_up_at = None;
                self.send(now, stack, "BYE", None);
                self.phase = Phase::Ending;
            }
            Phase::Offered { .. } => self.refuse(now, stack, 603),
            Phase::Ending | Phase::Gone | Phase::Over => {}
        }
    }

    /// The call is over at this end.
    pub(super) fn end(&mut self, now: Instant, stack: &mut Stack) {
        self.story.forks.extend(self.media.forks());
        let media = self.media.finish(now, &mut stack.out);
        let story = std::mem::take(&mut self.story);
        stack.event(Event::CallEnded { call: self.spec.call, role: self.role, media, story });
        self.phase = Phase::Over;
    }

    /// Offer anew, on hold or not.
    pub(super) fn reinvite(&mut self, now: Instant, stack: &mut Stack, hold: bool) {
        self.offer(now, stack, if hold { Direction::Inactive } else { Direction::SendRecv });
    }

    /// Offer anew.
    pub(super) fn offer(&mut self, now: Instant, stack: &mut Stack, direction: Direction) {
        if !matches!(self.phase, Phase::Up) {
            return;
        }
        self.judge_hold();
        self.direction = direction;
        self.version += 1;
        let branch = stack.branch();
        self.dialog.cseq += 1;
        let draft = self.dialog.request("INVITE", self.dialog.cseq, &stack.via(&branch));
        let bytes = self.described(draft);
        stack.request(now, &branch, "INVITE", self.dialog.next_hop(), bytes);
    }

    /// A response to an INVITE within the dialog, or the first INVITE's 2xx once more.
    pub(super) fn reinvited(&mut self, now: Instant, stack: &mut Stack, status: u16, msg: &Msg) {
        let acknowledged = self.ack.as_ref().map_or(0, |(cseq, ..)| *cseq);
        if status < 200 || msg.cseq().0 < acknowledged {
            return;
        }
        if msg.cseq().0 == acknowledged {
            return self.acknowledge_again(stack);
        }
        if status < 300 {
            self.dialog.refresh(msg);
            self.acknowledge(stack, msg);
            self.hear_description(now, stack, msg);
            self.plot_accepted(now);
        }
        stack.event(Event::Reinvited { call: self.spec.call, status });
    }

    /// An INVITE or BYE of ours was never answered, or our 200 never acknowledged.
    pub(super) fn lapsed(&mut self, now: Instant, stack: &mut Stack) {
        match self.phase {
            Phase::Inviting { .. } => self.fail(stack, 408),
            Phase::Accepted => self.hang_up(now, stack),
            Phase::Up => stack.event(Event::Reinvited { call: self.spec.call, status: 408 }),
            Phase::Ending => self.end(now, stack),
            Phase::Offered { .. } | Phase::Gone | Phase::Over => {}
        }
    }

    /// Their offer within the dialog: accept it.
    pub(super) fn reoffered(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        key: &Key,
        arrived: (&Msg, SocketAddr),
    ) {
        let (msg, from) = arrived;
        self.dialog.refresh(msg);
        self.hear_description(now, stack, msg);
        if let Ok(audio) = sdp::read(msg.body()) {
            self.direction = audio.direction.answered();
            self.version += 1;
        }
        let answer = Draft::answer(200, msg, from, self.dialog.tag());
        stack.respond(now, key, 200, self.described(answer));
    }

    /// A request within the dialog; its branch.
    pub(super) fn send(&mut self, now: Instant, stack: &mut Stack, method: &str, body: Option<&str>) -> Key {
        self.send_with(now, stack, method, &[], body.map(|body| ("text/plain", body)))
    }

    /// The same with further headers and a body of some type.
    pub(super) fn send_with(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        method: &str,
        headers: &[(&str, String)],
        body: Option<(&str, &str)>,
    ) -> Key {
        self.dialog.cseq += 1;
        let branch = stack.branch();
        let mut draft = self.dialog.request(method, self.dialog.cseq, &stack.via(&branch));
        if !headers.is_empty() {
            draft = draft.header("Contact", &self.contact);
        }
        for (name, value) in headers {
            draft = draft.header(name, value);
        }
        let bytes = match body {
            Some((kind, body)) => draft.body(kind, body),
            None => draft.end(),
        };
        stack.request(now, &branch, method, self.dialog.next_hop(), bytes)
    }

    /// Do what is due.
    pub(super) fn timeout(&mut self, now: Instant, stack: &mut Stack, refuse: Option<u16>) {
        self.media.tick(now, &mut stack.out);
        self.branches.iter_mut().for_each(|branch| branch.media.tick(now, &mut stack.out));
        self.act(now, stack);
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up(now, stack);
        }
        let refuse = if self.spec.script == Script::Busy { Some(486) } else { refuse };
        let Phase::Offered { ring_at, answer_at, .. } = &self.phase else { return };
        let (ring, answer) = (ring_at.is_some_and(|at| at <= now), *answer_at <= now);
        if ring {
            self.ring(now, stack);
        }
        match refuse {
            Some(status) if answer => self.refuse(now, stack, status),
            None if answer => self.accept(now, stack),
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let offered = match &self.phase {
            Phase::Offered { ring_at, answer_at, .. } => Some(ring_at.unwrap_or(*answer_at).min(*answer_at)),
            _ => None,
        };
        let branches = self.branches.iter().filter_map(|branch| branch.media.poll_timeout()).min();
        let times = [offered, self.hang_up_at, self.media.poll_timeout(), branches, self.next_act()];
        times.into_iter().flatten().min()
    }

    /// Our domain: the host of our own name.
    pub(super) fn domain(&self) -> &str {
        uri_of(&self.dialog.local).rsplit('@').next().unwrap_or_default()
    }

    fn acknowledge_again(&self, stack: &mut Stack) {
        if let Some((_, to, bytes)) = &self.ack {
            stack.send(*to, bytes.clone());
        }
    }

    fn progressing(&mut self, now: Instant, stack: &mut Stack, status: u16, msg: &Msg) {
        let Phase::Inviting { rings, cancel, .. } = &mut self.phase else { return };
        *rings = true;
        let cancel = *cancel;
        if !msg.body().is_empty() {
            self.hear_early(now, stack, msg);
        }
        if status > 100 {
            self.plot_ringing(now);
            let after = now.since(self.started);
            stack.event(Event::CallRinging { call: self.spec.call, after });
        }
        if cancel == Cancel::Wanted {
            self.cancel(now, stack);
        }
    }

    fn answered(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let Phase::Inviting { cancel, .. } = &self.phase else { return };
        let unwanted = *cancel != Cancel::No;
        if self.spec.script == Script::Abandon(Abandon::NoAck) {
            return self.vanish(now, stack);
        }
        self.media.settle();
        self.story.early = self.media.received();
        self.dialog.confirm(msg);
        self.acknowledge(stack, msg);
        self.hear_description(now, stack, msg);
        self.up(now, stack);
        if unwanted {
            self.hang_up(now, stack);
        }
    }

    fn up(&mut self, now: Instant, stack: &mut Stack) {
        self.phase = Phase::Up;
        let (call, role) = (self.spec.call, self.role);
        stack.event(Event::CallAnswered { call, role, setup: now.since(self.started) });
        self.media.start(now);
        if self.spec.hangup == self.role {
            self.hang_up_at = self.spec.lasts().map(|time| now + time);
        }
        self.plot_up(now);
        self.media.tick(now, &mut stack.out);
    }

    fn ring(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Offered { key, invite, from, ring_at, .. } = &mut self.phase else { return };
        *ring_at = None;
        if self.spec.script.is_early() {
            return self.ring_early(now, stack);
        }
        let draft = Draft::answer(180, invite, *from, self.dialog.tag());
        let bytes = with_routes(draft, invite).header("Contact", &self.contact).end();
        stack.respond(now, &key.clone(), 180, bytes);
    }

    fn accept(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Offered { key, invite, from, .. } = std::mem::replace(&mut self.phase, Phase::Accepted)
        else {
            return;
        };
        self.prune(now, stack);
        self.hear_description(now, stack, &invite);
        let draft = Draft::answer(200, &invite, from, self.dialog.tag());
        let bytes = self.described(with_routes(draft, &invite));
        stack.respond(now, &key, 200, bytes);
    }

    pub(super) fn hear_description(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        match sdp::read(msg.body()) {
            Ok(audio) => self.media.describe(now, audio),
            Err(why) => {
                let bytes = Bytes::copy_from_slice(msg.body().as_bytes());
                stack.event(Event::Unparseable { why, bytes });
            }
        }
    }

    /// Finish a message with our Contact and description.
    pub(super) fn described(&self, draft: Draft) -> Bytes {
        let sdp = sdp::describe(self.session, self.version, self.media.local, self.direction);
        draft.header("Contact", &self.contact).body("application/sdp", &sdp)
    }
}

/// RFC 3261 section 12.1.1: a response that makes a dialog repeats the Record-Routes.
pub(super) fn with_routes(mut draft: Draft, invite: &Msg) -> Draft {
    for route in invite.all("Record-Route") {
        draft = draft.header("Record-Route", route);
    }
    draft
}
