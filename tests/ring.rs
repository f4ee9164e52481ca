//! The datagram ring with real sockets on loopback.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use portolan::io::bell::Bell;
use portolan::io::datagrams::{Arrival, Datagrams, Dscp, Forward, Kind, Loss, Sink, Slot};
use portolan::io::ring::{Ring, Sizes};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const SHARED: Kind = Kind::Signaling { shared: true };
const ROUNDS: usize = 2_000;

/// A ring and what came out of it.
struct Bench {
    ring: Ring,
    desk: Desk,
}

/// Remembers what arrives; forwards by a table.
#[derive(Default)]
struct Desk {
    seen: Vec<(Slot, SocketAddr, Vec<u8>)>,
    losses: Vec<Loss>,
    routes: HashMap<Slot, Forward>,
    echo: bool,
}

impl Sink<Ring> for Desk {
    fn arrived(&mut self, ring: &mut Ring, arrival: Arrival<'_>) -> Option<Forward> {
        self.seen.push((arrival.slot, arrival.from, arrival.payload.to_vec()));
        if self.echo {
            ring.send(arrival.slot, arrival.from, Bytes::copy_from_slice(arrival.payload)).unwrap();
        }
        self.routes.get(&arrival.slot).copied()
    }

    fn lost(&mut self, loss: Loss) {
        self.losses.push(loss);
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(Sizes { sockets: 1024, ..Sizes::default() })
    }

    fn with(sizes: Sizes) -> Self {
        let ring = Ring::new(sizes, Arc::new(Bell::new().unwrap())).unwrap();
        Self { ring, desk: Desk::default() }
    }

    /// Opens a socket on a port of `ip` that is free.
    fn open(&mut self, ip: &str, kind: Kind) -> (Slot, SocketAddr) {
        // Another test may take the port in between: try again.
        let attempt = |_| {
            let address = free_address(ip);
            self.ring.open(address, kind, Dscp::default()).ok().map(|slot| (slot, address))
        };
        (0..10).find_map(attempt).expect("a free port")
    }

    fn round(&mut self) {
        self.ring.wait(Duration::from_millis(1)).unwrap();
        self.ring.deliver(&mut self.desk);
    }

    /// Runs until `done` says so; panics after a bounded number of rounds.
    fn run_until(&mut self, what: &str, done: impl Fn(&Desk) -> bool) {
        for _ in 0..ROUNDS {
            if done(&self.desk) {
                return;
            }
            self.round();
        }
        panic!("never happened: {what}");
    }

    /// Two media sockets that forward what a peer sends to the first one, out of the second one, to another peer.
    fn relay(&mut self, ip: &str) -> (UdpSocket, SocketAddr, UdpSocket, SocketAddr) {
        let (near, near_address) = self.open(ip, Kind::Media);
        let (far, far_address) = self.open(ip, Kind::Media);
        let (sender, receiver) = (peer(ip), peer(ip));
        self.desk.routes.insert(near, Forward { slot: far, to: receiver.local_addr().unwrap() });
        (sender, near_address, receiver, far_address)
    }
}

fn peer(ip: &str) -> UdpSocket {
    let peer = UdpSocket::bind((ip, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn free_address(ip: &str) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    buffer.truncate(len);
    (buffer, from)
}

fn forwards_unchanged(ip: &str) {
    let mut bench = Bench::new();
    let (sender, near, receiver, far) = bench.relay(ip);
    for len in [0, 1, 12, 172, 1472, 2048] {
        let sent: Vec<u8> = (0..len).map(|i| i as u8).collect();
        sender.send_to(&sent, near).unwrap();
        let seen = bench.desk.seen.len();
        bench.run_until("arrival", |desk| desk.seen.len() > seen);
        bench.round();
        assert_eq!(receive(&receiver), (sent, far), "{len} octets");
    }
    assert!(bench.desk.losses.is_empty());
}

#[test]
fn forwards_octets_unchanged_over_ipv4() {
    forwards_unchanged("127.0.0.1");
}

#[test]
fn forwards_octets_unchanged_over_ipv6() {
    forwards_unchanged("::1");
}

#[test]
fn forwards_from_one_family_to_the_other() {
    let mut bench = Bench::new();
    let (v4, v4_address) = bench.open("127.0.0.1", Kind::Media);
    let (v6, v6_address) = bench.open("::1", Kind::Media);
    let (terminal, softswitch) = (peer("127.0.0.1"), peer("::1"));
    bench.desk.routes.insert(v4, Forward { slot: v6, to: softswitch.local_addr().unwrap() });
    bench.desk.routes.insert(v6, Forward { slot: v4, to: terminal.local_addr().unwrap() });
    for number in 0..20u8 {
        terminal.send_to(&[number; 172], v4_address).unwrap();
        softswitch.send_to(&[number | 0x80; 172], v6_address).unwrap();
        bench.run_until("both arrive", |desk| desk.seen.len() == (usize::from(number) + 1) * 2);
        bench.round();
        assert_eq!(receive(&softswitch), (vec![number; 172], v6_address));
        assert_eq!(receive(&terminal), (vec![number | 0x80; 172], v4_address));
    }
    assert!(bench.desk.losses.is_empty());
}

#[test]
fn loses_none_of_20000_packets_through_100_sockets() {
    let mut bench = Bench::new();
    let relays: Vec<_> = (0..50).map(|_| bench.relay("127.0.0.1")).collect();
    let mut received = 0;
    for sequence in 0..400u32 {
        for (sender, near, ..) in &relays {
            sender.send_to(&sequence.to_be_bytes(), near).unwrap();
        }
        let want = bench.desk.seen.len().next_multiple_of(50).max((sequence as usize + 1) * 50);
        bench.run_until("a burst arrives", |desk| desk.seen.len() >= want);
        bench.round();
        for (.., receiver, _) in &relays {
            assert_eq!(receive(receiver).0, sequence.to_be_bytes());
            received += 1;
        }
    }
    assert_eq!((received, bench.desk.losses.len()), (20_000, 0));
}

#[test]
fn survives_a_burst_larger_than_its_buffers() {
    let mut bench =
        Bench::with(Sizes { sockets: 64, media_buffers: 8, signaling_buffers: 2, ..Sizes::default() });
    let (sender, near, receiver, _) = bench.relay("127.0.0.1");
    for burst in 0..20u8 {
        for packet in 0..40u8 {
            sender.send_to(&[burst, packet], near).unwrap();
        }
        let want = (usize::from(burst) + 1) * 40;
        bench.run_until("the burst arrives", |desk| desk.seen.len() == want);
        bench.round();
        for packet in 0..40u8 {
            assert_eq!(receive(&receiver).0, [burst, packet]);
        }
    }
    assert!(bench.ring.figures().starved[0] > 0, "the pool ran empty, and that was counted");
}

/// Twenty neighbours speak while one port gets more than its socket holds, over and over.
fn a_flood_hurts_nobody_else(sizes: Sizes) {
    const FLOOD: usize = 1_000;
    let mut bench = Bench::with(sizes);
    let relays: Vec<_> = (0..20).map(|_| bench.relay("127.0.0.1")).collect();
    let (flooded, target) = bench.open("127.0.0.1", Kind::Media);
    let flooder = peer("127.0.0.1");
    let of_neighbours = |desk: &Desk| desk.seen.iter().filter(|(slot, ..)| *slot != flooded).count();
    for burst in 0..40u8 {
        for _ in 0..FLOOD {
            flooder.send_to(&[0; 172], target).unwrap();
        }
        for (sender, near, ..) in &relays {
            sender.send_to(&[burst; 172], near).unwrap();
        }
        let want = (usize::from(burst) + 1) * relays.len();
        bench.run_until("all neighbours are heard", |desk| of_neighbours(desk) == want);
        bench.round();
        for (.., receiver, _) in &relays {
            assert_eq!(receive(receiver).0, [burst; 172]);
        }
    }
    let of_flood = bench.desk.seen.len() - of_neighbours(&bench.desk);
    assert!(
        of_flood > 0 && of_flood < 40 * FLOOD / 2,
        "what its own socket does not hold is lost: {of_flood}"
    );
    assert!(bench.desk.losses.is_empty());
}

#[test]
fn a_flood_at_one_port_hurts_nobody_else() {
    a_flood_hurts_nobody_else(Sizes { sockets: 64, ..Sizes::default() });
}

#[test]
fn a_flood_larger_than_the_pool_hurts_nobody_else() {
    a_flood_hurts_nobody_else(Sizes { sockets: 64, media_buffers: 64, ..Sizes::default() });
}

#[test]
fn one_packet_does_not_wait_for_company_that_never_comes() {
    let mut bench = Bench::new();
    bench.ring.wait_for_company(Duration::from_millis(1));
    let (sender, near, receiver, _) = bench.relay("127.0.0.1");
    bench.round();
    for number in 0..50u8 {
        sender.send_to(&[number], near).unwrap();
        let seen = bench.desk.seen.len();
        while bench.desk.seen.len() == seen {
            // Hangs when one arrival does not end the wait.
            bench.ring.wait(Duration::from_secs(3600)).unwrap();
            bench.ring.deliver(&mut bench.desk);
        }
        bench.round();
        assert_eq!(receive(&receiver).0, [number]);
    }
}

#[test]
fn sends_more_than_its_submission_queue_holds() {
    let mut bench = Bench::new();
    let (slot, address) = bench.open("127.0.0.1", SHARED);
    let receiver = peer("127.0.0.1");
    let to = receiver.local_addr().unwrap();
    for number in 0..600u32 {
        bench.ring.send(slot, to, Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
    }
    bench.round();
    // The default receive buffer of the peer holds some 270 datagrams: the first ones are there, in order.
    for number in 0..200u32 {
        assert_eq!(receive(&receiver), (number.to_be_bytes().to_vec(), address));
    }
}

#[test]
fn answers_signaling_of_the_largest_size() {
    let mut bench = Bench::new();
    bench.desk.echo = true;
    let (_, address) = bench.open("127.0.0.1", SHARED);
    let client = peer("127.0.0.1");
    let message = vec![b'x'; 65_507];
    client.send_to(&message, address).unwrap();
    bench.run_until("arrival", |desk| desk.seen.len() == 1);
    bench.round();
    assert_eq!(receive(&client), (message, address));
}

#[test]
fn media_above_2048_octets_is_oversize() {
    let mut bench = Bench::new();
    let (sender, near, receiver, _) = bench.relay("127.0.0.1");
    sender.send_to(&[7; 3000], near).unwrap();
    bench.run_until("loss", |desk| desk.losses == [Loss::Oversize]);
    sender.send_to(&[8; 100], near).unwrap();
    bench.run_until("arrival", |desk| desk.seen.len() == 1);
    bench.round();
    assert_eq!(receive(&receiver).0, [8; 100]);
}

#[test]
fn media_ports_are_exclusive() {
    let mut bench = Bench::new();
    let (_, address) = bench.open("127.0.0.1", Kind::Media);
    for kind in [Kind::Media, SHARED] {
        let error = bench.ring.open(address, kind, Dscp::default()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    }
}

#[test]
fn a_closed_port_can_be_opened_again_at_once() {
    let mut bench = Bench::new();
    let (mut slot, address) = bench.open("127.0.0.1", Kind::Media);
    for _ in 0..100 {
        bench.ring.close(slot);
        let next = bench.ring.open(address, Kind::Media, Dscp::default()).unwrap();
        assert_ne!(next, slot);
        slot = next;
    }
    peer("127.0.0.1").send_to(b"new", address).unwrap();
    bench.run_until("arrival", |desk| !desk.seen.is_empty());
    assert_eq!(bench.desk.seen[0].0, slot);
}

#[test]
fn a_reopened_port_never_delivers_packets_of_its_past() {
    let mut bench = Bench::new();
    let (mut slot, address) = bench.open("127.0.0.1", Kind::Media);
    let sender = peer("127.0.0.1");
    for round in 0..200u8 {
        for _ in 0..5 {
            sender.send_to(&[round, 0], address).unwrap();
        }
        // The old packets are received by the kernel, and partly completed, but not delivered when the port closes.
        bench.ring.wait(Duration::from_millis(1)).unwrap();
        bench.ring.close(slot);
        slot = bench.ring.open(address, Kind::Media, Dscp::default()).unwrap();
        sender.send_to(&[round, 1], address).unwrap();
        bench.run_until("the new packet", |desk| desk.seen.len() > usize::from(round));
        let (at, _, payload) = bench.desk.seen.last().unwrap();
        assert_eq!((*at, &payload[..]), (slot, &[round, 1][..]));
    }
    assert_eq!(bench.desk.seen.len(), 200);
}

#[test]
fn what_was_sent_before_a_close_still_leaves() {
    let mut bench = Bench::new();
    let (slot, _) = bench.open("127.0.0.1", SHARED);
    let receiver = peer("127.0.0.1");
    bench.ring.send(slot, receiver.local_addr().unwrap(), Bytes::from_static(b"last words")).unwrap();
    bench.ring.close(slot);
    bench.round();
    bench.round();
    assert_eq!(receive(&receiver).0, b"last words");
}

#[test]
fn a_closed_slot_sends_nothing() {
    let mut bench = Bench::new();
    let (slot, address) = bench.open("127.0.0.1", Kind::Media);
    bench.ring.close(slot);
    bench.round();
    let refused = bench.ring.send(slot, address, Bytes::from_static(b"x"));
    assert_eq!(refused, Err(Loss::Send(libc::EBADF)));
}

#[test]
fn forwarding_by_a_closed_slot_is_a_loss() {
    let mut bench = Bench::new();
    let (sender, near, ..) = bench.relay("127.0.0.1");
    let out = bench.desk.routes.values().next().unwrap().slot;
    bench.ring.close(out);
    sender.send_to(b"x", near).unwrap();
    bench.run_until("loss", |desk| desk.losses == [Loss::Send(libc::EBADF)]);
}

#[test]
fn an_unreachable_destination_is_counted_and_hurts_nobody() {
    let mut bench = Bench::new();
    let (slot, _) = bench.open("127.0.0.1", SHARED);
    let (sender, near, receiver, _) = bench.relay("127.0.0.1");
    let v6 = "[2001:db8::1]:9".parse().unwrap();
    bench.ring.send(slot, v6, Bytes::from_static(b"x")).unwrap();
    sender.send_to(b"works", near).unwrap();
    bench.run_until("both", |desk| desk.losses.len() == 1 && desk.seen.len() == 1);
    bench.round();
    assert_eq!(receive(&receiver).0, b"works");
}

#[test]
fn a_dead_port_at_the_destination_hurts_nobody() {
    let mut bench = Bench::new();
    let (slot, address) = bench.open("127.0.0.1", SHARED);
    let dead = free_address("127.0.0.1");
    for _ in 0..10 {
        bench.ring.send(slot, dead, Bytes::from_static(b"x")).unwrap();
        bench.round();
    }
    peer("127.0.0.1").send_to(b"alive", address).unwrap();
    bench.run_until("arrival", |desk| desk.seen.len() == 1);
}

#[test]
fn a_bell_ends_the_wait() {
    let bell = Arc::new(Bell::new().unwrap());
    let mut ring = Ring::new(Sizes { sockets: 16, ..Sizes::default() }, bell.clone()).unwrap();
    let mut desk = Desk::default();
    ring.wait(Duration::ZERO).unwrap();
    for _ in 0..100 {
        let ringer = std::thread::spawn({
            let bell = bell.clone();
            move || bell.ring()
        });
        let mut rounds = 0;
        while !bell.answer() {
            ring.wait(Duration::from_secs(10)).unwrap();
            ring.deliver(&mut desk);
            rounds += 1;
            assert!(rounds < 10, "woken without a bell");
        }
        ringer.join().unwrap();
    }
}

#[test]
fn addresses_are_free_when_the_ring_is_gone() {
    let mut bench = Bench::new();
    let addresses: Vec<_> = (0..300).map(|_| bench.open("127.0.0.1", Kind::Media).1).collect();
    bench.round();
    drop(bench);
    for address in addresses {
        assert!(UdpSocket::bind(address).is_ok(), "{address} is still bound");
    }
}

#[test]
fn all_slots_taken_is_a_clear_refusal() {
    let mut bench = Bench::with(Sizes { sockets: 2, ..Sizes::default() });
    bench.open("127.0.0.1", Kind::Media);
    let (second, _) = bench.open("127.0.0.1", Kind::Media);
    let refused = bench.ring.open(free_address("127.0.0.1"), Kind::Media, Dscp::default());
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    bench.ring.close(second);
    bench.round();
    bench.round();
    bench.open("127.0.0.1", Kind::Media);
}
