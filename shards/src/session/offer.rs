//! What a peer said about one stream, and what two such views amount to (RFC 3264).

use crate::media::Rate;
use crate::media::formats::Formats;
use std::net::SocketAddr;
use std::time::Duration;

/// Does a description propose, or does it agree to a proposal?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes effect when it is answered.
    Offer,
    /// It takes effect now, and so does the offer that it answers.
    Answer,
    /// It says again what was said before: it is shown our ports and changes nothing.
    Repeat,
}

/// What the reader of a description must be told otherwise than its writer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Does the writer send?
    pub sends: bool,
    /// Does the writer receive?
    pub receives: bool,
    /// May `a=rtcp-mux` stand? Not in an answer to an offer without it (RFC 5761 section 5.1.1).
    pub mux: bool,
    /// Where the offer leaves it open: must the terminal open DTLS associations? Behind NAT nobody reaches it before it has
    /// sent something; with ICE it has.
    pub terminal_leads: bool,
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
    /// Is the peer on hold by a zero address (RFC 3264 section 8.4)?
    pub held: bool,
    /// Will the peer receive, by its direction attribute?
    pub receives: bool,
    /// Nominal rate of what this peer wants: what its b= says, else what its largest codec takes.
    pub rate: Rate,
    /// Did it say so by b=? Then nobody may send it more (RFC 4566 section 5.8).
    pub capped: bool,
    /// Is it RTP (RTP/AVP and its kin)?
    pub rtp_profile: bool,
    /// What the payload types are.
    pub formats: Formats,
    /// Is it SRTP, or does the peer offer to make it so?
    pub secure: bool,
    /// Does the peer make its keys by DTLS?
    pub dtls: bool,
    /// Does it leave open who begins (`a=setup:actpass`)?
    pub either_role: bool,
    /// Does the peer use ICE, and may it?
    pub ice: bool,
    /// The version of the description (o=).
    pub version: u64,
}
