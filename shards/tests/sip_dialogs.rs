//! Dialogs over time: session timers (RFC 4028), calls that nobody ends, subscriptions.

mod support;

use portolan_shards::realm::Mapping;
use std::time::Duration;
use support::{NAT, Sent, World, addr, mapping, sdp};

fn with_body(head: &str, body: &str) -> String {
    format!("{head}Content-Type: application/sdp\nContent-Length: {}\n\n{body}", body.len())
}

fn invite(more: &str) -> String {
    let head = format!(
        "INVITE sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKinv;rport\n\
         Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\n\
         Call-ID: call-1\nCSeq: 7 INVITE\nContact: <sip:alice@192.168.1.10:5060>\n{more}"
    );
    with_body(&head, &sdp("192.168.1.10", 5004))
}

fn ok(request: &Sent, more: &str) -> String {
    let head = format!("Contact: <sip:bob@10.0.0.20:5060>\n{more}");
    request.answered("200 OK", "b", &with_body(&head, &sdp("10.0.0.20", 30_000)))
}

fn in_dialog(method: &str, cseq: u32, contact: &str, more: &str) -> String {
    let uri = contact.trim_start_matches('<').trim_end_matches('>');
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{method}{cseq};rport\n\
         Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>;tag=b\n\
         Call-ID: call-1\nCSeq: {cseq} {method}\n{more}"
    )
}

/// The call, answered and acknowledged: the INVITE as it went up, the answer as it came down.
fn call(world: &mut World, more: &str, answered: &str) -> (Sent, Sent) {
    let up = world.terminal_sends(NAT, &invite(more)).remove(0);
    let down = world.core_sends(&up.flow.local.to_string(), &ok(&up, answered)).remove(0);
    let ack = in_dialog("ACK", 7, &down.header("Contact"), "Content-Length: 0\n\n");
    world.terminal_sends(NAT, &ack);
    (up, down)
}

fn timed(seconds: u64) -> Mapping {
    let mut mapping = mapping(1);
    mapping.limits.session_expires = Duration::from_secs(seconds);
    mapping
}

fn nothing_left(world: &mut World) {
    world.pass(Duration::from_secs(400));
    let stats = world.shards[0].stats();
    assert_eq!((stats.sessions, stats.ports, stats.transactions, stats.dialogs), (0, 0, 0, 0));
}

fn byes(sent: &[Sent]) -> [&Sent; 2] {
    let bye = |at: &str| sent.iter().find(|s| s.flow.remote == addr(at) && s.text().starts_with("BYE "));
    [bye(NAT).expect("a BYE to the terminal"), bye("10.0.0.20:5060").expect("a BYE to the softswitch")]
}

#[test]
fn a_call_without_media_is_ended_by_a_bye_to_both_sides() {
    let mut world = World::new(mapping(1));
    let (up, down) = call(&mut world, "", "");
    let sent = world.pass(Duration::from_secs(301));
    let [access, core] = byes(&sent);
    assert!(core.text().starts_with("BYE sip:bob@10.0.0.20:5060 SIP/2.0\r\n"), "{}", core.text());
    assert_eq!(core.header("From"), up.header("From"));
    assert_eq!(core.header("To"), format!("{};tag=b", up.header("To")));
    assert_eq!((core.header("Call-ID"), core.header("CSeq")), ("call-1".to_owned(), "8 BYE".to_owned()));
    assert!(access.text().starts_with("BYE sip:alice@192.168.1.10:5060 SIP/2.0\r\n"), "{}", access.text());
    assert_eq!(access.header("From"), down.header("To"));
    assert_eq!(access.header("To"), down.header("From"));
    assert!(!access.text().contains("10.0.0."), "{}", access.text());
    assert!(!core.text().contains("192.168."), "{}", core.text());
    let (access, core) = (access.clone(), core.clone());
    world.deliver(0, access.flow, &access.answered("200 OK", "b", "Content-Length: 0\n\n"));
    world.deliver(0, core.flow, &core.answered("481 Call Does Not Exist", "b", "Content-Length: 0\n\n"));
    assert!(world.pass(Duration::from_secs(60)).is_empty(), "both BYEs were answered");
    assert_eq!(world.shards[0].stats().byes_sent, 2);
    nothing_left(&mut world);
}

#[test]
fn a_session_that_is_not_refreshed_is_over() {
    let mut world = World::new(mapping(1));
    call(&mut world, "Supported: timer\nSession-Expires: 120\n", "Session-Expires: 120;refresher=uac\n");
    assert!(world.pass(Duration::from_secs(150)).is_empty());
    byes(&world.pass(Duration::from_secs(3)));
    nothing_left(&mut world);
}

#[test]
fn a_refresh_keeps_the_session() {
    let mut mapping = mapping(1);
    mapping.limits.media_idle = Duration::from_secs(3000);
    let mut world = World::new(mapping);
    let (_, down) =
        call(&mut world, "Supported: timer\nSession-Expires: 120\n", "Session-Expires: 120;refresher=uac\n");
    for n in 0..3 {
        assert!(world.pass(Duration::from_secs(100)).is_empty());
        let timer = "Supported: timer\nSession-Expires: 120;refresher=uac\nContent-Length: 0\n\n";
        let update = in_dialog("UPDATE", 8 + n, &down.header("Contact"), timer);
        let up = world.terminal_sends(NAT, &update).remove(0);
        assert_eq!(up.header("Session-Expires"), "120;refresher=uac");
        let fine = up.answered("200 OK", "b", "Session-Expires: 120;refresher=uac\nContent-Length: 0\n\n");
        world.core_sends(&up.flow.local.to_string(), &fine);
    }
    byes(&world.pass(Duration::from_secs(200)));
    nothing_left(&mut world);
}

#[test]
fn a_timer_is_asked_for_and_made_shorter_but_never_below_min_se() {
    for (asked, wanted) in [
        ("", "600"),
        ("Supported: timer\nSession-Expires: 1800;refresher=uac\n", "600;refresher=uac"),
        ("Supported: timer\nx: 300\n", "300"),
        ("Supported: timer\nMin-SE: 900\nSession-Expires: 1800\n", "900"),
    ] {
        let mut world = World::new(timed(600));
        let up = world.terminal_sends(NAT, &invite(asked)).remove(0);
        let compact = up.header("x");
        let value = if compact.is_empty() { up.header("Session-Expires") } else { compact };
        assert_eq!(value, wanted, "{asked}");
    }
}

#[test]
fn without_a_configured_timer_the_ends_have_it_between_them() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &invite("Supported: timer\nSession-Expires: 1800\n")).remove(0);
    assert_eq!(up.header("Session-Expires"), "1800");
    let (mut world, up) = (World::new(mapping(1)), ());
    let plain = world.terminal_sends(NAT, &invite("")).remove(0);
    assert_eq!((plain.header("Session-Expires"), up), (String::new(), ()));
}

#[test]
fn a_caller_that_knows_timers_refreshes_where_the_called_one_does_not() {
    let mut world = World::new(timed(600));
    let (_, down) = call(&mut world, "Supported: timer, 100rel\n", "");
    assert_eq!(down.header("Session-Expires"), "600;refresher=uac");
    assert_eq!(down.header("Require"), "timer");
    let mut world = World::new(timed(600));
    let (_, down) = call(&mut world, "", "");
    assert_eq!(down.header("Session-Expires"), "", "nobody would refresh it");
}

#[test]
fn an_interval_below_the_smallest_is_refused_422() {
    let mut world = World::new(mapping(1));
    let refused = world.terminal_sends(NAT, &invite("Supported: timer\nSession-Expires: 89\n")).remove(0);
    assert!(refused.text().starts_with("SIP/2.0 422 Session Interval Too Small\r\n"), "{}", refused.text());
    assert_eq!(refused.header("Min-SE"), "90");
    let passes = invite("Session-Expires: 89\n").replace("inv", "next").replace("CSeq: 7", "CSeq: 8");
    assert!(
        world.terminal_sends(NAT, &passes)[0].text().starts_with("INVITE "),
        "it would not understand 422"
    );
}

fn subscribe() -> String {
    "SUBSCRIBE sip:bob@198.51.100.10 SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKsub;rport\n\
     Max-Forwards: 70\nFrom: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\nCall-ID: call-1\n\
     CSeq: 1 SUBSCRIBE\nContact: <sip:alice@192.168.1.10:5060>\nEvent: presence\nExpires: 7200\n\
     Content-Length: 0\n\n"
        .to_owned()
}

fn notify(contact: &str, cseq: u32, state: &str, up: &Sent) -> String {
    let uri = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
    format!(
        "NOTIFY {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKn{cseq}\nMax-Forwards: 70\n\
         From: {};tag=b\nTo: {}\nCall-ID: call-1\nCSeq: {cseq} NOTIFY\nContact: <sip:bob@10.0.0.20:5070>\n\
         Record-Route: <sip:10.0.0.20;lr;n=1>\nEvent: presence\nSubscription-State: {state}\nContent-Length: 0\n\n",
        up.header("To"),
        up.header("From"),
    )
}

#[test]
fn a_notify_may_come_before_the_200_and_makes_the_dialog() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &subscribe()).remove(0);
    let home = up.flow.local.to_string();
    let first =
        world.core_sends(&home, &notify(&up.header("Contact"), 1, "active;expires=7200", &up)).remove(0);
    assert!(first.text().starts_with("NOTIFY sip:alice@192.168.1.10:5060 SIP/2.0\r\n"), "{}", first.text());
    assert!(!first.text().contains("10.0.0."), "{}", first.text());
    let fine = world.terminal_sends(NAT, &first.answered("200 OK", "b", "Content-Length: 0\n\n"));
    assert!(fine[0].text().starts_with("SIP/2.0 200 "));
    let done = up.answered(
        "202 Accepted",
        "b",
        "Expires: 7200\nContact: <sip:bob@10.0.0.20:5070>\nContent-Length: 0\n\n",
    );
    assert!(world.core_sends(&home, &done)[0].text().starts_with("SIP/2.0 202 "));
    let refresh = in_dialog(
        "SUBSCRIBE",
        2,
        &first.header("Contact"),
        "Event: presence\nExpires: 7200\nContent-Length: 0\n\n",
    );
    let refresh = world.terminal_sends(NAT, &refresh).remove(0);
    assert!(refresh.text().starts_with("SUBSCRIBE sip:bob@10.0.0.20:5070 SIP/2.0\r\n"), "{}", refresh.text());
}

#[test]
fn a_subscription_lives_as_long_as_it_was_granted() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &subscribe()).remove(0);
    let home = up.flow.local.to_string();
    let granted = "Expires: 7200\nContact: <sip:bob@10.0.0.20:5070>\nContent-Length: 0\n\n";
    world.core_sends(&home, &up.answered("200 OK", "b", granted));
    world.pass(Duration::from_secs(7000));
    let late = world.core_sends(&home, &notify(&up.header("Contact"), 1, "active;expires=200", &up));
    assert!(late[0].text().starts_with("NOTIFY sip:alice@192.168.1.10:5060 "), "{}", late[0].text());
    world.terminal_sends(NAT, &late[0].answered("200 OK", "b", "Content-Length: 0\n\n"));
    world.pass(Duration::from_secs(400));
    assert_eq!(world.shards[0].stats().dialogs, 0, "not refreshed");
}

#[test]
fn a_terminated_subscription_leaves_nothing() {
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &subscribe()).remove(0);
    let home = up.flow.local.to_string();
    let granted = "Expires: 7200\nContact: <sip:bob@10.0.0.20:5070>\nContent-Length: 0\n\n";
    world.core_sends(&home, &up.answered("200 OK", "b", granted));
    let end = world
        .core_sends(&home, &notify(&up.header("Contact"), 1, "terminated;reason=noresource", &up))
        .remove(0);
    world.terminal_sends(NAT, &end.answered("200 OK", "b", "Content-Length: 0\n\n"));
    world.pass(Duration::from_secs(40));
    assert_eq!(world.shards[0].stats().dialogs, 0);
}

#[test]
fn requests_without_a_dialog_pass_and_leave_nothing() {
    for method in ["MESSAGE", "PUBLISH", "INFO", "OPTIONS"] {
        let mut world = World::new(mapping(1));
        let text = subscribe().replace("SUBSCRIBE", method).replace("Event", "SIP-If-Match: xyz\nEvent");
        let up = world.terminal_sends(NAT, &text).remove(0);
        assert!(up.text().starts_with(&format!("{method} sip:bob@example.net SIP/2.0\r\n")), "{}", up.text());
        assert_eq!(up.header("SIP-If-Match"), "xyz");
        let done = up.answered("200 OK", "b", "SIP-ETag: e-1\nContent-Length: 0\n\n");
        let down = world.core_sends(&up.flow.local.to_string(), &done).remove(0);
        assert_eq!(down.header("SIP-ETag"), "e-1");
        assert_eq!(world.shards[0].stats().dialogs, 0, "{method}");
        nothing_left(&mut world);
    }
}

/// RFC 3261 section 12.2.1.1: a first route without `lr` is found in the Request-URI.
#[test]
fn a_strict_router_gets_its_own_address_as_the_request_uri() {
    let mut world = World::new(mapping(1));
    let routes = "Record-Route: <sip:10.0.0.20;lr;n=2>, <sip:10.0.0.20:5070;n=1>\n";
    let (_, down) = call(&mut world, "", routes);
    let bye = in_dialog("BYE", 8, &down.header("Contact"), "Content-Length: 0\n\n");
    let bye = world.terminal_sends(NAT, &bye).remove(0);
    assert!(bye.text().starts_with("BYE sip:10.0.0.20:5070;n=1 SIP/2.0\r\n"), "{}", bye.text());
    let lines =
        bye.text().lines().filter(|l| l.starts_with("Route: ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines, ["Route: <sip:10.0.0.20;lr;n=2>", "Route: <sip:bob@10.0.0.20:5060>"]);
    assert_eq!(bye.flow.remote, addr("10.0.0.20:5070"));
}

/// A changed body would fail its signature, an unchanged one would carry the terminal's private address.
#[test]
fn a_sealed_description_is_refused_and_other_sealed_bodies_pass() {
    let mut world = World::new(mapping(1));
    let signed = |method: &str, kind: &str| {
        let text = invite("").replace("application/sdp", kind).replace("INVITE", method);
        text.replace("z9hG4bKinv", &format!("z9hG4bK{method}"))
    };
    for kind in ["multipart/signed;boundary=x", "application/pkcs7-mime; smime-type=enveloped-data"] {
        let refused = world.terminal_sends(NAT, &signed("INVITE", kind)).remove(0);
        assert!(refused.text().starts_with("SIP/2.0 415 Unsupported Media Type\r\n"), "{}", refused.text());
        assert_eq!(refused.header("Accept"), "application/sdp, multipart/mixed");
    }
    let text = signed("MESSAGE", "application/pkcs7-mime");
    let passed = world.terminal_sends(NAT, &text).remove(0);
    assert!(passed.text().ends_with(&sdp("192.168.1.10", 5004)), "{}", passed.text());
    nothing_left(&mut world);
}

#[test]
fn a_failed_target_refresh_changes_no_target() {
    let mut world = World::new(mapping(1));
    let (up, down) = call(&mut world, "", "");
    let moved = in_dialog(
        "UPDATE",
        8,
        &down.header("Contact"),
        "Contact: <sip:alice@192.168.1.77:5066>\nContent-Length: 0\n\n",
    );
    let update = world.terminal_sends(NAT, &moved).remove(0);
    let home = up.flow.local.to_string();
    world.core_sends(&home, &update.answered("491 Request Pending", "b", "Content-Length: 0\n\n"));
    let uri = up.header("Contact").trim_start_matches('<').trim_end_matches('>').to_owned();
    let info = |n: u32| {
        format!(
            "INFO {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKi{n}\nMax-Forwards: 70\nFrom: {};tag=b\n\
             To: {}\nCall-ID: call-1\nCSeq: {n} INFO\nContent-Length: 0\n\n",
            up.header("To"),
            up.header("From")
        )
    };
    let seen = world.core_sends(&home, &info(1)).remove(0);
    assert!(seen.text().starts_with("INFO sip:alice@192.168.1.10:5060 SIP/2.0\r\n"), "{}", seen.text());
    let moved = moved.replace("CSeq: 8", "CSeq: 9").replace("UPDATE8", "UPDATE9");
    let update = world.terminal_sends(NAT, &moved).remove(0);
    world.core_sends(
        &home,
        &update.answered("200 OK", "b", "Contact: <sip:bob@10.0.0.20:5060>\nContent-Length: 0\n\n"),
    );
    let seen = world.core_sends(&home, &info(2)).remove(0);
    assert!(seen.text().starts_with("INFO sip:alice@192.168.1.77:5066 SIP/2.0\r\n"), "{}", seen.text());
}

/// RFC 3960: what the called side plays before the answer is heard once it has been described, and not before.
#[test]
fn the_gate_opens_with_the_description_in_a_provisional_answer() {
    use portolan_shards::io::{DropReason, Verdict};
    let mut world = World::new(mapping(1));
    let up = world.terminal_sends(NAT, &invite("P-Early-Media: supported\n")).remove(0);
    assert_eq!(up.header("P-Early-Media"), "supported", "RFC 5009 is between the ends");
    let port = up
        .text()
        .lines()
        .find_map(|l| l.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())
        .expect("a port");
    let early = world.media(support::CORE, port, "10.0.0.20:30000", &support::rtp(1, 1));
    assert!(matches!(early, Verdict::Drop(DropReason::GateClosed | DropReason::NotArmed)), "{early:?}");
    let head = "Contact: <sip:bob@10.0.0.20:5060>\n";
    let ringing = up.answered("183 Session Progress", "b", &with_body(head, &sdp("10.0.0.20", 30_000)));
    world.core_sends(&up.flow.local.to_string(), &ringing);
    let early = world.media(support::CORE, port, "10.0.0.20:30000", &support::rtp(2, 1));
    assert!(!matches!(early, Verdict::Drop(DropReason::GateClosed | DropReason::NotArmed)), "{early:?}");
}

/// RFC 6263: a terminal on hold may send nothing for longer than its NAT remembers.
#[test]
fn the_nats_way_for_media_is_kept_while_a_call_is_on_hold() {
    let mut world = World::new(mapping(1));
    let (up, down) = call(&mut world, "", "");
    let port = down.text().lines().find_map(|l| l.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok());
    let port = port.expect("a port");
    for n in 1..20 {
        world.media(support::ACCESS, port, "203.0.113.7:51000", &support::rtp(n, 7));
        world.pass(Duration::from_millis(20));
    }
    world.pass(Duration::from_secs(40));
    assert!(world.kept_open.is_empty(), "its own media keeps it");
    let hold = with_body(
        "Contact: <sip:alice@192.168.1.10:5060>\n",
        &format!("{}a=sendonly\r\n", sdp("192.168.1.10", 5004)),
    );
    let hold = world.terminal_sends(NAT, &in_dialog("INVITE", 8, &down.header("Contact"), &hold)).remove(0);
    let body = format!("{}a=recvonly\r\n", sdp("10.0.0.20", 30_000));
    let held = hold.answered("200 OK", "b", &with_body("Contact: <sip:bob@10.0.0.20:5060>\n", &body));
    world.core_sends(&up.flow.local.to_string(), &held);
    world.pass(Duration::from_secs(80));
    let kept = &world.kept_open;
    assert_eq!(kept.len(), 3, "one each interval: {kept:?}");
    assert!(kept.iter().all(|(from, to)| from.port == port && *to == addr("203.0.113.7:51000")), "{kept:?}");
    let resume = with_body("Contact: <sip:alice@192.168.1.10:5060>\n", &sdp("192.168.1.10", 5004));
    let resume = world.terminal_sends(NAT, &in_dialog("INVITE", 9, &down.header("Contact"), &resume));
    let resume = resume.iter().find(|s| s.text().starts_with("INVITE ")).expect("a re-INVITE");
    world.core_sends(&up.flow.local.to_string(), &ok(resume, ""));
    world.kept_open.clear();
    world.pass(Duration::from_secs(80));
    assert!(world.kept_open.is_empty(), "not after it");
}

/// RFC 4566 section 5.8: what the descriptions ask is granted or refused, and free again when the call is over.
#[test]
fn calls_are_admitted_as_long_as_there_is_bandwidth_for_what_they_ask() {
    let mut limited = mapping(1);
    limited.limits.media_kbit = 200;
    let mut world = World::new(limited);
    let asks = |n: u32, kbit: u32| {
        let body = sdp("192.168.1.10", 5004).replace("t=0 0", &format!("b=AS:{kbit}\r\nt=0 0"));
        let text = invite("").split("Content-Type").next().unwrap_or_default().to_owned();
        with_body(&text, &body)
            .replace("z9hG4bKinv", &format!("z9hG4bK{n}"))
            .replace("call-1", &format!("call-{n}"))
    };
    let first = world.terminal_sends(NAT, &asks(1, 90)).remove(0);
    assert!(first.text().starts_with("INVITE "), "{}", first.text());
    let refused = world.terminal_sends(NAT, &asks(2, 128)).remove(0);
    assert!(refused.text().starts_with("SIP/2.0 503 "), "{}", refused.text());
    assert!(world.shards[0].stats().media_granted > 0);
    world.core_sends(
        &first.flow.local.to_string(),
        &first.answered("486 Busy Here", "b", "Content-Length: 0\n\n"),
    );
    let ack = in_dialog("ACK", 7, "<sip:bob@198.51.100.10>", "Content-Length: 0\n\n").replace("ACK7", "1");
    world.terminal_sends(NAT, &ack);
    assert_eq!(world.shards[0].stats().media_granted, 0);
    let next = world.terminal_sends(NAT, &asks(3, 128)).remove(0);
    assert!(next.text().starts_with("INVITE "), "{}", next.text());
}
