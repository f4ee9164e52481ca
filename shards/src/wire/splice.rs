//! The old octets with a few spans replaced.

use super::Span;

/// Edits to a message, collected in any order and applied at once by [`Splice::finish`].
#[derive(Clone, Debug)]
pub struct Splice<'a> {
    bytes: &'a [u8],
    /// Disjoint, ordered by position; insertions come before the replacement that starts at the same offset.
    edits: Vec<Edit>,
}

#[derive(Clone, Debug)]
struct Edit {
    span: Span,
    with: Vec<u8>,
}

impl<'a> Splice<'a> {
    /// No edits yet: [`Splice::finish`] would return `bytes` as they are.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, edits: Vec::new() }
    }

    /// Puts `with` in the place of `span`. An edit within a span that was taken out before has no effect. A span that
    /// overlaps an earlier edit in another way, or leaves the message, is a caller's bug: the edit is left out (debug
    /// builds panic).
    pub fn replace(&mut self, span: Span, with: impl Into<Vec<u8>>) {
        if span.is_empty() {
            return self.insert(span.start, with);
        }
        let at = self.edits.partition_point(|e| e.span.start < span.start || e.is_insert_at(span.start));
        let clear = self.is_clear_before(at, span.start)
            && self.edits.get(at).is_none_or(|next| span.end <= next.span.start);
        self.put(at, clear, Edit { span, with: with.into() });
    }

    /// Puts `with` before the octet at `at`. Insertions at one offset keep the order of the calls; one at the
    /// start of a replaced span comes before the replacement, one at its end comes after.
    pub fn insert(&mut self, at: usize, with: impl Into<Vec<u8>>) {
        let index = self.edits.partition_point(|e| e.span.start < at || e.is_insert_at(at));
        let clear = self.is_clear_before(index, at);
        self.put(index, clear, Edit { span: Span::empty(at), with: with.into() });
    }

    /// Takes `span` out.
    pub fn delete(&mut self, span: Span) {
        if !span.is_empty() {
            self.replace(span, Vec::new());
        }
    }

    /// Whether no edit was made.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The message with all edits applied.
    pub fn finish(self) -> Vec<u8> {
        let added: usize = self.edits.iter().map(|e| e.with.len()).sum();
        let removed: usize = self.edits.iter().map(|e| e.span.len()).sum();
        // Exact: what is sent on is kept for a while, and would keep its spare room.
        let mut out = Vec::with_capacity(self.bytes.len() + added - removed);
        let mut from = 0;
        for edit in &self.edits {
            out.extend_from_slice(Span { start: from, end: edit.span.start }.of(self.bytes));
            out.extend_from_slice(&edit.with);
            from = edit.span.end;
        }
        out.extend_from_slice(Span { start: from, end: self.bytes.len() }.of(self.bytes));
        out
    }

    fn is_clear_before(&self, index: usize, start: usize) -> bool {
        index.checked_sub(1).is_none_or(|before| self.edits[before].span.end <= start)
    }

    fn put(&mut self, index: usize, clear: bool, edit: Edit) {
        let fits = clear && edit.span.start <= edit.span.end && edit.span.end <= self.bytes.len();
        let allowed = fits || self.is_taken_out(index, edit.span);
        debug_assert!(allowed, "edit {:?} overlaps another or leaves the message", edit.span);
        if fits {
            self.edits.insert(index, edit);
        }
    }

    /// Whether `span`, which belongs at `index`, is within a deleted span.
    fn is_taken_out(&self, index: usize, span: Span) -> bool {
        let near = self.edits.iter().skip(index.saturating_sub(1)).take(2);
        near.filter(|e| e.with.is_empty()).any(|e| e.span.contains(span))
    }
}

impl Edit {
    fn is_insert_at(&self, at: usize) -> bool {
        self.span.is_empty() && self.span.start == at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_edit_is_identity() {
        assert_eq!(Splice::new(b"as it was").finish(), b"as it was");
    }

    #[test]
    fn edits_are_applied_by_position_not_by_call() {
        let mut splice = Splice::new(b"0123456789");
        splice.replace(Span::new(8, 9), "EIGHT");
        splice.delete(Span::new(0, 2));
        splice.insert(5, "five:");
        assert_eq!(splice.finish(), b"234five:567EIGHT9");
    }

    #[test]
    fn insertions_at_one_offset_keep_the_order_of_calls() {
        let mut splice = Splice::new(b"ab");
        splice.insert(1, "1");
        splice.replace(Span::new(1, 2), "B");
        splice.insert(1, "2");
        splice.insert(2, "3");
        splice.insert(2, "4");
        splice.insert(0, "0");
        assert_eq!(splice.finish(), b"0a12B34");
    }

    #[test]
    fn touching_replacements_do_not_overlap() {
        let mut splice = Splice::new(b"abcd");
        splice.replace(Span::new(2, 4), "Y");
        splice.replace(Span::new(0, 2), "X");
        assert_eq!(splice.finish(), b"XY");
    }

    #[test]
    fn edits_within_a_deleted_span_have_no_effect() {
        let mut splice = Splice::new(b"0123456789");
        splice.delete(Span::new(2, 6));
        splice.delete(Span::new(2, 6));
        splice.replace(Span::new(3, 4), "lost");
        splice.replace(Span::new(2, 3), "lost");
        splice.insert(5, "lost");
        splice.insert(2, "a");
        splice.insert(6, "b");
        assert_eq!(splice.finish(), b"01ab6789");
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn of_overlapping_edits_the_later_call_loses() {
        let mut splice = Splice::new(b"abcdef");
        splice.replace(Span::new(1, 3), "X");
        splice.replace(Span::new(2, 5), "lost");
        splice.replace(Span::new(0, 2), "lost");
        splice.insert(2, "lost");
        splice.insert(7, "lost");
        splice.replace(Span::new(5, 9), "lost");
        assert_eq!(splice.finish(), b"aXdef");
    }

    proptest! {
        #[test]
        fn replacing_spans_by_themselves_is_identity(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c <= bytes.len()).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let mut splice = Splice::new(&bytes);
            for pair in cuts.windows(2).rev() {
                let span = Span::new(pair[0], pair[1]);
                splice.replace(span, span.of(&bytes));
            }
            prop_assert_eq!(splice.finish(), bytes);
        }
    }
}
