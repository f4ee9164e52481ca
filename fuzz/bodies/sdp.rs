//! What must hold for any octets that are taken for a session description.

use portolan_shards::wire::Span;
use portolan_shards::wire::sdp::{self, Connection, Line, Media, Sdp};
use portolan_shards::wire::splice::Splice;

/// Reads `data` and checks what the scanner promises.
pub(crate) fn run(data: &[u8]) {
    let _ =
        (sdp::is_address_leak(data), sdp::is_bundle(data), sdp::is_keying(data), sdp::Direction::of(data));
    assert!(!sdp::is_candidate(data) || sdp::is_ice(data));
    let Ok(sdp) = Sdp::parse(data) else { return };
    let whole = Span::new(0, data.len());
    if let Some(origin) = sdp.origin {
        nested(whole, &[origin.line]);
        nested(origin.line, &[origin.sess_version, origin.addrtype, origin.address]);
    }
    sdp.connections().for_each(|connection| check_connection(data, whole, connection));
    let mut from = 0;
    for media in &sdp.media {
        nested(whole, &[media.section]);
        assert!(media.section.start >= from);
        from = media.section.end;
        check_media(&sdp, media);
    }
    lines_tile(&sdp);
    unchanged_but_for_the_address(&sdp);
}

fn check_media(sdp: &Sdp<'_>, media: &Media) {
    nested(media.section, &[media.line, media.rtcp_mux.unwrap_or(media.line)]);
    nested(media.line, &[media.kind, media.port_span, media.proto, media.formats]);
    nested(media.line, &[media.count.unwrap_or(media.line)]);
    if let Some(connection) = media.connection {
        check_connection(sdp.bytes(), media.section, connection);
    }
    if let Some(rtcp) = media.rtcp {
        nested(media.section, &[rtcp.line]);
        nested(rtcp.line, &[rtcp.port_span, rtcp.address.unwrap_or(rtcp.line)]);
        assert_eq!(rtcp.address.is_some(), rtcp.addrtype.is_some());
    }
    assert!(sdp.rtp(media) || media.payload_types == [0, 0]);
    let _ = (sdp.address_of(media), sdp.direction_of(media), sdp.connection_of(media));
}

fn check_connection(data: &[u8], outer: Span, connection: Connection) {
    nested(outer, &[connection.line]);
    nested(connection.line, &[connection.value, connection.addrtype]);
    nested(connection.value, &[connection.address]);
    assert!(connection.line.of(data).starts_with(b"c=") && !connection.address.is_empty());
}

/// The lines follow each other without a gap, and count the media sections.
fn lines_tile(sdp: &Sdp<'_>) {
    let lines: Vec<Line> = sdp.lines().collect();
    assert!(lines.windows(2).all(|pair| pair[0].line.end == pair[1].line.start));
    assert_eq!(lines.last().map_or(0, |l| l.line.end), sdp.bytes().len());
    assert_eq!(lines.iter().filter(|l| l.kind == b'm').count(), sdp.media.len());
    for line in lines {
        nested(line.line, &[line.value]);
        let section = line.media.and_then(|index| sdp.media.get(index)).map(|media| media.section);
        assert!(section.is_none_or(|section| section.contains(line.line)));
    }
}

/// Replacing every address and port gives a description that reads the same but for them.
fn unchanged_but_for_the_address(sdp: &Sdp<'_>) {
    let mut splice = Splice::new(sdp.bytes());
    sdp.connections().for_each(|connection| splice.replace(connection.address, "192.0.2.99"));
    sdp.media.iter().for_each(|media| splice.replace(media.port_span, "9"));
    let bytes = splice.finish();
    let again = Sdp::parse(&bytes).expect("other addresses do not make it unreadable");
    assert_eq!(again.media.len(), sdp.media.len());
    assert_eq!(again.lines().count(), sdp.lines().count());
    for (new, old) in again.media.iter().zip(&sdp.media) {
        assert_eq!(new.port, 9);
        assert_eq!((new.direction, new.payload_types), (old.direction, old.payload_types));
        assert!(again.connection_of(new).is_none_or(|c| c.ip == "192.0.2.99".parse().ok()));
    }
}

fn nested(outer: Span, inner: &[Span]) {
    for span in inner {
        assert!(span.start <= span.end && outer.contains(*span), "{span:?} is not within {outer:?}");
    }
}
