//! What a runtime drives.

use portolan_shards::io::{Crossing, DropReason, Input, Listener, Output, Verdict};
use portolan_shards::realm::Mapping;
use portolan_shards::session::account::Summary;
use portolan_shards::shard::Shard;
use portolan_shards::stats::Stats;
use portolan_shards::types::{Flow, Instant, MediaPort, Proto, ShardId};
use std::net::SocketAddr;
use std::sync::Arc;

/// One shard's decisions, without a socket or a clock. Portolan's own is [`Shard`]; tests of the runtime put a simpler one in its place.
///
/// The runtime drains [`Brain::poll_output`] to the end after every call but [`Brain::handle_media`].
pub trait Brain: Sized + 'static {
    /// A shard that has queued what it wants opened.
    fn new(id: ShardId, mapping: Arc<Mapping>, seed: [u8; 32], now: Instant) -> Self;

    /// Takes one signaling message.
    fn handle_message(&mut self, now: Instant, proto: Proto, input: Input<'_>);

    /// Takes what another shard sent.
    fn handle_crossing(&mut self, now: Instant, crossing: Crossing);

    /// Somebody connected to a listener; `None` refuses.
    fn accepted(&mut self, now: Instant, listener: &Listener, remote: SocketAddr) -> Option<Flow>;

    /// A connection has ended, or could not be made.
    fn closed(&mut self, now: Instant, flow: Flow);

    /// Decides about one media packet; may change its octets.
    fn handle_media(&mut self, now: Instant, at: MediaPort, from: SocketAddr, packet: &mut [u8]) -> Verdict;

    /// Fetches from memory which stream this port belongs to: [`Brain::prefetch`] needs to know.
    fn locate(&self, at: MediaPort) {
        let _ = at;
    }

    /// Fetches from memory what [`Brain::handle_media`] will need for a packet at this port.
    fn prefetch(&self, at: MediaPort) {
        let _ = at;
    }

    /// The port that RTP from this one leaves by.
    fn exit(&self, at: MediaPort) -> Option<MediaPort> {
        let _ = at;
        None
    }

    /// Learns whether a port that it wanted open is open.
    fn port_opened(&mut self, port: MediaPort, ok: bool);

    /// Counts a drop that happened outside of it.
    fn dropped(&mut self, reason: DropReason);

    /// Does what is due by now.
    fn handle_timeout(&mut self, now: Instant);

    /// When it next has something to do by itself.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next thing that the world must do.
    fn poll_output(&mut self) -> Option<Output>;

    /// Goes on with a new generation of the configuration.
    fn reload(&mut self, now: Instant, mapping: Arc<Mapping>);

    /// Refuses new calls from now on and finishes the running ones.
    fn drain(&mut self);

    /// What it has done so far.
    fn stats(&mut self) -> Stats;

    /// Figures of at most so many sessions that run, and of as many that ended last.
    fn summaries(&self, most: usize) -> (Vec<Summary>, Vec<Summary>) {
        let _ = most;
        Default::default()
    }
}

impl Brain for Shard {
    fn new(id: ShardId, mapping: Arc<Mapping>, seed: [u8; 32], now: Instant) -> Self {
        Self::new(id, mapping, seed, now)
    }

    fn handle_message(&mut self, now: Instant, proto: Proto, input: Input<'_>) {
        self.handle_message(now, proto, input);
    }

    fn handle_crossing(&mut self, now: Instant, crossing: Crossing) {
        self.handle_crossing(now, crossing);
    }

    fn accepted(&mut self, now: Instant, listener: &Listener, remote: SocketAddr) -> Option<Flow> {
        self.accepted(now, listener, remote)
    }

    fn closed(&mut self, now: Instant, flow: Flow) {
        self.closed(now, flow);
    }

    fn handle_media(&mut self, now: Instant, at: MediaPort, from: SocketAddr, packet: &mut [u8]) -> Verdict {
        self.handle_media(now, at, from, packet)
    }

    fn locate(&self, at: MediaPort) {
        self.locate(at);
    }

    fn prefetch(&self, at: MediaPort) {
        self.prefetch(at);
    }

    fn exit(&self, at: MediaPort) -> Option<MediaPort> {
        self.exit(at)
    }

    fn port_opened(&mut self, port: MediaPort, ok: bool) {
        self.port_opened(port, ok);
    }

    fn dropped(&mut self, reason: DropReason) {
        self.dropped(reason);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }

    fn reload(&mut self, now: Instant, mapping: Arc<Mapping>) {
        self.reload(now, mapping);
    }

    fn drain(&mut self) {
        self.drain();
    }

    fn stats(&mut self) -> Stats {
        self.stats()
    }

    fn summaries(&self, most: usize) -> (Vec<Summary>, Vec<Summary>) {
        self.summaries(most)
    }
}
