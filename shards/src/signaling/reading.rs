//! How descriptions of a gateway are read: which address stands in the place of which, and by what rules.

use super::Cx;
use super::sdp::{self, Described, Rewritten};
use crate::fault::Fault;
use crate::realm::{Ice, Realm, SecureMedia};
use crate::session::{Role, SessionKey};
use crate::types::Side;
use crate::wire::sdp::{Line, lines};
use std::net::IpAddr;

/// A side's place in an array of two.
pub(super) const fn at(side: Side) -> usize {
    match side {
        Side::Access => 0,
        Side::Core => 1,
    }
}

/// How descriptions of a gateway are read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    ours: [IpAddr; 2],
    rules: (SecureMedia, Ice),
}

impl Reading {
    /// Those of a gateway between these realms.
    pub(super) fn new(access: &Realm, core: &Realm) -> Self {
        let ours = [access.advertised, core.advertised];
        Self { ours, rules: (access.secure_media, access.ice) }
    }

    /// Our address on the side that reads what `side` has written.
    pub(super) const fn ours(&self, side: Side) -> IpAddr {
        self.ours[at(side.other())]
    }

    /// Anchor a description and write it for the other side.
    ///
    /// # Errors
    /// As [`sdp::anchor`]; [`Fault::PeerMisbehaved`] when an offer has no stream that is relayed.
    pub(super) fn anchor(
        &self,
        cx: &mut Cx<'_>,
        session: SessionKey,
        side: Side,
        role: Role,
        body: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        if is_local(body) {
            return Ok(body.to_vec());
        }
        let (ours, (secure_media, ice)) = (self.ours(side), self.rules);
        let described = Described { session, side, role, ours, secure_media, ice };
        let Rewritten { body, nothing_left } = sdp::anchor(cx, described, body)?;
        if nothing_left && role == Role::Offer {
            return Err(Fault::PeerMisbehaved("no media stream that can be relayed"));
        }
        Ok(body)
    }

    /// A description that belongs to no connection that we know: our address, and no port.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it cannot be read.
    pub(super) fn conceal(&self, side: Side, body: &[u8]) -> Result<Vec<u8>, Fault> {
        if is_local(body) { Ok(body.to_vec()) } else { sdp::conceal(body, self.ours(side)) }
    }
}

/// Does it lead from one endpoint of the gateway to another (RFC 3435 section 3.4.2)? Then it names no address.
pub(super) fn is_local(body: &[u8]) -> bool {
    let mut connections = lines(body).filter(|line| line.kind == b'c').peekable();
    let local =
        |line: &Line| line.value.of(body).get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"LOCAL "));
    connections.peek().is_some() && connections.all(|line| local(&line))
}
