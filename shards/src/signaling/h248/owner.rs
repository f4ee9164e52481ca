//! Which shard a message belongs to.

use crate::signaling::Cx;
use crate::types::{Flow, ShardId, Side};

/// The owner of a message: that of a gateway's public address, so that it finds the gateway again that has come by another
/// port or connection. Controllers send to addresses that each belong to one shard.
pub(super) fn owner(cx: &Cx<'_>, flow: &Flow) -> ShardId {
    let Some(realm) = cx.realm(flow).filter(|realm| realm.side == Side::Access) else { return cx.shard };
    cx.shard_of(format!("h248 {} {}", realm.name, flow.remote.ip().to_canonical()).as_bytes())
}
