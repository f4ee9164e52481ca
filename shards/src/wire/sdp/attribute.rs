//! Values of a= and b= lines.

use crate::wire::{Span, text};

/// Who sends, as the writer of the description sees it (RFC 8866 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// The writer only.
    SendOnly,
    /// The other only.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction that the value of an a= line names.
    pub fn of(value: &[u8]) -> Option<Self> {
        let spellings = [
            (&b"sendrecv"[..], Self::SendRecv),
            (b"sendonly", Self::SendOnly),
            (b"recvonly", Self::RecvOnly),
            (b"inactive", Self::Inactive),
        ];
        let name = name(value);
        spellings
            .into_iter()
            .find(|(text, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, direction)| direction)
    }
}

/// Whether the attribute in the value of an a= line has this name.
pub fn has_name(value: &[u8], wanted: &[u8]) -> bool {
    name(value).eq_ignore_ascii_case(wanted)
}

/// Whether the value of an a= line is about ICE (RFC 8839), which is only understood when every address in it is true.
pub fn is_ice(value: &[u8]) -> bool {
    is_candidate(value)
        || has_name(value, b"end-of-candidates")
        || name(value).get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"ice-"))
}

/// Whether the value of an a= line names addresses of ICE: the writer's, or those of the reader that it has chosen.
pub fn is_candidate(value: &[u8]) -> bool {
    has_name(value, b"candidate") || has_name(value, b"remote-candidates")
}

/// Whether the value of an a= line is about BUNDLE (RFC 9143). `mid` is not: without its group it is a harmless label.
pub fn is_bundle(value: &[u8]) -> bool {
    let groups = || first_word(after_name(value)).eq_ignore_ascii_case(b"BUNDLE");
    has_name(value, b"bundle-only") || has_name(value, b"group") && groups()
}

/// Whether the value of an a= line makes keys for SRTP: SDES (RFC 4568), MIKEY (RFC 4567), DTLS (RFC 8122, RFC 8842) or
/// ZRTP (RFC 6189), or signs them (RFC 8827).
pub fn is_keying(value: &[u8]) -> bool {
    let names = [&b"crypto"[..], b"key-mgmt", b"fingerprint", b"setup", b"tls-id", b"zrtp-hash", b"identity"];
    names.iter().any(|known| has_name(value, known))
}

/// What stands after the name and its colon, without the white space around it.
pub fn argument(value: &[u8]) -> &[u8] {
    after_name(value).trim_ascii()
}

/// Whether the value of an a= line names an address that nothing here rewrites: alternatives to c= (ALTC, RFC 6947),
/// NAT hints, and source filters (RFC 4570).
pub fn is_address_leak(value: &[u8]) -> bool {
    let leaks = [&b"X-nat"[..], b"alt", b"altc", b"X-altc", b"source-filter"];
    leaks.iter().any(|leak| has_name(value, leak))
}

/// What an rtpmap attribute says (RFC 8866 section 6.6): payload type, encoding name, clock rate.
pub(super) fn rtpmap(value: &[u8]) -> Option<(u8, &[u8], u32)> {
    let map = name(value).eq_ignore_ascii_case(b"rtpmap").then(|| after_name(value).trim_ascii())?;
    let number = first_word(map);
    let mut encoding = first_word(map.get(number.len()..)?).split(|&b| b == b'/');
    let (name, clock) = (encoding.next()?, text::number(encoding.next()?)?);
    let number = text::number(number).filter(|number| *number < 128)?;
    Some((number as u8, name, u32::try_from(clock).ok()?))
}

/// What stands before the colon.
pub(super) fn name(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|&b| b == b':').unwrap_or(value.len());
    value[..end].trim_ascii()
}

/// Packet time in milliseconds, a fraction cut off.
pub(super) fn ptime(value: &[u8]) -> Option<u16> {
    let whole = after_name(value).split(|&b| b == b'.').next()?;
    text::port(whole.trim_ascii())
}

/// What a b= line makes of the rate known so far: AS wins over TIAS (which is in bit/s).
pub(super) fn bandwidth(known: Option<u32>, value: &[u8]) -> Option<u32> {
    let figure = || text::number(after_name(value).trim_ascii());
    let kbits = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    match name(value) {
        name if name.eq_ignore_ascii_case(b"AS") => figure().map(kbits).or(known),
        name if name.eq_ignore_ascii_case(b"TIAS") => known.or(figure().map(|n| kbits(n.div_ceil(1000)))),
        _ => known,
    }
}

fn after_name(value: &[u8]) -> &[u8] {
    let colon = text::find(value, Span::new(0, value.len()), |b| b == b':');
    colon.map_or(&[], |at| &value[at + 1..])
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(|b| matches!(b, b' ' | b'\t')).find(|w| !w.is_empty()).unwrap_or_default()
}
