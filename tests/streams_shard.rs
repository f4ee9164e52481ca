//! A registration over each transport through the real shard, to softswitches that are reached by UDP, TCP and TLS.
#![allow(clippy::unwrap_used)]

#[path = "common/certificates.rs"]
mod certificates;

use certificates::Authority;
use portolan::runtime::{Options, Runtime};
use portolan::tls::{Contexts, RealmTls};
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Keepalive, Mapping, PortRange, Realm, Route, Server, Softswitch};
use portolan_shards::shard::Shard;
use portolan_shards::types::{RealmId, Side, Transport};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const ACCESS: RealmId = RealmId(0);
const CORE: RealmId = RealmId(1);
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

/// Octets both ways.
trait Octets: Read + Write + Send {}
impl<T: Read + Write + Send> Octets for T {}

/// A place that messages are read from and written to.
enum Line {
    /// With the sender of the last one.
    Datagrams(UdpSocket, Option<SocketAddr>),
    Stream(Box<dyn Octets>),
    Frames(Box<WebSocket<Box<dyn Octets>>>),
}

impl Line {
    fn send(&mut self, text: &str) {
        match self {
            Self::Datagrams(socket, from) => drop(socket.send_to(text.as_bytes(), from.unwrap()).unwrap()),
            Self::Stream(stream) => stream.write_all(text.as_bytes()).unwrap(),
            Self::Frames(frames) => frames.send(Message::text(text)).unwrap(),
        }
    }

    /// The next message; it has no body.
    fn receive(&mut self) -> String {
        match self {
            Self::Datagrams(socket, last) => {
                let mut buffer = [0; 4096];
                let (len, from) = socket.recv_from(&mut buffer).unwrap();
                *last = Some(from);
                String::from_utf8_lossy(&buffer[..len]).into_owned()
            }
            Self::Stream(stream) => {
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n\r\n") {
                    text.push(0);
                    let last = text.len() - 1;
                    stream.read_exact(&mut text[last..]).unwrap();
                }
                String::from_utf8(text).unwrap()
            }
            Self::Frames(frames) => frames.read().unwrap().into_text().unwrap().to_string(),
        }
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(PATIENCE).unwrap();
    stream
}

/// Where a softswitch waits, until somebody has come.
enum Exchange {
    Udp(UdpSocket),
    Tcp(TcpListener),
    Tls(TcpListener, Contexts),
}

impl Exchange {
    fn new(transport: Transport, ip: &str, authority: &Authority) -> (Self, SocketAddr) {
        if transport == Transport::Udp {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_read_timeout(PATIENCE).unwrap();
            let address = socket.local_addr().unwrap();
            return (Self::Udp(socket), address);
        }
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if transport == Transport::Tcp {
            return (Self::Tcp(listener), address);
        }
        let mutual = RealmTls {
            clients: Some(authority.roots()),
            require_client: true,
            ..authority.realm(&["sx.example"])
        };
        (Self::Tls(listener, Contexts::load(&[(CORE, mutual)]).unwrap()), address)
    }

    fn answer(self) -> Line {
        match self {
            Self::Udp(socket) => Line::Datagrams(socket, None),
            Self::Tcp(listener) => Line::Stream(Box::new(listener.accept().unwrap().0)),
            Self::Tls(listener, contexts) => {
                let connection = ServerConnection::new(contexts.server(CORE).unwrap()).unwrap();
                Line::Stream(Box::new(StreamOwned::new(connection, listener.accept().unwrap().0)))
            }
        }
    }
}

fn realm(id: RealmId, side: Side, ip: &str) -> Realm {
    Realm::new(id, "r", side, ip.parse().unwrap(), PortRange { first: 21_248, last: 21_503 })
}

/// One shard or more between terminals at `.1` and a softswitch at `.3`.
fn run(net: &str, shards: u16, authority: &Authority, softswitch: Server) -> Runtime {
    let access = Realm {
        sip: vec![
            (Transport::Udp, 5060),
            (Transport::Tcp, 5060),
            (Transport::Tls, 5061),
            (Transport::Ws, 8080),
            (Transport::Wss, 8443),
        ],
        ..realm(ACCESS, Side::Access, &format!("{net}.1"))
    };
    let core = Realm {
        sip: vec![(Transport::Udp, 5060)],
        per_shard: Some(6000),
        per_shard_tls: Some(6100),
        ..realm(CORE, Side::Core, &format!("{net}.2"))
    };
    let mapping = Mapping {
        generation: 1,
        shards,
        secret: [7; 32],
        realms: vec![Arc::new(access), Arc::new(core)],
        softswitches: vec![Arc::new(Softswitch::new("sx", CORE, vec![softswitch]))],
        routes: vec![Route::all(ACCESS, 0)],
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits::default(),
    };
    let tls = [(ACCESS, authority.realm(&["a.example"])), (CORE, authority.realm(&["core.example"]))];
    let tls = Arc::new(Contexts::load(&tls).unwrap());
    let cores = vec![0; usize::from(shards)];
    Runtime::start::<Shard>(&Options { mapping: Arc::new(mapping), cores, seed: Some([3; 32]), tls }).unwrap()
}

/// A terminal's connection.
fn terminal(net: &str, transport: Transport, authority: &Authority) -> Line {
    let at = |port| SocketAddr::new(format!("{net}.1").parse().unwrap(), port);
    let tls = |port| -> Box<dyn Octets> {
        let roots = RealmTls { roots: Some(authority.roots()), ..RealmTls::default() };
        let config = Contexts::load(&[(ACCESS, roots)]).unwrap().client(ACCESS).unwrap();
        let connection = ClientConnection::new(config, "a.example".try_into().unwrap()).unwrap();
        Box::new(StreamOwned::new(connection, dial(at(port))))
    };
    let frames = |stream| {
        let mut request = "ws://a.example/".into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
        Line::Frames(Box::new(tungstenite::client(request, stream).unwrap().0))
    };
    match transport {
        Transport::Udp => unreachable!("connections only"),
        Transport::Tcp => Line::Stream(Box::new(dial(at(5060)))),
        Transport::Tls => Line::Stream(tls(5061)),
        Transport::Ws => frames(Box::new(dial(at(8080)))),
        Transport::Wss => frames(tls(8443)),
    }
}

fn register(transport: Transport, number: usize) -> String {
    let token = transport.token();
    let param = transport.param();
    format!(
        "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/{token} 192.168.1.9:5060;branch=z9hG4bK{number}{token};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:u{number}@example.net>;tag=1\r\nTo: <sip:u{number}@example.net>\r\n\
         Call-ID: c{number}{token}\r\nCSeq: 1 REGISTER\r\nContact: <sip:u{number}@192.168.1.9:5060;transport={param}>\r\n\
         Expires: 300\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The registrar's 200.
fn accept(request: &str) -> String {
    let copied = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: ", "Contact: "];
    let lines = request.split("\r\n").filter(|line| copied.iter().any(|name| line.starts_with(name)));
    let lines: Vec<String> = lines
        .map(|line| {
            let tag = if line.starts_with("To: ") { ";tag=2" } else { "" };
            let expires = if line.starts_with("Contact: ") { ";expires=300" } else { "" };
            format!("{line}{tag}{expires}\r\n")
        })
        .collect();
    format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", lines.concat())
}

fn registrations(net: &str, shards: u16, toward: Transport) {
    let authority = Authority::new("a");
    let (exchange, address) = Exchange::new(toward, &format!("{net}.3"), &authority);
    let name = (toward == Transport::Tls).then(|| "sx.example".into());
    let runtime = run(net, shards, &authority, Server { transport: toward, name, ..Server::udp(address) });
    // With one shard the softswitch sees one connection; what more shards dial is answered one by one.
    let mut exchange = Some(exchange);
    let mut line = None;
    let from = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    let mut terminals = Vec::new();
    for (number, transport) in from.into_iter().enumerate() {
        let mut terminal = terminal(net, transport, &authority);
        terminal.send(&register(transport, number));
        let line: &mut Line = line.get_or_insert_with(|| exchange.take().unwrap().answer());
        let request = line.receive();
        assert!(request.starts_with("REGISTER "), "{request}");
        assert!(request.contains(&format!("SIP/2.0/{} {net}.2", toward.token())), "{request}");
        assert!(!request.contains("192.168.1.9"), "{request}");
        line.send(&accept(&request));
        let answer = terminal.receive();
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert!(answer.contains("192.168.1.9"), "the terminal's own contact: {answer}");
        terminals.push(terminal);
    }
    let figures = runtime.fresh_stats();
    assert_eq!(figures.iter().map(|shard| shard.stats.bindings).sum::<u64>(), 4);
    assert_eq!(figures.iter().map(|shard| shard.streams.accepted).sum::<u64>(), 4);
}

#[test]
fn to_a_softswitch_reached_by_udp() {
    registrations("127.54.1", 2, Transport::Udp);
}

#[test]
fn to_a_softswitch_reached_by_tcp() {
    registrations("127.54.2", 1, Transport::Tcp);
}

#[test]
fn to_a_softswitch_reached_by_tls() {
    registrations("127.54.3", 1, Transport::Tls);
}
