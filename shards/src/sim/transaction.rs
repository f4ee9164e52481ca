//! SIP transactions (RFC 3261 section 17), in the simple form that an endpoint needs.

use super::endpoint::{Kind, Out};
use super::message::{Draft, Msg, reply_to};
use crate::types::Instant;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Retransmission times.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// First interval; a transaction gives up after 64 of them.
    pub t1: Duration,
    /// Longest interval.
    pub t2: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4) }
    }
}

impl Timing {
    /// 64 times T1: timers B, F, H and, for all that must be absorbed afterwards, D and J.
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }
}

/// How long a call may ring: an INVITE's server transaction waits this long for its final response.
const RINGING: Duration = Duration::from_secs(200);

/// Names a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    branch: String,
    /// Server side only: RFC 3261 section 17.2.3.
    sent_by: String,
    method: String,
}

impl Key {
    pub(super) fn client(branch: &str, method: &str) -> Self {
        Self { branch: branch.into(), sent_by: String::new(), method: method.into() }
    }

    fn server(msg: &Msg, method: &str) -> Self {
        Self { branch: msg.branch().into(), sent_by: msg.sent_by().into(), method: method.into() }
    }
}

/// What a message means to the layer above.
#[derive(Debug)]
pub(super) enum Heard {
    /// A request that was not seen before.
    Request(Key),
    /// The CANCEL of this open INVITE; already answered 200.
    Cancel(Key),
    /// An ACK of a 2xx (or of nothing).
    Ack,
    /// A response that the layer above has not seen in this transaction, or a 2xx to INVITE once more.
    Response(Key),
    /// A response that belongs to no transaction.
    Stray,
    /// A repetition, or something the transaction deals with itself.
    Absorbed,
}

/// A transaction that ran out of time: no final response came, or our 2xx was never acknowledged.
#[derive(Debug)]
pub(super) struct Lapse {
    pub(super) key: Key,
    pub(super) method: String,
    pub(super) call_id: String,
}

#[derive(Debug)]
struct Client {
    local: SocketAddr,
    to: SocketAddr,
    request: Bytes,
    ack: Option<Bytes>,
    state: State,
    again: Option<(Instant, Duration)>,
    end: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
}

#[derive(Debug)]
struct Server {
    local: SocketAddr,
    to: SocketAddr,
    response: Option<Bytes>,
    dialog: (String, u32),
    state: State,
    success: bool,
    again: Option<(Instant, Duration)>,
    end: Instant,
}

/// All transactions of one endpoint.
#[derive(Debug)]
pub(super) struct Transactions {
    timing: Timing,
    /// Over a stream only the 2xx to INVITE is repeated (RFC 3261 sections 13.3.1.4 and 17).
    reliable: bool,
    clients: BTreeMap<Key, Client>,
    servers: BTreeMap<Key, Server>,
    invites: BTreeMap<(String, u32), Key>,
    due: BinaryHeap<Reverse<(Instant, bool, Key)>>,
}

impl Transactions {
    pub(super) fn new(timing: Timing, reliable: bool) -> Self {
        let (clients, servers, invites) = Default::default();
        Self { timing, reliable, clients, servers, invites, due: BinaryHeap::new() }
    }

    /// Send a request and see that it is answered.
    pub(super) fn request(
        &mut self,
        now: Instant,
        key: Key,
        path: (SocketAddr, SocketAddr),
        request: Bytes,
        out: &mut VecDeque<Out>,
    ) {
        let (local, to) = path;
        send(out, local, to, &request);
        let again = (!self.reliable).then_some((now + self.timing.t1, self.timing.t1));
        let end = now + self.timing.patience();
        let client = Client { local, to, request, ack: None, state: State::Calling, again, end };
        self.due.push(Reverse((client.wake(), true, key.clone())));
        self.clients.insert(key, client);
    }

    /// Answer a request. A final answer to an INVITE is repeated until its ACK comes, unless `relayed` (the 2xx of
    /// somebody behind us, who repeats it himself).
    pub(super) fn respond(
        &mut self,
        now: Instant,
        key: &Key,
        response: (u16, Bytes),
        relayed: bool,
        out: &mut VecDeque<Out>,
    ) {
        let timing = self.timing;
        let Some(server) = self.servers.get_mut(key) else { return };
        let (status, bytes) = response;
        if server.state == State::Completed && !relayed {
            return;
        }
        send(out, server.local, server.to, &bytes);
        server.response = Some(bytes);
        server.state = if status < 200 { State::Proceeding } else { State::Completed };
        if status >= 200 {
            let confirmed = key.method == "INVITE" && !relayed && (!self.reliable || status < 300);
            server.again = confirmed.then_some((now + timing.t1, timing.t1));
            server.success = status < 300;
            server.end = now + timing.patience();
            self.due.push(Reverse((server.wake(), false, key.clone())));
        }
    }

    /// Sort a message that arrived on `local` from `from`.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        msg: &Msg,
        path: (SocketAddr, SocketAddr),
        out: &mut VecDeque<Out>,
    ) -> Heard {
        match msg.method() {
            None => self.response(now, msg, out),
            Some("ACK") => self.acknowledge(now, msg),
            Some(method) => self.request_arrived(now, msg, method, path, out),
        }
    }

    /// The next time that something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// Repeat what is due and report what has run out of time.
    pub(super) fn timeout(&mut self, now: Instant, out: &mut VecDeque<Out>) -> Vec<Lapse> {
        let mut lapses = Vec::new();
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let Some(Reverse((_, client, key))) = self.due.pop() else { break };
            let lapse = if client { self.client_due(now, key, out) } else { self.server_due(now, key, out) };
            lapses.extend(lapse);
        }
        lapses
    }

    fn request_arrived(
        &mut self,
        now: Instant,
        msg: &Msg,
        method: &str,
        path: (SocketAddr, SocketAddr),
        out: &mut VecDeque<Out>,
    ) -> Heard {
        let key = Key::server(msg, method);
        let (local, from) = path;
        if let Some(server) = self.servers.get(&key) {
            if let Some(response) = &server.response {
                send(out, server.local, server.to, response);
            }
            return Heard::Absorbed;
        }
        let dialog = (msg.call_id().to_owned(), msg.cseq().0);
        if method == "INVITE" {
            self.invites.insert(dialog.clone(), key.clone());
        }
        let (state, to, end) = (State::Calling, reply_to(msg, from), now + RINGING);
        let server = Server { local, to, response: None, dialog, state, success: false, again: None, end };
        self.due.push(Reverse((end, false, key.clone())));
        self.servers.insert(key.clone(), server);
        if method == "CANCEL" { self.cancel(now, msg, &key, from, out) } else { Heard::Request(key) }
    }

    fn cancel(
        &mut self,
        now: Instant,
        msg: &Msg,
        key: &Key,
        from: SocketAddr,
        out: &mut VecDeque<Out>,
    ) -> Heard {
        let invite = Key::server(msg, "INVITE");
        let open = self.servers.get(&invite).map(|server| server.state != State::Completed);
        let status = if open.is_some() { 200 } else { 481 };
        self.respond(now, key, (status, Draft::answer(status, msg, from, "cancel").end()), false, out);
        if open == Some(true) { Heard::Cancel(invite) } else { Heard::Absorbed }
    }

    fn acknowledge(&mut self, now: Instant, msg: &Msg) -> Heard {
        let hop = Key::server(msg, "INVITE");
        let dialog = (msg.call_id().to_owned(), msg.cseq().0);
        let key =
            if self.servers.contains_key(&hop) { Some(hop) } else { self.invites.get(&dialog).cloned() };
        let end = now + self.timing.patience();
        let Some(server) = key.as_ref().and_then(|key| self.servers.get_mut(key)) else { return Heard::Ack };
        server.again = None;
        server.end = end;
        if server.success { Heard::Ack } else { Heard::Absorbed }
    }

    fn response(&mut self, now: Instant, msg: &Msg, out: &mut VecDeque<Out>) -> Heard {
        let key = Key::client(msg.branch(), msg.cseq().1);
        let timing = self.timing;
        let (Some(client), Some(status)) = (self.clients.get_mut(&key), msg.status()) else {
            return Heard::Stray;
        };
        let invite = key.method == "INVITE";
        if client.state == State::Completed {
            return client.again_final(status, invite, key, out);
        }
        if status < 200 {
            client.state = State::Proceeding;
            if invite {
                client.again = None;
                client.end = now + RINGING;
            }
            return Heard::Response(key);
        }
        client.state = State::Completed;
        client.again = None;
        client.end = now + timing.patience();
        if invite && status >= 300 {
            client.acknowledge(msg, out);
        }
        self.due.push(Reverse((client.end, true, key.clone())));
        Heard::Response(key)
    }

    fn client_due(&mut self, now: Instant, key: Key, out: &mut VecDeque<Out>) -> Option<Lapse> {
        let t2 = self.timing.t2;
        let client = self.clients.get_mut(&key)?;
        if client.end <= now {
            let open = client.state != State::Completed;
            let request = self.clients.remove(&key)?.request;
            let call_id = Msg::parse(&request).ok()?.call_id().to_owned();
            return open.then(|| Lapse { method: key.method.clone(), key, call_id });
        }
        if let Some((at, interval)) = client.again
            && at <= now
        {
            send(out, client.local, client.to, &client.request);
            let double = interval * 2;
            let next = if key.method == "INVITE" { double } else { double.min(t2) };
            client.again = Some((now + next, next));
        }
        let wake = client.wake();
        self.due.push(Reverse((wake, true, key)));
        None
    }

    fn server_due(&mut self, now: Instant, key: Key, out: &mut VecDeque<Out>) -> Option<Lapse> {
        let t2 = self.timing.t2;
        let server = self.servers.get_mut(&key)?;
        if server.end <= now {
            let unacknowledged = server.again.is_some() && server.success;
            let server = self.servers.remove(&key)?;
            self.invites.remove(&server.dialog);
            let call_id = server.dialog.0;
            return unacknowledged.then(|| Lapse { method: key.method.clone(), key, call_id });
        }
        if let Some((at, interval)) = server.again
            && at <= now
        {
            if let Some(response) = &server.response {
                send(out, server.local, server.to, response);
            }
            let next = (interval * 2).min(t2);
            server.again = Some((now + next, next));
        }
        let wake = server.wake();
        self.due.push(Reverse((wake, false, key)));
        None
    }
}

impl Client {
    fn wake(&self) -> Instant {
        self.again.map_or(self.end, |(at, _)| at.min(self.end))
    }

    /// A final response once more.
    fn again_final(&self, status: u16, invite: bool, key: Key, out: &mut VecDeque<Out>) -> Heard {
        if let Some(ack) = &self.ack {
            send(out, self.local, self.to, ack);
        }
        if invite && (200..300).contains(&status) { Heard::Response(key) } else { Heard::Absorbed }
    }

    /// RFC 3261 section 17.1.1.3: the ACK of a refusal travels the INVITE's own hop.
    fn acknowledge(&mut self, response: &Msg, out: &mut VecDeque<Out>) {
        let Ok(invite) = Msg::parse(&self.request) else { return };
        let ack = Draft::request("ACK", invite.uri())
            .header("Via", invite.via())
            .header("Max-Forwards", "70")
            .maybe("Route", invite.header("Route"))
            .header("From", invite.header("From").unwrap_or_default())
            .header("To", response.header("To").unwrap_or_default())
            .header("Call-ID", invite.call_id())
            .header("CSeq", format!("{} ACK", invite.cseq().0))
            .end();
        send(out, self.local, self.to, &ack);
        self.ack = Some(ack);
    }
}

impl Server {
    fn wake(&self) -> Instant {
        self.again.map_or(self.end, |(at, _)| at.min(self.end))
    }
}

fn send(out: &mut VecDeque<Out>, local: SocketAddr, to: SocketAddr, bytes: &Bytes) {
    out.push_back(Out::Send { local, to, bytes: bytes.clone(), kind: Kind::Signaling });
}
