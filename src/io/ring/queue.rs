//! The io_uring itself: what is queued, what must stay valid until the kernel has read it, and what came back.
#![allow(unsafe_code)]

use super::Sizes;
use super::pool::{Outgoing, Pool};
use super::stream::Stream;
use super::tag::{Operation, Tag};
use crate::io::address::{self, NAME};
use crate::io::bell::Bell;
use crate::io::datagrams::{Forward, Kind, Loss, Slot};
use crate::io::streams::StreamSlot;
use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

const SUBMISSIONS: u32 = 256;
const COMPLETIONS: u32 = 16_384;
/// Octets of the largest media datagram.
const MEDIA_PAYLOAD: usize = 2048;
/// Octets of the largest UDP datagram.
const SIGNALING_PAYLOAD: usize = 65_535;
/// Octets that one completion of a connection brings at most, less a pool's overhead.
const STREAM_PAYLOAD: usize = 4032;
/// How long a listener waits after the process could not open another file.
static PAUSE: Timespec = Timespec::new().nsec(100_000_000);
/// How long a connection that we have closed waits for its peer to take the rest.
static LINGER: Timespec = Timespec::new().sec(5);
/// `IORING_ENTER_GETEVENTS`: do the deferred work although nobody waits.
const GET_EVENTS: u32 = 1;
/// Completions that end a wait for company before its time is over.
const COMPANY: usize = SUBMISSIONS as usize / 2;

/// One completion, read out of the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: u64,
    /// Octets, or a negative errno.
    pub(super) result: i32,
    /// The buffer that the kernel took for it.
    pub(super) buffer: Option<u16>,
    /// No more completions of the same request follow.
    pub(super) last: bool,
}

/// A datagram of our own on its way out.
#[derive(Debug)]
pub(super) struct Parcel {
    name: [u8; NAME],
    name_len: u32,
    bytes: Bytes,
}

impl Parcel {
    pub(super) fn new(to: SocketAddr, bytes: Bytes) -> Self {
        let mut name = [0; NAME];
        let name_len = address::encode(to, &mut name);
        Self { name, name_len, bytes }
    }
}

/// The rings shared with the kernel. Fields are dropped in order: the ring closes before its memory goes.
pub(super) struct Queue {
    ring: IoUring,
    media: Pool,
    signaling: Pool,
    streams: Pool,
    /// Shared by all receives: it only says how much room an address takes.
    shape: Box<libc::msghdr>,
    /// Buffers that sends in the submission queue read from.
    lent: Vec<(Kind, u16)>,
    /// Datagrams that sends in the submission queue read from; never grows, so they stay where they are.
    parcels: Vec<Parcel>,
    bell: Arc<Bell>,
    rings: Box<AtomicU64>,
    /// How long after the last wait has ended the next one goes on although something has arrived.
    company: Duration,
    /// When the last wait has ended; not kept where nothing waits for company.
    ended: Instant,
    /// The last wait brought several things: company is to be had.
    busy: bool,
    entries: u64,
}

impl Queue {
    pub(super) fn new(sizes: Sizes, bell: Arc<Bell>) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSIONS)?;
        ring.submitter().register_files_sparse(sizes.sockets)?;
        ring.submitter().register_eventfd(bell.sleeping().as_raw_fd())?;
        let media = Pool::register(&ring, 0, sizes.media_buffers, MEDIA_PAYLOAD)?;
        let signaling = Pool::register(&ring, 1, sizes.signaling_buffers, SIGNALING_PAYLOAD)?;
        let streams = Pool::register(&ring, 2, sizes.stream_buffers, STREAM_PAYLOAD)?;
        // SAFETY: a message header of zeros is valid: null pointers with zero lengths.
        let mut shape: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        shape.msg_namelen = NAME as u32;
        let (lent, parcels) = (Vec::new(), Vec::with_capacity(SUBMISSIONS as usize));
        let rings = Box::default();
        let (company, ended, entries) = (Duration::ZERO, Instant::now(), 0);
        let mut queue = Self {
            ring,
            media,
            signaling,
            streams,
            shape,
            lent,
            parcels,
            bell,
            rings,
            company,
            ended,
            busy: false,
            entries,
        };
        queue.alert(false);
        Ok(queue)
    }

    /// Lets waits go on until so long after the last one ended although something has arrived.
    pub(super) const fn wait_for_company(&mut self, time: Duration) {
        self.company = time;
    }

    /// Entries into the kernel so far that could wait.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) const fn pool(&self, kind: Kind) -> &Pool {
        match kind {
            Kind::Media => &self.media,
            Kind::Signaling { .. } => &self.signaling,
        }
    }

    pub(super) fn give_back(&mut self, kind: Kind, buffer: u16) {
        match kind {
            Kind::Media => self.media.give_back(buffer),
            Kind::Signaling { .. } => self.signaling.give_back(buffer),
        }
    }

    pub(super) fn publish(&self) {
        self.media.publish();
        self.signaling.publish();
        self.streams.publish();
    }

    /// Puts a socket into the ring's file table, or takes it out.
    pub(super) fn set_file(&self, slot: Slot, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let file = socket.map_or(-1, |socket| socket.as_raw_fd());
        self.ring.submitter().register_files_update(slot.index() as u32, &[file]).map(drop)
    }

    pub(super) fn clear_files(&self) -> io::Result<()> {
        self.ring.submitter().unregister_files()
    }

    /// Queues the multishot receive of a socket; false when the submission queue is stuck (as below).
    pub(super) fn receive(&mut self, slot: Slot, kind: Kind) -> bool {
        let socket = Fixed(slot.index() as u32);
        let entry =
            opcode::RecvMsgMulti::new(socket, &raw const *self.shape, self.pool(kind).group()).build();
        self.push(entry, Tag::new(Operation::Receive, slot))
    }

    /// Queues the end of a socket's receive, behind everything that is to be sent by it.
    pub(super) fn cancel(&mut self, slot: Slot) -> bool {
        let receive = Tag::new(Operation::Receive, slot).to_bits();
        let entry = opcode::AsyncCancel::new(receive).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, Tag::new(Operation::Cancel, slot))
    }

    /// Ends all that is under way.
    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        self.submit()?;
        match self.ring.submitter().register_sync_cancel(None, CancelBuilder::any().all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Queues a read of the bell's event file.
    pub(super) fn read_bell(&mut self) -> bool {
        let entry =
            opcode::Read::new(Fd(self.bell.working().as_raw_fd()), self.rings.as_ptr().cast(), 8).build();
        self.push(entry, Tag::BELL)
    }

    /// Queues a send out of a receive buffer, which is lent to the kernel until the submission has returned.
    pub(super) fn forward(&mut self, kind: Kind, buffer: u16, len: usize, to: Forward) -> Result<(), Loss> {
        // SAFETY: the caller has this buffer from a completion and has not given it back.
        let outgoing = unsafe { self.pool(kind).address(buffer, len, to.to) };
        if !self.push_send(to.slot, &outgoing) {
            return Err(Loss::Send(libc::EBUSY));
        }
        self.lent.push((kind, buffer));
        Ok(())
    }

    /// Queues a send of our own bytes, kept until the submission has returned.
    pub(super) fn send(&mut self, slot: Slot, parcel: Parcel) -> Result<(), Loss> {
        // Room first: a submission in between would take this parcel for sent.
        if !self.has_room() || self.parcels.len() == self.parcels.capacity() {
            return Err(Loss::Send(libc::EBUSY));
        }
        self.parcels.push(parcel);
        let parcel = &self.parcels[self.parcels.len() - 1];
        let outgoing = Outgoing {
            payload: NonNull::from_ref(&parcel.bytes[..]).cast(),
            len: parcel.bytes.len() as u32,
            name: NonNull::from_ref(&parcel.name).cast(),
            name_len: parcel.name_len,
        };
        if self.push_send(slot, &outgoing) { Ok(()) } else { Err(Loss::Send(libc::EBUSY)) }
    }

    /// Queues one operation on a listener or a connection; false when the submission queue is stuck.
    pub(super) fn stream(&mut self, operation: Operation, slot: StreamSlot, socket: &Stream) -> bool {
        let fd = Fd(socket.file.as_raw_fd());
        let entry = match operation {
            Operation::Accept => opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(),
            Operation::Pause => opcode::Timeout::new(&raw const PAUSE).build(),
            Operation::Linger => opcode::Timeout::new(&raw const LINGER).build(),
            Operation::Read => opcode::RecvMulti::new(fd, self.streams.group()).build(),
            Operation::Write => {
                let rest = &socket.flying[socket.sent..];
                opcode::Send::new(fd, rest.as_ptr(), rest.len() as u32).flags(libc::MSG_NOSIGNAL).build()
            }
            Operation::Connect => {
                opcode::Connect::new(fd, socket.name.as_ptr().cast(), socket.name_len).build()
            }
            _ => {
                let all = CancelBuilder::fd(fd).all();
                opcode::AsyncCancel2::new(all).build()
            }
        };
        self.push(entry, Tag::new(operation, slot.0))
    }

    /// The octets that a receive on a connection has brought.
    ///
    /// # Safety
    /// The buffer must have been taken from a completion and not given back, and no other reference into it may live.
    pub(super) unsafe fn octets<'a>(&self, buffer: u16, len: usize) -> &'a mut [u8] {
        // SAFETY: by this function's contract.
        unsafe { self.streams.octets(buffer, len) }
    }

    pub(super) fn give_back_stream(&mut self, buffer: u16) {
        self.streams.give_back(buffer);
    }

    /// The socket that an accept has brought.
    pub(super) fn accepted(file: i32) -> OwnedFd {
        // SAFETY: the completion of an accept hands the descriptor over, and it is asked for once.
        unsafe { OwnedFd::from_raw_fd(file) }
    }

    fn push_send(&mut self, slot: Slot, outgoing: &Outgoing) -> bool {
        let entry = opcode::Send::new(Fixed(slot.index() as u32), outgoing.payload.as_ptr(), outgoing.len)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(outgoing.name.as_ptr().cast())
            .dest_addr_len(outgoing.name_len as libc::socklen_t)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, Tag::new(Operation::Send, slot))
    }

    /// Queues an entry; false when the kernel does not take any.
    fn push(&mut self, entry: squeue::Entry, tag: Tag) -> bool {
        let entry = entry.user_data(tag.to_bits());
        // SAFETY: everything that an entry points to lives until the kernel has read it: `shape`, `rings` and `bell`
        // as long as the ring; lent buffers and parcels until `reclaim` sees the submission queue empty; the octets and
        // the name of a stream until its write and its dialling have completed, or for ever.
        let push = |ring: &mut IoUring| unsafe { ring.submission().push(&entry) }.is_ok();
        push(&mut self.ring) || (self.submit().is_ok() && push(&mut self.ring))
    }

    /// Is there room for one more entry? Submits when there is not.
    fn has_room(&mut self) -> bool {
        !self.ring.submission().is_full() || (self.submit().is_ok() && !self.ring.submission().is_full())
    }

    fn submit(&mut self) -> io::Result<()> {
        let result = self.ring.submit();
        self.reclaim();
        forgive(result)
    }

    /// Submits what is queued, does deferred work, and waits up to `patience` for something to complete.
    pub(super) fn enter(&mut self, patience: Duration) -> io::Result<()> {
        if self.company.is_zero() {
            return self.enter_for(1, patience);
        }
        // What the last batch took to do counts: under load it alone brings company, and nothing waits longer.
        let left = self.company.saturating_sub(self.ended.elapsed()).min(patience);
        let result = match self.busy {
            true => self.enter_in_company(left, patience),
            false => self.enter_for(1, patience),
        };
        self.ended = Instant::now();
        result
    }

    fn enter_in_company(&mut self, company: Duration, patience: Duration) -> io::Result<()> {
        if !company.is_zero() {
            // The kernel's own way (min_wait, Linux 6.12) needs no second entry when nothing comes; but it is not to be
            // had everywhere, and that case is cheap.
            self.enter_for(COMPANY, company)?;
            if !self.ring.completion().is_empty() {
                return Ok(());
            }
        }
        self.enter_for(1, patience - company)
    }

    fn enter_for(&mut self, want: usize, patience: Duration) -> io::Result<()> {
        self.entries += 1;
        let result = if patience.is_zero() {
            let queued = self.ring.submission().len() as u32;
            // SAFETY: no argument is passed, and the entries were checked when they were pushed.
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, GET_EVENTS, None) }
        } else {
            let time = Timespec::from(patience);
            self.ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&time))
        };
        self.reclaim();
        forgive(result)
    }

    /// Enters until no deferred work is left (one entry does about 20 items), at most `rounds` times.
    pub(super) fn settle(&mut self, rounds: usize) -> io::Result<()> {
        for _ in 0..rounds {
            self.enter(Duration::ZERO)?;
            if !self.ring.submission().taskrun() {
                break;
            }
        }
        Ok(())
    }

    /// Takes back what the submitted sends have read: with MSG_DONTWAIT they are done when the submission returns.
    fn reclaim(&mut self) {
        if !self.ring.submission().is_empty() {
            return;
        }
        self.parcels.clear();
        if self.lent.is_empty() {
            return;
        }
        let mut lent = std::mem::take(&mut self.lent);
        for (kind, buffer) in lent.drain(..) {
            self.give_back(kind, buffer);
        }
        self.lent = lent;
        self.publish();
    }

    /// Moves all completions to `batch`.
    pub(super) fn completions(&mut self, batch: &mut Vec<Completion>) {
        let before = batch.len();
        batch.extend(self.ring.completion().map(|entry| Completion {
            tag: entry.user_data(),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            last: !cqueue::more(entry.flags()),
        }));
        self.busy = batch.len() - before > 1;
    }

    pub(super) fn alert(&mut self, on: bool) {
        let completion = self.ring.completion();
        if on {
            completion.enable_eventfd();
        } else {
            completion.disable_eventfd();
        }
        // The kernel must see the alarm on before we look whether there is anything to do.
        fence(Ordering::SeqCst);
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        let submission = self.ring.submission();
        let busy = submission.taskrun() || submission.cq_overflow() || !submission.is_empty();
        drop(submission);
        !busy && self.ring.completion().is_empty()
    }
}

/// A wait that ended early or a submission that the kernel puts off is no failure: the next entry goes on with it.
fn forgive(result: io::Result<usize>) -> io::Result<()> {
    match result.as_ref().map_err(io::Error::raw_os_error) {
        Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
        Err(_) => result.map(drop),
    }
}
