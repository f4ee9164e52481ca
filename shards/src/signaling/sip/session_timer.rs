//! Session timers (RFC 4028): a call whose ends refresh it is known to be alive; one that is not refreshed any more is
//! over. Portolan does what the RFC asks of a proxy (section 8): it may ask for a timer, make it shorter, and refuse
//! one that is too short.

use super::Sip;
use super::hop::Rewrite;
use super::reply::Reply;
use crate::limits::Limits;
use crate::signaling::Cx;
use crate::table::Key;
use crate::wire::sip::{Message, Name};
use std::time::Duration;

/// No session is refreshed more often than this (RFC 4028 section 5).
pub(super) const MIN_SE: u64 = 90;
/// How long after its end a session may still be refreshed: answers and clocks take their time.
const GRACE: Duration = Duration::from_secs(32);

/// Refuse an interval below the smallest that anybody may ask for.
///
/// # Errors
/// 422, for a sender that understands it.
pub(super) fn check(message: &Message<'_>) -> Result<(), Reply> {
    let short = interval(message).is_some_and(|seconds| seconds < MIN_SE);
    if short && refreshes(message) && speaks_timer(message) { Err(Reply::INTERVAL_TOO_SMALL) } else { Ok(()) }
}

/// Ask for a timer where there is none, or for a shorter one: `most`, but never below Min-SE (section 8.1).
pub(super) fn ask(rewrite: &mut Rewrite<'_, '_>, message: &Message<'_>, limits: &Limits) {
    let most = limits.session_expires.as_secs();
    if most == 0 || !refreshes(message) {
        return;
    }
    let floor = seconds(message, Name::MinSe).unwrap_or(MIN_SE).max(MIN_SE);
    let wanted = most.max(floor);
    match message.value(Name::SessionExpires) {
        None => rewrite.on_top(format!("Session-Expires: {wanted}\r\n")),
        Some(value) if interval(message).is_some_and(|asked| asked > wanted) => {
            let params = value.iter().position(|octet| *octet == b';').map_or(&b""[..], |at| &value[at..]);
            let value = [wanted.to_string().as_bytes(), params].concat();
            rewrite.value(Name::SessionExpires, value);
        }
        Some(_) => {}
    }
}

/// The receiver does not know timers, but the sender does: the sender refreshes (section 8.2). Gives the header lines
/// to add to the answer.
pub(super) fn appoint(answer: &Message<'_>, sent: &Message<'_>) -> Option<String> {
    let success = answer.status().is_some_and(|status| (200..300).contains(&status));
    if !success || !refreshes(sent) || answer.first(Name::SessionExpires).is_some() || !speaks_timer(sent) {
        return None;
    }
    let seconds = interval(sent)?;
    Some(format!("Require: timer\r\nSession-Expires: {seconds};refresher=uac\r\n"))
}

impl Sip {
    /// An INVITE or UPDATE succeeded: the session lives for as long as its ends agreed.
    pub(super) fn session_refreshed(&mut self, cx: &Cx<'_>, answer: &Message<'_>, key: Key) {
        if !matches!(answer.method(), b"INVITE" | b"UPDATE") {
            return;
        }
        let lifetime = interval(answer).map(|seconds| Duration::from_secs(seconds.max(MIN_SE)) + GRACE);
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        dialog.refresh_by = lifetime.map(|lifetime| cx.now + lifetime);
        if let Some(by) = dialog.refresh_by {
            self.timers.schedule(by, super::Wake::Dialog(key));
        }
    }
}

/// Only these begin or refresh a session (section 2).
fn refreshes(message: &Message<'_>) -> bool {
    message.is_request() && matches!(message.method(), b"INVITE" | b"UPDATE")
}

fn speaks_timer(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    let tags = message.values(Name::Supported).chain(message.values(Name::Require));
    tags.into_iter().any(|tag| tag.of(bytes).eq_ignore_ascii_case(b"timer"))
}

fn interval(message: &Message<'_>) -> Option<u64> {
    seconds(message, Name::SessionExpires)
}

/// The number before the parameters.
fn seconds(message: &Message<'_>, name: Name) -> Option<u64> {
    let value = message.value(name)?.split(|octet| *octet == b';').next()?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
