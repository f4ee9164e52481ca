//! Call agents: whose messages are whose, and whom a gateway notifies.

use super::Mgcp;
use super::entity::{self, read, shown, written};
use super::names::literal;
use super::refuse::Refusal;
use crate::realm::Softswitch;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::{Flow, Proto};
use crate::wire::mgcp::{Message, Verb};
use std::net::SocketAddr;
use std::sync::Arc;

use super::rewrite::Rewrite;

/// The port of a call agent where none is named (RFC 3435 section 3.5).
const AGENT_PORT: u16 = 2727;
/// The softswitch whose call agent sends from there, of this generation or an earlier one.
pub(super) fn agent_at(cx: &Cx<'_>, flow: &Flow) -> Option<Arc<Softswitch>> {
    let all = cx.mapping.softswitches.iter().chain(cx.softswitches);
    all.filter(|s| s.proto == Proto::Mgcp && s.realm == flow.realm)
        .find(|s| s.accepts(flow.remote.ip()))
        .cloned()
}

/// Commands that say, or leave as it was, whom an endpoint notifies.
const fn names_entity(verb: Verb) -> bool {
    matches!(verb, Verb::Configure | Verb::Create | Verb::Modify | Verb::Delete | Verb::Request)
}

impl Mgcp {
    /// The notified entity of a command to a gateway becomes ours. An endpoint that was never told of one is told of the
    /// call agent itself, which it would mean anyway (RFC 3435 section 4.1), when it is asked to notify: in other commands
    /// it is of no use, and there are gateways that refuse it (osmo-mgw: 539).
    pub(super) fn show_entity(
        &mut self,
        rewrite: &mut Rewrite<'_, '_>,
        key: Key,
        verb: Verb,
        local: &[u8],
        agent: SocketAddr,
    ) -> Result<(), Refusal> {
        let Some(gateway) = self.gateways.get_mut(key) else { return Ok(()) };
        let ours = gateway.ours();
        let named = rewrite.message.parameter("N");
        let value = named.map(|n| n.value.of(rewrite.message.bytes())).unwrap_or_default();
        let asks = ["X", "R"].iter().any(|name| rewrite.message.parameter(name).is_some());
        let mut serves = agent;
        if let Some(named) = named.filter(|_| !value.is_empty()) {
            serves = reach(&gateway.softswitch, value, agent).ok_or(Refusal::PROTOCOL)?;
            let number = gateway.entities.number(value, serves);
            rewrite.value(named, shown(number, ours).as_bytes());
            gateway.tell(local, names_entity(verb));
        } else if named.is_some() || names_entity(verb) && asks && !gateway.is_told(local) {
            let number = gateway.entities.number(written(agent).as_bytes(), agent);
            let shown = shown(number, ours);
            match named {
                Some(named) => rewrite.value(named, shown.as_bytes()),
                None => rewrite.add("N", shown.as_bytes()),
            }
            gateway.tell(local, false);
        }
        if names_entity(verb) {
            gateway.agent = Some(serves);
        }
        Ok(())
    }

    /// A call agent sends a gateway to another one (RFC 3435 section 2.4, code 521): the gateway is told of ours, and what
    /// it sends from now on goes there.
    pub(super) fn redirect(
        &mut self,
        rewrite: &mut Rewrite<'_, '_>,
        key: Key,
        agent: SocketAddr,
        moves: bool,
    ) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        let Some(named) = rewrite.message.parameter("N") else { return };
        let value = named.value.of(rewrite.message.bytes());
        let to = reach(&gateway.softswitch, value, agent).unwrap_or(agent);
        let number = gateway.entities.number(value, to);
        rewrite.value(named, shown(number, gateway.ours()).as_bytes());
        if moves {
            gateway.agent = Some(to);
        }
    }

    /// The notified entity in what a gateway says becomes the call agent's again: as it wrote it. Gives where that is.
    pub(super) fn restore_entity(&self, rewrite: &mut Rewrite<'_, '_>, key: Key) -> Option<SocketAddr> {
        let gateway = self.gateways.get(key)?;
        let mut agent = None;
        let message: &Message<'_> = rewrite.message;
        for named in message.all("N") {
            let value = named.value.of(message.bytes());
            if value.is_empty() {
                continue;
            }
            let entity = read(value).and_then(|name| gateway.entities.named(value, &name));
            match entity {
                Some(entity) => rewrite.value(named, &entity.written),
                None => rewrite.value(named, gateway.serves().map(written).unwrap_or_default().as_bytes()),
            }
            agent = entity.map(|entity| entity.agent);
        }
        agent
    }
}

/// Where a notified entity is: at its address, if that may speak for the softswitch; a name is taken to mean whoever wrote
/// it. `None` if it cannot be read.
fn reach(softswitch: &Softswitch, value: &[u8], agent: SocketAddr) -> Option<SocketAddr> {
    let name = entity::read(value)?;
    let ip = literal(value, &name).filter(|ip| softswitch.accepts(*ip));
    Some(match ip {
        Some(ip) => SocketAddr::new(ip, name.port.unwrap_or(AGENT_PORT)),
        None => SocketAddr::new(agent.ip(), name.port.unwrap_or(agent.port())),
    })
}
