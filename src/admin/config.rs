//! The running configuration as JSON, with all defaults spelled out and the secret redacted.

use crate::mapping::Loaded;
use portolan_shards::realm::{KeepaliveMethod, Mapping, Realm, Route, Softswitch};
use portolan_shards::types::{RealmId, Side};
use serde_json::{Value, json};

/// What runs now.
pub(super) fn json(loaded: &Loaded) -> Value {
    let mapping = &*loaded.mapping;
    let limits = &mapping.limits;
    json!({
        "generation": mapping.generation,
        "files": loaded.files,
        "shards": mapping.shards,
        "cores": loaded.cores,
        "secret": "redacted",
        "realms": mapping.realms.iter().map(|realm| self::realm(realm)).collect::<Vec<_>>(),
        "softswitches": mapping.softswitches.iter().map(|s| softswitch(mapping, s)).collect::<Vec<_>>(),
        "mappings": mapping.routes.iter().map(|r| route(mapping, r)).collect::<Vec<_>>(),
        "keepalive": {
            "interval_s": mapping.keepalive.interval.as_secs(),
            "misses": mapping.keepalive.misses,
        },
        "limits": {
            "sessions": limits.sessions,
            "bindings": limits.bindings,
            "contacts_per_aor": limits.contacts_per_aor,
            "transactions": limits.transactions,
            "media_idle_s": limits.media_idle.as_secs(),
            "setup_s": limits.setup.as_secs(),
            "port_rest_s": limits.port_rest.as_secs(),
        },
        "admin": { "listen": loaded.admin },
    })
}

fn realm(realm: &Realm) -> Value {
    json!({
        "name": realm.name,
        "id": realm.id.0,
        "side": match realm.side {
            Side::Access => "access",
            Side::Core => "core",
        },
        "address": realm.address,
        "advertised": realm.advertised,
        "sip": realm.sip.iter().map(|(_, port)| format!("udp/{port}")).collect::<Vec<_>>(),
        "per_shard": realm.per_shard,
        "media": [realm.media.first, realm.media.last],
        "learn_net": realm.learn_net,
        "keepalive": match realm.keepalive {
            KeepaliveMethod::Options => "options",
            KeepaliveMethod::Crlf => "crlf",
            KeepaliveMethod::Off => "off",
        },
    })
}

fn softswitch(mapping: &Mapping, softswitch: &Softswitch) -> Value {
    json!({
        "name": softswitch.name,
        "realm": name(mapping, softswitch.realm),
        "targets": softswitch.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sources": softswitch.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "domain": softswitch.domain,
    })
}

fn route(mapping: &Mapping, route: &Route) -> Value {
    json!({
        "access": name(mapping, route.access),
        "softswitch": mapping.softswitches.get(route.softswitch).map(|softswitch| &softswitch.name),
        "domains": route.domains,
    })
}

fn name(mapping: &Mapping, id: RealmId) -> Option<&str> {
    mapping.realm(id).map(|realm| realm.name.as_str())
}
