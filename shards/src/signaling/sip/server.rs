//! Server transactions: the hop to a request's sender (RFC 3261 section 17.2, RFC 6026 section 7.1).

use super::reply::Reply;
use super::transaction::{Cancel, Half, LINGER, Resend, Transaction};
use super::{Sip, answer_flow, hop};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::Flow;
use crate::wire::sip::Message;
use bytes::Bytes;

impl Sip {
    /// An INVITE is answered at once, so that its sender stops repeating it (RFC 3261 section 16.2).
    pub(super) fn trying(&mut self, cx: &mut Cx<'_>, key: Key, message: &Message<'_>, flow: &Flow) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        let bytes = Bytes::from(Reply::trying(message, flow));
        transaction.reply = Some(bytes.clone());
        cx.send(transaction.server, bytes);
    }

    /// A repeated request is absorbed; what was answered last is answered again. The NAT may have given its sender a
    /// new address: the answer follows.
    pub(super) fn repeat(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.server = answer_flow(cx, message, flow);
        // A 2xx is repeated by who gave it, until its ACK (RFC 6026 section 7.1).
        let accepted = transaction.is_invite() && transaction.status.is_some_and(|status| status < 300);
        if let Some(reply) = transaction.reply.clone().filter(|_| !accepted) {
            cx.send(transaction.server, reply);
        }
    }

    /// Send a response back; a final one is repeated where the hop may lose it (timer G).
    pub(super) fn reply(&mut self, cx: &mut Cx<'_>, key: Key, status: u16, tag: Option<Bytes>, bytes: Bytes) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.reply = Some(bytes.clone());
        let server = transaction.server;
        if status >= 200 {
            transaction.status = Some(status);
            transaction.expires = cx.now + transaction.linger();
            transaction.reply_again = transaction.repeats_reply(status).then(|| Resend::first(cx.now));
            if transaction.is_invite() && status < 300 {
                transaction.accepted.push((tag.unwrap_or_default(), bytes.clone()));
            }
            let (expires, again) = (transaction.expires, transaction.reply_again);
            // That of the launch comes first, and is set anew then.
            let covered = !transaction.is_invite() && transaction.linger() == LINGER;
            if !covered {
                self.timers.schedule(expires, super::Wake::Transaction(key));
            }
            self.arm(key, Half::Reply, again);
        }
        cx.send(server, bytes);
    }

    /// The ACK for an error ends its repetition, and goes no further (RFC 3261 section 17.2.1). False: it is for a 2xx.
    pub(super) fn acknowledged(&mut self, cx: &mut Cx<'_>, key: Key) -> bool {
        let Some(transaction) = self.transactions.get_mut(key) else { return false };
        match transaction.status {
            Some(status) if status >= 300 => transaction.reply_again = None,
            Some(_) => return false,
            None => cx.dropped(DropReason::Unmatched),
        }
        true
    }

    /// A CANCEL is this hop's own affair: it is answered here, and the next hop gets one of our own (RFC 3261 section
    /// 16.10).
    pub(super) fn handle_cancel(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        invite: Key,
    ) -> Result<(), Fault> {
        self.respond(cx, message, flow, Reply::OK, "");
        let Some(transaction) = self.transactions.get_mut(invite) else { return Ok(()) };
        if transaction.status.is_some() || transaction.cancel.is_some() || !transaction.is_invite() {
            return Ok(());
        }
        let reason = hop::lines_named(message, b"Reason");
        transaction.cancel = Some(Cancel { otherwise: Reply::TERMINATED, reason, sent: None, again: None });
        self.send_cancel(cx, invite);
        Ok(())
    }

    /// The INVITE of this dialog has been acknowledged: its 2xx need not be repeated any more.
    pub(super) fn answer_acknowledged(
        &mut self,
        cx: &Cx<'_>,
        number: u32,
        dialog: Key,
        flow: Flow,
        ack: &Bytes,
    ) {
        let Some(dialog) = self.dialogs.get(dialog) else { return };
        let Some((invite, _)) = dialog.invite.filter(|(_, invited)| *invited == number) else { return };
        let Some(transaction) = self.transactions.get_mut(invite) else { return };
        transaction.reply_again = None;
        // Where the sender's hop may lose the 2xx, a repeated one goes there; else the ACK is repeated.
        transaction.ack = transaction.server.transport.is_reliable().then(|| (flow, ack.clone()));
        debug_assert!(transaction.expires >= cx.now || transaction.status.is_some());
    }

    /// Another final response after the first.
    pub(super) fn late(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        key: Key,
        known: u16,
    ) -> Result<(), Fault> {
        let status = message.status().unwrap_or(500);
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        match (known, status) {
            (300.., 300..) if transaction.is_invite() => self.acknowledge(cx, message, key),
            (200..300, 200..300) if transaction.is_invite() => self.accept_again(cx, message, key),
            (300.., 200..300) if transaction.is_invite() => self.acknowledge_again(cx, message, key),
            (_, 200..) => {}
            _ => cx.dropped(DropReason::Unmatched),
        }
        Ok(())
    }

    /// A repeated 2xx: its sender has not seen the ACK. Who repeats nothing itself has acknowledged it already.
    fn accept_again(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, key: Key) {
        let Some(transaction) = self.transactions.get(key) else { return };
        let tag = message.to_tag().unwrap_or_default();
        let Some((_, reply)) = transaction.accepted.iter().find(|(known, _)| known == tag) else { return };
        if transaction.reply_again.is_some() {
            return;
        }
        let reliable = transaction.server.transport.is_reliable();
        match transaction.ack.clone().filter(|_| reliable) {
            Some((flow, ack)) => cx.send(flow, ack),
            None => cx.send(transaction.server, reply.clone()),
        }
    }
}

impl Transaction {
    /// Must we repeat this final response until it is acknowledged? Always an error to INVITE on a hop that loses; a
    /// 2xx if the receiver's hop loses nothing, because then its sender may not repeat it.
    fn repeats_reply(&self, status: u16) -> bool {
        let lossy = self.is_invite() && !self.server.transport.is_reliable();
        lossy && (status >= 300 || self.client.transport.is_reliable())
    }

    /// Is this a 2xx of a dialog that none of the earlier ones was of?
    pub(super) fn is_new_answer(&self, message: &Message<'_>) -> bool {
        let tag = message.to_tag().unwrap_or_default();
        let accepted = message.status().is_some_and(|status| (200..300).contains(&status));
        let before = self.status.is_some_and(|status| status < 300);
        self.is_initial() && accepted && before && !self.accepted.iter().any(|(known, _)| known == tag)
    }
}
