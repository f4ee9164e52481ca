//! Flows of terminals: devices with several of them, Path, lost connections, keepalive, and outages.

mod support;

use portolan_shards::realm::{KeepaliveMethod, Mapping, Realm, Registration, Server, Softswitch, Way};
use portolan_shards::types::Transport;
use std::sync::Arc;
use std::time::Duration;
use support::registering::{Register, answer, calls, from, message, uri_of, with};
use support::{CORE, NAT, World, addr, mapping};

const OTHER: &str = "203.0.113.7:40002";
const REGISTRAR: &str = "10.0.0.20:5060";
const OUTBOUND: &str = "Supported: path, outbound";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn path_mode() -> Registration {
    Registration { way: Way::Path, ..Registration::default() }
}

/// A contact of one device, by this flow of its own.
fn device(uri: &str, id: u32) -> String {
    format!(
        "<{uri}>;reg-id={id};+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";expires=3600"
    )
}

fn plain(cseq: u32) -> Register {
    Register::new("<sip:alice@192.168.1.10:5060>;expires=3600", cseq)
}

/// The access realm listens for TCP too.
fn with_tcp(registration: Registration) -> Mapping {
    let mut mapping = with(registration);
    let mut access = (*mapping.realms[0]).clone();
    access.sip.push((Transport::Tcp, 5060));
    mapping.realms[0] = Arc::new(access);
    mapping
}

#[test]
fn one_device_over_two_transports_is_two_bindings() {
    let mut world = World::new(with_tcp(Registration::default()));
    let tcp = world.connects(0, Transport::Tcp, OTHER);
    let (first, _) =
        world.registered(from(NAT), &Register::new(&device("sip:a@192.168.1.10", 1), 1).and(OUTBOUND), "");
    let by_tcp = Register::new(&device("sip:a@192.168.1.10;transport=tcp", 2), 2).and(OUTBOUND);
    let up = world.registers(tcp, &by_tcp).remove(0);
    let listed = format!("Contact: {}, {}\n", first.header("Contact"), up.header("Contact"));
    let down = world.answers(&up, "200 OK", &listed);
    assert_eq!(world.bindings(), 2);
    assert!(down.header("Contact").contains("<sip:a@192.168.1.10>;reg-id=1"), "{}", down.text());
    assert!(
        down.header("Contact").contains("<sip:a@192.168.1.10;transport=tcp>;reg-id=2"),
        "{}",
        down.text()
    );
    assert_eq!(calls(&mut world, &uri_of(&first.header("Contact")), "m1").flow.remote, addr(NAT));
    assert_eq!(calls(&mut world, &uri_of(&up.header("Contact")), "m2").flow.stream, tcp.stream);
}

#[test]
fn a_device_that_comes_by_a_new_flow_keeps_its_binding_but_only_after_the_2xx() {
    let mut world = World::new(with(Registration::default()));
    let (first, _) = world.registered(from(NAT), &Register::new(&device("sip:a@192.168.1.10", 1), 1), "");
    let uri = uri_of(&first.header("Contact"));
    let moved = Register { call_id: "reg-2", ..Register::new(&device("sip:b@192.168.7.7:5080", 1), 9) };
    let up = world.registers(from("192.0.2.50:1024"), &moved).remove(0);
    let label = |text: &str| text.split(";pl=").nth(1).and_then(|l| l.split('>').next()).map(str::to_owned);
    assert_eq!(label(&up.header("Contact")), label(&first.header("Contact")));
    let before = calls(&mut world, &uri, "m1");
    assert_eq!(before.flow.remote, addr(NAT));
    assert!(before.text().starts_with("MESSAGE sip:a@192.168.1.10 SIP/2.0"), "{}", before.text());
    world.answers(&up, "200 OK", &format!("Contact: {}\n", up.header("Contact")));
    let after = calls(&mut world, &uri, "m2");
    assert_eq!(after.flow.remote, addr("192.0.2.50:1024"));
    assert!(after.text().starts_with("MESSAGE sip:b@192.168.7.7:5080 SIP/2.0"), "{}", after.text());
    assert_eq!(world.bindings(), 1);
}

#[test]
fn a_refused_move_changes_nothing() {
    let mut world = World::new(with(Registration::default()));
    let (first, _) = world.registered(from(NAT), &Register::new(&device("sip:a@192.168.1.10", 1), 1), "");
    let thief = Register { call_id: "x", ..Register::new(&device("sip:a@192.168.1.10", 1), 99) };
    let up = world.registers(from("192.0.2.66:1024"), &thief).remove(0);
    world.answers(&up, "403 Forbidden", "");
    assert_eq!(calls(&mut world, &uri_of(&first.header("Contact")), "m1").flow.remote, addr(NAT));
    assert_eq!(world.bindings(), 1);
}

#[test]
fn a_contact_is_the_same_in_another_spelling_and_another_phone_with_the_same_address_is_not() {
    let mut world = World::new(with(Registration::default()));
    world.registered(from(NAT), &plain(1), "");
    let spelled = Register::new("<sip:%61lice@192.168.1.10:5060;x=y>;expires=3600", 2);
    let (second, _) = world.registered(from(OTHER), &spelled, "");
    assert_eq!(world.bindings(), 1, "its NAT has given it another port");
    let elsewhere = Register { call_id: "reg-2", ..plain(1) };
    let up = world.registers(from("192.0.2.50:40001"), &elsewhere).remove(0);
    let listed = format!("Contact: {}\nContact: {}\n", second.header("Contact"), up.header("Contact"));
    world.answers(&up, "200 OK", &listed);
    assert_eq!(world.bindings(), 2);
    assert_eq!(calls(&mut world, &uri_of(&up.header("Contact")), "m1").flow.remote, addr("192.0.2.50:40001"));
    assert_eq!(calls(&mut world, &uri_of(&second.header("Contact")), "m2").flow.remote, addr(OTHER));
}

#[test]
fn several_contacts_of_one_register_are_restored_each() {
    let mut world = World::new(with(Registration::default()));
    let lines = Register::new("<sip:a@192.168.1.10>;expires=60, sip:b@192.168.1.10:5070", 1)
        .and("m: \"Desk, 2\" <sip:c@192.168.1.11;ob>;q=0.1;expires=90")
        .and("Expires: 120");
    let up = world.registers(from(NAT), &lines).remove(0);
    let [first, third] = [&up.headers("Contact")[0], &up.headers("m")[0]];
    assert_eq!((first.matches(";pl=").count(), third.matches(";pl=").count()), (2, 1), "{}", up.text());
    assert!(!up.text().replace("From", "").contains("192.168."), "{}", up.text());
    let down = world.answers(&up, "200 OK", &format!("Contact: {first}\nContact: {third}\nExpires: 120\n"));
    assert_eq!(
        down.headers("Contact")[0],
        "<sip:a@192.168.1.10>;expires=60, <sip:b@192.168.1.10:5070>;expires=120"
    );
    assert_eq!(down.headers("Contact")[1], "\"Desk, 2\" <sip:c@192.168.1.11;ob>;q=0.1;expires=90");
    assert_eq!(world.bindings(), 3);
}

#[test]
fn in_path_mode_the_contact_is_the_terminals_own_and_the_path_brings_requests_back() {
    let mut world = World::new(with(path_mode()));
    let contact = "<sip:alice@192.168.1.10:5060;ob>;expires=3600";
    let up = world.registers(from(NAT), &Register::new(contact, 1)).remove(0);
    assert_eq!(up.header("Contact"), contact);
    let path = up.header("Path");
    assert!(path.starts_with("<sip:") && path.ends_with("@10.0.0.10:6000;lr>"), "{path}");
    assert_eq!(up.header("Supported"), "path");
    let listed = format!("Contact: {contact}\nContact: <sip:desk@10.0.0.99>\nPath: {path}\n");
    let down = world.answers(&up, "200 OK", &listed);
    assert_eq!(down.headers("Contact"), [contact]);
    assert!(!down.text().contains("10.0.0."), "{}", down.text());

    let route = format!("Route: {path}\n");
    let request = message("sip:alice@192.168.1.10:5060;ob", "m1", &route);
    let sent = world.core_sends("10.0.0.10:6000", &request).remove(0);
    assert_eq!(sent.flow.remote, addr(NAT));
    assert!(sent.text().starts_with("MESSAGE sip:alice@192.168.1.10:5060;ob SIP/2.0"), "{}", sent.text());
    assert_eq!(sent.header("Route"), "");
    let spelled = message("sip:%61lice@192.168.1.10:5060", "m2", &route);
    let sent = world.core_sends("10.0.0.10:6000", &spelled).remove(0);
    assert!(sent.text().starts_with("MESSAGE sip:alice@192.168.1.10:5060;ob SIP/2.0"), "{}", sent.text());
}

#[test]
fn a_path_finds_its_shard_and_a_forged_one_leads_nowhere() {
    let mut world = World::new(Mapping { shards: 4, ..with(path_mode()) });
    let up = world.registers(from(NAT), &plain(1)).remove(0);
    let path = up.header("Path");
    let home = up.flow.local.to_string();
    world.core_sends(&home, &answer(&up, "200 OK", &format!("Contact: {}\n", up.header("Contact"))));
    for port in 6000..6004 {
        let request =
            message("sip:alice@192.168.1.10:5060", &format!("m{port}"), &format!("Route: {path}\n"));
        let sent = world.core_sends(&format!("10.0.0.10:{port}"), &request).remove(0);
        assert_eq!(sent.flow.remote, addr(NAT));
    }
    let label = path.split(['@', ':']).nth(1).expect("a label");
    let forged = path.replace(&label[..4], if label.starts_with("aaaa") { "bbbb" } else { "aaaa" });
    let request = message("sip:nobody@192.168.1.10:5060", "m9", &format!("Route: {forged}\n"));
    assert_eq!(world.core_sends("10.0.0.10:6000", &request)[0].status(), 404);
}

#[test]
fn a_path_names_all_contacts_of_its_register() {
    let mut world = World::new(with(path_mode()));
    let both = Register::new("<sip:a@192.168.1.10>;expires=60, <sip:b@192.168.1.10;x=1>;expires=60", 1);
    let (up, _) = world.registered(from(NAT), &both, "");
    let request = message("sip:b@192.168.1.10", "m1", &format!("Route: {}\n", up.header("Path")));
    let sent = world.core_sends("10.0.0.10:6000", &request).remove(0);
    assert!(sent.text().starts_with("MESSAGE sip:b@192.168.1.10;x=1 SIP/2.0"), "{}", sent.text());
}

#[test]
fn outbound_is_promised_in_the_path_and_timed_in_the_answer() {
    let mut world = World::new(with(path_mode()));
    let asks = Register::new(&device("sip:a@192.168.1.10", 1), 1).and(OUTBOUND);
    let up = world.registers(from(NAT), &asks).remove(0);
    assert!(up.header("Path").ends_with(";lr;ob>"), "{}", up.text());
    assert_eq!(up.headers("Supported"), ["path, outbound"]);
    let used = format!("Contact: {}\nRequire: outbound\nFlow-Timer: 900\n", up.header("Contact"));
    let down = world.answers(&up, "200 OK", &used);
    assert_eq!(down.headers("Flow-Timer"), ["25"]);
    let unused = world.registered(from(NAT), &Register { cseq: 2, ..asks }, "").1;
    assert_eq!(unused.header("Flow-Timer"), "");
}

#[test]
fn a_phone_that_offers_keepalives_is_told_how_often() {
    let mut world = World::new(with(Registration::default()));
    let offers = |via, cseq| Register { via, ..plain(cseq) };
    let (_, down) = world.registered(from(NAT), &offers(";keep;rport", 1), "");
    assert!(down.header("Via").contains(";keep=25;rport=40001"), "{}", down.text());
    let (_, down) = world.registered(from(NAT), &offers(";rport", 2), "");
    assert!(!down.header("Via").contains("keep"), "{}", down.text());
    let up = world.registers(from(NAT), &offers(";rport;keep", 3)).remove(0);
    let refused = world.answers(&up, "403 Forbidden", "");
    assert!(
        refused.header("Via").contains(";keep;") || refused.header("Via").contains(";keep,"),
        "{}",
        refused.text()
    );
}

#[test]
fn a_first_hop_without_outbound_is_told() {
    let mut world = World::new(with(Registration::default()));
    let via = ";rport\nVia: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKx";
    let asks = |cseq| Register { via, ..Register::new(&device("sip:a@192.168.1.10", 1), cseq) }.and(OUTBOUND);
    assert_eq!(world.registers(from(NAT), &asks(1))[0].status(), 439);
    assert_eq!(world.registers(from(NAT), &asks(2).and("Path: <sip:p@10.9.9.9;lr>"))[0].status(), 439);
    let keeps = asks(3).and("Path: <sip:p@10.9.9.9;lr;ob>");
    assert_eq!(world.registers(from(NAT), &keeps)[0].flow.remote, addr(REGISTRAR));
    let without = Register { via, ..plain(4) };
    assert_eq!(world.registers(from(NAT), &without)[0].flow.remote, addr(REGISTRAR));
}

#[test]
fn a_lost_connection_is_a_failed_flow_until_the_device_is_back() {
    let mut world = World::new(with_tcp(Registration::default()));
    let tcp = world.connects(0, Transport::Tcp, NAT);
    let asks = Register::new(&device("sip:a@192.168.1.10;transport=tcp", 1), 1).and(OUTBOUND);
    let (up, _) = world.registered(tcp, &asks, "");
    let uri = uri_of(&up.header("Contact"));
    assert!(world.closes(tcp).is_empty());
    assert_eq!(world.bindings(), 0);
    assert_eq!(world.shards[0].stats().bindings_lost, 1);
    let failed = calls(&mut world, &uri, "m1");
    assert_eq!((failed.status(), failed.flow.remote), (430, addr(REGISTRAR)));

    let again = world.connects(0, Transport::Tcp, OTHER);
    let (back, _) = world.registered(again, &Register { cseq: 2, ..asks }, "");
    assert_eq!(back.header("Contact"), up.header("Contact"));
    assert_eq!(calls(&mut world, &uri, "m2").flow.stream, again.stream);
    assert_eq!(world.bindings(), 1);
}

#[test]
fn without_outbound_a_lost_terminal_is_unavailable_until_its_registration_runs_out() {
    let mut world = World::new(with_tcp(Registration::default()));
    let tcp = world.connects(0, Transport::Tcp, NAT);
    let (up, _) = world.registered(tcp, &plain(1), "");
    let uri = uri_of(&up.header("Contact"));
    world.closes(tcp);
    assert_eq!(calls(&mut world, &uri, "m1").status(), 480);
    world.pass(seconds(3610));
    assert_eq!(calls(&mut world, &uri, "m2").status(), 404);
}

#[test]
fn the_latest_of_a_users_phones_is_called_by_name_among_many_users() {
    let mut world = World::new(with(Registration::default()));
    let at = |n: u32| from(&format!("203.0.113.{n}:4000"));
    let phone = |n: u32, expires: u32| {
        Register::new(
            &format!("<sip:alice@192.168.1.{n}>;expires={expires}"),
            n + 10 * u32::from(expires == 0),
        )
    };
    let mut listed = Vec::new();
    for n in 1..=8 {
        // Others behind one NAT come between, so that the tables grow.
        for other in 0..20 {
            let name = format!("user{n}-{other}");
            let text = plain(1).text().replace("alice", &name).replace("reg-1", &name);
            let up = world.deliver(0, at(100), &text).remove(0);
            world.answers(&up, "200 OK", &format!("Contact: {}\n", up.header("Contact")));
        }
        let up = world.registers(at(n), &phone(n, 3600)).remove(0);
        listed.push(format!("Contact: {}\n", up.header("Contact")));
        world.answers(&up, "200 OK", &listed.concat());
    }
    for left in (1..=8).rev() {
        assert_eq!(world.bindings(), 160 + u64::from(left));
        let called = calls(&mut world, "sip:alice@10.0.0.10:6000", &format!("m{left}"));
        assert_eq!(called.flow.remote, at(left).remote);
        let up = world.registers(at(left), &phone(left, 0)).remove(0);
        listed.pop();
        world.answers(&up, "200 OK", &listed.concat());
    }
    assert_eq!(calls(&mut world, "sip:alice@10.0.0.10:6000", "m0").status(), 404);
}

#[test]
fn many_lost_connections_are_told_to_the_registrar_where_the_policy_says_so() {
    for (deregister, expected) in [(true, 50), (false, 0)] {
        let mut world = World::new(with_tcp(Registration { deregister, ..Registration::default() }));
        let flows: Vec<_> = (0..50)
            .map(|n| {
                let flow = world.connects(0, Transport::Tcp, &format!("203.0.113.7:{}", 41_000 + n));
                let contact = format!("<sip:alice@192.168.1.{n};transport=tcp>;expires=3600");
                let text =
                    Register::new(&contact, 1).text().replace("alice@example", &format!("u{n}@example"));
                let up = world.deliver(0, flow, &text.replace("reg-1", &format!("r{n}"))).remove(0);
                world.answers(&up, "200 OK", &format!("Contact: {}\n", up.header("Contact")));
                flow
            })
            .collect();
        assert_eq!(world.bindings(), 50);
        let ends: usize = flows.into_iter().map(|flow| world.closes(flow).len()).sum();
        assert_eq!(ends, expected);
        assert_eq!(world.bindings(), 0);
    }
}

#[test]
fn a_service_route_is_returned_untouched_but_for_our_own_place() {
    let mut world = World::new(with(path_mode()));
    let routes = "Service-Route: <sip:10.0.0.10:6000;lr>, <sip:orig@10.0.0.21;lr>\nService-Route: <sip:edge.example.net;lr>\n";
    let (_, down) = world.registered(from(NAT), &plain(1), routes);
    assert_eq!(down.headers("Service-Route"), ["<sip:orig@10.0.0.21;lr>", "<sip:edge.example.net;lr>"]);
}

#[test]
fn a_gruu_is_never_rewritten() {
    let mut world = World::new(with(Registration::default()));
    let contact = device("sip:alice@192.168.1.10:5060", 1);
    let up = world.registers(from(NAT), &Register::new(&contact, 1).and("Supported: gruu")).remove(0);
    let gruus =
        ";pub-gruu=\"sip:alice@example.net;gr=urn:uuid:1\";temp-gruu=\"sip:tgruu.7hs@example.net;gr\"";
    let down = world.answers(&up, "200 OK", &format!("Contact: {}{gruus}\n", up.header("Contact")));
    assert_eq!(down.header("Contact"), format!("{contact}{gruus}"));
    // The registrar turns a request to the GRUU into one to the contact; one that was left as it is finds its user.
    let by_label = calls(&mut world, &uri_of(&up.header("Contact")), "m1");
    let by_user = calls(&mut world, "sip:alice@10.0.0.10:6000;gr=urn:uuid:1", "m2");
    for sent in [by_label, by_user] {
        assert!(sent.text().starts_with("MESSAGE sip:alice@192.168.1.10:5060 SIP/2.0"), "{}", sent.text());
    }
    let text = message("sip:bob@example.net;gr=urn:uuid:9", "m3", "").replace("10.0.0.20", "192.168.1.10");
    let up = world.deliver(0, from(NAT), &text).remove(0);
    assert!(up.text().starts_with("MESSAGE sip:bob@example.net;gr=urn:uuid:9 SIP/2.0"), "{}", up.text());
}

fn surviving() -> Registration {
    Registration { survive: true, ..Registration::default() }
}

/// Phones that need not answer keepalives.
fn quiet(mut mapping: Mapping) -> Mapping {
    let access = (*mapping.realms[0]).clone();
    mapping.realms[0] = Arc::new(Realm { keepalive: KeepaliveMethod::Off, ..access });
    mapping
}

#[test]
fn while_no_server_answers_a_refresh_of_what_is_confirmed_is_answered_short() {
    let mut world = World::new(quiet(with(surviving())));
    world.registered(from(NAT), &plain(1), "Service-Route: <sip:10.0.0.21;lr>\n");
    world.pass(seconds(3000));
    let refresh = plain(2);
    assert_eq!(world.registers(from(NAT), &refresh)[0].flow.remote, addr(REGISTRAR));
    let sent = world.pass(seconds(10));
    let down =
        sent.iter().find(|sent| sent.status() == 200).expect("an answer within the terminal's patience");
    assert_eq!((down.flow.remote, down.header("CSeq").as_str()), (addr(NAT), "2 REGISTER"));
    assert!((30..=60).contains(&down.expires()), "{}", down.text());
    assert_eq!(down.header("Service-Route"), "<sip:10.0.0.21;lr>");
    assert!(down.header("Contact").starts_with("<sip:alice@192.168.1.10:5060>;expires="));
    // On and on, beyond what the registrar granted.
    for cseq in 3..30 {
        world.pass(seconds(25));
        world.registers(from(NAT), &plain(cseq));
    }
    assert_eq!(world.bindings(), 1);
    assert!(world.shards[0].stats().registrations_survived > 20);
    world.pass(seconds(120));
    assert_eq!(world.bindings(), 0, "a terminal that stays away is forgotten");
}

#[test]
fn a_503_of_the_last_server_is_an_outage_too() {
    let mut world = World::new(with(surviving()));
    world.registered(from(NAT), &plain(1), "");
    world.pass(seconds(40));
    let up = world.registers(from(NAT), &plain(2)).remove(0);
    let down = world.answers(&up, "503 Service Unavailable", "Retry-After: 100\n");
    assert_eq!((down.status(), down.flow.remote), (200, addr(NAT)));
    world.pass(seconds(20));
    let sent = world.registers(from(NAT), &plain(3));
    assert!(sent.iter().any(|sent| sent.status() == 200), "nor is one asked that wants a pause: {sent:?}");
}

#[test]
fn an_outage_answers_nobody_new_and_nothing_else() {
    let cases = [
        (
            "a new terminal",
            Register { call_id: "reg-9", ..Register::new("<sip:new@192.168.1.99>;expires=60", 2) },
            NAT,
        ),
        ("a stranger", plain(2), "192.0.2.66:1024"),
        ("the end", Register::new("<sip:alice@192.168.1.10:5060>;expires=0", 2), NAT),
        ("other credentials", plain(2).and("Authorization: Digest username=\"alice\""), NAT),
    ];
    for (what, register, source) in cases {
        let mut world = World::new(with(surviving()));
        world.registered(from(NAT), &plain(1), "");
        world.pass(seconds(40));
        world.registers(from(source), &register);
        let sent = world.pass(seconds(40));
        assert!(sent.iter().all(|sent| sent.status() != 200), "{what}: {sent:?}");
    }
}

#[test]
fn another_server_is_asked_before_anything_is_answered_here() {
    let second = addr("10.0.0.30:5060");
    let servers = vec![Server::udp(addr(REGISTRAR)), Server { priority: 1, ..Server::udp(second) }];
    let softswitches = vec![Arc::new(Softswitch::new("sx", CORE, servers))];
    let mut world = World::new(Mapping { softswitches, ..with(surviving()) });
    world.registered(from(NAT), &plain(1), "");
    world.pass(seconds(40));
    world.registers(from(NAT), &plain(2));
    let sent = world.pass(seconds(5));
    assert!(sent.iter().any(|sent| sent.flow.remote == second), "{sent:?}");
    assert!(sent.iter().all(|sent| sent.status() != 200), "{sent:?}");
}

#[test]
fn without_the_policy_an_outage_is_an_outage() {
    let mut world = World::new(mapping(1));
    world.registered(from(NAT), &plain(1), "");
    world.pass(seconds(40));
    let up = world.registers(from(NAT), &plain(2)).remove(0);
    assert_eq!(world.answers(&up, "503 Service Unavailable", "").status(), 503);
}
