//! Which server of a softswitch gets a request (RFC 3263 section 4.3, RFC 2782), and which of them serve now.

use super::overload::{Overload, is_urgent};
use super::probe::Probed;
use super::reply::Reply;
use crate::io::DropReason;
use crate::random::{Keyed, Rng};
use crate::realm::{Server, Softswitch};
use crate::signaling::Cx;
use crate::types::{Flow, Instant};
use crate::wire::sip::Message;
use hashbrown::HashMap;
use std::time::Duration;

/// A server that did not answer is not asked again for this long, unless no other is left.
const DOWN: Duration = Duration::from_secs(30);
/// The longest Retry-After that is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is known of the servers.
pub(super) struct Servers {
    health: HashMap<Server, Health, Keyed>,
    /// Who is asked whether it serves, and how many times that was decided anew.
    planned: Vec<Probed>,
    plan: u32,
    overload: Overload,
}

/// Why a server is not asked now.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    /// It did not answer.
    down: Option<Instant>,
    /// It asked for a pause (Retry-After).
    paused: Option<Instant>,
}

impl Servers {
    /// Nothing is known: all serve.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            health: HashMap::with_hasher(Keyed::new(rng)),
            planned: Vec::new(),
            plan: 0,
            overload: Overload::new(rng),
        }
    }

    /// A server has answered a request that went by `flow`, and may have said how much it can take. True: it wants
    /// less than it gets.
    pub(super) fn heed(&mut self, now: Instant, flow: &Flow, response: &Message<'_>) -> bool {
        self.overload.heed(now, flow, response)
    }

    /// Does this server take one more new request? Requests within dialogs, and urgent ones, are not asked.
    ///
    /// # Errors
    /// The 503 that refuses it; it was counted.
    pub(super) fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        server: &Server,
        message: &Message<'_>,
    ) -> Result<(), Reply> {
        if is_urgent(message) || self.overload.admits(cx.now, cx.rng, server) {
            return Ok(());
        }
        cx.dropped(DropReason::Overload);
        Err(Reply::UNAVAILABLE)
    }

    /// Ask these from now on. Gives the number of the plan.
    pub(super) fn plan(&mut self, probed: Vec<Probed>) -> u32 {
        self.planned = probed;
        self.plan = self.plan.wrapping_add(1);
        self.plan
    }

    /// Who is asked.
    pub(super) fn planned(&self) -> &[Probed] {
        &self.planned
    }

    /// The server to ask, if the plan is still this one.
    pub(super) fn due(&self, plan: u32, at: u32) -> Option<Probed> {
        self.planned.get(at as usize).filter(|_| plan == self.plan).cloned()
    }

    /// The server for a request that `tried` have not answered. The first time, when all are down, one of those all
    /// the same.
    ///
    /// # Errors
    /// The reply to the sender: none serves, or none by an enciphered transport where the request wants one.
    pub(super) fn pick(
        &self,
        cx: &mut Cx<'_>,
        softswitch: &Softswitch,
        tried: &[Server],
        secure: bool,
    ) -> Result<Server, Reply> {
        let fits = |server: &&Server| !secure || server.transport.is_secure();
        if secure && !softswitch.targets.iter().any(|server| fits(&server)) {
            return Err(Reply::TEMPORARILY);
        }
        let rest = || softswitch.targets.iter().filter(fits).filter(|server| !tried.contains(server));
        let serving = rest().filter(|server| self.serves(cx.now, server)).collect::<Vec<_>>();
        if !serving.is_empty() || !tried.is_empty() {
            return choose(cx.rng, &self.calmer(cx.now, &serving)).cloned().ok_or(Reply::UNAVAILABLE);
        }
        let down = rest().filter(|server| !self.is_paused(cx.now, server)).collect::<Vec<_>>();
        choose(cx.rng, &down).cloned().ok_or(Reply::UNAVAILABLE)
    }

    /// Is there a server that serves and was not tried?
    pub(super) fn has_other(
        &self,
        cx: &Cx<'_>,
        softswitch: &Softswitch,
        tried: &[Server],
        secure: bool,
    ) -> bool {
        softswitch.targets.iter().any(|server| {
            !tried.contains(server)
                && (!secure || server.transport.is_secure())
                && self.serves(cx.now, server)
        })
    }

    /// The last of these servers has answered.
    pub(super) fn answered(&mut self, tried: &[Server]) {
        if let Some(health) = tried.last().and_then(|server| self.health.get_mut(server)) {
            health.down = None;
        }
    }

    /// It did not answer in time, or could not be reached.
    pub(super) fn failed(&mut self, now: Instant, server: &Server) {
        self.health.entry(server.clone()).or_default().down = Some(now + DOWN);
    }

    /// It answered 503: with a Retry-After it is left alone for so long.
    pub(super) fn refused(&mut self, now: Instant, server: &Server, pause: Option<Duration>) {
        let Some(pause) = pause else { return };
        self.health.entry(server.clone()).or_default().paused = Some(now + pause.min(LONGEST_PAUSE));
    }

    /// It was asked whether it serves; `None` is no answer.
    pub(super) fn probed(&mut self, now: Instant, server: &Server, status: Option<u16>) {
        match status {
            Some(503) | None => self.failed(now, server),
            Some(_) => drop(self.health.remove(server)),
        }
    }

    /// Of the servers of the first priority those that take what they get; all, if there is none.
    fn calmer<'s>(&self, now: Instant, serving: &[&'s Server]) -> Vec<&'s Server> {
        let first = serving.iter().map(|server| server.priority).min();
        let equals = serving.iter().copied().filter(|server| Some(server.priority) == first);
        let calm = equals.filter(|server| !self.overload.limits(now, server)).collect::<Vec<_>>();
        if calm.is_empty() { serving.to_vec() } else { calm }
    }

    fn serves(&self, now: Instant, server: &Server) -> bool {
        let down = self.health.get(server).and_then(|health| health.down);
        down.is_none_or(|until| until <= now) && !self.is_paused(now, server)
    }

    fn is_paused(&self, now: Instant, server: &Server) -> bool {
        let paused = self.health.get(server).and_then(|health| health.paused);
        paused.is_some_and(|until| until > now)
    }
}

/// The lowest priority first; among its servers at random by weight. A weight of 0 is a small one (RFC 2782).
fn choose<'s>(rng: &mut Rng, servers: &[&'s Server]) -> Option<&'s Server> {
    let first = servers.iter().map(|server| server.priority).min()?;
    let equals = || servers.iter().filter(|server| server.priority == first);
    let weight = |server: &Server| u64::from(server.weight) * 100 + 1;
    let mut left = match equals().count() {
        1 => 0,
        _ => rng.below(equals().map(|server| weight(server)).sum()),
    };
    for server in equals() {
        match left.checked_sub(weight(server)) {
            Some(less) => left = less,
            None => return Some(server),
        }
    }
    None
}
