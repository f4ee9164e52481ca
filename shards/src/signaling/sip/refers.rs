//! Where a message speaks of other dialogs and places than its own hop: Refer-To, Replaces, redirections, XML bodies.

use super::mask::Reader;
use super::xml_body;
use crate::wire::Span;
use crate::wire::sip::{self, DialogId, Header, Message, Name, NameAddr, Uri};
use crate::wire::splice::Splice;

/// What a URI in a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The Request-URI of a request outside dialogs.
    Target,
    /// Somewhere that requests may be sent to.
    Place,
    /// Somebody's name.
    Name,
}

/// A Call-ID, and what the message tells about the dialog that it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct DialogName<'a> {
    pub(super) call_id: &'a [u8],
    /// The tag that the sender of the message has in that dialog, if it is told.
    pub(super) writer: Option<&'a [u8]>,
    /// Who the receiver of the message is in that dialog.
    pub(super) reader: Reader<'a>,
}

/// What to write in the place of what a message refers to; `None` leaves it.
pub(super) trait Refers {
    /// A whole URI, headers included.
    fn uri(&mut self, role: Role, uri: &[u8]) -> Option<Vec<u8>>;
    /// A Call-ID.
    fn call_id(&mut self, name: &DialogName<'_>) -> Option<Vec<u8>>;
    /// A body that could not be read: it stays as it is.
    fn unread(&mut self);
}

/// The message with what `with` changes; `None` when nothing changes.
pub(super) fn rewrite(message: &Message<'_>, with: &mut impl Refers) -> Option<Vec<u8>> {
    let mut splice = Splice::new(message.bytes());
    if let Some(span) = message.request_uri().filter(|_| message.to_tag().is_none())
        && let Some(new) = with.uri(Role::Target, span.of(message.bytes()))
    {
        splice.replace(span, new);
    }
    for header in message.headers() {
        rewrite_header(message, *header, with, &mut splice);
    }
    rewrite_body(message, with, &mut splice);
    (!splice.is_empty()).then(|| splice.finish())
}

/// Is this response's Contact a place for the caller to try instead (RFC 3261 sections 8.1.3.4, 21.4.23)?
pub(super) const fn redirects(status: u16) -> bool {
    matches!(status, 300..=399 | 485)
}

fn rewrite_header(message: &Message<'_>, header: Header, with: &mut impl Refers, splice: &mut Splice<'_>) {
    let bytes = message.bytes();
    match header.name {
        Name::CallId => own_call_id(message, header, with, splice),
        Name::Replaces => dialog_id(bytes, header, [b"from-tag", b"to-tag"], with, splice),
        Name::ReferTo | Name::ReferredBy => address(bytes, header.value, with, splice),
        Name::Contact if message.status().is_some_and(redirects) => {
            sip::values(bytes, header.value).for_each(|value| address(bytes, value, with, splice));
        }
        Name::Other => match header.name_span.of(bytes) {
            name if name.eq_ignore_ascii_case(b"join") => {
                dialog_id(bytes, header, [b"from-tag", b"to-tag"], with, splice);
            }
            name if name.eq_ignore_ascii_case(b"target-dialog") => {
                dialog_id(bytes, header, [b"remote-tag", b"local-tag"], with, splice);
            }
            name if name.eq_ignore_ascii_case(b"in-reply-to") => in_reply_to(bytes, header, with, splice),
            _ => {}
        },
        _ => {}
    }
}

/// The message's own. Registrations may change their tag from one REGISTER to the next (RFC 3261 section 10.2), but not
/// their Call-ID.
fn own_call_id(message: &Message<'_>, header: Header, with: &mut impl Refers, splice: &mut Splice<'_>) {
    let (writer, reader) = match message.is_request() {
        true => (message.from_tag(), message.to_tag()),
        false => (message.to_tag(), message.from_tag()),
    };
    let writer = writer.filter(|_| message.method() != b"REGISTER");
    let call_id = header.value.of(message.bytes());
    if let Some(new) = with.call_id(&DialogName { call_id, writer, reader: Reader::Tagged(reader) }) {
        splice.replace(header.value, new);
    }
}

/// `tags` are the names of the parameters for the sender's and the receiver's tag.
fn dialog_id(
    bytes: &[u8],
    header: Header,
    tags: [&[u8]; 2],
    with: &mut impl Refers,
    splice: &mut Splice<'_>,
) {
    let Ok(id) = DialogId::parse(bytes, header.value) else { return };
    let [writer, reader] = tags.map(|tag| id.param(bytes, tag)?.value.map(|value| value.of(bytes)));
    let name = DialogName { call_id: id.call_id.of(bytes), writer, reader: Reader::Tagged(reader) };
    if let Some(new) = with.call_id(&name) {
        splice.replace(id.call_id, new);
    }
}

fn in_reply_to(bytes: &[u8], header: Header, with: &mut impl Refers, splice: &mut Splice<'_>) {
    for id in sip::call_ids(bytes, header.value) {
        let name = DialogName { call_id: id.of(bytes), writer: None, reader: Reader::Writer };
        if let Some(new) = with.call_id(&name) {
            splice.replace(id, new);
        }
    }
}

/// A bare URI that changes gets brackets: its new parameters must not read as the header's.
fn address(bytes: &[u8], value: Span, with: &mut impl Refers, splice: &mut Splice<'_>) {
    let Ok(address) = NameAddr::parse(bytes, value) else { return };
    let old = address.uri.span.of(bytes);
    let inner = with_replaces(old, with);
    let outer = with.uri(Role::Place, inner.as_deref().unwrap_or(old));
    let Some(new) = outer.or(inner) else { return };
    let new = if address.bracketed { new } else { [b"<", &new[..], b">"].concat() };
    splice.replace(address.uri.span, new);
}

/// The URI with the Call-ID of its Replaces or Join header translated: who is told to replace a dialog is not in it.
fn with_replaces(uri: &[u8], with: &mut impl Refers) -> Option<Vec<u8>> {
    let headers = Uri::parse(uri, Span::new(0, uri.len())).ok()?.headers?;
    let mut splice = Splice::new(uri);
    for header in sip::uri_headers(uri, headers) {
        let name = sip::unescape(header.name.of(uri)).unwrap_or_default();
        let value = sip::unescape(header.value.of(uri)).unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"replaces") && !name.eq_ignore_ascii_case(b"join") {
            continue;
        }
        let Ok(id) = DialogId::parse(&value, Span::new(0, value.len())) else { continue };
        let writer = id.param(&value, b"from-tag").and_then(|tag| tag.value).map(|tag| tag.of(&value));
        let dialog = DialogName { call_id: id.call_id.of(&value), writer, reader: Reader::Stranger };
        if let Some(new) = with.call_id(&dialog) {
            splice.replace(sip::encoded_call_id(uri, header.value), sip::escape(&new));
        }
    }
    (!splice.is_empty()).then(|| splice.finish())
}

fn rewrite_body(message: &Message<'_>, with: &mut impl Refers, splice: &mut Splice<'_>) {
    let (bytes, body) = (message.bytes(), message.body_span());
    let mut changes = Vec::new();
    for part in message.parts(xml_body::is_read) {
        match xml_body::rewrite(part.kind.of(bytes), part.content.of(bytes), with) {
            Ok(new) => changes.extend(new.map(|new| (part.content, new))),
            Err(_) => with.unread(),
        }
    }
    let longer: usize = changes.iter().map(|(_, new)| new.len()).sum();
    let shorter: usize = changes.iter().map(|(old, _)| old.len()).sum();
    if let Some(header) = message.first(Name::ContentLength).filter(|_| !changes.is_empty()) {
        splice.replace(header.value, (body.len() + longer - shorter).to_string());
    }
    changes.into_iter().for_each(|(old, new)| splice.replace(old, new));
}
