//! Messages as they come in: whose they are, and what becomes of each of their transactions.

use super::draft::{Draft, Spot};
use super::gateway::Place;
use super::own::{refuse_all, send};
use super::refuse::Refusal;
use super::transaction::Name;
use super::{H248, Wake};
use crate::io::DropReason;
use crate::realm::Authentication;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::h248::{Body, Kind, Message};
use bytes::Bytes;

impl H248 {
    /// A message from the access side.
    pub(super) fn take_from_gateway(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow) {
        let place = Place::of(cx, &flow, &message.mid);
        let known = self.gateways.roster.at(&place, &flow).or_else(|| self.answering(&place, message));
        if known.and_then(|key| self.gateways.get(key)).is_some_and(|g| g.flow.same_path(&flow)) {
            known.into_iter().for_each(|key| self.hear(cx, key));
        }
        if Self::is_refused(cx, message, &flow) {
            return refuse_all(cx, message, flow, Refusal::SIGNED);
        }
        let asks = message.transactions().iter().any(|t| t.kind == Kind::Request);
        let key = match known {
            Some(key) => Ok(Some(key)),
            None if !asks => return cx.dropped(DropReason::Unmatched),
            None if !self.may_register(cx, message, &flow) => return cx.dropped(DropReason::Avalanche),
            None => self.newcomer(cx, &place, flow, message),
        };
        match key {
            Ok(Some(key)) => {
                let Some(gateway) = self.gateways.get(key) else { return };
                let mut draft = Draft::new(message, Self::our_mid(gateway, Side::Core));
                draft.counted = known.is_none();
                self.pass(cx, key, draft, flow, Side::Access);
            }
            Ok(None) => {}
            Err(refusal) => refuse_all(cx, message, flow, refusal),
        }
    }

    /// The gateway of this place that was asked what the message answers: its NAT may have given it another port since.
    fn answering(&self, place: &Place, message: &Message<'_>) -> Option<Key> {
        let members = self.gateways.roster.members(place);
        let answer = message.transactions().iter().find(|t| matches!(t.kind, Kind::Reply | Kind::Pending))?;
        let asked = |gateway: Key| Name { gateway, toward: Side::Access, id: answer.id };
        members.iter().copied().find(|key| self.transactions.named(asked(*key)).is_some())
    }

    /// A message from the core side.
    pub(super) fn take_from_controller(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow) {
        let known = self.gateways.meant(&flow);
        let Some((key, gateway)) = known.and_then(|key| Some((key, self.gateways.get(key)?))) else {
            cx.dropped(DropReason::Unmatched);
            return refuse_all(cx, message, flow, Refusal::UNKNOWN);
        };
        if !gateway.softswitch.accepts(flow.remote.ip()) {
            return cx.dropped(DropReason::Untrusted);
        }
        if Self::is_refused(cx, message, &gateway.flow) {
            return refuse_all(cx, message, flow, Refusal::SIGNED);
        }
        let draft = Draft::new(message, Self::our_mid(gateway, Side::Access));
        self.pass(cx, key, draft, flow, Side::Core);
    }

    /// Is it signed, and does the access realm refuse that? What is signed holds an address that NAT has changed
    /// (H.248.1 section 10.2).
    fn is_refused(cx: &mut Cx<'_>, message: &Message<'_>, access: &Flow) -> bool {
        let rule = cx.realm(access).map(|realm| realm.authentication).unwrap_or_default();
        let refused = message.authentication.is_some() && rule == Authentication::Refuse;
        if refused {
            cx.dropped(DropReason::Signed);
        }
        refused
    }

    /// All transactions of a message that came from `from`, each on its way.
    fn pass(&mut self, cx: &mut Cx<'_>, key: Key, mut draft: Draft<'_, '_>, flow: Flow, from: Side) {
        let message = draft.message;
        if let Body::Error(_) = message.body {
            return self.pass_error(cx, key, &draft, from);
        }
        for (at, transaction) in message.transactions().iter().enumerate() {
            let spot = Spot { gateway: key, at, flow };
            match transaction.kind {
                Kind::Request => {
                    for (_, command) in transaction.commands() {
                        cx.stats.h248_command(command.verb);
                    }
                    self.take_request(cx, spot, &mut draft, from);
                }
                Kind::Reply | Kind::Pending => self.take_answer(cx, spot, &mut draft, from),
                Kind::ResponseAck | Kind::Segment => {
                    if let Some(to) = self.way(cx, key, from.other()) {
                        draft.send(at, to);
                    }
                }
            }
        }
        self.send_on(cx, &mut draft);
    }

    /// The way to the gateway, or to its controller.
    pub(super) fn way(&mut self, cx: &mut Cx<'_>, key: Key, toward: Side) -> Option<Flow> {
        match toward {
            Side::Access => self.gateways.get(key).map(|gateway| gateway.flow),
            Side::Core => self.gateways.up(cx, key),
        }
    }

    /// A message was refused as a whole by whom it went to: nobody but its sender knows which.
    fn pass_error(&mut self, cx: &mut Cx<'_>, key: Key, draft: &Draft<'_, '_>, from: Side) {
        if let Some(to) = self.way(cx, key, from.other()) {
            send(cx, to, &draft.write(&[]));
        }
    }

    /// Send what is left of a message, and remember what was sent.
    fn send_on(&mut self, cx: &mut Cx<'_>, draft: &mut Draft<'_, '_>) {
        for (to, transactions) in draft.destinations() {
            send(cx, to, &draft.write(&transactions));
        }
        for (at, mut transaction) in std::mem::take(&mut draft.begun) {
            transaction.sent = Bytes::from(draft.write(&[at]));
            self.begin(transaction);
        }
        for (at, key, whole) in std::mem::take(&mut draft.answers) {
            let answer = Bytes::from(draft.write(&[at]));
            if let Some(transaction) = self.transactions.get_mut(key) {
                transaction.answered(cx.now, answer, whole);
            }
        }
    }

    /// A request is under way.
    pub(super) fn begin(&mut self, transaction: super::transaction::Transaction) -> Key {
        let until = transaction.until;
        let key = self.transactions.insert(transaction);
        self.timers.schedule(until, Wake::Transaction(key));
        key
    }
}
