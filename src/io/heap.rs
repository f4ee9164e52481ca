//! What the process holds in memory. For benchmarks: asking the allocator walks its lists, and takes their locks.
#![allow(unsafe_code)]

use rustix::param::page_size;
use serde::Serialize;

/// Memory of the process, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heap {
    /// Given out by the allocator and not given back; 0 where the allocator cannot tell.
    #[serde(rename = "heap_octets")]
    pub live: u64,
    /// Resident pages (`statm`, proc(5)); what was freed is often still among them.
    #[serde(rename = "resident_octets")]
    pub resident: u64,
}

/// What is held now.
pub fn now() -> Heap {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    Heap { live: live(), resident: pages * page_size() as u64 }
}

#[cfg(target_env = "gnu")]
fn live() -> u64 {
    // SAFETY: `mallinfo2` takes nothing, returns plain numbers and locks each arena that it reads.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}

#[cfg(not(target_env = "gnu"))]
const fn live() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_shows() {
        let before = now();
        let block = vec![1_u8; 64 << 20];
        let after = now();
        assert!(after.resident >= before.resident + (block.len() as u64) / 2);
        assert!(cfg!(not(target_env = "gnu")) || after.live >= before.live + (block.len() as u64) / 2);
    }
}
