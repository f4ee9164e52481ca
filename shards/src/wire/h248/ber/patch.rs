//! Elements that take the place of others, and the lengths around them.

use super::element::Element;
use crate::wire::Span;

/// New octets for whole elements; empty: the element is taken out.
#[derive(Clone, Debug, Default)]
pub(in crate::wire::h248) struct Patches {
    /// In the order of their places; of two that begin at one place the longer first.
    list: Vec<(Span, Vec<u8>)>,
}

impl Patches {
    /// None yet.
    pub(in crate::wire::h248) const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Puts `with` in the place of the element at `span`.
    pub(in crate::wire::h248) fn replace(&mut self, span: Span, with: Vec<u8>) {
        let order = |s: Span| (s.start, std::cmp::Reverse(s.end));
        match self.list.binary_search_by_key(&order(span), |(known, _)| order(*known)) {
            Ok(at) => self.list[at].1 = with,
            Err(at) => self.list.insert(at, (span, with)),
        }
    }

    /// The message with all of them: what no patch is in stays octet for octet.
    pub(in crate::wire::h248) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let whole = Span::new(0, bytes.len());
        let mut out =
            Vec::with_capacity(bytes.len() + self.list.iter().map(|(_, with)| with.len()).sum::<usize>());
        copy(bytes, whole, &self.list, &mut out);
        out
    }
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
