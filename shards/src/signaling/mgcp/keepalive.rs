//! What we ask and say ourselves: whether a gateway lives (AUEP, RFC 3435 section 2.3.10), and to its call agent that it is
//! gone. Audits change nothing, so they are safe at any time (section 4.1).

use super::connection::Ended;
use super::transaction::{Asked, Origin, Transaction};
use super::{Mgcp, Wake};
use crate::realm::KeepaliveMethod;
use crate::signaling::Cx;
use crate::signaling::roster::{access_of, is_told};
use crate::table::Key;
use crate::types::{Proto, Side};
use crate::wire::mgcp::Verb;
use bytes::Bytes;
use std::time::Duration;

/// Our own commands are repeated after this long, then after twice as long, and so on.
const REPEAT: Duration = Duration::from_millis(500);
/// Times that they are sent.
const TRIES: u32 = 4;
/// When no answer is expected any more.
const PATIENCE: Duration = Duration::from_secs(8);

impl Mgcp {
    /// Ask a gateway whether it lives.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(endpoint) = self.gateways.get(key).map(|gateway| gateway.endpoint.clone()) else { return };
        cx.stats.keepalives_sent += 1;
        self.say(cx, key, Verb::AuditEndpoint, &endpoint, b"");
    }

    /// Tell the call agent, in the gateway's name, how it stands with all its endpoints.
    pub(super) fn restart(&mut self, cx: &mut Cx<'_>, key: Key, method: &str) {
        self.say(cx, key, Verb::Restart, b"*", format!("RM: {method}\r\n").as_bytes());
    }

    /// A command of our own: RSIP goes to the call agent, all others to the gateway. `lines` are its parameters.
    pub(super) fn say(&mut self, cx: &mut Cx<'_>, key: Key, verb: Verb, local: &[u8], lines: &[u8]) {
        let id = self.transactions.number(cx.shard);
        let Some(gateway) = self.gateways.get(key) else { return };
        let up = verb == Verb::Restart;
        let (domain, to) = if up {
            let Some(serves) = gateway.serves() else { return };
            (&gateway.name, gateway.core_flow(serves))
        } else {
            (&gateway.domain, gateway.flow)
        };
        let head = format!("{} {id} ", verb.token());
        let sent = [head.as_bytes(), local, b"@", domain, b" ", &gateway.version, b"\r\n", lines].concat();
        let transaction = Transaction {
            origin: Origin::Own(id),
            gateway: key,
            toward: if up { Side::Core } else { Side::Access },
            verb,
            id,
            back: None,
            to,
            sent: Bytes::from(sent),
            since: cx.now,
            until: cx.now + PATIENCE,
            answer: None,
            heard: false,
            tries: 1,
            guest: None,
            asked: Asked::default(),
        };
        let key = self.forward(cx, transaction);
        self.timers.schedule(cx.now + REPEAT, Wake::Repeat(key));
    }

    /// Repeat a command of our own.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if transaction.heard || transaction.tries >= TRIES {
            return;
        }
        let wait = REPEAT * (1 << transaction.tries);
        transaction.tries += 1;
        cx.stats.retransmissions += 1;
        cx.send(transaction.to, transaction.sent.clone());
        self.timers.schedule(cx.now + wait, Wake::Repeat(key));
    }

    /// A transaction's time may be over.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get(key) else { return };
        if transaction.until > cx.now {
            self.timers.schedule(transaction.until, Wake::Transaction(key));
            return;
        }
        let Some(gone) = self.transactions.remove(key) else { return };
        match gone.origin {
            Origin::Own(_) if gone.toward == Side::Access && !gone.heard => self.miss(cx, gone.gateway),
            Origin::Own(_) => {}
            _ if gone.answer.is_none() => self.abandon(cx, gone.verb, gone.asked),
            _ => {}
        }
    }

    /// A gateway has not answered.
    fn miss(&mut self, cx: &mut Cx<'_>, key: Key) {
        let most = cx.mapping.keepalive.misses;
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        cx.stats.keepalives_missed += 1;
        if !gateway.standing.miss(most) {
            return;
        }
        cx.stats.bindings_lost += 1;
        if gateway.standing.proven && is_told(cx, &gateway.access, &gateway.softswitch) {
            gateway.standing.ended = true;
            cx.stats.registrations_ended += 1;
            self.restart(cx, key, "forced");
        }
    }

    /// It is time to look after a gateway.
    pub(super) fn keep_alive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let interval = cx.mapping.keepalive.interval;
        let Some(gateway) = self.gateways.get(key) else { return };
        let idle = gateway.connections.is_empty();
        let silent = cx.now - gateway.standing.heard;
        if idle && gateway.standing.is_gone(cx.now) {
            self.forget(cx, key);
            return;
        }
        let off = gateway.access.keepalive == KeepaliveMethod::Off;
        let mut next = interval;
        if silent < interval {
            cx.stats.keepalives_spared += 1;
            next = interval - silent;
        } else if !off {
            self.ask(cx, key);
        }
        self.timers.schedule(cx.now + next, Wake::Keepalive(key));
    }

    /// A gateway is no more, nor are its connections. Its transactions run out.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>, key: Key) {
        let connections = self.gateways.get(key).map(|gateway| gateway.connections.clone());
        for connection in connections.unwrap_or_default() {
            self.release(cx, connection, Ended::Reaped);
        }
        self.gateways.remove(key);
    }

    /// Gateways whose realm or call agent is configured otherwise now.
    pub(super) fn rehome(&mut self, cx: &mut Cx<'_>) {
        self.avalanche.retain(&cx.mapping.softswitches);
        let keys = self.gateways.roster.keys();
        for key in keys {
            let Some(gateway) = self.gateways.get_mut(key) else { continue };
            let access = access_of(cx, &gateway.flow, &gateway.access);
            let agent = access.and_then(|realm| cx.mapping.agent(realm.id, Proto::Mgcp));
            let core = agent.and_then(|agent| cx.mapping.realm(agent.realm));
            let same = agent.filter(|agent| agent.name == gateway.softswitch.name);
            let home = core.and_then(|core| core.home_mgcp(cx.shard)).filter(|home| *home == gateway.home);
            let new = access.zip(same).zip(core).filter(|_| home.is_some());
            gateway.standing.leaving = new.is_none();
            match new {
                Some(((access, agent), core)) => {
                    gateway.flow.realm = access.id;
                    (gateway.access, gateway.core) = (access.clone(), core.clone());
                    gateway.softswitch = agent.clone();
                    let serves = gateway.agent.filter(|at| agent.accepts(at.ip()));
                    gateway.agent = serves;
                }
                None if gateway.connections.is_empty() => self.forget(cx, key),
                None => {}
            }
        }
        self.gateways.roster.rehome_suspects(cx);
    }
}
