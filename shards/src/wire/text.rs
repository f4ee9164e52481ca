//! Octet-level helpers that the text scanners share.

use super::Span;
use memchr::memchr;
use std::net::{IpAddr, Ipv4Addr};

/// Linear white space, folds included (RFC 3261 LWS).
pub(crate) const fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// An octet of an RFC 3261 `token`.
pub(crate) const fn is_token(octet: u8) -> bool {
    TOKENS[octet as usize]
}

/// Each octet of a message is asked for, some more than once: looked up rather than compared.
const TOKENS: [bool; 256] = {
    let mut tokens = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        let (at, byte) = (octet, octet as u8);
        tokens[at] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        octet += 1;
    }
    tokens
};

/// Whether `bytes` is an RFC 3261 `token`.
pub(crate) fn is_token_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token)
}

/// `span` without white space at both ends.
pub(crate) fn trim(bytes: &[u8], span: Span) -> Span {
    let text = span.of(bytes);
    let Some(first) = text.iter().position(|&b| !is_lws(b)) else {
        return Span::empty(span.start);
    };
    let last = text.iter().rposition(|&b| !is_lws(b)).map_or(first, |at| at + 1);
    Span::new(span.start + first, span.start + last)
}

/// The line at `from` with its line end (CRLF or LF); the rest when it has none.
pub(crate) fn line(bytes: &[u8], from: usize) -> Span {
    let rest = Span { start: from, end: bytes.len() };
    Span { start: from, end: find_octet(bytes, rest, b'\n').map_or(bytes.len(), |at| at + 1) }
}

/// Offset of the first `octet` in `span`: many octets at a time, where [`find`] looks at each.
pub(crate) fn find_octet(bytes: &[u8], span: Span, octet: u8) -> Option<usize> {
    memchr(octet, span.of(bytes)).map(|at| span.start + at)
}

/// Offset of the first octet in `span` that `wanted` accepts.
pub(crate) fn find(bytes: &[u8], span: Span, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    span.of(bytes).iter().position(|&b| wanted(b)).map(|at| span.start + at)
}

/// An unsigned decimal number, digits only; `None` when empty, not a number, or above `u64::MAX`.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &d| {
        let digit = d.is_ascii_digit().then(|| u64::from(d - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A port number, `0..=65535`, digits only.
pub(crate) fn port(digits: &[u8]) -> Option<u16> {
    number(digits)?.try_into().ok()
}

/// An IPv4 or IPv6 address; IPv6 with or without brackets.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let bare = bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(bytes);
    let text = std::str::from_utf8(bare).ok()?;
    text.parse().ok().or_else(|| three_colons(text))
}

/// `2001:db8:::192.0.2.1`: the grammar of RFC 3261 let a third colon stand before an IPv4 tail, and RFC 5118 section
/// 4.10 wants it read as the two that RFC 4291 has.
fn three_colons(text: &str) -> Option<IpAddr> {
    let (head, tail) = text.split_once(":::")?;
    tail.parse::<Ipv4Addr>().ok()?;
    format!("{head}::{tail}").parse().ok()
}

/// Splits `host[:port]`, white space around the colon tolerated (RFC 3261 `COLON`). The host keeps IPv6 brackets.
pub(crate) fn host_port(bytes: &[u8], span: Span) -> Option<(Span, Option<u16>)> {
    let span = trim(bytes, span);
    let host_end = if span.of(bytes).first() == Some(&b'[') {
        find_octet(bytes, span, b']')? + 1
    } else {
        find_octet(bytes, span, b':').unwrap_or(span.end)
    };
    let host = trim(bytes, Span::new(span.start, host_end));
    let rest = trim(bytes, Span::new(host_end, span.end)).of(bytes);
    if !is_host(host.of(bytes)) {
        return None;
    }
    match rest.split_first() {
        None => Some((host, None)),
        Some((b':', digits)) => {
            let digits = trim(digits, Span::new(0, digits.len())).of(digits);
            Some((host, Some(port(digits)?)))
        }
        Some(_) => None,
    }
}

/// A host name (underscores tolerated) or an address; IPv6 in brackets.
fn is_host(host: &[u8]) -> bool {
    match host.strip_prefix(b"[") {
        Some(_) => ip(host).is_some_and(|ip| ip.is_ipv6()),
        None => {
            !host.is_empty()
                && host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    }
}

/// Offset of the first octet in `span` that `wanted` accepts and that is outside quoted strings and `<>`. Backslash
/// escapes within quotes and, because some phones write `\"name\" <sip:...>`, before them.
pub(crate) fn find_top(bytes: &[u8], span: Span, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut angled, mut escaped) = (false, false, false);
    for (at, &octet) in span.of(bytes).iter().enumerate() {
        if escaped {
            escaped = false;
        } else if angled {
            angled = octet != b'>';
        } else if !quoted && wanted(octet) {
            return Some(span.start + at);
        } else {
            escaped = octet == b'\\';
            angled = !quoted && octet == b'<';
            quoted ^= octet == b'"';
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_wrap() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b"36893488147419103232"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(port(b"65536"), None);
        assert_eq!(port(b"4294967296"), None);
    }

    #[test]
    fn the_top_level_excludes_quotes_and_angles() {
        let text = br#""a,\",b" <c,d>, e"#;
        let comma = find_top(text, Span::new(0, text.len()), |b| b == b',');
        assert_eq!(comma, Some(text.len() - 3));
    }

    #[test]
    fn a_third_colon_is_tolerated_before_an_ipv4_tail_only() {
        let two = ip(b"[2001:db8::192.0.2.1]");
        assert!(two.is_some());
        assert_eq!(ip(b"[2001:db8:::192.0.2.1]"), two);
        for bad in [&b"[2001:db8:::1]"[..], b"[2001:db8::::192.0.2.1]", b"[1:::2:::192.0.2.1]", b"[:::]"] {
            assert_eq!(ip(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn trimming_removes_folds_too() {
        let text = b" \r\n\t x y \r\n ";
        assert_eq!(trim(text, Span::new(0, text.len())).of(text), b"x y");
        assert_eq!(trim(b"   ", Span::new(0, 3)), Span::empty(0));
    }
}
