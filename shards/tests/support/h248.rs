//! H.248 gateways behind NAT and their controller, as scripts, in text and in binary.

use super::ber::ber;
use super::{ACCESS, CORE, Sent, World, addr, mapping, realm};
use portolan_shards::io::{Input, Listener};
use portolan_shards::realm::{Mapping, PortRange, Realm, Route, Server, Softswitch};
use portolan_shards::types::{Flow, Proto, RealmId, ShardId, Side, Transport};
use portolan_shards::wire::h248::{Command, Message, Mid};
use std::net::SocketAddr;
use std::sync::Arc;

/// The controller, and a second one of it.
pub(crate) const CONTROLLER: &str = "10.0.0.30:2944";
pub(crate) const SECOND: &str = "10.0.0.31:2944";
/// Where gateways send to.
pub(crate) const ACCESS_AT: &str = "198.51.100.10:2944";
/// What gateways call themselves behind their NATs.
pub(crate) const PRIVATE: &str = "[192.168.1.5]:2944";
/// What controllers call themselves.
pub(crate) const MGC: &str = "[10.0.0.30]:2944";

/// How messages are written: those of scripts are text, and sent as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Text,
    /// Session descriptions raw in octet strings.
    Binary,
    /// Session descriptions as IA5Strings in octet strings.
    Wrapped,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Binary, Self::Wrapped];

    pub(crate) fn written(self, text: &[u8]) -> Vec<u8> {
        match (self, std::str::from_utf8(text)) {
            (Self::Text, _) | (_, Err(_)) => text.to_vec(),
            (dialect, Ok(text)) => ber(text, dialect == Self::Wrapped),
        }
    }
}

fn with_h248(id: RealmId, name: &str, side: Side, address: &str) -> Realm {
    let h248 = match side {
        Side::Access => vec![(Transport::Udp, 2944), (Transport::Tcp, 2944)],
        Side::Core => Vec::new(),
    };
    let gateways = (side == Side::Core).then_some(PortRange { first: 30_000, last: 33_999 });
    Realm { h248, gateways, ..realm(id, name, side, address) }
}

/// Gateways in the access realm, and a controller of two servers in the core realm.
pub(crate) fn h248(shards: u16) -> Mapping {
    let targets = vec![Server::udp(addr(CONTROLLER)), Server::udp(addr(SECOND))];
    let controller = Softswitch { proto: Proto::H248, ..Softswitch::new("mgc", CORE, targets) };
    Mapping {
        realms: vec![
            Arc::new(with_h248(ACCESS, "access", Side::Access, "198.51.100.10")),
            Arc::new(with_h248(CORE, "core", Side::Core, "10.0.0.10")),
        ],
        softswitches: vec![Arc::new(controller)],
        routes: vec![Route::all(ACCESS, 0)],
        ..mapping(shards)
    }
}

/// A description of one audio stream there.
pub(crate) fn audio(at: &str) -> String {
    let (ip, port) = at.rsplit_once(':').expect("an address and a port");
    format!("v=0\r\nc=IN IP4 {ip}\r\nm=audio {port} RTP/AVP 0\r\n")
}

/// One that leaves address and port to the gateway.
pub(crate) fn choose() -> String {
    "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0\r\n".to_owned()
}

/// The flow from a gateway, seen as `from`.
pub(crate) fn gateway_at(from: &str) -> Flow {
    let (transport, local) = (Transport::Udp, addr(ACCESS_AT));
    Flow { realm: ACCESS, transport, local, remote: addr(from), stream: None }
}

/// A message that was sent, without a TPKT around it.
pub(crate) fn bare(sent: &Sent) -> &[u8] {
    if sent.flow.stream.is_some() { &sent.bytes[4..] } else { &sent.bytes }
}

/// The same, read.
pub(crate) fn read(sent: &Sent) -> Message<'_> {
    Message::parse(bare(sent)).unwrap_or_else(|unread| panic!("{unread:?}: {}", sent.text()))
}

/// Whom a message says it is from.
pub(crate) fn mid(sent: &Sent) -> Mid {
    read(sent).mid
}

/// The identifiers of its transactions.
pub(crate) fn ids(sent: &Sent) -> Vec<u32> {
    read(sent).transactions().iter().map(|transaction| transaction.id).collect()
}

/// Its first command.
pub(crate) fn command(sent: &Sent) -> Command {
    read(sent).transactions()[0].commands().next().expect("a command").1.clone()
}

/// The code of the error that it is.
pub(crate) fn error(sent: &Sent) -> Option<u16> {
    read(sent).transactions()[0].error.map(|error| error.code)
}

/// The description of the first stream of its first command.
pub(crate) fn description(sent: &Sent, local: bool, group: usize) -> String {
    let message = read(sent);
    let command = command(sent);
    let stream = command.streams.first().expect("a stream");
    let description = if local { &stream.local } else { &stream.remote };
    let group = description.as_ref().and_then(|d| d.groups.get(group).copied()).expect("a description");
    String::from_utf8(message.sdp(&group).into_owned()).expect("text")
}

/// Where a description leads to.
pub(crate) fn leads_to(sdp: &str) -> String {
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("a c= line");
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("an m= line");
    format!("{}:{}", ip.trim(), port.split(' ').next().unwrap_or_default())
}

/// Is an address of the other side in it, in either encoding?
pub(crate) fn shows(sent: &Sent, address: &str) -> bool {
    let octets = address.split('.').filter_map(|octet| octet.parse::<u8>().ok()).collect::<Vec<_>>();
    let has = |what: &[u8]| bare(sent).windows(what.len()).any(|at| at == what);
    has(address.as_bytes()) || octets.len() == 4 && has(&octets)
}

impl World {
    /// Whose socket this is, if anybody's.
    fn socket(&self, transport: Transport, local: SocketAddr) -> Option<(ShardId, Listener)> {
        let at = |(_, l): &&(ShardId, Listener)| (l.transport, l.address) == (transport, local);
        self.listeners.iter().find(at).copied()
    }

    /// Does anybody listen there for datagrams?
    pub(crate) fn listens_at(&self, local: SocketAddr) -> bool {
        self.socket(Transport::Udp, local).is_some()
    }

    /// A gateway, seen as `from`, sends to our listener.
    pub(crate) fn h248_gateway_sends(&mut self, from: &str, message: &[u8]) -> Vec<Sent> {
        self.h248_comes(gateway_at(from), message)
    }

    /// The controller at `from` sends to where the gateway is for it.
    pub(crate) fn controller_sends(&mut self, from: &str, home: SocketAddr, message: &[u8]) -> Vec<Sent> {
        let (transport, remote) = (Transport::Udp, addr(from));
        self.h248_comes(Flow { realm: CORE, transport, local: home, remote, stream: None }, message)
    }

    /// A message comes in by this flow, and leads to what is given back.
    pub(crate) fn h248_comes(&mut self, flow: Flow, message: &[u8]) -> Vec<Sent> {
        let shard = match flow.stream {
            Some(stream) => stream.shard,
            None => self.socket(flow.transport, flow.local).expect("a socket").0,
        };
        let message = &self.dialect.written(message)[..];
        let framed = [&[3, 0][..], &(message.len() as u16 + 4).to_be_bytes(), message].concat();
        let bytes = if flow.stream.is_some() { &framed[..] } else { message };
        let now = self.now;
        self.shards[usize::from(shard.0)].handle_message(now, Proto::H248, Input { flow, bytes });
        self.drained(usize::from(shard.0))
    }

    /// Whom this was sent to says this.
    pub(crate) fn h248_answers(&mut self, sent: &Sent, message: &[u8]) -> Vec<Sent> {
        self.h248_comes(sent.flow, message)
    }

    /// A gateway restarts and is accepted: where it is for its controller.
    pub(crate) fn h248_restarts(&mut self, from: &str, mid: &str) -> SocketAddr {
        let sent = self.h248_gateway_sends(from, restart(mid, 1).as_bytes());
        let up = sent.into_iter().find(|sent| sent.flow.realm == CORE).expect("a ServiceChange");
        self.h248_answers(&up, accepted(MGC, 1).as_bytes());
        up.flow.local
    }

    /// Gateways that serve.
    pub(crate) fn h248_gateways(&mut self) -> u64 {
        self.shards.iter_mut().map(|shard| shard.stats().gateways).sum()
    }
}

/// A message of one transaction.
pub(crate) fn text(mid: &str, kind: &str, id: u32, body: &str) -> String {
    format!("MEGACO/1 {mid}\n{kind} = {id} {{\n{body}\n}}")
}

/// A request of one command.
pub(crate) fn request(mid: &str, id: u32, context: &str, command: &str) -> String {
    text(mid, "Transaction", id, &format!("  Context = {context} {{ {command} }}"))
}

/// A reply of one command.
pub(crate) fn reply(mid: &str, id: u32, context: &str, command: &str) -> String {
    text(mid, "Reply", id, &format!("  Context = {context} {{ {command} }}"))
}

/// A gateway registers.
pub(crate) fn restart(mid: &str, id: u32) -> String {
    let services =
        "Services { Method = Restart, ServiceChangeAddress = 2944, Version = 1, Reason = \"901 Cold Boot\" }";
    request(mid, id, "-", &format!("ServiceChange = ROOT {{ {services} }}"))
}

/// A controller accepts.
pub(crate) fn accepted(mid: &str, id: u32) -> String {
    reply(mid, id, "-", "ServiceChange = ROOT { Services { Version = 1 } }")
}

/// A gateway saw something.
pub(crate) fn notify(mid: &str, id: u32) -> String {
    let seen = "ObservedEvents = 7 { 19990729T22000000:al/of }";
    request(mid, id, "-", &format!("Notify = aaln/1 {{ {seen} }}"))
}

/// A Media descriptor of one stream; what is empty is left out.
pub(crate) fn media(mode: &str, local: &str, remote: &str) -> String {
    let control = if mode.is_empty() { String::new() } else { format!("LocalControl {{ Mode = {mode} }}") };
    let octets = |name: &str, sdp: &str| match sdp {
        "" => String::new(),
        sdp => format!("{name} {{\r\n{sdp}}}"),
    };
    let parts = [control, octets("Local", local), octets("Remote", remote)];
    let parts = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    format!("Media {{ Stream = 1 {{ {} }} }}", parts.join(", "))
}
