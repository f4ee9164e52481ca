//! What must hold for any octets that are taken for MGCP.

use portolan_shards::wire::Span;
use portolan_shards::wire::mgcp::{self, Endpoint, Message, Start};
use portolan_shards::wire::splice::Splice;

/// Reads `data` and checks what the scanner promises.
pub(crate) fn run(data: &[u8]) {
    let parts = mgcp::messages(data);
    assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for part in parts {
        assert!(!part.is_empty() && part.end <= data.len());
        check(part.of(data));
    }
}

/// Is this one message that can be read?
#[allow(dead_code, reason = "asked about the corpus only")]
pub(crate) fn reads(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok()
}

fn check(bytes: &[u8]) {
    let told = mgcp::transaction(bytes);
    let Ok(message) = Message::parse(bytes) else { return };
    let whole = Span::new(0, bytes.len());
    assert_eq!(told.map(|(id, _)| id), Some(message.transaction));
    assert!((1..=mgcp::MAX_TRANSACTION).contains(&message.transaction));
    nested(whole, &[message.start_line]);
    nested(message.start_line, &[message.transaction_span]);
    if let Start::Command { endpoint, .. } = message.start {
        nested(message.start_line, &[endpoint.whole]);
        check_name(bytes, endpoint);
    }
    let mut from = message.start_line.end;
    for parameter in &message.parameters {
        nested(whole, &[parameter.line]);
        nested(parameter.line, &[parameter.name, parameter.value]);
        assert!(parameter.line.start >= from && !parameter.name.is_empty());
        from = parameter.line.end;
        mgcp::endpoints(bytes, parameter.value).for_each(|name| check_name(bytes, name));
        assert!(mgcp::acks(bytes, parameter.value).all(|ack| ack.first <= ack.last));
    }
    assert_eq!(message.parameters_end(), from);
    for description in &message.descriptions {
        nested(whole, &[*description]);
        assert!(description.start >= from);
        from = description.end;
    }
    unchanged_but_for_the_transaction(&message);
}

fn check_name(bytes: &[u8], name: Endpoint) {
    nested(Span::new(0, bytes.len()), &[name.whole]);
    nested(name.whole, &[name.local, name.domain]);
    assert!(!name.domain.is_empty());
    let _ = name.is_literal(bytes);
}

/// Under another number it reads the same but for that.
fn unchanged_but_for_the_transaction(message: &Message<'_>) {
    let mut splice = Splice::new(message.bytes());
    splice.replace(message.transaction_span, "999999999");
    let bytes = splice.finish();
    let again = Message::parse(&bytes).expect("another number does not make it unreadable");
    assert_eq!(again.transaction, 999_999_999);
    assert_eq!(again.parameters.len(), message.parameters.len());
    assert_eq!(again.descriptions.len(), message.descriptions.len());
    for (new, old) in again.parameters.iter().zip(&message.parameters) {
        assert_eq!(new.line.of(&bytes), old.line.of(message.bytes()));
    }
}

fn nested(outer: Span, inner: &[Span]) {
    for span in inner {
        assert!(span.start <= span.end && outer.contains(*span), "{span:?} is not within {outer:?}");
    }
}
