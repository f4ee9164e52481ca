//! Which shard owns a SIP message.
//!
//! Calls belong to the hash of their Call-ID. Registrations belong to the hash of their user, so that all contacts
//! of an address of record are on one shard: `Contact: *` and the list in a 200 speak of all of them at once,
//! whatever Call-ID each was registered under.

use super::transaction::Branch;
use super::{hide, hop, mask, path, place};
use crate::fault::Fault;
use crate::io::Input;
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::types::{Flow, ShardId, Side};
use crate::wire::sip::{Message, Name, Uri, is_ping};
use crate::wire::stun;

/// The owner of a message; this shard where nobody else is named.
///
/// # Errors
/// [`Fault::Malformed`] when the message cannot be parsed.
pub(super) fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault> {
    if is_ping(input.bytes) || stun::is_stun(input.bytes) {
        return Ok(cx.shard);
    }
    let message = Message::parse(input.bytes)?;
    Ok(hide::labelled_for(cx, &message, &input.flow).unwrap_or_else(|| direct(cx, &message, &input.flow)))
}

/// The owner of a message whose labels, but for the Request-URI's, are of no interest.
pub(super) fn direct(cx: &Cx<'_>, message: &Message<'_>, flow: &Flow) -> ShardId {
    if !message.is_request() {
        return of_response(message).filter(|shard| shard.0 < cx.mapping.shards).unwrap_or(cx.shard);
    }
    match message.method() {
        b"REGISTER" => of_name(cx, message, Name::To),
        _ if is_for_terminal(cx, message, flow) => of_terminal(cx, message),
        _ => of_call(cx, message),
    }
}

/// Is this a softswitch's new request, for a terminal that has to be found?
pub(super) fn is_for_terminal(cx: &Cx<'_>, message: &Message<'_>, flow: &Flow) -> bool {
    let core = || cx.realm(flow).is_some_and(|realm| realm.side == Side::Core);
    let new = message.is_request() && message.to_tag().is_none();
    new && !matches!(message.method(), b"REGISTER" | b"ACK" | b"CANCEL") && core()
}

/// A call's shard: by the Call-ID as it was first written, so that both sides' forms of it lead there.
pub(super) fn of_call(cx: &Cx<'_>, message: &Message<'_>) -> ShardId {
    cx.shard_of(&mask::innermost(cx.sealer, message.call_id()))
}

/// A response comes home to the shard that wrote the topmost Via.
fn of_response(message: &Message<'_>) -> Option<ShardId> {
    let branch = message.top_via()?.branch?;
    Branch::parse(branch.of(message.bytes())).map(|branch| branch.shard)
}

/// A new request to a terminal is first for the shard that holds the terminal's binding.
fn of_terminal(cx: &Cx<'_>, message: &Message<'_>) -> ShardId {
    let bytes = message.bytes();
    if let Some(label) = path::label(cx, message) {
        return label.shard;
    }
    let uri = message.request_uri().and_then(|span| Uri::parse(bytes, span).ok());
    match uri {
        Some(uri) => match terminal_label(cx, bytes, &uri) {
            Some(label) => label.shard,
            None => of_user(cx, message, &uri),
        },
        None => of_call(cx, message),
    }
}

/// The binding, or the dialog with a terminal, that the Request-URI of a softswitch's new request names.
pub(super) fn terminal_label(cx: &Cx<'_>, bytes: &[u8], uri: &Uri) -> Option<Label> {
    let label = place::label_in(cx.sealer, bytes, uri)?;
    let terminal = matches!(label.kind, Kind::Binding | Kind::CoreDialog);
    (terminal && label.shard.0 < cx.mapping.shards).then_some(label)
}

/// The shard that holds the bindings of the user whom From or To names.
pub(super) fn of_name(cx: &Cx<'_>, message: &Message<'_>, name: Name) -> ShardId {
    hop::name_of(message, name).map_or(cx.shard, |uri| of_user(cx, message, &uri))
}

fn of_user(cx: &Cx<'_>, message: &Message<'_>, uri: &Uri) -> ShardId {
    match uri.user {
        Some(user) => cx.shard_of(user.of(message.bytes())),
        None => of_call(cx, message),
    }
}
