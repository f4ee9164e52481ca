//! Replies on their way back, and what they change.

use super::H248;
use super::asked::{Asked, AskedCommand, AskedStream};
use super::bearer::{Bearer, Ended, Opened, Selection};
use super::description;
use super::draft::{Draft, Spot};
use super::own::send;
use super::report;
use super::transaction::Name;
use crate::fault::Fault;
use crate::io::DropReason;
use crate::session::Role;
use crate::signaling::Cx;
use crate::table::Key;
use crate::types::Side;
use crate::wire::h248::build::Envelope;
use crate::wire::h248::{Acked, Command, Context, Kind, Stream, Termination, Verb};
use bytes::Bytes;

impl H248 {
    /// A reply, or that there will be one, from `from`.
    pub(super) fn take_answer(&mut self, cx: &mut Cx<'_>, spot: Spot, draft: &mut Draft<'_, '_>, from: Side) {
        let answer = &draft.message.transactions()[spot.at];
        let name = Name { gateway: spot.gateway, toward: from, id: answer.id };
        let known = self.transactions.named(name);
        let Some((key, transaction)) = known.and_then(|key| Some((key, self.transactions.get_mut(key)?)))
        else {
            return cx.dropped(DropReason::Unmatched);
        };
        transaction.heard = true;
        if let Some(gateway) = self.gateways.get_mut(spot.gateway).filter(|_| from == Side::Access) {
            gateway.standing.reached |= gateway.flow.same_path(&spot.flow);
        }
        let Some(back) = transaction.back else {
            return self.take_own(cx, spot, draft, key, from);
        };
        if answer.kind == Kind::Pending {
            transaction.keep(cx.now);
            return draft.send(spot.at, back);
        }
        if transaction.done {
            // It has not been acknowledged yet: what was answered is said again.
            return transaction.answer.iter().for_each(|answer| send(cx, back, answer));
        }
        let whole = answer.segment.is_none_or(|segment| segment.last);
        let mut asked = std::mem::take(&mut transaction.asked);
        let result = match from {
            Side::Access => self.gateway_answers(cx, spot, draft, &mut asked, whole),
            Side::Core => self.controller_answers(cx, spot, draft, &mut asked),
        };
        match result {
            Ok(()) => {
                draft.answers.push((spot.at, key, whole));
                draft.send(spot.at, back);
            }
            Err(fault) => {
                tracing::debug!(%fault, "reply not passed on");
                self.take_back(cx, spot, draft, key, &mut asked);
            }
        }
        if let Some(transaction) = self.transactions.get_mut(key).filter(|_| !whole) {
            transaction.asked = asked;
        }
    }

    /// A request of our own was answered.
    fn take_own(&mut self, cx: &mut Cx<'_>, spot: Spot, draft: &Draft<'_, '_>, key: Key, from: Side) {
        let answer = &draft.message.transactions()[spot.at];
        if answer.kind == Kind::Pending {
            return;
        }
        let Some(gateway) = self.gateways.get(spot.gateway) else { return };
        if answer.ack_required {
            let mid = Self::our_mid(gateway, from);
            let with = Envelope { encoding: gateway.encoding, version: gateway.version, mid: &mid };
            let acknowledgement = with.acknowledge(&[Acked { first: answer.id, last: answer.id }]);
            send(cx, spot.flow, &acknowledgement);
        }
        if from == Side::Access {
            self.hear(cx, spot.gateway);
        }
        self.transactions.remove(key);
    }

    /// A gateway's reply cannot be passed on: its controller is told so, and bearers that were made are taken back.
    fn take_back(&mut self, cx: &mut Cx<'_>, spot: Spot, draft: &Draft<'_, '_>, key: Key, asked: &mut Asked) {
        let reply = &draft.message.transactions()[spot.at];
        for (context, command) in reply.commands().filter(|(_, command)| command.verb == Verb::Add) {
            for termination in command.terminations.iter().filter(|one| one.is_exact()) {
                self.subtract(cx, spot.gateway, context, termination);
            }
            let (terminations, context) = (&command.terminations[..], Context::All);
            for bearer in self.selected(spot.gateway, &Selection { terminations, context }) {
                self.release(cx, bearer, Ended::BySignaling);
            }
        }
        asked.commands.iter_mut().for_each(|one| self.undo(cx, one));
        let Some(gateway) = self.gateways.get(spot.gateway) else { return };
        let mid = gateway.name();
        let with = Envelope { encoding: draft.message.encoding, version: draft.message.version, mid: &mid };
        let refusal = super::refuse::Refusal::FULL;
        let told = Bytes::from(with.refuse(reply.id, refusal.code, refusal.text));
        cx.stats.refuse(refusal.code);
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        let back = transaction.back;
        transaction.answered(cx.now, told.clone(), true);
        back.into_iter().for_each(|back| send(cx, back, &told));
    }

    /// A gateway has answered its controller. `whole`: no more of the reply is to come.
    fn gateway_answers(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        asked: &mut Asked,
        whole: bool,
    ) -> Result<(), Fault> {
        let message = draft.message;
        for (context, command) in message.transactions()[spot.at].commands() {
            let Some(one) = asked.answered_by(context, command) else { continue };
            one.answered = true;
            if command.error.is_some() {
                self.failed(cx, one, command);
                continue;
            }
            match one.verb {
                Verb::Add | Verb::Modify | Verb::Move => {
                    self.made(cx, spot, draft, one, context, command)?;
                }
                Verb::Subtract => self.subtracted(cx, one, command),
                Verb::AuditValue | Verb::AuditCapability => self.audited(cx, spot, draft, command)?,
                Verb::ServiceChange => self.changed_downward(cx, spot, draft, one, command),
                Verb::Notify => {}
            }
        }
        if whole {
            asked.commands.iter_mut().filter(|one| !one.answered).for_each(|one| self.undo(cx, one));
        }
        asked.commands.iter_mut().for_each(|one| self.leftover(cx, one, whole));
        self.conceal(spot, Side::Access, draft).map_err(|_| UNREADABLE)
    }

    /// Bearers are there, or are other ones than before.
    fn made<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        asked: &mut AskedCommand,
        context: Context,
        reply: &'m Command,
    ) -> Result<(), Fault> {
        for said in &reply.streams {
            if asked.streams.iter().all(|one| one.id != said.id) {
                asked.streams.push(AskedStream { id: said.id, ..AskedStream::default() });
            }
        }
        for termination in reply.terminations.iter().filter(|one| one.is_exact()) {
            for one in &mut asked.streams {
                self.streamed(cx, spot, draft, one, (termination, context), reply.stream(one.id))?;
            }
            for bearer in self.selected(
                spot.gateway,
                &Selection { terminations: std::slice::from_ref(termination), context: Context::All },
            ) {
                if let Some(bearer) = self.bearers.get_mut(bearer) {
                    bearer.context = context;
                }
            }
        }
        Ok(())
    }

    /// One stream of a termination, as it is now.
    fn streamed<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        asked: &mut AskedStream,
        (termination, context): (&Termination, Context),
        said: Option<&'m Stream>,
    ) -> Result<(), Fault> {
        let local = said.and_then(|said| said.local.as_ref());
        let groups = local.map(|local| description::groups(draft.message, local));
        let settled = groups.as_ref().map(description::is_settled).transpose()?.unwrap_or(false);
        let groups = groups.filter(|_| settled);
        let known = asked.bearer.or_else(|| self.bearer(spot.gateway, termination, asked.id));
        let bearer = match known {
            None if settled || asked.offer.is_some() => {
                Some(self.create(cx, spot, asked, termination, context).ok_or(NO_SESSION)?)
            }
            known => known,
        };
        let shown = match bearer {
            Some(bearer) => {
                let shown = self.agreed(cx, bearer, groups, asked.offer.take())?;
                self.set_mode(cx, bearer, asked.mode, asked.coaxed);
                shown
            }
            None => None,
        };
        if let Some((local, shown)) = local.zip(shown) {
            draft.descriptions(spot.at, local, shown)?;
        }
        said.into_iter().for_each(|said| self.show_mode(spot, draft, said, bearer));
        if let Some(remote) = said.and_then(|said| said.remote.as_ref()) {
            self.show_remote(spot, draft, remote, bearer)?;
        }
        Ok(())
    }

    fn create(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        asked: &mut AskedStream,
        termination: &Termination,
        context: Context,
    ) -> Option<Key> {
        let controller = self.gateways.get(spot.gateway)?.serves()?.address.ip();
        let Opened { session, realms } = match asked.session.take() {
            Some(opened) => opened,
            None => self.open_session(cx, spot.gateway, controller)?,
        };
        let bearer = Bearer {
            gateway: spot.gateway,
            termination: termination.clone(),
            stream: asked.id,
            context,
            session,
            realms,
            mode: asked.mode,
            coaxed: asked.coaxed,
            said: [None, None],
            touched: cx.now,
        };
        self.add_bearer(cx, bearer)
    }

    /// The mode that the controller wants, where the gateway was told another.
    fn show_mode<'m>(&self, spot: Spot, draft: &mut Draft<'m, '_>, said: &'m Stream, bearer: Option<Key>) {
        let coaxed = bearer.and_then(|key| self.bearers.get(key)).filter(|bearer| bearer.coaxed);
        if let Some(mode) = coaxed.and_then(|bearer| bearer.mode).filter(|_| said.mode.is_some()) {
            draft.mode(spot.at, said, mode);
        }
    }

    /// The controller's own description in what a gateway says: as the controller wrote it, as far as addresses go.
    fn show_remote(
        &self,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        remote: &crate::wire::h248::Description,
        bearer: Option<Key>,
    ) -> Result<(), Fault> {
        let said = bearer.and_then(|bearer| self.bearers.get(bearer)).filter(|b| b.said[1].is_some());
        match said {
            Some(_) => self.give_back(spot, draft, remote, bearer, Side::Core),
            None => Ok(()),
        }
    }

    /// Terminations have left: what the gateway says that one has carried is compared with what came.
    fn subtracted(&mut self, cx: &mut Cx<'_>, asked: &mut AskedCommand, reply: &Command) {
        let exact = reply.terminations.iter().all(Termination::is_exact);
        let gone = |key: &Key| {
            let bearer = self.bearers.get(*key);
            !exact || bearer.is_none_or(|bearer| reply.terminations.contains(&bearer.termination))
        };
        let (gone, left) = asked.ending.iter().partition::<Vec<Key>, _>(|key| gone(key));
        asked.ending = left;
        let alone = gone.len() == 1;
        for key in gone {
            let stream = self.bearers.get(key).map_or(1, |bearer| bearer.stream);
            if let Some(carried) = self.release(cx, key, Ended::BySignaling) {
                report::compare(cx, reply, stream, alone, &carried);
            }
        }
    }

    /// What a gateway says of its terminations when it is asked.
    fn audited<'m>(
        &self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        reply: &'m Command,
    ) -> Result<(), Fault> {
        let termination = reply.terminations.first();
        for stream in &reply.streams {
            let bearer = termination.and_then(|one| self.bearer(spot.gateway, one, stream.id));
            self.show_mode(spot, draft, stream, bearer);
            if let Some(remote) = &stream.remote {
                self.show_remote(spot, draft, remote, bearer)?;
            }
            let Some(local) = &stream.local else { continue };
            let known = bearer.and_then(|bearer| self.bearers.get(bearer)).map(|bearer| bearer.session);
            let shown = known.zip(self.gateways.get(spot.gateway)).and_then(|(session, gateway)| {
                let groups = description::groups(draft.message, local);
                let how = (Side::Access, Role::Repeat);
                description::anchor(gateway.reading(), cx, session, how, &groups).ok()
            });
            if let Some(shown) = shown {
                draft.descriptions(spot.at, local, shown)?;
            }
        }
        Ok(())
    }

    /// A command was refused: what it would have changed stays. A termination that is not there is not there.
    fn failed(&mut self, cx: &mut Cx<'_>, asked: &mut AskedCommand, reply: &Command) {
        const GONE: [u16; 4] = [411, 430, 431, 435];
        let code = reply.error.map_or(0, |error| error.code);
        if asked.verb == Verb::Subtract && GONE.contains(&code) {
            for key in std::mem::take(&mut asked.ending) {
                self.release(cx, key, Ended::BySignaling);
            }
        }
        self.undo(cx, asked);
    }

    /// A command was not carried out.
    pub(super) fn undo(&self, cx: &mut Cx<'_>, asked: &mut AskedCommand) {
        for one in &mut asked.streams {
            one.session.take().into_iter().for_each(|opened| Self::drop_session(cx, opened.session));
            if let Some(bearer) = one.bearer.and_then(|bearer| self.bearers.get(bearer)) {
                cx.sessions.rollback(cx.now, bearer.session, Side::Core, cx.out);
            }
        }
        for bearer in asked.ending.iter().filter_map(|key| self.bearers.get(*key)) {
            cx.sessions.gate(bearer.session, true);
        }
        asked.ending.clear();
    }

    /// A command was answered, and something of it was not: sessions that no stream took, and terminations that stay.
    fn leftover(&self, cx: &mut Cx<'_>, asked: &mut AskedCommand, whole: bool) {
        if !whole && (asked.is_many() || !asked.answered) {
            return;
        }
        for one in &mut asked.streams {
            one.session.take().into_iter().for_each(|opened| Self::drop_session(cx, opened.session));
        }
        for bearer in asked.ending.iter().filter_map(|key| self.bearers.get(*key)) {
            cx.sessions.gate(bearer.session, true);
        }
        asked.ending.clear();
    }

    /// Nobody has answered: what would have changed stays, but what was about to end has ended.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>, mut asked: Asked) {
        for one in &mut asked.commands {
            for key in std::mem::take(&mut one.ending) {
                self.release(cx, key, Ended::BySignaling);
            }
            self.undo(cx, one);
        }
    }
}

const UNREADABLE: Fault = Fault::Malformed("a description of a gateway");
const NO_SESSION: Fault = Fault::Refused("no session is free");
