//! Counts what the endpoints saw, call by call.

use crate::findings::Findings;
use crate::plan::Direction;
use crate::report::{
    Calls, Delay, DirectionCounts, Generator, Leaks, Percentiles, Registrations, Relay, Report, Rtp,
};
use hdrhistogram::Histogram;
use portolan_shards::sim::{Event, MediaReport, Role};
use portolan_shards::types::Instant;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All counts of a run.
pub(crate) struct Tally {
    /// Terminals that have registered at least once.
    registered: BTreeSet<usize>,
    pub(crate) register_failures: u32,
    registrations: u32,
    pub(crate) attempted: u32,
    pub(crate) answered: u32,
    pub(crate) failed: u32,
    pub(crate) one_way: u32,
    statuses: BTreeMap<u16, u32>,
    directions: BTreeMap<Direction, DirectionCounts>,
    open: HashMap<u32, Open>,
    findings: Findings,
    setup: Histogram<u64>,
    delay: Histogram<u64>,
    pub(crate) rtp: Rtp,
    /// Connections that the other end closed.
    pub(crate) closed: u64,
    /// Requests that got no 2xx: BYE, and the like.
    pub(crate) refused_requests: u32,
}

/// A call that is not over at both ends.
struct Open {
    direction: Direction,
    answered: bool,
    reports: [Option<MediaReport>; 2],
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            registered: BTreeSet::new(),
            register_failures: 0,
            registrations: 0,
            attempted: 0,
            answered: 0,
            failed: 0,
            one_way: 0,
            statuses: BTreeMap::new(),
            directions: BTreeMap::new(),
            open: HashMap::new(),
            findings: Findings::default(),
            setup: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            delay: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            rtp: Rtp::default(),
            closed: 0,
            refused_requests: 0,
        })
    }

    /// Calls that are not over.
    pub(crate) fn open(&self) -> u32 {
        self.open.len() as u32
    }

    /// Terminals that have registered.
    pub(crate) fn registered(&self) -> u32 {
        self.registered.len() as u32
    }

    pub(crate) fn registering(&mut self) {
        self.registrations += 1;
    }

    pub(crate) fn calling(&mut self, call: u32, direction: Direction) {
        self.attempted += 1;
        self.directions.entry(direction).or_default().attempted += 1;
        self.open.insert(call, Open { direction, answered: false, reports: [None, None] });
    }

    /// An event of the softswitch, or of terminal n.
    pub(crate) fn note(&mut self, terminal: Option<usize>, event: Event) {
        match event {
            Event::RtpReceived { delay, .. } => {
                self.rtp.received_live += 1;
                self.delay.saturating_record(delay.as_micros() as u64);
            }
            Event::Registered { .. } => self.registered.extend(terminal),
            Event::RegisterFailed { .. } => self.register_failures += 1,
            Event::CallAnswered { call, role: Role::Caller, setup } => {
                self.call_answered(call, setup.as_micros() as u64);
            }
            Event::CallFailed { call, role: Role::Caller, status } => self.call_failed(call, status),
            Event::CallEnded { call, role, media } => self.call_ended(call, role, media),
            Event::Answered { status, .. } if status >= 300 => self.refused_requests += 1,
            other => self.findings.note(terminal.is_none(), &other),
        }
    }

    /// Calls that never ended are failures.
    pub(crate) fn give_up(&mut self) {
        let calls: Vec<_> = self.open.keys().copied().collect();
        calls.into_iter().for_each(|call| self.call_failed(call, 0));
    }

    pub(crate) fn report(&self, generator: Generator, elapsed: Instant, ladder: String) -> Report {
        Report {
            registrations: Registrations { attempted: self.registrations, ok: self.registered() },
            calls: Calls {
                attempted: self.attempted,
                answered: self.answered,
                failed: self.failed,
                one_way: self.one_way,
                statuses: self.statuses.clone(),
                directions: self
                    .directions
                    .iter()
                    .map(|(direction, counts)| (direction.label(), *counts))
                    .collect(),
            },
            setup_ms: Percentiles { p50: millis(&self.setup, 0.5), p99: millis(&self.setup, 0.99) },
            rtp: Rtp { misdelivered: self.findings.misdelivered, delay_us: delays(&self.delay), ..self.rtp },
            leaks: Leaks {
                private_seen_by_core: self.findings.private_seen_by_core,
                core_seen_by_terminals: self.findings.core_seen_by_terminals,
            },
            relay: Relay::default(),
            unparseable: self.findings.unparseable,
            refused_requests: self.refused_requests,
            generator,
            seconds: elapsed.since(Instant::ZERO).as_secs_f64(),
            findings: self.findings.examples.clone(),
            ladder,
        }
    }

    fn call_answered(&mut self, call: u32, setup_us: u64) {
        let Some(open) = self.open.get_mut(&call) else { return };
        open.answered = true;
        self.answered += 1;
        self.directions.entry(open.direction).or_default().answered += 1;
        self.setup.saturating_record(setup_us);
    }

    fn call_failed(&mut self, call: u32, status: u16) {
        let Some(open) = self.open.remove(&call) else { return };
        self.failed += 1;
        self.directions.entry(open.direction).or_default().failed += 1;
        *self.statuses.entry(status).or_default() += 1;
    }

    fn call_ended(&mut self, call: u32, role: Role, media: MediaReport) {
        let Some(open) = self.open.get_mut(&call) else { return };
        open.reports[role as usize] = Some(media);
        if let [Some(caller), Some(callee)] = &open.reports {
            let counts = self.directions.entry(open.direction).or_default();
            let silent = self.rtp.join(caller, callee) | self.rtp.join(callee, caller);
            self.one_way += u32::from(silent);
            counts.one_way += u32::from(silent);
            self.open.remove(&call);
        }
    }
}

fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

fn delays(histogram: &Histogram<u64>) -> Delay {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64;
    Delay { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}
