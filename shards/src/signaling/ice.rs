//! ICE between two ends that both keep it (RFC 8445, RFC 8839), through a relay that is no ICE agent.
//!
//! Each end is shown one host candidate for each component: our own port, which is the default address too, so no end
//! finds a mismatch. User name fragment, password and options stay, and with them the ends check each other through us: no
//! check names an address that it vouches for, so its integrity holds wherever it comes from. What XOR-MAPPED-ADDRESS
//! tells is our address on the other side; the agent takes it for a peer-reflexive candidate of its own.

use crate::session::Anchored;
use crate::wire::sdp::{self, Line, Media, Sdp};
use crate::wire::splice::Splice;
use std::net::SocketAddr;

/// The discard port, where a default address stands for none because candidates are trickled (RFC 8840 section 4.1).
const DISCARD: u16 = 9;
/// Priority of a host's only candidate, for component 0 (RFC 8445 section 5.1.2.1).
const PRIORITY: u32 = (126 << 24) + (65_535 << 8) + 256;

/// Does the writer of the description use ICE for this stream?
pub(super) fn is_used(sdp: &Sdp<'_>, at: usize) -> bool {
    let applies = |line: &Line| line.media.is_none_or(|media| media == at);
    attributes(sdp).filter(applies).any(|line| sdp::has_name(line.value.of(sdp.bytes()), b"ice-ufrag"))
}

/// Does the default address only say that candidates will follow?
pub(super) const fn stands_for_candidates(media: &Media) -> bool {
    media.port == DISCARD
}

/// Our candidates, in the place of the first one of the stream, or at its end.
pub(super) fn write_candidates(
    splice: &mut Splice<'_>,
    sdp: &Sdp<'_>,
    at: usize,
    media: &Media,
    ours: Anchored,
) {
    let end = String::from_utf8_lossy(sdp.line_end()).into_owned();
    let mut text = candidate(1, ours.rtp);
    if needs_rtcp(sdp, at, media, ours) {
        text = format!("{text}{end}{}", candidate(2, ours.rtcp));
    }
    match candidates(sdp, at).next() {
        Some(first) => splice.insert(first.line.start, text + &end),
        None => sdp.append(splice, media, &text),
    }
}

/// RTCP is a component of its own where the writer has candidates for it, or has none at all and does not multiplex, or
/// may not.
fn needs_rtcp(sdp: &Sdp<'_>, at: usize, media: &Media, ours: Anchored) -> bool {
    let listed = |line: &Line| component(line.value.of(sdp.bytes())) == Some(b"2");
    let (some, second) =
        (candidates(sdp, at).next().is_some(), candidates(sdp, at).any(|line| listed(&line)));
    let muxes = media.rtcp_mux.is_some() && ours.told.mux;
    second || sdp.rtp(media) && !muxes && (!some || media.rtcp_mux.is_some())
}

/// A fragment of a description (RFC 8840 section 9) without what it says of candidates: the peer has ours already.
pub(super) fn fragment(body: &[u8]) -> Vec<u8> {
    let mut splice = Splice::new(body);
    for line in sdp::lines(body) {
        let value = line.value.of(body);
        let told = sdp::is_candidate(value) || sdp::is_bundle(value) || sdp::is_address_leak(value);
        let place = line.kind == b'a' && (told || sdp::has_name(value, b"rtcp"));
        if place || matches!(line.kind, b'c' | b'o') {
            splice.delete(line.line);
        }
    }
    splice.finish()
}

fn candidate(component: u32, at: SocketAddr) -> String {
    format!("a=candidate:1 {component} UDP {} {} {} typ host", PRIORITY - component, at.ip(), at.port())
}

fn candidates<'a>(sdp: &Sdp<'a>, at: usize) -> impl Iterator<Item = Line> + use<'a> {
    let bytes = sdp.bytes();
    attributes(sdp)
        .filter(move |line| line.media == Some(at) && sdp::has_name(line.value.of(bytes), b"candidate"))
}

/// The second word of a candidate.
fn component(value: &[u8]) -> Option<&[u8]> {
    value.split(|octet| *octet == b' ').filter(|word| !word.is_empty()).nth(1)
}

fn attributes<'a>(sdp: &Sdp<'a>) -> impl Iterator<Item = Line> + use<'a> {
    sdp.lines().filter(|line| line.kind == b'a')
}
