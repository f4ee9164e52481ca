//! Client-initiated connections (RFC 5626) and keepalive by the terminal (RFC 6223): what a REGISTER asks of its first
//! hop, and what a request finds whose terminal's flow is gone.

use super::binding::Binding;
use super::home::Home;
use super::hop::Rewrite;
use super::place::Place;
use super::reply::Reply;
use super::{Sip, owner, path, place};
use crate::io::{DropReason, Target};
use crate::realm::Softswitch;
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::table::Key;
use crate::types::{Flow, ShardId, Side};
use crate::wire::Span;
use crate::wire::sip::{Message, Name, NameAddr, Uri, Via, same_uri};
use bytes::Bytes;

/// Seconds within which a terminal should send keepalives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    seconds: u64,
    /// Outbound is in use: Flow-Timer says it too.
    outbound: bool,
}

/// Is this option tag in Supported or Require?
pub(super) fn supports(message: &Message<'_>, tag: &[u8]) -> bool {
    let listed = |name| message.values(name).any(|v| v.of(message.bytes()).eq_ignore_ascii_case(tag));
    listed(Name::Supported) || listed(Name::Require)
}

/// What names a device wherever it is (RFC 5626 section 4.2): instance and reg-id, if a contact has both.
pub(super) fn device(bytes: &[u8], contact: &NameAddr) -> Option<Box<[u8]>> {
    let value = |name| Some(contact.param(bytes, name)?.value?.of(bytes));
    let (instance, id) = (value(b"+sip.instance")?, value(b"reg-id")?);
    Some([instance.to_ascii_lowercase().as_slice(), b" ", id].concat().into())
}

/// Does a REGISTER ask for outbound (RFC 5626 section 4.2.1)?
pub(super) fn is_asked(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    let mut contacts = message.values(Name::Contact).filter_map(|value| NameAddr::parse(bytes, value).ok());
    supports(message, b"outbound") && contacts.any(|contact| device(bytes, &contact).is_some())
}

/// A REGISTER that asks for outbound but came through another proxy first, which does not keep its flow: no `ob` in
/// the first Path of all, the last one written. The registrar sees one Via only, ours, and could not tell (RFC 5626
/// sections 6 and 11.6).
pub(super) fn first_hop_lacks(message: &Message<'_>) -> bool {
    let bytes = message.bytes();
    if message.values(Name::Via).nth(1).is_none() || !is_asked(message) {
        return false;
    }
    let first = message.values(Name::Path).last().and_then(|value| NameAddr::parse(bytes, value).ok());
    first.is_none_or(|first| first.uri.param(bytes, b"ob").is_none())
}

/// What a 2xx tells the terminal about keepalives; Flow-Timer only if the registrar uses outbound, and not in the
/// answer that repeats such a 2xx.
pub(super) fn timer(cx: &Cx<'_>, answer: Option<(&Message<'_>, bool)>) -> Timer {
    let seconds = cx.mapping.keepalive.interval.as_secs().max(1);
    let outbound = answer.is_some_and(|(message, asked)| asked && supports(message, b"outbound"));
    Timer { seconds, outbound }
}

impl Timer {
    /// The flow ends here: our Flow-Timer counts (RFC 5626 section 4.4), not one of the registrar's.
    pub(super) fn tell(&self, rewrite: &mut Rewrite<'_, '_>) {
        if self.outbound {
            rewrite.remove_other(b"Flow-Timer");
            rewrite.on_top(format!("Flow-Timer: {}\r\n", self.seconds));
        }
    }

    /// A terminal that offered in its Via to keep the flow alive is told how often (RFC 6223 section 4.2.2).
    pub(super) fn keep(&self, vias: &[u8]) -> Vec<u8> {
        let offered = vias.iter().position(|octet| *octet == b':').and_then(|colon| {
            let line = vias.iter().position(|octet| *octet == b'\n').unwrap_or(vias.len());
            let end = vias[..line].iter().position(|octet| *octet == b',').unwrap_or(line);
            let via = Via::parse(vias, Span::new(colon + 1, end)).ok()?;
            via.param(vias, b"keep").filter(|keep| keep.value.is_none())
        });
        match offered {
            Some(keep) => {
                let value = format!("={}", self.seconds);
                [&vias[..keep.span.end], value.as_bytes(), &vias[keep.span.end..]].concat()
            }
            None => vias.to_vec(),
        }
    }
}

impl Sip {
    /// Where a new request from a softswitch goes: the binding that its Route or Request-URI names, or for softswitches
    /// that drop labels the one of its user; a place that a terminal named, by the flow on which it did.
    ///
    /// # Errors
    /// 404 if there is none; if its flow is gone, 430 where the terminal has others (RFC 5626 section 5.3.1), else 480.
    pub(super) fn target_of(
        &self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        uri: &Uri,
        softswitch: &Softswitch,
    ) -> Result<Target, Reply> {
        let bytes = message.bytes();
        let path = path::label(cx, message).and_then(|label| self.on_path(bytes, uri, label.key));
        if let Some((binding, contact)) = path {
            return reach(cx, binding, contact);
        }
        let label = owner::terminal_label(cx, bytes, uri);
        if place::is_unknown(cx.sealer, bytes, uri) {
            cx.dropped(DropReason::BadLabel);
        }
        if let Some(target) = label.and_then(|label| self.in_dialog_of(label)) {
            return Ok(target);
        }
        if let Some((place, home)) = place::at_home(cx.sealer, bytes, uri) {
            return self.target_at(cx, bytes, uri, softswitch, (&place, home));
        }
        let labelled = label.filter(|label| label.kind == Kind::Binding);
        let labelled = labelled.and_then(|label| self.bindings.get(label.key));
        let by_user = || self.named_by(bytes, uri, softswitch);
        let binding = labelled.or_else(by_user).ok_or(Reply::NOT_FOUND)?;
        reach(cx, binding, Bytes::copy_from_slice(binding.contact()))
    }

    /// A place that a terminal named, which is no binding's or dialog's contact. A user of that name who is registered by
    /// another flow is meant by it; else the place is behind the flow by which it was named, and only while a
    /// registration is in force there.
    fn target_at(
        &self,
        cx: &Cx<'_>,
        bytes: &[u8],
        uri: &Uri,
        softswitch: &Softswitch,
        (place, home): (&Place, Home),
    ) -> Result<Target, Reply> {
        let keys = self.bindings.on(&home.flow);
        let serves = |b: &&Binding| b.is_live() && b.softswitch.realm == softswitch.realm;
        let here = keys.iter().filter_map(|key| self.bindings.get(*key)).filter(serves);
        let is_named = |b: &Binding| uri.user.is_some_and(|user| *user.of(bytes) == *b.aor().user);
        if !here.clone().any(is_named)
            && let Some(other) = self.named_by(bytes, uri, softswitch)
        {
            return reach(cx, other, Bytes::copy_from_slice(other.contact()));
        }
        let binding = here.clone().next().ok_or(Reply::TEMPORARILY)?;
        reach(cx, binding, Bytes::from(place.restore(bytes, uri)))
    }

    /// The shard that can tell whether the place which a softswitch's new request names can still be reached, if that is
    /// another one and nobody of that name is registered here.
    pub(super) fn keeper_of(&self, cx: &Cx<'_>, message: &Message<'_>, flow: &Flow) -> Option<ShardId> {
        if !owner::is_for_terminal(cx, message, flow) || path::label(cx, message).is_some() {
            return None;
        }
        let softswitch = cx.softswitch_at(flow)?;
        let (bytes, span) = (message.bytes(), message.request_uri()?);
        let uri = Uri::parse(bytes, span).ok()?;
        let (_, home) = place::at_home(cx.sealer, bytes, &uri)?;
        let elsewhere = home.keeper != cx.shard && home.keeper.0 < cx.mapping.shards;
        (elsewhere && self.named_by(bytes, &uri, &softswitch).is_none()).then_some(home.keeper)
    }

    /// The binding of the user whom a Request-URI names.
    fn named_by(&self, bytes: &[u8], uri: &Uri, softswitch: &Softswitch) -> Option<&Binding> {
        self.bindings.get(self.bindings.of_user(uri.user?.of(bytes), softswitch)?)
    }

    /// The terminal in a dialog, where a softswitch sends a new request to the Contact that it saw there (a transfer,
    /// RFC 3515).
    fn in_dialog_of(&self, label: Label) -> Option<Target> {
        let leg = self.dialogs.get(label.key).filter(|_| label.kind == Kind::CoreDialog)?.leg(Side::Access);
        Some(Target { flow: leg.flow, contact: leg.target.clone()?, keeper: None })
    }

    /// A Path names all contacts of its REGISTER: the Request-URI says which of them is meant. One that is none of
    /// them goes to the flow as it is.
    fn on_path(&self, bytes: &[u8], uri: &Uri, key: Key) -> Option<(&Binding, Bytes)> {
        let named = self.bindings.get(key)?;
        let wanted = uri.span.of(bytes);
        let meant =
            |binding: &&Binding| binding.flow.same_path(&named.flow) && same_uri(binding.contact(), wanted);
        let all = self.bindings.of(&named.aor());
        let binding = all.iter().filter_map(|key| self.bindings.get(*key)).find(meant);
        let other = || (named, Bytes::copy_from_slice(wanted));
        Some(binding.map_or_else(other, |binding| (binding, Bytes::copy_from_slice(binding.contact()))))
    }

    /// A terminal's flow leads nowhere any more. Its binding stays as long as the registrar may send requests for it.
    pub(super) fn lose(&mut self, cx: &mut Cx<'_>, key: Key) {
        if !self.bindings.lose(key) {
            return;
        }
        cx.stats.bindings_lost += 1;
        self.deregister(cx, key);
        if self.bindings.get(key).is_some_and(|binding| binding.expires.is_none() && binding.pending == 0) {
            self.bindings.remove(key);
        }
    }

    /// All terminals of a connection that has ended.
    pub(super) fn lose_all(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        for key in self.bindings.on(&flow) {
            self.lose(cx, key);
        }
    }
}

fn reach(cx: &Cx<'_>, binding: &Binding, contact: Bytes) -> Result<Target, Reply> {
    match (binding.lost, binding.outbound) {
        (false, _) => Ok(Target { flow: binding.flow, contact, keeper: Some(cx.shard) }),
        (true, true) => Err(Reply::FLOW_FAILED),
        (true, false) => Err(Reply::TEMPORARILY),
    }
}
