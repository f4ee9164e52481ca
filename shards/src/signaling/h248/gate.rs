//! Stream modes (H.248.1 section 7.1.7) and what they let through.

use crate::media::Gate;
use crate::wire::h248::Mode;

/// Which ways media may pass in this mode: `a_to_b` is from the gateway, which leaves its context.
pub(super) const fn of(mode: Option<Mode>) -> Gate {
    let (a_to_b, b_to_a) = match mode {
        Some(Mode::SendOnly) => (true, false),
        Some(Mode::ReceiveOnly) => (false, true),
        Some(Mode::Inactive) => (false, false),
        None | Some(Mode::SendReceive | Mode::Loopback) => (true, true),
    };
    Gate { a_to_b, b_to_a }
}
