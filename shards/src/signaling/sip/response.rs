//! Responses on their way back.

use super::dialog::State;
use super::forward::contact_of;
use super::hop::{self, Ours, Rewrite};
use super::listed::Listed;
use super::transaction::{Branch, LINGER, Named, Purpose};
use super::within::lifetime;
use super::{Ended, Sip, body, refers, session_timer};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::sip::{Message, Name};
use bytes::Bytes;

impl Sip {
    pub(super) fn handle_response(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
    ) -> Result<(), Fault> {
        let branch = message.top_via().and_then(|via| Branch::parse(via.branch?.of(message.bytes())));
        let Some(branch) = branch else {
            cx.dropped(DropReason::Unmatched);
            return Err(Fault::PeerMisbehaved("response to nothing of ours"));
        };
        if branch.named == Named::Keepalive {
            self.keepalive_answered(cx, branch);
            return Ok(());
        }
        let side = cx.realm(&flow).map_or(Side::Access, |realm| realm.side);
        let fits = |t: &&super::transaction::Transaction| t.nonce == branch.nonce && t.side == side.other();
        if let Some(asked) = self.transactions.get(branch.key).filter(fits).filter(|_| side == Side::Core) {
            let asks = cx.softswitch_at(&flow).is_some_and(|softswitch| softswitch.overload);
            let less = asks && self.servers.heed(cx.now, &asked.client, message);
            cx.stats.overload_reports += u64::from(less);
        }
        match self.transactions.get(branch.key).filter(fits) {
            Some(_) if message.method() == b"CANCEL" => self.cancel_answered(branch.key),
            Some(transaction) if transaction.method != message.method() => {
                cx.dropped(DropReason::Unmatched);
                return Err(Fault::PeerMisbehaved("response to another method"));
            }
            Some(transaction) if matches!(transaction.purpose, Purpose::Own(_)) => {
                return self.own_answered(cx, branch.key, message.status());
            }
            Some(_) => return self.answered_by_receiver(cx, message, side, branch.key),
            None => {
                cx.dropped(DropReason::Unmatched);
                return Err(Fault::PeerMisbehaved("response to a request that is over"));
            }
        }
        Ok(())
    }

    /// The receiver of a request has answered it.
    fn answered_by_receiver(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        side: Side,
        key: Key,
    ) -> Result<(), Fault> {
        let status = message.status().unwrap_or(500);
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        if let Some(known) = transaction.status.filter(|_| !transaction.is_new_answer(message)) {
            return self.late(cx, message, key, known);
        }
        let invite = transaction.is_invite();
        if invite && status >= 300 {
            self.acknowledge(cx, message, key);
        }
        if status == 503 && self.turn_away(cx, message, key) {
            return Ok(());
        }
        self.proceed(cx, key, status);
        if status == 100 {
            return Ok(());
        }
        self.pass_back(cx, message, side, key, false)
    }

    /// Restore what the sender of the request must see, and send it back, unless it is to be told nothing.
    pub(super) fn pass_back(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        side: Side,
        key: Key,
        silent: bool,
    ) -> Result<(), Fault> {
        let status = message.status().unwrap_or(500);
        if self.survive(cx, key, status) {
            return Ok(());
        }
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        let (started, offered, server) = (transaction.dialog(), transaction.offered, transaction.server);
        let dialog =
            self.fork_of(cx, message, key, side).filter(|dialog| self.dialogs.get(*dialog).is_some());
        if started.is_some() && dialog.is_none() && status < 300 {
            cx.dropped(DropReason::Unmatched);
            return Err(Fault::PeerMisbehaved("answer to a call that is over"));
        }
        let listed = self.learn_registration(cx, message, key, status);
        let body = match dialog {
            _ if body::is_encoded(message) || body::is_sealed(message) => {
                Err(Fault::PeerMisbehaved("encoded body"))
            }
            Some(dialog) if status < 300 => self.response_body(cx, message, dialog, side, offered),
            _ => body::outside_dialog(message, ours(cx, &server).address.ip()),
        };
        let body = match body {
            Ok(body) => body,
            Err(fault) => {
                self.spoiled(cx, message, (key, dialog), side, fault);
                return Err(fault);
            }
        };
        let bytes = self.compose_response(cx, message, (key, dialog), listed.as_ref(), body);
        if let Some(dialog) = dialog {
            self.learn_dialog(cx, message, key, dialog, side);
        }
        if silent {
            drop(self.transactions.remove(key));
            return Ok(());
        }
        let tag = message.to_tag().map(Bytes::copy_from_slice);
        self.reply(cx, key, status, tag, bytes);
        Ok(())
    }

    fn compose_response(
        &self,
        cx: &Cx<'_>,
        message: &Message<'_>,
        (key, dialog): (Key, Option<Key>),
        listed: Option<&Listed>,
        body: Option<Vec<u8>>,
    ) -> Bytes {
        let Some(transaction) = self.transactions.get(key) else { return Bytes::new() };
        let vias = listed.map(|listed| listed.vias(&transaction.vias));
        let vias = vias.as_deref().unwrap_or(&transaction.vias);
        let mut rewrite = restore(message, vias, &transaction.from.near, &transaction.to.near);
        rewrite.remove(Name::RecordRoute);
        if message.status().is_some_and(|status| (101..300).contains(&status)) {
            rewrite.on_top(&transaction.record_routes[..]);
        }
        let label = dialog.and_then(|dialog| self.dialogs.get(dialog));
        let label = label.map(|dialog| dialog.leg(transaction.side).label.as_str());
        match listed {
            Some(listed) => listed.restore(cx, message, &mut rewrite),
            None if message.status().is_some_and(refers::redirects) => {}
            None => {
                let ours = ours(cx, &transaction.server);
                rewrite.contacts(|contact| Some(hop::contact_at(message.bytes(), &contact.uri, ours, label)));
            }
        }
        let sent = Message::parse(&transaction.sent).ok();
        if let Some(lines) = sent.and_then(|sent| session_timer::appoint(message, &sent)) {
            rewrite.on_top(lines);
        }
        match body {
            Some(body) => rewrite.body(body),
            None => rewrite.framed(transaction.server.transport),
        }
        Bytes::from(rewrite.finish())
    }

    /// What a response to REGISTER teaches.
    fn learn_registration(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        key: Key,
        status: u16,
    ) -> Option<Listed> {
        let transaction = self.transactions.get_mut(key)?;
        if !matches!(transaction.purpose, Purpose::Register(_)) {
            return None;
        }
        if status < 200 {
            return Some(Listed::default());
        }
        let Purpose::Register(registration) = &transaction.purpose else { return None };
        if status >= 300 {
            let registration = registration.clone();
            self.distrust(&registration, status);
            self.registration_failed(&registration);
            return Some(Listed::default());
        }
        let (registration, server) = (registration.clone(), transaction.server);
        Some(self.registered(cx, message, &registration, server))
    }

    /// What a response within a dialog, or to the request that starts it, teaches.
    fn learn_dialog(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        transaction: Key,
        key: Key,
        side: Side,
    ) {
        let status = message.status().unwrap_or(500);
        let Some(known) = self.transactions.get(transaction) else { return };
        let (initial, offered, server) =
            (matches!(known.purpose, Purpose::Initial(_)), known.offered, known.server);
        if status >= 300 {
            self.failed(cx, message, (key, side), initial, offered);
        } else if initial && status == 199 {
            self.end_early(cx, key);
        } else if initial && (101..300).contains(&status) {
            self.answered(cx, message, key, side, status);
        } else if (200..300).contains(&status) && !initial {
            self.confirmed(cx, message, transaction, key, side, server);
        }
        if (200..300).contains(&status) {
            self.session_refreshed(cx, message, key);
            self.watch_hold(cx, key);
        }
    }

    /// A response that shapes the dialog: tag, target and route set of the answering side (RFC 3261 section 12.1.2).
    fn answered(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, key: Key, side: Side, status: u16) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        let tag = message.to_tag().map(Bytes::copy_from_slice);
        if dialog.state == State::Confirmed && dialog.leg(side).tag != tag {
            return;
        }
        let leg = dialog.leg_mut(side);
        leg.tag = tag.or(leg.tag.take());
        leg.target = contact_of(message).or(leg.target.take());
        leg.routes = hop::record_routes(message);
        leg.routes.reverse();
        if status < 200 || !matches!(dialog.state, State::Early | State::Losing) {
            return;
        }
        dialog.state = State::Confirmed;
        let look_again = if dialog.session.is_some() { LINGER } else { lifetime(message) };
        self.watch(key, cx.now + look_again);
        self.win(cx, key);
    }

    /// A request within the dialog succeeded: what it changed is now true (RFC 3261 section 12.2).
    fn confirmed(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        transaction: Key,
        key: Key,
        side: Side,
        server: Flow,
    ) {
        if message.method() == b"BYE" {
            return self.end_dialog(cx, key, Ended::BySignaling);
        }
        let asked = match self.transactions.get(transaction).map(|t| &t.purpose) {
            Some(Purpose::InDialog { target, .. }) => target.clone(),
            _ => None,
        };
        if message.method() == b"SUBSCRIBE" {
            self.stay(cx, key, message);
        }
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        if let Some(target) = asked {
            dialog.leg_mut(side.other()).target = Some(target);
        }
        if let Some(target) = contact_of(message) {
            dialog.leg_mut(side).target = Some(target);
        }
        if side == Side::Core && dialog.leg(Side::Access).flow != server {
            if let Some(session) = dialog.session {
                cx.sessions.trust(cx.now, session, Side::Access, server.remote.ip());
            }
            self.dialogs.move_terminal(key, server);
        }
    }

    /// A request failed.
    fn failed(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        (key, side): (Key, Side),
        initial: bool,
        offered: bool,
    ) {
        let status = message.status().unwrap_or(500);
        let root = self.dialogs.get(key).and_then(|dialog| dialog.root).unwrap_or(key);
        match message.method() {
            _ if initial => self.end_forks(cx, root, Ended::BySignaling),
            b"BYE" if matches!(status, 401 | 407) => self.go_on(cx, key),
            b"BYE" => self.end_dialog(cx, key, Ended::BySignaling),
            b"INVITE" | b"UPDATE" if status == 481 => self.end_dialog(cx, key, Ended::BySignaling),
            _ if offered => self.withdraw(cx, key, side.other()),
            _ => {}
        }
    }

    /// The BYE was challenged: the call is still up.
    fn go_on(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        dialog.state = State::Confirmed;
        if let Some(session) = dialog.session {
            cx.sessions.gate(session, true);
        }
        self.watch(key, cx.now + cx.mapping.limits.media_idle);
    }
}

/// Our own place on the side of this flow.
fn ours(cx: &Cx<'_>, flow: &Flow) -> Ours {
    match cx.realm(flow) {
        Some(realm) => Ours::of(&realm, flow),
        None => Ours { address: flow.local, transport: flow.transport, asks: false },
    }
}

/// The response with the Vias and names that its receiver knows.
fn restore<'m, 'b>(message: &'m Message<'b>, vias: &[u8], from: &[u8], to: &[u8]) -> Rewrite<'m, 'b> {
    let mut rewrite = Rewrite::new(message);
    rewrite.remove(Name::Via);
    rewrite.on_top(vias);
    rewrite.rename(Name::From, from);
    rewrite.rename(Name::To, to);
    rewrite
}
