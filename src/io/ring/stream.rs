//! Listeners and connections of a ring: what each is doing, and which number it has.

use crate::io::address::{self, NAME};
use crate::io::datagrams::Slot;
use crate::io::streams::{MAX_QUEUED, Refusal, StreamSlot};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// The life of a listener or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its owner hears of it.
    Open,
    /// Its owner has forgotten it; what is queued still leaves.
    Finishing,
    /// Everything under way is being ended.
    Stopping,
}

/// A listener or a connection. It stays where it is in memory until the kernel has no more business with it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) file: OwnedFd,
    pub(super) phase: Phase,
    /// Operations that the kernel has still to complete. The file stays open until there are none: a number that is
    /// used again must not meet an operation that was meant for its predecessor.
    pub(super) under_way: u8,
    /// The peer will send no more.
    pub(super) deaf: bool,
    pub(super) connecting: bool,
    /// The kernel reads from `flying`.
    pub(super) writing: bool,
    /// Octets being written.
    pub(super) flying: Vec<u8>,
    /// How many of them have left.
    pub(super) sent: usize,
    /// Octets that come next.
    waiting: Vec<u8>,
    /// Whom to dial, as the kernel lays it out.
    pub(super) name: [u8; NAME],
    pub(super) name_len: u32,
}

impl Stream {
    pub(super) const fn new(file: OwnedFd) -> Self {
        Self {
            file,
            phase: Phase::Open,
            under_way: 0,
            deaf: false,
            connecting: false,
            writing: false,
            flying: Vec::new(),
            sent: 0,
            waiting: Vec::new(),
            name: [0; NAME],
            name_len: 0,
        }
    }

    pub(super) fn dialling(file: OwnedFd, to: SocketAddr) -> Self {
        let mut stream = Self { connecting: true, ..Self::new(file) };
        stream.name_len = address::encode(to, &mut stream.name);
        stream
    }

    /// Puts octets behind those that wait; true when a write has to begin.
    pub(super) fn queue(&mut self, octets: &[u8]) -> Result<bool, Refusal> {
        if self.phase != Phase::Open {
            return Err(Refusal::Gone);
        }
        if self.flying.len() - self.sent + self.waiting.len() + octets.len() > MAX_QUEUED {
            return Err(Refusal::Overflow);
        }
        self.waiting.extend_from_slice(octets);
        Ok(self.load())
    }

    /// Makes what waits ready for the kernel; false when it is busy or nothing waits.
    pub(super) fn load(&mut self) -> bool {
        if self.writing || self.connecting || self.is_flushed() {
            return false;
        }
        if self.sent == self.flying.len() {
            // The old octets are freed: a connection at rest costs no buffer.
            (self.flying, self.sent) = (std::mem::take(&mut self.waiting), 0);
        }
        self.writing = true;
        true
    }

    /// Notes that octets have left.
    pub(super) fn wrote(&mut self, octets: usize) {
        self.writing = false;
        self.sent += octets;
        if self.is_flushed() {
            (self.flying, self.sent) = (Vec::new(), 0);
        }
    }

    /// Is there nothing to write?
    pub(super) const fn is_flushed(&self) -> bool {
        self.sent == self.flying.len() && self.waiting.is_empty()
    }
}

#[derive(Debug, Default)]
struct Entry {
    generation: u32,
    stream: Option<Box<Stream>>,
}

/// A table of streams that grows up to its capacity.
#[derive(Debug)]
pub(super) struct Streams {
    entries: Vec<Entry>,
    free: Vec<u32>,
    capacity: u32,
}

impl Streams {
    pub(super) const fn new(capacity: u32) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), capacity }
    }

    /// Numbers a stream; `None` when the table is full.
    pub(super) fn insert(&mut self, stream: Stream) -> Option<StreamSlot> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.entries.len()).ok().filter(|&index| index < self.capacity)?;
                self.entries.push(Entry::default());
                index
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.stream = Some(Box::new(stream));
        Some(StreamSlot(Slot::new(index, entry.generation)))
    }

    pub(super) fn get(&mut self, slot: StreamSlot) -> Option<&mut Stream> {
        let entry = self.entries.get_mut(slot.index())?;
        entry.stream.as_deref_mut().filter(|_| entry.generation == slot.0.generation())
    }

    /// Closes a stream's file and makes its number free for a new generation.
    pub(super) fn release(&mut self, slot: StreamSlot) {
        if self.get(slot).is_some() {
            let entry = &mut self.entries[slot.index()];
            entry.stream = None;
            entry.generation = (entry.generation + 1) % Slot::GENERATIONS;
            self.free.push(slot.index() as u32);
        }
    }

    /// Gives up the memory that the kernel may still read from, if it could not be told to stop.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn octets_leave_in_order_and_the_buffers_are_freed() {
        let mut stream = stream();
        assert_eq!(stream.queue(b"abc"), Ok(true));
        assert_eq!(stream.queue(b"de"), Ok(false));
        stream.wrote(1);
        assert!(stream.load());
        assert_eq!(&stream.flying[stream.sent..], b"bc");
        stream.wrote(2);
        assert!(stream.load());
        assert_eq!(stream.flying, b"de");
        stream.wrote(2);
        assert!(stream.is_flushed() && !stream.load());
        assert_eq!((stream.flying.capacity(), stream.waiting.capacity()), (0, 0));
    }

    #[test]
    fn a_queue_has_an_end_and_frees_as_it_empties() {
        let mut stream = stream();
        assert_eq!(stream.queue(&vec![0; MAX_QUEUED]), Ok(true));
        assert_eq!(stream.queue(b"x"), Err(Refusal::Overflow));
        stream.wrote(1);
        assert_eq!(stream.queue(b"x"), Ok(true));
        stream.phase = Phase::Finishing;
        assert_eq!(stream.queue(b"x"), Err(Refusal::Gone));
    }

    #[test]
    fn a_number_used_again_has_a_new_generation() {
        let mut streams = Streams::new(1);
        let first = streams.insert(stream()).unwrap();
        assert_eq!(streams.insert(stream()), None);
        streams.release(first);
        streams.release(first);
        let second = streams.insert(stream()).unwrap();
        assert_eq!(first.index(), second.index());
        assert!(streams.get(first).is_none() && streams.get(second).is_some());
        assert_eq!(streams.insert(stream()), None);
    }
}
