//! Checks of realms: addresses, listeners, media ports, and that no two of them meet.

use super::check::Check;
use super::merge::Item;
use super::place::At;
use super::problem::Place;
use super::raw::{RawListener, RawMethod, RawRealm, RawSide};
use portolan_shards::limits::PORT_RESERVE;
use portolan_shards::realm::{KeepaliveMethod, PortRange, Realm};
use portolan_shards::types::{RealmId, ShardId, Side, Transport};
use std::net::IpAddr;

/// Ports that one realm claims on its address.
struct Claim<'a> {
    address: IpAddr,
    first: u16,
    last: u16,
    what: String,
    at: At<'a>,
}

/// Check all realms. The result has the realms that are sound in themselves, in order, `None` for the others;
/// their numbers are given later.
pub(super) fn realms(check: &mut Check<'_>, items: &[Item<'_, RawRealm>], shards: u16) -> Vec<Option<Realm>> {
    check.names("realm", items.iter().map(|item| (item.name.as_str(), item.at)));
    let realms: Vec<_> = items.iter().map(|item| realm(check, item, shards)).collect();
    let claims: Vec<_> =
        items.iter().zip(&realms).flat_map(|(item, realm)| claims(item, realm.as_ref(), shards)).collect();
    overlaps(check, &claims);
    realms
}

fn realm(check: &mut Check<'_>, item: &Item<'_, RawRealm>, shards: u16) -> Option<Realm> {
    let (raw, at) = (&item.raw, item.at);
    let address = check.address(at.field("address"), &raw.address);
    let advertised = match &raw.advertised {
        Some(text) => check.address(at.field("advertised"), text),
        None => address,
    };
    same_family(check, at, address, advertised);
    let media = media(check, at.field("media"), raw.media, shards);
    listeners(check, at, raw);
    match raw.side {
        RawSide::Access => access_only(check, at, raw),
        RawSide::Core => core_only(check, at, raw, shards),
    }
    Some(Realm {
        advertised: advertised?,
        sip: raw.sip.iter().map(|&RawListener::Udp(port)| (Transport::Udp, port)).collect(),
        per_shard: raw.per_shard,
        learn_net: raw.learn_net.unwrap_or(false),
        keepalive: method(raw.keepalive),
        ..Realm::new(RealmId::default(), &item.name, side(raw.side), address?, media?)
    })
}

fn same_family(check: &mut Check<'_>, at: At<'_>, address: Option<IpAddr>, advertised: Option<IpAddr>) {
    if let (Some(bound), Some(told)) = (address, advertised)
        && bound.is_ipv4() != told.is_ipv4()
    {
        let hint = "the advertised address is a 1:1 NAT's outside of `address`: both IPv4 or both IPv6";
        check.error(at.field("advertised"), format!("{told} and {bound} are of different families"), hint);
    }
}

fn listeners(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm) {
    for (index, &RawListener::Udp(port)) in raw.sip.iter().enumerate() {
        if port == 0 {
            check.error(at.field("sip").nth(index), "a listener needs a port", "SIP's own is `Udp(5060)`");
        }
    }
}

fn access_only(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm) {
    if raw.sip.is_empty() {
        let hint = "add `sip: [Udp(5060)]`";
        check.error(at.field("sip"), "no terminal can reach an access realm without a listener", hint);
    }
    if raw.per_shard.is_some() {
        let hint = "remove it: all shards share an access realm's listeners";
        check.error(at.field("per_shard"), "`per_shard` belongs to core realms", hint);
    }
}

fn core_only(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm, shards: u16) {
    if raw.learn_net.is_some() {
        let hint = "remove it: a core realm's peers are not behind NAT";
        check.error(at.field("learn_net"), "`learn_net` belongs to access realms", hint);
    }
    if raw.keepalive.is_some() {
        let hint = "remove it: only terminals' NAT mappings are kept alive";
        check.error(at.field("keepalive"), "`keepalive` belongs to access realms", hint);
    }
    match raw.per_shard {
        None => {
            let hint = format!("add `per_shard: 6000`: shard n listens on 6000+n ({shards} ports)");
            check.error_at_key(at, "a core realm needs `per_shard`, the first shard's own port", hint);
        }
        Some(0) => {
            check.error(at.field("per_shard"), "`per_shard` cannot be 0", "for example `per_shard: 6000`");
        }
        Some(first) if u32::from(first) + u32::from(shards) - 1 > u32::from(u16::MAX) => {
            let hint = format!("at most {} for {shards} shards", u32::from(u16::MAX) + 1 - u32::from(shards));
            check.error(
                at.field("per_shard"),
                format!("{first} and {shards} shards go beyond port 65535"),
                hint,
            );
        }
        Some(_) => {}
    }
}

fn media(check: &mut Check<'_>, at: At<'_>, (first, last): (u16, u16), shards: u16) -> Option<PortRange> {
    if first > last {
        check.error(
            at,
            format!("media ports {first} to {last} run backwards"),
            format!("`media: ({last}, {first})`?"),
        );
        return None;
    }
    if first < 1024 {
        check.error(at.nth(0), "media ports start at 1024 or above", "for example `media: (20000, 39999)`");
        return None;
    }
    if first % 2 != 0 || last % 2 != 1 {
        let hint = format!("`media: ({}, {})`: RTP takes the even port, RTCP the next", first & !1, last | 1);
        check.error(at, "media ports begin with an even and end with an odd port", hint);
        return None;
    }
    let range = PortRange { first, last };
    let pairs = usize::from(last - first).div_ceil(2) / usize::from(shards.max(1));
    if pairs < 2 * PORT_RESERVE {
        let need = 2 * PORT_RESERVE * 2 * usize::from(shards);
        let hint =
            format!("{} pairs a shard are the least: {need} ports for {shards} shards", 2 * PORT_RESERVE);
        check.error(at, format!("{} media ports are too few: {pairs} pairs a shard", range.len()), hint);
        return None;
    }
    if check.machine.may_lend(&(first..=last)) {
        let hint = format!("sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last}");
        check.warning(
            at,
            "the kernel may give these media ports to other sockets (ip_local_port_range)",
            hint,
        );
    }
    Some(range)
}

/// All that a sound realm binds on its address.
fn claims<'a>(item: &Item<'a, RawRealm>, realm: Option<&Realm>, shards: u16) -> Vec<Claim<'a>> {
    let Some(realm) = realm else { return Vec::new() };
    let claim = |first, last, what: &str, at| {
        let what = format!("{what} of \"{}\"", realm.name);
        Claim { address: realm.address, first, last, what, at }
    };
    let listener = |(index, &(_, port)): (usize, &(Transport, u16))| {
        claim(port, port, &format!("the listener {port}"), item.at.field("sip").nth(index))
    };
    let mut all: Vec<_> = realm.sip.iter().enumerate().map(listener).collect();
    if let Some(first) = realm.per_shard {
        let last = first.saturating_add(shards - 1);
        all.push(claim(
            first,
            last,
            &format!("the shards' own ports {first}-{last}"),
            item.at.field("per_shard"),
        ));
    }
    let first = realm.media.slice(shards, ShardId(0)).first;
    let last = realm.media.slice(shards, ShardId(shards - 1)).last;
    all.push(claim(first, last, &format!("the media ports {first}-{last}"), item.at.field("media")));
    all
}

fn overlaps(check: &mut Check<'_>, claims: &[Claim<'_>]) {
    for (index, later) in claims.iter().enumerate() {
        let meets =
            |c: &&Claim<'_>| c.address == later.address && c.first <= later.last && later.first <= c.last;
        if let Some(earlier) = claims[..index].iter().find(meets) {
            let place = Place::new(earlier.at.source, earlier.at.span());
            let hint = format!("the other is at {}:{}:{}", place.file, place.line, place.column);
            let message = format!("{} and {} collide on {}", later.what, earlier.what, later.address);
            check.error(later.at, message, hint);
        }
    }
}

const fn side(raw: RawSide) -> Side {
    match raw {
        RawSide::Access => Side::Access,
        RawSide::Core => Side::Core,
    }
}

const fn method(raw: Option<RawMethod>) -> KeepaliveMethod {
    match raw {
        None | Some(RawMethod::Options) => KeepaliveMethod::Options,
        Some(RawMethod::Crlf) => KeepaliveMethod::Crlf,
        Some(RawMethod::Off) => KeepaliveMethod::Off,
    }
}
