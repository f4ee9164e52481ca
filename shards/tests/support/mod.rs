//! A shard in memory, with one access realm, one core realm and one softswitch.
#![allow(dead_code, reason = "each test file uses the part it needs")]

pub(crate) mod ber;
pub(crate) mod call;
pub(crate) mod gateways;
pub(crate) mod h248;
pub(crate) mod registering;

use bytes::Bytes;
use portolan_shards::io::{Crossing, Input, Listener, Output, Verdict};
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Keepalive, Mapping, PortRange, Realm, Route, Server, Softswitch};
use portolan_shards::shard::Shard;
use portolan_shards::types::{Flow, Instant, MediaPort, Proto, RealmId, ShardId, Side, Transport};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const ACCESS: RealmId = RealmId(0);
pub(crate) const CORE: RealmId = RealmId(1);
pub(crate) const SOFTSWITCH: &str = "10.0.0.20:5060";
/// The phone's NAT.
pub(crate) const NAT: &str = "203.0.113.7:40001";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn realm(id: RealmId, name: &str, side: Side, address: &str) -> Realm {
    let media = PortRange { first: 20_480, last: 21_503 };
    Realm {
        sip: vec![(Transport::Udp, 5060)],
        per_shard: (side == Side::Core).then_some(6000),
        ..Realm::new(id, name, side, address.parse().expect("an address"), media)
    }
}

pub(crate) fn mapping(shards: u16) -> Mapping {
    Mapping {
        generation: 1,
        shards,
        secret: [7; 32],
        realms: vec![
            Arc::new(realm(ACCESS, "access", Side::Access, "198.51.100.10")),
            Arc::new(realm(CORE, "core", Side::Core, "10.0.0.10")),
        ],
        softswitches: vec![Arc::new(Softswitch {
            domain: Some("example.net".into()),
            ..Softswitch::new("sx", CORE, vec![Server::udp(addr(SOFTSWITCH))])
        })],
        routes: vec![Route::all(ACCESS, 0)],
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits::default(),
    }
}

/// A datagram that a shard sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) flow: Flow,
    pub(crate) bytes: Bytes,
}

impl Sent {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The value of the first header of this name.
    pub(crate) fn header(&self, name: &str) -> String {
        header(&self.text(), name)
    }

    /// A response to it as its receiver would write it, with this tag in To if it has none; `more` is the rest of the
    /// headers, the blank line and the body.
    pub(crate) fn answered(&self, status: &str, tag: &str, more: &str) -> String {
        let to = self.header("To");
        let to = if to.contains("tag=") { to } else { format!("{to};tag={tag}") };
        let names = ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\n", self.header(name)));
        format!("SIP/2.0 {status}\n{}To: {to}\n{more}", names.concat())
    }
}

/// A description of one audio stream.
pub(crate) fn sdp(ip: &str, port: u16) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
}

pub(crate) fn header(text: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
}

/// One or more shards and the mesh between them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) shards: Vec<Shard>,
    pub(crate) open: HashSet<(u16, MediaPort)>,
    pub(crate) listeners: Vec<(ShardId, Listener)>,
    pub(crate) crossings: usize,
    /// Empty datagrams to terminals on hold.
    pub(crate) kept_open: Vec<(MediaPort, SocketAddr)>,
    /// Connections that shards dialled, and those that they closed.
    pub(crate) dialled: Vec<Flow>,
    pub(crate) hung_up: Vec<Flow>,
    /// The 100s that shards answered at once.
    pub(crate) trying: Vec<Sent>,
    sent: Vec<Sent>,
    /// How H.248 is written.
    pub(crate) dialect: h248::Dialect,
}

impl World {
    pub(crate) fn new(mapping: Mapping) -> Self {
        Self::seeded(mapping, 0)
    }

    /// Another start of the process has another seed.
    pub(crate) fn seeded(mapping: Mapping, seed: u8) -> Self {
        let (now, mapping) = (Instant::from_nanos(1_000_000_000), Arc::new(mapping));
        let shard = |n| Shard::new(ShardId(n), mapping.clone(), [seed + n as u8 + 1; 32], now);
        let shards = (0..mapping.shards).map(shard).collect();
        let mut world = Self {
            now,
            shards,
            open: HashSet::new(),
            listeners: Vec::new(),
            crossings: 0,
            kept_open: Vec::new(),
            dialled: Vec::new(),
            hung_up: Vec::new(),
            trying: Vec::new(),
            sent: Vec::new(),
            dialect: h248::Dialect::Text,
        };
        (0..usize::from(mapping.shards)).for_each(|n| world.drain(n));
        world
    }

    /// A message from a terminal, seen as `from`, arrives at the shared listener of shard 0.
    pub(crate) fn terminal_sends(&mut self, from: &str, text: &str) -> Vec<Sent> {
        let flow = Flow {
            realm: ACCESS,
            transport: Transport::Udp,
            local: addr("198.51.100.10:5060"),
            remote: addr(from),
            stream: None,
        };
        self.deliver(0, flow, text)
    }

    /// A terminal, seen as `from`, connects to the shared listener of shard `n`; panics if it is refused.
    pub(crate) fn connects(&mut self, n: usize, transport: Transport, from: &str) -> Flow {
        let shared = |(shard, l): &&(ShardId, Listener)| {
            usize::from(shard.0) == n && l.realm == ACCESS && l.transport == transport
        };
        let listener = self.listeners.iter().find(shared).expect("a listener").1;
        self.shards[n].accepted(self.now, &listener, addr(from)).expect("a connection")
    }

    /// A connection has ended.
    pub(crate) fn closes(&mut self, flow: Flow) -> Vec<Sent> {
        let n = usize::from(flow.stream.expect("a connection").shard.0);
        self.shards[n].closed(self.now, flow);
        self.drain(n);
        std::mem::take(&mut self.sent)
    }

    /// A message from the softswitch to one of our core addresses.
    pub(crate) fn core_sends(&mut self, local: &str, text: &str) -> Vec<Sent> {
        let local = addr(local);
        let shard = usize::from(local.port().saturating_sub(6000)) % self.shards.len();
        let (transport, remote) = (Transport::Udp, addr(SOFTSWITCH));
        let flow = Flow { realm: CORE, transport, local, remote, stream: None };
        self.deliver(if local.port() < 6000 { 0 } else { shard }, flow, text)
    }

    pub(crate) fn deliver(&mut self, shard: usize, flow: Flow, text: &str) -> Vec<Sent> {
        let bytes = text.replace("\r\n", "\n").replace('\n', "\r\n");
        self.deliver_raw(shard, flow, bytes.as_bytes())
    }

    pub(crate) fn deliver_raw(&mut self, shard: usize, flow: Flow, bytes: &[u8]) -> Vec<Sent> {
        let at = |(_, l): &&(ShardId, Listener)| (l.transport, l.address) == (flow.transport, flow.local);
        let proto = self.listeners.iter().find(at).map_or(Proto::Sip, |(_, listener)| listener.proto);
        self.shards[shard].handle_message(self.now, proto, Input { flow, bytes });
        self.drain(shard);
        std::mem::take(&mut self.sent)
    }

    pub(crate) fn media(&mut self, realm: RealmId, port: u16, from: &str, packet: &[u8]) -> Verdict {
        let at = MediaPort { realm, port };
        let owner =
            self.open.iter().find(|(_, open)| *open == at).map_or(0, |(shard, _)| usize::from(*shard));
        self.shards[owner].handle_media(self.now, at, addr(from), &mut packet.to_vec())
    }

    pub(crate) fn reload(&mut self, mapping: Mapping) {
        let mapping = Arc::new(mapping);
        for n in 0..self.shards.len() {
            self.shards[n].reload(self.now, mapping.clone());
            self.drain(n);
        }
    }

    /// Let virtual time pass, waking shards when they asked for it.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let end = self.now + time;
        while let Some((at, n)) = self.next_wake().filter(|(at, _)| *at <= end) {
            self.now = at.max(self.now);
            self.shards[n].handle_timeout(self.now);
            self.drain(n);
        }
        self.now = end;
        std::mem::take(&mut self.sent)
    }

    /// What a shard does after it was told something.
    pub(crate) fn drained(&mut self, shard: usize) -> Vec<Sent> {
        self.drain(shard);
        std::mem::take(&mut self.sent)
    }

    fn next_wake(&self) -> Option<(Instant, usize)> {
        let wakes = self.shards.iter().enumerate().filter_map(|(n, shard)| Some((shard.poll_timeout()?, n)));
        wakes.min()
    }

    fn drain(&mut self, n: usize) {
        let mut crossings = Vec::new();
        while let Some(output) = self.shards[n].poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    let own = |(shard, l): &(ShardId, Listener)| {
                        usize::from(shard.0) == n && (l.transport, l.address) == (flow.transport, flow.local)
                    };
                    let dialled = flow.stream.is_some() && self.dialled.contains(&flow);
                    let has = dialled || self.listeners.iter().any(own);
                    assert!(has, "shard {n} has no socket at {}", flow.local);
                    let trying = bytes.starts_with(b"SIP/2.0 100 ");
                    let list = if trying { &mut self.trying } else { &mut self.sent };
                    list.push(Sent { flow, bytes });
                }
                Output::KeepOpen { port, to } => {
                    assert!(self.open.contains(&(n as u16, port)), "{port:?} is not open");
                    self.kept_open.push((port, to));
                }
                Output::Connect { flow, .. } => self.dialled.push(flow),
                Output::Disconnect(flow) => self.hung_up.push(flow),
                Output::OpenPort(port) => {
                    assert!(self.open.insert((n as u16, port)), "{port:?} opened twice");
                    self.shards[n].port_opened(port, true);
                }
                Output::ClosePort(port) => {
                    assert!(self.open.remove(&(n as u16, port)), "{port:?} was not open");
                }
                Output::Listen(listener) => self.listeners.push((ShardId(n as u16), listener)),
                Output::Unlisten(listener) => {
                    self.listeners.retain(|(s, l)| (usize::from(s.0), *l) != (n, listener));
                }
                Output::Cross { to, crossing } => crossings.push((usize::from(to.0), crossing)),
            }
        }
        for (to, crossing) in crossings {
            self.cross(to, crossing);
        }
    }

    fn cross(&mut self, to: usize, crossing: Crossing) {
        self.crossings += 1;
        self.shards[to].handle_crossing(self.now, crossing);
        self.drain(to);
    }
}

/// An RTP packet of PCMU.
pub(crate) fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xff; 160]);
    packet
}
