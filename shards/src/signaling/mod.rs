//! Protocol state machines, a folder each. They reach sessions and the world only through [`Cx`].

pub mod adapters;
mod avalanche;
mod guest;
pub mod h248;
mod ice;
pub mod label;
pub mod mgcp;
mod rate;
mod reading;
mod report;
mod roster;
pub mod sdp;
pub mod sip;
pub mod siv;
pub mod streams;

use crate::fault::Fault;
use crate::io::{Crossing, DropReason, Input, Output, Target};
use crate::random::Rng;
use crate::realm::{Mapping, Realm, Server, Softswitch};
use crate::session::Sessions;
use crate::stats::Stats;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Transport};
use bytes::Bytes;
use label::Sealer;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use streams::{Lane, Streams};

/// What every protocol of the house can do: the one shape.
pub trait Adapter {
    /// Its name.
    const PROTO: Proto;

    /// The shard that must handle this message. May look at the message, at sealed labels, and nothing else: it
    /// runs on whichever shard received the bytes.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when the message names no owner; the receiving shard then answers it.
    fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault>;

    /// Process a message that this shard owns. `target` is set when another shard has looked up the terminal.
    ///
    /// # Errors
    /// A fault was counted by blame; an answer, where the protocol has one, was already queued.
    fn handle_input(
        &mut self,
        cx: &mut Cx<'_>,
        input: Input<'_>,
        target: Option<Target>,
    ) -> Result<(), Fault>;

    /// A terminal proved a new flow.
    fn handle_moved(&mut self, cx: &mut Cx<'_>, old: Flow, new: Flow);

    /// A connection has ended, here or on another shard: its flow leads nowhere any more.
    fn handle_lost(&mut self, cx: &mut Cx<'_>, flow: Flow);

    /// A terminal pinged another shard by this flow, or answered a ping there.
    fn handle_heard(&mut self, cx: &mut Cx<'_>, flow: Flow, ping: &[u8]);

    /// Do whatever is due.
    fn handle_timeout(&mut self, cx: &mut Cx<'_>);

    /// When to call `handle_timeout` next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The mapping has changed: forget what has no place in it any more. Running calls keep theirs.
    fn handle_reload(&mut self, cx: &mut Cx<'_>);

    /// Does anything that is still running send from this address of ours?
    fn uses(&self, transport: Transport, local: SocketAddr) -> bool;

    /// Is anything still running on this realm?
    fn uses_realm(&self, realm: RealmId) -> bool;

    /// Is anything still running with this softswitch?
    fn uses_softswitch(&self, softswitch: &Softswitch) -> bool;

    /// Write the gauges.
    fn gauges(&self, cx: &mut Cx<'_>);
}

/// What an adapter is handed: the time, randomness, the mapping, and the verbs.
pub struct Cx<'a> {
    /// The time.
    pub now: Instant,
    /// This shard.
    pub shard: ShardId,
    /// The mapping for whatever starts now.
    pub mapping: &'a Arc<Mapping>,
    /// Realms of this and of earlier generations that are still in use.
    pub realms: &'a [Arc<Realm>],
    /// Softswitches of this and of earlier generations that are still in use.
    pub softswitches: &'a [Arc<Softswitch>],
    /// Are new calls refused because the process is ending?
    pub draining: bool,
    /// Seeded randomness.
    pub rng: &'a mut Rng,
    /// Seals labels; hashes names to shards.
    pub sealer: &'a Sealer,
    /// Sessions, ports and the relay.
    pub sessions: &'a mut Sessions,
    /// The connections of this shard.
    pub streams: &'a mut Streams,
    /// Counters.
    pub stats: &'a mut Stats,
    /// What the world must do.
    pub out: &'a mut VecDeque<Output>,
}

impl Cx<'_> {
    /// Send a message; on a connection of another shard, that shard does.
    pub fn send(&mut self, flow: Flow, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        match flow.stream {
            Some(stream) if stream.shard != self.shard => {
                self.cross(stream.shard, Crossing::Transmit { flow, bytes });
            }
            Some(_) if !self.streams.holds(&flow) => self.dropped(DropReason::SendFailed),
            _ => self.out.push_back(Output::Transmit { flow, bytes }),
        }
    }

    /// The flow from `local` to a softswitch's server; a connection is dialled if there is none in this lane.
    pub fn toward(&mut self, lane: Lane, realm: &Realm, local: SocketAddr, server: &Server) -> Flow {
        if !server.transport.is_reliable() {
            let (transport, remote) = (server.transport, server.address);
            return Flow { realm: realm.id, transport, local, remote, stream: None };
        }
        let (flow, fresh) = self.streams.toward(self.now, self.shard, lane, realm.id, local, server);
        if fresh {
            self.out.push_back(Output::Connect { flow, proto: lane.proto, name: server.name.clone() });
        }
        flow
    }

    /// Carry something to another shard.
    pub fn cross(&mut self, to: ShardId, crossing: Crossing) {
        match crossing {
            Crossing::Message { .. } | Crossing::Transmit { .. } => self.stats.crossings_signaling += 1,
            Crossing::FlowMoved { .. } | Crossing::FlowLost { .. } | Crossing::Heard { .. } => {
                self.stats.crossings_control += 1;
            }
        }
        self.out.push_back(Output::Cross { to, crossing });
    }

    /// Count a drop.
    pub fn dropped(&mut self, reason: DropReason) {
        self.stats.drop(reason);
    }

    /// The realm that a flow belongs to, of this generation or an earlier one.
    pub fn realm(&self, flow: &Flow) -> Option<Arc<Realm>> {
        self.realms.iter().find(|realm| realm.id == flow.realm).cloned()
    }

    /// The softswitch (by SIP) that a core-side source is, of this generation or an earlier one.
    pub fn softswitch_at(&self, flow: &Flow) -> Option<Arc<Softswitch>> {
        let speaks = |s: &&Arc<Softswitch>| {
            s.proto == Proto::Sip && s.realm == flow.realm && s.accepts(flow.remote.ip())
        };
        let current = self.mapping.softswitches.iter().find(speaks);
        current.or_else(|| self.softswitches.iter().find(speaks)).cloned()
    }

    /// The shard that a name (Call-ID, address of record) hashes to.
    pub fn shard_of(&self, name: &[u8]) -> ShardId {
        self.sealer.shard_of(name, self.mapping.shards)
    }
}
