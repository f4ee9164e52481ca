//! `name-addr` and `addr-spec`: what From, To, Contact and the Route family hold.

use super::param::{self, Param};
use super::uri::Uri;
use crate::fault::Fault;
use crate::wire::{Span, text};

/// An address with its header parameters (RFC 3261 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The whole value, display name and parameters included.
    pub span: Span,
    /// The URI, without angles.
    pub uri: Uri,
    /// Whether the URI stands in `<>`.
    pub bracketed: bool,
    /// The header's parameters, from the first `;` after the URI; empty at the value's end when there is none.
    pub params: Span,
}

impl NameAddr {
    /// Reads one value of an address header. Without angles, parameters belong to the header. `*` is not an address.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when quotes or angles are not closed, or the URI is not one.
    pub fn parse(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let span = text::trim(bytes, span);
        match text::find_top(bytes, span, |b| b == b'<') {
            Some(open) => bracketed(bytes, span, open),
            None => bare(bytes, span),
        }
    }

    /// The first header parameter called `name`, in any case.
    pub fn param(&self, bytes: &[u8], name: &[u8]) -> Option<Param> {
        param::find(bytes, self.params, name)
    }

    /// The display name as it is written, quotes included; empty when there is none.
    pub fn display(&self, bytes: &[u8]) -> Span {
        let angle = text::find_top(bytes, self.span, |b| b == b'<').filter(|_| self.bracketed);
        text::trim(bytes, Span::new(self.span.start, angle.unwrap_or(self.span.start)))
    }
}

fn bracketed(bytes: &[u8], span: Span, open: usize) -> Result<NameAddr, Fault> {
    if text::find_top(bytes, Span::new(span.start, open), |b| b == b';').is_some() {
        return Err(Fault::Malformed("semicolon in a display name"));
    }
    let rest = Span::new(open + 1, span.end);
    let close = text::find_octet(bytes, rest, b'>').ok_or(Fault::Malformed("address without >"))?;
    let uri = Uri::parse(bytes, Span::new(rest.start, close))?;
    let tail = text::trim(bytes, Span::new(close + 1, span.end));
    let params = match tail.of(bytes).first() {
        None => Span::empty(span.end),
        Some(b';') => tail,
        Some(_) => return Err(Fault::Malformed("text after an address")),
    };
    no_angles(bytes, params)?;
    Ok(NameAddr { span, uri, bracketed: true, params })
}

fn bare(bytes: &[u8], span: Span) -> Result<NameAddr, Fault> {
    let params_at = text::find_octet(bytes, span, b';').unwrap_or(span.end);
    let uri = Uri::parse(bytes, Span::new(span.start, params_at))?;
    let params = Span::new(params_at, span.end);
    no_angles(bytes, params)?;
    Ok(NameAddr { span, uri, bracketed: false, params })
}

/// Within parameters only quotes may hold angles, and quotes are closed: others read the address elsewhere.
fn no_angles(bytes: &[u8], params: Span) -> Result<(), Fault> {
    let (mut quoted, mut escaped) = (false, false);
    for &octet in params.of(bytes) {
        if !quoted && matches!(octet, b'<' | b'>') {
            return Err(Fault::Malformed("angles in the parameters of an address"));
        }
        quoted ^= octet == b'"' && !escaped;
        escaped = quoted && octet == b'\\' && !escaped;
    }
    (!quoted).then_some(()).ok_or(Fault::Malformed("quotes in the parameters of an address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &[u8]) -> Result<NameAddr, Fault> {
        NameAddr::parse(text, Span::new(0, text.len()))
    }

    #[test]
    fn a_display_name_may_hold_anything_in_quotes() {
        let text = br#" "J, \"<Ro>\" ;x" <sip:j@example.com;lr>;tag=98 ; q=1 "#;
        let addr = addr(text).unwrap();
        assert!(addr.bracketed);
        assert_eq!(addr.uri.span.of(text), b"sip:j@example.com;lr");
        assert_eq!(addr.display(text).of(text), br#""J, \"<Ro>\" ;x""#);
        assert_eq!(addr.param(text, b"TAG").unwrap().value.unwrap().of(text), b"98");
        assert_eq!(addr.params.of(text), b";tag=98 ; q=1");
        assert_eq!(addr.uri.param(text, b"lr").unwrap().value, None);
    }

    #[test]
    fn without_angles_the_parameters_belong_to_the_header() {
        let text = b"sip:alice@example.com;tag=1928";
        let addr = addr(text).unwrap();
        assert!(!addr.bracketed);
        assert_eq!(addr.uri.span.of(text), b"sip:alice@example.com");
        assert!(addr.uri.params.is_empty());
        assert!(addr.display(text).is_empty());
        assert_eq!(addr.param(text, b"tag").unwrap().value.unwrap().of(text), b"1928");
    }

    #[test]
    fn angles_may_stand_in_a_quoted_parameter() {
        let text = b"<sip:a@b>;+sip.instance=\"<urn:uuid:1>\";x";
        assert_eq!(
            addr(text).unwrap().param(text, b"+sip.instance").unwrap().value.unwrap().of(text),
            b"\"<urn:uuid:1>\""
        );
    }

    #[test]
    fn no_space_is_needed_before_the_angle() {
        let text = b"caller<sip:caller@example.com>";
        assert_eq!(addr(text).unwrap().display(text).of(text), b"caller");
        assert_eq!(addr(text).unwrap().params, Span::empty(text.len()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            &b"*"[..],
            b"",
            b"<sip:a@b",
            b"\"open <sip:a@b>",
            b"<sip:a@b> x",
            b"<>",
            b"Bell sip:a@b",
            b"<sip:a>;tag=e@b>;tag=f",
            b"sip:a@b;x=<sip:c@d>",
            b"<sip:a>;tag=e\"<@b>;tag=f",
        ] {
            assert!(addr(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
