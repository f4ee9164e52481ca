//! The runtime with real sockets on loopback and a brain that echoes.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Client, OPEN_PORTS, mapping, start, try_start};
use portolan::runtime::{Runtime, SendFailure, ShardSnapshot};
use portolan_shards::io::DropReason;
use portolan_shards::limits::Limits;
use portolan_shards::realm::Mapping;
use portolan_shards::types::ShardId;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Polls until `done`; panics after a bounded number of looks.
fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1000 {
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

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Pauses that repeat themselves but look random, so that packets meet a shard at work, about to sleep, and asleep: it
/// falls asleep after 50 ms of silence.
fn pauses(count: usize) -> impl Iterator<Item = Duration> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(42u64), next);
    let pause = |state: u64| match state >> 60 {
        0..8 => (state >> 33) % 14_000,
        8..13 => 49_500 + (state >> 33) % 1_500,
        _ => 45_000 + (state >> 33) % 14_000,
    };
    states.take(count).map(move |state| Duration::from_micros(pause(state)))
}

#[test]
fn all_shards_listen_when_start_returns_and_none_after_stop() {
    for shards in [1, 2, 8] {
        let ip = "127.0.50.1";
        let runtime = start(ip, shards);
        for shard in 0..shards {
            let home = at(ip, 6000 + shard);
            assert_eq!(Client::new(ip).ask(home, b"who"), (shard.to_string().into_bytes(), home));
        }
        let ports = u64::from(shards * OPEN_PORTS);
        assert_eq!(total(&runtime, |shard| shard.stats.ports), ports);
        runtime.stop().unwrap();
        assert!(UdpSocket::bind(at(ip, 5060)).is_ok() && UdpSocket::bind(at(ip, 20480)).is_ok());
    }
}

#[test]
fn shared_listeners_spread_terminals_over_the_shards() {
    let ip = "127.0.50.2";
    let _runtime = start(ip, 2);
    let who = |_| Client::new(ip).ask(at(ip, 5060), b"who").0;
    let answers: std::collections::BTreeSet<_> = (0..64).map(who).collect();
    assert_eq!(answers.len(), 2);
}

#[test]
fn media_goes_in_by_one_port_and_out_by_another() {
    let ip = "127.0.50.3";
    let runtime = start(ip, 2);
    let client = Client::new(ip);
    for port in [20480, 20481, 20992, 20999] {
        let (payload, from) = client.ask(at(ip, port), &[0x80; 172]);
        assert_eq!((payload, from), (vec![0x80; 172], at(ip, port ^ 1)));
    }
    assert_eq!(total(&runtime, |shard| shard.stats.rtp_octets), 4 * 172);
}

#[test]
fn no_wake_up_is_lost_by_datagrams() {
    let ip = "127.0.50.4";
    let _runtime = start(ip, 1);
    let client = Client::new(ip);
    for (round, pause) in pauses(400).enumerate() {
        let port = if round % 2 == 0 { 5060 } else { 20480 };
        let sent = round.to_be_bytes();
        assert_eq!(client.ask(at(ip, port), &sent).0, sent);
        std::thread::sleep(pause);
    }
}

#[test]
fn no_wake_up_is_lost_by_crossings() {
    let ip = "127.0.50.5";
    let _runtime = start(ip, 2);
    let client = Client::new(ip);
    for pause in pauses(300) {
        assert_eq!(client.ask(at(ip, 6000), b"cross 1").0, b"1");
        std::thread::sleep(pause);
    }
}

#[test]
fn no_wake_up_is_lost_by_commands() {
    let ip = "127.0.50.6";
    let runtime = start(ip, 1);
    for (round, pause) in pauses(200).enumerate() {
        runtime.drain().unwrap();
        let fresh = &runtime.fresh_stats()[0];
        assert_eq!(fresh.stats.refused[2], round as u64 + 1);
        std::thread::sleep(pause);
    }
}

#[test]
fn timers_fire_while_idle_and_while_media_flows() {
    let ip = "127.0.50.7";
    let _runtime = start(ip, 1);
    let client = Client::new(ip);
    for delay in [0, 1, 3, 30, 200] {
        assert_eq!(client.ask(at(ip, 6000), format!("later {delay}").as_bytes()).0, b"now");
    }
    let stream = Client::new(ip);
    client.0.send_to(b"later 50", at(ip, 6000)).unwrap();
    client.0.set_nonblocking(true).unwrap();
    let mut buffer = [0; 16];
    let fired = (0..200_000).any(|_| {
        stream.ask(at(ip, 20480), &[0x80; 172]);
        client.0.recv_from(&mut buffer).is_ok()
    });
    assert!(fired && buffer.starts_with(b"now"));
}

#[test]
fn a_full_mesh_drops_and_counts() {
    let ip = "127.0.50.8";
    let runtime = start(ip, 2);
    let client = Client::new(ip);
    client.0.send_to(b"flood 1", at(ip, 6000)).unwrap();
    let mesh_full = |shard: &ShardSnapshot| shard.stats.dropped(DropReason::MeshFull);
    let crossed = |shard: &ShardSnapshot| shard.stats.crossings_signaling;
    eventually("all arrived or dropped", || {
        total(&runtime, mesh_full) + total(&runtime, crossed)
            == portolan_shards::limits::MESH_DEPTH as u64 + 1000
    });
    assert_eq!(client.ask(at(ip, 6000), b"cross 1").0, b"1");
}

#[test]
fn sends_that_cannot_be_are_counted() {
    let ip = "127.0.50.9";
    let runtime = start(ip, 1);
    let client = Client::new(ip);
    client.0.send_to(b"bad", at(ip, 5060)).unwrap();
    // Port 20487 is open, its partner's partner is; 20488 is not.
    client.ask(at(ip, 20480), b"works");
    let failed = |shard: &ShardSnapshot| shard.stats.dropped(DropReason::SendFailed);
    eventually("counted", || total(&runtime, failed) == 1);
}

#[test]
fn refused_sends_are_counted_by_class() {
    let ip = "127.0.50.25";
    let runtime = start(ip, 1);
    Client::new(ip).0.send_to(b"bad", at(ip, 5060)).unwrap();
    let closed = |shard: &ShardSnapshot| shard.send_failures[SendFailure::Closed as usize];
    eventually("counted", || total(&runtime, closed) == 1);
    let all = |shard: &ShardSnapshot| shard.send_failures.iter().sum();
    assert_eq!(total(&runtime, all), 1);
}

#[test]
fn a_flood_at_one_port_costs_no_neighbour_a_packet() {
    let ip = "127.0.50.26";
    let runtime = start(ip, 1);
    let flood = std::thread::spawn(move || {
        let flooder = Client::new(ip);
        for _ in 0..100_000 {
            flooder.0.send_to(&[0x80; 172], at(ip, 20486)).unwrap();
        }
    });
    let clients: Vec<_> = (0..6).map(|_| Client::new(ip)).collect();
    let mut rounds = 0u16;
    while !flood.is_finished() || rounds < 100 {
        for (client, port) in clients.iter().zip(20480..) {
            let sent = rounds.to_be_bytes();
            assert_eq!(client.ask(at(ip, port), &sent), (sent.to_vec(), at(ip, port ^ 1)));
        }
        rounds = rounds.wrapping_add(1);
    }
    flood.join().unwrap();
    let media = |shard: &ShardSnapshot| shard.stats.rtp_packets;
    assert!(total(&runtime, media) > u64::from(rounds) * 6, "some of the flood came through");
}

#[test]
fn batching_is_taken_from_the_mapping_and_loses_nothing() {
    let ip = "127.0.50.27";
    let batch = Duration::from_millis(1);
    let batched = |batch| Mapping { limits: Limits { batch, ..Limits::default() }, ..mapping(ip, 1) };
    let runtime = try_start(batched(batch)).unwrap();
    let clients: Vec<_> = (0..4).map(|_| Client::new(ip)).collect();
    for round in 0..200u8 {
        for (client, port) in clients.iter().zip(20480..) {
            client.0.send_to(&[round], at(ip, port)).unwrap();
        }
        clients.iter().for_each(|client| assert_eq!(client.receive(), [round]));
        if round == 100 {
            runtime.reload(&Arc::new(batched(Duration::ZERO))).unwrap();
        }
    }
    let entries = |shard: &ShardSnapshot| shard.ring.entries;
    assert!(total(&runtime, entries) > 0);
}

#[test]
fn oversize_media_is_counted() {
    let ip = "127.0.50.10";
    let runtime = start(ip, 1);
    Client::new(ip).0.send_to(&[0; 4000], at(ip, 20480)).unwrap();
    let oversize = |shard: &ShardSnapshot| shard.stats.dropped(DropReason::Oversize);
    eventually("counted", || total(&runtime, oversize) == 1);
}

#[test]
fn an_address_in_use_fails_the_start_with_its_name() {
    let ip = "127.0.50.11";
    let _holder = UdpSocket::bind(at(ip, 6001)).unwrap();
    let error = try_start(mapping(ip, 2)).err().unwrap();
    assert!(error.to_string().contains("127.0.50.11:6001"), "{error}");
    assert!(UdpSocket::bind(at(ip, 6000)).is_ok(), "shard 0 still listens");
}

#[test]
fn a_media_port_in_use_is_the_brains_business() {
    let ip = "127.0.50.12";
    let _holder = UdpSocket::bind(at(ip, 20483)).unwrap();
    let runtime = start(ip, 1);
    assert_eq!(total(&runtime, |shard| shard.stats.port_failures), 1);
    assert_eq!(Client::new(ip).ask(at(ip, 20480), b"x").0, b"x");
}

#[test]
fn a_core_that_does_not_exist_fails_the_start() {
    let mapping = Arc::new(mapping("127.0.50.13", 1));
    let options =
        portolan::runtime::Options { mapping, cores: vec![100_000], seed: None, tls: Arc::default() };
    assert!(Runtime::start::<common::Echo>(&options).is_err());
}

#[test]
fn a_reload_opens_and_closes_listeners() {
    let ip = "127.0.50.14";
    let runtime = start(ip, 2);
    let mut next = mapping(ip, 2);
    Arc::make_mut(&mut next.realms[0]).sip[0].1 = 5070;
    runtime.reload(&Arc::new(next)).unwrap();
    assert_eq!(runtime.fresh_stats().len(), 2);
    assert_eq!(Client::new(ip).ask(at(ip, 5070), b"new").0, b"new");
    eventually("the old address is free", || UdpSocket::bind(at(ip, 5060)).is_ok());
}

#[test]
fn a_listener_that_a_reload_cannot_open_is_counted() {
    let ip = "127.0.50.15";
    let _holder = UdpSocket::bind(at(ip, 5070)).unwrap();
    let runtime = start(ip, 2);
    let mut next = mapping(ip, 2);
    Arc::make_mut(&mut next.realms[0]).sip.push((portolan_shards::types::Transport::Udp, 5070));
    runtime.reload(&Arc::new(next)).unwrap();
    assert_eq!(total(&runtime, |shard| shard.listen_failures), 2);
    assert_eq!(Client::new(ip).ask(at(ip, 5060), b"old").0, b"old");
}

#[test]
fn a_panic_is_reported_and_the_other_shards_go_on() {
    let ip = "127.0.50.16";
    let runtime = start(ip, 2);
    assert_eq!(runtime.failed(), None);
    Client::new(ip).0.send_to(b"panic", at(ip, 6001)).unwrap();
    eventually("failure seen", || runtime.failed() == Some(ShardId(1)));
    assert_eq!(Client::new(ip).ask(at(ip, 6000), b"alive").0, b"alive");
    assert!(runtime.stop().is_err());
}

#[test]
fn snapshots_come_by_themselves() {
    let ip = "127.0.50.17";
    let runtime = start(ip, 1);
    Client::new(ip).ask(at(ip, 20480), b"x");
    eventually("published", || runtime.stats()[0].stats.rtp_packets == 1);
    let snapshot = &runtime.stats()[0];
    assert!(snapshot.cpu > Duration::ZERO && snapshot.uptime > Duration::ZERO);
}

#[test]
fn the_real_shard_answers_options_over_sip() {
    let ip = "127.0.50.18";
    let mut mapping = mapping(ip, 2);
    Arc::make_mut(&mut mapping.realms[0]).side = portolan_shards::types::Side::Access;
    let options = portolan::runtime::Options {
        mapping: Arc::new(mapping),
        cores: vec![],
        seed: None,
        tls: Arc::default(),
    };
    let runtime = Runtime::start::<portolan_shards::shard::Shard>(&options).unwrap();
    let client = Client::new(ip);
    let local = client.0.local_addr().unwrap();
    let request = format!(
        "OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{ip}>;tag=1\r\nTo: <sip:{ip}>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let answer = client.ask(at(ip, 5060), request.as_bytes()).0;
    assert!(answer.starts_with(b"SIP/2.0 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(total(&runtime, |shard| shard.stats.requests.iter().sum()), 1);
    runtime.stop().unwrap();
}
