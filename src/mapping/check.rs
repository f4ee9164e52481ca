//! What all checks share: the place to complain to, and the parsing of small values.

use super::machine::Machine;
use super::place::At;
use super::problem::{Errors, Place, Problem, Severity};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Collects problems while the checks go on: an operator wants all of them, not the first.
pub(super) struct Check<'a> {
    pub(super) machine: &'a Machine,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    /// Complain about a value.
    pub(super) fn error(&mut self, at: At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, at, at.span(), message.into(), hint.into());
    }

    /// Complain about a value by pointing at its key.
    pub(super) fn error_at_key(&mut self, at: At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, at, at.key(), message.into(), hint.into());
    }

    /// Mention a value.
    pub(super) fn warning(&mut self, at: At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, at, at.span(), message.into(), hint.into());
    }

    /// Mention a value by pointing at its key.
    pub(super) fn warning_at_key(&mut self, at: At<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, at, at.key(), message.into(), hint.into());
    }

    /// The value of the latest problem must not reach a log.
    pub(super) fn mask_last(&mut self) {
        if let Some(place) = self.problems.last_mut().and_then(|problem| problem.place.as_mut()) {
            let masked = place.column - 1..place.column - 1 + place.width;
            let hide = |(index, c)| if masked.contains(&index) { '*' } else { c };
            place.snippet = place.snippet.chars().enumerate().map(hide).collect();
        }
    }

    /// The warnings, or everything when there is an error among them.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Errors> {
        if self.failed() { Err(Errors(self.problems)) } else { Ok(self.problems) }
    }

    /// Is there an error so far?
    pub(super) fn failed(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: At<'_>, span: Range<usize>, message: String, hint: String) {
        let place = Some(Place::new(at.source, span));
        let hint = Some(hint).filter(|hint| !hint.is_empty());
        self.problems.push(Problem { severity, message, place, hint });
    }

    /// An address that a socket can bind and a peer can reach.
    pub(super) fn address(&mut self, at: At<'_>, text: &str) -> Option<IpAddr> {
        let Ok(address) = text.parse::<IpAddr>() else {
            let hint = "write an IPv4 or IPv6 address without port or brackets: \"198.51.100.10\" or \"2001:db8::10\"";
            self.error(at, format!("`{text}` is not an IP address"), hint);
            return None;
        };
        if address.is_unspecified() || address.is_multicast() {
            let hint = "name the one address that peers reach: it is written into messages";
            self.error(at, format!("`{text}` cannot be a peer's destination"), hint);
            return None;
        }
        Some(address)
    }

    /// An address with a port that is not 0.
    pub(super) fn socket(&mut self, at: At<'_>, text: &str, example: &str) -> Option<SocketAddr> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Some(address),
            Ok(_) => {
                self.error(at, format!("`{text}` has port 0"), format!("give the port: \"{example}\""));
                None
            }
            Err(_) => {
                let hint = socket_hint(text, example);
                self.error(at, format!("`{text}` is not an IP address with a port"), hint);
                None
            }
        }
    }

    /// A number within a range of sense.
    pub(super) fn within(
        &mut self,
        at: At<'_>,
        what: &str,
        value: u64,
        range: std::ops::RangeInclusive<u64>,
    ) {
        if !range.contains(&value) {
            let hint = format!("give {} to {}", range.start(), range.end());
            self.error(at, format!("{what} of {value} is out of range"), hint);
        }
    }

    /// Names must be usable as keys: not empty, short, of plain characters, and unique.
    pub(super) fn names<'n, 'p>(&mut self, what: &str, names: impl Iterator<Item = (&'n str, At<'p>)>) {
        let mut seen: HashMap<&str, At<'_>> = HashMap::new();
        for (name, at) in names {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if name.is_empty() || name.len() > 64 || !plain {
                let hint = "use 1 to 64 letters, digits, `.`, `_` or `-`";
                self.error_at_key(at, format!("{name:?} cannot be the name of a {what}"), hint);
            }
            if let Some(first) = seen.insert(name, at) {
                let first = Place::new(first.source, first.key());
                let hint = format!("the first one is at {}:{}:{}", first.file, first.line, first.column);
                self.error_at_key(at, format!("there are two of the {what} \"{name}\""), hint);
            }
        }
    }
}

/// What is the nearest thing that would have been right?
fn socket_hint(text: &str, example: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(ip) => format!("add the port: \"{}\"", SocketAddr::new(ip, 5060)),
        Err(_) => format!("write it as \"{example}\"; no name is looked up here"),
    }
}
