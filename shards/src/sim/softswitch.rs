//! A softswitch: registrar, proxy between terminals, and a trunk that calls and is called.

use super::calls::{Calls, CallsConfig, Target};
use super::endpoint::{Endpoint, Event, Out, Role, Switch};
use super::leak::Watch;
use super::message::{Msg, destination, uri_of, user_of};
use super::proxy::{Proxy, is_routed};
use super::registrar::Registrar;
use super::spec::{Answering, CallSpec};
use super::stack::{Arrived, Stack};
use super::transaction::{Heard, Key, Timing};
use crate::realm::PortRange;
use crate::types::{Instant, Transport};
use std::net::SocketAddr;

/// What a softswitch is.
#[derive(Clone, Debug)]
pub struct SoftswitchConfig {
    /// What carries its signaling.
    pub transport: Transport,
    /// Its signaling address.
    pub address: SocketAddr,
    /// Ports of the trunk's audio, on the same address.
    pub media: PortRange,
    /// Its domain, also the digest realm.
    pub domain: String,
    /// Everybody's password.
    pub password: String,
    /// Whom it asks for it.
    pub challenge: Challenge,
    /// Numbers that begin so are the trunk's; all others are users.
    pub trunk_prefix: String,
    /// How the trunk answers.
    pub answering: Answering,
    /// Retransmission times.
    pub timing: Timing,
    /// Addresses that it must never see: the terminals' private ones and their NATs' public ones.
    pub watch: Watch,
}

impl SoftswitchConfig {
    /// A softswitch for `example.net` at `address` that trusts everybody, with audio ports from 20000 on.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            transport: Transport::Udp,
            address,
            media: PortRange { first: 20000, last: 39999 },
            domain: "example.net".into(),
            password: "secret".into(),
            challenge: Challenge::Nobody,
            trunk_prefix: "+".into(),
            answering: Answering::default(),
            timing: Timing::default(),
            watch: Watch::default(),
        }
    }
}

/// Who must prove who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Nobody.
    Nobody,
    /// Who registers.
    Registrations,
    /// Who registers, and who calls.
    Everything,
}

/// A softswitch.
#[derive(Debug)]
pub struct Softswitch {
    config: SoftswitchConfig,
    stack: Stack,
    registrar: Registrar,
    proxy: Proxy,
    trunk: Calls,
}

impl Softswitch {
    /// A softswitch that knows nobody yet. The same seed makes the same tags, branches and SSRCs.
    pub fn new(config: SoftswitchConfig, seed: [u8; 32]) -> Self {
        let stack = Stack::new((config.transport, config.address), config.timing, config.watch.clone(), seed);
        let challenge = config.challenge != Challenge::Nobody;
        let registrar = Registrar::new(config.domain.clone(), config.password.clone(), challenge);
        let trunk = Calls::new(CallsConfig {
            media: config.media,
            domain: config.domain.clone(),
            credentials: None,
            answering: config.answering,
        });
        Self { config, stack, registrar, proxy: Proxy::default(), trunk }
    }

    /// Users that are registered.
    pub fn registered(&self, now: Instant) -> usize {
        self.registrar.len(now)
    }

    /// The URI that a user is registered with: Portolan's core address and a label.
    pub fn contact(&self, now: Instant, user: &str) -> Option<&str> {
        self.registrar.locate(now, user)
    }

    /// Calls that the trunk takes part in now.
    pub fn calls(&self) -> usize {
        self.trunk.len()
    }

    fn arrived(&mut self, now: Instant, arrived: &Arrived) {
        let (msg, from) = (&arrived.msg, arrived.from);
        match &arrived.heard {
            Heard::Request(key) => self.request(now, key, msg, from),
            Heard::Cancel(key) => {
                if !self.proxy.cancelled(now, &mut self.stack, key) {
                    self.trunk.cancelled(now, &mut self.stack, msg);
                }
            }
            Heard::Ack if is_routed(&self.stack, msg) => self.proxy.acknowledge(&mut self.stack, msg, from),
            Heard::Ack => self.trunk.acknowledged(now, &mut self.stack, msg),
            Heard::Response(key) if self.proxy.owns(key) => {
                self.proxy.answered(now, &mut self.stack, key, msg);
            }
            Heard::Response(_) => self.trunk.response(now, &mut self.stack, msg),
            Heard::Stray | Heard::Absorbed => {}
        }
    }

    fn request(&mut self, now: Instant, key: &Key, msg: &Msg, from: SocketAddr) {
        let initial = msg.tag("To").is_none();
        let callee = user_of(msg.uri());
        let caller = user_of(uri_of(msg.header("From").unwrap_or_default()));
        let unproven = initial && self.must_prove(msg, caller);
        let stack = &mut self.stack;
        if msg.method() == Some("REGISTER") {
            self.registrar.register(now, stack, key, msg, from);
        } else if is_routed(stack, msg) {
            self.proxy.forward(now, stack, key, (msg, from), msg.uri(), false);
        } else if unproven {
            self.registrar.demand(now, stack, key, (msg, from), caller);
        } else if callee.starts_with(&self.config.trunk_prefix) || callee.is_empty() {
            self.trunk.request(now, stack, key, msg, from);
            while let Some(spec) = self.trunk.wanted() {
                self.call(now, spec);
            }
        } else {
            self.route(now, key, (msg, from), callee);
        }
    }

    fn route(&mut self, now: Instant, key: &Key, arrived: (&Msg, SocketAddr), callee: &str) {
        match self.registrar.locate(now, callee).map(str::to_owned) {
            Some(uri) => {
                let stay = arrived.0.method() == Some("INVITE");
                self.proxy.forward(now, &mut self.stack, key, arrived, &uri, stay);
            }
            None => self.stack.answer(now, key, 404, arrived),
        }
    }

    fn must_prove(&self, msg: &Msg, caller: &str) -> bool {
        self.config.challenge == Challenge::Everything
            && msg.method() == Some("INVITE")
            && !self.registrar.authorized(msg, "Proxy-Authorization", caller)
    }
}

impl Switch for Softswitch {
    fn call(&mut self, now: Instant, spec: CallSpec) {
        let uri = self.registrar.locate(now, &spec.to).map(str::to_owned);
        let Some((uri, to)) = uri.and_then(|uri| destination(&uri).map(|to| (uri, to))) else {
            let (call, role) = (spec.call, Role::Caller);
            self.trunk.unwanted(now, &mut self.stack, call, 404);
            return self.stack.event(Event::CallFailed { call, role, status: 404 });
        };
        let from = format!("{}4930{:05}", self.config.trunk_prefix, spec.call);
        self.trunk.invite(now, &mut self.stack, spec, &Target { from: &from, uri, to });
    }

    fn hang_up(&mut self, now: Instant, call: u32) {
        self.trunk.with(now, &mut self.stack, call, |call, stack| call.hang_up(now, stack));
    }

    fn hold(&mut self, now: Instant, call: u32, hold: bool) {
        self.trunk.with(now, &mut self.stack, call, |call, stack| call.reinvite(now, stack, hold));
    }
}

impl Endpoint for Softswitch {
    fn handle(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        if local.port() != self.stack.local.port() {
            self.trunk.media(now, &mut self.stack, local.port(), from, bytes);
        } else if let Some(arrived) = self.stack.receive(now, from, bytes) {
            self.arrived(now, &arrived);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for lapse in self.stack.timeout(now) {
            if self.proxy.owns(&lapse.key) {
                self.proxy.lapsed(now, &mut self.stack, &lapse.key);
            } else {
                self.trunk.lapsed(now, &mut self.stack, &lapse);
            }
        }
        self.trunk.timeout(now, &mut self.stack);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.stack.poll_timeout(), self.trunk.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Out> {
        self.stack.out.pop_front()
    }
}
