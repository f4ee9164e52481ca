//! Commands on their way: from a gateway to its call agent, and from a call agent to a gateway.

use super::agent::agent_at;
use super::connection::Selection;
use super::names::{Place, is_wild};
use super::refuse::Refusal;
use super::rewrite::Rewrite;
use super::transaction::{Asked, HISTORY, Origin, Transaction};
use super::{Mgcp, Wake, mode};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::session::Role;
use crate::signaling::Cx;
use crate::signaling::guest::guest_at;
use crate::signaling::reading::at;
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::Span;
use crate::wire::mgcp::{Ack, Endpoint, Message, Start, Verb, acks, endpoints};
use bytes::Bytes;
use std::net::SocketAddr;

/// Transactions that one list of acknowledged ones (K:) may name.
const MAX_ACKNOWLEDGED: usize = 256;

/// A command as it came in.
#[derive(Clone, Copy)]
pub(super) struct Command<'m, 'b> {
    pub(super) message: &'m Message<'b>,
    pub(super) verb: Verb,
    pub(super) endpoint: Endpoint,
    pub(super) flow: Flow,
}

impl<'b> Command<'_, 'b> {
    const fn bytes(&self) -> &'b [u8] {
        self.message.bytes()
    }

    fn local(&self) -> &'b [u8] {
        self.endpoint.local.of(self.bytes())
    }

    /// Which connections it is about.
    fn selection(&self) -> Selection<'b> {
        let (call, id) = (self.message.value("C"), self.message.value("I"));
        Selection { endpoint: self.local(), call, id }
    }

    /// What its answer will be read by.
    fn asked(&self) -> Asked {
        let method = self.message.value("RM").unwrap_or_default();
        let ends = [&b"restart"[..], b"forced"].iter().any(|end| method.eq_ignore_ascii_case(end));
        Asked {
            endpoint: self.local().into(),
            call: self.message.value("C").unwrap_or_default().into(),
            mode: self.message.value("M").map(Into::into),
            ends: self.verb == Verb::Restart && ends,
            ..Asked::default()
        }
    }
}

impl Mgcp {
    /// One message that this shard owns.
    ///
    /// # Errors
    /// A fault was counted or answered.
    pub(super) fn take(&mut self, cx: &mut Cx<'_>, bytes: &[u8], flow: Flow) -> Result<(), Fault> {
        let message = Message::parse(bytes).inspect_err(|fault| Self::malformed(cx, bytes, flow, *fault))?;
        let (verb, endpoint) = match message.start {
            Start::Response { code: 0 } => return Ok(()),
            Start::Response { code } => return self.take_answer(cx, &message, code, flow),
            Start::Command { verb, endpoint } => (verb, endpoint),
        };
        cx.stats.mgcp_command(verb);
        let command = Command { message: &message, verb, endpoint, flow };
        let result = match Self::side(cx, &flow) {
            Side::Access => self.take_from_gateway(cx, command),
            Side::Core => self.take_from_agent(cx, command),
        };
        result.map_err(|refusal| {
            Self::refuse(cx, message.transaction, flow, refusal);
            Fault::Refused(refusal.text)
        })
    }

    /// A command of a gateway goes to its call agent.
    fn take_from_gateway(&mut self, cx: &mut Cx<'_>, command: Command<'_, '_>) -> Result<(), Refusal> {
        if !matches!(command.verb, Verb::Notify | Verb::Delete | Verb::Restart | Verb::Other) {
            return Err(Refusal::VERB);
        }
        let (message, flow) = (command.message, command.flow);
        let place = Place::of(cx, &flow, command.bytes(), &command.endpoint);
        let known = self.gateways.roster.at(&place, &flow);
        known.into_iter().for_each(|key| self.hear(cx, key));
        let repeated =
            known.and_then(|key| self.transactions.asked(Origin::Gateway(key, message.transaction)));
        if let Some(repeated) = repeated {
            self.again(cx, repeated, flow);
            return Ok(());
        }
        if command.verb == Verb::Restart {
            let agent = cx.mapping.agent(flow.realm, crate::types::Proto::Mgcp).ok_or(Refusal::UNSERVED)?;
            if !self.avalanche.lets_pass(cx.now, &agent.name) {
                cx.dropped(DropReason::Avalanche);
                return Ok(());
            }
        }
        self.room(cx)?;
        let key = match known {
            Some(key) => Some(key),
            None => self.newcomer(cx, &place, flow, command.bytes())?,
        };
        let Some(key) = key else { return Ok(()) };
        self.learn(key, &command);
        self.pass_up(cx, key, command)
    }

    /// What a command tells of its gateway.
    fn learn(&mut self, key: Key, command: &Command<'_, '_>) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        let bytes = command.bytes();
        gateway.domain = command.endpoint.domain.of(bytes).into();
        let line = Span::new(command.endpoint.whole.end, command.message.start_line.end);
        gateway.version = line.of(bytes).trim_ascii().into();
        if !is_wild(command.local()) {
            gateway.endpoint = command.local().into();
        }
    }

    fn pass_up(&mut self, cx: &mut Cx<'_>, key: Key, command: Command<'_, '_>) -> Result<(), Refusal> {
        let (message, flow) = (command.message, command.flow);
        let guest = self.gateways.get(key).and_then(super::gateway::Gateway::guest);
        if guest.is_some_and(|guest| {
            self.transactions.of_guest(guest) >= cx.mapping.limits.transactions_per_source
        }) {
            return Err(Refusal::QUOTA);
        }
        let id = self.transactions.number(cx.shard);
        let mut rewrite = Rewrite::new(message, id);
        let entity = self.restore_entity(&mut rewrite, key);
        let origin = |id| Origin::Gateway(key, id);
        self.acknowledge(&mut rewrite, origin);
        let gateway = self.gateways.get(key).ok_or(Refusal::UNKNOWN)?;
        rewrite.domain(&command.endpoint, &gateway.name);
        rewrite.endpoints(&gateway.name);
        rewrite.conceal(gateway.reading(), Side::Access).map_err(Refusal::of_description)?;
        let to = entity.filter(|_| command.verb == Verb::Notify).or_else(|| gateway.serves());
        let to = gateway.core_flow(to.ok_or(Refusal::UNSERVED)?);
        let mut asked = command.asked();
        if command.verb == Verb::Delete {
            self.close_gates(cx, key, &command, &mut asked);
        }
        let (sent, guest) = (rewrite.finish(), guest.map(|_| guest_at(&flow)));
        let transaction = begun(cx, &command, key, (id, origin(message.transaction)), to, sent);
        self.forward(cx, Transaction { guest, asked, ..transaction });
        Ok(())
    }

    /// A command of a call agent goes to the gateway that it names.
    fn take_from_agent(&mut self, cx: &mut Cx<'_>, command: Command<'_, '_>) -> Result<(), Refusal> {
        let (message, flow) = (command.message, command.flow);
        let softswitch = agent_at(cx, &flow).ok_or(Refusal::UNKNOWN)?;
        let domain = command.endpoint.domain.of(command.bytes());
        let key = self.gateways.named(&softswitch, domain).ok_or(Refusal::UNKNOWN)?;
        if matches!(command.verb, Verb::Notify | Verb::Restart) {
            return Err(Refusal::VERB);
        }
        let origin = |id| Origin::Agent(key, flow.remote.ip(), id);
        if let Some(repeated) = self.transactions.asked(origin(message.transaction)) {
            self.again(cx, repeated, flow);
            return Ok(());
        }
        self.room(cx)?;
        let id = self.transactions.number(cx.shard);
        let mut rewrite = Rewrite::new(message, id);
        self.own_endpoints(key, &mut rewrite, &command.endpoint)?;
        self.acknowledge(&mut rewrite, origin);
        let mut asked = command.asked();
        let ready = self.prepare(cx, key, &command, &mut asked, &mut rewrite).and_then(|()| {
            self.show_entity(&mut rewrite, key, command.verb, command.local(), flow.remote)?;
            self.gateways.get(key).map(|gateway| gateway.flow).ok_or(Refusal::UNKNOWN)
        });
        let to = match ready {
            Ok(to) => to,
            Err(refusal) => {
                // The gateway never hears of it: a deletion deletes nothing.
                let verb = if command.verb == Verb::Delete { Verb::Modify } else { command.verb };
                self.abandon(cx, verb, asked);
                return Err(refusal);
            }
        };
        let transaction = begun(cx, &command, key, (id, origin(message.transaction)), to, rewrite.finish());
        self.forward(cx, Transaction { asked, ..transaction });
        Ok(())
    }

    /// The names in a command of a call agent, as the gateway calls itself. All must be of the one gateway.
    fn own_endpoints(
        &self,
        key: Key,
        rewrite: &mut Rewrite<'_, '_>,
        endpoint: &Endpoint,
    ) -> Result<(), Refusal> {
        let gateway = self.gateways.get(key).ok_or(Refusal::UNKNOWN)?;
        let bytes = rewrite.message.bytes();
        let of_it = |name: Endpoint| name.domain.of(bytes).eq_ignore_ascii_case(&gateway.name);
        let mut others = ["Z", "Z2"].iter().flat_map(|name| rewrite.message.all(name));
        if !others.all(|parameter| endpoints(bytes, parameter.value).all(of_it)) {
            return Err(Refusal::UNKNOWN);
        }
        rewrite.domain(endpoint, &gateway.domain);
        rewrite.endpoints(&gateway.domain);
        Ok(())
    }

    /// What a command means for connections.
    fn prepare(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        command: &Command<'_, '_>,
        asked: &mut Asked,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Refusal> {
        match command.verb {
            Verb::Create if cx.draining => return Err(Refusal::DRAINING),
            Verb::Create if !command.message.descriptions.is_empty() => {
                let opened = self.open_session(cx, key, command.flow.remote.ip(), asked);
                asked.session = Some(opened.ok_or(Refusal::FULL)?);
                self.offer(cx, key, command, asked, rewrite)?;
            }
            Verb::Modify => {
                asked.connections.extend(self.selected(key, &command.selection()));
                if !command.message.descriptions.is_empty() {
                    self.offer(cx, key, command, asked, rewrite)?;
                }
            }
            Verb::Delete => self.close_gates(cx, key, command, asked),
            Verb::AuditConnection => asked.connections.extend(self.selected(key, &command.selection())),
            _ => {}
        }
        self.coax(cx, command, asked, rewrite);
        let gateway = self.gateways.get(key).ok_or(Refusal::UNKNOWN)?;
        rewrite.conceal(gateway.reading(), Side::Core).map_err(Refusal::of_description)
    }

    /// The call agent proposes a description.
    fn offer(
        &self,
        cx: &mut Cx<'_>,
        key: Key,
        command: &Command<'_, '_>,
        asked: &mut Asked,
        rewrite: &mut Rewrite<'_, '_>,
    ) -> Result<(), Refusal> {
        let gateway = self.gateways.get(key).ok_or(Refusal::UNKNOWN)?;
        let Some(body) = command.message.descriptions.first().map(|span| span.of(command.bytes())) else {
            return Ok(());
        };
        let connection = asked.connections.first().and_then(|key| self.connections.get(*key));
        let session = asked.session.or(connection.map(|connection| connection.session));
        let session = session.ok_or(Refusal::CONNECTION)?;
        match gateway.reading().anchor(cx, session, Side::Core, Role::Offer, body) {
            Ok(shown) => rewrite.description(0, &shown),
            Err(fault) => {
                cx.sessions.rollback(cx.now, session, Side::Core, cx.out);
                asked.session.take().into_iter().for_each(|session| Self::drop_session(cx, session));
                return Err(Refusal::of_description(fault));
            }
        }
        asked.offer = Some(body.to_vec());
        Ok(())
    }

    /// A gateway behind NAT that only listens cannot be found: until it was heard it is told to send too. What it sends
    /// goes nowhere.
    fn coax(&self, cx: &Cx<'_>, command: &Command<'_, '_>, asked: &mut Asked, rewrite: &mut Rewrite<'_, '_>) {
        if !matches!(command.verb, Verb::Create | Verb::Modify) {
            return;
        }
        let connection = asked.connections.first().and_then(|key| self.connections.get(*key));
        let wanted = asked.mode.as_deref().or(connection.map(|connection| &connection.mode[..]));
        let described = asked.offer.is_some() || connection.is_some_and(|c| c.said[at(Side::Core)].is_some());
        let session = asked.session.or(connection.map(|connection| connection.session));
        let hidden = session.is_some_and(|session| !cx.sessions.is_latched(session));
        let silent = connection.is_some_and(|connection| connection.coaxed) && asked.mode.is_none();
        asked.coaxed = silent;
        if silent || !described || !hidden || !wanted.is_some_and(mode::only_listens) {
            return;
        }
        asked.coaxed = true;
        match command.message.parameter("M") {
            Some(mode) => rewrite.value(mode, mode::SPEAKING),
            None => rewrite.add("M", mode::SPEAKING),
        }
    }

    /// Connections that are about to end carry nothing any more.
    fn close_gates(&self, cx: &mut Cx<'_>, key: Key, command: &Command<'_, '_>, asked: &mut Asked) {
        asked.connections.extend(self.selected(key, &command.selection()));
        for connection in asked.connections.iter().filter_map(|key| self.connections.get(*key)) {
            cx.sessions.gate(connection.session, false);
        }
    }

    /// Is there room for one more transaction?
    fn room(&self, cx: &Cx<'_>) -> Result<(), Refusal> {
        if self.transactions.len() >= cx.mapping.limits.transactions { Err(Refusal::FULL) } else { Ok(()) }
    }

    /// The answers that the sender has (K:), by our numbers. Those that nobody remembers are left out.
    fn acknowledge(&self, rewrite: &mut Rewrite<'_, '_>, origin: impl Fn(u32) -> Origin) {
        let message = rewrite.message;
        for list in message.all("K") {
            let each = acks(message.bytes(), list.value).flat_map(|Ack { first, last }| first..=last);
            let ours = each
                .take(MAX_ACKNOWLEDGED)
                .filter_map(|id| self.transactions.get(self.transactions.asked(origin(id))?));
            let ours = ours.map(|t| t.id.to_string()).collect::<Vec<_>>();
            if ours.is_empty() {
                rewrite.drop(list);
            } else {
                rewrite.value(list, ours.join(", ").as_bytes());
            }
        }
    }

    /// Send a command, and remember it.
    pub(super) fn forward(&mut self, cx: &mut Cx<'_>, transaction: Transaction) -> Key {
        cx.send(transaction.to, transaction.sent.clone());
        let until = transaction.until;
        let key = self.transactions.insert(transaction);
        self.timers.schedule(until, Wake::Transaction(key));
        key
    }

    /// A command that we know came again: it is answered as before, or sent on again.
    fn again(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.back = Some(flow);
        if let Some(answer) = &transaction.answer {
            cx.send(flow, answer.clone());
            return;
        }
        transaction.keep(cx.now);
        cx.stats.retransmissions += 1;
        let Some(gateway) = self.gateways.get_mut(transaction.gateway) else { return };
        match transaction.toward {
            Side::Access => transaction.to = gateway.flow,
            Side::Core => {
                let patient = transaction.heard || cx.now - transaction.since < gateway.softswitch.patience;
                let other = if patient { None } else { another(gateway, transaction.to.remote) };
                if let Some(other) = other {
                    (transaction.to, transaction.since) = (gateway.core_flow(other), cx.now);
                    cx.stats.failovers += 1;
                }
            }
        }
        cx.send(transaction.to, transaction.sent.clone());
    }
}

/// Who serves a gateway in the place of a call agent that is silent: whom others have found already, or the next one.
fn another(gateway: &mut super::gateway::Gateway, silent: SocketAddr) -> Option<SocketAddr> {
    gateway.serves().filter(|serves| *serves != silent).or_else(|| gateway.fail_over())
}

/// A command that is sent on under `id`.
fn begun(
    cx: &Cx<'_>,
    command: &Command<'_, '_>,
    gateway: Key,
    (id, origin): (u32, Origin),
    to: Flow,
    sent: Vec<u8>,
) -> Transaction {
    Transaction {
        origin,
        gateway,
        toward: Mgcp::side(cx, &to),
        verb: command.verb,
        id,
        back: Some(command.flow),
        to,
        sent: Bytes::from(sent),
        since: cx.now,
        until: cx.now + HISTORY,
        answer: None,
        heard: false,
        tries: 1,
        guest: None,
        asked: Asked::default(),
    }
}
