//! What we ask and say ourselves: whether a gateway lives (an empty audit of its root, H.248.1 section 7.2.5), and to its
//! controller that it is gone. Audits change nothing, so they are safe at any time.

use super::asked::Asked;
use super::bearer::Ended;
use super::own::send;
use super::request::begun;
use super::{H248, Wake};
use crate::io::Output;
use crate::realm::KeepaliveMethod;
use crate::signaling::Cx;
use crate::signaling::roster::{access_of, is_told};
use crate::table::Key;
use crate::types::{Flow, Proto, Side};
use crate::wire::h248::build::Envelope;
use crate::wire::h248::{Context, Method, Termination};
use bytes::Bytes;
use std::time::Duration;

/// Our own requests are repeated after this long, then after twice as long, and so on.
const REPEAT: Duration = Duration::from_millis(500);
/// Times that they are sent.
const TRIES: u32 = 4;
/// When no answer is expected any more.
const PATIENCE: Duration = Duration::from_secs(8);

impl H248 {
    /// Ask a gateway whether it lives.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime only")]
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, key: Key) {
        cx.stats.keepalives_sent += 1;
        self.say(cx, key, Side::Access, |with, id| with.audit(id));
    }

    /// Take back a termination of which its controller never hears.
    pub(super) fn subtract(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        context: Context,
        termination: &Termination,
    ) {
        self.say(cx, key, Side::Access, |with, id| with.subtract(id, context, termination));
    }

    /// Tell the controller, in the gateway's name, that it is gone.
    fn tell_gone(&mut self, cx: &mut Cx<'_>, key: Key) {
        self.say(cx, key, Side::Core, |with, id| {
            with.service_change(id, Method::Forced, "906 Loss of lower layer connectivity")
        });
    }

    /// Tell the controller, in the gateway's name, that it is back.
    pub(super) fn tell_back(&mut self, cx: &mut Cx<'_>, key: Key) {
        self.say(cx, key, Side::Core, |with, id| {
            with.service_change(id, Method::Disconnected, "900 Service restored")
        });
    }

    /// A request of our own.
    fn say(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        toward: Side,
        write: impl Fn(&Envelope<'_>, u32) -> Vec<u8>,
    ) {
        let Some(to) = self.way(cx, key, toward) else { return };
        let name = self.transactions.own(key, toward);
        let Some(gateway) = self.gateways.get(key) else { return };
        let mid = Self::our_mid(gateway, toward);
        let with = Envelope { encoding: gateway.encoding, version: gateway.version, mid: &mid };
        let mut transaction = begun(cx, name, None, to, None, Asked::default());
        transaction.sent = Bytes::from(write(&with, name.id));
        transaction.until = cx.now + PATIENCE;
        send(cx, to, &transaction.sent);
        let key = self.begin(transaction);
        if !to.transport.is_reliable() {
            self.timers.schedule(cx.now + REPEAT, Wake::Repeat(key));
        }
    }

    /// Repeat a request of our own.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if transaction.heard || transaction.tries >= TRIES {
            return;
        }
        let wait = REPEAT * (1 << transaction.tries);
        transaction.tries += 1;
        cx.stats.retransmissions += 1;
        self.send_again(cx, key);
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
        match gone.back {
            None if gone.name.toward == Side::Access && !gone.heard => self.miss(cx, gone.name.gateway),
            Some(_) if !gone.done => self.abandon(cx, gone.asked),
            _ => {}
        }
    }

    /// A gateway has not answered.
    fn miss(&mut self, cx: &mut Cx<'_>, key: Key) {
        let most = cx.mapping.keepalive.misses;
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        cx.stats.keepalives_missed += 1;
        if gateway.standing.miss(most) {
            cx.stats.bindings_lost += 1;
            self.report_gone(cx, key);
        }
    }

    /// The controller hears that a gateway is gone, where the route says so.
    fn report_gone(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        if gateway.standing.proven
            && !gateway.standing.ended
            && is_told(cx, &gateway.access, &gateway.softswitch)
        {
            gateway.standing.ended = true;
            cx.stats.registrations_ended += 1;
            self.tell_gone(cx, key);
        }
    }

    /// It is time to look after a gateway.
    pub(super) fn keep_alive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let interval = cx.mapping.keepalive.interval;
        let Some(gateway) = self.gateways.get(key) else { return };
        let (idle, silent) = (gateway.bearers.is_empty(), cx.now - gateway.standing.heard);
        if idle && gateway.standing.is_gone(cx.now) {
            self.forget(cx, key);
            return;
        }
        let off = gateway.access.keepalive == KeepaliveMethod::Off;
        let cut = gateway.standing.down && gateway.flow.stream.is_some();
        let mut next = interval;
        if silent < interval {
            cx.stats.keepalives_spared += 1;
            next = interval - silent;
        } else if cut {
            self.report_gone(cx, key);
        } else if !off {
            self.ask(cx, key);
        }
        self.timers.schedule(cx.now + next, Wake::Keepalive(key));
    }

    /// A connection has ended: a gateway's, which is out of reach until it comes again, or one to a controller.
    pub(super) fn lose(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        if let Some(key) = self.gateways.cut(&flow) {
            return self.reconnect(cx, key);
        }
        for key in self.gateways.take_connected(&flow) {
            let Some(gateway) = self.gateways.get_mut(key).filter(|gateway| !gateway.standing.down) else {
                continue;
            };
            gateway.standing.down = true;
            cx.stats.bindings_lost += 1;
        }
    }

    /// The connection to a controller has ended: what it has not answered is sent once more, and what registers to another
    /// server if there is one.
    fn reconnect(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        let most = gateway.softswitch.targets.len() as u32;
        let open = self.transactions.of_gateway(key).into_iter().filter(|key| {
            self.transactions.get(*key).is_some_and(|t| {
                t.name.toward == Side::Core && t.back.is_some() && !t.done && t.tries <= most
            })
        });
        let open = open.collect::<Vec<_>>();
        let registers =
            |key: &Key| self.transactions.get(*key).is_some_and(|t| t.asked.registers && !t.heard);
        if open.iter().any(registers) && gateway.fail_over() {
            cx.stats.failovers += 1;
        }
        for key in open {
            if let Some(transaction) = self.transactions.get_mut(key) {
                transaction.tries += 1;
                self.send_again(cx, key);
            }
        }
    }

    /// A gateway is no more, nor are its bearers and transactions.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>, key: Key) {
        let bearers = self.gateways.get(key).map(|gateway| gateway.bearers.clone());
        for bearer in bearers.unwrap_or_default() {
            self.release(cx, bearer, Ended::Reaped);
        }
        for transaction in self.transactions.of_gateway(key) {
            if let Some(gone) = self.transactions.remove(transaction) {
                self.abandon(cx, gone.asked);
            }
        }
        self.gateways.remove(cx, key);
    }

    /// Gateways whose realm or controller is configured otherwise now.
    pub(super) fn rehome(&mut self, cx: &mut Cx<'_>) {
        self.avalanche.retain(&cx.mapping.softswitches);
        let keys = self.gateways.roster.keys();
        for key in keys {
            let Some(gateway) = self.gateways.get_mut(key) else { continue };
            let access = access_of(cx, &gateway.flow, &gateway.access);
            let agent = access.and_then(|realm| cx.mapping.agent(realm.id, Proto::H248));
            let core = agent.and_then(|agent| cx.mapping.realm(agent.realm));
            let same = agent.filter(|agent| agent.name == gateway.softswitch.name);
            let lent = core.is_some_and(|core| core.lends(cx.mapping.shards, cx.shard, gateway.home));
            let new = access.zip(same).zip(core).filter(|_| lent);
            gateway.standing.leaving = new.is_none();
            match new {
                Some(((access, agent), core)) => {
                    let before = gateway.listener();
                    gateway.flow.realm = access.id;
                    (gateway.access, gateway.core) = (access.clone(), core.clone());
                    if before.realm != core.id {
                        cx.out.extend([Output::Unlisten(before), Output::Listen(gateway.listener())]);
                    }
                    gateway.softswitch = agent.clone();
                    gateway.named.take_if(|named| !agent.accepts(named.address.ip()));
                }
                None if gateway.bearers.is_empty() => self.forget(cx, key),
                None => {}
            }
        }
        self.gateways.roster.rehome_suspects(cx);
    }
}
