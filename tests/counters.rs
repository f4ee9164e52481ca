//! Counters over real sockets: what Portolan says of a call is what was sent and what came out, to the packet and to the
//! octet, with what it dropped, while the call lasts and after its end.
#![allow(clippy::unwrap_used)]

use portolan::runtime::{Options, Runtime};
use portolan_shards::io::DropReason;
use portolan_shards::media::Counters;
use portolan_shards::session::account::Summary;
use portolan_shards::shard::Shard;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const ACCESS: &str = "127.23.1.1";
const CORE: &str = "127.23.2.1";
const SOFTSWITCH: &str = "127.23.3.1";
const NAT: &str = "127.23.4.1";
const STRANGER: &str = "127.23.66.66";

fn options() -> Options {
    let text = format!(
        r#"(
            shards: Count(1),
            realms: {{
                "access": (side: Access, address: "{ACCESS}", sip: [Udp(5060)], media: (24064, 24575), keepalive: Off),
                "core": (side: Core, address: "{CORE}", sip: [Udp(5060)], per_shard: 6000, media: (24064, 24575)),
            }},
            softswitches: {{ "sx": (realm: "core", targets: ["{SOFTSWITCH}:5060"], domain: "example.net") }},
            mappings: [(access: "access", softswitch: "sx")],
        )"#
    );
    let loaded = portolan::mapping::parse(&text, "counters.ron").unwrap();
    Options { mapping: loaded.mapping, cores: vec![0], seed: Some([7; 32]), tls: Default::default() }
}

fn socket(address: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !text.starts_with("SIP/2.0 100 ") {
            return text;
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

fn media_port(text: &str) -> u16 {
    let line = text.lines().find(|line| line.starts_with("m=audio")).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    )
}

fn rtp(payload_type: u8, sequence: u16, ssrc: u32, octets: usize) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(12 + octets, 0x55);
    packet
}

/// A sender report; an answer to `last` of the stream `about`, where there is one.
fn report(ssrc: u32, about: Option<(u32, u32)>) -> Vec<u8> {
    let words =
        |packet: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|w| packet.extend(w.to_be_bytes()));
    let mut packet = vec![0x80 | u8::from(about.is_some()), 200, 0, if about.is_some() { 12 } else { 6 }];
    words(&mut packet, &[ssrc, 0x0001_4321, 0x8765_0000, 160, 5, 800]);
    if let Some((about, last)) = about {
        words(&mut packet, &[about, 0x1000_0007, 70, 24, last, 0]);
    }
    packet
}

/// The middle of the time in [`report`].
const REPORT_TIME: u32 = 0x4321_8765;

/// Packets and octets of UDP payload that wait at a socket.
fn waiting(socket: &UdpSocket) -> (u64, u64) {
    socket.set_nonblocking(true).unwrap();
    let (mut buffer, mut sums) = ([0; 4096], (0, 0));
    while let Ok(length) = socket.recv(&mut buffer) {
        sums = (sums.0 + 1, sums.1 + length as u64);
    }
    sums
}

/// A call that is up, and its sockets.
struct Call {
    runtime: Runtime,
    terminal: UdpSocket,
    softswitch: UdpSocket,
    /// RTP and RTCP of the terminal, then of the softswitch.
    media: [[UdpSocket; 2]; 2],
    stranger: UdpSocket,
    /// Our RTP ports.
    ports: [u16; 2],
    /// The 200 as the terminal got it.
    answer: String,
    /// Datagrams that were sent to our ports, and their octets, by side.
    sent: [(u64, u64); 2],
}

impl Call {
    fn up() -> Self {
        let runtime = Runtime::start::<Shard>(&options()).unwrap();
        let (terminal, softswitch) = (socket(NAT, 0), socket(SOFTSWITCH, 5060));
        let invite =
            request("INVITE", "sip:bob@example.net", "<sip:bob@example.net>", &sdp("192.168.1.10", 5004));
        terminal.send_to(invite.as_bytes(), (ACCESS, 5060)).unwrap();
        let invite = receive(&softswitch);
        answer(&softswitch, &invite, &sdp(SOFTSWITCH, 30_000));
        let ok = receive(&terminal);
        let media =
            [[socket(NAT, 0), socket(NAT, 0)], [socket(SOFTSWITCH, 30_000), socket(SOFTSWITCH, 30_001)]];
        let ports = [media_port(&ok), media_port(&invite)];
        let stranger = socket(STRANGER, 0);
        Self { runtime, terminal, softswitch, media, stranger, ports, answer: ok, sent: [(0, 0); 2] }
    }

    /// To our port (0: RTP, 1: RTCP) of a side, by its peer or by a stranger.
    fn send(&mut self, side: usize, port: u16, packet: &[u8], stranger: bool) {
        let from = if stranger { &self.stranger } else { &self.media[side][usize::from(port)] };
        from.send_to(packet, ([ACCESS, CORE][side], self.ports[side] + port)).unwrap();
        let (packets, octets) = self.sent[side];
        self.sent[side] = (packets + 1, octets + packet.len() as u64);
        // The ring takes them in order of sockets, not of time.
        std::thread::sleep(Duration::from_millis(1));
    }

    fn hang_up(&self) {
        let contact = header(&self.answer, "Contact").trim_matches(['<', '>']).to_owned();
        let bye = request("BYE", &contact, header(&self.answer, "To"), "");
        self.terminal.send_to(bye.as_bytes(), (ACCESS, 5060)).unwrap();
        let bye = loop {
            let text = receive(&self.softswitch);
            if text.starts_with("BYE ") {
                break text;
            }
        };
        answer(&self.softswitch, &bye, "");
    }

    /// The only session, when all that was sent has been counted.
    fn running(&self) -> Summary {
        let due = Instant::now() + Duration::from_secs(5);
        loop {
            let shards = self.runtime.sessions(10);
            let session = shards[0].running[0].clone();
            let counted = session.streams[0].accounts.map(|account| arrived(&account.counters));
            if counted == self.sent || Instant::now() > due {
                return session;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same after its end.
    fn ended(&self) -> Summary {
        let due = Instant::now() + Duration::from_secs(5);
        loop {
            let shards = self.runtime.sessions(10);
            if let Some(session) = shards[0].ended.first() {
                return session.clone();
            }
            assert!(Instant::now() < due, "the session does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn request(method: &str, uri: &str, to: &str, body: &str) -> String {
    let cseq = if method == "INVITE" { 1 } else { 2 };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{method};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.net>;tag=a\r\nTo: {to}\r\n\
         Call-ID: counted\r\nCSeq: {cseq} {method}\r\nContact: <sip:alice@192.168.1.10:5060>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answer(softswitch: &UdpSocket, request: &str, body: &str) {
    let to = header(request, "To");
    let tag = if to.contains("tag=") { "" } else { ";tag=b" };
    let ok = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:bob@{SOFTSWITCH}:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    );
    let home = header(request, "Via").split([' ', ';']).nth(1).unwrap();
    softswitch.send_to(ok.as_bytes(), home).unwrap();
}

/// Packets and octets of UDP payload that arrived, as the counters have it.
fn arrived(counters: &Counters) -> (u64, u64) {
    let (packets, octets) = counters.forwarded(true);
    (packets + counters.dropped(), octets + counters.dropped_octets)
}

#[test]
fn every_packet_and_octet_of_a_call_is_accounted_for() {
    let mut call = Call::up();
    for sequence in 0..=50 {
        // Every tenth packet of the terminal is lost on its way here.
        if sequence % 10 != 5 && sequence < 50 {
            call.send(0, 0, &rtp(0, sequence, 1, 160), false);
        }
        // Its address is known by its second packet, however slow this machine is: the other end waits for that.
        if sequence == 1 {
            call.running();
        }
        if let Some(before) = sequence.checked_sub(1) {
            call.send(1, 0, &rtp(0, before, 2, 80 + usize::from(before)), false);
        }
    }
    call.send(0, 1, &report(1, None), false);
    call.send(1, 1, &report(2, Some((1, REPORT_TIME))), false);
    for side in [0, 1] {
        (0..7).for_each(|n| call.send(side, 0, &rtp(0, n, 0xbad, 160), true));
        call.send(side, 1, &report(0xbad, None), true);
        (50..53).for_each(|n| call.send(side, 0, &rtp(8, n, 1, 160), false));
        (0..2).for_each(|_| call.send(side, 0, b"neither", false));
    }
    let session = call.running();
    let [access, core] = session.streams[0].accounts;
    assert_eq!([arrived(&access.counters), arrived(&core.counters)], call.sent, "as sent");
    assert_eq!((access.counters.rtp_packets, access.counters.rtp_payload_octets), (45, 45 * 160));
    assert_eq!((core.counters.rtp_packets, core.counters.rtp_payload_octets), (50, (80..130).sum()));
    assert_eq!((access.counters.rtcp_packets, core.counters.rtcp_packets), (1, 1));
    let out = call.media.each_ref().map(|sockets| {
        let [rtp, rtcp] = sockets.each_ref().map(waiting);
        (rtp.0 + rtcp.0, rtp.1 + rtcp.1)
    });
    assert_eq!([core.counters.forwarded(true), access.counters.forwarded(true)], out, "as it came out");
    for counters in [access.counters, core.counters] {
        let of = |reason| counters.drops.of(reason);
        assert_eq!(
            (of(DropReason::Stranger), of(DropReason::PayloadType), of(DropReason::NotRtp)),
            (8, 3, 2)
        );
        assert_eq!(counters.dropped(), 13);
    }
    let figures = access.figures;
    assert_eq!((figures.expected, figures.received, figures.lost), (50, 45, 5));
    assert_eq!(figures.reported.map(|reported| reported.lost), Some(7), "the far end's own count");
    assert!(core.figures.round_trip.is_some() && access.score(&core).is_some_and(|mos| mos < 4.4));

    call.hang_up();
    let ended = call.ended();
    assert_eq!(ended.streams, session.streams, "the figures outlive the call");
    assert_eq!((ended.key, ended.ended.is_some()), (session.key, true));
    assert_eq!(call.runtime.fresh_stats()[0].stats.reception[0].loss.count(), 1);
    call.runtime.stop().unwrap();
}
