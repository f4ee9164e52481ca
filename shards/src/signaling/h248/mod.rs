//! H.248 on one shard (RFC 3525, H.248.1).

use super::{Adapter, Cx};
use crate::fault::Fault;
use crate::io::{Input, Target};
use crate::realm::Softswitch;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Transport};
use std::net::SocketAddr;

/// H.248 on one shard (RFC 3525, H.248.1).
pub struct H248 {}

impl H248 {
    /// No gateway.
    pub fn new() -> Self {
        Self {}
    }
}

impl Adapter for H248 {
    const PROTO: Proto = Proto::H248;

    fn owner(cx: &Cx<'_>, _: &Input<'_>) -> Result<ShardId, Fault> {
        Ok(cx.shard)
    }

    fn handle_input(&mut self, _: &mut Cx<'_>, _: Input<'_>, _: Option<Target>) -> Result<(), Fault> {
        Err(Fault::Refused("not built yet"))
    }

    fn handle_moved(&mut self, _: &mut Cx<'_>, _: Flow, _: Flow) {}

    fn handle_lost(&mut self, _: &mut Cx<'_>, _: Flow) {}

    fn handle_heard(&mut self, _: &mut Cx<'_>, _: Flow, _: &[u8]) {}

    fn handle_timeout(&mut self, _: &mut Cx<'_>) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_reload(&mut self, _: &mut Cx<'_>) {}

    fn uses(&self, _: Transport, _: SocketAddr) -> bool {
        false
    }

    fn uses_realm(&self, _: RealmId) -> bool {
        false
    }

    fn uses_softswitch(&self, _: &Softswitch) -> bool {
        false
    }

    fn gauges(&self, _: &mut Cx<'_>) {}
}
