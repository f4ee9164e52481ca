//! What a session has carried, while it runs and for a while after its end.

use super::stream::Stream;
use super::{Session, SessionKey, Sessions, index};
use crate::media::{Account, EndPorts};
use crate::stats::Stats;
use crate::types::{Instant, RealmId, Side};
use std::collections::VecDeque;

/// Sessions that a shard remembers after their end.
pub const RECENT: usize = 256;

/// One stream's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Our ports that face the access side and the core side.
    pub ports: [EndPorts; 2],
    /// What came from the access side and from the core side.
    pub accounts: [Account; 2],
}

impl StreamSummary {
    /// The mean opinion score of what the other side hears of `side` (ITU-T G.107), 1 to 4.5; `None`: no speech came.
    pub fn score(&self, side: Side) -> Option<f64> {
        let (from, to) = (&self.accounts[index(side)], &self.accounts[index(side.other())]);
        from.score(to)
    }
}

/// A session's figures: so far, or what it leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name on this shard.
    pub key: SessionKey,
    /// When it was opened.
    pub opened: Instant,
    /// When it ended; `None`: it runs.
    pub ended: Option<Instant>,
    /// The realms of the access side and of the core side.
    pub realms: [RealmId; 2],
    /// The side that was silent when media was found to flow one way only.
    pub one_way: Option<Side>,
    /// Its streams; those that were removed while it ran come first.
    pub streams: Vec<StreamSummary>,
}

/// The sessions that ended last.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Summary>);

impl Recent {
    /// Remember one more, forgetting the oldest.
    pub(super) fn add(&mut self, summary: Summary) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back(summary);
    }
}

impl Session {
    pub(super) fn summary(&self, key: SessionKey, streams: Vec<StreamSummary>) -> Summary {
        let realms = [self.legs[0].realm, self.legs[1].realm];
        Summary { key, opened: self.opened, ended: None, realms, one_way: self.one_way, streams }
    }
}

impl Sessions {
    /// Figures of at most `most` sessions that run, in no order, then of those that ended last, the latest first.
    pub fn summaries(&self, most: usize) -> (Vec<Summary>, Vec<Summary>) {
        let running = self.table.iter().take(most).map(|(key, session)| self.summarize(key, session));
        (running.collect(), self.recent.0.iter().rev().take(most).cloned().collect())
    }

    /// Figures of one session; `None` when it has ended.
    pub fn summary(&self, key: SessionKey) -> Option<Summary> {
        Some(self.summarize(key, self.table.get(key)?))
    }

    pub(super) fn summarize(&self, key: SessionKey, session: &Session) -> Summary {
        let running = session.streams.iter().flatten().filter_map(|stream| self.stream_summary(stream));
        session.summary(key, session.carried.iter().copied().chain(running).collect())
    }

    pub(super) fn stream_summary(&self, stream: &Stream) -> Option<StreamSummary> {
        Some(StreamSummary { ports: stream.ports, accounts: self.relay.accounts(stream.id)? })
    }

    /// A session has ended: its figures go into the histograms, into the log for whoever asks for it, and are remembered.
    pub(super) fn close_account(&mut self, summary: Summary, stats: &mut Stats) {
        for stream in &summary.streams {
            for side in Side::BOTH {
                observe(stream, side, stats);
                tell(&summary, stream, side);
            }
        }
        self.recent.add(summary);
    }
}

/// One direction of RTP that has ended.
fn observe(stream: &StreamSummary, side: Side, stats: &mut Stats) {
    let account = &stream.accounts[index(side)];
    let Some(loss) = account.loss() else { return };
    let reception = &mut stats.reception[index(side)];
    reception.loss.observe(loss);
    reception.jitter.observe(account.figures.jitter.as_secs_f64());
    if let Some(score) = stream.score(side) {
        reception.score.observe(score);
    }
}

/// One line for each direction, at level debug.
fn tell(summary: &Summary, stream: &StreamSummary, side: Side) {
    let Account { counters, figures, .. } = &stream.accounts[index(side)];
    tracing::debug!(
        target: "portolan::sessions",
        session = %summary.key,
        from = side.label(),
        port = stream.ports[index(side)].rtp.port,
        rtp_packets = counters.rtp_packets,
        rtp_payload_octets = counters.rtp_payload_octets,
        rtp_ip_octets = counters.rtp_ip_octets,
        rtcp_packets = counters.rtcp_packets,
        dropped = counters.dropped(),
        lost = figures.lost,
        jitter_us = figures.jitter.as_micros() as u64,
        mos = stream.score(side),
        "ended"
    );
}
