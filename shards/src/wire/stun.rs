//! STUN Binding messages (RFC 8489): requests and their answers as far as keepalive needs them, and what a relay between
//! two ICE agents reads of theirs. No integrity: that is the ends' own.

use std::net::{IpAddr, SocketAddr};

/// Octets of the header.
const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const REQUEST: u16 = 0x0001;
const INDICATION: u16 = 0x0011;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
/// USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256: whoever asks for no credentials passes over them.
const CREDENTIALS: [u16; 5] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c];
/// FINGERPRINT is the checksum with these bits changed, so that it differs from a checksum of another protocol.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Identifies a request and the answer to it.
pub type Transaction = [u8; 12];

/// Whether a datagram is a STUN message: its first two bits, the magic cookie, and a length that tiles the datagram
/// (RFC 8489 section 6.3). No SIP message, RTP or RTCP packet looks like that.
pub fn is_stun(datagram: &[u8]) -> bool {
    let Some((header, rest)) = datagram.split_first_chunk::<HEADER>() else { return false };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    header[0] >> 6 == 0 && header[4..8] == COOKIE && length == rest.len() && length.is_multiple_of(4)
}

/// A Binding request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the answer.
    pub transaction: Transaction,
    /// It had a FINGERPRINT, so the answer has one too.
    pub fingerprint: bool,
    /// Attributes that it wants understood and that we do not know, in their order; the answer is then 420.
    pub unknown: Vec<u16>,
}

impl Request {
    /// Reads a datagram; `None` unless it is a Binding request whose attributes tile it, with a right FINGERPRINT or
    /// none.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let message = Message::parse(datagram).filter(|message| message.kind == REQUEST)?;
        let Message { transaction, fingerprint, .. } = message;
        Some(Self { transaction, fingerprint, unknown: message.unknown(&CREDENTIALS) })
    }
}

/// The answer to a request that came from `from`: success with XOR-MAPPED-ADDRESS (32 octets for IPv4, 44 for IPv6), or
/// 420 with the attributes that are not known; with FINGERPRINT (8 octets) when the request had one.
pub fn respond(request: &Request, from: SocketAddr) -> Vec<u8> {
    let mut writer =
        Writer::new(if request.unknown.is_empty() { SUCCESS } else { ERROR }, request.transaction);
    if request.unknown.is_empty() {
        writer.attribute(XOR_MAPPED_ADDRESS, &mask(from, request.transaction));
    } else {
        let unknown: Vec<u8> = request.unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        writer.attribute(ERROR_CODE, &[0, 0, 4, 20]);
        writer.attribute(UNKNOWN_ATTRIBUTES, &unknown);
    }
    writer.finish(request.fingerprint)
}

/// A successful answer to a Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// That of the request.
    pub transaction: Transaction,
    /// Where the request came from, as the one who answered saw it.
    pub mapped: SocketAddr,
}

impl Response {
    /// Reads a datagram; `None` unless it is a success response with XOR-MAPPED-ADDRESS, with a right FINGERPRINT or
    /// none, and without attributes that would have to be understood and are not.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let message = Message::parse(datagram).filter(|message| message.kind == SUCCESS)?;
        if !message.unknown(&[&CREDENTIALS[..], &[XOR_MAPPED_ADDRESS]].concat()).is_empty() {
            return None;
        }
        let mut attributes = attributes(message.body).flatten();
        let (_, value) = attributes.find(|&(kind, _)| kind == XOR_MAPPED_ADDRESS)?;
        Some(Self { transaction: message.transaction, mapped: unmask(value, message.transaction)? })
    }
}

/// What a Binding message is (RFC 8489 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It wants an answer.
    Request,
    /// It wants none.
    Indication,
    /// A good answer.
    Success,
    /// A bad answer.
    Error,
}

/// A Binding message on its way between two ICE agents (RFC 8445), who alone can judge what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What it is.
    pub class: Class,
    /// The same in a request and its answer.
    pub transaction: Transaction,
}

impl Binding {
    /// Reads a datagram without allocating; `None` unless it is a Binding message whose attributes tile it, with a right
    /// FINGERPRINT or none.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let message = Message::parse(datagram)?;
        let class = match message.kind {
            REQUEST => Class::Request,
            INDICATION => Class::Indication,
            SUCCESS => Class::Success,
            ERROR => Class::Error,
            _ => return None,
        };
        Some(Self { class, transaction: message.transaction })
    }
}

/// Does a datagram begin like STUN: first octet 0 to 3 (RFC 7983 section 7) and the magic cookie?
pub fn begins(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, _, _, _, cookie @ ..] if cookie.starts_with(&COOKIE))
}

struct Message<'a> {
    kind: u16,
    transaction: Transaction,
    body: &'a [u8],
    fingerprint: bool,
}

impl<'a> Message<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, body) = datagram.split_first_chunk::<HEADER>().filter(|_| is_stun(datagram))?;
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&header[8..]);
        let (mut fingerprint, mut tiled) = (false, 0);
        for attribute in attributes(body) {
            let (kind, value) = attribute?;
            if fingerprint {
                return None;
            }
            if kind == FINGERPRINT {
                let covered = &datagram[..HEADER + tiled];
                fingerprint = value == (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes();
                fingerprint.then_some(())?;
            }
            tiled += 4 + value.len().next_multiple_of(4);
        }
        Some(Self { kind: u16::from_be_bytes([header[0], header[1]]), transaction, body, fingerprint })
    }

    /// Attributes that must be understood (below 0x8000), but for those that are known.
    fn unknown(&self, known: &[u16]) -> Vec<u16> {
        let kinds = attributes(self.body).flatten().map(|(kind, _)| kind);
        kinds.filter(|kind| *kind < 0x8000 && !known.contains(kind)).collect()
    }
}

/// Type and value of each attribute, without its padding; the last is `None` when it does not fit.
fn attributes(body: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let attribute = attribute(rest);
        let whole = attribute.map(|(_, value)| 4 + value.len().next_multiple_of(4));
        let done = rest.is_empty();
        rest = whole.and_then(|len| rest.get(len..)).unwrap_or_default();
        (!done).then_some(attribute)
    })
}

fn attribute(rest: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    rest.get(..length.next_multiple_of(4))?;
    Some((u16::from_be_bytes([head[0], head[1]]), &rest[..length]))
}

/// The value of XOR-MAPPED-ADDRESS (RFC 8489 section 14.2): some NATs rewrite any address that they recognise.
fn mask(address: SocketAddr, transaction: Transaction) -> Vec<u8> {
    let port = address.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    let (family, mut octets) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    octets.iter_mut().zip(COOKIE.iter().chain(&transaction)).for_each(|(octet, bits)| *octet ^= bits);
    [&[0, family][..], &port.to_be_bytes(), &octets].concat()
}

fn unmask(value: &[u8], transaction: Transaction) -> Option<SocketAddr> {
    let (&[_, family, high, low], octets) = value.split_first_chunk::<4>()?;
    let bits: Vec<u8> =
        octets.iter().zip(COOKIE.iter().chain(&transaction)).map(|(octet, bits)| octet ^ bits).collect();
    let ip = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(bits).ok().filter(|_| octets.len() == 4)?),
        2 => IpAddr::from(<[u8; 16]>::try_from(bits).ok().filter(|_| octets.len() == 16)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([high ^ COOKIE[0], low ^ COOKIE[1]])))
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u16, transaction: Transaction) -> Self {
        Self([&kind.to_be_bytes()[..], &[0, 0], &COOKIE, &transaction].concat())
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, fingerprint: bool) -> Vec<u8> {
        let length = self.0.len() - HEADER + if fingerprint { 8 } else { 0 };
        self.0[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        if fingerprint {
            self.attribute(FINGERPRINT, &(crc32(&self.0) ^ FINGERPRINT_XOR).to_be_bytes());
        }
        self.0
    }
}

/// CRC-32 as in ITU V.42, which FINGERPRINT uses.
fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |sum: u32, &octet| (sum >> 8) ^ CRC[usize::from(sum as u8 ^ octet)])
}

const CRC: [u32; 256] = {
    let (mut table, mut n) = ([0; 256], 0);
    while n < 256 {
        let (mut sum, mut bit) = (n as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with these attributes.
    fn request(attributes: &[(u16, &[u8])], fingerprint: bool) -> Vec<u8> {
        let mut writer = Writer::new(REQUEST, *b"transaction!");
        attributes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
        writer.finish(fingerprint)
    }

    /// The answers of RFC 5769 sections 2.2 and 2.3 without their MESSAGE-INTEGRITY and FINGERPRINT.
    #[test]
    fn the_test_vectors_addresses_are_read_and_written() {
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let asked = Request { transaction, fingerprint: false, unknown: Vec::new() };
        let v4 = *b"\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        let v6 = *b"\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        for (from, value) in
            [("192.0.2.1:32853", &v4[..]), ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", &v6)]
        {
            let mapped = from.parse().unwrap();
            let answer = respond(&asked, mapped);
            assert_eq!(&answer[HEADER + 4..], value);
            assert_eq!(Response::parse(&answer), Some(Response { transaction, mapped }));
        }
    }

    /// RFC 5769 section 2.1: a request with a FINGERPRINT at its end.
    #[test]
    fn the_test_vectors_fingerprint_is_right() {
        let vector = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\x80\x22\x00\x10\
            STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09\
            evtj:h6vY\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\
            \xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
        let read = Request::parse(vector).unwrap();
        assert_eq!((read.fingerprint, read.unknown), (true, vec![0x24]), "PRIORITY is for ICE only");
        for at in HEADER..vector.len() {
            let mut bent = *vector;
            bent[at] ^= 0x10;
            assert_eq!(Request::parse(&bent).filter(|r| r.fingerprint), None, "octet {at}");
        }
    }

    #[test]
    fn what_must_be_understood_is_answered_420() {
        let asked =
            Request::parse(&request(&[(3, &[0; 4]), (0x8022, b"x"), (6, b"user"), (0x7fff, b"")], true));
        let answer = respond(&asked.unwrap(), "192.0.2.1:1".parse().unwrap());
        let expected =
            [&b"\0\x09\0\x04\0\0\x04\x14\0\x0a\0\x04\0\x03\x7f\xff"[..], b"\x80\x28\0\x04"].concat();
        assert_eq!(answer[..2], ERROR.to_be_bytes());
        assert_eq!(answer[HEADER..HEADER + expected.len()], expected);
        assert!(Message::parse(&answer).is_some_and(|message| message.fingerprint));
        assert_eq!(Response::parse(&answer), None);
    }

    #[test]
    fn a_message_between_agents_is_told_by_its_class() {
        let class = |kind: u16| {
            let bytes = Writer::new(kind, *b"transaction!").finish(true);
            assert!(begins(&bytes));
            Binding::parse(&bytes).map(|binding| binding.class)
        };
        assert_eq!([REQUEST, INDICATION].map(class), [Some(Class::Request), Some(Class::Indication)]);
        assert_eq!([SUCCESS, ERROR].map(class), [Some(Class::Success), Some(Class::Error)]);
        assert_eq!([0x0003, 0x0103, 0x0002].map(class), [None; 3], "TURN's Allocate, and no method at all");
        assert!(!begins(&[4, 0, 0, 0, 0x21, 0x12, 0xa4, 0x42]) && !begins(&[0, 1, 0, 0, 0x21, 0x12]));
    }

    #[test]
    fn only_what_tiles_is_stun() {
        let plain = request(&[], false);
        assert!(is_stun(&plain) && Request::parse(&plain).is_some());
        assert!(!is_stun(&plain[..19]) && !is_stun(&[&plain[..], b"\0"].concat()));
        assert!(!is_stun(&[&plain[..], b"\0\0\0\0"].concat()), "longer than it says");
        for (at, octet) in [(0, 0x80), (4, 0x20), (7, 0)] {
            let mut bent = plain.clone();
            bent[at] = octet;
            assert!(!is_stun(&bent));
        }
        let mut cut = request(&[(0x8022, b"abcd")], false);
        cut[HEADER + 3] = 5;
        assert!(is_stun(&cut) && Request::parse(&cut).is_none(), "an attribute longer than the message");
        let after = request(&[(FINGERPRINT, &[0; 4])], false);
        assert_eq!(Request::parse(&after), None, "a wrong fingerprint");
    }
}
