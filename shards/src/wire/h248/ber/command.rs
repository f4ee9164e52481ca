//! Commands of a binary message, in requests and replies.

use super::element::Element;
use super::media;
use super::reader::{Fields, Reader};
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::h248::text::reason;
use crate::wire::h248::view::Places;
use crate::wire::h248::{
    Audit, Bounded, Command, MAX_LIST, MAX_TERMINATIONS, Method, ObservedEvent, ServiceChange, Termination,
    Verb,
};

const MALFORMED: Fault = Fault::Malformed("H.248 command");

/// Reads a CommandRequest or CommandReply; `None` when it is of a kind that we do not know.
pub(super) fn read(reader: Reader<'_>, element: &Element, reply: bool) -> Result<Option<Command>, Fault> {
    if reply {
        let number = element.context().ok_or(MALFORMED)?;
        return read_as(reader, number, element, element.whole, true);
    }
    let fields = reader.fields(element)?;
    let (number, request) = reader.choice(fields.need(0)?)?;
    let mut command = read_as(reader, number, &request, element.whole, false)?;
    if let Some(command) = &mut command {
        command.optional = fields.get(1).is_some();
        command.wildcard_response = fields.get(2).is_some();
    }
    Ok(command)
}

fn read_as(
    reader: Reader<'_>,
    number: u32,
    element: &Element,
    whole: Span,
    reply: bool,
) -> Result<Option<Command>, Fault> {
    let verb = usize::try_from(number).ok().and_then(|at| VERBS.get(at));
    let Some(&verb) = verb else { return Ok(None) };
    let mut command = Command::new(verb, whole);
    match verb {
        Verb::AuditCapability | Verb::AuditValue if reply => audited(reader, element, &mut command)?,
        _ => {
            let fields = reader.fields(element)?;
            named(reader, &fields, &mut command, reply)?;
            parameters(reader, &fields, &mut command, reply)?;
        }
    }
    Ok(Some(command))
}

/// In the order of the choices Command and CommandReply.
const VERBS: [Verb; 8] = [
    Verb::Add,
    Verb::Move,
    Verb::Modify,
    Verb::Subtract,
    Verb::AuditCapability,
    Verb::AuditValue,
    Verb::Notify,
    Verb::ServiceChange,
];

/// Whom a command is about: a list, of which audits have the first name apart.
fn named(reader: Reader<'_>, fields: &Fields, command: &mut Command, reply: bool) -> Result<(), Fault> {
    let audit = !reply && matches!(command.verb, Verb::AuditCapability | Verb::AuditValue);
    match (audit, fields.get(2)) {
        (true, Some(list)) => terminations(reader, list, command),
        (true, None) => termination(reader, fields.need(0)?, command),
        (false, _) => terminations(reader, fields.need(0)?, command),
    }
}

fn terminations(reader: Reader<'_>, list: &Element, command: &mut Command) -> Result<(), Fault> {
    for child in reader.children(list)? {
        termination(reader, &child, command)?;
    }
    if command.terminations.is_empty() { Err(MALFORMED) } else { Ok(()) }
}

fn termination(reader: Reader<'_>, element: &Element, command: &mut Command) -> Result<(), Fault> {
    let fields = reader.fields(element)?;
    let mut wildcards = Vec::new();
    for child in reader.children(fields.need(0)?)? {
        wildcards.extend_from_slice(reader.octets(&child)?);
    }
    let id = reader.octets(fields.need(1)?)?;
    if !(1..=8).contains(&id.len()) {
        return Err(Fault::Malformed("H.248 termination identifier"));
    }
    let termination = Termination::binary(&wildcards, id);
    command.terminations.put(termination, MAX_TERMINATIONS, "too many H.248 terminations")
}

fn parameters(reader: Reader<'_>, fields: &Fields, command: &mut Command, reply: bool) -> Result<(), Fault> {
    let Some(second) = fields.get(1) else { return Ok(()) };
    match (command.verb, reply) {
        (Verb::Add | Verb::Move | Verb::Modify, false) => descriptors(reader, second, command),
        (Verb::Add | Verb::Move | Verb::Modify | Verb::Subtract, true) => told(reader, second, command),
        (Verb::Subtract | Verb::AuditCapability | Verb::AuditValue, _) => asked(reader, second, command),
        (Verb::Notify, false) => {
            command.error = fields.get(2).map(|error| reader.error(error)).transpose()?;
            observed(reader, second, command)
        }
        (Verb::Notify, true) => {
            command.error = Some(reader.error(second)?);
            Ok(())
        }
        (Verb::ServiceChange, false) => {
            command.service_change = Some(service_change(reader, second)?);
            Ok(())
        }
        (Verb::ServiceChange, true) => service_changed(reader, second, command),
    }
}

/// SEQUENCE OF AmmDescriptor
fn descriptors(reader: Reader<'_>, list: &Element, command: &mut Command) -> Result<(), Fault> {
    for child in reader.children(list)? {
        match child.context() {
            Some(0) => media::streams(reader, &child, &mut command.streams)?,
            Some(7) => asked(reader, &child, command)?,
            Some(8) => media::statistics(reader, &child, &mut command.statistics)?,
            _ => {}
        }
    }
    Ok(())
}

/// TerminationAudit
fn told(reader: Reader<'_>, list: &Element, command: &mut Command) -> Result<(), Fault> {
    for child in reader.children(list)? {
        match child.context() {
            Some(0) => command.error = Some(reader.error(&child)?),
            Some(1) => media::streams(reader, &child, &mut command.streams)?,
            Some(8) => observed(reader, &child, command)?,
            Some(9) => media::statistics(reader, &child, &mut command.statistics)?,
            _ => {}
        }
    }
    Ok(())
}

/// AuditDescriptor
fn asked(reader: Reader<'_>, element: &Element, command: &mut Command) -> Result<(), Fault> {
    let fields = reader.fields(element)?;
    // A BIT STRING begins with the number of unused bits.
    let tokens = fields.get(0).map_or(Ok(&[][..]), |tokens| reader.octets(tokens))?;
    let properties =
        fields.get(1).map_or(Ok(true), |list| reader.children(list).map(|list| list.is_empty()))?;
    let empty = tokens.iter().skip(1).all(|&octet| octet == 0) && properties;
    command.audit = Some(Audit { whole: element.whole, empty });
    Ok(())
}

/// AuditReply
fn audited(reader: Reader<'_>, element: &Element, command: &mut Command) -> Result<(), Fault> {
    let (number, result) = reader.choice(element)?;
    command.lists_context = number < 2;
    match number {
        0 => terminations(reader, &result, command),
        1 => {
            command.error = Some(reader.error(&result)?);
            Ok(())
        }
        2 | 3 => {
            let fields = reader.fields(&result)?;
            match number {
                2 => termination(reader, fields.need(0)?, command)?,
                _ => terminations(reader, fields.need(0)?, command)?,
            }
            told(reader, fields.need(1)?, command)
        }
        _ => Ok(()),
    }
}

/// ObservedEventsDescriptor
fn observed(reader: Reader<'_>, element: &Element, command: &mut Command) -> Result<(), Fault> {
    let fields = reader.fields(element)?;
    for child in reader.children(fields.need(1)?)? {
        let event = reader.fields(&child)?;
        let name = event.need(0)?.content;
        let stream = event.get(1).map(|stream| reader.short(stream)).transpose()?;
        let event = ObservedEvent { name, whole: child.whole, stream };
        command.observed.put(event, MAX_LIST, "too many H.248 events")?;
    }
    Ok(())
}

/// ServiceChangeResult
fn service_changed(reader: Reader<'_>, element: &Element, command: &mut Command) -> Result<(), Fault> {
    let (number, result) = reader.choice(element)?;
    match number {
        0 => command.error = Some(reader.error(&result)?),
        _ => {
            let fields = reader.fields(&result)?;
            let mut change = nothing(&result);
            addresses(reader, &mut change, fields.get(1), fields.get(0))?;
            versions(reader, &mut change, &fields)?;
            command.service_change = Some(change);
        }
    }
    Ok(())
}

/// ServiceChangeParm
fn service_change(reader: Reader<'_>, element: &Element) -> Result<ServiceChange, Fault> {
    let fields = reader.fields(element)?;
    let mut change = nothing(element);
    change.method = Some(method(reader.number(fields.need(0)?)?));
    if let Some(list) = fields.get(4)
        && let Some(first) = reader.children(list)?.first()
    {
        change.reason = reason(media::unwrapped(reader.octets(first)?));
    }
    change.delay = fields.get(5).map(|delay| reader.number(delay)).transpose()?;
    addresses(reader, &mut change, fields.get(1), fields.get(6))?;
    versions(reader, &mut change, &fields)?;
    Ok(change)
}

fn nothing(element: &Element) -> ServiceChange {
    ServiceChange {
        whole: element.whole,
        method: None,
        reason: None,
        delay: None,
        address: None,
        mgc: None,
        version: None,
        profile: None,
        places: Places { others: true, ..Places::default() },
    }
}

fn addresses(
    reader: Reader<'_>,
    change: &mut ServiceChange,
    address: Option<&Element>,
    mgc: Option<&Element>,
) -> Result<(), Fault> {
    if let Some(outer) = address {
        let (number, element) = reader.choice(outer)?;
        change.address = Some(reader.change_address(number, &element)?);
        (change.places.address, change.places.address_whole) = (element.whole, outer.whole);
    }
    if let Some(outer) = mgc {
        let (number, element) = reader.choice(outer)?;
        change.mgc = Some(reader.mid(number, &element, 0)?);
        (change.places.mgc, change.places.mgc_whole) = (element.whole, outer.whole);
    }
    Ok(())
}

/// Version and profile have the same numbers in requests and replies.
fn versions(reader: Reader<'_>, change: &mut ServiceChange, fields: &Fields) -> Result<(), Fault> {
    let version = fields.get(2).map(|version| reader.number(version)).transpose()?;
    change.version = version.and_then(|version| u8::try_from(version).ok());
    if let Some(profile) = fields.get(3) {
        change.profile = Some(reader.fields(profile)?.need(0)?.content);
    }
    Ok(())
}

const fn method(number: u32) -> Method {
    match number {
        0 => Method::Failover,
        1 => Method::Forced,
        2 => Method::Graceful,
        3 => Method::Restart,
        4 => Method::Disconnected,
        5 => Method::HandOff,
        _ => Method::Other,
    }
}
