//! H.248 as a full proxy (RFC 3525, H.248.1), in text and in binary: to a gateway Portolan is its controller, to the
//! controller it is all gateways, each at an address of ours of its own.
//!
//! Message identifiers, addresses of a ServiceChange and media addresses are those of the hop; transactions keep their
//! identifiers. A gateway belongs to the shard of its public address, and so does all that concerns it.

mod answer;
mod asked;
mod bearer;
mod description;
mod draft;
mod gate;
mod gateway;
mod keepalive;
mod newcomer;
mod own;
mod owner;
mod prepare;
mod refuse;
mod relay;
mod report;
mod request;
mod service;
mod transaction;

use super::avalanche::Avalanche;
use super::{Adapter, Cx};
use crate::fault::Fault;
use crate::io::{DropReason, Input, Target};
use crate::random::Rng;
use crate::realm::Softswitch;
use crate::table::{Key, Table};
use crate::timer::Timers;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Side, Transport};
use crate::wire::h248::Message;
use bearer::Bearer;
use gateway::Gateways;
use std::net::SocketAddr;
use transaction::Transactions;

/// H.248 on one shard.
pub struct H248 {
    transactions: Transactions,
    gateways: Gateways,
    bearers: Table<Bearer>,
    avalanche: Avalanche,
    timers: Timers<Wake>,
}

/// Why a timer was set.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// Look whether the transaction is over.
    Transaction(Key),
    /// Repeat a request of our own.
    Repeat(Key),
    /// Look whether the gateway lives.
    Keepalive(Key),
    /// Look whether the gateway was accepted.
    Proof(Key),
    /// Decide who sends in the gateway's name from elsewhere.
    Verdict(Key),
    /// Look whether the bearer is still in use.
    Bearer(Key),
}

impl H248 {
    /// No gateway.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            transactions: Transactions::new(rng),
            gateways: Gateways::new(rng),
            bearers: Table::default(),
            avalanche: Avalanche::default(),
            timers: Timers::default(),
        }
    }

    fn wake(&mut self, cx: &mut Cx<'_>, wake: Wake) {
        match wake {
            Wake::Transaction(key) => self.expire(cx, key),
            Wake::Repeat(key) => self.repeat(cx, key),
            Wake::Keepalive(key) => self.keep_alive(cx, key),
            Wake::Proof(key) => self.check_proof(cx, key),
            Wake::Verdict(key) => self.verdict(cx, key),
            Wake::Bearer(key) => self.look_at(cx, key),
        }
    }
}

impl Adapter for H248 {
    const PROTO: Proto = Proto::H248;

    fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault> {
        Ok(owner::owner(cx, &input.flow))
    }

    /// One message: a datagram, or what a TPKT carries (H.248.1 Annex D.2).
    fn handle_input(&mut self, cx: &mut Cx<'_>, input: Input<'_>, _: Option<Target>) -> Result<(), Fault> {
        let flow = input.flow;
        let bytes = match flow.stream {
            Some(_) => own::unframed(input.bytes)?,
            None => input.bytes,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            cx.dropped(DropReason::Ping);
            return Ok(());
        }
        let message = Message::parse(bytes).map_err(|unread| {
            own::unreadable(cx, flow, &unread);
            unread.fault
        })?;
        match cx.realm(&flow).map(|realm| realm.side) {
            Some(Side::Core) => self.take_from_controller(cx, &message, flow),
            _ => self.take_from_gateway(cx, &message, flow),
        }
        Ok(())
    }

    fn handle_moved(&mut self, _: &mut Cx<'_>, _: Flow, _: Flow) {}

    fn handle_lost(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        self.lose(cx, flow);
    }

    fn handle_heard(&mut self, _: &mut Cx<'_>, _: Flow, _: &[u8]) {}

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(wake) = self.timers.pop(cx.now) {
            self.wake(cx, wake);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn handle_reload(&mut self, cx: &mut Cx<'_>) {
        self.rehome(cx);
    }

    fn uses(&self, transport: Transport, local: SocketAddr) -> bool {
        self.gateways.roster.iter().any(|(_, gateway)| {
            (gateway.flow.transport, gateway.flow.local) == (transport, local) || gateway.home == local
        })
    }

    fn uses_realm(&self, realm: RealmId) -> bool {
        self.bears(realm)
    }

    fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.bears_by(softswitch)
    }

    fn gauges(&self, cx: &mut Cx<'_>) {
        cx.stats.gateways += self.gateways.roster.serving() as u64;
        cx.stats.transactions += self.transactions.len() as u64;
    }
}
