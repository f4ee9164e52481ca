//! The validated mapping: which access realm meets which core realm through which softswitch.
//!
//! The process parses RON into this; a shard only reads it. A session keeps the `Arc<Mapping>` that it was opened
//! under, so a reload touches new sessions only.

use crate::limits::Limits;
pub use crate::types::PortRange;
use crate::types::{Proto, RealmId, ShardId, Side, Transport};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One generation of the configuration.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Counts reloads; 1 is the first.
    pub generation: u64,
    /// How many shards share the port ranges.
    pub shards: u16,
    /// Seals labels and keys the dispatch hash. The same on every shard and over reloads.
    pub secret: [u8; 32],
    /// All realms, access and core.
    pub realms: Vec<Arc<Realm>>,
    /// All softswitches.
    pub softswitches: Vec<Arc<Softswitch>>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// How NAT mappings are kept alive.
    pub keepalive: Keepalive,
    /// What a shard may hold.
    pub limits: Limits,
}

/// A network as Portolan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Stable over reloads.
    pub id: RealmId,
    /// The name in the configuration.
    pub name: String,
    /// Terminals or softswitches.
    pub side: Side,
    /// The address that sockets bind.
    pub address: IpAddr,
    /// The address that peers are told; the same as `address` unless Portolan itself is behind a 1:1 NAT.
    pub advertised: IpAddr,
    /// Shared signaling listeners (every shard binds each with SO_REUSEPORT).
    pub sip: Vec<(Transport, u16)>,
    /// The same for MGCP (UDP).
    pub mgcp: Vec<u16>,
    /// The same for H.248, text and binary alike.
    pub h248: Vec<(Transport, u16)>,
    /// Core realms: the UDP and TCP signaling port of shard 0; shard n has this plus n.
    pub per_shard: Option<u16>,
    /// Core realms: the TLS port of shard 0; shard n has this plus n. Needed where a softswitch is reached by TLS.
    pub per_shard_tls: Option<u16>,
    /// Core realms: the MGCP port of shard 0; shard n has this plus n. Needed where a call agent is reached.
    pub per_shard_mgcp: Option<u16>,
    /// Core realms: ports of which each H.248 gateway is lent one, so that its controller can tell it from the others by
    /// its address. Needed where a controller is reached, by TCP too: there the port is the gateway's name.
    pub gateways: Option<PortRange>,
    /// Requests that are too large for a datagram (RFC 3261 section 18.1.1) toward softswitches of this realm.
    pub large: Large,
    /// First and last media port, shared by all shards.
    pub media: PortRange,
    /// Access realms: also accept media from the signaling source's /24 (IPv6 /64) after a longer proof (rank 2).
    pub learn_net: bool,
    /// How many times the negotiated rate of a stream may arrive from this realm; at least 1.
    pub media_margin: u8,
    /// Access realms: keepalive by OPTIONS, by CRLF, or not at all; `Off` holds for gateways' audits too.
    pub keepalive: KeepaliveMethod,
    /// Access realms: terminals and softswitches see each other's Call-IDs sealed.
    pub mask_call_id: bool,
    /// Access realms: media before a call is answered.
    pub early_media: EarlyMedia,
    /// Access realms: media that is ciphered end to end.
    pub secure_media: SecureMedia,
    /// Access realms: ICE between a terminal and what it talks to.
    pub ice: Ice,
    /// Access realms: H.248 messages that are signed.
    pub authentication: Authentication,
    /// How packets to this network are marked.
    pub marking: Marking,
}

impl Realm {
    /// Three times the negotiated rate: room for a packet time of half the announced one, for the events and the
    /// redundancy that phones send beside it, and for clocks that differ.
    pub const MEDIA_MARGIN: u8 = 3;

    /// A realm of this name and place with nothing said but what must be: no listener, no option.
    pub fn new(id: RealmId, name: &str, side: Side, address: IpAddr, media: PortRange) -> Self {
        Self {
            id,
            name: name.to_owned(),
            side,
            address,
            advertised: address,
            sip: Vec::new(),
            mgcp: Vec::new(),
            h248: Vec::new(),
            per_shard: None,
            per_shard_tls: None,
            per_shard_mgcp: None,
            gateways: None,
            large: Large::default(),
            media,
            learn_net: false,
            media_margin: Self::MEDIA_MARGIN,
            keepalive: KeepaliveMethod::Options,
            mask_call_id: false,
            early_media: EarlyMedia::default(),
            secure_media: SecureMedia::default(),
            ice: Ice::default(),
            authentication: Authentication::default(),
            marking: Marking::default(),
        }
    }

    /// The address that the given shard's answers come home to (core realms).
    pub fn home(&self, shard: ShardId, transport: Transport) -> Option<SocketAddr> {
        let base = if transport.is_secure() { self.per_shard_tls } else { self.per_shard };
        base.map(|base| SocketAddr::new(self.address, base + shard.0))
    }

    /// The address that a call agent's answers to the given shard come home to (core realms).
    pub fn home_mgcp(&self, shard: ShardId) -> Option<SocketAddr> {
        self.per_shard_mgcp.map(|base| SocketAddr::new(self.address, base + shard.0))
    }

    /// Is this an address that the given shard of so many may lend to an H.248 gateway (core realms)?
    pub fn lends(&self, shards: u16, shard: ShardId, home: SocketAddr) -> bool {
        let share = self.gateways.map(|ports| ports.share(shards, shard));
        home.ip() == self.address && share.is_some_and(|share| share.contains(&home.port()))
    }

    /// The shared listeners of all protocols.
    pub fn services(&self) -> impl Iterator<Item = (Proto, Transport, u16)> {
        let sip = self.sip.iter().map(|&(transport, port)| (Proto::Sip, transport, port));
        let mgcp = self.mgcp.iter().map(|&port| (Proto::Mgcp, Transport::Udp, port));
        let h248 = self.h248.iter().map(|&(transport, port)| (Proto::H248, transport, port));
        sip.chain(mgcp).chain(h248)
    }

    /// Is this one of the shared listeners?
    pub fn listens(&self, transport: Transport, port: u16) -> bool {
        self.services().any(|(_, by, at)| (by, at) == (transport, port))
    }

    /// The first shared signaling address, as bound.
    pub fn shared(&self) -> Option<SocketAddr> {
        self.sip.first().map(|&(_, port)| SocketAddr::new(self.address, port))
    }
}

/// Differentiated services code points (RFC 2474) of a realm's packets, 0 to 63; 0: best effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marking {
    /// RTP, RTCP and what else media sockets send.
    pub media: u8,
    /// SIP, MGCP and H.248, by datagrams and by connections.
    pub signaling: u8,
}

/// What happens to a request that grows beyond what RFC 3261 section 18.1.1 wants in a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Large {
    /// It is sent by UDP all the same: IP fragments it.
    #[default]
    Udp,
    /// It is sent by TCP to the same address and port.
    Tcp,
}

/// What happens to media whose keys the ends make with each other, by SDES (RFC 4568) or DTLS (RFC 5763, RFC 8842).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecureMedia {
    /// It passes, and so does all that makes its keys: Portolan has none.
    #[default]
    Pass,
    /// Such a stream is refused; what offers keys beside plain RTP (RFC 8643) is taken out, so that plain RTP is agreed.
    Refuse,
}

/// What passes between a provisional answer and the final one (RFC 3960): nobody pays for it yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyMedia {
    /// What the descriptions allow.
    #[default]
    Pass,
    /// Only what the caller hears: ringing and announcements.
    Backward,
    /// Nothing.
    Block,
}

/// What happens to H.248 messages with the interim authentication header (H.248.1 section 10.2). It is computed over addresses
/// that NAT changes, by keys that Portolan has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// They are refused.
    #[default]
    Refuse,
    /// The header is taken out unread.
    Strip,
}

/// What happens to ICE (RFC 8445).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ice {
    /// It is taken out of all descriptions: the ends see a peer that has none.
    #[default]
    Strip,
    /// Where both ends have it they keep it, each with one candidate that is ours.
    Keep,
}

/// A softswitch, registrar, proxy or trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softswitch {
    /// The name in the configuration.
    pub name: String,
    /// The core realm it is reached through.
    pub realm: RealmId,
    /// What it speaks: a softswitch by SIP, a call agent by MGCP, a media gateway controller by H.248.
    pub proto: Proto,
    /// Where requests go, in the order of their priorities. Empty while no name could be resolved.
    pub targets: Vec<Server>,
    /// Sources whose requests are accepted, besides the targets' addresses.
    pub sources: Vec<IpNet>,
    /// The host that replaces an IP address in From, To and Request-URI; `None`: the first target's address.
    pub domain: Option<String>,
    /// Time between two OPTIONS that ask a server whether it serves; `None`: it is never asked.
    pub probe: Option<Duration>,
    /// A request that got no answer at all for this long goes to the next server, if there is one (at most 64 times T1,
    /// RFC 3261 section 17.1.2.2 timer F).
    pub patience: Duration,
    /// Ask its servers to say how much they can take, and keep to it (RFC 7339, RFC 7415).
    pub overload: bool,
}

impl Softswitch {
    /// Another server is tried after this long without any answer.
    pub const PATIENCE: Duration = Duration::from_secs(4);

    /// A softswitch of this name and these servers, never probed, without a domain.
    pub fn new(name: &str, realm: RealmId, targets: Vec<Server>) -> Self {
        Self {
            name: name.to_owned(),
            realm,
            proto: Proto::Sip,
            targets,
            sources: Vec::new(),
            domain: None,
            probe: None,
            patience: Self::PATIENCE,
            overload: false,
        }
    }

    /// May this address speak to us as the softswitch?
    pub fn accepts(&self, source: IpAddr) -> bool {
        self.targets.iter().any(|t| t.address.ip() == source)
            || self.sources.iter().any(|net| net.contains(&source))
    }

    /// What stands for it where a host is needed: its domain, or its first address.
    pub fn host(&self) -> String {
        let first = || self.targets.first().map(|server| server.address.ip());
        match (&self.domain, first()) {
            (Some(domain), _) => domain.clone(),
            (None, Some(IpAddr::V6(ip))) => format!("[{ip}]"),
            (None, Some(ip)) => ip.to_string(),
            (None, None) => "invalid".to_owned(),
        }
    }
}

/// One place where a softswitch takes requests: as configured, or as RFC 3263 found it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
    /// TLS: the name that its certificate must have; its address when there is none.
    pub name: Option<Arc<str>>,
    /// Lower ones are asked first (RFC 2782).
    pub priority: u16,
    /// Share of the requests among servers of one priority (RFC 2782).
    pub weight: u16,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if (self.priority, self.weight) != (0, 1) {
            write!(f, " priority {} weight {}", self.priority, self.weight)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.address)?;
        if self.transport != Transport::Udp {
            write!(f, ";transport={}", self.transport.param())?;
        }
        Ok(())
    }
}

impl Server {
    /// A server that is reached by UDP and has no equal.
    pub const fn udp(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, name: None, priority: 0, weight: 1 }
    }
}

/// Terminals of one access realm are served by one softswitch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the terminals are.
    pub access: RealmId,
    /// Index into [`Mapping::softswitches`].
    pub softswitch: usize,
    /// Only requests for these domains (host of the Request-URI); empty means any.
    pub domains: Vec<String>,
    /// How its terminals are registered.
    pub registration: Registration,
}

impl Route {
    /// All terminals of a realm are served by one softswitch.
    pub fn all(access: RealmId, softswitch: usize) -> Self {
        Self { access, softswitch, domains: Vec::new(), registration: Registration::default() }
    }
}

/// How registrations are passed on (RFC 3261 section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// How the registrar is told the way back.
    pub way: Way,
    /// The shortest lifetime that a terminal may ask for; 423 answers less (RFC 3261 section 10.3). At most one hour.
    /// Zero: any.
    pub shortest: Duration,
    /// The longest lifetime that a terminal is told: it registers again at least this often. Zero: the registrar's.
    pub terminal: Duration,
    /// The lifetime that is asked of the registrar, if longer than what the terminal asked. Zero: the terminal's.
    pub registrar: Duration,
    /// Answer a refresh without the registrar, where that is safe.
    pub absorb: bool,
    /// While no server answers, go on answering refreshes of bindings that the registrar had confirmed.
    pub survive: bool,
    /// Tell the registrar when a terminal is gone: its connection has ended, it answers no keepalive, or it did not
    /// come back in the lifetime that it was told. Useful where registrars do not challenge what comes from us.
    pub deregister: bool,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            way: Way::Contact,
            shortest: Duration::ZERO,
            terminal: Duration::ZERO,
            registrar: Duration::ZERO,
            absorb: false,
            survive: false,
            deregister: false,
        }
    }
}

/// How a registrar is told the way back to a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// The Contact is ours and names the binding.
    #[default]
    Contact,
    /// The Contact stays; a Path names the binding (RFC 3327).
    Path,
}

/// How NAT mappings of the signaling flows are kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Time between two keepalives to one terminal.
    pub interval: Duration,
    /// Unanswered keepalives (OPTIONS, pings on connections, audits) after which a terminal or gateway is taken for gone;
    /// 1 to 100.
    pub misses: u32,
    /// The longest interval that may be learned of a NAT; nothing is learned if it is not longer than `interval`.
    pub learn_max: Duration,
}

/// What is sent to keep a mapping alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepaliveMethod {
    /// An OPTIONS request; any response proves that the terminal lives.
    Options,
    /// A double CRLF (RFC 5626 section 4.4.1); no answer is expected over UDP.
    Crlf,
    /// Nothing is sent.
    Off,
}

impl Mapping {
    /// The realm of this number, if this generation has it.
    pub fn realm(&self, id: RealmId) -> Option<&Arc<Realm>> {
        self.realms.iter().find(|realm| realm.id == id)
    }

    /// The access realm that listens at this address.
    pub fn access_at(&self, transport: Transport, local: SocketAddr) -> Option<&Arc<Realm>> {
        let listens = |realm: &&Arc<Realm>| {
            realm.side == Side::Access
                && realm.address == local.ip()
                && realm.listens(transport, local.port())
        };
        self.realms.iter().find(listens)
    }

    /// What serves a request for `domain` from the access realm `from`.
    pub fn route(&self, from: RealmId, domain: &str) -> Option<(&Route, &Arc<Softswitch>)> {
        let fits = |route: &&Route| {
            route.access == from
                && self.speaks(route, Proto::Sip)
                && (route.domains.is_empty() || route.domains.iter().any(|d| d.eq_ignore_ascii_case(domain)))
        };
        let route = self.routes.iter().find(fits)?;
        Some((route, self.softswitches.get(route.softswitch)?))
    }

    /// What serves the gateways of the access realm `from` that speak this protocol.
    pub fn agent(&self, from: RealmId, proto: Proto) -> Option<&Arc<Softswitch>> {
        let route = self.routes.iter().find(|route| route.access == from && self.speaks(route, proto))?;
        self.softswitches.get(route.softswitch)
    }

    fn speaks(&self, route: &Route, proto: Proto) -> bool {
        self.softswitches.get(route.softswitch).is_some_and(|softswitch| softswitch.proto == proto)
    }

    /// The transports that a shard's own port of this realm must listen on, with their addresses.
    pub fn homes(&self, realm: &Realm, shard: ShardId) -> Vec<(Transport, SocketAddr)> {
        let spoken = |transport| {
            let servers = self
                .softswitches
                .iter()
                .filter(|s| s.realm == realm.id && s.proto == Proto::Sip)
                .flat_map(|s| &s.targets);
            let listed = realm.sip.iter().any(|&(listed, _)| listed == transport);
            let large = transport == Transport::Tcp && realm.large == Large::Tcp;
            transport == Transport::Udp
                || listed
                || large
                || servers.into_iter().any(|server| server.transport == transport)
        };
        let wanted = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(|t| spoken(*t));
        wanted.filter_map(|transport| Some((transport, realm.home(shard, transport)?))).collect()
    }

    /// The softswitch that a core-side source is.
    pub fn softswitch_at(&self, realm: RealmId, source: IpAddr) -> Option<&Arc<Softswitch>> {
        self.softswitches.iter().find(|s| s.realm == realm && s.accepts(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ranges of even first and odd last ports, and how many shards share them.
    fn ranges() -> impl Strategy<Value = (PortRange, u16)> {
        let range = (512_u16..32_768, 0_u16..32_768).prop_map(|(first, pairs)| {
            let last = u32::from(first) * 2 + u32::from(pairs) * 2 + 1;
            PortRange { first: first * 2, last: last.min(65_535) as u16 }
        });
        (range, 1_u16..=64)
    }

    fn slices(range: PortRange, shards: u16) -> Vec<PortRange> {
        (0..shards).map(|n| range.slice(shards, ShardId(n))).collect()
    }

    /// Could every shard have a block of `len` ports?
    fn blocks(range: PortRange, len: u32) -> u32 {
        (0..65_536 / len)
            .filter(|n| u32::from(range.first) <= n * len && n * len + len - 1 <= u32::from(range.last))
            .count() as u32
    }

    proptest! {
        #[test]
        fn slices_are_equal_disjoint_and_within((range, shards) in ranges()) {
            let slices = slices(range, shards);
            prop_assert!(slices.windows(2).all(|two| two[0].len() == two[1].len()));
            if !slices[0].is_empty() {
                prop_assert!(slices.windows(2).all(|two| two[0].last + 1 == two[1].first));
                prop_assert!(slices.iter().all(|slice| range.first <= slice.first && slice.last <= range.last));
                prop_assert_eq!(range.sliced(shards), PortRange { first: slices[0].first, last: slices[slices.len() - 1].last });
            }
        }

        #[test]
        fn a_flow_rule_matches_exactly_its_slice((range, shards) in ranges()) {
            for slice in slices(range, shards).into_iter().filter(|slice| !slice.is_empty()) {
                let (value, mask) = slice.flow_rule().expect("a slice is aligned");
                prop_assert!((0..=u16::MAX).all(|port| (port & mask == value) == slice.contains(port)));
                prop_assert!(slice.first.is_multiple_of(2) && slice.len() >= 2);
            }
        }

        #[test]
        fn no_larger_slices_would_fit((range, shards) in ranges()) {
            let len = range.slice(shards, ShardId(0)).len() as u32;
            prop_assert!(len == 0 || blocks(range, len) >= u32::from(shards));
            let larger = if len == 0 { 2 } else { len * 2 };
            prop_assert!(larger > 32_768 || blocks(range, larger) < u32::from(shards));
        }
    }

    #[test]
    fn an_aligned_range_is_used_to_its_last_port() {
        let range = PortRange { first: 16_384, last: 32_767 };
        for shards in [1, 2, 4, 8, 64] {
            assert_eq!(range.sliced(shards), range, "{shards} shards");
        }
        assert_eq!(range.slice(4, ShardId(3)).flow_rule(), Some((28_672, 0xf000)));
    }

    #[test]
    fn what_is_no_power_of_two_is_cut_down() {
        let range = PortRange { first: 20_000, last: 39_999 };
        assert_eq!(range.slice(2, ShardId(1)), PortRange { first: 24_576, last: 28_671 });
        assert_eq!(range.sliced(3), PortRange { first: 20_480, last: 32_767 });
        assert_eq!(range.flow_rule(), None);
    }

    #[test]
    fn shares_are_equal_parts_up_to_the_last_port() {
        let range = PortRange { first: 65_530, last: 65_535 };
        let shares = |shards| (0..shards).map(|n| range.share(shards, ShardId(n))).collect::<Vec<_>>();
        assert_eq!(shares(2), [65_530..=65_532, 65_533..=65_535]);
        assert_eq!(shares(4), [65_530..=65_530, 65_531..=65_531, 65_532..=65_532, 65_533..=65_533]);
        assert!(shares(7).iter().all(std::ops::RangeInclusive::is_empty), "not one port for each");
    }

    #[test]
    fn too_few_ports_make_empty_slices() {
        let range = PortRange { first: 1_024, last: 1_027 };
        assert!(range.slice(3, ShardId(0)).is_empty() && range.sliced(3).is_empty());
        assert_eq!(range.slice(0, ShardId(0)), range);
    }
}
