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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0x88, 0x12, 0x34, 0, 0, 0, 7, 0xca, 0xfe, 0xba, 0xbe];
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn reads_the_fixed_header() {
        let rtp = Rtp::parse(&packet(0x80, &[1, 2, 3])).unwrap();
        assert_eq!((rtp.payload_type, rtp.marker, rtp.sequence, rtp.timestamp), (8, true, 0x1234, 7));
        assert_eq!((rtp.ssrc, rtp.payload), (0xcafe_babe, 12..15));
    }

    #[test]
    fn accepts_an_empty_payload() {
        assert_eq!(Rtp::parse(&packet(0x80, &[])).unwrap().payload, 12..12);
    }

    #[test]
    fn refuses_other_versions_and_short_packets() {
        assert_eq!(Rtp::parse(&packet(0x40, &[])), None);
        assert_eq!(Rtp::parse(&packet(0x80, &[])[..11]), None);
        assert_eq!(Rtp::parse(&[]), None);
    }

    #[test]
    fn refuses_a_csrc_list_longer_than_the_packet() {
        assert_eq!(Rtp::parse(&packet(0x82, &[0; 7])), None);
        assert_eq!(Rtp::parse(&packet(0x82, &[0; 8])).unwrap().payload, 20..20);
    }

    #[test]
    fn skips_the_extension_and_refuses_a_cut_one() {
        let rtp = Rtp::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 9, 9, 9, 9, 5])).unwrap();
        assert_eq!(rtp.payload, 20..21);
        assert_eq!(Rtp::parse(&packet(0x90, &[0xbe, 0xde, 0, 1, 9, 9, 9])), None);
        assert_eq!(Rtp::parse(&packet(0x90, &[0xbe])), None);
    }

    #[test]
    fn takes_padding_off_and_refuses_impossible_padding() {
        assert_eq!(Rtp::parse(&packet(0xa0, &[5, 5, 0, 2])).unwrap().payload, 12..14);
        assert_eq!(Rtp::parse(&packet(0xa0, &[5, 0])), None);
        assert_eq!(Rtp::parse(&packet(0xa0, &[5, 3])), None);
        assert_eq!(Rtp::parse(&packet(0xa0, &[])), None);
    }

    #[test]
    fn does_not_read_encrypted_padding() {
        assert_eq!(Rtp::parse_secure(&packet(0xa0, &[5, 0])).unwrap().payload, 12..14);
    }

    #[test]
    fn tells_rtcp_from_rtp_by_the_second_octet() {
        assert!(is_rtcp(&[0x80, 192]) && is_rtcp(&[0x81, 200, 0, 0]) && is_rtcp(&[0x80, 223]));
        assert!(
            !is_rtcp(&[0x80, 191]) && !is_rtcp(&[0x80, 224]) && !is_rtcp(&[0x40, 200]) && !is_rtcp(&[0x80])
        );
    }

    #[test]
    fn rtcp_must_tile_its_datagram() {
        let (report, bye) = ([0x80, 201, 0, 1, 1, 2, 3, 4], [0x81, 203, 0, 1, 1, 2, 3, 4]);
        assert!(rtcp_tiles(&report));
        assert!(rtcp_tiles(&[report, bye].concat()));
        assert!(rtcp_tiles(&[0x80, 203, 0, 0]));
        assert!(!rtcp_tiles(&[]));
        assert!(!rtcp_tiles(&[&report[..], &[0]].concat()));
        assert!(!rtcp_tiles(&report[..7]));
        assert!(!rtcp_tiles(&[&report[..], &[0x80, 100, 0, 0]].concat()));
    }

    #[test]
    fn srtcp_needs_only_its_first_header() {
        let sealed = [&[0x80, 201, 0, 1, 1, 2, 3, 4][..], &[0xee; 14]].concat();
        assert!(srtcp_starts(&sealed) && !rtcp_tiles(&sealed));
        assert!(!srtcp_starts(&sealed[..8]));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_safely(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(rtp) = Rtp::parse(&octets) {
                prop_assert!(rtp.payload.start >= 12 && rtp.payload.end <= octets.len());
            }
            if rtcp_tiles(&octets) {
                prop_assert!(octets.len().is_multiple_of(4) && is_rtcp(&octets));
            }
            srtcp_starts(&octets);
        }
    }
}
