//! Forks: several answers to one offer, each with media of its own (RFC 3261 section 12.1, RFC 3264 section 5.1).
//!
//! The side that forks was shown one pair of ports for each stream, so all forks send there; each answer gets a pair of
//! its own on the side of the offerer. A fork is a session like any other but for the pair that it shares.

use super::{Session, SessionKey, Sessions, View};
use crate::io::Output;
use crate::media::EndPorts;
use crate::types::{Instant, Side};
use std::collections::VecDeque;

/// One stream of the offer that opened the session, as every fork answers it.
#[derive(Clone)]
pub(super) struct Announced {
    /// Who offered.
    pub(super) by: Side,
    /// Our ports that the other side was shown. They are held for forks to come.
    pub(super) ports: EndPorts,
    /// What was offered.
    pub(super) offer: View,
}

impl Sessions {
    /// A further fork of the call of this session, which answers the same offer: a session of its own. `None` when the
    /// shard is full or the session has ended. Close it like any other; neither ends the other.
    pub fn fork(&mut self, now: Instant, key: SessionKey) -> Option<SessionKey> {
        if self.table.len() >= self.most {
            return None;
        }
        let first = self.table.get(key)?;
        let mut fork = Session::new(now, first.legs.clone());
        fork.allowed = first.allowed;
        fork.announced.clone_from(&first.announced);
        for announced in fork.announced.iter().flatten() {
            self.pools.share(announced.ports);
        }
        Some(self.table.insert(fork))
    }

    /// This fork was answered: its gates open, and a packet that might be any fork's is its.
    pub fn prefer(&mut self, key: SessionKey) {
        let Some(session) = self.table.get_mut(key) else { return };
        (session.preferred, session.lost) = (true, false);
        for stream in session.streams.iter().flatten() {
            self.relay.prefer(stream.id);
        }
        self.gate(key, true);
    }

    /// Another fork was answered: nothing flows until this one is too.
    pub fn set_aside(&mut self, key: SessionKey) {
        if let Some(session) = self.table.get_mut(key) {
            session.lost = true;
        }
        self.gate(key, false);
    }

    /// No more forks will come: what was held for them is released.
    pub fn settle(&mut self, now: Instant, key: SessionKey, out: &mut VecDeque<Output>) {
        let Some(session) = self.table.get_mut(key) else { return };
        let announced = std::mem::take(&mut session.announced);
        self.forget_announced(now, &announced, out);
    }

    /// The offer announced this stream: hold its ports for forks to come.
    pub(super) fn announce(&mut self, key: SessionKey, by: Side, at: usize, offer: View) {
        let Some(session) = self.table.get_mut(key) else { return };
        let Some(stream) = session.streams.get(at).and_then(Option::as_ref) else { return };
        let ports = stream.ports[super::index(by.other())];
        if session.announced.len() <= at {
            session.announced.resize(at + 1, None);
        }
        session.announced[at] = Some(Announced { by, ports, offer });
        self.pools.share(ports);
    }

    pub(super) fn forget_announced(
        &mut self,
        now: Instant,
        announced: &[Option<Announced>],
        out: &mut VecDeque<Output>,
    ) {
        for announced in announced.iter().flatten() {
            self.pools.give_back(now, announced.ports, out);
        }
    }
}
