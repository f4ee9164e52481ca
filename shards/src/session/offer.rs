//! What a peer said about one stream, and what two such views amount to (RFC 3264).

use super::{Stream, index};
use crate::media::{Description, Gate, Rate};
use crate::types::Side;
use std::net::SocketAddr;
use std::time::Duration;

/// Does a description propose, or does it agree to a proposal?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes effect when it is answered.
    Offer,
    /// It takes effect now, and so does the offer that it answers.
    Answer,
}

/// One peer's view of one stream, as announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where the peer wants RTP; `None` while it is on hold with a zero address.
    pub rtp: Option<SocketAddr>,
    /// Where the peer wants RTCP.
    pub rtcp: Option<SocketAddr>,
    /// Did the peer say `a=rtcp-mux`?
    pub mux: bool,
    /// Bitmap of the payload types named.
    pub payload_types: [u64; 2],
    /// Packet time.
    pub ptime: Duration,
    /// Will the peer send?
    pub sends: bool,
    /// Will the peer receive?
    pub receives: bool,
    /// Nominal rate of what this peer sends or wants.
    pub rate: Rate,
    /// Is it RTP (RTP/AVP and its kin)?
    pub rtp_profile: bool,
    /// Is it SRTP?
    pub secure: bool,
}

impl Stream {
    /// An answer arrived from `side`: it and the offer of the other side take effect.
    pub(super) fn answer(&mut self, side: Side, view: View) {
        if let Some((offerer, offer)) = self.offered.take_if(|(offerer, _)| *offerer != side) {
            self.views[index(offerer)] = Some(offer);
        }
        self.views[index(side)] = Some(view);
    }

    /// Which way media may flow, by the direction attributes of both views.
    pub(super) fn gate(&self, open: bool) -> Gate {
        let [Some(access), Some(core)] = &self.views else { return Gate { a_to_b: false, b_to_a: false } };
        Gate { a_to_b: open && access.sends && core.receives, b_to_a: open && core.sends && access.receives }
    }

    /// What the relay must know about the peer on `side`.
    ///
    /// A peer sends what the other one declared, and in practice also what it declared itself: both are admitted.
    pub(super) fn description(&self, side: Side) -> Option<Description> {
        let [Some(access), Some(core)] = &self.views else { return None };
        let view = if index(side) == 0 { access } else { core };
        let mux = access.mux && core.mux;
        Some(Description {
            rtp: view.rtp,
            rtcp: if mux { view.rtp } else { view.rtcp },
            mux,
            payload_types: [0, 1].map(|n| access.payload_types[n] | core.payload_types[n]),
            ptime: access.ptime.min(core.ptime),
            rate: larger(access.rate, core.rate),
            rtp_profile: view.rtp_profile,
            secure: view.secure,
            trusted: side == Side::Core,
        })
    }
}

/// Of two views of one stream's rate the more generous one.
fn larger(one: Rate, other: Rate) -> Rate {
    Rate {
        packets_per_s: one.packets_per_s.max(other.packets_per_s),
        octets_per_s: one.octets_per_s.max(other.octets_per_s),
    }
}
