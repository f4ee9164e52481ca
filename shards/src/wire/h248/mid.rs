//! Names of gateways and controllers (mId, H.248.1 section 8.3), and where they want to be reached.

use crate::fault::Fault;
use crate::wire::{Span, text};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Octets of a domain name.
const MAX_DOMAIN: usize = 255;
/// Octets of a device name: 64, and some more that are tolerated.
const MAX_DEVICE: usize = 255;

/// The name of a gateway or controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mid {
    /// `[10.0.0.1]:2944`
    Ip(IpAddr, Option<u16>),
    /// `<mgc1.example.net>:2944`, the name without `<>`.
    Domain(Box<str>, Option<u16>),
    /// `gateway/7@example.net`
    Device(Box<str>),
    /// `MTP{0a2b}`: two to four octets.
    Mtp(Box<[u8]>),
}

impl Mid {
    /// The name of who is reached there.
    pub const fn of(at: SocketAddr) -> Self {
        Self::Ip(at.ip(), Some(at.port()))
    }

    /// Where to reach whom it names, when it is an address; `port` where it has none.
    pub fn socket(&self, port: u16) -> Option<SocketAddr> {
        match self {
            Self::Ip(ip, own) => Some(SocketAddr::new(*ip, own.unwrap_or(port))),
            _ => None,
        }
    }

    /// Reads the name at the beginning of `span`; gives its end too.
    pub(super) fn read(bytes: &[u8], span: Span) -> Result<(Self, usize), Fault> {
        let fault = Fault::Malformed("H.248 message identifier");
        match span.of(bytes).first() {
            Some(b'[') => {
                Self::bracketed(bytes, span, b']', |name, port| Some(Self::Ip(text::ip(name)?, port)))
            }
            Some(b'<') => Self::bracketed(bytes, span, b'>', |name, port| {
                Some(Self::Domain(plain(name, MAX_DOMAIN)?, port))
            }),
            _ => Self::bare(bytes, span),
        }
        .ok_or(fault)
    }

    /// All of `span` is the name.
    pub(super) fn read_all(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let (mid, end) = Self::read(bytes, span)?;
        if end == span.end { Ok(mid) } else { Err(Fault::Malformed("H.248 message identifier")) }
    }

    fn bracketed(
        bytes: &[u8],
        span: Span,
        close: u8,
        name: impl Fn(&[u8], Option<u16>) -> Option<Self>,
    ) -> Option<(Self, usize)> {
        let closed = text::find(bytes, span, |b| b == close)?;
        let inner = Span::new(span.start + 1, closed);
        let after = Span::new(closed + 1, span.end);
        let Some(digits) = after.of(bytes).strip_prefix(b":") else {
            return Some((name(inner.of(bytes), None)?, after.start));
        };
        let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        let port = text::port(&digits[..length])?;
        Some((name(inner.of(bytes), Some(port))?, after.start + 1 + length))
    }

    fn bare(bytes: &[u8], span: Span) -> Option<(Self, usize)> {
        let ends = |b: u8| text::is_lws(b) || matches!(b, b'{' | b'}' | b',' | b';' | b'"' | b'=');
        let end = text::find(bytes, span, ends).unwrap_or(span.end);
        let name = Span::new(span.start, end).of(bytes);
        if !name.eq_ignore_ascii_case(b"MTP") {
            return Some((Self::Device(plain(name, MAX_DEVICE)?), end));
        }
        let rest = Span::new(end, span.end);
        let open = text::find(bytes, rest, |b| !text::is_lws(b)).filter(|at| bytes[*at] == b'{')?;
        let close = text::find(bytes, Span::new(open, span.end), |b| b == b'}')?;
        let digits = text::trim(bytes, Span::new(open + 1, close)).of(bytes);
        Some((Self::Mtp(hexadecimal(digits)?), close + 1))
    }
}

impl fmt::Display for Mid {
    /// As text messages have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self {
            Self::Ip(ip, port) => {
                write!(f, "[{ip}]")?;
                port
            }
            Self::Domain(name, port) => {
                write!(f, "<{name}>")?;
                port
            }
            Self::Device(name) => return f.write_str(name),
            Self::Mtp(octets) => {
                let digits = octets.iter().map(|octet| format!("{octet:02X}")).collect::<String>();
                return write!(f, "MTP{{{digits}}}");
            }
        };
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where a ServiceChange wants further requests to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChangeAddress {
    /// Another port of the same address.
    Port(u16),
    /// Somewhere else.
    Mid(Mid),
}

impl ChangeAddress {
    pub(super) fn read(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        match text::port(span.of(bytes)) {
            Some(port) => Ok(Self::Port(port)),
            None => Ok(Self::Mid(Mid::read_all(bytes, span)?)),
        }
    }
}

impl fmt::Display for ChangeAddress {
    /// As text messages have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Mid(mid) => mid.fmt(f),
        }
    }
}

/// A name of visible characters only, none of which could end it in a text message.
pub(super) fn plain(name: &[u8], limit: usize) -> Option<Box<str>> {
    let fits = (1..=limit).contains(&name.len());
    let safe = |b: &u8| b.is_ascii_graphic() && !b"{}[]<>,;\"=".contains(b);
    (fits && name.iter().all(safe)).then(|| std::str::from_utf8(name).map(Box::from).ok())?
}

fn hexadecimal(digits: &[u8]) -> Option<Box<[u8]>> {
    let octets = data_encoding::HEXUPPER_PERMISSIVE.decode(digits).ok()?;
    (2..=4).contains(&octets.len()).then(|| octets.into_boxed_slice())
}
