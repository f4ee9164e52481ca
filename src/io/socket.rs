//! Binding UDP sockets.

use super::datagrams::Kind;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// Receive buffer of a signaling socket in octets: a registration storm after an outage must fit while a shard is
/// busy. The kernel may grant less (net.core.rmem_max).
const SIGNALING_BUFFER: usize = 4 << 20;

/// Binds a UDP socket. A media address is ours alone (no SO_REUSEADDR, no SO_REUSEPORT); a shared signaling address is
/// bound by every shard. An IPv6 socket carries IPv6 only.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub fn bind(address: SocketAddr, kind: Kind) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Kind::Signaling { shared } = kind {
        socket.set_reuse_port(shared)?;
        grow_receive_buffer(&socket);
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Best effort: a smaller buffer works too.
fn grow_receive_buffer(socket: &Socket) {
    if let Err(error) = socket.set_recv_buffer_size(SIGNALING_BUFFER) {
        tracing::debug!(%error, "the receive buffer of a signaling socket stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn address(socket: &Socket) -> SocketAddr {
        socket.local_addr().unwrap().as_socket().unwrap()
    }

    #[test]
    fn media_addresses_are_exclusive() {
        let first = bind(loopback(), Kind::Media).unwrap();
        for kind in [Kind::Media, Kind::Signaling { shared: true }] {
            let error = bind(address(&first), kind).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn shared_signaling_addresses_are_bound_more_than_once() {
        let kind = Kind::Signaling { shared: true };
        let first = bind(loopback(), kind).unwrap();
        assert!(bind(address(&first), kind).is_ok());
        let exclusive = bind(address(&first), Kind::Signaling { shared: false });
        assert_eq!(exclusive.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
