//! Registrations: the softswitch sees a sealed Contact or a Path at Portolan, the terminal its own exact octets (RFC
//! 3261 section 10). Nothing is learned or forgotten before the registrar's 2xx.

use super::binding::{Aor, Binding, Texts, Wanted};
use super::forward::{Hop, Request};
use super::hop::{self, Ours, Rewrite};
use super::keepalive::Alive;
use super::listed::{Entry, Listed};
use super::outbound::{self, device};
use super::refresh::{Lineage, Survival};
use super::reply::Reply;
use super::request::Upstream;
use super::transaction::Purpose;
use super::{Sip, Wake, lifetime, number, path};
use crate::io::{Crossing, DropReason};
use crate::realm::{self, Way};
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::table::Key;
use crate::types::{Flow, Instant, ShardId};
use crate::wire::sip::{Message, Name, NameAddr, Uri};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A binding outlives its registration a little, as answers and clocks take their time.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What a REGISTER on its way asked for.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) aor: Aor<'static>,
    pub(super) claims: Vec<Claim>,
    pub(super) policy: realm::Registration,
    pub(super) lineage: Lineage,
    pub(super) flow: Flow,
    /// The answer if no server gives one.
    pub(super) survival: Option<Survival>,
    /// `Contact: *`
    star: bool,
    /// The terminal asks for RFC 5626 outbound.
    outbound: bool,
}

/// One contact of a REGISTER, and the binding that it will be.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) key: Key,
    /// The URI as written.
    pub(super) contact: Bytes,
    /// What the registrar is given; the same for the binding's whole life.
    label: String,
    pub(super) device: Option<Box<[u8]>>,
    /// The lifetime that the terminal asked for, in seconds.
    pub(super) asked: Option<u64>,
}

impl Registration {
    /// The first of the contacts that claim this binding.
    pub(super) fn claim(&self, key: Key) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.key == key)
    }
}

impl Sip {
    /// A REGISTER from a terminal: refused, answered here, or sent on.
    pub(super) fn register(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        hop: &Hop,
        up: &Upstream,
    ) -> Result<(), Reply> {
        let (message, flow) = (request.message, request.flow);
        let policy = policy(cx, message, up);
        if outbound::first_hop_lacks(message) {
            return Err(Reply::FIRST_HOP_LACKS_OUTBOUND);
        }
        if asked(message).any(|asked| lifetime::is_too_brief(asked, &policy)) {
            let least = format!("Min-Expires: {}\r\n", policy.shortest.as_secs().min(lifetime::DEFAULT));
            self.respond(cx, message, flow, Reply::TOO_BRIEF, &least);
            return Ok(());
        }
        if policy.absorb && self.absorb(cx, message, flow, up, &policy) {
            return Ok(());
        }
        let registration = self.registration(cx, message, flow, up)?;
        self.send_on(cx, request, hop, Purpose::Register(Arc::new(registration)), None)
    }

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
        let aor = aor_of(message, up).ok_or(Reply::BAD_REQUEST)?;
        let values = message.values(Name::Contact).collect::<Vec<_>>();
        let star = values.iter().any(|value| value.of(message.bytes()) == b"*");
        if star && (values.len() > 1 || number(message, Name::Expires) != Some(0)) {
            return Err(Reply::BAD_REQUEST);
        }
        let policy = policy(cx, message, up);
        let survival = if policy.survive { self.survival(cx, message, flow, up) } else { None };
        let mut registration = Registration {
            aor,
            claims: Vec::new(),
            policy,
            lineage: Lineage::of(message),
            flow,
            survival,
            star,
            outbound: outbound::is_asked(message),
        };
        if !star {
            let claimed = self.claim_all(cx, message, &mut registration, up);
            claimed.inspect_err(|_| self.registration_failed(&registration))?;
        }
        Ok(registration)
    }

    fn claim_all(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        registration: &mut Registration,
        up: &Upstream,
    ) -> Result<(), Reply> {
        let bytes = message.bytes();
        for value in message.values(Name::Contact).collect::<Vec<_>>() {
            let contact = NameAddr::parse(bytes, value).map_err(|_| Reply::BAD_REQUEST)?;
            if !contact.uri.is_sip(bytes) {
                continue;
            }
            let uri = contact.uri.span.of(bytes);
            let device = device(bytes, &contact);
            let named = Wanted {
                contact: uri,
                device: device.as_deref(),
                call_id: message.call_id(),
                flow: &registration.flow,
            };
            let known = self.bindings.find(&registration.aor, &named);
            let key = known.or_else(|| self.bind_new(cx, registration, up, uri)).ok_or(Reply::UNAVAILABLE)?;
            let first = registration.claim(key).is_none();
            if let Some(binding) = self.bindings.get_mut(key) {
                binding.pending += u16::from(first);
            }
            let asked = lifetime::named(message, &contact);
            let contact = Bytes::copy_from_slice(uri);
            registration.claims.push(Claim { key, contact, label: label(cx, key), device, asked });
        }
        Ok(())
    }

    /// A binding for a contact that is not known. `None` when the shard or the address of record is full.
    fn bind_new(
        &mut self,
        cx: &mut Cx<'_>,
        registration: &Registration,
        up: &Upstream,
        contact: &[u8],
    ) -> Option<Key> {
        let limits = &cx.mapping.limits;
        let others = self.bindings.of(&registration.aor);
        if others.len() >= limits.contacts_per_aor {
            let lost = |key: &&Key| self.bindings.get(**key).is_some_and(|b| b.lost && b.pending == 0);
            self.bindings.remove(*others.iter().find(lost).or_else(|| full(cx))?);
        }
        if self.bindings.len() >= limits.bindings {
            return full(cx);
        }
        Some(self.bindings.insert(Binding {
            texts: Texts::new(&registration.aor, contact, None, &registration.lineage.call_id),
            realm: up.access.clone(),
            softswitch: up.softswitch.clone(),
            cseq: 0,
            flow: registration.flow,
            expires: None,
            core: cx.now,
            wake: None,
            confirmed: None,
            pending: 0,
            alive: Alive::new(cx.now),
            ticking: false,
            lost: false,
            farewell: false,
            outbound: false,
            by_path: false,
            answered: false,
            doubted: false,
        }))
    }

    /// Write the contacts and lifetimes of a REGISTER as the registrar sees them.
    pub(super) fn seal_contacts(
        &self,
        message: &Message<'_>,
        registration: &Registration,
        ours: Ours,
        rewrite: &mut Rewrite<'_, '_>,
    ) {
        if registration.star || registration.claims.is_empty() {
            return;
        }
        let (bytes, policy) = (message.bytes(), &registration.policy);
        let general = message.first(Name::Expires).is_some();
        let mut claims = registration.claims.iter();
        let mut longest = None;
        rewrite.contact_values(|contact| {
            let uri = contact.uri.span.of(bytes);
            let claim = if contact.uri.is_sip(bytes) { claims.next() } else { None };
            let Some(claim) = claim else { return Some(contact.span.of(bytes).to_vec()) };
            let seconds = lifetime::toward_registrar(claim.asked, policy);
            longest = longest.max(seconds.or(claim.asked));
            let own = contact.param(bytes, b"expires").is_some() || !general;
            let uri = match policy.way {
                Way::Path => uri.to_vec(),
                Way::Contact => hop::contact_at(bytes, &contact.uri, ours, Some(&claim.label)),
            };
            Some(lifetime::write(bytes, contact, &uri, seconds.filter(|_| own)))
        });
        if let Some(longest) = longest.filter(|_| policy.registrar > Duration::ZERO) {
            rewrite.value(Name::Expires, longest.to_string());
        }
        if policy.way == Way::Path {
            let label = registration.claims.first().map(|claim| &*claim.label).unwrap_or_default();
            path::insert(message, ours, label, registration.outbound, rewrite);
        }
    }

    /// The registrar said no, or nothing.
    pub(super) fn registration_failed(&mut self, registration: &Registration) {
        for (n, claim) in registration.claims.iter().enumerate() {
            if registration.claims[..n].iter().any(|earlier| earlier.key == claim.key) {
                continue;
            }
            let Some(binding) = self.bindings.get_mut(claim.key) else { continue };
            binding.pending = binding.pending.saturating_sub(1);
            if binding.pending == 0 && binding.expires.is_none() {
                self.bindings.remove(claim.key);
            }
        }
    }

    /// The registrar's 2xx: its list of contacts is the truth. Gives what the terminal's copy lists.
    pub(super) fn registered(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        registration: &Registration,
        flow: Flow,
    ) -> Listed {
        let mut listed = self.listed(cx, message, registration);
        for entry in &mut listed.entries {
            match registration.claim(entry.key) {
                Some(claim) if entry.granted > 0 && !registration.star => {
                    let given =
                        lifetime::toward_terminal(cx.rng, entry.granted, claim.asked, &registration.policy);
                    entry.given = given;
                    self.bind(cx, registration, claim, entry, flow);
                }
                _ => self.shorten(cx, entry),
            }
        }
        for key in self.bindings.of(&registration.aor) {
            self.settle(key, registration, &listed);
        }
        listed.settle_header(registration);
        listed.timer = Some(outbound::timer(cx, Some((message, registration.outbound))));
        self.confirm(cx, message, registration, &listed);
        listed
    }

    /// A contact that the registrar no longer lists is gone, unless another registration of it is on its way.
    fn settle(&mut self, key: Key, registration: &Registration, listed: &Listed) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        if registration.claim(key).is_some() {
            binding.pending = binding.pending.saturating_sub(1);
        }
        let stays = listed.entries.iter().any(|entry| entry.key == key && entry.granted > 0);
        if stays && !registration.star {
            return;
        }
        if binding.pending > 0 {
            binding.expires = None;
        } else {
            self.bindings.remove(key);
        }
    }

    /// The registrar says how long a contact lasts that this REGISTER was not about: if that is less than we thought,
    /// it is what counts.
    fn shorten(&mut self, cx: &mut Cx<'_>, entry: &mut Entry) {
        let until = cx.now + Duration::from_secs(entry.granted);
        let Some(binding) = self.bindings.get_mut(entry.key) else { return };
        binding.core = binding.core.min(until);
        let Some(expires) = binding.expires else { return };
        entry.given = entry.granted.min(expires.since(cx.now).as_secs());
        if until + GRACE < expires {
            self.live_until(entry.key, until + GRACE);
        }
    }

    /// Put a binding in force on the flow that its REGISTER came by.
    fn bind(
        &mut self,
        cx: &mut Cx<'_>,
        registration: &Registration,
        claim: &Claim,
        entry: &Entry,
        flow: Flow,
    ) {
        let key = claim.key;
        let Some(binding) = self.bindings.get_mut(key) else { return };
        let died = binding.lost && binding.flow.same_path(&flow);
        let fresh = binding.expires.is_none();
        let Registration { aor, lineage, .. } = registration;
        binding.texts = Texts::new(aor, &claim.contact, claim.device.as_deref(), &lineage.call_id);
        binding.cseq = lineage.cseq;
        binding.outbound = registration.outbound;
        binding.farewell = registration.policy.deregister;
        binding.by_path = registration.policy.way == Way::Path;
        binding.core = cx.now + Duration::from_secs(entry.granted);
        let ticking = std::mem::replace(&mut binding.ticking, true);
        self.heard(cx, key);
        self.live_until(key, cx.now + Duration::from_secs(entry.given) + GRACE);
        if !ticking {
            self.start_keepalive(cx, key);
        }
        if died {
            return;
        }
        if let Some(old) = self.bindings.arrive(key, flow).filter(|old| !fresh && *old != flow) {
            self.moved(cx, old, flow);
        }
    }

    /// A binding stays in force until then.
    pub(super) fn live_until(&mut self, key: Key, until: Instant) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        binding.expires = Some(until);
        if binding.wake.is_none_or(|wake| wake > until) {
            binding.wake = Some(until);
            self.timers.schedule(until, Wake::Binding(key));
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
        if binding.wake.is_none_or(|wake| wake > cx.now) {
            return;
        }
        binding.wake = None;
        let Some(until) = binding.expires else { return };
        if until > cx.now {
            self.live_until(key, until);
        } else if binding.pending > 0 {
            binding.expires = None;
        } else {
            self.deregister(cx, key);
            self.bindings.remove(key);
        }
    }
}

/// Registration policy of the route that a REGISTER takes.
pub(super) fn policy(cx: &Cx<'_>, message: &Message<'_>, up: &Upstream) -> realm::Registration {
    let bytes = message.bytes();
    let uri = message.request_uri().and_then(|span| Uri::parse(bytes, span).ok());
    let domain = uri.map(|uri| String::from_utf8_lossy(uri.host.of(bytes))).unwrap_or_default();
    cx.mapping.route(up.access.id, &domain).map(|(route, _)| route.registration).unwrap_or_default()
}

/// The address of record of a REGISTER.
pub(super) fn aor_of(message: &Message<'_>, up: &Upstream) -> Option<Aor<'static>> {
    let (bytes, uri) = (message.bytes(), hop::name_of(message, Name::To)?);
    Some(Aor {
        realm: up.access.id,
        user: uri.user.map(|user| user.of(bytes)).unwrap_or_default().to_vec().into(),
        host: uri.host.of(bytes).to_ascii_lowercase().into(),
    })
}

/// The lifetimes that a REGISTER asks for.
fn asked<'m>(message: &'m Message<'_>) -> impl Iterator<Item = Option<u64>> + 'm {
    let contacts = message.values(Name::Contact);
    contacts
        .map(|value| NameAddr::parse(message.bytes(), value).ok())
        .map(|contact| contact.and_then(|contact| lifetime::named(message, &contact)))
}

/// The label of a binding.
pub(super) fn label(cx: &Cx<'_>, key: Key) -> String {
    cx.sealer.seal_again(Label { kind: Kind::Binding, shard: cx.shard, key })
}

fn full<T>(cx: &mut Cx<'_>) -> Option<T> {
    cx.dropped(DropReason::Limit);
    None
}
