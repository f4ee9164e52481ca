//! ServiceChange (H.248.1 sections 7.2.8 and 11): how gateways come, go, and are sent elsewhere. What it says of addresses
//! is ours to know: a gateway is answered where it sends from, and to it every controller is at our address.

use super::asked::{Asked, AskedCommand};
use super::bearer::{Ended, Selection};
use super::draft::{Draft, Spot};
use super::gateway::Gateway;
use super::{H248, Wake};
use crate::fault::Fault;
use crate::realm::Server;
use crate::signaling::Cx;
use crate::types::Side;
use crate::wire::h248::{
    ChangeAddress, Command, Context, Encoding, Message, Method, Mid, ServiceChange, Termination, Verb,
};
use std::net::SocketAddr;

/// Where a controller is that has named no port, by how it writes (H.248.1 section 9).
const fn usual_port(encoding: Encoding) -> u16 {
    match encoding {
        Encoding::Text => 2944,
        Encoding::Ber => 2945,
    }
}

impl H248 {
    /// A gateway says how it stands.
    pub(super) fn change_upward<'m>(
        &mut self,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        command: &'m Command,
        asked: &mut AskedCommand,
    ) {
        let Some(change) = &command.service_change else { return };
        draft.service(spot.at, change, None);
        asked.ends = ends(change);
        let root = command.terminations.iter().any(Termination::is_root);
        // Its own controller has failed: that is not to be asked again.
        if root
            && change.method == Some(Method::Failover)
            && let Some(gateway) = self.gateways.get_mut(spot.gateway)
        {
            gateway.fail_over();
        }
    }

    /// A controller says how it stands, or sends a gateway to another (reason 903).
    pub(super) fn change_downward<'m>(
        &self,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        command: &'m Command,
        asked: &mut AskedCommand,
    ) {
        let Some(change) = &command.service_change else { return };
        let Some(gateway) = self.gateways.get(spot.gateway) else { return };
        draft.service(spot.at, change, Some(gateway.ours()));
        asked.ends = ends(change);
        asked.redirect = change.mgc.as_ref().and_then(|mgc| reach(gateway, mgc));
    }

    /// A gateway has done what its controller wanted.
    pub(super) fn changed_downward<'m>(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        asked: &mut AskedCommand,
        reply: &'m Command,
    ) {
        if let Some(change) = &reply.service_change {
            draft.service(spot.at, change, None);
        }
        if let Some(gateway) = self.gateways.get_mut(spot.gateway) {
            gateway.named = asked.redirect.take().or(gateway.named.take());
        }
        self.end_all(cx, spot, asked);
    }

    /// A controller has answered its gateway.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it holds a description that cannot be read.
    pub(super) fn controller_answers(
        &mut self,
        cx: &mut Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'_, '_>,
        asked: &mut Asked,
    ) -> Result<(), Fault> {
        let message = draft.message;
        let reply = &message.transactions()[spot.at];
        let mut accepted = reply.error.is_none() && reply.actions.iter().all(|action| action.error.is_none());
        for (context, command) in reply.commands() {
            accepted &= command.error.is_none();
            let one = asked.answered_by(context, command);
            if let Some(change) = &command.service_change {
                let elsewhere = self.named_elsewhere(spot, message, change);
                accepted &= elsewhere.is_none();
                self.changed_upward(cx, spot, draft, change, elsewhere);
            }
            if let Some(one) = one.filter(|_| command.verb == Verb::ServiceChange && command.error.is_none())
            {
                one.answered = true;
                self.end_all(cx, spot, one);
            }
        }
        if accepted {
            self.prove(cx, spot);
        }
        let unreadable = Fault::Malformed("a description of a controller");
        self.conceal(spot, Side::Core, draft).map_err(|_| unreadable)
    }

    /// The controller that is named in the place of the one that answers. There are controllers that name themselves
    /// (Erlang's example): that is no redirection.
    fn named_elsewhere<'m>(
        &self,
        spot: Spot,
        message: &Message<'_>,
        change: &'m ServiceChange,
    ) -> Option<&'m Mid> {
        let gateway = self.gateways.get(spot.gateway)?;
        let here = spot.flow.remote;
        let itself = |mgc: &&Mid| {
            **mgc == message.mid || mgc.socket(usual_port(gateway.encoding)).is_some_and(|at| at == here)
        };
        change.mgc.as_ref().filter(|mgc| !itself(mgc))
    }

    /// What a controller's reply to a ServiceChange says of addresses. `other`: the controller that it names.
    fn changed_upward<'m>(
        &mut self,
        cx: &Cx<'_>,
        spot: Spot,
        draft: &mut Draft<'m, '_>,
        change: &'m ServiceChange,
        other: Option<&Mid>,
    ) {
        let Some(gateway) = self.gateways.get_mut(spot.gateway) else { return };
        draft.service(spot.at, change, Some(gateway.ours()));
        let from = spot.flow.remote;
        let elsewhere = match &change.address {
            Some(ChangeAddress::Port(port)) => server_at(gateway, SocketAddr::new(from.ip(), *port)),
            Some(ChangeAddress::Mid(mid)) => reach(gateway, mid),
            None => None,
        };
        match other.map(|mgc| reach(gateway, mgc)) {
            Some(Some(server)) => gateway.named = Some(server),
            // It is called by a name that we cannot find: another one of the same softswitch.
            Some(None) => drop(gateway.fail_over()),
            None => gateway.named = elsewhere.or(gateway.named.take()),
        }
        tracing::debug!(now = ?cx.now, controller = ?gateway.serves(), "controller of a gateway");
    }

    /// A controller has accepted a gateway.
    fn prove(&mut self, cx: &Cx<'_>, spot: Spot) {
        if !self.gateways.prove(spot.gateway) {
            return;
        }
        self.timers.schedule(cx.now + cx.mapping.keepalive.interval, Wake::Keepalive(spot.gateway));
    }

    /// Terminations were restarted or forced out: what they carried has ended.
    fn end_all(&mut self, cx: &mut Cx<'_>, spot: Spot, asked: &AskedCommand) {
        if !asked.ends {
            return;
        }
        let selection = Selection { terminations: &asked.terminations, context: Context::All };
        for bearer in self.selected(spot.gateway, &selection) {
            self.release(cx, bearer, Ended::BySignaling);
        }
    }
}

/// Does it make an end of what terminations carry?
const fn ends(change: &ServiceChange) -> bool {
    matches!(change.method, Some(Method::Restart | Method::Forced))
}

/// Where a controller is that is named, if that may speak for the softswitch.
fn reach(gateway: &Gateway, mid: &Mid) -> Option<Server> {
    server_at(gateway, mid.socket(usual_port(gateway.encoding))?)
}

/// The server at this address: as it is configured, or reached as the present one is.
fn server_at(gateway: &Gateway, address: SocketAddr) -> Option<Server> {
    if !gateway.softswitch.accepts(address.ip()) {
        return None;
    }
    let configured = gateway.softswitch.targets.iter().find(|target| target.address == address).cloned();
    configured.or_else(|| Some(Server { address, ..gateway.serves()?.clone() }))
}
