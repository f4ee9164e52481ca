//! The 64 bits that come back with every completion.

use crate::io::datagrams::Slot;

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Receive on a socket until told otherwise.
    Receive,
    /// Send one datagram.
    Send,
    /// End the receive of a socket.
    Cancel,
    /// Read the bell's event file.
    Bell,
}

/// An operation and its slot: operation (8 bits), generation (24 bits), index (32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) operation: Operation,
    pub(super) slot: Slot,
}

impl Tag {
    pub(super) const BELL: Self = Self { operation: Operation::Bell, slot: Slot::new(0, 0) };

    pub(super) const fn new(operation: Operation, slot: Slot) -> Self {
        Self { operation, slot }
    }

    pub(super) const fn to_bits(self) -> u64 {
        (self.operation as u64) << 56 | (self.slot.generation() as u64) << 32 | self.slot.index() as u64
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        let operation = match bits >> 56 {
            0 => Operation::Receive,
            1 => Operation::Send,
            2 => Operation::Cancel,
            _ => Operation::Bell,
        };
        Self { operation, slot: Slot::new(bits as u32, (bits >> 32) as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_round_trip() {
        let slot = Slot::new(u32::MAX, Slot::GENERATIONS - 1);
        for operation in [Operation::Receive, Operation::Send, Operation::Cancel, Operation::Bell] {
            let tag = Tag::new(operation, slot);
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
        assert_eq!(Tag::from_bits(Tag::BELL.to_bits()), Tag::BELL);
    }
}
