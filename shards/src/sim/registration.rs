//! The client side of REGISTER: ask, authenticate, refresh, remove.

use super::digest::Credentials;
use super::endpoint::Event;
use super::message::{Draft, Msg, param, uri_of};
use super::stack::Stack;
use crate::types::Instant;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Registration {
    user: String,
    domain: String,
    /// Where REGISTER goes.
    proxy: SocketAddr,
    contact: String,
    expires: Duration,
    refresh: bool,
    credentials: Credentials,
    call_id: String,
    tag: String,
    cseq: u32,
    /// Seconds asked for by the request that is out.
    asked: u64,
    authorized: bool,
    started: Instant,
    refresh_at: Option<Instant>,
}

/// Who registers what.
#[derive(Debug)]
pub(super) struct Registrant {
    pub(super) credentials: Credentials,
    pub(super) domain: String,
    pub(super) proxy: SocketAddr,
    pub(super) contact: String,
    pub(super) expires: Duration,
    pub(super) refresh: bool,
}

impl Registration {
    pub(super) fn new(who: Registrant, stack: &mut Stack) -> Self {
        Self {
            user: who.credentials.user.clone(),
            domain: who.domain,
            proxy: who.proxy,
            contact: who.contact,
            expires: who.expires,
            refresh: who.refresh,
            credentials: who.credentials,
            call_id: stack.token(),
            tag: stack.token(),
            cseq: 0,
            asked: 0,
            authorized: false,
            started: Instant::ZERO,
            refresh_at: None,
        }
    }

    /// Is this the answer to a REGISTER of ours?
    pub(super) fn owns(&self, call_id: &str) -> bool {
        self.call_id == call_id
    }

    pub(super) fn register(&mut self, now: Instant, stack: &mut Stack) {
        self.started = now;
        self.ask(now, stack, self.expires.as_secs(), None);
    }

    pub(super) fn unregister(&mut self, now: Instant, stack: &mut Stack) {
        self.refresh_at = None;
        self.ask(now, stack, 0, None);
    }

    pub(super) fn answered(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let status = msg.status().unwrap_or_default();
        match status {
            100..200 => {}
            401 if !self.authorized => self.authorize(now, stack, msg),
            200..300 if self.asked == 0 => stack.event(Event::Unregistered),
            200..300 => self.granted(now, stack, msg),
            _ => self.failed(stack, status),
        }
    }

    pub(super) fn failed(&mut self, stack: &mut Stack, status: u16) {
        self.refresh_at = None;
        stack.event(Event::RegisterFailed { status });
    }

    pub(super) fn timeout(&mut self, now: Instant, stack: &mut Stack) {
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.register(now, stack);
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.refresh_at
    }

    fn granted(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let contacts = msg.list("Contact");
        let ours = contacts.iter().find(|value| uri_of(value) == uri_of(&self.contact));
        if ours.is_none() {
            let why = format!("the 200 to REGISTER does not list {}: {contacts:?}", self.contact);
            stack.event(Event::Unparseable { why, bytes: Bytes::new() });
        }
        let seconds = ours.and_then(|value| param(value, "expires")).or(msg.header("Expires"));
        let expires = seconds.and_then(|s| s.parse().ok()).map_or(self.expires, Duration::from_secs);
        stack.event(Event::Registered { after: now.since(self.started), expires });
        self.refresh_at = self.refresh.then(|| now + expires / 2);
    }

    fn authorize(&mut self, now: Instant, stack: &mut Stack, msg: &Msg) {
        let challenge = msg.header("WWW-Authenticate").unwrap_or_default();
        match self.credentials.answer(challenge, "REGISTER", &self.uri()) {
            Some(value) => self.ask(now, stack, self.asked, Some(value)),
            None => self.failed(stack, 401),
        }
    }

    fn ask(&mut self, now: Instant, stack: &mut Stack, seconds: u64, authorization: Option<String>) {
        self.authorized = authorization.is_some();
        self.asked = seconds;
        self.cseq += 1;
        let branch = stack.branch();
        let aor = format!("<sip:{}@{}>", self.user, self.domain);
        let bytes = Draft::request("REGISTER", &self.uri())
            .header("Via", stack.via(&branch))
            .header("Max-Forwards", "70")
            .header("From", format!("{aor};tag={}", self.tag))
            .header("To", &aor)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format!("{} REGISTER", self.cseq))
            .header("Contact", &self.contact)
            .header("Expires", seconds.to_string())
            .maybe("Authorization", authorization)
            .end();
        stack.request(now, &branch, "REGISTER", self.proxy, bytes);
    }

    fn uri(&self) -> String {
        format!("sip:{}", self.domain)
    }
}
