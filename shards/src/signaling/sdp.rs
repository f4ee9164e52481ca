//! Session descriptions on their way through Portolan: the addresses become ours, all other octets stay.
//!
//! Serves every family that carries SDP. BUNDLE is stripped, and so is ICE, unless the realm lets both ends keep it: a
//! peer that saw candidates beside our address would report a mismatch (RFC 7362 section 4, RFC 8839). What makes keys for
//! SRTP passes as it is, unless the realm refuses it.

use super::{Cx, ice, rate};
use crate::fault::Fault;
use crate::media::formats::{Codec, Formats};
use crate::realm::{Ice, SecureMedia};
use crate::session::{Anchor, Anchored, Refusal, Role, SessionKey, Told, View};
use crate::types::Side;
use crate::wire::Span;
use crate::wire::sdp::{self, Connection, Direction, Media, Sdp};
use crate::wire::splice::Splice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a description comes from and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// The session it belongs to.
    pub session: SessionKey,
    /// The side that wrote it.
    pub side: Side,
    /// Proposal or agreement.
    pub role: Role,
    /// Our address on the side that will read it.
    pub ours: IpAddr,
    /// The access realm's rule about SRTP.
    pub secure_media: SecureMedia,
    /// The access realm's rule about ICE.
    pub ice: Ice,
}

/// A description for the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The octets.
    pub body: Vec<u8>,
    /// It had streams, and none of them is of a kind that is relayed.
    pub nothing_left: bool,
}

/// Anchor every stream of a description and rewrite it for the other side.
///
/// # Errors
/// [`Fault::Malformed`] when an address or port cannot be read; [`Fault::Refused`] when a limit was met. Streams that
/// were anchored before the fault are released with the session or its rollback.
pub fn anchor(cx: &mut Cx<'_>, from: Described, body: &[u8]) -> Result<Rewritten, Fault> {
    let sdp = Sdp::parse(body)?;
    let mut splice = Splice::new(body);
    let (mut wanted, mut left, mut roles) = (0, 0, Roles::default());
    let keyed = from.secure_media == SecureMedia::Pass;
    for (at, media) in sdp.media.iter().enumerate() {
        if !live(cx, from, at, media) {
            continue;
        }
        wanted += 1;
        let view = if carried(from, media, body) { Some(view(from, &sdp, at, media)?) } else { None };
        let kept = view.as_ref().is_some_and(|view| view.ice);
        let ours = view.map(|view| anchor_one(cx, from, at, view)).transpose()?.flatten();
        let Some(ours) = ours else {
            refuse(&mut splice, &sdp, at, media);
            continue;
        };
        left += 1;
        write_ports(&mut splice, media, ours);
        write_direction(&mut splice, &sdp, at, media, ours.told);
        if kept {
            ice::write_candidates(&mut splice, &sdp, at, media, ours);
        }
        let leads = keyed && ours.told.terminal_leads;
        roles.add(&mut splice, &sdp, at, leads.then_some(from.side));
    }
    roles.finish(&mut splice, &sdp, from.side);
    if !keyed {
        drop_attributes(&mut splice, &sdp, sdp::is_keying);
    }
    hide_addresses(&mut splice, &sdp, from.ours, from.ice);
    Ok(Rewritten { body: splice.finish(), nothing_left: wanted > 0 && left == 0 })
}

/// Port 0 stays 0: the stream is not wanted, and an answer to that effect removes it (RFC 3264 section 6).
fn live(cx: &mut Cx<'_>, from: Described, at: usize, media: &Media) -> bool {
    if media.port == 0 && from.role == Role::Answer {
        cx.sessions.remove(from.session, at);
    }
    media.port != 0
}

/// Our ports for one stream; `None` when it is the answer to nothing.
fn anchor_one(cx: &mut Cx<'_>, from: Described, at: usize, view: View) -> Result<Option<Anchored>, Fault> {
    let mut with = Anchor { now: cx.now, rng: cx.rng, out: cx.out, role: from.role };
    match cx.sessions.anchor(&mut with, from.session, from.side, at, view) {
        Ok(ours) => Ok(Some(ours)),
        Err(Refusal::NotOffered) => Ok(None),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// Rewrite a description that opens nothing (capabilities in an answer to OPTIONS): our address, and port 0, as RFC
/// 3264 section 9 wants it, because no port of ours stands behind it.
///
/// # Errors
/// [`Fault::Malformed`] when the description cannot be read.
pub fn conceal(body: &[u8], ours: IpAddr) -> Result<Vec<u8>, Fault> {
    let sdp = Sdp::parse(body)?;
    let mut splice = Splice::new(body);
    for media in &sdp.media {
        splice.replace(media.port_span, "0");
    }
    hide_addresses(&mut splice, &sdp, ours, Ice::Strip);
    Ok(splice.finish())
}

/// Only UDP is relayed: a stream over TCP (MSRP, BFCP, T.120) is refused by port 0, and so is one right over SCTP or
/// DCCP, and a ciphered one where the realm refuses it.
fn carried(from: Described, media: &Media, body: &[u8]) -> bool {
    let proto = media.proto.of(body).to_ascii_uppercase();
    let udp = ![&b"TCP"[..], b"SCTP", b"DCCP"].iter().any(|other| proto.starts_with(other));
    udp && (from.secure_media == SecureMedia::Pass || !is_ciphered(media, body))
}

/// Is the transport SRTP, or anything else over DTLS (`UDP/TLS/UDPTL`, `UDP/DTLS/SCTP`)?
fn is_ciphered(media: &Media, body: &[u8]) -> bool {
    let proto = media.proto.of(body).to_ascii_uppercase();
    [&b"/SAVP"[..], b"TLS/"].iter().any(|part| proto.windows(part.len()).any(|at| at == *part))
}

/// Port 0, and no attribute left that could carry an address.
fn refuse(splice: &mut Splice<'_>, sdp: &Sdp<'_>, at: usize, media: &Media) {
    splice.replace(media.port_span, "0");
    for line in sdp.lines().filter(|line| line.media == Some(at) && line.kind == b'a') {
        splice.delete(line.line);
    }
}

const fn refused(refusal: Refusal) -> Fault {
    Fault::Refused(match refusal {
        Refusal::NoBandwidth => "no bandwidth is left",
        Refusal::TooManyStreams => "too many media streams",
        Refusal::NoPorts => "no media port is free",
        Refusal::NotOffered => "a media stream that was not offered",
        Refusal::Gone => "the session has ended",
    })
}

/// What the peer says about one stream.
fn view(from: Described, sdp: &Sdp<'_>, at: usize, media: &Media) -> Result<View, Fault> {
    if media.connection.is_none() && sdp.connection.is_none() {
        return Err(Fault::Malformed("SDP stream without c="));
    }
    let address = sdp.address_of(media);
    let ice = from.ice == Ice::Keep && ice::is_used(sdp, at);
    let held = address.is_some_and(|ip| ip.is_unspecified()) && !(ice && ice::stands_for_candidates(media));
    let dtls = has(sdp, at, b"fingerprint");
    let known = address.filter(|ip| !ip.is_unspecified());
    let direction = media.direction.or(sdp.direction).unwrap_or(Direction::SendRecv);
    let rtcp_port = media.rtcp.as_ref().map_or(media.port.saturating_add(1), |rtcp| rtcp.port);
    let rtcp_ip =
        media.rtcp.as_ref().and_then(|rtcp| rtcp.address).and_then(|span| ip_of(span.of(sdp.bytes())));
    let rtcp_ip = rtcp_ip.filter(|ip| !ip.is_unspecified()).or(known);
    let secure = is_ciphered(media, sdp.bytes()) || dtls || has(sdp, at, b"crypto");
    Ok(View {
        rtp: known.map(|ip| SocketAddr::new(ip, media.port)),
        rtcp: rtcp_ip.map(|ip| SocketAddr::new(ip, rtcp_port)),
        mux: media.rtcp_mux.is_some(),
        payload_types: media.payload_types,
        ptime: rate::packet_time(sdp, at, media),
        sends: matches!(direction, Direction::SendRecv | Direction::SendOnly),
        receives: matches!(direction, Direction::SendRecv | Direction::RecvOnly),
        held,
        rate: rate::nominal(sdp, at, media, secure),
        capped: rate::bandwidth(sdp, media).is_some(),
        rtp_profile: sdp.rtp(media),
        secure,
        formats: formats(sdp, at),
        dtls,
        either_role: attributes_of(sdp, at).any(|value| is_role(value, b"actpass")),
        ice,
        version: sdp.origin.map_or(0, |origin| number(origin.sess_version.of(sdp.bytes()))),
    })
}

/// What the payload types of a stream are.
fn formats(sdp: &Sdp<'_>, at: usize) -> Formats {
    let mut formats = Formats::default();
    for (payload_type, name, clock) in sdp.rtpmaps(at) {
        formats.add(payload_type, Codec::named(name), clock);
    }
    formats
}

/// Is there an attribute of this name in the section or at the session?
fn has(sdp: &Sdp<'_>, at: usize, name: &[u8]) -> bool {
    attributes_of(sdp, at).any(|value| sdp::has_name(value, name))
}

/// The values of the a= lines of the section and of the session.
fn attributes_of<'a>(sdp: &Sdp<'a>, at: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let (lines, bytes) = (sdp.lines(), sdp.bytes());
    let own = lines.filter(move |line| line.kind == b'a' && line.media.is_none_or(|media| media == at));
    own.map(move |line| line.value.of(bytes))
}

fn is_role(value: &[u8], role: &[u8]) -> bool {
    sdp::has_name(value, b"setup") && sdp::argument(value).eq_ignore_ascii_case(role)
}

/// A version as a number; it may be of any length, and only needs to differ from the one before.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| u64::wrapping_mul(number, 10).wrapping_add(u64::from(*digit)))
}

fn write_ports(splice: &mut Splice<'_>, media: &Media, ours: Anchored) {
    splice.replace(media.port_span, ours.rtp.port().to_string());
    if let Some(count) = media.count {
        splice.delete(count);
    }
    if let Some(rtcp) = &media.rtcp {
        splice.replace(rtcp.port_span, ours.rtcp.port().to_string());
    }
}

/// Say otherwise than the writer what the other side must hear otherwise.
fn write_direction(splice: &mut Splice<'_>, sdp: &Sdp<'_>, at: usize, media: &Media, told: Told) {
    if let Some(line) = media.rtcp_mux.filter(|_| !told.mux) {
        splice.delete(line);
    }
    let direction = match (told.sends, told.receives) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    };
    if direction == sdp.direction_of(media) {
        return;
    }
    let own = |line: &sdp::Line| line.media == Some(at) && line.kind == b'a';
    let said = |line: &sdp::Line| own(line) && Direction::of(line.value.of(sdp.bytes())).is_some();
    let lines = sdp.lines().filter(said).collect::<Vec<_>>();
    lines.iter().for_each(|line| splice.replace(line.value, direction.name()));
    if lines.is_empty() {
        sdp.append(splice, media, &format!("a={}", direction.name()));
    }
}

/// Who opens the DTLS associations, where the writer leaves it open (`a=setup:actpass`, RFC 8842): a terminal that nobody
/// can reach before it has sent something. Either role is one that the writer has offered. An answerer that was told which
/// role is its peer's and claims the same means the other one, as it must (RFC 4145 section 4.1).
#[derive(Default)]
struct Roles {
    leads: bool,
    free: bool,
}

impl Roles {
    /// The section's own attribute; `leads` names its writer's side when the terminal must lead.
    fn add(&mut self, splice: &mut Splice<'_>, sdp: &Sdp<'_>, at: usize, leads: Option<Side>) {
        match leads {
            Some(side) => narrow(splice, sdp, Some(at), side),
            None => self.free = true,
        }
        self.leads |= leads.is_some();
    }

    /// The session's, if it is the same for all streams.
    fn finish(self, splice: &mut Splice<'_>, sdp: &Sdp<'_>, side: Side) {
        if self.leads && !self.free {
            narrow(splice, sdp, None, side);
        }
    }
}

fn narrow(splice: &mut Splice<'_>, sdp: &Sdp<'_>, at: Option<usize>, writer: Side) {
    let (own, other) = match writer {
        Side::Access => ("setup:active", "passive"),
        Side::Core => ("setup:passive", "active"),
    };
    for line in sdp.lines().filter(|line| line.kind == b'a' && line.media == at) {
        let value = line.value.of(sdp.bytes());
        if is_role(value, b"actpass") || is_role(value, other.as_bytes()) {
            splice.replace(line.value, own);
        }
    }
}

/// Replace every address by ours, and strip the lines that carry others.
fn hide_addresses(splice: &mut Splice<'_>, sdp: &Sdp<'_>, ours: IpAddr, ice: Ice) {
    if let Some(origin) = &sdp.origin {
        write_address(splice, origin.addrtype, origin.address, ours);
    }
    let trickling = |(at, media)| ice::stands_for_candidates(media) && ice::is_used(sdp, at);
    let trickled = ice == Ice::Keep && sdp.media.iter().enumerate().any(trickling);
    for connection in sdp.connections() {
        write_connection(splice, &connection, ours, trickled);
    }
    for rtcp in sdp.media.iter().filter_map(|media| media.rtcp.as_ref()) {
        if let Some(address) = rtcp.address {
            let family = if ours.is_ipv4() { "IP4" } else { "IP6" };
            splice.replace(Span::new(rtcp.port_span.end, address.end), format!(" IN {family} {ours}"));
        }
    }
    drop_attributes(splice, sdp, |value| match ice {
        Ice::Strip => sdp::is_ice(value) || sdp::is_bundle(value) || sdp::is_address_leak(value),
        Ice::Keep => sdp::is_candidate(value) || sdp::is_bundle(value) || sdp::is_address_leak(value),
    });
}

fn drop_attributes(splice: &mut Splice<'_>, sdp: &Sdp<'_>, unwanted: impl Fn(&[u8]) -> bool) {
    for line in sdp.lines().filter(|line| line.kind == b'a' && unwanted(line.value.of(sdp.bytes()))) {
        splice.delete(line.line);
    }
}

/// A zero address (hold, RFC 3264 section 8.4) stays zero, unless it only says that candidates will follow.
fn write_connection(splice: &mut Splice<'_>, connection: &Connection, ours: IpAddr, trickled: bool) {
    let zero = match ours {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let held = connection.ip.is_some_and(|ip| ip.is_unspecified()) && !trickled;
    write_address(splice, connection.addrtype, connection.value, if held { zero } else { ours });
}

fn ip_of(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn write_address(splice: &mut Splice<'_>, addrtype: Span, address: Span, ip: IpAddr) {
    splice.replace(addrtype, if ip.is_ipv4() { "IP4" } else { "IP6" });
    splice.replace(address, ip.to_string());
}
