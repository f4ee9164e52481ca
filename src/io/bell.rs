//! A bell that any thread may ring to wake a shard, wherever that shard sleeps.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rung after something was put into a shard's inbox. The shard's datagram ring reads the event file, so a bell ends
/// the shard's sleep like a datagram does.
///
/// Nothing is missed: the ringer puts first and rings then; the shard answers ([`Bell::answer`]) first and empties its
/// inbox then. Only the first ring of many costs a system call.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    event: OwnedFd,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// Those of `eventfd(2)`: too many open files.
    pub fn new() -> io::Result<Self> {
        // Blocking on purpose: io_uring answers a read of a non-blocking file with EAGAIN instead of waiting.
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { rung: AtomicBool::new(false), event })
    }

    /// Wakes the shard, if nobody else has since it last answered.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            strike(&self.event);
        }
    }

    /// Was it rung since the last answer? The inbox must be emptied after this, not before.
    pub fn answer(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Was it rung since the last answer? Changes nothing.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Adds one to an event file. It can only fail when the count reaches 2^64, and then readers are awake anyway.
pub(super) fn strike(event: &OwnedFd) {
    if let Err(error) = rustix::io::write(event, &1u64.to_ne_bytes()) {
        tracing::error!(%error, "an event file cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_for_many_rings() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert!(bell.is_rung());
        assert!(bell.answer());
        assert!(!bell.answer());
    }

    #[test]
    fn rings_until_answered_cost_one_event() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        let mut count = [0; 8];
        rustix::io::read(&bell, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
