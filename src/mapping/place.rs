//! Where a value stands in a RON text: serde forgets it, and an operator needs it.
//!
//! The scanner is lenient: it runs after `ron` accepted the text, and must only never panic or loop.

use std::ops::Range;

/// Nesting beyond this is not indexed; `ron` refuses 128.
const MAX_DEPTH: usize = 128;

/// One configuration text, with the places of its values.
#[derive(Debug)]
pub(super) struct Source {
    /// The file name that messages show.
    pub(super) name: String,
    /// The whole text.
    pub(super) text: String,
    root: Node,
}

/// A value and what it holds.
#[derive(Debug, Default)]
struct Node {
    span: Range<usize>,
    entries: Vec<Entry>,
}

/// A field of a struct, an entry of a map (both have a key), or an element of a list or tuple.
#[derive(Debug)]
struct Entry {
    key: Option<Key>,
    value: Node,
}

#[derive(Debug)]
struct Key {
    name: String,
    span: Range<usize>,
}

/// A value's place. Asking for a part that the text does not spell out answers the nearest enclosing place.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) source: &'a Source,
    node: &'a Node,
    key: Option<&'a Key>,
}

impl Source {
    /// Index a text.
    pub(super) fn new(name: &str, text: String) -> Self {
        let root = Scanner { text: &text, at: 0 }.document();
        Self { name: name.to_owned(), text, root }
    }

    /// The place of the whole document.
    pub(super) fn root(&self) -> At<'_> {
        At { source: self, node: &self.root, key: None }
    }
}

impl<'a> At<'a> {
    /// The value of this field.
    pub(super) fn field(self, name: &str) -> Self {
        let is_named = |entry: &&Entry| entry.key.as_ref().is_some_and(|key| key.name == name);
        self.node.entries.iter().find(is_named).map_or(self, |entry| self.inside(entry))
    }

    /// The `index`-th entry of a map, or element of a list or tuple.
    pub(super) fn nth(self, index: usize) -> Self {
        self.node.entries.get(index).map_or(self, |entry| self.inside(entry))
    }

    /// The innermost value with parts around this octet.
    pub(super) fn around(self, octet: usize) -> Self {
        let holds = |entry: &&Entry| !entry.value.entries.is_empty() && entry.value.span.contains(&octet);
        let inner = self.node.entries.iter().find(holds);
        inner.map_or(self, |entry| self.inside(entry).around(octet))
    }

    /// The same value, pointed at by its key.
    pub(super) fn key(self) -> Range<usize> {
        self.key.map_or_else(|| self.span(), |key| key.span.clone())
    }

    /// Octets of the value in the text.
    pub(super) fn span(self) -> Range<usize> {
        self.node.span.clone()
    }

    fn inside(self, entry: &'a Entry) -> Self {
        Self { source: self.source, node: &entry.value, key: entry.key.as_ref() }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> Node {
        self.space();
        while self.rest().starts_with("#!") {
            self.skip_until(']');
            self.space();
        }
        self.value(0)
    }

    /// A value; always consumes something unless it stands before a delimiter or at the end.
    fn value(&mut self, depth: usize) -> Node {
        self.space();
        let start = self.at;
        let text = self.text;
        if self.string() {
            return Node { span: start..self.at, entries: Vec::new() };
        }
        self.word();
        let name = &text[start..self.at];
        let after_name = self.at;
        self.space();
        let mut entries = Vec::new();
        if depth < MAX_DEPTH && matches!(self.peek(), Some('(' | '[' | '{')) {
            entries = self.entries(depth + 1);
        } else {
            self.at = after_name;
        }
        match (name, entries.len()) {
            ("Some", 1) => entries.remove(0).value,
            _ => Node { span: start..self.at, entries },
        }
    }

    /// The parts between brackets, from the opening to the closing one.
    fn entries(&mut self, depth: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.bump();
        loop {
            self.space();
            match self.peek() {
                None => return entries,
                Some(')' | ']' | '}') => {
                    self.bump();
                    return entries;
                }
                Some(',' | ':') => self.bump(),
                Some(_) => entries.push(self.entry(depth)),
            }
        }
    }

    fn entry(&mut self, depth: usize) -> Entry {
        let first = self.value(depth);
        let end = self.at;
        self.space();
        if self.peek() != Some(':') {
            self.at = end;
            if first.span.is_empty() {
                self.bump();
            }
            return Entry { key: None, value: first };
        }
        self.bump();
        let name = self.text[first.span.clone()].trim_matches('"').to_owned();
        let key = Key { name, span: first.span };
        Entry { key: Some(key), value: self.value(depth) }
    }

    /// A string, raw string, byte string or character; false when there is none here.
    fn string(&mut self) -> bool {
        let rest = self.rest();
        let body = rest.strip_prefix('b').unwrap_or(rest);
        let raw = body.strip_prefix('r').unwrap_or(body);
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let quoted = &raw[hashes..];
        if raw.len() < body.len() && quoted.starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.len() - quoted.len() + 1;
            self.at += rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len());
            return true;
        }
        let Some(quote @ ('"' | '\'')) = body.chars().next() else { return false };
        self.at += rest.len() - body.len() + 1;
        self.escaped(quote);
        true
    }

    /// The rest of a quoted text, to its closing quote.
    fn escaped(&mut self, quote: char) {
        while let Some(next) = self.peek() {
            self.bump();
            match next {
                '\\' => self.bump(),
                _ if next == quote => return,
                _ => {}
            }
        }
    }

    /// An identifier, a number, or whatever else reaches to the next delimiter.
    fn word(&mut self) {
        let ends = |c: char| c.is_whitespace() || "()[]{},:\"'".contains(c);
        let rest = self.rest();
        let comment = rest.find("//").into_iter().chain(rest.find("/*")).min().unwrap_or(rest.len());
        self.at += rest.find(ends).unwrap_or(rest.len()).min(comment);
    }

    /// Whitespace and comments.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with("//") {
                self.skip_until('\n');
            } else if rest.starts_with("/*") {
                self.block_comment();
            } else {
                return;
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while !self.rest().is_empty() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
            } else {
                self.bump();
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_until(&mut self, end: char) {
        let rest = self.rest();
        self.at += rest.find(end).map_or(rest.len(), |found| found + end.len_utf8());
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r##"#![enable(implicit_some)]
// a comment with "quotes" and (brackets
(
    realms: { /* (nested /* comment */) */
        "a b": (sip: [Udp(5060), Udp(5062)], media: (1, 2)),
        r#"raw"#: Realm(side: Access),
    },
    listen: Some("x\"y"), // end
    shards: Count(2)
)"##;

    fn text_at(find: impl Fn(At<'_>) -> Range<usize>) -> String {
        let source = Source::new("t", TEXT.to_owned());
        source.text[find(source.root())].to_owned()
    }

    #[test]
    fn finds_fields_entries_and_elements() {
        assert_eq!(text_at(|r| r.field("realms").field("a b").field("sip").nth(1).span()), "Udp(5062)");
        assert_eq!(text_at(|r| r.field("realms").nth(0).field("sip").nth(1).nth(0).span()), "5062");
        assert_eq!(text_at(|r| r.field("realms").nth(0).field("media").span()), "(1, 2)");
        assert_eq!(text_at(|r| r.field("realms").nth(1).field("side").span()), "Access");
        assert_eq!(text_at(|r| r.field("shards").span()), "Count(2)");
    }

    #[test]
    fn points_at_keys_and_sees_through_some() {
        assert_eq!(text_at(|r| r.field("realms").nth(0).key()), "\"a b\"");
        assert_eq!(text_at(|r| r.field("listen").span()), r#""x\"y""#);
        assert_eq!(text_at(|r| r.field("listen").key()), "listen");
    }

    #[test]
    fn a_missing_part_is_its_nearest_enclosing_value() {
        assert_eq!(text_at(|r| r.field("shards").field("nothing").nth(7).span()), "Count(2)");
    }

    proptest! {
        #[test]
        fn any_text_is_indexed_without_panic(text in "[ -~\\n\u{e9}\u{1f600}]{0,200}") {
            let source = Source::new("t", text);
            prop_assert!(source.root().span().end <= source.text.len());
        }

        #[test]
        fn any_brackets_are_indexed_without_panic(text in r#"[()\[\]{},:"'#r/*\\ \nab]{0,200}"#) {
            Source::new("t", text);
        }
    }
}
