//! Answers that Portolan gives in its own name.

use super::hop;
use crate::types::Flow;
use crate::wire::sip::{Message, Name};

/// A final answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $status:literal $reason:literal;)+) => {
        impl Reply { $($(#[$doc])* pub(super) const $name: Self = Self { status: $status, reason: $reason };)+ }
    };
}

replies! {
    OK = 200 "OK";
    BAD_REQUEST = 400 "Bad Request";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    TIMEOUT = 408 "Request Timeout";
    UNSUPPORTED_MEDIA = 415 "Unsupported Media Type";
    UNSUPPORTED_SCHEME = 416 "Unsupported URI Scheme";
    BAD_EXTENSION = 420 "Bad Extension";
    INTERVAL_TOO_SMALL = 422 "Session Interval Too Small";
    TOO_BRIEF = 423 "Interval Too Brief";
    /// RFC 5626 section 11.5.
    FLOW_FAILED = 430 "Flow Failed";
    /// RFC 5626 section 11.6.
    FIRST_HOP_LACKS_OUTBOUND = 439 "First Hop Lacks Outbound Support";
    TEMPORARILY = 480 "Temporarily Unavailable";
    NO_TRANSACTION = 481 "Call/Transaction Does Not Exist";
    LOOP = 482 "Loop Detected";
    TOO_MANY_HOPS = 483 "Too Many Hops";
    TERMINATED = 487 "Request Terminated";
    NOT_ACCEPTABLE = 488 "Not Acceptable Here";
    /// What the other side answered cannot be passed on.
    BAD_GATEWAY = 502 "Bad Gateway";
    UNAVAILABLE = 503 "Service Unavailable";
    VERSION = 505 "Version Not Supported";
}

impl Reply {
    /// The 100 for an INVITE: its To has no tag (RFC 3261 section 8.2.6.1).
    pub(super) fn trying(request: &Message<'_>, flow: &Flow) -> Vec<u8> {
        let mut out = b"SIP/2.0 100 Trying\r\n".to_vec();
        out.extend(hop::vias_of(request, flow).unwrap_or_else(|_| hop::lines_of(request, Name::Via)));
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            out.extend(hop::lines_of(request, name));
        }
        out.extend(end(flow));
        out
    }

    /// Write the response to `request` (RFC 3261 section 8.2.6). `tag` is added to a To that has none; `more` are
    /// further header lines. A datagram says no length (RFC 3261 section 20.14): our answers are to be short.
    pub(super) fn write(self, request: &Message<'_>, flow: &Flow, tag: u64, more: &str) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {} {}\r\n", self.status, self.reason).into_bytes();
        out.extend(hop::vias_of(request, flow).unwrap_or_else(|_| hop::lines_of(request, Name::Via)));
        out.extend(hop::lines_of(request, Name::From));
        out.extend(to_line(request, tag));
        out.extend(hop::lines_of(request, Name::CallId));
        out.extend(hop::lines_of(request, Name::CSeq));
        out.extend(more.as_bytes());
        out.extend(end(flow));
        out
    }
}

/// The end of a message of headers only.
const fn end(flow: &Flow) -> &'static [u8] {
    if flow.transport.is_reliable() { b"Content-Length: 0\r\n\r\n" } else { b"\r\n" }
}

/// The tag has the 32 random bits that RFC 3261 section 19.3 asks for.
fn to_line(request: &Message<'_>, tag: u64) -> Vec<u8> {
    let mut line = hop::lines_of(request, Name::To);
    if request.to_tag().is_none() && line.ends_with(b"\r\n") {
        line.truncate(line.len() - 2);
        line.extend(format!(";tag={:08x}\r\n", tag as u32).into_bytes());
    }
    line
}
