//! Whom a leg may learn: the sources of its accepted signaling (S) and the address it announced (D), and the rank that
//! these give to the source of a packet.

use super::Description;
use crate::limits::MAX_SOURCES;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host's address in 16 octets, IPv4 in its mapped form (RFC 4291 section 2.5.5.2): one host, one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host([u8; 16]);

impl Host {
    /// No host: the unspecified address.
    const NONE: Self = Self([0; 16]);

    /// The host of these 128 bits.
    pub(super) fn from_words([high, low]: [u64; 2]) -> Self {
        Self((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }

    /// Its 128 bits, as two words.
    pub(super) fn words(self) -> [u64; 2] {
        let bits = u128::from_be_bytes(self.0);
        [(bits >> 64) as u64, bits as u64]
    }

    /// Octets of the UDP and IP headers (without options) of a datagram from here.
    pub(super) fn header_octets(self) -> usize {
        if self.v4().is_some() { 28 } else { 48 }
    }

    /// The address that it is the mapped form of. Every packet asks, so in words rather than octet by octet.
    const fn v4(self) -> Option<Ipv4Addr> {
        let bits = u128::from_be_bytes(self.0);
        if bits >> 32 == 0xffff { Some(Ipv4Addr::from_bits(bits as u32)) } else { None }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        })
    }
}

impl From<Host> for IpAddr {
    fn from(host: Host) -> Self {
        host.v4().map_or_else(|| Ipv6Addr::from(host.0).into(), Self::from)
    }
}

/// A peer's address, without the flow label and scope that media has no use for: 18 octets instead of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addr {
    /// The host.
    pub ip: Host,
    /// The UDP port.
    pub port: u16,
}

impl From<SocketAddr> for Addr {
    fn from(from: SocketAddr) -> Self {
        Self { ip: from.ip().into(), port: from.port() }
    }
}

impl From<Addr> for SocketAddr {
    fn from(from: Addr) -> Self {
        Self::new(from.ip.into(), from.port)
    }
}

/// How well a source is vouched for; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// Exactly the announced address.
    Exact,
    /// The announced host, or a host that the leg's signaling came from.
    Host,
    /// The network of such a host, where the realm opts in.
    Network,
    /// Anything else, never learned.
    Stranger,
}

/// S and D of one leg. What each packet asks for stands at the end, together.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Trust {
    /// The one that was named last comes first; then [`Host::NONE`].
    sources: [Host; MAX_SOURCES],
    control: Option<Addr>,
    learn_net: bool,
    /// Whether the RTCP address and D may be used, found out when S or D changes, because each packet asks.
    control_usable: bool,
    usable: bool,
    trusted: bool,
    announced: Option<Addr>,
}

impl Trust {
    /// Take over what signaling says now; did S or D really change? S only grows, by `sources`. A held description (no
    /// address) keeps the last D.
    pub fn update(&mut self, sources: &[IpAddr], learn_net: bool, description: &Description) -> Change {
        let before = self.announced;
        let grown = sources.iter().filter(|source| self.add(**source)).count();
        if let Some(rtp) = description.rtp {
            self.announced = Some(rtp.into());
            self.control = description.rtcp.map(Addr::from);
        }
        self.learn_net = learn_net;
        self.trusted = description.trusted;
        self.judge();
        Change { sources: grown > 0, announced: self.announced != before }
    }

    /// S grows by one; the one that was not named for longest gives way when S is full. False when it was known.
    pub fn add(&mut self, source: IpAddr) -> bool {
        let source = Host::from(source);
        let known = self.sources.iter().position(|s| *s == source);
        self.sources[..=known.unwrap_or(MAX_SOURCES - 1)].rotate_right(1);
        self.sources[0] = source;
        self.judge();
        known.is_none()
    }

    /// The rank of a packet's source.
    pub fn rank(&self, from: Addr) -> Rank {
        let announced = self.announced();
        if announced == Some(from) {
            Rank::Exact
        } else if announced.is_some_and(|d| d.ip == from.ip) || self.vouches(from.ip) {
            Rank::Host
        } else if self.learn_net && self.sources.iter().any(|s| same_network(*s, from.ip)) {
            Rank::Network
        } else {
            Rank::Stranger
        }
    }

    /// The announced media address, if it is usable: public, or a host in S, or announced by the softswitch.
    pub fn announced(&self) -> Option<Addr> {
        self.announced.filter(|_| self.usable)
    }

    /// The announced RTCP address, if it is usable.
    pub fn control(&self) -> Option<Addr> {
        self.control.filter(|_| self.control_usable)
    }

    /// The media address that the softswitch announced: not to be doubted.
    pub fn told(&self) -> Option<Addr> {
        self.announced().filter(|_| self.trusted)
    }

    /// Is what it announces taken at its word?
    pub(super) const fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// The RTCP address that the softswitch announced.
    pub fn told_control(&self) -> Option<Addr> {
        self.control().filter(|_| self.trusted)
    }

    fn judge(&mut self) {
        self.usable = self.announced.is_some_and(|d| self.is_usable(d));
        self.control_usable = self.control.is_some_and(|d| self.is_usable(d));
    }

    fn is_usable(&self, addr: Addr) -> bool {
        let ip = IpAddr::from(addr.ip);
        addr.port != 0 && (self.vouches(addr.ip) || if self.trusted { is_host(ip) } else { is_public(ip) })
    }

    fn vouches(&self, ip: Host) -> bool {
        ip != Host::NONE && self.sources.contains(&ip)
    }
}

/// What a new description changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// S grew.
    pub sources: bool,
    /// D is another address.
    pub announced: bool,
}

impl Change {
    /// Must the leg learn again (rule 9)?
    pub fn any(self) -> bool {
        self.sources || self.announced
    }
}

/// The same /24 (IPv6: /64)?
fn same_network(a: Host, b: Host) -> bool {
    match (a.into(), b.into()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..8] == b.octets()[..8] && !a.is_unspecified(),
        _ => false,
    }
}

/// One host's address at all?
fn is_host(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST))
}

/// Routable on the Internet (RFC 6890), as far as it matters here.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let benchmark = a == 198 && b & 0xfe == 18;
    !(a == 0 || a >= 224 || ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared || benchmark)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    !(special || ip.is_unique_local() || ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addr(text: &str) -> Addr {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn trust(source: &str, rtp: &str, learn_net: bool, trusted: bool) -> Trust {
        let description = Description { rtp: Some(rtp.parse().unwrap()), trusted, ..Description::default() };
        let mut trust = Trust::default();
        trust.update(&[ip(source)], learn_net, &description);
        trust
    }

    #[test]
    fn ranks_follow_the_design() {
        let trust = trust("203.0.113.7", "198.51.100.2:4000", true, false);
        assert_eq!(trust.rank(addr("198.51.100.2:4000")), Rank::Exact);
        assert_eq!(trust.rank(addr("198.51.100.2:4001")), Rank::Host);
        assert_eq!(trust.rank(addr("203.0.113.7:9")), Rank::Host);
        assert_eq!(trust.rank(addr("203.0.113.8:9")), Rank::Network);
        assert_eq!(trust.rank(addr("198.51.100.3:4000")), Rank::Stranger);
    }

    #[test]
    fn the_network_counts_only_where_the_realm_opts_in() {
        let trust = trust("203.0.113.7", "198.51.100.2:4000", false, false);
        assert_eq!(trust.rank(addr("203.0.113.8:9")), Rank::Stranger);
    }

    #[test]
    fn the_ipv6_network_is_a_64() {
        let trust = trust("2001:db8:1:2::7", "10.0.0.1:4000", true, false);
        assert_eq!(trust.rank(addr("[2001:db8:1:2:ffff::1]:9")), Rank::Network);
        assert_eq!(trust.rank(addr("[2001:db8:1:3::7]:9")), Rank::Stranger);
    }

    #[test]
    fn a_private_announcement_is_not_usable() {
        for d in [
            "10.1.2.3:4",
            "192.168.1.1:4",
            "127.0.0.1:4",
            "169.254.1.1:4",
            "100.64.0.1:4",
            "224.0.0.1:4",
            "[fe80::1]:4",
            "[fd00::1]:4",
            "[::ffff:10.0.0.1]:4",
            "198.51.100.9:0",
        ] {
            let trust = trust("203.0.113.7", d, true, false);
            assert_eq!(trust.announced(), None, "{d}");
            assert_eq!(trust.rank(addr(d)), Rank::Stranger, "{d}");
        }
    }

    #[test]
    fn a_private_announcement_is_usable_when_signaling_came_from_there() {
        let trust = trust("127.0.4.1", "127.0.4.1:4000", false, false);
        assert_eq!(trust.announced(), Some(addr("127.0.4.1:4000")));
        assert_eq!(trust.told(), None);
    }

    #[test]
    fn the_softswitch_is_taken_at_its_word() {
        assert_eq!(trust("127.0.3.1", "10.0.0.9:4000", false, true).told(), Some(addr("10.0.0.9:4000")));
        assert_eq!(trust("127.0.3.1", "0.0.0.0:4000", false, true).told(), None);
        assert_eq!(trust("127.0.3.1", "239.1.1.1:4000", false, true).told(), None);
    }

    #[test]
    fn a_refresh_and_a_hold_change_nothing() {
        let mut trust = trust("203.0.113.7", "10.0.0.1:4000", false, false);
        let refresh = Description { rtp: Some("10.0.0.1:4000".parse().unwrap()), ..Description::default() };
        assert!(!trust.update(&[ip("203.0.113.7")], false, &refresh).any());
        assert!(!trust.update(&[ip("203.0.113.7")], false, &Description::default()).any());
        assert!(!trust.update(&[], false, &refresh).any());
    }

    #[test]
    fn another_address_or_source_is_a_change() {
        let mut trust = trust("203.0.113.7", "10.0.0.1:4000", false, false);
        let moved = Description { rtp: Some("10.0.0.1:4002".parse().unwrap()), ..Description::default() };
        assert_eq!(trust.update(&[], false, &moved), Change { sources: false, announced: true });
        assert_eq!(
            trust.update(&[ip("203.0.113.8")], false, &moved),
            Change { sources: true, announced: false }
        );
    }

    #[test]
    fn the_source_named_longest_ago_gives_way() {
        let mut trust = Trust::default();
        let all: Vec<IpAddr> = (0..=MAX_SOURCES as u8).map(|n| IpAddr::from([203, 0, 113, n])).collect();
        for source in &all[..MAX_SOURCES] {
            assert!(trust.add(*source));
        }
        assert!(!trust.add(all[0]));
        assert!(trust.add(all[MAX_SOURCES]));
        let kept: Vec<bool> = all.iter().map(|source| trust.vouches((*source).into())).collect();
        assert_eq!(kept, [true, false, true, true, true]);
    }
}
