//! Sending a request on: what the next hop sees of it, and what is remembered for its answer.

use super::hop::{self, Ours, Pair, Rewrite};
use super::reply::Reply;
use super::transaction::{LINGER, Purpose, Transaction};
use super::{Sip, Wake, answer_flow, body};
use crate::signaling::Cx;
use crate::types::{Flow, Side};
use crate::wire::sip::{Message, Name, NameAddr};
use bytes::Bytes;

/// Where a request goes next, and how it looks there.
pub(super) struct Hop {
    pub(super) flow: Flow,
    /// Our own address on that side.
    pub(super) ours: Ours,
    /// The Request-URI; `None` keeps what was dialled.
    pub(super) uri: Option<Bytes>,
    pub(super) routes: Vec<Bytes>,
    /// The label in our Contact.
    pub(super) label: Option<String>,
    pub(super) from: Pair,
    pub(super) to: Pair,
}

/// A request that has arrived, and what identifies its transaction.
pub(super) struct Request<'m, 'b> {
    pub(super) message: &'m Message<'b>,
    pub(super) flow: Flow,
    pub(super) side: Side,
    pub(super) matched_by: Vec<u8>,
}

impl Sip {
    /// Send a request on, and remember how its answer comes back.
    pub(super) fn send_on(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        hop: &Hop,
        purpose: Purpose,
        body: Option<Vec<u8>>,
    ) -> Result<(), Reply> {
        let (message, flow) = (request.message, request.flow);
        let lifetime = if message.method() == b"INVITE" { cx.mapping.limits.setup } else { LINGER };
        let transaction = Transaction {
            nonce: cx.rng.u64(),
            method: Bytes::copy_from_slice(message.method()),
            server: answer_flow(cx, message, flow),
            side: request.side,
            client: hop.flow,
            vias: hop::vias_of(message, &flow).map_err(|_| Reply::BAD_REQUEST)?,
            record_routes: hop::lines_of(message, Name::RecordRoute),
            from: hop.from.clone(),
            to: hop.to.clone(),
            sent: Bytes::new(),
            reply: None,
            status: None,
            offered: body::has_sdp(message),
            cancel: None,
            purpose,
            matched_by: request.matched_by.clone(),
            expires: cx.now + lifetime,
        };
        let key = self.transactions.insert(transaction);
        self.timers.schedule(cx.now + lifetime, Wake::Transaction(key));
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        let branch = transaction.branch(cx.shard, key);
        let sent = Bytes::from(self.compose(message, hop, &branch, Some(&transaction.purpose), body));
        cx.send(hop.flow, sent.clone());
        if let Some(transaction) = self.transactions.get_mut(key) {
            transaction.sent = sent;
        }
        Ok(())
    }

    /// The request as the next hop sees it.
    pub(super) fn compose(
        &self,
        message: &Message<'_>,
        hop: &Hop,
        branch: &str,
        purpose: Option<&Purpose>,
        body: Option<Vec<u8>>,
    ) -> Vec<u8> {
        let mut rewrite = Rewrite::new(message);
        own_hop(&mut rewrite, hop.ours, branch, &hop::route_lines(&hop.routes));
        rewrite.remove(Name::RecordRoute);
        if let Some(uri) = &hop.uri {
            rewrite.request_uri(&uri[..]);
        }
        rewrite.rename(Name::From, &hop.from.far);
        rewrite.rename(Name::To, &hop.to.far);
        match purpose {
            Some(Purpose::Register(registration)) => {
                self.seal_contacts(message, registration, hop.ours, &mut rewrite);
            }
            _ => {
                let label = hop.label.as_deref();
                rewrite.contacts(|contact| {
                    Some(hop::contact_at(message.bytes(), &contact.uri, hop.ours, label))
                });
            }
        }
        if let Some(body) = body {
            rewrite.body(body);
        }
        rewrite.finish()
    }
}

/// Via and Route of the next hop in place of the last one's, and one hop fewer.
fn own_hop(rewrite: &mut Rewrite<'_, '_>, ours: Ours, branch: &str, routes: &[u8]) {
    rewrite.remove(Name::Via);
    rewrite.remove(Name::Route);
    rewrite.on_top(hop::own_via(ours, branch));
    rewrite.on_top(routes);
    rewrite.count_hop();
}

/// An ACK or CANCEL on the path of the request that it belongs to: same branch, Request-URI and routes.
pub(super) fn follow(message: &Message<'_>, transaction: &Transaction, branch: &str) -> Vec<u8> {
    let mut rewrite = Rewrite::new(message);
    if let Ok(sent) = Message::parse(&transaction.sent) {
        let via = sent.top_via().map(|via| via.sent_by.of(&transaction.sent).to_vec()).unwrap_or_default();
        let address = String::from_utf8_lossy(&via).parse().unwrap_or(transaction.client.local);
        let ours = Ours { address, transport: transaction.client.transport };
        own_hop(&mut rewrite, ours, branch, &hop::lines_of(&sent, Name::Route));
        if let Some(uri) = sent.request_uri() {
            rewrite.request_uri(uri.of(&transaction.sent));
        }
    }
    rewrite.rename(Name::From, &transaction.from.far);
    rewrite.rename(Name::To, &transaction.to.far);
    rewrite.contacts(|_| None);
    rewrite.finish()
}

/// The first Contact URI, exactly as written.
pub(super) fn contact_of(message: &Message<'_>) -> Option<Bytes> {
    let bytes = message.bytes();
    let contact = NameAddr::parse(bytes, message.values(Name::Contact).next()?).ok()?;
    Some(Bytes::copy_from_slice(contact.uri.span.of(bytes)))
}
