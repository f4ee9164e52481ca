//! RTP bleed, RTP inject and lock-out, over real sockets: an off-path attacker sprays every relay port on both sides
//! before, during and after learning. He gets nothing, nobody hears him, and nobody is locked out.
#![allow(clippy::unwrap_used)]

use portolan::runtime::{Options, Runtime};
use portolan_shards::shard::Shard;
use std::net::UdpSocket;
use std::time::Duration;

const ACCESS: &str = "127.20.1.1";
const CORE: &str = "127.20.2.1";
const SOFTSWITCH: &str = "127.20.3.1";
const NAT: &str = "127.20.4.1";
const ATTACKER: &str = "127.20.66.66";
const FIRST: u16 = 24_064;
const LAST: u16 = 24_575;
const LEGIT: u32 = 0x600d;
const FORGED: u32 = 0x0bad;

fn options(shards: u16) -> Options {
    let text = format!(
        r#"(
            shards: Count({shards}),
            realms: {{
                "access": (side: Access, address: "{ACCESS}", sip: [Udp(5060)], media: ({FIRST}, {LAST}), keepalive: Off),
                "core": (side: Core, address: "{CORE}", sip: [Udp(5060)], per_shard: 6000, media: ({FIRST}, {LAST})),
            }},
            softswitches: {{ "sx": (realm: "core", targets: ["{SOFTSWITCH}:5060"], domain: "example.net") }},
            mappings: [(access: "access", softswitch: "sx")],
        )"#
    );
    let loaded = portolan::mapping::parse(&text, "attack.ron").unwrap();
    Options {
        mapping: loaded.mapping,
        cores: vec![0; usize::from(shards)],
        seed: Some([5; 32]),
        tls: Default::default(),
    }
}

fn socket(address: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (String, std::net::SocketAddr) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !text.starts_with("SIP/2.0 100 ") {
            return (text, from);
        }
    }
}

fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

fn header(text: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
}

fn media_port(text: &str) -> u16 {
    let line = text.lines().find(|line| line.starts_with("m=audio")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xff; 160]);
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet
}

/// The synchronization sources of everything that waits at a socket.
fn heard(socket: &UdpSocket) -> Vec<u32> {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut heard = Vec::new();
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        let at = if buffer[1] == 201 { 4 } else { 8 };
        heard.push(u32::from_be_bytes(buffer[at..at + 4].try_into().unwrap()));
        assert!(length >= 8);
    }
    heard
}

/// Everyone in the play.
struct Scene {
    terminal: UdpSocket,
    terminal_media: UdpSocket,
    softswitch: UdpSocket,
    softswitch_media: UdpSocket,
    attacker: UdpSocket,
    sequence: u16,
    forged: u16,
}

impl Scene {
    fn new() -> Self {
        Self {
            terminal: socket(NAT, 0),
            terminal_media: socket(NAT, 0),
            softswitch: socket(SOFTSWITCH, 5060),
            softswitch_media: socket(SOFTSWITCH, 30_000),
            attacker: socket(ATTACKER, 0),
            sequence: 100,
            forged: 0,
        }
    }

    /// RTP and RTCP to every port of both slices.
    fn spray(&mut self) {
        for port in FIRST..=LAST {
            for address in [ACCESS, CORE] {
                self.forged = self.forged.wrapping_add(1);
                self.attacker.send_to(&rtp(self.forged, FORGED), (address, port)).unwrap();
                self.attacker.send_to(&rtcp(FORGED), (address, port)).unwrap();
            }
        }
        settle();
    }

    /// The INVITE as the softswitch got it.
    fn invite(&self) -> String {
        let body = sdp("192.168.1.10", 5004);
        let invite = format!(
            "INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKattack;rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\n\
             Call-ID: attacked\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.168.1.10:5060>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.terminal.send_to(invite.as_bytes(), (ACCESS, 5060)).unwrap();
        receive(&self.softswitch).0
    }

    /// The 200 as the terminal got it.
    fn answer(&self, invite: &str) -> String {
        let body = sdp(SOFTSWITCH, 30_000);
        let ok = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=b\r\nCall-ID: attacked\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:bob@{SOFTSWITCH}:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            header(invite, "Via"),
            header(invite, "From"),
            header(invite, "To"),
            body.len()
        );
        let via = header(invite, "Via");
        let home = via.split([' ', ';']).nth(1).unwrap();
        self.softswitch.send_to(ok.as_bytes(), home).unwrap();
        receive(&self.terminal).0
    }

    /// One packet each way, and what each side then heard.
    fn talk(&mut self, access: u16, core: u16) -> (Vec<u32>, Vec<u32>) {
        self.sequence += 1;
        self.terminal_media.send_to(&rtp(self.sequence, LEGIT), (ACCESS, access)).unwrap();
        settle();
        self.softswitch_media.send_to(&rtp(self.sequence, LEGIT), (CORE, core)).unwrap();
        settle();
        (heard(&self.softswitch_media), heard(&self.terminal_media))
    }
}

/// Let what was sent arrive.
fn settle() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn an_off_path_attacker_gets_nothing_injects_nothing_and_locks_nobody_out() {
    for shards in [1, 2] {
        let runtime = Runtime::start::<Shard>(&options(shards)).unwrap();
        let mut scene = Scene::new();
        scene.spray();
        let invite = scene.invite();
        scene.spray();
        let ok = scene.answer(&invite);
        scene.spray();
        let (access, core) = (media_port(&ok), media_port(&invite));
        let (first, _) = scene.talk(access, core);
        assert_eq!(first, [LEGIT], "the very first packet arrives, whatever was sprayed before it");
        let mut answered = 0;
        for _ in 0..30 {
            scene.spray();
            let (at_softswitch, at_terminal) = scene.talk(access, core);
            assert_eq!(at_softswitch, [LEGIT]);
            assert!(at_terminal.iter().all(|ssrc| *ssrc == LEGIT));
            answered += at_terminal.len();
        }
        assert_eq!(answered, 30, "nobody is locked out");
        assert_eq!(heard(&scene.attacker), Vec::<u32>::new(), "nothing bled");
        let strangers: u64 = runtime
            .fresh_stats()
            .iter()
            .map(|s| s.stats.dropped(portolan_shards::io::DropReason::Stranger))
            .sum();
        assert!(strangers > 0, "the attack did reach the relay");
        runtime.stop().unwrap();
    }
}
