//! The header of a text message, its transactions and actions.

use super::command;
use super::tree::{Item, Node, Tree, skip_blank};
use crate::fault::Fault;
use crate::wire::h248::{
    Acked, Action, Blame, Body, Bounded, Context, Encoding, ErrorDescriptor, Kind, MAX_ACTIONS, MAX_COMMANDS,
    MAX_LIST, MAX_TRANSACTIONS, Message, Mid, Segment, Transaction, Unread,
};
use crate::wire::{Span, text};
use smallvec::SmallVec;

/// Reads a text message.
pub(in crate::wire::h248) fn parse(bytes: &[u8]) -> Result<Message<'_>, Unread> {
    let mut header = Header { authentication: None, version: None, mid: None };
    let (fault, blame) = match header.read(bytes) {
        Ok((version, mid, mid_span)) => match body(bytes, mid_span.end) {
            Ok(body) => {
                let (encoding, authentication) = (Encoding::Text, header.authentication);
                return Ok(Message { bytes, encoding, version, mid, mid_span, authentication, body });
            }
            Err(why) => why,
        },
        Err(fault) => (fault, Blame::Message),
    };
    Err(Unread { fault, encoding: Encoding::Text, version: header.version, mid: header.mid, blame })
}

/// What has been read of a header.
struct Header {
    authentication: Option<Span>,
    version: Option<u8>,
    mid: Option<Mid>,
}

impl Header {
    /// `Authentication = 0x..:0x..:0x.. MEGACO/1 [10.0.0.1]:2944`
    fn read(&mut self, bytes: &[u8]) -> Result<(u8, Mid, Span), Fault> {
        let fault = Fault::Malformed("H.248 message header");
        let mut at = skip_blank(bytes, 0);
        if let Some(end) = authentication(bytes, at) {
            self.authentication = Some(Span::new(at, end));
            at = end;
        }
        let rest = Span::new(at, bytes.len());
        let slash = text::find(bytes, rest, |b| b == b'/').ok_or(fault)?;
        let token = Span::new(at, slash).of(bytes);
        let digits = Span::new(slash + 1, bytes.len());
        let end = text::find(bytes, digits, |b| !b.is_ascii_digit()).ok_or(fault)?;
        let version = text::number(Span::new(slash + 1, end).of(bytes)).filter(|v| (1..=99).contains(v));
        let version = version.filter(|_| super::is(token, "MEGACO", "!")).ok_or(fault)? as u8;
        self.version = Some(version);
        let start = skip_blank(bytes, end);
        if start == end {
            return Err(fault);
        }
        let (mid, end) = Mid::read(bytes, Span::new(start, bytes.len()))?;
        self.mid = Some(mid.clone());
        let parted = skip_blank(bytes, end) > end || end == bytes.len();
        if parted { Ok((version, mid, Span::new(start, end))) } else { Err(fault) }
    }
}

/// The end of an authentication header and the white space after it.
fn authentication(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = Span::new(at, bytes.len());
    let equal = text::find(bytes, rest, |b| b == b'=' || b == b'/').filter(|at| bytes[*at] == b'=')?;
    let name = text::trim(bytes, Span::new(at, equal));
    let value = skip_blank(bytes, equal + 1);
    let end = text::find(bytes, Span { start: value, end: bytes.len() }, text::is_lws)?;
    super::is(name.of(bytes), "Authentication", "AU").then(|| skip_blank(bytes, end))
}

fn body(bytes: &[u8], from: usize) -> Result<Body, (Fault, Blame)> {
    let tree = Tree::parse(bytes, from).map_err(|(fault, last)| (fault, blame(bytes, last)))?;
    let mut transactions = Vec::new();
    for (at, root) in tree.roots().enumerate() {
        let failed = |fault| (fault, blame(bytes, Some(*root.item())));
        if at == 0 && root.is("Error", "ER") {
            let alone = tree.roots().nth(1).is_none();
            let error = error(root).map_err(failed)?;
            return if alone { Ok(Body::Error(error)) } else { Err((malformed(), Blame::Nobody)) };
        }
        let transaction = transaction(root).map_err(failed)?;
        transactions.put(transaction, MAX_TRANSACTIONS, "too many H.248 transactions").map_err(failed)?;
    }
    if transactions.is_empty() {
        Err((malformed(), Blame::Message))
    } else {
        Ok(Body::Transactions(transactions))
    }
}

const fn malformed() -> Fault {
    Fault::Malformed("H.248 message body")
}

/// Whom to tell that something is wrong with, or within, this item outside all blocks.
fn blame(bytes: &[u8], last: Option<Item>) -> Blame {
    let Some(item) = last else { return Blame::Message };
    let name = item.name.of(bytes);
    match Start::of(name) {
        Some(Start { kind: Kind::Request, .. }) => {
            number(item.value.of(bytes)).map_or(Blame::Message, Blame::Request)
        }
        Some(_) => Blame::Nobody,
        None if super::is(name, "Error", "ER") => Blame::Nobody,
        None => Blame::Message,
    }
}

/// How a kind of transaction begins.
struct Start {
    kind: Kind,
    long: &'static str,
    short: &'static str,
}

const STARTS: [Start; 5] = [
    Start { kind: Kind::Request, long: "Transaction", short: "T" },
    Start { kind: Kind::Reply, long: "Reply", short: "P" },
    Start { kind: Kind::Pending, long: "Pending", short: "PN" },
    Start { kind: Kind::ResponseAck, long: "TransactionResponseAck", short: "K" },
    Start { kind: Kind::Segment, long: "Segment", short: "SM" },
];

impl Start {
    fn of(name: &[u8]) -> Option<&'static Self> {
        STARTS.iter().find(|start| super::is(name, start.long, start.short))
    }
}

fn transaction(node: Node<'_, '_>) -> Result<Transaction, Fault> {
    let start = Start::of(node.name()).ok_or(malformed())?;
    let item = node.item();
    if (start.kind == Kind::Segment) != item.block.is_none() {
        return Err(malformed());
    }
    if start.kind == Kind::ResponseAck {
        return acknowledged(node);
    }
    let slash = text::find(node.bytes(), item.value, |b| b == b'/').unwrap_or(item.value.end);
    let id_span = Span::new(item.value.start, slash);
    let id = number(id_span.of(node.bytes())).ok_or(Fault::Malformed("H.248 transaction identifier"))?;
    let mut transaction = Transaction::new(start.kind, id, id_span, item.whole);
    transaction.segment = segment(Span { start: slash, end: item.value.end }.of(node.bytes()))?;
    match start.kind {
        Kind::Request => actions(node, &mut transaction, false)?,
        Kind::Reply => actions(node, &mut transaction, true)?,
        _ => {}
    }
    Ok(transaction)
}

/// `/3` or `/3/END`
fn segment(text: &[u8]) -> Result<Option<Segment>, Fault> {
    let fault = Fault::Malformed("H.248 segment number");
    let Some(rest) = text.strip_prefix(b"/") else { return Ok(None) };
    let mut words = rest.splitn(2, |&b| b == b'/');
    let number = words.next().and_then(text::port).ok_or(fault)?;
    match words.next() {
        None => Ok(Some(Segment { number, last: false })),
        Some(word) if super::is(word, "END", "&") => Ok(Some(Segment { number, last: true })),
        Some(_) => Err(fault),
    }
}

fn acknowledged(node: Node<'_, '_>) -> Result<Transaction, Fault> {
    let whole = node.item().whole;
    let mut transaction = Transaction::new(Kind::ResponseAck, 0, Span::empty(whole.start), whole);
    for child in node.children() {
        let mut ends = child.name().splitn(2, |&b| b == b'-').map(|end| number(end.trim_ascii()));
        let first = ends.next().flatten();
        let last = ends.next().unwrap_or(first);
        let (Some(first), Some(last)) = (first, last) else { return Err(malformed()) };
        if last < first {
            return Err(malformed());
        }
        transaction.acks.put(Acked { first, last }, MAX_LIST, "too many acknowledgements")?;
    }
    Ok(transaction)
}

fn actions(node: Node<'_, '_>, transaction: &mut Transaction, reply: bool) -> Result<(), Fault> {
    for child in node.children() {
        if child.is("Context", "C") {
            let action = action(child, reply)?;
            transaction.actions.put(action, MAX_ACTIONS, "too many H.248 actions")?;
        } else if reply && child.is("ImmAckRequired", "IA") {
            transaction.ack_required = true;
        } else if reply && child.is("Error", "ER") && transaction.actions.is_empty() {
            transaction.error = Some(error(child)?);
        } else {
            return Err(Fault::Malformed("H.248 action"));
        }
    }
    let empty = transaction.actions.is_empty() && transaction.error.is_none();
    if empty { Err(Fault::Malformed("H.248 transaction without actions")) } else { Ok(()) }
}

fn action(node: Node<'_, '_>, reply: bool) -> Result<Action, Fault> {
    let context = match node.value() {
        b"-" => Context::Null,
        b"$" => Context::Choose,
        b"*" => Context::All,
        digits => Context::of(number(digits).ok_or(Fault::Malformed("H.248 context identifier"))?),
    };
    let whole = node.item().whole;
    let mut action =
        Action { context, whole, error: None, properties: SmallVec::new(), commands: Vec::new() };
    for child in node.children() {
        if let Some(command) = command::read(child, reply)? {
            action.commands.put(command, MAX_COMMANDS, "too many H.248 commands")?;
        } else if reply && child.is("Error", "ER") {
            action.error = Some(error(child)?);
        } else {
            action.properties.push(child.item().whole);
        }
    }
    Ok(action)
}

/// `Error = 430 { "Unknown TerminationID" }`
pub(super) fn error(node: Node<'_, '_>) -> Result<ErrorDescriptor, Fault> {
    let code = text::port(node.value()).ok_or(Fault::Malformed("H.248 error code"))?;
    let at = node.item().whole.end;
    let text =
        node.children().next().map_or(Span::empty(at), |child| unquoted(child.bytes(), child.item().name));
    Ok(ErrorDescriptor { code, text })
}

/// A value without its quotes.
pub(super) fn unquoted(bytes: &[u8], value: Span) -> Span {
    match value.of(bytes) {
        [b'"', .., b'"'] => Span::new(value.start + 1, value.end - 1),
        _ => value,
    }
}

pub(super) fn number(digits: &[u8]) -> Option<u32> {
    text::number(digits)?.try_into().ok()
}
