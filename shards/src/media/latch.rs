//! The RTP latch of one leg: learn fast, never be stolen (RFC 7362).
//!
//! Inputs are the leg's [`Trust`] (S and D) and its packets. Off-path attackers (rank 3) change nothing here. The rules:
//! 1 admission (payload type, lengths, rate), 2 arm, 3 first packet, 4 proof, 5 destination, 6 better rank, 7 rebinding,
//! 8 and 9 re-arming, 10 RTCP follows ([`super::companion`]), 11 ports rest ([`super::ports`]), 12 candidates
//! ([`super::rivals`]), and drops leave no trace, 13 contested. Beside them, a peer that only listens may open its NAT:
//! [`Latch::knock`].

use super::rivals::{Bench, Proof, duration, units};
use super::trust::{Addr, Rank, Trust};
use crate::io::DropReason;
use crate::limits::LEARNING_WINDOW;
use crate::types::Instant;
use std::time::Duration;

/// Packets in order that prove a source (rule 4).
const PROOF: u8 = 4;
/// The same for a source that is only in the right network (rule 3).
const PROOF_NETWORK: u8 = 6;
/// Packets in order after which a provisional source is sent to (rule 5).
const CONFIDENT: u8 = 2;
/// The largest step of the sequence number within a proof (rule 4).
const MAX_STEP: u16 = 16;
/// Packets sent to an announced address that never answers (rule 5), or to a pinhole since it was opened.
const BUDGET: u16 = 250;
/// The budget of an address that has answered.
const UNLIMITED: u16 = u16::MAX;
/// A latched source must be silent this long, and ten packet times, before it can have rebound (rule 7).
const SILENCE: Duration = Duration::from_millis(500);
/// After a re-arm the old source must be silent for so many packet times before another of no better rank takes its
/// place; whoever really moved has stopped sending from there.
const STALE_SILENCE: u32 = 3;
/// Time between two rebindings (rule 7).
const REBIND_PAUSE: Duration = Duration::from_secs(2);
/// Rebindings of one end of a stream (rule 7).
const MAX_REBINDS: u8 = 8;

/// One admitted packet, as far as the latch looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Its source.
    pub from: Addr,
    /// SSRC and sequence number; `None` where the stream is not RTP, and order cannot be checked.
    pub rtp: Option<(u32, u16)>,
}

impl Heard {
    pub(super) fn ssrc(&self) -> u32 {
        self.rtp.map_or(0, |(ssrc, _)| ssrc)
    }

    pub(super) fn sequence(&self) -> u16 {
        self.rtp.map_or(0, |(_, sequence)| sequence)
    }

    /// Is this the next packet, or nearly, of that stream?
    pub(super) fn continues(&self, ssrc: u32, sequence: u16) -> bool {
        self.rtp.is_none_or(|(s, n)| s == ssrc && (1..=MAX_STEP).contains(&n.wrapping_sub(sequence)))
    }
}

/// What the latch says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heed {
    /// It comes from the peer.
    Accept(Event),
    /// It does not, or not provably.
    Drop(DropReason, Event),
}

/// What a packet changed, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing worth counting.
    None,
    /// The source is latched now.
    Latched,
    /// The latch moved without signaling (rule 7).
    Rebound,
    /// A rival on the peer's own host sends a well-formed stream beside it (rule 13).
    Contested,
}

/// Where one leg's media comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub struct Latch {
    peer: Peer,
    armed_at: Instant,
    rebound_at: Instant,
    budget: u16,
    rebinds: u8,
    armed: bool,
    resumed: bool,
    contested: bool,
    /// The bench of candidates is ours; else it is what a former stream or contest has left.
    rivals: bool,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// Nothing but what it announces.
    Unheard,
    /// It has said nothing yet, but can be reached there.
    Pinhole(Addr),
    /// It sends media.
    Held(Held),
}

/// The source in possession: provisional until `proven`.
#[derive(Clone, Copy, Debug)]
struct Held {
    addr: Addr,
    /// Of its streams the two that were heard last, the newest first: a source may interleave two SSRCs, as for voice
    /// and comfort noise, or change from one to another.
    runs: [Run; 2],
    last: Instant,
    rank: Rank,
    proven: bool,
    /// From before the last re-arm.
    stale: bool,
    /// It has knocked before it sent media.
    knocked: bool,
}

/// Packets of one SSRC in order.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    ssrc: u32,
    /// When the first came, in units that pass round (see [`super::rivals`]).
    since: u32,
    sequence: u16,
    /// 0: no such stream.
    count: u8,
}

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}

impl Latch {
    /// Unarmed: everything is dropped.
    pub const fn new() -> Self {
        Self {
            peer: Peer::Unheard,
            armed_at: Instant::ZERO,
            rebound_at: Instant::ZERO,
            budget: BUDGET,
            rebinds: 0,
            armed: false,
            resumed: false,
            contested: false,
            rivals: false,
        }
    }

    /// S or D of the leg changed (or are there at last): learn for [`LEARNING_WINDOW`]. What is latched keeps its place
    /// until a new source proves itself or the window ends (rules 2, 8, 9).
    pub fn arm(&mut self, now: Instant, trust: &Trust, announced_changed: bool) {
        if announced_changed {
            self.budget = BUDGET;
            // What was opened before the first announcement is of the peer that announces itself now.
            if self.armed && matches!(self.peer, Peer::Pinhole(_)) {
                self.peer = Peer::Unheard;
            }
        }
        (self.armed, self.armed_at) = (true, now);
        self.rivals = false;
        self.contested = false;
        if let Peer::Held(held) = &mut self.peer {
            held.stale = true;
            held.knocked &= !announced_changed;
            held.rank = trust.rank(held.addr);
        }
    }

    /// Has a description been accepted?
    pub fn is_armed(&self) -> bool {
        self.armed
    }

    /// Signaling opened this leg's gate again after a hold. If the NAT forgot the mapping meanwhile, the peer comes back
    /// from another port, maybe with a new SSRC: that one rebinding need not show the old SSRC.
    pub fn resume(&mut self) {
        self.resumed = true;
    }

    /// Something arrived from the announced host by another way (RTCP): it may be sent to without limit.
    pub fn answered(&mut self) {
        self.budget = UNLIMITED;
    }

    /// Octets that are no media came from there. A peer behind NAT that only listens, as a gateway between two networks does,
    /// opens its mapping so (RFC 6263 sections 4.1 and 4.5), and else nobody would ever begin. That teaches no more than where
    /// it may be sent to, within the budget, while nothing is learned and no usable address is announced. It may come before
    /// the description does.
    pub fn knock(&mut self, now: Instant, from: Addr, trust: &Trust) {
        self.settle(now, trust);
        let needed = trust.announced().is_none() && self.held().is_none();
        if needed && trust.rank(from) <= Rank::Host {
            (self.budget, self.peer) = (self.budget.max(BUDGET), Peer::Pinhole(from));
        }
    }

    /// The source in possession, provisional or latched.
    pub fn source(&self) -> Option<Addr> {
        self.held().map(|held| held.addr)
    }

    /// The latched source; a provisional one is not latched.
    pub fn latched(&self) -> Option<Addr> {
        self.held().filter(|held| held.proven).map(|held| held.addr)
    }

    /// The SSRC of the source in possession.
    pub(super) fn ssrc(&self) -> Option<u32> {
        self.held().map(|held| held.runs[0].ssrc)
    }

    /// The rank of the source in possession.
    pub fn rank(&self) -> Option<Rank> {
        self.held().map(|held| held.rank)
    }

    /// Inside the learning window?
    pub fn is_learning(&self, now: Instant) -> bool {
        self.armed && now.since(self.armed_at) <= LEARNING_WINDOW
    }

    /// Judge one admitted packet. `bench` is where this end's candidates wait.
    pub fn receive(
        &mut self,
        now: Instant,
        heard: &Heard,
        trust: &Trust,
        ptime: Duration,
        bench: Bench<'_>,
    ) -> Heed {
        if !self.armed {
            return Heed::Drop(DropReason::NotArmed, Event::None);
        }
        self.settle(now, trust);
        match &mut self.peer {
            Peer::Held(held) if held.addr == heard.from => {
                self.resumed = false;
                Heed::Accept(held.follow(now, heard, ptime))
            }
            Peer::Held(held) => {
                let held = *held;
                self.challenge(now, held, heard, trust.rank(heard.from), ptime, bench)
            }
            Peer::Unheard | Peer::Pinhole(_) => self.first(now, heard, trust.rank(heard.from), ptime, bench),
        }
    }

    /// Where to send what the other end says (rule 5). Counts against the budget, so ask only when a packet will go.
    /// The softswitch is taken at its word: its network has no NAT, gateways there may send from another port than they
    /// listen on, and recorders never send at all.
    pub fn destination(&mut self, now: Instant, trust: &Trust) -> Option<Addr> {
        self.settle(now, trust);
        let told = trust.told();
        match self.held() {
            _ if told.is_some() => told,
            Some(held) if held.proven || held.is_in_order() => Some(held.addr),
            _ => self.announced(trust),
        }
    }

    /// Bring the latch up to date, before S or D change and before others look at it. When the window after a re-arm is
    /// over and no new source has proved itself, the old one stays if S and D still allow it, and if it spoke in the
    /// second half of the window or there is nowhere better to send to (rule 9).
    pub fn settle(&mut self, now: Instant, trust: &Trust) {
        let Peer::Held(held) = &mut self.peer else { return };
        if !held.stale || !self.armed || now.since(self.armed_at) <= LEARNING_WINDOW {
            return;
        }
        let alive = held.last >= self.armed_at + LEARNING_WINDOW / 2 || trust.announced().is_none();
        if held.rank < Rank::Stranger && alive {
            held.stale = false;
        } else {
            self.peer = Peer::Unheard;
        }
    }

    const fn held(&self) -> Option<&Held> {
        match &self.peer {
            Peer::Held(held) => Some(held),
            _ => None,
        }
    }

    /// Where the peer has knocked. What it hears there may be all that it has to send, so its first packet closes nothing.
    fn pinhole(&self) -> Option<Addr> {
        match self.peer {
            Peer::Pinhole(addr) => Some(addr),
            Peer::Held(held) => held.knocked.then_some(held.addr),
            Peer::Unheard => None,
        }
    }

    fn announced(&mut self, trust: &Trust) -> Option<Addr> {
        let addr = trust.announced().or(self.pinhole())?;
        if self.budget != UNLIMITED {
            self.budget = self.budget.checked_sub(1)?;
        }
        Some(addr)
    }

    /// Nobody is latched (rule 3).
    fn first(&mut self, now: Instant, heard: &Heard, rank: Rank, ptime: Duration, bench: Bench<'_>) -> Heed {
        match rank {
            Rank::Exact | Rank::Host => self.take(now, heard, rank, rank == Rank::Exact),
            Rank::Network => match self.contend(now, heard, ptime, bench) {
                Some(proof) if proof.reaches(PROOF_NETWORK, ptime) => self.take(now, heard, rank, true),
                _ => Heed::Drop(DropReason::Unproven, Event::None),
            },
            Rank::Stranger => Heed::Drop(DropReason::Stranger, Event::None),
        }
    }

    /// Somebody else is latched.
    fn challenge(
        &mut self,
        now: Instant,
        held: Held,
        heard: &Heard,
        rank: Rank,
        ptime: Duration,
        bench: Bench<'_>,
    ) -> Heed {
        if rank == Rank::Stranger {
            return Heed::Drop(DropReason::Stranger, Event::None);
        }
        let at_once = rank == Rank::Exact || !held.stale;
        if self.is_learning(now) && rank < held.rank && at_once {
            return self.take(now, heard, rank, rank == Rank::Exact);
        }
        let Some(proof) = self.contend(now, heard, ptime, bench) else {
            return Heed::Drop(DropReason::Unproven, Event::None);
        };
        if !proof.reaches(PROOF, ptime) {
            return Heed::Drop(DropReason::Unproven, Event::None);
        }
        if self.supersedes(now, &held, rank, ptime) {
            return self.take(now, heard, rank, true);
        }
        if self.rebinds(now, &held, heard, rank, ptime) {
            return self.rebind(now, heard, rank);
        }
        Heed::Drop(DropReason::Unproven, self.contest(&held, rank, proof))
    }

    /// One more packet of a candidate; the first one finds the bench empty.
    fn contend(
        &mut self,
        now: Instant,
        heard: &Heard,
        ptime: Duration,
        mut bench: Bench<'_>,
    ) -> Option<Proof> {
        if !std::mem::replace(&mut self.rivals, true) {
            bench.clear();
        }
        bench.heard(now, heard, ptime)
    }

    /// May a proved rival take the place of an unproven source (rule 4), or of one from before the re-arm (rule 9)?
    fn supersedes(&self, now: Instant, held: &Held, rank: Rank, ptime: Duration) -> bool {
        if held.stale {
            let quiet = now.since(held.last) >= ptime * STALE_SILENCE;
            return rank <= Rank::Host && (rank < held.rank || quiet);
        }
        !held.proven && rank <= held.rank
    }

    /// Is a proved rival the latched peer behind a new NAT mapping (rule 7)? Inside the window the SSRC may differ, but
    /// the rank may not worsen (rule 6).
    fn rebinds(&self, now: Instant, held: &Held, heard: &Heard, rank: Rank, ptime: Duration) -> bool {
        let silent = now.since(held.last);
        let learning = self.is_learning(now);
        let paused = self.rebinds == 0 || now.since(self.rebound_at) >= REBIND_PAUSE;
        silent >= SILENCE.max(ptime * 10)
            && rank <= if learning { held.rank.min(Rank::Host) } else { Rank::Host }
            && (learning || self.resumed || held.is_continued(heard, silent, ptime))
            && paused
            && self.rebinds < MAX_REBINDS
    }

    fn rebind(&mut self, now: Instant, heard: &Heard, rank: Rank) -> Heed {
        self.rebinds += 1;
        self.rebound_at = now;
        self.take(now, heard, rank, true);
        Heed::Accept(Event::Rebound)
    }

    /// A rival stream beside a living peer: said once per window, and the latch stays (rule 13).
    fn contest(&mut self, held: &Held, rank: Rank, proof: Proof) -> Event {
        if self.contested || rank > Rank::Host || held.last < proof.since {
            return Event::None;
        }
        self.contested = true;
        Event::Contested
    }

    fn take(&mut self, now: Instant, heard: &Heard, rank: Rank, proven: bool) -> Heed {
        let proven = proven || heard.rtp.is_none();
        let knocked = self.pinhole() == Some(heard.from);
        self.rivals = false;
        self.resumed = false;
        self.peer = Peer::Held(Held {
            addr: heard.from,
            runs: [Run::new(now, heard), Run::default()],
            last: now,
            rank,
            proven,
            stale: false,
            knocked,
        });
        Heed::Accept(if proven { Event::Latched } else { Event::None })
    }
}

impl Held {
    /// One more packet of the source in possession.
    fn follow(&mut self, now: Instant, heard: &Heard, ptime: Duration) -> Event {
        if !self.runs[0].is_of(heard) && self.runs[1].is_of(heard) {
            self.runs.swap(0, 1);
        } else if !self.runs[0].is_of(heard) {
            self.runs = [Run::default(), self.runs[0]];
        }
        let run = &mut self.runs[0];
        run.follow(now, heard);
        self.last = now;
        if self.proven {
            return Event::None;
        }
        self.proven = run.proof(now).reaches(PROOF, ptime);
        if self.proven { Event::Latched } else { Event::None }
    }

    /// Has either of its streams come in order, and not been broken since?
    fn is_in_order(&self) -> bool {
        self.runs.iter().any(|run| run.count >= CONFIDENT)
    }

    /// Is this one of the source's streams, not further on than the silence explains?
    fn is_continued(&self, heard: &Heard, silent: Duration, ptime: Duration) -> bool {
        let Some((_, sequence)) = heard.rtp else { return true };
        let limit = silent.as_micros() * 3 / (ptime.as_micros() * 2).max(1) + 64;
        let near = |run: &Run| u128::from(sequence.wrapping_sub(run.sequence)) <= limit;
        self.runs.iter().any(|run| run.count > 0 && run.is_of(heard) && near(run))
    }
}

impl Run {
    fn new(now: Instant, heard: &Heard) -> Self {
        Self { ssrc: heard.ssrc(), since: units(now), sequence: heard.sequence(), count: 1 }
    }

    fn is_of(&self, heard: &Heard) -> bool {
        self.count > 0 && self.ssrc == heard.ssrc()
    }

    fn follow(&mut self, now: Instant, heard: &Heard) {
        if self.count == 0 || !heard.continues(self.ssrc, self.sequence) {
            *self = Self::new(now, heard);
            return;
        }
        (self.sequence, self.count) = (heard.sequence(), self.count.saturating_add(1));
    }

    fn proof(&self, now: Instant) -> Proof {
        let span = duration(units(now).wrapping_sub(self.since));
        Proof { count: self.count, span, since: Instant::ZERO + (now - Instant::ZERO).saturating_sub(span) }
    }
}
