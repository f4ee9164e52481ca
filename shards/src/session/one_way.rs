//! Media that flows one way only: found by looking at all sessions in turn, never at a packet.

use super::stream::Stream;
use super::{Session, Sessions, index};
use crate::media::{Flow, Gate, Relay};
use crate::stats::Stats;
use crate::types::{Instant, Side};
use std::ops::Range;
use std::time::Duration;

/// A session is looked at so many times in the configured time.
const LOOKS: u8 = 2;
/// All sessions are looked at in so many portions, so that none delays media.
const PORTIONS: u32 = 16;

/// When to look next, and where.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    due: Instant,
    /// The next portion, and how many slots of the table all of them are.
    portion: usize,
    slots: usize,
}

impl Rounds {
    /// The slots of the next portion, which is then done. How many there are is noted at the first one, so that each
    /// session is looked at once a round.
    fn next(&mut self, slots: usize) -> Range<usize> {
        if self.portion == 0 {
            self.slots = slots;
        }
        let edge = |portion: usize| self.slots * portion / PORTIONS as usize;
        let range = edge(self.portion)..edge(self.portion + 1);
        self.portion = (self.portion + 1) % PORTIONS as usize;
        range
    }
}

/// What was seen of one stream at the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// RTP packets forwarded from each side; the low 32 bits tell whether there were more.
    packets: [u32; 2],
    /// Looks in a row at which there were more, and at which there were none.
    flowing: [u8; 2],
    silent: [u8; 2],
    /// At the last look both gates were open.
    open: bool,
}

impl Seen {
    /// It was never looked at.
    pub(super) const NOTHING: Self = Self { packets: [0; 2], flowing: [0; 2], silent: [0; 2], open: false };

    /// One more look; the side that is silent while the other one speaks, if both may speak and it has not said that
    /// it is silent.
    fn look(&mut self, open: bool, flows: [Flow; 2]) -> Option<Side> {
        let packets = flows.map(|flow| flow.packets as u32);
        if !open || !self.open {
            *self = Self { packets, open, ..Self::NOTHING };
            return None;
        }
        for at in [0, 1] {
            let more = packets[at] != self.packets[at];
            self.flowing[at] = if more { self.flowing[at].saturating_add(1) } else { 0 };
            self.silent[at] = if more { 0 } else { self.silent[at].saturating_add(1) };
        }
        self.packets = packets;
        let is_silent = |side: &Side| {
            let (here, there) = (index(*side), index(side.other()));
            let quiet = self.silent[here] >= LOOKS && !flows[here].resting;
            quiet && self.flowing[there] >= LOOKS && flows[there].audio
        };
        Side::BOTH.into_iter().find(is_silent)
    }
}

impl Stream {
    fn look(&mut self, session_open: bool, relay: &Relay) -> Option<Side> {
        let open = self.gate(session_open) == Gate::OPEN && self.is_rtp();
        self.seen.look(open, relay.flows(self.id)?)
    }
}

impl Session {
    /// The side that is silent, if that is new.
    fn look(&mut self, relay: &Relay) -> Option<Side> {
        let open = self.open && self.allowed == Gate::OPEN;
        let silent =
            self.streams.iter_mut().flatten().filter_map(|stream| stream.look(open, relay)).next()?;
        self.one_way.replace(silent).is_none().then_some(silent)
    }
}

impl Sessions {
    /// When to call [`Self::look`] next; `None`: there is nothing to look at.
    pub fn next_look(&self) -> Option<Instant> {
        (!self.one_way.is_zero() && !self.table.is_empty()).then_some(self.rounds.due)
    }

    /// Look at the next portion of the sessions, if it is time: one in which media flows one way only, for the first
    /// time, is counted and logged.
    pub fn look(&mut self, now: Instant, stats: &mut Stats) {
        if self.one_way.is_zero() || now < self.rounds.due {
            return;
        }
        self.rounds.due = now + self.pause();
        for slot in self.rounds.next(self.table.slots()) {
            let Some((key, session)) = self.table.at_mut(slot) else { continue };
            let Some(silent) = session.look(&self.relay) else { continue };
            stats.one_way[index(silent)] += 1;
            tracing::info!(session = %key, silent = silent.label(), "media flows one way only");
        }
    }

    /// Time between two portions.
    fn pause(&self) -> Duration {
        self.one_way / (u32::from(LOOKS) * PORTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(packets: u64) -> Flow {
        Flow { packets, resting: false, audio: true }
    }

    /// What three looks find, at which so many packets had come from the two sides.
    fn looks(packets: [[u64; 2]; 4]) -> Option<Side> {
        let mut seen = Seen::NOTHING;
        packets.map(|[access, core]| seen.look(true, [flow(access), flow(core)]))[3]
    }

    #[test]
    fn every_slot_comes_once_a_round_also_where_there_are_few() {
        for slots in [1, 4, 16, 100, 1_001] {
            let mut rounds = Rounds::default();
            for _ in 0..3 {
                let round = (0..PORTIONS).flat_map(|_| rounds.next(slots)).collect::<Vec<_>>();
                assert_eq!(round, (0..slots).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_silent_side_is_named() {
        assert_eq!(looks([[0, 0], [0, 10], [0, 20], [0, 30]]), Some(Side::Access));
        assert_eq!(looks([[9, 9], [10, 9], [20, 9], [30, 9]]), Some(Side::Core));
    }

    #[test]
    fn both_and_neither_are_not_one_way() {
        assert_eq!(looks([[0, 0], [5, 10], [9, 20], [11, 30]]), None);
        assert_eq!(looks([[7, 7], [7, 7], [7, 7], [7, 7]]), None);
    }

    #[test]
    fn it_takes_the_whole_time() {
        assert_eq!(looks([[0, 0], [1, 10], [1, 20], [2, 30]]), None);
        assert_eq!(looks([[0, 0], [1, 10], [1, 20], [1, 20]]), None);
        let mut seen = Seen::NOTHING;
        let found = [0, 10, 20].map(|core| seen.look(true, [flow(0), flow(core)]));
        assert_eq!(found, [None, None, Some(Side::Access)]);
    }

    #[test]
    fn hold_begins_anew() {
        let mut seen = Seen::NOTHING;
        let open = [true, true, false, true, true];
        let found = open.into_iter().zip(1..).map(|(open, n)| seen.look(open, [flow(0), flow(n * 10)]));
        assert_eq!(found.collect::<Vec<_>>(), [None; 5]);
    }

    #[test]
    fn rest_and_what_is_no_audio_are_let_be() {
        for flows in [
            |n| [Flow { resting: true, ..flow(3) }, flow(n)],
            |n| [flow(3), Flow { audio: false, ..flow(n) }],
        ] {
            let mut seen = Seen::NOTHING;
            assert!((0..10).all(|n| seen.look(true, flows(n)).is_none()));
        }
    }
}
