//! Where one message of a stream ends and the next begins (RFC 3261 sections 7.5 and 18.3, RFC 5626 section 4.4.1).

use super::{check, header};
use crate::fault::Fault;
use crate::limits::MAX_HEADER_OCTETS;
use crate::wire::{Span, text};

/// What stands at the beginning of a stream's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing whole yet: read more.
    Partial,
    /// `buf[..len]` is one whole message, as long as its Content-Length says, or without a body if it has none.
    Message(usize),
    /// A double CRLF, the ping of RFC 5626, to be answered by one CRLF: consume that many octets.
    Ping(usize),
    /// A lone line end before a message, such as the answer to a ping: consume that many octets.
    Pong(usize),
    /// What is there can never become a message, or its end cannot be known: close the connection.
    Broken(Fault),
}

/// Frames `buf` from its first octet; `limit` is the longest message in octets. For octets that arrive piece by piece
/// a [`Framer`] does the same in linear time.
pub fn frame(buf: &[u8], limit: usize) -> Frame {
    Framer::default().next(buf, limit)
}

/// Frames one connection's stream, and remembers how far it has read: each octet of a header section is looked at a
/// constant number of times, however small the pieces are that the stream arrives in.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// No blank line ends before this offset.
    scanned: usize,
    /// Length of the message, once its headers were read.
    whole: Option<usize>,
}

impl Framer {
    /// What `buf` begins with; `limit` is the longest message in octets. After [`Frame::Partial`] the caller comes
    /// back with the same octets and more behind them; after a message, ping or pong with what follows it. How the
    /// stream was cut into pieces never changes the frames.
    ///
    /// A CRLF with nothing behind it is partial: it may be half a ping. Whoever waits for the answer to a ping may
    /// take any octet that arrives for one.
    ///
    /// Header lines that cannot be read are left to [`super::Message::parse`] as long as Content-Length is readable
    /// in another; without it the message's end is unknown, and the stream broken.
    pub fn next(&mut self, buf: &[u8], limit: usize) -> Frame {
        let frame = line_ends(buf).map_or_else(|| self.message(buf, limit), Ok).unwrap_or_else(Frame::Broken);
        if frame != Frame::Partial {
            *self = Self::default();
        }
        frame
    }

    fn message(&mut self, buf: &[u8], limit: usize) -> Result<Frame, Fault> {
        if self.whole.is_none() {
            self.whole = self.measure(buf, limit)?;
        }
        let whole = self.whole.filter(|&len| len <= buf.len());
        Ok(whole.map_or(Frame::Partial, Frame::Message))
    }

    /// Length of the message; `None` while its headers have no end.
    fn measure(&mut self, buf: &[u8], limit: usize) -> Result<Option<usize>, Fault> {
        let most = limit.min(MAX_HEADER_OCTETS);
        let section = &buf[..buf.len().min(most)];
        match blank_line(section, self.scanned) {
            Ok(end) => {
                let length = content_length(&buf[..end])?;
                let whole = end.checked_add(length).filter(|&len| len <= limit);
                whole.map(Some).ok_or(Fault::Refused("message too large"))
            }
            Err(_) if section.len() == most => Err(Fault::Refused("headers too large")),
            Err(scanned) => {
                self.scanned = scanned;
                Ok(None)
            }
        }
    }
}

/// The frame when it is already plain from the first octets; `None` when a message begins here. A lone LF passes as a
/// CRLF does, because [`super::Message::parse`] reads over it too.
fn line_ends(buf: &[u8]) -> Option<Frame> {
    match buf {
        [b'\r', b'\n', b'\r', b'\n', ..] => Some(Frame::Ping(4)),
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => Some(Frame::Partial),
        [b'\r', b'\n', ..] => Some(Frame::Pong(2)),
        [b'\n', ..] => Some(Frame::Pong(1)),
        [first, ..] if text::is_token(*first) => None,
        _ => Some(Frame::Broken(Fault::Malformed("not the beginning of a message"))),
    }
}

/// Offset after the blank line; or, when there is none, from where to look once there is more.
fn blank_line(section: &[u8], from: usize) -> Result<usize, usize> {
    let mut at = from;
    while let Some(end) = text::find_octet(section, Span { start: at, end: section.len() }, b'\n') {
        match &section[end + 1..] {
            [b'\n', ..] => return Ok(end + 2),
            [b'\r', b'\n', ..] => return Ok(end + 3),
            [] | [b'\r'] => return Err(end),
            _ => at = end + 1,
        }
    }
    Err(section.len())
}

/// What the header section says about the body; 0 when it says nothing.
fn content_length(section: &[u8]) -> Result<usize, Fault> {
    let scan = header::scan(section, text::line(section, 0).end);
    match check::content_length(section, &scan.headers)? {
        Some(length) => Ok(length),
        None => scan.fault.map_or(Ok(0), Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_MESSAGE;

    const HEAD: &str = "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\n";

    fn of(text: &str) -> Frame {
        frame(text.as_bytes(), MAX_MESSAGE)
    }

    /// The frame of a message with this header line and five octets behind the blank line.
    fn with(line: &str) -> Frame {
        of(&format!("{HEAD}{line}\r\n\r\n12345"))
    }

    fn body_of(octets: usize, line: &str) -> Frame {
        Frame::Message(HEAD.len() + line.len() + 4 + octets)
    }

    #[test]
    fn a_message_ends_where_content_length_says() {
        for line in [
            "Content-Length: 3",
            "content-LENGTH:3",
            "l: 3",
            "L \t:\t3  ",
            "Content-Length:\r\n 3",
            "Content-Length:\r\n\t \r\n 3\r\n ",
            "Content-Length: 0003",
            "l: 3\r\nContent-Length: 03",
            "l: 3\nX: y",
        ] {
            assert_eq!(with(line), body_of(3, line), "{line}");
        }
    }

    #[test]
    fn without_content_length_there_is_no_body() {
        assert_eq!(with("X: y"), body_of(0, "X: y"));
        assert_eq!(of("OPTIONS sip:a@b SIP/2.0\r\n\r\nrest"), Frame::Message(27));
        assert_eq!(of("OPTIONS sip:a@b SIP/2.0\n\nrest"), Frame::Message(25));
        assert_eq!(of("OPTIONS sip:a@b SIP/2.0\n\r\nrest"), Frame::Message(26));
    }

    #[test]
    fn a_length_in_doubt_breaks_the_stream() {
        for (line, fault) in [
            ("l: 3\r\nContent-Length: 4", "two Content-Length"),
            ("l: 3\r\nl: x", "two Content-Length"),
            ("l: -1", "Content-Length"),
            ("l: +3", "Content-Length"),
            ("l: 3, 3", "Content-Length"),
            ("l: 0x3", "Content-Length"),
            ("l:", "Content-Length"),
            ("l: 18446744073709551619", "Content-Length"),
            ("Content-Length 3", "header line without colon"),
            ("Content Length: 3", "header name"),
            ("X: y\rContent-Length: 3", "CR within a header"),
        ] {
            assert_eq!(with(line), Frame::Broken(Fault::Malformed(fault)), "{line}");
        }
    }

    #[test]
    fn a_bad_line_beside_a_readable_length_is_the_parsers_to_refuse() {
        let line = "no colon\r\nl: 3";
        assert_eq!(with(line), body_of(3, line));
    }

    #[test]
    fn lengths_that_would_wrap_are_too_large() {
        for length in [u64::from(u32::MAX) + 33, u64::MAX, MAX_MESSAGE as u64] {
            assert_eq!(with(&format!("l: {length}")), Frame::Broken(Fault::Refused("message too large")));
        }
        let text = format!("{HEAD}l: 5\r\n\r\n12345");
        assert_eq!(frame(text.as_bytes(), text.len()), Frame::Message(text.len()));
        let short = frame(text.as_bytes(), text.len() - 1);
        assert_eq!(short, Frame::Broken(Fault::Refused("message too large")));
    }

    #[test]
    fn headers_have_a_limit_of_their_own() {
        let filled = |octets: usize| format!("{HEAD}X: {}\r\n\r\n", "y".repeat(octets - HEAD.len() - 7));
        assert_eq!(of(&filled(MAX_HEADER_OCTETS)), Frame::Message(MAX_HEADER_OCTETS));
        let fault = Frame::Broken(Fault::Refused("headers too large"));
        assert_eq!(of(&filled(MAX_HEADER_OCTETS + 1)), fault);
        assert_eq!(of(&filled(MAX_HEADER_OCTETS + 1)[..MAX_HEADER_OCTETS - 1]), Frame::Partial);
        assert_eq!(of(&"y".repeat(MAX_HEADER_OCTETS)), fault);
        assert_eq!(frame(&[b'y'; 100], 100), fault);
    }

    #[test]
    fn too_many_headers_hide_no_length() {
        let many = "X: y\r\n".repeat(crate::limits::MAX_HEADERS);
        let hidden = of(&format!("{HEAD}{many}l: 3\r\n\r\n123"));
        assert_eq!(hidden, Frame::Broken(Fault::Malformed("too many headers")));
    }

    #[test]
    fn line_ends_before_a_message_are_pings_and_pongs() {
        for (text, expected) in [
            ("", Frame::Partial),
            ("\r", Frame::Partial),
            ("\r\n", Frame::Partial),
            ("\r\n\r", Frame::Partial),
            ("\r\n\r\n", Frame::Ping(4)),
            ("\r\n\r\n\r\n", Frame::Ping(4)),
            ("\r\nO", Frame::Pong(2)),
            ("\r\n\rO", Frame::Pong(2)),
            ("\nO", Frame::Pong(1)),
            ("O", Frame::Partial),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_sip_is_known_by_its_first_octet() {
        for text in ["\0\0\0\0", "\rO", " OPTIONS", "\u{16}\u{3}\u{1}", "<policy-file-request/>", "\r\0"] {
            assert!(matches!(of(text), Frame::Broken(Fault::Malformed(_))), "{text:?}");
        }
    }

    /// One octet a time, and a blank line that never comes: a framer that began anew each time would read a hundred
    /// million octets here.
    #[test]
    fn a_growing_buffer_is_read_on_from_where_it_was() {
        let text = HEAD.replace("x\r\n", &"\n x".repeat(5_000));
        let mut framer = Framer::default();
        for end in 0..text.len() {
            assert_eq!(framer.next(&text.as_bytes()[..end], MAX_MESSAGE), Frame::Partial);
            assert!(framer.scanned + 2 >= end, "{end} octets are there, {} were read", framer.scanned);
        }
    }
}
