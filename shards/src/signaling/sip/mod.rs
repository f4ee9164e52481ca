//! SIP as a full proxy (RFC 3261): to each side Portolan is the other party's edge.
//!
//! Call-ID, tags and CSeq are kept; the hop (Via, Contact, routes, media addresses) is ours on each side.

mod binding;
mod body;
mod client;
mod dialog;
mod farewell;
mod fork;
mod forward;
mod goodbye;
mod hide;
mod home;
mod hop;
mod index;
mod keepalive;
mod lifetime;
mod listed;
mod mask;
mod nat;
mod outbound;
mod overload;
mod owner;
mod path;
mod place;
mod probe;
mod quota;
mod refers;
mod refresh;
mod register;
mod reply;
mod request;
mod response;
mod server;
mod servers;
mod session_timer;
mod spoiled;
mod transaction;
mod within;
mod xml_body;

use super::streams::Lane;
use super::{Adapter, Cx};
use crate::fault::Fault;
use crate::io::{Crossing, DropReason, Input, Target};
use crate::random::Rng;
use crate::realm::Softswitch;
use crate::session::Sessions;
use crate::table::Key;
use crate::timer::Timers;
use crate::types::{Flow, Instant, Proto, RealmId, ShardId, Side, Transport};
use crate::wire::sip::{Message, Name, UNSUPPORTED_VERSION, is_ping, parse_for_reply};
use crate::wire::stun;
use binding::Bindings;
use dialog::{Dialogs, State};
use nat::Nats;
use reply::Reply;
use servers::Servers;
use std::net::SocketAddr;
use std::time::Duration;
use transaction::{Half, Purpose, Transactions};

/// A dialog without media (a subscription) is forgotten after this long without a message.
const DIALOG_IDLE: Duration = Duration::from_secs(3600);
/// A call on hold may be silent this many times longer than one that should carry media.
const HELD_FACTOR: u32 = 12;

/// Connections to softswitches are shared by all that is said to them.
const LANE: Lane = Lane::shared(Proto::Sip);

/// SIP on one shard.
pub struct Sip {
    transactions: Transactions,
    dialogs: Dialogs,
    bindings: Bindings,
    servers: Servers,
    nats: Nats,
    /// Until when the news of pings that other shards were told use up their allowance.
    told: Instant,
    timers: Timers<Wake>,
}

/// Why a timer was set.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// Look whether the transaction is over.
    Transaction(Key),
    /// Repeat what of the transaction has not been answered.
    Resend(Key, Half),
    /// Ask another server if the first has not answered.
    Patience(Key),
    /// Ask a server whether it serves.
    Probe { plan: u32, at: u32 },
    /// Keep the NAT's mapping for the media of a call on hold.
    Held(Key),
    /// Look whether the dialog is still alive.
    Dialog(Key),
    /// Look whether the registration has run out.
    Binding(Key),
    /// It is time for the binding's next keepalive.
    Keepalive(Key),
}

impl Sip {
    /// Nothing registered, no call.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            transactions: Transactions::new(rng),
            dialogs: Dialogs::new(rng),
            bindings: Bindings::new(rng),
            servers: Servers::new(rng),
            nats: Nats::new(rng),
            told: Instant::ZERO,
            timers: Timers::default(),
        }
    }
}

impl Adapter for Sip {
    const PROTO: Proto = Proto::Sip;

    fn owner(cx: &Cx<'_>, input: &Input<'_>) -> Result<ShardId, Fault> {
        owner::owner(cx, input)
    }

    fn handle_input(
        &mut self,
        cx: &mut Cx<'_>,
        input: Input<'_>,
        target: Option<Target>,
    ) -> Result<(), Fault> {
        if is_ping(input.bytes) {
            return self.answer_ping(cx, &input);
        }
        if stun::is_stun(input.bytes) {
            return self.answer_stun(cx, &input);
        }
        let message = Message::parse(input.bytes).inspect_err(|fault| self.malformed(cx, &input, *fault))?;
        self.heard_by(cx, &input.flow, false);
        if target.is_none() && self.pass_on(cx, &message, input.flow) {
            return Ok(());
        }
        let from = cx.out.len();
        let result = match self.come_in(cx, &message, input.flow) {
            Some(bytes) => Message::parse(&bytes).and_then(|inner| self.take(cx, &inner, input.flow, target)),
            None => self.take(cx, &message, input.flow, target),
        };
        Self::go_out(cx, from);
        result
    }

    fn handle_moved(&mut self, cx: &mut Cx<'_>, old: Flow, new: Flow) {
        for key in self.dialogs.of_terminal(old.remote) {
            let Some(dialog) = self.dialogs.get(key) else { continue };
            if !dialog.leg(Side::Access).flow.same_path(&old) {
                continue;
            }
            if let Some(session) = dialog.session {
                cx.sessions.trust(cx.now, session, Side::Access, new.remote.ip());
            }
            self.dialogs.move_terminal(key, new);
        }
    }

    fn handle_lost(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        let from = cx.out.len();
        self.hung_up(cx, &flow);
        self.lose_all(cx, flow);
        Self::go_out(cx, from);
    }

    fn handle_heard(&mut self, cx: &mut Cx<'_>, flow: Flow, ping: &[u8]) {
        if self.heard_by(cx, &flow, ping == b"\r\n") {
            self.answer_elsewhere(cx, flow, ping);
        }
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let from = cx.out.len();
        while let Some(wake) = self.timers.pop(cx.now) {
            match wake {
                Wake::Transaction(key) => self.check_transaction(cx, key),
                Wake::Resend(key, half) => self.resend(cx, key, half),
                Wake::Probe { plan, at } => self.probe(cx, plan, at),
                Wake::Patience(key) => self.lose_patience(cx, key),
                Wake::Held(key) => self.keep_held(cx, key),
                Wake::Dialog(key) => self.check_dialog(cx, key),
                Wake::Binding(key) => self.check_binding(cx, key),
                Wake::Keepalive(key) => self.keep_alive(cx, key),
            }
        }
        Self::go_out(cx, from);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn handle_reload(&mut self, cx: &mut Cx<'_>) {
        self.plan_probes(cx);
        for key in self.bindings.outside(cx.mapping) {
            let flow = self.bindings.get(key).map(|binding| binding.flow);
            match flow.and_then(|flow| cx.mapping.access_at(flow.transport, flow.local)) {
                Some(realm) => self.bindings.rehome(key, realm.clone()),
                None => drop(self.bindings.remove(key)),
            }
        }
    }

    fn uses(&self, transport: Transport, local: SocketAddr) -> bool {
        self.dialogs.uses(transport, local) || self.transactions.uses(transport, local)
    }

    fn uses_realm(&self, realm: RealmId) -> bool {
        self.dialogs.uses_realm(realm)
    }

    fn uses_softswitch(&self, softswitch: &Softswitch) -> bool {
        self.dialogs.uses_softswitch(softswitch) || self.bindings.uses_softswitch(softswitch)
    }

    fn gauges(&self, cx: &mut Cx<'_>) {
        cx.stats.bindings = self.bindings.living() as u64;
        cx.stats.transactions = self.transactions.len() as u64;
        cx.stats.dialogs = self.dialogs.len() as u64;
        cx.stats.nats_learned = self.nats.grown(&cx.mapping.keepalive) as u64;
    }
}

/// Where the answer to a request goes. On the access side always back to the source, from the address that it was
/// sent to, because only there the NAT has a mapping. On the core side as RFC 3261 section 18.2.2 says, and from this
/// shard's own address if the request came in at another shard's. On a connection always back by the connection.
fn answer_flow(cx: &Cx<'_>, request: &Message<'_>, flow: Flow) -> Flow {
    if flow.stream.is_some() {
        return flow;
    }
    let Some(realm) = cx.realm(&flow).filter(|realm| realm.side == Side::Core) else { return flow };
    let shared = realm.listens(flow.transport, flow.local.port());
    let local = realm.home(cx.shard, flow.transport).filter(|_| !shared).unwrap_or(flow.local);
    let port = match request.top_via() {
        Some(via) if via.rport.is_none() => via.port.unwrap_or(5060),
        _ => flow.remote.port(),
    };
    Flow { local, remote: SocketAddr::new(flow.remote.ip(), port), ..flow }
}

impl Sip {
    /// Process a message in which nothing is left that only one side could make sense of.
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        flow: Flow,
        target: Option<Target>,
    ) -> Result<(), Fault> {
        if let Some(status) = message.status() {
            cx.stats.response(status);
            return self.handle_response(cx, message, flow);
        }
        if target.is_none() {
            cx.stats.request(message.method());
        }
        self.handle_request(cx, message, flow, target)
    }

    /// Answer what cannot be parsed, if it can be answered at all; say why, unless the answer would grow longer than
    /// what it answers: the sender may be somebody else than the source says.
    fn malformed(&self, cx: &mut Cx<'_>, input: &Input<'_>, fault: Fault) {
        cx.dropped(DropReason::Malformed);
        let Some(request) = parse_for_reply(input.bytes) else { return };
        let version = fault == Fault::Malformed(UNSUPPORTED_VERSION);
        let reply = if version { Reply::VERSION } else { Reply::BAD_REQUEST };
        let why = format!("Warning: 399 portolan \"{fault}\"\r\n");
        let bare = reply.write(&request, &input.flow, 0, "").len();
        let fits = bare + why.len() <= input.bytes.len();
        self.respond(cx, &request, input.flow, reply, if fits { &why } else { "" });
    }

    /// Answer a request in our own name. Nothing is remembered: a retransmission gets the same answer again.
    fn respond(&self, cx: &mut Cx<'_>, request: &Message<'_>, flow: Flow, reply: Reply, more: &str) {
        if request.method() == b"ACK" {
            return;
        }
        let tag = cx.sealer.tag(&[request.call_id(), request.method()].concat());
        let flow = answer_flow(cx, request, flow);
        let answer = reply.write(request, &flow, tag, more);
        cx.stats.refuse(reply.status);
        if self.outweighs(cx, request, &flow, &answer) {
            cx.send(flow, answer);
        }
    }

    /// Carry a request to the shard that owns its call, now that the terminal is known.
    fn cross(cx: &mut Cx<'_>, message: &Message<'_>, flow: Flow, target: Target, to: ShardId) {
        let bytes = bytes::Bytes::copy_from_slice(message.bytes());
        cx.cross(to, Crossing::Message { proto: Proto::Sip, flow, bytes, target: Some(target) });
    }

    fn check_transaction(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get(key) else { return };
        if transaction.expires > cx.now {
            return self.timers.schedule(transaction.expires, Wake::Transaction(key));
        }
        match (transaction.status, &transaction.purpose) {
            (Some(_), _) => drop(self.transactions.remove(key)),
            (None, Purpose::Own(_)) => drop(self.own_answered(cx, key, None)),
            (None, _) => self.overdue(cx, key),
        }
    }

    fn check_dialog(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        if dialog.state == State::Confirmed {
            let idle = cx.mapping.limits.media_idle;
            dialog.session.into_iter().for_each(|session| cx.sessions.settle(cx.now, session, cx.out));
            let alive_until = dialog.session.and_then(|session| quiet_at(cx.sessions, session, idle));
            dialog.deadline = alive_until.unwrap_or(dialog.deadline);
            dialog.deadline = dialog.refresh_by.map_or(dialog.deadline, |by| by.min(dialog.deadline));
        }
        let (deadline, state) = (dialog.deadline, dialog.state);
        if deadline > cx.now {
            return self.timers.schedule(deadline, Wake::Dialog(key));
        }
        if state == State::Confirmed && self.dialogs.get(key).is_some_and(|dialog| dialog.session.is_some()) {
            self.hang_up(cx, key, goodbye::SILENT);
        }
        let told = matches!(state, State::Ending | State::Losing);
        self.end_dialog(cx, key, if told { Ended::BySignaling } else { Ended::Reaped });
    }

    /// A call on hold may be silent for longer than its NAT remembers.
    fn keep_held(&mut self, cx: &mut Cx<'_>, key: Key) {
        let session = self.dialogs.get(key).and_then(|dialog| dialog.session);
        let Some(session) = session.filter(|session| cx.sessions.is_held(*session)) else {
            if let Some(dialog) = self.dialogs.get_mut(key) {
                dialog.held = false;
            }
            return;
        };
        cx.sessions.keep_open(session, cx.out);
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Held(key));
    }

    /// The session may have been put on hold: look after it, once.
    fn watch_hold(&mut self, cx: &Cx<'_>, key: Key) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        let held = dialog.session.is_some_and(|session| cx.sessions.is_held(session));
        if held && !std::mem::replace(&mut dialog.held, true) {
            self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Held(key));
        }
    }

    /// Set when to look at a dialog again; sooner deadlines than the running timer's need a timer of their own.
    fn watch(&mut self, key: Key, deadline: Instant) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        dialog.deadline = deadline;
        self.timers.schedule(deadline, Wake::Dialog(key));
    }

    /// Forget a dialog; its gates close and its ports begin their rest.
    fn end_dialog(&mut self, cx: &mut Cx<'_>, key: Key, how: Ended) {
        let Some(dialog) = self.dialogs.remove(key) else { return };
        let Some(session) = dialog.session else { return };
        cx.sessions.close(cx.now, session, cx.stats, cx.out);
        match how {
            Ended::BySignaling => cx.stats.sessions_ended += 1,
            Ended::Reaped => cx.stats.sessions_reaped += 1,
        }
    }
}

/// When a call that stays silent from now on is considered lost.
fn quiet_at(sessions: &Sessions, session: Key, idle: Duration) -> Option<Instant> {
    let (last, flows) = sessions.activity(session)?;
    Some(last + if flows { idle } else { idle * HELD_FACTOR })
}

/// How a dialog came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    BySignaling,
    Reaped,
}

/// The value of a header that holds one number.
fn number(message: &Message<'_>, name: Name) -> Option<u64> {
    std::str::from_utf8(message.value(name)?).ok()?.trim().parse().ok()
}
