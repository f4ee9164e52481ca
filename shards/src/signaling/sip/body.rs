//! Bodies: session descriptions are anchored, everything else passes.

use super::Sip;
use super::dialog::Dialog;
use crate::fault::Fault;
use crate::session::Role;
use crate::signaling::Cx;
use crate::signaling::sdp::{self, Described};
use crate::table::Key;
use crate::types::Side;
use crate::wire::Span;
use crate::wire::sip::{Message, Name};
use crate::wire::splice::Splice;
use std::net::IpAddr;

/// Does this message carry a session description, alone or among other parts (RFC 5621)?
pub(super) fn has_sdp(message: &Message<'_>) -> bool {
    !message.sdp_parts().is_empty()
}

/// A body that we cannot look into may carry an address that must not pass.
pub(super) fn is_encoded(message: &Message<'_>) -> bool {
    let encoding = message.value(Name::ContentEncoding);
    !message.body().is_empty() && encoding.is_some_and(|value| !value.eq_ignore_ascii_case(b"identity"))
}

/// The body with each of its descriptions rewritten; boundaries and other parts stay.
fn rewritten(
    message: &Message<'_>,
    mut with: impl FnMut(&[u8]) -> Result<Vec<u8>, Fault>,
) -> Result<Vec<u8>, Fault> {
    let start = message.body_span().start;
    let mut splice = Splice::new(message.body());
    for part in message.sdp_parts() {
        splice.replace(Span::new(part.start - start, part.end - start), with(part.of(message.bytes()))?);
    }
    Ok(splice.finish())
}

impl Sip {
    /// The body of a request within a dialog, for the other side; `None` leaves it as it is.
    ///
    /// # Errors
    /// As [`sdp::anchor`].
    pub(super) fn request_body(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        key: Key,
        side: Side,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let Some(dialog) = self.dialogs.get_mut(key).filter(|_| has_sdp(message)) else { return Ok(None) };
        let answers = match message.method() {
            b"ACK" => true,
            b"PRACK" => dialog.offered == Some(side.other()),
            _ => false,
        };
        describe(cx, message, dialog, side, if answers { Role::Answer } else { Role::Offer }).map(Some)
    }

    /// The body of a response within a dialog: an answer if the request made an offer (RFC 3264, RFC 6337 section 2).
    ///
    /// # Errors
    /// As [`sdp::anchor`].
    pub(super) fn response_body(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        key: Key,
        side: Side,
        offered: bool,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let Some(dialog) = self.dialogs.get_mut(key).filter(|_| has_sdp(message)) else { return Ok(None) };
        describe(cx, message, dialog, side, if offered { Role::Answer } else { Role::Offer }).map(Some)
    }

    /// An offer was refused: what was agreed before goes on.
    pub(super) fn withdraw(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        dialog.offered = None;
        if let Some(session) = dialog.session {
            cx.sessions.rollback(cx.now, session, cx.out);
        }
    }
}

/// A body outside any dialog describes capabilities only: nothing is opened.
///
/// # Errors
/// [`Fault::Malformed`] when a description cannot be read.
pub(super) fn outside_dialog(message: &Message<'_>, ours: IpAddr) -> Result<Option<Vec<u8>>, Fault> {
    if !has_sdp(message) {
        return Ok(None);
    }
    rewritten(message, |part| sdp::conceal(part, ours)).map(Some)
}

fn describe(
    cx: &mut Cx<'_>,
    message: &Message<'_>,
    dialog: &mut Dialog,
    side: Side,
    role: Role,
) -> Result<Vec<u8>, Fault> {
    let ours = dialog.leg(side.other()).realm.advertised;
    let Some(session) = dialog.session else { return rewritten(message, |part| sdp::conceal(part, ours)) };
    let described = Described { session, side, role, ours };
    let body = rewritten(message, |part| sdp::anchor(cx, described, part))?;
    dialog.offered = (role == Role::Offer).then_some(side);
    Ok(body)
}
