//! Sources that want the place of the latched one, and how far each has proved itself (rules 4 and 12).

use super::latch::Heard;
use super::trust::Addr;
use crate::limits::MAX_CANDIDATES;
use crate::types::Instant;
use std::time::Duration;

/// Packet times without a packet after which a candidate's progress protects it no longer.
const FRESH: u32 = 10;

#[derive(Clone, Copy, Debug)]
struct Rival {
    from: Addr,
    ssrc: u32,
    /// Microseconds from the first to the last packet.
    span: u32,
    sequence: u16,
    count: u8,
    first: Instant,
}

/// At most [`MAX_CANDIDATES`], in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rivals([Option<Rival>; MAX_CANDIDATES]);

/// How far a candidate has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// Packets in order.
    pub(super) count: u8,
    /// Time between the first and the last.
    pub(super) span: Duration,
    /// When the first came.
    pub(super) since: Instant,
}

impl Proof {
    /// So many packets, spread over half the time that they should take?
    pub(super) fn reaches(self, packets: u8, ptime: Duration) -> bool {
        self.count >= packets && self.span * 2 >= ptime * u32::from(packets - 1)
    }
}

impl Rivals {
    /// Nobody.
    pub(super) const NONE: Self = Self([None; MAX_CANDIDATES]);

    /// Count one more packet. `None` when there is no room for its source.
    pub(super) fn heard(&mut self, now: Instant, heard: &Heard, ptime: Duration) -> Option<Proof> {
        let known = self.0.iter().position(|r| r.is_some_and(|r| r.from == heard.from));
        let index = known.or_else(|| self.room(now, heard, ptime))?;
        let continues = known.and(self.0[index]).filter(|r| heard.continues(r.ssrc, r.sequence));
        let rival = match continues {
            Some(rival) => rival.advanced(now, heard),
            None => Rival::new(now, heard),
        };
        self.0[index] = Some(rival);
        Some(Proof { count: rival.count, span: rival.span(), since: rival.first })
    }

    pub(super) fn clear(&mut self) {
        *self = Self::NONE;
    }

    /// A free place, or that of the candidate with the least progress: at once when that one is silent, one time in
    /// eight when it has only sent one packet, so that a spray of ports can neither fill the table nor sweep it.
    fn room(&self, now: Instant, heard: &Heard, ptime: Duration) -> Option<usize> {
        if let Some(free) = self.0.iter().position(Option::is_none) {
            return Some(free);
        }
        let least = |rival: &Option<Rival>| rival.map(|r| (r.is_fresh(now, ptime), r.count, r.first));
        let index = (0..MAX_CANDIDATES).min_by_key(|&i| least(&self.0[i]))?;
        let victim = self.0[index]?;
        let drawn = victim.count == 1 && lot(now, heard) == 0;
        (drawn || !victim.is_fresh(now, ptime)).then_some(index)
    }
}

impl Rival {
    fn new(now: Instant, heard: &Heard) -> Self {
        Self {
            from: heard.from,
            ssrc: heard.ssrc(),
            span: 0,
            sequence: heard.sequence(),
            count: 1,
            first: now,
        }
    }

    fn advanced(mut self, now: Instant, heard: &Heard) -> Self {
        self.sequence = heard.sequence();
        self.count = self.count.saturating_add(1);
        self.span = u32::try_from(now.since(self.first).as_micros()).unwrap_or(u32::MAX);
        self
    }

    fn span(&self) -> Duration {
        Duration::from_micros(u64::from(self.span))
    }

    fn is_fresh(&self, now: Instant, ptime: Duration) -> bool {
        let limit = if self.count > 1 { ptime * FRESH } else { ptime * 2 };
        now.since(self.first + self.span()) <= limit
    }
}

/// One of eight lots; a sender cannot choose it, because he does not know our clock.
fn lot(now: Instant, heard: &Heard) -> u64 {
    let mixed = (now.as_nanos() ^ u64::from(heard.from.port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> 61
}
