//! What one side says of its own places and dialogs, on its way to the other side (beyond the hop itself).
//!
//! In two steps. As a message comes in, everything that only this side can make sense of is sealed: addresses, and
//! labels whose dialog or binding is here. As it goes out, what belongs to the side that it goes to is opened again, and
//! the rest is written at our own address there.

use super::home::Home;
use super::hop::{self, Ours};
use super::mask;
use super::place::{self, Place, host_of};
use super::refers::{self, DialogName, Refers, Role};
use super::transaction::Branch;
use super::{Sip, owner};
use crate::io::{Crossing, Output};
use crate::realm::Realm;
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::types::{Flow, Proto, ShardId, Side};
use crate::wire::Span;
use crate::wire::sip::{Message, Name, Uri};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;

impl Sip {
    /// An arrived message as the state machine handles it; `None` leaves it as it is.
    pub(super) fn come_in(&self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow) -> Option<Vec<u8>> {
        let realm = cx.realm(&flow)?;
        let masks = realm.mask_call_id;
        let mut inward = Inward { sip: self, cx, message, realm: &realm, flow, masks };
        refers::rewrite(message, &mut inward)
    }

    /// A message whose labels this shard can open, though another one owns its call: on it goes, with places in the
    /// place of labels. Or one to a place that another shard may know. Does it?
    pub(super) fn pass_on(&self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow) -> bool {
        if self.pass_opened(cx, message, flow) {
            return true;
        }
        let Some(keeper) = self.keeper_of(cx, message, &flow) else { return false };
        let bytes = Bytes::copy_from_slice(message.bytes());
        cx.cross(keeper, Crossing::Message { proto: Proto::Sip, flow, bytes, target: None });
        true
    }

    fn pass_opened(&self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow) -> bool {
        if labelled_for(cx, message, &flow) != Some(cx.shard) {
            return false;
        }
        let next = owner::direct(cx, message, &flow);
        let Some(realm) = cx.realm(&flow).filter(|_| next != cx.shard) else { return false };
        let mut inward = Inward { sip: self, cx, message, realm: &realm, flow, masks: false };
        let bytes = refers::rewrite(message, &mut inward).unwrap_or_else(|| message.bytes().to_vec());
        let bytes = Bytes::from(bytes);
        cx.cross(next, Crossing::Message { proto: Proto::Sip, flow, bytes, target: None });
        true
    }

    /// Translate what was queued since `from` for the side that it goes to.
    pub(super) fn go_out(cx: &mut Cx<'_>, from: usize) {
        for at in from..cx.out.len() {
            let (flow, bytes) = match cx.out.get(at) {
                Some(Output::Transmit { flow, bytes }) => (*flow, bytes.clone()),
                Some(Output::Cross { crossing: Crossing::Transmit { flow, bytes }, .. }) => {
                    (*flow, bytes.clone())
                }
                _ => continue,
            };
            let Some(new) = outward(cx, flow, &bytes) else { continue };
            match cx.out.get_mut(at) {
                Some(Output::Transmit { bytes, .. })
                | Some(Output::Cross { crossing: Crossing::Transmit { bytes, .. }, .. }) => *bytes = new,
                _ => {}
            }
        }
    }
}

fn outward(cx: &mut Cx<'_>, flow: Flow, bytes: &[u8]) -> Option<Bytes> {
    let realm = cx.realm(&flow)?;
    let message = Message::parse(bytes).ok()?;
    let host = match realm.side {
        Side::Access => host_of(realm.advertised),
        Side::Core => cx.softswitch_at(&flow)?.host(),
    };
    let mut outward = Outward { cx, realm: &realm, flow, host };
    refers::rewrite(&message, &mut outward).map(Bytes::from)
}

/// The shard that the first label of the message that needs opening names, wherever in it that is.
pub(super) fn labelled_for(cx: &Cx<'_>, message: &Message<'_>, flow: &Flow) -> Option<ShardId> {
    let side = cx.realm(flow)?.side;
    let mut finder = Finder { cx, side, found: None };
    refers::rewrite(message, &mut finder);
    finder.found
}

/// Would a dialog's or binding's real place be put in the place of this label when it stands here?
fn is_opened(side: Side, role: Role, kind: Kind) -> bool {
    match role {
        Role::Target => side == Side::Access && kind == Kind::AccessDialog,
        Role::Place => (side == Side::Access) == (kind == Kind::AccessDialog),
        Role::Name => false,
    }
}

struct Finder<'c, 'x> {
    cx: &'c Cx<'x>,
    side: Side,
    found: Option<ShardId>,
}

impl Refers for Finder<'_, '_> {
    fn uri(&mut self, role: Role, text: &[u8]) -> Option<Vec<u8>> {
        let uri = sip_uri(text)?;
        let label = self.cx.sealer.open(hop::label_of(text, &uri)?)?;
        let wanted = is_opened(self.side, role, label.kind) && label.shard.0 < self.cx.mapping.shards;
        self.found = self.found.or(wanted.then_some(label.shard));
        None
    }

    fn call_id(&mut self, _: &DialogName<'_>) -> Option<Vec<u8>> {
        None
    }

    fn unread(&mut self) {}
}

/// Seals what came in from one side.
struct Inward<'s, 'c, 'x> {
    sip: &'s Sip,
    cx: &'c mut Cx<'x>,
    message: &'c Message<'c>,
    realm: &'c Arc<Realm>,
    flow: Flow,
    masks: bool,
}

impl Inward<'_, '_, '_> {
    /// The shard that should hold the binding of the terminal which sent this message: the one that found the terminal
    /// for the request, else that of the user as whom it speaks.
    fn keeper(&self) -> ShardId {
        let asked =
            self.message.top_via().and_then(|via| Branch::parse(via.branch?.of(self.message.bytes())));
        let asked = asked.filter(|_| !self.message.is_request());
        let asked = asked.and_then(|branch| self.sip.transactions.of_branch(&branch));
        let name = if self.message.is_request() { Name::From } else { Name::To };
        let found = asked.and_then(|transaction| transaction.keeper);
        found.unwrap_or_else(|| owner::of_name(self.cx, self.message, name))
    }

    /// The real place that a label of ours stands for.
    fn place(&self, label: Label) -> Option<Place> {
        let here = label.shard == self.cx.shard;
        match label.kind {
            Kind::Binding => {
                let binding = self.sip.bindings.get(label.key).filter(|_| here)?;
                place_of(Side::Access, Some(&binding.flow), label, binding.contact())
            }
            Kind::AccessDialog => {
                let dialog = self.sip.dialogs.get(label.key).filter(|_| here)?;
                place_of(Side::Core, None, label, dialog.leg(Side::Core).target.as_ref()?)
            }
            Kind::CoreDialog => {
                let dialog = self.sip.dialogs.get(label.key).filter(|_| here)?;
                let leg = dialog.leg(Side::Access);
                place_of(Side::Access, Some(&leg.flow), label, leg.target.as_ref()?)
            }
        }
    }
}

fn place_of(side: Side, home: Option<&Flow>, label: Label, contact: &[u8]) -> Option<Place> {
    let uri = sip_uri(contact)?;
    Place::of(side, home.map(|flow| Home::of(flow, label.shard)), Some(label), contact, &uri)
}

impl Refers for Inward<'_, '_, '_> {
    fn uri(&mut self, role: Role, text: &[u8]) -> Option<Vec<u8>> {
        let uri = sip_uri(text)?;
        let (side, sealer) = (self.realm.side, self.cx.sealer);
        let written = hop::label_of(text, &uri);
        if let Some(label) = written.and_then(|written| sealer.open(written)) {
            let place = self.place(label).filter(|_| is_opened(side, role, label.kind))?;
            return place::relabelled(text, &uri, &place.seal(sealer));
        }
        let ours = is_ours(self.cx, uri.host_ip(text)?);
        let sealed = written.is_some_and(|written| Place::open(sealer, written).is_some());
        if role != Role::Place || ours || sealed {
            return None;
        }
        let home = (side == Side::Access).then(|| Home::of(&self.flow, self.keeper()));
        let place = Place::of(side, home, None, text, &uri)?;
        Some(place::at_ours(text, &uri, Ours::of(self.realm, &self.flow), &place.seal(sealer)))
    }

    fn call_id(&mut self, name: &DialogName<'_>) -> Option<Vec<u8>> {
        self.masks.then(|| mask::toward_core(self.cx.sealer, name.call_id, name.writer))
    }

    fn unread(&mut self) {
        self.cx.stats.bodies_unread += 1;
    }
}

/// Opens what goes out to one side.
struct Outward<'c, 'x> {
    cx: &'c Cx<'x>,
    realm: &'c Arc<Realm>,
    flow: Flow,
    /// What stands for the other side on this one.
    host: String,
}

impl Outward<'_, '_> {
    fn is_at_home(&self, place: &Place) -> bool {
        let known = place.home.is_none_or(|home| home.flow.remote == self.flow.remote);
        place.side == self.realm.side && known
    }
}

impl Refers for Outward<'_, '_> {
    fn uri(&mut self, role: Role, text: &[u8]) -> Option<Vec<u8>> {
        let uri = sip_uri(text)?;
        let named = |ip: Option<IpAddr>| ip.map(|_| hop::with_host(text, &uri, &self.host));
        match role {
            Role::Target => return None,
            Role::Name => return named(uri.host_ip(text)),
            Role::Place => {}
        }
        let written = hop::label_of(text, &uri);
        let place = written.and_then(|written| Place::open(self.cx.sealer, written));
        if let Some(place) = place.as_ref().filter(|place| self.is_at_home(place)) {
            return Some(place.restore(text, &uri));
        }
        match written.filter(|written| place.is_some() || self.cx.sealer.open(written).is_some()) {
            Some(label) => {
                let label = String::from_utf8_lossy(label);
                Some(place::at_ours(text, &uri, Ours::of(self.realm, &self.flow), &label))
            }
            None => named(uri.host_ip(text).filter(|ip| is_ours(self.cx, *ip))),
        }
    }

    fn call_id(&mut self, name: &DialogName<'_>) -> Option<Vec<u8>> {
        let masks = self.realm.mask_call_id;
        masks.then(|| mask::toward_access(self.cx.sealer, name.call_id, name.reader))
    }

    fn unread(&mut self) {}
}

fn sip_uri(text: &[u8]) -> Option<Uri> {
    Uri::parse(text, Span::new(0, text.len())).ok().filter(|uri| uri.is_sip(text))
}

/// Is this an address of Portolan itself, on whichever side?
fn is_ours(cx: &Cx<'_>, ip: IpAddr) -> bool {
    cx.realms.iter().any(|realm| realm.advertised == ip || realm.address == ip)
}
