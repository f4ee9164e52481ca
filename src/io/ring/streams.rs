//! Listeners and connections in the ring: one multishot accept a listener, one multishot receive a connection, which takes buffers
//! from a pool that all share, and at most one write a connection.

use super::Ring;
use super::queue::{Completion, Queue};
use super::stream::{Phase, Stream, Streams as Table};
use super::tag::{Operation, Tag};
use crate::io::datagrams::Dscp;
use crate::io::socket;
use crate::io::streams::{Event, Refusal, StreamSink, StreamSlot, Streams};
use rustix::net::{Shutdown, shutdown};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// Completions of streams that one round handles: datagrams wait for these at most.
const BURST: usize = 32;

/// The listeners and connections of a ring, and what is left to do for them.
pub(super) struct Connections {
    pub(super) table: Table,
    /// Completions that have not been handled yet. Their buffers are still ours.
    pub(super) batch: VecDeque<Completion>,
    /// Operations that the submission queue had no room for.
    undone: Vec<(Operation, StreamSlot)>,
    /// Receives that ended for want of buffers.
    starved: Vec<StreamSlot>,
}

impl Connections {
    pub(super) fn new(capacity: u32) -> Self {
        let (batch, undone, starved) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { table: Table::new(capacity), batch, undone, starved }
    }

    /// Nothing is left to do.
    pub(super) fn is_quiet(&self) -> bool {
        self.batch.is_empty() && self.undone.is_empty() && self.starved.is_empty()
    }
}

/// Does a stream wait for this operation before it ends? The others are only clocks.
const fn is_counted(operation: Operation) -> bool {
    !matches!(operation, Operation::Pause | Operation::Linger)
}

impl Ring {
    /// Tries again what the submission queue had no room for.
    pub(super) fn redo(&mut self) {
        for (operation, slot) in std::mem::take(&mut self.streams.undone) {
            self.push_stream(operation, slot);
        }
    }

    fn begin(&mut self, operation: Operation, slot: StreamSlot) {
        if let Some(stream) = self.streams.table.get(slot) {
            stream.under_way += u8::from(is_counted(operation));
            self.push_stream(operation, slot);
        }
    }

    fn push_stream(&mut self, operation: Operation, slot: StreamSlot) {
        if let Some(stream) = self.streams.table.get(slot)
            && !self.queue.stream(operation, slot, stream)
        {
            self.streams.undone.push((operation, slot));
        }
    }

    fn add(&mut self, stream: Stream, first: Operation) -> io::Result<StreamSlot> {
        let slot = self.streams.table.insert(stream).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.begin(first, slot);
        Ok(slot)
    }

    /// Begins to write what is queued.
    fn flush(&mut self, slot: StreamSlot) {
        if self.streams.table.get(slot).is_some_and(Stream::load) {
            self.begin(Operation::Write, slot);
        }
    }

    /// Ends all that is under way; the stream is released when that is done.
    fn stop(&mut self, slot: StreamSlot) {
        let Some(stream) = self.streams.table.get(slot).filter(|stream| stream.phase != Phase::Stopping)
        else {
            return;
        };
        stream.phase = Phase::Stopping;
        // The address of a listener is free from here on, although the kernel still holds the socket. What the peer of
        // a connection that is gone already answers is of no use.
        if let Err(error) = shutdown(&stream.file, Shutdown::Both) {
            tracing::trace!(%error, "a stream was not connected any more");
        }
        if stream.under_way == 0 {
            self.streams.table.release(slot);
        } else {
            self.begin(Operation::Stop, slot);
        }
    }

    /// The owner will hear no more of this connection: it ends when all is written and the peer has closed too, so that
    /// the peer can read all of it.
    fn wind_up(&mut self, slot: StreamSlot) {
        let Some(stream) = self.streams.table.get(slot) else { return };
        stream.phase = Phase::Finishing;
        self.say_goodbye(slot);
        if self.streams.table.get(slot).is_some_and(|stream| stream.phase == Phase::Finishing) {
            self.begin(Operation::Linger, slot);
        }
    }

    fn say_goodbye(&mut self, slot: StreamSlot) {
        let Some(stream) = self.streams.table.get(slot) else { return };
        if stream.phase != Phase::Finishing || stream.connecting || !stream.is_flushed() {
            return;
        }
        if stream.deaf || shutdown(&stream.file, Shutdown::Write).is_err() {
            self.stop(slot);
        }
    }

    fn fail<S: StreamSink<Self>>(&mut self, slot: StreamSlot, errno: i32, sink: &mut S) {
        let told = self.streams.table.get(slot).is_some_and(|stream| stream.phase == Phase::Open);
        self.stop(slot);
        if told {
            sink.happened(self, Event::Ended(slot, errno));
        }
    }

    fn stream_completed<S: StreamSink<Self>>(&mut self, completion: Completion, sink: &mut S) {
        let Tag { operation, slot } = Tag::from_bits(completion.tag);
        let slot = StreamSlot(slot);
        let counted = u8::from(is_counted(operation) && completion.last);
        let Some(stream) = self.streams.table.get(slot) else { return };
        stream.under_way -= counted;
        match operation {
            Operation::Accept => self.accept_completed(slot, completion, sink),
            Operation::Read => self.read_completed(slot, completion, sink),
            Operation::Write => self.write_completed(slot, completion.result, sink),
            Operation::Connect => self.connect_completed(slot, completion.result, sink),
            Operation::Pause if self.is_open(slot) => self.begin(Operation::Accept, slot),
            Operation::Linger => self.stop(slot),
            _ => {}
        }
        let ended = |stream: &mut Stream| stream.phase == Phase::Stopping && stream.under_way == 0;
        if self.streams.table.get(slot).is_some_and(ended) {
            self.streams.table.release(slot);
        }
    }

    fn is_open(&mut self, slot: StreamSlot) -> bool {
        self.streams.table.get(slot).is_some_and(|stream| stream.phase == Phase::Open)
    }

    fn accept_completed<S: StreamSink<Self>>(
        &mut self,
        listener: StreamSlot,
        completion: Completion,
        sink: &mut S,
    ) {
        let file = (completion.result >= 0).then(|| Queue::accepted(completion.result));
        if !self.is_open(listener) {
            return;
        }
        let full = matches!(-completion.result, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM);
        match file {
            Some(file) => self.accept(listener, file, sink),
            None => sink.happened(self, Event::Refused(-completion.result)),
        }
        if completion.last {
            // Accepting at once again would only fail again, as fast as the kernel can.
            self.begin(if full { Operation::Pause } else { Operation::Accept }, listener);
        }
    }

    fn accept<S: StreamSink<Self>>(&mut self, listener: StreamSlot, file: OwnedFd, sink: &mut S) {
        // A peer that has gone already has no address.
        let Some(remote) = SockRef::from(&file).peer_addr().ok().and_then(|name| name.as_socket()) else {
            return sink.happened(self, Event::Refused(libc::ECONNABORTED));
        };
        match self.add(Stream::new(file), Operation::Read) {
            Ok(slot) => sink.happened(self, Event::Accepted { listener, slot, remote }),
            Err(_) => sink.happened(self, Event::Refused(libc::ENFILE)),
        }
    }

    #[allow(unsafe_code)]
    fn read_completed<S: StreamSink<Self>>(
        &mut self,
        slot: StreamSlot,
        completion: Completion,
        sink: &mut S,
    ) {
        if let Some(buffer) = completion.buffer {
            let len = usize::try_from(completion.result).unwrap_or(0);
            if len > 0 && self.is_open(slot) {
                // SAFETY: the buffer was just completed and is given back only after the sink returned; the sink can
                // reach the ring, but no method of it touches the octets of a buffer that is not given back.
                let octets = unsafe { self.queue.octets(buffer, len) };
                sink.happened(self, Event::Received(slot, octets));
            }
            self.queue.give_back_stream(buffer);
        }
        match completion.result {
            _ if !completion.last => {}
            0 => self.heard_the_last(slot, sink),
            result if result == -libc::ENOBUFS => {
                self.starved[2] += 1;
                self.streams.starved.push(slot);
            }
            result if result < 0 => self.fail(slot, -result, sink),
            _ => self.read_on(slot),
        }
    }

    fn read_on(&mut self, slot: StreamSlot) {
        if self.streams.table.get(slot).is_some_and(|stream| stream.phase != Phase::Stopping) {
            self.begin(Operation::Read, slot);
        }
    }

    /// The peer has closed; what we have queued may still be of use to it.
    fn heard_the_last<S: StreamSink<Self>>(&mut self, slot: StreamSlot, sink: &mut S) {
        let Some(stream) = self.streams.table.get(slot) else { return };
        stream.deaf = true;
        match stream.phase {
            Phase::Open => {
                self.wind_up(slot);
                sink.happened(self, Event::Ended(slot, 0));
            }
            Phase::Finishing => self.say_goodbye(slot),
            Phase::Stopping => {}
        }
    }

    fn write_completed<S: StreamSink<Self>>(&mut self, slot: StreamSlot, result: i32, sink: &mut S) {
        let Some(stream) = self.streams.table.get(slot) else { return };
        let Ok(written) = usize::try_from(result) else { return self.fail(slot, -result, sink) };
        stream.wrote(written);
        if stream.phase != Phase::Stopping {
            self.flush(slot);
            self.say_goodbye(slot);
        }
    }

    fn connect_completed<S: StreamSink<Self>>(&mut self, slot: StreamSlot, result: i32, sink: &mut S) {
        if result < 0 {
            return self.fail(slot, -result, sink);
        }
        let Some(stream) = self.streams.table.get(slot) else { return };
        stream.connecting = false;
        if stream.phase == Phase::Stopping {
            return;
        }
        let open = stream.phase == Phase::Open;
        self.begin(Operation::Read, slot);
        self.flush(slot);
        self.say_goodbye(slot);
        if open {
            sink.happened(self, Event::Connected(slot));
        }
    }
}

impl Streams for Ring {
    fn listen(&mut self, address: SocketAddr, shared: bool, dscp: Dscp) -> io::Result<StreamSlot> {
        let socket = socket::listen(address, shared, dscp)?;
        self.add(Stream::new(socket.into()), Operation::Accept)
    }

    fn connect(&mut self, from: IpAddr, to: SocketAddr, dscp: Dscp) -> io::Result<StreamSlot> {
        let socket = socket::dialler(from, to, dscp)?;
        self.add(Stream::dialling(socket.into(), to), Operation::Connect)
    }

    fn write(&mut self, slot: StreamSlot, octets: &[u8]) -> Result<(), Refusal> {
        let stream = self.streams.table.get(slot).ok_or(Refusal::Gone)?;
        if stream.queue(octets)? {
            self.begin(Operation::Write, slot);
        }
        Ok(())
    }

    fn finish(&mut self, slot: StreamSlot) {
        if self.is_open(slot) {
            self.wind_up(slot);
        }
    }

    fn abort(&mut self, slot: StreamSlot) {
        if self.is_open(slot) {
            self.stop(slot);
        }
    }

    fn deliver_streams<S: StreamSink<Self>>(&mut self, sink: &mut S) -> usize {
        let events = self.streams.batch.len().min(BURST);
        for _ in 0..events {
            if let Some(completion) = self.streams.batch.pop_front() {
                self.stream_completed(completion, sink);
            }
        }
        if events > 0 {
            self.queue.publish();
        }
        if self.streams.batch.is_empty() {
            for slot in std::mem::take(&mut self.streams.starved) {
                self.read_on(slot);
            }
        }
        events
    }
}
