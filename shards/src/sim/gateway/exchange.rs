//! Transactions of a gateway or of who controls it (RFC 3435 section 3.5; H.248.1 section 8.2 and annex D.1): who wants an
//! answer repeats his command, and each command is carried out once.

use super::super::endpoint::{Kind, Out};
use crate::random::Rng;
use crate::types::Instant;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Retransmission times.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// From a command to its first repetition; doubled from then on.
    pub first: Duration,
    /// The longest time between two of them.
    pub longest: Duration,
    /// No answer is expected after this long (T-MAX).
    pub patience: Duration,
    /// Answers are kept for this long (T-HIST).
    pub history: Duration,
}

impl Default for Repeats {
    /// What RFC 3435 section 3.5.3 proposes.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(4),
            patience: Duration::from_secs(20),
            history: Duration::from_secs(30),
        }
    }
}

/// Where messages leave.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) local: SocketAddr,
    pub(super) out: VecDeque<Out>,
    pub(super) rng: Rng,
    /// What stands between two messages of one datagram, where the protocol has such.
    pub(super) joint: Option<&'static str>,
}

impl Post {
    /// Send a message. Now and then it shares a datagram with the one before, if that goes the same way.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: &Bytes) {
        if let (Some(joint), Some(Out::Send { to: last, bytes: before, kind: Kind::Signaling, .. })) =
            (self.joint, self.out.back_mut())
            && *last == to
            && self.rng.below(2) == 0
        {
            *before = [&before[..], joint.as_bytes(), bytes].concat().into();
            return;
        }
        self.out.push_back(Out::Send { local: self.local, to, bytes: bytes.clone(), kind: Kind::Signaling });
    }
}

/// Who gave a command, and by which number.
pub(super) type Asker = (IpAddr, u32);

/// All transactions of one endpoint. `T` tells what a command was for.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    repeats: Repeats,
    /// Nothing is repeated on a connection.
    reliable: bool,
    asked: BTreeMap<u32, Asked<T>>,
    answered: BTreeMap<Asker, Answered>,
    due: BinaryHeap<Reverse<(Instant, Which)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Asked(u32),
    Answered(Asker),
}

#[derive(Debug)]
struct Asked<T> {
    to: SocketAddr,
    bytes: Bytes,
    tag: T,
    again: Option<(Instant, Duration)>,
    end: Instant,
}

#[derive(Debug)]
struct Answered {
    to: SocketAddr,
    /// `None`: it is still being carried out.
    bytes: Option<Bytes>,
    again: Option<(Instant, Duration)>,
    end: Instant,
}

impl<T: Clone> Exchange<T> {
    pub(super) fn new(repeats: Repeats, reliable: bool) -> Self {
        let (asked, answered) = (BTreeMap::new(), BTreeMap::new());
        Self { repeats, reliable, asked, answered, due: BinaryHeap::new() }
    }

    /// Send a command and see that it is answered.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        to: SocketAddr,
        id: u32,
        bytes: Bytes,
        tag: T,
        post: &mut Post,
    ) {
        post.send(to, &bytes);
        let again = (!self.reliable).then_some((now + self.repeats.first, self.repeats.first));
        let asked = Asked { to, bytes, tag, again, end: now + self.repeats.patience };
        self.file(wake(again, asked.end), Which::Asked(id));
        self.asked.insert(id, asked);
    }

    /// A command has come. True: it is new; otherwise it is answered as before.
    pub(super) fn is_new(&mut self, now: Instant, from: SocketAddr, id: u32, post: &mut Post) -> bool {
        let key = (from.ip(), id);
        if let Some(answered) = self.answered.get_mut(&key) {
            answered.to = from;
            if let Some(bytes) = &answered.bytes {
                post.send(from, bytes);
            }
            return false;
        }
        let end = now + self.repeats.history;
        self.answered.insert(key, Answered { to: from, bytes: None, again: None, end });
        self.file(end, Which::Answered(key));
        true
    }

    /// It will take a while.
    pub(super) fn pend(&self, key: Asker, bytes: &Bytes, post: &mut Post) {
        if let Some(answered) = self.answered.get(&key) {
            post.send(answered.to, bytes);
        }
    }

    /// Answer a command. `confirm`: until the answer is confirmed, it is repeated (RFC 3435 section 3.5.6).
    pub(super) fn answer(&mut self, now: Instant, key: Asker, bytes: Bytes, confirm: bool, post: &mut Post) {
        let Some(answered) = self.answered.get_mut(&key) else { return };
        post.send(answered.to, &bytes);
        answered.bytes = Some(bytes);
        answered.again =
            (confirm && !self.reliable).then_some((now + self.repeats.first, self.repeats.first));
        answered.end = now + self.repeats.history;
        let wake = wake(answered.again, answered.end);
        self.file(wake, Which::Answered(key));
    }

    /// An answer of ours has arrived: it is repeated no more. Without a repetition to stop, it may be forgotten.
    pub(super) fn confirmed(&mut self, key: Asker) {
        if let Some(answered) = self.answered.get_mut(&key) {
            answered.again = None;
        }
    }

    /// Who asked need not be told again what he was told.
    pub(super) fn forget(&mut self, key: Asker) {
        if self.answered.get(&key).is_some_and(|answered| answered.bytes.is_some()) {
            self.answered.remove(&key);
        }
    }

    /// A command of ours is being carried out: it is repeated seldom from now on.
    pub(super) fn pending(&mut self, now: Instant, id: u32) {
        let Some(asked) = self.asked.get_mut(&id) else { return };
        asked.again = asked.again.map(|_| (now + self.repeats.longest, self.repeats.longest));
        asked.end = now + self.repeats.patience;
    }

    /// The final answer to a command of ours: what that was for, unless it was answered before.
    pub(super) fn closed(&mut self, id: u32) -> Option<T> {
        self.asked.remove(&id).map(|asked| asked.tag)
    }

    /// The next time that something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Repeat what is due and give what was never answered.
    pub(super) fn timeout(&mut self, now: Instant, post: &mut Post) -> Vec<T> {
        let mut lapsed = Vec::new();
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let Some(Reverse((_, which))) = self.due.pop() else { break };
            match which {
                Which::Asked(id) => lapsed.extend(self.asked_due(now, id, post)),
                Which::Answered(key) => self.answered_due(now, key, post),
            }
        }
        lapsed
    }

    fn asked_due(&mut self, now: Instant, id: u32, post: &mut Post) -> Option<T> {
        let asked = self.asked.get_mut(&id)?;
        if asked.end <= now {
            return self.closed(id);
        }
        if let Some(next) = again(now, asked.again, self.repeats.longest) {
            post.send(asked.to, &asked.bytes);
            asked.again = Some(next);
        }
        let wake = wake(asked.again, asked.end);
        self.file(wake, Which::Asked(id));
        None
    }

    fn answered_due(&mut self, now: Instant, key: Asker, post: &mut Post) {
        let Some(answered) = self.answered.get_mut(&key) else { return };
        if answered.end <= now {
            self.answered.remove(&key);
            return;
        }
        if let Some(next) = again(now, answered.again, self.repeats.longest) {
            if let Some(bytes) = &answered.bytes {
                post.send(answered.to, bytes);
            }
            answered.again = Some(next);
        }
        let wake = wake(answered.again, answered.end);
        self.file(wake, Which::Answered(key));
    }

    fn file(&mut self, at: Instant, which: Which) {
        self.due.push(Reverse((at, which)));
    }
}

fn wake(again: Option<(Instant, Duration)>, end: Instant) -> Instant {
    again.map_or(end, |(at, _)| at.min(end))
}

/// The next repetition, if one is due now.
fn again(now: Instant, again: Option<(Instant, Duration)>, longest: Duration) -> Option<(Instant, Duration)> {
    let (at, interval) = again?;
    let next = (interval * 2).min(longest);
    (at <= now).then_some((now + next, next))
}
