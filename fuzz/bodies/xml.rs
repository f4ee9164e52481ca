//! What must hold for any octets that are taken for XML.

use portolan_shards::wire::splice::Splice;
use portolan_shards::wire::{Span, xml};

/// Reads `data` and checks what the scanner promises.
pub(crate) fn run(data: &[u8]) {
    if let Some(plain) = xml::unescape(data) {
        assert_eq!(xml::unescape(&xml::escape(&plain)), Some(plain));
    }
    let Ok(fields) = xml::fields(data) else { return };
    let (whole, mut from, mut number) = (Span::new(0, data.len()), 0, 0);
    for field in &fields {
        for span in [field.element, field.value, field.attribute.unwrap_or(field.element)] {
            assert!(span.start <= span.end && whole.contains(span), "{span:?}");
        }
        assert!(field.value.start >= from && !field.element.is_empty());
        assert!(field.attribute.is_none() || field.number >= number);
        from = field.value.end;
        number = if field.attribute.is_some() { field.number } else { number };
    }
    other_values(data, &fields);
}

/// Other values give a document that reads the same but for them.
fn other_values(data: &[u8], fields: &[xml::Field]) {
    let value = xml::escape(b"sip:a&b@192.0.2.1");
    let mut splice = Splice::new(data);
    fields.iter().for_each(|field| splice.replace(field.value, value.clone()));
    let bytes = splice.finish();
    let again = xml::fields(&bytes).expect("other values do not make it unreadable");
    assert_eq!(again.len(), fields.len());
    for (new, old) in again.iter().zip(fields) {
        assert_eq!((new.number, new.literal), (old.number, old.literal));
        assert_eq!(new.element.of(&bytes), old.element.of(data));
        assert_eq!(new.value.of(&bytes), &value[..]);
    }
}
