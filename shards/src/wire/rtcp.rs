//! RTCP sender and receiver reports (RFC 3550 section 6.4), read and never written.

/// Octets of a report block.
const BLOCK: usize = 24;
/// Octets of a packet's header and the SSRC of its sender.
const HEADER: usize = 8;
/// Octets of what a sender says about itself.
const SENDER: usize = 20;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// What a sender says about its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Its stream.
    pub ssrc: u32,
    /// The middle 32 bits of its NTP time: units of 1/65536 s. Receivers repeat it as [`Block::last_report`].
    pub time: u32,
    /// RTP packets sent so far.
    pub packets: u32,
}

/// What a receiver says about one stream that it hears (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The stream that is spoken of.
    pub about: u32,
    /// Lost since the report before, in 1/256.
    pub fraction: u8,
    /// Lost since the beginning, -2^23 to 2^23 - 1; negative when duplicates came.
    pub lost: i32,
    /// Interarrival jitter in units of the codec's clock.
    pub jitter: u32,
    /// [`SenderInfo::time`] of the last sender report that came; 0: none yet.
    pub last_report: u32,
    /// How long ago that was, in 1/65536 s.
    pub delay: u32,
}

/// One finding in a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// From a sender report.
    Sender(SenderInfo),
    /// From a sender or receiver report.
    Block(Block),
}

/// Give all reports of a datagram to `take`, in their order; at most 31 blocks a packet, as its header can say. Reads
/// until lengths contradict each other: [`super::rtp::rtcp_tiles`] says whether they do.
pub fn read(datagram: &[u8], mut take: impl FnMut(Item)) {
    let mut rest = datagram;
    while let [first, kind, high, low, ..] = *rest {
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let Some((packet, next)) = rest.split_at_checked(length).filter(|_| first >> 6 == 2) else { return };
        report(packet, kind, usize::from(first & 0x1f), &mut take);
        rest = next;
    }
}

/// The sender's own part, where there is one, and as many blocks as are announced and there.
fn report(packet: &[u8], kind: u8, blocks: usize, take: &mut impl FnMut(Item)) {
    let start = match kind {
        SENDER_REPORT => HEADER + SENDER,
        RECEIVER_REPORT => HEADER,
        _ => return,
    };
    let Some(body) = packet.get(start..) else { return };
    if kind == SENDER_REPORT {
        let (ssrc, time, packets) = (word(packet, 4), word(packet, 10), word(packet, 20));
        take(Item::Sender(SenderInfo { ssrc, time, packets }));
    }
    for block in body.chunks_exact(BLOCK).take(blocks) {
        take(Item::Block(Block::of(block)));
    }
}

impl Block {
    fn of(octets: &[u8]) -> Self {
        let losses = word(octets, 4);
        Self {
            about: word(octets, 0),
            fraction: (losses >> 24) as u8,
            // Shifted up and down again, so that bit 23 becomes the sign.
            lost: (losses << 8).cast_signed() >> 8,
            jitter: word(octets, 12),
            last_report: word(octets, 16),
            delay: word(octets, 20),
        }
    }
}

/// The four octets at `at`; zeros where there are none.
fn word(octets: &[u8], at: usize) -> u32 {
    octets.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(datagram: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        read(datagram, |item| items.push(item));
        items
    }

    /// A report with these words after its first header word.
    fn packet(blocks: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut packet = vec![0x80 | blocks, kind, 0, words.len() as u8];
        words.iter().for_each(|word| packet.extend(word.to_be_bytes()));
        packet
    }

    const BLOCK_WORDS: [u32; 6] = [9, 0x40ff_fffe, 70_000, 33, 0x1234_5678, 65_536];

    fn expected_block() -> Item {
        let (last_report, delay) = (0x1234_5678, 65_536);
        Item::Block(Block { about: 9, fraction: 64, lost: -2, jitter: 33, last_report, delay })
    }

    #[test]
    fn a_sender_report_with_a_block() {
        let words = [&[7, 0xaaaa_1234, 0x5678_bbbb, 160, 50, 8_000][..], &BLOCK_WORDS].concat();
        let sender = Item::Sender(SenderInfo { ssrc: 7, time: 0x1234_5678, packets: 50 });
        assert_eq!(items(&packet(1, 200, &words)), [sender, expected_block()]);
    }

    #[test]
    fn a_compound_of_a_receiver_report_and_others() {
        let report = packet(1, 201, &[&[7][..], &BLOCK_WORDS].concat());
        let bye = packet(1, 203, &[7]);
        assert_eq!(items(&[bye, report].concat()), [expected_block()]);
    }

    #[test]
    fn blocks_that_are_not_there_are_not_read() {
        let short = packet(31, 201, &[&[7][..], &BLOCK_WORDS, &[1, 2, 3]].concat());
        assert_eq!(items(&short), [expected_block()]);
        assert_eq!(items(&packet(0, 201, &[&[7][..], &BLOCK_WORDS].concat())), []);
        assert_eq!(items(&packet(1, 200, &[7, 1, 2])), []);
        assert_eq!(items(&[0x81, 201, 0xff, 0xff, 0, 0]), []);
        assert_eq!(items(&[0x41, 201, 0, 0]), []);
    }
}
