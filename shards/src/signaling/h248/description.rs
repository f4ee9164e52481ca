//! Local and Remote descriptors (H.248.1 section 7.1.8): several alternatives of one description, and descriptions that come
//! back to the side that has given them.

use crate::fault::Fault;
use crate::session::{Role, SessionKey};
use crate::signaling::Cx;
use crate::signaling::reading::Reading;
use crate::types::Side;
use crate::wire::Span;
use crate::wire::h248::{Description, Message};
use crate::wire::sdp::{self, Media, Sdp};
use crate::wire::splice::Splice;
use smallvec::SmallVec;
use std::net::IpAddr;

/// The alternatives of one description, best first.
pub(super) type Groups = SmallVec<[Box<[u8]>; 1]>;

/// The alternatives of a descriptor.
pub(super) fn groups(message: &Message<'_>, description: &Description) -> Groups {
    description.groups.iter().map(|group| message.sdp(group).into()).collect()
}

/// Do they describe media, and leave nothing of it to be chosen?
///
/// # Errors
/// [`Fault::Malformed`] when one cannot be read.
pub(super) fn is_settled(groups: &Groups) -> Result<bool, Fault> {
    let mut settled = false;
    for group in groups {
        let sdp = Sdp::parse(group)?;
        if sdp.media.iter().any(|media| media.choose) || sdp.connections().any(|c| is_choose(&sdp, c.value)) {
            return Ok(false);
        }
        settled |= !sdp.media.is_empty();
    }
    Ok(settled)
}

/// Anchor a description and write each of its alternatives for the other side. All have the same ports.
///
/// # Errors
/// As [`Reading::anchor`].
pub(super) fn anchor(
    reading: Reading,
    cx: &mut Cx<'_>,
    session: SessionKey,
    (side, role): (Side, Role),
    groups: &Groups,
) -> Result<Groups, Fault> {
    if let [one] = &groups[..] {
        let shown = reading.anchor(cx, session, side, role, one)?;
        return Ok(SmallVec::from_iter([shown.into()]));
    }
    let merged = merged(groups)?;
    reading.anchor(cx, session, side, role, &merged)?;
    let mut show = |group: &[u8]| {
        let shown = reading.anchor(cx, session, side, Role::Repeat, group)?;
        Ok(shown.into())
    };
    groups.iter().map(|group| show(group)).collect()
}

/// The first alternative with the payload types of the others: any of them may be used.
fn merged(groups: &Groups) -> Result<Vec<u8>, Fault> {
    let Some(first) = groups.first() else { return Ok(Vec::new()) };
    let sdp = Sdp::parse(first)?;
    let mut splice = Splice::new(first);
    if let [media] = &sdp.media[..]
        && sdp.rtp(media)
    {
        groups[1..].iter().try_for_each(|other| merge(&mut splice, &sdp, media, other))?;
    }
    Ok(splice.finish())
}

fn merge(splice: &mut Splice<'_>, into: &Sdp<'_>, media: &Media, other: &[u8]) -> Result<(), Fault> {
    let other = Sdp::parse(other)?;
    let Some(section) = other.media.first().filter(|section| other.rtp(section)) else { return Ok(()) };
    for word in section.formats.of(other.bytes()).split(u8::is_ascii_whitespace) {
        splice.insert(media.formats.end, [b" ", word].concat());
    }
    let described = |line: &sdp::Line| {
        let value = line.value.of(other.bytes());
        line.kind == b'a' && line.media == Some(0) && sdp::has_name(value, b"rtpmap")
    };
    for line in other.lines().filter(described) {
        let value = String::from_utf8_lossy(line.value.of(other.bytes()));
        into.append(splice, media, &format!("a={value}"));
    }
    Ok(())
}

/// A description as it comes back to the side that has given it, with its own addresses and ports: `said` is what it said
/// last. Where that is not known, what was filled in is left to be chosen (`$`) once more. What leaves the choice open
/// passes. `ours` is our address on that side.
///
/// # Errors
/// [`Fault::Malformed`] when one of the two cannot be read.
pub(super) fn restore(body: &[u8], said: Option<&[u8]>, ours: IpAddr) -> Result<Vec<u8>, Fault> {
    let (sdp, said) = (Sdp::parse(body)?, said.map(Sdp::parse).transpose()?);
    let mut splice = Splice::new(body);
    let address = said.as_ref().and_then(|said| said.media.first().and_then(|media| said.address_of(media)));
    let family = if address.unwrap_or(ours).is_ipv4() { "IP4" } else { "IP6" };
    let mut write = |addrtype: Span, at: Span, text: String| {
        splice.replace(addrtype, family);
        splice.replace(at, text);
    };
    if let Some(origin) = &sdp.origin {
        write(origin.addrtype, origin.address, address.unwrap_or(ours).to_string());
    }
    let filled = |c: &sdp::Connection| !is_choose(&sdp, c.value) && !c.is_unspecified();
    for connection in sdp.connections().filter(filled) {
        let text = address.map_or_else(|| "$".to_owned(), |address| address.to_string());
        write(connection.addrtype, connection.value, text);
    }
    for (at, media) in sdp.media.iter().enumerate() {
        let known = said.as_ref().and_then(|said| said.media.get(at)).map(|media| media.port);
        if media.port != 0 {
            splice.replace(media.port_span, known.map_or_else(|| "$".to_owned(), |port| port.to_string()));
        }
    }
    let leads_here = |value: &[u8]| {
        sdp::has_name(value, b"rtcp") || sdp::is_candidate(value) || sdp::is_address_leak(value)
    };
    for line in sdp.lines().filter(|line| line.kind == b'a' && leads_here(line.value.of(body))) {
        splice.delete(line.line);
    }
    Ok(splice.finish())
}

fn is_choose(sdp: &Sdp<'_>, value: Span) -> bool {
    value.of(sdp.bytes()) == b"$"
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "198.51.100.10";

    fn restored(body: &str, said: Option<&str>) -> String {
        let restored = restore(body.as_bytes(), said.map(str::as_bytes), OURS.parse().unwrap()).unwrap();
        String::from_utf8(restored).unwrap()
    }

    #[test]
    fn what_is_to_be_chosen_stays() {
        let open = "v=0\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 8\r\n";
        assert_eq!(restored(open, None), open);
        assert_eq!(restored(open, Some("v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 8\r\n")), open);
        assert!(!is_settled(&Groups::from_iter([open.as_bytes().into()])).unwrap());
    }

    #[test]
    fn a_description_comes_back_with_its_own_address() {
        let shown = "v=0\r\no=- 1 1 IN IP4 10.0.0.10\r\nc=IN IP4 10.0.0.10\r\nm=audio 20480 RTP/AVP 0 8\r\na=rtcp:20481\r\n";
        let said = "v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 8\r\n";
        assert_eq!(
            restored(shown, Some(said)),
            "v=0\r\no=- 1 1 IN IP4 192.168.1.5\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 0 8\r\n"
        );
        assert_eq!(
            restored(shown, None),
            "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\nc=IN IP4 $\r\nm=audio $ RTP/AVP 0 8\r\n"
        );
    }

    #[test]
    fn alternatives_are_merged_for_the_relay() {
        let one = "v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 0\r\n";
        let other = "v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 96\r\na=rtpmap:96 G726-32/8000\r\n";
        let groups = Groups::from_iter([one.as_bytes().into(), other.as_bytes().into()]);
        assert_eq!(
            String::from_utf8(merged(&groups).unwrap()).unwrap(),
            "v=0\r\nc=IN IP4 192.168.1.5\r\nm=audio 5004 RTP/AVP 0 96\r\na=rtpmap:96 G726-32/8000\r\n"
        );
    }
}
