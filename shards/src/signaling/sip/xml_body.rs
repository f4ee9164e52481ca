//! XML bodies that name dialogs and places: which of their values are addresses, and of what kind.

use super::mask::Reader;
use super::refers::{DialogName, Refers, Role};
use crate::fault::Fault;
use crate::wire::splice::Splice;
use crate::wire::xml::{self, Field};

/// The formats that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 3680.
    RegInfo,
    /// RFC 4235.
    DialogInfo,
    /// RFC 4575.
    ConferenceInfo,
    /// RFC 4826.
    ResourceLists,
    /// RFC 3863.
    Pidf,
}

impl Format {
    fn of(kind: &[u8]) -> Option<Self> {
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("application/reginfo+xml") => Some(Self::RegInfo),
            () if is("application/dialog-info+xml") => Some(Self::DialogInfo),
            () if is("application/conference-info+xml") => Some(Self::ConferenceInfo),
            () if is("application/resource-lists+xml") => Some(Self::ResourceLists),
            () if is("application/pidf+xml") => Some(Self::Pidf),
            () => None,
        }
    }
}

/// Is this media type one that is looked into?
pub(super) fn is_read(kind: &[u8]) -> bool {
    Format::of(kind).is_some()
}

/// What a value of a document is.
enum Value {
    Uri(Role),
    CallId,
}

/// The body with what `with` changes; `None` when nothing changes.
///
/// # Errors
/// [`Fault::Malformed`] when it is no XML.
pub(super) fn rewrite(kind: &[u8], body: &[u8], with: &mut impl Refers) -> Result<Option<Vec<u8>>, Fault> {
    let Some(format) = Format::of(kind) else { return Ok(None) };
    let fields = xml::fields(body)?;
    let mut splice = Splice::new(body);
    for field in &fields {
        if let Some(new) = changed(format, body, &fields, field, with)? {
            splice.replace(field.value, if field.literal { new } else { xml::escape(&new) });
        }
    }
    Ok((!splice.is_empty()).then(|| splice.finish()))
}

fn changed(
    format: Format,
    body: &[u8],
    fields: &[Field],
    field: &Field,
    with: &mut impl Refers,
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(value) = meaning(format, body, field) else { return Ok(None) };
    let text = text_of(body, field)?;
    Ok(match value {
        Value::Uri(role) => with.uri(role, &text),
        Value::CallId => {
            let tag = fields.iter().find(|other| {
                let name = other.attribute.map(|name| name.of(body));
                other.number == field.number && name == Some(b"local-tag")
            });
            let tag = tag.map(|tag| text_of(body, tag)).transpose()?;
            with.call_id(&DialogName { call_id: &text, writer: tag.as_deref(), reader: Reader::Stranger })
        }
    })
}

fn text_of(body: &[u8], field: &Field) -> Result<Vec<u8>, Fault> {
    let text = field.value.of(body);
    if field.literal {
        return Ok(text.to_vec());
    }
    xml::unescape(text).ok_or(Fault::Malformed("XML reference"))
}

fn meaning(format: Format, body: &[u8], field: &Field) -> Option<Value> {
    let attribute = field.attribute.map(|name| name.of(body)).unwrap_or_default();
    let place = Some(Value::Uri(Role::Place));
    let name = Some(Value::Uri(Role::Name));
    match (format, field.element.of(body), attribute) {
        (Format::RegInfo, b"registration", b"aor") => name,
        (Format::RegInfo, b"uri", b"") => place,
        (Format::DialogInfo, b"dialog" | b"replaces", b"call-id") => Some(Value::CallId),
        (Format::DialogInfo, b"dialog-info", b"entity") => name,
        (Format::DialogInfo, b"identity" | b"referred-by", b"") => name,
        (Format::DialogInfo, b"target", b"uri") | (Format::DialogInfo, b"hop", b"") => place,
        (Format::ConferenceInfo, b"user", b"entity") | (Format::ConferenceInfo, b"by", b"") => name,
        (Format::ConferenceInfo, b"conference-info" | b"endpoint", b"entity") => place,
        (Format::ConferenceInfo, b"uri", b"") => place,
        (Format::ConferenceInfo, b"call-id", b"") => Some(Value::CallId),
        (Format::ResourceLists, _, b"uri") => place,
        (Format::Pidf, b"presence", b"entity") => name,
        (Format::Pidf, b"contact", b"") => place,
        _ => None,
    }
}
