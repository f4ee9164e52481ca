//! Gateways: who they are, how they are reached, and whom they belong to.
//!
//! Toward its controller each gateway has an address of ours for itself, which is also its name there: one of the core
//! realm's `gateways` ports. It is drawn from who the gateway is, so that it has the same one after a restart of ours.

use crate::io::{Listener, Output};
use crate::random::{Keyed, Rng};
use crate::realm::{Realm, Server, Softswitch};
use crate::signaling::Cx;
use crate::signaling::guest::{Charges, Guest, guest_at};
use crate::signaling::reading::Reading;
use crate::signaling::roster::{Member, Roster, Standing};
use crate::signaling::streams::Lane;
use crate::table::Key;
use crate::types::{Flow, Proto, StreamId, Transport};
use crate::wire::h248::{Encoding, Mid};
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Gateways of one network that no controller has accepted yet may have one in so many of a shard's addresses.
const UNPROVEN_SHARE: usize = 4;

/// Who a gateway is, as far as its messages tell: gateways of one place are told apart by where they send from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The name of its access realm: that stays when the realm's media ports, and with them its number, change.
    realm: Box<str>,
    /// Its public address.
    ip: IpAddr,
    /// Its own name.
    mid: Mid,
}

impl Place {
    /// The place that a message from the access side names.
    pub(super) fn of(cx: &Cx<'_>, flow: &Flow, mid: &Mid) -> Self {
        let mid = match mid {
            Mid::Domain(name, port) => Mid::Domain(name.to_ascii_lowercase().into(), *port),
            Mid::Device(name) => Mid::Device(name.to_ascii_lowercase().into()),
            other => other.clone(),
        };
        let realm = cx.realm(flow).map(|realm| realm.name.as_str().into()).unwrap_or_default();
        Self { realm, ip: flow.remote.ip().to_canonical(), mid }
    }

    /// A number that is always the same for this place.
    fn tag(&self, cx: &Cx<'_>) -> u64 {
        cx.sealer.tag(format!("gateway {} {} {}", self.realm, self.ip, self.mid).as_bytes())
    }
}

/// One gateway.
pub(super) struct Gateway {
    pub(super) place: Place,
    /// How it writes.
    pub(super) encoding: Encoding,
    pub(super) version: u8,
    pub(super) flow: Flow,
    pub(super) access: Arc<Realm>,
    pub(super) core: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
    /// Our address for it toward the controller.
    pub(super) home: SocketAddr,
    /// Which of the dialled connections is its own.
    lane: Lane,
    /// The connection to its controller.
    pub(super) line: Option<Flow>,
    /// The server of the softswitch that serves it, while no controller has said otherwise.
    pub(super) target: usize,
    /// The server that a controller has named.
    pub(super) named: Option<Server>,
    pub(super) standing: Standing,
    /// Who is charged for it until it is proven: the number of its realm may be another one by then.
    charged: Guest,
    pub(super) bearers: Vec<Key>,
}

/// The gateways of a shard.
pub(super) struct Gateways {
    pub(super) roster: Roster<Gateway>,
    /// By our address toward the controller.
    homes: HashMap<SocketAddr, Key, Keyed>,
    /// By the connection to the controller.
    lines: HashMap<StreamId, Key, Keyed>,
    /// By the connection that they came by.
    connected: HashMap<StreamId, SmallVec<[Key; 1]>, Keyed>,
    /// Gateways that no controller has accepted yet, by their network.
    unproven: Charges,
    lanes: u32,
}

impl Gateways {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            roster: Roster::new(rng),
            homes: HashMap::with_hasher(Keyed::new(rng)),
            lines: HashMap::with_hasher(Keyed::new(rng)),
            connected: HashMap::with_hasher(Keyed::new(rng)),
            unproven: Charges::new(rng),
            lanes: 0,
        }
    }

    /// A gateway of this place that is not known yet. `None` when nothing serves it, or there are too many.
    pub(super) fn add(
        &mut self,
        cx: &mut Cx<'_>,
        place: Place,
        flow: Flow,
        (encoding, version): (Encoding, u8),
    ) -> Option<Key> {
        if !self.roster.has_room(&place, cx.mapping.limits.bindings) {
            return None;
        }
        let softswitch = cx.mapping.agent(flow.realm, Proto::H248)?.clone();
        let access = cx.mapping.realm(flow.realm)?.clone();
        let core = cx.mapping.realm(softswitch.realm)?.clone();
        let home = self.free_home(cx, &core, &place)?;
        let charged = guest_at(&flow);
        self.unproven.charge(Some(charged));
        self.lanes = self.lanes.wrapping_add(1).max(1);
        let gateway = Gateway {
            place,
            encoding,
            version,
            flow,
            access,
            core,
            softswitch,
            home,
            lane: Lane { proto: Proto::H248, number: self.lanes },
            line: None,
            target: 0,
            named: None,
            standing: Standing::new(cx.now),
            charged,
            bearers: Vec::new(),
        };
        cx.out.push_back(Output::Listen(gateway.listener()));
        let key = self.roster.insert(gateway);
        self.homes.insert(home, key);
        self.come_by(key, flow);
        Some(key)
    }

    /// A gateway is reached by this flow from now on.
    pub(super) fn come_by(&mut self, key: Key, flow: Flow) {
        let Some(gateway) = self.roster.get_mut(key) else { return };
        let before = std::mem::replace(&mut gateway.flow, flow);
        gateway.standing.reached = false;
        self.leave(key, &before);
        if let Some(stream) = flow.stream {
            self.connected.entry(stream).or_default().push(key);
        }
    }

    /// A gateway comes by this flow no more. Its connection may stay, and bring ever new ones.
    fn leave(&mut self, key: Key, flow: &Flow) {
        let Some((stream, keys)) = flow.stream.and_then(|at| Some((at, self.connected.get_mut(&at)?))) else {
            return;
        };
        keys.retain(|one| *one != key);
        if keys.is_empty() {
            self.connected.remove(&stream);
        }
    }

    /// A gateway's connection is no more: whose it was.
    pub(super) fn take_connected(&mut self, flow: &Flow) -> SmallVec<[Key; 1]> {
        flow.stream.and_then(|stream| self.connected.remove(&stream)).unwrap_or_default()
    }

    /// Have gateways of this network that nobody has accepted taken enough of our addresses?
    pub(super) fn is_crowded(&self, cx: &Cx<'_>, core: &Realm, guest: Guest) -> bool {
        let share = core.gateways.map_or(0, |ports| ports.share(cx.mapping.shards, cx.shard).len());
        self.unproven.of(guest) >= (share / UNPROVEN_SHARE).max(1)
    }

    /// A controller has accepted a gateway; false if it had before.
    pub(super) fn prove(&mut self, key: Key) -> bool {
        let Some(gateway) = self.roster.get_mut(key) else { return false };
        let guest = gateway.guest();
        gateway.standing.proven = true;
        self.unproven.discharge(guest);
        guest.is_some()
    }

    /// An address of ours that no gateway has: the one that this place has always had, or the next.
    fn free_home(&self, cx: &Cx<'_>, core: &Realm, place: &Place) -> Option<SocketAddr> {
        let share = core.gateways?.share(cx.mapping.shards, cx.shard);
        let (first, len) = (*share.start(), share.len() as u64);
        let start = place.tag(cx).checked_rem(len)?;
        let each = (0..len).map(|step| first + ((start + step) % len) as u16);
        let mut each = each.map(|port| SocketAddr::new(core.address, port));
        each.find(|home| !self.homes.contains_key(home))
    }

    /// Forget a gateway, and give its address back.
    pub(super) fn remove(&mut self, cx: &mut Cx<'_>, key: Key) -> Option<Gateway> {
        let gone = self.take_out(key)?;
        gone.line.iter().for_each(|line| self.hang_up(cx, line));
        cx.out.push_back(Output::Unlisten(gone.listener()));
        Some(gone)
    }

    /// Nothing is known of a gateway any more but the connection to its controller.
    fn take_out(&mut self, key: Key) -> Option<Gateway> {
        let gone = self.roster.remove(key)?;
        self.unproven.discharge(gone.guest());
        self.homes.remove(&gone.home);
        self.leave(key, &gone.flow);
        Some(gone)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Gateway> {
        self.roster.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Gateway> {
        self.roster.get_mut(key)
    }

    /// The gateway that a controller means by sending there.
    pub(super) fn meant(&self, flow: &Flow) -> Option<Key> {
        match flow.stream {
            Some(stream) => self.lines.get(&stream).copied(),
            None => self.homes.get(&flow.local).copied(),
        }
    }

    /// The way to a gateway's controller; its connection is dialled if there is none. `None` while the softswitch has no
    /// address.
    pub(super) fn up(&mut self, cx: &mut Cx<'_>, key: Key) -> Option<Flow> {
        let gateway = self.roster.get_mut(key)?;
        let server = gateway.serves()?.clone();
        let flow = cx.toward(gateway.lane, &gateway.core, gateway.home, &server);
        let before = gateway.line.take_if(|line| line.stream != flow.stream);
        if let Some(stream) = flow.stream {
            gateway.line = Some(flow);
            self.lines.insert(stream, key);
        }
        before.into_iter().for_each(|line| self.hang_up(cx, &line));
        Some(flow)
    }

    /// A connection to a controller is of no more use.
    fn hang_up(&mut self, cx: &mut Cx<'_>, line: &Flow) {
        if let Some(stream) = line.stream {
            self.lines.remove(&stream);
        }
        if cx.streams.forget(line) {
            cx.out.push_back(Output::Disconnect(*line));
        }
    }

    /// A connection to a controller is no more: whose it was.
    pub(super) fn cut(&mut self, flow: &Flow) -> Option<Key> {
        let key = self.lines.remove(&flow.stream?)?;
        let gateway = self.roster.get_mut(key)?;
        gateway.line.take_if(|line| line.stream == flow.stream);
        Some(key)
    }
}

impl Member for Gateway {
    type Place = Place;

    fn place(&self) -> &Place {
        &self.place
    }

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

impl Gateway {
    /// Our address, as the gateway sees it.
    pub(super) fn ours(&self) -> Mid {
        Mid::Ip(self.access.advertised, Some(self.flow.local.port()))
    }

    /// Its own name, as the controller sees it.
    pub(super) fn name(&self) -> Mid {
        Mid::Ip(self.core.advertised, Some(self.home.port()))
    }

    /// The socket that its controller sends to.
    pub(super) fn listener(&self) -> Listener {
        let (realm, address) = (self.core.id, self.home);
        Listener { realm, proto: Proto::H248, transport: Transport::Udp, address, shared: false }
    }

    /// How its descriptions are read.
    pub(super) fn reading(&self) -> Reading {
        Reading::new(&self.access, &self.core)
    }

    /// Where its messages go; `None` while the softswitch has no address.
    pub(super) fn serves(&self) -> Option<&Server> {
        let target = || self.softswitch.targets.get(self.target % self.softswitch.targets.len().max(1));
        self.named.as_ref().or_else(target)
    }

    /// Another server of the softswitch serves it from now on; false when there is none.
    pub(super) fn fail_over(&mut self) -> bool {
        let targets = &self.softswitch.targets;
        let Some(current) = self.serves().map(|server| server.address) else { return false };
        let next = (1..=targets.len()).map(|step| (self.target + step) % targets.len());
        let Some(next) = next.into_iter().find(|&at| targets[at].address != current) else { return false };
        (self.target, self.named) = (next, None);
        true
    }

    /// Who is charged for what it sends; nobody once it is proven.
    pub(super) fn guest(&self) -> Option<Guest> {
        (!self.standing.proven).then_some(self.charged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::PortRange;
    use crate::types::{Instant, RealmId, ShardId, Side};

    /// The way by the connection of this number.
    fn by(serial: u32) -> Flow {
        let stream = Some(StreamId { shard: ShardId(0), serial });
        let (local, remote) = ("198.51.100.10:2944".parse().unwrap(), "203.0.113.7:40000".parse().unwrap());
        Flow { realm: RealmId(0), transport: Transport::Tcp, local, remote, stream }
    }

    fn realm(number: u16, side: Side) -> Arc<Realm> {
        let media = PortRange { first: 16_384, last: 32_767 };
        Arc::new(Realm::new(RealmId(number), "realm", side, [10, 0, 0, 10].into(), media))
    }

    /// A gateway of this name, by the connection of this number.
    fn gateway(name: &str, serial: u32) -> Gateway {
        let flow = by(serial);
        let place = Place { realm: "access".into(), ip: flow.remote.ip(), mid: Mid::Device(name.into()) };
        Gateway {
            place,
            encoding: Encoding::Text,
            version: 1,
            flow,
            access: realm(0, Side::Access),
            core: realm(1, Side::Core),
            softswitch: Arc::new(Softswitch::new("controller", RealmId(1), Vec::new())),
            home: "10.0.0.10:14000".parse().unwrap(),
            lane: Lane::shared(Proto::H248),
            line: None,
            target: 0,
            named: None,
            standing: Standing::new(Instant::ZERO),
            charged: guest_at(&flow),
            bearers: Vec::new(),
        }
    }

    /// Gateways that came by connection 1.
    fn come(names: [&str; 2]) -> (Gateways, [Key; 2]) {
        let mut gateways = Gateways::new(&mut Rng::new([1; 32]));
        let keys = names.map(|name| {
            let key = gateways.roster.insert(gateway(name, 1));
            gateways.come_by(key, by(1));
            key
        });
        (gateways, keys)
    }

    #[test]
    fn a_connection_is_of_those_gateways_that_still_come_by_it() {
        let (mut gateways, [first, second]) = come(["first", "second"]);
        gateways.come_by(first, by(2));
        assert_eq!(gateways.connected[&by(1).stream.unwrap()][..], [second]);
        gateways.come_by(second, by(2));
        assert_eq!(gateways.connected.len(), 1, "nobody comes by the old one");
        assert_eq!(gateways.take_connected(&by(2))[..], [first, second]);
        assert!(gateways.connected.is_empty());
    }

    #[test]
    fn a_connection_forgets_a_gateway_that_is_no_more() {
        let (mut gateways, [first, second]) = come(["first", "second"]);
        assert!(gateways.take_out(first).is_some());
        assert_eq!(gateways.connected[&by(1).stream.unwrap()][..], [second]);
        assert!(gateways.take_out(second).is_some() && gateways.connected.is_empty());
    }
}
