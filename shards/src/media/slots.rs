//! From a port to the stream that holds it: an array index, no hash.

use super::End;
use crate::realm::PortRange;
use crate::types::{MediaPort, RealmId};

/// What a port belongs to, packed into 32 bits: stream number, end, RTP or RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    const FREE: Self = Self(u32::MAX);

    pub(super) fn new(stream: u32, end: End, rtcp: bool) -> Self {
        Self(stream << 2 | (end as u32) << 1 | u32::from(rtcp))
    }

    pub(super) fn stream(self) -> u32 {
        self.0 >> 2
    }

    pub(super) fn end(self) -> End {
        End::BOTH[(self.0 >> 1 & 1) as usize]
    }

    pub(super) fn is_rtcp(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The port slices of all realms.
#[derive(Debug, Default)]
pub(super) struct Slots {
    realms: Vec<Slice>,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    first: u16,
    ports: Vec<Slot>,
}

impl Slots {
    /// Know this slice from now on. What is held in it stays held.
    pub(super) fn add(&mut self, realm: RealmId, range: PortRange) {
        let index = usize::from(realm.0);
        if self.realms.len() <= index {
            self.realms.resize(index + 1, Slice::default());
        }
        let slice = Slice { first: range.first, ports: vec![Slot::FREE; range.len()] };
        let old = std::mem::replace(&mut self.realms[index], slice);
        for (offset, slot) in old.ports.iter().enumerate().filter(|(_, slot)| **slot != Slot::FREE) {
            self.put(MediaPort { realm, port: old.first + offset as u16 }, *slot);
        }
    }

    pub(super) fn find(&self, at: MediaPort) -> Option<Slot> {
        let slice = self.realms.get(usize::from(at.realm.0))?;
        let slot = *slice.ports.get(usize::from(at.port.checked_sub(slice.first)?))?;
        (slot != Slot::FREE).then_some(slot)
    }

    /// A port outside the known slices is not recorded: nothing will be found there.
    pub(super) fn put(&mut self, at: MediaPort, slot: Slot) {
        if let Some(place) = self.place(at) {
            *place = slot;
        }
    }

    /// The port belongs to nobody.
    pub(super) fn clear(&mut self, at: MediaPort) {
        self.put(at, Slot::FREE);
    }

    fn place(&mut self, at: MediaPort) -> Option<&mut Slot> {
        let slice = self.realms.get_mut(usize::from(at.realm.0))?;
        slice.ports.get_mut(usize::from(at.port.checked_sub(slice.first)?))
    }
}
