//! Client transactions: the hop to a request's receiver (RFC 3261 section 17.1, RFC 6026 section 7.2).

use super::hop::{self, Ours};
use super::reply::Reply;
use super::transaction::{Attempt, Cancel, Half, LINGER, Own, Purpose, Resend, T2, Transaction};
use super::{Sip, Wake, number};
use crate::fault::Fault;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::sip::{Message, Name};
use bytes::Bytes;
use std::time::Duration;

impl Sip {
    /// Send a request, and again until it is answered (timers A and E).
    pub(super) fn launch(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.proceeding = false;
        transaction.again = Transaction::resend_on(&transaction.client, cx.now);
        transaction.expires = cx.now + LINGER;
        let (flow, bytes, again) = (transaction.client, transaction.sent.clone(), transaction.again);
        let patience = transaction.patience();
        cx.send(flow, bytes);
        self.arm(key, Half::Request, again);
        self.timers.schedule(cx.now + LINGER, Wake::Transaction(key));
        if let Some(patience) = patience {
            self.timers.schedule(cx.now + patience.min(LINGER), Wake::Patience(key));
        }
    }

    pub(super) fn arm(&mut self, key: Key, half: Half, resend: Option<Resend>) {
        if let Some(resend) = resend {
            self.timers.schedule(resend.at, Wake::Resend(key, half));
        }
    }

    /// Repeat what has not been answered, if it is still due.
    pub(super) fn resend(&mut self, cx: &mut Cx<'_>, key: Key, half: Half) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        let Some((flow, bytes)) = transaction.repeated(half) else { return };
        let most = transaction.longest(half);
        let Some(slot) = transaction.resend_mut(half) else { return };
        let Some(due) = slot.filter(|resend| resend.at <= cx.now) else { return };
        let next = due.next(cx.now, most);
        *slot = Some(next);
        cx.stats.retransmissions += 1;
        cx.send(flow, bytes);
        self.arm(key, half, Some(next));
    }

    /// The receiver has answered something: it lives, and may be cancelled now.
    pub(super) fn proceed(&mut self, cx: &mut Cx<'_>, key: Key, status: u16) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.proceeding = true;
        if let Some(attempt) = transaction.attempt.take_if(|_| status != 503) {
            self.servers.answered(&attempt.tried);
        }
        if status >= 200 {
            transaction.again = None;
            return;
        }
        if transaction.is_invite() {
            transaction.again = None;
            transaction.expires = cx.now + cx.mapping.limits.setup;
        } else if let Some(again) = &mut transaction.again {
            again.interval = T2;
        }
        self.send_cancel(cx, key);
    }

    /// No answer for as long as another server is waited for: try that one.
    pub(super) fn lose_patience(&mut self, cx: &mut Cx<'_>, key: Key) {
        let waits = |t: &&Transaction| !t.proceeding && t.status.is_none() && t.cancel.is_none();
        let Some(attempt) = self.transactions.get(key).filter(waits).and_then(|t| t.attempt.as_ref()) else {
            return;
        };
        if !self.servers.has_other(cx, &attempt.upstream.softswitch, &attempt.tried, attempt.hop.secure) {
            // A terminal waits no longer than we do: what can be answered without a server is answered now.
            self.survive(cx, key, Reply::TIMEOUT.status);
            return;
        }
        if let Some(server) = attempt.tried.last() {
            self.servers.failed(cx.now, server);
        }
        self.retry(cx, key);
    }

    /// Send the request to the next server; false if there is none, or it is not wanted any more.
    pub(super) fn retry(&mut self, cx: &mut Cx<'_>, key: Key) -> bool {
        let Some(transaction) = self.transactions.get_mut(key) else { return false };
        if transaction.cancel.is_some() || transaction.status.is_some() {
            return false;
        }
        let Some(mut attempt) = transaction.attempt.take() else { return false };
        let Ok(server) =
            self.servers.pick(cx, &attempt.upstream.softswitch, &attempt.tried, attempt.hop.secure)
        else {
            return false;
        };
        (attempt.hop.flow, attempt.hop.ours) = attempt.upstream.flow_to(cx, &server);
        attempt.tried.push(server);
        cx.stats.failovers += 1;
        self.resubmit(cx, key, attempt);
        true
    }

    fn resubmit(&mut self, cx: &mut Cx<'_>, key: Key, attempt: Box<Attempt>) {
        let Ok(message) = Message::parse(&attempt.original) else { return };
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.nonce = cx.rng.u64();
        let (dialog, flow) = (transaction.dialog(), attempt.hop.flow);
        self.transactions.move_client(key, flow);
        if let Some(dialog) = dialog.and_then(|dialog| self.dialogs.get_mut(dialog)) {
            dialog.leg_mut(Side::Core).flow = flow;
        }
        let sent = self.compose_for(cx, &message, &attempt.hop, key, attempt.body.clone());
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.sent = sent;
        transaction.attempt = Some(attempt);
        self.launch(cx, key);
    }

    /// A server says that it does not serve now (RFC 3261 section 21.5.4): ask another. True if another was asked.
    pub(super) fn turn_away(&mut self, cx: &mut Cx<'_>, message: &Message<'_>, key: Key) -> bool {
        let Some(transaction) = self.transactions.get(key) else { return false };
        let Some(server) = transaction.attempt.as_ref().and_then(|attempt| attempt.tried.last()) else {
            return false;
        };
        let pause = number(message, Name::RetryAfter).map(Duration::from_secs);
        self.servers.refused(cx.now, server, pause);
        self.retry(cx, key)
    }

    /// The ACK for an error is this hop's own affair (RFC 3261 section 17.1.1.3).
    pub(super) fn acknowledge(&mut self, cx: &mut Cx<'_>, answer: &Message<'_>, key: Key) {
        let Some(transaction) = self.transactions.get(key) else { return };
        let Ok(sent) = Message::parse(&transaction.sent) else { return };
        let to = hop::lines_of(answer, Name::To);
        cx.send(transaction.client, on_its_path(&sent, b"ACK", &to, &[]));
    }

    /// Cancel what the receiver has begun to process, once.
    pub(super) fn send_cancel(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if !transaction.proceeding || transaction.status.is_some() {
            return;
        }
        let Ok(sent) = Message::parse(&transaction.sent) else { return };
        let again = Transaction::resend_on(&transaction.client, cx.now);
        let Some(cancel) = transaction.cancel.as_mut().filter(|cancel| cancel.sent.is_none()) else { return };
        let to = hop::lines_of(&sent, Name::To);
        let bytes = Bytes::from(on_its_path(&sent, b"CANCEL", &to, &cancel.reason));
        (cancel.sent, cancel.again) = (Some(bytes.clone()), again);
        transaction.expires = cx.now + LINGER;
        let (flow, expires) = (transaction.client, transaction.expires);
        cx.send(flow, bytes);
        self.arm(key, Half::Cancel, again);
        self.timers.schedule(expires, Wake::Transaction(key));
    }

    /// The receiver has seen our CANCEL.
    pub(super) fn cancel_answered(&mut self, key: Key) {
        if let Some(cancel) = self.transactions.get_mut(key).and_then(|t| t.cancel.as_mut()) {
            cancel.again = None;
        }
    }

    /// Nothing final in time: timers B, F and C, and the end of a CANCEL.
    pub(super) fn overdue(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if transaction.is_invite() && transaction.proceeding && transaction.cancel.is_none() {
            transaction.cancel =
                Some(Cancel { otherwise: Reply::TIMEOUT, reason: Vec::new(), sent: None, again: None });
            return self.send_cancel(cx, key);
        }
        let otherwise = transaction.cancel.as_ref().map_or(Reply::TIMEOUT, |cancel| cancel.otherwise);
        if let Some(server) = transaction.attempt.as_ref().and_then(|attempt| attempt.tried.last()) {
            self.servers.failed(cx.now, server);
        }
        if self.retry(cx, key) {
            return;
        }
        self.give_up(cx, key, otherwise);
    }

    /// The connection to the receiver is gone: ask another server, or say so.
    pub(super) fn hung_up(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let Some(stream) = flow.stream else { return };
        for key in self.transactions.on(stream) {
            let Some(transaction) = self.transactions.get(key).filter(|t| t.status.is_none()) else {
                continue;
            };
            let terminal = transaction.side == Side::Core;
            if let Some(server) = transaction.attempt.as_ref().and_then(|attempt| attempt.tried.last()) {
                self.servers.failed(cx.now, server);
            }
            if !self.retry(cx, key) {
                self.give_up(cx, key, if terminal { Reply::FLOW_FAILED } else { Reply::UNAVAILABLE });
            }
        }
    }

    /// Answer in the receiver's place, as if it had said so itself.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, key: Key, reply: Reply) {
        self.give_up_because(cx, key, reply, "");
    }

    /// The same, with further header lines that say why.
    pub(super) fn give_up_because(&mut self, cx: &mut Cx<'_>, key: Key, reply: Reply, why: &str) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        transaction.attempt = None;
        transaction.again = None;
        let (client, side, sent) = (transaction.client, transaction.side, transaction.sent.clone());
        // Who sent a request other than INVITE has given up at the same time (RFC 4320 section 4.2).
        let silent = reply == Reply::TIMEOUT && !transaction.is_invite();
        let Ok(request) = Message::parse(&sent) else { return };
        let tag = cx.sealer.tag(&[request.call_id(), request.method()].concat());
        let bytes = reply.write(&request, &client, tag, why);
        let Ok(answer) = Message::parse(&bytes) else { return };
        cx.stats.refuse(reply.status);
        if let Err(fault) = self.pass_back(cx, &answer, side.other(), key, silent) {
            tracing::debug!(%fault, "our own answer did not pass");
        }
    }

    /// Send a request of our own, and wait `patience` for its answer. `write` is given our place and the branch.
    pub(super) fn send_own(
        &mut self,
        cx: &mut Cx<'_>,
        flow: Flow,
        side: Side,
        what: Own,
        patience: Duration,
        write: impl FnOnce(Ours, &str) -> Vec<u8>,
    ) -> Option<Key> {
        let ours = Ours::of(&*cx.realm(&flow)?, &flow);
        let nonce = cx.rng.u64();
        let none = hop::Pair { near: Bytes::new(), far: Bytes::new() };
        let key = self.transactions.insert(Transaction {
            nonce,
            method: Bytes::new(),
            server: flow,
            side: side.other(),
            client: flow,
            vias: Vec::new(),
            record_routes: Vec::new(),
            from: none.clone(),
            to: none,
            sent: Bytes::new(),
            proceeding: false,
            again: None,
            reply: None,
            reply_again: None,
            status: None,
            accepted: smallvec::SmallVec::new(),
            ack: None,
            cancel: None,
            offered: false,
            purpose: Purpose::Own(what),
            attempt: None,
            matched_by: nonce.to_be_bytes().to_vec(),
            loop_mark: nonce,
            guest: None,
            keeper: None,
            expires: cx.now + LINGER,
        });
        let branch = self.transactions.get(key)?.branch(cx.shard, key);
        let sent = Bytes::from(write(ours, &branch));
        let method = sent.split(|octet| *octet == b' ').next().map(|method| sent.slice_ref(method));
        let transaction = self.transactions.get_mut(key)?;
        transaction.method = method.unwrap_or_default();
        transaction.sent = sent;
        self.launch(cx, key);
        let expires = cx.now + patience;
        self.transactions.get_mut(key)?.expires = expires;
        self.timers.schedule(expires, Wake::Transaction(key));
        Some(key)
    }

    /// An answer to a request of our own. `None`: there was none.
    pub(super) fn own_answered(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key,
        status: Option<u16>,
    ) -> Result<(), Fault> {
        if status.is_some_and(|status| status < 200) {
            self.proceed(cx, key, 100);
            return Ok(());
        }
        let Some(transaction) = self.transactions.remove(key) else { return Ok(()) };
        if let Purpose::Own(Own::Probe(server)) = transaction.purpose {
            self.servers.probed(cx.now, &server, status);
        }
        Ok(())
    }
}

impl Transaction {
    /// How long its receiver is waited for before something else is done, if there is anything else to do.
    fn patience(&self) -> Option<Duration> {
        let attempt = self.attempt.as_ref()?;
        let softswitch = &attempt.upstream.softswitch;
        let survives = matches!(&self.purpose, Purpose::Register(asked) if asked.survival.is_some());
        let others = softswitch.targets.iter().any(|server| !attempt.tried.contains(server));
        (survives || others).then_some(softswitch.patience)
    }

    /// Where and what this half repeats.
    fn repeated(&self, half: Half) -> Option<(Flow, Bytes)> {
        match half {
            Half::Request => Some((self.client, self.sent.clone())),
            Half::Reply => Some((self.server, self.reply.clone()?)),
            Half::Cancel => Some((self.client, self.cancel.as_ref()?.sent.clone()?)),
        }
    }

    fn resend_mut(&mut self, half: Half) -> Option<&mut Option<Resend>> {
        match half {
            Half::Request => Some(&mut self.again),
            Half::Reply => Some(&mut self.reply_again),
            Half::Cancel => self.cancel.as_mut().map(|cancel| &mut cancel.again),
        }
    }

    /// The longest interval: an INVITE is repeated at ever longer ones until timer B.
    fn longest(&self, half: Half) -> Duration {
        if half == Half::Request && self.is_invite() { LINGER } else { T2 }
    }
}

/// An ACK or CANCEL for a request that was sent: same Request-URI, branch, routes, From, Call-ID and number.
fn on_its_path(sent: &Message<'_>, method: &[u8], to: &[u8], more: &[u8]) -> Vec<u8> {
    let bytes = sent.bytes();
    let uri = sent.request_uri().map(|uri| uri.of(bytes)).unwrap_or_default();
    let number = sent.cseq().map_or(0, |(number, _)| number);
    let mut out = [method, b" ", uri, b" SIP/2.0\r\n"].concat();
    out.extend(hop::lines_of(sent, Name::Via));
    out.extend(hop::lines_of(sent, Name::Route));
    out.extend(b"Max-Forwards: 70\r\n");
    out.extend(hop::lines_of(sent, Name::From));
    out.extend(to);
    out.extend(hop::lines_of(sent, Name::CallId));
    out.extend(format!("CSeq: {number} ").into_bytes());
    out.extend(method);
    out.extend(b"\r\n");
    out.extend(more);
    out.extend(b"Content-Length: 0\r\n\r\n");
    out
}
