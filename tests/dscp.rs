//! Packets leave with the class of service that their realm's marking says, seen from outside by a packet socket.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, mapping, try_start};
use portolan_shards::realm::{Mapping, Marking, Realm};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Every protocol, as `socket(2)` wants it: ETH_P_ALL in network order.
const ALL_PROTOCOLS: i32 = (libc::ETH_P_ALL as u16).to_be() as i32;
/// Octets of an Ethernet header, which loopback has too.
const ETHERNET: usize = 14;
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What a frame on the wire says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    protocol: u8,
    source: u16,
    dscp: u8,
}

fn parse(frame: &[u8]) -> Option<Seen> {
    let packet = frame.get(ETHERNET..)?;
    let (protocol, dscp, payload) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, packet.get(1)? >> 2, packet.get(usize::from(packet[0] & 15) * 4..)?),
        6 => (*packet.get(6)?, (packet[0] << 4 | packet.get(1)? >> 4) >> 2, packet.get(40..)?),
        _ => return None,
    };
    Some(Seen { protocol, source: u16::from_be_bytes([*payload.first()?, *payload.get(1)?]), dscp })
}

/// A socket that sees all frames; `None` without the right to open one (CAP_NET_RAW).
fn tap() -> Option<Socket> {
    let tap = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS))).ok()?;
    tap.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Some(tap)
}

/// The class of service of the next packet of this protocol from this port.
fn next(mut tap: &Socket, protocol: u8, source: u16) -> u8 {
    let mut frame = [0; 2048];
    loop {
        let len = tap.read(&mut frame).expect("the packet was on the wire");
        match parse(&frame[..len]) {
            Some(seen) if (seen.protocol, seen.source) == (protocol, source) => return seen.dscp,
            _ => {}
        }
    }
}

fn marked(ip: &str, marking: Marking) -> Mapping {
    let mut mapping = mapping(ip, 1);
    mapping.realms[0] = Arc::new(Realm { marking, ..Realm::clone(&mapping.realms[0]) });
    mapping
}

fn media_and_signaling_are_marked(ip: &str) {
    let Some(tap) = tap() else { return eprintln!("skipped: needs CAP_NET_RAW") };
    let _runtime = try_start(marked(ip, Marking { media: 46, signaling: 26 })).unwrap();
    let at = |port| SocketAddr::new(ip.parse().unwrap(), port);
    let client = Client::new(ip);
    client.ask(at(20480), &[0x80; 172]);
    assert_eq!(next(&tap, UDP, 20481), 46);
    client.ask(at(5060), b"echo");
    assert_eq!(next(&tap, UDP, 5060), 26);
    TcpStream::connect(at(5060)).unwrap();
    assert_eq!(next(&tap, TCP, 5060), 26);
}

#[test]
fn media_and_signaling_are_marked_over_ipv4() {
    media_and_signaling_are_marked("127.0.57.1");
}

#[test]
fn media_and_signaling_are_marked_over_ipv6() {
    media_and_signaling_are_marked("::1");
}

#[test]
fn without_a_marking_packets_are_best_effort() {
    let Some(tap) = tap() else { return eprintln!("skipped: needs CAP_NET_RAW") };
    let ip = "127.0.57.2";
    let _runtime = try_start(mapping(ip, 1)).unwrap();
    Client::new(ip).ask(SocketAddr::new(ip.parse().unwrap(), 20482), &[0x80; 172]);
    assert_eq!(next(&tap, UDP, 20483), 0);
}

#[test]
fn frames_are_read_right() {
    let mut v4 = vec![0; ETHERNET];
    v4.extend([0x45, 46 << 2, 0, 28, 0, 0, 0, 0, 64, UDP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0x4e, 0x20]);
    assert_eq!(parse(&v4), Some(Seen { protocol: UDP, source: 20_000, dscp: 46 }));
    let mut v6 = vec![0; ETHERNET];
    v6.extend([0x6b, 0x80, 0, 0, 0, 8, TCP, 64]);
    v6.extend([0; 32]);
    v6.extend([0x4e, 0x21]);
    assert_eq!(parse(&v6), Some(Seen { protocol: TCP, source: 20_001, dscp: 46 }));
    assert_eq!(parse(&v6[..30]), None);
}
