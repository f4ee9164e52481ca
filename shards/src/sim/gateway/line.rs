//! One line of a gateway: a telephone, and the connection that it has with the network.

use super::super::endpoint::{Event, Out, Role};
use super::super::media::{Media, PTIME};
use super::super::sdp::{self, Direction};
use super::super::spec::{CallSpec, Script, Story};
use super::order::{Counts, Mode, Signal};
use crate::types::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How long it rings before a caller who gives up does so.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// After a hold was granted, how long packets may still be on their way.
const SETTLED: Duration = Duration::from_millis(300);
/// What it means at the end of a call that it never came about.
const GIVEN_UP: u16 = 487;

/// A telephone.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) off_hook: bool,
    /// The controller does not know yet that it was laid down: no other call is taken.
    pub(super) guarded: bool,
    /// What it dials, and whether it has.
    pub(super) dial: Option<CallSpec>,
    pub(super) dialled: bool,
    /// By which number the controller asked to be told.
    pub(super) request: u32,
    /// Whom it tells.
    pub(super) entity: Option<String>,
    /// It rings, and is lifted then.
    pub(super) answer_at: Option<Instant>,
    /// When the call of this line began.
    started: Instant,
    pub(super) connection: Option<Connection>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) spec: CallSpec,
    role: Role,
    pub(super) media: Media,
    mode: Mode,
    described: bool,
    up: bool,
    /// What the telephone does by itself, and when.
    agenda: Vec<(Instant, Act)>,
    story: Story,
    /// Packets heard when the other end had been on hold for a moment.
    quiet_since: Option<u32>,
    /// Descriptions that were given.
    version: u32,
}

/// What a telephone does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    HangUp,
    Flash,
    Listen,
}

impl Line {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            off_hook: false,
            guarded: false,
            dial: None,
            dialled: false,
            request: 0,
            entity: None,
            answer_at: None,
            started: Instant::ZERO,
            connection: None,
        }
    }

    /// Does nobody use it?
    pub(super) const fn is_idle(&self) -> bool {
        !self.off_hook && !self.guarded && self.dial.is_none() && self.connection.is_none()
    }

    /// Does it serve this call?
    pub(super) fn serves(&self, call: u32) -> bool {
        let connected = self.connection.as_ref().is_some_and(|one| one.spec.call == call);
        connected || self.dial.as_ref().is_some_and(|spec| spec.call == call)
    }

    /// Somebody lifts it to make a call.
    pub(super) fn lift(&mut self, now: Instant, spec: CallSpec) {
        (self.off_hook, self.started) = (true, now);
        (self.dial, self.dialled) = (Some(spec), false);
    }

    /// It is connected.
    pub(super) fn connect(&mut self, now: Instant, id: String, spec: CallSpec, media: Media) {
        let role = if self.dial.is_some() { Role::Caller } else { Role::Callee };
        if role == Role::Callee {
            self.started = now;
        }
        self.connection = Some(Connection {
            id,
            spec,
            role,
            media,
            mode: Mode::Inactive,
            described: false,
            up: false,
            agenda: Vec::new(),
            story: Story::default(),
            quiet_since: None,
            version: 0,
        });
    }

    /// Its connection is told which way media goes, and where to.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub(super) fn modify(
        &mut self,
        now: Instant,
        mode: Mode,
        remote: Option<&str>,
        out: &mut VecDeque<Out>,
    ) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if let Some(remote) = remote {
            connection.media.describe(now, sdp::read(remote)?);
            connection.described = true;
        }
        connection.set_mode(now, mode, self.off_hook, self.started, out);
        Ok(())
    }

    /// Its connection is gone: what it carried.
    pub(super) fn disconnect(
        &mut self,
        now: Instant,
        out: &mut VecDeque<Out>,
    ) -> Option<(SocketAddr, u32, Counts)> {
        let mut gone = self.connection.take()?;
        let place = (gone.media.local, gone.spec.call);
        let media = gone.media.finish(now, out);
        let counts = Counts {
            sent: u64::from(media.sent),
            received: u64::from(media.received + media.duplicates),
            lost: 0,
        };
        let (call, role, story) = (gone.spec.call, gone.role, gone.story);
        out.push_back(Out::Event(if gone.up {
            Event::CallEnded { call, role, media, story }
        } else {
            Event::CallFailed { call, role, status: GIVEN_UP }
        }));
        (self.dial, self.answer_at) = (None, None);
        Some((place.0, place.1, counts))
    }

    /// The controller wants a sound to be heard. `answer_after`: how long this telephone rings.
    pub(super) fn sound(
        &mut self,
        now: Instant,
        signal: Option<Signal>,
        answer_after: Duration,
        out: &mut VecDeque<Out>,
    ) {
        let rings = signal == Some(Signal::Ring) && !self.off_hook;
        let Some(connection) = &mut self.connection else { return };
        if rings {
            let after = connection.spec.answer_after.unwrap_or(answer_after);
            self.answer_at = self.answer_at.or(Some(now + after));
        }
        if signal == Some(Signal::RingBack) && connection.role == Role::Caller {
            let (call, after) = (connection.spec.call, now.since(self.started));
            out.push_back(Out::Event(Event::CallRinging { call, after }));
            if connection.spec.script == Script::Cancel {
                connection.agenda.push((now + IMPATIENCE, Act::HangUp));
            }
        }
    }

    /// It is laid down. True if it was lifted.
    pub(super) fn lay_down(&mut self, now: Instant) -> bool {
        if let Some(connection) = &mut self.connection {
            connection.media.hold(now, true);
            connection.agenda.clear();
        } else {
            self.dial = None;
        }
        self.answer_at = None;
        std::mem::take(&mut self.off_hook)
    }

    /// Send what is due; what the telephone wants to do by now.
    pub(super) fn tick(&mut self, now: Instant, out: &mut VecDeque<Out>) -> Vec<Act> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        connection.media.tick(now, out);
        let due = connection.agenda.iter().filter(|(at, _)| *at <= now).map(|&(_, act)| act).collect();
        connection.agenda.retain(|(at, _)| *at > now);
        due
    }

    /// From now on nothing may be heard.
    pub(super) const fn listen(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.quiet_since = Some(connection.media.received());
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_ref();
        let media = connection.and_then(|one| one.media.poll_timeout());
        let acts = connection.and_then(|one| one.agenda.iter().map(|&(at, _)| at).min());
        [self.answer_at, media, acts].into_iter().flatten().min()
    }
}

impl Connection {
    /// Is the call up at this end?
    pub(super) const fn is_up(&self) -> bool {
        self.up
    }

    /// Our own description.
    pub(super) fn local(&mut self) -> String {
        self.version += 1;
        let port = u64::from(self.media.local.port());
        sdp::describe(port, self.version, self.media.local, Direction::SendRecv)
    }

    fn set_mode(
        &mut self,
        now: Instant,
        mode: Mode,
        off_hook: bool,
        started: Instant,
        out: &mut VecDeque<Out>,
    ) {
        let before = std::mem::replace(&mut self.mode, mode);
        self.media.hold(now, !mode.sends());
        if mode.sends() && self.described {
            // A packet of 20 ms is full after 20 ms.
            self.media.start(now + PTIME);
        }
        if self.up {
            return self.judge_hold(now, before, out);
        }
        if off_hook && mode == Mode::SendRecv && self.described {
            self.up = true;
            let (call, role, setup) = (self.spec.call, self.role, now.since(started));
            out.push_back(Out::Event(Event::CallAnswered { call, role, setup }));
            self.plot(now);
        }
    }

    /// What the telephone will do, now that the call is up.
    fn plot(&mut self, now: Instant) {
        let (Some(talk), Some(time)) = (self.spec.talk, self.spec.lasts()) else { return };
        if self.spec.hangup == self.role {
            self.agenda.push((now + time, Act::HangUp));
        }
        if self.spec.script == Script::Hold && self.role == Role::Caller {
            self.agenda.extend([(now + talk / 4, Act::Flash), (now + talk * 3 / 4, Act::Flash)]);
        }
    }

    /// This end has the other one on hold, or has it back.
    fn judge_hold(&mut self, now: Instant, before: Mode, out: &mut VecDeque<Out>) {
        match (before, self.mode) {
            (Mode::SendRecv, Mode::SendOnly) => self.agenda.push((now + SETTLED, Act::Listen)),
            (Mode::SendOnly, Mode::SendRecv) => {
                let heard = |since| self.media.received() - since;
                self.story.on_hold = self.quiet_since.take().map(heard).or(self.story.on_hold);
            }
            _ => return,
        }
        self.story.offers += 1;
        out.push_back(Out::Event(Event::Reinvited { call: self.spec.call, status: 200 }));
    }
}
