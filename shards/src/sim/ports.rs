//! Pairs of audio ports: who has which, and who had it last.

use super::rtp;
use crate::realm::PortRange;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The audio ports of one endpoint. The even one of a pair is for RTP, the next one for RTCP.
#[derive(Debug)]
pub(super) struct Ports {
    range: PortRange,
    owners: BTreeMap<u16, u32>,
    /// Calls that had a port last, so that their late packets are told from strangers'.
    former: BTreeMap<u16, u32>,
    next: u16,
}

impl Ports {
    pub(super) const fn new(range: PortRange) -> Self {
        Self { range, owners: BTreeMap::new(), former: BTreeMap::new(), next: 0 }
    }

    /// A free pair, now `owner`'s; each in turn.
    pub(super) fn take(&mut self, owner: u32) -> Option<u16> {
        let pairs = (self.range.len() / 2) as u16;
        for _ in 0..pairs {
            let port = self.range.first + self.next % pairs * 2;
            self.next = (self.next + 1) % pairs;
            if let Entry::Vacant(free) = self.owners.entry(port) {
                free.insert(owner);
                return Some(port);
            }
        }
        None
    }

    /// Who has the pair of this even port.
    pub(super) fn owner(&self, even: u16) -> Option<u32> {
        self.owners.get(&even).copied()
    }

    /// The pair was `call`'s, and is free.
    pub(super) fn release(&mut self, even: u16, call: u32) {
        self.owners.remove(&even);
        self.former.insert(even, call);
    }

    /// A packet of the call that had this port last?
    pub(super) fn is_late(&self, port: u16, bytes: &[u8]) -> bool {
        let even = port & !1;
        let former = self.former.get(&even);
        former.is_some() && (port != even || rtp::stamp(bytes).map(|stamp| stamp.call).as_ref() == former)
    }
}
