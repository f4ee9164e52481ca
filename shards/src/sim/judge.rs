//! What must be true of every run, whatever its seed.

use super::announced::contains;
use super::endpoint::{Event, Role};
use super::plan::{Plan, Who};
use crate::types::Instant;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

/// How long after an answer, a hold or a lost mapping audio may be missing.
pub const SETTLE: Duration = Duration::from_millis(2_500);
/// Longest gap in audio after that; fifty packets a second, of which the worst line loses one in twenty.
pub const GAP: Duration = Duration::from_millis(500);

/// Follows all calls and registrations, and notes what breaks a rule.
#[derive(Debug)]
pub struct Judge {
    calls: BTreeMap<u32, Watched>,
    phones: Vec<PhoneState>,
    broken: Vec<(Instant, String)>,
    tally: Tally,
}

/// What a run has exercised, so that a green run cannot be an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls answered at both ends.
    pub answered: u64,
    /// Calls refused or cancelled as planned.
    pub refused: u64,
    /// RTP packets that arrived where they belong.
    pub packets: u64,
    /// Times that one end of a call was found to be hearing the other.
    pub heard: u64,
    /// Registrations granted.
    pub registered: u64,
    /// Packets of attackers that reached a port in use.
    pub attacks: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.packets += other.packets;
        self.heard += other.heard;
        self.registered += other.registered;
        self.attacks += other.attacks;
    }
}

#[derive(Debug)]
struct PhoneState {
    site: usize,
    busy: bool,
    vanished: bool,
    /// The softswitch can reach it: registered since its NAT last forgot.
    reachable: bool,
}

#[derive(Debug)]
struct Watched {
    ends: [End; 2],
    /// The last moment at which audio had an excuse to be missing.
    disturbed: Instant,
    held: bool,
    /// Something happened after which the call may fail, or never be answered.
    excused: bool,
    /// Somebody hung up, or it failed.
    over: bool,
    /// It was planned to fail: cancelled, or the callee is busy.
    refused: bool,
    /// A re-INVITE is on its way: to hold, or to take back.
    offered: Option<bool>,
}

#[derive(Debug)]
struct End {
    who: Who,
    answered: bool,
    heard: Instant,
}

impl Judge {
    /// Nothing has happened yet.
    pub fn new(plan: &Plan) -> Self {
        let phones = plan.phones.iter().map(|phone| PhoneState {
            site: phone.site,
            busy: phone.busy,
            vanished: false,
            reachable: false,
        });
        Self { calls: BTreeMap::new(), phones: phones.collect(), broken: Vec::new(), tally: Tally::default() }
    }

    /// The rules that were broken, and when.
    pub fn broken(&self) -> &[(Instant, String)] {
        &self.broken
    }

    /// What the run has exercised.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Note a broken rule.
    pub fn blame(&mut self, now: Instant, what: String) {
        self.broken.push((now, what));
    }

    /// An attacker's packet reached a port in use.
    pub const fn attacked(&mut self) {
        self.tally.attacks += 1;
    }

    /// A call begins.
    pub fn calls(&mut self, now: Instant, call: u32, from: Who, to: Who) {
        let end = |who| End { who, answered: false, heard: now };
        let watched = Watched {
            ends: [end(from), end(to)],
            disturbed: now,
            held: false,
            excused: !self.reachable(to) || self.vanished(from),
            over: false,
            refused: matches!(to, Who::Phone(n) if self.phones[n].busy),
            offered: None,
        };
        self.calls.insert(call, watched);
    }

    /// The numbers of all calls so far.
    pub fn all_calls(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }

    /// Who plays this role in the call; `None` when it never began.
    pub fn who(&self, call: u32, role: Role) -> Option<Who> {
        self.calls.get(&call).map(|watched| watched.ends[role as usize].who)
    }

    /// An end is about to hang up, cancel or refuse.
    pub fn hangs_up(&mut self, call: u32) {
        if let Some(watched) = self.calls.get_mut(&call) {
            let up = watched.ends.iter().all(|end| end.answered);
            watched.over = true;
            watched.refused |= !up;
        }
    }

    /// May an end hold or resume now? Only when nothing else of the kind is on its way.
    pub fn holds(&mut self, call: u32, by: Role, hold: bool) -> bool {
        let Some(watched) = self.calls.get(&call) else { return false };
        let up = watched.ends.iter().all(|end| end.answered) && !watched.over;
        let other = watched.ends[1 - by as usize].who;
        let clear = up && watched.held != hold && watched.offered.is_none();
        let reachable = self.reachable(other);
        let Some(watched) = self.calls.get_mut(&call).filter(|_| clear) else { return false };
        watched.excused |= !reachable;
        watched.offered = Some(hold);
        watched.held = true;
        true
    }

    /// The NATs of a site have forgotten their mappings.
    pub fn rebound(&mut self, now: Instant, site: usize) {
        for phone in self.phones.iter_mut().filter(|phone| phone.site == site) {
            phone.reachable = false;
        }
        let phones = &self.phones;
        let there = |end: &End| matches!(end.who, Who::Phone(n) if phones[n].site == site);
        for watched in self.calls.values_mut().filter(|watched| watched.ends.iter().any(there)) {
            watched.disturbed = now;
            watched.excused |= watched.offered.is_some() || watched.ends.iter().any(|end| !end.answered);
        }
    }

    /// A terminal has lost power.
    pub fn vanished_now(&mut self, phone: usize) {
        self.phones[phone].vanished = true;
        self.phones[phone].reachable = false;
        for watched in self.calls.values_mut() {
            if watched.ends.iter().any(|end| end.who == Who::Phone(phone)) {
                (watched.over, watched.excused) = (true, true);
            }
        }
    }

    /// Is this terminal without power?
    pub fn vanished(&self, who: Who) -> bool {
        matches!(who, Who::Phone(n) if self.phones[n].vanished)
    }

    /// `who` saw something.
    pub fn saw(&mut self, now: Instant, who: Who, event: &Event) {
        match event {
            Event::Registered { .. } => self.registered(who),
            // The softswitch remembers one nonce per user: of two requests at once, one is asked twice.
            Event::RegisterFailed { status: 401 } => {}
            Event::RegisterFailed { status } => {
                self.blame(now, format!("{who:?}: REGISTER failed with {status}"));
            }
            Event::CallAnswered { call, role, .. } => self.answered(now, *call, *role),
            Event::CallFailed { call, status, .. } => self.failed(now, *call, *status),
            Event::CallEnded { call, .. } => self.ended(now, *call),
            Event::Reinvited { call, status } => self.reinvited(now, *call, *status),
            Event::RtpReceived { call, .. } => self.heard(now, *call, who),
            Event::Misdelivered { call, from } => {
                self.blame(now, format!("{who:?}: packet from {from} that is not of call {call:?}"));
            }
            // rsip reads no IPv6 reference with a port.
            Event::Unparseable { why, bytes } if why.starts_with("rsip") && contains(bytes, b"2001:db8:") => {
            }
            Event::Unparseable { why, bytes } => {
                let text = String::from_utf8_lossy(bytes);
                self.blame(now, format!("{who:?}: {why} in\n{text}"));
            }
            Event::Leak { address, message } => {
                self.blame(now, format!("{who:?}: {address} leaked in {message}"));
            }
            _ => {}
        }
    }

    /// Look at all calls: does everybody hear who should?
    pub fn look(&mut self, now: Instant) {
        for (call, watched) in &self.calls {
            let up = watched.ends.iter().all(|end| end.answered) && !watched.over && !watched.held;
            if !up || watched.excused || now.since(watched.disturbed) < SETTLE {
                continue;
            }
            for (end, role) in watched.ends.iter().zip([Role::Caller, Role::Callee]) {
                self.tally.heard += 1;
                if now.since(end.heard) > GAP {
                    let gap = now.since(end.heard).as_millis();
                    self.broken.push((
                        now,
                        format!("call {call}: {role:?} {:?} has heard nothing for {gap} ms", end.who),
                    ));
                }
            }
        }
    }

    /// The end: every call must have come about or have an excuse.
    pub fn finish(&mut self, now: Instant) {
        for (call, watched) in &self.calls {
            let answered = watched.ends.iter().all(|end| end.answered);
            self.tally.answered += u64::from(answered);
            self.tally.refused += u64::from(watched.refused && !answered);
            if !answered && !watched.excused && !watched.refused {
                self.broken.push((now, format!("call {call} was never answered")));
            }
        }
    }

    fn reachable(&self, who: Who) -> bool {
        match who {
            Who::Phone(n) => self.phones[n].reachable,
            Who::Trunk => true,
        }
    }

    fn registered(&mut self, who: Who) {
        self.tally.registered += 1;
        if let Who::Phone(n) = who {
            self.phones[n].reachable = true;
        }
    }

    fn answered(&mut self, now: Instant, call: u32, role: Role) {
        if let Some(watched) = self.calls.get_mut(&call) {
            watched.ends[role as usize].answered = true;
            watched.disturbed = now;
        }
    }

    fn failed(&mut self, now: Instant, call: u32, status: u16) {
        let Some(watched) = self.calls.get_mut(&call) else { return };
        watched.over = true;
        watched.excused |= status == 407;
        if !watched.excused && !watched.refused {
            self.blame(now, format!("call {call} failed with {status}"));
        }
    }

    fn ended(&mut self, now: Instant, call: u32) {
        let Some(watched) = self.calls.get_mut(&call) else { return };
        if !watched.over && !watched.excused {
            watched.over = true;
            self.blame(now, format!("call {call} ended though nobody hung up"));
        }
    }

    fn reinvited(&mut self, now: Instant, call: u32, status: u16) {
        let Some(watched) = self.calls.get_mut(&call) else { return };
        let fine = (200..300).contains(&status);
        watched.held = watched.offered.take().unwrap_or(watched.held);
        watched.disturbed = now;
        let excused = watched.excused || watched.over;
        watched.excused |= !fine;
        if !fine && !excused {
            self.blame(now, format!("call {call}: re-INVITE answered {status}"));
        }
    }

    fn heard(&mut self, now: Instant, call: u32, who: Who) {
        self.tally.packets += 1;
        let Some(watched) = self.calls.get_mut(&call) else { return };
        for end in watched.ends.iter_mut().filter(|end| end.who == who) {
            end.heard = now;
        }
    }
}
