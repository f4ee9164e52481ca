//! Connections of gateways: each has a session of its own, and the last description of either side.
//!
//! A description of the call agent proposes; it takes effect when the gateway has agreed, by a description of its own or by
//! saying nothing: then what it said last still holds (RFC 3435 section 2.3.6).

use super::gateway::Gateway;
use super::names::fits;
use super::transaction::Asked;
use super::{Mgcp, mode};
use crate::fault::Fault;
use crate::media::Gate;
use crate::session::account::Summary;
use crate::session::{Role, SessionKey};
use crate::signaling::Cx;
use crate::signaling::reading::at;
use crate::table::Key;
use crate::types::{Instant, RealmId, Side};
use std::sync::Arc;

/// A connection that may be silent is kept this many times longer than one that should carry media.
const HELD_FACTOR: u32 = 12;

/// One connection of a gateway.
pub(super) struct Connection {
    pub(super) gateway: Key,
    pub(super) endpoint: Box<[u8]>,
    /// The gateway's name for it.
    pub(super) id: Box<[u8]>,
    /// The call agent's name for its call.
    pub(super) call: Box<[u8]>,
    pub(super) session: SessionKey,
    /// Where that has its ports. Its gateway may be of another generation by now.
    pub(super) realms: [RealmId; 2],
    /// As the call agent wants it.
    pub(super) mode: Box<[u8]>,
    /// The gateway was told to send, although its mode is to listen only.
    pub(super) coaxed: bool,
    /// What each side said last.
    pub(super) said: [Option<Box<[u8]>>; 2],
    /// When a command was last about it.
    pub(super) touched: Instant,
}

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By a command.
    BySignaling,
    /// It was idle, or its gateway is gone.
    Reaped,
}

/// Which of a gateway's connections are meant: by endpoint (with wildcards), by call, by connection.
pub(super) struct Selection<'a> {
    pub(super) endpoint: &'a [u8],
    pub(super) call: Option<&'a [u8]>,
    pub(super) id: Option<&'a [u8]>,
}

impl Selection<'_> {
    fn takes(&self, connection: &Connection) -> bool {
        let same = |wanted: Option<&[u8]>, is: &[u8]| wanted.is_none_or(|it| it.eq_ignore_ascii_case(is));
        fits(self.endpoint, &connection.endpoint)
            && same(self.id, &connection.id)
            && (self.id.is_some() || same(self.call, &connection.call))
    }
}

impl Mgcp {
    /// A session for a connection of this gateway; `None` when the shard is full.
    pub(super) fn open_session(
        &self,
        cx: &mut Cx<'_>,
        key: Key,
        agent: std::net::IpAddr,
        asked: &mut Asked,
    ) -> Option<SessionKey> {
        let gateway = self.gateways.get(key)?;
        asked.realms = Some([gateway.access.id, gateway.core.id]);
        let session = cx.sessions.open(cx.now, &gateway.access, &gateway.core)?;
        cx.sessions.trust(cx.now, session, Side::Access, gateway.flow.remote.ip());
        cx.sessions.trust(cx.now, session, Side::Core, agent);
        cx.stats.sessions_opened += 1;
        Some(session)
    }

    /// A session of which nothing came.
    pub(super) fn drop_session(cx: &mut Cx<'_>, session: SessionKey) {
        cx.sessions.close(cx.now, session, cx.stats, cx.out);
        cx.stats.sessions_ended += 1;
    }

    /// A gateway has made a connection. One that it had by that name is no more.
    pub(super) fn add_connection(&mut self, cx: &mut Cx<'_>, connection: Connection) -> Option<Key> {
        let id = Some(&connection.id[..]);
        let old = Selection { endpoint: &connection.endpoint, call: None, id };
        for old in self.selected(connection.gateway, &old) {
            self.release(cx, old, Ended::BySignaling);
        }
        let gateway = self.gateways.get_mut(connection.gateway)?;
        cx.sessions.allow(connection.session, gate_of(&connection));
        let key = self.connections.insert(connection);
        gateway.connections.push(key);
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, super::Wake::Connection(key));
        Some(key)
    }

    /// The connections that a command is about.
    pub(super) fn selected(&self, gateway: Key, selection: &Selection<'_>) -> Vec<Key> {
        let all = self.gateways.get(gateway).map(|gateway| &gateway.connections[..]).unwrap_or_default();
        let takes = |key: &&Key| self.connections.get(**key).is_some_and(|one| selection.takes(one));
        all.iter().filter(takes).copied().collect()
    }

    /// A connection has ended: what it carried.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, key: Key, ended: Ended) -> Option<Summary> {
        let connection = self.connections.remove(key)?;
        if let Some(gateway) = self.gateways.get_mut(connection.gateway) {
            gateway.connections.retain(|one| *one != key);
        }
        match ended {
            Ended::BySignaling => cx.stats.sessions_ended += 1,
            Ended::Reaped => cx.stats.sessions_reaped += 1,
        }
        let carried = cx.sessions.summary(connection.session);
        cx.sessions.close(cx.now, connection.session, cx.stats, cx.out);
        carried
    }

    /// What the gateway said of a connection, or nothing, for the call agent. `offered`: the call agent's description that
    /// the gateway has now agreed to.
    ///
    /// # Errors
    /// As [`sdp::anchor`].
    pub(super) fn agreed(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        body: Option<&[u8]>,
        offered: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(None) };
        let Some(gateway) = self.gateways.get(connection.gateway) else { return Ok(None) };
        let (reading, session) = (gateway.reading(), connection.session);
        let again = body.is_some() && connection.said[0].as_deref() == body;
        let (access, core) = (Side::Access, Side::Core);
        let shown = match (body, &offered) {
            (Some(body), Some(_)) => Some(reading.anchor(cx, session, access, Role::Answer, body)?),
            (Some(body), None) if again => Some(reading.anchor(cx, session, access, Role::Repeat, body)?),
            (Some(body), None) => {
                let shown = reading.anchor(cx, session, access, Role::Offer, body)?;
                if let Some(said) = &connection.said[at(core)] {
                    reading.anchor(cx, session, core, Role::Answer, said)?;
                }
                Some(shown)
            }
            (None, Some(_)) => {
                if let Some(said) = &connection.said[at(access)] {
                    reading.anchor(cx, session, access, Role::Answer, said)?;
                }
                None
            }
            (None, None) => None,
        };
        if let Some(body) = body {
            connection.said[at(access)] = Some(body.into());
        }
        if let Some(offered) = offered {
            connection.said[at(core)] = Some(offered.into());
        }
        cx.sessions.commit(cx.now, session, cx.out);
        cx.sessions.settle(cx.now, session, cx.out);
        Ok(shown)
    }

    /// The mode of a connection is another one.
    pub(super) fn set_mode(&mut self, cx: &mut Cx<'_>, key: Key, mode: &[u8], coaxed: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        (connection.mode, connection.coaxed) = (mode.into(), coaxed);
        cx.sessions.allow(connection.session, gate_of(connection));
    }

    /// Is a connection still in use? What carries nothing for too long is not.
    pub(super) fn look_at(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some((last, flows)) = cx.sessions.activity(connection.session) else { return };
        let idle = cx.mapping.limits.media_idle * if flows { 1 } else { HELD_FACTOR };
        if cx.now - last.max(connection.touched) >= idle {
            self.release(cx, key, Ended::Reaped);
            return;
        }
        if cx.sessions.is_held(connection.session) {
            cx.sessions.keep_open(connection.session, cx.out);
        }
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, super::Wake::Connection(key));
    }

    /// Is anything still running on this realm?
    pub(super) fn connects(&self, realm: RealmId) -> bool {
        self.connections.iter().any(|(_, connection)| connection.realms.contains(&realm))
            || self.transactions.opens(realm)
    }

    /// Is anything still running with this softswitch?
    pub(super) fn connects_by(&self, softswitch: &crate::realm::Softswitch) -> bool {
        let by = |gateway: &Gateway| Arc::as_ref(&gateway.softswitch) == softswitch;
        self.gateways.roster.iter().any(|(_, gateway)| !gateway.connections.is_empty() && by(gateway))
    }
}

/// What a connection's mode lets through.
fn gate_of(connection: &Connection) -> Gate {
    mode::gate(&connection.mode)
}
