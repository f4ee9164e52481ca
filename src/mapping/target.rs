//! Targets of a softswitch: parsed from their URIs, with what only their realm can say about them.

use super::check::Check;
use super::gateways;
use super::place::At;
use super::raw::{RawServer, RawTarget};
use portolan_shards::realm::{Realm, Server};
use portolan_shards::types::{Proto, Transport};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const EXAMPLE: &str = "for example \"sip:10.0.0.20:5060;transport=tcp\" or \"sip:sx.example.net\"";

/// Where a softswitch takes requests, as configured: an address, or a name that RFC 3263 turns into some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As written.
    pub uri: String,
    /// Who.
    pub host: Host,
    /// `None`: the transport's own, or what SRV says.
    pub port: Option<u16>,
    /// `None`: UDP (or TLS if `secure`) at an address, what NAPTR says for a name.
    pub transport: Option<Transport>,
    /// A `sips` URI: TLS only.
    pub secure: bool,
    /// TLS: what the certificate must be for; `None`: the host.
    pub name: Option<Arc<str>>,
    /// Lower ones are asked first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
}

/// The host of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Never looked up.
    Address(IpAddr),
    /// Looked up, in lower case.
    Name(String),
}

impl Target {
    /// The server that an address is; `None` for a name.
    pub fn server(&self) -> Option<Server> {
        let Host::Address(ip) = self.host else { return None };
        let transport = self.transport.unwrap_or(self.natural());
        let address = SocketAddr::new(ip, self.port.unwrap_or(transport.default_port()));
        let (priority, weight) = (self.priority, self.weight);
        Some(Server { address, transport, name: self.name.clone(), priority, weight })
    }

    /// The transport where nothing says another (RFC 3263 section 4.1).
    pub const fn natural(&self) -> Transport {
        if self.secure { Transport::Tls } else { Transport::Udp }
    }

    /// Must it be asked of a name server?
    pub const fn is_name(&self) -> bool {
        matches!(self.host, Host::Name(_))
    }

    /// Is nothing but TLS possible?
    pub(super) fn is_surely_tls(&self) -> bool {
        self.secure || self.transport == Some(Transport::Tls)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri)?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if (self.priority, self.weight) != (0, 1) {
            write!(f, " priority {} weight {}", self.priority, self.weight)?;
        }
        Ok(())
    }
}

/// Check all targets of a softswitch. Where none says a priority or weight, they are asked in their order.
pub(super) fn targets(
    check: &mut Check<'_>,
    at: At<'_>,
    raw: &[RawTarget],
    proto: Proto,
    realm: Option<&Realm>,
) -> Vec<Target> {
    if raw.is_empty() {
        check.error(at, "a softswitch needs a target", "for example `targets: [\"10.0.0.20:5060\"]`");
    }
    let plain = raw.iter().all(|RawTarget(raw)| raw.priority.is_none() && raw.weight.is_none());
    let mut targets: Vec<Target> = Vec::new();
    for (n, RawTarget(raw)) in raw.iter().enumerate() {
        let at = at.nth(n);
        let Some(parsed) = target(check, at, raw) else { continue };
        let priority = raw.priority.unwrap_or(if plain { n as u16 } else { 0 });
        let parsed = Target { priority, weight: raw.weight.unwrap_or(1), ..parsed };
        if let Some(realm) = realm {
            reachable(check, at.field("uri"), &parsed, realm);
        }
        gateways::reachable(check, at.field("uri"), proto, &parsed, realm);
        let same =
            |t: &Target| (&t.host, t.port, t.transport) == (&parsed.host, parsed.port, parsed.transport);
        if targets.iter().any(same) {
            check.error(at, format!("the target `{}` stands twice", parsed.uri), "keep one");
        }
        targets.push(parsed);
    }
    targets
}

fn target(check: &mut Check<'_>, at: At<'_>, raw: &RawServer) -> Option<Target> {
    let uri = at.field("uri");
    let parsed = parse(check, uri, &raw.uri)?;
    let name = raw.name.as_deref().and_then(|name| certificate_name(check, at.field("name"), name, &parsed));
    Some(Target { name, ..parsed })
}

fn certificate_name(check: &mut Check<'_>, at: At<'_>, name: &str, target: &Target) -> Option<Arc<str>> {
    if !target.is_surely_tls() && target.server().is_some() {
        let hint = "remove it, or write `;transport=tls` or `sips:`";
        check.error(at, "only a TLS target has a certificate's name", hint);
        return None;
    }
    if name.parse::<IpAddr>().is_err() && !is_host_name(name) {
        let hint = "for example `name: \"sx.example.net\"`";
        check.error(at, format!("`{name}` is not a name of a certificate"), hint);
        return None;
    }
    Some(name.into())
}

/// A URI, or an address with its port. Priority, weight and name come from elsewhere.
fn parse(check: &mut Check<'_>, at: At<'_>, text: &str) -> Option<Target> {
    let scheme = |name: &str| {
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| &text[name.len()..])
    };
    let (secure, rest) = match (scheme("sips:"), scheme("sip:")) {
        (Some(rest), _) => (Some(true), rest),
        (_, Some(rest)) => (Some(false), rest),
        _ => (None, text),
    };
    if rest.is_empty() || rest.contains(['@', '?', '/', '<', '>', ' ']) {
        check.error(at, format!("`{text}` is not the URI of a server"), EXAMPLE);
        return None;
    }
    let (place, params) = rest.split_once(';').unwrap_or((rest, ""));
    let (host, port) = place_of(check, at, place, secure.is_some())?;
    let transport = transport(check, at, params, secure == Some(true))?;
    Some(Target {
        uri: text.to_owned(),
        host,
        port,
        transport,
        secure: secure == Some(true),
        name: None,
        priority: 0,
        weight: 1,
    })
}

/// `host`, `host:port`; without a scheme it must be an address and have its port.
fn place_of(check: &mut Check<'_>, at: At<'_>, text: &str, scheme: bool) -> Option<(Host, Option<u16>)> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    if !scheme && is_host_name(name) {
        let hint = format!("write \"sip:{text}\" to have it looked up, or an address: \"10.0.0.20:5060\"");
        check.error(at, format!("`{text}` is a name without a scheme"), hint);
        return None;
    }
    if scheme && let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((Host::Address(ip), None));
    }
    if !scheme || !is_host_name(name) {
        let address = check.socket(at, text, "10.0.0.20:5060")?;
        return Some((Host::Address(address.ip()), Some(address.port())));
    }
    let port = match text[name.len()..].strip_prefix(':').map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => {
            check.error(at, format!("`{text}` has no port from 1 to 65535"), EXAMPLE);
            return None;
        }
    };
    Some((Host::Name(name.trim_end_matches('.').to_ascii_lowercase()), port))
}

/// The one parameter that says something here; the outer `None` is a mistake.
fn transport(check: &mut Check<'_>, at: At<'_>, params: &str, secure: bool) -> Option<Option<Transport>> {
    let mut transport = None;
    for param in params.split(';').filter(|param| !param.is_empty()) {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let named = Transport::named(value.as_bytes());
        let wrong = match (name.eq_ignore_ascii_case("transport"), named) {
            (false, _) => format!("the parameter `{name}` says nothing about a target"),
            (true, Some(Transport::Udp)) if secure => "`sips` is never carried by UDP".to_owned(),
            (true, Some(Transport::Tcp | Transport::Tls)) if secure => {
                transport = Some(Transport::Tls);
                continue;
            }
            (true, Some(found @ (Transport::Udp | Transport::Tcp | Transport::Tls))) => {
                transport = Some(found);
                continue;
            }
            (true, _) => format!("a softswitch is not reached by `{value}`"),
        };
        check.error(at, wrong, "one of `;transport=udp`, `;transport=tcp`, `;transport=tls`");
        return None;
    }
    Some(transport)
}

/// What only the realm can tell.
fn reachable(check: &mut Check<'_>, at: At<'_>, target: &Target, realm: &Realm) {
    if target.is_surely_tls() && realm.per_shard_tls.is_none() {
        let message = format!("TLS toward `{}`, and \"{}\" has no `per_shard_tls`", target.uri, realm.name);
        let hint = "add `per_shard_tls: 6100` and `tls: (certificate: ..., key: ...)` to the realm";
        check.error(at, message, hint);
    }
    let Some(Server { address, transport, .. }) = target.server() else { return };
    if address.is_ipv4() != realm.address.is_ipv4() {
        let hint = format!("give an address of the same family as {}", realm.address);
        check.error(at, format!("{address} cannot be reached from the realm \"{}\"", realm.name), hint);
    }
    if address.ip() == realm.address && realm.listens(transport, address.port()) {
        let hint = "name the softswitch's address, or requests would run in a circle";
        check.error(at, format!("{address} is Portolan's own address"), hint);
    }
}

/// Labels of letters, digits and hyphens (RFC 1123 section 2.1; underscores are seen too), the last one not a number.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && !label.starts_with('-') && label.chars().all(plain)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["sx", "sx.example.net", "sx.example.net.", "a-1._b.example"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a.b", "10.0.0.300", "a b", "[::1]", "::1", "ä.example"] {
            assert!(!is_host_name(bad), "{bad}");
        }
        assert!(!is_host_name(&"a.".repeat(127)[..253].replace('.', "aa.")));
    }
}
