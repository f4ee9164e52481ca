//! Connection modes (RFC 3435 section 3.2.2.6) and what they let through.

use crate::media::Gate;

/// Which ways media may pass in this mode: `a_to_b` is from the gateway. Tests and conferences need both.
pub(super) fn gate(mode: &[u8]) -> Gate {
    let is = |name: &str| mode.eq_ignore_ascii_case(name.as_bytes());
    Gate { a_to_b: !is("recvonly") && !is("inactive"), b_to_a: !is("sendonly") && !is("inactive") }
}

/// Does the gateway only listen? Then nobody learns where it listens, behind its NAT.
pub(super) fn only_listens(mode: &[u8]) -> bool {
    mode.eq_ignore_ascii_case(b"recvonly")
}

/// The mode that a gateway is told in the place of one in which it only listens.
pub(super) const SPEAKING: &[u8] = b"sendrecv";
