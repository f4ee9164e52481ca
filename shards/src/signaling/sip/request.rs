//! Requests on their way through.

use super::dialog::{Dialog, Leg, State, Tags};
use super::forward::{Hop, Request, contact_of};
use super::hop::{self, Ours, Pair};
use super::place::{self, Place};
use super::reply::Reply;
use super::transaction::{Branch, Purpose, Transaction};
use super::{Ended, LANE, Sip, Wake, body, owner, session_timer};
use crate::fault::Fault;
use crate::io::{DropReason, Target};
use crate::media::Gate;
use crate::realm::{EarlyMedia, Realm, Server, Softswitch};
use crate::signaling::Cx;
use crate::signaling::label::{Kind, Label};
use crate::table::Key;
use crate::types::{Flow, Side};
use crate::wire::sip::{Message, Name, NameAddr, Uri};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// A softswitch and the two realms between which it serves.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) access: Arc<Realm>,
    pub(super) core: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
}

impl Upstream {
    /// Our flow to a server of it, and our place there: answers come home to this shard's own address.
    pub(super) fn flow_to(&self, cx: &mut Cx<'_>, server: &Server) -> (Flow, Ours) {
        let home = self.core.home(cx.shard, server.transport);
        let local = home.unwrap_or_else(|| SocketAddr::new(self.core.address, 0));
        let flow = cx.toward(LANE, &self.core, local, server);
        (flow, Ours::of(&self.core, &flow).toward(&self.softswitch))
    }
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
        let matched_by = matching_key(message, &flow);
        let known = self.transactions.matching(&matched_by);
        let loop_mark = loop_mark(cx, message, realm.side);
        let guest = self.guest(realm.side, &flow);
        let request = Request { message, flow, side: realm.side, matched_by, loop_mark, guest };
        match (message.method(), known) {
            (b"ACK", _) => return self.handle_ack(cx, message, realm.side, known),
            (b"CANCEL", Some(invite)) => return self.handle_cancel(cx, message, flow, invite),
            (_, Some(known)) => {
                self.repeat(cx, message, flow, known);
                return Ok(());
            }
            _ => {}
        }
        match self.route(cx, &request, target) {
            Ok(()) => Ok(()),
            Err(reply) => {
                self.respond(cx, message, flow, reply, &explanation(message, reply));
                Err(Fault::Refused(reply.reason))
            }
        }
    }

    fn route(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        target: Option<Target>,
    ) -> Result<(), Reply> {
        let message = request.message;
        check(message)?;
        let dialog = self.dialog_of(cx, message, request.side);
        self.admit(cx, request, dialog.is_some())?;
        if self.loops(request) {
            return Err(Reply::LOOP);
        }
        if let Some(dialog) = dialog {
            return self.in_dialog(cx, request, dialog);
        }
        match request.side {
            _ if message.method() == b"CANCEL" || message.to_tag().is_some() => Err(Reply::NO_TRANSACTION),
            Side::Access => self.originate(cx, request),
            Side::Core => match target {
                Some(target) => self.terminate(cx, request, target),
                None => self.look_up(cx, request),
            },
        }
    }

    /// The dialog that a request names by its label or, for peers that lose labels, by Call-ID and tags.
    pub(super) fn dialog_of(&self, cx: &Cx<'_>, message: &Message<'_>, side: Side) -> Option<Key> {
        message.to_tag()?;
        let kind = if side == Side::Access { Kind::AccessDialog } else { Kind::CoreDialog };
        let bytes = message.bytes();
        let uri = Uri::parse(bytes, message.request_uri()?).ok()?;
        let label = hop::label_of(bytes, &uri).and_then(|label| cx.sealer.open(label));
        let labelled =
            label.filter(|label| label.kind == kind && label.shard == cx.shard).map(|label| label.key);
        let same_call =
            |key: &Key| self.dialogs.get(*key).is_some_and(|dialog| dialog.call_id == message.call_id());
        let tags = Tags::of(message);
        let labelled = labelled.filter(same_call);
        let exact = |key: &Key| self.dialogs.get(*key).is_some_and(|dialog| dialog.fits(side, tags));
        // All forks of an INVITE were shown the label of its first dialog, so the tags must fit too.
        let by_tags = || self.dialogs.find(side, message.call_id(), tags);
        labelled.filter(exact).or_else(by_tags).or(labelled)
    }

    /// A new request from a terminal.
    fn originate(&mut self, cx: &mut Cx<'_>, request: &Request<'_, '_>) -> Result<(), Reply> {
        let (message, flow) = (request.message, request.flow);
        let bytes = message.bytes();
        let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
        let uri = Uri::parse(bytes, span).map_err(|_| Reply::BAD_REQUEST)?;
        let place = Place::named(cx.sealer, bytes, &uri).filter(|place| place.side == Side::Core);
        let up = match &place {
            Some(place) => upstream_at(cx, flow, place)?,
            None => upstream(cx, flow, uri.host.of(bytes))?,
        };
        let secure = uri.scheme.of(bytes).eq_ignore_ascii_case(b"sips");
        let server = match place.as_ref().and_then(|place| place.server(secure)) {
            Some(server) => Ok(server),
            None => self.servers.pick(cx, &up.softswitch, &[], secure),
        };
        let server = server.and_then(|server| self.servers.admit(cx, &server, message).map(|()| server));
        let server = match server {
            Err(_) if message.method() == b"REGISTER" && self.survive_unasked(cx, message, flow, &up) => {
                return Ok(());
            }
            server => server?,
        };
        let (client, ours) = up.flow_to(cx, &server);
        let domain = up.softswitch.host();
        let to_domain = |uri: &Uri| named(bytes, uri, &domain);
        let hop = Hop {
            flow: client,
            ours,
            uri: match place {
                Some(place) => Some(Bytes::from(place.restore(bytes, &uri))),
                None => place::again_at(cx.sealer, bytes, &uri, ours).or_else(|| to_domain(&uri)),
            },
            routes: foreign_routes(message, &up),
            label: None,
            from: pair(message, Name::From, to_domain),
            to: pair(message, Name::To, to_domain),
            secure,
            server: Some((up.clone(), server)),
            keeper: None,
        };
        if message.method() == b"REGISTER" {
            return self.register(cx, request, &hop, &up);
        }
        self.begin(cx, request, hop, up)
    }

    /// A new request from a softswitch, on the shard that holds the terminal's binding.
    fn look_up(&mut self, cx: &mut Cx<'_>, request: &Request<'_, '_>) -> Result<(), Reply> {
        let (message, flow) = (request.message, request.flow);
        let bytes = message.bytes();
        let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
        let uri = Uri::parse(bytes, span).map_err(|_| Reply::BAD_REQUEST)?;
        if uri.user.is_none() && message.method() == b"OPTIONS" {
            return Err(Reply::OK);
        }
        let softswitch = cx.softswitch_at(&flow).ok_or(Reply::FORBIDDEN)?;
        let target = self.target_of(cx, message, &uri, &softswitch)?;
        let owner = owner::of_call(cx, message);
        if owner == cx.shard {
            return self.terminate(cx, request, target);
        }
        Self::cross(cx, message, flow, target, owner);
        Ok(())
    }

    /// A new request from a softswitch to a terminal whose place is known.
    fn terminate(&mut self, cx: &mut Cx<'_>, request: &Request<'_, '_>, target: Target) -> Result<(), Reply> {
        let (message, flow) = (request.message, request.flow);
        let bytes = message.bytes();
        let softswitch = cx.softswitch_at(&flow).ok_or(Reply::FORBIDDEN)?;
        let access = cx.realm(&target.flow).ok_or(Reply::NOT_FOUND)?;
        let core = cx.realm(&flow).ok_or(Reply::NOT_FOUND)?;
        let secure = message.request_uri().is_some_and(|uri| bytes[uri.start..].starts_with(b"sips:"));
        if secure && !target.flow.transport.is_secure() {
            return Err(Reply::TEMPORARILY);
        }
        let ours = Ours::of(&access, &target.flow);
        let host = place::host_of(access.advertised);
        let hidden = |uri: &Uri| named(bytes, uri, &host);
        let hop = Hop {
            flow: target.flow,
            ours,
            uri: Some(target.contact),
            routes: Vec::new(),
            label: None,
            from: pair(message, Name::From, hidden),
            to: pair(message, Name::To, hidden),
            secure,
            server: None,
            keeper: target.keeper,
        };
        self.begin(cx, request, hop, Upstream { access, core, softswitch })
    }

    /// Send a request outside any dialog on; those that make a dialog get one.
    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        mut hop: Hop,
        up: Upstream,
    ) -> Result<(), Reply> {
        let (message, side) = (request.message, request.side);
        if !matches!(message.method(), b"INVITE" | b"SUBSCRIBE" | b"REFER") {
            let body =
                body::outside_dialog(message, hop.ours.address.ip()).map_err(|_| Reply::BAD_REQUEST)?;
            return self.send_on(cx, request, &hop, Purpose::Plain, body);
        }
        let dialog = self.open_dialog(cx, request, &hop, up)?;
        hop.label = self.dialogs.get(dialog).map(|dialog| dialog.leg(side.other()).label.clone());
        let body = match self.request_body(cx, message, dialog, side) {
            Ok(body) => body,
            Err(fault) => {
                self.end_dialog(cx, dialog, Ended::BySignaling);
                return Err(media_refusal(fault));
            }
        };
        self.send_on(cx, request, &hop, Purpose::Initial(dialog), body)
    }

    fn open_dialog(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        hop: &Hop,
        up: Upstream,
    ) -> Result<Key, Reply> {
        let (message, flow, side) = (request.message, request.flow, request.side);
        let session =
            self.open_session(cx, request, &up, if side == Side::Access { flow } else { hop.flow })?;
        let leg = |realm: Arc<Realm>, of: Side| {
            let caller = of == side;
            Leg {
                realm,
                flow: if caller { flow } else { hop.flow },
                tag: if caller { message.from_tag().map(Bytes::copy_from_slice) } else { None },
                target: if caller { contact_of(message) } else { hop.uri.clone() },
                routes: if caller { hop::record_routes(message) } else { Vec::new() },
                sequence: if caller { message.cseq().map_or(0, |(number, _)| number) } else { 0 },
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
            caller: side,
            held: false,
            refresh_by: None,
            names: [forms(&hop.from), forms(&hop.to)],
            session,
            offered: [false; 2],
            said: None,
            root: None,
            state: State::Early,
            invite: None,
            deadline,
        });
        self.label_legs(cx, key);
        self.timers.schedule(deadline, Wake::Dialog(key));
        Ok(key)
    }

    pub(super) fn label_legs(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        for (side, kind) in [(Side::Access, Kind::AccessDialog), (Side::Core, Kind::CoreDialog)] {
            dialog.leg_mut(side).label = cx.sealer.seal(cx.rng, Label { kind, shard: cx.shard, key });
        }
    }

    /// A call needs a session; other dialogs do not.
    fn open_session(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        up: &Upstream,
        terminal: Flow,
    ) -> Result<Option<Key>, Reply> {
        if request.message.method() != b"INVITE" {
            return Ok(None);
        }
        if cx.draining {
            return Err(Reply::UNAVAILABLE);
        }
        let Some(session) = cx.sessions.open(cx.now, &up.access, &up.core) else {
            cx.dropped(DropReason::Limit);
            return Err(Reply::UNAVAILABLE);
        };
        cx.stats.sessions_opened += 1;
        cx.sessions.trust(cx.now, session, Side::Access, terminal.remote.ip());
        cx.sessions.allow(session, early(up.access.early_media, request.side));
        Ok(Some(session))
    }

    /// Has this request come here before by another way (RFC 5393), or straight back from its receiver?
    fn loops(&self, request: &Request<'_, '_>) -> bool {
        let message = request.message;
        let via = message.top_via().and_then(|via| Some(via.branch?.of(message.bytes())));
        if via.is_some_and(|branch| Branch::parse(branch).is_some()) {
            return true;
        }
        let other = self.transactions.looped(request.loop_mark).and_then(|key| self.transactions.get(key));
        let elsewhere = |t: &&Transaction| {
            let repeated =
                via.is_some_and(|branch| t.vias.windows(branch.len().max(1)).any(|part| part == branch));
            t.status.is_none() && !repeated
        };
        message.to_tag().is_none() && other.as_ref().is_some_and(elsewhere)
    }
}

/// Which ways media may flow before the call of a caller on that side is answered.
const fn early(policy: EarlyMedia, caller: Side) -> Gate {
    let (to_core, to_access) = match (policy, caller) {
        (EarlyMedia::Pass, _) => (true, true),
        (EarlyMedia::Backward, Side::Access) => (false, true),
        (EarlyMedia::Backward, Side::Core) => (true, false),
        (EarlyMedia::Block, _) => (false, false),
    };
    Gate { a_to_b: to_core, b_to_a: to_access }
}

/// The header lines that a refusal needs besides its status.
fn explanation(message: &Message<'_>, reply: Reply) -> String {
    match reply {
        Reply::UNAVAILABLE => "Retry-After: 10\r\n".to_owned(),
        Reply::INTERVAL_TOO_SMALL => format!("Min-SE: {}\r\n", session_timer::MIN_SE),
        Reply::NOT_ACCEPTABLE => {
            "Warning: 302 portolan \"no media of a kind that is relayed\"\r\n".to_owned()
        }
        Reply::UNSUPPORTED_MEDIA if body::is_sealed(message) => {
            "Accept: application/sdp, multipart/mixed\r\n".to_owned()
        }
        Reply::UNSUPPORTED_MEDIA => "Accept-Encoding: identity\r\n".to_owned(),
        Reply::BAD_EXTENSION => {
            let asked = message.value(Name::ProxyRequire).unwrap_or_default();
            format!("Unsupported: {}\r\n", String::from_utf8_lossy(asked).replace(['\r', '\n'], " "))
        }
        _ => String::new(),
    }
}

/// Checks that every request must pass (RFC 3261 section 16.3).
fn check(message: &Message<'_>) -> Result<(), Reply> {
    if message.max_forwards() == Some(0) {
        return Err(Reply::TOO_MANY_HOPS);
    }
    if message.first(Name::ProxyRequire).is_some() {
        return Err(Reply::BAD_EXTENSION);
    }
    if body::is_encoded(message) || body::is_sealed(message) {
        return Err(Reply::UNSUPPORTED_MEDIA);
    }
    session_timer::check(message)?;
    let span = message.request_uri().ok_or(Reply::BAD_REQUEST)?;
    let scheme = span.of(message.bytes()).split(|octet| *octet == b':').next().unwrap_or_default();
    let known = [&b"sip"[..], b"sips", b"tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if known { Ok(()) } else { Err(Reply::UNSUPPORTED_SCHEME) }
}

pub(super) const fn media_refusal(fault: Fault) -> Reply {
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
    let mut key = format!("{} {} ", flow.local, flow.remote.ip()).into_bytes();
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
    let (_, softswitch) = cx.mapping.route(access.id, &domain).ok_or(Reply::FORBIDDEN)?;
    let softswitch = softswitch.clone();
    let core = cx.mapping.realm(softswitch.realm).ok_or(Reply::UNAVAILABLE)?.clone();
    Ok(Upstream { access, core, softswitch })
}

/// What a request has in common with itself when it comes again by another way: all but its path (RFC 5393 section
/// 4.2.1).
fn loop_mark(cx: &Cx<'_>, message: &Message<'_>, side: Side) -> u64 {
    let uri = message.request_uri().map(|uri| uri.of(message.bytes())).unwrap_or_default();
    let number = message.cseq().map_or(0, |(number, _)| number).to_be_bytes();
    let side: &[u8] = if side == Side::Access { b"a" } else { b"c" };
    let tag = message.from_tag().unwrap_or_default();
    let parts = [side, message.method(), uri, tag, message.call_id(), &number];
    cx.sealer.tag(&parts.join(&b"\n"[..]))
}

/// The softswitch that a place belongs to which the terminal was told earlier.
fn upstream_at(cx: &Cx<'_>, flow: Flow, place: &Place) -> Result<Upstream, Reply> {
    let access = cx.mapping.realm(flow.realm).ok_or(Reply::UNAVAILABLE)?.clone();
    let ip = place.server(false).map(|server| server.address.ip()).ok_or(Reply::FORBIDDEN)?;
    let routes = cx.mapping.routes.iter().filter(|route| route.access == access.id);
    let mut served = routes.filter_map(|route| cx.mapping.softswitches.get(route.softswitch));
    let softswitch = served.find(|softswitch| softswitch.accepts(ip)).ok_or(Reply::FORBIDDEN)?.clone();
    let core = cx.mapping.realm(softswitch.realm).ok_or(Reply::UNAVAILABLE)?.clone();
    Ok(Upstream { access, core, softswitch })
}

/// Routes that lead past Portolan; the ones to ourselves are consumed (RFC 3261 section 16.4). A terminal may know us by
/// a name that we do not: a name in the first Route is ours, because that Route brought the request here (section
/// 8.1.2), unless it is the softswitch's.
fn foreign_routes(message: &Message<'_>, up: &Upstream) -> Vec<Bytes> {
    let bytes = message.bytes();
    let domain = up.softswitch.host();
    let foreign = message.values(Name::Route).enumerate().filter(|(at, span)| {
        let uri = NameAddr::parse(bytes, *span).ok().map(|addr| addr.uri);
        uri.is_some_and(|uri| match uri.host_ip(bytes) {
            Some(ip) => ip != up.access.advertised && ip != up.access.address,
            None => *at > 0 || uri.host.of(bytes).eq_ignore_ascii_case(domain.as_bytes()),
        })
    });
    foreign.map(|(_, span)| Bytes::copy_from_slice(span.of(bytes))).collect()
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
