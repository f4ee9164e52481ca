//! What a message must fulfil before anything above looks at it.

use super::{Header, Message, Name, NameAddr, Start, Via};
use crate::fault::Fault;
use crate::wire::{Span, text};

/// The first mandatory header that is not there.
fn missing(message: &Message<'_>) -> Option<Fault> {
    let mandatory = [
        (Name::Via, "no Via"),
        (Name::From, "no From"),
        (Name::To, "no To"),
        (Name::CallId, "no Call-ID"),
        (Name::CSeq, "no CSeq"),
    ];
    let absent = mandatory.into_iter().find(|&(name, _)| message.value(name).is_none_or(<[u8]>::is_empty));
    absent.map(|(_, what)| Fault::Malformed(what))
}

/// Whether an answer would find its way and its transaction, whatever else is missing (RFC 4475 section 3.3.1).
pub(super) fn is_answerable(message: &Message<'_>) -> bool {
    let is_there = |name| message.value(name).is_some_and(|value| !value.is_empty());
    is_there(Name::Via) && is_there(Name::CSeq)
}

/// Everything but the body's length.
pub(super) fn check(message: &Message<'_>) -> Result<(), Fault> {
    missing(message).map_or(Ok(()), Err)?;
    single(message)?;
    cseq(message)?;
    max_forwards(message)?;
    addresses(message)
}

/// Where the body ends: by Content-Length, or at the end of the datagram (RFC 3261 18.3).
pub(super) fn body_end(message: &Message<'_>) -> Result<usize, Fault> {
    let Some(length) = content_length(message.bytes, &message.headers)? else {
        return Ok(message.bytes.len());
    };
    let end = message.body.start.checked_add(length).ok_or(Fault::Malformed("Content-Length"))?;
    (end <= message.bytes.len()).then_some(end).ok_or(Fault::Malformed("Content-Length beyond the datagram"))
}

/// What Content-Length says, every time it is there.
pub(super) fn content_length(bytes: &[u8], headers: &[Header]) -> Result<Option<usize>, Fault> {
    let own = headers.iter().filter(|h| h.name == Name::ContentLength);
    let mut lengths = own.map(|h| text::number(h.value.of(bytes)));
    let Some(first) = lengths.next() else { return Ok(None) };
    let length = first.and_then(|n| usize::try_from(n).ok()).ok_or(Fault::Malformed("Content-Length"))?;
    lengths.all(|other| other == first).then_some(Some(length)).ok_or(Fault::Malformed("two Content-Length"))
}

/// Two of a header that can be there once only are a trap: another reader may take the other one.
fn single(message: &Message<'_>) -> Result<(), Fault> {
    let single = [
        (Name::From, "two From"),
        (Name::To, "two To"),
        (Name::CallId, "two Call-ID"),
        (Name::CSeq, "two CSeq"),
        (Name::MaxForwards, "two Max-Forwards"),
    ];
    let repeated = single.into_iter().find(|&(name, _)| message.all(name).nth(1).is_some());
    repeated.map_or(Ok(()), |(_, what)| Err(Fault::Malformed(what)))
}

fn cseq(message: &Message<'_>) -> Result<(), Fault> {
    let (_, method) = message.cseq().ok_or(Fault::Malformed("CSeq"))?;
    match message.start {
        Start::Request { method: own, .. } if own.of(message.bytes) != method => {
            Err(Fault::Malformed("CSeq of another method"))
        }
        _ => Ok(()),
    }
}

fn max_forwards(message: &Message<'_>) -> Result<(), Fault> {
    let present = message.first(Name::MaxForwards).is_some();
    let bad = present && message.max_forwards().is_none();
    (!bad).then_some(()).ok_or(Fault::Malformed("Max-Forwards"))
}

/// From, To, the Vias and Contacts. Of a response only the top Via counts: the others are not followed, and a Contact
/// that cannot be read is no reason to lose an answer.
fn addresses(message: &Message<'_>) -> Result<(), Fault> {
    let bytes = message.bytes;
    let mut vias = message.values(Name::Via).map(|value| Via::parse(bytes, value));
    vias.next().ok_or(Fault::Malformed("no Via"))??;
    if message.is_request() {
        vias.try_for_each(|via| via.map(drop))?;
        contacts(message)?;
    }
    let value = |name| message.first(name).map_or(Span::empty(0), |h| h.value);
    NameAddr::parse(bytes, value(Name::From)).map_err(|_| Fault::Malformed("From"))?;
    NameAddr::parse(bytes, value(Name::To)).map_err(|_| Fault::Malformed("To"))?;
    Ok(())
}

/// Each is an address, or all of them at once (`*`, RFC 3261 section 10.2.2).
fn contacts(message: &Message<'_>) -> Result<(), Fault> {
    let bytes = message.bytes;
    let mut unread = message.values(Name::Contact).filter(|value| value.of(bytes) != b"*");
    let bad = unread.any(|value| NameAddr::parse(bytes, value).is_err());
    (!bad).then_some(()).ok_or(Fault::Malformed("Contact"))
}
