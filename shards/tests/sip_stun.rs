//! STUN keepalives on the SIP port (RFC 5626 section 4.4.2).

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::types::{Flow, Transport};
use portolan_shards::wire::stun::Response;
use support::{ACCESS, CORE, NAT, SOFTSWITCH, Sent, World, addr, mapping};

const TRANSACTION: [u8; 12] = *b"transaction!";

/// A Binding request with that many octets of SOFTWARE, four of header included.
fn request(software: u8) -> Vec<u8> {
    let mut bytes = [&[0, 1, 0, software, 0x21, 0x12, 0xa4, 0x42][..], &TRANSACTION].concat();
    if software > 0 {
        bytes.extend([0x80, 0x22, 0, software - 4]);
        bytes.extend(vec![b'x'; usize::from(software) - 4]);
    }
    bytes
}

fn sends(world: &mut World, shard: usize, from: &str, bytes: &[u8]) -> Vec<Sent> {
    let local = addr("198.51.100.10:5060");
    let flow = Flow { realm: ACCESS, transport: Transport::Udp, local, remote: addr(from), stream: None };
    world.deliver_raw(shard, flow, bytes)
}

fn register(world: &mut World) {
    let contact = "<sip:alice@192.168.1.10:5060>";
    let up = world.terminal_sends(
        NAT,
        &format!(
            "REGISTER sip:198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKr;rport\n\
             Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a1\nTo: <sip:alice@198.51.100.10>\n\
             Call-ID: reg-1\nCSeq: 1 REGISTER\nContact: {contact}\nExpires: 60\nContent-Length: 0\n\n"
        ),
    );
    assert!(sends(world, 0, NAT, &request(0)).is_empty(), "not before the registrar agreed");
    let lines = ["Via", "From", "To", "Call-ID", "CSeq", "Contact"];
    let lines: String = lines.iter().map(|name| format!("{name}: {}\n", up[0].header(name))).collect();
    world.core_sends(&up[0].flow.local.to_string(), &format!("SIP/2.0 200 OK\n{lines}Content-Length: 0\n\n"));
}

#[test]
fn a_registered_terminal_learns_its_address() {
    let mut world = World::new(mapping(1));
    register(&mut world);
    let answers = sends(&mut world, 0, NAT, &request(0));
    let response = Response::parse(&answers[0].bytes).expect("a success response");
    assert_eq!((response.transaction, response.mapped), (TRANSACTION, addr(NAT)));
    assert_eq!((answers.len(), answers[0].flow.remote), (1, addr(NAT)));
    assert_eq!(answers[0].flow.local, addr("198.51.100.10:5060"));
    let stats = world.shards[0].stats();
    assert_eq!((stats.dropped(DropReason::Ping), stats.dropped(DropReason::UnprovenPing)), (1, 1));
    assert!(
        sends(&mut world, 0, "203.0.113.7:40002", &request(0)).is_empty(),
        "another port is another flow"
    );
    world.pass(std::time::Duration::from_secs(200));
    assert!(sends(&mut world, 0, NAT, &request(0)).is_empty(), "the registration has run out");
}

#[test]
fn nobody_gets_more_octets_than_he_sent() {
    let mut world = World::new(mapping(2));
    for shard in [0, 1] {
        for software in (0..48).step_by(4) {
            let bytes = request(software);
            let answers = sends(&mut world, shard, "192.0.2.66:7", &bytes);
            assert!(answers.iter().all(|answer| answer.bytes.len() <= bytes.len()));
            assert_eq!(answers.len(), usize::from(bytes.len() >= 32), "{} octets", bytes.len());
        }
        assert_eq!(world.shards[shard].stats().dropped(DropReason::UnprovenPing), 3);
    }
    assert_eq!(world.crossings, 2 * 12, "whoever holds its registration would hear of it");
}

/// The kernel gives a flow to any shard; the registration is on the one that its user hashes to.
#[test]
fn a_registered_terminal_is_answered_whichever_shard_receives_its_ping() {
    let mut world = World::new(mapping(8));
    register(&mut world);
    for shard in 0..8 {
        let answers = sends(&mut world, shard, NAT, &request(0));
        let mapped = answers.first().and_then(|answer| Some(Response::parse(&answer.bytes)?.mapped));
        assert_eq!((answers.len(), mapped), (1, Some(addr(NAT))), "shard {shard}");
    }
    for shard in 0..8 {
        assert!(sends(&mut world, shard, "203.0.113.7:40002", &request(0)).is_empty());
    }
}

#[test]
fn only_requests_of_terminals_are_answered() {
    let mut world = World::new(mapping(1));
    let mut response = request(16);
    response[0] = 1;
    let mut cut = request(16);
    cut[23] = 40;
    for bytes in [response, cut] {
        assert!(sends(&mut world, 0, NAT, &bytes).is_empty());
    }
    let local = addr("10.0.0.10:5060");
    let core = Flow { realm: CORE, transport: Transport::Udp, local, remote: addr(SOFTSWITCH), stream: None };
    assert!(world.deliver_raw(0, core, &request(16)).is_empty());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Malformed), 3);
}
