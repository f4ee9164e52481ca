//! What we say ourselves: refusals, and requests of our own.

use super::H248;
use super::gateway::Gateway;
use super::refuse::Refusal;
use crate::fault::Fault;
use crate::io::DropReason;
use crate::limits::MAX_STREAM_MESSAGE;
use crate::signaling::Cx;
use crate::types::{Flow, Side};
use crate::wire::h248::build::Envelope;
use crate::wire::h248::{Blame, Kind, Message, Mid, Unread};
use crate::wire::tpkt;

/// Send a message; on a connection within a TPKT (H.248.1 Annex D.2).
pub(super) fn send(cx: &mut Cx<'_>, flow: Flow, message: &[u8]) {
    let framed = match flow.stream {
        Some(_) => tpkt::wrap(message),
        None => Some(message.to_vec()),
    };
    match framed {
        Some(bytes) => cx.send(flow, bytes),
        None => cx.dropped(DropReason::Oversize),
    }
}

/// What a TPKT carries.
///
/// # Errors
/// [`Fault::Malformed`] when it is none.
pub(super) fn unframed(octets: &[u8]) -> Result<&[u8], Fault> {
    let payload = tpkt::frame(octets, MAX_STREAM_MESSAGE)?.ok_or(Fault::Malformed("half a TPKT"))?;
    Ok(payload.of(octets))
}

/// Our name where this flow is.
fn our_name(cx: &Cx<'_>, flow: &Flow) -> Mid {
    let ip = cx.realm(flow).map_or(flow.local.ip(), |realm| realm.advertised);
    Mid::Ip(ip, Some(flow.local.port()))
}

/// Something that is no message: it is answered, unless it was an answer itself.
pub(super) fn unreadable(cx: &mut Cx<'_>, flow: Flow, unread: &Unread) {
    let limit = matches!(unread.fault, Fault::Refused(_));
    cx.dropped(if limit { DropReason::Limit } else { DropReason::Malformed });
    let (mid, version) = (our_name(cx, &flow), unread.version.unwrap_or(1));
    let (code, with) = (unread.code(), Envelope { encoding: unread.encoding, version, mid: &mid });
    let text = match code {
        510 => "Insufficient resources",
        403 => "Syntax error in TransactionRequest",
        _ => "Syntax error in message",
    };
    let answer = match unread.blame {
        Blame::Request(id) => with.refuse(id, code, text),
        // Who cannot even be named sends no H.248.
        Blame::Message if unread.mid.is_some() => with.refuse_message(code, text),
        Blame::Message | Blame::Nobody => return,
    };
    cx.stats.refuse(code);
    send(cx, flow, &answer);
}

/// Answer a request in the place of whom it was for.
pub(super) fn refuse(cx: &mut Cx<'_>, message: &Message<'_>, id: u32, flow: Flow, refusal: Refusal) {
    if let Some(reason) = refusal.reason {
        cx.dropped(reason);
    }
    cx.stats.refuse(refusal.code);
    let mid = our_name(cx, &flow);
    let with = Envelope { encoding: message.encoding, version: message.version, mid: &mid };
    send(cx, flow, &with.refuse(id, refusal.code, refusal.text));
}

/// Answer all requests of a message.
pub(super) fn refuse_all(cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow, refusal: Refusal) {
    for request in message.transactions().iter().filter(|t| t.kind == Kind::Request) {
        refuse(cx, message, request.id, flow, refusal);
    }
}

impl H248 {
    /// What we are called by the gateway or, in its name, by its controller.
    pub(super) fn our_mid(gateway: &Gateway, toward: Side) -> Mid {
        match toward {
            Side::Access => gateway.ours(),
            Side::Core => gateway.name(),
        }
    }
}
