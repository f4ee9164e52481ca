//! Memory that the kernel reads and writes.
#![allow(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::ptr::NonNull;

/// Zeroed, page-aligned memory at a fixed place. Only raw pointers into it are handed out: who may touch which octet
/// when is the owner's business.
#[derive(Debug)]
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Maps `len` octets and touches every page now, so that no packet pays for a page fault.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: a null hint lets the kernel choose fresh addresses, so no existing memory is affected.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The address of the octet at `offset`.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len, "offset {offset} is outside of {} mapped octets", self.len);
        // SAFETY: the offset is inside of the mapping, as just checked.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and whoever holds a pointer into it borrows from its owner.
        if let Err(error) = unsafe { munmap(self.start.as_ptr().cast(), self.len) } {
            tracing::error!(%error, "cannot unmap ring memory");
        }
    }
}
