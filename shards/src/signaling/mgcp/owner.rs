//! Which shard a message belongs to.

use super::names::{Place, owner_of_domain};
use super::transaction::shard_of_id;
use crate::fault::Fault;
use crate::io::Input;
use crate::signaling::Cx;
use crate::types::{Flow, ShardId, Side};
use crate::wire::mgcp::{self, Message, Start};

/// The owner of a datagram of one message. One of several is taken apart where it arrived.
///
/// # Errors
/// [`Fault::Malformed`] when the message names no owner.
pub(super) fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault> {
    match mgcp::messages(input.bytes)[..] {
        [one] => owner_of(cx, &input.flow, one.of(input.bytes)),
        _ => Ok(cx.shard),
    }
}

/// The owner of one message: of a command that of its gateway, of a response who gave the command its number.
///
/// # Errors
/// [`Fault::Malformed`] when the message names no owner.
pub(super) fn owner_of(cx: &Cx<'_>, flow: &Flow, bytes: &[u8]) -> Result<ShardId, Fault> {
    let message = Message::parse(bytes)?;
    let Start::Command { endpoint, .. } = message.start else {
        return shard_of_id(cx, message.transaction).ok_or(Fault::PeerMisbehaved("not an answer to us"));
    };
    Ok(match cx.realm(flow).map(|realm| realm.side) {
        Some(Side::Core) => owner_of_domain(cx, endpoint.domain.of(bytes)),
        _ => Place::of(cx, flow, bytes, &endpoint).owner(cx),
    })
}
