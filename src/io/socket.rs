//! Binding UDP sockets, and TCP sockets that listen or dial.

use super::datagrams::{Dscp, Kind};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Receive buffer of a signaling socket in octets: a registration storm after an outage must fit while a shard is
/// busy. The kernel may grant less (net.core.rmem_max).
const SIGNALING_BUFFER: usize = 4 << 20;
/// Receive buffer of a media socket in octets (the kernel counts twice as much, its own overhead included): some 300
/// packets of audio, six seconds of a call. A flood at one port fills this and nothing else, whatever
/// net.core.rmem_default is.
const MEDIA_BUFFER: usize = 128 << 10;

/// Binds a UDP socket. A media address is ours alone (no SO_REUSEADDR, no SO_REUSEPORT); a shared signaling address is
/// bound by every shard. An IPv6 socket carries IPv6 only. Packets are marked with `dscp`.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub fn bind(address: SocketAddr, kind: Kind, dscp: Dscp) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    mark(&socket, address, dscp)?;
    if let Kind::Signaling { shared } = kind {
        socket.set_reuse_port(shared)?;
    }
    size_receive_buffer(&socket, kind);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Connections that wait to be accepted: those of a storm after an outage. The kernel may grant less
/// (net.core.somaxconn).
const BACKLOG: i32 = 4096;
/// Probes of a silent connection: the first after a minute, then every 15 seconds, and four in all.
const PROBES: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Binds a TCP socket and listens. A shared address is bound by every shard. What is accepted inherits the options
/// (no delay, keepalive, `dscp`). An IPv6 socket carries IPv6 only.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)`, `bind(2)` and `listen(2)`.
pub fn listen(address: SocketAddr, shared: bool, dscp: Dscp) -> io::Result<Socket> {
    let socket = stream(address)?;
    mark(&socket, address, dscp)?;
    // Connections of an earlier process may still linger at the address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Finds out whether TCP could listen on this address, beside our own listeners. Nothing is accepted meanwhile.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub fn try_stream(address: SocketAddr) -> io::Result<()> {
    let socket = stream(address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())
}

/// A TCP socket that will dial `to` from any port of `from`, marked with `dscp`.
///
/// # Errors
/// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`.
pub fn dialler(from: IpAddr, to: SocketAddr, dscp: Dscp) -> io::Result<Socket> {
    let socket = stream(to)?;
    mark(&socket, to, dscp)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    Ok(socket)
}

fn stream(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&PROBES)?;
    Ok(socket)
}

/// Best effort: a buffer of another size works too.
fn size_receive_buffer(socket: &Socket, kind: Kind) {
    let size = if kind == Kind::Media { MEDIA_BUFFER } else { SIGNALING_BUFFER };
    if let Err(error) = socket.set_recv_buffer_size(size) {
        tracing::debug!(%error, "the receive buffer of a socket stays as it is");
    }
}

/// Sets the class of service of what leaves by a socket of this family.
fn mark(socket: &Socket, family: SocketAddr, dscp: Dscp) -> io::Result<()> {
    match (dscp.octet(), family) {
        (0, _) => Ok(()),
        (octet, SocketAddr::V4(_)) => socket.set_tos_v4(octet),
        (octet, SocketAddr::V6(_)) => socket.set_tclass_v6(octet),
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
        let first = bind(loopback(), Kind::Media, Dscp::default()).unwrap();
        for kind in [Kind::Media, Kind::Signaling { shared: true }] {
            let error = bind(address(&first), kind, Dscp::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn shared_signaling_addresses_are_bound_more_than_once() {
        let kind = Kind::Signaling { shared: true };
        let first = bind(loopback(), kind, Dscp::default()).unwrap();
        assert!(bind(address(&first), kind, Dscp::default()).is_ok());
        let exclusive = bind(address(&first), Kind::Signaling { shared: false }, Dscp::default());
        assert_eq!(exclusive.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stream_address_that_another_listens_on_is_found_taken() {
        let other = std::net::TcpListener::bind(loopback()).unwrap();
        let error = try_stream(other.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(try_stream(loopback()).is_ok());
    }
}
