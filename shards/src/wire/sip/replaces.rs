//! Names of other dialogs: `call-id;to-tag=x;from-tag=y` in Replaces (RFC 3891), Join (RFC 3911) and Target-Dialog
//! (RFC 4538), and the same within a URI's headers, percent-encoded (RFC 3261 section 19.1.1, RFC 3515).

use super::param::{self, Param};
use crate::fault::Fault;
use crate::wire::{Span, text};

/// The name of a dialog, as Replaces, Join and Target-Dialog write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: Span,
    /// From the first `;` to the end: tags, `early-only` and extensions.
    pub params: Span,
}

impl DialogId {
    /// Reads the value at `span`, white space at the ends tolerated.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when there is no Call-ID, or white space within it.
    pub fn parse(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let span = text::trim(bytes, span);
        let end = text::find_octet(bytes, span, b';').unwrap_or(span.end);
        let call_id = text::trim(bytes, Span::new(span.start, end));
        if call_id.is_empty() || text::find(bytes, call_id, text::is_lws).is_some() {
            return Err(Fault::Malformed("dialog without a Call-ID"));
        }
        Ok(Self { call_id, params: Span::new(end, span.end) })
    }

    /// The first parameter called `name`, in any case.
    pub fn param(&self, bytes: &[u8], name: &[u8]) -> Option<Param> {
        param::find(bytes, self.params, name)
    }
}

/// The Call-IDs of In-Reply-To (RFC 3261 section 20.21): separated by commas, which no Call-ID holds.
pub fn call_ids(bytes: &[u8], span: Span) -> impl Iterator<Item = Span> + '_ {
    pieces(bytes, span, b',').map(|piece| text::trim(bytes, piece)).filter(|id| !id.is_empty())
}

/// One header within a URI, as it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UriHeader {
    /// Its name, percent-encoded.
    pub name: Span,
    /// Its value, percent-encoded; empty at the end of the name when there is no `=`.
    pub value: Span,
}

/// The headers of a URI: `span` starts at its `?` ([`super::Uri::headers`]).
pub fn uri_headers(bytes: &[u8], span: Span) -> impl Iterator<Item = UriHeader> + '_ {
    let inner = Span::new((span.start + 1).min(span.end), span.end);
    let named = pieces(bytes, inner, b'&').map(move |piece| {
        let equals = text::find_octet(bytes, piece, b'=');
        let name = Span::new(piece.start, equals.unwrap_or(piece.end));
        UriHeader { name, value: Span::new(equals.map_or(piece.end, |at| at + 1), piece.end) }
    });
    named.filter(|header| !header.name.is_empty())
}

/// The Call-ID part of an encoded Replaces: up to the first `;`, which may be written `%3B`.
pub fn encoded_call_id(bytes: &[u8], value: Span) -> Span {
    let octets = value.of(bytes);
    let ends = |at: &usize| {
        octets[*at] == b';' || octets.get(*at..*at + 3).is_some_and(|c| c.eq_ignore_ascii_case(b"%3b"))
    };
    let end = (0..octets.len()).find(ends).unwrap_or(octets.len());
    Span::new(value.start, value.start + end)
}

/// Percent-decodes; `None` when a `%` is not followed by two hexadecimal digits.
pub fn unescape(encoded: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(encoded.len()), encoded);
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        out.push(u8::try_from(nibble(digits[0])? * 16 + nibble(digits[1])?).ok()?);
        rest = tail;
    }
    Some(out)
}

/// Percent-encodes what may not stand as it is in a URI's header value.
pub fn escape(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for &octet in text {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&octet) {
            out.push(octet);
        } else {
            out.extend([b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
    }
    out
}

/// What stands between the separators.
fn pieces(bytes: &[u8], span: Span, separator: u8) -> impl Iterator<Item = Span> + '_ {
    let mut rest = Some(span);
    std::iter::from_fn(move || {
        let here = rest.filter(|rest| !rest.is_empty())?;
        let end = text::find(bytes, here, |b| b == separator);
        rest = end.map(|at| Span::new(at + 1, here.end));
        Some(Span::new(here.start, end.unwrap_or(here.end)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &[u8]) -> Span {
        Span::new(0, text.len())
    }

    #[test]
    fn call_id_and_tags_are_found() {
        let text = b" 425928@bobster.example.org ;to-tag=7743;From-Tag=6472;early-only";
        let id = DialogId::parse(text, whole(text)).unwrap();
        assert_eq!(id.call_id.of(text), b"425928@bobster.example.org");
        assert_eq!(id.param(text, b"from-tag").unwrap().value.unwrap().of(text), b"6472");
        assert!(id.param(text, b"early-only").is_some());
        assert!(DialogId::parse(b" ;to-tag=1", Span::new(0, 10)).is_err());
        assert!(DialogId::parse(b"a b;to-tag=1", Span::new(0, 12)).is_err());
    }

    #[test]
    fn in_reply_to_lists_call_ids_with_any_octets() {
        let text = b"70710@saturn.bell-tel.com, 17320@\"saturn<x , ,z";
        let ids: Vec<_> = call_ids(text, whole(text)).map(|id| id.of(text)).collect();
        assert_eq!(ids, [&b"70710@saturn.bell-tel.com"[..], b"17320@\"saturn<x", b"z"]);
    }

    #[test]
    fn headers_of_a_uri_are_found() {
        let text = b"?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345&Require=replaces&x&=y";
        let all: Vec<_> = uri_headers(text, whole(text)).collect();
        let names: Vec<_> = all.iter().map(|header| header.name.of(text)).collect();
        assert_eq!(names, [&b"Replaces"[..], b"Require", b"x"]);
        assert_eq!(encoded_call_id(text, all[0].value).of(text), b"12345%40192.168.118.3");
        let value = unescape(all[0].value.of(text)).unwrap();
        let id = DialogId::parse(&value, whole(&value)).unwrap();
        assert_eq!(id.call_id.of(&value), b"12345@192.168.118.3");
        assert_eq!(id.param(&value, b"to-tag").unwrap().value.unwrap().of(&value), b"12345");
        assert_eq!(escape(b"12345@192.168.118.3;x=1"), b"12345%40192.168.118.3%3Bx%3D1");
    }

    #[test]
    fn what_is_not_percent_encoded_is_refused() {
        for bad in [&b"%"[..], b"a%4", b"%zz", b"%4g1"] {
            assert_eq!(unescape(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_was_escaped_reads_back(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let escaped = escape(&text);
            prop_assert!(!escaped.iter().any(|b| matches!(b, b';' | b'&' | b'=' | b'@' | b' ' | b'>' | b'"')));
            prop_assert_eq!(unescape(&escaped), Some(text));
        }
    }
}
