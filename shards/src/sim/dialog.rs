//! A dialog's names and route (RFC 3261 section 12).

use super::message::{Draft, Msg, destination, param, uri_of};
use std::net::SocketAddr;

#[derive(Clone, Debug)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// Our From value, tag included.
    pub(super) local: String,
    /// Their To value, tag included once it is known.
    pub(super) remote: String,
    /// The remote target: where requests point.
    pub(super) target: String,
    /// Route set, first hop first.
    routes: Vec<String>,
    /// Number of our last request.
    pub(super) cseq: u32,
    /// Where requests go when neither route nor target is an address.
    fallback: SocketAddr,
}

impl Dialog {
    /// For an INVITE of ours to `target`, sent to `first_hop`.
    pub(super) fn outbound(
        call_id: String,
        local: String,
        remote: String,
        target: String,
        first_hop: SocketAddr,
    ) -> Self {
        Self { call_id, local, remote, target, routes: Vec::new(), cseq: 1, fallback: first_hop }
    }

    /// For an INVITE that arrived, answered with `tag`.
    pub(super) fn inbound(invite: &Msg, from: SocketAddr, tag: &str) -> Self {
        let owned = |name| invite.header(name).unwrap_or_default().to_owned();
        Self {
            call_id: invite.call_id().to_owned(),
            local: format!("{};tag={tag}", owned("To")),
            remote: owned("From"),
            target: invite.contact().unwrap_or_default().to_owned(),
            routes: invite.list("Record-Route").into_iter().map(str::to_owned).collect(),
            cseq: 0,
            fallback: from,
        }
    }

    /// Our tag.
    pub(super) fn tag(&self) -> &str {
        param(&self.local, "tag").unwrap_or_default()
    }

    /// A 2xx to our INVITE makes the dialog: remote tag, target, and route set, reversed.
    pub(super) fn confirm(&mut self, answer: &Msg) {
        self.remote = answer.header("To").unwrap_or_default().to_owned();
        self.refresh(answer);
        let routes = answer.list("Record-Route");
        self.routes = routes.into_iter().rev().map(str::to_owned).collect();
    }

    /// A target refresh: the peer's Contact may have changed.
    pub(super) fn refresh(&mut self, msg: &Msg) {
        if let Some(contact) = msg.contact() {
            self.target = contact.to_owned();
        }
    }

    /// Where the next request goes on the wire.
    pub(super) fn next_hop(&self) -> SocketAddr {
        let hop = self.routes.first().map_or(self.target.as_str(), |route| uri_of(route));
        destination(hop).unwrap_or(self.fallback)
    }

    /// Where the first INVITE and its CANCEL go: the outbound proxy, or the contact itself.
    pub(super) fn next_hop_of_invite(&self) -> SocketAddr {
        self.fallback
    }

    /// The beginning of a request within the dialog.
    pub(super) fn request(&self, method: &str, cseq: u32, via: &str) -> Draft {
        let mut draft = Draft::request(method, &self.target).header("Via", via).header("Max-Forwards", "70");
        for route in &self.routes {
            draft = draft.header("Route", route);
        }
        draft
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format!("{cseq} {method}"))
    }
}
