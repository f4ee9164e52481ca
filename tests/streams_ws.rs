//! WebSocket in the runtime, plain and over TLS, with real sockets and a brain that echoes.
#![allow(clippy::unwrap_used)]

mod common;

use common::certificates::Authority;
use common::{mapping, try_start_tls};
use portolan::runtime::{Runtime, StreamEnd};
use portolan::tls::Contexts;
use portolan_shards::types::{RealmId, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const WS: u16 = 8080;
const WSS: u16 = 8443;

fn run(ip: &str, authority: &Authority) -> Runtime {
    let mut mapping = mapping(ip, 1);
    let sip = &mut Arc::make_mut(&mut mapping.realms[0]).sip;
    sip.extend([(Transport::Ws, WS), (Transport::Wss, WSS)]);
    let contexts = Contexts::load(&[(RealmId(0), authority.realm(&["a.example"]))]).unwrap();
    try_start_tls(mapping, contexts).unwrap()
}

fn socket(ip: &str, port: u16) -> TcpStream {
    let socket = TcpStream::connect(SocketAddr::new(ip.parse().unwrap(), port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn upgrade<S: Read + Write>(stream: S, protocol: &'static str) -> Option<WebSocket<S>> {
    let mut request = "ws://a.example/".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    tungstenite::client(request, stream).ok().map(|(client, _)| client)
}

fn tls(ip: &str, authority: &Authority) -> StreamOwned<ClientConnection, TcpStream> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(authority.roots()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(store).with_no_client_auth());
    let name = ServerName::try_from("a.example").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), socket(ip, WSS))
}

fn ended(runtime: &Runtime, end: StreamEnd) -> u64 {
    runtime.fresh_stats().iter().map(|shard| shard.streams.closed[end as usize]).sum()
}

fn echoes<S: Read + Write>(client: &mut WebSocket<S>) {
    for length in [0, 100, 5000, 60_000] {
        let text = format!("echo\r\n\r\n{}", "x".repeat(length));
        client.send(Message::text(text.as_str())).unwrap();
        assert_eq!(client.read().unwrap(), Message::text(text.as_str()), "{length} octets");
        let octets = [text.as_bytes(), &[0xff]].concat();
        client.send(Message::binary(octets.clone())).unwrap();
        assert_eq!(client.read().unwrap(), Message::binary(octets), "{length} octets");
    }
    client.send(Message::Ping("?".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("?".into()));
    client.close(None).unwrap();
    assert!(client.read().unwrap().is_close());
    assert!(client.read().is_err());
}

#[test]
fn messages_come_back_one_to_a_frame() {
    let (ip, authority) = ("127.0.53.1", Authority::new("a"));
    let runtime = run(ip, &authority);
    echoes(&mut upgrade(socket(ip, WS), "sip").unwrap());
    echoes(&mut upgrade(tls(ip, &authority), "chat, sip").unwrap());
    assert_eq!(ended(&runtime, StreamEnd::Peer), 2);
}

#[test]
fn only_sip_is_spoken() {
    let (ip, authority) = ("127.0.53.2", Authority::new("a"));
    let runtime = run(ip, &authority);
    assert!(upgrade(socket(ip, WS), "chat").is_none());
    let mut browser = socket(ip, WS);
    browser.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: sip\r\n\r\n").unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert_eq!(ended(&runtime, StreamEnd::Handshake), 2);
}

#[test]
fn requests_and_frames_that_never_end_stall() {
    let (ip, authority) = ("127.0.53.3", Authority::new("a"));
    let runtime = run(ip, &authority);
    let mut asking = socket(ip, WS);
    asking.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
    let mut idle = upgrade(socket(ip, WS), "sip").unwrap();
    let mut half = upgrade(socket(ip, WS), "sip").unwrap();
    half.get_mut().write_all(&[0x81, 0x85, 1]).unwrap();
    assert_eq!(asking.read(&mut [0; 8]).unwrap(), 0);
    assert!(half.read().is_err());
    assert_eq!(ended(&runtime, StreamEnd::Stall), 2);
    idle.send(Message::text("who")).unwrap();
    assert_eq!(idle.read().unwrap(), Message::text("0"));
}

#[test]
fn frames_without_a_mask_end_the_connection() {
    let (ip, authority) = ("127.0.53.4", Authority::new("a"));
    let runtime = run(ip, &authority);
    let mut client = upgrade(socket(ip, WS), "sip").unwrap();
    client.get_mut().write_all(b"\x81\x03who").unwrap();
    assert!(client.read().map_or(true, |message| message.is_close()));
    assert_eq!(ended(&runtime, StreamEnd::Malformed), 1);
}
