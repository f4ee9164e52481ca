//! Who may use how much of the transaction table, and how many octets an unproven source gets back.

use super::Sip;
use super::forward::Request;
use super::reply::Reply;
use crate::io::DropReason;
use crate::signaling::Cx;
use crate::signaling::guest::network_of;
use crate::types::{Flow, Side, Transport};
use crate::wire::sip::Message;
use std::net::IpAddr;

/// This part of the transaction table is kept for requests within dialogs: whoever floods it can start no call, but
/// running calls can be changed and ended.
const RESERVE: usize = 10;
/// A request of fewer octets draws a refusal only if that is not longer (RFC 3261 section 18.2 has no way to prove a
/// source). Longer ones always outweigh their refusal.
const SHORT: usize = 200;

impl Sip {
    /// Is there room for one more transaction, in all and for this source? `within`: it belongs to a dialog.
    ///
    /// # Errors
    /// The 503 that refuses it; why was counted.
    pub(super) fn admit(
        &self,
        cx: &mut Cx<'_>,
        request: &Request<'_, '_>,
        within: bool,
    ) -> Result<(), Reply> {
        let limits = &cx.mapping.limits;
        let reserve = if within { 0 } else { limits.transactions / RESERVE };
        if self.transactions.len() + reserve >= limits.transactions {
            cx.dropped(DropReason::Limit);
            return Err(Reply::UNAVAILABLE);
        }
        let used = request.guest.filter(|_| !within).map(|source| self.transactions.of_guest(source));
        if used.is_some_and(|used| used >= limits.transactions_per_source) {
            cx.dropped(DropReason::Quota);
            return Err(Reply::UNAVAILABLE);
        }
        Ok(())
    }

    /// The source that a request is charged to: none for a softswitch, or for a flow of a registration that this shard
    /// holds.
    pub(super) fn guest(&self, side: Side, flow: &Flow) -> Option<IpAddr> {
        (side == Side::Access && !self.bindings.proves(flow)).then(|| network_of(flow.remote.ip()))
    }

    /// May this refusal go back? Not to a source that may be forged, if it is longer than what draws it.
    pub(super) fn outweighs(
        &self,
        cx: &mut Cx<'_>,
        request: &Message<'_>,
        flow: &Flow,
        answer: &[u8],
    ) -> bool {
        let came = request.bytes().len();
        let access = cx.realm(flow).is_some_and(|realm| realm.side == Side::Access);
        let forgeable = access && flow.transport == Transport::Udp;
        if !forgeable || came >= SHORT || answer.len() <= came || self.bindings.proves(flow) {
            return true;
        }
        cx.dropped(DropReason::Amplifying);
        false
    }
}
