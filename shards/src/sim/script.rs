//! What a call's script makes its ends do, and when.

use super::call::{Call, Phase};
use super::endpoint::{Event, Role};
use super::media::Media;
use super::message::{Draft, Msg};
use super::sdp::{self, Direction};
use super::spec::{Abandon, Script};
use super::stack::Stack;
use crate::types::Instant;
use bytes::Bytes;
use std::time::Duration;

/// How long it rings before the caller gives up.
const IMPATIENCE: Duration = Duration::from_millis(100);
/// After a hold was accepted, how long packets may still be on their way.
const SETTLED: Duration = Duration::from_millis(300);
/// An abandoned call's end swallows what still comes for this long.
const BURIED: Duration = Duration::from_secs(150);

/// One thing that the script wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Offer anew.
    Offer(Direction),
    /// The other end is on hold: from now on nothing may be heard.
    Listen,
    Refer,
    Vanish,
    HangUp,
    Forget,
}

/// A branch of a forked call that will not answer.
#[derive(Debug)]
pub(super) struct Branch {
    tag: String,
    pub(super) media: Media,
}

impl Branch {
    pub(super) const fn new(tag: String, media: Media) -> Self {
        Self { tag, media }
    }
}

impl Call {
    /// The INVITE is out.
    pub(super) fn plot_invited(&mut self, now: Instant) {
        if self.spec.script == Script::Abandon(Abandon::BeforeRinging) {
            self.agenda.push((now, Act::Vanish));
        }
    }

    /// It rings.
    pub(super) fn plot_ringing(&mut self, now: Instant) {
        match self.spec.script {
            Script::Abandon(Abandon::Ringing) => self.agenda.push((now, Act::Vanish)),
            Script::Cancel => self.agenda.push((now + IMPATIENCE, Act::HangUp)),
            _ => {}
        }
    }

    /// The call is up.
    pub(super) fn plot_up(&mut self, now: Instant) {
        let talk = self.spec.talk.unwrap_or_default();
        if self.role == Role::Callee {
            return;
        }
        match self.spec.script {
            Script::Hold => {
                self.agenda.push((now + talk / 4, Act::Offer(Direction::SendOnly)));
                self.agenda.push((now + talk * 3 / 4, Act::Offer(Direction::SendRecv)));
            }
            Script::Reinvite => self.agenda.push((now + talk / 2, Act::Offer(Direction::SendRecv))),
            Script::Refer => self.agenda.push((now + talk / 2, Act::Refer)),
            Script::Abandon(Abandon::NoBye) => self.agenda.push((now + talk / 2, Act::Vanish)),
            _ => {}
        }
    }

    /// An offer of ours was accepted.
    pub(super) fn plot_accepted(&mut self, now: Instant) {
        self.story.offers += 1;
        if self.direction == Direction::SendOnly {
            self.agenda.push((now + SETTLED, Act::Listen));
        }
    }

    /// When the script wants something next.
    pub(super) fn next_act(&self) -> Option<Instant> {
        self.agenda.iter().map(|&(at, _)| at).min()
    }

    /// Do what the script wants by now.
    pub(super) fn act(&mut self, now: Instant, stack: &mut Stack) {
        let due: Vec<Act> = self.agenda.iter().filter(|(at, _)| *at <= now).map(|&(_, act)| act).collect();
        self.agenda.retain(|(at, _)| *at > now);
        for act in due {
            match act {
                Act::Offer(direction) => self.offer(now, stack, direction),
                Act::Listen => self.quiet_since = Some(self.media.received()),
                Act::Refer => self.refer(now, stack),
                Act::Vanish => self.vanish(now, stack),
                Act::HangUp => self.hang_up(now, stack),
                Act::Forget => self.phase = Phase::Over,
            }
        }
    }

    /// How much was heard since the other end was on hold.
    pub(super) fn judge_hold(&mut self) {
        if let Some(before) = self.quiet_since.take() {
            self.story.on_hold = Some(self.media.received() - before);
        }
    }

    /// From now on nothing leaves this end, and nothing is answered.
    pub(super) fn vanish(&mut self, now: Instant, stack: &mut Stack) {
        self.media.fall_silent();
        self.phase = Phase::Gone;
        self.agenda = vec![(now + BURIED, Act::Forget)];
        stack.event(Event::CallAbandoned { call: self.spec.call });
    }

    fn refer(&mut self, now: Instant, stack: &mut Stack) {
        if !matches!(self.phase, Phase::Up) {
            return;
        }
        let domain = self.domain().to_owned();
        let (to, talk) = (&self.spec.refer_to, self.spec.talk.unwrap_or_default().as_millis());
        let headers = [("Refer-To", format!("<sip:{to}@{domain}>")), ("X-Talk", talk.to_string())];
        self.send_with(now, stack, "REFER", &headers, None);
    }

    /// What a NOTIFY says about our REFER.
    pub(super) fn notified(&mut self, msg: &Msg) {
        let status = msg.body().split(' ').nth(1).and_then(|code| code.parse().ok());
        self.story.referred = status.or(self.story.referred);
    }

    /// Tell who referred us how it goes (RFC 3515 section 2.4.4).
    pub(super) fn notify(&mut self, now: Instant, stack: &mut Stack, status: u16) {
        let state = if status < 200 { "active;expires=60" } else { "terminated;reason=noresource" };
        let headers = [("Event", "refer".to_owned()), ("Subscription-State", state.to_owned())];
        let body = format!("SIP/2.0 {status} Status\r\n");
        self.send_with(now, stack, "NOTIFY", &headers, Some(("message/sipfrag", &body)));
    }

    /// Ring, with a description and a voice on each branch.
    pub(super) fn ring_early(&mut self, now: Instant, stack: &mut Stack) {
        let Phase::Offered { key, invite, from, .. } = &self.phase else { return };
        let (key, invite, from) = (key.clone(), invite.clone(), *from);
        self.hear_description(now, stack, &invite);
        let draft = Draft::answer(183, &invite, from, self.dialog.tag());
        let bytes = self.described(super::call::with_routes(draft, &invite));
        stack.respond(now, &key, 183, bytes);
        self.media.start(now);
        let audio = sdp::read(invite.body());
        for branch in &mut self.branches {
            let draft = Draft::answer(183, &invite, from, &branch.tag);
            let draft = super::call::with_routes(draft, &invite).header("Contact", &self.contact);
            let port = u64::from(branch.media.local.port());
            let sdp = sdp::describe(port, 1, branch.media.local, Direction::SendRecv);
            stack.respond(now, &key, 183, draft.body("application/sdp", &sdp));
            if let Ok(audio) = audio {
                branch.media.describe(now, audio);
                branch.media.start(now);
            }
        }
    }

    /// A branch has answered: the others are over.
    pub(super) fn prune(&mut self, now: Instant, stack: &mut Stack) {
        self.story.early = self.media.received();
        for branch in &mut self.branches {
            self.story.forks.push(branch.media.finish(now, &mut stack.out).received);
        }
    }

    /// A provisional response with a description: early media.
    pub(super) fn hear_early(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let Ok(audio) = sdp::read(msg.body()) else {
            let bytes = Bytes::copy_from_slice(msg.body().as_bytes());
            return stack.event(Event::Unparseable { why: "early description".into(), bytes });
        };
        let tag = msg.tag("To").unwrap_or_default();
        if *self.early_tag.get_or_insert_with(|| tag.to_owned()) == tag {
            self.media.describe(now, audio);
            self.media.start(now);
        } else {
            self.media.fork(audio);
        }
    }
}
