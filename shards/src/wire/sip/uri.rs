//! SIP, SIPS and other URIs.

use super::param::{self, Param};
use crate::fault::Fault;
use crate::wire::{Span, text};
use std::net::IpAddr;

/// A URI (RFC 3261 19.1). Of a scheme other than sip and sips only `span`, `scheme` and `params` mean something:
/// `host` and `hostport` are then empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The whole URI.
    pub span: Span,
    /// Before the first colon.
    pub scheme: Span,
    /// User and password, without the `@`.
    pub user: Option<Span>,
    /// Host; an IPv6 address keeps its brackets.
    pub host: Span,
    /// Port, when it is written.
    pub port: Option<u16>,
    /// `host[:port]`.
    pub hostport: Span,
    /// From the first `;` to the headers; empty at its position when there is none.
    pub params: Span,
    /// From the `?` to the end.
    pub headers: Option<Span>,
}

impl Uri {
    /// Reads the URI at `span`, white space at the ends tolerated.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when there is no scheme, white space, quotes or angles are inside, or the host or port
    /// of a sip URI is not one.
    pub fn parse(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let span = text::trim(bytes, span);
        if text::find(bytes, span, |b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f)).is_some() {
            return Err(Fault::Malformed("URI with white space, quotes or angles"));
        }
        let colon = text::find_octet(bytes, span, b':').ok_or(Fault::Malformed("URI without scheme"))?;
        let scheme = Span::new(span.start, colon);
        if !is_scheme(scheme.of(bytes)) {
            return Err(Fault::Malformed("URI scheme"));
        }
        if is_sip_scheme(scheme.of(bytes)) {
            sip(bytes, span, scheme)
        } else {
            Ok(other(bytes, span, scheme))
        }
    }

    /// The first URI parameter called `name`, in any case.
    pub fn param(&self, bytes: &[u8], name: &[u8]) -> Option<Param> {
        param::find(bytes, self.params, name)
    }

    /// The host, when it is an address.
    pub fn host_ip(&self, bytes: &[u8]) -> Option<IpAddr> {
        text::ip(self.host.of(bytes))
    }

    /// Whether the scheme is sip or sips.
    pub fn is_sip(&self, bytes: &[u8]) -> bool {
        is_sip_scheme(self.scheme.of(bytes))
    }
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn is_sip_scheme(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips")
}

fn sip(bytes: &[u8], span: Span, scheme: Span) -> Result<Uri, Fault> {
    let rest = Span::new(scheme.end + 1, span.end);
    let (user, rest) = split_user(bytes, rest);
    let hostport_end = text::find(bytes, rest, |b| b == b';' || b == b'?').unwrap_or(rest.end);
    let hostport = Span::new(rest.start, hostport_end);
    let (host, port) = text::host_port(bytes, hostport).ok_or(Fault::Malformed("URI host or port"))?;
    let tail = Span::new(hostport_end, rest.end);
    let question = text::find_octet(bytes, tail, b'?');
    let params = Span::new(hostport_end, question.unwrap_or(rest.end));
    let headers = question.map(|at| Span::new(at, rest.end));
    Ok(Uri { span, scheme, user, host, port, hostport, params, headers })
}

/// Splits user and password off. `@` may stand nowhere else in a URI, but some endpoints dial `user@domain@host` and
/// some leave it bare in the headers of a Refer-To: so it is the last one before the host's end.
fn split_user(bytes: &[u8], span: Span) -> (Option<Span>, Span) {
    let Some(first) = text::find_octet(bytes, span, b'@') else {
        return (None, span);
    };
    let rest = Span::new(first + 1, span.end);
    let host_end = text::find(bytes, rest, |b| b == b';' || b == b'?').unwrap_or(rest.end);
    let hostport = Span::new(rest.start, host_end).of(bytes);
    let at = hostport.iter().rposition(|&b| b == b'@').map_or(first, |at| rest.start + at);
    (Some(Span::new(span.start, at)), Span::new(at + 1, span.end))
}

fn other(bytes: &[u8], span: Span, scheme: Span) -> Uri {
    let rest = Span::new(scheme.end + 1, span.end);
    let params_at = text::find_octet(bytes, rest, b';').unwrap_or(rest.end);
    let nothing = Span::empty(rest.start);
    let params = Span::new(params_at, span.end);
    Uri { span, scheme, user: None, host: nothing, port: None, hostport: nothing, params, headers: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &[u8]) -> Result<Uri, Fault> {
        Uri::parse(text, Span::new(0, text.len()))
    }

    #[test]
    fn every_part_is_found() {
        let text = b"sips:alice:secret@[2001:db8::5]:5061;transport=tcp;lr?Subject=hi&x=y";
        let uri = uri(text).unwrap();
        assert_eq!(uri.scheme.of(text), b"sips");
        assert_eq!(uri.user.unwrap().of(text), b"alice:secret");
        assert_eq!(uri.host.of(text), b"[2001:db8::5]");
        assert_eq!(uri.host_ip(text), "2001:db8::5".parse().ok());
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.hostport.of(text), b"[2001:db8::5]:5061");
        assert_eq!(uri.params.of(text), b";transport=tcp;lr");
        assert_eq!(uri.headers.unwrap().of(text), b"?Subject=hi&x=y");
        assert_eq!(uri.param(text, b"Transport").unwrap().value.unwrap().of(text), b"tcp");
        assert!(uri.is_sip(text));
    }

    #[test]
    fn a_host_alone_is_enough() {
        let text = b"sip:example.com";
        let uri = uri(text).unwrap();
        assert_eq!((uri.user, uri.port, uri.headers), (None, None, None));
        assert_eq!(uri.params, Span::empty(text.len()));
    }

    #[test]
    fn semicolons_and_questions_may_stand_in_the_user() {
        let text = b"sip:user;par=u%40example.net@example.com;lr";
        let uri = uri(text).unwrap();
        assert_eq!(uri.user.unwrap().of(text), b"user;par=u%40example.net");
        assert_eq!(uri.params.of(text), b";lr");
    }

    #[test]
    fn the_host_stands_after_the_last_at_before_the_parameters() {
        let text = b"sip:alice@example.com@10.0.0.1:5060;x=y";
        assert_eq!(uri(text).unwrap().host.of(text), b"10.0.0.1");
        let text = b"sip:bob@10.0.0.2?Replaces=abc@192.0.2.1";
        assert_eq!(uri(text).unwrap().host.of(text), b"10.0.0.2");
    }

    #[test]
    fn other_schemes_have_no_host() {
        let text = b"tel:+1-201-555-0123;phone-context=example.com";
        let uri = uri(text).unwrap();
        assert!(!uri.is_sip(text));
        assert!(uri.host.is_empty());
        assert_eq!(uri.params.of(text), b";phone-context=example.com");
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            &b"*"[..],
            b"",
            b"sip:",
            b"sip:a@",
            b"sip:a@b:",
            b"sip:a@b:70000",
            b"sip:a b@c",
            b"1x:y",
            b":a",
            b"sip:::1",
        ] {
            assert!(uri(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
