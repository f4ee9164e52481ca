//! Which ports, cores and flow rules belong to which shard: what a network card and the kernel are told from outside.

use crate::mapping::Loaded;
use portolan_shards::realm::{PortRange, Realm};
use portolan_shards::types::{ShardId, Side};
use serde::Serialize;
use std::net::IpAddr;

/// All of it, as `check --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Steering {
    /// By number.
    pub shards: Vec<Place>,
    /// In the order of the configuration.
    pub realms: Vec<Lane>,
}

/// Where a shard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The shard, which is also the receive queue that its media should come by.
    pub shard: u16,
    /// The processor that it is pinned to.
    pub core: usize,
}

/// The media of one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// The realm's name.
    pub realm: String,
    /// `access` or `core`.
    pub side: &'static str,
    /// The address that its sockets bind.
    pub address: IpAddr,
    /// First and last port as configured.
    pub media: (u16, u16),
    /// One for each shard.
    pub slices: Vec<Slice>,
}

/// The media ports of one shard in one realm. A port is one of them if and only if `port & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Its owner.
    pub shard: u16,
    /// First port; even.
    pub first: u16,
    /// Last port; odd.
    pub last: u16,
    /// The first port once more.
    pub value: u16,
    /// The bits of a port that must be those of `value`.
    pub mask: u16,
}

impl Steering {
    /// What a configuration amounts to.
    pub fn of(loaded: &Loaded) -> Self {
        let mapping = &loaded.mapping;
        let place = |(n, core): (usize, &usize)| Place { shard: n as u16, core: *core };
        Self {
            shards: loaded.cores.iter().enumerate().map(place).collect(),
            realms: mapping.realms.iter().map(|realm| Lane::of(realm, mapping.shards)).collect(),
        }
    }
}

impl Lane {
    fn of(realm: &Realm, shards: u16) -> Self {
        Self {
            realm: realm.name.clone(),
            side: if realm.side == Side::Access { "access" } else { "core" },
            address: realm.address,
            media: (realm.media.first, realm.media.last),
            slices: (0..shards).filter_map(|n| Slice::of(n, realm.media.slice(shards, ShardId(n)))).collect(),
        }
    }
}

impl Slice {
    fn of(shard: u16, range: PortRange) -> Option<Self> {
        let (value, mask) = range.flow_rule()?;
        Some(Self { shard, first: range.first, last: range.last, value, mask })
    }

    /// The rule in ethtool's words, for one family. Its mask names the bits that do not matter.
    pub fn rule(&self, device: &str, address: IpAddr) -> String {
        let family = if address.is_ipv4() { "udp4" } else { "udp6" };
        let Self { shard, value, mask, .. } = self;
        format!(
            "ethtool -N {device} flow-type {family} dst-ip {address} dst-port {value} m {:#x} action {shard}",
            !mask
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Loader, Machine};

    fn steering() -> Steering {
        let text = include_str!("../config/portolan.ron");
        Steering::of(&Loader::new(Machine::with_cores(2)).parse(text, "x").expect("it is sound"))
    }

    #[test]
    fn is_told_as_one_object() {
        let expected = concat!(
            r#"{"shards":[{"shard":0,"core":0},{"shard":1,"core":1}],"realms":["#,
            r#"{"realm":"access","side":"access","address":"198.51.100.10","media":[16384,32767],"slices":["#,
            r#"{"shard":0,"first":16384,"last":24575,"value":16384,"mask":57344},"#,
            r#"{"shard":1,"first":24576,"last":32767,"value":24576,"mask":57344}]},"#,
            r#"{"realm":"core","side":"core","address":"10.0.0.10","media":[16384,32767],"slices":["#,
            r#"{"shard":0,"first":16384,"last":24575,"value":16384,"mask":57344},"#,
            r#"{"shard":1,"first":24576,"last":32767,"value":24576,"mask":57344}]}]}"#,
        );
        assert_eq!(serde_json::to_string(&steering()).expect("it is plain"), expected);
    }

    #[test]
    fn a_rule_says_which_bits_do_not_matter() {
        let lane = &steering().realms[0];
        assert_eq!(
            lane.slices[1].rule("eth0", lane.address),
            "ethtool -N eth0 flow-type udp4 dst-ip 198.51.100.10 dst-port 24576 m 0x1fff action 1"
        );
        assert!(lane.slices[0].rule("eth0", IpAddr::from([0_u16; 8])).contains("flow-type udp6"));
    }
}
