//! Are two SIP URIs the same (RFC 3261 section 19.1.4)?

use super::param::{Param, params};
use super::uri::Uri;
use crate::wire::Span;

/// Parameters that say where a request goes: one URI with and one without is two URIs, even if the value is the
/// default. `transport` is among them because a URI that omits a component never equals one that writes its default.
/// `gr` tells one instance from all others (RFC 5627 section 5.5).
const TELLING: [&[u8]; 6] = [b"user", b"ttl", b"method", b"maddr", b"transport", b"gr"];

/// Whether `one` and `other` are the same URI: user and password with case, all else without; escaped octets are the
/// octets; a port that is written never equals one that is not; the order of parameters and headers means nothing, and
/// a parameter that only one of them has is overlooked unless it says where a request goes. Whatever is not a sip or
/// sips URI equals nothing but its own octets.
pub fn same_uri(one: &[u8], other: &[u8]) -> bool {
    one == other || parsed(one).zip(parsed(other)).is_some_and(|(a, b)| same(one, &a, other, &b))
}

fn parsed(text: &[u8]) -> Option<Uri> {
    Uri::parse(text, Span::new(0, text.len())).ok().filter(|uri| uri.is_sip(text))
}

fn same(one: &[u8], a: &Uri, other: &[u8], b: &Uri) -> bool {
    a.scheme.of(one).eq_ignore_ascii_case(b.scheme.of(other))
        && a.user.map(|user| plain(user.of(one))) == b.user.map(|user| plain(user.of(other)))
        && same_host(one, a, other, b)
        && a.port == b.port
        && params_agree(one, a, other, b)
        && params_agree(other, b, one, a)
        && headers(one, a) == headers(other, b)
}

/// Addresses compare as addresses: IPv6 has many spellings.
fn same_host(one: &[u8], a: &Uri, other: &[u8], b: &Uri) -> bool {
    match (a.host_ip(one), b.host_ip(other)) {
        (Some(a), Some(b)) => a == b,
        _ => a.host.of(one).eq_ignore_ascii_case(b.host.of(other)),
    }
}

/// Every parameter of `a` that `b` has too is the same there, and `b` has those that tell.
fn params_agree(one: &[u8], a: &Uri, other: &[u8], b: &Uri) -> bool {
    let value = |bytes: &[u8], param: Param| param.value.map(|value| folded(value.of(bytes)));
    params(one, a.params).all(|param| {
        let name = param.name.of(one);
        match b.param(other, name) {
            Some(twin) => value(one, param) == value(other, twin),
            None => !TELLING.iter().any(|telling| name.eq_ignore_ascii_case(telling)),
        }
    })
}

/// The headers in an order that does not depend on how they are written.
fn headers(bytes: &[u8], uri: &Uri) -> Vec<Vec<u8>> {
    let text = uri.headers.map(|span| span.of(bytes)).unwrap_or_default();
    let text = text.strip_prefix(b"?").unwrap_or(text);
    let mut all: Vec<_> =
        text.split(|octet| *octet == b'&').filter(|one| !one.is_empty()).map(folded).collect();
    all.sort();
    all
}

fn folded(text: &[u8]) -> Vec<u8> {
    plain(text).to_ascii_lowercase()
}

/// The text with escapes undone, but for those of octets that mean something in a URI when they stand bare.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match escaped(rest) {
            Some(octet) if !b";/?:@&=+$,%".contains(&octet) => {
                out.push(octet);
                rest = &rest[3..];
            }
            Some(_) => {
                out.extend(rest[..3].to_ascii_uppercase());
                rest = &rest[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// The octet that the escape at the beginning of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    match text {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str) -> bool {
        let forth = same_uri(one.as_bytes(), other.as_bytes());
        assert_eq!(forth, same_uri(other.as_bytes(), one.as_bytes()), "{one} {other}");
        forth
    }

    #[test]
    fn the_examples_of_rfc_3261_are_equal() {
        for (one, other) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8:0::1]:5062", "sip:a@[2001:DB8::1]:5062"),
        ] {
            assert!(check(one, other), "{one} {other}");
        }
    }

    #[test]
    fn the_counter_examples_of_rfc_3261_are_not() {
        for (one, other) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a%40x@b", "sip:a@b"),
            ("sip:a@b;gr=1", "sip:a@b"),
            ("tel:+1", "tel:+1;x"),
            ("*", "sip:a@b"),
        ] {
            assert!(!check(one, other), "{one} {other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_itself(text in ".{0,40}", other in ".{0,40}") {
            assert!(check(&text, &text));
            check(&text, &other);
        }
    }
}
