//! What must hold for any octets that are read as RTCP: every finding has its octets, and is found again alone.

use portolan_shards::wire::rtcp::{Item, read};

/// Octets that a report block, and a sender's part with its header, take.
const BLOCK: usize = 24;
const SENDER: usize = 28;

/// Reads `data` as a compound packet.
pub(crate) fn run(data: &[u8]) {
    let (mut senders, mut blocks) = (0, 0);
    read(data, |item| match item {
        Item::Sender(_) => senders += 1,
        Item::Block(block) => {
            blocks += 1;
            assert!((-(1 << 23)..1 << 23).contains(&block.lost));
        }
    });
    assert!(senders * SENDER + blocks * BLOCK <= data.len(), "{senders} and {blocks} in {}", data.len());
}
