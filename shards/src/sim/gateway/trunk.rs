//! The end of a call at the controller itself: a trunk in the core network.

use super::super::endpoint::{Event, Out, Role};
use super::super::media::Media;
use super::super::sdp::{self, Direction};
use super::super::spec::{CallSpec, Story};
use crate::types::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// After a hold was granted, how long packets may still be on their way.
const SETTLED: Duration = Duration::from_millis(300);

/// One end of a call.
#[derive(Debug)]
pub(super) struct Trunk {
    call: u32,
    role: Role,
    pub(super) media: Media,
    up: bool,
    story: Story,
    /// From when on nothing may be heard, because the other end is on hold.
    listen_at: Option<Instant>,
    quiet_since: Option<u32>,
}

impl Trunk {
    pub(super) fn new(spec: &CallSpec, role: Role, media: Media) -> Self {
        let (story, listen_at, quiet_since) = Default::default();
        Self { call: spec.call, role, media, up: false, story, listen_at, quiet_since }
    }

    /// Its own description.
    pub(super) fn local(&self) -> String {
        sdp::describe(u64::from(self.media.local.port()), 1, self.media.local, Direction::SendRecv)
    }

    /// Where the other end listens.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub(super) fn describe(&mut self, now: Instant, remote: &str) -> Result<(), String> {
        self.media.describe(now, sdp::read(remote)?);
        Ok(())
    }

    /// The call is up.
    pub(super) fn start(&mut self, now: Instant, setup: Duration, out: &mut VecDeque<Out>) {
        self.up = true;
        let (call, role) = (self.call, self.role);
        out.push_back(Out::Event(Event::CallAnswered { call, role, setup }));
        self.media.start(now);
    }

    /// It has the other end on hold, or has it back.
    pub(super) fn holds(&mut self, now: Instant, hold: bool, out: &mut VecDeque<Out>) {
        self.story.offers += 1;
        self.listen_at = hold.then_some(now + SETTLED);
        let heard = |since| self.media.received() - since;
        if !hold {
            self.story.on_hold = self.quiet_since.take().map(heard).or(self.story.on_hold);
        }
        out.push_back(Out::Event(Event::Reinvited { call: self.call, status: 200 }));
    }

    pub(super) fn tick(&mut self, now: Instant, out: &mut VecDeque<Out>) {
        self.media.tick(now, out);
        if self.listen_at.is_some_and(|at| at <= now) {
            self.listen_at = None;
            self.quiet_since = Some(self.media.received());
        }
    }

    /// The call is over.
    pub(super) fn finish(&mut self, now: Instant, out: &mut VecDeque<Out>) {
        let media = self.media.finish(now, out);
        let (call, role, story) = (self.call, self.role, std::mem::take(&mut self.story));
        if std::mem::take(&mut self.up) {
            out.push_back(Out::Event(Event::CallEnded { call, role, media, story }));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.media.poll_timeout(), self.listen_at].into_iter().flatten().min()
    }
}
