//! How long each NAT keeps a silent UDP mapping, learned by asking ever later (R7): one terminal behind a NAT is left
//! silent for longer than all others; if it still answers, twice, the others may be asked as seldom.

use crate::random::{Keyed, Rng};
use crate::realm::Keepalive;
use crate::table::Key;
use crate::types::Instant;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// So many trials must succeed before an interval counts: other traffic of one terminal may have kept its mapping open.
const PROOFS: u8 = 2;
/// Nothing longer is tried for so long after a miss.
const REST: Duration = Duration::from_secs(3600);
/// A trial is over so long after it was due, whatever became of its terminal.
const SLACK: Duration = Duration::from_secs(30);
/// NATs that are remembered before those are sought out behind which nobody is any more.
const FEW: usize = 1024;

/// What is known of the NATs, by their public address. A NAT without a terminal is forgotten.
pub(super) struct Nats {
    table: HashMap<IpAddr, Nat, Keyed>,
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Nat {
    /// What all terminals behind it are asked at.
    interval: Duration,
    /// Successful trials of the next longer one.
    proofs: u8,
    trial: Option<Trial>,
    /// Nothing longer is tried until then.
    rests: Instant,
    /// When somebody behind it was last asked.
    used: Instant,
}

/// A terminal is left silent for longer than the others.
#[derive(Clone, Copy, Debug)]
struct Trial {
    key: Key,
    interval: Duration,
    until: Instant,
}

impl Nats {
    /// None is known.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { table: HashMap::with_hasher(Keyed::new(rng)), sweep_at: FEW }
    }

    /// NATs whose interval is longer than the configured one.
    pub(super) fn grown(&self, rule: &Keepalive) -> usize {
        self.table.values().filter(|nat| nat.interval > rule.interval).count()
    }

    /// How long terminals behind this NAT may be left silent.
    pub(super) fn interval(&self, ip: IpAddr, rule: &Keepalive) -> Duration {
        let known = self.table.get(&ip).map_or(rule.interval, |nat| nat.interval);
        known.min(rule.learn_max).max(rule.interval)
    }

    /// Shall this terminal be left silent for longer than the others behind its NAT? Gives the interval to try; only one
    /// terminal is asked at a time.
    pub(super) fn next_trial(
        &mut self,
        now: Instant,
        ip: IpAddr,
        key: Key,
        rule: &Keepalive,
    ) -> Option<Duration> {
        if rule.learn_max <= rule.interval {
            return None;
        }
        let interval = self.interval(ip, rule);
        let longer = (interval * 3 / 2).min(rule.learn_max);
        self.sweep(now, rule);
        let fresh = Nat { interval, proofs: 0, trial: None, rests: now, used: now };
        let nat = self.table.entry(ip).or_insert(fresh);
        (nat.used, nat.interval) = (now, interval);
        let taken = nat.trial.is_some_and(|trial| trial.until > now);
        if taken || nat.rests > now || longer <= interval {
            return None;
        }
        nat.trial = Some(Trial { key, interval: longer, until: now + silence(longer) + SLACK });
        Some(longer)
    }

    /// The terminal answered after the longer silence. True: that is the interval of all from now on.
    pub(super) fn proved(&mut self, ip: IpAddr, key: Key) -> bool {
        let Some(nat) = self.table.get_mut(&ip) else { return false };
        let Some(trial) = nat.trial.take_if(|trial| trial.key == key) else { return false };
        nat.proofs += 1;
        if nat.proofs < PROOFS {
            return false;
        }
        (nat.proofs, nat.interval) = (0, trial.interval);
        true
    }

    /// The trial is called off: it says nothing.
    pub(super) fn abandoned(&mut self, ip: IpAddr, key: Key) {
        if let Some(nat) = self.table.get_mut(&ip) {
            nat.trial = nat.trial.filter(|trial| trial.key != key);
        }
    }

    /// A terminal did not answer at this NAT's pace, or at a longer one: all are asked more often, though never more
    /// than configured, and nothing longer is tried for a while. False if nothing is known of the NAT.
    pub(super) fn missed(&mut self, now: Instant, ip: IpAddr, rule: &Keepalive) -> bool {
        let Some(nat) = self.table.get_mut(&ip) else { return false };
        nat.interval = (nat.interval * 4 / 5).max(rule.interval);
        (nat.proofs, nat.trial, nat.rests) = (0, None, now + REST);
        true
    }

    /// Forget NATs behind which nobody was asked for long; work in proportion to what was added since the last time.
    fn sweep(&mut self, now: Instant, rule: &Keepalive) {
        if self.table.len() < self.sweep_at {
            return;
        }
        let idle = REST.max(rule.learn_max * 3);
        self.table.retain(|_, nat| nat.used + idle > now);
        self.sweep_at = (self.table.len() * 2).max(FEW);
    }
}

/// The silence that proves an interval: as long as the longest that chance makes of it.
pub(super) fn silence(interval: Duration) -> Duration {
    interval * 11 / 10
}

/// An interval as it happens, up to a tenth shorter or longer, so that terminals never fall into step.
pub(super) fn spread(rng: &mut Rng, interval: Duration) -> Duration {
    interval * 9 / 10 + Duration::from_nanos(rng.below((interval.as_nanos() as u64 / 5).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

    fn rule(interval: u64, max: u64) -> Keepalive {
        let seconds = Duration::from_secs;
        Keepalive { interval: seconds(interval), misses: 3, learn_max: seconds(max) }
    }

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    #[test]
    fn one_at_a_time_and_two_proofs() {
        let (mut nats, rule, now) = (Nats::new(&mut Rng::new([1; 32])), rule(20, 100), Instant::ZERO);
        for proof in 0..2 {
            assert_eq!(nats.next_trial(now, IP, key(1), &rule), Some(Duration::from_secs(30)));
            assert_eq!(nats.next_trial(now, IP, key(2), &rule), None, "somebody tries already");
            assert_eq!(nats.interval(IP, &rule), rule.interval, "the others stay");
            assert!(!nats.proved(IP, key(2)), "it was not asked");
            assert_eq!(nats.proved(IP, key(1)), proof == 1);
        }
        assert_eq!(nats.interval(IP, &rule), Duration::from_secs(30));
        nats.missed(now, IP, &rule);
        assert_eq!(nats.interval(IP, &rule), Duration::from_secs(24));
        assert_eq!(nats.next_trial(now + (REST - SLACK), IP, key(1), &rule), None, "it rests");
        nats.missed(now, IP, &rule);
        assert_eq!(nats.interval(IP, &rule), rule.interval, "never below what is configured");
        assert!(nats.next_trial(now + REST, IP, key(1), &rule).is_some());
        assert!(nats.next_trial(now + REST + REST, IP, key(2), &rule).is_some(), "the first one is gone");
    }

    #[test]
    fn nobody_is_remembered_for_nothing() {
        let (mut nats, rule) = (Nats::new(&mut Rng::new([1; 32])), rule(20, 100));
        for n in 0..10 * FEW as u32 {
            let now = Instant::ZERO + Duration::from_secs(u64::from(n) * 10);
            nats.next_trial(now, IpAddr::from(n.to_be_bytes()), key(n), &rule);
            assert!(nats.table.len() <= 2 * FEW, "{}", nats.table.len());
        }
        let off = Keepalive { learn_max: Duration::ZERO, ..rule };
        assert_eq!(nats.next_trial(Instant::ZERO, IP, key(1), &off), None);
        assert_eq!(nats.interval(IP, &off), off.interval);
    }
}
