//! Who is charged for what comes from a source that has proven nothing.

use crate::random::{Keyed, Rng};
use crate::types::{Flow, RealmId};
use hashbrown::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// The network that is charged for what an unproven gateway sends: its address, or its /64.
pub(super) type Guest = (RealmId, IpAddr);

/// Who is charged for what comes from there.
pub(super) fn guest_at(flow: &Flow) -> Guest {
    (flow.realm, network_of(flow.remote.ip()))
}

/// An IPv4 address, or the /64 of an IPv6 one: who has one address of it has all.
pub(super) fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}

/// How many things each guest is charged for.
pub(super) struct Charges(HashMap<Guest, usize, Keyed>);

impl Charges {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self(HashMap::with_hasher(Keyed::new(rng)))
    }

    /// One more, if anybody is charged for it.
    pub(super) fn charge(&mut self, guest: Option<Guest>) {
        if let Some(guest) = guest {
            *self.0.entry(guest).or_default() += 1;
        }
    }

    /// What was charged is over.
    pub(super) fn discharge(&mut self, guest: Option<Guest>) {
        let Some((guest, count)) = guest.and_then(|guest| Some((guest, self.0.get_mut(&guest)?))) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&guest);
        }
    }

    /// Those of this guest.
    pub(super) fn of(&self, guest: Guest) -> usize {
        self.0.get(&guest).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_is_charged_for_its_own_until_that_is_over() {
        let [one, other] = [1, 2].map(|n| (RealmId(0), IpAddr::from([192, 0, 2, n])));
        let mut charges = Charges::new(&mut Rng::new([1; 32]));
        [Some(one), Some(one), Some(other), None].into_iter().for_each(|guest| charges.charge(guest));
        assert_eq!([charges.of(one), charges.of(other)], [2, 1]);
        [None, Some(one), Some(other), Some(other)].into_iter().for_each(|guest| charges.discharge(guest));
        assert_eq!([charges.of(one), charges.of(other)], [1, 0]);
        charges.discharge(Some(one));
        assert!(charges.0.is_empty(), "nobody is remembered who is charged for nothing");
    }
}
