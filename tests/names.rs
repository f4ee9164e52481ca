//! Softswitches by name: RFC 3263 against a name server on loopback, and the running process that follows it.

mod zone;

use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::{AAAA, NAPTR, SRV};
use portolan::mapping::{Loaded, Loader, Machine};
use portolan::resolve::{Figures, Names};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use zone::{Zone, name};

/// Long enough for a busy machine; every wait ends with its answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with these targets, and TLS toward the core.
fn loaded(server: SocketAddr, targets: &str) -> Loaded {
    let text = format!(
        r#"(
    shards: Count(1),
    realms: {{
        "core": (side: Core, address: "10.0.0.1", sip: [Udp(5060)], per_shard: 6000, per_shard_tls: 6100,
            tls: (certificate: "c", key: "k"), media: (16384, 32767)),
        "core6": (side: Core, address: "fd00::1", sip: [Udp(5060)], per_shard: 6000, media: (16384, 32767)),
    }},
    softswitches: {{
        "sx": (realm: "core", targets: [{targets}]),
        "sx6": (realm: "core6", targets: [{targets}]),
    }},
    dns: (servers: ["{server}"]),
)"#
    );
    let text = if targets.contains("tls") { text.replace("per_shard: 6000, media", SIX_TLS) } else { text };
    Loader::new(Machine::with_cores(1)).parse(&text, "x").unwrap_or_else(|errors| panic!("{errors}"))
}

const SIX_TLS: &str = "per_shard: 6000, per_shard_tls: 6100, tls: (certificate: \"c\", key: \"k\"), media";

/// The servers of both softswitches, IPv4 and IPv6.
fn servers(names: &Names, loaded: &Loaded) -> [Vec<String>; 2] {
    let filled = names.fill(loaded.clone());
    let told = |n: usize| filled.mapping.softswitches[n].targets.iter().map(|s| format!("{s:?}")).collect();
    [told(0), told(1)]
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// What these targets stand for.
fn asked(zone: &Zone, targets: &str) -> [Vec<String>; 2] {
    on_tokio(async {
        let loaded = loaded(zone.address, targets);
        let mut names = Names::new(Arc::default());
        names.learn(&loaded, PATIENCE).await;
        servers(&names, &loaded)
    })
}

fn srv(zone: &Zone, owner: &str, (priority, weight, port): (u16, u16, u16), target: &str) {
    zone.add(owner, 300, RData::SRV(SRV::new(priority, weight, port, name(target))));
}

fn naptr(zone: &Zone, owner: &str, (order, preference): (u16, u16), service: &str, to: &str) {
    let (flags, services) = (b"s".to_vec().into(), service.as_bytes().into());
    let pointer = NAPTR::new(order, preference, flags, services, Box::default(), name(to));
    zone.add(owner, 300, RData::NAPTR(pointer));
}

fn example() -> Zone {
    let zone = Zone::new();
    zone.a("one.example", "10.0.1.1", 300);
    zone.a("two.example", "10.0.1.2", 300);
    zone.a("two.example", "10.0.1.3", 300);
    zone.add("one.example", 300, RData::AAAA(AAAA("fd00::11".parse().expect("IPv6"))));
    srv(&zone, "_sip._udp.sx.example", (10, 60, 5062), "one.example");
    srv(&zone, "_sip._udp.sx.example", (10, 41, 5062), "two.example");
    srv(&zone, "_sip._tcp.sx.example", (0, 0, 5064), "one.example");
    srv(&zone, "_sips._tcp.sx.example", (0, 1, 5065), "one.example");
    zone
}

#[test]
fn without_naptr_udp_services_come_first() {
    let [four, six] = asked(&example(), r#""sip:sx.example""#);
    assert_eq!(
        four,
        [
            "10.0.1.1:5062 priority 0 weight 60",
            "10.0.1.2:5062 priority 0 weight 20",
            "10.0.1.3:5062 priority 0 weight 20",
        ]
    );
    assert_eq!(six, ["[fd00::11]:5062 priority 0 weight 60"]);
}

#[test]
fn naptr_chooses_the_transport_by_order_and_preference() {
    let zone = example();
    naptr(&zone, "sx.example", (20, 1), "SIP+D2U", "_sip._udp.sx.example");
    naptr(&zone, "sx.example", (10, 9), "SIP+D2T", "_sip._tcp.sx.example");
    naptr(&zone, "sx.example", (10, 2), "SIPS+D2T", "_sips._tcp.sx.example");
    naptr(&zone, "sx.example", (1, 1), "E2U+sip", "_sip._udp.sx.example");
    let [four, six] = asked(&zone, r#""sip:sx.example""#);
    assert_eq!(four, ["10.0.1.1:5065;transport=tls (sx.example)"]);
    assert_eq!(six, ["[fd00::11]:5064;transport=tcp priority 0 weight 0"], "that realm has no TLS");
}

#[test]
fn a_given_transport_asks_for_its_service_only() {
    let [four, _] = asked(&example(), r#""sip:sx.example;transport=tls""#);
    assert_eq!(four, ["10.0.1.1:5065;transport=tls (sx.example)"]);
    let [four, _] = asked(&example(), r#""sip:sx.example;transport=tcp""#);
    assert_eq!(four, ["10.0.1.1:5064;transport=tcp priority 0 weight 0"]);
}

#[test]
fn a_given_port_asks_for_addresses_only() {
    let [four, six] = asked(&example(), r#""sip:one.example:5070""#);
    assert_eq!((four, six), (vec!["10.0.1.1:5070".to_owned()], vec!["[fd00::11]:5070".to_owned()]));
}

#[test]
fn a_name_without_services_is_a_host() {
    let [four, _] = asked(&example(), r#""sip:two.example""#);
    assert_eq!(four, ["10.0.1.2:5060", "10.0.1.3:5060"]);
}

#[test]
fn a_service_that_is_refused_is_not_the_host() {
    let zone = example();
    srv(&zone, "_sip._udp.one.example", (0, 0, 0), ".");
    assert_eq!(asked(&zone, r#""sip:one.example""#), [[""; 0], [""; 0]]);
}

#[test]
fn priorities_within_a_target_come_after_those_of_targets() {
    let zone = example();
    srv(&zone, "_sip._udp.sx.example", (5, 1, 5062), "three.example");
    zone.a("three.example", "10.0.1.9", 300);
    let [four, _] = asked(&zone, r#""sip:sx.example", "sip:one.example:5090""#);
    let priorities: Vec<_> = four.iter().map(|s| s.split_once(' ').map_or("", |(_, rest)| rest)).collect();
    assert_eq!(four[0], "10.0.1.9:5062");
    let within = ["priority 1 weight 60", "priority 1 weight 20", "priority 1 weight 20"];
    assert_eq!(priorities[1..4], within);
    assert_eq!(four[4], "10.0.1.1:5090 priority 2 weight 1");
}

#[test]
fn records_that_expire_are_asked_again() {
    on_tokio(async {
        let zone = Zone::new();
        zone.a("sx.example", "10.0.1.1", 1);
        let loaded = loaded(zone.address, r#""sip:sx.example:5060""#);
        let mut names = Names::new(Arc::default());
        names.learn(&loaded, PATIENCE).await;
        assert_eq!(servers(&names, &loaded)[0], ["10.0.1.1:5060"]);
        zone.clear();
        zone.a("sx.example", "10.0.1.7", 1);
        tokio::time::timeout(PATIENCE, names.changed()).await.expect("it is asked again");
        assert_eq!(servers(&names, &loaded)[0], ["10.0.1.7:5060"]);
    });
}

#[test]
fn a_dead_name_server_leaves_the_last_answer() {
    on_tokio(async {
        let zone = Zone::new();
        zone.a("sx.example", "10.0.1.1", 1);
        let loaded = loaded(zone.address, r#""sip:sx.example:5060""#);
        let figures = Arc::new(Figures::default());
        let mut names = Names::new(Arc::clone(&figures));
        names.learn(&loaded, PATIENCE).await;
        assert_eq!(
            (figures.stale.load(Relaxed), figures.unknown.load(Relaxed)),
            (0, 1),
            "sx6 has no address"
        );
        zone.mute();
        let stale = async {
            while figures.stale.load(Relaxed) == 0 {
                let _ = tokio::time::timeout(Duration::from_millis(50), names.changed()).await;
            }
        };
        tokio::time::timeout(PATIENCE, stale).await.expect("it is asked again and fails");
        assert_eq!(servers(&names, &loaded)[0], ["10.0.1.1:5060"]);
        assert!(figures.failures.load(Relaxed) >= 2, "{figures:?}");
    });
}

#[test]
fn a_name_that_is_not_known_is_no_server_until_it_is() {
    on_tokio(async {
        let zone = Zone::new();
        let loaded = loaded(zone.address, r#""sip:sx.example:5060""#);
        let mut names = Names::new(Arc::default());
        names.learn(&loaded, PATIENCE).await;
        assert_eq!(servers(&names, &loaded), [[""; 0], [""; 0]]);
        zone.a("sx.example", "10.0.1.1", 300);
        tokio::time::timeout(PATIENCE, names.changed()).await.expect("it is asked again");
        assert_eq!(servers(&names, &loaded)[0], ["10.0.1.1:5060"]);
    });
}

#[test]
fn names_that_the_configuration_no_longer_has_are_not_asked() {
    on_tokio(async {
        let zone = Zone::new();
        zone.a("sx.example", "10.0.1.1", 300);
        let figures = Arc::new(Figures::default());
        let mut names = Names::new(Arc::clone(&figures));
        names.learn(&loaded(zone.address, r#""sip:other.example:5060""#), PATIENCE).await;
        assert_eq!(figures.unknown.load(Relaxed), 2);
        let now = loaded(zone.address, r#""sip:sx.example:5060""#);
        names.learn(&now, PATIENCE).await;
        names.keep(&now);
        assert_eq!(figures.unknown.load(Relaxed), 1, "only sx6");
    });
}
