//! What terminal and softswitch share: one signaling address, its transactions, the judge and the leak watch.

use super::endpoint::{Event, Kind, Out};
use super::leak::Watch;
use super::message::{Draft, Msg, judge};
use super::transaction::{Heard, Key, Lapse, Timing, Transactions};
use crate::random::Rng;
use crate::types::{Instant, Transport};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Signaling of one endpoint.
#[derive(Debug)]
pub(super) struct Stack {
    /// Our own signaling address.
    pub(super) local: SocketAddr,
    /// What carries our signaling.
    pub(super) transport: Transport,
    pub(super) rng: Rng,
    pub(super) out: VecDeque<Out>,
    transactions: Transactions,
    watch: Watch,
}

/// A message with what the transactions made of it.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) msg: Msg,
    pub(super) from: SocketAddr,
    pub(super) heard: Heard,
}

impl Stack {
    pub(super) fn new(
        (transport, local): (Transport, SocketAddr),
        timing: Timing,
        watch: Watch,
        seed: [u8; 32],
    ) -> Self {
        let out = VecDeque::from([Out::Open(local)]);
        let transactions = Transactions::new(timing, transport.is_reliable());
        Self { local, transport, rng: Rng::new(seed), out, transactions, watch }
    }

    /// Judge a datagram and sort it; `None` when it is no SIP message (keepalives of CR and LF included).
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Arrived> {
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            self.event(Event::Probed);
            return None;
        }
        let msg = Msg::parse(bytes);
        if let Some(why) = msg.as_ref().err().cloned().or_else(|| judge(bytes)) {
            self.event(Event::Unparseable { why, bytes: Bytes::copy_from_slice(bytes) });
        }
        let msg = msg.ok()?;
        for address in self.watch.scan(bytes) {
            self.event(Event::Leak { address, message: msg.summary() });
        }
        let heard = self.transactions.receive(now, &msg, (self.local, from), &mut self.out);
        Some(Arrived { msg, from, heard })
    }

    /// Send a request in a transaction of its own. Its Via must have been made by [`Stack::via`] with `branch`.
    pub(super) fn request(
        &mut self,
        now: Instant,
        branch: &str,
        method: &str,
        to: SocketAddr,
        bytes: Bytes,
    ) -> Key {
        let key = Key::client(branch, method);
        self.transactions.request(now, key.clone(), (self.local, to), bytes, &mut self.out);
        key
    }

    /// Answer a request of ours.
    pub(super) fn respond(&mut self, now: Instant, key: &Key, status: u16, bytes: Bytes) {
        self.transactions.respond(now, key, (status, bytes), false, &mut self.out);
    }

    /// Pass on the response of somebody behind us.
    pub(super) fn relay(&mut self, now: Instant, key: &Key, status: u16, bytes: Bytes) {
        let repeated_by_sender = (200..300).contains(&status);
        self.transactions.respond(now, key, (status, bytes), repeated_by_sender, &mut self.out);
    }

    /// A plain answer without a body.
    pub(super) fn answer(&mut self, now: Instant, key: &Key, status: u16, arrived: (&Msg, SocketAddr)) {
        let (msg, from) = arrived;
        let tag = self.token();
        self.respond(now, key, status, Draft::answer(status, msg, from, &tag).end());
    }

    /// Send without a transaction: ACK, or what is not ours to repeat.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: Bytes) {
        self.out.push_back(Out::Send { local: self.local, to, bytes, kind: Kind::Signaling });
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Vec<Lapse> {
        self.transactions.timeout(now, &mut self.out)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.transactions.poll_timeout()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.out.push_back(Out::Event(event));
    }

    /// A random word.
    pub(super) fn token(&mut self) -> String {
        format!("{:016x}", self.rng.u64())
    }

    /// A new branch.
    pub(super) fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    /// Our Via.
    pub(super) fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/{} {};rport;branch={branch}", self.transport.token(), self.local)
    }

    /// Our Contact value for this user.
    pub(super) fn contact(&self, user: &str) -> String {
        format!("<sip:{user}@{}{}>", self.local, self.parameter())
    }

    /// What a URI of ours says about its transport (RFC 3261 section 19.1.1); UDP is what is meant without it.
    pub(super) fn parameter(&self) -> String {
        match self.transport {
            Transport::Udp => String::new(),
            other => format!(";transport={}", other.param()),
        }
    }
}
