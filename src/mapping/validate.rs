//! The whole check of one generation, from texts to a mapping.

use super::check::Check;
use super::intern::Interner;
use super::machine::Machine;
use super::merge::{Merged, merge};
use super::place::{At, Source};
use super::problem::{Errors, Problem};
use super::raw::{RawDns, RawKeepalive, RawLimits, RawShards};
use super::realms::realms;
use super::routes::{Known, routes, softswitches};
use super::target::Target;
use super::tls::tls;
use crate::tls::RealmTls;
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Keepalive, Realm, Route, Softswitch};
use portolan_shards::types::RealmId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A week: no timer of the configuration is longer.
const WEEK_S: u64 = 7 * 24 * 3600;
/// More shards than any machine has cores for.
const MAX_SHARDS: u64 = 1024;

/// A configuration that passed every check.
pub(super) struct Valid {
    pub(super) cores: Vec<usize>,
    pub(super) shards: u16,
    pub(super) secret: Option<[u8; 32]>,
    pub(super) network: Network,
    pub(super) keepalive: Keepalive,
    pub(super) limits: Limits,
    pub(super) admin: Option<SocketAddr>,
    pub(super) dns: Vec<SocketAddr>,
    pub(super) warnings: Vec<Problem>,
}

/// Check everything. `interner` learns the realms even when another check fails: a number costs nothing.
pub(super) fn validate(
    main: &Source,
    fragments: &[Source],
    machine: &Machine,
    interner: &mut Interner,
) -> Result<Valid, Errors> {
    let merged = merge(main, fragments).map_err(Errors)?;
    let mut check = Check { machine, problems: Vec::new() };
    let cores = cores(&mut check, merged.root.field("shards"), &merged.main.shards);
    let shards = cores.len() as u16;
    let secret = merged.main.secret.as_deref();
    let secret = secret.and_then(|text| self::secret(&mut check, merged.root.field("secret"), text));
    let keepalive = keepalive(&mut check, merged.root.field("keepalive"), &merged.main.keepalive);
    let limits = limits(&mut check, merged.root.field("limits"), &merged.main.limits);
    let admin = merged.main.admin.listen.as_deref();
    let at = merged.root.field("admin").field("listen");
    let admin = admin.and_then(|text| check.socket(at, text, "127.0.0.1:9060"));
    let network = network(&mut check, &merged, shards, interner);
    let dns = dns(&mut check, merged.root.field("dns").field("servers"), &merged.main.dns);
    let warnings = check.finish()?;
    Ok(Valid { cores, shards, secret, network, keepalive, limits, admin, dns, warnings })
}

/// Realms, softswitches and what leads from one to the other.
pub(super) struct Network {
    pub(super) realms: Vec<Arc<Realm>>,
    pub(super) tls: Vec<(RealmId, RealmTls)>,
    pub(super) softswitches: Vec<Arc<Softswitch>>,
    /// Of each softswitch.
    pub(super) targets: Vec<Vec<Target>>,
    pub(super) routes: Vec<Route>,
}

fn network(check: &mut Check<'_>, merged: &Merged<'_>, shards: u16, interner: &mut Interner) -> Network {
    if merged.realms.is_empty() {
        let hint = "`portolan init` prints a configuration to start from";
        check.error(merged.root.field("realms"), "there is no realm: nothing would listen", hint);
    }
    let mut checked = realms(check, &merged.realms, shards);
    let mut tls = Vec::new();
    for (realm, item) in checked.iter_mut().zip(&merged.realms) {
        number(check, realm.as_mut(), item.at, interner);
        let files = self::tls(check, item);
        tls.extend(realm.as_ref().map(|realm| realm.id).zip(files));
    }
    let known = Known { raw: &merged.realms, checked: &checked };
    let softswitches = softswitches(check, &merged.softswitches, &known);
    let routes = routes(check, &merged.mappings, &known, &merged.softswitches);
    let (softswitches, targets) = softswitches
        .into_iter()
        .flatten()
        .map(|(softswitch, targets)| (Arc::new(softswitch), targets))
        .unzip();
    let realms = checked.into_iter().flatten().map(Arc::new).collect();
    Network { realms, tls, softswitches, targets, routes }
}

fn number(check: &mut Check<'_>, realm: Option<&mut Realm>, at: At<'_>, interner: &mut Interner) {
    let Some(realm) = realm else { return };
    match interner.intern(&realm.name, realm.side, realm.address, realm.media) {
        Some(id) => realm.id = id,
        None => check.error_at_key(at, "all realm numbers of this run are used", "restart Portolan"),
    }
}

/// One core for each shard; never empty.
fn cores(check: &mut Check<'_>, at: At<'_>, raw: &RawShards) -> Vec<usize> {
    let available = check.machine.cores.clone();
    match raw {
        RawShards::Auto => available,
        RawShards::Count(count) => {
            check.within(at, "a shard count", u64::from(*count), 1..=MAX_SHARDS);
            if usize::from(*count) > available.len() {
                let message = format!("{count} shards share {} cores", available.len());
                check.warning(at, message, "`shards: Auto` gives each core one shard");
            }
            available
                .iter()
                .copied()
                .cycle()
                .take(usize::from(*count).clamp(1, MAX_SHARDS as usize))
                .collect()
        }
        RawShards::Cores(cores) => {
            listed(check, at, cores, &available);
            if cores.is_empty() {
                available
            } else {
                cores.iter().copied().take(MAX_SHARDS as usize).collect()
            }
        }
    }
}

fn listed(check: &mut Check<'_>, at: At<'_>, cores: &[usize], available: &[usize]) {
    if cores.is_empty() || cores.len() as u64 > MAX_SHARDS {
        check.error(at, "the list of cores is empty or too long", format!("give 1 to {MAX_SHARDS} cores"));
    }
    for (index, core) in cores.iter().enumerate() {
        let at = at.nth(0).nth(index);
        if !available.contains(core) {
            let hint = format!("this process may use {available:?}");
            check.error(at, format!("there is no core {core}"), hint);
        } else if cores[..index].contains(core) {
            check.error(at, format!("core {core} is listed twice"), "one shard runs on one core");
        }
    }
}

fn secret(check: &mut Check<'_>, at: At<'_>, text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let octets: Option<Vec<u8>> = digits
        .filter(|digits| digits.len() == 64)
        .map(|digits| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    let secret = octets.and_then(|octets| octets.try_into().ok());
    if secret.is_none() {
        let hint = "64 hex digits (openssl rand -hex 32), or leave it out for a random one at each start";
        check.error(at, "the secret is not 64 hex digits", hint);
        check.mask_last();
    }
    secret
}

fn keepalive(check: &mut Check<'_>, at: At<'_>, raw: &RawKeepalive) -> Keepalive {
    check.within(at.field("interval_s"), "a keepalive interval", raw.interval_s, 1..=3600);
    check.within(at.field("misses"), "a number of misses", u64::from(raw.misses), 1..=100);
    if (121..=3600).contains(&raw.interval_s) {
        let hint = "many NATs forget a UDP mapping after 30 seconds; RFC 4787 allows it after 120";
        check.warning(at.field("interval_s"), "keepalives this rare let NAT mappings expire", hint);
    }
    let learn = at.field("learn_max_s");
    check.within(learn, "a longest interval to learn", raw.learn_max_s, 0..=3600);
    if (1..=raw.interval_s).contains(&raw.learn_max_s) {
        let hint =
            "it is the longest that `interval_s` may grow to behind a NAT that allows it; 0 learns nothing";
        check.error(learn, "`learn_max_s` is not longer than `interval_s`", hint);
    }
    Keepalive {
        interval: Duration::from_secs(raw.interval_s),
        misses: raw.misses,
        learn_max: Duration::from_secs(raw.learn_max_s),
    }
}

fn dns(check: &mut Check<'_>, at: At<'_>, raw: &RawDns) -> Vec<SocketAddr> {
    let each = raw.servers.iter().enumerate();
    each.filter_map(|(n, text)| check.socket(at.nth(n), text, "127.0.0.1:53")).collect()
}

fn limits(check: &mut Check<'_>, at: At<'_>, raw: &RawLimits) -> Limits {
    let default = Limits::default();
    let mut count = |name: &str, value: Option<usize>, default: usize| {
        let value = value.unwrap_or(default);
        check.within(at.field(name), &format!("`{name}`"), value as u64, 1..=100_000_000);
        value
    };
    let sessions = count("sessions", raw.sessions, default.sessions);
    let bindings = count("bindings", raw.bindings, default.bindings);
    let contacts_per_aor = count("contacts_per_aor", raw.contacts_per_aor, default.contacts_per_aor);
    let transactions = count("transactions", raw.transactions, default.transactions);
    let tenth = (transactions / 10).max(1);
    let transactions_per_source = count("transactions_per_source", raw.transactions_per_source, tenth);
    let streams = count("streams", raw.streams, default.streams);
    let streams_per_source = count("streams_per_source", raw.streams_per_source, default.streams_per_source);
    let media_kbit = raw.media_kbit.unwrap_or(default.media_kbit);
    check.within(at.field("media_kbit"), "`media_kbit`", media_kbit, 0..=1_000_000_000);
    let batch = raw.batch_us.unwrap_or(default.batch.as_micros() as u64);
    check.within(at.field("batch_us"), "`batch_us`", batch, 0..=1000);
    let session_expires = raw.session_expires_s.unwrap_or(default.session_expires.as_secs());
    if session_expires != 0 {
        check.within(at.field("session_expires_s"), "`session_expires_s`", session_expires, 90..=WEEK_S);
    }
    let one_way = raw.one_way_s.unwrap_or(default.one_way.as_secs());
    if one_way != 0 {
        check.within(at.field("one_way_s"), "`one_way_s`", one_way, 2..=3_600);
    }
    let mut seconds = |name: &str, value: Option<u64>, default: Duration| {
        let value = value.unwrap_or(default.as_secs());
        check.within(at.field(name), &format!("`{name}`"), value, 1..=WEEK_S);
        Duration::from_secs(value)
    };
    Limits {
        sessions,
        bindings,
        contacts_per_aor,
        transactions,
        transactions_per_source,
        streams,
        streams_per_source,
        stream_idle: seconds("stream_idle_s", raw.stream_idle_s, default.stream_idle),
        media_idle: seconds("media_idle_s", raw.media_idle_s, default.media_idle),
        setup: seconds("setup_s", raw.setup_s, default.setup),
        one_way: Duration::from_secs(one_way),
        media_kbit,
        batch: Duration::from_micros(batch),
        session_expires: Duration::from_secs(session_expires),
        port_rest: seconds("port_rest_s", raw.port_rest_s, default.port_rest),
    }
}
