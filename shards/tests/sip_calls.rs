//! Calls through one or more shards: signaling and media.

#[path = "support/messages.rs"]
mod messages;
mod support;

use portolan_shards::io::{DropReason, Verdict};
use support::{ACCESS, CORE, NAT, SOFTSWITCH, Sent, World, addr, mapping, rtp};

const CORE_MEDIA: &str = "10.0.0.20:30000";
const NAT_MEDIA: &str = "203.0.113.7:51000";

fn sdp(ip: &str, port: u16, more: &str) -> String {
    format!(
        "v=0\no=- 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n{more}"
    )
}

fn with_body(head: &str, body: &str) -> String {
    let body = body.replace('\n', "\r\n");
    format!("{head}Content-Type: application/sdp\nContent-Length: {}\n\n{body}", body.len())
}

fn invite(body: &str) -> String {
    let head = "INVITE sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\n\
        Max-Forwards: 70\nFrom: \"Alice\" <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\n\
        Call-ID: call-1\nCSeq: 1 INVITE\nContact: <sip:alice@192.168.1.10:5060>\n";
    with_body(head, body)
}

/// A request of the caller within the dialog, to the Contact that it was shown.
fn caller_request(method: &str, cseq: u32, contact: &str, more: &str) -> String {
    let uri = contact.trim_start_matches('<').trim_end_matches('>');
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{method}{cseq};rport\n\
         Max-Forwards: 70\nFrom: \"Alice\" <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>;tag=b\n\
         Call-ID: call-1\nCSeq: {cseq} {method}\n{more}"
    )
}

fn response(request: &Sent, status: &str, more: &str) -> String {
    let text = request.text();
    let routes = text.lines().filter(|line| line.starts_with("Record-Route"));
    let routes = routes.map(|line| format!("{line}\n")).collect::<String>();
    request.answered(status, "b", &format!("{routes}{more}"))
}

fn ok_with_sdp(request: &Sent, rr: &str) -> String {
    let contact = format!("{rr}Contact: <sip:bob@10.0.0.20:5060;x=1>\n");
    response(request, "200 OK", &with_body(&contact, &sdp("10.0.0.20", 30_000, "")))
}

fn media_port(text: &str) -> u16 {
    let line = text.lines().find(|line| line.starts_with("m=audio")).expect("an m= line");
    line.split(' ').nth(1).expect("a port").parse().expect("a number")
}

/// A call from the terminal to the softswitch, answered: what went up, what came down.
fn call(world: &mut World) -> (Sent, Sent) {
    let up = world.terminal_sends(NAT, &invite(&sdp("192.168.1.10", 5004, ""))).remove(0);
    let rr = "Record-Route: <sip:10.0.0.20;lr;r=2>, <sip:10.0.0.20;lr;r=1>\n";
    let down = world.core_sends(&up.flow.local.to_string(), &ok_with_sdp(&up, rr)).remove(0);
    (up, down)
}

fn totals(world: &mut World) -> (u64, u64) {
    let stats = world.shards.iter_mut().map(portolan_shards::shard::Shard::stats);
    stats.fold((0, 0), |(sessions, ports), s| (sessions + s.sessions, ports + s.ports))
}

/// What a terminal's first Route names is where it sent the request: us, by whatever name, or the softswitch's domain.
#[test]
fn routes_past_us_are_kept_and_our_own_are_consumed() {
    let routes = |lines: &str| {
        let text = String::from_utf8(messages::invite_with("Max-Forwards", &format!("{lines}Max-Forwards")));
        let sent = World::new(mapping(1)).deliver_raw(0, messages::access(), text.expect("ASCII").as_bytes());
        let up = messages::passed(&sent, messages::access()).expect("an INVITE").text();
        up.lines().filter_map(|line| line.strip_prefix("Route: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(routes("Route: <sip:198.51.100.10;lr>\r\n").is_empty());
    assert!(routes("Route: <sip:proxy.example.com;lr>\r\n").is_empty(), "an outbound proxy by name is us");
    assert_eq!(routes("Route: <sip:Example.NET;lr>\r\n"), ["<sip:Example.NET;lr>"]);
    let two = "Route: <sip:198.51.100.10;lr>, <sip:sx.example.com;lr>\r\nRoute: <sip:10.0.0.20;lr>\r\n";
    assert_eq!(routes(two), ["<sip:sx.example.com;lr>", "<sip:10.0.0.20;lr>"]);
}

#[test]
fn neither_side_sees_the_others_addresses() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let (up, down) = call(&mut world);
        assert_eq!(up.flow.remote, addr(SOFTSWITCH));
        assert!(up.text().starts_with("INVITE sip:bob@example.net SIP/2.0\r\n"), "{}", up.text());
        assert_eq!(up.header("From"), "\"Alice\" <sip:alice@example.net>;tag=a");
        assert!(up.text().contains("c=IN IP4 10.0.0.10\r\n"));
        for secret in ["192.168.", "203.0.113.", "198.51.100."] {
            assert!(!up.text().contains(secret), "{}", up.text());
        }
        assert_eq!(down.flow.remote, addr(NAT));
        assert!(!down.text().contains("10.0.0."), "{}", down.text());
        assert!(down.header("Contact").starts_with("<sip:bob@198.51.100.10:5060;x=1;pl="), "{}", down.text());
        assert!(down.text().contains("c=IN IP4 198.51.100.10\r\n"));
        let length: usize = down.header("Content-Length").parse().expect("a length");
        assert!(down.text().ends_with(down.text().split_once("\r\n\r\n").expect("a body").1));
        assert_eq!(down.text().split_once("\r\n\r\n").expect("a body").1.len(), length);
    }
}

#[test]
fn media_flows_both_ways_after_the_answer_and_stops_with_the_bye() {
    let mut world = World::new(mapping(2));
    let (up, down) = call(&mut world);
    let (core, access) = (media_port(&up.text()), media_port(&down.text()));
    let first = world.media(ACCESS, access, NAT_MEDIA, &rtp(1, 7));
    assert!(matches!(first, Verdict::Forward { to, .. } if to == addr(CORE_MEDIA)), "{first:?}");
    world.media(ACCESS, access, NAT_MEDIA, &rtp(2, 7));
    let back = world.media(CORE, core, CORE_MEDIA, &rtp(9, 8));
    assert!(matches!(back, Verdict::Forward { to, .. } if to == addr(NAT_MEDIA)), "{back:?}");
    let stranger = world.media(ACCESS, access, "192.0.2.66:4000", &rtp(3, 7));
    assert_eq!(stranger, Verdict::Drop(DropReason::Stranger));

    let bye = world
        .terminal_sends(NAT, &caller_request("BYE", 2, &down.header("Contact"), "Content-Length: 0\n\n"))
        .remove(0);
    assert_eq!(world.media(ACCESS, access, NAT_MEDIA, &rtp(4, 7)), Verdict::Drop(DropReason::GateClosed));
    let ok =
        world.core_sends(&bye.flow.local.to_string(), &response(&bye, "200 OK", "Content-Length: 0\n\n"));
    assert_eq!(ok[0].flow.remote, addr(NAT));
    assert_eq!(totals(&mut world), (0, 0));
    assert_eq!(world.media(ACCESS, access, NAT_MEDIA, &rtp(5, 7)), Verdict::Drop(DropReason::NoSession));
}

#[test]
fn requests_within_the_dialog_follow_the_softswitchs_route_set() {
    let mut world = World::new(mapping(2));
    let (_, down) = call(&mut world);
    assert_eq!(down.header("Record-Route"), "");
    let ack = world
        .terminal_sends(NAT, &caller_request("ACK", 1, &down.header("Contact"), "Content-Length: 0\n\n"))
        .remove(0);
    assert!(ack.text().starts_with("ACK sip:bob@10.0.0.20:5060;x=1 SIP/2.0\r\n"), "{}", ack.text());
    let routes =
        ack.text().lines().filter(|l| l.starts_with("Route: ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(routes, ["Route: <sip:10.0.0.20;lr;r=1>", "Route: <sip:10.0.0.20;lr;r=2>"]);
    assert_eq!(ack.header("To"), "<sip:bob@example.net>;tag=b");
}

#[test]
fn a_request_from_the_softswitch_reaches_the_terminal_at_its_current_flow() {
    let mut world = World::new(mapping(2));
    let (up, down) = call(&mut world);
    let moved = "203.0.113.7:40999";
    let info = world
        .terminal_sends(moved, &caller_request("INFO", 2, &down.header("Contact"), "Content-Length: 0\n\n"))
        .remove(0);
    world.core_sends(&info.flow.local.to_string(), &response(&info, "200 OK", "Content-Length: 0\n\n"));
    let contact = up.header("Contact");
    let uri = contact.trim_start_matches('<').trim_end_matches('>');
    let bye = format!(
        "BYE {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKb\nMax-Forwards: 70\n\
         From: <sip:bob@example.net>;tag=b\nTo: \"Alice\" <sip:alice@example.net>;tag=a\nCall-ID: call-1\n\
         CSeq: 1 BYE\nContent-Length: 0\n\n"
    );
    let bye = world.core_sends(&up.flow.local.to_string(), &bye).remove(0);
    assert_eq!(bye.flow.remote, addr(moved));
    assert!(bye.text().starts_with("BYE sip:alice@192.168.1.10:5060 SIP/2.0\r\n"), "{}", bye.text());
    assert_eq!(bye.header("To"), "\"Alice\" <sip:alice@198.51.100.10>;tag=a");
    assert!(!bye.text().contains("10.0.0."), "{}", bye.text());
    let ok = world.terminal_sends(moved, &response(&bye, "200 OK", "Content-Length: 0\n\n")).remove(0);
    assert_eq!(ok.header("Via"), "SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKb");
    assert_eq!(totals(&mut world), (0, 0));
}

#[test]
fn a_refused_call_frees_everything_and_its_ack_is_each_hops_own() {
    let mut world = World::new(mapping(2));
    let up = world.terminal_sends(NAT, &invite(&sdp("192.168.1.10", 5004, ""))).remove(0);
    assert_eq!(totals(&mut world).0, 1);
    let busy = world
        .core_sends(&up.flow.local.to_string(), &response(&up, "486 Busy Here", "Content-Length: 0\n\n"));
    let (ack, busy) = (&busy[0], &busy[1]);
    assert!(busy.text().starts_with("SIP/2.0 486 Busy Here\r\n"));
    assert!(ack.text().starts_with("ACK sip:bob@example.net SIP/2.0\r\n"), "{}", ack.text());
    assert_eq!((ack.header("Via"), ack.header("CSeq")), (up.header("Via"), "1 ACK".to_owned()));
    assert_eq!(totals(&mut world), (0, 0));
    let ack = "ACK sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\n\
        Max-Forwards: 70\nFrom: \"Alice\" <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>;tag=b\n\
        Call-ID: call-1\nCSeq: 1 ACK\nContent-Length: 0\n\n";
    assert!(world.terminal_sends(NAT, ack).is_empty());
    assert!(world.pass(std::time::Duration::from_secs(60)).is_empty(), "the 486 is repeated after its ACK");
}

#[test]
fn a_cancel_follows_its_invite() {
    let mut world = World::new(mapping(2));
    let up = world.terminal_sends(NAT, &invite(&sdp("192.168.1.10", 5004, ""))).remove(0);
    let cancel = invite("").replace("INVITE", "CANCEL").replace("Content-Type: application/sdp\n", "");
    let home = up.flow.local.to_string();
    let ok = world.terminal_sends(NAT, &cancel);
    assert_eq!((ok.len(), ok[0].header("CSeq"), ok[0].flow.remote), (1, "1 CANCEL".to_owned(), addr(NAT)));
    let ringing = world.core_sends(&home, &response(&up, "180 Ringing", "Content-Length: 0\n\n"));
    let cancel = &ringing[0];
    assert!(cancel.text().starts_with("CANCEL sip:bob@example.net SIP/2.0\r\n"), "{}", cancel.text());
    assert_eq!(cancel.header("Via"), up.header("Via"));
    assert!(world.core_sends(&home, &response(cancel, "200 OK", "Content-Length: 0\n\n")).is_empty());
    world.core_sends(&home, &response(&up, "487 Request Terminated", "Content-Length: 0\n\n"));
    assert_eq!(totals(&mut world), (0, 0));
}

#[test]
fn hold_stops_media_one_way_and_resume_restores_it() {
    let mut world = World::new(mapping(1));
    let (up, down) = call(&mut world);
    let (core, access) = (media_port(&up.text()), media_port(&down.text()));
    for n in 1..5 {
        world.media(ACCESS, access, NAT_MEDIA, &rtp(n, 7));
    }
    for (cseq, direction, answer, flows) in
        [(2, "sendonly", "recvonly", false), (3, "sendrecv", "sendrecv", true)]
    {
        let offer = with_body(
            "Contact: <sip:alice@192.168.1.10:5060>\n",
            &sdp("192.168.1.10", 5004, &format!("a={direction}\n")),
        );
        let re = world
            .terminal_sends(NAT, &caller_request("INVITE", cseq, &down.header("Contact"), &offer))
            .remove(0);
        assert_eq!(media_port(&re.text()), core, "ports never change during a dialog");
        let answer = with_body(
            "Contact: <sip:bob@10.0.0.20:5060>\n",
            &sdp("10.0.0.20", 30_000, &format!("a={answer}\n")),
        );
        world.core_sends(&re.flow.local.to_string(), &response(&re, "200 OK", &answer));
        let back = world.media(CORE, core, CORE_MEDIA, &rtp(9 + cseq as u16, 8));
        assert_eq!(matches!(back, Verdict::Forward { .. }), flows, "{direction}: {back:?}");
        let out = world.media(ACCESS, access, NAT_MEDIA, &rtp(9 + cseq as u16, 7));
        assert!(matches!(out, Verdict::Forward { .. }), "{out:?}");
    }
}

#[test]
fn a_refused_re_invite_leaves_the_call_as_it_was() {
    let mut world = World::new(mapping(1));
    let (up, down) = call(&mut world);
    let access = media_port(&down.text());
    let offer = with_body("", &sdp("192.168.1.10", 6000, "a=inactive\n"));
    let re =
        world.terminal_sends(NAT, &caller_request("INVITE", 2, &down.header("Contact"), &offer)).remove(0);
    world.core_sends(
        &up.flow.local.to_string(),
        &response(&re, "488 Not Acceptable Here", "Content-Length: 0\n\n"),
    );
    let out = world.media(ACCESS, access, NAT_MEDIA, &rtp(1, 7));
    assert!(matches!(out, Verdict::Forward { .. }), "{out:?}");
    assert_eq!(totals(&mut world), (1, 4));
}

#[test]
fn a_delayed_offer_is_answered_by_the_ack() {
    let mut world = World::new(mapping(1));
    let bare = invite("").replace("Content-Type: application/sdp\n", "");
    let up = world.terminal_sends(NAT, &bare).remove(0);
    let down = world.core_sends("10.0.0.10:6000", &ok_with_sdp(&up, "")).remove(0);
    let access = media_port(&down.text());
    assert_eq!(world.media(ACCESS, access, NAT_MEDIA, &rtp(1, 7)), Verdict::Drop(DropReason::NotArmed));
    let answer = with_body("", &sdp("192.168.1.10", 5004, ""));
    let ack =
        world.terminal_sends(NAT, &caller_request("ACK", 1, &down.header("Contact"), &answer)).remove(0);
    assert!(ack.text().contains("c=IN IP4 10.0.0.10\r\n"), "{}", ack.text());
    let out = world.media(ACCESS, access, NAT_MEDIA, &rtp(2, 7));
    assert!(matches!(out, Verdict::Forward { to, .. } if to == addr(CORE_MEDIA)), "{out:?}");
}

#[test]
fn a_call_that_is_never_answered_is_reaped() {
    let mut world = World::new(mapping(2));
    world.terminal_sends(NAT, &invite(&sdp("192.168.1.10", 5004, "")));
    world.pass(std::time::Duration::from_secs(500));
    assert_eq!(totals(&mut world), (0, 0));
    assert_eq!(world.shards.iter_mut().map(|s| s.stats().transactions).sum::<u64>(), 0);
}

#[test]
fn a_silent_call_is_reaped() {
    let mut world = World::new(mapping(2));
    call(&mut world);
    world.pass(std::time::Duration::from_secs(299));
    assert_eq!(totals(&mut world).0, 1);
    world.pass(std::time::Duration::from_secs(400));
    assert_eq!(totals(&mut world), (0, 0));
}

#[test]
fn strangers_on_the_core_side_are_not_heard() {
    let mut world = World::new(mapping(1));
    let flow = portolan_shards::types::Flow {
        realm: CORE,
        transport: portolan_shards::types::Transport::Udp,
        local: addr("10.0.0.10:6000"),
        remote: addr("10.0.0.66:5060"),
        stream: None,
    };
    assert!(world.deliver(0, flow, &invite("")).is_empty());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Untrusted), 1);
}

#[test]
fn a_tcp_stream_is_refused_by_port_zero_and_ice_is_stripped() {
    let mut world = World::new(mapping(1));
    let more = "a=ice-ufrag:abc\na=candidate:1 1 UDP 1 192.168.1.10 5004 typ host\na=x-unknown:1\n\
                m=message 2855 TCP/MSRP *\na=path:msrp://192.168.1.10:2855/s;tcp\n";
    let up = world.terminal_sends(NAT, &invite(&sdp("192.168.1.10", 5004, more))).remove(0);
    let text = up.text();
    assert!(text.contains("m=message 0 TCP/MSRP *\r\n"), "{text}");
    assert!(!text.contains("ice-ufrag") && !text.contains("candidate"), "{text}");
    assert!(text.contains("a=x-unknown:1\r\n"), "{text}");
    assert!(!text.contains("192.168."), "{text}");
}

#[test]
fn a_description_among_other_parts_is_rewritten_and_the_parts_stay() {
    let sdp = sdp("192.168.1.10", 5004, "").replace('\n', "\r\n");
    let body = format!(
        "--edge\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--edge\r\nContent-Type: application/isup\r\n\r\n\u{1}\u{2}\r\n--edge--\r\n"
    );
    let text = invite("").replace("application/sdp", "multipart/mixed;boundary=edge").replace('\n', "\r\n");
    let text = text.replace("Content-Length: 0", &format!("Content-Length: {}", body.len())) + &body;
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &text).remove(0).text();
    assert!(up.contains("c=IN IP4 10.0.0.10\r\n") && !up.contains("192.168."), "{up}");
    assert!(up.contains("application/isup\r\n\r\n\u{1}\u{2}\r\n--edge--\r\n"), "{up}");
}

#[test]
fn a_terminal_that_announces_our_own_address_gets_no_echo() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &invite(&sdp("198.51.100.10", 20_000, ""))).remove(0);
    world.core_sends(&up.flow.local.to_string(), &ok_with_sdp(&up, ""));
    let core = media_port(&up.text());
    assert_eq!(world.media(CORE, core, CORE_MEDIA, &rtp(1, 8)), Verdict::Drop(DropReason::NoDestination));
}
