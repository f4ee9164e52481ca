//! A mapping in a few lines, for people.

use crate::mapping::{Loaded, Target};
use crate::tls::RealmTls;
use portolan_shards::realm::{Large, Mapping, PortRange, Realm, Registration, Route, Softswitch, Way};
use portolan_shards::types::{Proto, RealmId, ShardId, Side, Transport};
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
        for shard in 0..mapping.shards {
            writeln!(f, "{}", shard_line(mapping, ShardId(shard)))?;
        }
        for realm in &mapping.realms {
            writeln!(f, "{}", realm_line(realm, mapping.shards))?;
            if let Some((_, tls)) = self.0.tls.iter().find(|(id, _)| *id == realm.id) {
                writeln!(f, "tls of \"{}\": {}", realm.name, self::tls(tls))?;
            }
        }
        for (softswitch, targets) in mapping.softswitches.iter().zip(&self.0.targets) {
            writeln!(f, "{}", softswitch_line(mapping, softswitch, targets))?;
        }
        for route in &mapping.routes {
            writeln!(f, "{}", route_line(mapping, route))?;
        }
        if !self.0.dns.is_empty() {
            writeln!(f, "name servers: {}", list(&self.0.dns))?;
        }
        match self.0.admin {
            Some(address) => writeln!(f, "admin: http://{address}/"),
            None => writeln!(f, "admin: off"),
        }
    }
}

/// A shard's media ports, each with what a flow rule must match to steer them to its receive queue.
fn shard_line(mapping: &Mapping, shard: ShardId) -> String {
    let mut slices: Vec<_> = mapping.realms.iter().map(|r| r.media.slice(mapping.shards, shard)).collect();
    slices.sort_by_key(|slice| (slice.first, slice.last));
    slices.dedup();
    let told = |slice: &PortRange| {
        let rule = slice.flow_rule().map(|(value, mask)| format!(" (dst-port {value} mask {mask:#06x})"));
        format!("{}-{}{}", slice.first, slice.last, rule.unwrap_or_default())
    };
    let slices: Vec<_> = slices.iter().map(told).collect();
    format!("shard {}: media {}", shard.0, slices.join(", "))
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
    let listeners = listeners(realm);
    let own = realm.per_shard.map_or_else(String::new, |port| format!(", shards' own from {port}"));
    let tls = realm.per_shard_tls.map_or_else(String::new, |port| format!(" (TLS {port})"));
    let mgcp = realm.per_shard_mgcp.map_or_else(String::new, |port| format!(" (MGCP {port})"));
    let lent = realm
        .gateways
        .map_or_else(String::new, |ports| format!(", gateways' own {}-{}", ports.first, ports.last));
    let large = if realm.large == Large::Tcp { ", large requests by TCP" } else { "" };
    let media = realm.media;
    let pairs = media.slice(shards, ShardId(0)).len() / 2;
    format!(
        "{side} realm \"{}\": {}{told}, {listeners}{own}{tls}{mgcp}{lent}{large}, media {}-{} ({pairs} pairs a shard)",
        realm.name, realm.address, media.first, media.last,
    )
}

/// The listeners of each protocol that the realm has one for.
fn listeners(realm: &Realm) -> String {
    let of = |proto: Proto| {
        let services = realm.services().filter(move |(spoken, ..)| *spoken == proto);
        services.map(|(_, transport, port)| listener(&(transport, port))).collect::<Vec<_>>()
    };
    let each = Proto::ALL.into_iter().map(|proto| (proto, of(proto)));
    let told = each.filter(|(proto, all)| *proto == Proto::Sip || !all.is_empty());
    told.map(|(proto, all)| format!("{} {}", proto.label(), all.join(" "))).collect::<Vec<_>>().join(", ")
}

/// A listener in a few letters.
pub(crate) fn listener((transport, port): &(Transport, u16)) -> String {
    format!("{}/{port}", transport.token().to_ascii_lowercase())
}

/// Certificates and authorities.
pub(crate) fn tls(tls: &RealmTls) -> String {
    let certificates: Vec<_> = tls.certificates.iter().map(|(file, _)| file.display().to_string()).collect();
    let clients = tls.clients.as_ref();
    let clients = clients.map_or_else(String::new, |file| format!(", clients of {}", file.display()));
    let roots = tls.roots.as_ref().map_or_else(|| "system".to_owned(), |file| file.display().to_string());
    format!("{}{clients}, authorities: {roots}", certificates.join(", "))
}

fn softswitch_line(mapping: &Mapping, softswitch: &Softswitch, targets: &[Target]) -> String {
    let Softswitch { name, proto, probe, patience, domain, .. } = softswitch;
    let kind = match proto {
        Proto::Sip => "softswitch",
        Proto::Mgcp => "call agent",
        Proto::H248 => "controller",
    };
    let realm = realm_name(mapping, softswitch.realm);
    let domain = domain.as_ref().map_or_else(String::new, |domain| format!(", domain {domain}"));
    let probe = probe.map_or_else(String::new, |probe| format!(", probed each {} s", probe.as_secs()));
    let patience = match *patience == Softswitch::PATIENCE {
        true => String::new(),
        false => format!(", patience {} s", patience.as_secs()),
    };
    format!("{kind} \"{name}\": {} through \"{realm}\"{domain}{probe}{patience}", list(targets))
}

fn list<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn route_line(mapping: &Mapping, route: &Route) -> String {
    let softswitch = mapping.softswitches.get(route.softswitch).map_or("?", |softswitch| &softswitch.name);
    let domains = match route.domains.is_empty() {
        true => "any domain".to_owned(),
        false => route.domains.join(", "),
    };
    let access = realm_name(mapping, route.access);
    format!("mapping: \"{access}\" -> \"{softswitch}\" for {domains}{}", registration(&route.registration))
}

/// What differs from passing registrations on as they come.
fn registration(registration: &Registration) -> String {
    let Registration { way, shortest, terminal, registrar, absorb, survive, deregister } = *registration;
    let mut parts = String::new();
    let mut told = |is: bool, text: &str| parts.push_str(if is { text } else { "" });
    told(way == Way::Path, ", way back by Path");
    told(!terminal.is_zero(), &format!(", terminals register each {} s", terminal.as_secs()));
    told(!registrar.is_zero(), &format!(", with the registrar for {} s", registrar.as_secs()));
    told(!shortest.is_zero(), &format!(", never less than {} s", shortest.as_secs()));
    told(absorb, ", refreshes absorbed");
    told(survive, ", registrations survive the registrar");
    told(deregister, ", dead terminals are deregistered");
    parts
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
            shard 0: media 16384-24575 (dst-port 16384 mask 0xe000)\n\
            shard 1: media 24576-32767 (dst-port 24576 mask 0xe000)\n\
            access realm \"access\": 127.0.1.1, sip udp/5060, media 16384-32767 (4096 pairs a shard)\n\
            core realm \"core\": 127.0.2.1, sip udp/5060, shards' own from 6000, media 16384-32767 (4096 pairs a shard)\n\
            softswitch \"softswitch\": 127.0.3.1:5060 through \"core\", domain example.net\n\
            mapping: \"access\" -> \"softswitch\" for any domain\n\
            admin: http://127.0.0.1:9060/\n";
        assert_eq!(Summary(&loaded).to_string(), expected);
    }

    #[test]
    fn tells_transports_certificates_priorities_and_registration() {
        let text = include_str!("../config/tls.ron");
        let loaded = Loader::new(Machine::with_cores(2)).parse(text, "x").expect("it is sound");
        let expected = "shards: 2 on core 0, 1\n\
            shard 0: media 16384-24575 (dst-port 16384 mask 0xe000)\n\
            shard 1: media 24576-32767 (dst-port 24576 mask 0xe000)\n\
            access realm \"access\": 198.51.100.10, sip udp/5060 tcp/5060 tls/5061 wss/443, media 16384-32767 (4096 pairs a shard)\n\
            tls of \"access\": sip.example.net.pem, voice.example.org.pem, authorities: system\n\
            core realm \"core\": 10.0.0.10, sip udp/5060 tls/5061, shards' own from 6000 (TLS 6100), large requests by TCP, \
            media 16384-32767 (4096 pairs a shard)\n\
            tls of \"core\": core.pem, clients of operator-ca.pem, authorities: operator-ca.pem\n\
            softswitch \"sx\": sips:10.0.0.20 (sx-1.example.net), sips:10.0.0.21 (sx-2.example.net) priority 1 weight 1 \
            through \"core\", domain example.net, probed each 5 s, patience 2 s\n\
            softswitch \"trunk\": sip:trunk.example.net;transport=tls through \"core\", probed each 10 s\n\
            mapping: \"access\" -> \"trunk\" for trunk.example.net\n\
            mapping: \"access\" -> \"sx\" for any domain, way back by Path, terminals register each 120 s, \
            with the registrar for 3600 s, refreshes absorbed, registrations survive the registrar\n\
            name servers: 10.0.0.53:53\n\
            admin: http://127.0.0.1:9060/\n";
        assert_eq!(Summary(&loaded).to_string(), expected);
    }
}
