//! Keepalive: a message to every registered terminal, on its own flow, so that the NAT's mapping never ages out (R7).

use super::hop::{Ours, own_via};
use super::transaction::{Branch, Named};
use super::{Sip, Wake};
use crate::fault::Fault;
use crate::io::{DropReason, Input};
use crate::realm::KeepaliveMethod;
use crate::signaling::Cx;
use crate::signaling::sip::binding::Binding;
use crate::table::Key;
use crate::types::{Side, Transport};
use crate::wire::stun;
use std::time::Duration;

/// Answer a double CRLF by a single one (RFC 5626 section 4.4.1); pings of zeros are swallowed.
///
/// # Errors
/// None; the signature is the handler's.
pub(super) fn answer_ping(cx: &mut Cx<'_>, input: &Input<'_>) -> Result<(), Fault> {
    cx.dropped(DropReason::Ping);
    if input.bytes == b"\r\n\r\n" {
        cx.send(input.flow, &b"\r\n"[..]);
    }
    Ok(())
}

impl Sip {
    /// Answer a STUN Binding request of a terminal over UDP (RFC 5626 section 4.4.2). The answer is longer than the
    /// shortest request: only a source that a registration has proved may have more octets than it sent.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it is not a request that we may answer.
    pub(super) fn answer_stun(&self, cx: &mut Cx<'_>, input: &Input<'_>) -> Result<(), Fault> {
        let access = cx.realm(&input.flow).is_some_and(|realm| realm.side == Side::Access);
        let allowed = access && input.flow.transport == Transport::Udp;
        let Some(request) = stun::Request::parse(input.bytes).filter(|_| allowed) else {
            cx.dropped(DropReason::Malformed);
            return Err(Fault::Malformed("STUN"));
        };
        let answer = stun::respond(&request, input.flow.remote);
        if answer.len() > input.bytes.len() && !self.bindings.proves(&input.flow) {
            cx.dropped(DropReason::UnprovenPing);
            return Ok(());
        }
        cx.dropped(DropReason::Ping);
        cx.send(input.flow, answer);
        Ok(())
    }

    /// Begin to keep a new binding alive: the first time at random within the interval, so that the terminals of a
    /// shard are spread over time.
    pub(super) fn start_keepalive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let interval = cx.mapping.keepalive.interval.as_nanos() as u64;
        let first = Duration::from_nanos(cx.rng.below(interval));
        self.timers.schedule(cx.now + first, Wake::Keepalive(key));
    }

    /// Send the next keepalive, or give the binding up after too many that were not answered.
    pub(super) fn send_keepalive(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(binding) = self.bindings.get_mut(key) else { return };
        binding.ticking = binding.is_live();
        if !binding.ticking {
            return;
        }
        if binding.probe.take().is_some() {
            binding.missed += 1;
            cx.stats.keepalives_missed += 1;
        }
        if u32::from(binding.missed) >= cx.mapping.keepalive.misses.max(1) {
            binding.ticking = false;
            return self.lose(cx, key);
        }
        match binding.realm.keepalive {
            KeepaliveMethod::Options => probe(cx, key, binding),
            KeepaliveMethod::Crlf => cx.send(binding.flow, &b"\r\n\r\n"[..]),
            KeepaliveMethod::Off => {
                binding.ticking = false;
                return;
            }
        }
        cx.stats.keepalives_sent += 1;
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Keepalive(key));
    }

    /// Any response to our OPTIONS shows that the terminal lives.
    pub(super) fn keepalive_answered(&mut self, cx: &mut Cx<'_>, branch: Branch) {
        match self.bindings.get_mut(branch.key) {
            Some(binding) if binding.probe == Some(branch.nonce) => {
                binding.probe = None;
                binding.missed = 0;
            }
            _ => cx.dropped(DropReason::Unmatched),
        }
    }
}

fn probe(cx: &mut Cx<'_>, key: Key, binding: &mut Binding) {
    let nonce = cx.rng.u64();
    binding.probe = Some(nonce);
    binding.probes = binding.probes % 0x7fff_ffff + 1;
    let ours = Ours::of(&binding.realm, &binding.flow);
    let branch = Branch { named: Named::Keepalive, shard: cx.shard, key, nonce };
    let uri = String::from_utf8_lossy(&binding.contact).into_owned();
    let text = format!(
        "OPTIONS {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\n\
         From: <sip:{}>;tag={nonce:016x}\r\nTo: <{uri}>\r\nCall-ID: {nonce:016x}{:08x}\r\n\
         CSeq: {} OPTIONS\r\nContent-Length: 0\r\n\r\n",
        own_via(ours, &branch.to_string()),
        ours.address,
        key.slot,
        binding.probes
    );
    cx.send(binding.flow, text);
}
