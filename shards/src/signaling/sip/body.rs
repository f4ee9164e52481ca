//! Bodies: session descriptions are anchored, everything else passes.

use super::Sip;
use super::dialog::Dialog;
use crate::fault::Fault;
use crate::session::Role;
use crate::signaling::Cx;
use crate::signaling::sdp::{self, Described};
use crate::table::Key;
use crate::types::Side;
use crate::wire::sip::{Message, Name};
use std::net::IpAddr;

/// Does this message carry a session description?
pub(super) fn has_sdp(message: &Message<'_>) -> bool {
    let kind = message.value(Name::ContentType).unwrap_or_default();
    let kind = kind.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    !message.body().is_empty() && kind.eq_ignore_ascii_case(b"application/sdp")
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
    sdp::conceal(message.body(), ours).map(Some)
}

fn describe(
    cx: &mut Cx<'_>,
    message: &Message<'_>,
    dialog: &mut Dialog,
    side: Side,
    role: Role,
) -> Result<Vec<u8>, Fault> {
    let ours = dialog.leg(side.other()).realm.advertised;
    let Some(session) = dialog.session else { return sdp::conceal(message.body(), ours) };
    let body = sdp::anchor(cx, Described { session, side, role, ours }, message.body())?;
    dialog.offered = (role == Role::Offer).then_some(side);
    Ok(body)
}
