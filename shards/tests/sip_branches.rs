//! A call that the softswitch forks to several terminals: as many INVITEs with one Call-ID and one From tag, told apart
//! by their branches and labels; and a terminal that forks by itself.

mod support;

use portolan_shards::io::Verdict;
use portolan_shards::realm::EarlyMedia;
use portolan_shards::types::MediaPort;
use std::sync::Arc;
use support::call::{port, sdp, totals};
use support::{ACCESS, CORE, Sent, World, addr, mapping, rtp};

const TERMINALS: [(&str, &str); 2] = [("alice", "203.0.113.7:40001"), ("carol", "203.0.113.99:40002")];
const MEDIA: &str = "10.0.0.20:30000";

fn response(request: &Sent, status: &str, tag: &str, body: Option<&str>) -> String {
    let contact = format!("Contact: <sip:{tag}@192.168.1.10>\n");
    support::call::end(&request.answered(status, tag, &contact), body)
}

/// Registers a terminal; gives the Contact URI that the softswitch knows.
fn registered(world: &mut World, user: &str, from: &str) -> String {
    let register = format!(
        "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK{user};rport\n\
         Max-Forwards: 70\nFrom: <sip:{user}@example.net>;tag=r\nTo: <sip:{user}@example.net>\nCall-ID: reg-{user}\n\
         CSeq: 1 REGISTER\nContact: <sip:{user}@192.168.1.10:5060>;expires=3600\nContent-Length: 0\n\n"
    );
    let up = world.terminal_sends(from, &register).remove(0);
    let contact = up.header("Contact");
    let ok = format!(
        "SIP/2.0 200 OK\nVia: {}\nFrom: {}\nTo: {};tag=s\nCall-ID: reg-{user}\nCSeq: 1 REGISTER\nContact: {contact}\n\
         Content-Length: 0\n\n",
        up.header("Via"),
        up.header("From"),
        up.header("To")
    );
    world.core_sends(&up.flow.local.to_string(), &ok);
    contact.split(['<', '>']).nth(1).expect("a URI").to_owned()
}

fn home(uri: &str) -> String {
    uri.split('@').nth(1).and_then(|rest| rest.split(';').next()).expect("a host").to_owned()
}

/// A request of the softswitch about the call `c1`.
fn request(method: &str, cseq: u32, uri: &str, branch: &str, to: &str, body: Option<&str>) -> String {
    let head = format!(
        "{method} {uri} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.20;branch=z9hG4bK{branch}\nMax-Forwards: 69\n\
         From: <sip:bob@10.0.0.20>;tag=b\nTo: {to}\nCall-ID: c1\nCSeq: {cseq} {method}\nContact: <sip:bob@10.0.0.20>\n"
    );
    support::call::end(&head, body)
}

/// One call to two terminals: the URI that each INVITE went to, and what the terminal got.
struct Call {
    world: World,
    legs: Vec<(String, Sent)>,
}

const TO: &str = "<sip:group@example.net>";

impl Call {
    fn new(shards: u16) -> Self {
        let mut world = World::new(mapping(shards));
        let uris = TERMINALS.map(|(user, from)| registered(&mut world, user, from));
        let legs = uris.into_iter().zip(["x1", "x2"]).map(|(uri, branch)| {
            let invite = request("INVITE", 7, &uri, branch, TO, Some(&sdp(MEDIA, "")));
            let down = world.core_sends(&home(&uri), &invite).remove(0);
            (uri, down)
        });
        let legs = legs.collect();
        Self { world, legs }
    }

    /// A terminal answers; what the softswitch gets.
    fn answers(&mut self, n: usize, status: &str, body: Option<&str>) -> Sent {
        let tag = format!("t{n}");
        self.world.terminal_sends(TERMINALS[n].1, &response(&self.legs[n].1, status, &tag, body)).remove(0)
    }

    /// The softswitch sends to leg `n`, at the home of the call.
    fn core_sends(&mut self, at: &str, text: &str) -> Sent {
        self.world.core_sends(at, text).remove(0)
    }
}

#[test]
fn each_branch_has_its_own_path_and_ports() {
    for shards in [1, 8] {
        let mut call = Call::new(shards);
        let [one, other] = &call.legs[..] else { panic!("two legs") };
        assert_eq!([one.1.flow.remote, other.1.flow.remote], TERMINALS.map(|(_, from)| addr(from)));
        assert_ne!(port(&one.1, 0), port(&other.1, 0));
        assert_eq!(totals(&mut call.world), (2, 8));
    }
}

#[test]
fn cancel_of_one_branch_frees_its_ports_and_no_others() {
    let mut call = Call::new(8);
    let (uri, down) = call.legs[0].clone();
    call.answers(0, "180 Ringing", None);
    call.answers(1, "180 Ringing", None);
    let cancel = request("CANCEL", 7, &uri, "x1", TO, None);
    let cancel = call.world.core_sends(&home(&uri), &cancel).pop().expect("a CANCEL");
    assert!(cancel.text().starts_with("CANCEL "), "{}", cancel.text());
    assert_eq!((cancel.flow.remote, cancel.header("Via")), (addr(TERMINALS[0].1), down.header("Via")));
    let ack = call.answers(0, "487 Request Terminated", None);
    assert_eq!(totals(&mut call.world), (1, 4));
    assert!(ack.text().starts_with("ACK "), "{}", ack.text());
    assert_eq!((ack.flow.remote, ack.header("Via")), (addr(TERMINALS[0].1), down.header("Via")));
    let ok = call.answers(1, "200 OK", Some(&sdp("192.168.1.10:5004", "")));
    let (access, core) = (port(&call.legs[1].1, 0), port(&ok, 0));
    let sent = call.world.media(ACCESS, access, "203.0.113.99:51000", &rtp(1, 1));
    let way = MediaPort { realm: CORE, port: core };
    assert_eq!(sent, Verdict::Forward { out: way, to: addr(MEDIA) });
}

#[test]
fn requests_find_their_branch_by_label_and_without_one_by_tags() {
    for shards in [1, 8] {
        let mut call = Call::new(shards);
        let shown = [0, 1].map(|n| call.answers(n, "200 OK", Some(&sdp("192.168.1.10:5004", ""))));
        for (n, ok) in shown.iter().enumerate() {
            let contact = ok.header("Contact");
            let uri = contact.split(['<', '>']).nth(1).expect("a URI").to_owned();
            let bare = uri.split(";pl=").next().expect("a URI").to_owned();
            for (cseq, uri) in [(7, &uri), (8, &bare)] {
                let method = if cseq == 7 { "ACK" } else { "INFO" };
                let text = request(method, cseq, uri, &format!("{method}{n}"), &ok.header("To"), None);
                let down = call.core_sends(&home(uri), &text);
                assert_eq!(down.flow.remote, addr(TERMINALS[n].1), "{method} {uri}");
                assert!(
                    down.text().starts_with(&format!("{method} sip:t{n}@192.168.1.10 ")),
                    "{}",
                    down.text()
                );
            }
        }
    }
}

#[test]
fn a_request_that_could_be_of_either_branch_is_answered_481_and_reaches_none() {
    let mut call = Call::new(1);
    let uri = home(&call.legs[0].0);
    let text = request("INFO", 8, &format!("sip:group@{uri}"), "i", &format!("{TO};tag=who"), None);
    let reply = call.core_sends(&uri, &text);
    assert!(reply.text().starts_with("SIP/2.0 481 "), "{}", reply.text());
}

#[test]
fn prack_of_one_branch_reaches_its_terminal_while_the_other_has_no_tag_yet() {
    let mut call = Call::new(1);
    let ringing = call.answers(1, "180 Ringing", None);
    let contact = ringing.header("Contact");
    let uri = contact.split(['<', '>', ';']).nth(1).expect("a URI").to_owned();
    let prack = call.core_sends(&home(&uri), &request("PRACK", 8, &uri, "p", &ringing.header("To"), None));
    assert_eq!(prack.flow.remote, addr(TERMINALS[1].1));
}

#[test]
fn a_terminal_that_forks_has_media_for_each_fork_too() {
    let mut world = World::new(mapping(1));
    let (user, from) = TERMINALS[0];
    let uri = registered(&mut world, user, from);
    let invite = request("INVITE", 7, &uri, "x1", TO, Some(&sdp(MEDIA, "")));
    let down = world.core_sends(&home(&uri), &invite).remove(0);
    let places = [("t1", "203.0.113.7:4000"), ("t2", "203.0.113.7:4002")];
    let shown = places.map(|(tag, media)| {
        let text = response(&down, "183 Session Progress", tag, Some(&sdp(media, "")));
        world.terminal_sends(from, &text).remove(0)
    });
    assert_ne!(port(&shown[0], 0), port(&shown[1], 0));
    for ((_, media), shown) in places.iter().zip(&shown) {
        let sent = world.media(ACCESS, port(&down, 0), media, &rtp(1, 1));
        let out = MediaPort { realm: CORE, port: port(shown, 0) };
        assert_eq!(sent, Verdict::Forward { out, to: addr(MEDIA) });
        let back = world.media(CORE, port(shown, 0), MEDIA, &rtp(1, 2));
        let out = MediaPort { realm: ACCESS, port: port(&down, 0) };
        assert_eq!(back, Verdict::Forward { out, to: addr(media) });
    }
}

#[test]
fn before_a_terminal_answers_its_caller_may_hear_it_and_not_be_heard() {
    let mut early = mapping(1);
    for realm in &mut early.realms {
        Arc::make_mut(realm).early_media = EarlyMedia::Backward;
    }
    let mut world = World::new(early);
    let (user, from) = TERMINALS[0];
    let uri = registered(&mut world, user, from);
    let invite = request("INVITE", 7, &uri, "x1", TO, Some(&sdp(MEDIA, "")));
    let down = world.core_sends(&home(&uri), &invite).remove(0);
    let media = "203.0.113.7:4000";
    for (status, both) in [("183 Session Progress", false), ("200 OK", true)] {
        let text = response(&down, status, "t1", Some(&sdp(media, "")));
        let shown = support::call::sent_to(world.terminal_sends(from, &text), CORE);
        let sent = world.media(ACCESS, port(&down, 0), media, &rtp(1, 1));
        assert!(matches!(sent, Verdict::Forward { .. }), "{status}: {sent:?}");
        let back = world.media(CORE, port(&shown, 0), MEDIA, &rtp(1, 2));
        assert_eq!(matches!(back, Verdict::Forward { .. }), both, "{status}: {back:?}");
    }
}
