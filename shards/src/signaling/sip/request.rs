//! Requests on their way through.

use super::dialog::{Dialog, Leg, State, at};
use super::hop::{self, Pair, Rewrite};
use super::reply::Reply;
use super::transaction::{Branch, LINGER, Named, Purpose, Transaction};
use super::{DIALOG_IDLE, Ended, Sip, Wake, answer_flow, body, owner, respond};
use crate::fault::Fault;
use crate::io::{DropReason, Target};
use crate::realm::{Realm, Softswitch};
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::sip::{Message, Name, Uri};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// A softswitch and the two realms between which it serves.
pub(super) struct Upstream {
    pub(super) access: Arc<Realm>,
    pub(super) core: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
}

/// Where a request goes next, and how it looks there.
struct Hop {
    flow: Flow,
    /// Our own address on that side.
    ours: SocketAddr,
    /// The Request-URI; `None` keeps what was dialled.
    uri: Option<Bytes>,
    routes: Vec<Bytes>,
    /// The label in our Contact.
    label: Option<String>,
    from: Pair,
    to: Pair,
}

impl Sip {
    pub(super) fn handle_request(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        target: Option<Target>,
    ) -> Result<(), Fault> {
        let Some(realm) = cx.realm(&flow) else { return Err(Fault::Refused("unknown realm")) };
        let key = matching_key(message, &flow);
        let known = self.transactions.matching(&key);
        match (message.method(), known) {
            (b"ACK", _) => return self.handle_ack(cx, message, realm.side, known),
            (b"CANCEL", Some(invite)) => return self.handle_cancel(cx, message, flow, invite),
            (_, Some(known)) => return self.repeat(cx, known),
            _ => {}
        }
        match self.route(cx, message, flow, &realm, target, key) {
            Ok(()) => Ok(()),
            Err(reply) => {
                let more = if reply == Reply::UNAVAILABLE { "Retry-After: 10\r\n" } else { "" };
                respond(cx, message, flow, reply, more);
                Err(Fault::Refused(reply.reason))
            }
        }
    }

    fn route(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        realm: &Arc<Realm>,
        target: Option<Target>,
        key: Vec<u8>,
    ) -> Result<(), Reply> {
        check(message)?;
        if self.transactions.len() >= cx.mapping.limits.transactions {
            return Err(Reply::UNAVAILABLE);
        }
        if let Some(dialog) = self.dialog_of(cx, message, realm.side) {
            return self.in_dialog(cx, message, flow, dialog, key);
        }
        match realm.side {
            _ if message.method() == b"CANCEL" || message.to_tag().is_some() => Err(Reply::NO_TRANSACTION),
            Side::Access => self.to_softswitch(cx, message, flow, key),
            Side::Core => match target {
                Some(target) => self.to_terminal(cx, message, flow, target, key),
                None => self.look_up(cx, message, flow, key),
            },
        }
    }

    /// The dialog that a request names by its label or, for peers that lose labels, by Call-ID and tags.
    fn dialog_of(&self, cx: &Cx<'_>, message: &Message<'_>, side: Side) -> Option<Key> {
        message.to_tag()?;
        let kind = if side == Side::Access { Kind::AccessDialog } else { Kind::CoreDialog };
        let bytes = message.bytes();
        let uri = Uri::parse(bytes, message.request_uri()?).ok()?;
        let label = hop::label_of(bytes, &uri).and_then(|label| cx.sealer.open(label));
        let labelled =
            label.filter(|label| label.kind == kind && label.shard == cx.shard).map(|label| label.key);
        let same_call =
            |key: &Key| self.dialogs.get(*key).is_some_and(|dialog| dialog.call_id == message.call_id());
        let by_tags = || self.dialogs.find(side, message.call_id(), message.from_tag(), message.to_tag());
        labelled.filter(same_call).or_else(by_tags)
    }

    /// A new request from a terminal.
    fn to_softswitch(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        key: Vec<u8>,
    ) -> Result<(), Reply> {
        let bytes = message.bytes();
        let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
        let uri = Uri::parse(bytes, span).map_err(|_| Reply::BAD_REQUEST)?;
        let up = upstream(cx, flow, uri.host.of(bytes))?;
        let (client, ours) = core_flow(cx, &up);
        let to_domain = |uri: &Uri| named(bytes, uri, &domain_of(&up.softswitch));
        let hop = Hop {
            flow: client,
            ours,
            uri: to_domain(&uri),
            routes: foreign_routes(message, &up.access),
            label: None,
            from: pair(message, Name::From, to_domain),
            to: pair(message, Name::To, to_domain),
        };
        if message.method() == b"REGISTER" {
            let registration = self.registration(cx, message, flow, &up)?;
            return self.send_on(cx, message, flow, hop, Purpose::Register(registration), None, key);
        }
        self.begin(cx, message, flow, hop, up, Side::Access, key)
    }

    /// A new request from a softswitch, on the shard that holds the terminal's binding.
    fn look_up(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        key: Vec<u8>,
    ) -> Result<(), Reply> {
        let bytes = message.bytes();
        let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
        let uri = Uri::parse(bytes, span).map_err(|_| Reply::BAD_REQUEST)?;
        if uri.user.is_none() && message.method() == b"OPTIONS" {
            return Err(Reply::OK);
        }
        let softswitch = cx.softswitch_at(&flow).ok_or(Reply::FORBIDDEN)?;
        let labelled = owner::binding_label(cx, bytes, &uri).map(|label| label.key);
        let by_user = || self.bindings.of_user(uri.user?.of(bytes), &softswitch);
        let binding = labelled.filter(|key| self.bindings.get(*key).is_some()).or_else(by_user);
        let binding = binding.and_then(|key| self.bindings.get(key)).ok_or(Reply::NOT_FOUND)?;
        let target = Target { flow: binding.flow, contact: binding.contact.clone() };
        let owner = cx.shard_of(message.call_id());
        if owner == cx.shard {
            return self.to_terminal(cx, message, flow, target, key);
        }
        Self::cross(cx, message, flow, target, owner);
        Ok(())
    }

    /// A new request from a softswitch to a terminal whose place is known.
    fn to_terminal(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        target: Target,
        key: Vec<u8>,
    ) -> Result<(), Reply> {
        let bytes = message.bytes();
        let softswitch = cx.softswitch_at(&flow).ok_or(Reply::FORBIDDEN)?;
        let access = cx.realm(&target.flow).ok_or(Reply::NOT_FOUND)?;
        let core = cx.realm(&flow).ok_or(Reply::NOT_FOUND)?;
        let ours = SocketAddr::new(access.advertised, target.flow.local.port());
        let host = host_of(ours.ip());
        let hidden = |uri: &Uri| named(bytes, uri, &host);
        let hop = Hop {
            flow: target.flow,
            ours,
            uri: Some(target.contact),
            routes: Vec::new(),
            label: None,
            from: pair(message, Name::From, hidden),
            to: pair(message, Name::To, hidden),
        };
        self.begin(cx, message, flow, hop, Upstream { access, core, softswitch }, Side::Core, key)
    }

    /// Send a request outside any dialog on; those that make a dialog get one.
    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        mut hop: Hop,
        up: Upstream,
        side: Side,
        key: Vec<u8>,
    ) -> Result<(), Reply> {
        if !matches!(message.method(), b"INVITE" | b"SUBSCRIBE" | b"REFER") {
            let body = body::outside_dialog(message, hop.ours.ip()).map_err(|_| Reply::BAD_REQUEST)?;
            return self.send_on(cx, message, flow, hop, Purpose::Plain, body, key);
        }
        let dialog = self.open_dialog(cx, message, flow, &hop, up, side)?;
        hop.label = self.dialogs.get(dialog).map(|dialog| dialog.leg(side.other()).label.clone());
        let body = match self.request_body(cx, message, dialog, side) {
            Ok(body) => body,
            Err(fault) => {
                self.end_dialog(cx, dialog, Ended::BySignaling);
                return Err(media_refusal(fault));
            }
        };
        self.send_on(cx, message, flow, hop, Purpose::Initial(dialog), body, key)
    }

    fn open_dialog(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        hop: &Hop,
        up: Upstream,
        side: Side,
    ) -> Result<Key, Reply> {
        let session =
            self.open_session(cx, message, &up, if side == Side::Access { flow } else { hop.flow })?;
        let leg = |realm: Arc<Realm>, of: Side| {
            let caller = of == side;
            Leg {
                realm,
                flow: if caller { flow } else { hop.flow },
                tag: if caller { message.from_tag().map(Bytes::copy_from_slice) } else { None },
                target: if caller { contact_of(message) } else { hop.uri.clone() },
                routes: if caller { hop::record_routes(message) } else { Vec::new() },
                label: String::new(),
            }
        };
        let forms = |pair: &Pair| match side {
            Side::Access => [pair.near.clone(), pair.far.clone()],
            Side::Core => [pair.far.clone(), pair.near.clone()],
        };
        let deadline = cx.now + cx.mapping.limits.setup;
        let key = self.dialogs.insert(Dialog {
            call_id: Bytes::copy_from_slice(message.call_id()),
            softswitch: up.softswitch,
            legs: [leg(up.access, Side::Access), leg(up.core, Side::Core)],
            names: [forms(&hop.from), forms(&hop.to)],
            session,
            offered: None,
            state: State::Early,
            deadline,
        });
        self.label_legs(cx, key);
        self.timers.schedule(deadline, Wake::Dialog(key));
        Ok(key)
    }

    fn label_legs(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        for (side, kind) in [(Side::Access, Kind::AccessDialog), (Side::Core, Kind::CoreDialog)] {
            dialog.leg_mut(side).label = cx.sealer.seal(cx.rng, Label { kind, shard: cx.shard, key });
        }
    }

    /// A call needs a session; other dialogs do not.
    fn open_session(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        up: &Upstream,
        terminal: Flow,
    ) -> Result<Option<Key>, Reply> {
        if message.method() != b"INVITE" {
            return Ok(None);
        }
        if cx.draining {
            return Err(Reply::UNAVAILABLE);
        }
        let session = cx.sessions.open(cx.now, &up.access, &up.core).ok_or(Reply::UNAVAILABLE)?;
        cx.stats.sessions_opened += 1;
        cx.sessions.trust(cx.now, session, Side::Access, terminal.remote.ip());
        Ok(Some(session))
    }

    /// A request within a dialog.
    fn in_dialog(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        key: Key,
        matched_by: Vec<u8>,
    ) -> Result<(), Reply> {
        let side = cx.realm(&flow).map_or(Side::Access, |realm| realm.side);
        let body = self.request_body(cx, message, key, side).map_err(media_refusal)?;
        let hop = self.dialogs.get(key).and_then(|dialog| hop_within(cx, message, dialog, side));
        let hop = hop.ok_or(Reply::NO_TRANSACTION)?;
        match message.method() {
            b"BYE" => self.say_goodbye(cx, key),
            b"NOTIFY" if ends_subscription(message) => self.leave(cx, key),
            _ => self.stay(cx, key),
        }
        let target = contact_of(message);
        self.send_on(cx, message, flow, hop, Purpose::InDialog { dialog: key, target }, body, matched_by)
    }

    /// A BYE closes the gates at once.
    fn say_goodbye(&mut self, cx: &mut Cx<'_>, key: Key) {
        if let Some(session) = self.dialogs.get(key).and_then(|dialog| dialog.session) {
            cx.sessions.gate(session, false);
        }
        self.leave(cx, key);
    }

    fn leave(&mut self, cx: &Cx<'_>, key: Key) {
        if let Some(dialog) = self.dialogs.get_mut(key) {
            dialog.state = State::Ending;
        }
        self.watch(key, cx.now + LINGER);
    }

    /// A dialog without media lives as long as it is used.
    fn stay(&mut self, cx: &Cx<'_>, key: Key) {
        if let Some(dialog) = self.dialogs.get_mut(key).filter(|dialog| dialog.session.is_none()) {
            dialog.deadline = cx.now + DIALOG_IDLE;
        }
    }

    /// An ACK: for an error it goes where the INVITE went (RFC 3261 section 17.1.1.3), for a 2xx to the dialog's peer
    /// (section 13.2.2.4).
    fn handle_ack(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        side: Side,
        known: Option<Key>,
    ) -> Result<(), Fault> {
        if message.max_forwards() == Some(0) {
            return Err(Fault::PeerMisbehaved("too many hops"));
        }
        let failed =
            known.and_then(|key| self.transactions.get(key)).filter(|t| t.status.is_none_or(|s| s >= 300));
        if let (Some(key), Some(transaction)) = (known, failed) {
            let bytes = follow(message, transaction, &transaction.branch(cx.shard, key));
            cx.send(transaction.client, bytes);
            return Ok(());
        }
        let Some(key) = self.dialog_of(cx, message, side) else {
            cx.dropped(DropReason::Unmatched);
            return Err(Fault::PeerMisbehaved("ACK without a dialog"));
        };
        let body = self.request_body(cx, message, key, side)?;
        let Some(hop) = self.dialogs.get(key).and_then(|dialog| hop_within(cx, message, dialog, side)) else {
            cx.dropped(DropReason::Unmatched);
            return Err(Fault::PeerMisbehaved("ACK before its dialog"));
        };
        let nowhere = Key { slot: u32::MAX, generation: 0 };
        let branch = Branch { named: Named::Transaction, shard: cx.shard, key: nowhere, nonce: cx.rng.u64() };
        let bytes = self.compose(message, &hop, &branch.to_string(), None, body);
        cx.send(hop.flow, bytes);
        Ok(())
    }

    /// A CANCEL follows its INVITE (RFC 3261 section 9.1).
    fn handle_cancel(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        invite: Key,
    ) -> Result<(), Fault> {
        let vias = hop::vias_of(message, &flow)?;
        let Some(transaction) = self.transactions.get_mut(invite) else { return Ok(()) };
        transaction.cancel = Some(vias);
        let bytes = follow(message, transaction, &transaction.branch(cx.shard, invite));
        let client = transaction.client;
        cx.send(client, bytes);
        Ok(())
    }

    /// A retransmission: the last response again, or the request again.
    fn repeat(&mut self, cx: &mut Cx<'_>, key: Key) -> Result<(), Fault> {
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        match &transaction.reply {
            Some(reply) => cx.send(transaction.server, reply.clone()),
            None => cx.send(transaction.client, transaction.sent.clone()),
        }
        Ok(())
    }

    /// Send a request on, and remember how its answer comes back.
    fn send_on(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        hop: Hop,
        purpose: Purpose,
        body: Option<Vec<u8>>,
        matched_by: Vec<u8>,
    ) -> Result<(), Reply> {
        let lifetime = if message.method() == b"INVITE" { cx.mapping.limits.setup } else { LINGER };
        let transaction = Transaction {
            nonce: cx.rng.u64(),
            method: Bytes::copy_from_slice(message.method()),
            server: answer_flow(cx, message, flow),
            side: cx.realm(&flow).map_or(Side::Access, |realm| realm.side),
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
            matched_by,
            expires: cx.now + lifetime,
        };
        let key = self.transactions.insert(transaction);
        self.timers.schedule(cx.now + lifetime, Wake::Transaction(key));
        let Some(transaction) = self.transactions.get(key) else { return Ok(()) };
        let branch = transaction.branch(cx.shard, key);
        let sent = Bytes::from(self.compose(message, &hop, &branch, Some(&transaction.purpose), body));
        cx.send(hop.flow, sent.clone());
        if let Some(transaction) = self.transactions.get_mut(key) {
            transaction.sent = sent;
        }
        Ok(())
    }

    /// The request as the next hop sees it.
    fn compose(
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
                self.seal_contacts(message, registration, hop.ours, &mut rewrite)
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
fn own_hop(rewrite: &mut Rewrite<'_, '_>, ours: SocketAddr, branch: &str, routes: &[u8]) {
    rewrite.remove(Name::Via);
    rewrite.remove(Name::Route);
    rewrite.on_top(hop::own_via(ours, branch));
    rewrite.on_top(routes);
    rewrite.count_hop();
}

/// An ACK or CANCEL on the path of the request that it belongs to: same branch, Request-URI and routes.
fn follow(message: &Message<'_>, transaction: &Transaction, branch: &str) -> Vec<u8> {
    let mut rewrite = Rewrite::new(message);
    if let Ok(sent) = Message::parse(&transaction.sent) {
        let via = sent.top_via().map(|via| via.sent_by.of(&transaction.sent).to_vec()).unwrap_or_default();
        let ours = String::from_utf8_lossy(&via).parse().unwrap_or(transaction.client.local);
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

/// Checks that every request must pass (RFC 3261 section 16.3).
fn check(message: &Message<'_>) -> Result<(), Reply> {
    if message.max_forwards() == Some(0) {
        return Err(Reply::TOO_MANY_HOPS);
    }
    if message.first(Name::ProxyRequire).is_some() {
        return Err(Reply::BAD_EXTENSION);
    }
    let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
    let scheme = span.of(message.bytes()).split(|octet| *octet == b':').next().unwrap_or_default();
    let known = [&b"sip"[..], b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if known { Ok(()) } else { Err(Reply::UNSUPPORTED_SCHEME) }
}

const fn media_refusal(fault: Fault) -> Reply {
    match fault {
        Fault::Malformed(_) => Reply::BAD_REQUEST,
        Fault::PeerMisbehaved(_) => Reply::NOT_ACCEPTABLE,
        Fault::Refused(_) => Reply::UNAVAILABLE,
    }
}

/// What identifies a request's transaction (RFC 3261 section 17.2.3), within its source host.
fn matching_key(message: &Message<'_>, flow: &Flow) -> Vec<u8> {
    let bytes = message.bytes();
    let method = match message.method() {
        b"ACK" | b"CANCEL" => b"INVITE",
        method => method,
    };
    let mut key = format!("{} {} ", flow.realm.0, flow.remote.ip()).into_bytes();
    if let Some(via) = message.top_via() {
        key.extend_from_slice(via.sent_by.of(bytes));
        key.push(b' ');
        key.extend_from_slice(via.branch.map(|branch| branch.of(bytes)).unwrap_or_default());
    }
    let sequence = message.cseq().map_or(0, |(sequence, _)| sequence);
    for part in [method, message.call_id(), &sequence.to_be_bytes()[..]] {
        key.push(b' ');
        key.extend_from_slice(part);
    }
    key
}

/// The softswitch that serves a request for `domain` on this flow.
fn upstream(cx: &Cx<'_>, flow: Flow, domain: &[u8]) -> Result<Upstream, Reply> {
    let access = cx.mapping.realm(flow.realm).ok_or(Reply::UNAVAILABLE)?.clone();
    let domain = String::from_utf8_lossy(domain);
    let softswitch = cx.mapping.route(access.id, &domain).ok_or(Reply::FORBIDDEN)?.clone();
    let core = cx.mapping.realm(softswitch.realm).ok_or(Reply::UNAVAILABLE)?.clone();
    Ok(Upstream { access, core, softswitch })
}

/// Our flow to the softswitch: answers come home to this shard's own address.
fn core_flow(cx: &Cx<'_>, up: &Upstream) -> (Flow, SocketAddr) {
    let local = up.core.home(cx.shard).unwrap_or_else(|| SocketAddr::new(up.core.address, 0));
    let transport = crate::types::Transport::Udp;
    let flow = Flow { realm: up.core.id, transport, local, remote: up.softswitch.targets[0] };
    (flow, SocketAddr::new(up.core.advertised, local.port()))
}

/// The path and looks of a request within a dialog; `None` while its peer is not known.
fn hop_within(cx: &Cx<'_>, message: &Message<'_>, dialog: &Dialog, side: Side) -> Option<Hop> {
    let leg = dialog.leg(side.other());
    let uri = leg.target.clone()?;
    let mut flow = leg.flow;
    if side == Side::Access {
        flow.remote = next_hop(dialog, &uri).unwrap_or(flow.remote);
        flow.local = leg.realm.home(cx.shard).unwrap_or(flow.local);
    }
    let name = |name| {
        let near = hop::name_of(message, name).map(|uri| uri.span.of(message.bytes())).unwrap_or_default();
        let far = dialog.translate(side, near).unwrap_or_else(|| Bytes::copy_from_slice(near));
        Pair { near: Bytes::copy_from_slice(near), far }
    };
    Some(Hop {
        flow,
        ours: SocketAddr::new(leg.realm.advertised, flow.local.port()),
        uri: Some(uri),
        routes: leg.routes.clone(),
        label: Some(leg.label.clone()),
        from: name(Name::From),
        to: name(Name::To),
    })
}

/// Where a softswitch wants the requests of a dialog: its first route or its contact, as long as that is a place
/// that belongs to it.
fn next_hop(dialog: &Dialog, target: &Bytes) -> Option<SocketAddr> {
    let route = dialog.legs[at(Side::Core)].routes.first().unwrap_or(target);
    let span = crate::wire::Span::new(0, route.len());
    let uri = match crate::wire::sip::NameAddr::parse(route, span) {
        Ok(addr) => addr.uri,
        Err(_) => Uri::parse(route, span).ok()?,
    };
    let ip = uri.host_ip(route).filter(|ip| dialog.softswitch.accepts(*ip))?;
    Some(SocketAddr::new(ip, uri.port.unwrap_or(5060)))
}

/// Routes that lead past Portolan; the ones to ourselves are consumed (RFC 3261 section 16.4).
fn foreign_routes(message: &Message<'_>, access: &Realm) -> Vec<Bytes> {
    let bytes = message.bytes();
    let foreign = message.values(Name::Route).filter(|span| {
        let uri = crate::wire::sip::NameAddr::parse(bytes, *span).ok().map(|addr| addr.uri);
        uri.is_some_and(|uri| {
            uri.host_ip(bytes).is_some_and(|ip| ip != access.advertised && ip != access.address)
        })
    });
    foreign.map(|span| Bytes::copy_from_slice(span.of(bytes))).collect()
}

/// The name in a header as it stands and as the other side sees it.
fn pair(message: &Message<'_>, name: Name, other: impl Fn(&Uri) -> Option<Bytes>) -> Pair {
    let Some(uri) = hop::name_of(message, name) else {
        return Pair { near: Bytes::new(), far: Bytes::new() };
    };
    let near = Bytes::copy_from_slice(uri.span.of(message.bytes()));
    Pair { far: other(&uri).unwrap_or_else(|| near.clone()), near }
}

/// A URI whose host is an address names a place on its own side only: on the other side it gets the host that stands
/// for that place there. Domain names are left alone.
fn named(bytes: &[u8], uri: &Uri, host: &str) -> Option<Bytes> {
    uri.host_ip(bytes)?;
    Some(Bytes::from(hop::with_host(bytes, uri, host)))
}

fn domain_of(softswitch: &Softswitch) -> String {
    softswitch.domain.clone().unwrap_or_else(|| host_of(softswitch.targets[0].ip()))
}

fn host_of(ip: std::net::IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// The first Contact URI, exactly as written.
pub(super) fn contact_of(message: &Message<'_>) -> Option<Bytes> {
    let bytes = message.bytes();
    let contact = crate::wire::sip::NameAddr::parse(bytes, message.values(Name::Contact).next()?).ok()?;
    Some(Bytes::copy_from_slice(contact.uri.span.of(bytes)))
}

fn ends_subscription(message: &Message<'_>) -> bool {
    let state = message.value(Name::SubscriptionState).unwrap_or_default();
    state.len() >= 10 && state[..10].eq_ignore_ascii_case(b"terminated")
}
