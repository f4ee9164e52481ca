//! Ending a call that its ends have forgotten: a BYE of our own to both (RFC 3261 section 15, as each of them would
//! write it), so that nobody is charged for silence.

use super::Sip;
use super::dialog::{Dialog, at};
use super::hop::{self, Ours, own_via};
use super::transaction::{LINGER, Own};
use super::within::{path_within, routed};
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side};
use bytes::Bytes;

/// A BYE to one side, in the other one's name.
struct Goodbye {
    flow: Flow,
    uri: Bytes,
    routes: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    call_id: Bytes,
    number: u32,
}

impl Sip {
    /// Tell both ends that the call is over.
    pub(super) fn hang_up(&mut self, cx: &mut Cx<'_>, key: Key) {
        for side in [Side::Access, Side::Core] {
            let goodbye = self.dialogs.get(key).and_then(|dialog| goodbye(cx, dialog, side));
            let Some(goodbye) = goodbye else { continue };
            let flow = goodbye.flow;
            cx.stats.byes_sent += 1;
            self.send_own(cx, flow, side, Own::Goodbye, LINGER, |ours, branch| goodbye.write(ours, branch));
        }
    }
}

fn goodbye(cx: &mut Cx<'_>, dialog: &Dialog, to: Side) -> Option<Goodbye> {
    let (flow, target) = path_within(cx, dialog, to)?;
    let caller = dialog.caller == to;
    let [ours, theirs] = if caller { [1, 0] } else { [0, 1] };
    let name = |which: usize, tag: Option<&Bytes>| {
        [b"<", &dialog.names[which][at(to)][..], b">;tag=", tag.map(|tag| &tag[..]).unwrap_or_default()]
            .concat()
    };
    let (near, far) = (dialog.leg(to), dialog.leg(to.other()));
    let (uri, routes) = routed(target, &near.routes);
    Some(Goodbye {
        flow,
        uri,
        routes: hop::route_lines(&routes),
        from: name(ours, far.tag.as_ref()),
        to: name(theirs, near.tag.as_ref()),
        call_id: dialog.call_id.clone(),
        number: far.sequence.saturating_add(1),
    })
}

impl Goodbye {
    fn write(&self, ours: Ours, branch: &str) -> Vec<u8> {
        let mut out = [b"BYE ", &self.uri[..], b" SIP/2.0\r\n"].concat();
        out.extend(own_via(ours, branch).into_bytes());
        out.extend(&self.routes);
        out.extend(b"Max-Forwards: 70\r\n");
        for (name, value) in [("From", &self.from[..]), ("To", &self.to), ("Call-ID", &self.call_id)] {
            out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let reason = "Reason: SIP;cause=408;text=\"media or session timeout\"\r\n";
        out.extend(format!("CSeq: {} BYE\r\n{reason}Content-Length: 0\r\n\r\n", self.number).into_bytes());
        out
    }
}
