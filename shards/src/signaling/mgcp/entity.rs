//! Notified entities (RFC 3435 sections 2.1.4 and 4.1): whom a gateway tells what happens. Each is shown to the gateway as
//! a name at our own address, and comes back to the call agent as it was written.

use crate::wire::Span;
use crate::wire::mgcp::Endpoint;
use std::net::SocketAddr;

/// Entities that one gateway's call agents may name; the one that was named longest ago goes.
const MAX_ENTITIES: usize = 16;
/// What their local names begin with toward the gateway.
const PREFIX: &[u8] = b"ca";

/// The entities that a gateway was told of.
#[derive(Debug, Default)]
pub(super) struct Entities {
    known: Vec<Entity>,
    next: u32,
}

/// One entity.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    number: u32,
    /// As the call agent wrote it.
    pub(super) written: Box<[u8]>,
    /// Where messages to it go.
    pub(super) agent: SocketAddr,
}

impl Entities {
    /// The number of this entity.
    pub(super) fn number(&mut self, written: &[u8], agent: SocketAddr) -> u32 {
        let same = |e: &Entity| e.written[..] == *written && e.agent == agent;
        if let Some(at) = self.known.iter().position(same) {
            self.known[at..].rotate_left(1);
            return self.known.last().map_or(0, |entity| entity.number);
        }
        if self.known.len() == MAX_ENTITIES {
            self.known.remove(0);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.known.push(Entity { number, written: written.into(), agent });
        number
    }

    /// The entity that a gateway means by this name.
    pub(super) fn named(&self, bytes: &[u8], name: &Endpoint) -> Option<&Entity> {
        let local = name.local.of(bytes);
        let (prefix, digits) = local.split_at_checked(PREFIX.len())?;
        let number = std::str::from_utf8(digits).ok()?.parse::<u32>().ok()?;
        let meant = |e: &&Entity| prefix.eq_ignore_ascii_case(PREFIX) && e.number == number;
        self.known.iter().find(meant)
    }
}

/// How a gateway is told of entity `number`: a name at our address.
pub(super) fn shown(number: u32, ours: SocketAddr) -> String {
    format!("ca{number}@{}", written(ours))
}

/// An address as MGCP writes it: in brackets, whatever its family.
pub(super) fn written(address: SocketAddr) -> String {
    format!("[{}]:{}", address.ip(), address.port())
}

/// The entity in a parameter's value.
pub(super) fn read(value: &[u8]) -> Option<Endpoint> {
    Endpoint::parse(value, Span::new(0, value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_keeps_its_number_until_too_many_were_named_after_it() {
        let agent = "10.0.0.30:2727".parse().unwrap();
        let mut entities = Entities::default();
        let first = entities.number(b"ca@one", agent);
        assert_eq!(entities.number(b"ca@two", agent), first + 1);
        assert_eq!(entities.number(b"ca@one", agent), first);
        let meant = |entities: &Entities, name: &[u8]| {
            entities.named(name, &read(name).unwrap()).map(|entity| entity.written.to_vec())
        };
        let shown = shown(first, "198.51.100.10:2427".parse().unwrap());
        assert_eq!(shown, "ca0@[198.51.100.10]:2427");
        assert_eq!(meant(&entities, shown.to_uppercase().as_bytes()), Some(b"ca@one".to_vec()));
        for n in 0..MAX_ENTITIES {
            entities.number(format!("ca@more{n}").as_bytes(), agent);
        }
        assert_eq!(meant(&entities, shown.as_bytes()), None);
        assert_eq!(meant(&entities, b"x@[198.51.100.10]"), None);
    }
}
