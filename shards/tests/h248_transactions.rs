//! H.248 transactions: each request is carried out at most once, identifiers are the sender's, and nothing is left.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::limits::Limits;
use portolan_shards::realm::Mapping;
use portolan_shards::wire::h248::{Body, Kind};
use std::net::SocketAddr;
use std::time::Duration;
use support::h248::{
    CONTROLLER, Dialect, MGC, PRIVATE, SECOND, accepted, audio, choose, command, error, gateway_at, h248,
    ids, media, mid, notify, read, reply, request, restart, text,
};
use support::{ACCESS, CORE, Sent, World, addr};

const NAT: &str = "203.0.113.7:40001";

fn modify(id: u32) -> String {
    request(MGC, id, "-", "Modify = aaln/1 { Events = 1 { al/of } }")
}

fn modified(id: u32) -> String {
    reply(PRIVATE, id, "-", "Modify = aaln/1")
}

fn transactions(world: &mut World) -> u64 {
    world.shards.iter_mut().map(|shard| shard.stats().transactions).sum()
}

fn ask(world: &mut World, home: SocketAddr, text: &str) -> Vec<Sent> {
    world.controller_sends(CONTROLLER, home, text.as_bytes())
}

fn kinds(sent: &Sent) -> Vec<Kind> {
    read(sent).transactions().iter().map(|transaction| transaction.kind).collect()
}

#[test]
fn a_request_is_carried_out_once_however_often_it_comes() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio("10.0.0.50:4000")));
        let add = request(MGC, 3, "$", &add);
        let first = ask(&mut world, home, &add).remove(0);
        let again = world.controller_sends("10.0.0.30:9999", home, add.as_bytes()).remove(0);
        assert_eq!(first.bytes, again.bytes, "sent on again as it was");
        let added = format!("Add = rtp/1 {{ {} }}", media("", &audio("192.168.1.5:5004"), ""));
        let answer = world.h248_answers(&first, reply(PRIVATE, 3, "1", &added).as_bytes()).remove(0);
        assert_eq!(answer.flow.remote, addr("10.0.0.30:9999"), "to where it was asked last");
        let told_again = world.h248_answers(&first, reply(PRIVATE, 3, "1", &added).as_bytes()).remove(0);
        assert_eq!(told_again.bytes, answer.bytes, "what was answered is not read twice");
        world.pass(Duration::from_secs(29));
        let repeated = ask(&mut world, home, &add);
        assert_eq!((repeated.len(), &repeated[0].bytes), (1, &answer.bytes), "answered from memory");
        assert_eq!(world.shards[0].stats().sessions, 1);
        world.pass(Duration::from_secs(32));
        assert_eq!(
            ask(&mut world, home, &modify(3))[0].flow.realm,
            ACCESS,
            "the identifier may be used again"
        );
    }
}

#[test]
fn another_controller_may_use_an_identifier_again() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let down = ask(&mut world, home, &modify(3)).remove(0);
        world.h248_answers(&down, modified(3).as_bytes());
        let down = world.controller_sends(SECOND, home, modify(3).as_bytes()).remove(0);
        assert_eq!(down.flow.remote, addr(NAT), "it is not answered by what the first one was told");
        let up = world.h248_answers(&down, modified(3).as_bytes()).remove(0);
        assert_eq!(up.flow.remote, addr(SECOND));
    }
}

#[test]
fn a_gateways_request_is_answered_from_memory_too() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        world.h248_restarts(NAT, PRIVATE);
        let up = world.h248_gateway_sends(NAT, notify(PRIVATE, 9).as_bytes()).remove(0);
        let again = world.h248_gateway_sends(NAT, notify(PRIVATE, 9).as_bytes()).remove(0);
        assert_eq!((&up.bytes, up.flow), (&again.bytes, again.flow));
        let back = world.h248_answers(&up, reply(MGC, 9, "-", "Notify = aaln/1").as_bytes()).remove(0);
        let repeated = world.h248_gateway_sends(NAT, notify(PRIVATE, 9).as_bytes()).remove(0);
        assert_eq!((repeated.bytes, repeated.flow), (back.bytes, gateway_at(NAT)));
    }
}

#[test]
fn equal_identifiers_of_different_gateways_and_directions_are_different_transactions() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(2));
        world.dialect = dialect;
        let nats = [NAT, "203.0.113.8:40001"];
        let homes = nats.map(|nat| world.h248_restarts(nat, PRIVATE));
        let down = homes.map(|home| ask(&mut world, home, &modify(7)).remove(0));
        let up = nats.map(|nat| world.h248_gateway_sends(nat, notify(PRIVATE, 7).as_bytes()).remove(0));
        for n in 0..2 {
            assert_eq!((down[n].flow.remote, up[n].flow.local), (addr(nats[n]), homes[n]));
            let told = world.h248_answers(&up[n], reply(MGC, 7, "-", "Notify = aaln/1").as_bytes()).remove(0);
            assert_eq!(told.flow.remote, addr(nats[n]));
            let told = world.h248_answers(&down[n], modified(7).as_bytes()).remove(0);
            assert_eq!(told.flow.local, homes[n]);
        }
    }
}

#[test]
fn several_transactions_of_a_message_are_parted_and_their_replies_split_and_merged() {
    let mut world = World::new(h248(1));
    let home = world.h248_restarts(NAT, PRIVATE);
    let body = |id: u32| format!("Transaction = {id} {{ Context = - {{ Modify = aaln/{id} }} }}\n");
    let all = format!("MEGACO/1 {MGC}\n{}{}{}", body(1), body(2), body(3));
    let down = ask(&mut world, home, &all);
    assert_eq!((down.len(), ids(&down[0])), (1, vec![1, 2, 3]), "one message stays one");
    let answer = |id: u32| format!("Reply = {id} {{ Context = - {{ Modify = aaln/{id} }} }}\n");
    let second = format!("MEGACO/1 {PRIVATE}\n{}", answer(2));
    let up = world.h248_answers(&down[0], second.as_bytes());
    assert_eq!((up.len(), ids(&up[0])), (1, vec![2]), "a reply may come alone");
    let again = ask(&mut world, home, &all);
    let of = |realm| again.iter().filter(move |sent| sent.flow.realm == realm).collect::<Vec<_>>();
    assert_eq!(of(CORE).iter().map(|sent| ids(sent)).collect::<Vec<_>>(), [[2]], "one is answered");
    assert_eq!(of(ACCESS).iter().map(|sent| ids(sent)).collect::<Vec<_>>(), [[1], [3]], "two are sent on");
    let rest = format!("MEGACO/1 {PRIVATE}\n{}{}{}", answer(1), answer(99), answer(3));
    let up = world.h248_answers(&down[0], rest.as_bytes());
    assert_eq!((up.len(), ids(&up[0])), (1, vec![1, 3]), "what nobody asked is left out");
    assert_eq!(world.shards[0].stats().dropped(DropReason::Unmatched), 1);
    let mixed = format!(
        "MEGACO/1 {PRIVATE}\n{}{}",
        answer(1),
        &notify(PRIVATE, 5)[8..].split_once('\n').expect("a line").1
    );
    let up = world.h248_gateway_sends(NAT, mixed.as_bytes());
    assert_eq!(up.iter().map(kinds).collect::<Vec<_>>(), [[Kind::Reply], [Kind::Request]]);
}

#[test]
fn pending_and_acknowledgements_pass() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let down = ask(&mut world, home, &modify(4)).remove(0);
        let pending = format!("MEGACO/1 {PRIVATE}\nPending = 4 {{ }}");
        let up = world.h248_answers(&down, pending.as_bytes()).remove(0);
        assert_eq!((kinds(&up), ids(&up), up.flow.remote), (vec![Kind::Pending], vec![4], addr(CONTROLLER)));
        let reply =
            format!("MEGACO/1 {PRIVATE}\nReply = 4 {{ ImmAckRequired, Context = - {{ Modify = aaln/1 }} }}");
        let up = world.h248_answers(&down, reply.as_bytes()).remove(0);
        assert!(read(&up).transactions()[0].ack_required);
        let repeated = world.h248_answers(&down, reply.as_bytes()).remove(0);
        assert_eq!(repeated.bytes, up.bytes, "until it is acknowledged");
        let ack = format!("MEGACO/1 {MGC}\nTransactionResponseAck {{ 4, 7-9 }}");
        let down = ask(&mut world, home, &ack).remove(0);
        let acks = read(&down).transactions()[0].acks.iter().map(|a| (a.first, a.last)).collect::<Vec<_>>();
        assert_eq!((acks, down.flow.remote), (vec![(4, 4), (7, 9)], addr(NAT)));
        assert!(
            world
                .h248_answers(&down, format!("MEGACO/1 {PRIVATE}\nPending = 77 {{ }}").as_bytes())
                .is_empty()
        );
    }
}

#[test]
fn a_reply_in_segments_is_read_to_its_end() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let add = |n: u32| {
            format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio(&format!("10.0.0.50:400{n}"))))
        };
        let all = request(MGC, 3, "$", &format!("{}, {}", add(0), add(2))).replace("MEGACO/1", "MEGACO/3");
        let down = ask(&mut world, home, &all).remove(0);
        let part = |segment: &str, n: u32| {
            let added =
                format!("Add = rtp/{n} {{ {} }}", media("", &audio(&format!("192.168.1.5:500{n}")), ""));
            format!("MEGACO/3 {PRIVATE}\nReply = 3/{segment} {{ Context = 1 {{ {added} }} }}")
        };
        let first = world.h248_answers(&down, part("1", 4).as_bytes()).remove(0);
        let second = world.h248_answers(&down, part("2/END", 6).as_bytes()).remove(0);
        assert_eq!(world.shards[0].stats().sessions, 2);
        let repeated = ask(&mut world, home, &all);
        assert_eq!(
            repeated.iter().map(|sent| sent.bytes.clone()).collect::<Vec<_>>(),
            [first.bytes, second.bytes]
        );
        let subtract = ask(&mut world, home, &request(MGC, 4, "1", "Subtract = *")).remove(0);
        world
            .h248_answers(&subtract, reply(PRIVATE, 4, "1", "Subtract = rtp/4, Subtract = rtp/6").as_bytes());
        assert_eq!(world.shards[0].stats().sessions, 0);
    }
}

#[test]
fn what_is_no_request_is_refused_by_the_protocols_own_codes() {
    let mut world = World::new(h248(1));
    let home = world.h248_restarts(NAT, PRIVATE);
    for (message, code) in [
        (format!("MEGACO/1 {PRIVATE}\nTransaction = 7 {{ Context = - {{ Notify = "), 403),
        (request(PRIVATE, 8, "-", "Add = aaln/1"), 443),
        (request(PRIVATE, 9, "-", "AuditValue = ROOT { Audit { } }"), 443),
    ] {
        let sent = world.h248_gateway_sends(NAT, message.as_bytes());
        assert_eq!(error(&sent[0]), Some(code), "{message}: {}", sent[0].text());
        assert_eq!((sent.len(), sent[0].flow.remote), (1, addr(NAT)));
    }
    let sent = world.h248_gateway_sends(NAT, format!("MEGACO/1 {PRIVATE}\nNonsense").as_bytes()).remove(0);
    let refused = read(&sent);
    assert!(matches!(refused.body, Body::Error(error) if error.code == 400), "{}", sent.text());
    for noise in [
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "\r\n".to_owned(),
        format!("MEGACO/1 {PRIVATE}\nReply = 7 {{ Context = "),
        format!("MEGACO/1 {PRIVATE}\nReply = 7 {{ Context = - {{ Modify = aaln/1 }} }}"),
    ] {
        assert!(world.h248_gateway_sends(NAT, noise.as_bytes()).is_empty(), "{noise}");
    }
    let sent = ask(&mut world, home, &request(MGC, 11, "-", "Notify = aaln/1")).remove(0);
    assert_eq!((error(&sent), mid(&sent).to_string()), (Some(443), format!("[10.0.0.10]:{}", home.port())));
    world.controller_sends(
        "10.0.0.30:2944",
        home,
        format!("MEGACO/1 {MGC}\nError = 400 {{ \"what\" }}").as_bytes(),
    );
}

#[test]
fn an_error_of_a_whole_message_passes() {
    let mut world = World::new(h248(1));
    let home = world.h248_restarts(NAT, PRIVATE);
    let message = format!("MEGACO/1 {MGC}\nError = 406 {{ \"Version Not Supported\" }}");
    let sent = ask(&mut world, home, &message).remove(0);
    assert_eq!(sent.flow.remote, addr(NAT));
    assert_eq!(sent.text(), message.replace(MGC, "[198.51.100.10]:2944"));
}

#[test]
fn our_own_audits_never_meet_identifiers_of_others() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let home = world.h248_restarts(NAT, PRIVATE);
        let question = world.pass(Duration::from_secs(25)).remove(0);
        let own = ids(&question)[0];
        assert!(ask(&mut world, home, &modify(own)).is_empty(), "it waits until ours is over");
        world.h248_answers(&question, reply(PRIVATE, own, "-", "AuditValue = ROOT").as_bytes());
        assert_eq!(ask(&mut world, home, &modify(own))[0].flow.realm, ACCESS);
    }
}

#[test]
fn tables_have_an_end() {
    for dialect in Dialect::ALL {
        let limits = Limits {
            transactions: 40,
            transactions_per_source: 5,
            bindings: 8,
            sessions: 2,
            ..Limits::default()
        };
        let mut world = World::new(Mapping { limits, ..h248(1) });
        world.dialect = dialect;
        let name = |n: u32| format!("[192.168.1.{n}]:2944");
        let refused = |sent: &[Sent]| sent[0].flow.realm == ACCESS && error(&sent[0]) == Some(510);
        let come = |world: &mut World, from: &str, n: u32| {
            world.h248_gateway_sends(from, restart(&name(n), 1).as_bytes())
        };
        let many = (0..9).filter(|n| refused(&come(&mut world, NAT, *n))).count();
        assert_eq!((many, world.shards[0].stats().dropped(DropReason::Quota)), (4, 4), "for one source");
        let many =
            (10..30).filter(|n| refused(&come(&mut world, &format!("203.0.113.{n}:2944"), *n))).count();
        assert_eq!(many, 17, "in all: of eight gateways five are there");
        world.pass(Duration::from_secs(100));
        let home = world.h248_restarts(NAT, PRIVATE);
        let add = format!("Add = $ {{ {} }}", media("SendReceive", &choose(), &audio("10.0.0.50:4000")));
        let answers = (1..5).map(|n| ask(&mut world, home, &request(MGC, n, "$", &add)).remove(0));
        let answers = answers.collect::<Vec<_>>();
        assert_eq!(answers.iter().filter(|sent| sent.flow.realm == CORE).count(), 2, "no session is left");
        for n in 10..60 {
            ask(&mut world, home, &modify(n));
        }
        assert!(transactions(&mut world) <= 40);
        world.shards[0].drain();
        world.pass(Duration::from_secs(100));
        let sent = ask(&mut world, home, &request(MGC, 70, "$", &add)).remove(0);
        assert_eq!(error(&sent), Some(503), "{}", sent.text());
    }
}

#[test]
fn ports_of_gateways_have_an_end() {
    for dialect in Dialect::ALL {
        let mut mapping = h248(1);
        let two = portolan_shards::realm::PortRange { first: 30_000, last: 30_001 };
        let core = portolan_shards::realm::Realm { gateways: Some(two), ..(*mapping.realms[1]).clone() };
        mapping.realms[1] = std::sync::Arc::new(core);
        let mut world = World::new(mapping);
        world.dialect = dialect;
        let homes = [1, 2].map(|n| world.h248_restarts(&format!("203.0.113.{n}:2944"), PRIVATE));
        assert_ne!(homes[0], homes[1]);
        let sent = world.h248_gateway_sends("203.0.113.3:2944", restart(PRIVATE, 1).as_bytes()).remove(0);
        assert_eq!((sent.flow.realm, error(&sent)), (ACCESS, Some(510)));
    }
}

#[test]
fn a_network_that_nobody_accepts_does_not_take_all_ports() {
    let mut mapping = h248(1);
    let forty = portolan_shards::realm::PortRange { first: 30_000, last: 30_039 };
    let core = portolan_shards::realm::Realm { gateways: Some(forty), ..(*mapping.realms[1]).clone() };
    mapping.realms[1] = std::sync::Arc::new(core);
    let mut world = World::new(mapping);
    let come = |world: &mut World, from: &str, n: u32| {
        let name = format!("[192.168.1.{n}]:2944");
        world.h248_gateway_sends(from, restart(&name, 1).as_bytes()).remove(0)
    };
    let passed = (0..40).filter(|n| come(&mut world, NAT, *n).flow.realm == CORE).count();
    assert_eq!((passed, world.shards[0].stats().dropped(DropReason::Quota)), (10, 30));
    let other = come(&mut world, "203.0.113.99:2944", 1);
    assert_eq!(other.flow.realm, CORE, "others find room");
    world.pass(Duration::from_secs(61));
    assert_eq!(come(&mut world, NAT, 50).flow.realm, CORE, "and so does it when those are forgotten");
    let accepted_one = come(&mut world, NAT, 51);
    world.h248_answers(&accepted_one, accepted(MGC, 1).as_bytes());
    let more = (60..80).filter(|n| come(&mut world, NAT, *n).flow.realm == CORE).count();
    assert_eq!(more, 9, "one that was accepted is not counted");
}

#[test]
fn short_tokens_comments_and_unknown_things_pass_as_they_are() {
    let mut world = World::new(h248(1));
    let home = world.h248_restarts(NAT, PRIVATE);
    let body = "T=51{C=-{ ; a comment { with braces }\r\n W-MF=aaln/1{E=2{al/of{strict=state},x-own/thing{a=\"b}c\"}},\
                X-EXT=7{anything,at=all},DM=d0{(0|00)}}}}";
    let down = ask(&mut world, home, &format!("!/2 {MGC} {body}")).remove(0);
    assert_eq!(down.text(), format!("!/2 [198.51.100.10]:2944 {body}"));
    let answer = format!("!/2 {PRIVATE} P=51{{C=-{{MF=aaln/1}}}}");
    let up = world.h248_answers(&down, answer.as_bytes()).remove(0);
    assert_eq!(up.text(), format!("!/2 [10.0.0.10]:{} P=51{{C=-{{MF=aaln/1}}}}", home.port()));
    let escaped = "v=0\r\nc=IN IP4 10.0.0.50\r\nm=audio 4000 RTP/AVP 0\r\na=x:{a\\}b\r\n";
    let add = request(MGC, 52, "$", &format!("Add = $ {{ {} }}", media("SendReceive", &choose(), escaped)));
    let down = ask(&mut world, home, &add).remove(0);
    assert!(down.text().contains("a=x:{a\\}b"), "{}", down.text());
    assert_eq!(command(&down).streams.len(), 1);
}

#[test]
fn a_message_for_no_gateway_is_refused() {
    for dialect in Dialect::ALL {
        let mut world = World::new(h248(1));
        world.dialect = dialect;
        let sent = world.h248_gateway_sends(NAT, restart(PRIVATE, 1).as_bytes()).remove(0);
        world.h248_answers(&sent, accepted(MGC, 1).as_bytes());
        let stranger = world.controller_sends("10.0.0.99:2944", sent.flow.local, modify(3).as_bytes());
        assert!(stranger.is_empty(), "who is no controller is not heard");
        let nobody = text(MGC, "Reply", 9, "Context = - { Modify = aaln/1 }");
        assert!(ask(&mut world, sent.flow.local, &nobody).is_empty());
    }
}
