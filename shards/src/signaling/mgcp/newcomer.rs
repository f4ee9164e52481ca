//! Commands from where no gateway was: a new gateway, another one of the same name, or one whose NAT has given it another
//! port. Nobody takes the place of a gateway that still answers. Only those are asked that a call agent has accepted: the
//! others might be anybody's address.

use super::gateway::Suspect;
use super::names::Place;
use super::refuse::Refusal;
use super::{Mgcp, Wake};
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::guest_at;
use crate::table::Key;
use crate::types::{Flow, Side};
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

/// How long the known gateways of a name have to answer when a command of that name comes from elsewhere.
pub(super) const EXAMINATION: Duration = Duration::from_secs(2);
/// A gateway that no call agent has accepted is forgotten after this long.
const UNPROVEN: Duration = Duration::from_secs(60);
/// Gateways of one name that no call agent has accepted yet.
const MAX_UNPROVEN: usize = 4;

impl Mgcp {
    /// The gateway that a command from an unknown flow is from. `Ok(None)`: that is not known yet; the command waits.
    ///
    /// # Errors
    /// [`Refusal::QUOTA`], [`Refusal::FULL`], or [`Refusal::UNSERVED`].
    pub(super) fn newcomer(
        &mut self,
        cx: &mut Cx<'_>,
        place: &Place,
        flow: Flow,
        command: &[u8],
    ) -> Result<Option<Key>, Refusal> {
        let all = self.gateways.family(place).map(|family| family.members.clone()).unwrap_or_default();
        let proven = |key: &Key| self.gateways.get(*key).is_some_and(|gateway| gateway.proven);
        let members = all.iter().copied().filter(proven).collect::<SmallVec<[Key; 1]>>();
        let down = |key: &&Key| self.gateways.get(**key).is_some_and(|gateway| gateway.down);
        if let Some(&key) = members.iter().find(down) {
            self.move_to(cx, key, flow);
            return Ok(Some(key));
        }
        if members.is_empty() {
            return self.admit(cx, place, flow).map(Some);
        }
        let near = |flow: &Flow| members.iter().any(|&key| self.is_of_host(key, flow));
        let suspected = self.gateways.family(place).and_then(|family| Some(family.suspect.as_ref()?.flow));
        // One of a known host comes before a stranger, who could else be examined for ever.
        let waits = suspected.filter(|known| !known.same_path(&flow) && (near(known) || !near(&flow)));
        if waits.is_some() {
            cx.dropped(DropReason::Avalanche);
            return Ok(None);
        }
        self.examine(cx, place, members, (flow, Bytes::copy_from_slice(command)));
        Ok(None)
    }

    /// The known gateways of the name are asked whether they live; what they say of whoever came from elsewhere is decided
    /// then.
    fn examine(
        &mut self,
        cx: &mut Cx<'_>,
        place: &Place,
        members: SmallVec<[Key; 1]>,
        (flow, command): (Flow, Bytes),
    ) {
        let Some(family) = self.gateways.family_mut(place) else { return };
        if let Some(suspect) = family.suspect.as_mut().filter(|suspect| suspect.flow.same_path(&flow)) {
            suspect.command = command;
            return;
        }
        let until = cx.now + EXAMINATION;
        family.suspect = Some(Suspect { flow, command, silent: members.clone(), until });
        for key in members {
            self.ask(cx, key);
            self.timers.schedule(until, Wake::Verdict(key));
        }
    }

    /// Does this come from the host that the gateway was last heard from?
    fn is_of_host(&self, key: Key, flow: &Flow) -> bool {
        let host = |flow: &Flow| flow.remote.ip().to_canonical();
        self.gateways.get(key).is_some_and(|gateway| host(&gateway.flow) == host(flow))
    }

    /// A new gateway, until it is proven at its network's charge.
    fn admit(&mut self, cx: &Cx<'_>, place: &Place, flow: Flow) -> Result<Key, Refusal> {
        let members = self.gateways.family(place).map(|family| &family.members[..]).unwrap_or_default();
        let unproven = |key: &&Key| self.gateways.get(**key).is_some_and(|gateway| !gateway.proven);
        if members.iter().filter(unproven).count() >= MAX_UNPROVEN {
            return Err(Refusal::QUOTA);
        }
        if self.transactions.of_guest(guest_at(&flow)) >= cx.mapping.limits.transactions_per_source {
            return Err(Refusal::QUOTA);
        }
        if cx.mapping.agent(flow.realm, crate::types::Proto::Mgcp).is_none() {
            return Err(Refusal::UNSERVED);
        }
        let key = self.gateways.add(cx, place.clone(), flow).ok_or(Refusal::FULL)?;
        self.timers.schedule(cx.now + UNPROVEN, Wake::Proof(key));
        Ok(key)
    }

    /// A gateway was heard by its own flow.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        gateway.hear(cx.now);
        let (place, ended) = (gateway.place.clone(), std::mem::take(&mut gateway.ended));
        if ended {
            self.restart(cx, key, "disconnected");
        }
        let suspect = self.gateways.family_mut(&place).and_then(|family| family.suspect.as_mut());
        if let Some(suspect) = suspect {
            suspect.silent.retain(|member| *member != key);
            if suspect.silent.is_empty() {
                self.decide(cx, &place);
            }
        }
    }

    /// The time to answer is over.
    pub(super) fn verdict(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(place) = self.gateways.get(key).map(|gateway| gateway.place.clone()) else { return };
        let suspect = self.gateways.family(&place).and_then(|family| family.suspect.as_ref());
        if suspect.is_some_and(|suspect| suspect.until <= cx.now) {
            self.decide(cx, &place);
        }
    }

    /// One that did not answer, and was at the same host, has been moved by its NAT; if all did, there is one more of the
    /// name. Whoever comes from another host waits until the silent one is down, if that ever was there: it may have been
    /// moved this moment, and has not spoken yet.
    fn decide(&mut self, cx: &mut Cx<'_>, place: &Place) {
        let suspect = self.gateways.family_mut(place).and_then(|family| family.suspect.take());
        let Some(suspect) = suspect else { return };
        let silent = suspect.silent.iter().copied().filter(|&key| self.gateways.get(key).is_some());
        let silent = silent.collect::<SmallVec<[Key; 1]>>();
        let reached = |key| self.gateways.get(key).is_some_and(|gateway| gateway.reached);
        let mut gone = silent.iter().copied();
        let moved = gone.find(|&key| self.is_of_host(key, &suspect.flow) || !reached(key));
        match moved {
            Some(key) => self.move_to(cx, key, suspect.flow),
            None if !silent.is_empty() => return cx.dropped(DropReason::Unproven),
            None if self.admit(cx, place, suspect.flow).is_err() => return cx.dropped(DropReason::Limit),
            None => {}
        }
        self.take(cx, &suspect.command, suspect.flow).ok();
    }

    /// A gateway is elsewhere: its calls go with it.
    fn move_to(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        (gateway.flow, gateway.reached) = (flow, false);
        cx.stats.gateways_moved += 1;
        for connection in &gateway.connections {
            if let Some(connection) = self.connections.get(*connection) {
                cx.sessions.trust(cx.now, connection.session, Side::Access, flow.remote.ip());
            }
        }
        self.hear(cx, key);
    }

    /// Was a gateway accepted in time?
    pub(super) fn check_proof(&mut self, cx: &mut Cx<'_>, key: Key) {
        if self.gateways.get(key).is_some_and(|gateway| !gateway.proven) {
            self.forget(cx, key);
        }
    }
}
