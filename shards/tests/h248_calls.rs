//! Calls of H.248 gateways behind NAT: terminations are added, modified and subtracted, and media flows both ways.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::types::RealmId;
use portolan_shards::wire::h248::{Command, Mode, Verb};
use std::net::SocketAddr;
use std::time::Duration;
use support::call::totals;
use support::h248::{
    CONTROLLER, Dialect, MGC, PRIVATE, audio, choose, command, description, error, h248, ids, leads_to,
    media, mid, reply, request, shows,
};
use support::{ACCESS, CORE, Sent, World, addr, rtp};

/// Where the gateway's signaling and media come from.
const NAT: &str = "203.0.113.7:40001";
const NAT_MEDIA: &str = "203.0.113.7:51000";
/// The far end of a call.
const FAR: &str = "10.0.0.50:4000";
const INSIDE: &str = "192.168.1.5:5004";

fn port(at: &str) -> u16 {
    addr(at).port()
}

/// Media comes in at one of our addresses, or is dropped.
fn flows(world: &mut World, realm: RealmId, at: &str, from: &str, sequence: u16) -> Verdict {
    world.media(realm, port(at), from, &rtp(60_100 + sequence, u32::from(realm.0) + 1))
}

fn reaches(verdict: Verdict, to: &str) -> bool {
    matches!(verdict, Verdict::Forward { to: at, .. } if at == addr(to))
}

/// The gateway's media comes long enough to be found.
fn speaks(world: &mut World, at: &str, from: &str) {
    for n in 0..12 {
        world.media(ACCESS, port(at), from, &rtp(60_000 + n, 1));
        world.pass(Duration::from_millis(20));
    }
}

/// A command of a message.
fn nth(sent: &Sent, n: usize) -> Command {
    support::h248::read(sent).transactions()[0].commands().nth(n).expect("a command").1.clone()
}

/// What is exchanged about one gateway.
struct Call {
    world: World,
    /// Where it is for its controller.
    home: SocketAddr,
    next: u32,
}

impl Call {
    fn new(dialect: Dialect) -> Self {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        Self { world, home, next: 100 }
    }

    /// What the controller's request leads to.
    fn sends(&mut self, context: &str, command: &str) -> Vec<Sent> {
        self.next += 1;
        let text = request(MGC, self.next, context, command);
        self.world.controller_sends(CONTROLLER, self.home, text.as_bytes())
    }

    /// A request and its reply: what the gateway got, what the controller got.
    fn exchange(&mut self, context: &str, command: &str, at: &str, answer: &str) -> (Sent, Sent) {
        let down = self.sends(context, command).remove(0);
        let text = reply(PRIVATE, self.next, at, answer);
        let up = self.world.h248_answers(&down, text.as_bytes()).remove(0);
        assert_eq!((ids(&down), ids(&up)), (vec![self.next], vec![self.next]));
        (down, up)
    }

    /// Called: a termination is added with the far end's description.
    fn called(&mut self, mode: &str) -> (Sent, Sent) {
        let add = format!("Add = $ {{ {} }}", media(mode, &choose(), &audio(FAR)));
        self.exchange("$", &add, "1", &format!("Add = rtp/1 {{ {} }}", media("", &audio(INSIDE), "")))
    }

    fn finish(mut self) {
        self.world.pass(Duration::from_secs(8000));
        let stats = self.world.shards[0].stats();
        assert_eq!((stats.sessions, stats.ports, stats.transactions, stats.gateways), (0, 0, 0, 0));
    }
}

#[test]
fn a_called_gateway_has_media_both_ways_and_neither_side_sees_the_others_addresses() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, up) = call.called("SendReceive");
        assert_eq!((down.flow.remote, mid(&down).to_string().as_str()), (addr(NAT), "[198.51.100.10]:2944"));
        assert!(!shows(&down, "10.0.0.30") && !shows(&down, "10.0.0.50"), "{}", down.text());
        assert_eq!(description(&down, true, 0), choose(), "what the gateway is to choose passes untouched");
        assert!(!shows(&up, "192.168.1.5") && !shows(&up, "198.51.100.10"), "{}", up.text());
        assert_eq!((up.flow.remote, up.flow.local), (addr(CONTROLLER), call.home), "back to the source");
        assert_eq!(mid(&up).to_string(), format!("[10.0.0.10]:{}", call.home.port()));
        let (access, core) = (leads_to(&description(&down, false, 0)), leads_to(&description(&up, true, 0)));
        assert!(access.starts_with("198.51.100.10:") && core.starts_with("10.0.0.10:"));
        speaks(&mut call.world, &access, NAT_MEDIA);
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA));
        let statistics =
            "Subtract = rtp/1 { Statistics { rtp/ps = 13, nt/os = 2080, rtp/pr = 1, nt/or = 160 } }";
        let (_, up) = call.exchange("1", "Subtract = rtp/1 { Audit { Statistics } }", "1", statistics);
        assert_eq!(command(&up).statistics[0].value, Some(13));
        assert_eq!(totals(&mut call.world), (0, 0));
        let stats = call.world.shards[0].stats();
        assert_eq!((stats.reports_agreed, stats.reports_contradicted), (1, 0));
        assert_eq!((stats.sessions_opened, stats.sessions_ended), (1, 1));
        call.finish();
    }
}

#[test]
fn a_calling_gateway_is_asked_for_its_description_first_and_told_the_other_one_later() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let add = format!("Add = aaln/1, Add = $ {{ {} }}", media("ReceiveOnly", &choose(), ""));
        let answer = format!("Add = aaln/1, Add = rtp/1 {{ {} }}", media("", &audio(INSIDE), ""));
        let (down, up) = call.exchange("$", &add, "1", &answer);
        assert_eq!(nth(&down, 1).streams[0].mode, Some(Mode::ReceiveOnly), "nobody is there to listen to");
        let (message, added) = (support::h248::read(&up), nth(&up, 1));
        let group = added.streams[0].local.as_ref().expect("a description").groups[0];
        let core = leads_to(&String::from_utf8_lossy(&message.sdp(&group)));
        let modify = format!("Modify = rtp/1 {{ {} }}", media("SendReceive", "", &audio(FAR)));
        let (down, _) = call.exchange("1", &modify, "1", "Modify = rtp/1");
        let access = leads_to(&description(&down, false, 0));
        speaks(&mut call.world, &access, NAT_MEDIA);
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA));
        call.exchange("1", "Subtract = *", "1", "Subtract = aaln/1, Subtract = rtp/1");
        assert_eq!(totals(&mut call.world), (0, 0));
        call.finish();
    }
}

#[test]
fn a_description_that_changes_on_one_side_is_answered_by_the_last_one_of_the_other() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (_, up) = call.called("SendReceive");
        let core = leads_to(&description(&up, true, 0));
        let other = "10.0.0.51:4100";
        let modify = format!("Modify = rtp/1 {{ {} }}", media("", "", &audio(other)));
        let (down, _) = call.exchange("1", &modify, "1", "Modify = rtp/1");
        let access = leads_to(&description(&down, false, 0));
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), other));
        let modify = format!("Modify = rtp/1 {{ {} }}", media("", &choose(), ""));
        let moved = format!("Modify = rtp/1 {{ {} }}", media("", &audio("192.168.1.5:6004"), ""));
        let (_, up) = call.exchange("1", &modify, "1", &moved);
        assert_eq!(leads_to(&description(&up, true, 0)), core, "our own address stays");
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 2), other));
        call.exchange("1", "Subtract = rtp/1", "1", "Subtract = rtp/1");
        call.finish();
    }
}

#[test]
fn descriptions_that_come_back_to_their_own_side_have_its_own_addresses() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, up) = call.called("SendReceive");
        let (shown_local, shown_remote) = (description(&up, true, 0), description(&down, false, 0));
        let modify = format!("Modify = rtp/1 {{ {} }}", media("", &shown_local, ""));
        let echo = format!("Modify = rtp/1 {{ {} }}", media("SendReceive", &audio(INSIDE), &shown_remote));
        let (down, up) = call.exchange("1", &modify, "1", &echo);
        assert_eq!(description(&down, true, 0), audio(INSIDE), "the gateway's own address: {}", down.text());
        assert_eq!(description(&up, true, 0), shown_local);
        assert_eq!(description(&up, false, 0), audio(FAR), "the controller's own address: {}", up.text());
        let audit = "AuditValue = rtp/1 { Audit { Media } }";
        let audited =
            format!("AuditValue = rtp/1 {{ {} }}", media("SendReceive", &audio(INSIDE), &shown_remote));
        let (_, up) = call.exchange("1", audit, "1", &audited);
        assert_eq!((description(&up, true, 0), description(&up, false, 0)), (shown_local, audio(FAR)));
        let unknown =
            format!("AuditValue = rtp/9 {{ {} }}", media("", &audio(INSIDE), &audio("192.168.1.9:9")));
        let (_, up) = call.exchange("1", "AuditValue = rtp/9 { Audit { Media } }", "1", &unknown);
        assert!(!shows(&up, "192.168.1.5") && !shows(&up, "192.168.1.9"), "{}", up.text());
        assert!(leads_to(&description(&up, true, 0)).ends_with(":0"));
        call.finish();
    }
}

#[test]
fn alternatives_are_all_shown_at_one_address() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let other = |at: &str| audio(at).replace("RTP/AVP 0", "RTP/AVP 18");
        let both = |at: &str| format!("{}{}", audio(at), other(at));
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &format!("{0}{0}", choose()), &both(FAR)));
        let answer = format!("Add = rtp/1 {{ {} }}", media("", &both(INSIDE), ""));
        let (down, up) = call.exchange("$", &add, "1", &answer);
        let access = leads_to(&description(&down, false, 0));
        assert_eq!(leads_to(&description(&down, false, 1)), access);
        assert!(description(&down, false, 1).contains("RTP/AVP 18"));
        assert_eq!(leads_to(&description(&up, true, 1)), leads_to(&description(&up, true, 0)));
        let mut g729 = rtp(1, 1);
        g729[1] = 18;
        let forwarded = call.world.media(ACCESS, port(&access), NAT_MEDIA, &g729);
        assert!(reaches(forwarded, FAR), "any of them may be used: {forwarded:?}");
        call.exchange("1", "Subtract = rtp/1", "1", "Subtract = rtp/1");
        call.finish();
    }
}

#[test]
fn each_stream_of_a_termination_has_media_of_its_own() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let stream = |n: u16, local: &str, remote: &str| {
            format!("Stream = {n} {{ LocalControl {{ Mode = SendReceive }}, Local {{\r\n{local}}}{remote} }}")
        };
        let remote = |at: &str| format!(", Remote {{\r\n{}}}", audio(at));
        let add = format!(
            "Add = $ {{ Media {{ {}, {} }} }}",
            stream(1, &choose(), &remote(FAR)),
            stream(2, &choose(), &remote("10.0.0.50:4002"))
        );
        let answer = format!(
            "Add = rtp/1 {{ Media {{ {}, {} }} }}",
            stream(1, &audio(INSIDE), ""),
            stream(2, &audio("192.168.1.5:5006"), "")
        );
        let (down, _) = call.exchange("$", &add, "1", &answer);
        assert_eq!(totals(&mut call.world), (2, 8), "four ports for each");
        let message = support::h248::read(&down);
        let command = command(&down);
        let second = command.stream(2).and_then(|s| s.remote.as_ref()).expect("a description").groups[0];
        let access = leads_to(&String::from_utf8_lossy(&message.sdp(&second)));
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), "10.0.0.50:4002"));
        call.exchange("1", "Subtract = rtp/1", "1", "Subtract = rtp/1");
        assert_eq!(totals(&mut call.world), (0, 0));
        call.finish();
    }
}

#[test]
fn a_failed_modification_leaves_what_was() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, up) = call.called("SendReceive");
        let modify = format!("Modify = rtp/1 {{ {} }}", media("Inactive", "", &audio("10.0.0.51:4100")));
        let (_, refused) = call.exchange("1", &modify, "1", "Modify = rtp/1 { Error = 500 { \"no\" } }");
        assert_eq!(command(&refused).error.map(|error| error.code), Some(500));
        let (access, core) = (leads_to(&description(&down, false, 0)), leads_to(&description(&up, true, 0)));
        speaks(&mut call.world, &access, NAT_MEDIA);
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA));
        call.exchange("1", "Subtract = rtp/1", "1", "Subtract = rtp/1");
        call.finish();
    }
}

#[test]
fn modes_are_gates() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, up) = call.called("SendReceive");
        let (access, core) = (leads_to(&description(&down, false, 0)), leads_to(&description(&up, true, 0)));
        speaks(&mut call.world, &access, NAT_MEDIA);
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        let mut sequence = 1;
        for (mode, from_gateway, to_gateway) in [
            ("Inactive", false, false),
            ("SendOnly", true, false),
            ("ReceiveOnly", false, true),
            ("Loopback", true, true),
            ("SendReceive", true, true),
        ] {
            let modify = format!("Modify = rtp/1 {{ {} }}", media(mode, "", ""));
            let (down, _) = call.exchange("1", &modify, "1", "Modify = rtp/1");
            assert_eq!(
                format!("{:?}", command(&down).streams[0].mode),
                format!("Some({mode})"),
                "a latched gateway is told the truth"
            );
            sequence += 1;
            let up = flows(&mut call.world, ACCESS, &access, NAT_MEDIA, sequence);
            let back = flows(&mut call.world, CORE, &core, FAR, sequence);
            assert_eq!((reaches(up, FAR), reaches(back, NAT_MEDIA)), (from_gateway, to_gateway), "{mode}");
        }
        call.finish();
    }
}

#[test]
fn a_gateway_that_only_listens_is_told_to_send_until_it_was_heard_and_its_media_goes_nowhere() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, up) = call.called("ReceiveOnly");
        assert_eq!(command(&down).streams[0].mode, Some(Mode::SendReceive), "{}", down.text());
        let (access, core) = (leads_to(&description(&down, false, 0)), leads_to(&description(&up, true, 0)));
        let closed = call.world.media(ACCESS, port(&access), NAT_MEDIA, &rtp(59_999, 1));
        assert_eq!(closed, Verdict::Drop(DropReason::GateClosed));
        speaks(&mut call.world, &access, NAT_MEDIA);
        assert!(
            reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA),
            "it is found by what it sent"
        );
        let audited = format!("AuditValue = rtp/1 {{ {} }}", media("SendReceive", &audio(INSIDE), ""));
        let (_, up) = call.exchange("1", "AuditValue = rtp/1 { Audit { Media } }", "1", &audited);
        assert_eq!(
            command(&up).streams[0].mode,
            Some(Mode::ReceiveOnly),
            "the controller sees what it asked for"
        );
        let modify = format!("Modify = rtp/1 {{ {} }}", media("ReceiveOnly", "", &audio(FAR)));
        let (down, _) = call.exchange("1", &modify, "1", "Modify = rtp/1");
        assert_eq!(command(&down).streams[0].mode, Some(Mode::ReceiveOnly));
        call.finish();
    }
}

#[test]
fn what_a_subtraction_ends_is_what_it_names() {
    for dialect in Dialect::ALL {
        for (context, named, gone, left) in [
            ("1", "rtp/1", "Subtract = rtp/1", 2),
            ("2", "*", "Subtract = rtp/2, Subtract = rtp/3", 1),
            ("2", "rtp/*", "Subtract = rtp/2, Subtract = rtp/3", 1),
            ("*", "*", "Subtract = *", 0),
        ] {
            let mut call = Call::new(dialect);
            for (n, at) in [(1, "1"), (2, "2"), (3, "2")] {
                let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio(FAR)));
                let answer = format!("Add = rtp/{n} {{ {} }}", media("", &audio(INSIDE), ""));
                call.exchange("$", &add, at, &answer);
            }
            let down = call.sends(context, &format!("Subtract = {named}")).remove(0);
            assert_eq!(totals(&mut call.world).0, 3, "until the answer");
            let text = reply(PRIVATE, call.next, context, gone);
            call.world.h248_answers(&down, text.as_bytes());
            assert_eq!(totals(&mut call.world).0, left, "{named} in {context}");
            call.finish();
        }
    }
}

#[test]
fn a_subtraction_stops_media_at_once_and_a_refusal_lets_it_go_on() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, _) = call.called("SendReceive");
        let access = leads_to(&description(&down, false, 0));
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        let subtract = call.sends("1", "Subtract = rtp/1").remove(0);
        assert_eq!(
            flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 2),
            Verdict::Drop(DropReason::GateClosed)
        );
        let text = reply(PRIVATE, call.next, "1", "Subtract = rtp/1 { Error = 500 { \"busy\" } }");
        call.world.h248_answers(&subtract, text.as_bytes());
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 3), FAR));
        call.exchange("1", "Subtract = rtp/1", "1", "Subtract = rtp/1 { Error = 430 { \"unknown\" } }");
        assert_eq!(totals(&mut call.world), (0, 0));
        call.finish();
    }
}

#[test]
fn a_termination_that_moves_keeps_its_media_and_leaves_with_its_new_context() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let (down, _) = call.called("SendReceive");
        let access = leads_to(&description(&down, false, 0));
        call.exchange("2", "Move = rtp/1", "2", "Move = rtp/1");
        assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
        call.exchange("1", "Subtract = *", "1", "Subtract = aaln/1");
        assert_eq!(totals(&mut call.world).0, 1, "it is no longer there");
        call.exchange("2", "Subtract = *", "2", "Subtract = rtp/1");
        assert_eq!(totals(&mut call.world).0, 0);
        call.finish();
    }
}

#[test]
fn a_gateway_ends_its_bearers_by_a_restart_and_by_force() {
    for dialect in Dialect::ALL {
        for (termination, method, left) in [
            ("ROOT", "Restart", 0),
            ("ROOT", "Forced", 0),
            ("rtp/1", "Forced", 0),
            ("rtp/*", "Forced", 0),
            ("ROOT", "Graceful", 1),
            ("ROOT", "Disconnected", 1),
            ("aaln/1", "Forced", 1),
        ] {
            let mut call = Call::new(dialect);
            call.called("SendReceive");
            let change = format!(
                "ServiceChange = {termination} {{ Services {{ Method = {method}, Reason = \"905 out\" }} }}"
            );
            let up =
                call.world.h248_gateway_sends(NAT, request(PRIVATE, 50, "-", &change).as_bytes()).remove(0);
            assert_eq!(totals(&mut call.world).0, 1, "until the answer");
            let text = reply(MGC, 50, "-", &format!("ServiceChange = {termination}"));
            call.world.h248_answers(&up, text.as_bytes());
            assert_eq!(totals(&mut call.world).0, left, "{method} {termination}");
            call.finish();
        }
    }
}

#[test]
fn what_a_gateway_claims_to_have_sent_is_compared_with_what_came() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        call.called("SendReceive");
        let statistics = "Subtract = rtp/1 { Statistics { rtp/ps = 90000 } }";
        call.exchange("1", "Subtract = rtp/1", "1", statistics);
        assert_eq!(call.world.shards[0].stats().reports_contradicted, 1);
        call.finish();
    }
}

#[test]
fn a_description_that_cannot_be_passed_on_is_refused_on_either_side() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        for (remote, code) in [
            ("v=0\r\nc=IN IP4 10.0.0.50\r\nm=audio x RTP/AVP 0\r\n", 449),
            ("v=0\r\nc=IN IP4 10.0.0.50\r\nm=message 9 TCP/MSRP *\r\n", 449),
        ] {
            let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), remote));
            let refused = call.sends("$", &add).remove(0);
            assert_eq!((refused.flow.realm, error(&refused)), (CORE, Some(code)), "{}", refused.text());
            assert_eq!(call.world.shards[0].stats().sessions, 0);
        }
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio(FAR)));
        let down = call.sends("$", &add).remove(0);
        let broken = "v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio none RTP/AVP 0\r\n";
        let text = reply(PRIVATE, call.next, "1", &format!("Add = rtp/1 {{ {} }}", media("", broken, "")));
        let sent = call.world.h248_answers(&down, text.as_bytes());
        let undone = sent.iter().find(|sent| sent.flow.realm == ACCESS).expect("a subtraction");
        assert_eq!(command(undone).terminations[0].name(), b"rtp/1");
        assert_eq!(command(undone).verb, Verb::Subtract);
        let told = sent.iter().find(|sent| sent.flow.realm == CORE).expect("an answer");
        assert!(error(told).is_some() && !shows(told, "192.168.1.5"), "{}", told.text());
        assert_eq!(totals(&mut call.world), (0, 0));
        call.finish();
    }
}

#[test]
fn what_describes_no_media_passes() {
    for dialect in Dialect::ALL {
        let mut call = Call::new(dialect);
        let media = "Media { TerminationState { ServiceStates = InService }, Stream = 1 { LocalControl { Mode = SendReceive, \
                 tdmc/gain = 2 } } }";
        let (down, up) = call.exchange("$", &format!("Add = aaln/1 {{ {media} }}"), "1", "Add = aaln/1");
        assert!(dialect != Dialect::Text || down.text().contains(media), "{}", down.text());
        assert_eq!(command(&up).terminations[0].name(), b"aaln/1");
        assert_eq!(totals(&mut call.world), (0, 0));
        call.finish();
    }
}

#[test]
fn two_gateways_call_each_other_through_the_core_side() {
    let mut world = World::new(h248(2));
    let nats = ["203.0.113.7:40001", "203.0.113.8:40001"];
    let homes = nats.map(|nat| world.h248_restarts(nat, PRIVATE));
    assert_ne!(homes[0], homes[1]);
    let add = |remote: &str| format!("Add = $ {{ {} }}", media("SendReceive", &choose(), remote));
    let answer = reply(PRIVATE, 11, "1", &format!("Add = rtp/1 {{ {} }}", media("", &audio(INSIDE), "")));
    let ask = |world: &mut World, home, id: u32, context: &str, command: &str| {
        world.controller_sends(CONTROLLER, home, request(MGC, id, context, command).as_bytes()).remove(0)
    };
    let first = ask(&mut world, homes[0], 11, "$", &add(""));
    let first_up = world.h248_answers(&first, answer.as_bytes()).remove(0);
    let first_core = leads_to(&description(&first_up, true, 0));
    let second = ask(&mut world, homes[1], 11, "$", &add(&audio(&first_core)));
    let second_up = world.h248_answers(&second, answer.as_bytes()).remove(0);
    let second_core = leads_to(&description(&second_up, true, 0));
    let modify = format!("Modify = rtp/1 {{ {} }}", media("", "", &audio(&second_core)));
    let modified = ask(&mut world, homes[0], 12, "1", &modify);
    world.h248_answers(&modified, reply(PRIVATE, 12, "1", "Modify = rtp/1").as_bytes());
    let (one, two) = ("203.0.113.7:51000", "203.0.113.8:52000");
    let at = [leads_to(&description(&modified, false, 0)), leads_to(&description(&second, false, 0))];
    speaks(&mut world, &at[0], one);
    speaks(&mut world, &at[1], two);
    for n in 60_100..60_104 {
        let out = world.media(ACCESS, port(&at[0]), one, &rtp(n, 1));
        assert!(reaches(out, &second_core), "{out:?}");
        let across = world.media(CORE, port(&second_core), &first_core, &rtp(n, 1));
        assert!(reaches(across, two), "{across:?}");
        let across = world.media(CORE, port(&first_core), &second_core, &rtp(n, 2));
        assert!(reaches(across, one), "{across:?}");
    }
}
