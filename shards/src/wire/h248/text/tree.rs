//! The form of all text: items between commas, `name`, `name = value`, each with or without a block in braces.
//!
//! One pass over the octets, no recursion. Braces, commas and quotes within quoted strings, comments and the octet
//! strings of Local and Remote descriptors are no structure.

use super::is;
use crate::fault::Fault;
use crate::wire::h248::{MAX_DEPTH, MAX_ITEMS};
use crate::wire::{Span, text};
use smallvec::SmallVec;

/// One item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// All of it.
    pub(super) whole: Span,
    /// Before `=` or the block; never empty.
    pub(super) name: Span,
    /// Between `=` (or `<`, `>`, `#`) and the block; empty when there is none.
    pub(super) value: Span,
    /// Between the braces.
    pub(super) block: Option<Span>,
    /// Index of the first item after those of its block.
    next: usize,
}

/// All items of a text, each before those of its block.
pub(super) struct Tree<'a> {
    pub(super) bytes: &'a [u8],
    items: Vec<Item>,
}

impl<'a> Tree<'a> {
    /// Reads what follows the message's header.
    ///
    /// # Errors
    /// The fault, and the last item outside all blocks: the transaction in which it was met.
    pub(super) fn parse(bytes: &'a [u8], from: usize) -> Result<Self, (Fault, Option<Item>)> {
        let mut reader = Reader { bytes, at: from, items: Vec::new(), open: SmallVec::new(), last: None };
        match reader.read() {
            Ok(()) => Ok(Self { bytes, items: reader.items }),
            Err(fault) => Err((fault, reader.last.map(|at| reader.items[at]))),
        }
    }

    /// The items outside all blocks.
    pub(super) fn roots(&self) -> impl Iterator<Item = Node<'_, 'a>> {
        self.range(0, self.items.len())
    }

    fn range(&self, mut at: usize, end: usize) -> impl Iterator<Item = Node<'_, 'a>> {
        std::iter::from_fn(move || {
            let item = self.items.get(at).filter(|_| at < end)?;
            let node = Node { tree: self, at };
            at = item.next;
            Some(node)
        })
    }
}

/// An item and its block.
#[derive(Clone, Copy)]
pub(super) struct Node<'t, 'a> {
    tree: &'t Tree<'a>,
    at: usize,
}

impl<'t, 'a> Node<'t, 'a> {
    pub(super) fn item(self) -> &'t Item {
        &self.tree.items[self.at]
    }

    /// The items of its block.
    pub(super) fn children(self) -> impl Iterator<Item = Node<'t, 'a>> {
        self.tree.range(self.at + 1, self.item().next)
    }

    pub(super) fn name(self) -> &'a [u8] {
        self.item().name.of(self.tree.bytes)
    }

    pub(super) fn value(self) -> &'a [u8] {
        self.item().value.of(self.tree.bytes)
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.tree.bytes
    }

    /// Whether its name is one of the two.
    pub(super) fn is(self, long: &str, short: &str) -> bool {
        is(self.name(), long, short)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: Vec<Item>,
    /// Items whose blocks are open.
    open: SmallVec<[usize; 16]>,
    /// The last item outside all blocks.
    last: Option<usize>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Fault> {
        self.skip_blank();
        while self.at < self.bytes.len() {
            if !self.item()? {
                self.separator()?;
            } else if self.peek() == Some(b'}') {
                self.close();
                self.separator()?;
            }
            self.skip_blank();
        }
        if self.open.is_empty() { Ok(()) } else { Err(Fault::Malformed("H.248 block without an end")) }
    }

    /// Reads an item up to the end of its block, or to the first item in it; tells whether its block is open.
    fn item(&mut self) -> Result<bool, Fault> {
        if self.items.len() == MAX_ITEMS {
            return Err(Fault::Refused("too many items of H.248"));
        }
        let name = self.word(b"=<>#{},", false)?;
        if name.is_empty() {
            return Err(Fault::Malformed("H.248 item without a name"));
        }
        let at = self.items.len();
        self.items.push(Item { whole: name, name, value: Span::empty(name.end), block: None, next: at + 1 });
        if self.open.is_empty() {
            self.last = Some(at);
        }
        let valued = matches!(self.peek(), Some(b'=' | b'<' | b'>' | b'#'));
        if valued {
            self.at += 1;
            self.skip_blank();
            let value = self.word(b"{},", self.open.is_empty())?;
            self.items[at].value = value;
            self.items[at].whole.end = value.end.max(self.items[at].whole.end);
        }
        if self.peek() != Some(b'{') {
            return Ok(false);
        }
        self.at += 1;
        if !valued && is_octets(name.of(self.bytes)) { self.octets(at) } else { self.block(at) }
    }

    fn block(&mut self, at: usize) -> Result<bool, Fault> {
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::Refused("H.248 blocks nested too deeply"));
        }
        self.items[at].block = Some(Span::empty(self.at));
        self.open.push(at);
        self.skip_blank();
        Ok(true)
    }

    /// The block of a Local or Remote descriptor: up to the first brace without a backslash before it.
    fn octets(&mut self, at: usize) -> Result<bool, Fault> {
        let rest = Span::new(self.at, self.bytes.len());
        let mut escaped = false;
        let ends = |&octet: &u8| {
            octet == b'}' && !escaped || {
                escaped = octet == b'\\';
                false
            }
        };
        let length = rest.of(self.bytes).iter().position(ends);
        let end = rest.start + length.ok_or(Fault::Malformed("H.248 octet string without an end"))?;
        self.items[at].block = Some(Span::new(self.at, end));
        self.items[at].whole.end = end + 1;
        self.at = end + 1;
        Ok(false)
    }

    /// After an item: a comma and another item, or the ends of blocks. Outside all blocks nothing stands between two.
    fn separator(&mut self) -> Result<(), Fault> {
        loop {
            self.skip_blank();
            if self.open.is_empty() {
                return Ok(());
            }
            match self.peek() {
                Some(b'}') => self.close(),
                Some(b',') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Fault::Malformed("H.248 items without a comma between")),
            }
        }
    }

    fn close(&mut self) {
        let Some(at) = self.open.pop() else { return };
        let next = self.items.len();
        let item = &mut self.items[at];
        item.next = next;
        item.block = item.block.map(|block| Span::new(block.start, self.at));
        item.whole.end = self.at + 1;
        self.at += 1;
    }

    /// The octets up to one of `ends`, without blanks around them; with `blank` up to the first blank within them.
    fn word(&mut self, ends: &[u8], blank: bool) -> Result<Span, Fault> {
        let mut word = Span::empty(self.at);
        while let Some(octet) = self.peek().filter(|octet| !ends.contains(octet)) {
            if text::is_lws(octet) || octet == b';' {
                self.skip_blank();
                if blank {
                    break;
                }
                continue;
            }
            match octet {
                b'"' => self.quoted()?,
                b'[' => self.bracketed(b']')?,
                b'(' => self.bracketed(b')')?,
                _ => self.at += 1,
            }
            word.end = self.at;
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<(), Fault> {
        let rest = Span::new(self.at + 1, self.bytes.len());
        let end = text::find(self.bytes, rest, |b| b == b'"');
        self.at = end.ok_or(Fault::Malformed("H.248 string without an end"))? + 1;
        Ok(())
    }

    /// Lists of values and digit maps: commas in them part no items.
    fn bracketed(&mut self, close: u8) -> Result<(), Fault> {
        while let Some(octet) = self.peek() {
            match octet {
                b'"' => self.quoted()?,
                b';' => self.skip_blank(),
                b'{' | b'}' => break,
                _ => self.at += 1,
            }
            if octet == close {
                return Ok(());
            }
        }
        Err(Fault::Malformed("H.248 list without an end"))
    }

    fn skip_blank(&mut self) {
        self.at = skip_blank(self.bytes, self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// The offset after white space and comments.
pub(super) fn skip_blank(bytes: &[u8], mut at: usize) -> usize {
    let mut comment = false;
    while let Some(&octet) = bytes.get(at) {
        comment = (comment || octet == b';') && !matches!(octet, b'\r' | b'\n');
        if !comment && !text::is_lws(octet) {
            break;
        }
        at += 1;
    }
    at
}

/// The two descriptors whose blocks are octet strings.
fn is_octets(name: &[u8]) -> bool {
    is(name, "Local", "L") || is(name, "Remote", "R")
}
