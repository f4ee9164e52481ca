//! MGCP as gateways and call agents write and read it (RFC 3435 appendix A). Nothing of `wire` is used: this is the judge of
//! what Portolan writes.

use super::order::{Answer, Counts, Message, Method, Mode, Order, Seen, Signal, Told, What};
use std::fmt::Write as _;

const MODES: [(&str, Mode); 4] = [
    ("sendrecv", Mode::SendRecv),
    ("sendonly", Mode::SendOnly),
    ("recvonly", Mode::RecvOnly),
    ("inactive", Mode::Inactive),
];
const RESTARTS: [(&str, Method); 3] =
    [("restart", Method::Restart), ("forced", Method::Forced), ("disconnected", Method::Disconnected)];
const SIGNALS: [(&str, Signal); 3] =
    [("L/dl", Signal::DialTone), ("L/rg", Signal::Ring), ("L/rt", Signal::RingBack)];
const EVENTS: [(&str, Seen); 3] = [("L/hd", Seen::OffHook), ("L/hu", Seen::OnHook), ("L/hf", Seen::Flash)];

/// Write a command.
pub(super) fn order(id: u32, order: &Order) -> String {
    let verb = verb(&order.what);
    let mut text = format!("{verb} {id} {}@{} MGCP 1.0\r\n", order.line, order.name);
    let mut line = |name: &str, value: &str| {
        let _ = write!(text, "{name}: {value}\r\n");
    };
    if !order.confirmed.is_empty() {
        line("K", &ranges(&order.confirmed));
    }
    if let Some(entity) = &order.entity {
        line("N", entity);
    }
    let mut remote = None;
    match &order.what {
        What::Restart { method, number } => {
            line("RM", name(&RESTARTS, method));
            number.iter().for_each(|number| line("X-Gateway", &number.to_string()));
        }
        What::Notify { request, seen, .. } => {
            line("X", &format!("{request:X}"));
            line("O", &seen.iter().map(observed).collect::<Vec<_>>().join(", "));
        }
        What::Audit => {}
        What::Watch { request, digits, signal, .. } => {
            line("X", &format!("{request:X}"));
            line(
                "R",
                if *digits { "L/hd(N), L/hu(N), L/hf(N), D/[0-9A-D](D)" } else { "L/hd(N),L/hu(N),L/hf(N)" },
            );
            if *digits {
                line("D", "(x.T)");
            }
            line("S", signal.map_or("", |signal| name(&SIGNALS, &signal)));
        }
        What::Create { number, call, mode, remote: description } => {
            line("C", &format!("{number:X}"));
            line("L", "p:20, a:PCMU");
            line("M", name(&MODES, mode));
            line("X-Call", call);
            remote.clone_from(description);
        }
        What::Modify { number, connection, mode, remote: description } => {
            line("C", &format!("{number:X}"));
            line("I", connection);
            line("M", name(&MODES, mode));
            remote.clone_from(description);
        }
        What::Delete { number, connection, counts } => {
            number.iter().for_each(|number| line("C", &format!("{number:X}")));
            connection.iter().for_each(|connection| line("I", connection));
            if let Some(counts) = counts {
                line("E", "900 - hardware");
                line("P", &parameters(counts));
            }
        }
    }
    with_body(text, remote.as_deref())
}

/// Write the final answer to a command. `confirm`: ask for `000`.
pub(super) fn answer(id: u32, order: &Order, answer: &Answer, confirm: bool) -> String {
    let said = if answer.is_good() { "OK" } else { "refused" };
    let mut text = format!("{} {id} {said}\r\n", answer.code);
    if confirm {
        text.push_str("K:\r\n");
    }
    if let Some(connection) = &answer.connection {
        let _ = write!(text, "I: {connection}\r\n");
    }
    if let Some(line) = &answer.line {
        let _ = write!(text, "Z: {line}@{}\r\n", order.name);
    }
    if let Some(counts) = &answer.counts {
        let _ = write!(text, "P: {}\r\n", parameters(counts));
    }
    with_body(text, answer.local.as_deref())
}

/// Read a datagram.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Message>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("MGCP: {error}"))?;
    let mut messages = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "." {
            messages.push(String::new());
        } else if let Some(last) = messages.last_mut() {
            last.push_str(line);
        }
    }
    messages.iter().map(|text| message(text).map_err(|why| format!("MGCP: {why}"))).collect()
}

fn message(text: &str) -> Result<Message, String> {
    if text.split_inclusive('\n').any(|line| !line.ends_with("\r\n")) {
        return Err("a line does not end with CR LF".into());
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.trim_end(), ""));
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let parameters = lines.map(parameter).collect::<Result<Parameters<'_>, _>>()?;
    let id = first.get(1).and_then(|id| id.parse().ok()).filter(|id| (1..=999_999_999).contains(id));
    let id = id.ok_or_else(|| format!("no transaction in {first:?}"))?;
    let told = match first[0].parse::<u16>() {
        Ok(0) => Told::Confirmed,
        Ok(100..200) => Told::Pending,
        Ok(code @ 200..1000) => answered(code, &parameters, body)?,
        _ => Told::Order(ordered(&first, &parameters, body)?),
    };
    Ok(Message { id, told })
}

type Parameters<'a> = Vec<(&'a str, &'a str)>;

fn parameter(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no parameter"))?;
    let good = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    if good { Ok((name, value.trim())) } else { Err(format!("{name:?} is no name")) }
}

fn answered(code: u16, parameters: &Parameters<'_>, body: &str) -> Result<Told, String> {
    let one = |name| value(parameters, name).map(str::to_owned);
    let line = value(parameters, "Z").map(|value| endpoint(value).map(|(line, _)| line));
    let counts = value(parameters, "P").map(counts).transpose()?;
    let (connection, local) = (one("I"), described(body));
    let answer = Answer { code, line: line.transpose()?, connection, local, counts };
    Ok(Told::Answer { answer, confirm: value(parameters, "K") == Some("") })
}

fn ordered(first: &[&str], parameters: &Parameters<'_>, body: &str) -> Result<Order, String> {
    let &[verb, _, named, "MGCP", "1.0", ..] = first else {
        return Err(format!("{first:?} is no command"));
    };
    let (line, name) = endpoint(named)?;
    let entity = value(parameters, "N").filter(|entity| !entity.is_empty()).map(str::to_owned);
    let confirmed = value(parameters, "K").map(numbers).transpose()?.unwrap_or_default();
    Ok(Order { name, line, entity, confirmed, what: what(verb, parameters, body)? })
}

fn what(verb: &str, parameters: &Parameters<'_>, body: &str) -> Result<What, String> {
    let one = |name: &str| value(parameters, name).ok_or_else(|| format!("{verb} without {name}"));
    let hex = |name: &str| {
        let value = one(name)?;
        u32::from_str_radix(value, 16).map_err(|_| format!("{name}: {value}"))
    };
    let owned = |name| one(name).map(str::to_owned);
    let mode = || among(&MODES, one("M")?);
    Ok(match verb {
        "RSIP" => {
            let number = value(parameters, "X-Gateway").and_then(|number| number.parse().ok());
            What::Restart { method: among(&RESTARTS, one("RM")?)?, number }
        }
        "NTFY" => What::Notify { request: hex("X")?, seen: seen(one("O")?)?, connection: None },
        "AUEP" => What::Audit,
        "RQNT" => {
            let signal = value(parameters, "S").filter(|signal| !signal.is_empty());
            let signal = signal.map(|signal| among(&SIGNALS, signal)).transpose()?;
            let digits = one("R")?.contains("D/");
            What::Watch { request: hex("X")?, digits, signal, connection: None }
        }
        "CRCX" => {
            What::Create { number: hex("C")?, call: owned("X-Call")?, mode: mode()?, remote: described(body) }
        }
        "MDCX" => What::Modify {
            number: hex("C")?,
            connection: owned("I")?,
            mode: mode()?,
            remote: described(body),
        },
        "DLCX" => {
            let counts = value(parameters, "P").map(counts).transpose()?;
            What::Delete { number: hex("C").ok(), connection: owned("I").ok(), counts }
        }
        _ => return Err(format!("{verb} is no verb")),
    })
}

fn value<'a>(parameters: &Parameters<'a>, name: &str) -> Option<&'a str> {
    parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn endpoint(name: &str) -> Result<(String, String), String> {
    match name.split_once('@') {
        Some((line, domain)) if !line.is_empty() && !domain.is_empty() && !domain.contains('@') => {
            Ok((line.to_owned(), domain.to_ascii_lowercase()))
        }
        _ => Err(format!("{name} is no endpoint")),
    }
}

fn described(body: &str) -> Option<String> {
    (!body.is_empty()).then(|| body.to_owned())
}

fn with_body(mut text: String, body: Option<&str>) -> String {
    if let Some(body) = body {
        text.push_str("\r\n");
        text.push_str(body);
    }
    text
}

pub(super) const fn verb(what: &What) -> &'static str {
    match what {
        What::Restart { .. } => "RSIP",
        What::Notify { .. } => "NTFY",
        What::Audit => "AUEP",
        What::Watch { .. } => "RQNT",
        What::Create { .. } => "CRCX",
        What::Modify { .. } => "MDCX",
        What::Delete { .. } => "DLCX",
    }
}

fn name<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, one)| one == value).map_or("", |(name, _)| name)
}

fn among<T: Clone>(table: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, value)| value.clone()).ok_or_else(|| format!("{word} is unknown"))
}

fn observed(seen: &Seen) -> String {
    match seen {
        Seen::Digits(digits) => {
            digits.chars().map(|digit| format!("D/{digit}")).collect::<Vec<_>>().join(",")
        }
        other => name(&EVENTS, other).into(),
    }
}

fn seen(list: &str) -> Result<Vec<Seen>, String> {
    let mut digits = String::new();
    let mut found = Vec::new();
    for word in list.split(',').map(str::trim) {
        match word.strip_prefix("D/") {
            Some(digit) => digits.push_str(digit),
            None => found.push(among(&EVENTS, word)?),
        }
    }
    found.extend((!digits.is_empty()).then_some(Seen::Digits(digits)));
    Ok(found)
}

/// Connection parameters (RFC 3435 section 3.2.2.7); a packet of 20 ms of PCMU has 160 octets.
fn parameters(counts: &Counts) -> String {
    let Counts { sent, received, lost } = counts;
    format!("PS={sent}, OS={}, PR={received}, OR={}, PL={lost}, JI=0, LA=0", sent * 160, received * 160)
}

fn counts(value: &str) -> Result<Counts, String> {
    let number = |name: &str| {
        let pair = value.split(',').filter_map(|one| one.trim().split_once('='));
        let mut named = pair.filter(|(found, _)| *found == name);
        let number = named.next().and_then(|(_, number)| number.parse().ok());
        number.ok_or_else(|| format!("no {name} in P: {value}"))
    };
    Ok(Counts { sent: number("PS")?, received: number("PR")?, lost: number("PL")? })
}

/// Numbers as a list of ranges (RFC 3435 section 3.2.2.19).
fn ranges(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let write =
        |(first, last): (u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    spans.into_iter().map(write).collect::<Vec<_>>().join(", ")
}

fn numbers(list: &str) -> Result<Vec<u32>, String> {
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("K: {list}"));
    let mut all = Vec::new();
    for span in list.split(',').filter(|span| !span.trim().is_empty()) {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        all.extend((number(first)?..=number(last)?).take(1000));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(what: What) {
        let written = Order {
            name: "[192.168.1.5]".into(),
            line: "aaln/1".into(),
            entity: Some("ca@[10.0.0.1]:2727".into()),
            confirmed: vec![5, 6, 7, 9],
            what,
        };
        let read = read(order(77, &written).as_bytes()).expect("a message");
        assert_eq!(read, [Message { id: 77, told: Told::Order(written) }]);
    }

    #[test]
    fn commands_are_read_as_they_were_written() {
        let sdp = Some("v=0\r\nc=IN IP4 10.0.0.1\r\n".to_owned());
        let connection = "1F".to_owned();
        round(What::Restart { method: Method::Disconnected, number: Some(3) });
        round(What::Notify {
            request: 31,
            seen: vec![Seen::OffHook, Seen::Digits("7A0".into())],
            connection: None,
        });
        round(What::Audit);
        round(What::Watch { request: 30, digits: true, signal: Some(Signal::Ring), connection: None });
        round(What::Create {
            number: 255,
            call: "255;by=caller".into(),
            mode: Mode::RecvOnly,
            remote: sdp.clone(),
        });
        round(What::Modify { number: 1, connection: connection.clone(), mode: Mode::SendOnly, remote: sdp });
        let counts = Some(Counts { sent: 7, received: 6, lost: 1 });
        round(What::Delete { number: Some(1), connection: Some(connection), counts });
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let order = Order {
            name: "gw1".into(),
            line: "aaln/$".into(),
            entity: None,
            confirmed: Vec::new(),
            what: What::Audit,
        };
        let written = Answer {
            code: 250,
            line: Some("aaln/2".into()),
            connection: Some("6F".into()),
            local: Some("v=0\r\n".into()),
            counts: Some(Counts::default()),
        };
        let text = format!("{}.\r\n100 8 Pending\r\n.\r\n000 9\r\n", answer(7, &order, &written, true));
        // A description is the last thing of its message: the dot ends it.
        let told = [Told::Answer { answer: written, confirm: true }, Told::Pending, Told::Confirmed];
        let wanted: Vec<Message> = (7..).zip(told).map(|(id, told)| Message { id, told }).collect();
        assert_eq!(read(text.as_bytes()), Ok(wanted));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for bad in [
            "RSIP 0 a@b MGCP 1.0\r\nRM: restart\r\n",
            "RSIP 1 a MGCP 1.0\r\nRM: restart\r\n",
            "NTFY 1 a@b MGCP 1.0\nX: 1\n",
            "CRCX 1 a@b MGCP 1.0\r\n",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
