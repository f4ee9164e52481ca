//! RTP and RTCP headers (RFC 3550), read and never written: a relay only has to know whether a packet may be one.

use std::ops::Range;

/// Octets of the fixed RTP header.
const HEADER: usize = 12;

/// One RTP packet whose lengths agree with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// 0 to 127.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// Grows by one for each packet, and wraps.
    pub sequence: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The stream's own identity.
    pub ssrc: u32,
    /// Where the payload is: after the header, its CSRC list and extension, before the padding.
    pub payload: Range<usize>,
}

impl Rtp {
    /// Read a packet in the clear; `None` unless it is version 2 and CSRC list, extension and padding fit its length.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        Self::read(packet, padding)
    }

    /// The same for SRTP (RFC 3711), where the last octets are a tag: the payload includes padding and tag.
    pub fn parse_secure(packet: &[u8]) -> Option<Self> {
        Self::read(packet, |_| Some(0))
    }

    fn read(packet: &[u8], padding: impl Fn(&[u8]) -> Option<usize>) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<HEADER>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let start = HEADER + csrc_list(header[0]) + extension(header[0], rest)?;
        let body = packet.get(start..)?;
        let padded = if header[0] & 0x20 == 0 { 0 } else { padding(body)? };
        Some(Self {
            payload_type: header[1] & 0x7f,
            marker: header[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload: start..packet.len() - padded,
        })
    }
}

/// Is a datagram on a shared port RTCP? By its second octet, 192 to 223 (RFC 5761 section 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

/// Does RTCP fill the datagram exactly? Each packet of the compound is version 2, of type 192 to 223, and its length
/// leads to the next one or to the end. A compound of one 4-octet packet is allowed (RFC 5506, reduced size).
pub fn rtcp_tiles(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some(next) = rtcp_length(rest).and_then(|length| rest.get(length..)) else { return false };
        rest = next;
    }
    !datagram.is_empty()
}

/// Can the datagram be SRTCP? Only the first header is readable (RFC 3711 section 3.4); an index and a tag follow.
pub fn srtcp_starts(datagram: &[u8]) -> bool {
    datagram.len() >= 12 && rtcp_length(datagram).is_some_and(|length| length <= datagram.len())
}

/// Octets of the RTCP packet at the start.
fn rtcp_length(packet: &[u8]) -> Option<usize> {
    let [_, _, high, low, ..] = *packet else { return None };
    is_rtcp(packet).then(|| (usize::from(u16::from_be_bytes([high, low])) + 1) * 4)
}

/// Octets of the CSRC list.
fn csrc_list(first: u8) -> usize {
    usize::from(first & 0x0f) * 4
}

/// Octets of the header extension; `rest` starts at the CSRC list.
fn extension(first: u8, rest: &[u8]) -> Option<usize> {
    if first & 0x10 == 0 {
        return Some(0);
    }
    let at = csrc_list(first);
    let words = u16::from_be_bytes([*rest.get(at + 2)?, *rest.get(at + 3)?]);
    Some(4 + usize::from(words) * 4)
}

/// Octets of padding: the last octet counts them, itself included.
fn padding(body: &[u8]) -> Option<usize> {
    let count = usize::from(*body.last()?);
    (count >= 1 && count <= body.len()).then_some(count)
}
