//! One io_uring per shard for all datagrams, signaling and media, and for all connections.
//!
//! Every socket has one multishot receive, which takes buffers from the pool of its kind. A media datagram leaves from
//! the buffer that it arrived in; the buffer goes back to the pool when the submission has returned, because a UDP
//! send with MSG_DONTWAIT is complete by then. Only failed sends complete visibly.

mod pages;
mod pool;
mod queue;
mod slots;
mod stream;
mod streams;
mod tag;

use super::bell::Bell;
use super::datagrams::{Arrival, Datagrams, Dscp, Forward, Kind, Loss, Sink, Slot};
use super::socket;
use bytes::Bytes;
use queue::{Completion, Parcel, Queue};
use slots::{Slots, State};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use streams::Connections;
use tag::{Operation, Tag};

/// Entries into the kernel after which deferred work may wait for later: enough for 20,480 closed sockets.
const SETTLE_ROUNDS: usize = 1024;

/// Datagrams whose streams are fetched from memory together, before the first of them is judged: with many streams each is
/// some lines that are in no cache, and the processor fetches a dozen lines in the time of one. It looks ahead by some
/// hundred instructions only, so it first finds where all of them are, and then fetches all of them. More would push the
/// first ones out again.
const AHEAD: usize = 16;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Sockets at once. RLIMIT_NOFILE must be as large.
    pub sockets: u32,
    /// Media receive buffers: a power of two, at most 32,768.
    pub media_buffers: u16,
    /// Signaling receive buffers: a power of two, at most 32,768.
    pub signaling_buffers: u16,
    /// Listeners and connections of streams at once.
    pub streams: u32,
    /// Receive buffers of connections, 4 KiB each: a power of two, at most 32,768.
    pub stream_buffers: u16,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            sockets: 65_536,
            media_buffers: 4096,
            signaling_buffers: 64,
            streams: 65_536,
            stream_buffers: 256,
        }
    }
}

/// What a ring has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Entries into the kernel that could wait: packets by entries is the size of a batch.
    pub entries: u64,
    /// Receives that ended because their pool had no buffer left, in the order of [`Figures::POOLS`]. Nothing is lost
    /// by that alone: what arrives meanwhile waits in its own socket.
    pub starved: [u64; 3],
}

impl Figures {
    /// The pools of receive buffers, as metrics call them.
    pub const POOLS: [&str; 3] = ["media", "signaling", "stream"];
}

/// The sockets of one shard. Stays on the thread that made it.
pub struct Ring {
    queue: Queue,
    slots: Slots,
    batch: Vec<Completion>,
    chores: Vec<Chore>,
    streams: Connections,
    starved: [u64; 3],
}

/// Work that waits until the next submission has returned.
#[derive(Clone, Copy, Debug)]
enum Chore {
    /// A receive has ended: start it again, or release the slot if the socket was closed.
    Receive(Slot),
    /// A closed socket's receive must end.
    Cancel(Slot),
    /// The bell's event file was read: read it again.
    Bell,
}

impl Ring {
    /// A ring without sockets. `bell` ends its waits, and is where its alarm goes.
    ///
    /// # Errors
    /// The kernel refuses: io_uring is disabled, RLIMIT_NOFILE is below `sizes.sockets`, no memory.
    pub fn new(sizes: Sizes, bell: Arc<Bell>) -> io::Result<Self> {
        let queue = Queue::new(sizes, bell)?;
        let slots = Slots::new(sizes.sockets);
        let streams = Connections::new(sizes.streams);
        Ok(Self { queue, slots, batch: Vec::new(), chores: vec![Chore::Bell], streams, starved: [0; 3] })
    }

    /// Lets waits go on until `time` after the last one ended although something has arrived, so that more packets share
    /// an entry into the kernel; only while several come in that time, so that a lone one is not delayed. Zero: a wait
    /// ends with the first arrival.
    pub const fn wait_for_company(&mut self, time: Duration) {
        self.queue.wait_for_company(time);
    }

    /// What it has seen so far.
    pub const fn figures(&self) -> Figures {
        Figures { entries: self.queue.entries(), starved: self.starved }
    }

    /// Turns the alarm on or off: whatever arrives then ends the sleep at the bell ([`Bell::sleeping`]). After turning
    /// it on, ask [`Ring::is_quiet`] before going to sleep. It is off at first.
    pub fn alert(&mut self, on: bool) {
        self.queue.alert(on);
    }

    /// Nothing has arrived and nothing is queued or half done, so that whatever comes next raises the alarm.
    ///
    /// Without this check a sleeper hangs for good: one entry into the kernel does about 20 items of deferred work and
    /// leaves the rest, and the alarm is raised only when the first item is queued.
    pub fn is_quiet(&mut self) -> bool {
        self.chores.is_empty() && self.streams.is_quiet() && self.queue.is_quiet()
    }

    fn bind(&mut self, address: SocketAddr, kind: Kind, dscp: Dscp) -> io::Result<socket2::Socket> {
        match socket::bind(address, kind, dscp) {
            // A socket that is being closed may still hold the address: finish that, then look again.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                self.finish_closing()?;
                socket::bind(address, kind, dscp)
            }
            result => result,
        }
    }

    fn finish_closing(&mut self) -> io::Result<()> {
        self.queue.settle(SETTLE_ROUNDS)?;
        for slot in self.slots.closing() {
            self.queue.set_file(slot, None)?;
        }
        Ok(())
    }

    fn install(&mut self, slot: Slot, socket: &socket2::Socket) -> io::Result<()> {
        self.queue.set_file(slot, Some(socket.as_fd()))?;
        self.chore(Chore::Receive(slot));
        Ok(())
    }

    /// Does a chore now, or keeps it for later when the submission queue is stuck.
    fn chore(&mut self, chore: Chore) {
        let done = match chore {
            Chore::Bell => self.queue.read_bell(),
            Chore::Cancel(slot) => self.queue.cancel(slot),
            Chore::Receive(slot) => match self.slots.get(slot) {
                Some((kind, State::Open)) => self.queue.receive(slot, kind),
                Some(_) => self.release(slot),
                None => true,
            },
        };
        if !done {
            self.chores.push(chore);
        }
    }

    fn release(&mut self, slot: Slot) -> bool {
        if let Err(error) = self.queue.set_file(slot, None) {
            tracing::error!(%error, "a closed socket stays in the ring's file table");
        }
        self.slots.release(slot);
        true
    }

    fn complete<S: Sink<Self>>(&mut self, completion: Completion, sink: &mut S) {
        let Tag { operation, slot } = Tag::from_bits(completion.tag);
        match operation {
            Operation::Receive => self.received(slot, completion, sink),
            Operation::Send => sink.lost(Loss::Send(-completion.result)),
            Operation::Bell => self.chores.push(Chore::Bell),
            // A cancel completes visibly when there was nothing to cancel: the receive had ended by itself.
            Operation::Cancel => {}
            // Media first: connections are looked after when all datagrams have been delivered.
            _ => self.streams.batch.push_back(completion),
        }
    }

    fn received<S: Sink<Self>>(&mut self, slot: Slot, completion: Completion, sink: &mut S) {
        let known = self.slots.get(slot);
        if completion.last {
            self.chores.push(Chore::Receive(slot));
            let kind = known.map(|(kind, _)| kind).filter(|_| completion.result == -libc::ENOBUFS);
            kind.into_iter().for_each(|kind| self.starved[usize::from(kind != Kind::Media)] += 1);
        }
        let (Some(buffer), Some((kind, state))) = (completion.buffer, known) else { return };
        if completion.result < 0 || state != State::Open {
            return self.queue.give_back(kind, buffer);
        }
        let forward = self.hand_over(slot, kind, buffer, sink);
        let sent = forward.map(|(forward, len)| self.forward(kind, buffer, len, forward));
        match sent {
            Some(Ok(())) => {}
            Some(Err(loss)) => {
                sink.lost(loss);
                self.queue.give_back(kind, buffer);
            }
            None => self.queue.give_back(kind, buffer),
        }
    }

    /// Shows the datagram to the sink; returns where it goes from here and its length.
    #[allow(unsafe_code)]
    fn hand_over<S: Sink<Self>>(
        &mut self,
        slot: Slot,
        kind: Kind,
        buffer: u16,
        sink: &mut S,
    ) -> Option<(Forward, usize)> {
        // SAFETY: the buffer was just completed and is given back or sent only after the sink returned; the sink can
        // reach the ring, but no method of it touches the payload of a buffer that is not given back.
        let filled = unsafe { self.queue.pool(kind).read(buffer) }?;
        if filled.truncated {
            sink.lost(Loss::Oversize);
            return None;
        }
        let len = filled.payload.len();
        let arrival = Arrival { slot, from: filled.from, payload: filled.payload };
        sink.arrived(self, arrival).map(|forward| (forward, len))
    }

    fn forward(&mut self, kind: Kind, buffer: u16, len: usize, forward: Forward) -> Result<(), Loss> {
        if self.slots.open(forward.slot).is_none() {
            return Err(Loss::Send(libc::EBADF));
        }
        self.queue.forward(kind, buffer, len, forward)
    }

    fn prefetch<S: Sink<Self>>(&self, next: &[Completion], sink: &S) {
        let tags = next.iter().map(|completion| Tag::from_bits(completion.tag));
        let slots = tags.filter(|tag| tag.operation == Operation::Receive).map(|tag| tag.slot);
        slots.clone().for_each(|slot| sink.locate(slot));
        slots.clone().for_each(|slot| sink.prefetch(slot));
        for exit in slots.filter_map(|slot| sink.exit(slot)) {
            black_box(self.slots.open(exit));
        }
    }

    /// Ends every receive and empties the file table, so that all addresses are free when the ring is dropped: left
    /// to the kernel, that takes some 50 ms more.
    fn close_all(&mut self) -> io::Result<()> {
        self.queue.cancel_all()?;
        self.queue.settle(SETTLE_ROUNDS)?;
        self.queue.clear_files()
    }
}

impl Datagrams for Ring {
    fn open(&mut self, address: SocketAddr, kind: Kind, dscp: Dscp) -> io::Result<Slot> {
        let socket = self.bind(address, kind, dscp)?;
        let slot = self.slots.take(kind).ok_or(io::ErrorKind::QuotaExceeded)?;
        // The table holds the socket from here on; our own descriptor goes.
        match self.install(slot, &socket) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.slots.release(slot);
                Err(error)
            }
        }
    }

    fn close(&mut self, slot: Slot) {
        if self.slots.close(slot) {
            self.chore(Chore::Cancel(slot));
        }
    }

    fn send(&mut self, slot: Slot, to: SocketAddr, bytes: Bytes) -> Result<(), Loss> {
        if self.slots.open(slot).is_none() {
            return Err(Loss::Send(libc::EBADF));
        }
        self.queue.send(slot, Parcel::new(to, bytes))
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        // Receives that have to start again must not wait for other news first.
        let idle = self.chores.is_empty() && self.streams.is_quiet();
        let patience = if idle { patience } else { Duration::ZERO };
        self.queue.enter(patience)?;
        // Only now the buffers are back that a receive may have ended for want of.
        for chore in std::mem::take(&mut self.chores) {
            self.chore(chore);
        }
        self.redo();
        Ok(())
    }

    fn deliver<S: Sink<Self>>(&mut self, sink: &mut S) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        self.queue.completions(&mut batch);
        let events = batch.len();
        for next in batch.chunks(AHEAD) {
            self.prefetch(next, sink);
            next.iter().for_each(|&completion| self.complete(completion, sink));
        }
        batch.clear();
        self.batch = batch;
        self.queue.publish();
        events
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Err(error) = self.close_all() {
            tracing::warn!(%error, "the ring leaves its sockets to the kernel to close");
            self.streams.table.abandon();
        }
    }
}
