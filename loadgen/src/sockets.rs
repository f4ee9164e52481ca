//! Real UDP sockets and who they belong to.

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Room for a burst of messages while the thread does something else.
const BUFFER: usize = 4 << 20;
/// Larger than any datagram that is not a mistake.
pub(crate) const DATAGRAM: usize = 9000;

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The softswitch's own.
    Softswitch,
    /// The public side of a mapping of this NAT.
    Nat(u32),
    /// Of this terminal, which has no NAT.
    Terminal(u32),
}

/// All sockets of a run.
pub(crate) struct Sockets {
    poll: Poll,
    events: Events,
    sockets: Slab<(UdpSocket, SocketAddr, Owner)>,
    by_address: HashMap<SocketAddr, usize>,
    /// Datagrams that the kernel refused.
    pub(crate) refused: u64,
}

impl Sockets {
    pub(crate) fn new() -> io::Result<Self> {
        let (sockets, by_address) = (Slab::new(), HashMap::new());
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(1024), sockets, by_address, refused: 0 })
    }

    /// Where connections register.
    pub(crate) fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Bind an address; port 0 lets the kernel choose. Gives the address that was bound.
    pub(crate) fn bind(&mut self, address: SocketAddr, owner: Owner) -> io::Result<SocketAddr> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The kernel gives what its own limit allows; less is no mistake.
        let _ = socket.set_recv_buffer_size(BUFFER);
        socket.bind(&address.into())?;
        let mut socket = UdpSocket::from_std(socket.into());
        let bound = socket.local_addr()?;
        let entry = self.sockets.vacant_entry();
        self.poll.registry().register(&mut socket, Token(entry.key()), Interest::READABLE)?;
        self.by_address.insert(bound, entry.key());
        entry.insert((socket, bound, owner));
        Ok(bound)
    }

    /// A free port of the kernel's choice on this address.
    pub(crate) fn bind_any(&mut self, ip: IpAddr, owner: Owner) -> io::Result<SocketAddr> {
        self.bind(SocketAddr::new(ip, 0), owner)
    }

    pub(crate) fn close(&mut self, address: SocketAddr) {
        if let Some(key) = self.by_address.remove(&address) {
            // Closing the socket also ends its registration.
            drop(self.sockets.try_remove(key));
        }
    }

    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let socket = self.by_address.get(&from).and_then(|&key| self.sockets.get(key));
        let sent = socket.is_some_and(|(socket, ..)| socket.send_to(bytes, to).is_ok());
        self.refused += u64::from(!sent);
    }

    /// Wait until something can be read; gives the keys of the readable sockets.
    pub(crate) fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                ready.extend(self.events.iter().map(|event| event.token().0));
                Ok(())
            }
        }
    }

    /// The next datagram of a readable socket: its length, where it came to, from whom, and whose it is. Read until
    /// `None`: readiness is told once.
    pub(crate) fn receive(
        &self,
        key: usize,
        buffer: &mut [u8],
    ) -> Option<(usize, SocketAddr, SocketAddr, Owner)> {
        let (socket, local, owner) = self.sockets.get(key)?;
        loop {
            match socket.recv_from(buffer) {
                Ok((length, from)) => return Some((length, *local, from, *owner)),
                // A refused send comes back as an error of the next receive; what was received is still behind it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }
}
