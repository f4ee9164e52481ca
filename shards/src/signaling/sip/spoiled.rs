//! Final answers whose body cannot be relayed: who asked is told so at once, and who accepted a call is sent away.

use super::dialog::Dialog;
use super::forward::contact_of;
use super::goodbye::{SPOILED, own_request};
use super::hop::{self, Ours};
use super::reply::Reply;
use super::transaction::{Purpose, Transaction};
use super::within::lone_branch;
use super::{Ended, Sip};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::Side;
use crate::wire::sip::Message;
use bytes::Bytes;

impl Sip {
    /// The body of this answer of `side` cannot be passed on. A provisional one is dropped, as is the registrar's. The
    /// sender of the request is told 502 (503 if it is we who lack room) in the place of a final one; a 2xx to INVITE is
    /// acknowledged and followed by a BYE (RFC 3261 section 13.2.2.4). A call that was up before ends on both sides: what
    /// its ends now hold for agreed is not the same.
    pub(super) fn spoiled(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        (key, dialog): (Key, Option<Key>),
        side: Side,
        fault: Fault,
    ) {
        let refused = matches!(fault, Fault::Refused(_));
        cx.dropped(if refused { DropReason::Limit } else { DropReason::Malformed });
        let status = message.status().unwrap_or(500);
        let Some(transaction) = self.transactions.get(key).filter(|_| status >= 200) else { return };
        let (first, initial) = (transaction.status.is_none(), transaction.is_initial());
        if matches!(transaction.purpose, Purpose::Register(_)) {
            return;
        }
        let cancelled = transaction.cancel.as_ref().map(|cancel| cancel.otherwise);
        let accepted = dialog.filter(|_| message.method() == b"INVITE" && status < 300);
        if let Some(dialog) = accepted {
            self.accept_in_their_place(cx, message, (key, dialog), side);
        }
        if let Some(dialog) = accepted.filter(|_| initial) {
            self.part_from(cx, dialog, side, SPOILED);
        }
        if first {
            let reply = cancelled.unwrap_or(if refused { Reply::UNAVAILABLE } else { Reply::BAD_GATEWAY });
            self.give_up_because(cx, key, reply, &format!("Warning: 399 portolan \"{fault}\"\r\n"));
        }
        if let Some(dialog) = accepted {
            if !initial {
                self.hang_up(cx, dialog, SPOILED);
            }
            self.end_dialog(cx, dialog, Ended::BySignaling);
        }
    }

    /// The ACK for a 2xx that its receiver will not see.
    fn accept_in_their_place(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        (key, dialog): (Key, Key),
        side: Side,
    ) {
        let initial = self.transactions.get(key).is_some_and(Transaction::is_initial);
        let Some(dialog) = self.dialogs.get_mut(dialog) else { return };
        learn(dialog, message, side, initial);
        let Some(words) = own_request(cx, dialog, side) else { return };
        let Some(realm) = cx.realm(&words.flow) else { return };
        let (ours, number) = (Ours::of(&realm, &words.flow), message.cseq().map_or(0, |(number, _)| number));
        let ack = Bytes::from(words.write("ACK", number, None, ours, &lone_branch(cx)));
        cx.send(words.flow, ack.clone());
        if let Some(transaction) = self.transactions.get_mut(key).filter(|t| t.status.is_none()) {
            transaction.ack = Some((words.flow, ack));
        }
    }

    /// A 2xx that was refused comes again: its sender has not seen the ACK.
    pub(super) fn acknowledge_again(&self, cx: &mut Cx<'_>, message: &Message<'_>, key: Key) {
        let Some((flow, ack)) = self.transactions.get(key).and_then(|t| t.ack.clone()) else { return };
        if Message::parse(&ack).is_ok_and(|sent| sent.to_tag() == message.to_tag()) {
            cx.send(flow, ack);
        }
    }
}

/// Where requests to this side of the dialog go from now on (RFC 3261 sections 12.1.2 and 12.2.1.2).
fn learn(dialog: &mut Dialog, message: &Message<'_>, side: Side, initial: bool) {
    let leg = dialog.leg_mut(side);
    leg.tag = message.to_tag().map(Bytes::copy_from_slice).or(leg.tag.take());
    leg.target = contact_of(message).or(leg.target.take());
    if initial {
        leg.routes = hop::record_routes(message);
        leg.routes.reverse();
    }
}
