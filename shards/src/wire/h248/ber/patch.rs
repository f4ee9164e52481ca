//! Elements that take the place of others, and the lengths around them.

use super::element::Element;
use crate::wire::Span;

/// The message with the elements at these places replaced; by nothing: taken out. The places are in their order, of two
/// that begin at one the longer first; those within another are left out. What is at no place stays octet for octet.
pub(in crate::wire::h248) fn patch(bytes: &[u8], patches: &[(Span, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + patches.iter().map(|(_, with)| with.len()).sum::<usize>());
    copy(bytes, Span::new(0, bytes.len()), patches, &mut out);
    out
}

/// Writes the elements in `within`, with the patches that are in it.
fn copy(bytes: &[u8], within: Span, patches: &[(Span, Vec<u8>)], out: &mut Vec<u8>) {
    let mut rest = within;
    let mut patches = patches;
    while let Some((place, with)) = patches.first() {
        // Whatever was patched was read before, so the elements around it can be.
        let Ok(element) = Element::read(bytes, rest) else { break };
        let inside = patches.partition_point(|(place, _)| place.start < element.whole.end);
        if *place == element.whole {
            out.extend_from_slice(with);
        } else if inside == 0 {
            out.extend_from_slice(element.whole.of(bytes));
        } else {
            let mut content = Vec::with_capacity(element.content.len());
            copy(bytes, element.content, &patches[..inside], &mut content);
            out.extend_from_slice(&element.with(bytes, &content));
        }
        patches = &patches[inside..];
        rest.start = element.whole.end;
    }
    out.extend_from_slice(rest.of(bytes));
}
