//! Lines, and those that carry addresses.

use super::attribute;
use crate::fault::Fault;
use crate::wire::{Span, text};
use std::net::IpAddr;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The letter before `=`; 0 when the line does not have that form.
    pub kind: u8,
    /// What follows the `=`, without the line end; the whole line when its kind is 0.
    pub value: Span,
    /// The whole line, with its line end.
    pub line: Span,
    /// The media section it is in; `None` at session level.
    pub media: Option<usize>,
}

/// The o= line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The whole line, with its line end.
    pub line: Span,
    /// sess-version: digits by the RFC, of any length in the field.
    pub sess_version: Span,
    /// `IP4` or `IP6`.
    pub addrtype: Span,
    /// The address or host name.
    pub address: Span,
}

/// A c= line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The whole line, with its line end.
    pub line: Span,
    /// `IP4` or `IP6`; `$` when the gateway is to choose (H.248).
    pub addrtype: Span,
    /// The address or host name, without a multicast suffix; `$` when the gateway is to choose.
    pub address: Span,
    /// The address with its suffix (`/ttl/count`).
    pub value: Span,
    /// The address, when it is one.
    pub ip: Option<IpAddr>,
}

/// The rtcp attribute (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The whole line, with its line end.
    pub line: Span,
    /// The port.
    pub port: u16,
    /// The port's digits.
    pub port_span: Span,
    /// `IP4` or `IP6`, when an address follows.
    pub addrtype: Option<Span>,
    /// The address or host name, when one follows.
    pub address: Option<Span>,
    /// The address, when it is one.
    pub ip: Option<IpAddr>,
}

/// Splits a description, or a part of one, into lines and counts the media sections.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> + use<'_> {
    let mut at = 0;
    let mut media: Option<usize> = None;
    std::iter::from_fn(move || {
        let span = (at < bytes.len()).then(|| text::line(bytes, at))?;
        at = span.end;
        let content = content(bytes, span);
        let (kind, value) = match content.of(bytes) {
            [kind, b'=', ..] => (*kind, Span::new(content.start + 2, content.end)),
            _ => (0, content),
        };
        if kind == b'm' {
            media = Some(media.map_or(0, |index| index + 1));
        }
        Some(Line { kind, value, line: span, media })
    })
}

/// `line` without its line end; some senders repeat the CR.
fn content(bytes: &[u8], line: Span) -> Span {
    let text = line.of(bytes);
    let bare = text.strip_suffix(b"\n").unwrap_or(text);
    let length = bare.iter().rposition(|&b| b != b'\r').map_or(0, |last| last + 1);
    Span::new(line.start, line.start + length)
}

/// The words in `span`, separated by spaces and tabs.
pub(super) fn words(bytes: &[u8], span: Span) -> impl DoubleEndedIterator<Item = Span> + '_ {
    let text = span.of(bytes);
    let base = text.as_ptr().addr();
    let words = text.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty());
    words.map(move |word| {
        let start = span.start + (word.as_ptr().addr() - base);
        Span::new(start, start + word.len())
    })
}

impl Origin {
    /// The last five words: some senders have a user name of several words or of none.
    pub(super) fn parse(bytes: &[u8], line: Line) -> Result<Self, Fault> {
        let fault = Fault::Malformed("o= line");
        let mut back = words(bytes, line.value).rev();
        let mut next = || back.next().ok_or(fault);
        let (address, addrtype, nettype) = (next()?, next()?, next()?);
        let (sess_version, _sess_id) = (next()?, next()?);
        is_internet(bytes, nettype, addrtype).then_some(()).ok_or(fault)?;
        Ok(Self { line: line.line, sess_version, addrtype, address })
    }
}

impl Connection {
    pub(super) fn parse(bytes: &[u8], line: Line) -> Result<Self, Fault> {
        let fault = Fault::Malformed("c= line");
        let mut forth = words(bytes, line.value);
        let mut next = || forth.next().ok_or(fault);
        let (nettype, addrtype, value) = (next()?, next()?, next()?);
        let alone = next().is_err();
        (alone && is_internet(bytes, nettype, addrtype)).then_some(()).ok_or(fault)?;
        let slash = text::find_octet(bytes, value, b'/').unwrap_or(value.end);
        let address = Span::new(value.start, slash);
        (!address.is_empty()).then_some(()).ok_or(fault)?;
        Ok(Self { line: line.line, addrtype, address, value, ip: text::ip(address.of(bytes)) })
    }

    /// Whether the address is 0.0.0.0 or `::`: the old way to hold (RFC 3264 8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip.is_some_and(|ip| ip.is_unspecified())
    }
}

impl Rtcp {
    /// Reads `rtcp:port [IN IP4 address]`; `None` for another attribute.
    pub(super) fn parse(bytes: &[u8], line: Line) -> Option<Result<Self, Fault>> {
        let colon = text::find_octet(bytes, line.value, b':')?;
        let is_rtcp = attribute::name(line.value.of(bytes)).eq_ignore_ascii_case(b"rtcp");
        is_rtcp.then(|| Self::read(bytes, line.line, Span::new(colon + 1, line.value.end)))
    }

    fn read(bytes: &[u8], line: Span, value: Span) -> Result<Self, Fault> {
        let fault = Fault::Malformed("rtcp attribute");
        let mut words = words(bytes, value);
        let port_span = words.next().ok_or(fault)?;
        let port = text::port(port_span.of(bytes)).ok_or(fault)?;
        let (addrtype, address) = match (words.next(), words.next(), words.next(), words.next()) {
            (None, ..) => (None, None),
            (Some(nettype), Some(kind), address @ Some(_), None) if is_internet(bytes, nettype, kind) => {
                (Some(kind), address)
            }
            _ => return Err(fault),
        };
        let ip = address.and_then(|a| text::ip(a.of(bytes)));
        Ok(Self { line, port, port_span, addrtype, address, ip })
    }
}

fn is_internet(bytes: &[u8], nettype: Span, addrtype: Span) -> bool {
    let kind = addrtype.of(bytes);
    nettype.of(bytes).eq_ignore_ascii_case(b"IN")
        && (kind.eq_ignore_ascii_case(b"IP4") || kind.eq_ignore_ascii_case(b"IP6") || kind == b"$")
}
