//! MGCP as a full proxy (RFC 3435): to a gateway Portolan is its call agent, to the call agent it is all gateways.
//!
//! Endpoint names, notified entities, transaction numbers and media addresses are those of the hop. A gateway belongs to
//! one shard, which its name and source tell; a response to who numbered its command.

mod agent;
mod answer;
mod command;
mod connection;
mod entity;
mod gateway;
mod keepalive;
mod mode;
mod names;
mod newcomer;
mod owner;
mod refuse;
mod report;
mod rewrite;
mod transaction;

use super::avalanche::Avalanche;
use super::{Adapter, Cx};
use crate::fault::Fault;
use crate::io::{Crossing, DropReason, Input, Target};
use crate::random::Rng;
use crate::realm::Softswitch;
use crate::table::{Key, Table};
use crate::timer::Timers;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Transport};
use crate::wire::mgcp::messages;
use bytes::Bytes;
use connection::Connection;
use gateway::Gateways;
use std::net::SocketAddr;
use transaction::Transactions;

/// Messages in one datagram.
const MAX_MESSAGES: usize = 32;

/// MGCP on one shard.
pub struct Mgcp {
    transactions: Transactions,
    gateways: Gateways,
    connections: Table<Connection>,
    avalanche: Avalanche,
    timers: Timers<Wake>,
}

/// Why a timer was set.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// Look whether the transaction is over.
    Transaction(Key),
    /// Repeat a command of our own.
    Repeat(Key),
    /// Look whether the gateway lives.
    Keepalive(Key),
    /// Look whether the gateway was accepted.
    Proof(Key),
    /// Decide who sends in the gateway's name from elsewhere.
    Verdict(Key),
    /// Look whether the connection is still in use.
    Connection(Key),
}

impl Mgcp {
    /// No gateway.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            transactions: Transactions::new(rng),
            gateways: Gateways::new(rng),
            connections: Table::default(),
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
            Wake::Connection(key) => self.look_at(cx, key),
        }
    }
}

impl Adapter for Mgcp {
    const PROTO: Proto = Proto::Mgcp;

    fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault> {
        owner::owner(cx, input)
    }

    /// A datagram of several messages (RFC 3435 section 3.5.5) is taken apart here: each goes to its own owner.
    fn handle_input(&mut self, cx: &mut Cx<'_>, input: Input<'_>, _: Option<Target>) -> Result<(), Fault> {
        let (flow, parts) = (input.flow, messages(input.bytes));
        if parts.is_empty() {
            cx.dropped(DropReason::Ping);
        }
        if parts.len() > MAX_MESSAGES {
            cx.dropped(DropReason::Limit);
            return Err(Fault::Refused("too many messages in a datagram"));
        }
        let mut result = Ok(());
        for part in parts {
            let bytes = part.of(input.bytes);
            let owner = owner::owner_of(cx, &flow, bytes).unwrap_or(cx.shard);
            if owner == cx.shard {
                result = result.and(self.take(cx, bytes, flow));
                continue;
            }
            let bytes = Bytes::copy_from_slice(bytes);
            cx.cross(owner, Crossing::Message { proto: Proto::Mgcp, flow, bytes, target: None });
        }
        result
    }

    fn handle_moved(&mut self, _: &mut Cx<'_>, _: Flow, _: Flow) {}

    fn handle_lost(&mut self, _: &mut Cx<'_>, _: Flow) {}

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
        let of = |gateway: &gateway::Gateway| gateway.flow.local == local || gateway.home == local;
        transport == Transport::Udp
            && (self.transactions.uses(local) || self.gateways.roster.iter().any(|(_, gateway)| of(gateway)))
    }

    fn uses_realm(&self, realm: RealmId) -> bool {
        self.connects(realm)
    }

    fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.connects_by(softswitch)
    }

    fn gauges(&self, cx: &mut Cx<'_>) {
        cx.stats.gateways = self.gateways.roster.serving() as u64;
        cx.stats.transactions += self.transactions.len() as u64;
    }
}
