//! Names of endpoints and of notified entities: `local@domain`, `local@[10.0.0.1]:2427`.

use crate::wire::{Span, text};

/// A name with its parts (RFC 3435 sections 2.1.2 and 3.2.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// All of it.
    pub whole: Span,
    /// Before the `@`; may hold the wildcards `*` and `$`, and slashes. Empty when a notified entity has none.
    pub local: Span,
    /// After it, without the port: a name, or an address with or without brackets.
    pub domain: Span,
    /// Only notified entities have one.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Reads a name; `None` when it has no domain or a port that is no number.
    pub fn parse(bytes: &[u8], whole: Span) -> Option<Self> {
        let at = whole.of(bytes).iter().rposition(|&b| b == b'@').map(|at| whole.start + at);
        let (local, rest) = match at {
            Some(at) => (Span::new(whole.start, at), Span::new(at + 1, whole.end)),
            None => (Span::empty(whole.start), whole),
        };
        let (domain, port) = text::host_port(bytes, rest).or_else(|| loose(bytes, rest))?;
        Some(Self { whole, local, domain, port })
    }

    /// Is its domain an address, which says nothing about who it is behind a NAT?
    pub fn is_literal(&self, bytes: &[u8]) -> bool {
        text::ip(self.domain.of(bytes)).is_some()
    }
}

/// RFC 3435 puts IPv4 addresses in brackets, `[10.0.0.1]`, and allows `#` in names.
fn loose(bytes: &[u8], rest: Span) -> Option<(Span, Option<u16>)> {
    let end = match rest.of(bytes).first()? {
        b'[' => text::find_octet(bytes, rest, b']')? + 1,
        _ => text::find_octet(bytes, rest, b':').unwrap_or(rest.end),
    };
    let domain = Span::new(rest.start, end);
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'@' | b',' | b'"');
    if domain.is_empty() || !domain.of(bytes).iter().all(plain) {
        return None;
    }
    match Span::new(end, rest.end).of(bytes).split_first() {
        None => Some((domain, None)),
        Some((b':', digits)) => Some((domain, Some(text::port(digits)?))),
        Some(_) => None,
    }
}

/// The names of a comma-separated list, such as an audit of wildcards gives (section 2.3.10).
pub fn endpoints(bytes: &[u8], value: Span) -> impl Iterator<Item = Endpoint> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = text::find_octet(bytes, rest, b',').unwrap_or(rest.end);
            let item = text::trim(bytes, Span::new(rest.start, end));
            rest = Span { start: (end + 1).min(rest.end), end: rest.end };
            if let Some(name) = Endpoint::parse(bytes, item) {
                return Some(name);
            }
        }
        None
    })
}
