//! Bytes to meaning and back: no state, no clock.
//!
//! Scanners find [`Span`]s in a message and never own or re-serialise its text; what is forwarded is the old
//! octets with a few spans replaced ([`splice::Splice`]). Nothing here assumes UTF-8.

pub mod dtls;
pub mod h248;
pub mod mgcp;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sip;
pub mod splice;
pub mod stun;
pub(crate) mod text;
pub mod tpkt;
pub mod xml;

/// A half-open range of octets in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// Offset of the first octet.
    pub start: usize,
    /// Offset after the last octet.
    pub end: usize,
}

impl Span {
    /// The range `start..end`; `end` is not before `start`.
    pub const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        Self { start, end }
    }

    /// The empty range at `at`.
    pub const fn empty(at: usize) -> Self {
        Self { start: at, end: at }
    }

    /// Number of octets.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no octet.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `inner` lies within this range.
    pub const fn contains(self, inner: Self) -> bool {
        self.start <= inner.start && inner.end <= self.end
    }

    /// The octets of `bytes` in this range: what is out of bounds is left out, so that it never panics.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// Splits `host[:port]` (RFC 3261 hostport): an IPv6 host keeps its brackets. `None` when the host is not a
/// host name or address, or the port is not a number below 65536.
pub fn parse_host_port(bytes: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, port) = text::host_port(bytes, Span::new(0, bytes.len()))?;
    Some((host.of(bytes), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_is_split_at_the_last_colon() {
        assert_eq!(parse_host_port(b"a.example"), Some((&b"a.example"[..], None)));
        assert_eq!(parse_host_port(b"10.0.0.1:5060"), Some((&b"10.0.0.1"[..], Some(5060))));
        assert_eq!(parse_host_port(b"[2001:db8::1]"), Some((&b"[2001:db8::1]"[..], None)));
        assert_eq!(parse_host_port(b"[::1]:5"), Some((&b"[::1]"[..], Some(5))));
    }

    #[test]
    fn host_port_refuses_what_is_neither() {
        for bad in
            [&b""[..], b":5060", b"a:", b"a:65536", b"a:5o", b"::1", b"[::1", b"[zz]", b"a b", b"[::1]5"]
        {
            assert_eq!(parse_host_port(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_span_outside_its_message_is_empty() {
        assert_eq!(Span::new(2, 9).of(b"abc"), b"");
        assert_eq!(Span { start: 3, end: 1 }.of(b"abc"), b"");
    }
}
