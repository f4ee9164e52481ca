//! Provided buffers: the kernel takes one for each datagram, and we give it back.
//!
//! A buffer is laid out as multishot RECVMSG fills it: header (16 octets), source address ([`NAME`] octets), payload.
//! Once the source has been read, the destination of a forwarded datagram takes its place.
#![allow(unsafe_code)]

use super::pages::Pages;
use crate::io::address::{self, NAME};
use io_uring::{IoUring, types::BufRingEntry};
use std::io;
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Octets of the kernel's `struct io_uring_recvmsg_out`: namelen, controllen, payloadlen, flags.
const HEADER: usize = 16;
const OFFSET_OF_LENGTH: usize = 8;
const OFFSET_OF_FLAGS: usize = 12;
const OVERHEAD: usize = HEADER + NAME;
const CACHE_LINE: usize = 64;

/// A group of equal receive buffers and the ring through which the kernel gets them.
#[derive(Debug)]
pub(super) struct Pool {
    group: u16,
    entries: Pages,
    buffers: Pages,
    stride: usize,
    count: u16,
    tail: u16,
}

/// What the kernel put into a buffer.
pub(super) struct Filled<'a> {
    /// Who sent it.
    pub(super) from: SocketAddr,
    /// The datagram, or its beginning when `truncated`.
    pub(super) payload: &'a mut [u8],
    /// The datagram was larger than the buffer.
    pub(super) truncated: bool,
}

/// What a send out of a buffer reads.
pub(super) struct Outgoing {
    /// The payload.
    pub(super) payload: NonNull<u8>,
    /// Its octets.
    pub(super) len: u32,
    /// The destination as the kernel lays it out.
    pub(super) name: NonNull<u8>,
    /// Its octets.
    pub(super) name_len: u32,
}

impl Pool {
    /// Registers `count` buffers (a power of two, at most 32,768) for datagrams of up to `payload` octets as buffer
    /// group `group`.
    pub(super) fn register(ring: &IoUring, group: u16, count: u16, payload: usize) -> io::Result<Self> {
        let stride = (OVERHEAD + payload).next_multiple_of(CACHE_LINE);
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let buffers = Pages::new(usize::from(count) * stride)?;
        let mut pool = Self { group, entries, buffers, stride, count, tail: 0 };
        let start = pool.entries.at(0).as_ptr() as u64;
        // SAFETY: the entries are page-aligned, hold `count` of them, and live until the ring is closed: the ring's
        // owner declares its pools after it, so they are dropped later.
        unsafe { ring.submitter().register_buf_ring_with_flags(start, count, group, 0)? };
        for id in 0..count {
            pool.give_back(id);
        }
        pool.publish();
        Ok(pool)
    }

    /// The number of the buffer group.
    pub(super) const fn group(&self) -> u16 {
        self.group
    }

    /// Puts a buffer in line for the kernel, which sees it after the next [`Pool::publish`].
    pub(super) fn give_back(&mut self, id: u16) {
        let at = usize::from(self.tail & (self.count - 1)) * size_of::<BufRingEntry>();
        let address = self.buffers.at(usize::from(id) * self.stride).as_ptr() as u64;
        // SAFETY: the entry is inside of the mapping, aligned, and the kernel does not read it before the tail passes
        // it. Entry 0 overlaps the tail, but no setter touches those two octets.
        let entry = unsafe { self.entries.at(at).cast::<BufRingEntry>().as_mut() };
        entry.set_addr(address);
        entry.set_len(self.stride as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see all buffers that were given back.
    pub(super) fn publish(&self) {
        // SAFETY: the tail lies inside of the first entry, aligned, and is only ever touched atomically.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.entries.at(0).as_ptr().cast());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Reads what the kernel put into buffer `id`. `None`: not an IP source, or a length that cannot be.
    ///
    /// # Safety
    /// The buffer must be ours: taken from a completion, not yet given back, and not read by a send that the kernel
    /// has still to do; and no other reference into it may live.
    pub(super) unsafe fn read<'a>(&self, id: u16) -> Option<Filled<'a>> {
        let start = self.buffers.at(usize::from(id) * self.stride);
        // SAFETY: `stride` octets from `start` are inside of the mapping and initialised, and exclusively ours by
        // this function's contract.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.stride) };
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER>()?;
        let (name, rest) = rest.split_first_chunk_mut::<NAME>()?;
        let len = field(header, OFFSET_OF_LENGTH) as usize;
        let truncated = field(header, OFFSET_OF_FLAGS) & libc::MSG_TRUNC as u32 != 0;
        let payload = rest.get_mut(..len)?;
        Some(Filled { from: address::decode(name)?, payload, truncated })
    }

    /// The first `len` octets of buffer `id`, as a receive on a connection fills it.
    ///
    /// # Safety
    /// As for [`Pool::read`].
    pub(super) unsafe fn octets<'a>(&self, id: u16, len: usize) -> &'a mut [u8] {
        let start = self.buffers.at(usize::from(id) * self.stride);
        // SAFETY: at most `stride` octets from `start` are inside of the mapping and initialised, and exclusively ours
        // by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len.min(self.stride)) }
    }

    /// Addresses buffer `id`, whose payload has `len` octets, to `to`.
    ///
    /// # Safety
    /// As for [`Pool::read`].
    pub(super) unsafe fn address(&self, id: u16, len: usize, to: SocketAddr) -> Outgoing {
        let start = usize::from(id) * self.stride;
        let name = self.buffers.at(start + HEADER);
        // SAFETY: NAME octets follow the header inside of every buffer, and they are exclusively ours by this
        // function's contract.
        let name_len = address::encode(to, unsafe { name.cast::<[u8; NAME]>().as_mut() });
        Outgoing { payload: self.buffers.at(start + OVERHEAD), len: len as u32, name, name_len }
    }
}

fn field(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
