//! H.248 gateways behind NAT: how they become known, where they are for their controller, and how they are kept.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::realm::{
    Authentication, Mapping, PortRange, Realm, Registration, Route, Server, Softswitch,
};
use portolan_shards::types::{Flow, RealmId, Transport};
use portolan_shards::wire::h248::{Kind, Method, Mid, Verb};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::call::totals;
use support::h248::{
    ACCESS_AT, CONTROLLER, Dialect, MGC, PRIVATE, SECOND, accepted, audio, choose, command, error,
    gateway_at, h248, ids, media, mid, notify, read, reply, request, restart, shows,
};
use support::{ACCESS, CORE, Sent, World, addr};

const NAT: &str = "203.0.113.7:40001";
/// The same NAT, another port.
const ELSEWHERE: &str = "203.0.113.7:40999";
/// Another number of the access realm.
const RENUMBERED: RealmId = RealmId(7);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What went to the core side.
fn up(sent: Vec<Sent>) -> Vec<Sent> {
    sent.into_iter().filter(|sent| sent.flow.realm == CORE).collect()
}

/// Is it our own question whether a gateway lives?
fn asks(sent: &Sent) -> bool {
    let message = read(sent);
    let transaction = &message.transactions()[0];
    transaction.kind == Kind::Request
        && transaction.commands().all(|(_, c)| c.verb == Verb::AuditValue && c.audit.is_some_and(|a| a.empty))
}

/// A gateway answers such a question.
fn lives(world: &mut World, asked: &Sent, name: &str) -> Vec<Sent> {
    assert!(asks(asked) && ids(asked)[0] >= 0xF000_0000, "{}", asked.text());
    world.h248_answers(asked, reply(name, ids(asked)[0], "-", "AuditValue = ROOT").as_bytes())
}

/// The controller sends something that changes nothing: where it goes.
fn asked(world: &mut World, home: SocketAddr, id: u32) -> Sent {
    let audit = request(MGC, id, "-", "AuditValue = ROOT { Audit { } }");
    world.controller_sends(CONTROLLER, home, audit.as_bytes()).remove(0)
}

#[test]
fn a_restart_makes_a_gateway_known_once_its_controller_has_accepted_it() {
    let mut world = World::new(h248(2));
    let sent = up(world.h248_gateway_sends(NAT, restart(PRIVATE, 77).as_bytes())).remove(0);
    assert_eq!((sent.flow.remote, ids(&sent)), (addr(CONTROLLER), vec![77]));
    assert_eq!(mid(&sent), Mid::of(sent.flow.local));
    assert!(
        sent.flow.local.ip() == addr("10.0.0.10:0").ip()
            && (30_000..34_000).contains(&sent.flow.local.port())
    );
    let change = command(&sent).service_change.expect("a ServiceChange");
    assert_eq!((change.method, change.reason, change.address), (Some(Method::Restart), Some(901), None));
    let name = format!("[10.0.0.10]:{}", sent.flow.local.port());
    let seen = sent.text().replace(&name, PRIVATE);
    let bare = restart(PRIVATE, 77).replace("ServiceChangeAddress = 2944, ", "");
    assert_eq!(seen.split_whitespace().collect::<String>(), bare.split_whitespace().collect::<String>());
    assert_eq!(world.h248_gateways(), 0);
    let back = world.h248_answers(&sent, accepted(MGC, 77).as_bytes()).remove(0);
    assert_eq!((back.flow, mid(&back).to_string().as_str()), (gateway_at(NAT), "[198.51.100.10]:2944"));
    assert_eq!(back.text().replace("[198.51.100.10]:2944", MGC), accepted(MGC, 77), "all else is as it was");
    assert_eq!(world.h248_gateways(), 1);
}

#[test]
fn one_that_was_not_accepted_is_forgotten_and_its_address_is_given_back() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let listeners = world.listeners.len();
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes()).remove(0);
        assert_eq!(world.listeners.len(), listeners + 1);
        let refused = reply(MGC, 1, "-", "ServiceChange = ROOT { Error = 402 { \"who is that\" } }");
        let back = world.h248_answers(&sent, refused.as_bytes()).remove(0);
        assert_eq!(command(&back).error.map(|error| error.code), Some(402));
        assert!(world.pass(seconds(100)).is_empty(), "not kept alive");
        assert_eq!((world.listeners.len(), world.h248_gateways()), (listeners, 0));
        assert_eq!(world.shards[0].stats().transactions, 0);
        assert_eq!(
            world.h248_restarts(NAT, PRIVATE),
            sent.flow.local,
            "who comes again is at the same place"
        );
    }
}

#[test]
fn gateways_of_one_address_behind_different_nats_are_different_gateways() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(4));
        world.dialect = dialect;
        let nats = ["203.0.113.7:40001", "203.0.113.8:40001", "203.0.113.9:2944", "203.0.113.10:2944"];
        let homes = nats.map(|nat| world.h248_restarts(nat, PRIVATE));
        let distinct = homes.iter().collect::<std::collections::HashSet<_>>();
        assert_eq!(distinct.len(), nats.len(), "{homes:?}");
        for (home, nat) in homes.into_iter().zip(nats) {
            let sent = asked(&mut world, home, 5);
            assert_eq!((sent.flow.remote, ids(&sent)), (addr(nat), vec![5]));
            let text = reply(PRIVATE, 5, "-", "AuditValue = ROOT");
            let answer = world.h248_answers(&sent, text.as_bytes()).remove(0);
            assert_eq!((answer.flow.local, mid(&answer)), (home, Mid::of(home)));
        }
    }
}

#[test]
fn gateways_of_one_name_behind_one_nat_are_told_apart_once_the_first_has_answered() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(2));
        world.dialect = dialect;
        let first = world.h248_restarts(NAT, PRIVATE);
        world.pass(seconds(1));
        let sent = world.h248_gateway_sends(ELSEWHERE, restart(PRIVATE, 1).as_bytes());
        assert_eq!((sent.len(), sent[0].flow.remote), (1, addr(NAT)), "the known one is asked first");
        let sent = up(lives(&mut world, &sent[0], PRIVATE)).remove(0);
        let second = sent.flow.local;
        assert_ne!(second, first);
        world.h248_answers(&sent, accepted(MGC, 1).as_bytes());
        assert_eq!(world.h248_gateways(), 2);
        for (home, at) in [(first, NAT), (second, ELSEWHERE)] {
            assert_eq!(asked(&mut world, home, 7).flow.remote, addr(at));
            let sent = up(world.h248_gateway_sends(at, notify(PRIVATE, 30).as_bytes())).remove(0);
            assert_eq!(sent.flow.local, home);
        }
    }
}

#[test]
fn a_gateway_whose_nat_has_forgotten_it_is_known_again_and_its_call_goes_with_it() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio("10.0.0.50:4000")));
        let down = world.controller_sends(CONTROLLER, home, request(MGC, 3, "$", &add).as_bytes()).remove(0);
        let added = format!("Add = rtp/1 {{ {} }}", media("", &audio("192.168.1.5:5004"), ""));
        world.h248_answers(&down, reply(PRIVATE, 3, "1", &added).as_bytes());
        world.pass(seconds(1));
        assert!(up(world.h248_gateway_sends(ELSEWHERE, notify(PRIVATE, 9).as_bytes())).is_empty());
        let sent = up(world.pass(seconds(3)));
        assert_eq!((sent.len(), sent[0].flow.local), (1, home), "its request waited");
        let back = world.h248_answers(&sent[0], reply(MGC, 9, "-", "Notify = aaln/1").as_bytes()).remove(0);
        assert_eq!((back.flow.remote, ids(&back)), (addr(ELSEWHERE), vec![9]));
        let subtract = request(MGC, 4, "1", "Subtract = rtp/1");
        let sent = world.controller_sends(CONTROLLER, home, subtract.as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr(ELSEWHERE));
        world.h248_answers(&sent, reply(PRIVATE, 4, "1", "Subtract = rtp/1").as_bytes());
        assert_eq!((totals(&mut world), world.h248_gateways()), ((0, 0), 1));
        assert_eq!(world.shards[0].stats().gateways_moved, 1);
    }
}

#[test]
fn an_answer_may_come_by_another_port() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        asked(&mut world, home, 5);
        let text = reply(PRIVATE, 5, "-", "AuditValue = ROOT");
        let sent = up(world.h248_gateway_sends(ELSEWHERE, text.as_bytes()));
        assert_eq!((sent[0].flow.local, ids(&sent[0])), (home, vec![5]));
        assert_eq!(asked(&mut world, home, 6).flow.remote, addr(NAT), "that alone moves nobody");
    }
}

#[test]
fn nobody_takes_the_place_of_a_gateway_that_answers() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, "<gw1.example.org>:2944");
        world.pass(seconds(1));
        let question = world.h248_gateway_sends(ELSEWHERE, notify("<GW1.example.org>:2944", 9).as_bytes());
        let sent = up(lives(&mut world, &question[0], "<gw1.example.org>:2944")).remove(0);
        assert_ne!(sent.flow.local, home, "another one of the name is elsewhere");
        let stranger = "192.0.2.66:2944";
        let sent =
            up(world.h248_gateway_sends(stranger, notify("<gw1.example.org>:2944", 9).as_bytes())).remove(0);
        assert_ne!(sent.flow.local, home, "and so is one from another address");
        assert_eq!(asked(&mut world, home, 7).flow.remote, addr(NAT));
    }
}

#[test]
fn a_stranger_does_not_take_the_place_of_a_gateway_that_its_nat_has_just_moved() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        world.pass(seconds(1));
        let sent = world.h248_gateway_sends(ELSEWHERE, notify(PRIVATE, 10).as_bytes());
        assert!(sent.iter().all(asks) && sent[0].flow == gateway_at(NAT), "the old place is asked first");
        let namesake = world.h248_gateway_sends("203.0.113.7:41000", notify(PRIVATE, 9).as_bytes());
        assert!(namesake.is_empty(), "one is examined at a time");
        assert_eq!(world.shards[0].stats().dropped(DropReason::Avalanche), 1);
        let stranger = up(world.h248_gateway_sends("192.0.2.66:2944", notify(PRIVATE, 9).as_bytes()));
        assert_ne!(stranger[0].flow.local, home, "from another address it is another gateway");
        let sent = up(world.pass(seconds(3)));
        assert_eq!((sent.len(), sent[0].flow.local, ids(&sent[0])), (1, home, vec![10]));
        assert_eq!(asked(&mut world, home, 7).flow.remote, addr(ELSEWHERE));
    }
}

#[test]
fn a_gateway_is_asked_while_it_is_silent_and_is_down_when_it_does_not_answer() {
    for dialect in Dialect::ALL {
        let route = Route {
            registration: Registration { deregister: true, ..Registration::default() },
            ..Route::all(ACCESS, 0)
        };
        let mut world = World::new(Mapping { routes: vec![route], ..h248(1) });
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        for _ in 0..5 {
            let sent = world.pass(seconds(25));
            let question = sent.iter().find(|sent| asks(sent)).expect("a question").clone();
            assert_eq!(
                (question.flow, mid(&question).to_string().as_str()),
                (gateway_at(NAT), "[198.51.100.10]:2944")
            );
            assert!(lives(&mut world, &question, PRIVATE).is_empty(), "its answer is for us alone");
        }
        world.pass(seconds(10));
        world.h248_gateway_sends(NAT, notify(PRIVATE, 20).as_bytes());
        world.pass(seconds(20));
        assert!(world.shards[0].stats().keepalives_spared > 0);
        let told = up(world.pass(seconds(120)));
        let change = command(&told[0]).service_change.expect("a ServiceChange");
        assert_eq!((change.method, change.reason), (Some(Method::Forced), Some(906)), "{}", told[0].text());
        assert!(command(&told[0]).terminations[0].is_root() && told[0].flow.local == home);
        assert!(
            told.iter().skip(1).all(|sent| sent.bytes == told[0].bytes),
            "repeated, since nobody answers"
        );
        assert_eq!((world.h248_gateways(), world.shards[0].stats().bindings_lost), (0, 1));
        let sent = up(world.h248_gateway_sends(ELSEWHERE, notify(PRIVATE, 21).as_bytes()));
        let change = command(&sent[0]).service_change.expect("a ServiceChange");
        assert_eq!(change.method, Some(Method::Disconnected));
        assert_eq!((sent[1].flow.local, world.h248_gateways()), (home, 1), "it is back, by another port");
    }
}

#[test]
fn a_controller_that_names_another_one_is_believed_and_stays_unseen() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes()).remove(0);
        let redirect = "ServiceChange = ROOT { Services { MgcIdToTry = [10.0.0.31]:2944, Version = 1 } }";
        let back = world.h248_answers(&sent, reply(MGC, 1, "-", redirect).as_bytes()).remove(0);
        let change = command(&back).service_change.expect("a ServiceChange");
        assert_eq!(change.mgc.map(|mgc| mgc.to_string()).as_deref(), Some("[198.51.100.10]:2944"));
        assert_eq!(world.h248_gateways(), 0, "it is not accepted there");
        let again = world.h248_gateway_sends(NAT, restart(PRIVATE, 2).as_bytes()).remove(0);
        assert_eq!((again.flow.remote, again.flow.local), (addr(SECOND), sent.flow.local));
        world.h248_answers(&again, accepted("[10.0.0.31]:2944", 2).as_bytes());
        assert_eq!(world.h248_gateways(), 1);
        let sent = world.h248_gateway_sends(NAT, notify(PRIVATE, 3).as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr(SECOND), "and stays there");
    }
}

#[test]
fn a_controller_that_names_itself_has_accepted_the_gateway() {
    for (writes, names) in
        [("controller", "controller"), (MGC, MGC), ("controller", MGC), (MGC, "[10.0.0.30]")]
    {
        let mut world = World::new(h248(1));
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes()).remove(0);
        let itself = format!("ServiceChange = ROOT {{ Services {{ MgcIdToTry = {names} }} }}");
        let back = world.h248_answers(&sent, reply(writes, 1, "-", &itself).as_bytes()).remove(0);
        let change = command(&back).service_change.expect("a ServiceChange");
        assert_eq!(change.mgc.map(|mgc| mgc.to_string()).as_deref(), Some("[198.51.100.10]:2944"));
        assert_eq!(world.h248_gateways(), 1, "{writes} {names}");
        let sent = world.h248_gateway_sends(NAT, notify(PRIVATE, 3).as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr(CONTROLLER), "{writes} {names}");
    }
}

#[test]
fn a_controller_that_wants_requests_elsewhere_gets_them_there() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes()).remove(0);
        let there = "ServiceChange = ROOT { Services { ServiceChangeAddress = 55555, Profile = resgw/1 } }";
        let back = world.h248_answers(&sent, reply(MGC, 1, "-", there).as_bytes()).remove(0);
        let change = command(&back).service_change.expect("a ServiceChange");
        assert_eq!(change.address, None, "{}", back.text());
        assert!(dialect != Dialect::Text || change.profile.is_some());
        let sent = world.h248_gateway_sends(NAT, notify(PRIVATE, 3).as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr("10.0.0.30:55555"));
        let away = "ServiceChange = ROOT { Services { ServiceChangeAddress = [192.0.2.1]:2944 } }";
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 4).as_bytes()).remove(0);
        let back = world.h248_answers(&sent, reply(MGC, 4, "-", away).as_bytes()).remove(0);
        assert!(!shows(&back, "192.0.2.1"), "{}", back.text());
        let sent = world.h248_gateway_sends(NAT, notify(PRIVATE, 5).as_bytes()).remove(0);
        assert_eq!(
            sent.flow.remote,
            addr("10.0.0.30:55555"),
            "who is no server of the softswitch is not asked"
        );
    }
}

#[test]
fn a_gateway_that_is_handed_over_goes_to_the_other_controller() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let hand_off = "ServiceChange = ROOT { Services { Method = HandOff, Reason = \"903 MGC directed change\", \
                    MgcIdToTry = [10.0.0.31]:2944 } }";
        let sent =
            world.controller_sends(CONTROLLER, home, request(MGC, 8, "-", hand_off).as_bytes()).remove(0);
        let change = command(&sent).service_change.expect("a ServiceChange");
        assert_eq!((change.method, change.reason), (Some(Method::HandOff), Some(903)));
        assert_eq!(change.mgc.map(|mgc| mgc.to_string()).as_deref(), Some("[198.51.100.10]:2944"));
        assert!(!shows(&sent, "10.0.0.31"));
        world.h248_answers(&sent, reply(PRIVATE, 8, "-", "ServiceChange = ROOT").as_bytes());
        let sent = world
            .h248_gateway_sends(NAT, restart(PRIVATE, 9).replace("Restart", "HandOff").as_bytes())
            .remove(0);
        assert_eq!((sent.flow.remote, sent.flow.local), (addr(SECOND), home));
    }
}

#[test]
fn a_silent_controller_is_left_for_the_next_one() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let text = restart(PRIVATE, 1);
        let first = world.h248_gateway_sends(NAT, text.as_bytes()).remove(0);
        world.pass(seconds(2));
        let again = world.h248_gateway_sends(NAT, text.as_bytes()).remove(0);
        assert_eq!((again.flow.remote, &again.bytes), (addr(CONTROLLER), &first.bytes), "the same request");
        world.pass(seconds(3));
        let sent = world.h248_gateway_sends(NAT, text.as_bytes()).remove(0);
        assert_eq!((sent.flow.remote, &sent.bytes), (addr(SECOND), &first.bytes));
        world.h248_answers(&sent, accepted("[10.0.0.31]:2944", 1).as_bytes());
        let sent = world.h248_gateway_sends(NAT, notify(PRIVATE, 2).as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr(SECOND), "and stays there");
        assert_eq!(world.shards[0].stats().failovers, 1);
        let failover =
            restart(PRIVATE, 3).replace("Restart", "Failover").replace("901 Cold Boot", "909 MGC fails");
        let sent = world.h248_gateway_sends(NAT, failover.as_bytes()).remove(0);
        assert_eq!(sent.flow.remote, addr(CONTROLLER), "the gateway says that its own one has failed");
    }
}

#[test]
fn an_avalanche_of_restarts_reaches_the_controller_in_portions() {
    let mut world = World::new(h248(1));
    let name = |n: u32| format!("[192.168.{}.{}]:2944", n / 250, n % 250);
    let passed = |world: &mut World| {
        let goes = |n: &u32| up(world.h248_gateway_sends(NAT, restart(&name(*n), 1).as_bytes())).len() == 1;
        (0..1000).filter(goes).count()
    };
    let first = passed(&mut world);
    assert_eq!(first, 400);
    assert_eq!(world.shards[0].stats().dropped(DropReason::Avalanche), 600);
    world.pass(seconds(1));
    assert_eq!(passed(&mut world), 400 + 200, "those that passed are known, and more pass each second");
}

#[test]
fn a_signed_message_is_refused_or_loses_its_signature() {
    let signed =
        |text: String| format!("Authentication = 0x01020304:0x00000001:0x0102030405060708090a0b0c\n{text}");
    let mut world = World::new(h248(1));
    let refused = world.h248_gateway_sends(NAT, signed(restart(PRIVATE, 1)).as_bytes()).remove(0);
    assert_eq!((refused.flow.realm, error(&refused)), (ACCESS, Some(402)), "{}", refused.text());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Signed), 1);
    let mut mapping = h248(1);
    let strip = Realm { authentication: Authentication::Strip, ..Realm::clone(&mapping.realms[0]) };
    mapping.realms[0] = Arc::new(strip);
    let mut world = World::new(mapping);
    let sent = world.h248_gateway_sends(NAT, signed(restart(PRIVATE, 1)).as_bytes()).remove(0);
    assert!(sent.flow.realm == CORE && sent.text().starts_with("MEGACO/1 "), "{}", sent.text());
}

#[test]
fn a_reload_keeps_gateways_whose_place_is_still_there() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let kept = Softswitch { patience: seconds(9), ..Softswitch::clone(&h248(1).softswitches[0]) };
        world.reload(Mapping { generation: 2, softswitches: vec![Arc::new(kept)], ..h248(1) });
        assert_eq!(asked(&mut world, home, 7).flow.remote, addr(NAT));
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio("10.0.0.50:4000")));
        let down = world.controller_sends(CONTROLLER, home, request(MGC, 8, "$", &add).as_bytes()).remove(0);
        let added = format!("Add = rtp/1 {{ {} }}", media("", &audio("192.168.1.5:5004"), ""));
        world.h248_answers(&down, reply(PRIVATE, 8, "1", &added).as_bytes());
        world.reload(Mapping { generation: 3, routes: Vec::new(), softswitches: Vec::new(), ..h248(1) });
        assert_eq!((totals(&mut world).0, world.h248_gateways()), (1, 1), "its call goes on");
        let subtract = request(MGC, 9, "1", "Subtract = rtp/1");
        let sent = world.controller_sends(CONTROLLER, home, subtract.as_bytes()).remove(0);
        world.h248_answers(&sent, reply(PRIVATE, 9, "1", "Subtract = rtp/1").as_bytes());
        assert_eq!(totals(&mut world).0, 0);
        world.pass(seconds(60));
        assert_eq!(world.h248_gateways(), 0, "and then it is gone");
        assert!(world.listeners.iter().all(|(_, listener)| listener.address != home));
    }
}

/// The access realm has another number.
fn renumbered(before: &Mapping, generation: u64) -> Mapping {
    let realm = Realm { id: RENUMBERED, ..Realm::clone(&before.realms[0]) };
    let realms = vec![Arc::new(realm), before.realms[1].clone()];
    Mapping { generation, realms, routes: vec![Route::all(RENUMBERED, 0)], ..before.clone() }
}

#[test]
fn a_gateway_of_a_renumbered_realm_is_charged_only_while_nobody_has_accepted_it() {
    for accepts in [false, true] {
        let mut mapping = h248(1);
        let four = Some(PortRange { first: 30_000, last: 30_003 });
        mapping.realms[1] = Arc::new(Realm { gateways: four, ..Realm::clone(&mapping.realms[1]) });
        let mut world = World::new(mapping.clone());
        let first = up(world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes())).remove(0);
        let other = |id| restart("[192.168.1.6]:2944", id);
        let refused = world.h248_gateway_sends(NAT, other(1).as_bytes()).remove(0);
        assert_eq!(error(&refused), Some(510), "one of four addresses at the most");
        world.reload(renumbered(&mapping, 2));
        if accepts {
            world.h248_answers(&first, accepted(MGC, 1).as_bytes());
        } else {
            world.pass(seconds(100));
        }
        assert_eq!(world.h248_gateways(), u64::from(accepts));
        world.reload(Mapping { generation: 3, ..mapping });
        assert_eq!(up(world.h248_gateway_sends(NAT, other(2).as_bytes())).len(), 1, "{accepts}");
    }
}

#[test]
fn who_is_examined_while_its_realm_is_renumbered_is_known_there() {
    let mut world = World::new(h248(1));
    let home = world.h248_restarts(NAT, PRIVATE);
    world.pass(seconds(1));
    world.h248_gateway_sends(ELSEWHERE, notify(PRIVATE, 9).as_bytes());
    world.reload(renumbered(&h248(1), 2));
    assert_eq!(up(world.pass(seconds(3))).len(), 1);
    let sent = asked(&mut world, home, 7);
    assert_eq!((sent.flow.realm, sent.flow.remote), (RENUMBERED, addr(ELSEWHERE)));
}

/// Controllers that are reached by TCP.
fn by_tcp(shards: u16) -> Mapping {
    let tcp = |at: &str| Server { transport: Transport::Tcp, ..Server::udp(addr(at)) };
    let controller = Softswitch {
        targets: vec![tcp(CONTROLLER), tcp(SECOND)],
        ..Softswitch::clone(&h248(1).softswitches[0])
    };
    Mapping { softswitches: vec![Arc::new(controller)], ..h248(shards) }
}

fn connects(world: &mut World, from: &str) -> Flow {
    let at = |(_, l): &&(_, portolan_shards::io::Listener)| {
        l.transport == Transport::Tcp && l.address == addr(ACCESS_AT)
    };
    let listener = world.listeners.iter().find(at).expect("a listener").1;
    world.shards[0].accepted(world.now, &listener, addr(from)).expect("a connection")
}

#[test]
fn each_gateway_has_a_connection_of_its_own_to_its_controller() {
    for dialect in Dialect::ALL {
        let mut world = World::new(by_tcp(2));
        world.dialect = dialect;
        let nats = ["203.0.113.7:40001", "203.0.113.8:40001"];
        let flows = nats.map(|nat| connects(&mut world, nat));
        let sent = flows.map(|flow| up(world.h248_comes(flow, restart(PRIVATE, 1).as_bytes())).remove(0));
        assert_eq!(world.dialled.len(), 2);
        assert!(sent[0].flow != sent[1].flow && mid(&sent[0]) != mid(&sent[1]));
        for (sent, flow) in sent.iter().zip(flows) {
            assert_eq!((sent.flow.transport, sent.flow.remote), (Transport::Tcp, addr(CONTROLLER)));
            assert_eq!(&sent.bytes[..2], &[3, 0], "within a TPKT");
            let back = world.h248_answers(sent, accepted(MGC, 1).as_bytes()).remove(0);
            assert_eq!((back.flow, &back.bytes[..2]), (flow, &[3, 0][..]));
        }
        assert_eq!(world.h248_gateways(), 2);
        let audit = request(MGC, 5, "-", "AuditValue = ROOT { Audit { } }");
        let down = world.h248_answers(&sent[1], audit.as_bytes()).remove(0);
        assert_eq!(down.flow, flows[1]);
    }
}

#[test]
fn a_gateway_that_is_sent_to_another_controller_leaves_its_connection() {
    for dialect in Dialect::ALL {
        let mut world = World::new(by_tcp(1));
        world.dialect = dialect;
        let flow = connects(&mut world, NAT);
        let first = up(world.h248_comes(flow, restart(PRIVATE, 1).as_bytes())).remove(0);
        let redirect = "ServiceChange = ROOT { Services { MgcIdToTry = [10.0.0.31]:2944, Version = 1 } }";
        world.h248_answers(&first, reply(MGC, 1, "-", redirect).as_bytes());
        let second = up(world.h248_comes(flow, restart(PRIVATE, 2).as_bytes())).remove(0);
        assert_eq!((second.flow.remote, &world.hung_up[..]), (addr(SECOND), &[first.flow][..]));
    }
}

#[test]
fn a_gateway_whose_connection_has_ended_is_known_by_the_next_one() {
    for dialect in Dialect::ALL {
        let mut world = World::new(by_tcp(2));
        world.dialect = dialect;
        let first = connects(&mut world, NAT);
        let sent = up(world.h248_comes(first, restart(PRIVATE, 1).as_bytes())).remove(0);
        world.h248_answers(&sent, accepted(MGC, 1).as_bytes());
        world.closes(first);
        assert_eq!(world.h248_gateways(), 0);
        let audit = request(MGC, 5, "-", "AuditValue = ROOT { Audit { } }");
        let refused = world.h248_answers(&sent, audit.as_bytes()).remove(0);
        assert_eq!((refused.flow, error(&refused)), (sent.flow, Some(503)), "nobody can reach it");
        let second = connects(&mut world, ELSEWHERE);
        let back = restart(PRIVATE, 2).replace("Restart", "Disconnected");
        let again = up(world.h248_comes(second, back.as_bytes())).remove(0);
        assert_eq!((again.flow, mid(&again)), (sent.flow, mid(&sent)), "the same gateway to its controller");
        assert_eq!(world.h248_gateways(), 1);
    }
}

#[test]
fn a_controller_that_cannot_be_reached_is_left_for_the_next_one() {
    for dialect in Dialect::ALL {
        let mut world = World::new(by_tcp(1));
        world.dialect = dialect;
        let flow = connects(&mut world, NAT);
        let first = up(world.h248_comes(flow, restart(PRIVATE, 1).as_bytes())).remove(0);
        let sent = up(world.closes(first.flow));
        assert_eq!(
            (sent.len(), sent[0].flow.remote),
            (1, addr(SECOND)),
            "what was not answered is sent there"
        );
        assert_eq!((&sent[0].bytes, world.dialled.len()), (&first.bytes, 2));
        let mut last = sent[0].clone();
        for _ in 0..5 {
            let Some(sent) = up(world.closes(last.flow)).pop() else { break };
            last = sent;
        }
        assert!(world.dialled.len() <= 4, "not for ever: {}", world.dialled.len());
    }
}
