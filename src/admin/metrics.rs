//! The shards' counters in Prometheus's words: base units, few labels, never a Call-ID or an address.

use crate::control::{Control, Phase};
use crate::io::limits::udp_errors;
use crate::io::ring::Figures as RingFigures;
use crate::resolve::Figures;
use crate::runtime::{SendFailure, ShardSnapshot, StreamEnd, StreamFigures};
use portolan_shards::histogram::{Histogram, Reception};
use portolan_shards::io::DropReason;
use portolan_shards::stats::{METHODS, Stats};
use portolan_shards::types::{Side, Transport};
use portolan_shards::wire::{h248, mgcp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All metrics, now, in the OpenMetrics text format.
pub(super) fn render(control: Arc<Control>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(control)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Scrape(Arc<Control>);

/// One value of a shard.
type Read = fn(&Stats) -> u64;
/// Values of a shard by a label's value.
type ReadMany = fn(&Stats) -> Vec<(&'static str, u64)>;

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

const GAUGES: &[(&str, &str, Read)] = &[
    ("portolan_sessions", "Sessions open now", |s| s.sessions),
    ("portolan_ports_used", "Media ports held by sessions now", |s| s.ports),
    ("portolan_media_granted_octets", "Media granted to running sessions, octets/s each way", |s| {
        s.media_granted
    }),
    ("portolan_bindings", "Registered terminals now", |s| s.bindings),
    ("portolan_dialogs", "SIP dialogs known now", |s| s.dialogs),
    ("portolan_gateways", "Gateways (MGCP, H.248) that serve now", |s| s.gateways),
    ("portolan_transactions", "Signaling transactions open now", |s| s.transactions),
    ("portolan_nats_learned", "NATs whose keepalive interval has grown", |s| s.nats_learned),
];

const COUNTERS: &[(&str, &str, Read)] = &[
    ("portolan_sessions_opened", "Sessions opened", |s| s.sessions_opened),
    ("portolan_forks_displaced", "Forks that displaced an earlier one", |s| s.forks_displaced),
    ("portolan_sessions_one_way", "Sessions in which one side never sent media", |s| s.sessions_one_way),
    ("portolan_retransmissions", "Signaling messages repeated because no answer came", |s| s.retransmissions),
    ("portolan_failovers", "Requests sent to another server because the first did not serve", |s| {
        s.failovers
    }),
    ("portolan_byes_sent", "BYEs to the ends of calls that ended without one", |s| s.byes_sent),
    ("portolan_gateways_moved", "Gateways that came by another flow", |s| s.gateways_moved),
    (
        "portolan_bindings_lost",
        "Terminals and gateways that are gone: keepalives unanswered, or connection ended",
        |s| s.bindings_lost,
    ),
    ("portolan_overload_reports", "Responses in which a server asked for fewer requests", |s| {
        s.overload_reports
    }),
    ("portolan_port_failures", "Media ports that could not be bound", |s| s.port_failures),
    ("portolan_bodies_unread", "XML bodies that could not be read and passed as they were", |s| {
        s.bodies_unread
    }),
];

const FAMILIES: &[(&str, &str, &str, ReadMany)] = &[
    ("portolan_sessions_closed", "Sessions closed by how they ended", "end", |s| {
        vec![("ended", s.sessions_ended), ("reaped", s.sessions_reaped)]
    }),
    (
        "portolan_one_way_events",
        "Sessions found with media one way only, by the silent side",
        "silent",
        |s| Side::BOTH.map(Side::label).into_iter().zip(s.one_way).collect(),
    ),
    ("portolan_packets", "Media packets forwarded by kind", "kind", |s| {
        vec![
            ("rtp", s.rtp_packets),
            ("rtcp", s.rtcp_packets),
            ("stun", s.stun_packets),
            ("dtls", s.dtls_packets),
        ]
    }),
    ("portolan_octets", "Octets of UDP payload forwarded by kind", "kind", |s| {
        vec![("rtp", s.rtp_octets), ("rtcp", s.rtcp_octets)]
    }),
    ("portolan_drops", "Packets and messages dropped by reason", "reason", drops),
    ("portolan_requests", "Requests received by method", "method", |s| {
        METHODS.iter().copied().zip(s.requests).collect()
    }),
    ("portolan_mgcp_commands", "MGCP commands received by verb", "verb", |s| {
        mgcp::Verb::ALL.iter().map(|verb| verb.token()).zip(s.mgcp_commands).collect()
    }),
    ("portolan_h248_commands", "H.248 commands received by verb", "verb", |s| {
        h248::Verb::ALL.iter().map(|verb| verb.token()).zip(s.h248_commands).collect()
    }),
    (
        "portolan_gateway_reports",
        "What gateways claim to have sent, compared with what came",
        "result",
        |s| vec![("agreed", s.reports_agreed), ("contradicted", s.reports_contradicted)],
    ),
    ("portolan_responses", "Responses received by class", "class", |s| {
        CLASSES.iter().copied().zip(s.responses).collect()
    }),
    ("portolan_refused", "Requests that Portolan itself answered with an error, by class", "class", |s| {
        CLASSES[2..].iter().copied().zip(s.refused).collect()
    }),
    ("portolan_crossings", "What crossed from one shard to another by kind; media never does", "kind", |s| {
        let signaling = ("signaling", s.crossings_signaling);
        vec![signaling, ("control", s.crossings_control), ("media", s.crossings_media)]
    }),
    ("portolan_latches", "Media addresses learned by kind", "kind", |s| {
        vec![("learned", s.latched), ("rebound", s.rebound), ("contested", s.contested)]
    }),
    ("portolan_keepalives", "Keepalives by what became of them", "kind", |s| {
        vec![("sent", s.keepalives_sent), ("missed", s.keepalives_missed), ("spared", s.keepalives_spared)]
    }),
    ("portolan_nat_intervals", "Changes of the keepalive interval learned of a NAT", "change", |s| {
        vec![("grown", s.nats_grown), ("stepped_back", s.nats_stepped_back)]
    }),
    ("portolan_registrations", "Registrations that Portolan itself took care of, by how", "kind", |s| {
        let survived = ("survived", s.registrations_survived);
        vec![("absorbed", s.registrations_absorbed), survived, ("ended", s.registrations_ended)]
    }),
];

fn drops(stats: &Stats) -> Vec<(&'static str, u64)> {
    DropReason::ALL.iter().map(|&reason| (reason.label(), stats.dropped(reason))).collect()
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.figures();
        for &(name, help, read) in GAUGES {
            let values = figures.iter().map(|f| (f.shard.0, read(&f.stats)));
            per_shard(&mut encoder, name, help, MetricType::Gauge, values)?;
        }
        for &(name, help, read) in COUNTERS {
            let values = figures.iter().map(|f| (f.shard.0, read(&f.stats)));
            per_shard(&mut encoder, name, help, MetricType::Counter, values)?;
        }
        for &family in FAMILIES {
            by_label(&mut encoder, &figures, family)?;
        }
        reception(&mut encoder, &figures)?;
        threads(&mut encoder, &figures)?;
        process(&mut encoder, &self.0)
    }
}

fn per_shard(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    values: impl Iterator<Item = (u16, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (shard, value) in values {
        let labels = [("shard", shard)];
        let mut one = metric.encode_family(&labels)?;
        match kind {
            MetricType::Gauge => one.encode_gauge(&(value as i64))?,
            _ => one.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)?,
        }
    }
    Ok(())
}

fn by_label(
    encoder: &mut DescriptorEncoder<'_>,
    figures: &[Arc<ShardSnapshot>],
    (name, help, label, read): (&str, &str, &str, ReadMany),
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for snapshot in figures {
        let shard = snapshot.shard.0.to_string();
        for (value, count) in read(&snapshot.stats) {
            let labels = [("shard", shard.as_str()), (label, value)];
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// One histogram of a side's reception.
type Observed = fn(&Reception) -> &Histogram;

const RECEPTION: [(&str, &str, Observed); 3] = [
    ("portolan_loss_ratio", "Share of RTP packets of an ended stream that did not come", |r| &r.loss),
    ("portolan_jitter_seconds", "Interarrival jitter of an ended stream at its end", |r| &r.jitter),
    ("portolan_mos", "Estimated mean opinion score (G.107) of what the other side heard", |r| &r.score),
];

/// How RTP was received in sessions that have ended, by the side that it came from.
fn reception(encoder: &mut DescriptorEncoder<'_>, figures: &[Arc<ShardSnapshot>]) -> fmt::Result {
    for (name, help, read) in RECEPTION {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for snapshot in figures {
            let shard = snapshot.shard.0.to_string();
            for (side, reception) in Side::BOTH.into_iter().zip(&snapshot.stats.reception) {
                let histogram = read(reception);
                let labels = [("shard", shard.as_str()), ("side", side.label())];
                let buckets = histogram.buckets().collect::<Vec<_>>();
                let mut one = metric.encode_family(&labels)?;
                one.encode_histogram::<[(&str, &str); 0]>(
                    histogram.sum(),
                    histogram.count(),
                    &buckets,
                    None,
                )?;
            }
        }
    }
    Ok(())
}

/// What the runtime, not the shard, knows of a shard.
fn threads(encoder: &mut DescriptorEncoder<'_>, figures: &[Arc<ShardSnapshot>]) -> fmt::Result {
    let help = "Processor time used by the shard's thread in seconds";
    let mut metric =
        encoder.encode_descriptor("portolan_shard_cpu_seconds", help, None, MetricType::Counter)?;
    for snapshot in figures {
        let labels = [("shard", snapshot.shard.0)];
        let mut one = metric.encode_family(&labels)?;
        one.encode_counter::<[(&str, &str); 0], f64, f64>(&snapshot.cpu.as_secs_f64(), None)?;
    }
    let help = "Share of one core that the shard's thread uses now, 0 to 1";
    let mut metric = encoder.encode_descriptor("portolan_shard_busy_ratio", help, None, MetricType::Gauge)?;
    for snapshot in figures {
        let labels = [("shard", snapshot.shard.0)];
        metric.encode_family(&labels)?.encode_gauge(&snapshot.busy)?;
    }
    ring(encoder, figures)?;
    streams(encoder, figures)?;
    let help = "Listeners of a reload that could not be opened";
    let failures = figures.iter().map(|snapshot| (snapshot.shard.0, snapshot.listen_failures));
    per_shard(encoder, "portolan_listen_failures", help, MetricType::Counter, failures)
}

/// What the sockets' ring and the kernel below it have seen.
fn ring(encoder: &mut DescriptorEncoder<'_>, figures: &[Arc<ShardSnapshot>]) -> fmt::Result {
    let help =
        "Entries of a shard into the kernel that could wait; packets by entries is the size of a batch";
    let entries = figures.iter().map(|snapshot| (snapshot.shard.0, snapshot.ring.entries));
    per_shard(encoder, "portolan_ring_entries", help, MetricType::Counter, entries)?;
    let help = "Receives that ended because no buffer was left, by pool";
    counts(encoder, figures, ("portolan_ring_starved", help, "pool"), |shard| {
        RingFigures::POOLS.into_iter().zip(shard.ring.starved).collect()
    })?;
    let help = "Datagrams that the kernel did not send, by class of the error";
    counts(encoder, figures, ("portolan_send_failures", help, "class"), |shard| {
        SendFailure::ALL.iter().map(|class| class.label()).zip(shard.send_failures).collect()
    })?;
    let help = "UDP datagrams that the kernel dropped for all programs of this network namespace, by kind";
    let mut metric =
        encoder.encode_descriptor("portolan_host_udp_errors", help, None, MetricType::Counter)?;
    for (kind, count) in udp_errors() {
        let labels = [("kind", kind)];
        let mut one = metric.encode_family(&labels)?;
        one.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
    }
    Ok(())
}

/// The connections of stream transports.
fn streams(encoder: &mut DescriptorEncoder<'_>, figures: &[Arc<ShardSnapshot>]) -> fmt::Result {
    let mut metric =
        encoder.encode_descriptor("portolan_streams", "Connections open now", None, MetricType::Gauge)?;
    for snapshot in figures {
        let shard = snapshot.shard.0.to_string();
        for (transport, open) in Transport::ALL.into_iter().zip(snapshot.streams.open).skip(1) {
            let labels = [("shard", shard.as_str()), ("transport", transport.token())];
            metric.encode_family(&labels)?.encode_gauge(&(open as i64))?;
        }
    }
    let opened = |shard: &ShardSnapshot| {
        let StreamFigures { accepted, dialled, refused, .. } = shard.streams;
        vec![("accepted", accepted), ("dialled", dialled), ("refused", refused)]
    };
    let help = "Connections by how they began, and those that were refused";
    counts(encoder, figures, ("portolan_streams_opened", help, "kind"), opened)?;
    let closed = |shard: &ShardSnapshot| {
        StreamEnd::ALL.iter().map(|end| end.label()).zip(shard.streams.closed).collect::<Vec<_>>()
    };
    counts(encoder, figures, ("portolan_streams_closed", "Connections by how they ended", "end"), closed)
}

fn counts(
    encoder: &mut DescriptorEncoder<'_>,
    figures: &[Arc<ShardSnapshot>],
    (name, help, label): (&str, &str, &str),
    read: impl Fn(&ShardSnapshot) -> Vec<(&'static str, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for snapshot in figures {
        let shard = snapshot.shard.0.to_string();
        for (value, count) in read(snapshot) {
            let labels = [("shard", shard.as_str()), (label, value)];
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// Lookups of softswitches' names.
fn names(encoder: &mut DescriptorEncoder<'_>, names: &Figures) -> fmt::Result {
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let counters = [
        ("portolan_name_lookups", "Lookups of softswitches' names", read(&names.lookups)),
        ("portolan_name_failures", "Lookups of names that found no server", read(&names.failures)),
    ];
    for (name, help, value) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)?;
    }
    let gauges = [
        ("portolan_names_stale", "Names that are served from an answer that is over", read(&names.stale)),
        ("portolan_names_unknown", "Names without any server", read(&names.unknown)),
    ];
    for (name, help, value) in gauges {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&(value as i64))?;
    }
    Ok(())
}

fn certificates(encoder: &mut DescriptorEncoder<'_>, control: &Control) -> fmt::Result {
    let help = "When the first certificate of a file ends, in seconds since 1970";
    let name = "portolan_tls_certificate_expiry_seconds";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    let mapping = Arc::clone(&control.loaded().mapping);
    for expiry in control.tls().expiries() {
        let realm = mapping.realm(expiry.realm).map_or("", |realm| realm.name.as_str());
        let file = expiry.file.display().to_string();
        metric.encode_family(&[("realm", realm), ("file", &file)])?.encode_gauge(&expiry.at)?;
    }
    Ok(())
}

fn process(encoder: &mut DescriptorEncoder<'_>, control: &Control) -> fmt::Result {
    let reloads = control.reloads();
    let mut metric =
        encoder.encode_descriptor("portolan_reloads", "Reloads by result", None, MetricType::Counter)?;
    let results =
        [("applied", reloads.applied), ("unchanged", reloads.unchanged), ("refused", reloads.refused)];
    for (result, count) in results {
        let labels = [("result", result)];
        let mut one = metric.encode_family(&labels)?;
        one.encode_counter::<[(&str, &str); 0], u64, u64>(&count, None)?;
    }
    names(encoder, control.names())?;
    certificates(encoder, control)?;
    let mapping = Arc::clone(&control.loaded().mapping);
    let gauges = [
        ("portolan_config_generation", "Generation of the running configuration", mapping.generation as i64),
        ("portolan_shards", "Number of shards", i64::from(mapping.shards)),
        ("portolan_ready", "1 while new calls are taken", i64::from(control.phase() == Phase::Ready)),
    ];
    for (name, help, value) in gauges {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    Ok(())
}
