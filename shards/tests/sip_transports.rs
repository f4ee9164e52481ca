//! Transports of the two sides: UDP, TCP, TLS and WebSocket, mixed.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Large, Mapping, Realm, Server, Softswitch};
use portolan_shards::types::Transport;
use std::sync::Arc;
use std::time::Duration;
use support::{NAT, SOFTSWITCH, Sent, World, addr, mapping};

const ALL: [(Transport, u16); 5] = [
    (Transport::Udp, 5060),
    (Transport::Tcp, 5060),
    (Transport::Tls, 5061),
    (Transport::Ws, 8080),
    (Transport::Wss, 8443),
];

/// Every transport on the access side, and the softswitch by this one.
fn by(core: Transport) -> Mapping {
    let mut mapping = mapping(1);
    mapping.realms[0] = Arc::new(Realm { sip: ALL.to_vec(), ..(*mapping.realms[0]).clone() });
    mapping.realms[1] = Arc::new(Realm { per_shard_tls: Some(6100), ..(*mapping.realms[1]).clone() });
    let server = Server { transport: core, ..Server::udp(addr(SOFTSWITCH)) };
    mapping.softswitches =
        vec![Arc::new(Softswitch { targets: vec![server], ..(*mapping.softswitches[0]).clone() })];
    mapping
}

fn request(method: &str, uri: &str, transport: Transport, contact: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/{} phone.invalid;branch=z9hG4bK{method};rport\nMax-Forwards: 70\n\
         From: <sip:alice@198.51.100.10>;tag=a\nTo: <{uri}>\nCall-ID: call-{method}\nCSeq: 1 {method}\n\
         Contact: <{contact}>\n{more}Content-Length: 0\n\n",
        transport.token()
    )
}

fn answer(request: &Sent, status: &str, more: &str) -> String {
    format!(
        "SIP/2.0 {status}\nVia: {}\nFrom: {}\nTo: {};tag=b\nCall-ID: {}\nCSeq: {}\n{more}Content-Length: 0\n\n",
        request.header("Via"),
        request.header("From"),
        request.header("To"),
        request.header("Call-ID"),
        request.header("CSeq"),
    )
}

#[test]
fn each_side_is_told_the_transport_of_its_own_hop() {
    for access in Transport::ALL {
        for core in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let mut world = World::new(by(core));
            let text = request("INVITE", "sip:bob@198.51.100.10", access, "sip:alice@phone.invalid", "");
            let up = if access == Transport::Udp {
                world.terminal_sends(NAT, &text)
            } else {
                let flow = world.connects(0, access, NAT);
                world.deliver(0, flow, &text)
            };
            let up = &up[0];
            assert_eq!(up.flow.transport, core);
            assert!(
                up.header("Via").starts_with(&format!("SIP/2.0/{} 10.0.0.10:6", core.token())),
                "{}",
                up.text()
            );
            let named = up.header("Contact").contains(&format!(";transport={}", core.param()));
            assert_eq!(named, core != Transport::Udp, "{}", up.text());
            let ok = answer(up, "200 OK", "Contact: <sip:bob@10.0.0.20:5060>\n");
            let down = world.deliver(0, up.flow, &ok).remove(0);
            assert_eq!((down.flow.transport, down.flow.remote), (access, addr(NAT)));
            let via = format!(
                "SIP/2.0/{} phone.invalid;branch=z9hG4bKINVITE;rport=40001;received=203.0.113.7",
                access.token()
            );
            assert_eq!(down.header("Via"), via);
            let named = down.header("Contact").contains(&format!(";transport={}", access.param()));
            assert_eq!(named, access != Transport::Udp, "{}", down.text());
        }
    }
}

/// RFC 7118 section 5: a browser has no address, and says so.
#[test]
fn a_terminal_without_an_address_is_called_by_its_connection() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let mut world = World::new(by(Transport::Udp));
        let flow = world.connects(0, transport, NAT);
        let contact = "sip:alice@df7jal23ls0d.invalid;transport=ws";
        let text = request("REGISTER", "sip:alice@198.51.100.10", transport, contact, "Expires: 600\n");
        let up = world.deliver(0, flow, &text).remove(0);
        let registered = format!("Contact: {};expires=600\n", up.header("Contact"));
        let down = world.deliver(0, up.flow, &answer(&up, "200 OK", &registered)).remove(0);
        assert_eq!(down.flow, flow);
        let uri =
            up.header("Contact").trim_start_matches('<').split('>').next().unwrap_or_default().to_owned();
        let call = format!(
            "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKx\nMax-Forwards: 70\n\
             From: <sip:bob@example.net>;tag=b\nTo: <sip:alice@example.net>\nCall-ID: c\nCSeq: 1 INVITE\n\
             Contact: <sip:bob@10.0.0.20>\nContent-Length: 0\n\n"
        );
        let ring = world.core_sends(&up.flow.local.to_string(), &call).remove(0);
        assert_eq!(ring.flow, flow, "by the connection that the terminal opened");
        assert!(ring.text().starts_with(&format!("INVITE {contact} SIP/2.0\r\n")), "{}", ring.text());
        assert!(world.dialled.is_empty(), "a terminal is never dialled");
        world.closes(flow);
        let lost =
            world.core_sends(&up.flow.local.to_string(), &call.replace("bKx", "bKy").replace(": c", ": d"));
        assert!(lost[0].text().starts_with("SIP/2.0 480 "), "{}", lost[0].text());
    }
}

#[test]
fn what_outgrows_a_datagram_goes_by_tcp_where_the_realm_says_so_and_whole_by_udp_else() {
    let long = format!("Subject: {}\n", "x".repeat(1_300));
    for (large, transport) in [(Large::Udp, Transport::Udp), (Large::Tcp, Transport::Tcp)] {
        let mut mapping = by(Transport::Udp);
        mapping.realms[1] = Arc::new(Realm { large, ..(*mapping.realms[1]).clone() });
        let mut world = World::new(mapping);
        let contact = "sip:alice@192.168.1.10";
        let text = request("INVITE", "sip:bob@198.51.100.10", Transport::Udp, contact, &long);
        let up = world.terminal_sends(NAT, &text).remove(0);
        assert_eq!((up.flow.transport, up.flow.remote), (transport, addr(SOFTSWITCH)));
        assert!(up.header("Via").starts_with(&format!("SIP/2.0/{} ", transport.token())), "{}", up.text());
        assert!(up.header("Subject").len() == 1_300, "nothing is cut");
        let down = world.deliver(0, up.flow, &answer(&up, "486 Busy Here", "")).pop().expect("an answer");
        assert_eq!(down.flow.remote, addr(NAT));
        let small = request("OPTIONS", "sip:bob@198.51.100.10", Transport::Udp, contact, "");
        assert_eq!(world.terminal_sends(NAT, &small)[0].flow.transport, Transport::Udp);
    }
}

/// RFC 5630 section 4: enciphered on every hop, or not at all.
#[test]
fn a_sips_request_goes_by_enciphered_hops_only() {
    let contact = "sips:alice@192.168.1.10";
    let text = request("INVITE", "sips:bob@example.net", Transport::Tls, contact, "");
    for (core, goes) in [(Transport::Udp, false), (Transport::Tcp, false), (Transport::Tls, true)] {
        let mut world = World::new(by(core));
        let flow = world.connects(0, Transport::Tls, NAT);
        let sent = world.deliver(0, flow, &text).remove(0);
        assert_eq!(sent.text().starts_with("INVITE sips:bob@example.net "), goes, "{}", sent.text());
        assert_eq!(sent.text().starts_with("SIP/2.0 480 "), !goes, "{}", sent.text());
    }
}

#[test]
fn one_connection_leads_to_a_server_and_is_used_again() {
    let mut world = World::new(by(Transport::Tcp));
    let contact = "sip:alice@192.168.1.10";
    let first =
        world.terminal_sends(NAT, &request("OPTIONS", "sip:bob@x.example", Transport::Udp, contact, ""));
    let second =
        world.terminal_sends(NAT, &request("MESSAGE", "sip:bob@x.example", Transport::Udp, contact, ""));
    assert_eq!((first[0].flow, world.dialled.len()), (second[0].flow, 1));
    world.closes(first[0].flow);
    let third =
        world.terminal_sends(NAT, &request("PUBLISH", "sip:bob@x.example", Transport::Udp, contact, ""));
    assert_ne!(third[0].flow, first[0].flow);
    assert_eq!(world.dialled.len(), 2, "dialled anew when it is needed");
}

#[test]
fn a_ping_of_a_connection_is_answered_on_it() {
    let mut world = World::new(by(Transport::Udp));
    for (transport, _) in &ALL[1..] {
        let flow = world.connects(0, *transport, NAT);
        let pong = world.deliver_raw(0, flow, b"\r\n\r\n");
        assert_eq!((pong.len(), &pong[0].bytes[..], pong[0].flow), (1, &b"\r\n"[..], flow));
    }
}

#[test]
fn silent_connections_are_closed_and_their_number_is_limited() {
    let mut mapping = by(Transport::Udp);
    mapping.limits = Limits { streams_per_source: 2, ..mapping.limits };
    let mut world = World::new(mapping);
    let flows =
        [world.connects(0, Transport::Tcp, NAT), world.connects(0, Transport::Tcp, "203.0.113.7:40002")];
    let listener = world.listeners.iter().find(|(_, l)| l.transport == Transport::Tcp).expect("one").1;
    let now = world.now;
    assert!(world.shards[0].accepted(now, &listener, addr("203.0.113.7:40003")).is_none());
    assert!(world.shards[0].accepted(now, &listener, addr("203.0.113.8:40003")).is_some());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Limit), 1);
    world.pass(Duration::from_secs(600));
    world.deliver_raw(0, flows[1], b"\r\n\r\n");
    world.pass(Duration::from_secs(400));
    assert!(world.hung_up.contains(&flows[0]) && !world.hung_up.contains(&flows[1]));
    assert_eq!(world.hung_up.len(), 2);
}
