//! Connections of terminals and softswitch, gateways and controller: TCP, and TLS over it (RFC 3261 sections 18 and 26.2;
//! H.248.1 annex D.2).
//!
//! A message goes by the connection of its sender with its destination; without one, it is dialled. The pings of
//! RFC 5626 section 4.4.1 are answered here.

use crate::tls::Contexts;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use portolan_shards::limits::MAX_STREAM_MESSAGE;
use portolan_shards::types::Transport;
use portolan_shards::wire::sip::{Frame, Framer};
use rustls::Connection;
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

/// Tokens from here on are connections.
const FIRST: usize = 1 << 40;
/// The token of the softswitch's listener.
const LISTENER: usize = FIRST - 1;
/// Room for connections that nobody has accepted yet.
const BACKLOG: i32 = 4096;
const PONG: &[u8] = b"\r\n";
/// What a packet of RFC 1006 begins with: version 3, and a reserved octet. Its length follows, these four octets included.
const TPKT: [u8; 2] = [3, 0];
const TPKT_HEADER: usize = 4;

/// What a connection brought.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Whose connection it is.
    pub(crate) endpoint: usize,
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// What came.
    pub(crate) what: What,
}

/// See [`Heard`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A whole message.
    Message(Vec<u8>),
    /// A ping, already answered.
    Ping,
    /// The other end closed, reset or broke the connection.
    Closed,
}

/// All connections of a run.
pub(crate) struct Streams {
    registry: Registry,
    /// Messages are packets of RFC 1006.
    packets: bool,
    listener: Option<(TcpListener, Transport, usize)>,
    lines: Slab<Line>,
    by_peer: HashMap<(usize, SocketAddr), usize>,
    contexts: Contexts,
    buffer: Vec<u8>,
}

/// One connection.
struct Line {
    socket: TcpStream,
    endpoint: usize,
    peer: SocketAddr,
    tls: Option<Connection>,
    /// Octets of messages that are not whole.
    inbound: Vec<u8>,
    framer: Framer,
    packets: bool,
    /// Octets that the kernel has not taken yet.
    outbound: Vec<u8>,
}

impl Streams {
    /// `packets`: messages are packets of RFC 1006.
    pub(crate) fn new(registry: Registry, contexts: Contexts, packets: bool) -> Self {
        let (listener, lines, by_peer) = Default::default();
        Self { registry, packets, listener, lines, by_peer, contexts, buffer: vec![0; 16 << 10] }
    }

    /// Is this token one of ours?
    pub(crate) const fn owns(key: usize) -> bool {
        key >= LISTENER
    }

    /// Connections that are open.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Accept connections at `address` for this endpoint.
    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        transport: Transport,
        endpoint: usize,
    ) -> io::Result<()> {
        let socket = socket(address)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        self.registry.register(&mut listener, Token(LISTENER), Interest::READABLE)?;
        self.listener = Some((listener, transport, endpoint));
        Ok(())
    }

    /// Write a message to the connection of `endpoint` with `to`; without one, dial from `from`, whose port may be 0.
    ///
    /// # Errors
    /// Dialling is refused at once, or the connection breaks.
    pub(crate) fn send(
        &mut self,
        (endpoint, transport): (usize, Transport),
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> io::Result<()> {
        let key = match self.by_peer.get(&(endpoint, to)) {
            Some(&key) => key,
            None => self.dial(endpoint, transport, from, to)?,
        };
        if self.packets {
            let length = u16::try_from(bytes.len() + TPKT_HEADER).map_err(io::Error::other)?;
            return self.lines[key].say(&[&TPKT[..], &length.to_be_bytes(), bytes].concat());
        }
        self.lines[key].say(bytes)
    }

    /// A token of ours is ready: accept, read and write as far as it goes.
    pub(crate) fn ready(&mut self, key: usize, heard: &mut Vec<Heard>) {
        match key.checked_sub(FIRST) {
            None => self.accept(),
            Some(key) => self.turn(key, heard),
        }
    }

    fn accept(&mut self) {
        let Some((listener, transport, endpoint)) = self.listener.as_ref() else { return };
        let (transport, endpoint) = (*transport, *endpoint);
        let sockets: Vec<_> = std::iter::from_fn(|| listener.accept().ok()).collect();
        for (socket, peer) in sockets {
            let tls = self.contexts.accept(transport);
            // A connection that cannot be had closes at once, and the other end sees it.
            let _ = tls.and_then(|tls| self.put(socket, (endpoint, peer), tls));
        }
    }

    fn dial(
        &mut self,
        endpoint: usize,
        transport: Transport,
        from: SocketAddr,
        to: SocketAddr,
    ) -> io::Result<usize> {
        let socket = socket(to)?;
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let tls = self.contexts.dial(transport, to.ip())?;
        self.put(TcpStream::from_std(socket.into()), (endpoint, to), tls)
    }

    fn put(
        &mut self,
        mut socket: TcpStream,
        (endpoint, peer): (usize, SocketAddr),
        tls: Option<Connection>,
    ) -> io::Result<usize> {
        let entry = self.lines.vacant_entry();
        let key = entry.key();
        let _ = socket.set_nodelay(true);
        self.registry.register(&mut socket, Token(FIRST + key), Interest::READABLE | Interest::WRITABLE)?;
        let (inbound, framer, outbound) = Default::default();
        let packets = self.packets;
        entry.insert(Line { socket, endpoint, peer, tls, inbound, framer, packets, outbound });
        self.by_peer.insert((endpoint, peer), key);
        Ok(key)
    }

    fn turn(&mut self, key: usize, heard: &mut Vec<Heard>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let (endpoint, peer) = (line.endpoint, line.peer);
        let open = line.hear(&mut self.buffer);
        let whole = line.frames(heard);
        if open.and(whole).and_then(|()| line.flush()).is_err() {
            self.lines.remove(key);
            self.by_peer.remove(&(endpoint, peer));
            heard.push(Heard { endpoint, peer, what: What::Closed });
        }
    }
}

/// EINPROGRESS of Linux, which `io::ErrorKind` does not name yet.
const IN_PROGRESS: i32 = 115;

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Line {
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            None => self.outbound.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Write what there is, as far as the kernel takes it.
    fn flush(&mut self) -> io::Result<()> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            tls.write_tls(&mut self.outbound)?;
        }
        while !self.outbound.is_empty() {
            match self.socket.write(&self.outbound) {
                Ok(written) => drop(self.outbound.drain(..written)),
                Err(error) if is_patience(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Read all that has come. The error says that the connection is over; what came before it was taken.
    fn hear(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.take(&buffer[..length])?,
                Err(error) if is_patience(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, mut octets: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            self.inbound.extend_from_slice(octets);
            return Ok(());
        };
        while !octets.is_empty() {
            tls.read_tls(&mut octets)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let before = self.inbound.len();
            self.inbound.resize(before + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut self.inbound[before..])?;
        }
        Ok(())
    }

    /// Cut what has come into messages, and answer pings.
    fn frames(&mut self, heard: &mut Vec<Heard>) -> io::Result<()> {
        if self.packets {
            return self.packets(heard);
        }
        let mut at = 0;
        let (endpoint, peer) = (self.endpoint, self.peer);
        let pings = loop {
            let rest = &self.inbound[at..];
            let (length, what) = match self.framer.next(rest, MAX_STREAM_MESSAGE) {
                Frame::Partial => break Ok(()),
                Frame::Message(length) => (length, What::Message(rest[..length].to_vec())),
                Frame::Ping(length) => (length, What::Ping),
                Frame::Pong(length) => {
                    at += length;
                    continue;
                }
                Frame::Broken(fault) => break Err(io::Error::other(fault.to_string())),
            };
            at += length;
            if what == What::Ping {
                self.outbound_pong()?;
            }
            heard.push(Heard { endpoint, peer, what });
        };
        self.inbound.drain(..at);
        pings
    }

    /// Cut what has come into packets of RFC 1006.
    fn packets(&mut self, heard: &mut Vec<Heard>) -> io::Result<()> {
        while let Some(&[version, reserved, high, low]) = self.inbound.first_chunk::<TPKT_HEADER>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if [version, reserved] != TPKT || length < TPKT_HEADER {
                return Err(io::Error::other("no packet of RFC 1006"));
            }
            if self.inbound.len() < length {
                break;
            }
            let packet: Vec<u8> = self.inbound.drain(..length).collect();
            let what = What::Message(packet[TPKT_HEADER..].to_vec());
            heard.push(Heard { endpoint: self.endpoint, peer: self.peer, what });
        }
        Ok(())
    }

    fn outbound_pong(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(PONG),
            None => {
                self.outbound.extend_from_slice(PONG);
                Ok(())
            }
        }
    }
}

/// Not now, but later.
fn is_patience(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;
    use mio::{Events, Poll};
    use std::time::Duration;

    /// Turns until something was heard.
    fn hear(poll: &mut Poll, streams: &mut Streams) -> Vec<Heard> {
        let (mut heard, mut events) = (Vec::new(), Events::with_capacity(8));
        for _ in 0..100 {
            poll.poll(&mut events, Some(Duration::from_millis(50))).expect("poll");
            events.iter().for_each(|event| streams.ready(event.token().0, &mut heard));
            if !heard.is_empty() {
                break;
            }
        }
        heard
    }

    #[test]
    fn a_ping_is_answered_and_messages_are_cut_apart() {
        let mut poll = Poll::new().expect("poll");
        let contexts = Contexts::load(&Tls::default(), false, false).expect("contexts");
        let mut streams = Streams::new(poll.registry().try_clone().expect("registry"), contexts, false);
        let address: SocketAddr = "127.0.66.1:5060".parse().expect("address");
        streams.listen(address, Transport::Tcp, 7).expect("listen");
        let mut peer = std::net::TcpStream::connect(address).expect("connect");
        let message = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nab";
        peer.write_all(&[&b"\r\n\r\n"[..], message, message].concat()).expect("write");
        let heard = hear(&mut poll, &mut streams);
        let what: Vec<_> = heard.into_iter().map(|heard| heard.what).collect();
        let message = || What::Message(message.to_vec());
        assert_eq!(what, [What::Ping, message(), message()]);
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).expect("pong");
        assert_eq!(pong, PONG);
        drop(peer);
        assert_eq!(hear(&mut poll, &mut streams)[0].what, What::Closed);
        assert_eq!(streams.len(), 0);
    }

    #[test]
    fn packets_are_cut_apart_and_wrapped() {
        let mut poll = Poll::new().expect("poll");
        let contexts = Contexts::load(&Tls::default(), false, false).expect("contexts");
        let mut streams = Streams::new(poll.registry().try_clone().expect("registry"), contexts, true);
        let address: SocketAddr = "127.0.66.2:2944".parse().expect("address");
        streams.listen(address, Transport::Tcp, 7).expect("listen");
        let mut peer = std::net::TcpStream::connect(address).expect("connect");
        peer.write_all(&[3, 0, 0, 6, b'a', b'b', 3, 0, 0, 5, b'c', 3, 0]).expect("write");
        let heard: Vec<_> = hear(&mut poll, &mut streams).into_iter().map(|heard| heard.what).collect();
        assert_eq!(heard, [What::Message(b"ab".to_vec()), What::Message(b"c".to_vec())]);
        let (there, here) = (peer.local_addr().expect("address"), address);
        streams.send((7, Transport::Tcp), here, there, b"xyz").expect("send");
        let mut got = [0; 7];
        peer.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"\x03\x00\x00\x07xyz");
    }
}
