//! Counts what the endpoints saw, call by call.

use crate::findings::Findings;
use crate::keepalives::Arrivals;
use crate::plan::{Direction, Plan};
use crate::report::{
    Calls, Delay, DirectionCounts, Generator, KindCounts, Leaks, Percentiles, Registrations, Relay, Report,
    Rtp,
};
use crate::scenario::{label, refusal};
use hdrhistogram::Histogram;
use portolan_shards::sim::{Abandon, Event, MediaReport, Role, Script, Story};
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
    kinds: BTreeMap<&'static str, KindCounts>,
    as_planned: u32,
    unplanned: u32,
    refreshes: u32,
    open: HashMap<u32, Open>,
    findings: Findings,
    pub(crate) keepalives: Arrivals,
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
    kind: Script,
    reports: [Option<(MediaReport, Story)>; 2],
}

impl Tally {
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        Ok(Self {
            keepalives: Arrivals::new(plan.keepalive, plan.registrations),
            registered: BTreeSet::new(),
            register_failures: 0,
            registrations: 0,
            attempted: 0,
            answered: 0,
            failed: 0,
            one_way: 0,
            statuses: BTreeMap::new(),
            directions: BTreeMap::new(),
            kinds: BTreeMap::new(),
            as_planned: 0,
            unplanned: 0,
            refreshes: 0,
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

    pub(crate) fn calling(&mut self, call: u32, direction: Direction, kind: Script) {
        self.attempted += 1;
        self.directions.entry(direction).or_default().attempted += 1;
        self.kinds.entry(label(kind)).or_default().attempted += 1;
        self.open.insert(call, Open { direction, kind, reports: [None, None] });
    }

    /// An event of the softswitch, or of terminal n.
    pub(crate) fn note(&mut self, now: Instant, terminal: Option<usize>, event: Event) {
        match event {
            Event::RtpReceived { delay, .. } => {
                self.rtp.received_live += 1;
                self.delay.saturating_record(delay.as_micros() as u64);
            }
            Event::Probed => self.keepalives.note(now, terminal),
            Event::Registered { .. } => {
                let fresh = terminal.is_some_and(|terminal| self.registered.insert(terminal));
                self.refreshes += u32::from(!fresh);
            }
            Event::RegisterFailed { .. } => self.register_failures += 1,
            Event::CallAnswered { call, role: Role::Caller, setup } => {
                self.call_answered(call, setup.as_micros() as u64);
            }
            Event::CallFailed { call, role: Role::Caller, status } => self.call_failed(call, status),
            Event::CallFailed { call, role: Role::Callee, .. } => self.abandoned(call),
            Event::CallEnded { call, role, media, story } => self.call_ended(call, role, (media, story)),
            Event::CallReferred { by, call } => {
                let direction = self.open.get(&by).map_or(Direction::ToTrunk, |open| open.direction);
                self.calling(call, direction, Script::Plain);
            }
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
            registrations: Registrations {
                attempted: self.registrations,
                ok: self.registered(),
                refreshes: self.refreshes,
            },
            calls: Calls {
                attempted: self.attempted,
                answered: self.answered,
                failed: self.failed,
                one_way: self.one_way,
                as_planned: self.as_planned,
                unplanned: self.unplanned,
                kinds: self.kinds.clone(),
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
            keepalives: self.keepalives.report(),
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
        let Some(open) = self.open.get(&call) else { return };
        self.answered += 1;
        self.directions.entry(open.direction).or_default().answered += 1;
        self.setup.saturating_record(setup_us);
    }

    fn call_failed(&mut self, call: u32, status: u16) {
        let Some(open) = self.open.remove(&call) else { return };
        let counts = self.kinds.entry(label(open.kind)).or_default();
        if status != 0 && refusal(open.kind) == Some(status) {
            counts.passed += 1;
            self.as_planned += 1;
            return;
        }
        counts.failed += 1;
        self.findings.story(call, open.kind, &format!("failed with {status}"));
        self.failed += 1;
        self.directions.entry(open.direction).or_default().failed += 1;
        *self.statuses.entry(status).or_default() += 1;
    }

    /// The callee's end of an abandoned call is over, and with it the call; others go on until both ends are.
    fn abandoned(&mut self, call: u32) {
        let Some(Open { kind: kind @ Script::Abandon(_), .. }) = self.open.get(&call) else { return };
        self.kinds.entry(label(*kind)).or_default().passed += 1;
        self.as_planned += u32::from(!matches!(kind, Script::Abandon(Abandon::NoBye)));
        self.open.remove(&call);
    }

    fn call_ended(&mut self, call: u32, role: Role, report: (MediaReport, Story)) {
        if role == Role::Callee {
            self.abandoned(call);
        }
        let Some(open) = self.open.get_mut(&call) else { return };
        open.reports[role as usize] = Some(report);
        if let [Some((caller, ours)), Some((callee, theirs))] = &open.reports {
            let wrong = judge(open.kind, ours, theirs);
            let kind = self.kinds.entry(label(open.kind)).or_default();
            let counts = self.directions.entry(open.direction).or_default();
            let silent = self.rtp.join(caller, callee) | self.rtp.join(callee, caller);
            self.one_way += u32::from(silent);
            counts.one_way += u32::from(silent);
            let good = wrong.is_none() && !silent;
            kind.passed += u32::from(good);
            kind.failed += u32::from(!good);
            self.unplanned += u32::from(wrong.is_some());
            if let Some(wrong) = wrong {
                self.findings.story(call, open.kind, &wrong);
            }
            self.open.remove(&call);
        }
    }
}

/// What an answered call lacks of what its kind must show; audio both ways is judged apart.
fn judge(kind: Script, caller: &Story, callee: &Story) -> Option<String> {
    let Script::Forks(branches) = kind else {
        return match kind {
            Script::Early if caller.early == 0 => Some("nothing was heard before the answer".into()),
            Script::Hold if caller.offers != 2 => Some(format!("{} of 2 offers accepted", caller.offers)),
            Script::Hold if caller.on_hold != Some(0) => Some(format!("on hold, heard {:?}", caller.on_hold)),
            Script::Reinvite if caller.offers != 1 => Some("the offer was not accepted".into()),
            Script::Refer if caller.referred != Some(200) => Some(format!("referred: {:?}", caller.referred)),
            _ => None,
        };
    };
    let losers = usize::from(branches) - 1;
    let all = |story: &Story| story.forks.len() == losers && story.forks.iter().all(|&heard| heard > 0);
    match (all(caller), all(callee)) {
        (true, true) => None,
        _ => {
            Some(format!("of the branches the caller heard {:?}, they him {:?}", caller.forks, callee.forks))
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
