//! H.248 in text (H.248.1 annex B). Nothing of `wire` is used: this is the judge of what Portolan writes.

use super::h248::{Change, Command, Context, Kind, Media, Said, Verb};
use super::items::{self, Item, word};
use super::order::{Counts, Method, Mode, Seen, Signal};
use std::fmt::Write as _;

const VERBS: [(&str, Verb); 6] = [
    ("Add", Verb::Add),
    ("Modify", Verb::Modify),
    ("Subtract", Verb::Subtract),
    ("AuditValue", Verb::AuditValue),
    ("Notify", Verb::Notify),
    ("ServiceChange", Verb::ServiceChange),
];
const MODES: [(&str, Mode); 4] = [
    ("SendReceive", Mode::SendRecv),
    ("SendOnly", Mode::SendOnly),
    ("ReceiveOnly", Mode::RecvOnly),
    ("Inactive", Mode::Inactive),
];
/// With the reason that is given (H.248.8).
const METHODS: [(&str, Method, &str); 3] = [
    ("Restart", Method::Restart, "901 Cold Boot"),
    ("Forced", Method::Forced, "905 Termination taken out of service"),
    ("Disconnected", Method::Disconnected, "900 Service Restored"),
];
const SIGNALS: [(&str, Signal); 3] =
    [("cg/dt", Signal::DialTone), ("al/ri", Signal::Ring), ("cg/rt", Signal::RingBack)];
const EVENTS: [(&str, Seen); 3] = [("al/of", Seen::OffHook), ("al/on", Seen::OnHook), ("al/fl", Seen::Flash)];
const DIGITS: &str = "dd/ce";

/// Write a message; every other transaction in short tokens.
pub(super) fn write(said: &Said) -> String {
    let compact = said.id.is_multiple_of(2);
    let w = |name| word(name, compact);
    let mut text = format!("{}/1 {}\r\n", if compact { "!" } else { "MEGACO" }, said.mid);
    if !said.acknowledged.is_empty() {
        let list: Vec<String> = said.acknowledged.iter().map(u32::to_string).collect();
        let _ = write!(text, "{} {{ {} }}\r\n", w("TransactionResponseAck"), list.join(", "));
    }
    let body = || format!("{} = {} {{ {} }}", w("Context"), context(said.context), inner(said, compact));
    let _ = match said.kind {
        Kind::Nothing => Ok(()),
        Kind::Pending => write!(text, "{} = {} {{ }}\r\n", w("Pending"), said.id),
        Kind::Request => write!(text, "{} = {} {{ {} }}\r\n", w("Transaction"), said.id, body()),
        Kind::Reply => {
            let confirm = if said.confirm { format!("{}, ", w("ImmAckRequired")) } else { String::new() };
            write!(text, "{} = {} {{ {confirm}{} }}\r\n", w("Reply"), said.id, body())
        }
    };
    text
}

fn context(context: Context) -> String {
    match context {
        Context::Null => "-".into(),
        Context::Choose => "$".into(),
        Context::Id(id) => id.to_string(),
    }
}

fn inner(said: &Said, compact: bool) -> String {
    if let Some(code) = said.error {
        return format!("{} = {code} {{ \"refused\" }}", word("Error", compact));
    }
    let request = said.kind == Kind::Request;
    said.commands.iter().map(|one| command(one, compact, request)).collect::<Vec<_>>().join(", ")
}

fn command(command: &Command, compact: bool, request: bool) -> String {
    let w = |name| word(name, compact);
    let verb = VERBS.iter().find(|(_, verb)| *verb == command.verb).map_or("", |(name, _)| *name);
    let mut parts = Vec::new();
    parts.extend(command.media.as_ref().map(|one| media(one, compact)));
    parts.extend(command.events.map(|(request, digits)| {
        let digits = if digits { ", dd/ce { DigitMap = dialplan0 }" } else { "" };
        format!("{} = {request} {{ al/of, al/on, al/fl{digits} }}", w("Events"))
    }));
    parts.extend(command.signal.map(|signal| {
        let name = signal.map_or("", |signal| name_of(&SIGNALS, &signal));
        format!("{} {{ {name} }}", w("Signals"))
    }));
    parts.extend(command.observed.as_ref().map(|(request, seen)| {
        let seen: Vec<String> = seen.iter().map(observed).collect();
        format!("{} = {request} {{ {} }}", w("ObservedEvents"), seen.join(", "))
    }));
    parts.extend(command.change.as_ref().map(|one| change(one, compact)));
    parts.extend(command.counts.as_ref().map(|counts| {
        let Counts { sent, received, lost } = counts;
        let octets = (sent * 160, received * 160);
        let (os, or) = octets;
        format!(
            "{} {{ rtp/ps = {sent}, nt/os = {os}, rtp/pr = {received}, nt/or = {or}, rtp/pl = {lost} }}",
            w("Statistics")
        )
    }));
    if request && matches!(command.verb, Verb::AuditValue) {
        parts.push(format!("{} {{ }}", w("Audit")));
    }
    let body = if parts.is_empty() { String::new() } else { format!(" {{ {} }}", parts.join(", ")) };
    format!("{} = {}{body}", w(verb), command.termination)
}

fn media(media: &Media, compact: bool) -> String {
    let w = |name| word(name, compact);
    let mut parts = Vec::new();
    parts.extend(
        media
            .mode
            .map(|mode| format!("{} {{ {} = {} }}", w("LocalControl"), w("Mode"), w(name_of(&MODES, &mode)))),
    );
    let octets = |name, sdp: &String| format!("{} {{\r\n{}}}", w(name), sdp.replace('}', "\\}"));
    parts.extend(media.local.as_ref().map(|sdp| octets("Local", sdp)));
    parts.extend(media.remote.as_ref().map(|sdp| octets("Remote", sdp)));
    format!("{} {{ {} = 1 {{ {} }} }}", w("Media"), w("Stream"), parts.join(", "))
}

fn change(change: &Change, compact: bool) -> String {
    let w = |name| word(name, compact);
    let found = METHODS.iter().find(|(_, method, _)| *method == change.method);
    let (method, reason) = found.map_or(("Restart", ""), |(name, _, reason)| (*name, *reason));
    let profile =
        change.number.map(|number| format!(", {} = gw{number}/1", w("Profile"))).unwrap_or_default();
    format!(
        "{} {{ {} = {}, {} = \"{reason}\", {} = 1{profile} }}",
        w("Services"),
        w("Method"),
        w(method),
        w("Reason"),
        w("Version")
    )
}

fn observed(seen: &Seen) -> String {
    match seen {
        Seen::Digits(digits) => format!("{DIGITS} {{ ds = \"{digits}\", Meth = UM }}"),
        other => name_of(&EVENTS, other).into(),
    }
}

/// Read a message.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(text: &str) -> Result<Said, String> {
    let rest = text.strip_prefix("MEGACO/").or_else(|| text.strip_prefix("!/")).ok_or("no MEGACO header")?;
    let (version, rest) = rest.split_once(' ').ok_or("no originator")?;
    if version.parse::<u8>().is_err() {
        return Err(format!("version {version}"));
    }
    let (mid, body) = rest.split_once(|letter: char| letter.is_ascii_whitespace()).ok_or("no body")?;
    let mut said = Said { mid: mid.to_ascii_lowercase(), ..Said::default() };
    for item in items::read(body)? {
        match item.name.as_str() {
            "TransactionResponseAck" => said.acknowledged.extend(acknowledged(&item)?),
            "Error" => said.error = item.value.as_deref().and_then(|code| code.parse().ok()),
            _ if said.kind != Kind::Nothing => return Err("two transactions".into()),
            name => transaction(&mut said, name, &item)?,
        }
    }
    Ok(said)
}

fn transaction(said: &mut Said, name: &str, item: &Item) -> Result<(), String> {
    said.kind = match name {
        "Transaction" => Kind::Request,
        "Reply" => Kind::Reply,
        "Pending" => Kind::Pending,
        other => return Err(format!("{other} is no transaction")),
    };
    said.id = number(item.value.as_deref())?;
    said.confirm = item.get("ImmAckRequired").is_some();
    said.error = item.find("Error").and_then(|error| error.value.as_deref()?.parse().ok());
    let Some(action) = item.get("Context") else { return Ok(()) };
    said.context = match action.value.as_deref() {
        Some("-") => Context::Null,
        Some("$") => Context::Choose,
        id => Context::Id(number(id)?),
    };
    let commands = action.body.iter().filter_map(|item| {
        let verb = VERBS.iter().find(|(name, _)| *name == item.name)?.1;
        Some(read_command(verb, item))
    });
    said.commands = commands.collect::<Result<_, _>>()?;
    Ok(())
}

fn read_command(verb: Verb, item: &Item) -> Result<Command, String> {
    let termination = item.value.as_deref().ok_or("no termination")?;
    let mut command = Command::new(verb, &termination.to_ascii_lowercase());
    command.media = item.get("Media").map(read_media).transpose()?;
    if let Some(events) = item.get("Events") {
        command.events = Some((number(events.value.as_deref())?, events.get(DIGITS).is_some()));
    }
    if let Some(signals) = item.get("Signals") {
        let first = signals.body.first().map(|signal| among(&SIGNALS, &signal.name));
        command.signal = Some(first.transpose()?);
    }
    if let Some(events) = item.get("ObservedEvents") {
        let seen = events.body.iter().map(read_event).collect::<Result<_, _>>()?;
        command.observed = Some((number(events.value.as_deref())?, seen));
    }
    command.change = item.get("Services").and_then(read_change);
    command.counts = item.get("Statistics").map(read_counts).transpose()?;
    Ok(command)
}

fn read_media(item: &Item) -> Result<Media, String> {
    let stream = item.get("Stream").unwrap_or(item);
    let mode = stream.get("LocalControl").and_then(|control| control.value("Mode"));
    let octets = |name| stream.get(name).and_then(|item| item.raw.clone());
    let mode = mode.map(|mode| among(&MODES, items::long(mode))).transpose()?;
    Ok(Media { mode, local: octets("Local"), remote: octets("Remote") })
}

fn read_event(item: &Item) -> Result<Seen, String> {
    if item.name.eq_ignore_ascii_case(DIGITS) {
        let digits = item.value("ds").ok_or("digits without a string")?;
        return Ok(Seen::Digits(digits.to_owned()));
    }
    among(&EVENTS, &item.name)
}

/// A reply to a ServiceChange has no method.
fn read_change(item: &Item) -> Option<Change> {
    let method = items::long(item.value("Method")?);
    let method = METHODS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(method))?.1;
    let profile = item.value("Profile").and_then(|profile| profile.split('/').next());
    let number = profile.and_then(|name| name.get(2..)?.parse().ok());
    Some(Change { method, number })
}

fn read_counts(item: &Item) -> Result<Counts, String> {
    let count = |name: &str| {
        let value = item.value(name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("no {name}"))
    };
    Ok(Counts { sent: count("rtp/ps")?, received: count("rtp/pr")?, lost: count("rtp/pl")? })
}

fn acknowledged(item: &Item) -> Result<Vec<u32>, String> {
    let mut all = Vec::new();
    for range in &item.body {
        let (first, last) = range.name.split_once('-').unwrap_or((&range.name, &range.name));
        all.extend((number(Some(first))?..=number(Some(last))?).take(1000));
    }
    Ok(all)
}

fn number(text: Option<&str>) -> Result<u32, String> {
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| format!("{text:?} is no number"))
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, one)| one == value).map_or("", |(name, _)| name)
}

fn among<T: Clone>(table: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("{word} is unknown"))
}
