//! TLS in the runtime, with real sockets, certificates made on the spot, and a brain that echoes.
#![allow(clippy::unwrap_used)]

mod common;

use common::certificates::Authority;
use common::{Client, mapping, try_start_tls};
use portolan::runtime::{Runtime, StreamEnd};
use portolan::tls::{Contexts, RealmTls};
use portolan_shards::io::DropReason;
use portolan_shards::types::{RealmId, Transport};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn contexts(realm: RealmTls) -> Contexts {
    Contexts::load(&[(RealmId(0), realm)]).unwrap()
}

fn run(ip: &str, realm: RealmTls) -> Runtime {
    let mut mapping = mapping(ip, 1);
    Arc::make_mut(&mut mapping.realms[0]).sip.push((Transport::Tls, 5061));
    try_start_tls(mapping, contexts(realm)).unwrap()
}

/// A client that believes `roots`.
fn client(roots: &Authority, own: Option<(PathBuf, PathBuf)>) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots.roots()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(store);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = vec![CertificateDer::from_pem_file(chain).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
        }
    })
}

fn connect(ip: &str, config: &Arc<ClientConfig>, name: &'static str) -> Tls {
    let socket = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), 5061)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let connection = ClientConnection::new(config.clone(), ServerName::try_from(name).unwrap()).unwrap();
    StreamOwned::new(connection, socket)
}

/// What comes back for a message; an error when the connection does not come about.
fn ask(stream: &mut Tls, message: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(message)?;
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn message(body: usize) -> Vec<u8> {
    let mut message = format!("echo\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    message.resize(message.len() + body, b'x');
    message
}

fn ended(runtime: &Runtime, end: StreamEnd) -> u64 {
    runtime.fresh_stats().iter().map(|shard| shard.streams.closed[end as usize]).sum()
}

fn own_certificate(stream: &Tls) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn messages_come_back_enciphered() {
    let (ip, authority) = ("127.0.52.1", Authority::new("a"));
    let runtime = run(ip, authority.realm(&["sip.example"]));
    let config = client(&authority, None);
    let mut stream = connect(ip, &config, "sip.example");
    for body in [0, 1, 1000, 60_000] {
        assert_eq!(ask(&mut stream, &message(body)).unwrap(), message(body), "{body} octets");
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "the goodbye is answered");
    assert_eq!(ended(&runtime, StreamEnd::Peer), 1);
}

#[test]
fn a_name_chooses_the_certificate() {
    let (ip, authority) = ("127.0.52.2", Authority::new("a"));
    let mut realm = authority.realm(&["one.example"]);
    realm.certificates.push(authority.sign(&["two.example", "*.three.example"]));
    let _runtime = run(ip, realm);
    let config = client(&authority, None);
    for name in ["two.example", "one.example", "x.three.example"] {
        assert!(ask(&mut connect(ip, &config, name), &message(3)).is_ok(), "{name}");
    }
    assert!(ask(&mut connect(ip, &config, "four.example"), &message(3)).is_err(), "the first one is not its");
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let (ip, authority, stranger) = ("127.0.52.3", Authority::new("a"), Authority::new("b"));
    let mutual = RealmTls {
        clients: Some(authority.roots()),
        require_client: true,
        ..authority.realm(&["a.example"])
    };
    let runtime = run(ip, mutual);
    let ask = |own| ask(&mut connect(ip, &client(&authority, own), "a.example"), &message(3));
    assert!(ask(Some(authority.sign(&["phone"]))).is_ok());
    assert!(ask(None).is_err());
    assert!(ask(Some(stranger.sign(&["phone"]))).is_err());
    assert_eq!(ended(&runtime, StreamEnd::Handshake), 2);
    let malformed = runtime.fresh_stats()[0].stats.dropped(DropReason::Malformed);
    assert_eq!(malformed, 2);
}

#[test]
fn a_certificate_may_be_optional() {
    let (ip, authority, stranger) = ("127.0.52.4", Authority::new("a"), Authority::new("b"));
    let asked = RealmTls { clients: Some(authority.roots()), ..authority.realm(&["a.example"]) };
    let _runtime = run(ip, asked);
    let ask = |own| ask(&mut connect(ip, &client(&authority, own), "a.example"), &message(3));
    assert!(ask(Some(authority.sign(&["phone"]))).is_ok());
    assert!(ask(None).is_ok());
    assert!(ask(Some(stranger.sign(&["phone"]))).is_err());
}

#[test]
fn new_connections_begin_with_new_certificates_and_old_ones_go_on() {
    let (ip, authority) = ("127.0.52.5", Authority::new("a"));
    let runtime = run(ip, authority.realm(&["a.example"]));
    let config = client(&authority, None);
    let mut old = connect(ip, &config, "a.example");
    ask(&mut old, &message(3)).unwrap();
    let next = contexts(RealmTls {
        certificates: vec![authority.sign(&["a.example", "next"])],
        ..RealmTls::default()
    });
    runtime.renew(Arc::new(next));
    let mut new = connect(ip, &client(&authority, None), "a.example");
    ask(&mut new, &message(3)).unwrap();
    assert_ne!(own_certificate(&old), own_certificate(&new));
    assert_eq!(ask(&mut old, &message(5)).unwrap(), message(5));
}

#[test]
fn a_handshake_that_never_ends_stalls() {
    let (ip, authority) = ("127.0.52.6", Authority::new("a"));
    let runtime = run(ip, authority.realm(&["a.example"]));
    let mut socket = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), 5061)).unwrap();
    socket.write_all(b"\x16\x03\x01").unwrap();
    assert_eq!(socket.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(ended(&runtime, StreamEnd::Stall), 1);
}

#[test]
fn what_is_not_tls_fails_the_handshake() {
    let (ip, authority) = ("127.0.52.7", Authority::new("a"));
    let runtime = run(ip, authority.realm(&["a.example"]));
    let mut socket = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), 5061)).unwrap();
    socket.write_all(b"OPTIONS sip:a SIP/2.0\r\n\r\n").unwrap();
    let mut alert = Vec::new();
    socket.read_to_end(&mut alert).unwrap();
    assert_eq!(alert[0], 21, "an alert");
    assert_eq!(ended(&runtime, StreamEnd::Handshake), 1);
}

/// A server that takes one connection with these contexts, and says what it hears.
fn server(ip: &str, contexts: &Contexts) -> (SocketAddr, std::thread::JoinHandle<std::io::Result<Vec<u8>>>) {
    let (listener, config) = (TcpListener::bind((ip, 0)).unwrap(), contexts.server(RealmId(0)).unwrap());
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), listener.accept()?.0);
        let mut hello = vec![0; 9];
        stream.read_exact(&mut hello)?;
        stream.write_all(b"hi\r\n\r\n")?;
        let mut rest = [0; 8];
        stream.read(&mut rest).map(|_| hello)
    });
    (address, heard)
}

#[test]
fn servers_are_verified_and_see_our_certificate() {
    let (ip, authority, stranger) = ("127.0.52.8", Authority::new("a"), Authority::new("b"));
    let runtime = run(ip, authority.realm(&["a.example"]));
    let watcher = Client::new(ip);
    let home = SocketAddr::new(ip.parse().unwrap(), 6000);
    watcher.ask(home, b"watch");
    let dial = |server: SocketAddr, name: &str| {
        let text = format!("dial tls {server}{name}");
        String::from_utf8(watcher.ask(home, text.as_bytes()).0).unwrap()
    };
    let mutual = |by: &Authority, names: &[&str]| RealmTls {
        clients: Some(authority.roots()),
        require_client: true,
        ..by.realm(names)
    };
    let good = contexts(mutual(&authority, &["switch.example", ip]));
    for name in [" switch.example", ""] {
        let (address, heard) = server(ip, &good);
        assert_eq!(dial(address, name), "heard hi\r\n\r\n");
        drop(heard);
    }
    for (by, names) in [(&authority, ["other.example"]), (&stranger, ["switch.example"])] {
        let (address, heard) = server(ip, &contexts(mutual(by, &names)));
        assert_eq!(dial(address, " switch.example"), format!("closed {address}"));
        assert!(heard.join().unwrap().is_err());
    }
    assert_eq!(ended(&runtime, StreamEnd::Handshake), 2);
}

#[test]
fn without_a_context_nothing_begins() {
    let ip = "127.0.52.9";
    let mut mapping = mapping(ip, 1);
    Arc::make_mut(&mut mapping.realms[0]).sip.push((Transport::Tls, 5061));
    let runtime = try_start_tls(mapping, Contexts::default()).unwrap();
    let mut socket = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), 5061)).unwrap();
    assert_eq!(socket.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(runtime.fresh_stats()[0].streams.refused, 1);
}

/// Resident memory of this process in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Clients that keep nothing but their sockets, so that what grows is ours.
#[test]
fn memory_of_an_idle_connection() {
    let (ip, authority) = ("127.0.52.10", Authority::new("a"));
    portolan::io::limits::raise_open_files(20_000).unwrap();
    let _runtime = run(ip, authority.realm(&["a.example"]));
    let config = client(&authority, None);
    let quiet = || {
        let mut stream = connect(ip, &config, "a.example");
        ask(&mut stream, &message(700)).unwrap();
        stream.sock
    };
    let warm: Vec<_> = (0..50).map(|_| quiet()).collect();
    let before = resident();
    let sockets: Vec<_> = (0..500).map(|_| quiet()).collect();
    let each = resident().saturating_sub(before) / sockets.len();
    println!("user memory of an idle TLS connection: {each} octets");
    assert!(each < 32_768, "{each} octets a connection");
    drop((warm, sockets));
}
