//! What a controller's request means for bearers, before the gateway has heard of it.

use super::H248;
use super::asked::{AskedCommand, AskedStream};
use super::bearer::Selection;
use super::description::{self, Groups};
use super::draft::{Draft, Spot};
use super::refuse::Refusal;
use crate::fault::Fault;
use crate::session::Role;
use crate::signaling::Cx;
use crate::signaling::reading::at as side_at;
use crate::table::Key;
use crate::types::Side;
use crate::wire::h248::{Command, Description, Mode, Stream, Verb};

impl H248 {
    /// One command for the gateway.
    ///
    /// # Errors
    /// Why it is not passed on; what was begun for it is in `asked`.
    pub(super) fn prepare<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        command: &'m Command,
        asked: &mut AskedCommand,
    ) -> Result<(), Refusal> {
        match command.verb {
            Verb::Notify => return Err(Refusal::COMMAND),
            Verb::Add if cx.draining => return Err(Refusal::DRAINING),
            Verb::Add | Verb::Modify | Verb::Move => {
                for stream in &command.streams {
                    self.propose(cx, spot, draft, stream, asked)?;
                }
            }
            Verb::Subtract => {
                let (terminations, context) = (&command.terminations[..], asked.context);
                asked.ending = self.selected(spot.gateway, &Selection { terminations, context });
                for bearer in asked.ending.iter().filter_map(|key| self.bearers.get(*key)) {
                    cx.sessions.gate(bearer.session, false);
                }
            }
            Verb::ServiceChange => self.change_downward(spot, draft, command, asked),
            Verb::AuditValue | Verb::AuditCapability => {}
        }
        Ok(())
    }

    /// What the controller says of one stream.
    fn propose<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        stream: &'m Stream,
        asked: &mut AskedCommand,
    ) -> Result<(), Refusal> {
        let bearer = asked.termination().and_then(|one| self.bearer(spot.gateway, one, stream.id));
        let one = AskedStream { id: stream.id, mode: stream.mode, bearer, ..AskedStream::default() };
        asked.streams.push(one);
        if let Some(local) = &stream.local {
            self.give_back(spot, draft, local, bearer, Side::Access).map_err(Refusal::of_description)?;
        }
        if let Some(remote) = &stream.remote {
            let groups = description::groups(draft.message, remote);
            let settled = description::is_settled(&groups).map_err(Refusal::of_description)?;
            if settled && asked.termination().is_some() {
                self.offer(cx, spot, draft, remote, groups, asked)?;
            }
        }
        if let Some(one) = asked.streams.last_mut() {
            self.coax(cx, spot, draft, stream, one);
        }
        Ok(())
    }

    /// The controller says where media is to be sent.
    fn offer(
        &self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        remote: &Description,
        groups: Groups,
        asked: &mut AskedCommand,
    ) -> Result<(), Refusal> {
        let Some(one) = asked.streams.last_mut() else { return Ok(()) };
        let known = one.bearer.and_then(|bearer| self.bearers.get(bearer)).map(|bearer| bearer.session);
        if known.is_none() {
            one.session =
                Some(self.open_session(cx, spot.gateway, spot.flow.remote.ip()).ok_or(Refusal::FULL)?);
        }
        let session = known.or(one.session.map(|opened| opened.session)).ok_or(Refusal::FULL)?;
        let reading = self.gateways.get(spot.gateway).ok_or(Refusal::UNKNOWN)?.reading();
        let shown = description::anchor(reading, cx, session, (Side::Core, Role::Offer), &groups);
        let shown = shown.map_err(Refusal::of_description)?;
        draft.descriptions(spot.at, remote, shown).map_err(Refusal::of_description)?;
        one.offer = Some(groups);
        Ok(())
    }

    /// A gateway behind NAT that only listens cannot be found: until it was heard it is told to send too. What it sends
    /// goes nowhere.
    fn coax<'m>(
        &self,
        cx: &Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        stream: &'m Stream,
        asked: &mut AskedStream,
    ) {
        let bearer = asked.bearer.and_then(|bearer| self.bearers.get(bearer));
        let session = asked.session.map(|opened| opened.session).or(bearer.map(|bearer| bearer.session));
        let described =
            asked.offer.is_some() || bearer.is_some_and(|b| b.said[side_at(Side::Core)].is_some());
        let hidden = session.is_some_and(|session| !cx.sessions.is_latched(session));
        if asked.mode == Some(Mode::ReceiveOnly) && described && hidden {
            asked.coaxed = true;
            draft.mode(spot.at, stream, Mode::SendReceive);
        } else if asked.mode.is_none() {
            asked.coaxed = bearer.is_some_and(|bearer| bearer.coaxed);
        }
    }

    /// A description comes back to `side`, which has given it: with its own addresses.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it cannot be read.
    pub(super) fn give_back(
        &self,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        description: &Description,
        bearer: Option<Key>,
        side: Side,
    ) -> Result<(), Fault> {
        let Some(gateway) = self.gateways.get(spot.gateway) else { return Ok(()) };
        let ours = gateway.reading().ours(side.other());
        let bearer = bearer.and_then(|bearer| self.bearers.get(bearer));
        let said = bearer.and_then(|bearer| bearer.said[side_at(side)].as_ref());
        for (n, group) in description.groups.iter().enumerate() {
            let own = said.and_then(|said| said.get(n).or(said.first()));
            let body = draft.message.sdp(group);
            let body = description::restore(&body, own.map(AsRef::as_ref), ours)?;
            draft.description(spot.at, group, body)?;
        }
        Ok(())
    }

    /// Descriptions in a transaction that belong to no bearer that we know: `side` wrote them.
    ///
    /// # Errors
    /// [`Refusal::of_description`] when one cannot be read; it must not be passed on.
    pub(super) fn conceal(&self, spot: Spot, side: Side, draft: &mut Draft<'_, '_>) -> Result<(), Refusal> {
        let message = draft.message;
        let streams = message.transactions()[spot.at].commands().flat_map(|(_, command)| &command.streams);
        let mut both = streams.flat_map(|stream| [&stream.local, &stream.remote]).flatten();
        both.try_for_each(|description| self.conceal_one(spot, side, draft, description))
    }

    fn conceal_one(
        &self,
        spot: Spot,
        side: Side,
        draft: &mut Draft<'_, '_>,
        description: &Description,
    ) -> Result<(), Refusal> {
        let reading = self.gateways.get(spot.gateway).ok_or(Refusal::UNKNOWN)?.reading();
        for group in &description.groups {
            if draft.has_seen(group) {
                continue;
            }
            let body = draft.message.sdp(group);
            let settled = description::is_settled(&Groups::from_iter([body.as_ref().into()]));
            let shown = match settled.map_err(Refusal::of_description)? {
                true => reading.conceal(side, &body),
                false => description::restore(&body, None, reading.ours(side)),
            };
            let shown = shown.map_err(Refusal::of_description)?;
            draft.description(spot.at, group, shown).map_err(Refusal::of_description)?;
        }
        Ok(())
    }
}
