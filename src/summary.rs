//! A mapping in a few lines, for people.

use crate::mapping::Loaded;
use portolan_shards::realm::{Mapping, Realm, Route};
use portolan_shards::types::{RealmId, Side};
use std::fmt;

/// What a configuration amounts to.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a Loaded);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapping = &*self.0.mapping;
        let cores: Vec<_> = self.0.cores.iter().map(ToString::to_string).collect();
        for file in &self.0.files {
            writeln!(f, "ok: {}", file.display())?;
        }
        writeln!(f, "shards: {} on core {}", mapping.shards, cores.join(", "))?;
        for realm in &mapping.realms {
            writeln!(f, "{}", realm_line(realm, mapping.shards))?;
        }
        for softswitch in &mapping.softswitches {
            let targets: Vec<_> = softswitch.targets.iter().map(ToString::to_string).collect();
            let realm = realm_name(mapping, softswitch.realm);
            let domain =
                softswitch.domain.as_ref().map_or_else(String::new, |domain| format!(", domain {domain}"));
            writeln!(
                f,
                "softswitch \"{}\": {} through \"{realm}\"{domain}",
                softswitch.name,
                targets.join(", ")
            )?;
        }
        for route in &mapping.routes {
            writeln!(f, "{}", route_line(mapping, route))?;
        }
        match self.0.admin {
            Some(address) => writeln!(f, "admin: http://{address}/"),
            None => writeln!(f, "admin: off"),
        }
    }
}

fn realm_line(realm: &Realm, shards: u16) -> String {
    let side = match realm.side {
        Side::Access => "access",
        Side::Core => "core",
    };
    let told = match realm.advertised == realm.address {
        true => String::new(),
        false => format!(" (told as {})", realm.advertised),
    };
    let sip: Vec<_> = realm.sip.iter().map(|(_, port)| format!("udp/{port}")).collect();
    let own = realm.per_shard.map_or_else(String::new, |port| format!(", shards' own from {port}"));
    let media = realm.media;
    let pairs = media.len() / 2 / usize::from(shards.max(1));
    format!(
        "{side} realm \"{}\": {}{told}, sip {}{own}, media {}-{} ({pairs} pairs a shard)",
        realm.name,
        realm.address,
        sip.join(" "),
        media.first,
        media.last,
    )
}

fn route_line(mapping: &Mapping, route: &Route) -> String {
    let softswitch = mapping.softswitches.get(route.softswitch).map_or("?", |softswitch| &softswitch.name);
    let domains = match route.domains.is_empty() {
        true => "any domain".to_owned(),
        false => route.domains.join(", "),
    };
    format!("mapping: \"{}\" -> \"{softswitch}\" for {domains}", realm_name(mapping, route.access))
}

fn realm_name(mapping: &Mapping, id: RealmId) -> &str {
    mapping.realm(id).map_or("?", |realm| &realm.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Loader, Machine};

    #[test]
    fn tells_realms_softswitches_and_mappings() {
        let text = include_str!("../config/loopback.ron");
        let loaded = Loader::new(Machine::with_cores(2)).parse(text, "x").expect("it is sound");
        let expected = "shards: 2 on core 0, 1\n\
            access realm \"access\": 127.0.1.1, sip udp/5060, media 20000-29999 (2500 pairs a shard)\n\
            core realm \"core\": 127.0.2.1, sip udp/5060, shards' own from 6000, media 20000-29999 (2500 pairs a shard)\n\
            softswitch \"softswitch\": 127.0.3.1:5060 through \"core\", domain example.net\n\
            mapping: \"access\" -> \"softswitch\" for any domain\n\
            admin: http://127.0.0.1:9060/\n";
        assert_eq!(Summary(&loaded).to_string(), expected);
    }
}
