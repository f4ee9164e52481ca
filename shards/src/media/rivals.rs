//! Sources that want the place of the latched one, and how far each has proved itself (rules 4 and 12).

use super::End;
use super::latch::Heard;
use super::trust::{Addr, Host};
use crate::limits::MAX_CANDIDATES;
use crate::types::Instant;
use std::cmp::Reverse;
use std::time::Duration;

/// Packet times without a packet after which a candidate's progress protects it no longer.
const FRESH: u32 = 10;

/// One candidate in four words, so that a table of them can be taken from the system as zeros and costs no memory
/// before somebody contends: the host in two; SSRC, port and sequence number; when its first packet came, in units of
/// 65,536 ns (which pass round once in 78 hours), how many units later its last one came (24 bits), and how many came in
/// order (8 bits).
type Words = [u64; 4];
/// The candidates of one end. One of no packets is nobody.
type Seats = [Words; MAX_CANDIDATES];

/// Nobody.
const VACANT: Seats = [[0; 4]; MAX_CANDIDATES];
/// Ends whose seats are taken from the system together, 256 octets each.
const CHUNK: usize = 4_096;
/// The bits of a time, or of a count of packets, within a word.
const SPAN_BITS: u32 = 24;

#[derive(Clone, Copy, Debug)]
struct Rival {
    from: Addr,
    ssrc: u32,
    sequence: u16,
    /// Packets in order.
    count: u8,
    /// Units.
    first: u32,
    /// Units from the first to the last packet.
    span: u32,
}

/// The candidates of all ends of a shard, at most [`MAX_CANDIDATES`] each. They are apart from the streams, because
/// hardly any stream ever has one: the memory of an end is not touched before its first candidate.
#[derive(Debug, Default)]
pub struct Rivals {
    chunks: Vec<Vec<Seats>>,
}

/// The seats of one end, found when they are needed.
#[derive(Debug)]
pub struct Bench<'a> {
    rivals: &'a mut Rivals,
    end: usize,
}

impl Rivals {
    /// Have seats for the ends of this stream and all before it.
    pub fn reserve(&mut self, stream: u32) {
        while self.chunks.len() * CHUNK < 2 * (stream as usize + 1) {
            self.chunks.push(vec![VACANT; CHUNK]);
        }
    }

    /// The seats of one end of a stream.
    pub fn bench(&mut self, stream: u32, end: End) -> Bench<'_> {
        Bench { rivals: self, end: 2 * stream as usize + end as usize }
    }
}

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

impl Bench<'_> {
    /// Count one more packet. `None` when there is no room for its source.
    pub(super) fn heard(&mut self, now: Instant, heard: &Heard, ptime: Duration) -> Option<Proof> {
        let seats = self.seats()?;
        let known = known(seats, now, heard);
        let seat = &mut seats[known.or_else(|| room(seats, now, heard, ptime))?];
        let same = Rival::from_words(*seat)
            .filter(|rival| known.is_some() && heard.continues(rival.ssrc, rival.sequence));
        let rival = match same {
            Some(rival) => rival.advanced(now, heard),
            None => Rival::new(now, heard),
        };
        *seat = rival.words();
        Some(rival.proof(now))
    }

    /// Nobody contends.
    pub(super) fn clear(&mut self) {
        if let Some(seats) = self.seats() {
            *seats = VACANT;
        }
    }

    fn seats(&mut self) -> Option<&mut Seats> {
        self.rivals.chunks.get_mut(self.end / CHUNK)?.get_mut(self.end % CHUNK)
    }
}

/// The seat of this stream; else, when its source has two already, the one that was heard longest ago: a source may
/// interleave two SSRCs, and one that changes them all the time takes no third seat.
fn known(seats: &Seats, now: Instant, heard: &Heard) -> Option<usize> {
    let rivals =
        seats.iter().enumerate().filter_map(|(seat, words)| Some((seat, Rival::from_words(*words)?)));
    let own = rivals.filter(|(_, rival)| rival.from == heard.from);
    let same = own.clone().find(|(_, rival)| rival.ssrc == heard.ssrc());
    let oldest = || own.clone().max_by_key(|(_, rival)| rival.silence(now));
    same.or_else(|| oldest().filter(|_| own.clone().count() > 1)).map(|(seat, _)| seat)
}

/// A free seat, or that of the candidate with the least progress: at once when that one is silent, one time in eight
/// when it has only sent one packet, so that a spray of ports can neither fill the table nor sweep it.
fn room(seats: &Seats, now: Instant, heard: &Heard, ptime: Duration) -> Option<usize> {
    let rival = |seat: usize| Rival::from_words(seats[seat]);
    let least = |rival: Rival| (rival.is_fresh(now, ptime), rival.count, Reverse(rival.age(now)));
    let seat = (0..MAX_CANDIDATES).min_by_key(|&seat| rival(seat).map(least))?;
    let Some(victim) = rival(seat) else { return Some(seat) };
    let drawn = victim.count == 1 && lot(now, heard) == 0;
    (drawn || !victim.is_fresh(now, ptime)).then_some(seat)
}

impl Rival {
    fn new(now: Instant, heard: &Heard) -> Self {
        Self {
            from: heard.from,
            ssrc: heard.ssrc(),
            sequence: heard.sequence(),
            count: 1,
            first: units(now),
            span: 0,
        }
    }

    fn from_words([high, low, stream, times]: Words) -> Option<Self> {
        let from = Addr { ip: Host::from_words([high, low]), port: (stream >> 16) as u16 };
        let (ssrc, sequence) = ((stream >> 32) as u32, stream as u16);
        let (first, span) = ((times >> 32) as u32, times as u32 >> (32 - SPAN_BITS));
        Some(Self { from, ssrc, sequence, count: times as u8, first, span }).filter(|rival| rival.count > 0)
    }

    fn words(self) -> Words {
        let [high, low] = self.from.ip.words();
        let stream = u64::from(self.ssrc) << 32 | u64::from(self.from.port) << 16 | u64::from(self.sequence);
        let times = u64::from(self.first) << 32 | u64::from(self.span) << (32 - SPAN_BITS);
        [high, low, stream, times | u64::from(self.count)]
    }

    /// One more packet. A span that has become too long for its place is shortened from its beginning.
    fn advanced(mut self, now: Instant, heard: &Heard) -> Self {
        self.sequence = heard.sequence();
        self.count = self.count.saturating_add(1);
        self.span = self.age(now).min((1 << SPAN_BITS) - 1);
        self.first = units(now).wrapping_sub(self.span);
        self
    }

    fn proof(&self, now: Instant) -> Proof {
        let span = duration(self.span);
        Proof { count: self.count, span, since: Instant::ZERO + (now - Instant::ZERO).saturating_sub(span) }
    }

    /// Units since the first packet.
    fn age(&self, now: Instant) -> u32 {
        units(now).wrapping_sub(self.first)
    }

    /// Time since the last packet.
    fn silence(&self, now: Instant) -> Duration {
        duration(self.age(now).wrapping_sub(self.span))
    }

    fn is_fresh(&self, now: Instant, ptime: Duration) -> bool {
        let limit = if self.count > 1 { ptime * FRESH } else { ptime * 2 };
        self.silence(now) <= limit
    }
}

/// A moment in units, which pass round.
pub(super) fn units(now: Instant) -> u32 {
    (now.as_nanos() >> 16) as u32
}

/// The time that so many units take.
pub(super) fn duration(units: u32) -> Duration {
    Duration::from_nanos(u64::from(units) << 16)
}

/// One of eight lots; a sender cannot choose it, because he does not know our clock.
fn lot(now: Instant, heard: &Heard) -> u64 {
    let mixed = (now.as_nanos() ^ u64::from(heard.from.port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> 61
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn heard(from: &str, ssrc: u32, sequence: u16) -> Heard {
        Heard { from: from.parse::<SocketAddr>().unwrap().into(), rtp: Some((ssrc, sequence)) }
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_candidate_keeps_every_bit_in_its_words() {
        for from in ["198.51.100.2:65535", "[2001:db8:ffff::8000:0:1]:1"] {
            let mut rival = Rival::new(at(4_000_000_000), &heard(from, u32::MAX, 0xfedc));
            rival.span = (1 << SPAN_BITS) - 1;
            let same = Rival::from_words(rival.words()).unwrap();
            assert_eq!(same.words(), rival.words());
            assert_eq!((same.from, same.ssrc, same.sequence), (rival.from, u32::MAX, 0xfedc));
            assert_eq!((same.first, same.span, same.count), (rival.first, rival.span, 1));
        }
        assert!(Rival::from_words(VACANT[0]).is_none());
    }

    #[test]
    fn ends_do_not_share_their_seats() {
        let mut rivals = Rivals::default();
        rivals.reserve(5_000);
        for (n, (stream, end)) in [(0, End::A), (0, End::B), (5_000, End::B)].into_iter().enumerate() {
            for count in 1..=3 {
                let heard = heard("198.51.100.2:4000", n as u32, u16::from(count));
                let proof = rivals.bench(stream, end).heard(at(20), &heard, Duration::from_millis(20));
                assert_eq!(proof.unwrap().count, count);
            }
        }
        let nowhere = rivals.bench(90_000, End::A).heard(at(20), &heard("[::1]:1", 1, 1), Duration::ZERO);
        assert!(nowhere.is_none());
    }

    #[test]
    fn a_contest_of_hours_keeps_its_freshness() {
        let mut rival = Rival::new(at(0), &heard("198.51.100.2:4000", 1, 1));
        for hour in 1..=300 {
            rival = rival.advanced(at(hour * 3_600_000), &heard("198.51.100.2:4000", 1, 2));
            assert!(rival.is_fresh(at(hour * 3_600_000 + 100), Duration::from_millis(20)));
        }
    }
}
