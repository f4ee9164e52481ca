//! RTP and RTCP packets that carry what a judge needs: whose they are, which one, and when they left.

use crate::types::Instant;
use bytes::{BufMut, Bytes, BytesMut};

/// Octets of a stamped packet: 12 of header and 20 ms of PCMU.
pub const PACKET: usize = 12 + SAMPLES as usize;
/// Samples in 20 ms at 8000 Hz.
pub const SAMPLES: u32 = 160;
const MAGIC: u32 = 0x506F_7274;

/// What the payload of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The call's number.
    pub call: u32,
    /// Sent by the caller?
    pub by_caller: bool,
    /// Which branch of a forked call sent it; 0 is the one that answers, and the caller.
    pub fork: u8,
    /// Counts from 0 in each direction.
    pub index: u32,
    /// When it left.
    pub sent: Instant,
}

/// A stream's identity and position.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Sequence number.
    pub seq: u16,
    /// Media time.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// First of a talk spurt.
    pub marker: bool,
}

/// An RTP packet (PCMU) with a stamp.
pub fn packet(header: Header, stamp: Stamp) -> Bytes {
    let mut out = BytesMut::with_capacity(PACKET);
    out.put_u8(0x80);
    out.put_u8(if header.marker { 0x80 } else { 0 });
    out.put_u16(header.seq);
    out.put_u32(header.timestamp);
    out.put_u32(header.ssrc);
    out.put_u32(MAGIC);
    out.put_u32(stamp.call);
    out.put_u32(u32::from(stamp.fork) << 1 | u32::from(stamp.by_caller));
    out.put_u32(stamp.index);
    out.put_u64(stamp.sent.as_nanos());
    out.resize(PACKET, 0xFF);
    out.freeze()
}

/// The stamp of a packet; `None` when it is none of ours, or was altered in length.
pub fn stamp(packet: &[u8]) -> Option<Stamp> {
    let word = |at: usize| packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    if packet.len() != PACKET || packet[0] != 0x80 || packet[1] & 0x7F != 0 || word(12)? != MAGIC {
        return None;
    }
    let sent = u64::from(word(28)?) << 32 | u64::from(word(32)?);
    Some(Stamp {
        call: word(16)?,
        by_caller: word(20)? & 1 == 1,
        fork: (word(20)? >> 1) as u8,
        index: word(24)?,
        sent: Instant::from_nanos(sent),
    })
}

/// A sender report and a CNAME in one compound packet (RFC 3550 section 6.1); `bye` adds the farewell.
pub fn sender_report(ssrc: u32, now: Instant, timestamp: u32, packets: u32, bye: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_slice(&[0x80, 200, 0, 6]);
    out.put_u32(ssrc);
    out.put_u64((u128::from(now.as_nanos()) << 32).wrapping_div(1_000_000_000) as u64);
    out.put_u32(timestamp);
    out.put_u32(packets);
    out.put_u32(packets.wrapping_mul(SAMPLES));
    let cname = format!("{ssrc:08x}");
    // One chunk: SSRC, item header, 8 octets of name, and the terminating zeros up to a 32-bit boundary.
    out.put_slice(&[0x81, 202, 0, 4]);
    out.put_u32(ssrc);
    out.put_slice(&[1, cname.len() as u8]);
    out.put_slice(cname.as_bytes());
    out.put_slice(&[0, 0]);
    if bye {
        out.put_slice(&[0x81, 203, 0, 1]);
        out.put_u32(ssrc);
    }
    out.freeze()
}

/// Does the datagram consist of whole RTCP packets, the first one a report?
pub fn is_rtcp(mut bytes: &[u8]) -> bool {
    if !matches!(bytes.get(1), Some(200 | 201)) {
        return false;
    }
    while bytes.len() >= 4 {
        let length = (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 1) * 4;
        if bytes[0] >> 6 != 2 || length > bytes.len() {
            return false;
        }
        bytes = &bytes[length..];
    }
    bytes.is_empty()
}

/// The SSRC of a compound packet's first report.
pub fn rtcp_ssrc(bytes: &[u8]) -> Option<u32> {
    bytes.get(4..8)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_way() {
        let stamp_in =
            Stamp { call: 7, by_caller: true, fork: 2, index: 3, sent: Instant::from_nanos(1 << 40) };
        let bytes = packet(Header { seq: 1, timestamp: 2, ssrc: 3, marker: true }, stamp_in);
        assert_eq!(bytes.len(), 172);
        assert_eq!(stamp(&bytes), Some(stamp_in));
        assert_eq!(stamp(&bytes[..171]), None);
    }

    #[test]
    fn reports_tile_their_datagram() {
        for bye in [false, true] {
            let bytes = sender_report(9, Instant::from_nanos(1_500_000_000), 160, 1, bye);
            assert!(is_rtcp(&bytes));
            assert!(!is_rtcp(&bytes[..bytes.len() - 4]));
        }
    }
}
