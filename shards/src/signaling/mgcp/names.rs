//! Names: what a gateway calls itself, what the call agent sees, and which shard owns it.
//!
//! The domain of an endpoint name is often a private address, which many gateways have at once. Toward the call agent it
//! becomes a label that only we can make, `gw-` and 13 characters, with the domain that is configured for the call agent.
//! A name that is a name, and nobody else's, stays as it is.

use crate::signaling::Cx;
use crate::types::{Flow, ShardId};
use crate::wire::mgcp::Endpoint;
use crate::wire::parse_host_port;
use data_encoding::BASE32_DNSSEC as BASE32;
use std::net::IpAddr;

/// What our labels begin with.
const PREFIX: &str = "gw-";
/// Characters of 64 bits in base 32.
const CODE: usize = 13;
/// Labels tried until one belongs to the shard that owns the gateway.
const TRIES: u32 = 10_000;

/// Who a gateway is, as far as its messages tell: gateways of one place are told apart by where they send from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The name of its access realm: that stays when the realm's media ports, and with them its number, change.
    realm: Box<str>,
    /// Its public address, where its domain is an address and says nothing beyond its NAT.
    ip: Option<IpAddr>,
    /// In lower case.
    domain: Box<[u8]>,
}

impl Place {
    /// The place that a command from the access side names.
    pub(super) fn of(cx: &Cx<'_>, flow: &Flow, bytes: &[u8], name: &Endpoint) -> Self {
        let ip = name.is_literal(bytes).then(|| flow.remote.ip().to_canonical());
        let realm = cx.realm(flow).map(|realm| realm.name.as_str().into()).unwrap_or_default();
        Self { realm, ip, domain: name.domain.of(bytes).to_ascii_lowercase().into() }
    }

    /// The shard that owns its gateways. Every shard finds the same one: from the source and name of a command, from the
    /// name that the call agent was shown.
    pub(super) fn owner(&self, cx: &Cx<'_>) -> ShardId {
        match self.ip {
            Some(_) => cx.shard_of(&self.octets()),
            None => cx.shard_of(&self.domain),
        }
    }

    /// The names that a gateway of this place may have toward the call agent, the best one first.
    pub(super) fn names(&self, cx: &Cx<'_>, suffix: Option<&str>) -> impl Iterator<Item = Vec<u8>> {
        let own = (is_host(&self.domain) && base(&self.domain).is_none()).then(|| self.domain.to_vec());
        let (label, suffix) = (self.label(cx), suffix.map(|suffix| format!(".{suffix}")).unwrap_or_default());
        let numbered = (0_usize..).map(move |n| match n {
            0 => format!("{label}{suffix}").into_bytes(),
            _ => format!("{label}-{n}{suffix}").into_bytes(),
        });
        own.into_iter().chain(numbered)
    }

    /// A label that leads to the shard that owns this place.
    fn label(&self, cx: &Cx<'_>) -> String {
        let owner = self.owner(cx);
        let write = |number: u32| {
            let tag = cx.sealer.tag(&[b"gateway", &number.to_be_bytes()[..], &self.octets()].concat());
            format!("{PREFIX}{}", BASE32.encode(&tag.to_be_bytes()))
        };
        let ours = |label: &String| cx.shard_of(label.as_bytes()) == owner;
        (0..TRIES).map(write).find(ours).unwrap_or_else(|| write(0))
    }

    fn octets(&self) -> Vec<u8> {
        let place = format!("{} {:?} ", self.realm, self.ip);
        [place.as_bytes(), &self.domain].concat()
    }
}

/// The shard that owns what the call agent calls by this domain.
pub(super) fn owner_of_domain(cx: &Cx<'_>, domain: &[u8]) -> ShardId {
    let domain = domain.to_ascii_lowercase();
    cx.shard_of(base(&domain).unwrap_or(&domain))
}

/// The label without its number, if the domain (in lower case) begins with one of our labels' form.
fn base(domain: &[u8]) -> Option<&[u8]> {
    let label = domain.split(|&b| b == b'.').next().unwrap_or_default();
    let (base, number) = label.split_at_checked(PREFIX.len() + CODE)?;
    let code = base.strip_prefix(PREFIX.as_bytes())?;
    let numbered = number.is_empty() || number.strip_prefix(b"-").is_some_and(is_number);
    (numbered && code.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))).then_some(base)
}

/// Is it the name of a host, and not something with an address in it?
fn is_host(domain: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'#');
    domain.iter().all(plain) && domain.iter().any(u8::is_ascii_alphabetic)
}

fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Does an endpoint's local name fit a pattern with `*` (RFC 3435 section 2.1.2)? Both in any case.
pub(super) fn fits(pattern: &[u8], local: &[u8]) -> bool {
    match pattern.iter().position(|&b| b == b'*') {
        Some(at) => local.get(..at).is_some_and(|start| start.eq_ignore_ascii_case(&pattern[..at])),
        None => pattern.eq_ignore_ascii_case(local),
    }
}

/// Is there a wildcard in it?
pub(super) fn is_wild(local: &[u8]) -> bool {
    local.is_empty() || local.iter().any(|b| matches!(b, b'*' | b'$'))
}

/// The address and port that a notified entity's domain names; `None` when it is a name.
pub(super) fn literal(bytes: &[u8], name: &Endpoint) -> Option<IpAddr> {
    let domain = name.domain.of(bytes);
    let bare = domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(domain);
    let plain = parse_host_port(bare).map_or(bare, |(host, _)| host);
    std::str::from_utf8(plain).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_form_is_a_label() {
        for (domain, label) in [
            ("gw-0123456789abc.example.net", Some("gw-0123456789abc")),
            ("gw-0123456789abc-12.example.net", Some("gw-0123456789abc")),
            ("gw-0123456789abc", Some("gw-0123456789abc")),
            ("gw-0123456789abz.example.net", None),
            ("gw-0123456789abc-.example.net", None),
            ("gw-0123456789abc-x", None),
            ("gw-0123456789ab.example.net", None),
            ("gw1.example.net", None),
            ("[192.168.1.5]", None),
        ] {
            assert_eq!(base(domain.as_bytes()), label.map(str::as_bytes), "{domain}");
        }
    }

    #[test]
    fn what_holds_an_address_is_no_host() {
        assert!(is_host(b"gw1.example.net") && is_host(b"mgw") && is_host(b"a#1"));
        for bad in ["192.168.1.5", "[192.168.1.5]", "[192.168.1.5", "aaln/1[192.168.1.5]", ""] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_pattern_fits_what_begins_as_it_does() {
        assert!(fits(b"*", b"aaln/1") && fits(b"AALN/*", b"aaln/1") && fits(b"aaln/1", b"AALN/1"));
        assert!(!fits(b"aaln/1", b"aaln/12") && !fits(b"ds/*", b"aaln/1") && !fits(b"aaln/1/*", b"aaln/1"));
    }
}
