//! A record-routing, transaction-stateful proxy: terminal to terminal through the softswitch.

use super::endpoint::Event;
use super::message::{Draft, Msg, destination, stamped, uri_of};
use super::stack::Stack;
use super::transaction::Key;
use crate::types::Instant;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than any transaction lives.
const MEMORY: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct Proxy {
    /// What we sent on, by its client transaction.
    onward: BTreeMap<Key, Onward>,
    by_server: BTreeMap<Key, Key>,
    age: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
struct Onward {
    server: Key,
    branch: String,
    to: SocketAddr,
    request: Bytes,
    progressing: bool,
    cancelled: bool,
}

impl Proxy {
    /// Is this our transaction?
    pub(super) fn owns(&self, client: &Key) -> bool {
        self.onward.contains_key(client)
    }

    /// Send a request on to `uri`. `stay` puts us on the dialog's route.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        server: &Key,
        arrived: (&Msg, SocketAddr),
        uri: &str,
        stay: bool,
    ) {
        self.forget(now);
        let Some(to) = next_hop(stack, arrived.0, uri) else {
            return stack.answer(now, server, 404, arrived);
        };
        let method = arrived.0.method().unwrap_or_default();
        if method == "INVITE" {
            stack.answer(now, server, 100, arrived);
        }
        let branch = stack.branch();
        let request = rewrite(stack, arrived, uri, &branch, stay);
        let client = stack.request(now, &branch, method, to, request.clone());
        let onward =
            Onward { server: server.clone(), branch, to, request, progressing: false, cancelled: false };
        self.by_server.insert(server.clone(), client.clone());
        self.age.push_back((now, client.clone()));
        self.onward.insert(client, onward);
    }

    /// An ACK of a 2xx belongs to no transaction: it just follows its route.
    pub(super) fn acknowledge(&self, stack: &mut Stack, msg: &Msg, from: SocketAddr) {
        let uri = msg.uri().to_owned();
        let branch = stack.branch();
        match next_hop(stack, msg, &uri) {
            Some(to) => {
                let bytes = rewrite(stack, (msg, from), &uri, &branch, false);
                stack.send(to, bytes);
            }
            None => stack.event(Event::Unparseable {
                why: format!("ACK to {uri} leads nowhere"),
                bytes: Bytes::new(),
            }),
        }
    }

    /// A response from further on goes back.
    pub(super) fn answered(&mut self, now: Instant, stack: &mut Stack, client: &Key, msg: &Msg) {
        let status = msg.status().unwrap_or_default();
        let Some(onward) = self.onward.get_mut(client) else { return };
        if status < 200 && !onward.progressing {
            onward.progressing = true;
            onward.cancel_if_wanted(now, stack);
        }
        if status > 100 {
            stack.relay(now, &onward.server.clone(), status, behind(msg));
        }
    }

    /// The caller gave up.
    pub(super) fn cancelled(&mut self, now: Instant, stack: &mut Stack, server: &Key) -> bool {
        let Some(client) = self.by_server.get(server) else { return false };
        let Some(onward) = self.onward.get_mut(client) else { return false };
        onward.cancelled = true;
        onward.cancel_if_wanted(now, stack);
        true
    }

    /// Nobody answered.
    pub(super) fn lapsed(&mut self, now: Instant, stack: &mut Stack, client: &Key) {
        let Some(onward) = self.onward.get(client) else { return };
        let Ok(request) = Msg::parse(&onward.request) else { return };
        let local = stack.local;
        let tag = stack.token();
        let whole = Draft::answer(408, &request, local, &tag).end();
        if let Ok(answer) = Msg::parse(&whole) {
            stack.relay(now, &onward.server.clone(), 408, behind(&answer));
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.age.front().is_some_and(|(at, _)| *at + MEMORY < now) {
            let Some((_, client)) = self.age.pop_front() else { break };
            if let Some(onward) = self.onward.remove(&client) {
                self.by_server.remove(&onward.server);
            }
        }
    }
}

impl Onward {
    /// RFC 3261 section 9.1: a CANCEL waits for a provisional response.
    fn cancel_if_wanted(&self, now: Instant, stack: &mut Stack) {
        if !(self.cancelled && self.progressing) {
            return;
        }
        let Ok(invite) = Msg::parse(&self.request) else { return };
        let mut draft = Draft::request("CANCEL", invite.uri()).header("Via", invite.via());
        for route in invite.all("Route") {
            draft = draft.header("Route", route);
        }
        let bytes = draft
            .header("Max-Forwards", "70")
            .header("From", invite.header("From").unwrap_or_default())
            .header("To", invite.header("To").unwrap_or_default())
            .header("Call-ID", invite.call_id())
            .header("CSeq", format!("{} CANCEL", invite.cseq().0))
            .end();
        stack.request(now, &self.branch, "CANCEL", self.to, bytes);
    }
}

/// Does the topmost Route name us?
pub(super) fn is_routed(stack: &Stack, msg: &Msg) -> bool {
    msg.list("Route").first().is_some_and(|route| destination(uri_of(route)) == Some(stack.local))
}

/// Where a request goes when its own hop, ours, is done.
fn next_hop(stack: &Stack, msg: &Msg, uri: &str) -> Option<SocketAddr> {
    let routes = msg.list("Route");
    let rest = if is_routed(stack, msg) { &routes[1..] } else { &routes[..] };
    destination(rest.first().map_or(uri, |route| uri_of(route)))
}

/// The request as it leaves: our Via on top, our Route gone, one hop less to go.
fn rewrite(stack: &Stack, arrived: (&Msg, SocketAddr), uri: &str, branch: &str, stay: bool) -> Bytes {
    let (msg, from) = arrived;
    let mut draft = Draft::request(msg.method().unwrap_or_default(), uri).header("Via", stack.via(branch));
    for (index, via) in msg.list("Via").into_iter().enumerate() {
        draft = draft.header("Via", if index == 0 { stamped(via, from) } else { via.to_owned() });
    }
    if stay {
        draft = draft.header("Record-Route", format!("<sip:{}{};lr>", stack.local, stack.parameter()));
    }
    for route in msg.list("Route").into_iter().skip(usize::from(is_routed(stack, msg))) {
        draft = draft.header("Route", route);
    }
    let hops = msg.header("Max-Forwards").and_then(|v| v.parse::<u32>().ok()).unwrap_or(70);
    draft = draft.header("Max-Forwards", hops.saturating_sub(1).to_string());
    let ours = ["Via", "Route", "Max-Forwards", "Proxy-Authorization"];
    finish(draft, msg, &ours)
}

/// A response without its topmost Via, which was ours.
fn behind(msg: &Msg) -> Bytes {
    let mut draft = Draft::response(msg.status().unwrap_or_default());
    for via in msg.list("Via").into_iter().skip(1) {
        draft = draft.header("Via", via);
    }
    finish(draft, msg, &["Via"])
}

/// Copy all other headers and the body.
fn finish(mut draft: Draft, msg: &Msg, done: &[&str]) -> Bytes {
    let body = ["Content-Length", "Content-Type"];
    let skipped = |name: &str| done.iter().chain(&body).any(|other| other.eq_ignore_ascii_case(name));
    for (name, value) in msg.headers().filter(|(name, _)| !skipped(name)) {
        draft = draft.header(name, value);
    }
    match msg.header("Content-Type") {
        Some(kind) => draft.body(kind, msg.body()),
        None => draft.end(),
    }
}
