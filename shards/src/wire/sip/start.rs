//! The start line.

use super::uri::Uri;
use crate::fault::Fault;
use crate::wire::{Span, text};

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `METHOD uri SIP/2.0`
    Request {
        /// The method, case-sensitive.
        method: Span,
        /// The Request-URI, as it is written.
        uri: Span,
        /// `SIP/2.0`
        version: Span,
    },
    /// `SIP/2.0 200 OK`
    Response {
        /// `SIP/2.0`
        version: Span,
        /// `100..=699`
        status: u16,
        /// The three digits.
        status_span: Span,
        /// The text after them; may be empty.
        reason: Span,
    },
}

/// Reads the start line at `line` (without its line end): exactly one space between the parts (RFC 3261 7.1, 7.2).
pub(super) fn parse(bytes: &[u8], line: Span) -> Result<Start, Fault> {
    let first = word(bytes, line);
    if is_version_name(first.of(bytes)) { response(bytes, line, first) } else { request(bytes, line, first) }
}

/// Reads a request line that may be bad: for an answer of 400 or 505 only. `None` when it has no method.
pub(super) fn parse_lenient(bytes: &[u8], line: Span) -> Option<Start> {
    let line = text::trim(bytes, line);
    let method = word(bytes, line);
    let last = line.of(bytes).iter().rposition(|&b| text::is_lws(b)).map(|at| line.start + at + 1)?;
    let version = Span::new(last, line.end);
    let uri = text::trim(bytes, Span { start: method.end, end: last });
    (text::is_token_text(method.of(bytes)) && is_version_name(version.of(bytes))).then_some(Start::Request {
        method,
        uri,
        version,
    })
}

fn request(bytes: &[u8], line: Span, method: Span) -> Result<Start, Fault> {
    let fault = Fault::Malformed("request line");
    let uri = word(bytes, after_space(method, line).ok_or(fault)?);
    let version = after_space(uri, line).ok_or(fault)?;
    if !text::is_token_text(method.of(bytes)) || uri.is_empty() || !is_version_name(version.of(bytes)) {
        return Err(fault);
    }
    is_uri_text(uri.of(bytes)).then_some(()).ok_or(Fault::Malformed("Request-URI"))?;
    check_version(version.of(bytes))?;
    if Uri::parse(bytes, uri).is_ok_and(|uri| uri.headers.is_some()) {
        return Err(Fault::Malformed("Request-URI with headers"));
    }
    Ok(Start::Request { method, uri, version })
}

fn response(bytes: &[u8], line: Span, version: Span) -> Result<Start, Fault> {
    check_version(version.of(bytes))?;
    let fault = Fault::Malformed("status code");
    let status_span = word(bytes, after_space(version, line).ok_or(fault)?);
    let code = text::number(status_span.of(bytes)).filter(|n| (100..=699).contains(n)).ok_or(fault)?;
    let reason = after_space(status_span, line).unwrap_or(Span::empty(line.end));
    if reason.of(bytes).iter().any(|octet| matches!(octet, b'\r' | 0)) {
        return Err(Fault::Malformed("reason phrase"));
    }
    match u16::try_from(code) {
        Ok(status) if status_span.len() == 3 => Ok(Start::Response { version, status, status_span, reason }),
        _ => Err(fault),
    }
}

/// From the start of `span` to its first space.
fn word(bytes: &[u8], span: Span) -> Span {
    Span::new(span.start, text::find_octet(bytes, span, b' ').unwrap_or(span.end))
}

/// What follows the one space after `word`; `None` when the line ends there.
fn after_space(word: Span, line: Span) -> Option<Span> {
    (word.end < line.end).then(|| Span::new(word.end + 1, line.end))
}

/// No octet that would let another reader split the line elsewhere.
fn is_uri_text(uri: &[u8]) -> bool {
    uri.contains(&b':') && uri.iter().all(|&b| b > b' ' && b != 0x7f && !matches!(b, b'<' | b'>' | b'"'))
}

fn is_version_name(word: &[u8]) -> bool {
    word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/")) && !word.contains(&b' ')
}

fn check_version(version: &[u8]) -> Result<(), Fault> {
    let ok = version.eq_ignore_ascii_case(b"SIP/2.0");
    ok.then_some(()).ok_or(Fault::Malformed(super::UNSUPPORTED_VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(line: &[u8]) -> Result<Start, Fault> {
        parse(line, Span::new(0, line.len()))
    }

    #[test]
    fn a_request_line_has_three_parts() {
        let line = b"INVITE sip:a@b SIP/2.0";
        let Start::Request { method, uri, version } = start(line).unwrap() else { panic!("a request") };
        assert_eq!(
            (method.of(line), uri.of(line), version.of(line)),
            (&b"INVITE"[..], &b"sip:a@b"[..], &b"SIP/2.0"[..])
        );
    }

    #[test]
    fn a_reason_may_be_empty_or_missing() {
        for line in [&b"SIP/2.0 100 "[..], b"SIP/2.0 100"] {
            let Start::Response { status, reason, .. } = start(line).unwrap() else { panic!("a response") };
            assert_eq!((status, reason.of(line)), (100, &b""[..]));
        }
    }

    #[test]
    fn a_reason_holds_nothing_that_could_end_the_line() {
        for bad in [&b"SIP/2.0 200 a\rX: y"[..], b"SIP/2.0 200 a\0"] {
            assert_eq!(start(bad), Err(Fault::Malformed("reason phrase")));
        }
        assert!(start("SIP/2.0 200 d\u{e9}j\u{e0} <vu>".as_bytes()).is_ok());
    }

    #[test]
    fn spaces_and_angles_in_the_wrong_place_are_refused() {
        for bad in [
            &b""[..],
            b"INVITE",
            b"INVITE sip:a@b",
            b"INVITE  sip:a@b SIP/2.0",
            b"INVITE sip:a@b  SIP/2.0",
            b"INVITE sip:a@b SIP/2.0 ",
            b"INVITE sip:a@b; lr SIP/2.0",
            b"INVITE <sip:a@b> SIP/2.0",
            b"INV<TE sip:a@b SIP/2.0",
            b"INVITE nocolon SIP/2.0",
            b"GET http://a/ HTTP/1.1",
        ] {
            assert!(start(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    /// RFC 3261 19.1.1, table 1: they may become headers of the message for who believes in them.
    #[test]
    fn a_request_uri_has_no_headers() {
        let line = b"INVITE sip:a@b?Route=%3Csip:c%3E SIP/2.0";
        assert_eq!(start(line), Err(Fault::Malformed("Request-URI with headers")));
        assert!(start(b"INVITE sip:a?b@c SIP/2.0").is_ok(), "a question mark may stand in the user");
    }

    #[test]
    fn another_version_is_told_apart() {
        let fault = Err(Fault::Malformed(super::super::UNSUPPORTED_VERSION));
        assert_eq!(start(b"OPTIONS sip:a@b SIP/7.0"), fault);
        assert_eq!(start(b"SIP/1.0 200 OK"), fault);
    }

    #[test]
    fn status_codes_are_three_digits_below_700() {
        for bad in [
            &b"SIP/2.0 4294967301 x"[..],
            b"SIP/2.0 099 x",
            b"SIP/2.0 700 x",
            b"SIP/2.0 0200 x",
            b"SIP/2.0  x",
            b"SIP/2.0",
        ] {
            assert_eq!(start(bad), Err(Fault::Malformed("status code")), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_bad_request_line_still_names_its_method_for_the_reply() {
        let line = b"INVITE  <sip:a@b; lr>  SIP/2.0 ";
        let Some(Start::Request { method, uri, .. }) = parse_lenient(line, Span::new(0, line.len())) else {
            panic!()
        };
        assert_eq!((method.of(line), uri.of(line)), (&b"INVITE"[..], &b"<sip:a@b; lr>"[..]));
        assert_eq!(parse_lenient(b"hello", Span::new(0, 5)), None);
        assert_eq!(parse_lenient(b"SIP/2.0 200 OK", Span::new(0, 14)), None);
    }
}
