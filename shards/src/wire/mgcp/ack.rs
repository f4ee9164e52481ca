//! Acknowledged responses: `K: 6234-6255, 6257` (RFC 3435 section 3.2.2.19).

use crate::wire::{Span, text};

/// Transactions whose responses have arrived, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The first.
    pub first: u32,
    /// The last; not before the first.
    pub last: u32,
}

/// The ranges of a value; what cannot be read is left out.
pub fn acks(bytes: &[u8], value: Span) -> impl Iterator<Item = Ack> {
    let items = value.of(bytes).split(|&b| b == b',');
    items.filter_map(|item| {
        let item = text::trim(item, Span::new(0, item.len())).of(item);
        let mut ends = item.splitn(2, |&b| b == b'-').map(number);
        let first = ends.next()??;
        let last = ends.next().unwrap_or(Some(first))?;
        (first <= last).then_some(Ack { first, last })
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    let digits = text::trim(digits, Span::new(0, digits.len())).of(digits);
    text::number(digits)?.try_into().ok()
}
