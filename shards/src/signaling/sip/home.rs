//! Where a terminal was heard when it named a place of its own, sealed with that place: the only way back to it.

use crate::types::{Flow, RealmId, ShardId, StreamId, Transport};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The flow of a terminal, and who can tell whether it is still one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Its realm is that of whoever opens it: numbers of realms change.
    pub(super) flow: Flow,
    /// The shard that should hold a binding on this flow.
    pub(super) keeper: ShardId,
}

impl Home {
    /// A terminal that is heard by this flow.
    pub(super) const fn of(flow: &Flow, keeper: ShardId) -> Self {
        Self { flow: Flow { realm: RealmId(0), ..*flow }, keeper }
    }

    /// As octets, to be sealed: 18 for UDP over IPv4, at most 56. The first is never 0.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Flow { transport, local, remote, stream, .. } = self.flow;
        let mut out = vec![transport as u8 + 1];
        out.extend(self.keeper.0.to_be_bytes());
        put_address(&mut out, local);
        put_address(&mut out, remote);
        match stream {
            None => out.push(0),
            Some(stream) => {
                out.push(1);
                out.extend(stream.shard.0.to_be_bytes());
                out.extend(stream.serial.to_be_bytes());
            }
        }
        out
    }

    /// From the octets of [`Self::to_bytes`], and what follows them; `None` if they are none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (number, rest) = bytes.split_first()?;
        let transport = Transport::ALL.into_iter().find(|transport| *transport as u8 + 1 == *number)?;
        let (keeper, rest) = rest.split_first_chunk()?;
        let (local, rest) = address(rest)?;
        let (remote, rest) = address(rest)?;
        let (stream, rest) = match rest.split_first()? {
            (0, rest) => (None, rest),
            (_, rest) => {
                let (shard, rest) = rest.split_first_chunk()?;
                let (serial, rest) = rest.split_first_chunk()?;
                let shard = ShardId(u16::from_be_bytes(*shard));
                (Some(StreamId { shard, serial: u32::from_be_bytes(*serial) }), rest)
            }
        };
        let flow = Flow { realm: RealmId(0), transport, local, remote, stream };
        Some((Self { flow, keeper: ShardId(u16::from_be_bytes(*keeper)) }, rest))
    }
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            out.push(4);
            out.extend(v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.push(6);
            out.extend(v6.ip().octets());
            out.extend(v6.scope_id().to_be_bytes());
        }
    }
    out.extend(address.port().to_be_bytes());
}

fn address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (family, rest) = bytes.split_first()?;
    let (ip, scope, rest) = match family {
        4 => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*ip), 0, rest)
        }
        6 => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let (scope, rest) = rest.split_first_chunk()?;
            (IpAddr::from(*ip), u32::from_be_bytes(*scope), rest)
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    let address = match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    };
    Some((address, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_shorter_does() {
        let stream = StreamId { shard: ShardId(3), serial: 77 };
        for (local, remote, transport, stream, octets) in [
            ("198.51.100.10:5060", "203.0.113.7:40001", Transport::Udp, None, 18),
            ("[2001:db8::1]:5061", "[fe80::7%4]:40001", Transport::Tls, Some(stream), 56),
        ] {
            let [local, remote] = [local, remote].map(|text| text.parse().expect("an address"));
            let flow = Flow { realm: RealmId(5), transport, local, remote, stream };
            let home = Home::of(&flow, ShardId(9));
            let bytes = home.to_bytes();
            assert_eq!(bytes.len(), octets);
            assert_eq!(Home::from_bytes(&[&bytes[..], b"rest"].concat()), Some((home, &b"rest"[..])));
            assert!(home.flow.same_path(&flow));
            for end in 0..bytes.len() {
                assert_eq!(Home::from_bytes(&bytes[..end]), None, "{end} octets");
            }
        }
    }
}
