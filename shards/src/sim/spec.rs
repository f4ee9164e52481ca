//! What a call is to do, told to both of its ends.

use super::endpoint::Role;
use super::media::PTIME;
use super::message::param;
use serde::Deserialize;
use std::time::Duration;

/// What a call does besides ringing, talking and ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Script {
    /// Nothing.
    #[default]
    #[serde(rename = "Call")]
    Plain,
    /// The callee speaks before it answers: 183 with a description (RFC 3960).
    #[serde(rename = "EarlyMedia")]
    Early,
    /// The call forks into so many branches, each with a description and a voice of its own; the first one answers.
    Forks(u8),
    /// The caller holds (`sendonly`, RFC 3264 section 8.4) from a quarter of the talk to three quarters.
    Hold,
    /// The caller offers anew at half of the talk, and changes nothing.
    Reinvite,
    /// The caller refers the callee to somebody else at half of the talk (RFC 3515); their own call ends as ever.
    Refer,
    /// The caller loses power.
    Abandon(Abandon),
    /// The caller gives up while it rings.
    Cancel,
    /// The callee refuses with 486.
    Busy,
}

/// When an abandoned call's caller loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Abandon {
    /// Right after the INVITE.
    BeforeRinging,
    /// When it rings.
    Ringing,
    /// When the 200 arrives, which is never acknowledged.
    NoAck,
    /// At half of the talk; no BYE is sent or answered.
    NoBye,
}

impl Script {
    const NAMES: [(&'static str, Self); 11] = [
        ("early", Self::Early),
        ("hold", Self::Hold),
        ("reinvite", Self::Reinvite),
        ("refer", Self::Refer),
        ("before_ringing", Self::Abandon(Abandon::BeforeRinging)),
        ("ringing", Self::Abandon(Abandon::Ringing)),
        ("no_ack", Self::Abandon(Abandon::NoAck)),
        ("no_bye", Self::Abandon(Abandon::NoBye)),
        ("cancel", Self::Cancel),
        ("busy", Self::Busy),
        ("plain", Self::Plain),
    ];

    fn read(header: &str) -> Self {
        if let Some(branches) = param(header, "forks").and_then(|n| n.parse().ok()) {
            return Self::Forks(branches);
        }
        let name = param(header, "does").unwrap_or_default();
        Self::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, script)| script).unwrap_or_default()
    }

    fn write(self) -> String {
        let name = Self::NAMES.into_iter().find(|(_, script)| *script == self).map(|(name, _)| name);
        match (self, name) {
            (Self::Forks(branches), _) => format!(";forks={branches}"),
            (Self::Plain, _) | (_, None) => String::new(),
            (_, Some(name)) => format!(";does={name}"),
        }
    }

    /// Does the callee speak before it answers?
    pub(super) const fn is_early(self) -> bool {
        matches!(self, Self::Early | Self::Forks(_))
    }

    /// Branches besides the one that answers.
    pub(super) const fn losers(self) -> u8 {
        match self {
            Self::Forks(branches) => branches.saturating_sub(1),
            _ => 0,
        }
    }
}

/// What came of a call's script, seen from one end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Packets heard before the answer.
    pub early: u32,
    /// Packets heard on each losing branch: from it at the caller, by it at the callee.
    pub forks: Vec<u32>,
    /// Packets heard while this end had the other on hold; `None`: it never had.
    pub on_hold: Option<u32>,
    /// Offers of this end that were accepted.
    pub offers: u32,
    /// What became of the referral, as the last NOTIFY told.
    pub referred: Option<u16>,
}

/// Added to a call's number, it numbers the call that a REFER within it leads to.
pub const REFERRED: u32 = 1 << 30;

/// One call to make.
#[derive(Clone, Debug)]
pub struct CallSpec {
    /// Its number: stamped on every packet, unique in a run.
    pub call: u32,
    /// User part of whom to call.
    pub to: String,
    /// How long each end sends audio; `None` = until somebody hangs up.
    pub talk: Option<Duration>,
    /// Quiet time between the last packet and the BYE, so that packets on their way still arrive.
    pub linger: Duration,
    /// Who hangs up.
    pub hangup: Role,
    /// Send audio at all?
    pub rtp: bool,
    /// From INVITE to the final answer; `None`: as the callee pleases.
    pub answer_after: Option<Duration>,
    /// What happens meanwhile.
    pub script: Script,
    /// Whom the script refers the callee to (user part).
    pub refer_to: String,
}

impl CallSpec {
    /// A call with audio for `talk`, then half a second of silence; the caller hangs up.
    pub fn new(call: u32, to: impl Into<String>, talk: Duration) -> Self {
        let (linger, hangup) = (Duration::from_millis(500), Role::Caller);
        Self {
            call,
            to: to.into(),
            talk: Some(talk),
            linger,
            hangup,
            rtp: true,
            answer_after: None,
            script: Script::Plain,
            refer_to: String::new(),
        }
    }

    /// From the answer until somebody hangs up; `None` = no end. Who is on hold for half of the talk has as much left to say.
    pub(super) fn lasts(&self) -> Option<Duration> {
        let talk = self.talk?;
        let held = if self.script == Script::Hold { talk / 2 } else { Duration::ZERO };
        Some(talk + held + self.linger)
    }

    /// Packets that each end sends; `None` = no end.
    pub(super) fn packets(&self) -> Option<u32> {
        match (self.rtp, self.talk) {
            (false, _) => Some(0),
            (true, talk) => talk.map(|talk| (talk.as_nanos() / PTIME.as_nanos()) as u32),
        }
    }

    /// The value of the header `X-Call`, which tells the other end.
    pub(super) fn header(&self) -> String {
        let talk = self.talk.map(|talk| format!(";talk={}", talk.as_millis())).unwrap_or_default();
        let by = if self.hangup == Role::Caller { "caller" } else { "callee" };
        let (call, linger, rtp) = (self.call, self.linger.as_millis(), u8::from(self.rtp));
        let answer =
            self.answer_after.map(|after| format!(";answer={}", after.as_millis())).unwrap_or_default();
        format!("{call}{talk};linger={linger};by={by};rtp={rtp}{answer}{}", self.script.write())
    }

    /// Read the header; a call without it is somebody else's, and numbered 0.
    pub(super) fn read(header: &str, to: &str) -> Self {
        let millis = |name| param(header, name).and_then(|v| v.parse().ok()).map(Duration::from_millis);
        Self {
            call: header.split(';').next().and_then(|n| n.parse().ok()).unwrap_or(0),
            to: to.to_owned(),
            talk: millis("talk"),
            linger: millis("linger").unwrap_or_default(),
            hangup: if param(header, "by") == Some("callee") { Role::Callee } else { Role::Caller },
            rtp: param(header, "rtp") == Some("1"),
            answer_after: millis("answer"),
            script: Script::read(header),
            refer_to: String::new(),
        }
    }
}

/// How calls are answered.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// From INVITE to 180.
    pub ring_after: Duration,
    /// From INVITE to 200, or to the refusal.
    pub answer_after: Duration,
    /// Refuse with this status.
    pub refuse: Option<u16>,
}

impl Default for Answering {
    fn default() -> Self {
        Self { ring_after: Duration::ZERO, answer_after: Duration::from_millis(100), refuse: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_read_the_same_plan() {
        let script = Script::Abandon(Abandon::NoAck);
        let spec =
            CallSpec { hangup: Role::Callee, script, ..CallSpec::new(7, "bob", Duration::from_secs(2)) };
        let read = CallSpec::read(&spec.header(), "bob");
        assert_eq!((read.call, read.talk, read.linger), (7, spec.talk, spec.linger));
        assert_eq!((read.hangup, read.packets()), (Role::Callee, Some(100)));
        assert_eq!((read.script, Script::read("1;forks=3")), (script, Script::Forks(3)));
    }
}
