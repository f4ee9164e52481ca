//! Elements of BER (ITU-T X.690): found, and written again with other lengths.

use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::h248::MAX_DEPTH;

/// Elements directly within one other.
const MAX_CHILDREN: usize = 4096;

/// One element: identifier, length, content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// All of it; of an indefinite length with the end mark.
    pub(super) whole: Span,
    /// What it holds.
    pub(super) content: Span,
    /// The identifier octets.
    identifier: Span,
    /// Class and number: universal 0, application 1, context 2, private 3.
    class: u8,
    number: u32,
    pub(super) constructed: bool,
    /// Its length is indefinite.
    open: bool,
}

impl Element {
    /// The element that begins at `within.start`.
    pub(super) fn read(bytes: &[u8], within: Span) -> Result<Self, Fault> {
        let head = Head::read(bytes, within)?;
        let content = match head.length {
            Some(length) => Span::new(head.content, head.content + length),
            None => Span::new(head.content, end_mark(bytes, Span::new(head.content, within.end))?),
        };
        let open = head.length.is_none();
        let whole = Span::new(within.start, content.end + if open { 2 } else { 0 });
        let Head { identifier, class, number, constructed, .. } = head;
        Ok(Self { whole, content, identifier, class, number, constructed, open })
    }

    /// The element that is all of `span`.
    pub(super) fn only(bytes: &[u8], span: Span) -> Result<Self, Fault> {
        let element = Self::read(bytes, span)?;
        if element.whole == span {
            Ok(element)
        } else {
            Err(Fault::Malformed("octets after an element of BER"))
        }
    }

    /// The number of its context-specific tag.
    pub(super) const fn context(&self) -> Option<u32> {
        if self.class == 2 { Some(self.number) } else { None }
    }

    /// Whether it has this universal tag.
    pub(super) const fn is_universal(&self, number: u32) -> bool {
        self.class == 0 && self.number == number
    }

    /// The elements directly within it.
    pub(super) fn children(&self, bytes: &[u8]) -> Result<Vec<Self>, Fault> {
        if !self.constructed {
            return Err(Fault::Malformed("primitive element of BER"));
        }
        let mut found = Vec::new();
        let mut rest = self.content;
        while !rest.is_empty() {
            if found.len() == MAX_CHILDREN {
                return Err(Fault::Refused("too many elements of BER"));
            }
            let child = Self::read(bytes, rest)?;
            rest.start = child.whole.end;
            found.push(child);
        }
        Ok(found)
    }

    /// The same element with another content: its length is written in as many octets as before if it fits.
    pub(super) fn with(&self, bytes: &[u8], content: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(content.len() + 12);
        out.extend_from_slice(self.identifier.of(bytes));
        if self.open {
            out.push(0x80);
            out.extend_from_slice(content);
            out.extend_from_slice(&[0, 0]);
            return out;
        }
        let width = self.content.start - self.identifier.end - 1;
        write_length(&mut out, content.len(), width);
        out.extend_from_slice(content);
        out
    }
}

/// A length, in the long form of `width` octets if that is enough; 0: in the shortest form.
pub(super) fn write_length(out: &mut Vec<u8>, length: usize, width: usize) {
    let octets = length.to_be_bytes();
    let needed = octets.len() - octets.iter().take_while(|&&octet| octet == 0).count();
    let width = width.max(if length < 0x80 { 0 } else { needed });
    if width == 0 {
        return out.push(length as u8);
    }
    out.push(0x80 | width as u8);
    out.extend(std::iter::repeat_n(0, width.saturating_sub(octets.len())));
    out.extend_from_slice(&octets[octets.len().saturating_sub(width)..]);
}

/// Identifier and length.
struct Head {
    identifier: Span,
    class: u8,
    number: u32,
    constructed: bool,
    /// `None`: indefinite.
    length: Option<usize>,
    /// Where the content begins.
    content: usize,
}

impl Head {
    fn read(bytes: &[u8], within: Span) -> Result<Self, Fault> {
        let octets = within.of(bytes);
        let cut = Fault::Malformed("element of BER without an end");
        let first = *octets.first().ok_or(cut)?;
        let (number, size) = match first & 0x1f {
            0x1f => long_number(&octets[1..])?,
            number => (u32::from(number), 1),
        };
        let (length, width) = length(octets.get(size..).unwrap_or_default())?;
        let constructed = first & 0x20 != 0;
        let content = within.start + size + width;
        let fits = length.is_none_or(|length| length <= within.end - content);
        if !fits || length.is_none() && !constructed {
            return Err(cut);
        }
        let identifier = Span::new(within.start, within.start + size);
        Ok(Self { identifier, class: first >> 6, number, constructed, length, content })
    }

    const fn is_end_mark(&self) -> bool {
        self.class == 0 && self.number == 0 && matches!(self.length, Some(0)) && !self.constructed
    }
}

/// A tag number above 30: seven bits in each octet; and the size of the identifier.
fn long_number(octets: &[u8]) -> Result<(u32, usize), Fault> {
    let mut number = 0;
    for (at, octet) in octets.iter().take(4).enumerate() {
        number = number << 7 | u32::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            return Ok((number, at + 2));
        }
    }
    Err(Fault::Malformed("tag of BER"))
}

/// A length and its size; `None` for an indefinite one.
fn length(octets: &[u8]) -> Result<(Option<usize>, usize), Fault> {
    let fault = Fault::Malformed("length of BER");
    match *octets.first().ok_or(fault)? {
        0x80 => Ok((None, 1)),
        0xff => Err(fault),
        short if short < 0x80 => Ok((Some(usize::from(short)), 1)),
        long => {
            let width = usize::from(long & 0x7f);
            let digits = octets.get(1..=width).ok_or(fault)?;
            let fold = |sum: usize, &digit: &u8| sum.checked_mul(256)?.checked_add(usize::from(digit));
            Ok((Some(digits.iter().try_fold(0, fold).ok_or(fault)?), width + 1))
        }
    }
}

/// The offset of the end mark that closes an element of indefinite length: one pass, no recursion.
fn end_mark(bytes: &[u8], within: Span) -> Result<usize, Fault> {
    let mut rest = within;
    let mut depth = 0;
    loop {
        let head = Head::read(bytes, rest)?;
        if head.is_end_mark() && depth == 0 {
            return Ok(rest.start);
        }
        match head.length {
            _ if head.is_end_mark() => depth -= 1,
            Some(_) => {}
            None if depth == MAX_DEPTH => return Err(Fault::Refused("elements of BER nested too deeply")),
            None => depth += 1,
        }
        rest.start = head.content + head.length.unwrap_or(0);
    }
}
