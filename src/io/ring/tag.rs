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
    /// Accept on a listener until told otherwise.
    Accept,
    /// Wait before accepting again.
    Pause,
    /// Receive on a connection until told otherwise.
    Read,
    /// Write to a connection.
    Write,
    /// Dial.
    Connect,
    /// End all that is under way on a listener or a connection.
    Stop,
    /// Wait for a connection to end after the last octet was queued.
    Linger,
}

impl Operation {
    const ALL: [Self; 11] = [
        Self::Receive,
        Self::Send,
        Self::Cancel,
        Self::Bell,
        Self::Accept,
        Self::Pause,
        Self::Read,
        Self::Write,
        Self::Connect,
        Self::Stop,
        Self::Linger,
    ];
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
        // Every tag was made by `to_bits`.
        let operation = Operation::ALL[(bits >> 56) as usize % Operation::ALL.len()];
        Self { operation, slot: Slot::new(bits as u32, (bits >> 32) as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_the_round_trip() {
        let slot = Slot::new(u32::MAX, Slot::GENERATIONS - 1);
        for operation in Operation::ALL {
            let tag = Tag::new(operation, slot);
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
        assert_eq!(Tag::from_bits(Tag::BELL.to_bits()), Tag::BELL);
    }
}
