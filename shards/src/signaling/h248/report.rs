//! Statistics (H.248.1 Annex E.11 and E.12): what a gateway says that a termination has carried.

use crate::session::account::Summary;
use crate::signaling::{Cx, report};
use crate::wire::h248::{Command, Counted, Statistic, Stream};

/// Count whether the packets that a gateway claims to have sent agree with those that came. `stream`: what is said of one
/// stream only (version 3); else what is said of the termination, which has one stream.
pub(super) fn compare(cx: &mut Cx<'_>, reply: &Command, stream: u16, alone: bool, carried: &Summary) {
    let of_stream = reply.stream(stream).map(|stream: &Stream| &stream.statistics[..]).and_then(sent);
    let of_all = sent(&reply.statistics).filter(|_| alone);
    if let Some(claimed) = of_stream.or(of_all) {
        report::compare(cx, claimed, carried);
    }
}

fn sent(statistics: &[Statistic]) -> Option<u64> {
    statistics.iter().find(|statistic| statistic.counted == Counted::PacketsSent)?.value
}
