//! What a gateway says that it has sent, beside what we have seen of it.

use super::Cx;
use crate::session::account::Summary;

/// Packets that may be under way, or lost before us, when the two are compared: so many, and one in so many.
const SLACK: u64 = 50;
const SHARE: u64 = 20;

/// Count whether the packets that a gateway claims to have sent agree with those that came.
pub(super) fn compare(cx: &mut Cx<'_>, claimed: u64, carried: &Summary) {
    let from_gateway = carried.streams.iter().map(|stream| &stream.accounts[0].counters);
    let came = from_gateway.map(|counters| counters.rtp_packets + counters.dropped()).sum::<u64>();
    if claimed.abs_diff(came) <= SLACK + claimed.max(came) / SHARE {
        cx.stats.reports_agreed += 1;
    } else {
        cx.stats.reports_contradicted += 1;
    }
}
