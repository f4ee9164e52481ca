//! Ending a call that its ends have forgotten: a BYE of our own to both (RFC 3261 section 15, as each of them would
//! write it), so that nobody is charged for silence; and other requests in the name of one of them.

use super::Sip;
use super::dialog::{Dialog, at};
use super::hop::{self, Ours, own_via};
use super::transaction::{LINGER, Own};
use super::within::{path_within, routed};
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side};
use bytes::Bytes;

/// Why we end a call in which nothing moves any more (RFC 3326).
pub(super) const SILENT: &str = "SIP;cause=408;text=\"media or session timeout\"";
/// Why we end a call that was accepted with a description which cannot be passed on.
pub(super) const SPOILED: &str = "SIP;cause=488;text=\"session description cannot be relayed\"";

/// What a request to one side of a dialog says, in the other one's name.
pub(super) struct OwnRequest {
    pub(super) flow: Flow,
    uri: Bytes,
    routes: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    call_id: Bytes,
    /// The next number of the other one's.
    number: u32,
}

impl Sip {
    /// Tell both ends that the call is over.
    pub(super) fn hang_up(&mut self, cx: &mut Cx<'_>, key: Key, reason: &str) {
        for side in [Side::Access, Side::Core] {
            self.part_from(cx, key, side, reason);
        }
    }

    /// Tell one end that the call is over.
    pub(super) fn part_from(&mut self, cx: &mut Cx<'_>, key: Key, side: Side, reason: &str) {
        let Some(words) = self.dialogs.get(key).and_then(|dialog| own_request(cx, dialog, side)) else {
            return;
        };
        cx.stats.byes_sent += 1;
        self.send_own(cx, words.flow, side, Own::Goodbye, LINGER, |ours, branch| {
            words.write("BYE", words.number, Some(reason), ours, branch)
        });
    }
}

/// `None` while nothing is known of that side.
pub(super) fn own_request(cx: &mut Cx<'_>, dialog: &Dialog, to: Side) -> Option<OwnRequest> {
    let (flow, target) = path_within(cx, dialog, to)?;
    let caller = dialog.caller == to;
    let [ours, theirs] = if caller { [1, 0] } else { [0, 1] };
    let name = |which: usize, tag: Option<&Bytes>| {
        [b"<", &dialog.names[which][at(to)][..], b">;tag=", tag.map(|tag| &tag[..]).unwrap_or_default()]
            .concat()
    };
    let (near, far) = (dialog.leg(to), dialog.leg(to.other()));
    let (uri, routes) = routed(target, &near.routes);
    Some(OwnRequest {
        flow,
        uri,
        routes: hop::route_lines(&routes),
        from: name(ours, far.tag.as_ref()),
        to: name(theirs, near.tag.as_ref()),
        call_id: dialog.call_id.clone(),
        number: far.sequence.saturating_add(1),
    })
}

impl OwnRequest {
    /// A request without a body; `reason` is the value of its Reason.
    pub(super) fn write(
        &self,
        method: &str,
        number: u32,
        reason: Option<&str>,
        ours: Ours,
        branch: &str,
    ) -> Vec<u8> {
        let mut out = [method.as_bytes(), b" ", &self.uri[..], b" SIP/2.0\r\n"].concat();
        out.extend(own_via(ours, branch).into_bytes());
        out.extend(&self.routes);
        out.extend(b"Max-Forwards: 70\r\n");
        for (name, value) in [("From", &self.from[..]), ("To", &self.to), ("Call-ID", &self.call_id)] {
            out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let reason = reason.map(|reason| format!("Reason: {reason}\r\n")).unwrap_or_default();
        out.extend(format!("CSeq: {number} {method}\r\n{reason}Content-Length: 0\r\n\r\n").into_bytes());
        out
    }
}
