//! Refreshes that need no registrar: those that say what it has confirmed already, from where it was confirmed.
//!
//! Whoever is answered here must be the terminal that the registrar accepted: the same flow, and every octet that
//! matters the same, credentials included, under a higher CSeq. Anything else is the registrar's to judge.

use super::binding::{Aor, Binding, Wanted};
use super::hop::{self, Rewrite};
use super::listed::Listed;
use super::outbound::{self, device};
use super::register::{GRACE, Registration, aor_of, policy};
use super::reply::Reply;
use super::request::Upstream;
use super::transaction::Purpose;
use super::{Sip, lifetime};
use crate::realm;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Instant};
use crate::wire::Span;
use crate::wire::sip::{Header, Message, Name, NameAddr};
use crate::wire::splice::Splice;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// While no server answers, terminals are told to come back after so many seconds, less up to half at random.
const SURVIVAL: u64 = 60;

/// What a registrar has confirmed: one for all contacts of a REGISTER.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// What the REGISTER said.
    print: [u8; 16],
    /// How many contacts it had.
    contacts: usize,
    /// From here on less than half of the lifetime that the registrar granted is left.
    half: Instant,
    /// The first of the contacts is forgotten here.
    until: Instant,
    /// Header lines that its answer repeats.
    lines: Box<[u8]>,
}

/// Who a REGISTER goes on from (RFC 3261 section 10.2), and what it says.
#[derive(Clone, Debug)]
pub(super) struct Lineage {
    pub(super) call_id: Box<[u8]>,
    pub(super) cseq: u32,
    print: [u8; 16],
}

/// The answer to a refresh, held until it is clear that no server gives one.
#[derive(Clone, Debug)]
pub(super) struct Survival {
    keys: SmallVec<[Key; 1]>,
    cseq: u32,
    seconds: u64,
    answer: Bytes,
}

/// A REGISTER that repeats what is confirmed.
struct Refresh {
    aor: Aor<'static>,
    keys: SmallVec<[Key; 1]>,
    confirmed: Arc<Confirmed>,
    asked: Option<u64>,
    cseq: u32,
}

impl Lineage {
    pub(super) fn of(message: &Message<'_>) -> Self {
        let cseq = message.cseq().map_or(0, |(cseq, _)| cseq);
        Self { call_id: message.call_id().into(), cseq, print: print(message) }
    }
}

impl Sip {
    /// Answer a refresh in the registrar's place; false if it has to go there.
    pub(super) fn absorb(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        up: &Upstream,
        policy: &realm::Registration,
    ) -> bool {
        let Some(refresh) = self.refresh(cx, message, flow, up) else { return false };
        let settled = |binding: &Binding| binding.pending == 0 && !binding.doubted;
        let settled = refresh.keys.iter().all(|key| self.bindings.get(*key).is_some_and(settled));
        if !settled || cx.now >= refresh.confirmed.half {
            return false;
        }
        let left = refresh.confirmed.until.since(cx.now).as_secs();
        let seconds = lifetime::toward_terminal(cx.rng, left, refresh.asked, policy);
        let Some(answer) = self.answer(cx, message, flow, &refresh, seconds) else { return false };
        self.renew(cx, &refresh.keys, refresh.cseq, seconds);
        cx.stats.registrations_absorbed += 1;
        cx.send(flow, answer);
        true
    }

    /// The answer for a refresh if no server should give one.
    pub(super) fn survival(
        &self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        up: &Upstream,
    ) -> Option<Survival> {
        let refresh = self.refresh(cx, message, flow, up)?;
        let seconds = SURVIVAL - cx.rng.below(SURVIVAL / 2 + 1);
        let seconds = refresh.asked.map_or(seconds, |asked| asked.min(seconds));
        let answer = self.answer(cx, message, flow, &refresh, seconds)?;
        Some(Survival { keys: refresh.keys, cseq: refresh.cseq, seconds, answer })
    }

    /// No server answers a REGISTER, as this status tells: give the held answer, if there is one because the registrar
    /// had confirmed what the REGISTER says. False: the terminal has to be told.
    pub(super) fn survive(&mut self, cx: &mut Cx<'_>, key: Key, status: u16) -> bool {
        let Some(transaction) = self.transactions.get_mut(key).filter(|t| t.status.is_none()) else {
            return false;
        };
        let Purpose::Register(registration) = &transaction.purpose else { return false };
        let Some(survival) = registration.survival.clone().filter(|_| is_outage(status)) else {
            return false;
        };
        let registration = registration.clone();
        transaction.again = None;
        self.distrust(&registration, status);
        self.registration_failed(&registration);
        self.renew(cx, &survival.keys, survival.cseq, survival.seconds);
        cx.stats.registrations_survived += 1;
        self.reply(cx, key, 200, None, survival.answer);
        true
    }

    /// The same for a REGISTER that no server can be asked, because all of them have asked for a pause.
    pub(super) fn survive_unasked(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        up: &Upstream,
    ) -> bool {
        let survive = policy(cx, message, up).survive;
        let Some(survival) = survive.then(|| self.survival(cx, message, flow, up)).flatten() else {
            return false;
        };
        self.renew(cx, &survival.keys, survival.cseq, survival.seconds);
        cx.stats.registrations_survived += 1;
        cx.send(flow, survival.answer);
        true
    }

    /// The terminal was told that its bindings last so long.
    fn renew(&mut self, cx: &Cx<'_>, keys: &[Key], cseq: u32, seconds: u64) {
        for key in keys {
            let Some(binding) = self.bindings.get_mut(*key) else { continue };
            (binding.cseq, binding.answered) = (cseq, true);
            self.live_until(*key, cx.now + Duration::from_secs(seconds) + GRACE);
        }
    }

    /// What a REGISTER repeats, if it repeats anything: all its contacts are in force on this flow, confirmed by one
    /// answer to one REGISTER that said the same.
    fn refresh(&self, cx: &Cx<'_>, message: &Message<'_>, flow: Flow, up: &Upstream) -> Option<Refresh> {
        let aor = aor_of(message, up)?;
        let lineage = Lineage::of(message);
        let mut keys = SmallVec::new();
        let mut least: Option<u64> = None;
        for value in message.values(Name::Contact) {
            let contact = NameAddr::parse(message.bytes(), value).ok()?;
            let asked = lifetime::named(message, &contact);
            if asked == Some(0) {
                return None;
            }
            least = asked.map(|asked| least.map_or(asked, |least| least.min(asked))).or(least);
            keys.push(self.refreshed(cx, message, &contact, &aor, flow, lineage.cseq)?);
        }
        let confirmed = self.bindings.get(*keys.first()?)?.confirmed.clone()?;
        let same = |key: &Key| {
            let known = self.bindings.get(*key).and_then(|binding| binding.confirmed.as_ref());
            known.is_some_and(|known| Arc::ptr_eq(known, &confirmed))
        };
        let whole = keys.len() == confirmed.contacts && keys.iter().all(same);
        let refresh = Refresh { aor, keys, confirmed, asked: least, cseq: lineage.cseq };
        (whole && refresh.confirmed.print == lineage.print).then_some(refresh)
    }

    /// The binding in force that one contact refreshes.
    fn refreshed(
        &self,
        cx: &Cx<'_>,
        message: &Message<'_>,
        contact: &NameAddr,
        aor: &Aor<'_>,
        flow: Flow,
        cseq: u32,
    ) -> Option<Key> {
        let uri = contact.uri.span.of(message.bytes());
        let device = device(message.bytes(), contact);
        let named =
            Wanted { contact: uri, device: device.as_deref(), call_id: message.call_id(), flow: &flow };
        let key = self.bindings.find(aor, &named)?;
        let binding = self.bindings.get(key)?;
        let higher = cseq > binding.cseq || (cseq == binding.cseq && binding.answered);
        let live = binding.is_live() && binding.expires.is_some_and(|until| until > cx.now);
        let here = binding.contact() == uri && binding.flow == flow;
        (higher && live && here && binding.call_id() == message.call_id()).then_some(key)
    }

    /// A 200 that says what the registrar's said, with the lifetimes of now.
    fn answer(
        &self,
        cx: &Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        refresh: &Refresh,
        seconds: u64,
    ) -> Option<Bytes> {
        let tag = cx.sealer.tag(&[message.call_id(), message.method()].concat());
        let lines = std::str::from_utf8(&refresh.confirmed.lines).ok()?;
        let draft = Reply::OK.write(message, &flow, tag, lines);
        let draft = Message::parse(&draft).ok()?;
        let mut rewrite = Rewrite::new(&draft);
        rewrite.contact_values(|contact| {
            let uri = contact.uri.span.of(draft.bytes());
            let is = |key: &&Key| self.bindings.get(**key).is_some_and(|binding| binding.contact() == uri);
            let left = match refresh.keys.iter().find(is) {
                Some(_) => Some(seconds),
                None => self.left(cx, *self.bindings.of(&refresh.aor).iter().find(is)?),
            };
            Some(lifetime::write(draft.bytes(), contact, uri, Some(left?)))
        });
        rewrite.value(Name::Expires, seconds.to_string());
        let vias = outbound::timer(cx, None).keep(&hop::lines_of(&draft, Name::Via));
        rewrite.remove(Name::Via);
        rewrite.on_top(vias);
        Some(Bytes::from(rewrite.finish()))
    }

    /// Seconds that a binding in force has left.
    fn left(&self, cx: &Cx<'_>, key: Key) -> Option<u64> {
        let until = self.bindings.get(key)?.expires?;
        (until > cx.now).then(|| until.since(cx.now).as_secs())
    }

    /// Remember what the registrar's 2xx confirmed, where a policy makes use of it.
    pub(super) fn confirm(
        &mut self,
        cx: &Cx<'_>,
        message: &Message<'_>,
        registration: &Registration,
        listed: &Listed,
    ) {
        let confirmed = self.worth_keeping(cx, message, registration, listed).map(Arc::new);
        for claim in &registration.claims {
            let Some(binding) = self.bindings.get_mut(claim.key) else { continue };
            binding.confirmed.clone_from(&confirmed);
            (binding.doubted, binding.answered) = (false, false);
        }
    }

    fn worth_keeping(
        &self,
        cx: &Cx<'_>,
        message: &Message<'_>,
        registration: &Registration,
        listed: &Listed,
    ) -> Option<Confirmed> {
        let claims = &registration.claims;
        if !registration.policy.absorb && !registration.policy.survive {
            return None;
        }
        let granted = |key| listed.entries.iter().find(|entry| entry.key == key).map(|entry| entry.granted);
        let least = claims.iter().map(|claim| granted(claim.key).unwrap_or(0)).min()?;
        (least > 0).then(|| Confirmed {
            print: registration.lineage.print,
            contacts: claims.len(),
            half: cx.now + Duration::from_secs(least) / 2,
            until: cx.now + Duration::from_secs(least),
            lines: kept_lines(cx, message, listed),
        })
    }

    /// The registrar answered with something else than a 2xx, or nothing did. Only the flow that a binding is on can
    /// spoil its confirmation: a stranger's failure means nothing. A server that fails has not refused.
    pub(super) fn distrust(&mut self, registration: &Registration, status: u16) {
        let refused = !is_outage(status);
        for claim in &registration.claims {
            let Some(binding) = self.bindings.get_mut(claim.key) else { continue };
            if !binding.flow.same_path(&registration.flow) {
                continue;
            }
            binding.doubted = true;
            if refused {
                binding.confirmed = None;
            }
        }
    }
}

/// Does this status say that no server serves?
const fn is_outage(status: u16) -> bool {
    matches!(status, 408 | 500 | 502 | 503 | 504)
}

/// The lines of a 2xx that its repetition needs, as the terminal saw them.
fn kept_lines(cx: &Cx<'_>, message: &Message<'_>, listed: &Listed) -> Box<[u8]> {
    let mut rewrite = Rewrite::new(message);
    listed.restore(cx, message, &mut rewrite);
    let bytes = rewrite.finish();
    let Ok(seen) = Message::parse(&bytes) else { return Box::default() };
    let kept = seen.headers().iter().filter(|header| is_kept(&bytes, header));
    kept.flat_map(|header| hop::header_line(&bytes, *header)).collect()
}

fn is_kept(bytes: &[u8], header: &Header) -> bool {
    const OTHERS: [&[u8]; 3] = [b"P-Associated-URI", b"Flow-Timer", b"P-Charging-Vector"];
    match header.name {
        Name::Contact | Name::Path | Name::ServiceRoute | Name::Supported | Name::Require | Name::Expires => {
            true
        }
        Name::Other => OTHERS.iter().any(|name| header.name_span.of(bytes).eq_ignore_ascii_case(name)),
        _ => false,
    }
}

/// Half a SHA-256 digest of everything in a REGISTER that may not differ between it and its refresh: all but the hop (Via,
/// Max-Forwards), the sequence, the time, the From tag and the lifetimes. Credentials count octet by octet.
fn print(message: &Message<'_>) -> [u8; 16] {
    let bytes = message.bytes();
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(message.request_uri().map(|span| span.of(bytes)).unwrap_or_default());
    for header in message.headers() {
        match header.name {
            Name::Via | Name::MaxForwards | Name::CSeq | Name::Expires | Name::ContentLength => {}
            Name::Other if is_clock(header.name_span.of(bytes)) => {}
            Name::From => {
                add(hop::name_of(message, Name::From).map(|uri| uri.span.of(bytes)).unwrap_or_default());
            }
            Name::Contact => {
                let own = message.values(Name::Contact).filter(|value| header.line.contains(*value));
                own.for_each(|value| add(&without_lifetime(bytes, value)));
            }
            _ => {
                add(&header.name_span.of(bytes).to_ascii_lowercase());
                add(header.value.of(bytes));
            }
        }
    }
    add(message.body());
    let mut out = [0; 16];
    out.copy_from_slice(&context.finish().as_ref()[..16]);
    out
}

fn is_clock(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"Date") || name.eq_ignore_ascii_case(b"Timestamp")
}

fn without_lifetime(bytes: &[u8], value: Span) -> Vec<u8> {
    let mut splice = Splice::new(bytes);
    if let Some(param) = NameAddr::parse(bytes, value).ok().and_then(|c| c.param(bytes, b"expires")) {
        splice.delete(param.span);
    }
    splice.delete(Span::new(0, value.start));
    splice.delete(Span::new(value.end, bytes.len()));
    splice.finish()
}
