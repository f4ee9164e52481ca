//! What a gateway and who controls it have in common: one signaling address, its transactions, the judge and the leak
//! watch.

use super::super::endpoint::{Event, Out};
use super::super::leak::Watch;
use super::exchange::{Asker, Exchange, Post, Repeats};
use super::language::Language;
use super::order::{Answer, Message, Order, Told};
use crate::random::Rng;
use crate::types::Instant;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Answers that are confirmed by one command.
const CONFIRMED: usize = 8;
/// The largest number of a transaction (RFC 3435 section 3.2.1.2).
const LAST: u32 = 999_999_999;

/// Signaling of one endpoint. `T` tells what a command was for.
#[derive(Debug)]
pub(super) struct Desk<T> {
    pub(super) language: Language,
    /// Our own name in messages, where the protocol wants one.
    pub(super) me: String,
    pub(super) post: Post,
    exchange: Exchange<T>,
    watch: Watch,
    next: u32,
    /// Answers that have come, by whom they came from, and were not confirmed yet.
    heard: BTreeMap<SocketAddr, Vec<u32>>,
}

/// What has come.
#[derive(Debug)]
pub(super) enum Heard<T> {
    /// A command that was not seen before.
    Order(Asker, Order),
    /// The answer to a command of ours.
    Answer(T, Answer),
}

impl<T: Clone> Desk<T> {
    pub(super) fn new(
        language: Language,
        (local, reliable): (SocketAddr, bool),
        repeats: Repeats,
        watch: Watch,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = Rng::new(seed);
        let next = rng.below(u64::from(LAST)) as u32;
        let out = VecDeque::from([Out::Open(local)]);
        let post = Post { local, out, rng, joint: language.joint() };
        let exchange = Exchange::new(repeats, reliable);
        let me = language.mid(local);
        Self { language, me, post, exchange, watch, next, heard: BTreeMap::new() }
    }

    pub(super) const fn local(&self) -> SocketAddr {
        self.post.local
    }

    /// Judge a datagram and sort what it says.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Vec<Heard<T>> {
        let messages = match self.language.read(bytes) {
            Ok(messages) => messages,
            Err(why) => {
                self.event(Event::Unparseable { why, bytes: Bytes::copy_from_slice(bytes) });
                return Vec::new();
            }
        };
        for address in self.language.addresses(&self.watch, bytes) {
            let message = self.language.summary(bytes);
            self.event(Event::Leak { address, message });
        }
        messages.into_iter().filter_map(|message| self.sort(now, from, message)).collect()
    }

    fn sort(&mut self, now: Instant, from: SocketAddr, message: Message) -> Option<Heard<T>> {
        let Message { id, told } = message;
        match told {
            Told::Order(order) => {
                order.confirmed.iter().for_each(|&id| self.exchange.forget((from.ip(), id)));
                let new = self.exchange.is_new(now, from, id, &mut self.post);
                new.then_some(Heard::Order((from.ip(), id), order))
            }
            Told::Pending => {
                self.exchange.pending(now, id);
                None
            }
            Told::Answer { answer, confirm } => {
                if confirm {
                    let bytes = Bytes::from(self.language.confirm(id, &self.me));
                    self.post.send(from, &bytes);
                }
                let tag = self.exchange.closed(id)?;
                self.heard.entry(from).or_default().push(id);
                Some(Heard::Answer(tag, answer))
            }
            Told::Confirmed => {
                self.exchange.confirmed((from.ip(), id));
                None
            }
        }
    }

    /// Give a command.
    pub(super) fn ask(&mut self, now: Instant, to: SocketAddr, tag: T, mut order: Order) {
        self.next = self.next % LAST + 1;
        if self.one_in(2) {
            order.confirmed = self.heard.remove(&to).unwrap_or_default();
            order.confirmed.truncate(CONFIRMED);
        }
        let bytes = self.language.order(self.next, &self.me, &order).into();
        self.exchange.ask(now, to, self.next, bytes, tag, &mut self.post);
    }

    /// Answer a command.
    pub(super) fn answer(&mut self, now: Instant, key: Asker, order: &Order, answer: &Answer, confirm: bool) {
        let bytes = self.language.answer(key.1, &self.me, order, answer, confirm).into();
        self.exchange.answer(now, key, bytes, confirm, &mut self.post);
    }

    /// It will take a while.
    pub(super) fn pend(&mut self, key: Asker) {
        let bytes = self.language.pending(key.1, &self.me).into();
        self.exchange.pend(key, &bytes, &mut self.post);
    }

    pub(super) fn timeout(&mut self, now: Instant) -> Vec<T> {
        self.exchange.timeout(now, &mut self.post)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.exchange.poll_timeout()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.post.out.push_back(Out::Event(event));
    }

    /// Something is wrong with what a message says.
    pub(super) fn wrong(&mut self, why: String) {
        self.event(Event::Unparseable { why, bytes: Bytes::new() });
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.post.rng.below(n) == 0
    }
}
