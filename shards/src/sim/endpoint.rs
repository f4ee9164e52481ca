//! What every simulated endpoint has in common: its doors, its outputs and its events.

use super::spec::{CallSpec, Story};
use crate::types::Instant;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A terminal, a softswitch: anything that speaks when spoken to and when its time has come.
pub trait Endpoint {
    /// A datagram arrived at the endpoint's own address `local`. For a terminal behind a NAT that is the inside
    /// address, as [`super::Nat::inbound`] gives it.
    fn handle(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &[u8]);
    /// Do what is due at `now`. Calling it early or twice does no harm.
    fn handle_timeout(&mut self, now: Instant);
    /// When `handle_timeout` wants to be called next; `None` when nothing is pending.
    fn poll_timeout(&self) -> Option<Instant>;
    /// The next thing to do. Drain to `None` after every call of another method.
    fn poll_output(&mut self) -> Option<Out>;
}

/// A customer's device: a terminal, a media gateway.
pub trait Subscriber: Endpoint {
    /// Its own signaling address, inside the NAT.
    fn address(&self) -> SocketAddr;
    /// Register, or come into service, and stay so from then on.
    fn register(&mut self, now: Instant);
    /// End that.
    fn unregister(&mut self, now: Instant);
    /// Make a call.
    fn call(&mut self, now: Instant, spec: CallSpec);
    /// Hang up; an unanswered call of ours is given up, one of theirs refused.
    fn hang_up(&mut self, now: Instant, call: u32);
    /// Hold or resume.
    fn hold(&mut self, now: Instant, call: u32, hold: bool);
    /// Calls that it takes part in now.
    fn calls(&self) -> usize;
}

/// Whom the subscribers are connected by, with a trunk that calls and is called: a softswitch, a call agent.
pub trait Switch: Endpoint {
    /// The trunk calls a subscriber.
    fn call(&mut self, now: Instant, spec: CallSpec);
    /// The trunk hangs up, gives up or refuses.
    fn hang_up(&mut self, now: Instant, call: u32);
    /// The trunk holds or resumes a call.
    fn hold(&mut self, now: Instant, call: u32, hold: bool);
}

/// What a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIP, MGCP, H.248.
    Signaling,
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
}

/// Something for the world to do.
#[derive(Clone, Debug)]
pub enum Out {
    /// Send `bytes` from the endpoint's own address `local` (inside the NAT, if there is one).
    Send {
        /// The endpoint's own address and port.
        local: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
        /// What it carries.
        kind: Kind,
    },
    /// Datagrams to this own address are expected from now on. Real sockets are bound here; a virtual network needs
    /// nothing. A terminal behind a NAT can do without: its first outbound packet makes the mapping.
    Open(SocketAddr),
    /// The own address is not used any more: close the socket, let the mapping expire.
    Close(SocketAddr),
    /// Something worth counting.
    Event(Event),
}

/// Which end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It sent the INVITE.
    Caller,
    /// It answered.
    Callee,
}

/// What an endpoint saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The registrar answered 200 and lists our contact.
    Registered {
        /// From the first REGISTER to the 200.
        after: Duration,
        /// Until when, as the registrar granted.
        expires: Duration,
    },
    /// A registration was refused or never answered (status 408).
    RegisterFailed {
        /// The SIP status.
        status: u16,
    },
    /// Registrations were removed on request.
    Unregistered,
    /// An INVITE for us arrived.
    CallIncoming {
        /// The call's number (header `X-Call`).
        call: u32,
    },
    /// The other end rings.
    CallRinging {
        /// The call's number.
        call: u32,
        /// From INVITE to the first 180 or 183.
        after: Duration,
    },
    /// The call is up at this end: 200 received (caller) or ACK received (callee).
    CallAnswered {
        /// The call's number.
        call: u32,
        /// Which end.
        role: Role,
        /// From INVITE sent to 200 received, or from INVITE received to ACK received.
        setup: Duration,
    },
    /// The call did not come about.
    CallFailed {
        /// The call's number.
        call: u32,
        /// Which end.
        role: Role,
        /// The SIP status; 408 when nobody answered, 487 when it was cancelled.
        status: u16,
    },
    /// An answered call is over at this end.
    CallEnded {
        /// The call's number.
        call: u32,
        /// Which end.
        role: Role,
        /// What its media did.
        media: MediaReport,
        /// What came of its script.
        story: Story,
    },
    /// Our call has lost power: nothing more comes from its end.
    CallAbandoned {
        /// The call's number.
        call: u32,
    },
    /// A REFER made us call somebody.
    CallReferred {
        /// The number of the call that the REFER was in.
        by: u32,
        /// The new call's number.
        call: u32,
    },
    /// A re-INVITE of ours was answered.
    Reinvited {
        /// The call's number.
        call: u32,
        /// The final status.
        status: u16,
    },
    /// A request outside the call's own (BYE, OPTIONS, MESSAGE, INFO) got its final answer.
    Answered {
        /// Its method.
        method: String,
        /// The final status; 408 when none came.
        status: u16,
    },
    /// A MESSAGE or INFO arrived and was answered 200.
    Text {
        /// Its method.
        method: String,
        /// Its body.
        body: String,
    },
    /// An OPTIONS or a CRLF arrived: somebody keeps our mapping alive.
    Probed,
    /// One good RTP packet of the right call and direction.
    RtpReceived {
        /// The call's number.
        call: u32,
        /// Counts from 0 in each direction.
        index: u32,
        /// One-way, on the clock that both ends share.
        delay: Duration,
    },
    /// One RTCP datagram that tiles into packets as it should.
    RtcpReceived {
        /// The call's number.
        call: u32,
    },
    /// Media of another call, of our own direction, or that is no RTP of ours at all, arrived at a call's port.
    Misdelivered {
        /// The call whose port it reached; `None`: a port of no call.
        call: Option<u32>,
        /// Where it came from.
        from: SocketAddr,
    },
    /// A message that `rsip` rejects, or that lacks what RFC 3261 demands. It was still handled where possible.
    Unparseable {
        /// What is wrong with it.
        why: String,
        /// The message.
        bytes: Bytes,
    },
    /// An address of the other side of Portolan was seen in a message or in SDP.
    Leak {
        /// Which address.
        address: IpAddr,
        /// The start line of the message.
        message: String,
    },
}

/// What one end of a call sent and heard, given with [`Event::CallEnded`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaReport {
    /// Packets sent.
    pub sent: u32,
    /// When each of the first packets was sent; longer calls keep the first [`MediaReport::KEPT`].
    pub sent_at: Vec<Instant>,
    /// Distinct packets received from the other end.
    pub received: u32,
    /// Bit n of word n/64: packet n of the other end arrived.
    pub arrived: Vec<u64>,
    /// Copies beyond the first.
    pub duplicates: u32,
    /// RTCP datagrams sent.
    pub rtcp_sent: u32,
    /// RTCP datagrams received.
    pub rtcp_received: u32,
}

impl MediaReport {
    /// How many send times are kept.
    pub const KEPT: usize = 256;
    /// A packet sent less than this after the peer's second one may find no latched destination yet: a round trip.
    pub const LATCH_MARGIN: Duration = Duration::from_millis(50);

    /// Did packet `index` of the other end arrive?
    pub fn has(&self, index: u32) -> bool {
        self.arrived.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Note that packet `index` of the other end arrived; false if it had before.
    pub fn note(&mut self, index: u32) -> bool {
        let word = index as usize / 64;
        if self.arrived.len() <= word {
            self.arrived.resize(word + 1, 0);
        }
        let fresh = !self.has(index);
        self.arrived[word] |= 1 << (index % 64);
        if fresh {
            self.received += 1;
        } else {
            self.duplicates += 1;
        }
        fresh
    }

    /// Packets of `self` that `peer` never got: `(before_latch, lost)`.
    ///
    /// A relay cannot know where a NATed peer listens before that peer has sent something, so a packet that left
    /// before the peer's second one and a round trip ([`Self::LATCH_MARGIN`]) counts as `before_latch`; every other one is
    /// lost.
    pub fn missing_at(&self, peer: &Self) -> (u32, u32) {
        let latched = peer.sent_at.get(1).map(|&second| second + Self::LATCH_MARGIN);
        let early = |index: u32| match (latched, self.sent_at.get(index as usize)) {
            (Some(latched), Some(&at)) => at < latched,
            (None, _) => true,
            (_, None) => false,
        };
        let missing = (0..self.sent).filter(|&index| !peer.has(index));
        missing.fold((0, 0), |(before, lost), index| match early(index) {
            true => (before + 1, lost),
            false => (before, lost + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(times_ms: &[u64]) -> MediaReport {
        let sent_at: Vec<_> = times_ms.iter().map(|ms| Instant::from_nanos(ms * 1_000_000)).collect();
        MediaReport { sent: sent_at.len() as u32, sent_at, ..Default::default() }
    }

    #[test]
    fn a_packet_counts_once_however_often_it_arrives() {
        let mut report = MediaReport::default();
        assert!(report.note(70));
        assert!(!report.note(70));
        assert_eq!((report.received, report.duplicates), (1, 1));
    }

    #[test]
    fn packets_before_the_peer_could_be_latched_are_told_from_lost_ones() {
        let ours = sender(&[0, 20, 40, 60, 80, 100]);
        let mut peer = sender(&[10, 30]);
        peer.note(2);
        peer.note(5);
        assert_eq!(ours.missing_at(&peer), (3, 1), "0, 20 and 60 ms are before 30 + 50 ms; 80 ms is not");
    }
}
