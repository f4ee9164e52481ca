//! Ports that several streams share: the forks of a call, of which only one side knows that they are several.
//!
//! All forks answer the same offer, so all of them send to the ports that it announced. Who sent a packet there is
//! told by its source: what a fork announced, what its latch holds, or the host that its signaling came from.

use super::relay::Relay;
use super::slots::Slot;
use super::stream::{Arrival, Claim, Stream};
use super::{End, EndPorts};
use crate::io::DropReason;
use crate::types::MediaPort;

impl Relay {
    /// The stream is now the first at these ports; whoever was there comes after it.
    pub(super) fn lead(&mut self, id: u32, end: End, ports: EndPorts) {
        let before = self.slots.find(ports.rtp).map(Slot::stream);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.set_next(end, before);
        }
        self.hold(id, end, ports);
    }

    /// The stream leaves its ports to those that share them.
    pub(super) fn leave(&mut self, id: u32, stream: &Stream, end: End) {
        let (ports, next) = (stream.ports(end), stream.next(end));
        let Some(head) = self.slots.find(ports.rtp).map(Slot::stream) else { return };
        match next {
            _ if head != id => self.unlink(head, id, end, next),
            Some(next) => self.hold(next, end, ports),
            None => [ports.rtp, ports.rtcp].into_iter().for_each(|port: MediaPort| self.slots.clear(port)),
        }
    }

    fn hold(&mut self, id: u32, end: End, ports: EndPorts) {
        self.slots.put(ports.rtp, Slot::new(id, end, false));
        self.slots.put(ports.rtcp, Slot::new(id, end, true));
    }

    fn unlink(&mut self, head: u32, id: u32, end: End, next: Option<u32>) {
        let mut at = Some(head);
        while let Some(stream) = at.and_then(|at| self.streams.get_mut(at)) {
            at = stream.next(end);
            if at == Some(id) {
                return stream.set_next(end, next);
            }
        }
    }

    /// Whose packet it is. An answered fork comes before one that was not, and the newest of those that announced the
    /// same address before the others (one media server may speak for several); a host alone must be one fork's only.
    /// A packet that nobody claims goes to the first, to be dropped and counted there.
    ///
    /// # Errors
    /// [`DropReason::AnyFork`] when that does not tell.
    pub(super) fn claimant(&self, head: u32, arrival: &Arrival<'_>) -> Result<u32, DropReason> {
        let (mut best, mut at, mut several) = (None, Some(head), false);
        while let Some((id, stream)) = at.and_then(|id| Some((id, self.streams.get(id)?))) {
            at = stream.next(arrival.end);
            let Some(claim) = stream.claim(arrival) else { continue };
            let claim = (claim, !stream.preferred);
            if best.is_none_or(|(known, _)| claim < known) {
                (best, several) = (Some((claim, id)), false);
            } else if best.is_some_and(|(known, _)| claim == known) {
                several = true;
            }
        }
        match best {
            Some(((Claim::Host, _), _)) if several => Err(DropReason::AnyFork),
            Some((_, id)) => Ok(id),
            None => Ok(head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Verdict;
    use crate::media::{Description, Gate, StreamId};
    use crate::realm::PortRange;
    use crate::stats::Stats;
    use crate::types::{Instant, RealmId};
    use std::net::SocketAddr;

    const FORKS: u16 = 3;

    fn port(realm: u16, port: u16) -> MediaPort {
        MediaPort { realm: RealmId(realm), port }
    }

    fn pair(realm: u16, n: u16) -> EndPorts {
        EndPorts { rtp: port(realm, 20_000 + 2 * n), rtcp: port(realm, 20_001 + 2 * n) }
    }

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n as u8], 8_000))
    }

    /// Forks that share the first pair at end B.
    fn relay() -> (Relay, Vec<StreamId>) {
        let mut relay = Relay::new();
        for realm in [0, 1] {
            relay.slice(RealmId(realm), PortRange { first: 20_000, last: 20_099 });
        }
        let open = |n: u16| {
            let id = relay.open(Instant::ZERO, pair(0, n), pair(1, 0));
            for (end, rtp) in [(End::A, SocketAddr::from(([198, 51, 100, 2], 4_000))), (End::B, peer(n))] {
                let d = Description { rtp: Some(rtp), payload_types: [1, 0], ..Description::default() };
                let d = Description { trusted: end == End::B, ..d };
                relay.describe(Instant::ZERO, id, end, &[], false, d);
            }
            relay.gate(id, Gate::OPEN);
            id
        };
        let ids = (0..FORKS).map(open).collect();
        (relay, ids)
    }

    /// Where a packet of this fork's peer leaves, if it is forwarded.
    fn way(relay: &mut Relay, n: u16) -> Option<MediaPort> {
        let mut packet = [0; 172];
        packet[0] = 0x80;
        match relay.handle(Instant::ZERO, port(1, 20_000), peer(n), &packet, &mut Stats::default()) {
            Verdict::Forward { out, .. } => Some(out),
            Verdict::Drop(_) => None,
        }
    }

    #[test]
    fn a_packet_goes_to_the_fork_that_announced_its_source() {
        let (mut relay, _) = relay();
        for n in 0..FORKS {
            assert_eq!(way(&mut relay, n), Some(pair(0, n).rtp));
        }
        assert_eq!(way(&mut relay, 9), None);
    }

    #[test]
    fn forks_leave_in_any_order_and_the_others_stay() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
            let (mut relay, ids) = relay();
            for (gone, closed) in order.into_iter().enumerate() {
                relay.close(ids[closed]);
                for (place, &n) in order.iter().enumerate() {
                    let expected = (place > gone).then(|| pair(0, n as u16).rtp);
                    assert_eq!(way(&mut relay, n as u16), expected, "{order:?} after {closed}");
                }
            }
            assert!(relay.is_empty() && relay.slots.find(port(1, 20_000)).is_none());
        }
    }
}
