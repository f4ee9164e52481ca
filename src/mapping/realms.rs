//! Checks of realms: addresses, listeners, media ports, and that no two of them meet.

use super::check::Check;
use super::gateways::gateways;
use super::merge::Item;
use super::place::At;
use super::problem::Place;
use super::raw::{
    RawAuthentication, RawDscp, RawEarlyMedia, RawIce, RawLarge, RawListener, RawMethod, RawRealm,
    RawSecureMedia, RawSide,
};
use portolan_shards::limits::PORT_RESERVE;
use portolan_shards::realm::{
    Authentication, EarlyMedia, Ice, KeepaliveMethod, Large, Marking, PortRange, Realm, SecureMedia,
};
use portolan_shards::types::{RealmId, ShardId, Side, Transport};
use std::net::IpAddr;

/// Ports that one realm claims on its address.
struct Claim<'a> {
    address: IpAddr,
    ports: Ports,
    first: u16,
    last: u16,
    what: String,
    at: At<'a>,
}

/// Whose ports: the same number may be a UDP and a TCP port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    Udp,
    Tcp,
    Both,
}

impl Ports {
    fn of(transport: Transport) -> Self {
        if transport.is_reliable() { Self::Tcp } else { Self::Udp }
    }

    fn meet(self, other: Self) -> bool {
        self == other || self == Self::Both || other == Self::Both
    }
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
    let marking = marking(check, at.field("dscp"), raw.dscp);
    let gateways = gateways(check, at, raw, shards);
    match raw.side {
        RawSide::Access => access_only(check, at, raw),
        RawSide::Core => core_only(check, at, raw, shards),
    }
    Some(Realm {
        advertised: advertised?,
        sip: raw.sip.iter().map(|&raw| listener(raw)).collect(),
        mgcp: raw.mgcp.iter().map(|&raw| listener(raw).1).collect(),
        h248: raw.h248.iter().map(|&raw| listener(raw)).collect(),
        per_shard: raw.per_shard,
        per_shard_tls: raw.per_shard_tls,
        per_shard_mgcp: raw.per_shard_mgcp,
        gateways,
        large: large(raw.large),
        learn_net: raw.learn_net.unwrap_or(false),
        media_margin: margin(check, at, raw),
        keepalive: method(raw.keepalive),
        mask_call_id: raw.mask_call_id.unwrap_or(false),
        early_media: early_media(raw.early_media),
        secure_media: secure_media(raw.secure_media),
        authentication: authentication(raw.authentication),
        ice: ice(raw.ice),
        marking,
        ..Realm::new(RealmId::default(), &item.name, side(raw.side), address?, media?)
    })
}

fn margin(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm) -> u8 {
    let margin = raw.media_margin.unwrap_or(Realm::MEDIA_MARGIN);
    check.within(at.field("media_margin"), "`media_margin`", u64::from(margin), 2..=20);
    margin
}

fn same_family(check: &mut Check<'_>, at: At<'_>, address: Option<IpAddr>, advertised: Option<IpAddr>) {
    if let (Some(bound), Some(told)) = (address, advertised)
        && bound.is_ipv4() != told.is_ipv4()
    {
        let hint = "the advertised address is a 1:1 NAT's outside of `address`: both IPv4 or both IPv6";
        check.error(at.field("advertised"), format!("{told} and {bound} are of different families"), hint);
    }
}

fn marking(check: &mut Check<'_>, at: At<'_>, raw: RawDscp) -> Marking {
    for (name, value) in [("media", raw.media), ("signaling", raw.signaling)] {
        check.within(at.field(name), "a DSCP", u64::from(value), 0..=63);
    }
    Marking { media: raw.media, signaling: raw.signaling }
}

fn listeners(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm) {
    for (index, &raw) in raw.sip.iter().enumerate() {
        let (transport, port) = listener(raw);
        if port == 0 {
            let hint = format!("SIP's own is `{transport:?}({})`", transport.default_port());
            check.error(at.field("sip").nth(index), "a listener needs a port", hint);
        }
    }
}

fn access_only(check: &mut Check<'_>, at: At<'_>, raw: &RawRealm) {
    if raw.sip.is_empty() && raw.mgcp.is_empty() && raw.h248.is_empty() {
        let hint = "add `sip: [Udp(5060)]`";
        check.error(at.field("sip"), "no terminal can reach an access realm without a listener", hint);
    }
    for (name, given) in [("per_shard", raw.per_shard), ("per_shard_tls", raw.per_shard_tls)] {
        if given.is_some() {
            let hint = "remove it: all shards share an access realm's listeners";
            check.error(at.field(name), format!("`{name}` belongs to core realms"), hint);
        }
    }
    if raw.large.is_some() {
        let hint = "remove it: terminals are answered by the way they came";
        check.error(at.field("large"), "`large` belongs to core realms", hint);
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
    if raw.mask_call_id.is_some() {
        let hint = "set it in the access realms: it masks the Call-IDs of both sides";
        check.error(at.field("mask_call_id"), "`mask_call_id` belongs to access realms", hint);
    }
    let rules = [
        ("early_media", raw.early_media.is_some()),
        ("ice", raw.ice.is_some()),
        ("secure_media", raw.secure_media.is_some()),
        ("authentication", raw.authentication.is_some()),
    ];
    for (name, given) in rules {
        if given {
            let hint = "set it in the access realms: it holds for both ends of their calls";
            check.error(at.field(name), format!("`{name}` belongs to access realms"), hint);
        }
    }
    for (index, raw) in raw.sip.iter().enumerate() {
        if matches!(raw, RawListener::Ws(_) | RawListener::Wss(_)) {
            let hint = "remove it: only terminals come by WebSocket";
            check.error(at.field("sip").nth(index), "WebSocket belongs to access realms", hint);
        }
    }
    own_ports(check, at.field("per_shard"), "per_shard: 6000", raw.per_shard, shards);
    own_ports(check, at.field("per_shard_tls"), "per_shard_tls: 6100", raw.per_shard_tls, shards);
}

pub(super) fn own_ports(check: &mut Check<'_>, at: At<'_>, example: &str, first: Option<u16>, shards: u16) {
    let name = example.split(':').next().unwrap_or_default();
    match first {
        Some(0) => check.error(at, format!("`{name}` cannot be 0"), format!("for example `{example}`")),
        Some(first) if u32::from(first) + u32::from(shards) - 1 > u32::from(u16::MAX) => {
            let hint = format!("at most {} for {shards} shards", u32::from(u16::MAX) + 1 - u32::from(shards));
            check.error(at, format!("{first} and {shards} shards go beyond port 65535"), hint);
        }
        _ => {}
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
        check.error(at.nth(0), "media ports start at 1024 or above", "for example `media: (16384, 32767)`");
        return None;
    }
    if first % 2 != 0 || last % 2 != 1 {
        let hint = format!("`media: ({}, {})`: RTP takes the even port, RTCP the next", first & !1, last | 1);
        check.error(at, "media ports begin with an even and end with an odd port", hint);
        return None;
    }
    let range = PortRange { first, last };
    let pairs = range.slice(shards, ShardId(0)).len() / 2;
    if pairs < 2 * PORT_RESERVE {
        let hint = format!("{} pairs a shard are the least: {}", 2 * PORT_RESERVE, suggested(range, shards));
        check.error(at, format!("{} media ports are too few: {pairs} pairs a shard", range.len()), hint);
        return None;
    }
    unused(check, at, range, shards);
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

/// Slices are powers of two, each at a multiple of its length: name what that leaves over.
fn unused(check: &mut Check<'_>, at: At<'_>, range: PortRange, shards: u16) {
    let used = range.sliced(shards);
    let before = (range.first < used.first).then(|| format!("{}-{}", range.first, used.first - 1));
    let after = (used.last < range.last).then(|| format!("{}-{}", used.last + 1, range.last));
    let over: Vec<_> = before.into_iter().chain(after).collect();
    if !over.is_empty() {
        let len = range.slice(shards, ShardId(0)).len();
        let message =
            format!("media ports {} are unused: {shards} aligned slices of {len}", over.join(" and "));
        check.warning(at, message, suggested(range, shards));
    }
}

/// A range of about this length that slices leave nothing of.
fn suggested(range: PortRange, shards: u16) -> String {
    let shards = usize::from(shards.max(1));
    let least = (2 * PORT_RESERVE * 2).next_power_of_two();
    let most = (65_536 - 1024) / shards;
    let wanted = (range.len() / shards).max(least).min(most.max(2));
    let len = 1 << wanted.ilog2();
    let first = (usize::from(range.first) / len * len).min((65_536 - len * shards) / len * len);
    let first = if first < 1024 { 1024_usize.next_multiple_of(len) } else { first };
    format!("`media: ({first}, {})` gives each of {shards} shards {len} ports", first + len * shards - 1)
}

/// All that a sound realm binds on its address.
fn claims<'a>(item: &Item<'a, RawRealm>, realm: Option<&Realm>, shards: u16) -> Vec<Claim<'a>> {
    let Some(realm) = realm else { return Vec::new() };
    let claim = |ports, (first, last), what: String, at| {
        let what = format!("{what} of \"{}\"", realm.name);
        Claim { address: realm.address, ports, first, last, what, at }
    };
    let own = |ports, name: &str, first: Option<u16>| {
        let first = first?;
        let last = first.saturating_add(shards - 1);
        let what = format!("the shards' own ports {first}-{last}");
        Some(claim(ports, (first, last), what, item.at.field(name)))
    };
    let service = |name: &'static str, index: usize, transport: Transport, port: u16| {
        let what = format!("the listener {transport:?}({port})");
        claim(Ports::of(transport), (port, port), what, item.at.field(name).nth(index))
    };
    let mut all: Vec<_> = Vec::new();
    let sip = realm.sip.iter().map(|&listener| ("sip", listener)).enumerate();
    let mgcp = realm.mgcp.iter().map(|&port| ("mgcp", (Transport::Udp, port))).enumerate();
    let h248 = realm.h248.iter().map(|&listener| ("h248", listener)).enumerate();
    for (index, (name, (transport, port))) in sip.chain(mgcp).chain(h248) {
        all.push(service(name, index, transport, port));
    }
    all.extend(own(Ports::Both, "per_shard", realm.per_shard));
    all.extend(own(Ports::Tcp, "per_shard_tls", realm.per_shard_tls));
    all.extend(own(Ports::Udp, "per_shard_mgcp", realm.per_shard_mgcp));
    if let Some(PortRange { first, last }) = realm.gateways {
        let what = format!("the gateways' ports {first}-{last}");
        all.push(claim(Ports::Udp, (first, last), what, item.at.field("gateways")));
    }
    let PortRange { first, last } = realm.media.sliced(shards);
    let what = format!("the media ports {first}-{last}");
    all.push(claim(Ports::Udp, (first, last), what, item.at.field("media")));
    all
}

fn overlaps(check: &mut Check<'_>, claims: &[Claim<'_>]) {
    for (index, later) in claims.iter().enumerate() {
        let meets = |c: &&Claim<'_>| {
            let numbers = c.first <= later.last && later.first <= c.last;
            c.address == later.address && c.ports.meet(later.ports) && numbers
        };
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

pub(super) const fn listener(raw: RawListener) -> (Transport, u16) {
    match raw {
        RawListener::Udp(port) => (Transport::Udp, port),
        RawListener::Tcp(port) => (Transport::Tcp, port),
        RawListener::Tls(port) => (Transport::Tls, port),
        RawListener::Ws(port) => (Transport::Ws, port),
        RawListener::Wss(port) => (Transport::Wss, port),
    }
}

const fn large(raw: Option<RawLarge>) -> Large {
    match raw {
        None | Some(RawLarge::Udp) => Large::Udp,
        Some(RawLarge::Tcp) => Large::Tcp,
    }
}

const fn early_media(raw: Option<RawEarlyMedia>) -> EarlyMedia {
    match raw {
        None | Some(RawEarlyMedia::Pass) => EarlyMedia::Pass,
        Some(RawEarlyMedia::Backward) => EarlyMedia::Backward,
        Some(RawEarlyMedia::Block) => EarlyMedia::Block,
    }
}

const fn secure_media(raw: Option<RawSecureMedia>) -> SecureMedia {
    match raw {
        None | Some(RawSecureMedia::Pass) => SecureMedia::Pass,
        Some(RawSecureMedia::Refuse) => SecureMedia::Refuse,
    }
}

const fn authentication(raw: Option<RawAuthentication>) -> Authentication {
    match raw {
        None | Some(RawAuthentication::Refuse) => Authentication::Refuse,
        Some(RawAuthentication::Strip) => Authentication::Strip,
    }
}

const fn ice(raw: Option<RawIce>) -> Ice {
    match raw {
        None | Some(RawIce::Strip) => Ice::Strip,
        Some(RawIce::Keep) => Ice::Keep,
    }
}

const fn method(raw: Option<RawMethod>) -> KeepaliveMethod {
    match raw {
        None | Some(RawMethod::Options) => KeepaliveMethod::Options,
        Some(RawMethod::Crlf) => KeepaliveMethod::Crlf,
        Some(RawMethod::Off) => KeepaliveMethod::Off,
    }
}
