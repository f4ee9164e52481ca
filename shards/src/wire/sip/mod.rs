//! SIP messages (RFC 3261): a span scanner that keeps every octet where it is.

mod addr;
mod body;
mod check;
mod equal;
mod frame;
mod header;
mod name;
mod param;
mod replaces;
mod start;
mod uri;
mod via;

pub use addr::NameAddr;
pub use body::Part;
pub use equal::same_uri;
pub use frame::{Frame, Framer, frame};
pub use header::{Header, values};
pub use name::Name;
pub use param::{Param, params};
pub use replaces::{DialogId, UriHeader, call_ids, encoded_call_id, escape, unescape, uri_headers};
pub use start::Start;
pub use uri::Uri;
pub use via::Via;

use super::{Span, text};
use crate::fault::Fault;

/// Text of the [`Fault::Malformed`] for a version other than SIP/2.0: the answer is 505, not 400.
pub const UNSUPPORTED_VERSION: &str = "unsupported SIP version";

/// A message whose start line and mandatory headers were read. All spans are offsets in [`Message::bytes`].
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    start: Start,
    headers: Vec<Header>,
    headers_end: usize,
    body: Span,
}

/// Whether a datagram is a keepalive (RFC 5626 CRLF, or the zero octets that some endpoints send): nothing but CR,
/// LF and NUL. An empty datagram is one too.
pub fn is_ping(datagram: &[u8]) -> bool {
    datagram.iter().all(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// A request that [`Message::parse`] refuses, but that can be answered with 400 or 505: the sender finds its
/// transaction by Via and CSeq (RFC 3261 section 17.1.3), so these must be there. Nothing else about it is checked:
/// lines that cannot be read are left out, a repeated header is its first one, and the body is not looked for. `None`
/// for a response, for ACK, and for what cannot be answered.
pub fn parse_for_reply(datagram: &[u8]) -> Option<Message<'_>> {
    let line = text::line(datagram, skip_line_ends(datagram));
    let start = start::parse_lenient(datagram, header::content(datagram, line))?;
    let mut scan = header::scan(datagram, line.end);
    let mut copied = [Name::From, Name::To, Name::CallId, Name::CSeq].map(|name| (name, false));
    scan.headers.retain(|header| {
        let seen = copied.iter_mut().find(|(name, _)| *name == header.name);
        !seen.is_some_and(|(_, seen)| std::mem::replace(seen, true))
    });
    let body = Span::empty(datagram.len());
    let message = Message { bytes: datagram, start, headers: scan.headers, headers_end: scan.end, body };
    (check::is_answerable(&message) && message.method() != b"ACK").then_some(message)
}

fn skip_line_ends(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len())
}

impl<'a> Message<'a> {
    /// Reads one datagram. What it checks is what everything above relies on: framing, one each of From, To, Call-ID
    /// and CSeq, a readable top Via, and numbers in range. Everything else is left to who needs it.
    ///
    /// # Errors
    /// [`Fault::Malformed`] with what is wrong; [`UNSUPPORTED_VERSION`] for a version other than SIP/2.0.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Fault> {
        let line = text::line(datagram, skip_line_ends(datagram));
        let start = start::parse(datagram, header::content(datagram, line))?;
        let scan = header::scan(datagram, line.end);
        if let Some(fault) = scan.fault {
            return Err(fault);
        }
        let body = Span::new(scan.body, datagram.len());
        let mut message = Self { bytes: datagram, start, headers: scan.headers, headers_end: scan.end, body };
        check::check(&message)?;
        message.body.end = check::body_end(&message)?;
        Ok(message)
    }

    /// The whole datagram, octets after the body included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The start line.
    pub fn start(&self) -> Start {
        self.start
    }

    /// All headers in their order.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The first header of that name.
    pub fn first(&self, name: Name) -> Option<Header> {
        self.all(name).next()
    }

    /// All headers of that name.
    pub fn all(&self, name: Name) -> impl Iterator<Item = Header> + '_ {
        self.headers.iter().copied().filter(move |h| h.name == name)
    }

    /// The first header that is called `name`, in any case; its compact form too, when [`Name`] knows it.
    pub fn find(&self, name: &[u8]) -> Option<Header> {
        match Name::of(name) {
            Name::Other => {
                self.all(Name::Other).find(|h| h.name_span.of(self.bytes).eq_ignore_ascii_case(name))
            }
            known => self.first(known),
        }
    }

    /// The trimmed value of the first header of that name.
    pub fn value(&self, name: Name) -> Option<&'a [u8]> {
        self.first(name).map(|h| h.value.of(self.bytes))
    }

    /// The values of all headers of that name, split at commas outside quotes and `<>`. For Via, Contact, Route and
    /// the like; not for headers whose one value holds commas (credentials, dates).
    pub fn values(&self, name: Name) -> impl Iterator<Item = Span> + '_ {
        self.all(name).flat_map(|h| values(self.bytes, h.value))
    }

    /// The body: as long as Content-Length says, or the rest of the datagram.
    pub fn body(&self) -> &'a [u8] {
        self.body.of(self.bytes)
    }

    /// Where the body is.
    pub fn body_span(&self) -> Span {
        self.body
    }

    /// The session descriptions in the body: the body itself when it is application/sdp, each such part when it is
    /// multipart (RFC 5621). None when the body is encoded, so that it could not be read.
    pub fn sdp_parts(&self) -> Vec<Span> {
        body::sdp_parts(self)
    }

    /// The parts of the body whose media type is `wanted`, with that type: the body itself, or each such part when it
    /// is multipart (RFC 5621). None when the body is encoded, so that it could not be read.
    pub fn parts(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Part> {
        body::parts(self, wanted)
    }

    /// Offset of the line end that makes the blank line: new headers may be inserted here.
    pub fn headers_end(&self) -> usize {
        self.headers_end
    }

    /// A request's method; a response's method from CSeq.
    pub fn method(&self) -> &'a [u8] {
        match self.start {
            Start::Request { method, .. } => method.of(self.bytes),
            Start::Response { .. } => self.cseq().map_or(b"", |(_, method)| method),
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// A response's status, `100..=699`.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// A request's Request-URI.
    pub fn request_uri(&self) -> Option<Span> {
        match self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The Call-ID; never empty in a parsed message.
    pub fn call_id(&self) -> &'a [u8] {
        self.value(Name::CallId).unwrap_or_default()
    }

    /// CSeq: the number, below 2^31, and the method. Always there in a parsed message.
    pub fn cseq(&self) -> Option<(u32, &'a [u8])> {
        let value = self.first(Name::CSeq)?.value;
        let gap = text::find(self.bytes, value, text::is_lws)?;
        let number = text::number(Span::new(value.start, gap).of(self.bytes)).filter(|&n| n < 1 << 31)?;
        let method = text::trim(self.bytes, Span::new(gap, value.end)).of(self.bytes);
        text::is_token_text(method).then_some((u32::try_from(number).ok()?, method))
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.tag(Name::From)
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.tag(Name::To)
    }

    /// Content-Length; `None` when it is absent or not a number.
    pub fn content_length(&self) -> Option<usize> {
        text::number(self.value(Name::ContentLength)?)?.try_into().ok()
    }

    /// Max-Forwards, `0..=255`; `None` when it is absent.
    pub fn max_forwards(&self) -> Option<u8> {
        text::number(self.value(Name::MaxForwards)?)?.try_into().ok()
    }

    /// The topmost Via. Always there in a parsed message.
    pub fn top_via(&self) -> Option<Via> {
        let value = self.values(Name::Via).next()?;
        Via::parse(self.bytes, value).ok()
    }

    fn tag(&self, name: Name) -> Option<&'a [u8]> {
        let address = NameAddr::parse(self.bytes, self.first(name)?.value).ok()?;
        Some(address.param(self.bytes, b"tag")?.value?.of(self.bytes))
    }
}
