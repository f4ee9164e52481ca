//! The network between everything: zones, NATs (also in series), and links that lose, delay, reorder and repeat.

use super::nat::Nat;
use crate::random::Rng;
use crate::types::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A zone: addresses that can reach each other without translation (the internet, a core network, a LAN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(pub usize);

/// A NAT, numbered in order of [`Net::nat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatId(pub usize);

/// Whoever is at an address; the world gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub usize);

/// One UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source as seen in the zone where the datagram is.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// Payload.
    pub bytes: Vec<u8>,
}

/// What one line does to the datagrams that pass it, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Lost, in thousandths.
    pub loss: u16,
    /// Delivered twice, in thousandths.
    pub repeat: u16,
    /// The least delay.
    pub delay: Duration,
    /// Uniform extra delay; more than the distance of two packets reorders them.
    pub jitter: Duration,
}

/// A datagram that will arrive in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it will arrive.
    pub zone: Zone,
    /// From this moment on.
    pub delay: Duration,
    /// What arrives.
    pub datagram: Datagram,
}

/// All zones, NATs and lines.
#[derive(Debug)]
pub struct Net {
    rng: Rng,
    zones: Vec<ZoneMap>,
    nats: Vec<NatBox>,
}

#[derive(Debug, Default)]
struct ZoneMap {
    attached: BTreeMap<IpAddr, (Attached, Link)>,
    gateway: Option<NatId>,
}

#[derive(Clone, Copy, Debug)]
enum Attached {
    Host(Host),
    Nat(NatId),
}

#[derive(Debug)]
struct NatBox {
    nat: Nat,
    inside: Zone,
    outside: Zone,
}

impl Net {
    /// No zone yet.
    pub const fn new(rng: Rng) -> Self {
        Self { rng, zones: Vec::new(), nats: Vec::new() }
    }

    /// A new zone without a way out.
    pub fn zone(&mut self) -> Zone {
        self.zones.push(ZoneMap::default());
        Zone(self.zones.len() - 1)
    }

    /// Give `host` an address in a zone, at the end of `link`.
    pub fn attach(&mut self, zone: Zone, address: IpAddr, host: Host, link: Link) {
        self.zones[zone.0].attached.insert(address, (Attached::Host(host), link));
    }

    /// A new zone behind `nat`, whose public address is in the zone `outside` at the end of `link`.
    pub fn nat(&mut self, nat: Nat, outside: Zone, link: Link) -> (NatId, Zone) {
        let (id, inside) = (NatId(self.nats.len()), self.zone());
        self.zones[outside.0].attached.insert(nat.public_ip(), (Attached::Nat(id), link));
        self.zones[inside.0].gateway = Some(id);
        self.nats.push(NatBox { nat, inside, outside });
        (id, inside)
    }

    /// The NAT has lost its memory (reboot, failover, aggressive expiry): new mappings for everything behind it.
    pub fn forget(&mut self, id: NatId) {
        self.nats[id.0].nat.rebind_all();
    }

    /// A host in `zone` sends. What comes back arrives: nothing (lost, filtered, no route), once, or twice.
    pub fn send(&mut self, now: Instant, zone: Zone, mut datagram: Datagram) -> Vec<Arrival> {
        let Some(zone) = self.route(now, zone, &mut datagram) else { return Vec::new() };
        let lines = [self.link(zone, datagram.from.ip()), self.link(zone, datagram.to.ip())];
        if lines.iter().any(|line| self.happens(line.loss)) {
            return Vec::new();
        }
        let copies = 1 + usize::from(lines.iter().any(|line| self.happens(line.repeat)));
        (0..copies).map(|_| Arrival { zone, delay: self.delay(&lines), datagram: datagram.clone() }).collect()
    }

    /// A datagram has arrived in `zone`: through the NATs that it meets, to whom does it go?
    pub fn receive(
        &mut self,
        now: Instant,
        mut zone: Zone,
        mut datagram: Datagram,
    ) -> Option<(Host, Datagram)> {
        loop {
            match self.zones[zone.0].attached.get(&datagram.to.ip())?.0 {
                Attached::Host(host) => return Some((host, datagram)),
                Attached::Nat(id) => {
                    let behind = &mut self.nats[id.0];
                    datagram.to = behind.nat.inbound(now, datagram.to, datagram.from)?;
                    zone = behind.inside;
                }
            }
        }
    }

    /// Translate outwards until the destination is in reach.
    fn route(&mut self, now: Instant, mut zone: Zone, datagram: &mut Datagram) -> Option<Zone> {
        while !self.zones[zone.0].attached.contains_key(&datagram.to.ip()) {
            let behind = &mut self.nats[self.zones[zone.0].gateway?.0];
            datagram.from = behind.nat.outbound(now, datagram.from, datagram.to)?;
            behind.nat.retired();
            zone = behind.outside;
        }
        Some(zone)
    }

    fn link(&self, zone: Zone, address: IpAddr) -> Link {
        self.zones[zone.0].attached.get(&address).map(|&(_, link)| link).unwrap_or_default()
    }

    fn happens(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.rng.below(1000) < u64::from(thousandths)
    }

    fn delay(&mut self, lines: &[Link; 2]) -> Duration {
        lines
            .iter()
            .map(|line| line.delay + Duration::from_nanos(self.rng.below(line.jitter.as_nanos() as u64 + 1)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::nat::NatKind;
    use super::*;

    const PHONE: Host = Host(1);
    const SERVER: Host = Host(2);

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    fn datagram(from: &str, to: SocketAddr) -> Datagram {
        Datagram { from: at(from), to, bytes: b"x".to_vec() }
    }

    fn nat(kind: NatKind, address: &str, seed: u8) -> Nat {
        Nat::new(kind, at(address).ip(), Duration::from_secs(60), [seed; 32])
    }

    /// A phone behind two NATs in series, a server on the internet; the zones of both.
    fn two_nats(link: Link) -> (Net, Zone, Zone) {
        let mut net = Net::new(Rng::new([1; 32]));
        let internet = net.zone();
        net.attach(internet, at("198.51.100.10:0").ip(), SERVER, Link::default());
        let (_, provider) = net.nat(nat(NatKind::Symmetric, "203.0.113.7:0", 2), internet, link);
        let (_, home) = net.nat(nat(NatKind::PortRestricted, "100.64.0.9:0", 3), provider, Link::default());
        net.attach(home, at("192.168.1.10:0").ip(), PHONE, Link::default());
        (net, internet, home)
    }

    fn one(arrivals: &[Arrival]) -> Arrival {
        assert_eq!(arrivals.len(), 1);
        arrivals[0].clone()
    }

    #[test]
    fn a_datagram_and_its_answer_pass_two_nats_in_series() {
        let (mut net, internet, home) = two_nats(Link::default());
        let out = net.send(Instant::ZERO, home, datagram("192.168.1.10:5060", at("198.51.100.10:5060")));
        let (host, seen) =
            net.receive(Instant::ZERO, internet, one(&out).datagram).expect("reaches the server");
        assert_eq!((host, seen.from.ip()), (SERVER, at("203.0.113.7:0").ip()));
        let back = net.send(Instant::ZERO, internet, datagram("198.51.100.10:5060", seen.from));
        let (host, seen) = net.receive(Instant::ZERO, internet, one(&back).datagram).expect("comes back");
        assert_eq!((host, seen.to), (PHONE, at("192.168.1.10:5060")));
    }

    #[test]
    fn a_stranger_does_not_pass_a_symmetric_nat() {
        let (mut net, internet, home) = two_nats(Link::default());
        net.attach(internet, at("192.0.2.66:0").ip(), Host(3), Link::default());
        let out = net.send(Instant::ZERO, home, datagram("192.168.1.10:5060", at("198.51.100.10:5060")));
        let spray = net.send(Instant::ZERO, internet, datagram("192.0.2.66:5060", one(&out).datagram.from));
        assert_eq!(net.receive(Instant::ZERO, internet, one(&spray).datagram), None);
    }

    #[test]
    fn there_is_no_way_to_an_address_that_nobody_has() {
        let (mut net, _, home) = two_nats(Link::default());
        assert!(
            net.send(Instant::ZERO, home, datagram("192.168.1.10:5060", at("10.0.0.20:5060"))).is_empty()
        );
    }

    #[test]
    fn a_lossy_line_loses_and_repeats_in_proportion() {
        let (mut net, _, home) = two_nats(Link { loss: 100, repeat: 100, ..Link::default() });
        let arrived: usize = (0..10_000)
            .map(|_| {
                net.send(Instant::ZERO, home, datagram("192.168.1.10:5060", at("198.51.100.10:5060"))).len()
            })
            .sum();
        assert!(
            (9_700..10_100).contains(&arrived),
            "{arrived} of 10,000 at 10 % lost, 10 % of the rest twice"
        );
    }

    #[test]
    fn jitter_reorders() {
        let line = Link { jitter: Duration::from_millis(30), ..Link::default() };
        let (mut net, _, home) = two_nats(line);
        let delays: Vec<Duration> = (0..50)
            .flat_map(|_| net.send(Instant::ZERO, home, datagram("192.168.1.10:1", at("198.51.100.10:1"))))
            .map(|arrival| arrival.delay)
            .collect();
        assert!(delays.windows(2).any(|pair| pair[1] < pair[0]));
        assert!(delays.iter().all(|&delay| delay <= Duration::from_millis(30)));
    }
}
