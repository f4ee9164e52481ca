//! Network address translators, with the behaviours that RFC 4787 names.

use crate::random::Rng;
use crate::types::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How far a mapping or a filter depends on the remote endpoint (RFC 4787 sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Not at all.
    EndpointIndependent,
    /// On its address.
    AddressDependent,
    /// On its address and port.
    AddressPortDependent,
}

/// The four classic kinds (RFC 3489 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// One mapping for all, open to all.
    FullCone,
    /// One mapping for all, open to addresses that were sent to.
    Restricted,
    /// One mapping for all, open to addresses and ports that were sent to.
    PortRestricted,
    /// A new mapping for every remote address and port, open to that one only.
    Symmetric,
}

impl NatKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::FullCone, Self::Restricted, Self::PortRestricted, Self::Symmetric];

    /// Mapping and filtering behaviour.
    pub const fn behaviours(self) -> (Behaviour, Behaviour) {
        use Behaviour::{AddressDependent, AddressPortDependent, EndpointIndependent};
        match self {
            Self::FullCone => (EndpointIndependent, EndpointIndependent),
            Self::Restricted => (EndpointIndependent, AddressDependent),
            Self::PortRestricted => (EndpointIndependent, AddressPortDependent),
            Self::Symmetric => (AddressPortDependent, AddressPortDependent),
        }
    }
}

/// A NAT: many inside addresses, one public address.
#[derive(Clone, Debug)]
pub struct Nat {
    public_ip: IpAddr,
    mapping: Behaviour,
    filtering: Behaviour,
    expiry: Duration,
    ports: Rng,
    by_inside: BTreeMap<Key, SocketAddr>,
    by_public: BTreeMap<SocketAddr, Mapping>,
    /// When the oldest mapping may expire; no earlier one exists.
    next_expiry: Instant,
    retired: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    inside: SocketAddr,
    remote: Option<Remote>,
}

/// A remote endpoint as far as a behaviour looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Remote(IpAddr, Option<u16>);

#[derive(Clone, Debug)]
struct Mapping {
    key: Key,
    permitted: BTreeSet<Remote>,
    /// Last outbound packet (RFC 4787 REQ-6: only outbound refreshes here).
    used: Instant,
}

impl Behaviour {
    const fn of(self, remote: SocketAddr) -> Option<Remote> {
        match self {
            Self::EndpointIndependent => None,
            Self::AddressDependent => Some(Remote(remote.ip(), None)),
            Self::AddressPortDependent => Some(Remote(remote.ip(), Some(remote.port()))),
        }
    }
}

impl Nat {
    /// A NAT of a classic kind. `expiry`: how long a mapping lives without outbound traffic. `seed` chooses the ports.
    pub fn new(kind: NatKind, public_ip: IpAddr, expiry: Duration, seed: [u8; 32]) -> Self {
        let (mapping, filtering) = kind.behaviours();
        Self::with(mapping, filtering, public_ip, expiry, seed)
    }

    /// A NAT of any mapping and filtering behaviour.
    pub fn with(
        mapping: Behaviour,
        filtering: Behaviour,
        public_ip: IpAddr,
        expiry: Duration,
        seed: [u8; 32],
    ) -> Self {
        Self {
            public_ip,
            mapping,
            filtering,
            expiry,
            ports: Rng::new(seed),
            by_inside: BTreeMap::new(),
            by_public: BTreeMap::new(),
            next_expiry: Instant::ZERO + expiry,
            retired: Vec::new(),
        }
    }

    /// The public address.
    pub const fn public_ip(&self) -> IpAddr {
        self.public_ip
    }

    /// A packet leaves: its public source, from a mapping that lives or a new one on a random port.
    /// `None` only when all ports are taken.
    pub fn outbound(&mut self, now: Instant, inside: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        self.outbound_with(now, inside, to, Self::random_port)
    }

    /// The same, where the caller gives a new mapping its public address (a real socket's, say). `None` from the
    /// caller's `allocate` drops the packet.
    pub fn outbound_with(
        &mut self,
        now: Instant,
        inside: SocketAddr,
        to: SocketAddr,
        allocate: impl FnOnce(&mut Self) -> Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        self.expire(now);
        let key = Key { inside, remote: self.mapping.of(to) };
        let public = match self.by_inside.get(&key) {
            Some(&public) => public,
            None => allocate(self).inspect(|&public| self.insert(now, key, public))?,
        };
        let filter = self.filtering.of(to);
        if let Some(mapping) = self.by_public.get_mut(&public) {
            mapping.used = now;
            mapping.permitted.extend(filter);
        }
        Some(public)
    }

    /// A packet arrives at `public`: the inside address it goes to, or `None` when there is no mapping or the filter
    /// refuses `from`.
    pub fn inbound(&mut self, now: Instant, public: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        self.expire(now);
        let mapping = self.by_public.get(&public)?;
        let open = self.filtering.of(from).is_none_or(|remote| mapping.permitted.contains(&remote));
        open.then_some(mapping.key.inside)
    }

    /// Forget the mappings of one inside address: its next packet gets a new one (the phone's router rebooted).
    pub fn rebind(&mut self, inside: SocketAddr) {
        self.retire(|mapping| mapping.key.inside == inside);
    }

    /// Forget every mapping.
    pub fn rebind_all(&mut self) {
        self.retire(|_| true);
    }

    /// Public addresses whose mappings are gone since the last call: real sockets are closed here.
    pub fn retired(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.retired)
    }

    /// Mappings that exist.
    pub fn len(&self) -> usize {
        self.by_public.len()
    }

    /// No mapping at all?
    pub fn is_empty(&self) -> bool {
        self.by_public.is_empty()
    }

    /// Drop mappings without outbound traffic for the expiry time. `outbound` and `inbound` do it by themselves.
    pub fn expire(&mut self, now: Instant) {
        if now < self.next_expiry {
            return;
        }
        let expiry = self.expiry;
        self.retire(|mapping| mapping.used + expiry <= now);
        let oldest = self.by_public.values().map(|m| m.used).min().unwrap_or(now);
        self.next_expiry = oldest + expiry;
    }

    fn insert(&mut self, now: Instant, key: Key, public: SocketAddr) {
        self.by_inside.insert(key, public);
        self.by_public.insert(public, Mapping { key, permitted: BTreeSet::new(), used: now });
    }

    fn retire(&mut self, gone: impl Fn(&Mapping) -> bool) {
        let publics: Vec<_> = self.by_public.iter().filter(|(_, m)| gone(m)).map(|(&p, _)| p).collect();
        for public in publics {
            if let Some(mapping) = self.by_public.remove(&public) {
                self.by_inside.remove(&mapping.key);
            }
            self.retired.push(public);
        }
    }

    fn random_port(&mut self) -> Option<SocketAddr> {
        for _ in 0..1000 {
            let port = 1024 + self.ports.below(64_512) as u16;
            let public = SocketAddr::new(self.public_ip, port);
            if !self.by_public.contains_key(&public) {
                return Some(public);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Behaviour::{AddressDependent, AddressPortDependent, EndpointIndependent};

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    fn nat(mapping: Behaviour, filtering: Behaviour) -> Nat {
        Nat::with(mapping, filtering, at("203.0.113.7:0").ip(), Duration::from_secs(30), [1; 32])
    }

    const PHONE: &str = "192.168.1.10:5060";

    /// Which of (same remote, other port, other address) share the first mapping.
    fn shared(mapping: Behaviour) -> [bool; 3] {
        let mut nat = nat(mapping, EndpointIndependent);
        let mut out = |to| nat.outbound(Instant::ZERO, at(PHONE), at(to)).expect("port");
        let first = out("198.51.100.1:1000");
        ["198.51.100.1:1000", "198.51.100.1:1001", "198.51.100.2:1000"].map(|to| out(to) == first)
    }

    /// Which of (same remote, other port, other address) come through.
    fn open(filtering: Behaviour) -> [bool; 3] {
        let mut nat = nat(EndpointIndependent, filtering);
        let public = nat.outbound(Instant::ZERO, at(PHONE), at("198.51.100.1:1000")).expect("port");
        ["198.51.100.1:1000", "198.51.100.1:1001", "198.51.100.2:1000"]
            .map(|from| nat.inbound(Instant::ZERO, public, at(from)) == Some(at(PHONE)))
    }

    #[test]
    fn mappings_are_shared_as_rfc_4787_section_4_1_says() {
        assert_eq!(shared(EndpointIndependent), [true, true, true]);
        assert_eq!(shared(AddressDependent), [true, true, false]);
        assert_eq!(shared(AddressPortDependent), [true, false, false]);
    }

    #[test]
    fn filters_open_as_rfc_4787_section_5_says() {
        assert_eq!(open(EndpointIndependent), [true, true, true]);
        assert_eq!(open(AddressDependent), [true, true, false]);
        assert_eq!(open(AddressPortDependent), [true, false, false]);
    }

    #[test]
    fn a_mapping_lives_by_outbound_traffic_alone() {
        let mut nat = nat(EndpointIndependent, EndpointIndependent);
        let second = |s| Instant::ZERO + Duration::from_secs(s);
        let public = nat.outbound(second(0), at(PHONE), at("198.51.100.1:1")).expect("port");
        assert_eq!(nat.outbound(second(20), at(PHONE), at("198.51.100.1:1")), Some(public));
        assert!(nat.inbound(second(45), public, at("198.51.100.1:1")).is_some());
        assert!(nat.inbound(second(51), public, at("198.51.100.1:1")).is_none());
        assert_eq!(nat.retired(), [public]);
        assert!(nat.is_empty());
    }

    #[test]
    fn a_rebinding_gives_the_next_packet_a_new_public_address() {
        let mut nat = nat(EndpointIndependent, EndpointIndependent);
        let before = nat.outbound(Instant::ZERO, at(PHONE), at("198.51.100.1:1"));
        nat.rebind(at(PHONE));
        assert_ne!(nat.outbound(Instant::ZERO, at(PHONE), at("198.51.100.1:1")), before);
    }

    #[test]
    fn the_caller_may_give_the_public_address() {
        let mut nat = nat(AddressPortDependent, AddressPortDependent);
        let given = at("127.0.4.1:40001");
        let out = nat.outbound_with(Instant::ZERO, at(PHONE), at("127.0.1.1:5060"), |_| Some(given));
        assert_eq!(out, Some(given));
        assert_eq!(nat.inbound(Instant::ZERO, given, at("127.0.1.1:5060")), Some(at(PHONE)));
    }

    #[test]
    fn two_phones_with_one_nat_never_share_a_public_address() {
        let mut nat = nat(EndpointIndependent, EndpointIndependent);
        let a = nat.outbound(Instant::ZERO, at("192.168.1.10:5060"), at("198.51.100.1:1"));
        let b = nat.outbound(Instant::ZERO, at("192.168.1.11:5060"), at("198.51.100.1:1"));
        assert_ne!(a, b);
    }
}
