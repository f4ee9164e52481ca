//! Sending a request on: what the next hop sees of it, and what is remembered for its answer.

use super::hop::{self, Ours, Pair, Rewrite};
use super::reply::Reply;
use super::request::Upstream;
use super::transaction::{Attempt, Purpose, Transaction};
use super::{LANE, Sip, answer_flow, body, session_timer};
use crate::limits::Limits;
use crate::realm::{Large, Realm, Server};
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, ShardId, Side, Transport};
use crate::wire::sip::{Message, Name, NameAddr};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// The largest request that RFC 3261 section 18.1.1 wants in a datagram, in octets.
const DATAGRAM: usize = 1300;

/// Where a request goes next, and how it looks there.
#[derive(Clone)]
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
    /// A sips Request-URI: only enciphered hops will do (RFC 5630).
    pub(super) secure: bool,
    /// The server that it goes to, where there may be others.
    pub(super) server: Option<(Upstream, Server)>,
    /// The shard that holds the binding of the terminal that it goes to, where there is one.
    pub(super) keeper: Option<ShardId>,
}

/// A request that has arrived, and what identifies its transaction.
pub(super) struct Request<'m, 'b> {
    pub(super) message: &'m Message<'b>,
    pub(super) flow: Flow,
    pub(super) side: Side,
    pub(super) matched_by: Vec<u8>,
    pub(super) loop_mark: u64,
    /// The source that it is charged to, if it has proved nothing.
    pub(super) guest: Option<std::net::IpAddr>,
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
        let within = matches!(purpose, Purpose::InDialog { .. });
        let attempt = hop.server.clone().map(|(upstream, server)| {
            let original = Bytes::copy_from_slice(message.bytes());
            Box::new(Attempt {
                original,
                hop: hop.clone(),
                body: body.clone(),
                upstream,
                tried: smallvec::smallvec![server],
            })
        });
        let key = self.transactions.insert(Transaction {
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
            proceeding: false,
            again: None,
            reply: None,
            reply_again: None,
            status: None,
            accepted: SmallVec::new(),
            ack: None,
            cancel: None,
            offered: body::has_sdp(message),
            purpose,
            attempt,
            matched_by: request.matched_by.clone(),
            loop_mark: request.loop_mark,
            guest: request.guest.filter(|_| !within),
            keeper: hop.keeper,
            expires: cx.now,
        });
        if message.method() == b"INVITE" {
            self.remember_invite(message, key);
            self.trying(cx, key, message, &flow);
        }
        let sent = self.compose_for(cx, message, hop, key, body);
        if let Some(transaction) = self.transactions.get_mut(key) {
            transaction.sent = sent;
        }
        self.launch(cx, key);
        Ok(())
    }

    /// The dialog must find its INVITE when the ACK comes.
    fn remember_invite(&mut self, message: &Message<'_>, key: Key) {
        let number = message.cseq().map_or(0, |(number, _)| number);
        let dialog = self.transactions.get(key).and_then(Transaction::dialog);
        if let Some(dialog) = dialog.and_then(|dialog| self.dialogs.get_mut(dialog)) {
            dialog.invite = Some((key, number));
        }
    }

    /// The request of this transaction as its next hop sees it. What is too large for a datagram goes by TCP to the
    /// same place, where the realm says so (RFC 3261 section 18.1.1).
    pub(super) fn compose_for(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        hop: &Hop,
        key: Key,
        body: Option<Vec<u8>>,
    ) -> Bytes {
        let Some(transaction) = self.transactions.get(key) else { return Bytes::new() };
        let branch = transaction.branch(cx.shard, key);
        let limits = &cx.mapping.limits;
        let sent = self.compose(message, hop, &branch, Some((&transaction.purpose, limits)), body.clone());
        let Some((realm, flow)) = grown(cx, &sent, &hop.flow) else { return Bytes::from(sent) };
        let hop = Hop { flow, ours: Ours { asks: hop.ours.asks, ..Ours::of(&realm, &flow) }, ..hop.clone() };
        let purpose = self.transactions.get(key).map(|t| (&t.purpose, &cx.mapping.limits));
        let sent = self.compose(message, &hop, &branch, purpose, body);
        self.transactions.move_client(key, flow);
        Bytes::from(sent)
    }

    /// The request as the next hop sees it.
    pub(super) fn compose(
        &self,
        message: &Message<'_>,
        hop: &Hop,
        branch: &str,
        purpose: Option<(&Purpose, &Limits)>,
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
            Some((Purpose::Register(registration), _)) => {
                self.seal_contacts(message, registration, hop.ours, &mut rewrite);
            }
            _ => {
                let label = hop.label.as_deref();
                rewrite.contacts(|contact| {
                    Some(hop::contact_at(message.bytes(), &contact.uri, hop.ours, label))
                });
            }
        }
        if let Some((_, limits)) = purpose {
            session_timer::ask(&mut rewrite, message, limits);
        }
        match body {
            Some(body) => rewrite.body(body),
            None => rewrite.framed(hop.flow.transport),
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

/// The connection for a request that has outgrown its datagram.
fn grown(cx: &mut Cx<'_>, sent: &[u8], flow: &Flow) -> Option<(Arc<Realm>, Flow)> {
    let realm = cx.realm(flow).filter(|realm| realm.side == Side::Core && realm.large == Large::Tcp)?;
    if sent.len() <= DATAGRAM || flow.transport != Transport::Udp {
        return None;
    }
    let local = realm.home(cx.shard, Transport::Tcp)?;
    let server = Server { transport: Transport::Tcp, ..Server::udp(flow.remote) };
    let flow = cx.toward(LANE, &realm, local, &server);
    Some((realm, flow))
}

/// The first Contact URI, exactly as written.
pub(super) fn contact_of(message: &Message<'_>) -> Option<Bytes> {
    let bytes = message.bytes();
    let contact = NameAddr::parse(bytes, message.values(Name::Contact).next()?).ok()?;
    Some(Bytes::copy_from_slice(contact.uri.span.of(bytes)))
}
