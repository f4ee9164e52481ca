//! Checks of softswitches and of the mappings that lead to them.

use super::check::Check;
use super::gateways;
use super::merge::Item;
use super::place::At;
use super::raw::{RawMapping, RawProtocol, RawRealm, RawRegistration, RawSide, RawSoftswitch, RawWay};
use super::syntax::choices;
use super::target::{Target, targets};
use ipnet::IpNet;
use portolan_shards::realm::{Realm, Registration, Route, Softswitch, Way};
use portolan_shards::types::{Proto, RealmId};
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// Seconds between two probes where several servers may be and nothing else is said.
const PROBE_S: u64 = 10;
/// A week, in seconds.
const WEEK_S: u64 = 7 * 24 * 3600;

/// Realms by name, checked or not: a mistake in a realm must not make all that name it look wrong.
pub(super) struct Known<'k, 'a> {
    pub(super) raw: &'k [Item<'a, RawRealm>],
    pub(super) checked: &'k [Option<Realm>],
}

impl Known<'_, '_> {
    /// The number of a realm, after checking that it exists and is on the right side.
    fn realm(&self, check: &mut Check<'_>, at: At<'_>, name: &str, side: RawSide) -> Option<&Realm> {
        let index = self.raw.iter().position(|item| item.name == name);
        let Some(index) = index else {
            let names: Vec<_> = self.raw.iter().map(|item| item.name.as_str()).collect();
            check.error(at, format!("there is no realm \"{name}\""), choices(name, &names));
            return None;
        };
        let found = self.raw[index].raw.side;
        if std::mem::discriminant(&found) != std::mem::discriminant(&side) {
            let hint = match side {
                RawSide::Access => "name the access realm where the terminals are",
                RawSide::Core => "a softswitch is reached through a core realm",
            };
            check.error(at, format!("the realm \"{name}\" is on the {found:?} side"), hint);
            return None;
        }
        self.checked[index].as_ref()
    }
}

/// Check all softswitches; sound ones in order, `None` for the others.
pub(super) fn softswitches(
    check: &mut Check<'_>,
    items: &[Item<'_, RawSoftswitch>],
    known: &Known<'_, '_>,
) -> Vec<Option<(Softswitch, Vec<Target>)>> {
    check.names("softswitch", items.iter().map(|item| (item.name.as_str(), item.at)));
    items.iter().map(|item| softswitch(check, item, known)).collect()
}

fn softswitch(
    check: &mut Check<'_>,
    item: &Item<'_, RawSoftswitch>,
    known: &Known<'_, '_>,
) -> Option<(Softswitch, Vec<Target>)> {
    let (raw, at) = (&item.raw, item.at);
    let realm = known.realm(check, at.field("realm"), &raw.realm, RawSide::Core);
    let proto = gateways::proto(raw.protocol);
    let targets = targets(check, at.field("targets"), &raw.targets, proto, realm);
    let each_source = raw.sources.iter().enumerate();
    let sources: Vec<_> =
        each_source.filter_map(|(n, text)| source(check, at.field("sources").nth(n), text)).collect();
    if let Some(domain) = &raw.domain {
        self::domain(check, at.field("domain"), domain);
    }
    let probe = probe(check, at.field("probe_s"), raw.probe_s, &targets).filter(|_| proto == Proto::Sip);
    let patience = raw.patience_s.unwrap_or(Softswitch::PATIENCE.as_secs());
    check.within(at.field("patience_s"), "a patience", patience, 1..=32);
    let patience = Duration::from_secs(patience);
    let domain = raw.domain.clone();
    let servers = targets.iter().filter_map(Target::server).collect();
    let overload = raw.overload;
    let bare = Softswitch::new(&item.name, realm?.id, servers);
    let softswitch = Softswitch { proto, sources, domain, probe, patience, overload, ..bare };
    Some((softswitch, targets))
}

/// A single address is not probed: there is no other to go to.
fn probe(check: &mut Check<'_>, at: At<'_>, given: Option<u64>, targets: &[Target]) -> Option<Duration> {
    let several = targets.len() > 1 || targets.iter().any(Target::is_name);
    let seconds = given.unwrap_or(if several { PROBE_S } else { 0 });
    check.within(at, "a probe interval", seconds, 0..=3600);
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn source(check: &mut Check<'_>, at: At<'_>, text: &str) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if parsed.is_none() {
        let hint = "write \"10.0.0.0/24\", or one address";
        check.error(at, format!("`{text}` is not a network prefix"), hint);
    }
    parsed
}

fn domain(check: &mut Check<'_>, at: At<'_>, text: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(plain) {
        check.error(
            at,
            format!("{text:?} is not a domain"),
            "for example \"example.net\", without \"sip:\" or user",
        );
    }
}

/// Check all mappings; `realms` must be checked ones.
pub(super) fn routes(
    check: &mut Check<'_>,
    items: &[Item<'_, RawMapping>],
    known: &Known<'_, '_>,
    softswitches: &[Item<'_, RawSoftswitch>],
) -> Vec<Route> {
    let routes: Vec<_> = items.iter().filter_map(|item| route(check, item, known, softswitches)).collect();
    unreachable(check, items, softswitches);
    unserved(check, items, known);
    routes
}

fn route(
    check: &mut Check<'_>,
    item: &Item<'_, RawMapping>,
    known: &Known<'_, '_>,
    softswitches: &[Item<'_, RawSoftswitch>],
) -> Option<Route> {
    let (raw, at) = (&item.raw, item.at);
    let access: Option<RealmId> =
        known.realm(check, at.field("access"), &raw.access, RawSide::Access).map(|realm| realm.id);
    let softswitch = softswitches.iter().position(|candidate| candidate.name == raw.softswitch);
    if softswitch.is_none() {
        let names: Vec<_> = softswitches.iter().map(|candidate| candidate.name.as_str()).collect();
        let hint = choices(&raw.softswitch, &names);
        check.error(at.field("softswitch"), format!("there is no softswitch \"{}\"", raw.softswitch), hint);
    }
    for (n, text) in raw.domains.iter().enumerate() {
        domain(check, at.field("domains").nth(n), text);
    }
    let registration = registration(check, at.field("registration"), &raw.registration);
    Some(Route { access: access?, softswitch: softswitch?, domains: raw.domains.clone(), registration })
}

fn registration(check: &mut Check<'_>, at: At<'_>, raw: &RawRegistration) -> Registration {
    check.within(at.field("terminal_s"), "a terminal's lifetime", raw.terminal_s, 0..=WEEK_S);
    check.within(at.field("registrar_s"), "a registrar's lifetime", raw.registrar_s, 0..=WEEK_S);
    check.within(at.field("shortest_s"), "the shortest lifetime", raw.shortest_s, 0..=3600);
    if (1..30).contains(&raw.terminal_s) {
        let hint = "0 leaves it to the registrar; keepalives need no registration";
        check.warning(at.field("terminal_s"), "terminals will register all the time", hint);
    }
    if raw.absorb && raw.terminal_s == 0 && raw.registrar_s == 0 {
        let hint = "add `registrar_s: 3600` or `terminal_s: 120`: refreshes between two of the registrar's are absorbed";
        check.warning(at.field("absorb"), "both lifetimes are the same: nothing can be absorbed", hint);
    }
    Registration {
        way: match raw.way {
            RawWay::Contact => Way::Contact,
            RawWay::Path => Way::Path,
        },
        terminal: Duration::from_secs(raw.terminal_s),
        registrar: Duration::from_secs(raw.registrar_s),
        shortest: Duration::from_secs(raw.shortest_s),
        absorb: raw.absorb,
        survive: raw.survive,
        deregister: raw.deregister,
    }
}

/// First match wins: what an earlier mapping takes whole is never asked of a later one.
fn unreachable(
    check: &mut Check<'_>,
    items: &[Item<'_, RawMapping>],
    softswitches: &[Item<'_, RawSoftswitch>],
) {
    let spoken = |name: &str| {
        let named = softswitches.iter().find(|item| item.name == name);
        named.map_or(RawProtocol::Sip, |item| item.raw.protocol)
    };
    let mut taken: HashSet<((&str, RawProtocol), String)> = HashSet::new();
    for Item { raw, at, .. } in items {
        let access = (raw.access.as_str(), spoken(&raw.softswitch));
        if taken.contains(&(access, String::new())) {
            let hint = "remove it, or put it before the one without `domains`";
            check.error(*at, format!("never used: an earlier mapping takes all of \"{}\"", raw.access), hint);
            continue;
        }
        if raw.domains.is_empty() {
            taken.insert((access, String::new()));
        }
        for (n, domain) in raw.domains.iter().enumerate() {
            if !taken.insert((access, domain.to_ascii_lowercase())) {
                let message = format!("the domain \"{domain}\" of \"{}\" is mapped twice", raw.access);
                check.error(at.field("domains").nth(n), message, "keep the first: it wins");
            }
        }
    }
}

fn unserved(check: &mut Check<'_>, items: &[Item<'_, RawMapping>], known: &Known<'_, '_>) {
    for realm in known.raw.iter().filter(|realm| matches!(realm.raw.side, RawSide::Access)) {
        if !items.iter().any(|item| item.raw.access == realm.name) {
            let hint = format!("add `(access: \"{}\", softswitch: \"...\")` to `mappings`", realm.name);
            check.warning_at_key(realm.at, format!("nobody serves the realm \"{}\"", realm.name), hint);
        }
    }
}
