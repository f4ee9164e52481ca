//! Where everybody is: the addresses of a plan, its network, and Portolan's configuration.

use super::nat::Nat;
use super::net::{Host, Link, NatId, Net, Zone};
use super::plan::{Change, Plan, part};
use crate::limits::Limits;
use crate::realm::{Keepalive, Mapping, PortRange, Realm, Route, Softswitch};
use crate::types::{Proto, RealmId, Side, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Portolan, access side.
pub const ACCESS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
/// Portolan, access side of the IPv6 realm.
pub const ACCESS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 10));
/// Portolan, core side.
pub const CORE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10));
/// The softswitch.
pub const SOFTSWITCH: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 20));
/// Where SIP is spoken, and where strangers send from.
pub const SIP: u16 = 5060;

/// Portolan itself, on all its addresses.
pub const PORTOLAN: Host = Host(0);
/// The softswitch.
pub const SWITCH: Host = Host(1);
const FIRST_PHONE: usize = 2;
const FIRST_ATTACKER: usize = 1_000;

/// Who a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// All shards.
    Portolan,
    /// The softswitch.
    Softswitch,
    /// The terminal of this index.
    Phone(usize),
    /// The attacker of this index.
    Attacker(usize),
}

/// Who is `host`?
pub const fn party(host: Host) -> Party {
    match host.0 {
        0 => Party::Portolan,
        1 => Party::Softswitch,
        FIRST_ATTACKER.. => Party::Attacker(host.0 - FIRST_ATTACKER),
        _ => Party::Phone(host.0 - FIRST_PHONE),
    }
}

/// The network of a plan, and where everybody is attached.
#[derive(Debug)]
pub struct Topology {
    /// The network itself.
    pub net: Net,
    /// The internet.
    pub internet: Zone,
    /// The network of the softswitch.
    pub core: Zone,
    /// Each terminal's zone and own address.
    pub phones: Vec<(Zone, SocketAddr)>,
    /// Each attacker's address.
    pub attackers: Vec<IpAddr>,
    /// The NATs of each site.
    pub nats: Vec<Vec<NatId>>,
}

impl Topology {
    /// Build the network of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let mut net = Net::new(part(plan.seed, "net"));
        let (internet, core) = (net.zone(), net.zone());
        net.attach(internet, ACCESS, PORTOLAN, Link::default());
        net.attach(internet, ACCESS6, PORTOLAN, Link::default());
        net.attach(core, CORE, PORTOLAN, Link::default());
        net.attach(core, SOFTSWITCH, SWITCH, plan.core);
        let attackers: Vec<IpAddr> = (0..plan.attackers).map(|n| ip([192, 0, 2, 66 + n as u8])).collect();
        for (n, &address) in attackers.iter().enumerate() {
            net.attach(internet, address, Host(FIRST_ATTACKER + n), Link::default());
        }
        let mut topology = Self { net, internet, core, phones: Vec::new(), attackers, nats: Vec::new() };
        topology.settle(plan);
        topology
    }

    fn settle(&mut self, plan: &Plan) {
        let mut seeds = part(plan.seed, "nats");
        let mut zones = Vec::new();
        for (index, site) in plan.sites.iter().enumerate() {
            let (mut zone, mut link, mut nats) = (self.internet, site.link, Vec::new());
            for (depth, nat) in site.nats.iter().enumerate() {
                let outer = if depth == 0 { [203, 0, 113, 1 + index as u8] } else { [100, 64, 0, 9] };
                let mut seed = [0; 32];
                seeds.fill(&mut seed);
                let nat = Nat::with(nat.mapping, nat.filtering, ip(outer), nat.expiry, seed);
                let (id, inside) = self.net.nat(nat, zone, link);
                nats.push(id);
                (zone, link) = (inside, Link::default());
            }
            self.nats.push(nats);
            zones.push((zone, link));
        }
        for (index, phone) in plan.phones.iter().enumerate() {
            let (zone, link) = zones[phone.site];
            let address = address(plan, index);
            self.net.attach(zone, address, Host(FIRST_PHONE + index), link);
            self.phones.push((zone, SocketAddr::new(address, plan.speech.access_port())));
        }
    }
}

/// A terminal's own address. Behind a NAT, the sites all use the same few.
fn address(plan: &Plan, index: usize) -> IpAddr {
    let phone = &plan.phones[index];
    let site = &plan.sites[phone.site];
    let nth = plan.phones[..index].iter().filter(|other| other.site == phone.site).count() as u8;
    if site.ipv6 {
        return IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, phone.site as u16, u16::from(nth) + 1));
    }
    if site.nats.is_empty() {
        return ip([198, 51, 100, 100 + 10 * phone.site as u8 + nth]);
    }
    ip([192, 168, 1, 10 + nth])
}

const fn ip(octets: [u8; 4]) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
}

/// Portolan's first configuration.
pub fn mapping(plan: &Plan) -> Mapping {
    let mut secret = [0; 32];
    part(plan.seed, "secret").fill(&mut secret);
    let proto = plan.speech.proto();
    let access = |id, name: &str, address| Realm {
        sip: if proto == Proto::Sip { vec![(Transport::Udp, SIP)] } else { Vec::new() },
        mgcp: if proto == Proto::Mgcp { vec![plan.speech.access_port()] } else { Vec::new() },
        h248: if proto == Proto::H248 {
            vec![(Transport::Udp, plan.speech.access_port())]
        } else {
            Vec::new()
        },
        keepalive: plan.keepalive,
        ..Realm::new(RealmId(id), name, Side::Access, address, PortRange { first: 20_480, last: 21_503 })
    };
    let core = Realm {
        side: Side::Core,
        per_shard: (proto == Proto::Sip).then_some(6_000),
        per_shard_mgcp: (proto == Proto::Mgcp).then_some(6_200),
        h248: Vec::new(),
        gateways: (proto == Proto::H248).then_some(PortRange { first: 14_000, last: 14_999 }),
        ..access(1, "core", CORE)
    };
    let mut realms = vec![Arc::new(access(0, "access", ACCESS)), Arc::new(core)];
    let mut routes = vec![Route::all(RealmId(0), 0)];
    if plan.ipv6 {
        realms.push(Arc::new(access(2, "access6", ACCESS6)));
        routes.push(Route::all(RealmId(2), 0));
    }
    let server = SocketAddr::new(SOFTSWITCH, plan.speech.core_port());
    let softswitch = Softswitch {
        proto,
        domain: Some("example.net".into()),
        ..Softswitch::new("sx", RealmId(1), vec![crate::realm::Server::udp(server)])
    };
    Mapping {
        generation: 1,
        shards: plan.shards,
        secret,
        realms,
        softswitches: vec![Arc::new(softswitch)],
        routes,
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits { media_idle: Duration::from_secs(60), ..Limits::default() },
    }
}

/// The configuration after a change.
pub fn changed(before: &Mapping, change: Change) -> Mapping {
    let mut after = Mapping { generation: before.generation + 1, ..before.clone() };
    match change {
        Change::Timers => {
            after.keepalive =
                Keepalive { interval: Duration::from_secs(20), misses: 2, learn_max: Duration::ZERO };
            after.limits.media_idle = Duration::from_secs(90);
        }
        Change::Ports => renumber(&mut after, PortRange { first: 30_720, last: 31_743 }),
        Change::Grow => renumber(&mut after, PortRange { first: 20_480, last: 22_527 }),
    }
    after
}

/// The first access realm with other media ports: for a shard, that is another realm on the same address.
fn renumber(mapping: &mut Mapping, media: PortRange) {
    let id = RealmId(7);
    mapping.realms[0] = Arc::new(Realm { id, media, ..Realm::clone(&mapping.realms[0]) });
    mapping.routes[0].access = id;
}
