//! One call, as its controller leads it: connections are created at both ends, the callee is rung, and each end is told
//! where the other one listens.

use super::super::endpoint::Role;
use super::super::spec::{CallSpec, Script};
use super::order::{Answer, Mode, Signal, What};
use super::trunk::Trunk;
use crate::types::Instant;

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) spec: CallSpec,
    pub(super) started: Instant,
    /// Caller and callee.
    pub(super) ends: [End; 2],
    pub(super) phase: Phase,
    /// What happens next by itself: a trunk answers, hangs up, holds.
    pub(super) agenda: Vec<(Instant, Act)>,
    /// How the callee is created: told to listen, or to do nothing.
    pub(super) callee_mode: Mode,
}

/// One end.
#[derive(Debug)]
pub(super) enum End {
    /// At a gateway.
    Line(Leg),
    /// At the controller itself.
    Trunk(Box<Trunk>),
}

/// A line of a gateway in a call.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) gateway: u32,
    /// `$` in it until the gateway has chosen one.
    pub(super) line: String,
    pub(super) state: State,
    /// The gateway's name for its connection.
    pub(super) connection: Option<String>,
    /// Where the gateway listens.
    pub(super) local: Option<String>,
}

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Wanted,
    Creating,
    Made,
    Deleting,
    Gone,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Creating(Role),
    Ringing,
    /// The callee is told to talk.
    Opening,
    /// The caller is told to talk.
    Connecting,
    Up,
    /// On the way into hold by this end, or (`false`) out of it; `usize`: steps done.
    Holding(Role, bool, usize),
    Held(Role),
    Ending,
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Answer,
    HangUp,
    Flash,
}

/// Something to tell a gateway.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) gateway: u32,
    pub(super) line: String,
    /// Whose end it is about.
    pub(super) role: Role,
    pub(super) what: What,
}

impl Call {
    pub(super) fn new(now: Instant, spec: CallSpec, ends: [End; 2], callee_mode: Mode) -> Self {
        let phase = Phase::Creating(Role::Caller);
        Self { spec, started: now, ends, phase, agenda: Vec::new(), callee_mode }
    }

    pub(super) const fn end(&self, role: Role) -> &End {
        &self.ends[role as usize]
    }

    pub(super) const fn end_mut(&mut self, role: Role) -> &mut End {
        &mut self.ends[role as usize]
    }

    pub(super) const fn leg(&self, role: Role) -> Option<&Leg> {
        match self.end(role) {
            End::Line(leg) => Some(leg),
            End::Trunk(_) => None,
        }
    }

    pub(super) const fn leg_mut(&mut self, role: Role) -> Option<&mut Leg> {
        match self.end_mut(role) {
            End::Line(leg) => Some(leg),
            End::Trunk(_) => None,
        }
    }

    /// Which end is the trunk's?
    pub(super) fn trunk(&self) -> Option<Role> {
        [Role::Caller, Role::Callee].into_iter().find(|role| self.leg(*role).is_none())
    }

    /// Where this end listens.
    pub(super) fn local(&self, role: Role) -> Option<String> {
        match self.end(role) {
            End::Line(leg) => leg.local.clone(),
            End::Trunk(trunk) => Some(trunk.local()),
        }
    }

    /// Which end is at this line?
    pub(super) fn role_at(&self, gateway: u32, line: &str) -> Option<Role> {
        let at = |role: &Role| self.leg(*role).is_some_and(|leg| leg.gateway == gateway && leg.line == line);
        [Role::Caller, Role::Callee].into_iter().find(at)
    }

    /// Create this end's connection; nothing for a trunk.
    pub(super) fn create(&mut self, role: Role) -> Option<Step> {
        let remote = if role == Role::Callee { self.local(Role::Caller) } else { None };
        let mode = if role == Role::Caller { Mode::RecvOnly } else { self.callee_mode };
        let (number, call) = (self.spec.call, self.spec.header());
        let leg = self.leg_mut(role)?;
        leg.state = State::Creating;
        let what = What::Create { number, call, mode, remote };
        Some(Step { gateway: leg.gateway, line: leg.line.clone(), role, what })
    }

    /// This end gets another mode, and is told where the other one listens if it was not.
    pub(super) fn modify(&self, role: Role, mode: Mode, describe: bool) -> Option<Step> {
        let remote = if describe { self.local(other(role)) } else { None };
        let leg = self.leg(role)?;
        let connection = leg.connection.clone()?;
        let what = What::Modify { number: self.spec.call, connection, mode, remote };
        Some(Step { gateway: leg.gateway, line: leg.line.clone(), role, what })
    }

    /// A sound at this end.
    pub(super) fn sound(&self, role: Role, signal: Signal, request: u32) -> Option<Step> {
        let leg = self.leg(role)?;
        let connection = leg.connection.clone();
        let what = What::Watch { request, digits: false, signal: Some(signal), connection };
        Some(Step { gateway: leg.gateway, line: leg.line.clone(), role, what })
    }

    /// Delete this end's connection; nothing when there is none, or none yet.
    pub(super) fn delete(&mut self, role: Role) -> Option<Step> {
        let number = Some(self.spec.call);
        let leg = self.leg_mut(role)?;
        match leg.state {
            State::Wanted => leg.state = State::Gone,
            State::Made => leg.state = State::Deleting,
            State::Creating | State::Deleting | State::Gone => {}
        }
        let connection = leg.connection.clone().filter(|_| leg.state == State::Deleting);
        let what = What::Delete { number, connection: Some(connection?), counts: None };
        Some(Step { gateway: leg.gateway, line: leg.line.clone(), role, what })
    }

    /// A gateway has created a connection, or not.
    pub(super) fn created(&mut self, role: Role, answer: &Answer) {
        let Some(leg) = self.leg_mut(role) else { return };
        if !answer.is_good() {
            leg.state = State::Gone;
            return;
        }
        leg.state = State::Made;
        leg.line = answer.line.clone().unwrap_or_else(|| leg.line.clone());
        leg.connection.clone_from(&answer.connection);
        leg.local.clone_from(&answer.local);
    }

    /// What a trunk does by itself, now that the call is up.
    pub(super) fn plot(&mut self, now: Instant) {
        let (Some(talk), Some(time)) = (self.spec.talk, self.spec.lasts()) else { return };
        if self.leg(self.spec.hangup).is_none() {
            self.agenda.push((now + time, Act::HangUp));
        }
        if self.spec.script == Script::Hold && self.leg(Role::Caller).is_none() {
            self.agenda.extend([(now + talk / 4, Act::Flash), (now + talk * 3 / 4, Act::Flash)]);
        }
    }

    /// Is nothing left of it?
    pub(super) fn is_gone(&self) -> bool {
        let gone = |role| self.leg(role).is_none_or(|leg| leg.state == State::Gone);
        self.phase == Phase::Ending && gone(Role::Caller) && gone(Role::Callee)
    }

    /// What is due by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Act> {
        let due = self.agenda.iter().filter(|(at, _)| *at <= now).map(|&(_, act)| act).collect();
        self.agenda.retain(|(at, _)| *at > now);
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let trunks = self.ends.iter().filter_map(|end| match end {
            End::Trunk(trunk) => trunk.poll_timeout(),
            End::Line(_) => None,
        });
        trunks.chain(self.agenda.iter().map(|&(at, _)| at)).min()
    }
}

impl Leg {
    pub(super) const fn new(gateway: u32, line: String) -> Self {
        Self { gateway, line, state: State::Wanted, connection: None, local: None }
    }
}

pub(super) const fn other(role: Role) -> Role {
    match role {
        Role::Caller => Role::Callee,
        Role::Callee => Role::Caller,
    }
}
