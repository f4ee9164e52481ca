//! STUN and DTLS on the ports of media (RFC 7983): ICE's checks and consent (RFC 8445, RFC 7675) and the handshakes of
//! DTLS-SRTP (RFC 5764), which two ends hold with each other through us.
//!
//! We have no keys, so nothing here teaches the latch, refreshes a timer or opens a way for RTP or RTCP: it comes only
//! from hosts that signaling vouches for (rank 0 and 1), or the latched source, and goes only
//!
//! - where the softswitch said, or
//! - as the answer to a request: back to exactly where that came from, once, or
//! - to the way back of its own: where the last request came from that the other end has answered with success (it knows
//!   the password, so nobody else can make one); or the latched source; or, before there is either, the first host of
//!   rank 0 or 1 that was heard here, until that is silent; or
//! - to a usable announced address, a few times.

use super::account::Beside;
use super::meter::{Meter, Rate};
use super::trust::{Addr, Rank, Trust};
use crate::io::DropReason;
use crate::types::Instant;
use crate::wire::dtls;
use crate::wire::stun::{self, Binding, Class, Transaction};
use std::time::Duration;

/// Requests of one component that wait for their answers; the oldest gives way. ICE starts one each 20 to 50 ms.
const OPEN_REQUESTS: usize = 8;
/// Datagrams sent to an announced address that was never heard.
const BUDGET: u8 = 50;
/// A way back that was not answered yields to an equal one when it was silent for so long.
const SILENCE: Duration = Duration::from_millis(500);
/// A third of the STUN that one end may send: checks each 20 ms for a while, consent each 5 s later.
const STUN_RATE: Rate = Rate { packets_per_s: 25, octets_per_s: 4_000 };
/// A third of the DTLS that one end may send: a few flights with certificates.
const DTLS_RATE: Rate = Rate { packets_per_s: 10, octets_per_s: 4_000 };

/// What a datagram is, by its first octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stun,
    Dtls,
}

/// What both ends agreed to hold with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    /// ICE: STUN passes.
    pub(super) ice: bool,
    /// DTLS beside RTP passes.
    pub(super) dtls: bool,
}

impl Agreed {
    /// Neither.
    pub(super) const NOTHING: Self = Self { ice: false, dtls: false };
}

/// The state of one stream's two ends.
#[derive(Debug)]
pub(super) struct Association {
    agreed: Agreed,
    open: bool,
    ends: [Facing; 2],
    /// What was forwarded from each end, under all agreements.
    beside: [Beside; 2],
}

#[derive(Debug)]
struct Facing {
    stun: Meter,
    dtls: Meter,
    /// Of RTP, and of RTCP where that has a port of its own.
    components: [Component; 2],
}

/// One port pair's half.
#[derive(Clone, Copy, Debug)]
struct Component {
    back: Option<Back>,
    budget: u8,
    /// The place of the next request.
    next: u8,
    requests: [Option<(Transaction, Addr)>; OPEN_REQUESTS],
}

/// A way back.
#[derive(Clone, Copy, Debug)]
struct Back {
    addr: Addr,
    rank: Rank,
    /// The other end has answered a request from there with success.
    answered: bool,
    last: Instant,
}

/// A datagram at one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) now: Instant,
    pub(super) from: Addr,
    pub(super) octets: &'a [u8],
    pub(super) kind: Kind,
    /// At which end, as an index.
    pub(super) end: usize,
    /// At the RTCP port.
    pub(super) rtcp: bool,
}

/// What media knows of one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) trust: &'a Trust,
    /// The learned source of this component.
    pub(super) latched: Option<Addr>,
}

impl Association {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self { agreed, open: true, ends: [Facing::new(), Facing::new()], beside: Default::default() }
    }

    /// What was learned under another agreement is forgotten.
    pub(super) fn agree(&mut self, agreed: Agreed) {
        if self.agreed != agreed {
            *self = Self { open: self.open, beside: self.beside, ..Self::new(agreed) };
        }
    }

    /// Let datagrams through, or not.
    pub(super) const fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// This end announced another address: it may be tried anew.
    pub(super) fn renew(&mut self, end: usize) {
        self.ends[end].components.iter_mut().for_each(|component| component.budget = BUDGET);
    }

    /// STUN or DTLS that both ends agreed to; anything else is media.
    pub(super) fn kind(&self, octets: &[u8]) -> Option<Kind> {
        match octets.first() {
            Some(0..=3) if self.agreed.ice && stun::begins(octets) => Some(Kind::Stun),
            Some(&first) if self.agreed.dtls && dtls::is_dtls(first) => Some(Kind::Dtls),
            _ => None,
        }
    }

    /// Where the datagram goes.
    pub(super) fn relay(
        &mut self,
        datagram: &Datagram<'_>,
        near: Known<'_>,
        far: Known<'_>,
    ) -> Result<Addr, DropReason> {
        let rank = near.trust.rank(datagram.from);
        if rank > Rank::Host && near.latched != Some(datagram.from) {
            return Err(DropReason::Stranger);
        }
        if !self.open {
            return Err(DropReason::GateClosed);
        }
        let meter = self.ends[datagram.end].meter(datagram.kind);
        if !meter.allows(datagram.now) {
            return Err(DropReason::Rate);
        }
        let binding = read(datagram)?;
        meter.charge(datagram.now, datagram.octets.len());
        self.hear(datagram, rank, binding);
        let toward = &mut self.ends[1 - datagram.end].components[usize::from(datagram.rtcp)];
        let to = match binding {
            Some(Binding { class: class @ (Class::Success | Class::Error), transaction }) => {
                toward.answer(datagram.now, class, transaction, far.trust)
            }
            _ => toward.destination(far, datagram.rtcp),
        }?;
        let beside = &mut self.beside[datagram.end];
        beside.packets += 1;
        beside.octets += datagram.octets.len() as u64;
        Ok(to)
    }

    /// What was forwarded from each end.
    pub(super) const fn beside(&self) -> [Beside; 2] {
        self.beside
    }

    /// What the datagram tells of the end that it came from.
    fn hear(&mut self, datagram: &Datagram<'_>, rank: Rank, binding: Option<Binding>) {
        let component = &mut self.ends[datagram.end].components[usize::from(datagram.rtcp)];
        component.hear(datagram.now, datagram.from, rank);
        if let Some(Binding { class: Class::Request, transaction }) = binding {
            component.ask(transaction, datagram.from);
        }
    }
}

/// The STUN message, if it is one.
fn read(datagram: &Datagram<'_>) -> Result<Option<Binding>, DropReason> {
    match datagram.kind {
        Kind::Stun => Binding::parse(datagram.octets).map(Some).ok_or(DropReason::NotStun),
        Kind::Dtls if dtls::is_handshake(datagram.octets) => Ok(None),
        Kind::Dtls => Err(DropReason::NotDtls),
    }
}

impl Facing {
    fn new() -> Self {
        let component = Component { back: None, budget: BUDGET, next: 0, requests: [None; OPEN_REQUESTS] };
        Self { stun: Meter::new(STUN_RATE), dtls: Meter::new(DTLS_RATE), components: [component; 2] }
    }

    const fn meter(&mut self, kind: Kind) -> &mut Meter {
        match kind {
            Kind::Stun => &mut self.stun,
            Kind::Dtls => &mut self.dtls,
        }
    }
}

impl Component {
    /// The first source that is heard becomes the way back; a better one replaces it at once, an equal one when it is
    /// silent. One that was answered yields to nothing but another that is.
    fn hear(&mut self, now: Instant, from: Addr, rank: Rank) {
        match &mut self.back {
            Some(back) if back.addr == from => (back.last, back.rank) = (now, rank),
            Some(back) if back.answered => {}
            Some(back) if rank > back.rank || rank == back.rank && now.since(back.last) < SILENCE => {}
            _ => self.back = Some(Back { addr: from, rank, answered: false, last: now }),
        }
    }

    /// A request from another port than before is the same agent's behind a new mapping: nobody else knows its number.
    fn ask(&mut self, transaction: Transaction, from: Addr) {
        let known = |request: &Option<(Transaction, Addr)>| request.is_some_and(|(t, _)| t == transaction);
        let place = self.requests.iter().position(known).unwrap_or_else(|| {
            self.next = (self.next + 1) % OPEN_REQUESTS as u8;
            usize::from(self.next)
        });
        self.requests[place] = Some((transaction, from));
    }

    /// Who asked; each request has one answer. Success makes him the way back.
    fn answer(
        &mut self,
        now: Instant,
        class: Class,
        transaction: Transaction,
        trust: &Trust,
    ) -> Result<Addr, DropReason> {
        let asked =
            |request: &&mut Option<(Transaction, Addr)>| request.is_some_and(|(t, _)| t == transaction);
        let request = self.requests.iter_mut().find(asked).and_then(Option::take);
        let (_, addr) = request.ok_or(DropReason::Unasked)?;
        if class == Class::Success {
            self.back = Some(Back { addr, rank: trust.rank(addr), answered: true, last: now });
        }
        Ok(addr)
    }

    /// Where what nobody asked for goes.
    fn destination(&mut self, to: Known<'_>, rtcp: bool) -> Result<Addr, DropReason> {
        let (told, announced) = match rtcp {
            false => (to.trust.told(), to.trust.announced()),
            true => (to.trust.told_control(), to.trust.control()),
        };
        self.back = self.back.filter(|back| to.trust.rank(back.addr) <= Rank::Host);
        let answered = self.back.filter(|back| back.answered).map(|back| back.addr);
        let heard = self.back.map(|back| back.addr);
        if let Some(addr) = told.or(answered).or(to.latched).or(heard) {
            return Ok(addr);
        }
        let addr = announced.ok_or(DropReason::NoDestination)?;
        self.budget = self.budget.checked_sub(1).ok_or(DropReason::NoDestination)?;
        Ok(addr)
    }
}
