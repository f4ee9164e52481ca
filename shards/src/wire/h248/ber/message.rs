//! The header of a binary message, its transactions and actions.

use super::command;
use super::element::Element;
use super::reader::{Fields, Reader};
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::h248::{
    Acked, Action, Blame, Body, Bounded, Context, Encoding, Kind, MAX_ACTIONS, MAX_COMMANDS, MAX_LIST,
    MAX_TRANSACTIONS, Message, Mid, Segment, Transaction, Unread,
};
use smallvec::SmallVec;

const MALFORMED: Fault = Fault::Malformed("H.248 message");

/// Reads a binary message.
pub(in crate::wire::h248) fn parse(bytes: &[u8]) -> Result<Message<'_>, Unread> {
    let mut known = Known { version: None, mid: None, blame: Blame::Message };
    known.message(bytes).map_err(|fault| Unread {
        fault,
        encoding: Encoding::Ber,
        version: known.version,
        mid: known.mid.take(),
        blame: known.blame,
    })
}

/// What has been read of a message, and whom to tell if it cannot be read further.
struct Known {
    version: Option<u8>,
    mid: Option<Mid>,
    blame: Blame,
}

impl Known {
    /// MegacoMessage
    fn message<'a>(&mut self, bytes: &'a [u8]) -> Result<Message<'a>, Fault> {
        let reader = Reader { bytes };
        let outer = Element::only(bytes, Span::new(0, bytes.len()))?;
        if !outer.is_universal(16) {
            return Err(MALFORMED);
        }
        let outer = reader.fields(&outer)?;
        let inner = reader.fields(outer.need(1)?)?;
        let version = reader.number(inner.need(0)?)?;
        let version = u8::try_from(version).ok().filter(|v| (1..=99).contains(v)).ok_or(MALFORMED)?;
        self.version = Some(version);
        let (number, element) = reader.choice(inner.need(1)?)?;
        let mid = reader.mid(number, &element, 0)?;
        self.mid = Some(mid.clone());
        let body = self.body(reader, inner.need(2)?)?;
        let authentication = outer.get(0).map(|header| header.whole);
        let (encoding, mid_span) = (Encoding::Ber, element.whole);
        Ok(Message { bytes, encoding, version, mid, mid_span, authentication, body })
    }

    fn body(&mut self, reader: Reader<'_>, element: &Element) -> Result<Body, Fault> {
        let (number, element) = reader.choice(element)?;
        if number == 0 {
            self.blame = Blame::Nobody;
            return Ok(Body::Error(reader.error(&element)?));
        }
        let mut transactions = Vec::new();
        for child in reader.children(&element).map_err(|fault| if number == 1 { fault } else { MALFORMED })? {
            self.blame = Blame::Message;
            let transaction = self.transaction(reader, &child)?;
            transactions.put(transaction, MAX_TRANSACTIONS, "too many H.248 transactions")?;
        }
        self.blame = Blame::Message;
        let some = number == 1 && !transactions.is_empty();
        if some { Ok(Body::Transactions(transactions)) } else { Err(MALFORMED) }
    }

    fn transaction(&mut self, reader: Reader<'_>, element: &Element) -> Result<Transaction, Fault> {
        let kind = match element.context() {
            Some(0) => Kind::Request,
            Some(1) => Kind::Pending,
            Some(2) => Kind::Reply,
            Some(3) => return self.acknowledged(reader, element),
            Some(4) => Kind::Segment,
            _ => return Err(MALFORMED),
        };
        self.blame = if kind == Kind::Request { Blame::Message } else { Blame::Nobody };
        let fields = reader.fields(element)?;
        let id = fields.need(0)?;
        let mut transaction = Transaction::new(kind, reader.number(id)?, id.whole, element.whole);
        match kind {
            Kind::Request => {
                self.blame = Blame::Request(transaction.id);
                actions(reader, fields.need(1)?, &mut transaction, false)?;
            }
            Kind::Reply => reply(reader, &fields, &mut transaction)?,
            Kind::Segment => transaction.segment = segment(reader, &fields, 1)?,
            Kind::Pending | Kind::ResponseAck => {}
        }
        Ok(transaction)
    }

    fn acknowledged(&mut self, reader: Reader<'_>, element: &Element) -> Result<Transaction, Fault> {
        self.blame = Blame::Nobody;
        let none = Span::empty(element.whole.start);
        let mut transaction = Transaction::new(Kind::ResponseAck, 0, none, element.whole);
        for child in reader.children(element)? {
            let fields = reader.fields(&child)?;
            let first = reader.number(fields.need(0)?)?;
            let last = fields.get(1).map_or(Ok(first), |last| reader.number(last))?;
            if last < first {
                return Err(MALFORMED);
            }
            transaction.acks.put(Acked { first, last }, MAX_LIST, "too many acknowledgements")?;
        }
        Ok(transaction)
    }
}

fn reply(reader: Reader<'_>, fields: &Fields, transaction: &mut Transaction) -> Result<(), Fault> {
    transaction.ack_required = fields.get(1).is_some();
    transaction.segment = segment(reader, fields, 3)?;
    let (number, result) = reader.choice(fields.need(2)?)?;
    match number {
        0 => transaction.error = Some(reader.error(&result)?),
        1 => actions(reader, &result, transaction, true)?,
        _ => return Err(MALFORMED),
    }
    Ok(())
}

/// The segment's number, and after it whether it is the last.
fn segment(reader: Reader<'_>, fields: &Fields, at: u32) -> Result<Option<Segment>, Fault> {
    let Some(number) = fields.get(at) else { return Ok(None) };
    Ok(Some(Segment { number: reader.short(number)?, last: fields.get(at + 1).is_some() }))
}

fn actions(
    reader: Reader<'_>,
    element: &Element,
    transaction: &mut Transaction,
    reply: bool,
) -> Result<(), Fault> {
    for child in reader.children(element)? {
        let action = action(reader, &child, reply)?;
        transaction.actions.put(action, MAX_ACTIONS, "too many H.248 actions")?;
    }
    if transaction.actions.is_empty() { Err(MALFORMED) } else { Ok(()) }
}

fn action(reader: Reader<'_>, element: &Element, reply: bool) -> Result<Action, Fault> {
    let fields = reader.fields(element)?;
    let context = Context::of(reader.number(fields.need(0)?)?);
    let whole = element.whole;
    let mut action =
        Action { context, whole, error: None, properties: SmallVec::new(), commands: Vec::new() };
    let properties = if reply { 2..3 } else { 1..3 };
    action.properties.extend(properties.filter_map(|number| fields.get(number)).map(|found| found.whole));
    if reply {
        action.error = fields.get(1).map(|error| reader.error(error)).transpose()?;
    }
    let Some(commands) = fields.get(3) else { return Ok(action) };
    for child in reader.children(commands)? {
        match command::read(reader, &child, reply)? {
            Some(command) => action.commands.put(command, MAX_COMMANDS, "too many H.248 commands")?,
            None => action.properties.push(child.whole),
        }
    }
    Ok(action)
}
