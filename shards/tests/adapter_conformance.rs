//! What every adapter owes the house: any bytes are survived, the same seed gives the same trace, framing of the
//! outputs is whole messages, and nothing is left after close.

mod support;

use portolan_shards::random::Rng;
use portolan_shards::types::{Flow, Transport};
use portolan_shards::wire::sip::Message;
use portolan_shards::wire::{h248, mgcp};
use std::time::Duration;
use support::gateways::{ACCESS_AT, AGENT, CORE_AT, PRIVATE, gateways};
use support::h248::Dialect;
use support::{ACCESS, CORE, NAT, SOFTSWITCH, World, addr, mapping};

const MESSAGES: [&str; 4] = [
    "REGISTER sip:example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:alice@example.net>\r\nCall-ID: r{n}\r\nCSeq: 1 REGISTER\r\n\
     Contact: <sip:alice@192.168.1.10:5060>\r\nContent-Length: 0\r\n\r\n",
    "INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKi{n};rport\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:alice@192.168.1.10:5060>\r\nContent-Type: application/sdp\r\n\r\n\
     v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\ns=-\r\nc=IN IP4 192.168.1.10\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n",
    "OPTIONS sip:10.0.0.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:x@10.0.0.20>;tag=1\r\nTo: <sip:10.0.0.10>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\n\r\n",
    "MESSAGE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10;branch=z9hG4bKm{n}\r\nMax-Forwards: 70\r\n\
     From: <sip:alice@example.net>;tag=a\r\nTo: <sip:bob@example.net>\r\nCall-ID: m{n}\r\nCSeq: 1 MESSAGE\r\n\
     Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
];

/// Everything that two shards sent in a random play of valid, damaged and senseless messages.
fn trace(seed: u8) -> Vec<(std::net::SocketAddr, bytes::Bytes)> {
    let mut world = World::new(mapping(2));
    let mut rng = Rng::new([seed; 32]);
    let mut trace = Vec::new();
    for n in 0..400 {
        let core = rng.below(3) == 0;
        let (realm, local, remote) =
            if core { (CORE, "10.0.0.10:5060", SOFTSWITCH) } else { (ACCESS, "198.51.100.10:5060", NAT) };
        let flow =
            Flow { realm, transport: Transport::Udp, local: addr(local), remote: addr(remote), stream: None };
        let mut bytes = MESSAGES[rng.below(4) as usize].replace("{n}", &n.to_string()).into_bytes();
        for _ in 0..rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.u64() as u8;
        }
        let sent = world.deliver_raw(rng.below(2) as usize, flow, &bytes);
        trace.extend(sent.into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
        trace.extend(
            world.pass(Duration::from_millis(rng.below(500))).into_iter().map(|s| (s.flow.remote, s.bytes)),
        );
    }
    trace
        .extend(world.pass(Duration::from_secs(8000)).into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    for shard in &mut world.shards {
        let stats = shard.stats();
        assert_eq!(
            (stats.sessions, stats.ports, stats.dialogs, stats.transactions),
            (0, 0, 0, 0),
            "seed {seed}"
        );
    }
    trace
}

#[test]
fn the_same_seed_gives_the_same_trace_and_nothing_is_left() {
    for seed in 0..8 {
        let first = trace(seed);
        assert!(first.len() > 200, "{}", first.len());
        assert!(first == trace(seed), "seed {seed} is not reproducible");
    }
}

#[test]
fn every_output_is_one_whole_message() {
    for (_, bytes) in trace(99) {
        // A refusal repeats the headers that it refuses.
        let refusal = bytes.starts_with(b"SIP/2.0 400 ") && bytes.ends_with(b"\r\n\r\n");
        let whole = &bytes[..] == b"\r\n" || refusal || Message::parse(&bytes).is_ok();
        assert!(whole, "{}", String::from_utf8_lossy(&bytes));
    }
}

const FROM_GATEWAYS: [&str; 4] = [
    "RSIP {n} aaln/*@[192.168.1.5] MGCP 1.0\r\nRM: restart\r\n",
    "NTFY {n} aaln/1@[192.168.1.5] MGCP 1.0 NCS 1.0\r\nN: ca0@[198.51.100.10]:2427\r\nX: 1\r\nO: L/hd\r\n",
    "DLCX {n} aaln/1@[192.168.1.5] MGCP 1.0\r\nC: A{n}\r\nI: 1\r\nP: PS=10, OS=1600\r\n.\r\n\
     NTFY 9{n} aaln/2@gw1.example.org MGCP 1.0\r\nK: 1-{n}\r\nO: hu\r\n",
    "RSIP {n} *@gw1.example.org MGCP 1.0\r\nRM: forced\r\n",
];

const FROM_AGENTS: [&str; 4] = [
    "CRCX {n} aaln/1@{name} MGCP 1.0\r\nC: A{n}\r\nM: recvonly\r\n\r\n\
     v=0\r\nc=IN IP4 10.0.0.50\r\nm=audio 4000 RTP/AVP 0\r\n",
    "CRCX {n} aaln/$@{name} MGCP 1.0\r\nC: A{n}\r\nM: sendrecv\r\nN: ca@ca1.example.net:5678\r\n",
    "MDCX {n} aaln/1@{name} MGCP 1.0\r\nC: A\r\nI: 1\r\nM: sendrecv\r\n\r\n\
     v=0\r\nc=IN IP4 10.0.0.51\r\nm=audio 4002 RTP/AVP 0\r\n.\r\nAUCX 8{n} aaln/1@{name} MGCP 1.0\r\nI: 1\r\nF: LC,RC\r\n",
    "DLCX {n} *@{name} MGCP 1.0\r\n.\r\nRQNT 7{n} aaln/1@{name} MGCP 1.0\r\nX: 1\r\n",
];

/// What whoever got a command answers: with a description and a connection, or with nothing of it, or an error.
fn reply(rng: &mut Rng, command: &[u8]) -> Option<Vec<u8>> {
    let id = String::from_utf8_lossy(command).split(' ').nth(1).map(str::to_owned)?;
    let answer = match rng.below(4) {
        0 => format!("200 {id} OK\r\n"),
        1 => format!("400 {id} Not now\r\n"),
        2 => format!(
            "200 {id} OK\r\nI: 1\r\nK:\r\n\r\nv=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 0\r\n"
        ),
        _ => return None,
    };
    Some(answer.into_bytes())
}

/// The same play for MGCP: two gateways and a call agent, whose commands are answered, or not. Fewer than `damage` octets
/// of each command are others than they were.
fn gateways_trace(seed: u8, damage: u64) -> Vec<(std::net::SocketAddr, bytes::Bytes)> {
    let mut world = World::new(gateways(2));
    let names = [world.restarts(NAT, 1, PRIVATE), world.restarts("203.0.113.9:2427", 1, "gw1.example.org")];
    let (mut rng, mut trace) = (Rng::new([seed; 32]), Vec::new());
    let mut waiting: Vec<(Flow, Vec<u8>)> = Vec::new();
    for n in 10..400 {
        let core = rng.below(2) == 0;
        let script = if core { FROM_AGENTS } else { FROM_GATEWAYS }[rng.below(4) as usize];
        let text = script.replace("{n}", &n.to_string()).replace("{name}", &names[rng.below(2) as usize]);
        let (realm, local, remote) = if core { (CORE, CORE_AT, AGENT) } else { (ACCESS, ACCESS_AT, NAT) };
        let (local, remote) = (addr(local), addr(remote));
        let flow = Flow { realm, transport: Transport::Udp, local, remote, stream: None };
        let mut bytes = text.into_bytes();
        for _ in 0..rng.below(damage) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.u64() as u8;
        }
        let mut sent = world.deliver_raw(rng.below(2) as usize, flow, &bytes);
        if let Some((flow, answer)) = waiting.pop() {
            sent.extend(world.deliver_raw(rng.below(2) as usize, flow, &answer));
        }
        sent.extend(world.pass(Duration::from_millis(rng.below(500))));
        let answers = sent.iter().filter_map(|sent| Some((sent.flow, reply(&mut rng, &sent.bytes)?)));
        waiting.extend(answers);
        trace.extend(sent.into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    }
    trace
        .extend(world.pass(Duration::from_secs(8000)).into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    for shard in &mut world.shards {
        let stats = shard.stats();
        let left = (stats.sessions, stats.ports, stats.transactions, stats.gateways);
        assert_eq!(left, (0, 0, 0, 0), "seed {seed}");
    }
    trace
}

#[test]
fn the_same_seed_gives_the_same_trace_of_gateways_and_nothing_is_left() {
    for seed in 0..6 {
        let first = gateways_trace(seed, 3);
        assert!(first.len() > 200, "{}", first.len());
        assert!(first == gateways_trace(seed, 3), "seed {seed} is not reproducible");
    }
}

const FROM_H248_GATEWAYS: [(&str, &str); 4] = [
    (
        "-",
        "ServiceChange = ROOT { Services { Method = Restart, ServiceChangeAddress = 55555, Reason = \"901 Cold Boot\" } }",
    ),
    ("1", "Notify = aaln/1 { ObservedEvents = 7 { 19990729T22000000:al/of } }"),
    ("-", "ServiceChange = rtp/1 { Services { Method = Forced, Reason = \"905 out\" } }"),
    ("-", "ServiceChange = ROOT { Services { Method = Failover, Reason = \"909 MGC fails\" } }"),
];

const FROM_CONTROLLERS: [(&str, &str); 5] = [
    (
        "$",
        "Add = aaln/1, Add = $ { Media { Stream = 1 { LocalControl { Mode = ReceiveOnly }, Local {\nv=0\nc=IN IP4 $\n\
         m=audio $ RTP/AVP 0\n}, Remote {\nv=0\nc=IN IP4 10.0.0.50\nm=audio 4000 RTP/AVP 0\n} } } }",
    ),
    (
        "1",
        "Modify = rtp/1 { Media { Stream = 1 { LocalControl { Mode = SendReceive }, Local {\nv=0\nc=IN IP4 10.0.0.10\n\
         m=audio 20480 RTP/AVP 0\n} } } }",
    ),
    ("*", "Subtract = *"),
    ("1", "AuditValue = rtp/1 { Audit { Media } }"),
    (
        "-",
        "ServiceChange = ROOT { Services { Method = HandOff, Reason = \"903 directed\", MgcIdToTry = [10.0.0.31]:2944 } }",
    ),
];

/// What whoever got a request answers: as it was asked, with a description, an error, or nothing.
fn h248_reply(rng: &mut Rng, sent: &support::Sent) -> Option<String> {
    let message = h248::Message::parse(support::h248::bare(sent)).ok()?;
    let request = message.transactions().iter().find(|t| t.kind == h248::Kind::Request)?;
    let (_, command) = request.commands().last()?;
    let verb = command.verb.token();
    let (mid, id) = ("[192.168.1.5]:2944", request.id);
    let inside = "v=0\nc=IN IP4 192.168.1.5\nm=audio 5004 RTP/AVP 0\n";
    Some(match rng.below(4) {
        0 => support::h248::reply(mid, id, "1", &format!("{verb} = rtp/1")),
        1 => support::h248::reply(
            mid,
            id,
            "1",
            &format!("{verb} = rtp/1 {{ Media {{ Stream = 1 {{ Local {{\n{inside}}} }} }} }}"),
        ),
        2 => support::h248::text(mid, "Reply", id, "Error = 500 { \"no\" }"),
        _ => return None,
    })
}

/// The same play for H.248, in either encoding.
fn h248_trace(seed: u8, damage: u64, dialect: Dialect) -> Vec<(std::net::SocketAddr, bytes::Bytes)> {
    let mut world = World::new(support::h248::h248(2));
    let mid = support::h248::PRIVATE;
    let homes = [NAT, "203.0.113.9:2944"].map(|nat| world.h248_restarts(nat, mid));
    let (mut rng, mut trace) = (Rng::new([seed; 32]), Vec::new());
    let mut waiting: Vec<(Flow, Vec<u8>)> = Vec::new();
    for n in 10..400 {
        let core = rng.below(2) == 0;
        let (context, command) = match core {
            true => FROM_CONTROLLERS[rng.below(5) as usize],
            false => FROM_H248_GATEWAYS[rng.below(4) as usize],
        };
        let text = support::h248::request(if core { support::h248::MGC } else { mid }, n, context, command);
        let mut bytes = dialect.written(text.replace('\n', "\r\n").as_bytes());
        for _ in 0..rng.below(damage) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.u64() as u8;
        }
        let home = homes[rng.below(2) as usize];
        let mut sent = match core {
            true if world.listens_at(home) => world.controller_sends(support::h248::CONTROLLER, home, &bytes),
            true => Vec::new(),
            false => world.h248_gateway_sends(NAT, &bytes),
        };
        if let Some((flow, answer)) = waiting.pop().filter(|(flow, _)| world.listens_at(flow.local)) {
            sent.extend(world.h248_comes(flow, &answer));
        }
        sent.extend(world.pass(Duration::from_millis(rng.below(500))));
        let answers = sent
            .iter()
            .filter_map(|sent| Some((sent.flow, dialect.written(h248_reply(&mut rng, sent)?.as_bytes()))));
        waiting.extend(answers);
        trace.extend(sent.into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    }
    trace
        .extend(world.pass(Duration::from_secs(8000)).into_iter().map(|sent| (sent.flow.remote, sent.bytes)));
    for shard in &mut world.shards {
        let stats = shard.stats();
        let left = (stats.sessions, stats.ports, stats.transactions, stats.gateways);
        assert_eq!(left, (0, 0, 0, 0), "seed {seed}");
    }
    trace
}

#[test]
fn the_same_seed_gives_the_same_trace_of_h248_and_nothing_is_left() {
    for (seed, dialect) in (0..6).zip(Dialect::ALL.into_iter().cycle()) {
        let first = h248_trace(seed, 3, dialect);
        assert!(first.len() > 200, "{}", first.len());
        assert!(first == h248_trace(seed, 3, dialect), "seed {seed} is not reproducible");
    }
}

#[test]
fn every_output_of_h248_is_one_whole_message_without_an_address_of_the_other_side() {
    for dialect in Dialect::ALL {
        for (to, bytes) in h248_trace(99, 1, dialect).into_iter().chain(h248_trace(100, 3, dialect)) {
            let read = h248::Message::parse(&bytes);
            assert!(read.is_ok(), "{to}: {read:?} {}", String::from_utf8_lossy(&bytes));
        }
        for (to, bytes) in h248_trace(99, 1, dialect) {
            let has = |what: &[u8]| bytes.windows(what.len()).any(|at| at == what);
            let both = |text: &str, octets: &[u8]| has(text.as_bytes()) || has(octets);
            let shown = match to.ip().to_string().starts_with("10.") {
                true => both("192.168.1.5", &[192, 168, 1, 5]) || both("198.51.100.10", &[198, 51, 100, 10]),
                false => both("10.0.0.", &[10, 0, 0]),
            };
            assert!(!shown, "{to}: {}", bytes.escape_ascii());
        }
    }
}

#[test]
fn every_output_of_gateways_is_one_whole_message_without_an_address_of_the_other_side() {
    for (to, bytes) in gateways_trace(99, 1).into_iter().chain(gateways_trace(100, 3)) {
        assert!(mgcp::Message::parse(&bytes).is_ok(), "{to}: {}", String::from_utf8_lossy(&bytes));
    }
    for (to, bytes) in gateways_trace(99, 1) {
        let text = String::from_utf8_lossy(&bytes);
        if to.ip().to_string().starts_with("10.") {
            assert!(!text.contains("192.168.1.5") && !text.contains("198.51.100.10"), "{text}");
        } else {
            assert!(!text.contains("10.0.0."), "{text}");
        }
    }
}
