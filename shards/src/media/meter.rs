//! The policer: a token bucket in the form of a theoretical arrival time (GCRA), for packets and for octets.
//!
//! Only accepted packets are charged, so a stranger cannot eat the peer's allowance.

use crate::types::Instant;
use std::time::Duration;

/// How many times the nominal rate is accepted where nothing else is said (rule 1).
pub(super) const MARGIN: u8 = 3;
/// What may arrive at once: this much time's worth of the accepted rate.
const BURST: Duration = Duration::from_secs(1);
/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;
/// Fractions of a nanosecond that an octet's cost is counted in.
const FRACTION: u64 = 256;
/// RTCP is a twentieth of the session's bandwidth (RFC 3550 section 6.2), but never allowed less than this.
const RTCP_FLOOR: Rate = Rate { packets_per_s: 25, octets_per_s: 8_000 };

/// The nominal rate of one direction, as negotiated (b=, codec, ptime).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets per second; at least 1.
    pub packets_per_s: u32,
    /// Octets of UDP payload per second, RTP headers included; less than 20 counts as 20.
    pub octets_per_s: u32,
}

impl Rate {
    /// The rate of RTP that carries `octets_per_s` of codec payload in packets of `ptime`.
    pub fn rtp(octets_per_s: u32, ptime: Duration) -> Self {
        let packets_per_s = (1_000_000 / ptime.as_micros().clamp(1_000, 1_000_000)) as u32;
        Self { packets_per_s, octets_per_s: octets_per_s.saturating_add(packets_per_s * 12) }
    }

    /// The same with so many more octets in each packet, for what stands before or behind its payload.
    pub fn with_overhead(self, octets: u32) -> Self {
        let more = self.packets_per_s.saturating_mul(octets);
        Self { octets_per_s: self.octets_per_s.saturating_add(more), ..self }
    }

    /// Of two rates the more generous one.
    pub fn larger(self, other: Self) -> Self {
        Self {
            packets_per_s: self.packets_per_s.max(other.packets_per_s),
            octets_per_s: self.octets_per_s.max(other.octets_per_s),
        }
    }

    /// The rate of the RTCP that goes with RTP of this rate.
    pub fn rtcp(self) -> Self {
        Self {
            packets_per_s: (self.packets_per_s / 20).max(RTCP_FLOOR.packets_per_s),
            octets_per_s: (self.octets_per_s / 20).max(RTCP_FLOOR.octets_per_s),
        }
    }
}

impl Default for Rate {
    /// 64 kbit/s audio in packets of 20 ms.
    fn default() -> Self {
        Self::rtp(8_000, Duration::from_millis(20))
    }
}

/// One direction's allowance.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    packets_until: Instant,
    octets_until: Instant,
    /// Nanoseconds.
    packet_cost: u32,
    /// Fractions of a nanosecond.
    octet_cost: u32,
}

impl Meter {
    /// A full bucket of three times this rate.
    pub fn new(rate: Rate) -> Self {
        let mut meter =
            Self { packets_until: Instant::ZERO, octets_until: Instant::ZERO, packet_cost: 0, octet_cost: 0 };
        meter.set(rate, MARGIN);
        meter
    }

    /// A new rate from now on; what was spent stays spent.
    pub fn set(&mut self, rate: Rate, margin: u8) {
        let cost = |second: u64, per_s: u32| second / (u64::from(per_s.max(1)) * u64::from(margin.max(1)));
        self.packet_cost = Duration::from_nanos(cost(NANOS, rate.packets_per_s)).subsec_nanos();
        self.octet_cost = u32::try_from(cost(NANOS * FRACTION, rate.octets_per_s)).unwrap_or(u32::MAX);
    }

    /// Is there room for one more packet? Changes nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.packets_until <= now + BURST && self.octets_until <= now + BURST
    }

    /// Charge one accepted packet of so many octets.
    pub fn charge(&mut self, now: Instant, octets: usize) {
        let octets = octets as u64 * u64::from(self.octet_cost) / FRACTION;
        self.packets_until = self.packets_until.max(now) + Duration::from_nanos(u64::from(self.packet_cost));
        self.octets_until = self.octets_until.max(now) + Duration::from_nanos(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets accepted in `seconds` when one of `octets` comes every millisecond.
    fn accepted(rate: Rate, octets: usize, seconds: u64) -> u64 {
        let mut meter = Meter::new(rate);
        let offered = (0..seconds * 1_000).map(|ms| Instant::ZERO + Duration::from_millis(ms));
        offered
            .filter(|&now| {
                meter.allows(now) && {
                    meter.charge(now, octets);
                    true
                }
            })
            .count() as u64
    }

    #[test]
    fn passes_three_times_the_packet_rate_and_a_burst() {
        let rate = Rate { packets_per_s: 50, octets_per_s: 1_000_000 };
        let passed = accepted(rate, 172, 10);
        assert!((1_640..=1_660).contains(&passed), "{passed}");
    }

    #[test]
    fn passes_three_times_the_octet_rate_and_a_burst() {
        let rate = Rate { packets_per_s: 1_000, octets_per_s: 8_600 };
        let passed = accepted(rate, 172, 10);
        assert!((1_640..=1_660).contains(&passed), "{passed}");
    }

    #[test]
    fn a_slow_rate_is_kept() {
        let passed = accepted(Rate { packets_per_s: 1, octets_per_s: 1_000_000 }, 10, 10);
        assert!((30..=36).contains(&passed), "{passed}");
    }

    #[test]
    fn asking_costs_nothing() {
        let meter = Meter::new(Rate { packets_per_s: 1, octets_per_s: 100 });
        assert!((0..1_000).all(|_| meter.allows(Instant::ZERO)));
    }

    #[test]
    fn rate_of_g711_counts_its_headers() {
        let rate = Rate::rtp(8_000, Duration::from_millis(20));
        assert_eq!(rate, Rate { packets_per_s: 50, octets_per_s: 8_600 });
        assert_eq!(Rate::rtp(8_000, Duration::ZERO).packets_per_s, 1_000);
    }
}
