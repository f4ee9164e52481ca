//! What the runtime needs from datagram sockets: a small trait, so that epoll, XDP or a test can stand in for
//! the io_uring ring.

use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// An open socket of one [`Datagrams`]. It never names another socket: a number that is used again has a new
/// generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// Generations count modulo this (they share a 64-bit tag with the index and the operation).
    pub(super) const GENERATIONS: u32 = 1 << 24;

    pub(super) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation: generation % Self::GENERATIONS }
    }

    /// A small number, unique among the sockets that are open: good as an array index.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    pub(super) const fn generation(self) -> u32 {
        self.generation
    }
}

/// What a socket carries: chooses its receive buffers and how it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Many small datagrams, at most 2,048 octets; the address is ours alone.
    Media,
    /// Few datagrams of any size.
    Signaling {
        /// Every shard binds this address too (SO_REUSEPORT).
        shared: bool,
    },
}

/// The class of service that a socket's packets ask for (RFC 2474): 46 is expedited forwarding (RFC 3246), 24 is class
/// selector 3, 0 is best effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dscp(u8);

impl Dscp {
    /// Six bits; higher ones are ignored.
    pub const fn new(value: u8) -> Self {
        Self(value & 0x3f)
    }

    /// The octet of the IP header that it is the larger part of: IPv4's TOS, IPv6's traffic class.
    pub(super) const fn octet(self) -> u32 {
        (self.0 as u32) << 2
    }
}

/// One datagram, still in the receive buffer.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The socket that it came in by.
    pub slot: Slot,
    /// Who sent it.
    pub from: SocketAddr,
    /// All of its octets.
    pub payload: &'a mut [u8],
}

/// Send the arrival's octets on, straight out of the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The socket to leave by.
    pub slot: Slot,
    /// Where to.
    pub to: SocketAddr,
}

/// A datagram that did not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It arrived, but is larger than the receive buffer of its [`Kind`].
    Oversize,
    /// The kernel refused to send it (the errno), or the socket is gone (EBADF).
    Send(i32),
}

/// What is done with what arrives.
pub trait Sink<D> {
    /// Takes one datagram. It may open, close and send by `sockets`; what it returns is sent from the same buffer.
    fn arrived(&mut self, sockets: &mut D, arrival: Arrival<'_>) -> Option<Forward>;

    /// A datagram of this socket is among the next: what says where its state is may be fetched from memory, for many
    /// datagrams at a time. Nothing may change.
    fn locate(&self, slot: Slot) {
        let _ = slot;
    }

    /// The same for the state itself, when all of the next were located.
    fn prefetch(&self, slot: Slot) {
        let _ = slot;
    }

    /// The socket that a datagram of this one will probably leave by.
    fn exit(&self, slot: Slot) -> Option<Slot> {
        let _ = slot;
        None
    }

    /// Counts a loss.
    fn lost(&mut self, loss: Loss);
}

/// All datagram sockets of one shard.
pub trait Datagrams: Sized {
    /// Binds a socket, whose packets are marked with `dscp`, and starts to receive on it.
    ///
    /// # Errors
    /// Those of `bind(2)`, and `QuotaExceeded` when all slots are taken.
    fn open(&mut self, address: SocketAddr, kind: Kind, dscp: Dscp) -> io::Result<Slot>;

    /// Closes a socket: nothing is delivered from it any more. What was sent before still leaves. Its port is free
    /// at the latest when the next `open` needs it. A slot that is closed already is ignored.
    fn close(&mut self, slot: Slot);

    /// Queues one datagram; it leaves at the latest with the next [`Datagrams::wait`]. Returns a loss when it cannot
    /// be queued; a later refusal by the kernel goes to [`Sink::lost`].
    ///
    /// # Errors
    /// [`Loss::Send`]: the socket is closed, or the kernel takes no more.
    fn send(&mut self, slot: Slot, to: SocketAddr, bytes: Bytes) -> Result<(), Loss>;

    /// Sends what is queued, then waits until something arrived or `patience` has passed.
    ///
    /// # Errors
    /// The kernel refuses to go on; the sockets are of no use any more.
    fn wait(&mut self, patience: Duration) -> io::Result<()>;

    /// Hands over what has arrived; returns how many events there were (0: nothing happened).
    fn deliver<S: Sink<Self>>(&mut self, sink: &mut S) -> usize;
}
