//! The Via header field: one hop's return address.

use super::param::{self, Param};
use crate::fault::Fault;
use crate::wire::{Span, text};
use std::net::IpAddr;

/// One Via value (RFC 3261 20.42, RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The whole value, without the comma.
    pub span: Span,
    /// `UDP`, `TCP`, ...
    pub transport: Span,
    /// Host of sent-by; an IPv6 address keeps its brackets.
    pub host: Span,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// `host[:port]`.
    pub sent_by: Span,
    /// All parameters, from the first `;`; empty at the value's end when there is none.
    pub params: Span,
    /// Value of the branch parameter, when there is one and it is not empty.
    pub branch: Option<Span>,
    /// The whole received parameter, its `;` included.
    pub received: Option<Span>,
    /// The rport parameter, with or without a value.
    pub rport: Option<Param>,
}

impl Via {
    /// Reads the Via value at `span`; white space is tolerated wherever RFC 3261 25.1 allows it.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when the protocol is not SIP/2.0, or sent-by is not a host and port.
    pub fn parse(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let span = text::trim(bytes, span);
        let params_at = text::find_top(bytes, span, |b| b == b';').unwrap_or(span.end);
        let params = Span::new(params_at, span.end);
        let (transport, sent_by) = sent_protocol(bytes, Span::new(span.start, params_at))?;
        let (host, port) = text::host_port(bytes, sent_by).ok_or(Fault::Malformed("Via sent-by"))?;
        let mut via =
            Self { span, transport, host, port, sent_by, params, branch: None, received: None, rport: None };
        via.read_params(bytes);
        Ok(via)
    }

    /// The first parameter called `name`, in any case.
    pub fn param(&self, bytes: &[u8], name: &[u8]) -> Option<Param> {
        param::find(bytes, self.params, name)
    }

    /// The host of sent-by, when it is an address.
    pub fn host_ip(&self, bytes: &[u8]) -> Option<IpAddr> {
        text::ip(self.host.of(bytes))
    }

    fn read_params(&mut self, bytes: &[u8]) {
        for param in param::params(bytes, self.params) {
            let name = param.name.of(bytes);
            if name.eq_ignore_ascii_case(b"branch") {
                self.branch = self.branch.or(param.value.filter(|v| !v.is_empty()));
            } else if name.eq_ignore_ascii_case(b"received") {
                self.received = self.received.or(Some(param.span));
            } else if name.eq_ignore_ascii_case(b"rport") {
                self.rport = self.rport.or(Some(param));
            }
        }
    }
}

/// Splits `SIP / 2.0 / UDP host:port` into the transport and sent-by.
fn sent_protocol(bytes: &[u8], span: Span) -> Result<(Span, Span), Fault> {
    let fault = Fault::Malformed("Via protocol");
    let slash = |from: usize| text::find_octet(bytes, Span::new(from, span.end), b'/').ok_or(fault);
    let first = slash(span.start)?;
    let second = slash(first + 1)?;
    let name = text::trim(bytes, Span::new(span.start, first)).of(bytes);
    let version = text::trim(bytes, Span::new(first + 1, second)).of(bytes);
    let rest = text::trim(bytes, Span::new(second + 1, span.end));
    let transport_end = text::find(bytes, rest, text::is_lws).ok_or(Fault::Malformed("Via sent-by"))?;
    let transport = Span::new(rest.start, transport_end);
    let known = name.eq_ignore_ascii_case(b"SIP") && version == b"2.0";
    if !known || !text::is_token_text(transport.of(bytes)) {
        return Err(fault);
    }
    Ok((transport, text::trim(bytes, Span::new(transport_end, rest.end))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &[u8]) -> Result<Via, Fault> {
        Via::parse(text, Span::new(0, text.len()))
    }

    #[test]
    fn an_ordinary_via_is_read() {
        let text = b" SIP/2.0/UDP pc33.example.com:5066;branch=z9hG4bK776;rport;received=192.0.2.1 ";
        let via = via(text).unwrap();
        assert_eq!(via.transport.of(text), b"UDP");
        assert_eq!(via.host.of(text), b"pc33.example.com");
        assert_eq!(via.port, Some(5066));
        assert_eq!(via.sent_by.of(text), b"pc33.example.com:5066");
        assert_eq!(via.branch.unwrap().of(text), b"z9hG4bK776");
        assert_eq!(via.received.unwrap().of(text), b";received=192.0.2.1");
        assert_eq!(via.rport.unwrap().span.of(text), b";rport");
        assert_eq!(via.rport.unwrap().value, None);
        assert_eq!(via.span.of(text), &text[1..text.len() - 1]);
    }

    #[test]
    fn white_space_and_folds_are_tolerated() {
        let text = b"SIP  / 2.0\r\n /TCP     spindle.example.com : 5061  ;\r\n  branch  =   z9hG4bK9ikj8  ";
        let via = via(text).unwrap();
        assert_eq!(via.transport.of(text), b"TCP");
        assert_eq!(via.host.of(text), b"spindle.example.com");
        assert_eq!(via.port, Some(5061));
        assert_eq!(via.sent_by.of(text), b"spindle.example.com : 5061");
        assert_eq!(via.branch.unwrap().of(text), b"z9hG4bK9ikj8");
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets() {
        let text = b"SIP/2.0/UDP [2001:db8::9:1]:5070;branch=x;received=[2001:db8::9:255]";
        let via = via(text).unwrap();
        assert_eq!(via.host.of(text), b"[2001:db8::9:1]");
        assert_eq!(via.host_ip(text), "2001:db8::9:1".parse().ok());
        assert_eq!(via.port, Some(5070));
    }

    #[test]
    fn other_protocols_and_bad_hosts_are_refused() {
        for bad in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/7.0/UDP a",
            b"HTTP/2.0/UDP a",
            b"SIP/2.0/UDP a b",
            b"SIP/2.0/UDP :5",
        ] {
            assert!(matches!(via(bad), Err(Fault::Malformed(_))), "{}", bad.escape_ascii());
        }
        assert!(via(b"SIP/2.0/UDP a:99999").is_err());
        assert!(via(b"/ / /").is_err());
    }
}
