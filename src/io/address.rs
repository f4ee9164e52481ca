//! Socket addresses as the kernel lays them out, without `unsafe`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Octets of the larger one of `sockaddr_in` and `sockaddr_in6`.
pub(super) const NAME: usize = size_of::<libc::sockaddr_in6>();
const NAME_V4: usize = size_of::<libc::sockaddr_in>();

const V4: u16 = libc::AF_INET as u16;
const V6: u16 = libc::AF_INET6 as u16;

/// Writes `address` as a `sockaddr_in` or `sockaddr_in6`; returns how many octets of `name` it takes.
pub(super) fn encode(address: SocketAddr, name: &mut [u8; NAME]) -> u32 {
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&V4.to_ne_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            name[8..NAME_V4].fill(0);
            NAME_V4 as u32
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&V6.to_ne_bytes());
            name[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            NAME as u32
        }
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`; `None` for any other family.
pub(super) fn decode(name: &[u8; NAME]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([name[2], name[3]]);
    match u16::from_ne_bytes([name[0], name[1]]) {
        V4 => {
            let ip = Ipv4Addr::new(name[4], name[5], name[6], name[7]);
            Some(SocketAddrV4::new(ip, port).into())
        }
        V6 => {
            let ip = Ipv6Addr::from(word::<16>(name, 8));
            let flow = u32::from_be_bytes(word(name, 4));
            let scope = u32::from_ne_bytes(word(name, 24));
            Some(SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

fn word<const N: usize>(name: &[u8; NAME], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&name[at..at + N]);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> (SocketAddr, Option<SocketAddr>, u32) {
        let address = text.parse().unwrap();
        let mut name = [0xff; NAME];
        let len = encode(address, &mut name);
        (address, decode(&name), len)
    }

    #[test]
    fn v4_survives_the_round_trip() {
        let (address, back, len) = round_trip("192.0.2.7:5060");
        assert_eq!((back, len), (Some(address), 16));
    }

    #[test]
    fn v6_survives_the_round_trip_with_its_scope() {
        let (address, back, len) = round_trip("[fe80::1%3]:20000");
        assert_eq!((back, len), (Some(address), 28));
    }

    #[test]
    fn other_families_are_not_addresses() {
        assert_eq!(decode(&[0; NAME]), None);
    }
}
