//! Elements of our own.

use super::element::write_length;
use crate::wire::h248::{ChangeAddress, Mid};
use std::net::IpAddr;

/// An element with this identifier octet.
pub(in crate::wire::h248) fn element(identifier: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(identifier);
    write_length(&mut out, content.len(), 0);
    out.extend_from_slice(content);
    out
}

/// An element that holds others.
pub(in crate::wire::h248) fn around(identifier: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(identifier, &parts.concat())
}

/// An INTEGER that is not negative.
pub(in crate::wire::h248) fn integer(identifier: u8, number: u32) -> Vec<u8> {
    let octets = u64::from(number).to_be_bytes();
    let zeros = octets.iter().take_while(|&&octet| octet == 0).count().min(7);
    // A first bit that is set would make it negative.
    let from = if octets[zeros] >= 0x80 { zeros - 1 } else { zeros };
    element(identifier, &octets[from..])
}

/// An alternative of the choice Mid.
pub(in crate::wire::h248) fn mid(mid: &Mid) -> Vec<u8> {
    named(mid, 0)
}

/// An alternative of the choice ServiceChangeAddress.
pub(in crate::wire::h248) fn change_address(address: &ChangeAddress) -> Vec<u8> {
    match address {
        ChangeAddress::Port(port) => integer(0x80, u32::from(*port)),
        ChangeAddress::Mid(mid) => named(mid, 1),
    }
}

/// The alternative; `first` is the number of the one for IPv4 addresses.
fn named(mid: &Mid, first: u8) -> Vec<u8> {
    let with_port = |number: u8, name: &[u8], port: &Option<u16>| {
        let port = port.map(|port| integer(0x81, u32::from(port))).unwrap_or_default();
        around(0xa0 + first + number, &[element(0x80, name), port])
    };
    match mid {
        Mid::Ip(IpAddr::V4(ip), port) => with_port(0, &ip.octets(), port),
        Mid::Ip(IpAddr::V6(ip), port) => with_port(1, &ip.octets(), port),
        Mid::Domain(name, port) => with_port(2, name.as_bytes(), port),
        Mid::Device(name) => element(0x83 + first, name.as_bytes()),
        Mid::Mtp(octets) => element(0x84 + first, octets),
    }
}
