//! Messages from where no gateway was: a new gateway, another one of the same name, or one whose NAT has given it another
//! port. Nobody takes the place of a gateway that still answers. Only those are asked that a controller has accepted: the
//! others might be anybody's address.

use super::gateway::{Place, Suspect};
use super::refuse::Refusal;
use super::{H248, Wake};
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::guest_at;
use crate::table::Key;
use crate::types::{Flow, Proto, Side};
use crate::wire::h248::Message;
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::Duration;

/// How long the known gateways of a name have to answer when a message of that name comes from elsewhere.
const EXAMINATION: Duration = Duration::from_secs(2);
/// A gateway that no controller has accepted is forgotten after this long.
const UNPROVEN: Duration = Duration::from_secs(60);
/// Gateways of one name that no controller has accepted yet.
const MAX_UNPROVEN: usize = 4;

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
        let all = self.gateways.family(place).map(|family| family.members.clone()).unwrap_or_default();
        let proven = |key: &Key| self.gateways.get(*key).is_some_and(|gateway| gateway.proven);
        let members = all.iter().copied().filter(proven).collect::<SmallVec<[Key; 1]>>();
        let down = |key: &&Key| self.gateways.get(**key).is_some_and(|gateway| gateway.down);
        if let Some(&key) = members.iter().find(down) {
            self.move_to(cx, key, flow);
            return Ok(Some(key));
        }
        if members.is_empty() {
            return self.admit(cx, place, flow, message).map(Some);
        }
        let Some(family) = self.gateways.family_mut(place) else { return Ok(None) };
        match &mut family.suspect {
            Some(suspect) if suspect.flow.same_path(&flow) => {
                suspect.message = Bytes::copy_from_slice(message.bytes());
            }
            Some(_) => cx.dropped(DropReason::Avalanche),
            None => {
                let message = Bytes::copy_from_slice(message.bytes());
                let until = cx.now + EXAMINATION;
                family.suspect = Some(Suspect { flow, message, silent: members.clone(), until });
                for key in members {
                    self.ask(cx, key);
                    self.timers.schedule(until, Wake::Verdict(key));
                }
            }
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
        let members = self.gateways.family(place).map(|family| &family.members[..]).unwrap_or_default();
        let unproven = |key: &&Key| self.gateways.get(**key).is_some_and(|gateway| !gateway.proven);
        if members.iter().filter(unproven).count() >= MAX_UNPROVEN {
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
        gateway.hear(cx.now);
        let (place, ended) = (gateway.place.clone(), std::mem::take(&mut gateway.ended));
        if ended {
            self.tell_back(cx, key);
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

    /// One that did not answer has moved; if all did, there is one more of the name.
    fn decide(&mut self, cx: &mut Cx<'_>, place: &Place) {
        let suspect = self.gateways.family_mut(place).and_then(|family| family.suspect.take());
        let Some(suspect) = suspect else { return };
        let Ok(message) = Message::parse(&suspect.message) else { return };
        let silent = suspect.silent.iter().copied().find(|&key| self.gateways.get(key).is_some());
        let known = match silent {
            Some(key) => {
                self.move_to(cx, key, suspect.flow);
                true
            }
            None => self.admit(cx, place, suspect.flow, &message).is_ok(),
        };
        if known {
            self.take_from_gateway(cx, &message, suspect.flow);
        } else {
            cx.dropped(DropReason::Limit);
        }
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
        if self.gateways.get(key).is_some_and(|gateway| !gateway.proven) {
            self.forget(cx, key);
        }
    }
}
