//! All protocols of one shard: each message goes to its own, what concerns a flow or the clock to all.

use super::h248::H248;
use super::mgcp::Mgcp;
use super::sip::Sip;
use super::{Adapter, Cx};
use crate::fault::Fault;
use crate::io::{Input, Target};
use crate::random::Rng;
use crate::realm::Softswitch;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Transport};
use std::net::SocketAddr;

/// One adapter of each protocol.
pub struct Adapters {
    sip: Sip,
    mgcp: Mgcp,
    h248: H248,
}

impl Adapters {
    /// Nothing registered, no call.
    pub fn new(rng: &mut Rng) -> Self {
        Self { sip: Sip::new(rng), mgcp: Mgcp::new(rng), h248: H248::new(rng) }
    }

    /// See [`Adapter::owner`].
    ///
    /// # Errors
    /// Those of the protocol's adapter.
    pub fn owner(cx: &Cx<'_>, proto: Proto, input: &Input<'_>) -> Result<ShardId, Fault> {
        match proto {
            Proto::Sip => Sip::owner(cx, input),
            Proto::Mgcp => Mgcp::owner(cx, input),
            Proto::H248 => H248::owner(cx, input),
        }
    }

    /// See [`Adapter::handle_input`].
    ///
    /// # Errors
    /// Those of the protocol's adapter.
    pub fn handle_input(
        &mut self,
        cx: &mut Cx<'_>,
        proto: Proto,
        input: Input<'_>,
        target: Option<Target>,
    ) -> Result<(), Fault> {
        match proto {
            Proto::Sip => self.sip.handle_input(cx, input, target),
            Proto::Mgcp => self.mgcp.handle_input(cx, input, target),
            Proto::H248 => self.h248.handle_input(cx, input, target),
        }
    }

    /// See [`Adapter::handle_moved`].
    pub fn handle_moved(&mut self, cx: &mut Cx<'_>, old: Flow, new: Flow) {
        self.sip.handle_moved(cx, old, new);
        self.mgcp.handle_moved(cx, old, new);
        self.h248.handle_moved(cx, old, new);
    }

    /// See [`Adapter::handle_lost`].
    pub fn handle_lost(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        self.sip.handle_lost(cx, flow);
        self.mgcp.handle_lost(cx, flow);
        self.h248.handle_lost(cx, flow);
    }

    /// See [`Adapter::handle_heard`].
    pub fn handle_heard(&mut self, cx: &mut Cx<'_>, flow: Flow, ping: &[u8]) {
        self.sip.handle_heard(cx, flow, ping);
        self.mgcp.handle_heard(cx, flow, ping);
        self.h248.handle_heard(cx, flow, ping);
    }

    /// See [`Adapter::handle_timeout`].
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        self.sip.handle_timeout(cx);
        self.mgcp.handle_timeout(cx);
        self.h248.handle_timeout(cx);
    }

    /// See [`Adapter::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let each = [self.sip.poll_timeout(), self.mgcp.poll_timeout(), self.h248.poll_timeout()];
        each.into_iter().flatten().min()
    }

    /// See [`Adapter::handle_reload`].
    pub fn handle_reload(&mut self, cx: &mut Cx<'_>) {
        self.sip.handle_reload(cx);
        self.mgcp.handle_reload(cx);
        self.h248.handle_reload(cx);
    }

    /// See [`Adapter::uses`].
    pub fn uses(&self, transport: Transport, local: SocketAddr) -> bool {
        self.sip.uses(transport, local)
            || self.mgcp.uses(transport, local)
            || self.h248.uses(transport, local)
    }

    /// See [`Adapter::uses_realm`].
    pub fn uses_realm(&self, realm: RealmId) -> bool {
        self.sip.uses_realm(realm) || self.mgcp.uses_realm(realm) || self.h248.uses_realm(realm)
    }

    /// See [`Adapter::uses_softswitch`].
    pub fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.sip.uses_softswitch(softswitch)
            || self.mgcp.uses_softswitch(softswitch)
            || self.h248.uses_softswitch(softswitch)
    }

    /// See [`Adapter::gauges`].
    pub fn gauges(&self, cx: &mut Cx<'_>) {
        self.sip.gauges(cx);
        self.mgcp.gauges(cx);
        self.h248.gauges(cx);
    }
}
