//! H.248 in binary (H.248.1 annex A: BER with automatic tags). Nothing of `wire` is used: this is the judge of what Portolan
//! writes.
//!
//! Session descriptions are properties of annex C.11, a line each: every other transaction as bare text, the others as an
//! IA5String, as implementations differ.

use super::ber::{IA5, INTEGER, OCTETS, Tlv, integer, number, of, plain, sequence, tlv};
use super::h248::{Change, Command, Context, Kind, Media, ROOT, Said, Verb};
use super::language::address;
use super::order::{Counts, Method, Mode, Seen, Signal};
use std::net::IpAddr;

/// In the order of their tags (`None`: one that is not used here).
const VERBS: [Option<Verb>; 8] = [
    Some(Verb::Add),
    None,
    Some(Verb::Modify),
    Some(Verb::Subtract),
    None,
    Some(Verb::AuditValue),
    Some(Verb::Notify),
    Some(Verb::ServiceChange),
];
const MODES: [Mode; 4] = [Mode::SendOnly, Mode::RecvOnly, Mode::SendRecv, Mode::Inactive];
/// With their numbers and the reasons that are given.
const METHODS: [(u64, Method, &str); 3] = [
    (3, Method::Restart, "901 Cold Boot"),
    (1, Method::Forced, "905 Termination taken out of service"),
    (4, Method::Disconnected, "900 Service Restored"),
];
const SIGNALS: [(u32, Signal); 3] =
    [(0x0005_0030, Signal::DialTone), (0x0009_0002, Signal::Ring), (0x0005_0031, Signal::RingBack)];
const EVENTS: [(u32, Seen); 3] =
    [(0x0009_0005, Seen::OffHook), (0x0009_0004, Seen::OnHook), (0x0009_0006, Seen::Flash)];
/// Digit map completion, and its digit string and method.
const DIGITS: u32 = 0x0006_0004;
const DIGIT_STRING: u16 = 1;
const DIGIT_METHOD: u16 = 3;
/// Packets sent, octets sent, packets received, octets received, packets lost.
const STATISTICS: [u32; 5] = [0x000C_0004, 0x000B_0002, 0x000C_0005, 0x000B_0003, 0x000C_0006];
/// What the lines of a description begin with, in the order of their properties from 0xB001 on.
const LINES: &str = "vosiuepcbzkatrm";
/// Two wildcards of a termination: any one of a kind, and all of it, from bit 31 down; all of everything.
const CHOOSE: u8 = 0x5F;
const ALL: u8 = 0x1F;
const EVERYTHING: u8 = 0xA7;
/// Contexts that are to be chosen, and all of them.
const CHOOSE_CONTEXT: u64 = 0xFFFF_FFFE;

/// Write a message.
pub(super) fn write(said: &Said) -> Vec<u8> {
    let mut transactions = Vec::new();
    if !said.acknowledged.is_empty() {
        let acks: Vec<_> = said.acknowledged.iter().map(|&id| sequence(&[number(0, id.into())])).collect();
        transactions.push(of(3, &acks));
    }
    let id = number(0, said.id.into());
    match said.kind {
        Kind::Nothing => {}
        Kind::Pending => transactions.push(of(1, &[id])),
        Kind::Request => transactions.push(of(0, &[id, of(1, &[action(said)])])),
        Kind::Reply => {
            let confirm = if said.confirm { plain(1, &[]) } else { Vec::new() };
            transactions.push(of(2, &[id, confirm, of(2, &[of(1, &[action(said)])])]));
        }
    }
    let message = [number(0, 1), of(1, &[mid(&said.mid)]), of(2, &[of(1, &transactions)])];
    sequence(&[of(1, &message)])
}

fn mid(text: &str) -> Vec<u8> {
    let Some(at) = address(text) else {
        let (name, port) = text.trim_start_matches('<').split_once(">:").unwrap_or((text, "2944"));
        return of(2, &[plain(0, name.as_bytes()), number(1, port.parse().unwrap_or_default())]);
    };
    let port = number(1, at.port().into());
    match at.ip() {
        IpAddr::V4(ip) => of(0, &[plain(0, &ip.octets()), port]),
        IpAddr::V6(ip) => of(1, &[plain(0, &ip.octets()), port]),
    }
}

fn action(said: &Said) -> Vec<u8> {
    let context = match said.context {
        Context::Null => 0,
        Context::Choose => CHOOSE_CONTEXT,
        Context::Id(id) => id.into(),
    };
    let request = said.kind == Kind::Request;
    let wrapped = said.id % 2 == 1;
    let commands: Vec<_> = said
        .commands
        .iter()
        .map(|one| if request { sequence(&[of(0, &[asked(one, wrapped)])]) } else { replied(one, wrapped) })
        .collect();
    let error = said.error.map(|code| of(1, &[number(0, code.into()), plain(1, b"refused")]));
    sequence(&[number(0, context), error.unwrap_or_default(), of(3, &commands)])
}

fn tag(verb: Verb) -> u8 {
    VERBS.iter().position(|one| *one == Some(verb)).unwrap_or_default() as u8
}

fn asked(command: &Command, wrapped: bool) -> Vec<u8> {
    let whom = of(0, &[termination(&command.termination)]);
    let rest = match command.verb {
        Verb::Add | Verb::Modify => {
            let media = command.media.as_ref().map(|media| of(0, &described(media, wrapped)));
            let events = command.events.map(|(request, digits)| of(3, &events(request, digits)));
            let signals = command.signal.map(|signal| of(5, &signals(signal)));
            of(1, &[media, events, signals].map(Option::unwrap_or_default))
        }
        Verb::Subtract => Vec::new(),
        Verb::AuditValue => {
            let whom = termination(&command.termination);
            return of(5, &[[&[0xA0], &whom[1..]].concat(), of(1, &[])]);
        }
        Verb::Notify => command.observed.as_ref().map(|one| of(1, &observed(one))).unwrap_or_default(),
        Verb::ServiceChange => command.change.as_ref().map(|one| of(1, &change(one))).unwrap_or_default(),
    };
    of(tag(command.verb), &[whom, rest])
}

fn replied(command: &Command, wrapped: bool) -> Vec<u8> {
    let whom = of(0, &[termination(&command.termination)]);
    let rest = match command.verb {
        Verb::AuditValue => {
            let whom = termination(&command.termination);
            return of(5, &[of(2, &[[&[0xA0], &whom[1..]].concat(), of(1, &[])])]);
        }
        Verb::ServiceChange => of(1, &[of(1, &[])]),
        Verb::Notify => Vec::new(),
        Verb::Add | Verb::Modify | Verb::Subtract => {
            let media = command.media.as_ref().map(|media| of(1, &described(media, wrapped)));
            let counts = command.counts.map(|counts| of(9, &statistics(counts)));
            let audit = [media, counts].map(Option::unwrap_or_default);
            if audit.iter().all(Vec::is_empty) { Vec::new() } else { of(1, &audit) }
        }
    };
    of(tag(command.verb), &[whom, rest])
}

/// `al/3` is 1 and the number 3, `rtp/7` is 2 and the number 7.
fn termination(name: &str) -> Vec<u8> {
    if name.eq_ignore_ascii_case(ROOT) {
        return sequence(&[of(0, &[]), plain(1, &[0xFF; 8])]);
    }
    let (kind, which) = name.split_once('/').unwrap_or(("", name));
    let kind: u8 = match kind {
        "al" => 1,
        "rtp" => 2,
        _ => 0,
    };
    let wildcard = match which {
        "$" => vec![tlv(OCTETS, &[CHOOSE])],
        "*" if kind == 0 => vec![tlv(OCTETS, &[EVERYTHING])],
        "*" => vec![tlv(OCTETS, &[ALL])],
        _ => Vec::new(),
    };
    let number: u32 = which.parse().unwrap_or_default();
    sequence(&[of(0, &wildcard), plain(1, &[&[kind], &number.to_be_bytes()[..]].concat())])
}

fn described(media: &Media, wrapped: bool) -> [Vec<u8>; 1] {
    let mode = media.mode.and_then(|mode| MODES.iter().position(|one| *one == mode));
    let control = mode.map(|mode| of(0, &[number(0, mode as u64), of(3, &[])]));
    let sdp = |n, text: &Option<String>| text.as_ref().map(|text| of(n, &[of(0, &[group(text, wrapped)])]));
    let parts = [control, sdp(1, &media.local), sdp(2, &media.remote)].map(Option::unwrap_or_default);
    [of(1, &[of(1, &[sequence(&[number(0, 1), of(1, &parts)])])])]
}

fn group(text: &str, wrapped: bool) -> Vec<u8> {
    let property = |line: &str| {
        let (kind, value) = line.split_once('=')?;
        let name = 0xB001 + LINES.find(kind)? as u32;
        let value = if wrapped { tlv(IA5, value.as_bytes()) } else { value.as_bytes().to_vec() };
        Some(parameter(&name.to_be_bytes(), &value))
    };
    sequence(&text.lines().filter_map(property).collect::<Vec<_>>())
}

/// A name and one value.
fn parameter(name: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[plain(0, name), of(1, &[tlv(OCTETS, value)])])
}

fn events(request: u32, digits: bool) -> [Vec<u8>; 2] {
    let event = |name: u32, action: Vec<u8>| sequence(&[plain(0, &name.to_be_bytes()), action, of(3, &[])]);
    let mut list: Vec<_> = EVENTS.iter().map(|(name, _)| event(*name, Vec::new())).collect();
    if digits {
        // By the digit map of this name.
        list.push(event(DIGITS, of(2, &[of(1, &[plain(0, &[0, 1])])])));
    }
    [number(0, request.into()), of(1, &list)]
}

fn signals(signal: Option<Signal>) -> Vec<Vec<u8>> {
    let name = signal.and_then(|signal| SIGNALS.iter().find(|(_, one)| *one == signal));
    name.map(|(name, _)| of(0, &[plain(0, &name.to_be_bytes()), of(6, &[])])).into_iter().collect()
}

fn observed((request, seen): &(u32, Vec<Seen>)) -> [Vec<u8>; 2] {
    let event = |seen: &Seen| match seen {
        Seen::Digits(digits) => {
            let string = parameter(&DIGIT_STRING.to_be_bytes(), &tlv(IA5, digits.as_bytes()));
            let method = parameter(&DIGIT_METHOD.to_be_bytes(), &[0x0A, 1, 0]);
            sequence(&[plain(0, &DIGITS.to_be_bytes()), of(2, &[string, method])])
        }
        other => {
            let name = EVENTS.iter().find(|(_, one)| one == other).map_or(0, |(name, _)| *name);
            sequence(&[plain(0, &name.to_be_bytes()), of(2, &[])])
        }
    };
    [number(0, (*request).into()), of(1, &seen.iter().map(event).collect::<Vec<_>>())]
}

fn change(change: &Change) -> Vec<Vec<u8>> {
    let found = METHODS.iter().find(|(_, method, _)| *method == change.method);
    let (method, reason) = found.map_or((0, ""), |(number, _, reason)| (*number, *reason));
    let profile = change.number.map(|number| of(3, &[plain(0, format!("gw{number}/1").as_bytes())]));
    let reason = of(4, &[tlv(OCTETS, &tlv(IA5, reason.as_bytes()))]);
    vec![number(0, method), number(2, 1), profile.unwrap_or_default(), reason]
}

fn statistics(counts: Counts) -> Vec<Vec<u8>> {
    let Counts { sent, received, lost } = counts;
    let values = [sent, sent * 160, received, received * 160, lost];
    let one = |(name, value): (u32, u64)| parameter(&name.to_be_bytes(), &tlv(INTEGER, &integer(value)));
    STATISTICS.into_iter().zip(values).map(one).collect()
}

/// Read a message.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(octets: &[u8]) -> Result<Said, String> {
    let message = Tlv::read(octets)?.need(1)?;
    let mut said = Said { mid: read_mid(message.need(1)?.one()?)?, ..Said::default() };
    let body = message.need(2)?.one()?;
    if body.component() == 0 {
        said.error = Some(body.need(0)?.number() as u16);
        return Ok(said);
    }
    for transaction in body.parts()? {
        match transaction.component() {
            3 => {
                for ack in transaction.parts()? {
                    let first = ack.need(0)?.number();
                    let last = ack.get(1)?.map_or(first, Tlv::number);
                    said.acknowledged.extend((first..=last).take(1000).map(|id| id as u32));
                }
            }
            _ if said.kind != Kind::Nothing => return Err("two transactions".into()),
            kind => read_transaction(&mut said, kind, transaction)?,
        }
    }
    Ok(said)
}

fn read_mid(mid: Tlv<'_>) -> Result<String, String> {
    let address = mid.need(0)?;
    let ip = match (mid.component(), address.content) {
        (0, octets) => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        (1, octets) => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    };
    let port = mid.get(1)?.map_or(String::new(), |port| format!(":{}", port.number()));
    if mid.component() == 2 {
        return Ok(format!("<{}>{port}", address.text()));
    }
    Ok(format!("[{}]{port}", ip.ok_or("an address of a strange length")?))
}

fn read_transaction(said: &mut Said, kind: u8, transaction: Tlv<'_>) -> Result<(), String> {
    said.id = transaction.need(0)?.number() as u32;
    let actions = match kind {
        0 => transaction.need(1)?,
        1 => {
            said.kind = Kind::Pending;
            return Ok(());
        }
        2 => transaction.need(2)?.one()?,
        other => return Err(format!("transaction of kind {other}")),
    };
    said.kind = if kind == 0 { Kind::Request } else { Kind::Reply };
    said.confirm = kind == 2 && transaction.get(1)?.is_some();
    if kind == 2 && actions.component() == 0 {
        said.error = Some(actions.need(0)?.number() as u16);
        return Ok(());
    }
    let action = actions.one()?;
    said.context = match action.need(0)?.number() {
        0 => Context::Null,
        CHOOSE_CONTEXT => Context::Choose,
        id => Context::Id(id as u32),
    };
    if kind == 2 {
        said.error = action.get(1)?.map(|error| error.need(0)).transpose()?.map(|code| code.number() as u16);
    }
    for command in action.need(3)?.parts()? {
        let command = if kind == 0 { command.need(0)?.one()? } else { command };
        said.commands.push(read_command(command, kind == 2, &mut said.error)?);
    }
    Ok(())
}

fn read_command(command: Tlv<'_>, reply: bool, error: &mut Option<u16>) -> Result<Command, String> {
    let number = command.component();
    let verb =
        VERBS.get(usize::from(number)).copied().flatten().ok_or_else(|| format!("command {number}"))?;
    if verb == Verb::AuditValue {
        return Ok(Command::new(verb, ROOT));
    }
    let mut read = Command::new(verb, &read_termination(command.need(0)?.one()?)?);
    let Some(rest) = command.get(1)? else { return Ok(read) };
    match (verb, reply) {
        (Verb::Notify, false) => read.observed = Some(read_observed(rest)?),
        (Verb::ServiceChange, false) => read.change = Some(read_change(rest)?),
        (Verb::ServiceChange, true) if rest.one()?.component() == 0 => {
            *error = Some(rest.one()?.need(0)?.number() as u16);
        }
        (Verb::Notify, true) => *error = Some(rest.need(0)?.number() as u16),
        (Verb::ServiceChange, true) | (Verb::Subtract | Verb::AuditValue, false) => {}
        _ => {
            for descriptor in rest.parts()? {
                read_descriptor(&mut read, descriptor, reply, error)?;
            }
        }
    }
    Ok(read)
}

fn read_descriptor(
    read: &mut Command,
    descriptor: Tlv<'_>,
    reply: bool,
    error: &mut Option<u16>,
) -> Result<(), String> {
    match (descriptor.component(), reply) {
        (0, false) | (1, true) => read.media = Some(read_media(descriptor)?),
        (0, true) => *error = Some(descriptor.need(0)?.number() as u16),
        (3, false) => {
            let request = descriptor.need(0)?.number() as u32;
            let names = descriptor.need(1)?.parts()?;
            let digits =
                names.iter().any(|event| event.need(0).is_ok_and(|name| name.number() == DIGITS.into()));
            read.events = Some((request, digits));
        }
        (5, false) => {
            let first = descriptor.parts()?.first().map(|signal| signal.need(0)).transpose()?;
            let found =
                first.and_then(|name| SIGNALS.iter().find(|(one, _)| u64::from(*one) == name.number()));
            read.signal = Some(found.map(|(_, signal)| *signal));
        }
        (9, true) => read.counts = Some(read_counts(descriptor)?),
        (other, _) => return Err(format!("descriptor {other}")),
    }
    Ok(())
}

fn read_termination(name: Tlv<'_>) -> Result<String, String> {
    let (wildcard, id) = (name.need(0)?.parts()?, name.need(1)?.content);
    if id == [0xFF; 8] {
        return Ok(ROOT.to_ascii_lowercase());
    }
    let kind = match id.first() {
        Some(1) => "al",
        Some(2) => "rtp",
        _ => return Ok("*".into()),
    };
    let number = id[1..].iter().fold(0_u32, |sum, &octet| sum << 8 | u32::from(octet));
    Ok(match wildcard.first().map(|one| one.content) {
        None => format!("{kind}/{number}"),
        Some([CHOOSE]) => format!("{kind}/$"),
        Some(_) => format!("{kind}/*"),
    })
}

fn read_media(media: Tlv<'_>) -> Result<Media, String> {
    let streams = media.need(1)?.one()?;
    let parms = if streams.component() == 0 { streams } else { streams.one()?.need(1)? };
    let mode = parms.get(0)?.and_then(|control| control.get(0).ok().flatten());
    let mode = mode.and_then(|mode| MODES.get(mode.number() as usize).copied());
    let sdp = |n| parms.get(n)?.map(read_group).transpose();
    Ok(Media { mode, local: sdp(1)?, remote: sdp(2)? })
}

fn read_group(descriptor: Tlv<'_>) -> Result<String, String> {
    let mut text = String::new();
    for property in descriptor.need(0)?.one()?.parts()? {
        let (name, value) = (property.need(0)?.number(), property.need(1)?.one()?);
        let kind = name.checked_sub(0xB001).and_then(|at| LINES.get(at as usize..=at as usize));
        let kind = kind.ok_or_else(|| format!("property {name:x}"))?;
        let wrapped = Tlv::read(value.content).ok().filter(|inner| inner.tag == IA5);
        text += &format!("{kind}={}\r\n", wrapped.unwrap_or(value).text());
    }
    Ok(text)
}

fn read_observed(descriptor: Tlv<'_>) -> Result<(u32, Vec<Seen>), String> {
    let mut seen = Vec::new();
    for event in descriptor.need(1)?.parts()? {
        let name = event.need(0)?.number();
        if name == DIGITS.into() {
            let string = event.need(2)?.parts()?.first().copied().ok_or("digits without a string")?;
            seen.push(Seen::Digits(Tlv::read(string.need(1)?.one()?.content)?.text()));
        } else {
            let found = EVENTS.iter().find(|(one, _)| u64::from(*one) == name);
            seen.push(found.ok_or_else(|| format!("event {name:x}"))?.1.clone());
        }
    }
    Ok((descriptor.need(0)?.number() as u32, seen))
}

fn read_change(parms: Tlv<'_>) -> Result<Change, String> {
    let method = parms.need(0)?.number();
    let found = METHODS.iter().find(|(number, ..)| *number == method);
    let method = found.ok_or_else(|| format!("method {method}"))?.1;
    let profile = parms.get(3)?.map(|profile| profile.need(0)).transpose()?.map(Tlv::text);
    let number = profile.and_then(|profile| profile.get(2..)?.split('/').next()?.parse().ok());
    Ok(Change { method, number })
}

fn read_counts(descriptor: Tlv<'_>) -> Result<Counts, String> {
    let mut values = [0; 5];
    for one in descriptor.parts()? {
        let (name, value) = (one.need(0)?.number(), Tlv::read(one.need(1)?.one()?.content)?.number());
        if let Some(at) = STATISTICS.iter().position(|known| u64::from(*known) == name) {
            values[at] = value;
        }
    }
    let [sent, _, received, _, lost] = values;
    Ok(Counts { sent, received, lost })
}
