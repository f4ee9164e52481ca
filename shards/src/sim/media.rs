//! One end of one call's audio: 20 ms packets out, a judge of what comes in.

use super::endpoint::{Event, Kind, MediaReport, Out};
use super::rtp::{self, Header, SAMPLES, Stamp};
use super::sdp::Audio;
use crate::random::Rng;
use crate::types::Instant;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Time between two packets.
pub const PTIME: Duration = Duration::from_millis(20);
const RTCP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Media {
    call: u32,
    by_caller: bool,
    /// Which branch of a forked call this is.
    fork: u8,
    /// Other branches that get copies of what we send, until one has answered.
    branches: Vec<SocketAddr>,
    /// Packets from each losing branch.
    forks: Vec<u32>,
    /// Our RTP address; RTCP is at the next port.
    pub(super) local: SocketAddr,
    remote: Option<Audio>,
    header: Header,
    /// Packets still to be sent; `None` = until told to stop.
    left: Option<u32>,
    next: Option<Instant>,
    next_rtcp: Option<Instant>,
    held: bool,
    report: MediaReport,
}

impl Media {
    pub(super) fn new(
        call: u32,
        (by_caller, fork): (bool, u8),
        local: SocketAddr,
        left: Option<u32>,
        rng: &mut Rng,
    ) -> Self {
        let random = rng.u64();
        let header = Header {
            seq: random as u16,
            timestamp: (random >> 16) as u32,
            ssrc: (rng.u64() >> 32) as u32,
            marker: true,
        };
        let (remote, next, next_rtcp, report) = Default::default();
        let (branches, forks) = Default::default();
        let held = false;
        Self {
            call,
            by_caller,
            fork,
            branches,
            forks,
            local,
            remote,
            header,
            left,
            next,
            next_rtcp,
            held,
            report,
        }
    }

    /// Where the other end wants its packets. A changed direction pauses or goes on.
    pub(super) fn describe(&mut self, now: Instant, remote: Audio) {
        let held = !remote.direction.listens();
        self.remote = Some(remote);
        self.hold(now, held);
    }

    /// Another branch of a forked call speaks from there.
    pub(super) fn fork(&mut self, branch: Audio) {
        if self.remote.is_some_and(|remote| remote.rtp != branch.rtp) && !self.branches.contains(&branch.rtp)
        {
            self.branches.push(branch.rtp);
        }
    }

    /// One branch has answered.
    pub(super) fn settle(&mut self) {
        self.branches.clear();
    }

    /// Packets that arrived so far.
    pub(super) const fn received(&self) -> u32 {
        self.report.received
    }

    /// Packets from each losing branch.
    pub(super) fn forks(&self) -> Vec<u32> {
        self.forks.clone()
    }

    /// Send no more.
    pub(super) const fn fall_silent(&mut self) {
        (self.next, self.next_rtcp, self.left) = (None, None, Some(0));
    }

    /// Pause or go on. Audio goes on a little later, when the answer has passed everybody on its way.
    pub(super) fn hold(&mut self, now: Instant, held: bool) {
        if self.held && !held && self.next.is_some() {
            self.next = Some(now + PTIME * 5);
        }
        self.held = held;
    }

    /// Begin to send.
    pub(super) fn start(&mut self, now: Instant) {
        if self.next.is_none() && self.left != Some(0) {
            self.next = Some(now);
            self.next_rtcp = Some(now + RTCP_INTERVAL);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.remote?;
        let rtp = self.next.filter(|_| !self.held);
        [rtp, self.next_rtcp].into_iter().flatten().min()
    }

    /// Send what is due; a late caller gets the packets that it missed in one go (open loop).
    pub(super) fn tick(&mut self, now: Instant, out: &mut VecDeque<Out>) {
        let Some(remote) = self.remote else { return };
        while !self.held
            && let Some(at) = self.next
            && at <= now
        {
            self.send_rtp(now, remote.rtp, out);
            self.left = self.left.map(|left| left.saturating_sub(1));
            self.next = (self.left != Some(0)).then_some(at + PTIME);
            if self.next.is_none() {
                self.farewell(now, out);
            }
        }
        if self.next_rtcp.is_some_and(|at| at <= now) {
            self.send_rtcp(now, false, out);
            self.next_rtcp = Some(now + RTCP_INTERVAL);
        }
    }

    /// Judge what arrived at our RTP port, or RTCP port.
    pub(super) fn receive(&mut self, now: Instant, is_rtcp: bool, from: SocketAddr, bytes: &[u8]) -> Event {
        if is_rtcp { self.receive_rtcp(from, bytes) } else { self.receive_rtp(now, from, bytes) }
    }

    /// The call is over: stop, and tell what was.
    pub(super) fn finish(&mut self, now: Instant, out: &mut VecDeque<Out>) -> MediaReport {
        if self.next.take().is_some() {
            self.farewell(now, out);
        }
        std::mem::take(&mut self.report)
    }

    fn receive_rtp(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Event {
        match rtp::stamp(bytes) {
            Some(stamp) if stamp.call == self.call && stamp.by_caller != self.by_caller => {
                self.note(stamp);
                Event::RtpReceived { call: self.call, index: stamp.index, delay: now.since(stamp.sent) }
            }
            _ => Event::Misdelivered { call: Some(self.call), from },
        }
    }

    fn note(&mut self, stamp: Stamp) {
        match usize::from(stamp.fork).checked_sub(1) {
            None => drop(self.report.note(stamp.index)),
            Some(loser) => {
                self.forks.resize(self.forks.len().max(loser + 1), 0);
                self.forks[loser] += 1;
            }
        }
    }

    fn receive_rtcp(&mut self, from: SocketAddr, bytes: &[u8]) -> Event {
        if !rtp::is_rtcp(bytes) || rtp::rtcp_ssrc(bytes) == Some(self.header.ssrc) {
            return Event::Misdelivered { call: Some(self.call), from };
        }
        self.report.rtcp_received += 1;
        Event::RtcpReceived { call: self.call }
    }

    fn send_rtp(&mut self, now: Instant, to: SocketAddr, out: &mut VecDeque<Out>) {
        let stamp = Stamp {
            call: self.call,
            by_caller: self.by_caller,
            fork: self.fork,
            index: self.report.sent,
            sent: now,
        };
        let bytes = rtp::packet(self.header, stamp);
        for &branch in &self.branches {
            out.push_back(Out::Send { local: self.local, to: branch, bytes: bytes.clone(), kind: Kind::Rtp });
        }
        out.push_back(Out::Send { local: self.local, to, bytes, kind: Kind::Rtp });
        if self.report.sent_at.len() < MediaReport::KEPT {
            self.report.sent_at.push(now);
        }
        self.report.sent += 1;
        self.header.seq = self.header.seq.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(SAMPLES);
        self.header.marker = false;
    }

    fn farewell(&mut self, now: Instant, out: &mut VecDeque<Out>) {
        self.next_rtcp = None;
        self.send_rtcp(now, true, out);
    }

    fn send_rtcp(&mut self, now: Instant, bye: bool, out: &mut VecDeque<Out>) {
        let Some(remote) = self.remote else { return };
        let bytes: Bytes =
            rtp::sender_report(self.header.ssrc, now, self.header.timestamp, self.report.sent, bye);
        let local = SocketAddr::new(self.local.ip(), self.local.port() + 1);
        out.push_back(Out::Send { local, to: remote.rtcp, bytes, kind: Kind::Rtcp });
        self.report.rtcp_sent += 1;
    }
}
