//! Commands from where no gateway was: a new gateway, another one of the same name, or one whose NAT has given it another
//! port. Nobody takes the place of a gateway that still answers. Only those are asked that a call agent has accepted: the
//! others might be anybody's address.

use super::names::Place;
use super::refuse::Refusal;
use super::{Mgcp, Wake};
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::guest_at;
use crate::signaling::roster::{Claim, Decision, UNPROVEN};
use crate::table::Key;
use crate::types::{Flow, Side};

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
        match self.gateways.roster.claim(cx.now, place, flow, command) {
            Claim::Moved(key) => {
                self.move_to(cx, key, flow);
                return Ok(Some(key));
            }
            Claim::New => return self.admit(cx, place, flow).map(Some),
            Claim::Examine(members, until) => {
                for key in members {
                    self.ask(cx, key);
                    self.timers.schedule(until, Wake::Verdict(key));
                }
            }
            Claim::Waits => {}
            Claim::Busy => cx.dropped(DropReason::Avalanche),
        }
        Ok(None)
    }

    /// A new gateway, until it is proven at its network's charge.
    fn admit(&mut self, cx: &Cx<'_>, place: &Place, flow: Flow) -> Result<Key, Refusal> {
        if self.gateways.roster.is_tried(place) {
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
        gateway.standing.hear(cx.now);
        if std::mem::take(&mut gateway.standing.ended) {
            self.restart(cx, key, "disconnected");
        }
        if self.gateways.roster.answered(key) {
            self.decide(cx, key);
        }
    }

    /// The time to answer is over.
    pub(super) fn verdict(&mut self, cx: &mut Cx<'_>, key: Key) {
        if self.gateways.roster.is_over(cx.now, key) {
            self.decide(cx, key);
        }
    }

    /// Who came in the name of this gateway is known now.
    fn decide(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(place) = self.gateways.get(key).map(|gateway| gateway.place.clone()) else { return };
        let Some((suspect, decision)) = self.gateways.roster.decide(&place) else { return };
        match decision {
            Decision::Moved(key) => self.move_to(cx, key, suspect.flow),
            Decision::Refused => return cx.dropped(DropReason::Unproven),
            Decision::Another if self.admit(cx, &place, suspect.flow).is_err() => {
                return cx.dropped(DropReason::Limit);
            }
            Decision::Another => {}
        }
        self.take(cx, &suspect.words, suspect.flow).ok();
    }

    /// A gateway is elsewhere: its calls go with it.
    fn move_to(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        (gateway.flow, gateway.standing.reached) = (flow, false);
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
        if self.gateways.get(key).is_some_and(|gateway| !gateway.standing.proven) {
            self.forget(cx, key);
        }
    }
}
