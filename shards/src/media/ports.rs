//! One realm's pool of media ports: drawn at random in even/odd pairs, bound before they are announced, rested after
//! release (rule 11). Every operation takes constant time.

use super::EndPorts;
use crate::limits::PORT_RESERVE;
use crate::random::Rng;
use crate::realm::PortRange;
use crate::types::{Instant, MediaPort, RealmId};
use std::collections::VecDeque;
use std::time::Duration;

/// Pairs that failed to bind one after another before the pool pauses.
const MAX_FAILURES: usize = PORT_RESERVE;
/// How long it pauses then: something else holds the range, and trying it all at once would not help.
const PAUSE: Duration = Duration::from_secs(1);

/// A pair, as its place in the slice.
type Pair = u16;

/// Where a pair is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Opening {
        rtp: Option<bool>,
        rtcp: Option<bool>,
    },
    Ready,
    /// By so many holders: the forks of a call share the pair that their offer announced.
    Held(u16),
    Resting,
}

/// The pool of one slice.
#[derive(Debug)]
pub struct Ports {
    realm: RealmId,
    first: u16,
    states: Vec<State>,
    free: Vec<Pair>,
    ready: Vec<Pair>,
    resting: VecDeque<(Instant, Pair)>,
    opening: usize,
    held: usize,
    failures: usize,
    paused_until: Instant,
    now: Instant,
}

impl Ports {
    /// All pairs free, none bound.
    pub fn new(realm: RealmId, slice: PortRange) -> Self {
        let first = slice.first + slice.first % 2;
        let pairs = (slice.len() - usize::from(slice.first % 2).min(slice.len())) / 2;
        Self {
            realm,
            first,
            states: vec![State::Free; pairs],
            free: (0..pairs as Pair).collect(),
            ready: Vec::with_capacity(PORT_RESERVE),
            resting: VecDeque::new(),
            opening: 0,
            held: 0,
            failures: 0,
            paused_until: Instant::ZERO,
            now: Instant::ZERO,
        }
    }

    /// Draw pairs until [`PORT_RESERVE`] are bound or being bound, and call `open` for both ports of each; the answer
    /// comes to [`Self::opened`]. Pairs released at least `rest` ago can be drawn again. After many failures in a row
    /// it draws nothing for a second.
    pub fn refill(&mut self, now: Instant, rng: &mut Rng, rest: Duration, open: &mut impl FnMut(MediaPort)) {
        self.now = now;
        self.wake(rest);
        if self.pauses() {
            return;
        }
        while self.ready.len() + self.opening < PORT_RESERVE {
            let Some(pair) = draw(&mut self.free, rng) else { return };
            self.states[usize::from(pair)] = State::Opening { rtp: None, rtcp: None };
            self.opening += 1;
            let ports = self.ports(pair);
            open(ports.rtp);
            open(ports.rtcp);
        }
    }

    /// A port that [`Self::refill`] asked for is bound, or could not be. When one port of a pair fails the pair rests;
    /// the answer is the other port if that one was bound and must be closed.
    pub fn opened(&mut self, port: MediaPort, ok: bool) -> Option<MediaPort> {
        let pair = self.pair(port)?;
        let State::Opening { mut rtp, mut rtcp } = self.states[usize::from(pair)] else { return None };
        *(if port.port.is_multiple_of(2) { &mut rtp } else { &mut rtcp }) = Some(ok);
        self.states[usize::from(pair)] = State::Opening { rtp, rtcp };
        let (rtp, rtcp) = (rtp?, rtcp?);
        self.opening -= 1;
        if rtp && rtcp {
            self.failures = 0;
            self.states[usize::from(pair)] = State::Ready;
            self.ready.push(pair);
            return None;
        }
        self.failures += 1;
        self.set_aside(pair);
        let ports = self.ports(pair);
        if rtp { Some(ports.rtp) } else { rtcp.then_some(ports.rtcp) }
    }

    /// A bound pair, at random; `None` when none is bound.
    pub fn take(&mut self, rng: &mut Rng) -> Option<EndPorts> {
        let pair = draw(&mut self.ready, rng)?;
        self.states[usize::from(pair)] = State::Held(1);
        self.held += 1;
        Some(self.ports(pair))
    }

    /// One more holder of a pair that is held; each must give it back.
    pub fn share(&mut self, ports: EndPorts) {
        let pair = self.pair(ports.rtp);
        if let Some(State::Held(holders)) = pair.map(|pair| &mut self.states[usize::from(pair)]) {
            *holders += 1;
        }
    }

    /// Give a pair back. When the last holder does, both sockets are closed by `close`, and the pair rests. A pair that
    /// is not held is ignored.
    pub fn release(&mut self, now: Instant, ports: EndPorts, close: &mut impl FnMut(MediaPort)) {
        let Some(pair) = self.pair(ports.rtp) else { return };
        match &mut self.states[usize::from(pair)] {
            State::Held(1) => {}
            State::Held(holders) => return *holders -= 1,
            _ => return,
        }
        self.now = now;
        self.held -= 1;
        self.set_aside(pair);
        let ports = self.ports(pair);
        close(ports.rtp);
        close(ports.rtcp);
    }

    /// Close the whole reserve; no pair is bound afterwards.
    pub fn retire(&mut self, close: &mut impl FnMut(MediaPort)) {
        for pair in std::mem::take(&mut self.ready) {
            let ports = self.ports(pair);
            close(ports.rtp);
            close(ports.rtcp);
            self.states[usize::from(pair)] = State::Free;
            self.free.push(pair);
        }
    }

    /// Pairs that sessions hold.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Pairs bound and waiting.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Pairs neither bound nor resting.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pairs that rest after release or failure.
    pub fn resting(&self) -> usize {
        self.resting.len()
    }

    /// Rested pairs are free again.
    fn wake(&mut self, rest: Duration) {
        while let Some(&(since, pair)) = self.resting.front() {
            if self.now.since(since) < rest {
                break;
            }
            self.resting.pop_front();
            self.states[usize::from(pair)] = State::Free;
            self.free.push(pair);
        }
    }

    /// Did so much fail lately that drawing more is useless?
    fn pauses(&mut self) -> bool {
        if self.failures >= MAX_FAILURES {
            self.failures = 0;
            self.paused_until = self.now + PAUSE;
        }
        self.now < self.paused_until
    }

    fn set_aside(&mut self, pair: Pair) {
        self.states[usize::from(pair)] = State::Resting;
        self.resting.push_back((self.now, pair));
    }

    fn ports(&self, pair: Pair) -> EndPorts {
        let port = self.first + pair * 2;
        EndPorts {
            rtp: MediaPort { realm: self.realm, port },
            rtcp: MediaPort { realm: self.realm, port: port + 1 },
        }
    }

    fn pair(&self, port: MediaPort) -> Option<Pair> {
        let pair = port.port.checked_sub(self.first)? / 2;
        (port.realm == self.realm && usize::from(pair) < self.states.len()).then_some(pair)
    }
}

/// Any one of them.
fn draw(from: &mut Vec<Pair>, rng: &mut Rng) -> Option<Pair> {
    let index = rng.below(from.len() as u64) as usize;
    (index < from.len()).then(|| from.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(60);

    fn pool(pairs: u16) -> (Ports, Rng) {
        let range = PortRange { first: 20_000, last: 20_000 + pairs * 2 - 1 };
        (Ports::new(RealmId(1), range), Rng::new([7; 32]))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// Refill, and answer every port by `binds`; what was asked for, and what must be closed again.
    fn refill(
        pool: &mut Ports,
        rng: &mut Rng,
        now: Instant,
        binds: impl Fn(u16) -> bool,
    ) -> (Vec<u16>, Vec<u16>) {
        let mut asked = Vec::new();
        pool.refill(now, rng, REST, &mut |port| asked.push(port.port));
        let answer = |&port: &u16| pool.opened(MediaPort { realm: RealmId(1), port }, binds(port));
        let closed = asked.iter().filter_map(answer).map(|port| port.port).collect();
        (asked, closed)
    }

    #[test]
    fn keeps_a_reserve_of_bound_pairs() {
        let (mut pool, mut rng) = pool(100);
        let (asked, _) = refill(&mut pool, &mut rng, at(0), |_| true);
        assert_eq!((asked.len(), pool.ready()), (PORT_RESERVE * 2, PORT_RESERVE));
        assert_eq!(refill(&mut pool, &mut rng, at(0), |_| true).0, []);
        pool.take(&mut rng).unwrap();
        assert_eq!(refill(&mut pool, &mut rng, at(0), |_| true).0.len(), 2);
    }

    #[test]
    fn pairs_are_even_and_odd_and_never_given_twice() {
        let (mut pool, mut rng) = pool(40);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..40 {
            refill(&mut pool, &mut rng, at(0), |_| true);
            let ports = pool.take(&mut rng).unwrap();
            assert!(ports.rtp.port.is_multiple_of(2) && ports.rtcp.port == ports.rtp.port + 1);
            assert!((20_000..20_080).contains(&ports.rtp.port) && seen.insert(ports.rtp.port));
        }
        assert_eq!((pool.take(&mut rng), pool.held()), (None, 40));
    }

    #[test]
    fn pairs_are_drawn_at_random() {
        let (mut pool, mut rng) = pool(1_000);
        let (asked, _) = refill(&mut pool, &mut rng, at(0), |_| true);
        assert!(!asked.is_sorted());
        assert!(asked.iter().max().unwrap() - asked.iter().min().unwrap() > 1_000);
    }

    #[test]
    fn a_released_pair_is_closed_and_rests() {
        let (mut pool, mut rng) = pool(1);
        refill(&mut pool, &mut rng, at(0), |_| true);
        let ports = pool.take(&mut rng).unwrap();
        let mut closed = Vec::new();
        pool.release(at(10), ports, &mut |port| closed.push(port));
        assert_eq!(closed, [ports.rtp, ports.rtcp]);
        assert_eq!((pool.held(), pool.resting()), (0, 1));
        assert_eq!(refill(&mut pool, &mut rng, at(69), |_| true).0, []);
        assert_eq!(refill(&mut pool, &mut rng, at(70), |_| true).0, [20_000, 20_001]);
    }

    #[test]
    fn a_shared_pair_is_closed_by_its_last_holder() {
        let (mut pool, mut rng) = pool(1);
        refill(&mut pool, &mut rng, at(0), |_| true);
        let ports = pool.take(&mut rng).unwrap();
        pool.share(ports);
        pool.release(at(1), ports, &mut |_| panic!("closed a port that is still held"));
        assert_eq!((pool.held(), pool.resting()), (1, 0));
        let mut closed = Vec::new();
        pool.release(at(2), ports, &mut |port| closed.push(port));
        assert_eq!((closed.len(), pool.held(), pool.resting()), (2, 0, 1));
    }

    #[test]
    fn releasing_twice_or_a_foreign_pair_does_nothing() {
        let (mut pool, mut rng) = pool(2);
        refill(&mut pool, &mut rng, at(0), |_| true);
        let ports = pool.take(&mut rng).unwrap();
        let foreign = MediaPort { realm: RealmId(2), port: ports.rtp.port };
        pool.release(at(1), ports, &mut |_| {});
        for ports in [ports, EndPorts { rtp: foreign, rtcp: foreign }] {
            pool.release(at(1), ports, &mut |_| panic!("closed a port that was not held"));
        }
        assert_eq!((pool.held(), pool.resting()), (0, 1));
    }

    #[test]
    fn half_a_pair_is_closed_and_set_aside() {
        let (mut pool, mut rng) = pool(2);
        let (_, closed) = refill(&mut pool, &mut rng, at(0), |port| port != 20_001 && port != 20_002);
        assert_eq!(closed.len(), 2);
        assert!(closed.contains(&20_000) && closed.contains(&20_003));
        assert_eq!((pool.ready(), pool.resting()), (0, 2));
        refill(&mut pool, &mut rng, at(60), |_| true);
        assert_eq!(pool.ready(), 2);
    }

    #[test]
    fn when_everything_fails_it_pauses_instead_of_walking_the_range() {
        let (mut pool, mut rng) = pool(1_000);
        let mut asked = |seconds| refill(&mut pool, &mut rng, at(seconds), |_| false).0.len();
        assert_eq!(asked(5), PORT_RESERVE * 2);
        assert_eq!((0..100).map(|_| asked(5)).sum::<usize>(), 0);
        assert_eq!(asked(6), PORT_RESERVE * 2);
    }

    #[test]
    fn an_empty_or_odd_slice_is_harmless() {
        let mut rng = Rng::new([1; 32]);
        let mut empty = Ports::new(RealmId(0), PortRange { first: 100, last: 99 });
        empty.refill(at(0), &mut rng, REST, &mut |_| panic!("nothing to open"));
        assert_eq!((empty.take(&mut rng), empty.free()), (None, 0));
        let last = Ports::new(RealmId(0), PortRange { first: 65_531, last: 65_535 });
        assert_eq!((last.free(), last.ports(1).rtcp.port), (2, 65_535));
    }
}
