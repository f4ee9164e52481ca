//! The station's work on connections: octets to messages, messages to octets, and their ends.

use super::brain::Brain;
use super::layers::{Fault, Layers, Upward};
use super::lines::{Line, StreamEnd};
use super::station::Station;
use crate::io::streams::{Event, Network, Refusal, StreamSink, StreamSlot};
use bytes::Bytes;
use portolan_shards::io::{DropReason, Listener};
use portolan_shards::types::{Flow, Instant, Proto, Transport};
use portolan_shards::wire::sip::Frame;
use std::io;
use std::net::SocketAddr;

/// The ping of RFC 5626 section 4.4.1.
const PING: &[u8] = b"\r\n\r\n";

impl<B: Brain> Station<B> {
    /// Starts to listen; fine when the address is open already.
    pub(super) fn listen_stream(&mut self, ring: &mut impl Network, listener: Listener) -> io::Result<()> {
        if !self.lines.listens(&listener) {
            let dscp = self.signaling_dscp(listener.realm);
            let slot = ring.listen(listener.address, listener.shared, dscp)?;
            self.lines.put_listener(slot, listener);
        }
        Ok(())
    }

    /// Stops listening; the connections that were accepted stay.
    pub(super) fn unlisten_stream(&mut self, ring: &mut impl Network, listener: &Listener) {
        if let Some(slot) = self.lines.take_listener(listener) {
            ring.abort(slot);
        }
    }

    /// Dials.
    pub(super) fn dial(&mut self, ring: &mut impl Network, flow: Flow, proto: Proto, name: Option<&str>) {
        self.lines.figures.dialled += 1;
        let layers = self.layers_to(&flow, name);
        let dialled = layers.and_then(|layers| {
            let dscp = self.signaling_dscp(flow.realm);
            let slot = ring.connect(flow.local.ip(), flow.remote, dscp).map_err(|error| error.to_string())?;
            Ok((slot, layers))
        });
        match dialled {
            Ok((slot, layers)) => {
                self.lines.put_line(Line::new(slot, flow, proto, layers, true));
                self.lines.expect(slot, Some(self.now()));
            }
            Err(error) => {
                tracing::warn!(remote = %flow.remote, error, "cannot dial");
                self.lines.figures.closed[StreamEnd::Unreached as usize] += 1;
                self.brain_closed(flow);
            }
        }
    }

    fn layers_to(&self, flow: &Flow, name: Option<&str>) -> Result<Option<Layers>, String> {
        match flow.transport {
            Transport::Tcp => Ok(None),
            Transport::Tls => {
                let config = self.tls.load().client(flow.realm).ok_or("the realm has no TLS")?;
                let layers = Layers::dial(config, name, flow.remote.ip());
                layers.map(Some).map_err(|error| error.to_string())
            }
            Transport::Udp | Transport::Ws | Transport::Wss => Err("not a transport to dial".to_owned()),
        }
    }

    /// Writes one message to a connection.
    pub(super) fn write(&mut self, ring: &mut impl Network, flow: &Flow, bytes: &Bytes) {
        let slot = flow.stream.filter(|id| id.shard == self.id()).and_then(|id| self.lines.by_id(id));
        let Some(line) = slot.and_then(|slot| self.lines.line(slot)) else {
            return self.brain().dropped(DropReason::SendFailed);
        };
        let slot = line.slot;
        line.intake.pongs = line.intake.pongs.saturating_add(u8::from(&bytes[..] == PING));
        let layered = line.layers.as_mut().map(|layers| layers.give(bytes)).transpose();
        let written = layered.and_then(|octets| put_out(ring, slot, octets.as_deref().unwrap_or(bytes)));
        if let Err(fault) = written {
            self.brain().dropped(DropReason::SendFailed);
            self.fail(ring, slot, fault);
        }
    }

    /// Writes what is queued, then closes.
    pub(super) fn disconnect(&mut self, ring: &mut impl Network, flow: &Flow) {
        if let Some(slot) = flow.stream.and_then(|id| self.lines.by_id(id)) {
            self.hang_up(ring, slot, StreamEnd::Ours);
        }
    }

    /// Says goodbye and closes after what is queued; gives the flow that was.
    fn hang_up(&mut self, ring: &mut impl Network, slot: StreamSlot, end: StreamEnd) -> Option<Flow> {
        let mut line = self.lines.take_line(slot, end)?;
        let goodbye = line.layers.as_mut().map(|layers| layers.end()).unwrap_or_default();
        if put_out(ring, slot, &goodbye).is_ok() {
            ring.finish(slot);
        } else {
            ring.abort(slot);
        }
        Some(line.flow)
    }

    /// Closes a connection that cannot go on, and tells the brain.
    fn fail(&mut self, ring: &mut impl Network, slot: StreamSlot, fault: Fault) {
        let Some(line) = self.lines.line(slot) else { return };
        let ready = line.layers.as_ref().is_none_or(|layers| layers.is_ready());
        match fault {
            Fault::Full => self.give_up(ring, slot, StreamEnd::Overflow),
            Fault::Broken => {
                let end = if ready { StreamEnd::Malformed } else { StreamEnd::Handshake };
                if let Some(flow) = self.hang_up(ring, slot, end) {
                    self.brain_closed(flow);
                }
            }
        }
    }

    /// Gives up connections whose time is over.
    pub(super) fn expire_lines(&mut self, ring: &mut impl Network) {
        while let Some(slot) = self.lines.overdue(self.now()) {
            self.brain().dropped(DropReason::Stall);
            self.give_up(ring, slot, StreamEnd::Stall);
            self.drain_outputs(ring);
        }
    }

    /// When the next connection has to be given up.
    pub(super) fn next_stall(&self) -> Option<Instant> {
        self.lines.next_due()
    }

    /// Closes a connection for a reason of the runtime, and tells the brain.
    fn give_up(&mut self, ring: &mut impl Network, slot: StreamSlot, end: StreamEnd) {
        if let Some(line) = self.lines.take_line(slot, end) {
            ring.abort(slot);
            self.brain_closed(line.flow);
        }
    }

    fn brain_closed(&mut self, flow: Flow) {
        let now = self.now();
        self.brain().closed(now, flow);
    }

    fn accepted(
        &mut self,
        ring: &mut impl Network,
        listener: StreamSlot,
        slot: StreamSlot,
        remote: SocketAddr,
    ) {
        let now = self.now();
        let listener = self.lines.listener(listener);
        let begun = listener.and_then(|listener| {
            let layers = self.layers_for(&listener)?;
            Some((self.brain().accepted(now, &listener, remote)?, listener.proto, layers))
        });
        match begun {
            Some((flow, proto, layers)) => {
                self.lines.figures.accepted += 1;
                let expected = layers.is_some();
                self.lines.put_line(Line::new(slot, flow, proto, layers, false));
                self.lines.expect(slot, expected.then_some(now));
            }
            None => {
                self.lines.figures.refused += 1;
                ring.abort(slot);
            }
        }
        self.drain_outputs(ring);
    }

    /// The layers of a connection that a listener accepts; `None`: it cannot.
    fn layers_for(&self, listener: &Listener) -> Option<Option<Layers>> {
        let transport = listener.transport;
        if transport == Transport::Tcp {
            return Some(None);
        }
        let tls = transport.is_secure().then(|| self.tls.load().server(listener.realm));
        if matches!(tls, Some(None)) {
            tracing::warn!(address = %listener.address, "a realm without a certificate cannot accept");
            return None;
        }
        let ws = matches!(transport, Transport::Ws | Transport::Wss);
        match Layers::accept(tls.flatten(), ws) {
            Ok(layers) => Some(Some(layers)),
            Err(error) => {
                tracing::error!(address = %listener.address, %error, "cannot accept");
                None
            }
        }
    }

    fn ended(&mut self, ring: &mut impl Network, slot: StreamSlot, errno: i32) {
        let dialling = self.lines.line(slot).is_some_and(|line| line.dialling);
        let end = match errno {
            _ if dialling => StreamEnd::Unreached,
            0 => StreamEnd::Peer,
            _ => StreamEnd::Error,
        };
        if let Some(line) = self.lines.take_line(slot, end) {
            self.brain_closed(line.flow);
            self.drain_outputs(ring);
        }
    }

    fn connected(&mut self, ring: &mut impl Network, slot: StreamSlot) {
        let now = self.now();
        let Some(line) = self.lines.line(slot) else { return };
        line.dialling = false;
        let hello = line.layers.as_mut().map(|layers| layers.begin());
        self.lines.expect(slot, hello.is_some().then_some(now));
        if let Err(fault) = put_out(ring, slot, &hello.unwrap_or_default()) {
            self.fail(ring, slot, fault);
            self.drain_outputs(ring);
        }
    }

    /// Takes octets as they come from the network.
    fn received(&mut self, ring: &mut impl Network, slot: StreamSlot, octets: &[u8]) {
        let Some(line) = self.lines.line(slot) else { return };
        let Some(layers) = &mut line.layers else { return self.feed(ring, slot, octets) };
        let (mut up, before) = (Upward::default(), layers.is_ready());
        let taken = layers.take(octets, &mut up);
        let (ready, whole) = (layers.is_ready(), layers.has_messages());
        let written = put_out(ring, slot, &up.answer);
        if ready && !before {
            self.lines.expect(slot, None);
        }
        if whole && ready {
            self.messages(ring, slot, &up);
        } else if !up.stream.is_empty() {
            self.feed(ring, slot, &up.stream);
        }
        if let Err(fault) = taken {
            self.brain().dropped(DropReason::Malformed);
            self.fail(ring, slot, fault);
        } else if let Err(fault) = written {
            self.fail(ring, slot, fault);
        } else if up.over
            && let Some(flow) = self.hang_up(ring, slot, StreamEnd::Peer)
        {
            self.brain_closed(flow);
        }
        self.drain_outputs(ring);
    }

    /// Hands over messages that came whole.
    fn messages(&mut self, ring: &mut impl Network, slot: StreamSlot, up: &Upward) {
        for message in &up.messages {
            if let Some((proto, flow)) = self.lines.line(slot).map(|line| (line.proto, line.flow)) {
                self.message(ring, proto, flow, message);
            }
        }
        // Octets that have made nothing whole are a part of something that is to be whole in time.
        let partial = up.messages.is_empty() && up.answer.is_empty();
        if !partial {
            self.lines.expect(slot, None);
        } else if !self.lines.is_expected(slot) {
            self.lines.expect(slot, Some(self.now()));
        }
    }

    /// Takes octets of a stream of messages.
    fn feed(&mut self, ring: &mut impl Network, slot: StreamSlot, octets: &[u8]) {
        let Some(line) = self.lines.line(slot) else { return };
        let mut held = std::mem::take(&mut line.intake.held);
        let begun = !held.is_empty();
        if begun {
            held.extend_from_slice(octets);
        }
        let Some(taken) = self.hand_over(ring, slot, if begun { &held } else { octets }) else { return };
        if !begun {
            held.extend_from_slice(&octets[taken..]);
        } else if taken == held.len() {
            held = Vec::new();
        } else {
            held.drain(..taken);
        }
        self.keep(slot, held, begun && taken == 0);
    }

    /// Hands all whole messages to the brain; returns how many octets they take. `None`: the connection is no more.
    fn hand_over(&mut self, ring: &mut impl Network, slot: StreamSlot, stream: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let line = self.lines.line(slot)?;
            let (proto, flow) = (line.proto, line.flow);
            match line.intake.next(&stream[at..]) {
                Frame::Message(len) | Frame::Ping(len) | Frame::Pong(len) => {
                    self.message(ring, proto, flow, &stream[at..at + len]);
                    at += len;
                }
                Frame::Partial => return Some(at),
                Frame::Broken(fault) => {
                    tracing::debug!(remote = %flow.remote, ?fault, "not a stream of messages");
                    self.brain().dropped(DropReason::Malformed);
                    self.give_up(ring, slot, StreamEnd::Malformed);
                    self.drain_outputs(ring);
                    return None;
                }
            }
        }
    }

    /// Keeps the beginning of a message; `begun`: it was there before.
    fn keep(&mut self, slot: StreamSlot, rest: Vec<u8>, begun: bool) {
        let now = self.now();
        let Some(line) = self.lines.line(slot) else { return };
        // Line ends may stand alone for as long as they like; no TPKT begins with one.
        let partial = rest.iter().any(|octet| !matches!(octet, b'\r' | b'\n'));
        line.intake.held = rest;
        if !partial {
            self.lines.expect(slot, None);
        } else if !begun || !self.lines.is_expected(slot) {
            self.lines.expect(slot, Some(now));
        }
    }
}

/// Queues octets of a connection.
fn put_out(ring: &mut impl Network, slot: StreamSlot, octets: &[u8]) -> Result<(), Fault> {
    if octets.is_empty() {
        return Ok(());
    }
    ring.write(slot, octets).map_err(|refusal| match refusal {
        Refusal::Overflow => Fault::Full,
        Refusal::Gone => Fault::Broken,
    })
}

impl<B: Brain, N: Network> StreamSink<N> for Station<B> {
    fn happened(&mut self, ring: &mut N, event: Event<'_>) {
        match event {
            Event::Accepted { listener, slot, remote } => self.accepted(ring, listener, slot, remote),
            Event::Refused(errno) => {
                tracing::warn!(error = %io::Error::from_raw_os_error(errno), "cannot accept a connection");
                self.lines.figures.refused += 1;
            }
            Event::Connected(slot) => self.connected(ring, slot),
            Event::Received(slot, octets) => self.received(ring, slot, octets),
            Event::Ended(slot, errno) => self.ended(ring, slot, errno),
        }
    }
}
