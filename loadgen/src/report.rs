//! What came of a run. Its JSON form is one object; tools read it, so names stay.

use crate::keepalives::Keepalives;
use portolan_shards::sim::MediaReport;
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole report.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Registrations.
    pub registrations: Registrations,
    /// Calls.
    pub calls: Calls,
    /// From INVITE to 200, at the caller, in milliseconds.
    pub setup_ms: Percentiles,
    /// Audio.
    pub rtp: Rtp,
    /// Addresses seen on the wrong side.
    pub leaks: Leaks,
    /// How the proxy kept terminals reachable; only filled in where the plan says how often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalives: Option<Keepalives>,
    /// The proxy's own figures; only filled in by who runs the proxy too.
    pub relay: Relay,
    /// Messages that an independent parser rejects or that contradict RFC 3261.
    pub unparseable: u64,
    /// BYE and other requests that were not answered 2xx.
    pub refused_requests: u32,
    /// The generator itself.
    pub generator: Generator,
    /// How long the run took.
    pub seconds: f64,
    /// The first findings, in words.
    pub findings: Vec<String>,
    /// One call's messages on both sides.
    #[serde(skip)]
    pub ladder: String,
}

/// Registrations of terminals.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Registrations {
    /// Terminals that tried.
    pub attempted: u32,
    /// Terminals that the registrar accepted.
    pub ok: u32,
    /// Registrations renewed before they ended.
    pub refreshes: u32,
}

/// Calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    /// INVITEs meant.
    pub attempted: u32,
    /// Answered 200.
    pub answered: u32,
    /// Refused, timed out, or never ended at both ends.
    pub failed: u32,
    /// One end heard nothing at all though the other one spoke.
    pub one_way: u32,
    /// Not answered, as their kinds want it: cancelled, busy, abandoned.
    pub as_planned: u32,
    /// Answered, but not what their kinds must be.
    pub unplanned: u32,
    /// By what happened in them.
    pub kinds: BTreeMap<&'static str, KindCounts>,
    /// Failures by status; 0 stands for calls that never ended.
    pub statuses: BTreeMap<u16, u32>,
    /// By who called whom.
    pub directions: BTreeMap<&'static str, DirectionCounts>,
}

/// Calls of one direction.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct DirectionCounts {
    /// INVITEs meant.
    pub attempted: u32,
    /// Answered 200.
    pub answered: u32,
    /// Not answered, or never ended.
    pub failed: u32,
    /// Heard by one end only.
    pub one_way: u32,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct KindCounts {
    /// Begun.
    pub attempted: u32,
    /// They showed all that their kind must show.
    pub passed: u32,
    /// They did not.
    pub failed: u32,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// RTP packets, end to end. `sent = received + lost + before_latch` over all calls that ended at both ends.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Rtp {
    /// Packets sent.
    pub sent: u64,
    /// Packets that reached the other end of the call.
    pub received: u64,
    /// Packets that did not, though the relay could know where the other end was.
    pub lost: u64,
    /// Packets that did not, sent before the other end's own second packet and a round trip of 50 ms: nobody can know
    /// where a NATed terminal listens before it has sent something.
    pub before_latch: u64,
    /// Copies beyond the first.
    pub duplicates: u64,
    /// Packets of another call, or strange ones.
    pub misdelivered: u64,
    /// One-way delay in microseconds.
    pub delay_us: Delay,
    /// RTCP datagrams sent.
    pub rtcp_sent: u64,
    /// RTCP datagrams received.
    pub rtcp_received: u64,
    /// Packets received so far, for the live view.
    #[serde(skip)]
    pub received_live: u64,
}

impl Rtp {
    /// Add what `from` sent and `to` received. True when `to` heard nothing though `from` spoke.
    pub(crate) fn join(&mut self, from: &MediaReport, to: &MediaReport) -> bool {
        let (before_latch, lost) = from.missing_at(to);
        self.sent += u64::from(from.sent);
        self.received += u64::from(to.received);
        self.lost += u64::from(lost);
        self.before_latch += u64::from(before_latch);
        self.duplicates += u64::from(to.duplicates);
        self.rtcp_sent += u64::from(from.rtcp_sent);
        self.rtcp_received += u64::from(to.rtcp_received);
        from.sent > 0 && to.received == 0
    }
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Delay {
    /// Median.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
}

/// Messages in which an address of the other side stood.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Leaks {
    /// Private or NAT addresses that the softswitch saw.
    pub private_seen_by_core: u64,
    /// Core addresses that a terminal saw.
    pub core_seen_by_terminals: u64,
}

/// Figures of the proxy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Relay {
    /// Shards that ran.
    pub shards: u16,
    /// Processor time of all shards over all relayed packets, in microseconds.
    pub cpu_us_per_packet: f64,
    /// What crossed from shard to shard.
    pub crossings: Crossings,
    /// Sessions left when all calls were over.
    pub sessions_left: u64,
    /// Media ports still held by sessions then.
    pub ports_left: u64,
    /// What was dropped, by reason; reasons that did not occur are left out.
    pub drops: BTreeMap<&'static str, u64>,
}

/// What crossed from shard to shard.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Crossings {
    /// Whole signaling messages.
    pub signaling: u64,
    /// Media packets: must be 0.
    pub media: u64,
}

/// How the generator itself did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Generator {
    /// It was too slow: one timer in a thousand ran more than 20 ms late, so delays and losses are its own too.
    #[serde(rename = "generator_limited")]
    pub limited: bool,
    /// The worst lateness in milliseconds.
    pub latest_ms: f64,
    /// Datagrams that the kernel refused to send.
    pub send_failed: u64,
    /// Connections that were open at the end, softswitch and terminals counted apart.
    pub connections: u64,
    /// Connections that the other end closed during the run.
    pub connections_lost: u64,
}

impl Report {
    /// Everything that was tried worked, and nothing happened that must not.
    pub fn is_good(&self) -> bool {
        self.registrations.ok == self.registrations.attempted
            && self.calls.failed == 0
            && self.calls.one_way == 0
            && self.calls.unplanned == 0
            && self.calls.kinds.values().all(|kind| kind.passed == kind.attempted)
            && self.is_clean()
    }

    /// Nothing was lost, misdelivered, leaked or malformed, and nothing was left over.
    pub fn is_clean(&self) -> bool {
        let rtp = self.rtp.lost + self.rtp.misdelivered;
        let leaks = self.leaks.private_seen_by_core + self.leaks.core_seen_by_terminals;
        let left = self.relay.sessions_left + self.relay.ports_left + self.relay.crossings.media;
        rtp + leaks + left + self.unparseable + u64::from(self.refused_requests) == 0
    }

    /// The object, in one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The totals as a table.
    pub fn table(&self) -> String {
        let rows = [
            ("registrations", format!("{} of {}", self.registrations.ok, self.registrations.attempted)),
            ("calls", self.calls_line()),
            ("setup", format!("p50 {:.1} ms, p99 {:.1} ms", self.setup_ms.p50, self.setup_ms.p99)),
            ("audio packets", self.rtp_line()),
            ("one-way delay", self.delay_line()),
            (
                "leaks",
                format!(
                    "{} toward the core, {} toward terminals",
                    self.leaks.private_seen_by_core, self.leaks.core_seen_by_terminals
                ),
            ),
            ("wrong messages", self.unparseable.to_string()),
            ("relay", self.relay_line()),
            ("generator", self.generator_line()),
        ];
        let mut out: String = rows.into_iter().map(|(name, text)| format!("{name:<16}{text}\n")).collect();
        for (name, counts) in self.calls.kinds.iter().filter(|_| self.calls.kinds.len() > 1) {
            let (passed, attempted) = (counts.passed, counts.attempted);
            out += &format!("  {name:<24}{passed} of {attempted} as they must be\n");
        }
        for (name, counts) in &self.calls.directions {
            out += &format!(
                "  {name:<20}{} of {} answered, {} failed, {} one-way\n",
                counts.answered, counts.attempted, counts.failed, counts.one_way
            );
        }
        out
    }

    fn calls_line(&self) -> String {
        let calls = &self.calls;
        format!(
            "{} of {} answered, {} failed, {} one-way",
            calls.answered, calls.attempted, calls.failed, calls.one_way
        )
    }

    fn rtp_line(&self) -> String {
        let rtp = &self.rtp;
        format!(
            "{} sent, {} received, {} lost, {} misdelivered, {} before the other end could be known",
            rtp.sent, rtp.received, rtp.lost, rtp.misdelivered, rtp.before_latch
        )
    }

    fn delay_line(&self) -> String {
        let delay = &self.rtp.delay_us;
        format!("p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us", delay.p50, delay.p99, delay.p999)
    }

    fn relay_line(&self) -> String {
        let relay = &self.relay;
        format!(
            "{} shards, {:.2} us of processor time a packet, {} signaling and {} media crossings, {} sessions and {} ports left",
            relay.shards,
            relay.cpu_us_per_packet,
            relay.crossings.signaling,
            relay.crossings.media,
            relay.sessions_left,
            relay.ports_left
        )
    }

    fn generator_line(&self) -> String {
        let limit = if self.generator.limited { "THE GENERATOR WAS THE LIMIT; " } else { "" };
        format!("{limit}at most {:.1} ms late, {:.1} s in all", self.generator.latest_ms, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_keys_that_tools_read() {
        let json: serde_json::Value = serde_json::from_str(&Report::default().json()).expect("json");
        for pointer in [
            "/registrations/attempted",
            "/registrations/ok",
            "/calls/attempted",
            "/calls/answered",
            "/calls/failed",
            "/calls/one_way",
            "/setup_ms/p50",
            "/setup_ms/p99",
            "/rtp/sent",
            "/rtp/received",
            "/rtp/lost",
            "/rtp/misdelivered",
            "/rtp/before_latch",
            "/rtp/delay_us/p50",
            "/rtp/delay_us/p99",
            "/rtp/delay_us/p999",
            "/leaks/private_seen_by_core",
            "/leaks/core_seen_by_terminals",
            "/relay/shards",
            "/relay/cpu_us_per_packet",
            "/relay/crossings/signaling",
            "/relay/crossings/media",
            "/relay/sessions_left",
            "/relay/ports_left",
            "/generator/generator_limited",
        ] {
            assert!(json.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn one_lost_packet_is_not_clean() {
        assert!(Report::default().is_good());
        let report = Report { rtp: Rtp { lost: 1, ..Rtp::default() }, ..Report::default() };
        assert!(!report.is_clean());
    }
}
