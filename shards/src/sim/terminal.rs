//! A telephone with a private address.

use super::calls::{Calls, CallsConfig, Target};
use super::digest::Credentials;
use super::endpoint::{Endpoint, Event, Out, Subscriber};
use super::leak::Watch;
use super::message::{Draft, Msg, uri_of};
use super::registration::{Registrant, Registration};
use super::spec::{Answering, CallSpec};
use super::stack::{Arrived, Stack};
use super::transaction::{Heard, Timing};
use crate::realm::PortRange;
use crate::types::{Instant, Transport};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// What a terminal is.
#[derive(Clone, Debug)]
pub struct TerminalConfig {
    /// Name and password.
    pub credentials: Credentials,
    /// Its provider's domain.
    pub domain: String,
    /// Its outbound proxy: Portolan's access address.
    pub proxy: SocketAddr,
    /// What carries its signaling.
    pub transport: Transport,
    /// Its own signaling address, which stands in Via, Contact and SDP.
    pub address: SocketAddr,
    /// Its ports for audio.
    pub media: PortRange,
    /// What it asks for in REGISTER; it refreshes at half of what it gets.
    pub expires: Duration,
    /// Does it refresh its registration?
    pub refresh: bool,
    /// How it answers.
    pub answering: Answering,
    /// Retransmission times.
    pub timing: Timing,
    /// Addresses that it must never see: the core's.
    pub watch: Watch,
}

impl TerminalConfig {
    /// A terminal `user` at `address` behind `proxy`, with sixteen audio port pairs from 16384 on, password `secret`.
    pub fn new(user: impl Into<String>, address: SocketAddr, proxy: SocketAddr) -> Self {
        Self {
            credentials: Credentials { user: user.into(), password: "secret".into() },
            domain: "example.net".into(),
            proxy,
            transport: Transport::Udp,
            address,
            media: PortRange { first: 16384, last: 16415 },
            expires: Duration::from_secs(3600),
            refresh: true,
            answering: Answering::default(),
            timing: Timing::default(),
            watch: Watch::default(),
        }
    }
}

/// A telephone.
#[derive(Debug)]
pub struct Terminal {
    user: String,
    domain: String,
    proxy: SocketAddr,
    stack: Stack,
    registration: Registration,
    calls: Calls,
}

impl Terminal {
    /// A terminal that does nothing yet. The same seed makes the same tags, branches and SSRCs.
    pub fn new(config: TerminalConfig, seed: [u8; 32]) -> Self {
        let mut stack = Stack::new((config.transport, config.address), config.timing, config.watch, seed);
        let user = config.credentials.user.clone();
        let who = Registrant {
            credentials: config.credentials.clone(),
            domain: config.domain.clone(),
            proxy: config.proxy,
            contact: stack.contact(&user),
            expires: config.expires,
            refresh: config.refresh,
        };
        let registration = Registration::new(who, &mut stack);
        let calls = Calls::new(CallsConfig {
            media: config.media,
            domain: config.domain.clone(),
            credentials: Some(config.credentials),
            answering: config.answering,
        });
        Self { user, domain: config.domain, proxy: config.proxy, stack, registration, calls }
    }

    /// Its name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Send an INFO within a call.
    pub fn info(&mut self, now: Instant, call: u32, body: &str) {
        self.calls.with(now, &mut self.stack, call, |call, stack| {
            call.send(now, stack, "INFO", Some(body));
        });
    }

    /// Send a request outside any call: MESSAGE with a text, or OPTIONS.
    pub fn send(&mut self, now: Instant, method: &str, to: &str, body: Option<&str>) {
        let branch = self.stack.branch();
        let (tag, call_id) = (self.stack.token(), self.stack.token());
        let draft = Draft::request(method, &format!("sip:{to}@{}", self.domain))
            .header("Via", self.stack.via(&branch))
            .header("Max-Forwards", "70")
            .header("From", format!("<sip:{}@{}>;tag={tag}", self.user, self.domain))
            .header("To", format!("<sip:{to}@{}>", self.domain))
            .header("Call-ID", call_id)
            .header("CSeq", format!("1 {method}"));
        let bytes = match body {
            Some(body) => draft.body("text/plain", body),
            None => draft.end(),
        };
        self.stack.request(now, &branch, method, self.proxy, bytes);
    }

    fn request(&mut self, now: Instant, key: &super::transaction::Key, msg: &Msg, from: SocketAddr) {
        let contact = self.stack.contact(&self.user);
        let ours = uri_of(&contact);
        if msg.uri() != ours && msg.method() != Some("OPTIONS") {
            let why = format!("Request-URI {} is not our Contact {ours}", msg.uri());
            self.stack.event(Event::Unparseable { why, bytes: Bytes::new() });
        }
        self.calls.request(now, &mut self.stack, key, msg, from);
        while let Some(spec) = self.calls.wanted() {
            self.call(now, spec);
        }
    }

    fn arrived(&mut self, now: Instant, arrived: &Arrived) {
        let (msg, from) = (&arrived.msg, arrived.from);
        match &arrived.heard {
            Heard::Request(key) => self.request(now, key, msg, from),
            Heard::Cancel(_) => self.calls.cancelled(now, &mut self.stack, msg),
            Heard::Ack => self.calls.acknowledged(now, &mut self.stack, msg),
            Heard::Response(_) if self.registration.owns(msg.call_id()) => {
                self.registration.answered(now, &mut self.stack, msg);
            }
            Heard::Response(_) => self.calls.response(now, &mut self.stack, msg),
            Heard::Stray | Heard::Absorbed => {}
        }
    }
}

impl Subscriber for Terminal {
    fn address(&self) -> SocketAddr {
        self.stack.local
    }

    fn register(&mut self, now: Instant) {
        self.registration.register(now, &mut self.stack);
    }

    fn unregister(&mut self, now: Instant) {
        self.registration.unregister(now, &mut self.stack);
    }

    fn call(&mut self, now: Instant, spec: CallSpec) {
        let uri = format!("sip:{}@{}", spec.to, self.domain);
        let target = Target { from: &self.user, uri, to: self.proxy };
        self.calls.invite(now, &mut self.stack, spec, &target);
    }

    fn hang_up(&mut self, now: Instant, call: u32) {
        self.calls.with(now, &mut self.stack, call, |call, stack| call.hang_up(now, stack));
    }

    fn hold(&mut self, now: Instant, call: u32, hold: bool) {
        self.calls.with(now, &mut self.stack, call, |call, stack| call.reinvite(now, stack, hold));
    }

    fn calls(&self) -> usize {
        self.calls.len()
    }
}

impl Endpoint for Terminal {
    fn handle(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if local.port() != self.stack.local.port() {
            self.calls.media(now, &mut self.stack, local.port(), from, bytes);
        } else if let Some(arrived) = self.stack.receive(now, from, bytes) {
            self.arrived(now, &arrived);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for lapse in self.stack.timeout(now) {
            if self.registration.owns(&lapse.call_id) {
                self.registration.failed(&mut self.stack, 408);
            } else {
                self.calls.lapsed(now, &mut self.stack, &lapse);
            }
        }
        self.registration.timeout(now, &mut self.stack);
        self.calls.timeout(now, &mut self.stack);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.stack.poll_timeout(), self.registration.poll_timeout(), self.calls.poll_timeout()];
        times.into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Out> {
        self.stack.out.pop_front()
    }
}
