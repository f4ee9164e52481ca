//! Bad input at every real listener: the process goes on as if nothing had happened.
#![allow(clippy::unwrap_used)]

use portolan::runtime::{Options, Runtime};
use portolan_shards::io::DropReason;
use portolan_shards::random::Rng;
use portolan_shards::shard::Shard;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const CONFIG: &str = r#"(
    shards: Count(2),
    realms: {
        "access": (side: Access, address: "127.21.1.1", sip: [Udp(5060)], media: (24064, 24575)),
        "core": (side: Core, address: "127.21.2.1", sip: [Udp(5060)], per_shard: 6000, media: (24064, 24575)),
    },
    softswitches: { "sx": (realm: "core", targets: ["127.21.3.1:5060"]) },
    mappings: [(access: "access", softswitch: "sx")],
)"#;

const LISTENERS: [&str; 4] = ["127.21.1.1:5060", "127.21.2.1:5060", "127.21.2.1:6000", "127.21.2.1:6001"];

fn options() -> Options {
    let loaded = portolan::mapping::parse(CONFIG, "bad-input.ron").unwrap();
    Options { mapping: loaded.mapping, cores: vec![0, 0], seed: Some([5; 32]), tls: Default::default() }
}

/// Open sockets of this process.
fn sockets() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// The recorded torture messages, where the corpus is present, and octets that mean nothing.
fn inputs() -> Vec<Vec<u8>> {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/sip/rfc4475");
    let files = std::fs::read_dir(corpus)
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok());
    let mut inputs = files.collect::<Vec<_>>();
    let mut rng = Rng::new([6; 32]);
    for n in 0..500 {
        let mut bytes = vec![0; rng.below(1400) as usize];
        rng.fill(&mut bytes);
        if n % 3 == 0 {
            bytes.splice(0..0, *b"INVITE sip:x@y SIP/2.0\r\nVia: ");
        }
        inputs.push(bytes);
    }
    inputs.extend([Vec::new(), vec![0; 4], b"\r\n\r\n".to_vec(), vec![b'a'; 60_000]]);
    inputs
}

/// A registration's way up to the softswitch, as a sign of life.
fn lives(softswitch: &UdpSocket) {
    let register = "REGISTER sip:127.21.1.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKlife;rport\r\n\
        Max-Forwards: 70\r\nFrom: <sip:a@127.21.1.1>;tag=1\r\nTo: <sip:a@127.21.1.1>\r\nCall-ID: life\r\n\
        CSeq: 1 REGISTER\r\nContact: <sip:a@192.168.1.10>\r\nContent-Length: 0\r\n\r\n";
    let terminal = UdpSocket::bind("127.21.4.1:0").unwrap();
    let mut buffer = [0; 65_536];
    for _ in 0..50 {
        terminal.send_to(register.as_bytes(), LISTENERS[0]).unwrap();
        while let Ok((length, _)) = softswitch.recv_from(&mut buffer) {
            if buffer[..length].starts_with(b"REGISTER ")
                && buffer[..length].windows(13).any(|w| w == b"Call-ID: life")
            {
                return;
            }
        }
    }
    panic!("no registration reaches the softswitch any more");
}

#[test]
fn nothing_that_a_listener_may_receive_hurts_it() {
    let before = sockets();
    let runtime = Runtime::start::<Shard>(&options()).unwrap();
    let softswitch = UdpSocket::bind("127.21.3.1:5060").unwrap();
    softswitch.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let stranger = UdpSocket::bind("127.21.66.1:0").unwrap();
    for bytes in inputs() {
        for listener in LISTENERS {
            let to: SocketAddr = listener.parse().unwrap();
            stranger.send_to(&bytes, to).unwrap();
            softswitch.send_to(&bytes, to).unwrap();
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    lives(&softswitch);
    let shards = runtime.fresh_stats();
    let count = |reason| shards.iter().map(|s| s.stats.dropped(reason)).sum::<u64>();
    assert!(count(DropReason::Malformed) > 100, "{}", count(DropReason::Malformed));
    assert!(count(DropReason::Untrusted) > 100, "strangers are not heard on the core side");
    assert!(count(DropReason::Ping) > 0);
    assert_eq!(runtime.failed(), None);
    runtime.stop().unwrap();
    drop((runtime, softswitch, stranger));
    assert_eq!(sockets(), before, "every socket is closed");
}
