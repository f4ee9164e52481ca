//! The softswitch's location table.

use super::digest::Credentials;
use super::message::{Draft, Msg, param, uri_of, user_of};
use super::stack::Stack;
use super::transaction::Key;
use crate::types::Instant;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The longest registration granted, and the default.
const EXPIRES: u64 = 3600;

#[derive(Debug)]
pub(super) struct Registrar {
    domain: String,
    /// Everybody's password.
    password: String,
    challenge: bool,
    nonces: BTreeMap<String, String>,
    bindings: BTreeMap<String, BTreeMap<String, Instant>>,
}

impl Registrar {
    pub(super) fn new(domain: String, password: String, challenge: bool) -> Self {
        Self { domain, password, challenge, nonces: BTreeMap::new(), bindings: BTreeMap::new() }
    }

    /// The contact of a user that will live longest.
    pub(super) fn locate(&self, now: Instant, user: &str) -> Option<&str> {
        let contacts = self.bindings.get(user)?.iter().filter(|(_, until)| **until > now);
        contacts.max_by_key(|(_, until)| **until).map(|(uri, _)| uri.as_str())
    }

    /// Users with a contact that lives.
    pub(super) fn len(&self, now: Instant) -> usize {
        self.bindings.values().filter(|contacts| contacts.values().any(|until| *until > now)).count()
    }

    /// Answer a REGISTER.
    pub(super) fn register(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        key: &Key,
        msg: &Msg,
        from: SocketAddr,
    ) {
        let user = user_of(uri_of(msg.header("To").unwrap_or_default())).to_owned();
        if self.challenge && !self.authorized(msg, "Authorization", &user) {
            return self.demand(now, stack, key, (msg, from), &user);
        }
        self.bind(now, &user, msg);
        let tag = stack.token();
        let mut draft = Draft::answer(200, msg, from, &tag);
        for (uri, until) in self.bindings.get(&user).into_iter().flatten() {
            draft = draft.header("Contact", format!("<{uri}>;expires={}", until.since(now).as_secs()));
        }
        stack.respond(now, key, 200, draft.end());
    }

    /// Does the message prove that it is from `user`?
    pub(super) fn authorized(&self, msg: &Msg, header: &str, user: &str) -> bool {
        let credentials = Credentials { user: user.to_owned(), password: self.password.clone() };
        let method = msg.method().unwrap_or_default();
        match (msg.header(header), self.nonces.get(user)) {
            (Some(value), Some(nonce)) => credentials.verify(value, nonce, method),
            _ => false,
        }
    }

    /// Ask for proof: 401 to REGISTER, 407 to everything else.
    pub(super) fn demand(
        &mut self,
        now: Instant,
        stack: &mut Stack,
        key: &Key,
        arrived: (&Msg, SocketAddr),
        user: &str,
    ) {
        let (msg, from) = arrived;
        let nonce = stack.token();
        let (status, header) = match msg.method() {
            Some("REGISTER") => (401, "WWW-Authenticate"),
            _ => (407, "Proxy-Authenticate"),
        };
        let realm = &self.domain;
        let challenge = format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"");
        self.nonces.insert(user.to_owned(), nonce);
        let tag = stack.token();
        let bytes = Draft::answer(status, msg, from, &tag).header(header, challenge).end();
        stack.respond(now, key, status, bytes);
    }

    fn bind(&mut self, now: Instant, user: &str, msg: &Msg) {
        let common = msg.header("Expires").and_then(|v| v.parse().ok()).unwrap_or(EXPIRES);
        let contacts = self.bindings.entry(user.to_owned()).or_default();
        contacts.retain(|_, until| *until > now);
        for value in msg.list("Contact") {
            let own = param(value, "expires").and_then(|v| v.parse::<u64>().ok());
            match (value, own.unwrap_or(common).min(EXPIRES)) {
                ("*", _) => contacts.clear(),
                (value, 0) => drop(contacts.remove(uri_of(value))),
                (value, seconds) => {
                    contacts.insert(uri_of(value).to_owned(), now + Duration::from_secs(seconds));
                }
            }
        }
    }
}
