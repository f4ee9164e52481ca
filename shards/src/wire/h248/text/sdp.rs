//! Session descriptions within octet strings: `}` is written `\}`.

use crate::fault::Fault;
use crate::wire::h248::{Bounded, Description, Group, MAX_GROUPS};
use crate::wire::{Span, text};
use smallvec::SmallVec;
use std::borrow::Cow;

/// The descriptions of a block: each begins with a line `v=`.
pub(super) fn description(bytes: &[u8], whole: Span) -> Result<Description, Fault> {
    let content = content(bytes, whole);
    let mut groups = SmallVec::new();
    let mut start = content.start;
    let mut at = content.start;
    while at < content.end {
        let line = text::line(bytes, at);
        if at > start && begins(line.of(bytes)) {
            groups.put(group(start, at), MAX_GROUPS, "too many descriptions")?;
            start = at;
        }
        at = line.end;
    }
    if start < content.end {
        groups.put(group(start, content.end), MAX_GROUPS, "too many descriptions")?;
    }
    Ok(Description { whole, groups })
}

const fn group(start: usize, end: usize) -> Group {
    Group { span: Span::new(start, end) }
}

fn begins(line: &[u8]) -> bool {
    line.len() > 1 && line[0].eq_ignore_ascii_case(&b'v') && line[1] == b'='
}

/// Without the white space before the first line and after the last; that one's own end stays.
fn content(bytes: &[u8], whole: Span) -> Span {
    let bare = text::trim(bytes, whole);
    let rest = Span::new(bare.end, whole.end);
    let blank = rest.of(bytes);
    let end = match blank.iter().position(|&b| b == b'\n') {
        Some(at) if blank[..at].iter().all(|&b| b == b'\r') => rest.start + at + 1,
        _ => rest.start,
    };
    Span { start: bare.start, end: if bare.is_empty() { bare.start } else { end } }
}

/// A description without its escapes.
pub(in crate::wire::h248) fn sdp(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'}') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    for &octet in text {
        if octet == b'}' && plain.last() == Some(&b'\\') {
            plain.pop();
        }
        plain.push(octet);
    }
    Cow::Owned(plain)
}

/// A description with its escapes.
pub(in crate::wire::h248) fn escape(sdp: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(sdp.len() + 8);
    for &octet in sdp {
        if octet == b'}' {
            text.push(b'\\');
        }
        text.push(octet);
    }
    text
}
