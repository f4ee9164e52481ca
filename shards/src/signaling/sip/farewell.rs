//! The REGISTER that ends a registration in a dead terminal's name (RFC 3261 section 10.2.2), so that the softswitch
//! does not ring where nobody is. A registrar that challenges it keeps the binding until it runs out: Portolan has no
//! password to answer with.

use super::Sip;
use super::binding::Binding;
use super::hop::{self, Ours};
use super::register::label;
use super::request::Upstream;
use super::transaction::{LINGER, Own};
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::Side;
use crate::wire::sip::Uri;
use crate::wire::{Span, text};
use std::time::Duration;

/// What is left of a registration for less than this runs out by itself.
const NEARLY_OVER: Duration = Duration::from_secs(10);

impl Sip {
    /// Tell the registrar that a terminal is gone, if the policy of its route says so.
    pub(super) fn deregister(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get(key) else { return };
        let known = binding.expires.is_some() && binding.core > cx.now + NEARLY_OVER;
        if !binding.farewell || !known || binding.pending > 0 {
            return;
        }
        let Some(core) = cx.mapping.realm(binding.softswitch.realm).cloned() else { return };
        let (access, softswitch) = (binding.realm.clone(), binding.softswitch.clone());
        let Ok(server) = self.servers.pick(cx, &softswitch, &[], false) else { return };
        let (flow, _) = Upstream { access, core, softswitch }.flow_to(cx, &server);
        let tag = cx.rng.u64();
        let goodbye = Goodbye::of(binding, (!binding.by_path).then(|| label(cx, key)));
        let write = |ours: Ours, branch: &str| goodbye.write(ours, branch, tag);
        cx.stats.registrations_ended += 1;
        self.send_own(cx, flow, Side::Core, Own::Goodbye, LINGER, write);
    }
}

/// What the REGISTER says.
struct Goodbye {
    contact: Box<[u8]>,
    label: Option<String>,
    device: String,
    at: String,
    host: String,
    call_id: String,
    cseq: u32,
}

impl Goodbye {
    fn of(binding: &Binding, label: Option<String>) -> Self {
        let aor = binding.aor();
        let literal = text::ip(&aor.host).is_some();
        let user = readable(&aor.user);
        let device = binding.device().map(readable).unwrap_or_default();
        let device =
            device.rsplit_once(' ').map(|(instance, id)| format!(";+sip.instance={instance};reg-id={id}"));
        Self {
            contact: binding.contact().into(),
            label,
            device: device.unwrap_or_default(),
            at: if user.is_empty() { user } else { user + "@" },
            host: if literal { binding.softswitch.host() } else { readable(&aor.host) },
            call_id: readable(binding.call_id()),
            cseq: binding.cseq.saturating_add(1),
        }
    }

    fn write(&self, ours: Ours, branch: &str, tag: u64) -> Vec<u8> {
        let Self { at, host, device, call_id, cseq, .. } = self;
        let (via, contact) = (hop::own_via(ours, branch), self.contact_at(ours));
        format!(
            "REGISTER sip:{host} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: <sip:{at}{host}>;tag={tag:016x}\r\n\
             To: <sip:{at}{host}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <{contact}>{device};expires=0\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// The contact as the registrar knows it.
    fn contact_at(&self, ours: Ours) -> String {
        let uri = Uri::parse(&self.contact, Span::new(0, self.contact.len())).ok();
        let sealed = uri.zip(self.label.as_deref());
        let sealed = sealed.map(|(uri, label)| hop::contact_at(&self.contact, &uri, ours, Some(label)));
        readable(sealed.as_deref().unwrap_or(&self.contact))
    }
}

fn readable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
