//! The running configuration as JSON, with all defaults spelled out and the secret redacted.

use crate::mapping::{Loaded, Target};
use crate::summary;
use crate::tls::RealmTls;
use portolan_shards::realm::{
    Authentication, EarlyMedia, Ice, KeepaliveMethod, Large, Mapping, Realm, Route, SecureMedia, Softswitch,
    Way,
};
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
        "realms": mapping.realms.iter().map(|realm| self::realm(loaded, realm)).collect::<Vec<_>>(),
        "softswitches": softswitches(loaded),
        "mappings": mapping.routes.iter().map(|r| route(mapping, r)).collect::<Vec<_>>(),
        "keepalive": {
            "interval_s": mapping.keepalive.interval.as_secs(),
            "misses": mapping.keepalive.misses,
            "learn_max_s": mapping.keepalive.learn_max.as_secs(),
        },
        "limits": {
            "sessions": limits.sessions,
            "bindings": limits.bindings,
            "contacts_per_aor": limits.contacts_per_aor,
            "transactions": limits.transactions,
            "transactions_per_source": limits.transactions_per_source,
            "streams": limits.streams,
            "streams_per_source": limits.streams_per_source,
            "stream_idle_s": limits.stream_idle.as_secs(),
            "media_idle_s": limits.media_idle.as_secs(),
            "setup_s": limits.setup.as_secs(),
            "one_way_s": limits.one_way.as_secs(),
            "media_kbit": limits.media_kbit,
            "batch_us": limits.batch.as_micros() as u64,
            "session_expires_s": limits.session_expires.as_secs(),
            "port_rest_s": limits.port_rest.as_secs(),
        },
        "dns": { "servers": loaded.dns },
        "admin": { "listen": loaded.admin },
    })
}

fn realm(loaded: &Loaded, realm: &Realm) -> Value {
    let tls = loaded.tls.iter().find(|(id, _)| *id == realm.id).map(|(_, tls)| self::tls(tls));
    json!({
        "name": realm.name,
        "id": realm.id.0,
        "side": match realm.side {
            Side::Access => "access",
            Side::Core => "core",
        },
        "address": realm.address,
        "advertised": realm.advertised,
        "sip": realm.sip.iter().map(summary::listener).collect::<Vec<_>>(),
        "mgcp": realm.mgcp,
        "h248": realm.h248.iter().map(summary::listener).collect::<Vec<_>>(),
        "per_shard": realm.per_shard,
        "per_shard_mgcp": realm.per_shard_mgcp,
        "gateways": realm.gateways.map(|ports| [ports.first, ports.last]),
        "per_shard_tls": realm.per_shard_tls,
        "large": match realm.large {
            Large::Udp => "udp",
            Large::Tcp => "tcp",
        },
        "tls": tls,
        "media": [realm.media.first, realm.media.last],
        "learn_net": realm.learn_net,
        "media_margin": realm.media_margin,
        "mask_call_id": realm.mask_call_id,
        "early_media": match realm.early_media {
            EarlyMedia::Pass => "pass",
            EarlyMedia::Backward => "backward",
            EarlyMedia::Block => "block",
        },
        "secure_media": match realm.secure_media {
            SecureMedia::Pass => "pass",
            SecureMedia::Refuse => "refuse",
        },
        "authentication": match realm.authentication {
            Authentication::Refuse => "refuse",
            Authentication::Strip => "strip",
        },
        "ice": match realm.ice {
            Ice::Strip => "strip",
            Ice::Keep => "keep",
        },
        "dscp": { "media": realm.marking.media, "signaling": realm.marking.signaling },
        "keepalive": match realm.keepalive {
            KeepaliveMethod::Options => "options",
            KeepaliveMethod::Crlf => "crlf",
            KeepaliveMethod::Off => "off",
        },
    })
}

/// Where the keys are is nobody's business here.
fn tls(tls: &RealmTls) -> Value {
    json!({
        "certificates": tls.certificates.iter().map(|(certificate, _)| certificate).collect::<Vec<_>>(),
        "clients": tls.clients,
        "roots": tls.roots,
    })
}

fn softswitches(loaded: &Loaded) -> Vec<Value> {
    let all = loaded.mapping.softswitches.iter().zip(&loaded.targets);
    all.map(|(peer, targets)| softswitch(&loaded.mapping, peer, targets)).collect()
}

fn softswitch(mapping: &Mapping, softswitch: &Softswitch, targets: &[Target]) -> Value {
    json!({
        "name": softswitch.name,
        "realm": name(mapping, softswitch.realm),
        "protocol": softswitch.proto.label(),
        "targets": targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "servers": softswitch.targets.iter().map(|server| format!("{server:?}")).collect::<Vec<_>>(),
        "sources": softswitch.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "domain": softswitch.domain,
        "overload": softswitch.overload,
        "probe_s": softswitch.probe.map_or(0, |probe| probe.as_secs()),
        "patience_s": softswitch.patience.as_secs(),
    })
}

fn route(mapping: &Mapping, route: &Route) -> Value {
    json!({
        "access": name(mapping, route.access),
        "softswitch": mapping.softswitches.get(route.softswitch).map(|softswitch| &softswitch.name),
        "domains": route.domains,
        "registration": {
            "way": match route.registration.way {
                Way::Contact => "contact",
                Way::Path => "path",
            },
            "terminal_s": route.registration.terminal.as_secs(),
            "registrar_s": route.registration.registrar.as_secs(),
            "absorb": route.registration.absorb,
            "survive": route.registration.survive,
            "shortest_s": route.registration.shortest.as_secs(),
            "deregister": route.registration.deregister,
        },
    })
}

fn name(mapping: &Mapping, id: RealmId) -> Option<&str> {
    mapping.realm(id).map(|realm| realm.name.as_str())
}
