//! Registrations: the softswitch sees a sealed Contact at Portolan, the terminal its own exact octets (RFC 3261
//! section 10). Nothing is learned or forgotten before the registrar's 2xx.

use super::binding::{Aor, Binding};
use super::hop::{self, Ours, Rewrite};
use super::reply::Reply;
use super::request::Upstream;
use super::{Sip, Wake, number};
use crate::io::{Crossing, DropReason};
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::table::Key;
use crate::types::{Flow, ShardId};
use crate::wire::sip::{Message, Name, NameAddr};
use bytes::Bytes;
use std::time::Duration;

/// Lifetime of a contact for which nobody named one (RFC 3261 section 10.2.1.1 leaves it to the registrar).
const DEFAULT_EXPIRES: u64 = 3600;
/// A binding outlives its registration a little, as answers and clocks take their time.
const GRACE: Duration = Duration::from_secs(5);

/// What a REGISTER on its way asked for.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    aor: Aor,
    contacts: Vec<Key>,
    star: bool,
}

impl Sip {
    /// Read the contacts of a REGISTER and give each a binding, not yet in force.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(super) fn registration(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        up: &Upstream,
    ) -> Result<Registration, Reply> {
        let bytes = message.bytes();
        let aor = hop::name_of(message, Name::To).ok_or(Reply::BAD_REQUEST)?;
        let aor = Aor {
            realm: up.access.id,
            user: Bytes::copy_from_slice(aor.user.map(|user| user.of(bytes)).unwrap_or_default()),
            host: Bytes::from(aor.host.of(bytes).to_ascii_lowercase()),
        };
        let values = message.values(Name::Contact).collect::<Vec<_>>();
        let star = values.iter().any(|value| value.of(bytes) == b"*");
        if star && (values.len() > 1 || number(message, Name::Expires) != Some(0)) {
            return Err(Reply::BAD_REQUEST);
        }
        let contacts = if star { Vec::new() } else { self.claim_all(cx, message, &aor, flow, up)? };
        Ok(Registration { aor, contacts, star })
    }

    fn claim_all(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        aor: &Aor,
        flow: Flow,
        up: &Upstream,
    ) -> Result<Vec<Key>, Reply> {
        let values = message.values(Name::Contact).collect::<Vec<_>>();
        let mut claimed = Vec::with_capacity(values.len());
        for value in values {
            let contact = NameAddr::parse(message.bytes(), value).map_err(|_| Reply::BAD_REQUEST)?;
            if !contact.uri.is_sip(message.bytes()) {
                continue;
            }
            match self.claim(cx, contact.uri.span.of(message.bytes()), aor, flow, up) {
                Some(key) => claimed.push(key),
                None => {
                    self.unclaim(&claimed);
                    return Err(Reply::UNAVAILABLE);
                }
            }
        }
        Ok(claimed)
    }

    /// The binding of this contact: the one that is there, or a new one. `None` when the shard or the address of
    /// record is full.
    fn claim(
        &mut self,
        cx: &mut Cx<'_>,
        contact: &[u8],
        aor: &Aor,
        flow: Flow,
        up: &Upstream,
    ) -> Option<Key> {
        if let Some(key) = self.bindings.find(aor, contact) {
            self.bindings.get_mut(key)?.pending += 1;
            return Some(key);
        }
        let limits = &cx.mapping.limits;
        if self.bindings.len() >= limits.bindings || self.bindings.of(aor).len() >= limits.contacts_per_aor {
            cx.dropped(DropReason::Limit);
            return None;
        }
        let key = self.bindings.insert(Binding {
            aor: aor.clone(),
            realm: up.access.clone(),
            softswitch: up.softswitch.clone(),
            contact: Bytes::copy_from_slice(contact),
            label: String::new(),
            flow,
            expires: None,
            pending: 1,
            missed: 0,
            probe: None,
            probes: 0,
        });
        let label = cx.sealer.seal(cx.rng, Label { kind: Kind::Binding, shard: cx.shard, key });
        self.bindings.get_mut(key)?.label = label;
        Some(key)
    }

    /// Write the sealed contacts of a REGISTER.
    pub(super) fn seal_contacts(
        &self,
        message: &Message<'_>,
        registration: &Registration,
        ours: Ours,
        rewrite: &mut Rewrite<'_, '_>,
    ) {
        let bytes = message.bytes();
        rewrite.contacts(|contact| {
            let uri = contact.uri.span.of(bytes);
            let claimed = registration.contacts.iter().filter_map(|key| self.bindings.get(*key));
            let label =
                claimed.into_iter().find(|binding| binding.contact == uri).map(|binding| &binding.label);
            Some(label.map_or_else(
                || uri.to_vec(),
                |label| hop::contact_at(bytes, &contact.uri, ours, Some(label)),
            ))
        });
    }

    /// The registrar said no, or nothing.
    pub(super) fn registration_failed(&mut self, registration: &Registration) {
        self.unclaim(&registration.contacts);
    }

    fn unclaim(&mut self, contacts: &[Key]) {
        for key in contacts {
            let Some(binding) = self.bindings.get_mut(*key) else { continue };
            binding.pending = binding.pending.saturating_sub(1);
            if binding.pending == 0 && binding.expires.is_none() {
                self.bindings.remove(*key);
            }
        }
    }

    /// The registrar's 2xx: its list of contacts is the truth. Gives the octets for each contact in the terminal's copy.
    pub(super) fn registered(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        registration: &Registration,
        flow: Flow,
    ) -> Listed {
        let listed = self.listed(cx, message);
        for &(key, _, expires) in &listed.ours {
            let asked = registration.contacts.contains(&key);
            if asked && expires > 0 {
                self.bind(cx, key, flow, expires);
            }
        }
        for key in self.bindings.of(&registration.aor) {
            self.settle(key, registration, &listed);
        }
        listed
    }

    /// A contact that the registrar no longer lists is gone, unless another registration of it is on its way.
    fn settle(&mut self, key: Key, registration: &Registration, listed: &Listed) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        if registration.contacts.contains(&key) {
            binding.pending = binding.pending.saturating_sub(1);
        }
        let stays =
            listed.ours.iter().any(|(other, _, expires)| *other == key && *expires > 0) && !registration.star;
        if stays {
            return;
        }
        if binding.pending > 0 {
            binding.expires = None;
        } else {
            self.bindings.remove(key);
        }
    }

    /// Which of the registrar's contacts are our bindings.
    pub(super) fn listed(&self, cx: &Cx<'_>, message: &Message<'_>) -> Listed {
        let bytes = message.bytes();
        let general = number(message, Name::Expires).unwrap_or(DEFAULT_EXPIRES);
        let contacts = message.values(Name::Contact).filter_map(|value| NameAddr::parse(bytes, value).ok());
        let ours = contacts.filter_map(|contact| {
            let label = cx.sealer.open(hop::label_of(bytes, &contact.uri)?)?;
            let binding = self
                .bindings
                .get(label.key)
                .filter(|_| label.kind == Kind::Binding && label.shard == cx.shard)?;
            let own = contact.param(bytes, b"expires").and_then(|param| param.value);
            let own = own.and_then(|value| std::str::from_utf8(value.of(bytes)).ok()?.parse().ok());
            Some((label.key, binding.contact.clone(), own.unwrap_or(general)))
        });
        Listed { ours: ours.collect() }
    }

    /// Put a binding in force on the flow that its REGISTER came by.
    fn bind(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow, expires: u64) {
        let Some(old) = self.bindings.move_to(key, flow) else { return };
        let Some(binding) = self.bindings.get_mut(key) else { return };
        let until = cx.now + Duration::from_secs(expires.min(u64::from(u32::MAX))) + GRACE;
        let fresh = binding.expires.replace(until).is_none();
        binding.missed = 0;
        self.timers.schedule(until, Wake::Binding(key));
        if fresh {
            self.start_keepalive(cx, key);
        } else if old != flow {
            self.moved(cx, old, flow);
        }
    }

    /// Tell every shard that a terminal is now reached by another flow.
    fn moved(&mut self, cx: &mut Cx<'_>, old: Flow, new: Flow) {
        for shard in (0..cx.mapping.shards).map(ShardId) {
            if shard == cx.shard {
                crate::signaling::Adapter::handle_moved(self, cx, old, new);
            } else {
                cx.cross(shard, Crossing::FlowMoved { old, new });
            }
        }
    }

    /// Has the registration run out?
    pub(super) fn check_binding(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        if binding.expires.is_none_or(|until| until > cx.now) {
            return;
        }
        if binding.pending > 0 {
            binding.expires = None;
        } else {
            self.bindings.remove(key);
        }
    }
}

/// The registrar's list, as far as it is about us.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Binding, its original octets, and its lifetime in seconds.
    ours: Vec<(Key, Bytes, u64)>,
}

impl Listed {
    /// Restore our contacts in the terminal's copy of the 2xx; contacts of other places stay hidden.
    pub(super) fn restore(&self, cx: &Cx<'_>, message: &Message<'_>, rewrite: &mut Rewrite<'_, '_>) {
        let bytes = message.bytes();
        rewrite.contacts(|contact| {
            let label = cx.sealer.open(hop::label_of(bytes, &contact.uri)?)?;
            self.ours.iter().find(|(key, _, _)| *key == label.key).map(|(_, original, _)| original.to_vec())
        });
    }
}
