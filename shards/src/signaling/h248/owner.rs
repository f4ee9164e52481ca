//! Which shard a message belongs to.

use crate::signaling::Cx;
use crate::types::{Flow, ShardId, Side};

/// The owner of a message: that of a gateway's public address, so that it finds the gateway again that has come by another
/// port or connection. Controllers send to addresses that each belong to one shard.
pub(super) fn owner(cx: &Cx<'_>, flow: &Flow) -> ShardId {
    if cx.realm(flow).is_some_and(|realm| realm.side == Side::Core) {
        return cx.shard;
    }
    cx.shard_of(format!("h248 {} {}", flow.realm.0, flow.remote.ip().to_canonical()).as_bytes())
}
