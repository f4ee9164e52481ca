//! Bearers of gateways: each stream of a termination has a session of its own, and the last description of either side.
//!
//! A Remote descriptor of the controller proposes; it takes effect when the gateway has agreed, by a Local descriptor of its
//! own or by saying nothing: then what it said last still holds.

use super::description::{self, Groups};
use super::gateway::Gateway;
use super::{H248, Wake, gate};
use crate::fault::Fault;
use crate::session::account::Summary;
use crate::session::{Role, SessionKey};
use crate::signaling::Cx;
use crate::signaling::reading::at;
use crate::table::Key;
use crate::types::{Instant, RealmId, Side};
use crate::wire::h248::{Context, Mode, Termination};
use std::net::IpAddr;
use std::sync::Arc;

/// A bearer that may be silent is kept this many times longer than one that should carry media.
const HELD_FACTOR: u32 = 12;

/// One stream of a termination.
pub(super) struct Bearer {
    pub(super) gateway: Key,
    pub(super) termination: Termination,
    pub(super) stream: u16,
    /// Where its termination is.
    pub(super) context: Context,
    pub(super) session: SessionKey,
    /// Where that has its ports. Its gateway may be of another generation by now.
    pub(super) realms: [RealmId; 2],
    /// As the controller wants it.
    pub(super) mode: Option<Mode>,
    /// The gateway was told to send, although its mode is to listen only.
    pub(super) coaxed: bool,
    /// What each side said last.
    pub(super) said: [Option<Groups>; 2],
    /// When a request was last about it.
    pub(super) touched: Instant,
}

/// A session, and where it has its ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) session: SessionKey,
    pub(super) realms: [RealmId; 2],
}

/// How a bearer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By a command.
    BySignaling,
    /// It was idle, or its gateway is gone.
    Reaped,
}

/// Which of a gateway's bearers are meant.
pub(super) struct Selection<'a> {
    pub(super) terminations: &'a [Termination],
    /// Only in this context, if it names one.
    pub(super) context: Context,
}

impl Selection<'_> {
    fn takes(&self, bearer: &Bearer) -> bool {
        let meant = |one: &Termination| one.is_root() || one.takes(&bearer.termination);
        let here = match self.context {
            Context::Id(_) => self.context == bearer.context,
            Context::Null | Context::Choose | Context::All => true,
        };
        let exact = self.terminations.contains(&bearer.termination);
        exact || here && self.terminations.iter().any(meant)
    }
}

impl H248 {
    /// A session for a bearer of this gateway; `None` when the shard is full.
    pub(super) fn open_session(&self, cx: &mut Cx<'_>, key: Key, controller: IpAddr) -> Option<Opened> {
        let gateway = self.gateways.get(key)?;
        let session = cx.sessions.open(cx.now, &gateway.access, &gateway.core)?;
        cx.sessions.trust(cx.now, session, Side::Access, gateway.flow.remote.ip());
        cx.sessions.trust(cx.now, session, Side::Core, controller);
        cx.stats.sessions_opened += 1;
        Some(Opened { session, realms: [gateway.access.id, gateway.core.id] })
    }

    /// A session of which nothing came.
    pub(super) fn drop_session(cx: &mut Cx<'_>, session: SessionKey) {
        cx.sessions.close(cx.now, session, cx.stats, cx.out);
        cx.stats.sessions_ended += 1;
    }

    /// A gateway has made a bearer. One that it had by that name is no more.
    pub(super) fn add_bearer(&mut self, cx: &mut Cx<'_>, bearer: Bearer) -> Option<Key> {
        let old = self.bearer(bearer.gateway, &bearer.termination, bearer.stream);
        old.into_iter().for_each(|old| drop(self.release(cx, old, Ended::BySignaling)));
        let gateway = self.gateways.get_mut(bearer.gateway)?;
        cx.sessions.allow(bearer.session, gate::of(bearer.mode));
        let key = self.bearers.insert(bearer);
        gateway.bearers.push(key);
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Bearer(key));
        Some(key)
    }

    /// The bearer of this termination and stream.
    pub(super) fn bearer(&self, gateway: Key, termination: &Termination, stream: u16) -> Option<Key> {
        let all = &self.gateways.get(gateway)?.bearers;
        let is = |bearer: &Bearer| bearer.stream == stream && bearer.termination == *termination;
        all.iter().copied().find(|key| self.bearers.get(*key).is_some_and(is))
    }

    /// The bearers that a command is about.
    pub(super) fn selected(&self, gateway: Key, selection: &Selection<'_>) -> Vec<Key> {
        let all = self.gateways.get(gateway).map(|gateway| &gateway.bearers[..]).unwrap_or_default();
        let takes = |key: &&Key| self.bearers.get(**key).is_some_and(|one| selection.takes(one));
        all.iter().filter(takes).copied().collect()
    }

    /// A bearer has ended: what it carried.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, key: Key, ended: Ended) -> Option<Summary> {
        let bearer = self.bearers.remove(key)?;
        if let Some(gateway) = self.gateways.get_mut(bearer.gateway) {
            gateway.bearers.retain(|one| *one != key);
        }
        match ended {
            Ended::BySignaling => cx.stats.sessions_ended += 1,
            Ended::Reaped => cx.stats.sessions_reaped += 1,
        }
        let carried = cx.sessions.summary(bearer.session);
        cx.sessions.close(cx.now, bearer.session, cx.stats, cx.out);
        carried
    }

    /// What the gateway said of a bearer, or nothing, for the controller. `offered`: the controller's description that the
    /// gateway has now agreed to.
    ///
    /// # Errors
    /// As [`description::anchor`].
    pub(super) fn agreed(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        local: Option<Groups>,
        offered: Option<Groups>,
    ) -> Result<Option<Groups>, Fault> {
        let Some(bearer) = self.bearers.get_mut(key) else { return Ok(None) };
        let Some(gateway) = self.gateways.get(bearer.gateway) else { return Ok(None) };
        let (reading, session) = (gateway.reading(), bearer.session);
        let again = local.is_some() && bearer.said[0] == local;
        let (access, core) = (Side::Access, Side::Core);
        let mut anchor =
            |side, role, groups: &Groups| description::anchor(reading, cx, session, (side, role), groups);
        let shown = match (&local, &offered) {
            (Some(local), Some(_)) => Some(anchor(access, Role::Answer, local)?),
            (Some(local), None) if again => Some(anchor(access, Role::Repeat, local)?),
            (Some(local), None) => {
                let shown = anchor(access, Role::Offer, local)?;
                if let Some(said) = &bearer.said[at(core)] {
                    anchor(core, Role::Answer, said)?;
                }
                Some(shown)
            }
            (None, Some(_)) => {
                if let Some(said) = &bearer.said[at(access)] {
                    anchor(access, Role::Answer, said)?;
                }
                None
            }
            (None, None) => None,
        };
        if local.is_some() {
            bearer.said[at(access)] = local;
        }
        if offered.is_some() {
            bearer.said[at(core)] = offered;
        }
        bearer.touched = cx.now;
        cx.sessions.commit(cx.now, session, cx.out);
        cx.sessions.settle(cx.now, session, cx.out);
        Ok(shown)
    }

    /// The mode of a bearer is another one.
    pub(super) fn set_mode(&mut self, cx: &mut Cx<'_>, key: Key, mode: Option<Mode>, coaxed: bool) {
        let Some(bearer) = self.bearers.get_mut(key) else { return };
        (bearer.mode, bearer.coaxed) = (mode.or(bearer.mode), coaxed);
        cx.sessions.allow(bearer.session, gate::of(bearer.mode));
    }

    /// Is a bearer still in use? What carries nothing for too long is not.
    pub(super) fn look_at(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(bearer) = self.bearers.get_mut(key) else { return };
        let Some((last, flows)) = cx.sessions.activity(bearer.session) else { return };
        let idle = cx.mapping.limits.media_idle * if flows { 1 } else { HELD_FACTOR };
        if cx.now - last.max(bearer.touched) >= idle {
            self.release(cx, key, Ended::Reaped);
            return;
        }
        if cx.sessions.is_held(bearer.session) {
            cx.sessions.keep_open(bearer.session, cx.out);
        }
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Bearer(key));
    }

    /// Is anything still running on this realm?
    pub(super) fn bears(&self, realm: RealmId) -> bool {
        self.bearers.iter().any(|(_, bearer)| bearer.realms.contains(&realm))
            || self.transactions.opens(realm)
    }

    /// Is anything still running with this softswitch?
    pub(super) fn bears_by(&self, softswitch: &crate::realm::Softswitch) -> bool {
        let by = |gateway: &Gateway| Arc::as_ref(&gateway.softswitch) == softswitch;
        self.gateways.roster.iter().any(|(_, gateway)| !gateway.bearers.is_empty() && by(gateway))
    }
}
