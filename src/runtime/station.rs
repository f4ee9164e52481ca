//! A brain at work: what arrives goes in, what it wants is done.

use super::brain::Brain;
use super::failures::{SendFailure, SendFailures};
use super::lines::{Lines, StreamFigures};
use super::sockets::{Place, Sockets};
use crate::dispatch::Mesh;
use crate::io::clock::Clock;
use crate::io::datagrams::{Arrival, Dscp, Forward, Loss, Sink, Slot};
use crate::io::streams::Network;
use crate::tls::Contexts;
use arc_swap::ArcSwap;
use bytes::Bytes;
use portolan_shards::io::{Crossing, DropReason, Input, Listener, Output, Verdict};
use portolan_shards::realm::Mapping;
use portolan_shards::types::{Flow, Instant, MediaPort, Proto, RealmId, ShardId, Transport};
use std::net::SocketAddr;
use std::sync::Arc;

/// Crossings that one round takes, so that a busy mesh does not delay media.
const CROSSINGS_PER_ROUND: usize = 256;

/// A brain, its sockets' names and its end of the mesh. The sockets themselves are passed in.
pub(super) struct Station<B> {
    id: ShardId,
    brain: B,
    sockets: Sockets,
    pub(super) lines: Lines,
    /// What new connections begin with under TLS.
    pub(super) tls: Arc<ArcSwap<Contexts>>,
    mesh: Mesh,
    clock: Clock,
    /// The time of this round: reading the clock once a round is precise enough.
    now: Instant,
    /// What the kernel refused to send.
    send_failures: SendFailures,
    /// Listeners that could not be opened.
    failures: Vec<(Listener, std::io::Error)>,
}

impl<B: Brain> Station<B> {
    pub(super) fn new(
        id: ShardId,
        mapping: Arc<Mapping>,
        seed: [u8; 32],
        clock: Clock,
        mesh: Mesh,
        tls: Arc<ArcSwap<Contexts>>,
    ) -> Self {
        let mut sockets = Sockets::new(id);
        sockets.learn(&mapping);
        let now = clock.now();
        let brain = B::new(id, mapping, seed, now);
        let (lines, failures) = (Lines::default(), Vec::new());
        let send_failures = SendFailures::default();
        Self { id, brain, sockets, lines, tls, mesh, clock, now, send_failures, failures }
    }

    pub(super) const fn brain(&mut self) -> &mut B {
        &mut self.brain
    }

    pub(super) const fn id(&self) -> ShardId {
        self.id
    }

    /// What became of its connections.
    pub(super) const fn stream_figures(&self) -> StreamFigures {
        self.lines.figures
    }

    /// What the kernel refused to send.
    pub(super) const fn send_failures(&self) -> SendFailures {
        self.send_failures
    }

    /// How signaling of a realm is marked.
    pub(super) fn signaling_dscp(&self, realm: RealmId) -> Dscp {
        self.sockets.signaling_dscp(realm)
    }

    /// When it has something to do by itself.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (brain, stall) = (self.brain.poll_timeout(), self.next_stall());
        brain.into_iter().chain(stall).min()
    }

    /// When the clock was last read.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Reads the clock.
    pub(super) fn tick(&mut self) -> Instant {
        self.now = self.clock.now();
        self.now
    }

    /// Listeners that could not be opened since the last call.
    pub(super) fn take_failures(&mut self) -> Vec<(Listener, std::io::Error)> {
        std::mem::take(&mut self.failures)
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, ring: &mut impl Network) {
        if self.brain.poll_timeout().is_some_and(|due| due <= self.now) {
            self.brain.handle_timeout(self.now);
            self.drain_outputs(ring);
        }
        self.expire_lines(ring);
    }

    /// Takes crossings out of the mesh; false when some may be left.
    pub(super) fn receive_crossings(&mut self, ring: &mut impl Network) -> bool {
        for _ in 0..CROSSINGS_PER_ROUND {
            let Some(crossing) = self.mesh.receive() else { return true };
            self.brain.handle_crossing(self.now, crossing);
            self.drain_outputs(ring);
        }
        false
    }

    pub(super) fn reload(&mut self, ring: &mut impl Network, mapping: Arc<Mapping>) {
        self.sockets.learn(&mapping);
        self.brain.reload(self.now, mapping);
        self.drain_outputs(ring);
    }

    pub(super) fn drain(&mut self, ring: &mut impl Network) {
        self.brain.drain();
        self.drain_outputs(ring);
    }

    /// Does all that the brain wants, in order, to the end.
    pub(super) fn drain_outputs(&mut self, ring: &mut impl Network) {
        while let Some(output) = self.brain.poll_output() {
            self.perform(ring, output);
        }
    }

    fn perform(&mut self, ring: &mut impl Network, output: Output) {
        match output {
            Output::Transmit { flow, bytes } if flow.stream.is_some() => self.write(ring, &flow, &bytes),
            Output::Transmit { flow, bytes } => self.transmit(ring, flow, bytes),
            Output::Connect { flow, proto, name } => self.dial(ring, flow, proto, name.as_deref()),
            Output::Disconnect(flow) => self.disconnect(ring, &flow),
            Output::KeepOpen { port, to } => self.keep_open(ring, port, to),
            Output::OpenPort(port) => self.open_port(ring, port),
            Output::ClosePort(port) => self.sockets.close_media(ring, port),
            Output::Listen(listener) => self.listen(ring, listener),
            Output::Unlisten(listener) => self.unlisten(ring, listener),
            Output::Cross { to, crossing } => self.cross(to, crossing),
        }
    }

    fn transmit(&mut self, ring: &mut impl Network, flow: Flow, bytes: Bytes) {
        let slot = self.sockets.signaling(flow.local);
        self.send(ring, slot, flow.remote, bytes);
    }

    fn keep_open(&mut self, ring: &mut impl Network, port: MediaPort, to: SocketAddr) {
        let slot = self.sockets.media(port);
        self.send(ring, slot, to, Bytes::new());
    }

    fn send(&mut self, ring: &mut impl Network, slot: Option<Slot>, to: SocketAddr, bytes: Bytes) {
        let sent = slot.ok_or(Loss::Send(libc::EBADF)).and_then(|slot| ring.send(slot, to, bytes));
        if let Err(loss) = sent {
            self.count(loss);
        }
    }

    fn count(&mut self, loss: Loss) {
        self.brain.dropped(match loss {
            Loss::Oversize => DropReason::Oversize,
            Loss::Send(errno) => {
                self.send_failures[SendFailure::of(errno) as usize] += 1;
                DropReason::SendFailed
            }
        });
    }

    fn open_port(&mut self, ring: &mut impl Network, port: MediaPort) {
        let opened = self.sockets.open_media(ring, port);
        if let Err(error) = &opened {
            tracing::warn!(shard = self.id.0, realm = port.realm.0, port = port.port, %error, "cannot open a media port");
        }
        self.brain.port_opened(port, opened.is_ok());
    }

    fn listen(&mut self, ring: &mut impl Network, listener: Listener) {
        let opened = match listener.transport {
            Transport::Udp => self.sockets.listen(ring, listener),
            _ => self.listen_stream(ring, listener),
        };
        if let Err(error) = opened {
            let transport = listener.transport.param();
            tracing::error!(shard = self.id.0, transport, address = %listener.address, %error, "cannot listen");
            self.failures.push((listener, error));
        }
    }

    fn unlisten(&mut self, ring: &mut impl Network, listener: Listener) {
        match listener.transport {
            Transport::Udp => self.sockets.unlisten(ring, listener),
            _ => self.unlisten_stream(ring, &listener),
        }
    }

    fn cross(&mut self, to: ShardId, crossing: Crossing) {
        if self.mesh.send(to, crossing).is_err() {
            self.brain.dropped(DropReason::MeshFull);
        }
    }

    fn media(&mut self, at: MediaPort, from: SocketAddr, packet: &mut [u8]) -> Option<Forward> {
        match self.brain.handle_media(self.now, at, from, packet) {
            Verdict::Forward { out, to } => {
                let slot = self.sockets.media(out);
                if slot.is_none() {
                    self.count(Loss::Send(libc::EBADF));
                }
                slot.map(|slot| Forward { slot, to })
            }
            Verdict::Drop(_) => None,
        }
    }

    /// Hands one signaling message to the brain and does what follows from it.
    pub(super) fn message(&mut self, ring: &mut impl Network, proto: Proto, flow: Flow, bytes: &[u8]) {
        self.brain.handle_message(self.now, proto, Input { flow, bytes });
        self.drain_outputs(ring);
    }
}

impl<B: Brain, D: Network> Sink<D> for Station<B> {
    fn arrived(&mut self, ring: &mut D, arrival: Arrival<'_>) -> Option<Forward> {
        match self.sockets.place(arrival.slot)? {
            Place::Media(port) => self.media(port, arrival.from, arrival.payload),
            Place::Signaling(number) => {
                let Listener { realm, proto, transport, address: local, .. } =
                    self.sockets.listener(number)?;
                let flow = Flow { realm, transport, local, remote: arrival.from, stream: None };
                self.message(ring, proto, flow, arrival.payload);
                None
            }
        }
    }

    fn locate(&self, slot: Slot) {
        if let Some(Place::Media(port)) = self.sockets.place(slot) {
            self.brain.locate(port);
        }
    }

    fn prefetch(&self, slot: Slot) {
        if let Some(Place::Media(port)) = self.sockets.place(slot) {
            self.brain.prefetch(port);
        }
    }

    fn exit(&self, slot: Slot) -> Option<Slot> {
        let Place::Media(port) = self.sockets.place(slot)? else { return None };
        self.sockets.media(self.brain.exit(port)?)
    }

    fn lost(&mut self, loss: Loss) {
        self.count(loss);
    }
}
