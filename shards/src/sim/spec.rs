//! What a call is to do, told to both of its ends.

use super::endpoint::Role;
use super::media::PTIME;
use super::message::param;
use std::time::Duration;

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
}

impl CallSpec {
    /// A call with audio for `talk`, then half a second of silence; the caller hangs up.
    pub fn new(call: u32, to: impl Into<String>, talk: Duration) -> Self {
        let (linger, hangup) = (Duration::from_millis(500), Role::Caller);
        Self { call, to: to.into(), talk: Some(talk), linger, hangup, rtp: true }
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
        format!("{call}{talk};linger={linger};by={by};rtp={rtp}")
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
        let spec = CallSpec { hangup: Role::Callee, ..CallSpec::new(7, "bob", Duration::from_secs(2)) };
        let read = CallSpec::read(&spec.header(), "bob");
        assert_eq!((read.call, read.talk, read.linger), (7, spec.talk, spec.linger));
        assert_eq!((read.hangup, read.packets()), (Role::Callee, Some(100)));
    }
}
