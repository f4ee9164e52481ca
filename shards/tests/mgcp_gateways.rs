//! MGCP gateways behind NAT: how they become known, what they are called, and how they are kept.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::realm::{Mapping, PortRange, Realm, Registration, Route, Softswitch};
use portolan_shards::types::RealmId;
use std::sync::Arc;
use std::time::Duration;
use support::call::totals;
use support::gateways::{
    ACCESS_AT, AGENT, CORE_AT, PRIVATE, SECOND_AGENT, audio, domain, endpoint, gateway_at, gateways, id,
};
use support::{ACCESS, CORE, Sent, World, addr};

const NAT: &str = "203.0.113.7:40001";
/// The same NAT, another port.
const ELSEWHERE: &str = "203.0.113.7:40999";

fn notify(id: u32, domain: &str) -> String {
    format!("NTFY {id} aaln/1@{domain} MGCP 1.0\nX: 1\nO: L/hd\n")
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What went to the core side.
fn up(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(|sent| sent.flow.realm == CORE).collect()
}

/// Gateways answer each question of ours that came to them.
fn all_live(world: &mut World, sent: Vec<Sent>) -> Vec<Sent> {
    let (asked, other): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|sent| sent.text().starts_with("AUEP "));
    let answers = asked.iter().flat_map(|asked| world.answered(asked, "200 OK\n")).collect::<Vec<_>>();
    other.into_iter().chain(answers).collect()
}

#[test]
fn a_restart_makes_a_gateway_known_once_the_call_agent_has_accepted_it() {
    let mut world = World::new(gateways(2));
    let text = format!("RSIP 77 aaln/*@{PRIVATE} MGCP 1.0 NCS 1.0\nRM: restart\nRD: 5\nX-vendor: a, b\n");
    let sent = up(world.gateway_sends(NAT, &text)).remove(0);
    assert_eq!(sent.flow.remote, addr(AGENT));
    let name = domain(&sent);
    assert!(name.starts_with("gw-") && name.ends_with(".gw.example.net"), "{name}");
    let seen = sent.text().replace(&id(&sent).to_string(), "77").replace(&name, PRIVATE);
    assert_eq!(seen, text.replace('\n', "\r\n"), "all else is as it was");
    assert_eq!(world.gateways(), 0);
    let back = world.answered(&sent, "200 OK\n").remove(0);
    assert_eq!((back.text().as_str(), back.flow), ("200 77 OK\r\n", gateway_at(NAT)));
    assert_eq!(world.gateways(), 1);
}

#[test]
fn one_that_was_not_accepted_is_forgotten() {
    let mut world = World::new(gateways(1));
    let sent = world.gateway_sends(NAT, &format!("RSIP 1 *@{PRIVATE} MGCP 1.0\nRM: restart\n")).remove(0);
    world.answered(&sent, "500 Who is that\n");
    let command = format!("AUEP 1 aaln/1@{} MGCP 1.0\n", domain(&sent));
    assert_eq!(world.agent_sends(AGENT, CORE_AT, &command)[0].flow.realm, ACCESS, "it may be looked at");
    assert!(world.pass(seconds(200)).iter().all(|sent| !sent.text().starts_with("AUEP")), "not kept alive");
    let unknown = world.agent_sends(AGENT, CORE_AT, &command.replace("AUEP 1", "AUEP 2")).remove(0);
    assert!(unknown.text().starts_with("500 2 "), "{}", unknown.text());
    assert_eq!((world.gateways(), world.shards[0].stats().transactions), (0, 0));
}

#[test]
fn gateways_of_one_address_behind_different_nats_are_different_endpoints() {
    let mut world = World::new(gateways(4));
    let nats = ["203.0.113.7:40001", "203.0.113.8:40001", "203.0.113.9:2427"];
    let names = nats.map(|nat| world.restarts(nat, 1, PRIVATE));
    assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
    for (name, nat) in names.iter().zip(nats) {
        let sent =
            world.agent_sends(AGENT, CORE_AT, &format!("RQNT 5 aaln/1@{name} MGCP 1.0\nX: 1\n")).remove(0);
        assert_eq!((sent.flow.remote, endpoint(&sent)), (addr(nat), format!("aaln/1@{PRIVATE}")));
        let answer = world.answered(&sent, &format!("500 no aaln/1@{PRIVATE} here\n")).remove(0);
        assert_eq!(
            answer.text(),
            format!("500 5 no aaln/1@{name} here\r\n"),
            "the address is in no words either"
        );
        let other = format!("RQNT 6 aaln/1@{name} MGCP 1.0\nX: 1\n").to_uppercase();
        assert_eq!(world.agent_sends(AGENT, CORE_AT, &other)[0].flow.remote, addr(nat), "in any case");
    }
}

#[test]
fn gateways_of_one_name_behind_one_nat_are_told_apart_once_the_first_has_answered() {
    let mut world = World::new(gateways(2));
    let first = world.restarts(NAT, 1, PRIVATE);
    world.pass(seconds(1));
    let text = format!("RSIP 1 *@{PRIVATE} MGCP 1.0\nRM: restart\n");
    let sent = world.gateway_sends(ELSEWHERE, &text);
    assert_eq!((sent.len(), sent[0].flow.remote), (1, addr(NAT)), "the known one is asked first");
    assert!(sent[0].text().starts_with("AUEP ") && endpoint(&sent[0]) == format!("aaln/1@{PRIVATE}"));
    let sent = up(world.answered(&sent[0], "200 OK\n")).remove(0);
    let second = domain(&sent);
    assert_eq!(second, first.replacen('.', "-1.", 1));
    world.answered(&sent, "200 OK\n");
    assert_eq!(world.gateways(), 2);
    for (name, at) in [(&first, NAT), (&second, ELSEWHERE)] {
        let sent =
            world.agent_sends(AGENT, CORE_AT, &format!("RQNT 7 aaln/1@{name} MGCP 1.0\nX: 1\n")).remove(0);
        assert_eq!(sent.flow.remote, addr(at));
        let sent = up(world.gateway_sends(at, &notify(30, PRIVATE))).remove(0);
        assert_eq!(domain(&sent), *name);
    }
}

#[test]
fn a_gateway_whose_nat_has_forgotten_it_is_known_again_and_its_call_goes_with_it() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = format!("CRCX 3 aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"));
    let sent = world.agent_sends(AGENT, CORE_AT, &create).remove(0);
    world.answered(&sent, &format!("200 OK\nI: 1\n\n{}", audio("192.168.1.5:5004")));
    world.pass(seconds(1));
    assert!(up(world.gateway_sends(ELSEWHERE, &notify(9, PRIVATE))).is_empty());
    let sent = up(world.pass(seconds(3)));
    assert_eq!(sent.len(), 1, "its command waited");
    assert_eq!((domain(&sent[0]), id(&world.answered(&sent[0], "200 OK\n")[0])), (name.clone(), 9));
    let sent = world.agent_sends(AGENT, CORE_AT, &format!("DLCX 4 aaln/1@{name} MGCP 1.0\nI: 1\n")).remove(0);
    assert_eq!(sent.flow.remote, addr(ELSEWHERE));
    world.answered(&sent, "250 OK\n");
    assert_eq!((totals(&mut world), world.gateways()), ((0, 0), 1));
    assert_eq!(world.shards[0].stats().gateways_moved, 1);
}

/// A gateway that has answered its call agent once.
fn reached() -> (World, String) {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, "gw1.example.org");
    let sent = world.agent_sends(AGENT, CORE_AT, &format!("RQNT 6 aaln/1@{name} MGCP 1.0\nX: 1\n")).remove(0);
    world.answered(&sent, "200 OK\n");
    world.pass(seconds(1));
    (world, name)
}

#[test]
fn who_has_been_named_but_never_answered_gives_way_to_another_host() {
    let mut world = World::new(gateways(1));
    let name = world.restarts("192.0.2.66:2427", 1, "gw1.example.org");
    world.pass(seconds(1));
    assert!(up(world.gateway_sends(NAT, &notify(9, &name))).is_empty());
    assert_eq!(domain(&up(world.pass(seconds(3)))[0]), name);
}

#[test]
fn a_stranger_does_not_take_the_place_of_a_gateway_that_its_nat_has_just_moved() {
    let (mut world, name) = reached();
    let stranger = "192.0.2.66:2427";
    assert!(up(world.gateway_sends(stranger, &notify(9, &name))).is_empty());
    assert!(
        up(world.gateway_sends("192.0.2.67:2427", &notify(9, &name))).is_empty(),
        "one is examined at a time"
    );
    assert!(
        up(world.gateway_sends(ELSEWHERE, &notify(10, &name))).is_empty(),
        "the old place is asked first"
    );
    let sent = up(world.pass(seconds(3)));
    assert_eq!(sent.len(), 1, "what came from the same host waited, whoever was there before it");
    assert_eq!(id(&world.answered(&sent[0], "200 OK\n")[0]), 10);
    let sent = world.agent_sends(AGENT, CORE_AT, &format!("RQNT 7 aaln/1@{name} MGCP 1.0\nX: 1\n")).remove(0);
    assert_eq!(sent.flow.remote, addr(ELSEWHERE));
}

#[test]
fn one_that_is_silent_is_succeeded_from_another_host_only_when_it_is_down() {
    let (mut world, name) = reached();
    let stranger = "192.0.2.66:2427";
    assert!(up(world.gateway_sends(stranger, &notify(9, &name))).is_empty());
    assert!(up(world.pass(seconds(4))).is_empty());
    let stats = world.shards[0].stats();
    assert_eq!((stats.dropped(DropReason::Unproven), stats.gateways_moved), (1, 0));
    world.pass(seconds(120));
    let sent = up(world.gateway_sends(stranger, &notify(9, &name)));
    assert_eq!(domain(&sent[0]), name, "its address has changed");
    assert_eq!(world.shards[0].stats().gateways_moved, 1);
}

#[test]
fn nobody_takes_the_place_of_a_gateway_that_answers() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, "gw1.example.org");
    assert_eq!(name, "gw1.example.org", "a name stays as it is");
    world.pass(seconds(1));
    let stranger = "192.0.2.66:2427";
    let asked = world.gateway_sends(stranger, &notify(9, "gw1.example.org"));
    let sent = up(world.answered(&asked[0], "500 OK\n")).remove(0);
    assert!(domain(&sent).starts_with("gw-"), "another one of the name is called otherwise: {}", sent.text());
    let sent = world.agent_sends(AGENT, CORE_AT, &format!("RQNT 7 aaln/1@{name} MGCP 1.0\nX: 1\n")).remove(0);
    assert_eq!(sent.flow.remote, addr(NAT));
    let forged = World::new(gateways(1)).restarts(NAT, 1, PRIVATE);
    let sent = up(world.gateway_sends(stranger, &notify(10, &forged))).remove(0);
    assert_ne!(domain(&sent), forged, "nobody is called by a name that is another one's");
}

#[test]
fn a_gateway_is_asked_while_it_is_silent_and_is_down_when_it_does_not_answer() {
    let route = Route {
        registration: Registration { deregister: true, ..Registration::default() },
        ..Route::all(ACCESS, 0)
    };
    let mut world = World::new(Mapping { routes: vec![route], ..gateways(1) });
    let name = world.restarts(NAT, 1, PRIVATE);
    for _ in 0..5 {
        let sent = world.pass(seconds(25));
        let asked = sent.iter().find(|sent| sent.text().starts_with("AUEP ")).expect("a question");
        assert_eq!((endpoint(asked), asked.flow), (format!("aaln/1@{PRIVATE}"), gateway_at(NAT)));
        all_live(&mut world, sent);
    }
    world.pass(seconds(10));
    world.gateway_sends(NAT, &notify(20, PRIVATE));
    world.pass(seconds(20));
    assert!(world.shards[0].stats().keepalives_spared > 0);
    let sent = world.pass(seconds(120));
    let told = up(sent);
    assert_eq!(told[0].text().split(' ').next(), Some("RSIP"), "{}", told[0].text());
    assert_eq!(endpoint(&told[0]), format!("*@{name}"));
    assert!(told[0].text().contains("RM: forced"));
    assert!(told.iter().skip(1).all(|sent| sent.bytes == told[0].bytes), "repeated, since nobody answers");
    assert_eq!((world.gateways(), world.shards[0].stats().bindings_lost), (0, 1));
    let sent = up(world.gateway_sends(ELSEWHERE, &notify(21, PRIVATE)));
    assert!(sent[0].text().contains("RM: disconnected"), "{}", sent[0].text());
    assert_eq!((domain(&sent[1]), world.gateways()), (name, 1), "it is back, by another port");
}

#[test]
fn what_a_gateway_notifies_is_told_by_our_name_and_comes_back_as_it_was_written() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let mut number = 10;
    let mut shown = |world: &mut World, from: &str, verb: &str, lines: &str| {
        number += 1;
        let text = format!("{verb} {number} aaln/1@{name} MGCP 1.0\n{lines}");
        let sent = world.agent_sends(from, CORE_AT, &text).remove(0);
        sent.text().lines().find_map(|line| line.strip_prefix("N: ").map(str::to_owned))
    };
    for verb in ["RQNT", "EPCF", "CRCX", "MDCX", "DLCX"] {
        let entity = shown(&mut world, AGENT, verb, "X: 1\n");
        assert_eq!(entity.as_deref(), Some("ca0@[198.51.100.10]:2427"), "{verb}");
    }
    assert_eq!(shown(&mut world, AGENT, "AUEP", "F: N\n"), None, "audits change nothing");
    assert_eq!(shown(&mut world, AGENT, "CRCX", "M: recvonly\n"), None, "nothing is to be notified");
    let written = "ca@ca1.whatever.net:5678";
    let entity = shown(&mut world, AGENT, "RQNT", &format!("N: {written}\nX: 1\n")).expect("an entity");
    assert_eq!(entity, "ca1@[198.51.100.10]:2427");
    assert_eq!(shown(&mut world, AGENT, "RQNT", "X: 1\n"), None, "the last one still holds");
    let notify = format!("NTFY 91 aaln/1@{PRIVATE} MGCP 1.0\nN: {entity}\nX: 1\nO: hd\n");
    let sent = world.gateway_sends(NAT, &notify).remove(0);
    assert!(sent.text().contains(&format!("N: {written}\r\n")), "{}", sent.text());
    assert_eq!(sent.flow.remote, addr("10.0.0.30:5678"));
    assert_eq!(shown(&mut world, AGENT, "RQNT", "N:\nX: 1\n").as_deref(), Some("ca0@[198.51.100.10]:2427"));
    let other = shown(&mut world, AGENT, "RQNT", "N: x@[10.0.0.31]:2727\nX: 1\n").expect("an entity");
    let sent =
        world.gateway_sends(NAT, &notify.replace("NTFY 91", "NTFY 92").replace(&entity, &other)).remove(0);
    assert_eq!((sent.flow.remote, sent.text().contains("N: x@[10.0.0.31]:2727")), (addr(SECOND_AGENT), true));
    let sent = world
        .gateway_sends(NAT, &notify.replace("NTFY 91", "NTFY 93").replace(&entity, "ca99@[198.51.100.10]"));
    assert!(
        !sent[0].text().contains("198.51."),
        "one that was never named is not passed on: {}",
        sent[0].text()
    );
}

#[test]
fn an_audit_answers_with_names_and_entities_of_the_call_agents_side() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let audit = |number: u32| format!("AUEP {number} *@{name} MGCP 1.0\nF: N\n");
    let command = world.agent_sends(AGENT, CORE_AT, &audit(5)).remove(0);
    let lines = format!(
        "200 OK\nZ: aaln/1@{PRIVATE}, aaln/2@{PRIVATE}\nZ: aaln/3@{PRIVATE}\nN: ca7@[198.51.100.10]:2427\n"
    );
    let answer = world.answered(&command, &lines).remove(0);
    let wanted =
        format!("200 5 OK\r\nZ: aaln/1@{name}, aaln/2@{name}\r\nZ: aaln/3@{name}\r\nN: [10.0.0.30]:2727\r\n");
    assert_eq!(answer.text(), wanted);
}

#[test]
fn a_gateway_that_is_sent_to_another_call_agent_goes_there() {
    let mut world = World::new(gateways(1));
    let text = format!("RSIP 1 *@{PRIVATE} MGCP 1.0\nRM: restart\n");
    let sent = world.gateway_sends(NAT, &text).remove(0);
    let answer = world.answered(&sent, "521 Redirected\nN: ca@[10.0.0.31]:2727\n").remove(0);
    assert_eq!(answer.text(), "521 1 Redirected\r\nN: ca0@[198.51.100.10]:2427\r\n");
    let sent = world.gateway_sends(NAT, &text.replace("RSIP 1", "RSIP 2")).remove(0);
    assert_eq!(sent.flow.remote, addr(SECOND_AGENT));
    world.answered(&sent, "200 OK\n");
    assert_eq!(world.gateways(), 1);
}

#[test]
fn a_silent_call_agent_is_left_for_the_next_one() {
    let mut world = World::new(gateways(1));
    let text = format!("RSIP 1 *@{PRIVATE} MGCP 1.0\nRM: restart\n");
    let first = world.gateway_sends(NAT, &text).remove(0);
    world.pass(seconds(2));
    let again = world.gateway_sends(NAT, &text).remove(0);
    assert_eq!((again.flow.remote, &again.bytes), (addr(AGENT), &first.bytes), "the same number");
    world.pass(seconds(3));
    let sent = world.gateway_sends(NAT, &text).remove(0);
    assert_eq!((sent.flow.remote, &sent.bytes), (addr(SECOND_AGENT), &first.bytes));
    world.answered(&sent, "200 OK\n");
    let sent = world.gateway_sends(NAT, &notify(2, PRIVATE)).remove(0);
    assert_eq!(sent.flow.remote, addr(SECOND_AGENT), "and stays there");
    assert_eq!(world.shards[0].stats().failovers, 1);
}

#[test]
fn an_avalanche_of_restarts_reaches_the_call_agent_in_portions() {
    let mut world = World::new(gateways(1));
    let restart = |n: u32| format!("RSIP 1 *@gw{n}.example.org MGCP 1.0\nRM: restart\n");
    let passed =
        |world: &mut World| (0..1000).filter(|n| !world.gateway_sends(NAT, &restart(*n)).is_empty()).count();
    let first = passed(&mut world);
    assert_eq!(first, 400);
    assert_eq!(world.shards[0].stats().dropped(DropReason::Avalanche), 600);
    world.pass(seconds(1));
    let repeated = passed(&mut world);
    assert_eq!(repeated, 400 + 200, "those that passed are known, and more pass each second");
}

#[test]
fn a_realm_whose_media_ports_change_keeps_its_gateways_and_their_calls() {
    let mut world = World::new(gateways(4));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = |n: u32| {
        format!("CRCX {n} aaln/{n}@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"))
    };
    let made = world.agent_sends(AGENT, CORE_AT, &create(1)).remove(0);
    world.answered(&made, &format!("200 OK\nI: 1\n\n{}", audio("192.168.1.5:5004")));
    let pending = world.agent_sends(AGENT, CORE_AT, &create(2)).remove(0);
    let before = gateways(4);
    let mut realm = Realm::clone(&before.realms[0]);
    (realm.id, realm.media) = (RealmId(7), PortRange { first: 30_720, last: 31_743 });
    let realms = vec![Arc::new(realm), before.realms[1].clone()];
    world.reload(Mapping { generation: 2, realms, routes: vec![Route::all(RealmId(7), 0)], ..before });
    assert_eq!((world.gateways(), totals(&mut world).0), (1, 2));
    let answer =
        world.answered(&pending, &format!("200 OK\nI: 2\n\n{}", audio("192.168.1.5:5006"))).remove(0);
    assert!(answer.text().starts_with("200 2 "), "{}", answer.text());
    let again = up(world.gateway_sends(NAT, &notify(9, PRIVATE))).remove(0);
    assert_eq!(domain(&again), name, "it is the same one to its call agent");
    for n in 1..3 {
        let delete = format!("DLCX 1{n} aaln/{n}@{name} MGCP 1.0\nI: {n}\n");
        let sent = world.agent_sends(AGENT, CORE_AT, &delete).remove(0);
        assert_eq!(sent.flow.remote, addr(NAT));
        world.answered(&sent, "250 OK\n");
    }
    assert_eq!(totals(&mut world), (0, 0));
}

#[test]
fn a_reload_keeps_gateways_whose_place_is_still_there() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let kept = Softswitch { patience: seconds(9), ..Softswitch::clone(&gateways(1).softswitches[0]) };
    world.reload(Mapping { generation: 2, softswitches: vec![Arc::new(kept)], ..gateways(1) });
    let command = format!("RQNT 7 aaln/1@{name} MGCP 1.0\nX: 1\n");
    assert_eq!(world.agent_sends(AGENT, CORE_AT, &command)[0].flow.remote, addr(NAT));
    let create = format!("CRCX 8 aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"));
    let sent = world.agent_sends(AGENT, CORE_AT, &create).remove(0);
    world.answered(&sent, &format!("200 OK\nI: 1\n\n{}", audio("192.168.1.5:5004")));
    let gone = Mapping { generation: 3, routes: Vec::new(), softswitches: Vec::new(), ..gateways(1) };
    world.reload(gone);
    assert_eq!((totals(&mut world).0, world.gateways()), (1, 1), "its call goes on");
    let delete = format!("DLCX 9 aaln/1@{name} MGCP 1.0\nI: 1\n");
    let sent = world.agent_sends(AGENT, CORE_AT, &delete).remove(0);
    world.answered(&sent, "250 OK\n");
    assert_eq!(totals(&mut world).0, 0);
    world.pass(seconds(60));
    assert_eq!(world.gateways(), 0, "and then it is forgotten");
    let refused = world.gateway_sends(ELSEWHERE, &notify(3, PRIVATE)).remove(0);
    assert!(refused.text().starts_with("400 3 "), "{}", refused.text());
    assert_eq!(refused.flow.local, addr(ACCESS_AT));
}
