//! XML bodies that carry SIP addresses: a span scanner for attribute values and element text.
//!
//! It does not validate, knows no schema and no namespaces (prefixes are cut off), and takes no document type: so no
//! entity can be declared, and none but the five of XML itself is read. Nesting is bounded and costs no recursion.

use super::{Span, text};
use crate::fault::Fault;

/// Elements within elements.
pub const MAX_DEPTH: usize = 64;

/// A piece of text that an XML document carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The element's name, without its prefix.
    pub element: Span,
    /// Counts elements in the order of their start tags: fields of one element have the same number.
    pub number: usize,
    /// The attribute's name, without its prefix; `None` for text.
    pub attribute: Option<Span>,
    /// The value without its quotes, or the text without white space at its ends; still escaped.
    pub value: Span,
    /// Within `<![CDATA[]]>`: not escaped.
    pub literal: bool,
}

/// All attribute values and all text of a document, in their order. Text is told with the element that it stands
/// directly in; text that is only white space is left out.
///
/// # Errors
/// [`Fault::Malformed`] when tags do not close each other, an attribute has no quotes, the nesting is deeper than
/// [`MAX_DEPTH`], there is a document type, or it is no XML in an encoding that contains ASCII.
pub fn fields(bytes: &[u8]) -> Result<Vec<Field>, Fault> {
    let mut scan = Scan { bytes, at: 0, open: Vec::new(), number: 0, fields: Vec::new() };
    while scan.at < bytes.len() {
        scan.step()?;
    }
    if !scan.open.is_empty() || scan.number == 0 {
        return Err(Fault::Malformed("XML element that is not closed"));
    }
    Ok(scan.fields)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Full name, with prefix, and number of each element around this place.
    open: Vec<(Span, usize)>,
    number: usize,
    fields: Vec<Field>,
}

impl Scan<'_> {
    fn step(&mut self) -> Result<(), Fault> {
        match self.rest() {
            rest if rest.starts_with(b"<!--") => self.skip(b"<!--", b"-->"),
            rest if rest.starts_with(b"<?") => self.skip(b"<?", b"?>"),
            rest if rest.starts_with(b"<![CDATA[") => self.literal(),
            rest if rest.starts_with(b"<!") => Err(Fault::Malformed("XML document type")),
            rest if rest.starts_with(b"</") => self.close(),
            rest if rest.starts_with(b"<") => self.start(),
            _ => self.text(),
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over what begins with `from`, to the end of `to`; gives what is between.
    fn between(&mut self, from: &[u8], to: &[u8]) -> Result<Span, Fault> {
        let start = self.at + from.len();
        let inner = self.bytes.get(start..).unwrap_or_default();
        let length = inner.windows(to.len()).position(|window| window == to);
        let end = start + length.ok_or(Fault::Malformed("XML that is cut off"))?;
        self.at = end + to.len();
        Ok(Span::new(start, end))
    }

    fn skip(&mut self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        self.between(from, to).map(drop)
    }

    fn literal(&mut self) -> Result<(), Fault> {
        let value = self.between(b"<![CDATA[", b"]]>")?;
        self.put_text(value, true)
    }

    fn text(&mut self) -> Result<(), Fault> {
        let rest = Span::new(self.at, self.bytes.len());
        let end = text::find_octet(self.bytes, rest, b'<').unwrap_or(rest.end);
        self.at = end;
        self.put_text(Span::new(rest.start, end), false)
    }

    fn put_text(&mut self, span: Span, literal: bool) -> Result<(), Fault> {
        let value = text::trim(self.bytes, span);
        match self.open.last() {
            _ if value.is_empty() => Ok(()),
            Some(&(name, number)) => {
                let element = local(self.bytes, name);
                self.fields.push(Field { element, number, attribute: None, value, literal });
                Ok(())
            }
            None if self.number == 0 && value.of(self.bytes) == b"\xef\xbb\xbf" => Ok(()),
            None => Err(Fault::Malformed("text outside XML elements")),
        }
    }

    fn close(&mut self) -> Result<(), Fault> {
        let name = self.between(b"</", b">")?;
        let name = text::trim(self.bytes, name).of(self.bytes);
        match self.open.pop() {
            Some((open, _)) if open.of(self.bytes) == name => Ok(()),
            _ => Err(Fault::Malformed("XML end tag without its start tag")),
        }
    }

    fn start(&mut self) -> Result<(), Fault> {
        let name = self.name(self.at + 1)?;
        self.number += 1;
        self.at = name.end;
        loop {
            self.white();
            match self.rest() {
                [b'>', ..] => {
                    self.at += 1;
                    return self.enter(name);
                }
                [b'/', b'>', ..] => {
                    self.at += 2;
                    return Ok(());
                }
                _ => self.attribute(name)?,
            }
        }
    }

    fn enter(&mut self, name: Span) -> Result<(), Fault> {
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::Malformed("XML nested too deeply"));
        }
        self.open.push((name, self.number));
        Ok(())
    }

    fn attribute(&mut self, element: Span) -> Result<(), Fault> {
        let name = self.name(self.at)?;
        self.at = name.end;
        self.white();
        let fault = Fault::Malformed("XML attribute without a value");
        let quote = match self.rest() {
            [b'=', ..] => {
                self.at += 1;
                self.white();
                self.rest().first().copied().filter(|quote| matches!(quote, b'"' | b'\'')).ok_or(fault)?
            }
            _ => return Err(fault),
        };
        let value = self.between(b"\"", &[quote])?;
        if value.of(self.bytes).contains(&b'<') {
            return Err(Fault::Malformed("XML attribute with a tag in it"));
        }
        let (element, attribute) = (local(self.bytes, element), Some(local(self.bytes, name)));
        self.fields.push(Field { element, number: self.number, attribute, value, literal: false });
        Ok(())
    }

    fn white(&mut self) {
        self.at += self.rest().iter().take_while(|b| text::is_lws(**b)).count();
    }

    /// The name at `from`: everything up to white space or a delimiter.
    fn name(&self, from: usize) -> Result<Span, Fault> {
        let rest = Span { start: from, end: self.bytes.len() };
        let ends = |b| text::is_lws(b) || matches!(b, b'=' | b'>' | b'/' | b'<' | b'"' | b'\'' | b'&' | 0);
        let end = text::find(self.bytes, rest, ends).unwrap_or(self.bytes.len());
        if end <= from {
            return Err(Fault::Malformed("XML name"));
        }
        Ok(Span::new(from, end))
    }
}

/// A name without its namespace prefix.
fn local(bytes: &[u8], name: Span) -> Span {
    let colon = text::find_octet(bytes, name, b':').filter(|at| at + 1 < name.end);
    Span::new(colon.map_or(name.start, |at| at + 1), name.end)
}

/// The text that an escaped value stands for; `None` when an `&` begins no reference that is known without a document
/// type.
pub fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(value.len()), value);
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'&' {
            out.push(first);
            rest = tail;
            continue;
        }
        let length = tail.iter().take(10).position(|&b| b == b';')?;
        let mut buffer = [0; 4];
        out.extend_from_slice(reference(&tail[..length])?.encode_utf8(&mut buffer).as_bytes());
        rest = &tail[length + 1..];
    }
    Some(out)
}

fn reference(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        [b'#', b'x', digits @ ..] => code(digits, 16),
        [b'#', digits @ ..] => code(digits, 10),
        _ => None,
    }
}

fn code(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

/// Text as it may stand in an attribute or an element.
pub fn escape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &octet in text {
        match octet {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&apos;"),
            _ => out.push(octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Element, attribute and value of each field.
    fn texts(text: &str) -> Vec<(&str, Option<&str>, &str)> {
        let of = |span: Span| &text[span.start..span.end];
        let fields = fields(text.as_bytes()).unwrap();
        fields.into_iter().map(|f| (of(f.element), f.attribute.map(of), of(f.value))).collect()
    }

    #[test]
    fn attributes_and_text_are_told_with_their_element() {
        let text = "<?xml version=\"1.0\"?>\n<!-- <uri>no</uri> -->\n<r:reginfo a='1'><reg aor = \"sip:a@b\">\n\
                    <contact><uri> sip:a@c?x=1&amp;y=2 </uri><x/></contact>tail</reg ></r:reginfo>\n";
        let expected = [
            ("reginfo", Some("a"), "1"),
            ("reg", Some("aor"), "sip:a@b"),
            ("uri", None, "sip:a@c?x=1&amp;y=2"),
            ("reg", None, "tail"),
        ];
        assert_eq!(texts(text), expected);
    }

    #[test]
    fn literal_text_is_marked() {
        let all = fields(b"<a b='1'><![CDATA[ <x> ]]></a>").unwrap();
        assert_eq!(all.iter().map(|f| (f.number, f.literal)).collect::<Vec<_>>(), [(1, false), (1, true)]);
    }

    #[test]
    fn what_is_not_plain_xml_is_refused() {
        let deep = "<a>".repeat(MAX_DEPTH + 1) + &"</a>".repeat(MAX_DEPTH + 1);
        for bad in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a b></a>",
            "<a b=1/>",
            "<a b='1/>",
            "<a b='<'/>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
            "<a/>&",
            "<a><!-- </a>",
            "< a/>",
            "<\0a\0/\0>\0",
            &deep,
        ] {
            assert!(fields(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_references_that_need_no_document_type_are_read() {
        assert_eq!(unescape(b"a&amp;b&#x40;&#64;&lt;&apos;").unwrap(), b"a&b@@<'");
        for bad in [&b"&x;"[..], b"&amp", b"&", b"&#xd800;", b"&#+64;", b"&;"] {
            assert_eq!(unescape(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_was_escaped_reads_back(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let escaped = escape(&text);
            let xml = [b"<a b=\"", &escaped[..], b"\"/>"].concat();
            let value = fields(&xml).unwrap()[0].value;
            prop_assert_eq!(value.of(&xml), &escaped[..]);
            prop_assert_eq!(unescape(&escaped), Some(text));
        }
    }
}
