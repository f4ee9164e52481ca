//! Calls of MGCP gateways behind NAT: connections are created, modified and deleted, and media flows both ways.

mod support;

use portolan_shards::io::{DropReason, Verdict};
use portolan_shards::types::RealmId;
use std::time::Duration;
use support::call::totals;
use support::gateways::{AGENT, CORE_AT, PRIVATE, audio, endpoint, gateways, id, media_of};
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

/// What is exchanged about one connection.
struct Call {
    world: World,
    /// The gateway's domain toward the call agent.
    name: String,
    next: u32,
}

impl Call {
    fn new() -> Self {
        let mut world = World::new(gateways(1));
        let name = world.restarts(NAT, 1, PRIVATE);
        Self { world, name, next: 100 }
    }

    /// The call agent's command, as the gateway gets it.
    fn command(&mut self, verb: &str, lines: &str, sdp: &str) -> Sent {
        let sent = self.sends(verb, lines, sdp);
        assert_eq!(sent.len(), 1, "{}", sent.iter().map(Sent::text).collect::<String>());
        sent.into_iter().next().expect("a command")
    }

    fn sends(&mut self, verb: &str, lines: &str, sdp: &str) -> Vec<Sent> {
        self.next += 1;
        let body = if sdp.is_empty() { String::new() } else { format!("\n{sdp}") };
        let text = format!("{verb} {} aaln/1@{} MGCP 1.0\nC: A3\n{lines}{body}", self.next, self.name);
        self.world.agent_sends(AGENT, CORE_AT, &text)
    }

    /// A command and its answer: what the gateway got, what the call agent got.
    fn exchange(&mut self, verb: &str, lines: &str, sdp: &str, answer: &str) -> (Sent, Sent) {
        let down = self.command(verb, lines, sdp);
        let up = self.world.answered(&down, answer).remove(0);
        assert_eq!(id(&up), self.next, "the call agent's own number comes back");
        (down, up)
    }

    /// Called: CRCX with the far end's description.
    fn called(&mut self, mode: &str) -> (Sent, Sent) {
        let lines = format!("L: p:20, a:PCMU\nM: {mode}\n");
        self.exchange("CRCX", &lines, &audio(FAR), &format!("200 OK\nI: 32F345E2\n\n{}", audio(INSIDE)))
    }

    fn finish(mut self) {
        self.world.pass(Duration::from_secs(8000));
        let stats = self.world.shards[0].stats();
        assert_eq!((stats.sessions, stats.ports, stats.transactions, stats.gateways), (0, 0, 0, 0));
    }
}

#[test]
fn a_called_gateway_has_media_both_ways_and_neither_side_sees_the_others_addresses() {
    let mut call = Call::new();
    let (down, up) = call.called("sendrecv");
    assert_eq!(endpoint(&down), format!("aaln/1@{PRIVATE}"));
    assert!(down.flow.remote == addr(NAT) && !down.text().contains("10.0.0."), "{}", down.text());
    assert!(!down.text().contains("\r\nN:"), "there are gateways that refuse it: {}", down.text());
    assert!(!up.text().contains("192.168.") && !up.text().contains("198.51."), "{}", up.text());
    assert_eq!((up.flow.remote, up.flow.local), (addr(AGENT), addr(CORE_AT)), "back to the source");
    let (access, core) = (media_of(&down), media_of(&up));
    assert!(access.starts_with("198.51.100.10:") && core.starts_with("10.0.0.10:"));
    speaks(&mut call.world, &access, NAT_MEDIA);
    assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
    assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA));
    let (_, up) = call.exchange(
        "DLCX",
        "I: 32F345E2\n",
        "",
        "250 OK\nP: PS=13, OS=2080, PR=1, OR=160, PL=0, JI=0, LA=0\n",
    );
    assert!(up.text().starts_with("250 ") && up.text().contains("P: PS=13, OS=2080"));
    assert_eq!(totals(&mut call.world), (0, 0));
    let stats = call.world.shards[0].stats();
    assert_eq!((stats.reports_agreed, stats.reports_contradicted), (1, 0));
    assert_eq!((stats.sessions_opened, stats.sessions_ended), (1, 1));
    call.finish();
}

#[test]
fn a_gateway_that_sends_only_what_it_hears_opens_its_nat_before_it_answers() {
    let mut call = Call::new();
    let down = call.command("CRCX", "M: sendrecv\n", &audio(FAR));
    let access = media_of(&down);
    let opens = |call: &mut Call, from| call.world.media(ACCESS, port(&access), from, b"#");
    assert_eq!(opens(&mut call, "192.0.2.66:51000"), Verdict::Drop(DropReason::NotArmed));
    assert_eq!(opens(&mut call, NAT_MEDIA), Verdict::Drop(DropReason::NotArmed));
    let up = call.world.answered(&down, &format!("200 OK\nI: 1\n\n{}", audio(INSIDE))).remove(0);
    assert!(reaches(flows(&mut call.world, CORE, &media_of(&up), FAR, 1), NAT_MEDIA));
    assert!(
        reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR),
        "and now it has something to send"
    );
    assert!(
        reaches(flows(&mut call.world, CORE, &media_of(&up), FAR, 2), NAT_MEDIA),
        "and hears what comes next"
    );
}

#[test]
fn a_calling_gateway_is_connected_without_a_description_and_modified_with_one() {
    let mut call = Call::new();
    let answer = format!("200 OK\nI: 1\n\n{}", audio(INSIDE));
    let (down, up) = call.exchange("CRCX", "M: recvonly\n", "", &answer);
    assert!(down.text().contains("M: recvonly"), "nobody is there to listen to");
    let core = media_of(&up);
    let (down, up) = call.exchange("MDCX", "I: 1\nM: sendrecv\n", &audio(FAR), "200 OK\n");
    assert!(!up.text().contains("c="));
    let access = media_of(&down);
    speaks(&mut call.world, &access, NAT_MEDIA);
    assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
    assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA));
    let (_, _) = call.exchange("DLCX", "", "", "250 OK\n");
    assert_eq!(totals(&mut call.world), (0, 0));
    call.finish();
}

#[test]
fn a_description_that_changes_on_one_side_is_answered_by_the_last_one_of_the_other() {
    let mut call = Call::new();
    let (_, up) = call.called("sendrecv");
    let core = media_of(&up);
    let other = "10.0.0.51:4100";
    let (down, _) = call.exchange("MDCX", "I: 32F345E2\n", &audio(other), "200 OK\n");
    assert!(reaches(flows(&mut call.world, ACCESS, &media_of(&down), NAT_MEDIA, 1), other));
    let moved = format!("200 OK\n\n{}", audio("192.168.1.5:6004"));
    let (_, up) = call.exchange("MDCX", "I: 32F345E2\nL: a:PCMU\n", "", &moved);
    assert_eq!(media_of(&up), core, "our own address stays");
    assert!(reaches(flows(&mut call.world, ACCESS, &media_of(&down), NAT_MEDIA, 2), other));
    let (_, up) = call.exchange("MDCX", "I: 32F345E2\n", "", &moved);
    assert_eq!(media_of(&up), core, "said again");
    call.exchange("DLCX", "I: 32F345E2\n", "", "250 OK\n");
    call.finish();
}

#[test]
fn a_failed_modification_leaves_what_was() {
    let mut call = Call::new();
    let (down, up) = call.called("sendrecv");
    let (_, refused) =
        call.exchange("MDCX", "I: 32F345E2\nM: inactive\n", &audio("10.0.0.51:4100"), "534 No\n");
    assert!(refused.text().starts_with("534 "));
    speaks(&mut call.world, &media_of(&down), NAT_MEDIA);
    assert!(reaches(flows(&mut call.world, ACCESS, &media_of(&down), NAT_MEDIA, 1), FAR));
    assert!(reaches(flows(&mut call.world, CORE, &media_of(&up), FAR, 1), NAT_MEDIA));
    call.exchange("DLCX", "I: 32F345E2\n", "", "250 OK\n");
    call.finish();
}

#[test]
fn modes_are_gates() {
    let mut call = Call::new();
    let (down, up) = call.called("sendrecv");
    let (access, core) = (media_of(&down), media_of(&up));
    speaks(&mut call.world, &access, NAT_MEDIA);
    assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
    let mut sequence = 1;
    for (mode, from_gateway, to_gateway) in [
        ("inactive", false, false),
        ("sendonly", true, false),
        ("recvonly", false, true),
        ("netwtest", true, true),
        ("confrnc", true, true),
        ("sendrecv", true, true),
    ] {
        let (down, _) = call.exchange("MDCX", &format!("I: 32F345E2\nM: {mode}\n"), "", "200 OK\n");
        assert!(down.text().contains(&format!("M: {mode}\r\n")), "a latched gateway is told the truth");
        sequence += 1;
        let up = flows(&mut call.world, ACCESS, &access, NAT_MEDIA, sequence);
        let back = flows(&mut call.world, CORE, &core, FAR, sequence);
        assert_eq!((reaches(up, FAR), reaches(back, NAT_MEDIA)), (from_gateway, to_gateway), "{mode}");
    }
    call.finish();
}

#[test]
fn a_gateway_that_only_listens_is_told_to_send_until_it_was_heard_and_its_media_goes_nowhere() {
    let mut call = Call::new();
    let (down, up) = call.called("recvonly");
    assert!(down.text().contains("M: sendrecv\r\n"), "{}", down.text());
    let (access, core) = (media_of(&down), media_of(&up));
    let closed = call.world.media(ACCESS, port(&access), NAT_MEDIA, &rtp(59_999, 1));
    assert_eq!(closed, Verdict::Drop(DropReason::GateClosed));
    speaks(&mut call.world, &access, NAT_MEDIA);
    assert!(reaches(flows(&mut call.world, CORE, &core, FAR, 1), NAT_MEDIA), "it is found by what it sent");
    let audit = format!("200 OK\nC: A3\nM: sendrecv\n\n{}\n{}", audio(INSIDE), audio(&access));
    let (_, up) = call.exchange("AUCX", "I: 32F345E2\nF: C,M,LC,RC\n", "", &audit);
    assert!(up.text().contains("M: recvonly\r\n"), "the call agent sees what it asked for: {}", up.text());
    let (down, _) = call.exchange("MDCX", "I: 32F345E2\nM: recvonly\n", "", "200 OK\n");
    assert!(down.text().contains("M: recvonly\r\n"));
    call.finish();
}

#[test]
fn an_audit_shows_each_side_its_own_addresses() {
    let mut call = Call::new();
    let (down, up) = call.called("sendrecv");
    let audit = format!(
        "200 OK\nN: ca0@[198.51.100.10]:2427\nM: sendrecv\n\n{}\n{}",
        audio(INSIDE),
        audio(&media_of(&down))
    );
    let (_, audited) = call.exchange("AUCX", "I: 32F345E2\nF: N,M,LC,RC\n", "", &audit);
    let text = audited.text().replace("\r\n", "\n");
    assert!(text.contains("N: [10.0.0.30]:2727\n"), "{text}");
    assert!(text.contains(&media_of(&up).replace(':', "\nt=0 0\nm=audio ")), "{text}");
    assert!(text.ends_with(&audio(FAR)), "the far end's description as it was written: {text}");
    assert!(!text.contains("192.168.") && !text.contains("198.51."), "{text}");
    let (_, unknown) = call.exchange("AUCX", "I: 99\nF: LC\n", "", &format!("200 OK\n\n{}", audio(INSIDE)));
    assert!(media_of(&unknown).ends_with(":0") && !unknown.text().contains("192.168."));
    call.finish();
}

#[test]
fn what_a_command_ends_is_what_it_names() {
    for (lines, left) in [("I: 1\n", 2), ("C: B\n", 1), ("", 0)] {
        let mut call = Call::new();
        for (id, cid) in [("1", "A"), ("2", "B"), ("3", "B")] {
            let text = format!(
                "CRCX {id} aaln/{id}@{} MGCP 1.0\nC: {cid}\nM: sendrecv\n\n{}",
                call.name,
                audio(FAR)
            );
            let down = call.world.agent_sends(AGENT, CORE_AT, &text).remove(0);
            call.world.answered(&down, &format!("200 OK\nI: {id}\n\n{}", audio(INSIDE)));
        }
        let text = format!("DLCX 9 *@{} MGCP 1.0\n{lines}", call.name);
        let down = call.world.agent_sends(AGENT, CORE_AT, &text).remove(0);
        assert_eq!(endpoint(&down), format!("*@{PRIVATE}"));
        assert_eq!(totals(&mut call.world).0, 3, "until the answer");
        call.world.answered(&down, "250 OK\n");
        assert_eq!(totals(&mut call.world).0, left, "{lines}");
        call.finish();
    }
}

#[test]
fn a_deletion_stops_media_at_once_and_a_transient_refusal_lets_it_go_on() {
    let mut call = Call::new();
    let (down, _) = call.called("sendrecv");
    let access = media_of(&down);
    assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 1), FAR));
    let delete = call.command("DLCX", "I: 32F345E2\n", "");
    assert_eq!(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 2), Verdict::Drop(DropReason::GateClosed));
    call.world.answered(&delete, "400 Busy\n");
    assert!(reaches(flows(&mut call.world, ACCESS, &access, NAT_MEDIA, 3), FAR));
    call.exchange("DLCX", "I: 32F345E2\n", "", "515 Gone\n");
    assert_eq!(totals(&mut call.world), (0, 0));
    call.finish();
}

#[test]
fn a_gateway_ends_its_connections_by_deletion_and_by_restart() {
    for command in [
        format!(
            "DLCX 50 aaln/1@{PRIVATE} MGCP 1.0\nC: A3\nI: 32F345E2\nE: 900 - Hardware\nP: PS=900, OS=1\n"
        ),
        format!("RSIP 50 *@{PRIVATE} MGCP 1.0\nRM: forced\n"),
        format!("RSIP 50 aaln/*@{PRIVATE} MGCP 1.0\nRM: restart\n"),
    ] {
        let mut call = Call::new();
        call.called("sendrecv");
        let up = call.world.gateway_sends(NAT, &command).remove(0);
        assert!(up.text().contains(&format!("@{} ", call.name)) && !up.text().contains("192.168."));
        call.world.answered(&up, "200 OK\n");
        assert_eq!(totals(&mut call.world), (0, 0), "{command}");
        call.finish();
    }
    let mut call = Call::new();
    call.called("sendrecv");
    for method in ["graceful", "disconnected", "cancel-graceful"] {
        let up = call
            .world
            .gateway_sends(NAT, &format!("RSIP 6{} *@{PRIVATE} MGCP 1.0\nRM: {method}\n", method.len()));
        call.world.answered(&up[0], "200 OK\n");
        assert_eq!(totals(&mut call.world).0, 1, "{method}");
    }
    call.finish();
}

#[test]
fn what_a_gateway_claims_to_have_sent_is_compared_with_what_came() {
    let mut call = Call::new();
    call.called("sendrecv");
    call.exchange("DLCX", "I: 32F345E2\n", "", "250 OK\nP: PS=90000, OS=160\n");
    assert_eq!(call.world.shards[0].stats().reports_contradicted, 1);
    call.finish();
}

#[test]
fn a_provisional_answer_describes_the_connection_and_the_final_one_repeats_it() {
    let mut call = Call::new();
    let down = call.command("CRCX", "M: sendrecv\n", &audio(FAR));
    let early = call.world.answered(&down, &format!("100 Pending\nI: 5\n\n{}", audio(INSIDE))).remove(0);
    assert!(early.text().starts_with("100 ") && media_of(&early).starts_with("10.0.0.10:"));
    assert!(reaches(flows(&mut call.world, ACCESS, &media_of(&down), NAT_MEDIA, 1), FAR), "early media");
    let sent = call.world.answered(&down, &format!("200 OK\nK:\nI: 5\n\n{}", audio(INSIDE)));
    let acknowledged = sent.iter().find(|sent| sent.flow.remote == addr(NAT)).expect("an acknowledgement");
    assert_eq!(acknowledged.text(), format!("000 {}\r\n", id(&down)));
    let last = sent.iter().find(|sent| sent.flow.remote == addr(AGENT)).expect("the answer");
    assert_eq!(media_of(last), media_of(&early));
    assert_eq!(totals(&mut call.world).0, 1);
    assert!(call.world.agent_sends(AGENT, CORE_AT, &format!("000 {} OK\n", call.next)).is_empty());
    call.exchange("DLCX", "I: 5\n", "", "250 OK\n");
    call.finish();
}

#[test]
fn two_endpoints_of_a_gateway_are_connected_to_each_other() {
    let mut call = Call::new();
    let name = call.name.clone();
    let down = call.command("CRCX", &format!("M: sendrecv\nZ2: aaln/2@{name}\n"), "");
    assert!(down.text().contains(&format!("Z2: aaln/2@{PRIVATE}\r\n")), "{}", down.text());
    let answer = format!(
        "200 OK\nI: 1\nI2: 2\nZ2: aaln/2@{PRIVATE}\n\n{}\n{}",
        audio(INSIDE),
        audio("192.168.1.5:5008")
    );
    let up = call.world.answered(&down, &answer).remove(0);
    assert!(up.text().contains(&format!("Z2: aaln/2@{name}\r\n")) && !up.text().contains("192.168."));
    assert_eq!(totals(&mut call.world).0, 2);
    let local = "v=0\nc=LOCAL EPN aaln/2\nm=audio 0 LOCAL 0\n";
    let (down, _) = call.exchange("MDCX", "I: 1\n", local, "200 OK\n");
    assert!(down.text().replace("\r\n", "\n").ends_with(local), "names no address: {}", down.text());
    let foreign = call.sends("CRCX", "M: sendrecv\nZ2: aaln/2@elsewhere.example\n", "");
    assert!(foreign[0].text().starts_with("500 "));
    call.finish();
}

#[test]
fn any_endpoint_is_named_by_the_gateway() {
    let mut call = Call::new();
    let text = format!("CRCX 7 aaln/$@{} MGCP 1.0\nC: A3\nM: sendrecv\n\n{}", call.name, audio(FAR));
    let down = call.world.agent_sends(AGENT, CORE_AT, &text).remove(0);
    assert_eq!(endpoint(&down), format!("aaln/$@{PRIVATE}"));
    let up = call
        .world
        .answered(&down, &format!("200 OK\nI: 1\nZ: aaln/2@{PRIVATE}\n\n{}", audio(INSIDE)))
        .remove(0);
    assert!(up.text().contains(&format!("Z: aaln/2@{}\r\n", call.name)));
    let wrong = call.sends("MDCX", "I: 1\n", &audio(FAR));
    assert!(wrong[0].text().starts_with("515 "), "aaln/1 has no such connection");
    let text = format!("DLCX 8 aaln/2@{} MGCP 1.0\nI: 1\n", call.name);
    let down = call.world.agent_sends(AGENT, CORE_AT, &text).remove(0);
    call.world.answered(&down, "250 OK\n");
    assert_eq!(totals(&mut call.world), (0, 0));
    call.finish();
}

#[test]
fn two_gateways_call_each_other_through_the_core_side() {
    let mut world = World::new(gateways(2));
    let names =
        [world.restarts("203.0.113.7:40001", 1, PRIVATE), world.restarts("203.0.113.8:40001", 1, PRIVATE)];
    let create = |name: &str, id: u32, sdp: &str| {
        format!("CRCX {id} aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{sdp}")
    };
    let first = world.agent_sends(AGENT, CORE_AT, &create(&names[0], 11, "")).remove(0);
    let first_up = world.answered(&first, &format!("200 OK\nI: 1\n\n{}", audio(INSIDE))).remove(0);
    let second =
        world.agent_sends(AGENT, CORE_AT, &create(&names[1], 12, &audio(&media_of(&first_up)))).remove(0);
    let second_up = world.answered(&second, &format!("200 OK\nI: 1\n\n{}", audio(INSIDE))).remove(0);
    let text =
        format!("MDCX 13 aaln/1@{} MGCP 1.0\nC: A\nI: 1\n\n{}", names[0], audio(&media_of(&second_up)));
    let modified = world.agent_sends(AGENT, CORE_AT, &text).remove(0);
    world.answered(&modified, "200 OK\n");
    let (one, two) = ("203.0.113.7:51000", "203.0.113.8:52000");
    speaks(&mut world, &media_of(&modified), one);
    speaks(&mut world, &media_of(&second), two);
    for n in 60_100..60_104 {
        let out = world.media(ACCESS, port(&media_of(&modified)), one, &rtp(n, 1));
        assert!(reaches(out, &media_of(&second_up)), "{out:?}");
        let back = world.media(ACCESS, port(&media_of(&second)), two, &rtp(n, 1));
        assert!(reaches(back, &media_of(&first_up)), "{back:?}");
        let across = world.media(CORE, port(&media_of(&second_up)), &media_of(&first_up), &rtp(n, 1));
        assert!(reaches(across, two), "{across:?}");
        let across = world.media(CORE, port(&media_of(&first_up)), &media_of(&second_up), &rtp(n, 2));
        assert!(reaches(across, one), "{across:?}");
    }
}
