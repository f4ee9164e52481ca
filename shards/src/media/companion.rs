//! The RTCP latch of one leg: it follows the RTP latch and never leads it (rule 10).

use super::latch::Latch;
use super::trust::{Addr, Trust};
use crate::io::DropReason;
use crate::types::Instant;
use std::time::Duration;

/// RTCP datagrams sent to an announced address that never answers, like the RTP budget.
const BUDGET: u16 = 250;
/// Three times the usual interval of reports (RFC 3550 section 6.2): then the mapping behind the source is gone.
const SILENCE: Duration = Duration::from_secs(15);

/// Where one leg's RTCP comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub struct Companion {
    held: Option<Held>,
    budget: u16,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    addr: Addr,
    /// The RTP latch's port when this source was heard last: another one means that the peer's NAT has moved.
    rtp_port: Option<u16>,
    /// Exactly the announced address (a=rtcp), not only the RTP latch's host.
    exact: bool,
    last: Instant,
}

impl Default for Companion {
    fn default() -> Self {
        Self::new()
    }
}

impl Companion {
    /// Nothing learned.
    pub const fn new() -> Self {
        Self { held: None, budget: BUDGET }
    }

    /// The announced address changed: it may be tried anew.
    pub fn arm(&mut self) {
        self.budget = BUDGET;
    }

    /// The source in possession.
    pub fn latched(&self) -> Option<Addr> {
        self.held.map(|held| held.addr)
    }

    /// Judge one well-formed RTCP datagram.
    pub fn receive(
        &mut self,
        now: Instant,
        from: Addr,
        trust: &Trust,
        rtp: &Latch,
    ) -> Result<(), DropReason> {
        if !rtp.is_armed() {
            return Err(DropReason::NotArmed);
        }
        let exact = trust.control() == Some(from);
        let beside = rtp.latched().map(|addr| addr.ip);
        if !exact && beside != Some(from.ip) {
            return Err(if beside.is_none() { DropReason::NotRtcp } else { DropReason::Stranger });
        }
        self.check(trust, rtp);
        if self.held.is_some_and(|held| held.addr != from && !held.yields(now, exact, rtp)) {
            return Err(DropReason::Unproven);
        }
        let rtp_port = rtp.latched().map(|addr| addr.port);
        self.held = Some(Held { addr: from, rtp_port, exact, last: now });
        Ok(())
    }

    /// Where to send RTCP: nowhere before RTP is latched, then to the learned source, else to a usable a=rtcp within
    /// its budget. Ask only when a datagram will go.
    pub fn destination(&mut self, trust: &Trust, rtp: &Latch) -> Option<Addr> {
        rtp.latched()?;
        self.check(trust, rtp);
        if let Some(addr) = trust.told_control().or(self.latched()) {
            return Some(addr);
        }
        let addr = trust.control()?;
        self.budget = self.budget.checked_sub(1)?;
        Some(addr)
    }

    /// Forget a source that S, D and the RTP latch of now would not admit.
    fn check(&mut self, trust: &Trust, rtp: &Latch) {
        let beside = rtp.latched().map(|addr| addr.ip);
        self.held =
            self.held.filter(|held| trust.control() == Some(held.addr) || beside == Some(held.addr.ip));
    }
}

impl Held {
    /// A better source takes the place at once; an equal one when this one must have moved.
    fn yields(&self, now: Instant, exact: bool, rtp: &Latch) -> bool {
        if exact != self.exact {
            return exact || !rtp.is_learning(now) && self.is_gone(now);
        }
        self.is_gone(now) || self.rtp_port != rtp.latched().map(|addr| addr.port)
    }

    fn is_gone(&self, now: Instant) -> bool {
        now.since(self.last) >= SILENCE
    }
}
