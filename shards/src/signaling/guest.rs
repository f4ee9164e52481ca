//! Who is charged for what comes from a source that has proven nothing.

use crate::types::{Flow, RealmId};
use std::net::{IpAddr, Ipv6Addr};

/// The network that is charged for what an unproven gateway sends: its address, or its /64.
pub(super) type Guest = (RealmId, IpAddr);

/// Who is charged for what comes from there.
pub(super) fn guest_at(flow: &Flow) -> Guest {
    let ip = match flow.remote.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    };
    (flow.realm, ip)
}
