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
    Opening { rtp: Option<bool>, rtcp: Option<bool> },
    Ready,
    Held,
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
            now: Instant::ZERO,
        }
    }

    /// Draw pairs until [`PORT_RESERVE`] are bound or being bound, and call `open` for both ports of each; the answer
    /// comes to [`Self::opened`]. Pairs released at least `rest` ago can be drawn again. After many failures in a row
    /// it draws nothing for a second.
    pub fn refill(&mut self, now: Instant, rng: &mut Rng, rest: Duration, open: &mut impl FnMut(MediaPort)) {
        self.wake(now, rest);
        if self.is_paused(now) {
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
        self.states[usize::from(pair)] = State::Held;
        self.held += 1;
        Some(self.ports(pair))
    }

    /// Give a pair back: both sockets are closed by `close`, and the pair rests. A pair that is not held is ignored.
    pub fn release(&mut self, now: Instant, ports: EndPorts, close: &mut impl FnMut(MediaPort)) {
        let held = self.pair(ports.rtp).filter(|pair| self.states[usize::from(*pair)] == State::Held);
        let Some(pair) = held else { return };
        self.now = self.now.max(now);
        self.held -= 1;
        self.set_aside(pair);
        close(ports.rtp);
        close(ports.rtcp);
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
    fn wake(&mut self, now: Instant, rest: Duration) {
        while let Some(&(since, pair)) = self.resting.front() {
            if now.since(since) < rest {
                break;
            }
            self.resting.pop_front();
            self.states[usize::from(pair)] = State::Free;
            self.free.push(pair);
        }
        if now.since(self.now) >= PAUSE {
            self.failures = 0;
        }
    }

    fn is_paused(&mut self, now: Instant) -> bool {
        let paused = self.failures >= MAX_FAILURES;
        if !paused {
            self.now = self.now.max(now);
        }
        paused
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
