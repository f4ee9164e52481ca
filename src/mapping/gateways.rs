//! Checks of what gateways need: listeners for MGCP and H.248, and servers that speak their protocol; and of the ports of our
//! own that each protocol needs toward its servers.

use super::check::Check;
use super::place::At;
use super::raw::{RawListener, RawProtocol, RawRealm, RawSide};
use super::realms::{listener, own_ports};
use super::target::Target;
use portolan_shards::realm::{PortRange, Realm};
use portolan_shards::types::{Proto, Transport};

/// Check the listeners for gateways and the ports that a core realm has for them.
pub(super) fn gateways(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm, shards: u16) -> Option<PortRange> {
    services(check, at.field("mgcp"), &raw.mgcp, "MGCP", &[Transport::Udp], "mgcp: [Udp(2427)]");
    services(
        check,
        at.field("h248"),
        &raw.h248,
        "H.248",
        &[Transport::Udp, Transport::Tcp],
        "h248: [Udp(2944), Tcp(2944)]",
    );
    if matches!(raw.side, RawSide::Access) {
        for (name, given) in
            [("per_shard_mgcp", raw.per_shard_mgcp.is_some()), ("gateways", raw.gateways.is_some())]
        {
            if given {
                let hint = "remove it: all shards share an access realm's listeners";
                check.error(at.field(name), format!("`{name}` belongs to core realms"), hint);
            }
        }
        return None;
    }
    own_ports(check, at.field("per_shard_mgcp"), "per_shard_mgcp: 6200", raw.per_shard_mgcp, shards);
    lent(check, at.field("gateways"), raw.gateways?, shards)
}

fn services(
    check: &mut Check<'_>,
    at: At<'_>,
    raw: &[RawListener],
    name: &str,
    allowed: &[Transport],
    example: &str,
) {
    for (index, &raw) in raw.iter().enumerate() {
        let (transport, port) = listener(raw);
        if port == 0 {
            check.error(at.nth(index), "a listener needs a port", format!("for example `{example}`"));
        }
        if !allowed.contains(&transport) {
            let message = format!("{name} is not carried by {}", transport.token());
            check.error(at.nth(index), message, format!("for example `{example}`"));
        }
    }
}

fn lent(check: &mut Check<'_>, at: At<'_>, (first, last): (u16, u16), shards: u16) -> Option<PortRange> {
    if first == 0 || first > last {
        check.error(
            at,
            format!("{first} to {last} is no range of ports"),
            "for example `gateways: (30000, 30999)`",
        );
        return None;
    }
    let range = PortRange { first, last };
    if range.len() < usize::from(shards) {
        let hint = format!("at least one for each of {shards} shards; each H.248 gateway takes one");
        check.error(at, format!("{} ports are too few", range.len()), hint);
        return None;
    }
    if check.machine.may_lend(&(first..=last)) {
        let hint = format!("sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last}");
        let message = "the kernel may give these ports to other sockets (ip_local_port_range)";
        check.warning(at, message, hint);
    }
    Some(range)
}

/// What a softswitch speaks.
pub(super) const fn proto(raw: RawProtocol) -> Proto {
    match raw {
        RawProtocol::Sip => Proto::Sip,
        RawProtocol::Mgcp => Proto::Mgcp,
        RawProtocol::H248 => Proto::H248,
    }
}

/// Check that a target can be spoken to, and through its realm: what is sent there needs an address of ours that the
/// answers come home to.
pub(super) fn reachable(
    check: &mut Check<'_>,
    at: At<'_>,
    proto: Proto,
    target: &Target,
    realm: Option<&Realm>,
) {
    if proto != Proto::Sip && !is_agent(check, at, proto, target) {
        return;
    }
    if let Some(realm) = realm {
        own_ports_for(check, at, proto, target, realm);
    }
}

/// Is it the address of a call agent or controller, by a transport that carries its protocol?
fn is_agent(check: &mut Check<'_>, at: At<'_>, proto: Proto, target: &Target) -> bool {
    let Some(server) = target.server().filter(|_| target.port.is_some() && !target.secure) else {
        let hint = "write its address and port: \"10.0.0.30:2727\"";
        check.error(at, format!("`{}` is not the address of a call agent", target.uri), hint);
        return false;
    };
    let carried =
        server.transport == Transport::Udp || server.transport == Transport::Tcp && proto == Proto::H248;
    if !carried {
        let message = format!("{} is not carried by {}", proto.label(), server.transport.token());
        check.error(at, message, "leave `;transport=` out");
    }
    carried
}

fn own_ports_for(check: &mut Check<'_>, at: At<'_>, proto: Proto, target: &Target, realm: &Realm) {
    let (said, missing, example) = match proto {
        // A name that says no transport may stand for a server of UDP at any time.
        Proto::Sip => ("SIP", realm.per_shard.is_none() && !target.is_surely_tls(), "per_shard: 6000"),
        Proto::Mgcp => ("MGCP", realm.per_shard_mgcp.is_none(), "per_shard_mgcp: 6200"),
        Proto::H248 => ("H.248", realm.gateways.is_none(), "gateways: (30000, 30999)"),
    };
    if missing {
        let name = example.split(':').next().unwrap_or_default();
        let message = format!("{said} toward this target, and \"{}\" has no `{name}`", realm.name);
        check.error(at, message, format!("add `{example}` to the realm"));
    }
}
