//! Answers on their way back, and what they change.

use super::connection::{Connection, Ended, Selection};
use super::rewrite::Rewrite;
use super::transaction::{Asked, Origin};
use super::{Mgcp, Wake, mode, report};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::session::Role;
use crate::signaling::Cx;
use crate::signaling::reading::is_local;
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::mgcp::{Endpoint, Message, Verb};
use crate::wire::sdp::Sdp;
use bytes::Bytes;

impl Mgcp {
    /// An answer to a command that we sent.
    ///
    /// # Errors
    /// [`Fault::PeerMisbehaved`] for one that we did not ask for, or not there.
    pub(super) fn take_answer(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        code: u16,
        flow: Flow,
    ) -> Result<(), Fault> {
        let Some(key) = self.transactions.ours(message.transaction) else {
            cx.dropped(DropReason::Unmatched);
            return Err(Fault::PeerMisbehaved("an answer to nothing"));
        };
        if !self.may_answer(cx, key, &flow) {
            cx.dropped(DropReason::Untrusted);
            return Err(Fault::PeerMisbehaved("an answer from elsewhere"));
        }
        let acknowledged = message.parameter("K").is_some_and(|k| k.value.is_empty());
        if code >= 200 && acknowledged {
            cx.send(flow, format!("000 {}\r\n", message.transaction).into_bytes());
        }
        let Some(transaction) = self.transactions.get_mut(key) else { return Ok(()) };
        transaction.heard = true;
        let (gateway, own, done) =
            (transaction.gateway, transaction.back.is_none(), transaction.answer.is_some());
        if own && code >= 200 {
            self.transactions.remove(key);
        }
        if self.gateways.get(gateway).is_some_and(|gateway| gateway.flow.same_path(&flow)) {
            self.hear(cx, gateway);
            self.gateways.get_mut(gateway).into_iter().for_each(|gateway| gateway.standing.reached = true);
        }
        if self.gateways.get(gateway).is_none() {
            cx.dropped(DropReason::Unmatched);
        } else if !own && !done {
            self.relay(cx, key, message, code);
        }
        Ok(())
    }

    /// May an answer to this command come from there? From any port of the gateway's address, because its NAT may have
    /// changed it; from any address of the call agent (RFC 3435 section 3.5).
    fn may_answer(&self, cx: &Cx<'_>, key: Key, flow: &Flow) -> bool {
        let Some(transaction) = self.transactions.get(key) else { return false };
        let gateway = self.gateways.get(transaction.gateway);
        Self::side(cx, flow) == transaction.toward
            && match transaction.toward {
                Side::Access => transaction.to.remote.ip() == flow.remote.ip(),
                Side::Core => gateway.is_some_and(|gateway| gateway.softswitch.accepts(flow.remote.ip())),
            }
    }

    /// The answer as its asker sees it.
    fn relay(&mut self, cx: &mut Cx<'_>, key: Key, message: &Message<'_>, code: u16) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        let (verb, toward, gateway) = (transaction.verb, transaction.toward, transaction.gateway);
        let (Origin::Gateway(_, id) | Origin::Agent(_, _, id) | Origin::Own(id)) = transaction.origin;
        let (mut asked, agent) = (std::mem::take(&mut transaction.asked), transaction.to.remote);
        let mut rewrite = Rewrite::new(message, id);
        let result = match toward {
            Side::Access => self.gateway_answers(cx, gateway, verb, &mut asked, code, &mut rewrite),
            Side::Core => {
                self.redirect(&mut rewrite, gateway, agent, verb == Verb::Restart && code == 521);
                self.agent_answers(cx, gateway, verb, &mut asked, code, &mut rewrite)
            }
        };
        let answer = match result {
            Ok(()) => rewrite.finish(),
            Err(fault) => {
                tracing::debug!(%fault, "answer of a gateway not passed on");
                self.undo(cx, gateway, verb, &asked);
                cx.stats.refuse(502);
                format!("502 {id} No resources for the description\r\n").into_bytes()
            }
        };
        let answer = Bytes::from(answer);
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if code >= 200 || !answer.starts_with(b"1") {
            transaction.answer = Some(answer.clone());
            transaction.keep(cx.now);
        } else {
            transaction.asked = asked;
        }
        if let Some(back) = transaction.back {
            cx.send(back, answer);
        }
    }

    /// A call agent has answered its gateway.
    fn agent_answers(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        verb: Verb,
        asked: &mut Asked,
        code: u16,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Fault> {
        let Some(gateway) = self.gateways.get_mut(key) else { return Ok(()) };
        rewrite.endpoints(&gateway.domain);
        rewrite.comment(&gateway.name, &gateway.domain);
        rewrite.conceal(gateway.reading(), Side::Core)?;
        if code < 200 {
            return Ok(());
        }
        let accepted = code < 300;
        if accepted && !gateway.standing.proven {
            gateway.standing.proven = true;
            self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Keepalive(key));
        }
        match verb {
            Verb::Restart if accepted && asked.ends => {
                let ended = Selection { endpoint: &asked.endpoint, call: None, id: None };
                for connection in self.selected(key, &ended) {
                    self.release(cx, connection, Ended::BySignaling);
                }
            }
            Verb::Delete => self.deleted(cx, asked, None),
            _ => {}
        }
        Ok(())
    }

    /// A gateway has answered its call agent.
    fn gateway_answers(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        verb: Verb,
        asked: &mut Asked,
        code: u16,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Fault> {
        let Some(gateway) = self.gateways.get(key) else { return Ok(()) };
        rewrite.endpoints(&gateway.name);
        rewrite.comment(&gateway.domain, &gateway.name);
        let reading = gateway.reading();
        self.restore_entity(rewrite, key);
        match verb {
            Verb::Create | Verb::Modify if code >= 300 => {
                self.abandon(cx, verb, std::mem::take(asked));
            }
            Verb::Create => self.created(cx, key, asked, code, rewrite)?,
            Verb::Modify => self.modified(cx, asked, code, rewrite)?,
            Verb::Delete if code >= 200 => {
                // A transient error: the connection is still there (RFC 3435 section 2.4).
                if (400..500).contains(&code) {
                    self.abandon(cx, Verb::Modify, std::mem::take(asked));
                } else {
                    self.deleted(cx, asked, rewrite.message.value("P"));
                }
            }
            Verb::AuditConnection => self.audited(cx, key, asked, rewrite)?,
            _ => {}
        }
        rewrite.conceal(reading, Side::Access)
    }

    /// A connection is there, or two.
    fn created(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        asked: &mut Asked,
        code: u16,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Fault> {
        let message = rewrite.message;
        for (n, (id, name)) in [("I", "Z"), ("I2", "Z2")].into_iter().enumerate() {
            let body = message.descriptions.get(n).map(|span| span.of(message.bytes()));
            let Some(id) = message.value(id).filter(|_| n == 0 || body.is_some()) else { break };
            let known = asked.connections.get(n).copied();
            let connection = match known {
                Some(known) => Some(known),
                None => self.create(cx, key, asked, id, local_of(message, name)),
            };
            let connection = connection.ok_or(Fault::Refused("no session is free"))?;
            if known.is_none() {
                asked.connections.push(connection);
            }
            let offer = asked.offer.take_if(|_| n == 0);
            if let Some(shown) = self.agreed(cx, connection, body, offer)? {
                rewrite.description(n, &shown);
            }
        }
        if code >= 200 {
            asked.session.take().into_iter().for_each(|session| Self::drop_session(cx, session));
        }
        Ok(())
    }

    fn create(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        asked: &mut Asked,
        id: &[u8],
        endpoint: Option<&[u8]>,
    ) -> Option<Key> {
        let agent = self.gateways.get(key)?.serves()?.ip();
        let session = match asked.session.take() {
            Some(session) => session,
            None => self.open_session(cx, key, agent, asked)?,
        };
        let connection = Connection {
            gateway: key,
            endpoint: endpoint.unwrap_or(&asked.endpoint).into(),
            id: id.into(),
            call: asked.call.clone(),
            session,
            mode: asked.mode.clone().unwrap_or_else(|| mode::SPEAKING.into()),
            coaxed: asked.coaxed,
            realms: asked.realms?,
            said: [None, None],
            touched: cx.now,
        };
        self.add_connection(cx, connection)
    }

    /// A connection is another one than before.
    fn modified(
        &mut self,
        cx: &mut Cx<'_>,
        asked: &mut Asked,
        code: u16,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Fault> {
        let message = rewrite.message;
        let body = message.descriptions.first().map(|span| span.of(message.bytes()));
        let Some(&connection) = asked.connections.first().filter(|_| body.is_some() || code >= 200) else {
            return Ok(());
        };
        if let Some(shown) = self.agreed(cx, connection, body, asked.offer.take())? {
            rewrite.description(0, &shown);
        }
        let Some(known) = self.connections.get_mut(connection) else { return Ok(()) };
        known.touched = cx.now;
        let mode = asked.mode.clone().unwrap_or_else(|| known.mode.clone());
        self.set_mode(cx, connection, &mode, asked.coaxed);
        Ok(())
    }

    /// Connections are gone. `reported`: what the gateway says that one of them has carried.
    fn deleted(&mut self, cx: &mut Cx<'_>, asked: &mut Asked, reported: Option<&[u8]>) {
        let connections = std::mem::take(&mut asked.connections);
        let one = connections.len() == 1;
        for key in connections {
            let carried = self.release(cx, key, Ended::BySignaling);
            if let Some((reported, carried)) = reported.filter(|_| one).zip(carried) {
                report::compare(cx, reported, &carried);
            }
        }
    }

    /// What a gateway says of a connection: its own description, and the one that it was given.
    fn audited(
        &self,
        cx: &mut Cx<'_>,
        key: Key,
        asked: &Asked,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Fault> {
        let gateway = self.gateways.get(key).ok_or(Fault::Refused("the gateway is gone"))?;
        let (message, reading) = (rewrite.message, gateway.reading());
        let connection = asked.connections.first().and_then(|key| self.connections.get(*key));
        let coaxed = connection.filter(|connection| connection.coaxed);
        if let Some((mode, connection)) = message.parameter("M").zip(coaxed) {
            rewrite.value(mode, &connection.mode);
        }
        for (n, span) in message.descriptions.iter().enumerate() {
            let body = span.of(message.bytes());
            let given = Sdp::parse(body)?.connections().any(|c| c.ip == Some(reading.ours(Side::Core)));
            let shown = match connection {
                Some(Connection { said: [_, Some(said)], .. }) if given => said.to_vec(),
                Some(connection) if !given && !is_local(body) => {
                    let session = connection.session;
                    let shown = reading.anchor(cx, session, Side::Access, Role::Repeat, body);
                    shown.or_else(|_| reading.conceal(Side::Access, body))?
                }
                _ => reading.conceal(Side::Access, body)?,
            };
            rewrite.description(n, &shown);
        }
        Ok(())
    }

    /// A command has failed, or was never answered: what it would have changed stays, but what was about to end has ended
    /// if nobody says otherwise.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>, verb: Verb, mut asked: Asked) {
        if let Some(session) = asked.session {
            Self::drop_session(cx, session);
        }
        match verb {
            Verb::Create => {
                for connection in asked.connections {
                    self.release(cx, connection, Ended::BySignaling);
                }
            }
            Verb::Modify => {
                for connection in asked.connections.iter().filter_map(|key| self.connections.get(*key)) {
                    cx.sessions.rollback(cx.now, connection.session, Side::Core, cx.out);
                    cx.sessions.gate(connection.session, true);
                }
            }
            Verb::Delete => self.deleted(cx, &mut asked, None),
            _ => {}
        }
    }

    /// A gateway's description could not be passed on: a connection that was made for it is taken back.
    fn undo(&mut self, cx: &mut Cx<'_>, gateway: Key, verb: Verb, asked: &Asked) {
        if verb != Verb::Create {
            return;
        }
        for key in asked.connections.clone() {
            if let Some(connection) = self.connections.get(key) {
                let (endpoint, call, id) = (&connection.endpoint, &connection.call, &connection.id);
                let lines = [&b"C: "[..], call, b"\r\nI: ", id, b"\r\n"].concat();
                let endpoint = endpoint.clone();
                self.say(cx, gateway, Verb::Delete, &endpoint, &lines);
            }
            self.release(cx, key, Ended::BySignaling);
        }
        asked.session.into_iter().for_each(|session| Self::drop_session(cx, session));
    }
}

/// The local name in a parameter that names one endpoint.
fn local_of<'b>(message: &Message<'b>, name: &str) -> Option<&'b [u8]> {
    let value = message.parameter(name)?.value;
    Some(Endpoint::parse(message.bytes(), value)?.local.of(message.bytes()))
}
