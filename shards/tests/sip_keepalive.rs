//! Keepalives: what is sent, what counts as an answer, and what is learned of NATs.

mod support;

use portolan_shards::realm::{Keepalive, Mapping};
use portolan_shards::types::{Flow, Instant, Transport};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{ACCESS, Sent, World, addr, mapping};

const INTERVAL: Duration = Duration::from_secs(25);

fn flow(remote: SocketAddr) -> Flow {
    let local = addr("198.51.100.10:5060");
    Flow { realm: ACCESS, transport: Transport::Udp, local, remote, stream: None }
}

fn register(n: usize, cseq: u32) -> String {
    format!(
        "REGISTER sip:example.net SIP/2.0\nVia: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKr{n}-{cseq};rport\nMax-Forwards: 70\n\
         From: <sip:u{n}@example.net>;tag=a{cseq}\nTo: <sip:u{n}@example.net>\nCall-ID: reg-{n}\nCSeq: {cseq} REGISTER\n\
         Contact: <sip:u{n}@192.168.1.10:5060>\nExpires: 3600\nContent-Length: 0\n\n"
    )
}

fn ok(request: &Sent, more: &str) -> String {
    let lines =
        ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\n", request.header(name)));
    format!("SIP/2.0 200 OK\n{}{more}Content-Length: 0\n\n", lines.concat())
}

/// Terminal `n` registers by this flow, and the registrar agrees.
fn registers(world: &mut World, shard: usize, flow: Flow, n: usize, cseq: u32) {
    let sent = world.deliver(shard, flow, &register(n, cseq));
    let up = sent.iter().find(|sent| sent.text().starts_with("REGISTER ")).expect("a REGISTER");
    let contact = format!("Contact: {};expires=3600\n", up.header("Contact"));
    world.core_sends(&up.flow.local.to_string(), &ok(up, &contact));
}

fn at(world: &World) -> u64 {
    world.now.since(Instant::ZERO).as_secs()
}

fn is_options(sent: &Sent) -> bool {
    sent.text().starts_with("OPTIONS ")
}

#[test]
fn a_terminal_that_pings_often_is_left_alone() {
    for shards in [1, 2] {
        let mut world = World::new(mapping(shards));
        let flow = flow(addr(support::NAT));
        registers(&mut world, 0, flow, 1, 1);
        world.pass(INTERVAL).iter().filter(|sent| is_options(sent)).for_each(|probe| {
            assert_eq!(probe.flow.remote, flow.remote);
        });
        let mut asked = 0;
        for n in 0..60 {
            // Its pings come in at the last shard, wherever the registration is held.
            let pong = world.deliver_raw(usize::from(shards) - 1, flow, b"\r\n\r\n");
            assert_eq!(pong.iter().filter(|sent| &sent.bytes[..] == b"\r\n").count(), 1);
            let sent = world.pass(Duration::from_secs(15));
            asked += sent.iter().filter(|sent| n > 2 && is_options(sent)).count();
        }
        assert_eq!(asked, 0, "{shards} shards");
        assert!(world.shards.iter_mut().map(|shard| shard.stats().keepalives_spared).sum::<u64>() > 0);
        let sent = world.pass(INTERVAL * 2);
        assert!(sent.iter().any(is_options), "its pings have ended");
    }
}

#[test]
fn a_lost_datagram_is_no_miss() {
    let mut world = World::new(mapping(1));
    let flow = flow(addr(support::NAT));
    registers(&mut world, 0, flow, 1, 1);
    for _ in 0..20 {
        let mut copies = Vec::new();
        while copies.len() < 3 {
            copies.extend(world.pass(Duration::from_secs(1)).into_iter().filter(is_options));
        }
        assert!(copies.iter().all(|copy| copy.bytes == copies[0].bytes), "a repetition is the same request");
        world.deliver(0, flow, &ok(&copies[2], ""));
    }
    let stats = world.shards[0].stats();
    assert_eq!((stats.keepalives_sent, stats.keepalives_missed, stats.retransmissions), (20, 0, 40));
}

#[test]
fn keepalives_never_fall_into_step() {
    let mut world = World::new(mapping(1));
    for n in 0..200 {
        registers(&mut world, 0, flow(addr(&format!("203.0.113.7:{}", 2000 + n))), n, 1);
    }
    let mut last = HashMap::new();
    let (mut gaps, mut seconds) = (Vec::new(), HashMap::new());
    for _ in 0..600 {
        for probe in world.pass(Duration::from_secs(1)).into_iter().filter(is_options) {
            world.deliver(0, flow(probe.flow.remote), &ok(&probe, ""));
            let now = at(&world);
            gaps.extend(last.insert(probe.flow.remote, now).map(|before| now - before));
            *seconds.entry(now).or_insert(0) += 1;
        }
    }
    assert!(gaps.iter().all(|gap| (22..=29).contains(gap)), "a tenth around 25 s");
    assert!(gaps.contains(&23) && gaps.contains(&27), "and all of it");
    assert!(seconds.values().max().is_some_and(|most| *most < 40), "of 200");
}

#[test]
fn on_a_connection_a_pong_proves_life_and_who_has_none_is_asked_by_options() {
    let mut mapping = mapping(2);
    Arc::make_mut(&mut mapping.realms[0]).sip.push((Transport::Tcp, 5060));
    let mut world = World::new(mapping);
    for (n, pongs) in [true, false].into_iter().enumerate() {
        let flow = world.connects(n, Transport::Tcp, &format!("203.0.113.7:{}", 41_000 + n));
        registers(&mut world, n, flow, n, 1);
        let (mut pings, mut options) = (0, 0);
        for _ in 0..300 {
            for sent in world.pass(Duration::from_secs(1)) {
                if &sent.bytes[..] == b"\r\n\r\n" {
                    pings += 1;
                    assert_eq!(sent.flow, flow);
                    if pongs {
                        world.deliver_raw(n, flow, b"\r\n");
                    }
                } else if is_options(&sent) {
                    options += 1;
                    world.deliver(n, flow, &ok(&sent, ""));
                }
            }
        }
        let expected = if pongs { pings >= 10 && options == 0 } else { pings == 1 && options >= 9 };
        assert!(expected, "{pings} pings, {options} OPTIONS");
        let lost: u64 = world.shards.iter_mut().map(|shard| shard.stats().bindings_lost).sum();
        assert_eq!(lost, 0);
        if pongs {
            let sent = world.pass(Duration::from_secs(200));
            assert_eq!(sent.iter().filter(|sent| &sent.bytes[..] == b"\r\n\r\n").count(), 3);
            let lost: u64 = world.shards.iter_mut().map(|shard| shard.stats().bindings_lost).sum();
            assert_eq!(lost, 1, "three pongs were missed");
            world.closes(flow);
        } else {
            break;
        }
        world = World::new(with_tcp());
    }
}

fn with_tcp() -> Mapping {
    let mut mapping = mapping(2);
    Arc::make_mut(&mut mapping.realms[0]).sip.push((Transport::Tcp, 5060));
    mapping
}

/// Terminals behind NATs that forget a UDP mapping after a time of silence.
struct Nats {
    /// Public port and last outward packet of each terminal.
    terminals: Vec<(SocketAddr, u64, u32)>,
    ports: u16,
}

const TIMEOUTS: [u64; 10] = [30, 60, 180, 30, 60, 180, 30, 60, 180, 60];

impl Nats {
    fn timeout(n: usize) -> u64 {
        TIMEOUTS[n % TIMEOUTS.len()]
    }

    /// The terminal registers: its mapping is the old one if that still lives.
    fn register(&mut self, world: &mut World, n: usize) {
        let now = at(world);
        let (mut place, last, cseq) = self.terminals[n];
        if now - last > Self::timeout(n) {
            self.ports += 1;
            place.set_port(self.ports);
        }
        self.terminals[n] = (place, now, cseq + 1);
        registers(world, 0, flow(place), n, cseq + 1);
    }

    /// What is sent to a mapping that still lives is answered. Gives the terminal and its silence so far.
    fn answer(
        &mut self,
        world: &mut World,
        places: &HashMap<SocketAddr, usize>,
        probe: &Sent,
    ) -> Option<(usize, u64)> {
        let now = at(world);
        let n = *places.get(&probe.flow.remote)?;
        let (_, last, _) = &mut self.terminals[n];
        let silence = now - *last;
        if silence <= Self::timeout(n) {
            *last = now;
            world.deliver(0, flow(probe.flow.remote), &ok(probe, ""));
        }
        Some((n, silence))
    }

    fn unreachable(&self, now: u64) -> usize {
        let dead = |(n, (_, last, cseq)): &(usize, &(SocketAddr, u64, u32))| {
            *cseq > 0 && now - *last > Self::timeout(*n)
        };
        self.terminals.iter().enumerate().filter(dead).count()
    }
}

/// One hour of a thousand terminals behind ten NATs. Of its last ten minutes the keepalives, and for each NAT the silence
/// that nine of ten of them ended; of all of it the terminal-seconds without a way back.
fn an_hour(learn_max: Duration) -> (u64, usize, Vec<u64>) {
    let mut mapping = mapping(1);
    mapping.keepalive = Keepalive { interval: Duration::from_secs(20), misses: 3, learn_max };
    let mut world = World::new(mapping);
    let place = |n: usize| addr(&format!("203.0.113.{}:{}", n % 10 + 1, 1024 + n));
    let mut nats = Nats { terminals: (0..1_000).map(|n| (place(n), 0, 0)).collect(), ports: 10_000 };
    let (mut late, mut dead) = (0, 0);
    let mut silences = vec![Vec::new(); TIMEOUTS.len()];
    for second in 0..3_600_usize {
        for n in (0..1_000).filter(|n| second >= *n % 600 && (second - n % 600) % 600 == 0) {
            nats.register(&mut world, n);
        }
        let places = nats.terminals.iter().enumerate().map(|(n, t)| (t.0, n)).collect::<HashMap<_, _>>();
        for probe in world.pass(Duration::from_secs(1)).into_iter().filter(is_options) {
            let silence = nats.answer(&mut world, &places, &probe);
            late += u64::from(second >= 3_000);
            if let Some((n, silence)) = silence.filter(|_| second >= 3_000) {
                silences[n % TIMEOUTS.len()].push(silence);
            }
        }
        dead += nats.unreachable(at(&world));
    }
    let stats = world.shards[0].stats();
    assert_eq!((stats.bindings, stats.bindings_lost), (1_000, 0), "none is lost");
    silences.iter_mut().for_each(|silences| silences.sort_unstable());
    (late, dead, silences.iter().map(|silences| silences[silences.len() * 9 / 10]).collect())
}

#[test]
fn intervals_are_learned_for_each_nat_and_nobody_is_lost() {
    let (before, _, _) = an_hour(Duration::ZERO);
    let (after, dead, silences) = an_hour(Duration::from_secs(150));
    println!("keepalives to 1000 terminals in ten minutes: {before} at 20 s, {after} learned");
    println!("silences by NAT (timeouts {TIMEOUTS:?}): {silences:?}");
    println!("{dead} terminal-seconds unreachable, of {}", 1_000 * 3_600);
    assert!(after * 3 < before * 2, "{after} of {before}");
    for (silence, timeout) in silences.into_iter().zip(TIMEOUTS) {
        assert!(
            silence < timeout,
            "a NAT forgets after {timeout} s, its terminals are asked after {silence}"
        );
        assert!(
            silence * 5 >= timeout * 2,
            "a NAT allows {timeout} s, its terminals are asked after {silence}"
        );
    }
    assert!(dead * 100 < 1_000 * 3_600, "{dead}");
}
