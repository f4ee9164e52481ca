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

#[cfg(test)]
mod tests {
    use super::super::latch::Heard;
    use super::super::rivals::Rivals;
    use super::super::{Description, End};
    use super::*;
    use std::net::SocketAddr;

    const RTP: &str = "203.0.113.7:30000";
    const RTCP: &str = "203.0.113.7:30001";
    const RTCP2: &str = "203.0.113.7:50001";
    const ANNOUNCED: &str = "198.51.100.2:4001";

    struct Leg {
        companion: Companion,
        latch: Latch,
        trust: Trust,
        rivals: Rivals,
        now: Instant,
    }

    fn addr(text: &str) -> Addr {
        text.parse::<SocketAddr>().unwrap().into()
    }

    impl Leg {
        /// Signaling came from the host of [`RTP`].
        fn new(rtp: &str, rtcp: &str) -> Self {
            let (mut trust, mut latch) = (Trust::default(), Latch::new());
            let (rtp, rtcp) = (rtp.parse().ok(), rtcp.parse().ok());
            trust.update(&[addr(RTP).ip.into()], false, &Description { rtp, rtcp, ..Description::default() });
            latch.arm(Instant::ZERO, &trust, true);
            let mut rivals = Rivals::default();
            rivals.reserve(0);
            Self { companion: Companion::new(), latch, trust, rivals, now: Instant::ZERO }
        }

        fn voice(&mut self, from: &str, packets: u16) {
            for n in 0..packets {
                self.now += Duration::from_millis(20);
                let heard = Heard { from: addr(from), rtp: Some((1, n)) };
                let bench = self.rivals.bench(0, End::A);
                self.latch.receive(self.now, &heard, &self.trust, Duration::from_millis(20), bench);
            }
        }

        fn report(&mut self, from: &str) -> Result<(), DropReason> {
            self.companion.receive(self.now, addr(from), &self.trust, &self.latch)
        }

        fn destination(&mut self) -> Option<Addr> {
            self.companion.destination(&self.trust, &self.latch)
        }

        /// Behind NAT, RTP latched.
        fn latched() -> Self {
            let mut leg = Self::new("10.0.0.1:4000", "10.0.0.1:4001");
            leg.voice(RTP, 4);
            leg
        }
    }

    #[test]
    fn nothing_is_learned_or_sent_before_rtp() {
        let mut leg = Leg::new("10.0.0.1:4000", "10.0.0.1:4001");
        assert_eq!(leg.report(RTCP), Err(DropReason::NotRtcp));
        assert_eq!(leg.destination(), None);
        leg.voice(RTP, 3);
        assert_eq!((leg.report(RTCP), leg.destination()), (Err(DropReason::NotRtcp), None));
    }

    #[test]
    fn the_host_of_the_rtp_latch_is_learned() {
        let mut leg = Leg::latched();
        assert_eq!(leg.destination(), None);
        assert_eq!(leg.report(RTCP), Ok(()));
        assert_eq!(leg.destination(), Some(addr(RTCP)));
        assert_eq!(leg.report("192.0.2.66:30001"), Err(DropReason::Stranger));
    }

    #[test]
    fn the_announced_address_is_accepted_before_rtp_and_never_latches_it() {
        let mut leg = Leg::new("198.51.100.2:4000", ANNOUNCED);
        assert_eq!(leg.report(ANNOUNCED), Ok(()));
        assert_eq!((leg.latch.source(), leg.destination()), (None, None));
        leg.voice("198.51.100.2:4000", 1);
        assert_eq!(leg.destination(), Some(addr(ANNOUNCED)));
    }

    #[test]
    fn the_announced_address_takes_the_place_of_another_port() {
        let mut leg = Leg::new("198.51.100.2:4000", ANNOUNCED);
        leg.voice("198.51.100.2:4000", 1);
        assert_eq!(leg.report("198.51.100.2:9999"), Ok(()));
        assert_eq!(leg.report(ANNOUNCED), Ok(()));
        assert_eq!(leg.report("198.51.100.2:9999"), Err(DropReason::Unproven));
        assert_eq!(leg.destination(), Some(addr(ANNOUNCED)));
    }

    #[test]
    fn another_port_of_the_host_waits_until_the_latched_one_is_gone() {
        let mut leg = Leg::latched();
        leg.report(RTCP).unwrap();
        leg.now += Duration::from_secs(14);
        assert_eq!(leg.report(RTCP2), Err(DropReason::Unproven));
        leg.now += Duration::from_secs(1);
        assert_eq!((leg.report(RTCP2), leg.destination()), (Ok(()), Some(addr(RTCP2))));
    }

    #[test]
    fn it_follows_when_rtp_moves() {
        let mut leg = Leg::latched();
        leg.report(RTCP).unwrap();
        leg.now += Duration::from_millis(500);
        leg.voice("203.0.113.7:50000", 4);
        assert_eq!(leg.latch.latched(), Some(addr("203.0.113.7:50000")));
        assert_eq!((leg.report(RTCP2), leg.destination()), (Ok(()), Some(addr(RTCP2))));
    }

    #[test]
    fn a_source_on_a_host_that_rtp_has_left_is_forgotten() {
        let mut leg = Leg::latched();
        leg.report(RTCP).unwrap();
        leg.trust.add(addr("198.51.77.9:1").ip.into());
        leg.latch.arm(leg.now, &leg.trust, false);
        leg.now += Duration::from_millis(100);
        leg.voice("198.51.77.9:1000", 4);
        assert_eq!(leg.latch.latched(), Some(addr("198.51.77.9:1000")));
        assert_eq!((leg.destination(), leg.report(RTCP)), (None, Err(DropReason::Stranger)));
    }

    #[test]
    fn an_announced_address_that_never_answers_gets_a_budget() {
        let mut leg = Leg::new("10.0.0.1:4000", ANNOUNCED);
        leg.voice(RTP, 4);
        assert_eq!((0..1_000).filter(|_| leg.destination().is_some()).count(), 250);
    }
}
