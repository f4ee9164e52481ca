//! Connection parameters (RFC 3435 section 3.2.2.7): what a gateway says that a connection has carried, beside what we have
//! seen of it.

use crate::session::account::Summary;
use crate::signaling::{Cx, report};

/// Count whether the packets that a gateway claims to have sent agree with those that came.
pub(super) fn compare(cx: &mut Cx<'_>, reported: &[u8], carried: &Summary) {
    if let Some(claimed) = sent(reported) {
        report::compare(cx, claimed, carried);
    }
}

/// PS: packets sent.
fn sent(reported: &[u8]) -> Option<u64> {
    let mut each = std::str::from_utf8(reported).ok()?.split(',').filter_map(|one| one.split_once('='));
    each.find(|(name, _)| name.trim().eq_ignore_ascii_case("PS"))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_sent_are_found_in_any_order_and_case() {
        assert_eq!(sent(b"PS=1245, OS=62345, PR=780"), Some(1245));
        assert_eq!(sent(b"OS=62345,ps = 7 ,LA=48"), Some(7));
        assert_eq!(sent(b"OS=62345"), None);
        assert_eq!(sent(b"PS=many"), None);
    }
}
