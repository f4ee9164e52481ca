//! The contacts that a registrar lists, as the terminal sees them (RFC 3261 sections 10.2.4 and 10.3 step 8).

use super::hop::{self, Rewrite};
use super::register::Registration;
use super::{Sip, lifetime, outbound, path};
use crate::realm::Way;
use crate::signaling::Cx;
use crate::signaling::label::Kind;
use crate::table::Key;
use crate::wire::sip::{Message, Name, NameAddr, same_uri};
use bytes::Bytes;

/// The registrar's list, as far as it is about us.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) entries: Vec<Entry>,
    /// Seconds for the Expires header of the terminal's copy.
    header: Option<u64>,
    /// Seconds of Flow-Timer and of `keep` in a 2xx.
    pub(super) timer: Option<outbound::Timer>,
}

/// One of our bindings in the list.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its value stands in the message.
    at: usize,
    pub(super) key: Key,
    /// The octets that the terminal knows it by.
    contact: Bytes,
    /// Seconds that the registrar grants it.
    pub(super) granted: u64,
    /// Seconds that the terminal is told.
    pub(super) given: u64,
}

impl Sip {
    /// Which of the registrar's contacts are our bindings.
    pub(super) fn listed(&self, cx: &Cx<'_>, message: &Message<'_>, registration: &Registration) -> Listed {
        let bytes = message.bytes();
        let contacts = message.values(Name::Contact).filter_map(|value| NameAddr::parse(bytes, value).ok());
        let ours = contacts.filter_map(|contact| {
            let key = self.listed_binding(cx, bytes, &contact, registration)?;
            let claimed = registration.claim(key).map(|claim| claim.contact.clone());
            let contact_octets =
                claimed.or_else(|| Some(Bytes::copy_from_slice(self.bindings.get(key)?.contact())))?;
            let granted = lifetime::named(message, &contact).unwrap_or(lifetime::DEFAULT);
            Some(Entry { at: contact.span.start, key, contact: contact_octets, granted, given: granted })
        });
        Listed { entries: ours.collect(), ..Listed::default() }
    }

    /// The binding that a contact in the list is: by its label, or where contacts pass untouched by its URI.
    fn listed_binding(
        &self,
        cx: &Cx<'_>,
        bytes: &[u8],
        contact: &NameAddr,
        registration: &Registration,
    ) -> Option<Key> {
        if let Some(label) = hop::label_of(bytes, &contact.uri).and_then(|label| cx.sealer.open(label)) {
            let here = label.kind == Kind::Binding && label.shard == cx.shard;
            return self.bindings.get(label.key).filter(|_| here).map(|_| label.key);
        }
        if registration.policy.way != Way::Path {
            return None;
        }
        let uri = contact.uri.span.of(bytes);
        let device = outbound::device(bytes, contact);
        let claimed = registration
            .claims
            .iter()
            .find(|claim| same_uri(&claim.contact, uri) && (device.is_none() || claim.device == device));
        let known = || {
            let keys = self.bindings.of(&registration.aor);
            keys.into_iter().find(|key| {
                let same = |b: &super::binding::Binding| {
                    same_uri(b.contact(), uri) && (device.is_none() || b.device() == device.as_deref())
                };
                self.bindings.get(*key).is_some_and(same)
            })
        };
        claimed.map(|claim| claim.key).or_else(known)
    }
}

impl Listed {
    /// The Expires header says the same as the contacts.
    pub(super) fn settle_header(&mut self, registration: &Registration) {
        let claimed = self.entries.iter().filter(|entry| registration.claim(entry.key).is_some());
        self.header = claimed.map(|entry| entry.given).max();
    }

    /// Restore our contacts in the terminal's copy of the answer; contacts of other places stay hidden, and so does
    /// our own place in Path and Service-Route.
    pub(super) fn restore(&self, cx: &Cx<'_>, message: &Message<'_>, rewrite: &mut Rewrite<'_, '_>) {
        let bytes = message.bytes();
        rewrite.contact_values(|contact| {
            let entry = self.entries.iter().find(|entry| entry.at == contact.span.start)?;
            let written = contact.param(bytes, b"expires").is_some();
            let tell = entry.given != entry.granted || !written;
            Some(lifetime::write(bytes, contact, &entry.contact, tell.then_some(entry.given)))
        });
        if let Some(seconds) = self.header {
            rewrite.value(Name::Expires, seconds.to_string());
        }
        path::hide(cx, rewrite);
        if let Some(timer) = &self.timer {
            timer.tell(rewrite);
        }
    }

    /// The Via lines of the answer.
    pub(super) fn vias(&self, vias: &[u8]) -> Vec<u8> {
        self.timer.as_ref().map_or_else(|| vias.to_vec(), |timer| timer.keep(vias))
    }
}
