//! Dialogs: what must be remembered of a call so that every later request finds its way (RFC 3261 section 12).

use crate::random::{Keyed, Rng};
use crate::realm::{Realm, Softswitch};
use crate::session::SessionKey;
use crate::table::{Key, Table};
use crate::types::{Flow, Instant, RealmId, Side, Transport};
use crate::wire::sip::Message;
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

/// A dialog that Portolan stands in the middle of.
pub(super) struct Dialog {
    pub(super) call_id: Bytes,
    pub(super) softswitch: Arc<Softswitch>,
    pub(super) legs: [Leg; 2],
    /// The side that began it.
    pub(super) caller: Side,
    /// URIs of caller and callee as the access side and as the core side write them.
    pub(super) names: [[Bytes; 2]; 2],
    /// Its media, if it is a call.
    pub(super) session: Option<SessionKey>,
    /// The sides whose offers wait for an answer.
    pub(super) offered: [bool; 2],
    /// The last description in a response, as a number.
    pub(super) said: Option<u64>,
    /// For a fork: the dialog that was opened with the request.
    pub(super) root: Option<Key>,
    pub(super) state: State,
    /// The last INVITE and its number in CSeq.
    pub(super) invite: Option<(Key, u32)>,
    /// Is its media looked after because it is on hold?
    pub(super) held: bool,
    /// When its session is over unless its ends refresh it (RFC 4028).
    pub(super) refresh_by: Option<Instant>,
    /// When to look whether it is still alive.
    pub(super) deadline: Instant,
}

/// The tags of a message, as it writes them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags<'a> {
    pub(super) from: Option<&'a [u8]>,
    pub(super) to: Option<&'a [u8]>,
}

impl<'a> Tags<'a> {
    pub(super) fn of(message: &Message<'a>) -> Self {
        Self { from: message.from_tag(), to: message.to_tag() }
    }
}

/// One side of a dialog.
#[derive(Clone)]
pub(super) struct Leg {
    pub(super) realm: Arc<Realm>,
    /// Where requests to this side's peer go, and from which socket.
    pub(super) flow: Flow,
    /// The peer's tag, once known.
    pub(super) tag: Option<Bytes>,
    /// The peer's Contact URI, exactly as it wrote it.
    pub(super) target: Option<Bytes>,
    /// The peer's route set.
    pub(super) routes: Vec<Bytes>,
    /// The highest CSeq of the peer's requests.
    pub(super) sequence: u32,
    /// The label in the Contact that this side's peer is shown.
    pub(super) label: String,
}

/// How far a dialog has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No final response yet.
    Early,
    /// Another fork was answered, this one not.
    Losing,
    /// Answered.
    Confirmed,
    /// A BYE is on its way.
    Ending,
}

/// Index of a side into a pair.
pub(super) const fn at(side: Side) -> usize {
    match side {
        Side::Access => 0,
        Side::Core => 1,
    }
}

impl Dialog {
    pub(super) fn leg(&self, side: Side) -> &Leg {
        &self.legs[at(side)]
    }

    pub(super) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[at(side)]
    }

    /// Do these tags, of a message from `side`, name this dialog? A tag that is not known yet fits any.
    pub(super) fn fits(&self, side: Side, tags: Tags<'_>) -> bool {
        let same = |leg: &Leg, tag: Option<&[u8]>| leg.tag.as_deref().is_none_or(|known| Some(known) == tag);
        same(self.leg(side), tags.from) && same(self.leg(side.other()), tags.to)
    }

    fn knows_both_tags(&self) -> bool {
        self.legs.iter().all(|leg| leg.tag.is_some())
    }

    /// How the other side writes a name that `side` wrote, if it is one of the dialog's.
    pub(super) fn translate(&self, side: Side, uri: &[u8]) -> Option<Bytes> {
        let name = self.names.iter().find(|forms| forms[at(side)] == uri)?;
        Some(name[at(side.other())].clone())
    }
}

/// All dialogs of the shard.
pub(super) struct Dialogs {
    table: Table<Dialog>,
    by_call: HashMap<Bytes, SmallVec<[Key; 2]>, Keyed>,
    by_terminal: HashMap<SocketAddr, SmallVec<[Key; 2]>, Keyed>,
    /// The forks after the first one, where there are any.
    by_root: HashMap<Key, SmallVec<[Key; 2]>, Keyed>,
}

impl Dialogs {
    /// None yet.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            table: Table::default(),
            by_call: HashMap::with_hasher(Keyed::new(rng)),
            by_terminal: HashMap::with_hasher(Keyed::new(rng)),
            by_root: HashMap::with_hasher(Keyed::new(rng)),
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Dialog> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Dialog> {
        self.table.get_mut(key)
    }

    pub(super) fn insert(&mut self, dialog: Dialog) -> Key {
        let call_id = dialog.call_id.clone();
        let terminal = dialog.leg(Side::Access).flow.remote;
        let root = dialog.root;
        let key = self.table.insert(dialog);
        if let Some(root) = root {
            self.by_root.entry(root).or_default().push(key);
        }
        self.by_call.entry(call_id).or_default().push(key);
        self.by_terminal.entry(terminal).or_default().push(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Dialog> {
        let dialog = self.table.remove(key)?;
        if let Some(root) = dialog.root {
            forget(&mut self.by_root, &root, key);
        }
        forget(&mut self.by_call, &dialog.call_id, key);
        forget(&mut self.by_terminal, &dialog.leg(Side::Access).flow.remote, key);
        Some(dialog)
    }

    /// The dialog of a message from `side`, by Call-ID and tags. One whose tags are not both known yet may be any, so it
    /// must be the only one.
    pub(super) fn find(&self, side: Side, call_id: &[u8], tags: Tags<'_>) -> Option<Key> {
        let fitting = || self.of_call(call_id).filter(|(_, dialog)| dialog.fits(side, tags));
        let known = fitting().find(|(_, dialog)| dialog.knows_both_tags());
        let (key, _) = known.or_else(|| {
            let mut open = fitting();
            open.next().filter(|_| open.next().is_none())
        })?;
        Some(key)
    }

    /// The dialogs with this Call-ID.
    fn of_call(&self, call_id: &[u8]) -> impl Iterator<Item = (Key, &Dialog)> {
        let keys = self.by_call.get(call_id).map(SmallVec::as_slice).unwrap_or_default();
        keys.iter().filter_map(|key| Some((*key, self.get(*key)?)))
    }

    /// The dialogs that one request has started, in order: more than one if it was forked.
    pub(super) fn forks(&self, root: Key) -> SmallVec<[Key; 2]> {
        let later = self.by_root.get(&root).map(SmallVec::as_slice).unwrap_or_default();
        std::iter::once(root).chain(later.iter().copied()).filter(|key| self.get(*key).is_some()).collect()
    }

    /// Dialogs whose terminal is reached at this address.
    pub(super) fn of_terminal(&self, remote: SocketAddr) -> SmallVec<[Key; 2]> {
        self.by_terminal.get(&remote).cloned().unwrap_or_default()
    }

    /// The terminal of a dialog is now reached by another flow.
    pub(super) fn move_terminal(&mut self, key: Key, flow: Flow) {
        let Some(dialog) = self.table.get_mut(key) else { return };
        let old = std::mem::replace(&mut dialog.leg_mut(Side::Access).flow, flow);
        forget(&mut self.by_terminal, &old.remote, key);
        self.by_terminal.entry(flow.remote).or_default().push(key);
    }

    /// Does any dialog send from this address of ours?
    pub(super) fn uses(&self, transport: Transport, local: SocketAddr) -> bool {
        let sends = |leg: &Leg| (leg.flow.transport, leg.flow.local) == (transport, local);
        self.table.iter().any(|(_, dialog)| dialog.legs.iter().any(sends))
    }

    /// Is any dialog on this realm?
    pub(super) fn uses_realm(&self, realm: RealmId) -> bool {
        self.table.iter().any(|(_, dialog)| dialog.legs.iter().any(|leg| leg.realm.id == realm))
    }

    /// Is any dialog with this softswitch?
    pub(super) fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.table.iter().any(|(_, dialog)| *dialog.softswitch == *softswitch)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, SmallVec<[Key; 2]>, Keyed>, name: &K, key: Key) {
    if let Some(keys) = index.get_mut(name) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            index.remove(name);
        }
    }
}
