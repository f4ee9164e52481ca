//! What the kernel says about UDP sockets of this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Datagrams that the sockets bound to this address have lost for want of room, since each was opened.
pub fn drops(ip: Ipv4Addr) -> u64 {
    table().lines().filter_map(line).filter(|(address, _)| address.ip() == ip).map(|(_, drops)| drops).sum()
}

/// Sockets that are bound to this address.
pub fn bound(ip: Ipv4Addr) -> u64 {
    table().lines().filter_map(line).filter(|(address, _)| address.ip() == ip).count() as u64
}

/// Is somebody bound to this address?
pub fn is_bound(address: SocketAddr) -> bool {
    table().lines().filter_map(line).any(|(bound, _)| bound == address)
}

fn table() -> String {
    std::fs::read_to_string("/proc/net/udp").unwrap_or_default()
}

/// The local address and the drops of one line (proc(5)); the address is in the machine's own order of octets.
fn line(text: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = text.split_ascii_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(IpAddr::V4(ip), port), fields.last()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_bound_socket_shows() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let address = socket.local_addr().expect("address");
        assert!(is_bound(address));
        assert!(bound(Ipv4Addr::LOCALHOST) >= 1);
        drop(socket);
        assert!(!is_bound(address));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let ip = Ipv4Addr::new(127, 99, 0, 7);
        let socket = UdpSocket::bind((ip, 0)).expect("socket");
        let to = socket.local_addr().expect("address");
        assert_eq!(drops(ip), 0);
        (0..4_000).for_each(|_| drop(socket.send_to(&[0; 1_000], to)));
        assert!(drops(ip) > 0);
    }
}
