//! Path mode (RFC 3327): the Contact stays the terminal's own, and a Path of ours brings requests back to its flow.

use super::hop::{self, Ours, Rewrite};
use super::outbound::supports;
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::types::{Side, Transport};
use crate::wire::Span;
use crate::wire::sip::{Message, Name, NameAddr, Uri};

/// Put ourselves on the path of a REGISTER: `ob` promises the flow of RFC 5626 section 5.1. A registrar may refuse a
/// Path that the terminal does not support (RFC 3327 section 5.3); the terminal never sees ours, so we support it.
pub(super) fn insert(
    message: &Message<'_>,
    ours: Ours,
    label: &str,
    outbound: bool,
    rewrite: &mut Rewrite<'_, '_>,
) {
    let transport = match ours.transport {
        Transport::Udp => String::new(),
        other => format!(";transport={}", other.param()),
    };
    let ob = if outbound { ";ob" } else { "" };
    rewrite.on_top(format!("Path: <sip:{label}@{}{transport};lr{ob}>\r\n", ours.address));
    if !supports(message, b"path") {
        rewrite.on_top("Supported: path\r\n");
    }
}

/// The binding that the topmost Route of a request names: our Path come back.
pub(super) fn label(cx: &Cx<'_>, message: &Message<'_>) -> Option<Label> {
    let bytes = message.bytes();
    let route = message.values(Name::Route).next()?;
    let uri = NameAddr::parse(bytes, route).ok()?.uri;
    let label = cx.sealer.open(uri.user?.of(bytes))?;
    (label.kind == Kind::Binding && label.shard.0 < cx.mapping.shards).then_some(label)
}

/// Take our core address out of the terminal's copy: Path has told the registrar what it had to (RFC 3327 section
/// 5.1), and a Service-Route through us (RFC 3608) leads through the access address that the terminal uses anyway.
pub(super) fn hide(cx: &Cx<'_>, rewrite: &mut Rewrite<'_, '_>) {
    for name in [Name::Path, Name::ServiceRoute] {
        rewrite.header_values(name, |bytes, value| {
            (!is_ours(cx, bytes, value)).then(|| value.of(bytes).to_vec())
        });
    }
}

fn is_ours(cx: &Cx<'_>, bytes: &[u8], value: Span) -> bool {
    let uri = NameAddr::parse(bytes, value).map(|addr| addr.uri);
    uri.is_ok_and(|uri: Uri| hop::label_of(bytes, &uri).is_some() || is_our_place(cx, bytes, &uri))
}

fn is_our_place(cx: &Cx<'_>, bytes: &[u8], uri: &Uri) -> bool {
    let Some(ip) = uri.host_ip(bytes) else { return false };
    let port = uri.port.unwrap_or(5060);
    cx.realms.iter().filter(|realm| realm.side == Side::Core).any(|realm| {
        let listens = realm.sip.iter().any(|&(_, own)| own == port);
        let home = [realm.per_shard, realm.per_shard_tls].into_iter().flatten();
        let own = home.into_iter().any(|first| (first..first + cx.mapping.shards).contains(&port));
        (ip == realm.address || ip == realm.advertised) && (listens || own)
    })
}
