//! Connections in the ring, with few buffers, few slots, and peers that do not read.
#![allow(clippy::unwrap_used)]

use portolan::io::bell::Bell;
use portolan::io::datagrams::{Arrival, Datagrams, Dscp, Forward, Loss, Sink};
use portolan::io::ring::{Ring, Sizes};
use portolan::io::streams::{Event, MAX_QUEUED, Refusal, StreamSink, StreamSlot, Streams};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const ROUNDS: usize = 20_000;

/// Remembers what happens.
#[derive(Default)]
struct Desk {
    slots: Vec<StreamSlot>,
    received: usize,
    connected: usize,
    refused: Vec<i32>,
    ended: Vec<(StreamSlot, i32)>,
}

impl Sink<Ring> for Desk {
    fn arrived(&mut self, _: &mut Ring, _: Arrival<'_>) -> Option<Forward> {
        None
    }

    fn lost(&mut self, _: Loss) {}
}

impl StreamSink<Ring> for Desk {
    fn happened(&mut self, _: &mut Ring, event: Event<'_>) {
        match event {
            Event::Accepted { slot, .. } => self.slots.push(slot),
            Event::Refused(errno) => self.refused.push(errno),
            Event::Connected(_) => self.connected += 1,
            Event::Received(_, octets) => self.received += octets.len(),
            Event::Ended(slot, errno) => self.ended.push((slot, errno)),
        }
    }
}

struct Bench {
    ring: Ring,
    desk: Desk,
    address: SocketAddr,
}

impl Bench {
    /// Listens at a free port of `ip`.
    fn new(ip: &str, sizes: Sizes) -> Self {
        let mut ring = Ring::new(sizes, Arc::new(Bell::new().unwrap())).unwrap();
        let address = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
        ring.listen(address, false, Dscp::default()).unwrap();
        Self { ring, desk: Desk::default(), address }
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Desk) -> bool) {
        for _ in 0..ROUNDS {
            if done(&self.desk) {
                return;
            }
            self.ring.wait(Duration::from_millis(1)).unwrap();
            self.ring.deliver(&mut self.desk);
            self.ring.deliver_streams(&mut self.desk);
        }
        panic!("never happened: {what}");
    }

    /// A connection from both ends.
    fn connect(&mut self) -> (TcpStream, StreamSlot) {
        let peer = TcpStream::connect(self.address).unwrap();
        let before = self.desk.slots.len();
        self.run_until("accepted", |desk| desk.slots.len() > before);
        (peer, self.desk.slots[before])
    }
}

fn sizes() -> Sizes {
    Sizes { sockets: 16, ..Sizes::default() }
}

#[test]
fn nothing_is_lost_when_all_buffers_are_taken() {
    let mut bench = Bench::new("127.0.55.1", Sizes { stream_buffers: 2, ..sizes() });
    let address = bench.address;
    let senders: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                TcpStream::connect(address).unwrap().write_all(&[1; 1_000_000]).unwrap();
            })
        })
        .collect();
    bench.run_until("all octets", |desk| desk.received == 4_000_000 && desk.ended.len() == 4);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn a_full_table_refuses_and_recovers() {
    let mut bench = Bench::new("127.0.55.2", Sizes { streams: 2, ..sizes() });
    let (first, _) = bench.connect();
    let mut second = TcpStream::connect(bench.address).unwrap();
    bench.run_until("refused", |desk| desk.refused.len() == 1);
    assert_eq!(second.read(&mut [0]).unwrap_or(0), 0);
    drop(first);
    bench.run_until("ended", |desk| desk.ended.len() == 1);
    let (_, again) = bench.connect();
    assert_ne!(again, bench.desk.slots[0], "a new generation");
}

#[test]
fn a_queue_that_is_full_says_so() {
    let mut bench = Bench::new("127.0.55.3", sizes());
    let (_peer, slot) = bench.connect();
    let refusal = (0..MAX_QUEUED).find_map(|_| bench.ring.write(slot, &[0; 4096]).err());
    assert_eq!(refusal, Some(Refusal::Overflow));
    bench.ring.abort(slot);
    assert_eq!(bench.ring.write(slot, b"x"), Err(Refusal::Gone));
}

#[test]
fn a_slot_that_was_given_back_names_nobody() {
    let mut bench = Bench::new("127.0.55.4", sizes());
    let (old_peer, old) = bench.connect();
    bench.ring.abort(old);
    drop(old_peer);
    let mut fresh = bench.connect();
    for _ in 0..100 {
        if fresh.1.index() == old.index() {
            break;
        }
        fresh = bench.connect();
    }
    assert_eq!(bench.ring.write(old, b"x"), Err(Refusal::Gone));
    bench.ring.finish(old);
    bench.ring.abort(old);
    bench.ring.write(fresh.1, b"y").unwrap();
    bench.ring.wait(Duration::ZERO).unwrap();
    let mut octet = [0];
    fresh.0.read_exact(&mut octet).unwrap();
    assert_eq!(&octet, b"y");
}

#[test]
fn a_ring_goes_with_writes_and_dials_under_way() {
    for _ in 0..5 {
        let mut bench = Bench::new("127.0.55.5", sizes());
        let (peer, slot) = bench.connect();
        for _ in 0..60 {
            bench.ring.write(slot, &[7; 4096]).unwrap();
        }
        // Nobody answers there.
        bench.ring.connect([127, 0, 55, 5].into(), ([192, 0, 2, 1], 9).into(), Dscp::default()).ok();
        bench.ring.wait(Duration::ZERO).unwrap();
        let address = bench.address;
        drop(bench);
        assert!(TcpListener::bind(address).is_ok());
        drop(peer);
    }
}

#[test]
fn a_finished_connection_ends_although_its_peer_never_reads() {
    let mut bench = Bench::new("127.0.55.6", Sizes { streams: 2, ..sizes() });
    let (_peer, slot) = bench.connect();
    for _ in 0..MAX_QUEUED / 4096 {
        bench.ring.write(slot, &[7; 4096]).unwrap();
    }
    bench.ring.finish(slot);
    // Its place is free again once the patience of the ring is over.
    let _waiting = TcpStream::connect(bench.address).unwrap();
    bench.run_until("refused", |desk| desk.refused.len() == 1);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(100));
        let _another = TcpStream::connect(bench.address).unwrap();
        let (seen, refused) = (bench.desk.slots.len(), bench.desk.refused.len());
        bench.run_until("an answer", |desk| desk.slots.len() > seen || desk.refused.len() > refused);
        if bench.desk.slots.len() > seen {
            return;
        }
    }
    panic!("the slot was never released");
}
