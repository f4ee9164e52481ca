//! Checks of what gateways need: listeners for MGCP, ports of their own, and call agents.

use super::check::Check;
use super::place::At;
use super::raw::{RawListener, RawProtocol, RawRealm, RawSide};
use super::realms::{listener, own_ports};
use super::target::Target;
use portolan_shards::realm::Realm;
use portolan_shards::types::{Proto, Transport};

/// Check the listeners for gateways and the ports that a core realm has for them.
pub(super) fn gateways(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm, shards: u16) {
    services(check, at.field("mgcp"), &raw.mgcp);
    let name = "per_shard_mgcp";
    if matches!(raw.side, RawSide::Core) {
        own_ports(check, at.field(name), "per_shard_mgcp: 6200", raw.per_shard_mgcp, shards);
    } else if raw.per_shard_mgcp.is_some() {
        let hint = "remove it: all shards share an access realm's listeners";
        check.error(at.field(name), format!("`{name}` belongs to core realms"), hint);
    }
}

fn services(check: &mut Check<'_>, at: At<'_>, raw: &[RawListener]) {
    const HINT: &str = "for example `mgcp: [Udp(2427)]`";
    for (index, &raw) in raw.iter().enumerate() {
        let (transport, port) = listener(raw);
        if port == 0 {
            check.error(at.nth(index), "a listener needs a port", HINT);
        }
        if transport != Transport::Udp {
            check.error(at.nth(index), format!("MGCP is not carried by {}", transport.token()), HINT);
        }
    }
}

/// What a softswitch speaks.
pub(super) const fn proto(raw: RawProtocol) -> Proto {
    match raw {
        RawProtocol::Sip => Proto::Sip,
        RawProtocol::Mgcp => Proto::Mgcp,
    }
}

/// Check that the targets of a call agent can be spoken to through its realm.
pub(super) fn reachable(
    check: &mut Check<'_>,
    at: At<'_>,
    proto: Proto,
    targets: &[Target],
    realm: Option<&Realm>,
) {
    if proto == Proto::Sip {
        return;
    }
    for (n, target) in targets.iter().enumerate() {
        let at = at.nth(n).field("uri");
        let server = target.server().filter(|server| server.transport == Transport::Udp);
        if server.is_none() || target.port.is_none() || target.secure {
            let hint = "write its address and port: \"10.0.0.30:2727\"";
            check.error(at, format!("`{}` is not the address of a call agent", target.uri), hint);
        } else if let Some(realm) = realm.filter(|realm| realm.per_shard_mgcp.is_none()) {
            let message = format!("MGCP toward this target, and \"{}\" has no `per_shard_mgcp`", realm.name);
            check.error(at, message, "add `per_shard_mgcp: 6200` to the realm");
        }
    }
}
