//! Keepalive: a message to every registered terminal, on its own flow, so that the NAT's mapping never ages out (R7).
//!
//! By UDP it is an OPTIONS or a double CRLF, as the realm says. On a connection it is a double CRLF, and the terminal's
//! single one proves that it lives (RFC 5626 section 4.4.1); who never gives one is asked by OPTIONS. A terminal that
//! keeps its flow open itself, by whatever it sends, is left alone.

use super::binding::Binding;
use super::hop::{Ours, own_via};
use super::nat;
use super::transaction::{Branch, Named};
use super::{Sip, Wake};
use crate::fault::Fault;
use crate::io::{Crossing, DropReason, Input};
use crate::realm::KeepaliveMethod;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Instant, ShardId, Side, Transport};
use crate::wire::stun;
use std::time::Duration;

/// How long a terminal may take to answer a double CRLF (RFC 5626 section 4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// An OPTIONS without an answer is repeated after this long: a lost datagram is no dead terminal.
const AGAIN: Duration = Duration::from_secs(2);
/// An OPTIONS is sent so many times before it counts as missed.
const COPIES: u8 = 3;
/// News of pings that this shard tells the others: one each, after a burst of a hundred. More are not told, and those
/// terminals get a keepalive that they did not need.
const TELL: Duration = Duration::from_millis(1);
const TELL_BURST: u32 = 100;

/// What is known of a terminal's life.
pub(super) struct Alive {
    /// When something last came by its flow.
    heard: Instant,
    /// When to look again; other timers are stale.
    due: Instant,
    out: Out,
    /// CSeq of the last OPTIONS.
    probes: u32,
    /// Keepalives in a row without an answer.
    missed: u16,
    /// How often the OPTIONS that is out was sent.
    copies: u8,
    /// Nothing has come by its flow since the timer was set.
    quiet: bool,
    /// It is left silent for longer than the others behind its NAT, to see whether it can still be reached.
    trial: bool,
    /// It could not, by our own doing: it is not given up before its registration runs out.
    spared: bool,
    /// It did not answer: when it turns out to live, its NAT forgets sooner than was thought.
    suspect: bool,
    /// Does it answer a double CRLF?
    pongs: Option<bool>,
}

/// What is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Nothing,
    /// An OPTIONS with this nonce.
    Options(u64),
    /// A double CRLF on a connection.
    Ping,
}

impl Alive {
    /// A terminal that has just been heard.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            due: Instant::ZERO,
            out: Out::Nothing,
            probes: 0,
            missed: 0,
            copies: 0,
            quiet: false,
            trial: false,
            spared: false,
            suspect: false,
            pongs: None,
        }
    }
}

impl Sip {
    /// Answer a double CRLF by a single one (RFC 5626 section 4.4.1); pings of zeros are swallowed.
    ///
    /// # Errors
    /// None; the signature is the handler's.
    pub(super) fn answer_ping(&mut self, cx: &mut Cx<'_>, input: &Input<'_>) -> Result<(), Fault> {
        cx.dropped(DropReason::Ping);
        if input.bytes == b"\r\n\r\n" {
            cx.send(input.flow, &b"\r\n"[..]);
        }
        self.heard_or_tell(cx, input);
        Ok(())
    }

    /// Answer a STUN Binding request of a terminal over UDP (RFC 5626 section 4.4.2). The answer is longer than the
    /// shortest request: only a source that a registration has proved may have more octets than it sent.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it is not a request that we may answer.
    pub(super) fn answer_stun(&mut self, cx: &mut Cx<'_>, input: &Input<'_>) -> Result<(), Fault> {
        let access = cx.realm(&input.flow).is_some_and(|realm| realm.side == Side::Access);
        let allowed = access && input.flow.transport == Transport::Udp;
        let Some(request) = stun::Request::parse(input.bytes).filter(|_| allowed) else {
            cx.dropped(DropReason::Malformed);
            return Err(Fault::Malformed("STUN"));
        };
        self.heard_or_tell(cx, input);
        let answer = stun::respond(&request, input.flow.remote);
        if answer.len() > input.bytes.len() && !self.bindings.proves(&input.flow) {
            cx.dropped(DropReason::UnprovenPing);
            return Ok(());
        }
        cx.dropped(DropReason::Ping);
        cx.send(input.flow, answer);
        Ok(())
    }

    /// The shard that received a STUN request did not know its flow, but here a registration proves it.
    pub(super) fn answer_elsewhere(&self, cx: &mut Cx<'_>, flow: Flow, ping: &[u8]) {
        let Some(request) = stun::Request::parse(ping) else { return };
        let answer = stun::respond(&request, flow.remote);
        if answer.len() > ping.len() && self.bindings.proves(&flow) {
            cx.send(flow, answer);
        }
    }

    /// A ping may come in at a shard that does not hold the registration: the others are told, if not too often.
    fn heard_or_tell(&mut self, cx: &mut Cx<'_>, input: &Input<'_>) {
        let (flow, pong) = (input.flow, input.bytes == b"\r\n");
        let access = cx.realm(&flow).is_some_and(|realm| realm.side == Side::Access);
        if !access || self.heard_by(cx, &flow, pong) || self.told > cx.now + TELL * TELL_BURST {
            return;
        }
        self.told = self.told.max(cx.now) + TELL;
        for shard in (0..cx.mapping.shards).map(ShardId) {
            if shard != cx.shard {
                let ping = bytes::Bytes::copy_from_slice(input.bytes);
                cx.cross(shard, Crossing::Heard { flow, ping });
            }
        }
    }

    /// Something came by a terminal's flow; `pong` if it was a single CRLF. False if no terminal has this flow.
    pub(super) fn heard_by(&mut self, cx: &mut Cx<'_>, flow: &Flow, pong: bool) -> bool {
        let keys = self.bindings.on(flow);
        for key in &keys {
            self.heard(cx, *key);
            let answered = self.bindings.get_mut(*key).map(|binding| &mut binding.alive);
            if let Some(alive) = answered.filter(|alive| pong && alive.out == Out::Ping) {
                alive.pongs = Some(true);
                self.rest(cx, *key, cx.now);
            }
        }
        !keys.is_empty()
    }

    /// The terminal lives.
    pub(super) fn heard(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        let alive = &mut binding.alive;
        (alive.heard, alive.quiet, alive.missed, alive.spared) = (cx.now, false, 0, false);
        if std::mem::take(&mut alive.suspect) {
            let ip = binding.flow.remote.ip();
            self.step_back(cx, ip);
        }
    }

    fn step_back(&mut self, cx: &mut Cx<'_>, ip: std::net::IpAddr) {
        if self.nats.missed(cx.now, ip, &cx.mapping.keepalive) {
            cx.stats.nats_stepped_back += 1;
        }
    }

    /// Begin to keep a new binding alive: the first time at random within the interval, so that the terminals of a
    /// shard are spread over time.
    pub(super) fn start_keepalive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let interval = cx.mapping.keepalive.interval.as_nanos() as u64;
        let first = Duration::from_nanos(cx.rng.below(interval.max(1)));
        if let Some(binding) = self.bindings.get_mut(key) {
            binding.alive.out = Out::Nothing;
        }
        self.look_at(key, cx.now + first);
    }

    fn look_at(&mut self, key: Key, due: Instant) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        (binding.alive.due, binding.alive.quiet) = (due, true);
        self.timers.schedule(due, Wake::Keepalive(key));
    }

    /// It is time for a terminal's next keepalive, or for the answer to the last one.
    pub(super) fn keep_alive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key).filter(|binding| binding.alive.due <= cx.now) else {
            return;
        };
        binding.ticking = binding.is_live() && binding.realm.keepalive != KeepaliveMethod::Off;
        if !binding.ticking {
            return;
        }
        let alive = &mut binding.alive;
        match alive.out {
            _ if !alive.quiet => {
                cx.stats.keepalives_spared += u64::from(alive.out == Out::Nothing);
                let heard = alive.heard;
                self.rest(cx, key, heard);
            }
            Out::Nothing => self.ask(cx, key),
            Out::Options(nonce) if alive.copies < COPIES && !alive.spared => {
                alive.copies += 1;
                cx.stats.retransmissions += 1;
                options(cx, key, binding, nonce);
                self.look_at(key, cx.now + AGAIN);
            }
            Out::Ping if alive.pongs != Some(true) => {
                alive.pongs = Some(false);
                self.ask(cx, key);
            }
            Out::Options(_) | Out::Ping => self.miss(cx, key),
        }
    }

    /// Send a keepalive.
    fn ask(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        cx.stats.keepalives_sent += 1;
        let stream = binding.flow.transport.is_reliable();
        let pings = if stream {
            binding.alive.pongs != Some(false)
        } else {
            binding.realm.keepalive == KeepaliveMethod::Crlf
        };
        if !pings {
            let nonce = cx.rng.u64();
            let alive = &mut binding.alive;
            (alive.out, alive.copies) = (Out::Options(nonce), 1);
            alive.probes = alive.probes % 0x7fff_ffff + 1;
            options(cx, key, binding, nonce);
            return self.look_at(key, cx.now + AGAIN);
        }
        cx.send(binding.flow, &b"\r\n\r\n"[..]);
        if !stream {
            return self.rest(cx, key, cx.now);
        }
        binding.alive.out = Out::Ping;
        self.look_at(key, cx.now + PONG);
    }

    /// The flow has proved itself at `from`: leave it alone for an interval.
    fn rest(&mut self, cx: &mut Cx<'_>, key: Key, from: Instant) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        let (rule, ip) = (&cx.mapping.keepalive, binding.flow.remote.ip());
        let learns = binding.flow.transport == Transport::Udp
            && binding.realm.keepalive == KeepaliveMethod::Options
            && !binding.alive.spared;
        binding.alive.out = Out::Nothing;
        if std::mem::take(&mut binding.alive.trial) {
            self.nats.abandoned(ip, key);
        }
        let longer = learns.then(|| self.nats.next_trial(cx.now, ip, key, rule)).flatten();
        binding.alive.trial = longer.is_some();
        let wait = match longer {
            Some(longer) => nat::silence(longer),
            None if learns => nat::spread(cx.rng, self.nats.interval(ip, rule)),
            None => nat::spread(cx.rng, rule.interval),
        };
        self.look_at(key, cx.now.max(from + wait));
    }

    /// Nothing came in time. A terminal that was left silent on trial has lost its way back through no fault of its own.
    fn miss(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        cx.stats.keepalives_missed += 1;
        let ip = binding.flow.remote.ip();
        let alive = &mut binding.alive;
        alive.out = Out::Nothing;
        let tried = std::mem::take(&mut alive.trial);
        alive.spared |= tried;
        if !alive.spared {
            (alive.missed, alive.suspect) = (alive.missed.saturating_add(1), true);
        }
        if u32::from(alive.missed) >= cx.mapping.keepalive.misses.max(1) {
            binding.ticking = false;
            return self.lose(cx, key);
        }
        if tried {
            self.step_back(cx, ip);
        }
        let wait = nat::spread(cx.rng, cx.mapping.keepalive.interval);
        self.look_at(key, cx.now + wait);
    }

    /// Any response to our OPTIONS shows that the terminal lives.
    pub(super) fn keepalive_answered(&mut self, cx: &mut Cx<'_>, branch: Branch) {
        let key = branch.key;
        let asked = |binding: &&mut Binding| binding.alive.out == Out::Options(branch.nonce);
        let Some(binding) = self.bindings.get_mut(key).filter(asked) else {
            return cx.dropped(DropReason::Unmatched);
        };
        let ip = binding.flow.remote.ip();
        if std::mem::take(&mut binding.alive.trial) && self.nats.proved(ip, key) {
            cx.stats.nats_grown += 1;
        }
        self.heard(cx, key);
        self.rest(cx, key, cx.now);
    }
}

/// Send an OPTIONS; a repetition is the same octets.
fn options(cx: &mut Cx<'_>, key: Key, binding: &Binding, nonce: u64) {
    let ours = Ours::of(&binding.realm, &binding.flow);
    let branch = Branch { named: Named::Keepalive, shard: cx.shard, key, nonce };
    let uri = String::from_utf8_lossy(binding.contact()).into_owned();
    let text = format!(
        "OPTIONS {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\n\
         From: <sip:{}>;tag={nonce:016x}\r\nTo: <{uri}>\r\nCall-ID: {nonce:016x}{:08x}\r\n\
         CSeq: {} OPTIONS\r\nContent-Length: 0\r\n\r\n",
        own_via(ours, &branch.to_string()),
        ours.address,
        key.slot,
        binding.alive.probes
    );
    cx.send(binding.flow, text);
}
