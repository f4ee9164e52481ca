//! Every shipped configuration is sound, and says what its comments say.

use portolan::mapping::{Loaded, Loader, Machine};
use portolan_shards::realm::KeepaliveMethod;
use std::path::{Path, PathBuf};

fn example(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let loaded = Loader::new(Machine::with_cores(2)).load(&path);
    loaded.unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_file_in_config_is_accepted_without_a_warning() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("config exists")
        .map(|entry| entry.expect("readable").path())
        .collect();
    let examples: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|e| e == "ron")).collect();
    assert!(examples.len() >= 4);
    for path in examples {
        let loaded = example(path.file_name().and_then(|name| name.to_str()).expect("a plain name"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
    }
}

#[test]
fn the_shipped_file_spells_out_the_defaults() {
    let loaded = example("portolan.ron");
    assert_eq!(loaded.mapping.limits, portolan_shards::limits::Limits::default());
    assert_eq!(loaded.mapping.keepalive.interval.as_secs(), 25);
    assert_eq!(loaded.mapping.keepalive.misses, 3);
    assert_eq!(loaded.admin, "127.0.0.1:9060".parse().ok());
    assert_eq!(loaded.mapping.shards, 2);
}

#[test]
fn the_loopback_mapping_needs_no_other_network() {
    let mapping = example("loopback.ron").mapping;
    assert!(mapping.realms.iter().all(|realm| realm.address.is_loopback()));
    assert!(mapping.softswitches.iter().all(|s| s.targets.iter().all(|t| t.address.ip().is_loopback())));
}

#[test]
fn home_workers_reach_their_enterprise_by_domain() {
    let mapping = example("two-enterprises.ron").mapping;
    let id = |name: &str| mapping.realms.iter().find(|realm| realm.name == name).expect("it is there").id;
    let served = |realm: &str, domain: &str| mapping.route(id(realm), domain).map(|(_, s)| s.name.as_str());
    assert_eq!(served("internet", "ACME.example"), Some("acme-pbx"));
    assert_eq!(served("internet", "198.51.100.10"), Some("public"));
    assert_eq!(served("acme", "anything"), Some("acme-pbx"));
    assert_eq!(mapping.realms[0].keepalive, KeepaliveMethod::Crlf);
}

#[test]
fn ipv6_realms_have_ipv6_homes() {
    let mapping = example("ipv6.ron").mapping;
    let core = mapping.realms.iter().find(|realm| realm.name == "core6").expect("it is there");
    assert_eq!(
        core.home(portolan_shards::types::ShardId(1), portolan_shards::types::Transport::Udp),
        "[fd00::10]:6001".parse().ok()
    );
}

#[test]
fn the_second_softswitch_of_a_tls_cluster_stands_by() {
    let loaded = example("tls.ron");
    let servers: Vec<_> = loaded.mapping.softswitches[0].targets.iter().map(|s| format!("{s:?}")).collect();
    let first = "10.0.0.20:5061;transport=tls (sx-1.example.net)";
    let second = "10.0.0.21:5061;transport=tls (sx-2.example.net) priority 1 weight 1";
    assert_eq!(servers, [first, second]);
    assert!(loaded.mapping.softswitches[1].targets.is_empty(), "its name is not looked up yet");
    let (_, core) = &loaded.tls[1];
    assert!(core.require_client && core.verify_servers);
    assert!(core.certificates[0].0.ends_with("config/core.pem"), "beside the main file");
}

#[test]
fn gateways_have_their_call_agent_and_no_probes() {
    use portolan_shards::types::{Proto, ShardId};
    let mapping = example("gateways.ron").mapping;
    let agent = mapping.agent(mapping.realms[0].id, Proto::Mgcp).expect("a call agent");
    assert_eq!((agent.proto, agent.probe, agent.targets.len()), (Proto::Mgcp, None, 2));
    let core = mapping.realm(agent.realm).expect("its realm");
    assert_eq!(core.home_mgcp(ShardId(1)), "10.0.0.10:6201".parse().ok());
    assert!(mapping.route(mapping.realms[0].id, "example.net").is_none(), "nobody speaks SIP here");
    let controller = mapping.agent(mapping.realms[0].id, Proto::H248).expect("a controller");
    assert_eq!((controller.proto, controller.targets.len()), (Proto::H248, 2));
    let (first, second) = ("10.0.0.10:14999".parse().unwrap(), "10.0.0.10:15000".parse().unwrap());
    let lends = |shard, at| core.lends(mapping.shards, ShardId(shard), at);
    assert!(lends(0, first) && !lends(0, second) && lends(1, second) && !lends(1, first));
}
