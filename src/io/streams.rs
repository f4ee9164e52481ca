//! What the runtime needs from stream sockets: a small trait beside [`super::datagrams::Datagrams`], implemented by the
//! same ring, so that one wait covers both.

use super::datagrams::{Datagrams, Dscp, Slot};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Octets that wait for one slow reader at most; beyond that its connection is given up.
pub const MAX_QUEUED: usize = 256 << 10;

/// A listener or a connection of one [`Streams`]. It never names another one: a number that is used again has a new
/// generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamSlot(pub(super) Slot);

impl StreamSlot {
    /// A small number, unique among the listeners and connections that are open: good as an array index.
    pub const fn index(self) -> usize {
        self.0.index()
    }
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer reads too slowly: more than [`MAX_QUEUED`] octets would wait.
    Overflow,
    /// The connection has ended.
    Gone,
}

/// Something that happened to a listener or a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody connected; the connection receives already.
    Accepted {
        /// Whom they connected to.
        listener: StreamSlot,
        /// The new connection.
        slot: StreamSlot,
        /// Who.
        remote: SocketAddr,
    },
    /// A connection could not be accepted (the errno): too many open files, mostly.
    Refused(i32),
    /// The connection that was dialled is there.
    Connected(StreamSlot),
    /// Octets arrived, in order.
    Received(StreamSlot, &'a mut [u8]),
    /// The connection is no more and could not be made or kept (the errno), or its peer has closed it (0). What was
    /// written before is still sent where that is possible. Nothing else happens to this slot.
    Ended(StreamSlot, i32),
}

/// What is done with events.
pub trait StreamSink<S> {
    /// Takes one event. It may listen, dial, write and close by `streams`.
    fn happened(&mut self, streams: &mut S, event: Event<'_>);
}

/// All stream sockets of one shard.
pub trait Streams: Sized {
    /// Listens and starts to accept. A shared address is bound by every shard (SO_REUSEPORT).
    ///
    /// # Errors
    /// Those of `bind(2)` and `listen(2)`, and `QuotaExceeded` when all slots are taken.
    fn listen(&mut self, address: SocketAddr, shared: bool, dscp: Dscp) -> io::Result<StreamSlot>;

    /// Dials `to` from any port of `from`. [`Event::Connected`] or [`Event::Ended`] follows. What is written before
    /// that waits.
    ///
    /// # Errors
    /// No socket is to be had, or `QuotaExceeded` when all slots are taken.
    fn connect(&mut self, from: IpAddr, to: SocketAddr, dscp: Dscp) -> io::Result<StreamSlot>;

    /// Queues octets behind those that wait already; they are copied.
    ///
    /// # Errors
    /// Nothing was queued. After [`Refusal::Overflow`] the caller has to [`Streams::abort`].
    fn write(&mut self, slot: StreamSlot, octets: &[u8]) -> Result<(), Refusal>;

    /// Writes what is queued, then closes, for a peer that does not read within some seconds at the latest then. No
    /// event follows.
    fn finish(&mut self, slot: StreamSlot);

    /// Closes a listener or a connection now; what is queued is lost. No event follows. The connections of a listener
    /// stay.
    fn abort(&mut self, slot: StreamSlot);

    /// Hands over what the last [`Datagrams::deliver`] left for streams, a bounded amount of it, so that datagrams do
    /// not wait for long; returns how many events there were.
    fn deliver_streams<S: StreamSink<Self>>(&mut self, sink: &mut S) -> usize;
}

/// All that a shard has of the network.
pub trait Network: Datagrams + Streams {}

impl<T: Datagrams + Streams> Network for T {}
