//! Bodies: session descriptions are anchored, everything else passes.

use super::Sip;
use super::dialog::{Dialog, at};
use crate::fault::Fault;
use crate::media::Gate;
use crate::session::Role;
use crate::signaling::sdp::{self, Described};
use crate::signaling::{Cx, ice};
use crate::table::Key;
use crate::types::Side;
use crate::wire::Span;
use crate::wire::sip::{Message, Name};
use crate::wire::splice::Splice;
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};
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

/// A signed or enciphered body may hold a description that we must change and may not (RFC 3261 section 23, RFC 8551).
pub(super) fn is_sealed(message: &Message<'_>) -> bool {
    let kind = message.value(Name::ContentType).unwrap_or_default();
    let kind = kind.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
    let describes = matches!(message.method(), b"INVITE" | b"UPDATE" | b"PRACK" | b"ACK");
    let sealed: [&[u8]; 3] = [b"multipart/signed", b"application/pkcs7-mime", b"application/x-pkcs7-mime"];
    describes && !message.body().is_empty() && sealed.iter().any(|name| kind.eq_ignore_ascii_case(name))
}

/// The body of an INFO that trickles candidates (RFC 8840), without them; `None` when there is no such part.
fn without_candidates(message: &Message<'_>) -> Option<Vec<u8>> {
    let parts = message.parts(|kind| kind.eq_ignore_ascii_case(b"application/trickle-ice-sdpfrag"));
    let (start, mut splice) = (message.body_span().start, Splice::new(message.body()));
    for part in &parts {
        let span = Span::new(part.content.start - start, part.content.end - start);
        splice.replace(span, ice::fragment(part.content.of(message.bytes())));
    }
    (!parts.is_empty()).then(|| splice.finish())
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
    /// A description answers if an offer of the other side waits for one, whatever the method (RFC 6337 section 2); a
    /// request that may not offer repeats what was said.
    ///
    /// # Errors
    /// As [`sdp::anchor`]; [`Fault::PeerMisbehaved`] for an offer of which nothing is left.
    pub(super) fn request_body(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        key: Key,
        side: Side,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let Some(dialog) = self.dialogs.get_mut(key).filter(|_| has_sdp(message)) else {
            return Ok(without_candidates(message));
        };
        let asked = dialog.offered[at(side.other())];
        let role = match message.method() {
            b"ACK" | b"PRACK" if asked => Role::Answer,
            b"ACK" => Role::Repeat,
            _ => Role::Offer,
        };
        let described = describe(cx, message, dialog, side, role);
        if described.is_err() && role == Role::Offer {
            self.withdraw(cx, key, side);
        }
        let (body, nothing_left) = described?;
        if nothing_left && role == Role::Offer {
            self.withdraw(cx, key, side);
            return Err(Fault::PeerMisbehaved("no media stream that can be relayed"));
        }
        if message.method() == b"ACK" {
            self.commit(cx, key);
        }
        Ok(Some(body))
    }

    /// The body of a response within a dialog: an answer if the request made an offer (RFC 3264, RFC 6337 section 2),
    /// or what an earlier response to the same request said already.
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
        let Some(dialog) = self.dialogs.get_mut(key) else { return Ok(None) };
        let mut body = None;
        if has_sdp(message) {
            let said = (message.method() == b"INVITE").then(|| said_in(message));
            let role = match offered {
                _ if said.is_some() && dialog.said == said => Role::Repeat,
                true => Role::Answer,
                false => Role::Offer,
            };
            body = Some(describe(cx, message, dialog, side, role)?.0);
            dialog.said = said.or(dialog.said);
        }
        let settles = message.method() == b"INVITE" || body.is_some();
        if settles && message.status().is_some_and(|status| status >= 200) {
            self.commit(cx, key);
        }
        if message.method() == b"INVITE" && message.status().is_some_and(|status| status / 100 == 2) {
            self.open_both_ways(cx, key);
        }
        Ok(body)
    }

    /// An offer of `side` failed: what was agreed before goes on.
    pub(super) fn withdraw(&mut self, cx: &mut Cx<'_>, key: Key, side: Side) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        dialog.offered[at(side)] = false;
        if let Some(session) = dialog.session {
            cx.sessions.rollback(cx.now, session, side, cx.out);
        }
    }

    /// The call is no longer early: media may flow as described.
    fn open_both_ways(&self, cx: &mut Cx<'_>, key: Key) {
        if let Some(session) = self.dialogs.get(key).and_then(|dialog| dialog.session) {
            cx.sessions.allow(session, Gate::OPEN);
        }
    }

    /// What was answered is final.
    fn commit(&self, cx: &mut Cx<'_>, key: Key) {
        if let Some(session) = self.dialogs.get(key).and_then(|dialog| dialog.session) {
            cx.sessions.commit(cx.now, session, cx.out);
        }
    }
}

/// The description in a response to INVITE, and which one it answers, as one number: equal for what is said again. Only
/// an INVITE has several responses.
fn said_in(message: &Message<'_>) -> u64 {
    let mut hasher = SipHasher13::new();
    message.value(Name::CSeq).hash(&mut hasher);
    message.sdp_parts().iter().for_each(|part| part.of(message.bytes()).hash(&mut hasher));
    hasher.finish()
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

/// Anchor the description of a message; whether no stream of it is left.
fn describe(
    cx: &mut Cx<'_>,
    message: &Message<'_>,
    dialog: &mut Dialog,
    side: Side,
    role: Role,
) -> Result<(Vec<u8>, bool), Fault> {
    let ours = dialog.leg(side.other()).realm.advertised;
    let Some(session) = dialog.session else {
        return Ok((rewritten(message, |part| sdp::conceal(part, ours))?, false));
    };
    let rules = &dialog.leg(Side::Access).realm;
    let (secure_media, ice) = (rules.secure_media, rules.ice);
    let described = Described { session, side, role, ours, secure_media, ice };
    let mut nothing_left = false;
    let body = rewritten(message, |part| {
        let part = sdp::anchor(cx, described, part)?;
        nothing_left |= part.nothing_left;
        Ok(part.body)
    })?;
    match role {
        Role::Offer => dialog.offered[at(side)] = true,
        Role::Answer => dialog.offered[at(side.other())] = false,
        Role::Repeat => {}
    }
    Ok((body, nothing_left))
}
