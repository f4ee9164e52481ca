//! A brain that echoes, for tests of the runtime, and a client to talk to it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod certificates;

use bytes::Bytes;
use portolan::runtime::{Brain, Options, Runtime};
use portolan::tls::Contexts;
use portolan_shards::io::{Crossing, DropReason, Input, Listener, Output, Verdict};
use portolan_shards::limits::{Limits, MESH_DEPTH};
use portolan_shards::realm::{Keepalive, KeepaliveMethod, Mapping, PortRange, Realm};
use portolan_shards::stats::Stats;
use portolan_shards::types::{Flow, Instant, MediaPort, Proto, RealmId, ShardId, Side, StreamId, Transport};
use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Media ports that every shard opens.
pub const OPEN_PORTS: u16 = 8;
/// Octets that `last` says before it hangs up.
pub const LAST: usize = 240_000;
/// Connections that a shard takes in its life.
pub const MOST_STREAMS: u32 = 2_500;

/// Does what the first word of a message says: `echo`, `who`, `cross N`, `flood N`, `later MS`, `bad`, `panic`; about
/// connections: `watch` (be told of them), `dial TRANSPORT ADDRESS NAME`, `last` (many octets, then the end).
/// Media goes back to its sender from the next port.
pub struct Echo {
    id: ShardId,
    outputs: VecDeque<Output>,
    later: Option<(Instant, Flow)>,
    listeners: Vec<Listener>,
    stats: Stats,
    /// Who is told of connections that end and of what comes by those that were dialled.
    watcher: Option<Flow>,
    serial: u32,
    dialled: HashSet<StreamId>,
}

impl Echo {
    fn listeners(id: ShardId, mapping: &Mapping) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for realm in &mapping.realms {
            let listener = |transport, port, shared| Listener {
                realm: realm.id,
                proto: Proto::Sip,
                transport,
                address: SocketAddr::new(realm.address, port),
                shared,
            };
            listeners.extend(realm.sip.iter().map(|&(transport, port)| listener(transport, port, true)));
            let h248 = realm.h248.iter().map(|&(transport, port)| listener(transport, port, true));
            listeners.extend(h248.map(|listener| Listener { proto: Proto::H248, ..listener }));
            let home = realm.home(id, Transport::Udp).map(|home| home.port());
            listeners.extend(home.map(|port| listener(Transport::Tcp, port, false)));
            listeners.extend(home.map(|port| listener(Transport::Udp, port, false)));
        }
        listeners
    }

    fn say(&mut self, flow: Flow, text: impl Into<Bytes>) {
        self.outputs.push_back(Output::Transmit { flow, bytes: text.into() });
    }

    fn begin(&mut self, flow: Flow) -> Flow {
        self.serial += 1;
        Flow { stream: Some(StreamId { shard: self.id, serial: self.serial }), ..flow }
    }

    /// Dials, and says hello before the connection is there.
    fn dial(&mut self, from: Flow, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let transport = Transport::named(words[1].as_bytes()).unwrap();
        let flow = Flow { transport, remote: words[2].parse().unwrap(), ..from };
        let flow = self.begin(flow);
        self.dialled.extend(flow.stream);
        let name = words.get(3).map(|name| (*name).into());
        self.outputs.push_back(Output::Connect { flow, proto: Proto::Sip, name });
        self.say(flow, "hello\r\n\r\n");
    }

    fn tell(&mut self, text: impl Into<Bytes>) {
        if let Some(watcher) = self.watcher {
            self.say(watcher, text);
        }
    }

    fn cross(&mut self, to: u16, flow: Flow, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let crossing = Crossing::Message { proto: Proto::Sip, flow, bytes, target: None };
        self.outputs.push_back(Output::Cross { to: ShardId(to), crossing });
    }
}

impl Brain for Echo {
    fn new(id: ShardId, mapping: Arc<Mapping>, _: [u8; 32], _: Instant) -> Self {
        let listeners = Self::listeners(id, &mapping);
        let mut outputs: VecDeque<_> = listeners.iter().copied().map(Output::Listen).collect();
        for realm in &mapping.realms {
            let first = realm.media.slice(mapping.shards, id).first;
            let ports = (first..first + OPEN_PORTS).map(|port| MediaPort { realm: realm.id, port });
            outputs.extend(ports.map(Output::OpenPort));
        }
        Self {
            id,
            outputs,
            later: None,
            listeners,
            stats: Stats::default(),
            watcher: None,
            serial: 0,
            dialled: HashSet::new(),
        }
    }

    fn handle_message(&mut self, now: Instant, _: Proto, input: Input<'_>) {
        let text = std::str::from_utf8(input.bytes).unwrap_or_default();
        if input.flow.stream.is_some_and(|stream| self.dialled.contains(&stream)) {
            return self.tell(format!("heard {text}"));
        }
        let (word, rest) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), "0"));
        let number = rest.parse().unwrap_or(0);
        match word {
            "who" => self.say(input.flow, self.id.0.to_string()),
            "cross" => self.cross(number, input.flow, b"crossed"),
            "flood" => (0..MESH_DEPTH + 1000).for_each(|_| self.cross(number, input.flow, b"flood")),
            "later" => self.later = Some((now + Duration::from_millis(number.into()), input.flow)),
            "bad" => self.say(Flow { local: ([192, 0, 2, 1], 1).into(), ..input.flow }, "nowhere"),
            "watch" => {
                self.watcher = Some(input.flow);
                self.say(input.flow, "watching");
            }
            "dial" => self.dial(input.flow, text),
            "last" => {
                (0..30).for_each(|_| self.say(input.flow, vec![b'x'; LAST / 30]));
                self.outputs.push_back(Output::Disconnect(input.flow));
            }
            "panic" => panic!("asked to"),
            _ => self.say(input.flow, Bytes::copy_from_slice(input.bytes)),
        }
    }

    fn handle_crossing(&mut self, _: Instant, crossing: Crossing) {
        if let Crossing::Message { flow, bytes, .. } = crossing {
            self.stats.crossings_signaling += 1;
            if &bytes[..] == b"crossed" {
                let local = self.listeners.iter().rfind(|listener| !listener.shared).unwrap().address;
                self.say(Flow { local, ..flow }, self.id.0.to_string());
            }
        }
    }

    fn accepted(&mut self, _: Instant, listener: &Listener, remote: SocketAddr) -> Option<Flow> {
        let Listener { realm, transport, address: local, .. } = *listener;
        (self.serial < MOST_STREAMS)
            .then(|| self.begin(Flow { realm, transport, local, remote, stream: None }))
    }

    fn closed(&mut self, _: Instant, flow: Flow) {
        self.tell(format!("closed {}", flow.remote));
    }

    fn handle_media(&mut self, _: Instant, at: MediaPort, from: SocketAddr, packet: &mut [u8]) -> Verdict {
        self.stats.rtp_packets += 1;
        self.stats.rtp_octets += packet.len() as u64;
        Verdict::Forward { out: MediaPort { port: at.port ^ 1, ..at }, to: from }
    }

    fn port_opened(&mut self, _: MediaPort, ok: bool) {
        self.stats.ports += u64::from(ok);
        self.stats.port_failures += u64::from(!ok);
    }

    fn dropped(&mut self, reason: DropReason) {
        self.stats.drop(reason);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((due, flow)) = self.later.take() {
            assert!(due <= now, "a timer that fires early");
            self.say(flow, "now");
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.later.map(|(due, _)| due)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn reload(&mut self, _: Instant, mapping: Arc<Mapping>) {
        let wanted = Self::listeners(self.id, &mapping);
        let gone = self.listeners.iter().filter(|old| !wanted.contains(old)).copied().map(Output::Unlisten);
        self.outputs.extend(gone);
        let new = wanted.iter().filter(|new| !self.listeners.contains(new)).copied().map(Output::Listen);
        self.outputs.extend(new);
        self.listeners = wanted;
    }

    fn drain(&mut self) {
        self.stats.refused[2] += 1;
    }

    fn stats(&mut self) -> Stats {
        self.stats
    }
}

/// One core realm at `ip`: shared port 5060, per-shard ports from 6000, media 20480 to 21503.
pub fn mapping(ip: &str, shards: u16) -> Mapping {
    let address: IpAddr = ip.parse().unwrap();
    let realm = Realm {
        sip: vec![(Transport::Udp, 5060), (Transport::Tcp, 5060)],
        per_shard: Some(6000),
        keepalive: KeepaliveMethod::Off,
        ..Realm::new(RealmId(0), "test", Side::Core, address, PortRange { first: 20480, last: 21503 })
    };
    Mapping {
        generation: 1,
        shards,
        secret: [0; 32],
        realms: vec![Arc::new(realm)],
        softswitches: Vec::new(),
        routes: Vec::new(),
        keepalive: Keepalive { interval: Duration::from_secs(25), misses: 3, learn_max: Duration::ZERO },
        limits: Limits::default(),
    }
}

/// Shards that echo, on the two first cores.
pub fn start(ip: &str, shards: u16) -> Runtime {
    try_start(mapping(ip, shards)).unwrap()
}

/// As [`start`], with a mapping of one's own.
pub fn try_start(mapping: Mapping) -> anyhow::Result<Runtime> {
    try_start_tls(mapping, Contexts::default())
}

/// As [`try_start`], with certificates.
pub fn try_start_tls(mapping: Mapping, tls: Contexts) -> anyhow::Result<Runtime> {
    Runtime::start::<Echo>(&Options {
        mapping: Arc::new(mapping),
        cores: vec![0, 1],
        seed: Some([7; 32]),
        tls: Arc::new(tls),
    })
}

/// A peer on loopback that gives up after five seconds.
pub struct Client(pub UdpSocket);

impl Client {
    /// A client on a free port.
    pub fn new(ip: &str) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    /// Sends and returns the answer and where it came from.
    pub fn ask(&self, to: SocketAddr, text: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.0.send_to(text, to).unwrap();
        self.next()
    }

    /// What comes next.
    pub fn receive(&self) -> Vec<u8> {
        self.next().0
    }

    fn next(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 65_536];
        let (len, from) = self.0.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    }
}
