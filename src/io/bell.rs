//! A bell that any thread may ring to wake a shard, wherever that shard sleeps.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rung after something was put into a shard's inbox.
///
/// The shard waits in one of two places, and each has an event file that ends the wait: the datagram ring reads
/// [`Bell::working`], the executor's own ring reads [`Bell::sleeping`]. One file for both will not do: when the
/// datagram ring sees an event file written, the kernel puts off the alarm to the executor by an RCU grace period (its
/// guard against event files that signal each other).
///
/// Nothing is missed: the ringer puts first and rings then; the shard answers ([`Bell::answer`]) first and empties its
/// inbox then. Only the first ring of many costs a system call.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    asleep: AtomicBool,
    working: OwnedFd,
    sleeping: OwnedFd,
}

impl Bell {
    /// A silent bell of a shard at work.
    ///
    /// # Errors
    /// Those of `eventfd(2)`: too many open files.
    pub fn new() -> io::Result<Self> {
        // Blocking on purpose: io_uring answers a read of a non-blocking file with EAGAIN instead of waiting.
        let event = || eventfd(0, EventfdFlags::CLOEXEC);
        let (rung, asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { rung, asleep, working: event()?, sleeping: event()? })
    }

    /// Wakes the shard, if nobody else has since it last answered.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            let asleep = self.asleep.load(Ordering::SeqCst);
            strike(if asleep { &self.sleeping } else { &self.working });
        }
    }

    /// Was it rung since the last answer? The inbox must be emptied after this, not before.
    pub fn answer(&self) -> bool {
        self.is_rung() && self.rung.swap(false, Ordering::SeqCst)
    }

    /// Was it rung since the last answer? Changes nothing.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// From now on the shard waits for [`Bell::sleeping`]. False: it was rung before, so the shard must not sleep.
    ///
    /// Either the ringer sees that the shard sleeps, or the shard sees that the bell was rung, or both.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.is_rung()
    }

    /// From now on the shard waits for [`Bell::working`], or looks by itself.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The event file that ends a wait in the datagram ring.
    pub fn working(&self) -> BorrowedFd<'_> {
        self.working.as_fd()
    }

    /// The event file that ends a sleep in the executor. The datagram ring signals it too.
    pub fn sleeping(&self) -> BorrowedFd<'_> {
        self.sleeping.as_fd()
    }

    /// Ends the executor's sleep whether rung or not.
    pub(super) fn rouse(&self) {
        strike(&self.sleeping);
    }
}

/// Adds one to an event file. It can only fail when the count reaches 2^64, and then readers are awake anyway.
fn strike(event: &OwnedFd) {
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

    fn count(event: BorrowedFd<'_>) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(event, &mut count).unwrap();
        u64::from_ne_bytes(count)
    }

    #[test]
    fn rings_until_answered_cost_one_event() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert_eq!(count(bell.working()), 1);
    }

    #[test]
    fn a_sleeper_is_woken_where_it_sleeps() {
        let bell = Bell::new().unwrap();
        assert!(bell.fall_asleep());
        bell.ring();
        assert_eq!(count(bell.sleeping()), 1);
    }

    #[test]
    fn nobody_falls_asleep_over_a_ringing_bell() {
        let bell = Bell::new().unwrap();
        bell.ring();
        assert!(!bell.fall_asleep());
    }
}
