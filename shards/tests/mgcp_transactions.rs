//! MGCP transactions: each command is carried out at most once, each hop has its own numbers, and nothing is left.

mod support;

use portolan_shards::io::DropReason;
use portolan_shards::limits::Limits;
use portolan_shards::realm::Mapping;
use std::time::Duration;
use support::gateways::{AGENT, CORE_AT, PRIVATE, SECOND_AGENT, audio, domain, gateways, id};
use support::{ACCESS, CORE, Sent, World, addr};

const NAT: &str = "203.0.113.7:40001";

fn notify(id: u32) -> String {
    format!("NTFY {id} aaln/1@{PRIVATE} MGCP 1.0\nX: 1\nO: L/hd\n")
}

fn request(id: u32, name: &str) -> String {
    format!("RQNT {id} aaln/1@{name} MGCP 1.0\nX: 1\n")
}

fn transactions(world: &mut World) -> u64 {
    world.shards.iter_mut().map(|shard| shard.stats().transactions).sum()
}

#[test]
fn a_command_is_carried_out_once_however_often_it_comes() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = format!("CRCX 3 aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"));
    let first = world.agent_sends(AGENT, CORE_AT, &create).remove(0);
    let again = world.agent_sends("10.0.0.30:9999", CORE_AT, &create).remove(0);
    assert_eq!(first.bytes, again.bytes, "sent on again under the same number");
    let answer = world.answered(&first, &format!("200 OK\nI: 1\n\n{}", audio("192.168.1.5:5004"))).remove(0);
    assert_eq!(answer.flow.remote, addr("10.0.0.30:9999"), "to where it was asked last");
    assert!(
        world.answered(&first, "200 OK\nI: 1\n").is_empty(),
        "an answer that comes again is not passed on"
    );
    world.pass(Duration::from_secs(29));
    let repeated = world.agent_sends(AGENT, CORE_AT, &create);
    assert_eq!((repeated.len(), repeated[0].flow.realm), (1, CORE), "answered from memory");
    assert_eq!(repeated[0].bytes, answer.bytes);
    assert_eq!(world.shards[0].stats().sessions, 1);
    world.pass(Duration::from_secs(32));
    let forgotten = world.agent_sends(AGENT, CORE_AT, &request(3, &name));
    assert_eq!(forgotten[0].flow.realm, ACCESS, "the number may be used again");
}

#[test]
fn equal_numbers_of_different_senders_are_different_transactions() {
    let mut world = World::new(gateways(2));
    let names = ["203.0.113.7:40001", "203.0.113.8:40001"].map(|nat| world.restarts(nat, 1, PRIVATE));
    let mut ours = Vec::new();
    for name in &names {
        for agent in [AGENT, SECOND_AGENT] {
            ours.push(
                world
                    .agent_sends(agent, CORE_AT, &request(if *name == names[0] { 7 } else { 8 }, name))
                    .remove(0),
            );
        }
    }
    for nat in ["203.0.113.7:40001", "203.0.113.8:40001"] {
        ours.push(world.gateway_sends(nat, &notify(7)).remove(0));
    }
    let numbers = ours.iter().map(id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(numbers.len(), 6);
    let back = world.answered(&ours[1], "200 OK\n").remove(0);
    assert_eq!((id(&back), back.flow.remote), (7, addr(SECOND_AGENT)));
    let back = world.answered(&ours[5], "200 OK\n").remove(0);
    assert_eq!((id(&back), back.flow.remote), (7, addr("203.0.113.8:40001")));
}

#[test]
fn an_answer_may_come_from_another_port_but_not_from_anybody() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let command = world.agent_sends(AGENT, CORE_AT, &request(7, &name)).remove(0);
    let text = format!("200 {} OK\n", id(&command));
    assert!(world.gateway_sends("192.0.2.66:2427", &text).is_empty());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Untrusted), 1);
    assert_eq!(world.gateway_sends("203.0.113.7:1", &text)[0].text(), "200 7 OK\r\n");
    assert!(world.gateway_sends(NAT, "200 123456 OK\n").is_empty());
    assert_eq!(world.shards[0].stats().dropped(DropReason::Unmatched), 1);
    let command = world.gateway_sends(NAT, &notify(8)).remove(0);
    let text = format!("200 {} OK\n", id(&command));
    let back = world.agent_sends(SECOND_AGENT, "10.0.0.10:6200", &text);
    assert_eq!(back[0].text(), "200 8 OK\r\n", "from another address of the call agent");
}

#[test]
fn messages_of_one_datagram_go_each_to_its_own_owner() {
    let mut world = World::new(gateways(4));
    let nats = (1..=6).map(|n| format!("203.0.113.{n}:2427")).collect::<Vec<_>>();
    let names = nats.iter().map(|nat| world.restarts(nat, 1, PRIVATE)).collect::<Vec<_>>();
    let crossed = world.crossings;
    let commands = names.iter().zip(10..).map(|(name, n)| request(n, name)).collect::<Vec<_>>().join(".\n");
    let sent = world.agent_sends(AGENT, CORE_AT, &commands);
    let reached =
        sent.iter().map(|sent| sent.flow.remote.to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(reached, nats.iter().cloned().collect());
    assert!(world.crossings > crossed, "not all belong to one shard");
    let answers = sent.iter().map(|sent| format!("200 {} OK\n", id(sent)));
    let mut numbers = Vec::new();
    for (sent, answer) in sent.iter().zip(answers) {
        let command = notify(30);
        let both = world.gateway_sends(&sent.flow.remote.to_string(), &format!("{answer}.\n{command}"));
        let back = both.iter().find(|sent| sent.text().starts_with("200 ")).expect("the answer");
        numbers.push(id(back));
        assert!(both.iter().any(|sent| sent.text().starts_with("NTFY ")));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (10..16).collect::<Vec<_>>());
    let many = vec![notify(40); 33].join(".\n");
    assert!(world.gateway_sends(NAT, &many).is_empty(), "there is an end");
}

#[test]
fn acknowledged_answers_are_named_by_our_numbers() {
    let mut world = World::new(gateways(1));
    world.restarts(NAT, 1, PRIVATE);
    let ours = (20..23)
        .map(|n| {
            let sent = world.gateway_sends(NAT, &notify(n)).remove(0);
            world.answered(&sent, "200 OK\n");
            id(&sent)
        })
        .collect::<Vec<_>>();
    let text = |n: u32, list: &str| notify(n).replace("X: 1\n", &format!("K: {list}\nX: 1\n"));
    let sent = world.gateway_sends(NAT, &text(30, "20-21, 22, 900-901")).remove(0);
    let line = format!("\r\nK: {}, {}, {}\r\n", ours[0], ours[1], ours[2]);
    assert!(sent.text().contains(&line), "{}", sent.text());
    let sent = world.gateway_sends(NAT, &text(31, "900-999999999")).remove(0);
    assert!(!sent.text().contains("K:"), "what nobody remembers is left out: {}", sent.text());
}

#[test]
fn a_provisional_answer_is_passed_on_and_the_command_stays_open() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let command = world.agent_sends(AGENT, CORE_AT, &request(7, &name)).remove(0);
    assert_eq!(world.answered(&command, "100 Wait\n")[0].text(), "100 7 Wait\r\n");
    assert_eq!(world.agent_sends(AGENT, CORE_AT, &request(7, &name))[0].bytes, command.bytes);
    let sent = world.answered(&command, "200 OK\nK:\n");
    assert_eq!(sent[0].text(), format!("000 {}\r\n", id(&command)), "acknowledged on our hop");
    assert_eq!(sent[1].text(), "200 7 OK\r\nK:\r\n");
    assert!(world.agent_sends(AGENT, CORE_AT, "000 7\n").is_empty());
    let repeated = world.answered(&command, "200 OK\nK:\n");
    assert_eq!(repeated.len(), 1, "acknowledged again, and not passed on again");
}

#[test]
fn a_command_that_nobody_answers_leaves_nothing() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = format!("CRCX 3 aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"));
    world.agent_sends(AGENT, CORE_AT, &create);
    world.gateway_sends(NAT, &notify(4));
    assert_eq!((transactions(&mut world), world.shards[0].stats().sessions), (3, 1));
    world.pass(Duration::from_secs(61));
    let stats = world.shards[0].stats();
    assert_eq!((stats.sessions, stats.ports), (0, 0));
    world.pass(Duration::from_secs(8000));
    assert_eq!((transactions(&mut world), world.gateways()), (0, 0));
}

#[test]
fn what_is_no_command_is_refused_by_the_protocols_own_codes() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let from_gateway = |world: &mut World, text: &str| world.gateway_sends(NAT, text);
    for (text, answer) in [
        ("CRCX 5 aaln/1@gw1.example.org MGCP 1.0\nM: sendrecv\n", "504 5 "),
        ("RSIP 6 aaln/1@gw1 SIP/2.0\n", "510 6 "),
        ("RSIP 6 aaln/1@ MGCP 1.0\n", "510 6 "),
        ("NTFY 6 aaln/1@gw1 MGCP 1.0\nno colon\n", "510 6 "),
        ("NTFY 6\n", "510 6 "),
    ] {
        let sent = from_gateway(&mut world, text);
        assert!(sent[0].text().starts_with(answer), "{text}: {}", sent[0].text());
        assert_eq!(sent[0].flow.remote, addr(NAT));
    }
    for text in [
        "NTFY x aaln/1@gw1 MGCP 1.0\n",
        "NTFY 0 aaln/1@gw1 MGCP 1.0\n",
        "200\n",
        "2000 5 OK\n",
        "\0\0\0\0",
        "\n\n",
    ] {
        assert!(from_gateway(&mut world, text).is_empty(), "{text}");
    }
    for (lines, answer) in [
        ("RQNT 7 aaln/1@nobody.example MGCP 1.0\n".to_owned(), "500 7 "),
        (format!("NTFY 8 aaln/1@{name} MGCP 1.0\n"), "504 8 "),
        (format!("MDCX 9 aaln/1@{name} MGCP 1.0\nI: 1\n\n{}", audio("10.0.0.50:4000")), "515 9 "),
        (format!("CRCX 10 aaln/1@{name} MGCP 1.0\nM: sendrecv\n\nv=0\nm=audio x RTP/AVP 0\n"), "509 10 "),
        (
            format!(
                "CRCX 11 aaln/1@{name} MGCP 1.0\nM: sendrecv\n\nv=0\nc=IN IP4 10.0.0.1\nm=audio 9 TCP/MRCP 1\n"
            ),
            "505 11 ",
        ),
        (format!("RQNT 12 aaln/1@{name} MGCP 1.0\nN: ca@:x\n"), "510 12 "),
    ] {
        let sent = world.agent_sends(AGENT, CORE_AT, &lines);
        assert!(sent[0].text().starts_with(answer), "{lines}: {}", sent[0].text());
    }
    assert_eq!(world.shards[0].stats().sessions, 0);
}

#[test]
fn a_description_of_a_gateway_that_cannot_be_passed_on_ends_its_connection() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = format!("CRCX 3 aaln/1@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"));
    let command = world.agent_sends(AGENT, CORE_AT, &create).remove(0);
    let sent =
        world.answered(&command, "200 OK\nI: 6F\n\nv=0\nc=IN IP4 192.168.1.5\nm=audio none RTP/AVP 0\n");
    let deleted = sent.iter().find(|sent| sent.flow.realm == ACCESS).expect("a deletion");
    assert!(
        deleted.text().starts_with("DLCX ") && deleted.text().contains("I: 6F\r\n"),
        "{}",
        deleted.text()
    );
    let told = sent.iter().find(|sent| sent.flow.realm == CORE).expect("an answer");
    assert!(told.text().starts_with("502 3 ") && !told.text().contains("192.168."), "{}", told.text());
    assert_eq!(world.shards[0].stats().sessions, 0);
}

#[test]
fn a_description_where_none_belongs_shows_no_address() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    let (inside, far) = (audio("192.168.1.5:5004"), audio("10.0.0.50:4000"));
    for (n, verb) in (10..).zip(["RQNT", "EPCF", "AUEP", "AUCX", "DLCX", "CRCX", "MDCX", "ABCD"]) {
        let body = if verb == "MDCX" { String::new() } else { format!("\n{far}\n{far}\n{far}") };
        let text = format!("{verb} {n} aaln/1@{name} MGCP 1.0\nC: A\nI: 9\nM: sendrecv\n{body}");
        let down = world.agent_sends(AGENT, CORE_AT, &text).remove(0);
        assert!(down.flow.realm == ACCESS && !down.text().contains("10.0.0.50"), "{}", down.text());
        let up = world.answered(&down, &format!("200 OK\nI: 8\n\n{inside}\n{inside}\n{inside}")).remove(0);
        assert!(up.flow.realm == CORE && !up.text().contains("192.168."), "{verb}: {}", up.text());
        assert_eq!(up.text().matches("m=audio ").count(), 3, "{verb}");
    }
    let up = world.gateway_sends(NAT, &format!("{}\n{inside}", notify(50))).remove(0);
    assert!(!up.text().contains("192.168.") && up.text().contains("m=audio 0 "), "{}", up.text());
    let down = world.answered(&up, &format!("200 OK\n\n{far}")).remove(0);
    assert!(!down.text().contains("10.0.0.50"), "{}", down.text());
}

#[test]
fn tables_have_an_end() {
    let limits = Limits {
        transactions: 40,
        transactions_per_source: 5,
        bindings: 8,
        sessions: 2,
        ..Limits::default()
    };
    let mut world = World::new(Mapping { limits, ..gateways(1) });
    let restart = |n: u32| format!("RSIP 1 *@gw{n}.example.org MGCP 1.0\nRM: restart\n");
    let refused =
        (0..9).filter(|n| world.gateway_sends(NAT, &restart(*n))[0].text().starts_with("403 ")).count();
    assert_eq!((refused, world.shards[0].stats().dropped(DropReason::Quota)), (4, 4), "for one source");
    let many = (10..30).map(|n| world.gateway_sends(&format!("203.0.113.{n}:2427"), &restart(n)).remove(0));
    let refused = many.filter(|sent: &Sent| sent.flow.realm == ACCESS).count();
    assert_eq!(refused, 17, "in all: of eight gateways five are there");
    world.pass(Duration::from_secs(100));
    let name = world.restarts(NAT, 1, PRIVATE);
    let create = |n: u32| {
        format!("CRCX {n} aaln/{n}@{name} MGCP 1.0\nC: A\nM: sendrecv\n\n{}", audio("10.0.0.50:4000"))
    };
    let answers = (1..5).map(|n| world.agent_sends(AGENT, CORE_AT, &create(n)).remove(0)).collect::<Vec<_>>();
    assert_eq!(
        answers.iter().filter(|sent| sent.text().starts_with("403 ")).count(),
        2,
        "no session is left"
    );
    for n in 10..60 {
        world.agent_sends(AGENT, CORE_AT, &request(n, &name));
    }
    assert!(transactions(&mut world) <= 40);
    world.shards[0].drain();
    world.pass(Duration::from_secs(100));
    let refused = world.agent_sends(AGENT, CORE_AT, &create(70)).remove(0);
    assert!(refused.text().starts_with("403 70 "), "{}", refused.text());
}

#[test]
fn profiles_and_unknown_things_pass_as_they_are() {
    let mut world = World::new(gateways(1));
    let name = world.restarts(NAT, 1, PRIVATE);
    for (n, verb, version) in [
        (51, "AUEP", "MGCP 1.0 NCS 1.0"),
        (52, "ABCD", "MGCP 1.0 TGCP 1.0"),
        (53, "rqnt", "mgcp 1.0 XYZ 0.1 etc"),
    ] {
        let lines = "X-Flow: [192.0.2.1]\nQ:  loop \nES: x\n";
        let text = format!("{verb} {n} aaln/1@{name} {version}\n{lines}N: a@b\n");
        let sent = world.agent_sends(AGENT, CORE_AT, &text).remove(0);
        let seen = sent.text().replace("\r\n", "\n");
        let (first, rest) = seen.split_once('\n').expect("lines");
        assert_eq!(first, format!("{verb} {} aaln/1@{PRIVATE} {version}", id(&sent)));
        assert!(rest.starts_with(&format!("{lines}N: ca")), "{rest}");
    }
    let sent =
        world.gateway_sends(NAT, &format!("NTFY 9 ds/1-24@{PRIVATE} MGCP 1.0 NCS 1.0\nO: L/hd,\tL/hu\nX: A"));
    assert_eq!(domain(&sent[0]), name);
    assert!(sent[0].text().ends_with(" MGCP 1.0 NCS 1.0\r\nO: L/hd,\tL/hu\r\nX: A"), "{}", sent[0].text());
}
