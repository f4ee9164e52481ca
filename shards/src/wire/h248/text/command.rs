//! Commands of a text message, in requests and replies.

use super::message::{error, number, unquoted};
use super::tree::Node;
use super::{is, media};
use crate::fault::Fault;
use crate::wire::h248::view::Places;
use crate::wire::h248::{
    Audit, Bounded, ChangeAddress, Command, MAX_LIST, MAX_TERMINATIONS, Method, Mid, ObservedEvent,
    ServiceChange, Termination, Verb,
};
use crate::wire::{Span, text};

/// Reads a command; `None` when the item is none.
pub(super) fn read(node: Node<'_, '_>, reply: bool) -> Result<Option<Command>, Fault> {
    let (optional, rest) = prefix(node.name(), b'O');
    let (wildcard_response, rest) = prefix(rest, b'W');
    let Some(verb) = Verb::read(rest) else { return Ok(None) };
    let mut command = Command::new(verb, node.item().whole);
    (command.optional, command.wildcard_response) = (optional, wildcard_response);
    let audit = matches!(verb, Verb::AuditValue | Verb::AuditCapability);
    if reply && audit && is(node.value(), "Context", "C") {
        context_audit(node, &mut command)?;
        return Ok(Some(command));
    }
    terminations(node, &mut command)?;
    for child in node.children() {
        parameter(node, child, &mut command)?;
    }
    Ok(Some(command))
}

/// `O-` or `W-`.
fn prefix(name: &[u8], letter: u8) -> (bool, &[u8]) {
    match name {
        [first, b'-', rest @ ..] if first.eq_ignore_ascii_case(&letter) => (true, rest.trim_ascii_start()),
        _ => (false, name),
    }
}

/// One name, or several in brackets.
fn terminations(node: Node<'_, '_>, command: &mut Command) -> Result<(), Fault> {
    let value = node.value();
    let list = value.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(value);
    for name in list.split(|&b| b == b',') {
        termination(name.trim_ascii(), command)?;
    }
    Ok(())
}

fn termination(name: &[u8], command: &mut Command) -> Result<(), Fault> {
    let safe = |b: &u8| b.is_ascii_graphic() && !b"{}[]\"=;".contains(b);
    if name.is_empty() || !name.iter().all(safe) {
        return Err(Fault::Malformed("H.248 termination identifier"));
    }
    let termination = Termination::text(name);
    command.terminations.put(termination, MAX_TERMINATIONS, "too many H.248 terminations")
}

/// `AuditValue = Context { t1, t2 }` or `AuditValue = Context { Error = 411 { "..." } }`
fn context_audit(node: Node<'_, '_>, command: &mut Command) -> Result<(), Fault> {
    command.lists_context = true;
    for child in node.children() {
        if child.is("Error", "ER") && !child.item().value.is_empty() {
            command.error = Some(error(child)?);
        } else {
            termination(child.name(), command)?;
        }
    }
    Ok(())
}

fn parameter(parent: Node<'_, '_>, node: Node<'_, '_>, command: &mut Command) -> Result<(), Fault> {
    let item = node.item();
    if node.is("Media", "M") {
        media::streams(node, &mut command.streams)?;
    } else if node.is("Audit", "AT") {
        command.audit = Some(Audit { whole: item.whole, empty: node.children().next().is_none() });
    } else if node.is("Services", "SV") {
        command.service_change = Some(service_change(parent, node)?);
    } else if node.is("ObservedEvents", "OE") {
        observed(node, command)?;
    } else if node.is("Statistics", "SA") {
        media::statistics(node, &mut command.statistics)?;
    } else if node.is("Error", "ER") && !item.value.is_empty() {
        command.error = Some(error(node)?);
    }
    Ok(())
}

fn observed(node: Node<'_, '_>, command: &mut Command) -> Result<(), Fault> {
    for child in node.children() {
        let item = child.item();
        let colon = item.name.of(child.bytes()).iter().position(|&b| b == b':').map_or(0, |at| at + 1);
        let name = text::trim(child.bytes(), Span::new(item.name.start + colon, item.name.end));
        let stream = child.children().find(|child| child.is("Stream", "ST"));
        let stream = stream.and_then(|stream| text::port(stream.value()));
        let event = ObservedEvent { name, whole: item.whole, stream };
        command.observed.put(event, MAX_LIST, "too many H.248 events")?;
    }
    Ok(())
}

/// `Services { Method = Restart, Reason = "901 Cold Boot", ... }`
fn service_change(parent: Node<'_, '_>, node: Node<'_, '_>) -> Result<ServiceChange, Fault> {
    let mut change = ServiceChange {
        whole: node.item().whole,
        method: None,
        reason: None,
        delay: None,
        address: None,
        mgc: None,
        version: None,
        profile: None,
        places: Places { block: surrounding(parent, node), ..Places::default() },
    };
    for child in node.children() {
        service_change_parameter(child, &mut change)?;
    }
    places(node, &mut change.places);
    Ok(change)
}

/// The block of the command with its braces, when nothing else is in it.
fn surrounding(parent: Node<'_, '_>, node: Node<'_, '_>) -> Span {
    let alone = parent.children().nth(1).is_none();
    let block = parent.item().block.filter(|_| alone);
    block.map_or(node.item().whole, |block| Span::new(block.start - 1, block.end + 1))
}

fn service_change_parameter(node: Node<'_, '_>, change: &mut ServiceChange) -> Result<(), Fault> {
    let value = unquoted(node.bytes(), node.item().value);
    if node.is("Method", "MT") {
        change.method = Some(method(node.value()));
    } else if node.is("Reason", "RE") {
        change.reason = reason(value.of(node.bytes()));
    } else if node.is("Delay", "DL") {
        change.delay = number(node.value());
    } else if node.is("Version", "V") {
        change.version = number(node.value()).and_then(|version| u8::try_from(version).ok());
    } else if node.is("Profile", "PF") {
        change.profile = Some(value);
    } else if is_address(node) {
        let first = change.address.is_none();
        (change.address, change.places.address) =
            (Some(ChangeAddress::read(node.bytes(), named(node))?), named(node));
        once(first)?;
    } else if is_mgc(node) {
        let first = change.mgc.is_none();
        (change.mgc, change.places.mgc) = (Some(Mid::read_all(node.bytes(), named(node))?), named(node));
        once(first)?;
    }
    Ok(())
}

const fn once(first: bool) -> Result<(), Fault> {
    if first { Ok(()) } else { Err(Fault::Malformed("H.248 ServiceChange parameter twice")) }
}

fn is_address(node: Node<'_, '_>) -> bool {
    node.is("ServiceChangeAddress", "AD")
}

fn is_mgc(node: Node<'_, '_>) -> bool {
    node.is("MgcIdToTry", "MG")
}

/// A value that may have a block, `MTP{0a2b}`.
fn named(node: Node<'_, '_>) -> Span {
    let item = node.item();
    Span::new(item.value.start, if item.block.is_some() { item.whole.end } else { item.value.end })
}

/// What goes with the two addresses when they are taken out: the comma after them as long as only they have come
/// before, else the comma before.
fn places(node: Node<'_, '_>, places: &mut Places) {
    let mut before = None;
    let mut children = node.children().peekable();
    while let Some(child) = children.next() {
        let whole = child.item().whole;
        let tile = match (places.others, children.peek(), before) {
            (false, Some(next), _) => Span::new(whole.start, next.item().whole.start),
            (_, _, Some(end)) => Span::new(end, whole.end),
            _ => whole,
        };
        if is_address(child) {
            places.address_whole = tile;
        } else if is_mgc(child) {
            places.mgc_whole = tile;
        } else {
            places.others = true;
        }
        before = Some(whole.end);
    }
}

fn method(word: &[u8]) -> Method {
    let methods = [
        ("Graceful", "GR", Method::Graceful),
        ("Forced", "FO", Method::Forced),
        ("Restart", "RS", Method::Restart),
        ("Disconnected", "DC", Method::Disconnected),
        ("HandOff", "HO", Method::HandOff),
        ("Failover", "FL", Method::Failover),
    ];
    methods.iter().find(|(long, short, _)| is(word, long, short)).map_or(Method::Other, |found| found.2)
}

/// The number at the beginning of `901 Cold Boot`.
pub(in crate::wire::h248) fn reason(text: &[u8]) -> Option<u16> {
    let text = text.trim_ascii_start();
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    text::port(&text[..length])
}
