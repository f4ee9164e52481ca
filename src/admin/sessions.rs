//! Sessions as JSON: what each direction of each stream has carried and dropped, and how good it was. No address and no
//! name of anybody.

use crate::runtime::ShardSessions;
use portolan_shards::media::quality::{Figures, Reported};
use portolan_shards::media::{Account, EndPorts};
use portolan_shards::realm::Mapping;
use portolan_shards::session::account::{StreamSummary, Summary};
use portolan_shards::types::{Instant, RealmId, Side};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// All of them, running and ended.
pub(super) fn json(mapping: &Mapping, shards: &[ShardSessions]) -> Value {
    let all = |pick: fn(&ShardSessions) -> &[Summary]| -> Vec<Value> {
        let of = |shard: &ShardSessions| {
            pick(shard).iter().map(|s| session(mapping, shard, s)).collect::<Vec<_>>()
        };
        shards.iter().flat_map(of).collect()
    };
    json!({ "running": all(|shard| &shard.running), "ended": all(|shard| &shard.ended) })
}

fn session(mapping: &Mapping, shard: &ShardSessions, summary: &Summary) -> Value {
    let Summary { key, opened, ended, realms, one_way, streams } = summary;
    let until = ended.unwrap_or(shard.now);
    json!({
        "shard": shard.shard.0,
        "session": key.to_string(),
        "seconds": until.since(*opened).as_secs_f64(),
        "ended_seconds_ago": ended.map(|ended: Instant| shard.now.since(ended).as_secs_f64()),
        "one_way": one_way.map(Side::label),
        "streams": streams.iter().map(|s| stream(mapping, *realms, s)).collect::<Vec<_>>(),
    })
}

fn stream(mapping: &Mapping, realms: [RealmId; 2], stream: &StreamSummary) -> Value {
    let sides = Side::BOTH.into_iter().zip(realms).zip(stream.ports).zip(&stream.accounts);
    let side = |(((side, realm), ports), account): (((Side, RealmId), EndPorts), &Account)| {
        let realm = mapping.realm(realm);
        let ipv4 = realm.is_none_or(|realm| realm.address.is_ipv4());
        let mut value = direction(account, ipv4, stream.score(side));
        value.insert("realm".to_owned(), json!(realm.map(|realm| &realm.name)));
        value.insert("ports".to_owned(), json!([ports.rtp.port, ports.rtcp.port]));
        (side.label().to_owned(), Value::Object(value))
    };
    Value::Object(sides.map(side).collect())
}

/// What came from one side.
fn direction(account: &Account, ipv4: bool, score: Option<f64>) -> Map<String, Value> {
    let counters = &account.counters;
    let mut value = Map::new();
    let mut put = |name: &str, figure: Value| value.insert(name.to_owned(), figure);
    put("rtp_packets", json!(counters.rtp_packets));
    put("rtp_payload_octets", json!(counters.rtp_payload_octets));
    put("rtp_ip_octets", json!(counters.rtp_ip_octets));
    put("rtcp_packets", json!(counters.rtcp_packets));
    put("rtcp_octets", json!(counters.rtcp_octets));
    put("rtcp_ip_octets", json!(counters.rtcp_ip_octets(ipv4)));
    put("beside_packets", json!(account.beside.packets));
    put("beside_octets", json!(account.beside.octets));
    put("dropped", json!(counters.dropped()));
    put("dropped_octets", json!(counters.dropped_octets));
    put("drops", Value::Object(counters.drops.iter().map(|(name, n)| (name.to_owned(), json!(n))).collect()));
    put("quality", quality(account, score));
    value
}

fn quality(account: &Account, score: Option<f64>) -> Value {
    let Figures { codec, expected, received, lost, late, duplicates, .. } = account.figures;
    let Figures { jitter, peak_jitter, reported, round_trip, .. } = account.figures;
    let receiver = |Reported { fraction, lost, jitter }| json!({ "fraction_lost": f64::from(fraction) / 256.0, "lost": lost, "jitter_ms": millis(jitter) });
    json!({
        "codec": codec.label(),
        "expected": expected,
        "received": received,
        "lost": lost,
        "late": late,
        "duplicates": duplicates,
        "jitter_ms": millis(jitter),
        "peak_jitter_ms": millis(peak_jitter),
        "reported": reported.map(receiver),
        "round_trip_ms": round_trip.map(millis),
        "mos": score,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
