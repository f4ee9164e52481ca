//! Forks: an INVITE that several places answer, each with a tag of its own, makes as many dialogs (RFC 3261 sections
//! 12.1 and 13.2.2.4). Each has its own labels, target, route set and media.

use super::dialog::{Dialog, State, at};
use super::transaction::{LINGER, Purpose};
use super::{Ended, Sip, Wake, body};
use crate::limits::MAX_FORKS;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::Side;
use crate::wire::sip::Message;

impl Sip {
    /// The dialog that a response from `side` belongs to, opened if its tag is new; `None` when the call is over.
    pub(super) fn fork_of(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        transaction: Key,
        side: Side,
    ) -> Option<Key> {
        let transaction = self.transactions.get(transaction)?;
        let offered = transaction.offered;
        let Purpose::Initial(root) = transaction.purpose else { return transaction.dialog() };
        let forks = self.dialogs.forks(root);
        let (&first, tag) = (forks.first()?, message.to_tag());
        let is_call = self.dialogs.get(first)?.session.is_some();
        let makes_dialog = message.status().is_some_and(|status| (101..300).contains(&status));
        if !is_call || !makes_dialog || tag.is_none() {
            return Some(first);
        }
        let with = |tag: Option<&[u8]>| {
            let has = |key: &Key| self.dialogs.get(*key).is_some_and(|d| d.leg(side).tag.as_deref() == tag);
            forks.iter().copied().find(has)
        };
        if let Some(known) = with(tag).or_else(|| with(None)) {
            return Some(known);
        }
        let early = |key: &Key| self.dialogs.get(*key).is_some_and(|dialog| dialog.state == State::Early);
        // Some change the tag in the 2xx without describing media again: it is the same place still.
        let same_place = offered && message.status() >= Some(200) && !body::has_sdp(message);
        let renamed = forks.iter().rev().copied().find(early).filter(|_| same_place);
        let displaced = forks.iter().copied().find(early);
        renamed.or_else(|| self.split(cx, root, &forks, side)).or_else(|| {
            cx.stats.forks_displaced += u64::from(displaced.is_some());
            displaced
        })
    }

    /// One more dialog for the same request.
    fn split(&mut self, cx: &mut Cx<'_>, root: Key, forks: &[Key], side: Side) -> Option<Key> {
        let first = self.dialogs.get(*forks.first()?).filter(|_| forks.len() < MAX_FORKS)?;
        let session = cx.sessions.fork(cx.now, first.session?)?;
        cx.stats.sessions_opened += 1;
        let mut legs = first.legs.clone();
        let far = &mut legs[at(side)];
        (far.tag, far.target, far.routes) = (None, None, Vec::new());
        let deadline = cx.now + cx.mapping.limits.setup;
        let fork = Dialog {
            call_id: first.call_id.clone(),
            softswitch: first.softswitch.clone(),
            legs,
            caller: first.caller,
            held: false,
            refresh_by: None,
            names: first.names.clone(),
            session: Some(session),
            offered: [false; 2],
            said: None,
            root: Some(root),
            invite: first.invite,
            state: State::Early,
            deadline,
        };
        let key = self.dialogs.insert(fork);
        self.label_legs(cx, key);
        self.timers.schedule(deadline, Wake::Dialog(key));
        Some(key)
    }

    /// This fork was answered: the others are given up unless they are answered in time (RFC 3261 section 13.2.2.4).
    pub(super) fn win(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(winner) = self.dialogs.get(key) else { return };
        let Some(session) = winner.session else { return };
        cx.sessions.prefer(session);
        for other in self.dialogs.forks(winner.root.unwrap_or(key)) {
            let Some(dialog) = self.dialogs.get_mut(other).filter(|d| d.state == State::Early) else {
                continue;
            };
            dialog.state = State::Losing;
            dialog.session.into_iter().for_each(|session| cx.sessions.set_aside(session));
            self.watch(other, cx.now + LINGER);
        }
    }

    /// The request failed: all dialogs that it has started are over, but for one that was answered.
    pub(super) fn end_forks(&mut self, cx: &mut Cx<'_>, root: Key, how: Ended) {
        for key in self.dialogs.forks(root) {
            if self.dialogs.get(key).is_some_and(|dialog| dialog.state != State::Confirmed) {
                self.end_dialog(cx, key, how);
            }
        }
    }

    /// A fork says that it is given up (RFC 6228). The last one waits for the final response.
    pub(super) fn end_early(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get(key).filter(|dialog| dialog.state == State::Early) else {
            return;
        };
        if self.dialogs.forks(dialog.root.unwrap_or(key)).len() > 1 {
            self.end_dialog(cx, key, Ended::BySignaling);
        }
    }
}
