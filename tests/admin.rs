//! The admin listener over a real socket.

mod control;

use portolan::admin;
use portolan::control::{Control, Phase};
use portolan::mapping::{Loaded, Loader, Machine};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn loaded() -> Loaded {
    let text =
        include_str!("../config/loopback.ron").replace("shards: Auto", &format!("secret: \"{SECRET}\""));
    Loader::new(Machine::with_cores(2)).parse(&text, "loopback.ron").expect("it is sound")
}

/// Status line and body of one request to a listener of its own.
fn get(control: &Arc<Control>, path: &str) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = admin::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(admin::serve(listener, Arc::clone(control)));
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        (head.lines().next().expect("a status line").to_owned(), body.to_owned())
    })
}

#[test]
fn metrics_have_every_shard_and_the_process() {
    let (control, _) = control::started(loaded());
    let (status, body) = get(&control, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "portolan_sessions{shard=\"1\"} 3",
        "portolan_packets_total{shard=\"0\",kind=\"rtp\"} 1000",
        "portolan_packets_total{shard=\"1\",kind=\"rtp\"} 1001",
        "portolan_drops_total{shard=\"0\",reason=\"stranger\"} 0",
        "portolan_requests_total{shard=\"0\",method=\"INVITE\"} 0",
        "portolan_responses_total{shard=\"0\",class=\"2xx\"} 0",
        "portolan_refused_total{shard=\"0\",class=\"5xx\"} 0",
        "portolan_crossings_total{shard=\"1\",kind=\"media\"} 0",
        "portolan_sessions_closed_total{shard=\"0\",end=\"reaped\"} 0",
        "portolan_shard_cpu_seconds_total{shard=\"0\"} 1.5",
        "portolan_one_way_events_total{shard=\"1\",silent=\"access\"} 0",
        "portolan_mos_bucket{le=\"4.0\",shard=\"0\",side=\"access\"} 0",
        "portolan_loss_ratio_count{shard=\"1\",side=\"core\"} 0",
        "portolan_reloads_total{result=\"refused\"} 0",
        "portolan_config_generation 1",
        "portolan_shards 2",
        "portolan_ready 1",
        "# TYPE portolan_sessions gauge",
        "# HELP portolan_gateways Gateways (MGCP, H.248) that serve now",
        "# HELP portolan_gateways_moved Gateways that came by another flow",
        "# HELP portolan_bindings_lost Terminals and gateways that are gone: keepalives unanswered, or connection ended",
        "# EOF",
    ] {
        assert!(body.lines().any(|l| l == line), "{line} is not in\n{body}");
    }
}

#[test]
fn live_is_whoever_answers() {
    let control = Arc::new(Control::new(loaded()));
    assert_eq!(get(&control, "/live"), ("HTTP/1.1 200 OK".to_owned(), "live\n".to_owned()));
}

#[test]
fn ready_only_between_start_and_drain() {
    let unavailable = "HTTP/1.1 503 Service Unavailable".to_owned();
    let starting = Arc::new(Control::new(loaded()));
    assert_eq!(get(&starting, "/ready"), (unavailable.clone(), "starting\n".to_owned()));
    let (control, _) = control::started(loaded());
    assert_eq!(get(&control, "/ready"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    control.enter(Phase::Draining);
    assert_eq!(get(&control, "/ready"), (unavailable, "draining\n".to_owned()));
}

#[test]
fn metrics_answer_while_starting() {
    let control = Arc::new(Control::new(loaded()));
    let (status, body) = get(&control, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains("portolan_ready 0\n"));
}

#[test]
fn config_is_the_running_mapping_without_the_secret() {
    let (control, _) = control::started(loaded());
    let (status, body) = get(&control, "/config");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(value["realms"][0]["address"], "127.0.1.1");
    assert_eq!(value["softswitches"][0]["realm"], "core");
    assert_eq!(value["mappings"][0]["softswitch"], "softswitch");
    assert_eq!(value["secret"], "redacted");
    assert!(!body.contains(SECRET));
}

#[test]
fn sessions_are_as_many_as_were_asked_for() {
    let (control, _) = control::started(loaded());
    for (path, shown) in [("/sessions?limit=2", 2), ("/sessions", 100), ("/sessions?limit=1000000", 1_000)] {
        let (status, body) = get(&control, path);
        assert_eq!(status, "HTTP/1.1 200 OK");
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(value["ended"].as_array().map(Vec::len), Some(shown), "{path}");
        assert_eq!((&value["ended"][0]["session"], &value["ended"][0]["shard"]), (&"0-7".into(), &1.into()));
    }
    assert_eq!(get(&control, "/sessions?limit=x").0, "HTTP/1.1 400 Bad Request");
}

#[test]
fn anything_else_is_not_found() {
    let (control, _) = control::started(loaded());
    assert_eq!(get(&control, "/").0, "HTTP/1.1 404 Not Found");
}
