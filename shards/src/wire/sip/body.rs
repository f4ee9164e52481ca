//! Descriptions within bodies.

use super::{Header, Message, Name, header, param};
use crate::wire::{Span, text};

/// A part of a body, or the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its media type, without parameters, as it is written.
    pub kind: Span,
    /// Its content.
    pub content: Span,
}

/// Where the body holds application/sdp.
pub(super) fn sdp_parts(message: &Message<'_>) -> Vec<Span> {
    let found = parts(message, |kind| kind.eq_ignore_ascii_case(b"application/sdp"));
    found.into_iter().map(|part| part.content).collect()
}

/// Where the body holds content of a wanted type.
pub(super) fn parts(message: &Message<'_>, wanted: impl Fn(&[u8]) -> bool) -> Vec<Part> {
    let bytes = message.bytes();
    let body = message.body_span();
    let encoded = message.value(Name::ContentEncoding).is_some_and(|v| !v.eq_ignore_ascii_case(b"identity"));
    let Some(content_type) = message.first(Name::ContentType).filter(|_| !encoded && !body.is_empty()) else {
        return Vec::new();
    };
    let kind = media_type(bytes, content_type);
    if wanted(kind.of(bytes)) {
        return vec![Part { kind, content: body }];
    }
    let multipart = kind.of(bytes).get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"multipart/"));
    let Some(boundary) = boundary(bytes, content_type).filter(|_| multipart) else {
        return Vec::new();
    };
    between(bytes, body, boundary).into_iter().filter_map(|part| wanted_part(bytes, part, &wanted)).collect()
}

fn media_type(bytes: &[u8], content_type: Header) -> Span {
    let end = text::find_octet(bytes, content_type.value, b';').unwrap_or(content_type.value.end);
    text::trim(bytes, Span::new(content_type.value.start, end))
}

fn boundary(bytes: &[u8], content_type: Header) -> Option<&[u8]> {
    let value = content_type.value;
    let params = Span::new(text::find_octet(bytes, value, b';')?, value.end);
    let text = param::find(bytes, params, b"boundary")?.value?.of(bytes);
    let bare = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    (!bare.is_empty()).then_some(bare)
}

/// What stands between the delimiter lines (RFC 2046 5.1.1); the line end before a delimiter belongs to it. A part
/// that is cut off by the end of the body is left out.
fn between(bytes: &[u8], body: Span, boundary: &[u8]) -> Vec<Span> {
    let within = &bytes[..body.end];
    let (mut parts, mut opened, mut at) = (Vec::new(), None, body.start);
    while at < body.end {
        let line = text::line(within, at);
        if let Some(last) = delimiter(header::content(within, line).of(within), boundary) {
            parts.extend(opened.map(|start| header::content(within, Span { start, end: line.start })));
            if last {
                break;
            }
            opened = Some(line.end);
        }
        at = line.end;
    }
    parts
}

/// Whether `line` is a delimiter, and if so whether it is the last.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let tail = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
    matches!(tail, b"" | b"--").then_some(!tail.is_empty())
}

/// The content of a part, when it is of a wanted type as it stands.
fn wanted_part(bytes: &[u8], part: Span, wanted: impl Fn(&[u8]) -> bool) -> Option<Part> {
    let within = &bytes[..part.end];
    let scan = header::scan(within, part.start);
    let content_type = scan.headers.iter().find(|h| h.name == Name::ContentType)?;
    let kind = media_type(within, *content_type);
    let encoded = scan.headers.iter().any(|h| is_encoding(within, *h));
    let content = Span::new(scan.body, part.end.max(scan.body));
    (wanted(kind.of(within)) && !encoded && !content.is_empty()).then_some(Part { kind, content })
}

/// Whether the header says that the content is not the text itself.
fn is_encoding(bytes: &[u8], header: Header) -> bool {
    let value = header.value.of(bytes);
    let plain: &[&[u8]] = &[b"binary", b"8bit", b"7bit", b"identity"];
    let encoding = header.name == Name::ContentEncoding
        || header.name_span.of(bytes).eq_ignore_ascii_case(b"Content-Transfer-Encoding");
    encoding && !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain))
}
