//! Gateways: who they are, how they are reached, and whom they belong to.

use super::entity::Entities;
use super::names::Place;
use crate::random::{Keyed, Rng};
use crate::realm::{Realm, Softswitch};
use crate::signaling::Cx;
use crate::signaling::guest::{Guest, guest_at};
use crate::signaling::reading::Reading;
use crate::signaling::roster::{Member, Roster, Standing};
use crate::table::Key;
use crate::types::{Flow, Transport};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Endpoints of one gateway of which it is remembered that the call agent named whom they notify.
const MAX_TOLD: usize = 1024;

/// One gateway.
pub(super) struct Gateway {
    pub(super) place: Place,
    /// Its domain toward the call agent, in lower case.
    pub(super) name: Box<[u8]>,
    /// Its domain as it writes it.
    pub(super) domain: Box<[u8]>,
    /// The protocol's name and profile, as it writes them.
    pub(super) version: Box<[u8]>,
    pub(super) flow: Flow,
    pub(super) access: Arc<Realm>,
    pub(super) core: Arc<Realm>,
    pub(super) softswitch: Arc<Softswitch>,
    /// Our address toward the call agent.
    pub(super) home: SocketAddr,
    /// The server of the softswitch that serves it, while no call agent has said otherwise.
    pub(super) target: usize,
    /// The call agent that its messages go to.
    pub(super) agent: Option<SocketAddr>,
    pub(super) entities: Entities,
    /// Endpoints whose notified entity the call agent has named.
    told: BTreeSet<Box<[u8]>>,
    /// An endpoint of it that can be asked whether it lives.
    pub(super) endpoint: Box<[u8]>,
    pub(super) standing: Standing,
    pub(super) connections: Vec<Key>,
}

/// The gateways of a shard.
pub(super) struct Gateways {
    pub(super) roster: Roster<Gateway>,
    names: HashMap<Box<[u8]>, Key, Keyed>,
}

impl Gateways {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { roster: Roster::new(rng), names: HashMap::with_hasher(Keyed::new(rng)) }
    }

    /// A gateway of this place that is not known yet. `None` when nothing serves it, or there are too many.
    pub(super) fn add(&mut self, cx: &Cx<'_>, place: Place, flow: Flow) -> Option<Key> {
        if !self.roster.has_room(&place, cx.mapping.limits.bindings) {
            return None;
        }
        let softswitch = cx.mapping.agent(flow.realm, crate::types::Proto::Mgcp)?.clone();
        let access = cx.mapping.realm(flow.realm)?.clone();
        let core = cx.mapping.realm(softswitch.realm)?.clone();
        let home = core.home_mgcp(cx.shard)?;
        let free = |name: &Vec<u8>| !self.names.contains_key(&index(&softswitch, name)[..]);
        let name = place.names(cx, softswitch.domain.as_deref()).find(free)?;
        let names = index(&softswitch, &name);
        let gateway = Gateway {
            place,
            name: name.into(),
            domain: Box::default(),
            version: b"MGCP 1.0"[..].into(),
            flow,
            access,
            core,
            softswitch,
            home,
            target: 0,
            agent: None,
            entities: Entities::default(),
            told: BTreeSet::new(),
            endpoint: b"*"[..].into(),
            standing: Standing::new(cx.now),
            connections: Vec::new(),
        };
        let key = self.roster.insert(gateway);
        self.names.insert(names.into(), key);
        Some(key)
    }

    /// Forget a gateway.
    pub(super) fn remove(&mut self, key: Key) -> Option<Gateway> {
        let gone = self.roster.remove(key)?;
        self.names.remove(&index(&gone.softswitch, &gone.name)[..]);
        Some(gone)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Gateway> {
        self.roster.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Gateway> {
        self.roster.get_mut(key)
    }

    /// The gateway that a softswitch calls by this domain.
    pub(super) fn named(&self, softswitch: &Softswitch, domain: &[u8]) -> Option<Key> {
        self.names.get(&index(softswitch, &domain.to_ascii_lowercase())[..]).copied()
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
    pub(super) fn ours(&self) -> SocketAddr {
        SocketAddr::new(self.access.advertised, self.flow.local.port())
    }

    /// How its descriptions are read.
    pub(super) fn reading(&self) -> Reading {
        Reading::new(&self.access, &self.core)
    }

    /// The way to a call agent.
    pub(super) fn core_flow(&self, to: SocketAddr) -> Flow {
        Flow { realm: self.core.id, transport: Transport::Udp, local: self.home, remote: to, stream: None }
    }

    /// Where its messages go; `None` while the softswitch has no address.
    pub(super) fn serves(&self) -> Option<SocketAddr> {
        let target = || self.softswitch.targets.get(self.target % self.softswitch.targets.len().max(1));
        self.agent.or_else(|| target().map(|server| server.address))
    }

    /// Another server of the softswitch serves it from now on; `None` when there is none.
    pub(super) fn fail_over(&mut self) -> Option<SocketAddr> {
        let (current, targets) = (self.serves()?, &self.softswitch.targets);
        let next = (1..=targets.len()).map(|step| (self.target + step) % targets.len());
        let next = next.into_iter().find(|&at| targets[at].address != current)?;
        (self.target, self.agent) = (next, None);
        self.serves()
    }

    /// The call agent has named the entity that an endpoint notifies, or (`false`) has unnamed it.
    pub(super) fn tell(&mut self, local: &[u8], named: bool) {
        let local = local.to_ascii_lowercase();
        if !named {
            self.told.remove(&local[..]);
        } else if self.told.len() < MAX_TOLD {
            self.told.insert(local.into());
        }
    }

    /// Does an endpoint know whom it notifies?
    pub(super) fn is_told(&self, local: &[u8]) -> bool {
        self.told.contains(&local.to_ascii_lowercase()[..]) || self.told.contains(&b"*"[..])
    }

    /// Who is charged for what it sends; nobody once it is proven.
    pub(super) fn guest(&self) -> Option<Guest> {
        (!self.standing.proven).then(|| guest_at(&self.flow))
    }
}

/// Names are unique for each softswitch.
fn index(softswitch: &Softswitch, name: &[u8]) -> Vec<u8> {
    [softswitch.name.as_bytes(), b"\0", &name.to_ascii_lowercase()].concat()
}
