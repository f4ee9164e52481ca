//! Messages from where no gateway was: a new gateway, another one of the same name, or one whose NAT has given it another
//! port. Nobody takes the place of a gateway that still answers. Only those are asked that a controller has accepted: the
//! others might be anybody's address.

use super::gateway::Place;
use super::refuse::Refusal;
use super::{H248, Wake};
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::guest_at;
use crate::signaling::roster::{Claim, Decision, UNPROVEN};
use crate::table::Key;
use crate::types::{Flow, Proto, Side};
use crate::wire::h248::Message;

impl H248 {
    /// The gateway that a request from an unknown flow is from. `Ok(None)`: that is not known yet; the message waits.
    ///
    /// # Errors
    /// [`Refusal::QUOTA`], [`Refusal::FULL`], or [`Refusal::UNSERVED`].
    pub(super) fn newcomer(
        &mut self,
        cx: &mut Cx<'_>,
        place: &Place,
        flow: Flow,
        message: &Message<'_>,
    ) -> Result<Option<Key>, Refusal> {
        match self.gateways.roster.claim(cx.now, place, flow, message.bytes()) {
            Claim::Moved(key) => {
                self.move_to(cx, key, flow);
                return Ok(Some(key));
            }
            Claim::New => return self.admit(cx, place, flow, message).map(Some),
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
    fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        place: &Place,
        flow: Flow,
        message: &Message<'_>,
    ) -> Result<Key, Refusal> {
        if self.gateways.roster.is_tried(place) {
            return Err(Refusal::QUOTA);
        }
        if self.transactions.of_guest(guest_at(&flow)) >= cx.mapping.limits.transactions_per_source {
            return Err(Refusal::QUOTA);
        }
        let agent = cx.mapping.agent(flow.realm, Proto::H248).ok_or(Refusal::UNSERVED)?;
        let core = cx.mapping.realm(agent.realm).ok_or(Refusal::UNSERVED)?;
        if self.gateways.is_crowded(cx, core, guest_at(&flow)) {
            return Err(Refusal::QUOTA);
        }
        let manner = (message.encoding, message.version);
        let key = self.gateways.add(cx, place.clone(), flow, manner).ok_or(Refusal::FULL)?;
        self.timers.schedule(cx.now + UNPROVEN, Wake::Proof(key));
        Ok(key)
    }

    /// A gateway was heard by its own flow.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(gateway) = self.gateways.get_mut(key) else { return };
        gateway.standing.hear(cx.now);
        if std::mem::take(&mut gateway.standing.ended) {
            self.tell_back(cx, key);
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
        let Ok(message) = Message::parse(&suspect.words) else { return };
        match decision {
            Decision::Moved(key) => self.move_to(cx, key, suspect.flow),
            Decision::Refused => return cx.dropped(DropReason::Unproven),
            Decision::Another if self.admit(cx, &place, suspect.flow, &message).is_err() => {
                return cx.dropped(DropReason::Limit);
            }
            Decision::Another => {}
        }
        self.take_from_gateway(cx, &message, suspect.flow);
    }

    /// A gateway is elsewhere: its calls go with it.
    fn move_to(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow) {
        self.gateways.come_by(key, flow);
        let Some(gateway) = self.gateways.get(key) else { return };
        cx.stats.gateways_moved += 1;
        for bearer in &gateway.bearers {
            if let Some(bearer) = self.bearers.get(*bearer) {
                cx.sessions.trust(cx.now, bearer.session, Side::Access, flow.remote.ip());
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
