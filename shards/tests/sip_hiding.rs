//! What a side says of its own places and dialogs beyond the hop: hidden on the other side, and restored exactly.

mod support;

use portolan_shards::realm::Mapping;
use std::sync::Arc;
use support::{NAT, SOFTSWITCH, Sent, World, addr, mapping};

/// Another phone behind another NAT.
const OTHER_NAT: &str = "192.0.2.50:40002";
const CALL_ID: &str = "abc123@192.168.1.10";

/// The mapping with Call-IDs masked on the access realm.
fn masking(shards: u16) -> Mapping {
    let mut mapping = mapping(shards);
    let mut access = (*mapping.realms[0]).clone();
    access.mask_call_id = true;
    mapping.realms[0] = Arc::new(access);
    mapping
}

/// A request that a phone sends.
fn from_phone(method: &str, uri: &str, call_id: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{method}{};rport\nMax-Forwards: 70\n\
         From: <sip:alice@198.51.100.10>;tag=a\nTo: <sip:bob@198.51.100.10>\nCall-ID: {call_id}\nCSeq: 1 {method}\n\
         Contact: <sip:alice@192.168.1.10:5060>\n{more}",
        call_id.len()
    )
}

/// A request of a phone within a dialog that it began.
fn within(method: &str, uri: &str, call_id: &str, more: &str) -> String {
    let text = from_phone(method, uri, call_id, more).replace("CSeq: 1", "CSeq: 2");
    text.replace("To: <sip:bob@198.51.100.10>\n", "To: <sip:bob@198.51.100.10>;tag=b\n")
}

/// A request that the softswitch sends.
fn from_core(method: &str, uri: &str, call_id: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bKcore{method}{}\nMax-Forwards: 70\n\
         From: <sip:bob@10.0.0.20>;tag=b\nTo: <sip:alice@example.net>\nCall-ID: {call_id}\nCSeq: 7 {method}\n\
         Contact: <sip:bob@10.0.0.20:5060>\n{more}",
        call_id.len()
    )
}

const NO_BODY: &str = "Content-Length: 0\n\n";

fn with_body(kind: &str, body: &str) -> String {
    format!("Content-Type: {kind}\nContent-Length: {}\n\n{body}", body.replace('\n', "\r\n").len())
}

fn uri_of(contact: &str) -> String {
    contact.split(['<', '>']).nth(1).expect("a URI").to_owned()
}

fn home(up: &Sent) -> String {
    up.flow.local.to_string()
}

fn body_of(sent: &Sent) -> String {
    let text = sent.text();
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    assert_eq!(sent.header("Content-Length"), body.len().to_string(), "{text}");
    body.to_owned()
}

/// Registers a phone; gives the Contact URI that the softswitch knows.
fn register(world: &mut World, user: &str, from: &str) -> String {
    let text = format!(
        "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKreg{user};rport\n\
         Max-Forwards: 70\nFrom: <sip:{user}@example.net>;tag=r1\nTo: <sip:{user}@example.net>\n\
         Call-ID: reg-{user}@192.168.1.10\nCSeq: 1 REGISTER\n\
         Contact: <sip:{user}@192.168.1.10:5060;ob>;expires=3600\nContent-Length: 0\n\n"
    );
    let up = world.terminal_sends(from, &text).remove(0);
    let contact = up.header("Contact");
    let more = format!("Contact: {contact}\n{NO_BODY}");
    let down = world.core_sends(&home(&up), &up.answered("200 OK", "t", &more)).remove(0);
    assert_eq!(down.header("Call-ID"), format!("reg-{user}@192.168.1.10"));
    uri_of(&contact)
}

/// A subscription that a phone begins and the softswitch accepts: the request as it went up, the answer as it came.
fn dialog(world: &mut World, from: &str, call_id: &str) -> (Sent, Sent) {
    let up = world.terminal_sends(from, &from_phone("SUBSCRIBE", "sip:bob@198.51.100.10", call_id, NO_BODY));
    let up = up.into_iter().find(|sent| sent.text().starts_with("SUBSCRIBE")).expect("sent on");
    let more = format!("Contact: <sip:bob@10.0.0.20:5080;x=1>\n{NO_BODY}");
    let down = world.core_sends(&home(&up), &up.answered("200 OK", "b", &more)).remove(0);
    (up, down)
}

/// The last message that begins so.
#[track_caller]
fn sent(all: Vec<Sent>, start: &str) -> Sent {
    let texts: Vec<_> = all.iter().map(Sent::text).collect();
    all.into_iter()
        .rev()
        .find(|s| s.text().starts_with(start))
        .unwrap_or_else(|| panic!("{start}: {texts:?}"))
}

#[test]
fn a_masked_call_id_is_the_same_in_the_whole_dialog_and_restored_exactly() {
    for shards in [1, 2, 8] {
        let mut world = World::new(masking(shards));
        let (up, down) = dialog(&mut world, NAT, CALL_ID);
        let masked = up.header("Call-ID");
        assert!(masked.starts_with("pl-") && !up.text().contains("192.168."), "{}", up.text());
        assert_eq!(down.header("Call-ID"), CALL_ID);

        let target = uri_of(&down.header("Contact"));
        let refresh = sent(world.terminal_sends(NAT, &within("SUBSCRIBE", &target, CALL_ID, NO_BODY)), "SUB");
        assert_eq!(refresh.header("Call-ID"), masked);
        assert!(
            refresh.text().starts_with("SUBSCRIBE sip:bob@10.0.0.20:5080;x=1 SIP/2.0"),
            "{}",
            refresh.text()
        );

        let notify = from_core("NOTIFY", &uri_of(&up.header("Contact")), &masked, NO_BODY)
            .replace("To: <sip:alice@example.net>", "To: <sip:alice@example.net>;tag=a");
        let notify = sent(world.core_sends(&home(&up), &notify), "NOTIFY");
        assert_eq!((notify.header("Call-ID").as_str(), notify.flow.remote), (CALL_ID, addr(NAT)));
        let ok = sent(world.terminal_sends(NAT, &notify.answered("200 OK", "a", NO_BODY)), "SIP/2.0 200");
        assert_eq!((ok.header("Call-ID"), ok.flow.remote), (masked, addr(SOFTSWITCH)));
    }
}

#[test]
fn a_softswitchs_call_id_is_masked_too_and_our_own_answers_echo_what_was_sent() {
    for shards in [1, 8] {
        let mut world = World::new(masking(shards));
        let contact = register(&mut world, "alice", NAT);
        let call_id = "xyz@10.0.0.20";
        let down = world.core_sends("10.0.0.10:6000", &from_core("MESSAGE", &contact, call_id, NO_BODY));
        let down = sent(down, "MESSAGE");
        assert!(
            down.header("Call-ID").starts_with("pl-") && !down.text().contains("10.0.0."),
            "{}",
            down.text()
        );
        let up = sent(world.terminal_sends(NAT, &down.answered("200 OK", "a", NO_BODY)), "SIP/2.0 200");
        assert_eq!(up.header("Call-ID"), call_id);

        let refused = within("BYE", "sip:bob@198.51.100.10", CALL_ID, NO_BODY);
        assert_eq!(sent(world.terminal_sends(NAT, &refused), "SIP/2.0 481").header("Call-ID"), CALL_ID);
        let refused = refused.replace("Max-Forwards: 70", "Max-Forwards: none");
        assert_eq!(sent(world.terminal_sends(NAT, &refused), "SIP/2.0 400").header("Call-ID"), CALL_ID);
    }
}

#[test]
fn a_second_terminal_under_the_same_call_id_does_not_see_what_the_first_one_wrote() {
    for shards in [1, 8] {
        let mut world = World::new(masking(shards));
        let contact = register(&mut world, "carol", OTHER_NAT);
        let (up, _) = dialog(&mut world, NAT, CALL_ID);
        let masked = up.header("Call-ID");
        let on = from_core("SUBSCRIBE", &contact, &masked, NO_BODY).replace("tag=b", "tag=a");
        let on = sent(world.core_sends("10.0.0.10:6000", &on), "SUBSCRIBE");
        assert_eq!(on.flow.remote, addr(OTHER_NAT));
        assert!(!on.text().contains("192.168.1.10\r\n") && on.header("Call-ID").len() > masked.len());
        let more = format!("Contact: <sip:carol@192.168.1.20>\n{NO_BODY}");
        let ok = world.terminal_sends(OTHER_NAT, &on.answered("200 OK", "c", &more));
        let ok = sent(ok, "SIP/2.0 200");
        assert_eq!(ok.header("Call-ID"), masked);
        let notify = format!(
            "NOTIFY {} SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.20;branch=z9hG4bKn;rport\nMax-Forwards: 70\n\
             From: {};tag=c\nTo: {}\nCall-ID: {}\nCSeq: 1 NOTIFY\n{NO_BODY}",
            uri_of(&on.header("Contact")),
            on.header("To"),
            on.header("From"),
            on.header("Call-ID")
        );
        let notify = sent(world.terminal_sends(OTHER_NAT, &notify), "NOTIFY");
        assert_eq!(notify.header("Call-ID"), masked);
    }
}

#[test]
fn headers_that_name_other_dialogs_are_translated_alike() {
    let mut world = World::new(masking(2));
    let contact = register(&mut world, "alice", NAT);
    let (up, _) = dialog(&mut world, NAT, CALL_ID);
    let masked = up.header("Call-ID");
    for (name, own, theirs) in [
        ("Replaces", "to-tag=b;from-tag=a", "to-tag=a;from-tag=b"),
        ("Join", "to-tag=b;from-tag=a", "to-tag=a;from-tag=b"),
        ("Target-Dialog", "local-tag=b;remote-tag=a", "local-tag=a;remote-tag=b"),
    ] {
        let more = format!("{name}: {CALL_ID};{own};early-only\n{NO_BODY}");
        let call_id = format!("new-{name}@192.168.1.10");
        let request = from_phone("MESSAGE", "sip:bob@198.51.100.10", &call_id, &more);
        let message = sent(world.terminal_sends(NAT, &request), "MESSAGE");
        assert_eq!(message.header(name), format!("{masked};{own};early-only"));
        let more = format!("{name}: {masked};{theirs}\n{NO_BODY}");
        let message = from_core("MESSAGE", &contact, &format!("core-{name}"), &more);
        let message = sent(world.core_sends("10.0.0.10:6000", &message), "MESSAGE");
        assert_eq!(message.header(name), format!("{CALL_ID};{theirs}"));
    }
    let more = format!("In-Reply-To: {masked}, other@10.0.0.20\n{NO_BODY}");
    let message =
        sent(world.core_sends("10.0.0.10:6000", &from_core("MESSAGE", &contact, "c", &more)), "MES");
    let both = message.header("In-Reply-To");
    let (own, other) = both.split_once(", ").expect("two");
    assert_eq!(own, CALL_ID);
    let more = format!("In-Reply-To: {other}\n{NO_BODY}");
    let back = from_phone("MESSAGE", "sip:bob@198.51.100.10", "back@192.168.1.10", &more);
    assert_eq!(sent(world.terminal_sends(NAT, &back), "MESSAGE").header("In-Reply-To"), "other@10.0.0.20");
}

#[test]
fn a_transfer_names_the_other_call_as_the_softswitch_knows_it() {
    for shards in [1, 2, 8] {
        let mut world = World::new(masking(shards));
        let (_, first) = dialog(&mut world, NAT, CALL_ID);
        let (other_up, other) = dialog(&mut world, NAT, "a-second-call@192.168.1.10");
        let target = uri_of(&other.header("Contact"));
        let replaces = "a-second-call%40192.168.1.10%3Bto-tag%3Db%3Bfrom-tag%3Da";
        let more = format!("Refer-To: <{target}?Replaces={replaces}&x=1>\n{NO_BODY}");
        let refer = within("REFER", &uri_of(&first.header("Contact")), CALL_ID, &more);
        let refer = sent(world.terminal_sends(NAT, &refer), "REFER");
        let masked = other_up.header("Call-ID");
        assert_eq!(
            refer.header("Refer-To"),
            format!("<sip:bob@10.0.0.20:5080;x=1?Replaces={masked}%3Bto-tag%3Db%3Bfrom-tag%3Da&x=1>"),
            "{shards} shards"
        );
        let again = within("REFER", &uri_of(&first.header("Contact")), CALL_ID, &more);
        assert!(
            world
                .terminal_sends(NAT, &again)
                .iter()
                .all(|s| s.header("Refer-To") == refer.header("Refer-To"))
        );
    }
}

#[test]
fn a_softswitch_may_refer_to_a_terminals_dialog_and_the_request_arrives_there() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let carol = register(&mut world, "carol", OTHER_NAT);
        let (up, _) = dialog(&mut world, NAT, CALL_ID);
        let place = uri_of(&up.header("Contact"));
        let more = format!("Refer-To: <{place}?Replaces=abc%3Bto-tag%3Da>\n{NO_BODY}");
        let refer =
            sent(world.core_sends("10.0.0.10:6000", &from_core("REFER", &carol, "r", &more)), "REFER");
        let shown = uri_of(&refer.header("Refer-To"));
        assert!(shown.starts_with("sip:alice@198.51.100.10:5060;pl="), "{shown}");
        assert!(shown.ends_with("?Replaces=abc%3Bto-tag%3Da") && !shown.contains("192.168."));

        let target = shown.split('?').next().expect("a URI");
        let call = from_phone("MESSAGE", target, "carols@192.168.1.20", NO_BODY);
        let call = sent(world.terminal_sends(OTHER_NAT, &call), "MESSAGE");
        assert!(call.text().starts_with("MESSAGE sip:alice@10.0.0.10:600"), "{}", call.text());
        let uri = call.text().split(' ').nth(1).expect("a URI").to_owned();
        let arrived = world.core_sends(&home(&call), &from_core("MESSAGE", &uri, "carols-2", NO_BODY));
        let arrived = sent(arrived, "MESSAGE");
        assert!(
            arrived.text().starts_with("MESSAGE sip:alice@192.168.1.10:5060 SIP/2.0"),
            "{}",
            arrived.text()
        );
        assert_eq!(arrived.flow.remote, addr(NAT));
    }
}

#[test]
fn places_of_one_side_come_back_exactly_and_mean_nothing_on_the_other() {
    let mut world = World::new(mapping(2));
    let alice = register(&mut world, "alice", NAT);
    let carol = register(&mut world, "carol", OTHER_NAT);
    let own = "<sip:dave@192.168.1.77:5062;transport=tcp;method=INVITE?Subject=hi>";
    let more = format!("Refer-To: {own}\nReferred-By: <sip:alice@192.168.1.10>;cid=\"x@y\"\n{NO_BODY}");
    let request = from_phone("REFER", "sip:bob@198.51.100.10", "transfer", &more);
    let up = sent(world.terminal_sends(NAT, &request), "REFER");
    assert!(!up.text().contains("192.168."), "{}", up.text());
    assert!(up.header("Referred-By").ends_with(">;cid=\"x@y\""));
    let shown = up.header("Refer-To");
    assert!(shown.starts_with("<sip:dave@10.0.0.10:600") && shown.contains(";method=INVITE;pl="), "{shown}");

    let more = format!("Refer-To: {shown}\nReferred-By: {}\n{NO_BODY}", up.header("Referred-By"));
    let back = sent(world.core_sends("10.0.0.10:6000", &from_core("REFER", &alice, "r1", &more)), "REFER");
    assert_eq!(back.header("Refer-To"), own);
    assert_eq!(back.header("Referred-By"), "<sip:alice@192.168.1.10>;cid=\"x@y\"");
    let other = sent(world.core_sends("10.0.0.10:6000", &from_core("REFER", &carol, "r2", &more)), "REFER");
    assert!(!other.text().contains("192.168.1.77") && !other.text().contains("10.0.0."), "{}", other.text());
}

#[test]
fn a_bare_refer_to_gets_brackets_and_names_stay() {
    let mut world = World::new(mapping(1));
    for (written, expected) in [
        ("sip:dave@192.168.1.77", "<sip:dave@10.0.0.10:6000;pl="),
        ("sip:dave@example.org", "sip:dave@example.org"),
        ("<sip:dave@198.51.100.10>", "<sip:dave@example.net>"),
        ("<tel:+4930123>", "<tel:+4930123>"),
        ("<sip:alice@example.net;gr=urn:uuid:1>", "<sip:alice@example.net;gr=urn:uuid:1>"),
    ] {
        let more = format!("Refer-To: {written}\n{NO_BODY}");
        let request = from_phone("REFER", "sip:bob@198.51.100.10", written, &more);
        let up = sent(world.terminal_sends(NAT, &request), "REFER");
        assert!(up.header("Refer-To").starts_with(expected), "{written}: {}", up.text());
    }
}

#[test]
fn a_redirection_is_followed_to_the_exact_place_if_that_is_the_softswitchs() {
    for shards in [1, 8] {
        let mut world = World::new(mapping(shards));
        let up = world.terminal_sends(NAT, &from_phone("OPTIONS", "sip:bob@198.51.100.10", CALL_ID, NO_BODY));
        let contacts = "Contact: <sip:bob@10.0.0.20:5090;x=1>;q=0.9, <sip:bob@10.66.0.1>\nContact: <sip:b@example.org>\n";
        let moved = up[0].answered("302 Moved Temporarily", "b", &format!("{contacts}{NO_BODY}"));
        let down = sent(world.core_sends(&home(&up[0]), &moved), "SIP/2.0 302");
        assert!(!down.text().contains("10.0.0.") && !down.text().contains("10.66."), "{}", down.text());
        let all = down.header("Contact");
        let (first, second) = all.split_once(", ").expect("two");
        assert!(
            first.starts_with("<sip:bob@198.51.100.10:5060;x=1;pl=") && first.ends_with(">;q=0.9"),
            "{first}"
        );
        assert!(down.text().contains("Contact: <sip:b@example.org>\r\n"));

        let on = from_phone("OPTIONS", &uri_of(first), "again@192.168.1.10", NO_BODY);
        let on = sent(world.terminal_sends(NAT, &on), "OPTIONS");
        assert!(on.text().starts_with("OPTIONS sip:bob@10.0.0.20:5090;x=1 SIP/2.0"), "{}", on.text());
        assert_eq!(on.flow.remote, addr("10.0.0.20:5090"));
        let refused = from_phone("OPTIONS", &uri_of(second), "third-time@192.168.1.10", NO_BODY);
        sent(world.terminal_sends(NAT, &refused), "SIP/2.0 403");
    }
}

#[test]
fn a_terminals_redirection_shows_the_softswitch_no_address_of_the_terminal() {
    let mut world = World::new(mapping(2));
    let contact = register(&mut world, "alice", NAT);
    let down = sent(world.core_sends("10.0.0.10:6000", &from_core("MESSAGE", &contact, "m", NO_BODY)), "MES");
    let contacts = "Contact: <sip:1234@198.51.100.10>, <sip:alice@192.168.1.99:5070>\n";
    let moved = down.answered("302 Moved Temporarily", "a", &format!("{contacts}{NO_BODY}"));
    let up = sent(world.terminal_sends(NAT, &moved), "SIP/2.0 302");
    assert!(
        up.header("Contact").starts_with("<sip:1234@example.net>, <sip:alice@10.0.0.10:600"),
        "{}",
        up.text()
    );
    assert!(!up.text().contains("192.168."), "{}", up.text());
}

#[test]
fn a_terminal_finds_its_own_contact_in_registration_information() {
    for shards in [1, 2, 8] {
        let mut world = World::new(mapping(shards));
        let alice = register(&mut world, "alice", NAT);
        let carol = register(&mut world, "carol", OTHER_NAT);
        let (up, _) = dialog(&mut world, NAT, CALL_ID);
        let body = |own: &str, other: &str, aor: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<reginfo><registration aor=\"{aor}\"><contact><uri>{own}</uri>\
                 </contact><contact><uri>{other}</uri></contact></registration></reginfo>\n"
            )
        };
        let more = with_body("application/reginfo+xml", &body(&alice, &carol, "sip:alice@10.0.0.20"));
        let notify = from_core("NOTIFY", &uri_of(&up.header("Contact")), CALL_ID, &more)
            .replace("To: <sip:alice@example.net>", "To: <sip:alice@example.net>;tag=a");
        let notify = sent(world.core_sends(&home(&up), &notify), "NOTIFY");
        let text = body_of(&notify);
        assert!(text.contains("<uri>sip:alice@192.168.1.10:5060;ob</uri>"), "{shards} shards: {text}");
        assert!(text.contains("<uri>sip:carol@198.51.100.10:5060;ob;pl="), "{text}");
        assert!(text.contains("aor=\"sip:alice@198.51.100.10\"") && !text.contains("10.0.0."), "{text}");
    }
}

#[test]
fn a_watcher_sees_dialogs_under_names_that_lead_back_to_them() {
    let mut world = World::new(masking(2));
    let (up, _) = dialog(&mut world, NAT, CALL_ID);
    let (watch, _) = dialog(&mut world, OTHER_NAT, "watch@192.168.1.20");
    let masked = up.header("Call-ID");
    let body = format!(
        "<dialog-info entity=\"sip:alice@10.0.0.20\"><dialog id='1' call-id=\"{masked}\" local-tag=\"a\">\n\
         <local><identity>sip:alice@10.0.0.20</identity><target uri=\"sip:alice@10.0.0.20:5080?a=1&amp;b=2\"/></local>\n\
         <remote><target uri=\"{}\"/></remote></dialog></dialog-info>\n",
        uri_of(&up.header("Contact"))
    );
    let notify = from_core(
        "NOTIFY",
        &uri_of(&watch.header("Contact")),
        &watch.header("Call-ID"),
        &with_body("application/dialog-info+xml", &body),
    );
    let notify = notify.replace("To: <sip:alice@example.net>", "To: <sip:alice@example.net>;tag=a");
    let notify = sent(world.core_sends(&home(&watch), &notify), "NOTIFY");
    let text = body_of(&notify);
    assert!(!text.contains("10.0.0.") && !text.contains("192.168.") && !text.contains(&masked), "{text}");
    assert!(
        text.contains("?a=1&amp;b=2\"/>") && text.contains("<identity>sip:alice@198.51.100.10</identity>")
    );

    let publish = from_phone(
        "PUBLISH",
        "sip:alice@198.51.100.10",
        "publish@192.168.1.20",
        &with_body("application/dialog-info+xml", &text.replace("\r\n", "\n")),
    );
    let publish = sent(world.terminal_sends(OTHER_NAT, &publish), "PUBLISH");
    let back = body_of(&publish);
    assert!(back.contains(&format!("call-id=\"{masked}\"")), "{back}");
    assert!(back.contains("<target uri=\"sip:alice@10.0.0.20:5080?a=1&amp;b=2\"/>"), "{back}");
    assert!(back.contains("entity=\"sip:alice@example.net\""), "{back}");
}

#[test]
fn other_formats_and_parts_among_others_are_rewritten_too() {
    let mut world = World::new(mapping(1));
    let cases = [
        ("application/conference-info+xml", "<conference-info entity=\"sip:c@192.168.1.9\"/>"),
        (
            "application/resource-lists+xml",
            "<resource-lists><list><entry uri='sip:c@192.168.1.9'/></list></resource-lists>",
        ),
        (
            "application/pidf+xml",
            "<presence entity='pres:a@b'><tuple><contact>sip:c@192.168.1.9</contact></tuple></presence>",
        ),
    ];
    for (kind, xml) in cases {
        let mixed = format!(
            "--b\nContent-Type: text/plain\n\nsip:c@192.168.1.9\n--b\nContent-Type: {kind}\n\n{xml}\n--b--\n"
        );
        for (kind, body, left) in [(kind, xml, 0), ("multipart/mixed;boundary=b", &mixed, 1)] {
            let call_id = format!("{}-{left}", xml.len());
            let request = from_phone("PUBLISH", "sip:bob@198.51.100.10", &call_id, &with_body(kind, body));
            let up = body_of(&sent(world.terminal_sends(NAT, &request), "PUBLISH"));
            assert_eq!(up.matches("192.168.1.9").count(), left, "{up}");
            assert_eq!(up.matches("sip:c@10.0.0.10:6000;pl=").count(), 1, "{up}");
        }
    }
    assert_eq!(world.shards[0].stats().bodies_unread, 0);
}

#[test]
fn a_body_that_is_no_xml_passes_as_it_is_and_is_counted() {
    let mut world = World::new(mapping(1));
    let bad = [
        "<reginfo><uri>sip:a@192.168.1.9</reginfo>",
        "<!DOCTYPE r [<!ENTITY x 'y'>]><r><uri>&x;</uri></r>",
        "<r><uri>sip:a@192.168.1.9&x;</uri></r>",
    ];
    for (n, body) in bad.into_iter().enumerate() {
        let more = with_body("application/reginfo+xml", body);
        let request = from_phone("PUBLISH", "sip:bob@198.51.100.10", &"n".repeat(n + 1), &more);
        assert_eq!(body_of(&sent(world.terminal_sends(NAT, &request), "PUBLISH")), body);
        assert_eq!(world.shards[0].stats().bodies_unread, n as u64 + 1);
    }
}

#[test]
fn what_others_have_signed_or_asserted_passes_octet_for_octet() {
    let lines = [
        "Authorization: Digest username=\"alice\", realm=\"example.net\", uri=\"sip:192.168.1.10\", response=\"0a\"",
        "Identity: eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://192.168.1.10/c.pem>;alg=ES256",
        "History-Info: <sip:bob@192.168.1.9?Reason=SIP%3Bcause%3D302>;index=1, <sip:c@example.org>;index=1.1",
        "Diversion: <sip:bob@192.168.1.9>;reason=no-answer",
        "P-Asserted-Identity: \"Alice\" <sip:alice@192.168.1.10>",
        "Call-Info: <http://192.168.1.10/a.png>;purpose=icon",
    ];
    let mut world = World::new(masking(1));
    let alice = register(&mut world, "alice", NAT);
    let more = format!("{}\n{NO_BODY}", lines.join("\n"));
    let up = sent(
        world.terminal_sends(NAT, &from_phone("MESSAGE", "sip:bob@198.51.100.10", CALL_ID, &more)),
        "MESSAGE",
    );
    let down = sent(world.core_sends("10.0.0.10:6000", &from_core("MESSAGE", &alice, "m", &more)), "MESSAGE");
    for line in lines {
        assert!(up.text().contains(&format!("\r\n{line}\r\n")), "{line}\n{}", up.text());
        assert!(down.text().contains(&format!("\r\n{line}\r\n")), "{line}\n{}", down.text());
    }
}
