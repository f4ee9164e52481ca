//! MGCP gateways behind NAT and their call agent, as scripts.

use super::{ACCESS, CORE, Sent, World, addr, mapping, realm};
use portolan_shards::realm::{Mapping, Realm, Route, Server, Softswitch};
use portolan_shards::types::{Flow, Proto, RealmId, Side, Transport};
use std::sync::Arc;

/// The call agent, and a second one of it.
pub(crate) const AGENT: &str = "10.0.0.30:2727";
pub(crate) const SECOND_AGENT: &str = "10.0.0.31:2727";
/// Where gateways and call agents send to first.
pub(crate) const ACCESS_AT: &str = "198.51.100.10:2427";
pub(crate) const CORE_AT: &str = "10.0.0.10:2427";
/// A gateway's name behind its NAT.
pub(crate) const PRIVATE: &str = "[192.168.1.5]";

fn with_mgcp(id: RealmId, name: &str, side: Side, address: &str) -> Arc<Realm> {
    let per_shard_mgcp = (side == Side::Core).then_some(6200);
    Arc::new(Realm { mgcp: vec![2427], per_shard_mgcp, ..realm(id, name, side, address) })
}

/// Gateways in the access realm, and a call agent of two servers in the core realm.
pub(crate) fn gateways(shards: u16) -> Mapping {
    let targets = vec![Server::udp(addr(AGENT)), Server::udp(addr(SECOND_AGENT))];
    let agent = Softswitch {
        proto: Proto::Mgcp,
        domain: Some("gw.example.net".into()),
        ..Softswitch::new("ca", CORE, targets)
    };
    Mapping {
        realms: vec![
            with_mgcp(ACCESS, "access", Side::Access, "198.51.100.10"),
            with_mgcp(CORE, "core", Side::Core, "10.0.0.10"),
        ],
        softswitches: vec![Arc::new(agent)],
        routes: vec![Route::all(ACCESS, 0)],
        ..mapping(shards)
    }
}

/// A description of one audio stream there.
pub(crate) fn audio(at: &str) -> String {
    let (ip, port) = at.rsplit_once(':').expect("an address and a port");
    format!("v=0\no=- 1 1 IN IP4 {ip}\ns=-\nc=IN IP4 {ip}\nt=0 0\nm=audio {port} RTP/AVP 0\n")
}

/// The transaction of a message.
pub(crate) fn id(sent: &Sent) -> u32 {
    sent.text().split(' ').nth(1).and_then(|id| id.trim().parse().ok()).expect("a transaction")
}

/// The endpoint that a command names.
pub(crate) fn endpoint(sent: &Sent) -> String {
    sent.text().split(' ').nth(2).expect("an endpoint").to_owned()
}

/// The domain of that.
pub(crate) fn domain(sent: &Sent) -> String {
    endpoint(sent).split('@').nth(1).expect("a domain").to_owned()
}

/// Where the description of a message leads to.
pub(crate) fn media_of(sent: &Sent) -> String {
    let text = sent.text();
    let ip = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("a c= line");
    let port = text.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("an m= line");
    format!("{ip}:{}", port.split(' ').next().unwrap_or_default())
}

impl World {
    /// A gateway, seen as `from`, sends to our listener.
    pub(crate) fn gateway_sends(&mut self, from: &str, text: &str) -> Vec<Sent> {
        self.deliver(0, gateway_at(from), text)
    }

    /// The call agent at `from` sends to one of our core addresses.
    pub(crate) fn agent_sends(&mut self, from: &str, local: &str, text: &str) -> Vec<Sent> {
        let local = addr(local);
        let shard = usize::from(local.port().saturating_sub(6200)) % self.shards.len();
        let (transport, remote) = (Transport::Udp, addr(from));
        let flow = Flow { realm: CORE, transport, local, remote, stream: None };
        self.deliver(if local.port() < 6200 { 0 } else { shard }, flow, text)
    }

    /// Whom this was sent to answers: what that leads to.
    pub(crate) fn answered(&mut self, command: &Sent, answer: &str) -> Vec<Sent> {
        let (code, rest) = answer.split_at(3);
        let text = format!("{code} {}{rest}", id(command));
        let shard = usize::from(command.flow.local.port().saturating_sub(6200)) % self.shards.len();
        let shard = if command.flow.local.port() < 6200 { 0 } else { shard };
        self.deliver(shard, command.flow, &text)
    }

    /// A gateway restarts and is accepted: its domain toward the call agent.
    pub(crate) fn restarts(&mut self, from: &str, id: u32, domain_of_it: &str) -> String {
        let sent =
            self.gateway_sends(from, &format!("RSIP {id} aaln/1@{domain_of_it} MGCP 1.0\nRM: restart\n"));
        let up = sent.into_iter().find(|sent| sent.flow.realm == CORE).expect("an RSIP at the call agent");
        self.answered(&up, "200 OK\n");
        domain(&up)
    }

    /// Gateways that serve.
    pub(crate) fn gateways(&mut self) -> u64 {
        self.shards.iter_mut().map(|shard| shard.stats().gateways).sum()
    }
}

/// The flow from a gateway, seen as `from`.
pub(crate) fn gateway_at(from: &str) -> Flow {
    let (transport, local) = (Transport::Udp, addr(ACCESS_AT));
    Flow { realm: ACCESS, transport, local, remote: addr(from), stream: None }
}
