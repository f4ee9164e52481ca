//! Realm numbers that mean the same thing over reloads.

use portolan_shards::realm::PortRange;
use portolan_shards::types::{RealmId, Side};
use std::collections::HashMap;
use std::net::IpAddr;

/// What makes two realms of two generations the same: sockets of running calls may be shared exactly then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    name: String,
    side: Side,
    address: IpAddr,
    media: (u16, u16),
}

/// Gives each realm its number. Numbers are never used again for another realm, so that a session of an older
/// generation cannot mistake one realm for another.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    known: HashMap<Identity, RealmId>,
}

impl Interner {
    /// The number of this realm; `None` when all 65,536 numbers were given away since the start.
    pub fn intern(&mut self, name: &str, side: Side, address: IpAddr, media: PortRange) -> Option<RealmId> {
        let identity = Identity { name: name.to_owned(), side, address, media: (media.first, media.last) };
        let next = u16::try_from(self.known.len());
        match self.known.get(&identity) {
            Some(&id) => Some(id),
            None => {
                let id = RealmId(next.ok()?);
                self.known.insert(identity, id);
                Some(id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PORTS: PortRange = PortRange { first: 20_000, last: 29_999 };

    #[test]
    fn the_same_realm_keeps_its_number() {
        let mut interner = Interner::default();
        let first = interner.intern("a", Side::Access, HERE, PORTS);
        let other = interner.intern("b", Side::Core, HERE, PORTS);
        assert_ne!(first, other);
        assert_eq!(interner.intern("a", Side::Access, HERE, PORTS), first);
    }

    #[test]
    fn a_changed_realm_gets_a_new_number_and_the_old_one_is_not_used_again() {
        let mut interner = Interner::default();
        let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let fewer = PortRange { first: 20_000, last: 20_999 };
        let ids = [
            interner.intern("a", Side::Access, HERE, PORTS),
            interner.intern("a", Side::Access, elsewhere, PORTS),
            interner.intern("a", Side::Access, HERE, fewer),
            interner.intern("a", Side::Core, HERE, PORTS),
        ];
        assert_eq!(ids, [0, 1, 2, 3].map(|n| Some(RealmId(n))));
        assert_eq!(interner.intern("a", Side::Access, HERE, PORTS), ids[0]);
    }

    #[test]
    fn numbers_run_out_without_a_panic() {
        let mut interner = Interner::default();
        for n in 0..=u32::from(u16::MAX) {
            assert!(interner.intern(&n.to_string(), Side::Core, HERE, PORTS).is_some());
        }
        assert_eq!(interner.intern("one more", Side::Core, HERE, PORTS), None);
    }
}
