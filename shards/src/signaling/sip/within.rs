//! Requests within a dialog, and those that belong to another request: ACK and CANCEL.

use super::dialog::{Dialog, State, at};
use super::forward::{Hop, Request, contact_of};
use super::hop::{self, Ours, Pair};
use super::reply::Reply;
use super::request::media_refusal;
use super::transaction::{Branch, LINGER, Named, Purpose};
use super::{DIALOG_IDLE, LANE, Sip, number};
use crate::fault::Fault;
use crate::io::DropReason;
use crate::realm::Server;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Side, Transport};
use crate::wire::Span;
use crate::wire::sip::{Message, Name, NameAddr, Uri, params};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// No subscription is believed to live longer without a refresh.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Sip {
    /// A request within a dialog.
    pub(super) fn in_dialog(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        key: Key,
    ) -> Result<(), Reply> {
        let (message, side) = (request.message, request.side);
        let body = self.request_body(cx, message, key, side).map_err(media_refusal)?;
        let hop = self.dialogs.get(key).and_then(|dialog| hop_within(cx, message, dialog, side));
        let hop = hop.ok_or(Reply::NO_TRANSACTION)?;
        match message.method() {
            b"BYE" => self.say_goodbye(cx, key),
            b"NOTIFY" if ends_subscription(message) => self.leave(cx, key),
            _ => self.stay(cx, key, message),
        }
        let target = contact_of(message);
        self.count(message, key, side);
        self.send_on(cx, request, &hop, Purpose::InDialog { dialog: key, target }, body)
    }

    /// Our own requests in the name of this side's peer must have higher numbers than its own (RFC 3261 section 12.2.1.1).
    fn count(&mut self, message: &Message<'_>, key: Key, side: Side) {
        let number = message.cseq().map_or(0, |(number, _)| number);
        if let Some(dialog) = self.dialogs.get_mut(key) {
            let leg = dialog.leg_mut(side);
            leg.sequence = leg.sequence.max(number);
        }
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

    /// A dialog without media lives as long as was granted, or as it is used.
    pub(super) fn stay(&mut self, cx: &Cx<'_>, key: Key, message: &Message<'_>) {
        let uses = |dialog: &Dialog| dialog.session.is_none() && dialog.state != State::Ending;
        if self.dialogs.get(key).is_some_and(uses) {
            self.watch(key, cx.now + lifetime(message));
        }
    }

    /// An ACK: for an error it goes where the INVITE went (RFC 3261 section 17.1.1.3), for a 2xx to the dialog's peer
    /// (section 13.2.2.4).
    pub(super) fn handle_ack(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        side: Side,
        known: Option<Key>,
    ) -> Result<(), Fault> {
        if message.max_forwards() == Some(0) {
            return Err(Fault::PeerMisbehaved("too many hops"));
        }
        if known.is_some_and(|known| self.acknowledged(cx, known)) {
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
        let bytes = Bytes::from(self.compose(message, &hop, &lone_branch(cx), None, body));
        let number = message.cseq().map_or(0, |(number, _)| number);
        self.answer_acknowledged(cx, number, key, hop.flow, &bytes);
        cx.send(hop.flow, bytes);
        Ok(())
    }
}

/// A branch for a request that is never answered: it names no transaction.
pub(super) fn lone_branch(cx: &mut Cx<'_>) -> String {
    let nowhere = Key { slot: u32::MAX, generation: 0 };
    let branch = Branch { named: Named::Transaction, shard: cx.shard, key: nowhere, nonce: cx.rng.u64() };
    branch.to_string()
}

/// Where requests to one side of a dialog go, and the target that they name; `None` while it is not known.
pub(super) fn path_within(cx: &mut Cx<'_>, dialog: &Dialog, to: Side) -> Option<(Flow, Bytes)> {
    let leg = dialog.leg(to);
    let uri = leg.target.clone()?;
    let flow = match to {
        Side::Access => leg.flow,
        Side::Core => core_flow(cx, dialog, &uri).unwrap_or(leg.flow),
    };
    Some((flow, uri))
}

/// Request-URI and Route lines for a target and a route set. A first route without `lr` is a strict router's: it finds
/// itself in the Request-URI, and the target at the end of the routes (RFC 3261 section 12.2.1.1).
pub(super) fn routed(target: Bytes, routes: &[Bytes]) -> (Bytes, Vec<Bytes>) {
    let strict = routes.first().and_then(|route| {
        let uri = NameAddr::parse(route, Span::new(0, route.len())).ok()?.uri;
        let loose = uri.param(route, b"lr").is_some();
        (!loose).then(|| Bytes::copy_from_slice(uri.span.of(route)))
    });
    let Some(strict) = strict else { return (target, routes.to_vec()) };
    let last = Bytes::from([b"<", &target[..], b">"].concat());
    (strict, routes[1..].iter().cloned().chain([last]).collect())
}

/// The path and looks of a request within a dialog; `None` while its peer is not known.
fn hop_within(cx: &mut Cx<'_>, message: &Message<'_>, dialog: &Dialog, side: Side) -> Option<Hop> {
    let leg = dialog.leg(side.other());
    let (flow, uri) = path_within(cx, dialog, side.other())?;
    let name = |name| {
        let near = hop::name_of(message, name).map(|uri| uri.span.of(message.bytes())).unwrap_or_default();
        let far = dialog.translate(side, near).unwrap_or_else(|| Bytes::copy_from_slice(near));
        Pair { near: Bytes::copy_from_slice(near), far }
    };
    let (uri, routes) = routed(uri, &leg.routes);
    let ours = Ours::of(&leg.realm, &flow);
    let ours = if side == Side::Access { ours.toward(&dialog.softswitch) } else { ours };
    Some(Hop {
        flow,
        ours,
        uri: Some(uri),
        routes,
        label: Some(leg.label.clone()),
        from: name(Name::From),
        to: name(Name::To),
        secure: false,
        server: None,
        keeper: None,
    })
}

/// Our flow to where a softswitch wants the requests of a dialog: from this shard's own address.
fn core_flow(cx: &mut Cx<'_>, dialog: &Dialog, target: &Bytes) -> Option<Flow> {
    let leg = dialog.leg(Side::Core);
    let server = next_hop(dialog, target).or_else(|| {
        // A connection that the softswitch opened is no place to send to.
        let (address, transport) = (leg.flow.remote, leg.flow.transport);
        (transport == Transport::Udp).then(|| Server::udp(address))
    })?;
    let local = leg.realm.home(cx.shard, server.transport).unwrap_or(leg.flow.local);
    Some(cx.toward(LANE, &leg.realm.clone(), local, &server))
}

/// Where a softswitch wants the requests of a dialog: its first route or its contact, as long as that is a place
/// that belongs to it.
fn next_hop(dialog: &Dialog, target: &Bytes) -> Option<Server> {
    let first = dialog.legs[at(Side::Core)].routes.first();
    let route = first.unwrap_or(target);
    let span = Span::new(0, route.len());
    // A target is a URI, whose parameters are its own; a route is a name-addr.
    let uri = match first {
        Some(_) => NameAddr::parse(route, span).ok()?.uri,
        None => Uri::parse(route, span).ok()?,
    };
    let ip = uri.host_ip(route).filter(|ip| dialog.softswitch.accepts(*ip))?;
    let transport = transport_of(route, &uri);
    let address = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
    let known = dialog.softswitch.targets.iter().find(|server| server.address.ip() == ip);
    let name = known.and_then(|server| server.name.clone());
    Some(Server { transport, name, ..Server::udp(address) })
}

/// How a URI wants to be reached (RFC 3263 section 4.1, for a host that is an address).
fn transport_of(bytes: &[u8], uri: &Uri) -> Transport {
    let named = uri.param(bytes, b"transport").and_then(|param| Transport::named(param.value?.of(bytes)));
    let secure = uri.scheme.of(bytes).eq_ignore_ascii_case(b"sips");
    match named {
        Some(Transport::Udp | Transport::Ws | Transport::Wss) | None if secure => Transport::Tls,
        Some(Transport::Tcp) if secure => Transport::Tls,
        Some(Transport::Ws | Transport::Wss) | None => Transport::Udp,
        Some(transport) => transport,
    }
}

/// How long a subscription lives by this message (RFC 6665 sections 4.1.2.1 and 4.1.3), and a little longer.
pub(super) fn lifetime(message: &Message<'_>) -> Duration {
    let bytes = message.bytes();
    let state = message.first(Name::SubscriptionState);
    let granted = state.and_then(|state| {
        let start = state.value.of(bytes).iter().position(|octet| *octet == b';')?;
        let mut params = params(bytes, Span::new(state.value.start + start, state.value.end));
        let expires = params.find(|param| param.name.of(bytes).eq_ignore_ascii_case(b"expires"))?;
        std::str::from_utf8(expires.value?.of(bytes)).ok()?.parse().ok()
    });
    let granted = granted.or_else(|| number(message, Name::Expires)).filter(|granted| *granted > 0);
    granted.map_or(DIALOG_IDLE, |granted| Duration::from_secs(granted).min(LONGEST) + LINGER)
}

fn ends_subscription(message: &Message<'_>) -> bool {
    let state = message.value(Name::SubscriptionState).unwrap_or_default();
    state.len() >= 10 && state[..10].eq_ignore_ascii_case(b"terminated")
}
