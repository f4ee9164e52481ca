//! Connections in the runtime, with real sockets on loopback and a brain that echoes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, LAST, MOST_STREAMS, start};
use portolan::runtime::{Runtime, ShardSnapshot, StreamEnd};
use portolan_shards::io::DropReason;
use portolan_shards::types::Transport;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Polls until `done`; panics after a bounded number of looks.
fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never happened: {what}");
}

fn total(runtime: &Runtime, value: impl Fn(&ShardSnapshot) -> u64) -> u64 {
    runtime.fresh_stats().iter().map(|shard| value(shard)).sum()
}

fn open(runtime: &Runtime) -> u64 {
    total(runtime, |shard| shard.streams.open[Transport::Tcp as usize])
}

fn ended(runtime: &Runtime, end: StreamEnd) -> u64 {
    total(runtime, |shard| shard.streams.closed[end as usize])
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn connect(ip: &str, port: u16) -> TcpStream {
    let stream = TcpStream::connect(at(ip, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn message(number: usize, body: usize) -> Vec<u8> {
    let mut message = format!("echo {number}\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    message.extend((0..body).map(|at| (at + number) as u8));
    message
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut octets = vec![0; len];
    stream.read_exact(&mut octets).unwrap();
    octets
}

/// Is the connection closed, or reset, without another octet?
fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 64]), Ok(1..))
}

#[test]
fn messages_come_back_however_they_are_cut() {
    let ip = "127.0.51.1";
    let _runtime = start(ip, 1);
    for port in [5060, 6000] {
        let mut stream = connect(ip, port);
        let all: Vec<u8> = (0..50).flat_map(|number| message(number, number * 3)).collect();
        for piece in [all.len(), 1000, 7, 1] {
            for part in all.chunks(piece) {
                stream.write_all(part).unwrap();
            }
            assert_eq!(read(&mut stream, all.len()), all, "in pieces of {piece}");
        }
    }
}

#[test]
fn pings_are_messages_and_line_ends_may_stand_alone() {
    let ip = "127.0.51.2";
    let runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    stream.write_all(b"\r\n\r\n").unwrap();
    assert_eq!(read(&mut stream, 4), b"\r\n\r\n");
    // The echo was a ping of ours: the answer to it is not the first half of another.
    stream.write_all(b"\r\n").unwrap();
    assert_eq!(read(&mut stream, 2), b"\r\n");
    stream.write_all(b"\r\nwho\r\n\r\n").unwrap();
    assert_eq!(read(&mut stream, 3), b"\r\n0");
    assert_eq!(open(&runtime), 1);
}

#[test]
fn what_is_not_sip_closes_the_connection() {
    let ip = "127.0.51.3";
    let runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    stream.write_all(b"\x16\x03\x01\x00\xa5").unwrap();
    assert!(is_closed(&mut stream));
    assert_eq!(total(&runtime, |shard| shard.stats.dropped(DropReason::Malformed)), 1);
    assert_eq!((ended(&runtime, StreamEnd::Malformed), open(&runtime)), (1, 0));
}

#[test]
fn a_message_that_never_ends_stalls_and_silence_does_not() {
    let ip = "127.0.51.4";
    let runtime = start(ip, 1);
    let (mut slow, mut silent) = (connect(ip, 5060), connect(ip, 5060));
    silent.write_all(b"\r\n").unwrap();
    slow.write_all(b"echo 1\r\n").unwrap();
    assert!(is_closed(&mut slow));
    assert_eq!(total(&runtime, |shard| shard.stats.dropped(DropReason::Stall)), 1);
    assert_eq!((ended(&runtime, StreamEnd::Stall), open(&runtime)), (1, 1));
    silent.write_all(b"who\r\n\r\n").unwrap();
    assert_eq!(read(&mut silent, 3), b"\r\n0");
}

#[test]
fn the_brain_may_refuse() {
    let ip = "127.0.51.5";
    let runtime = start(ip, 1);
    for _ in 0..MOST_STREAMS {
        drop(connect(ip, 5060));
    }
    assert!(is_closed(&mut connect(ip, 5060)));
    assert_eq!(total(&runtime, |shard| shard.streams.refused), 1);
    eventually("all have ended", || open(&runtime) == 0);
}

/// Resident memory of this process in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn two_thousand_connections_at_once() {
    let ip = "127.0.51.6";
    portolan::io::limits::raise_open_files(20_000).unwrap();
    let runtime = start(ip, 1);
    let warm: Vec<_> = (0..100).map(|_| connect(ip, 5060)).collect();
    let before = resident();
    let mut streams: Vec<_> = (0..2000).map(|_| connect(ip, 5060)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&message(number, 700)).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(read(stream, message(number, 700).len()), message(number, 700));
    }
    assert_eq!(open(&runtime), 2100);
    let each = resident().saturating_sub(before) / streams.len();
    println!("user memory of an idle TCP connection: {each} octets");
    assert!(each < 4096, "{each} octets a connection");
    drop((streams, warm));
    eventually("all have ended", || open(&runtime) == 0);
}

#[test]
fn a_dialled_connection_carries_what_was_sent_before_it_was_there() {
    let ip = "127.0.51.7";
    let runtime = start(ip, 1);
    let server = TcpListener::bind((ip, 0)).unwrap();
    let client = Client::new(ip);
    client.ask(at(ip, 6000), b"watch");
    client.0.send_to(format!("dial tcp {}", server.local_addr().unwrap()).as_bytes(), at(ip, 6000)).unwrap();
    let (mut peer, from) = server.accept().unwrap();
    assert_eq!(from.ip(), at(ip, 0).ip());
    assert_eq!(read(&mut peer, 9), b"hello\r\n\r\n");
    peer.write_all(b"hi\r\n\r\n").unwrap();
    assert_eq!(client.receive(), b"heard hi\r\n\r\n");
    drop(peer);
    assert_eq!(client.receive(), format!("closed {}", server.local_addr().unwrap()).as_bytes());
    assert_eq!((ended(&runtime, StreamEnd::Peer), open(&runtime)), (1, 0));
}

#[test]
fn a_dial_that_is_refused_ends_in_closed() {
    let ip = "127.0.51.8";
    let runtime = start(ip, 1);
    let client = Client::new(ip);
    client.ask(at(ip, 6000), b"watch");
    assert_eq!(client.ask(at(ip, 6000), format!("dial tcp {ip}:1").as_bytes()).0, b"closed 127.0.51.8:1");
    assert_eq!((ended(&runtime, StreamEnd::Unreached), open(&runtime)), (1, 0));
}

#[test]
fn a_reset_is_told() {
    let ip = "127.0.51.9";
    let runtime = start(ip, 1);
    let client = Client::new(ip);
    client.ask(at(ip, 6000), b"watch");
    let mut stream = connect(ip, 5060);
    stream.write_all(b"echo 1\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    // Closing over unread octets resets.
    let address = stream.local_addr().unwrap();
    drop(stream);
    assert_eq!(client.receive(), format!("closed {address}").as_bytes());
    assert_eq!((ended(&runtime, StreamEnd::Error), open(&runtime)), (1, 0));
}

#[test]
fn what_is_queued_leaves_before_the_end() {
    let ip = "127.0.51.10";
    let runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    stream.write_all(b"last\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), LAST);
    assert_eq!(ended(&runtime, StreamEnd::Ours), 1);
}

#[test]
fn answers_reach_a_peer_that_has_said_its_last() {
    let ip = "127.0.51.11";
    let _runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    stream.write_all(&message(1, 60_000)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, message(1, 60_000));
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    let ip = "127.0.51.12";
    let runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let message = message(1, 50_000);
    while stream.write_all(&message).is_ok() {}
    eventually("given up", || ended(&runtime, StreamEnd::Overflow) == 1);
    assert_eq!(open(&runtime), 0);
}

#[test]
fn big_messages_go_both_ways_while_datagrams_flow() {
    let ip = "127.0.51.13";
    let _runtime = start(ip, 1);
    let busy: Vec<_> = (0..4)
        .map(|number| {
            std::thread::spawn(move || {
                let mut stream = connect(ip, 5060);
                for round in 0..200 {
                    let message = message(number + round, 60_000);
                    stream.write_all(&message).unwrap();
                    assert_eq!(read(&mut stream, message.len()), message);
                }
            })
        })
        .collect();
    let media = Client::new(ip);
    let mut rounds = 0;
    while rounds < 500 || busy.iter().any(|thread| !thread.is_finished()) {
        assert_eq!(media.ask(at(ip, 20_480), &[0x80; 172]).0, [0x80; 172]);
        rounds += 1;
    }
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

/// `number` octets that are told from others, within a TPKT.
fn tpkt(number: usize) -> Vec<u8> {
    let length = (number + 4) as u16;
    let payload = (0..number).map(|at| b'a' + ((at + number) % 26) as u8).collect::<Vec<_>>();
    [&[3, 0], &length.to_be_bytes()[..], &payload].concat()
}

#[test]
fn tpkts_come_back_however_they_are_cut() {
    let ip = "127.0.51.17";
    let mut mapping = common::mapping(ip, 1);
    std::sync::Arc::make_mut(&mut mapping.realms[0]).h248 = vec![(Transport::Tcp, 2944)];
    let runtime = common::try_start(mapping).unwrap();
    let mut stream = connect(ip, 2944);
    let all: Vec<u8> = (1..60).flat_map(|number| tpkt(number * number)).collect();
    for piece in [all.len(), 1000, 7, 1] {
        for part in all.chunks(piece) {
            stream.write_all(part).unwrap();
        }
        assert_eq!(read(&mut stream, all.len()), all, "in pieces of {piece}");
    }
    stream.write_all(b"MEGACO/1 [192.168.1.5]:2944").unwrap();
    assert!(is_closed(&mut stream), "without a TPKT nobody knows where it ends");
    assert_eq!(ended(&runtime, StreamEnd::Malformed), 1);
}

#[test]
fn no_wake_up_is_lost_by_connections() {
    let ip = "127.0.51.14";
    let _runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    for round in 0..300 {
        stream.write_all(&message(round, 3)).unwrap();
        assert_eq!(read(&mut stream, message(round, 3).len()), message(round, 3));
        std::thread::sleep(Duration::from_micros((round as u64 * 7919) % 14_000));
    }
}

#[test]
fn a_listener_that_goes_leaves_its_connections() {
    let ip = "127.0.51.15";
    let runtime = start(ip, 1);
    let mut stream = connect(ip, 5060);
    let mut next = common::mapping(ip, 1);
    std::sync::Arc::make_mut(&mut next.realms[0]).sip = vec![(Transport::Tcp, 5070)];
    runtime.reload(&std::sync::Arc::new(next)).unwrap();
    assert_eq!(runtime.fresh_stats().len(), 1);
    stream.write_all(b"who\r\n\r\n").unwrap();
    assert_eq!(read(&mut stream, 1), b"0");
    assert!(TcpStream::connect(at(ip, 5060)).is_err());
    connect(ip, 5070);
    runtime.reload(&std::sync::Arc::new(common::mapping(ip, 1))).unwrap();
    assert_eq!(runtime.fresh_stats()[0].listen_failures, 0);
    connect(ip, 5060);
}

#[test]
fn addresses_are_free_after_stop() {
    let ip = "127.0.51.16";
    let runtime = start(ip, 2);
    let mut stream = connect(ip, 5060);
    runtime.stop().unwrap();
    assert!(is_closed(&mut stream));
    assert!(TcpListener::bind(at(ip, 5060)).is_ok() && TcpListener::bind(at(ip, 6001)).is_ok());
}
