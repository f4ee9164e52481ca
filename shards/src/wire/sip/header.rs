//! Header lines, and values within them.

use super::name::Name;
use crate::fault::Fault;
use crate::limits::MAX_HEADERS;
use crate::wire::{Span, text};
use memchr::memchr_iter;

/// One header field as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which it is.
    pub name: Name,
    /// The name as it is written.
    pub name_span: Span,
    /// The value, trimmed; may contain folds (CRLF and white space).
    pub value: Span,
    /// The whole line, or lines when it is folded, with the line end.
    pub line: Span,
}

/// What the scanner found.
pub(super) struct Scan {
    pub(super) headers: Vec<Header>,
    /// Where the blank line starts; the end of the message when there is none.
    pub(super) end: usize,
    /// Where the body starts.
    pub(super) body: usize,
    /// The first thing that was wrong; lines that could not be read are left out.
    pub(super) fault: Option<Fault>,
}

/// Reads header lines from `from` to the blank line.
pub(super) fn scan(bytes: &[u8], from: usize) -> Scan {
    let mut scan = Scan { headers: Vec::with_capacity(24), end: bytes.len(), body: bytes.len(), fault: None };
    let mut at = from;
    while at < bytes.len() {
        let line = logical_line(bytes, at);
        if content(bytes, line).is_empty() {
            (scan.end, scan.body) = (line.start, line.end);
            return scan;
        }
        scan.take(bytes, line);
        at = line.end;
    }
    scan.blame(Fault::Malformed("no blank line after the headers"));
    scan
}

impl Scan {
    fn take(&mut self, bytes: &[u8], line: Span) {
        match header(bytes, line) {
            Ok(_) if self.headers.len() == MAX_HEADERS => self.blame(Fault::Malformed("too many headers")),
            Ok(header) => self.headers.push(header),
            Err(fault) => self.blame(fault),
        }
    }

    fn blame(&mut self, fault: Fault) {
        self.fault = self.fault.or(Some(fault));
    }
}

/// `line` without its line end.
pub(super) fn content(bytes: &[u8], line: Span) -> Span {
    let text = line.of(bytes);
    let bare = text.strip_suffix(b"\n").map_or(text, |t| t.strip_suffix(b"\r").unwrap_or(t));
    Span::new(line.start, line.start + bare.len())
}

/// The line at `from` and the lines that continue it (those that begin with white space).
fn logical_line(bytes: &[u8], from: usize) -> Span {
    let mut whole = text::line(bytes, from);
    if content(bytes, whole).is_empty() {
        return whole;
    }
    while bytes.get(whole.end).is_some_and(|b| matches!(b, b' ' | b'\t')) {
        whole.end = text::line(bytes, whole.end).end;
    }
    whole
}

fn header(bytes: &[u8], line: Span) -> Result<Header, Fault> {
    let colon = text::find_octet(bytes, line, b':').ok_or(Fault::Malformed("header line without colon"))?;
    let raw_name = Span::new(line.start, colon);
    let name_span = text::trim(bytes, raw_name);
    let name = name_span.of(bytes);
    if name_span.start != line.start || !text::is_token_text(name) || raw_name.of(bytes).contains(&b'\n') {
        return Err(Fault::Malformed("header name"));
    }
    if has_bare_cr(line.of(bytes)) {
        return Err(Fault::Malformed("CR within a header"));
    }
    if has_bare_nul(line.of(bytes)) {
        return Err(Fault::Malformed("NUL within a header"));
    }
    let value = text::trim(bytes, Span::new(colon + 1, line.end));
    Ok(Header { name: Name::of(name), name_span, value, line })
}

/// A CR without LF: some readers would end the line there, and see other headers than we do.
fn has_bare_cr(line: &[u8]) -> bool {
    memchr_iter(b'\r', line).any(|at| line.get(at + 1) != Some(&b'\n'))
}

/// A NUL that is not a quoted pair (RFC 3261 25.1): some readers would end the text there.
fn has_bare_nul(line: &[u8]) -> bool {
    memchr_iter(0, line).any(|at| at == 0 || line[at - 1] != b'\\')
}

/// The values of one header: split at the commas outside quotes and `<>`, trimmed, empty ones passed over.
pub fn values(bytes: &[u8], span: Span) -> impl Iterator<Item = Span> + '_ {
    let mut rest = Some(span);
    std::iter::from_fn(move || {
        loop {
            let here = rest?;
            let comma = text::find_top(bytes, here, |b| b == b',');
            rest = comma.map(|at| Span::new(at + 1, here.end));
            let value = text::trim(bytes, Span::new(here.start, comma.unwrap_or(here.end)));
            if !value.is_empty() {
                return Some(value);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8]) -> Vec<&[u8]> {
        values(text, Span::new(0, text.len())).map(|v| v.of(text)).collect()
    }

    #[test]
    fn values_are_split_at_top_level_commas() {
        assert_eq!(
            split(br#""a,\",b" <sip:x,y@z> , <sip:c>,, sip:d "#),
            [&br#""a,\",b" <sip:x,y@z>"#[..], b"<sip:c>", b"sip:d"]
        );
        assert!(split(b" , ,").is_empty());
        assert_eq!(split(b"\"open, <a>"), [b"\"open, <a>"]);
    }

    #[test]
    fn folds_belong_to_the_line_and_the_value() {
        let text = b"Subject : a\r\n b\n\tc\r\nTo:x\n\r\nbody";
        let scan = scan(text, 0);
        assert_eq!(scan.fault, None);
        let [subject, to] = scan.headers[..] else { panic!("two headers") };
        assert_eq!(subject.name_span.of(text), b"Subject");
        assert_eq!(subject.value.of(text), b"a\r\n b\n\tc");
        assert_eq!(subject.line.of(text), b"Subject : a\r\n b\n\tc\r\n");
        assert_eq!((to.name, to.value.of(text)), (Name::To, &b"x"[..]));
        assert_eq!(&text[scan.end..scan.body], b"\r\n");
        assert_eq!(&text[scan.body..], b"body");
    }

    #[test]
    fn the_first_fault_is_kept_and_bad_lines_are_left_out() {
        for (text, fault) in [
            (&b"To: a\r\nno colon\r\nF: b\r\n\r\n"[..], "header line without colon"),
            (b"To: a\r\n: x\r\nF: b\r\n\r\n", "header name"),
            (b"To: a\r\nX y: x\r\nF: b\r\n\r\n", "header name"),
            (b"To: a\r\nX: y\rVia: z\r\nF: b\r\n\r\n", "CR within a header"),
            (b"To: a\r\nX: y\0\r\nF: b\r\n\r\n", "NUL within a header"),
            (b"To: a\r\nF: b\r\n", "no blank line after the headers"),
        ] {
            let scan = scan(text, 0);
            assert_eq!(scan.fault, Some(Fault::Malformed(fault)));
            assert_eq!(scan.headers.iter().map(|h| h.name).collect::<Vec<_>>(), [Name::To, Name::From]);
        }
    }

    #[test]
    fn a_name_cannot_be_folded() {
        assert_eq!(scan(b"To\r\n : a\r\n\r\n", 0).fault, Some(Fault::Malformed("header name")));
        assert_eq!(scan(b" To: a\r\n\r\n", 0).fault, Some(Fault::Malformed("header name")));
    }

    #[test]
    fn headers_are_counted() {
        let text = b"X: y\r\n".repeat(MAX_HEADERS + 1);
        let scan = scan(&text, 0);
        assert_eq!(scan.headers.len(), MAX_HEADERS);
        assert_eq!(scan.fault, Some(Fault::Malformed("too many headers")));
    }
}
