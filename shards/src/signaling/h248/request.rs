//! Requests on their way: from a gateway to its controller, and from a controller to a gateway.

use super::H248;
use super::asked::{Asked, AskedCommand};
use super::draft::{Draft, Spot};
use super::gateway::Gateway;
use super::own::{refuse, send};
use super::refuse::Refusal;
use super::transaction::{HISTORY, Name, Transaction};
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::Guest;
use crate::table::Key;
use crate::types::{Flow, Proto, Side};
use crate::wire::h248::{self, Kind, Message, Verb};
use bytes::Bytes;

impl H248 {
    /// A request goes on, or is answered by us.
    pub(super) fn take_request(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        from: Side,
    ) {
        let Spot { gateway: key, at, flow } = spot;
        let (message, toward) = (draft.message, from.other());
        let request = &message.transactions()[at];
        let name = Name { gateway: key, toward, id: request.id };
        self.forget_anothers(name, flow);
        let result = match (self.transactions.named(name), from) {
            (Some(known), _) => return self.again(cx, known, flow),
            (None, _) if draft.begun.iter().any(|(_, begun)| begun.name == name) => {
                return cx.dropped(DropReason::Unmatched);
            }
            (None, Side::Access) => self.ask_controller(cx, spot, draft),
            (None, Side::Core) => self.ask_gateway(cx, spot, draft),
        };
        let asked = match result {
            Ok(Some(asked)) => asked,
            Ok(None) => return,
            Err(refusal) => return refuse(cx, message, request.id, flow, refusal),
        };
        let Some(to) = self.way(cx, key, toward) else {
            self.abandon(cx, asked);
            return refuse(cx, message, request.id, flow, Refusal::UNSERVED);
        };
        let guest = self.gateways.get(key).filter(|_| from == Side::Access).and_then(Gateway::guest);
        draft.send(at, to);
        draft.begun.push((at, begun(cx, name, Some(flow), to, guest, asked)));
    }

    /// Another controller may use an identifier again at once: what the first one asked is forgotten if it was answered.
    fn forget_anothers(&mut self, name: Name, flow: Flow) {
        let Some(key) = self.transactions.named(name) else { return };
        let anothers = |t: &Transaction| {
            t.done
                && t.back
                    .is_some_and(|back| name.toward == Side::Access && back.remote.ip() != flow.remote.ip())
        };
        if self.transactions.get(key).is_some_and(anothers) {
            self.transactions.remove(key);
        }
    }

    /// Is there room for one more transaction?
    fn room(&self, cx: &Cx<'_>, draft: &Draft<'_, '_>) -> Result<(), Refusal> {
        let open = self.transactions.len() + draft.begun.len();
        if open >= cx.mapping.limits.transactions { Err(Refusal::FULL) } else { Ok(()) }
    }

    /// A request of a gateway. `Ok(None)`: it is left out, the gateway will repeat it.
    fn ask_controller(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
    ) -> Result<Option<Asked>, Refusal> {
        let request = &draft.message.transactions()[spot.at];
        if request.commands().any(|(_, command)| !matches!(command.verb, Verb::Notify | Verb::ServiceChange))
        {
            return Err(Refusal::COMMAND);
        }
        let gateway = self.gateways.get(spot.gateway).ok_or(Refusal::UNKNOWN)?;
        let registers = registers(request);
        if registers && !draft.counted && !self.avalanche.lets_pass(cx.now, &gateway.softswitch.name) {
            cx.dropped(DropReason::Avalanche);
            return Ok(None);
        }
        self.room(cx, draft)?;
        let most = cx.mapping.limits.transactions_per_source;
        if gateway.guest().is_some_and(|guest| self.transactions.of_guest(guest) + draft.begun.len() >= most)
        {
            return Err(Refusal::QUOTA);
        }
        let mut asked = Asked { registers, ..Asked::default() };
        for (context, command) in request.commands() {
            let mut one = AskedCommand::new(context, command);
            self.change_upward(spot, draft, command, &mut one);
            asked.commands.push(one);
        }
        self.conceal(spot, Side::Access, draft)?;
        if registers && let Some(gateway) = self.gateways.get_mut(spot.gateway) {
            (gateway.encoding, gateway.version) = (draft.message.encoding, draft.message.version);
        }
        Ok(Some(asked))
    }

    /// May a gateway that is not known turn to its controller now?
    pub(super) fn may_register(&mut self, cx: &Cx<'_>, message: &Message<'_>, flow: &Flow) -> bool {
        let agent = cx.mapping.agent(flow.realm, Proto::H248);
        let registers = message.transactions().iter().any(|t| t.kind == Kind::Request && registers(t));
        !registers || agent.is_none_or(|agent| self.avalanche.lets_pass(cx.now, &agent.name))
    }

    /// A request of a controller.
    fn ask_gateway(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
    ) -> Result<Option<Asked>, Refusal> {
        self.room(cx, draft)?;
        let cut = |gateway: &Gateway| gateway.standing.down && gateway.flow.stream.is_some();
        if self.gateways.get(spot.gateway).is_some_and(cut) {
            return Err(Refusal::UNREACHED);
        }
        let mut asked = Asked::default();
        for (context, command) in draft.message.transactions()[spot.at].commands() {
            let mut one = AskedCommand::new(context, command);
            let ready = self.prepare(cx, spot, draft, command, &mut one);
            asked.commands.push(one);
            if let Err(refusal) = ready {
                return Err(self.never_asked(cx, asked, refusal));
            }
        }
        match self.conceal(spot, Side::Core, draft) {
            Ok(()) => Ok(Some(asked)),
            Err(refusal) => Err(self.never_asked(cx, asked, refusal)),
        }
    }

    /// The gateway never hears of a request: nothing ends.
    fn never_asked(&self, cx: &mut Cx<'_>, mut asked: Asked, refusal: Refusal) -> Refusal {
        asked.commands.iter_mut().for_each(|one| self.undo(cx, one));
        refusal
    }

    /// A request that we know came again: it is answered as before, or sent on again.
    fn again(&mut self, cx: &mut Cx<'_>, key: Key, flow: Flow) {
        let Some(transaction) = self.transactions.get_mut(key) else { return };
        if transaction.back.is_none() {
            return cx.dropped(DropReason::Unmatched);
        }
        transaction.back = Some(flow);
        if !transaction.answer.is_empty() {
            transaction.answer.clone().iter().for_each(|answer| send(cx, flow, answer));
            return;
        }
        transaction.keep(cx.now);
        cx.stats.retransmissions += 1;
        self.send_again(cx, key);
    }

    /// Send a request once more; one that registers goes to another server when the first is silent.
    pub(super) fn send_again(&mut self, cx: &mut Cx<'_>, key: Key) {
        let Some(transaction) = self.transactions.get(key) else { return };
        let (name, sent, to) = (transaction.name, transaction.sent.clone(), transaction.to);
        let silent = cx.now - transaction.since;
        let leaves = transaction.asked.registers && !transaction.heard && name.toward == Side::Core;
        if let Some(gateway) = self.gateways.get_mut(name.gateway)
            && leaves
            && silent >= gateway.softswitch.patience
            && gateway.serves().is_some_and(|server| server.address == to)
            && gateway.fail_over()
        {
            cx.stats.failovers += 1;
        }
        let Some(flow) = self.way(cx, name.gateway, name.toward) else { return };
        if let Some(transaction) = self.transactions.get_mut(key).filter(|t| t.to != flow.remote) {
            (transaction.to, transaction.since) = (flow.remote, cx.now);
        }
        send(cx, flow, &sent);
    }
}

/// Does a request speak for the gateway as a whole, and want to be accepted?
fn registers(request: &h248::Transaction) -> bool {
    let root = |command: &h248::Command| command.terminations.iter().any(h248::Termination::is_root);
    request.commands().any(|(_, command)| command.verb == Verb::ServiceChange && root(command))
}

/// A request that is sent on, or our own.
pub(super) fn begun(
    cx: &Cx<'_>,
    name: Name,
    back: Option<Flow>,
    to: Flow,
    guest: Option<Guest>,
    asked: Asked,
) -> Transaction {
    Transaction {
        name,
        back,
        sent: Bytes::new(),
        to: to.remote,
        since: cx.now,
        until: cx.now + HISTORY,
        answer: Vec::new(),
        done: false,
        heard: false,
        tries: 1,
        guest,
        asked,
    }
}
