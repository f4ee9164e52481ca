//! MGCP messages (RFC 3435 appendix A; NCS and TGCP write the same grammar): a line scanner that finds what a proxy
//! replaces and leaves all else as it is.
//!
//! A datagram may hold several messages ([`messages`]). A message is a command or response line, parameter lines, and
//! after an empty line the session descriptions. Line ends may be LF only, the last may be missing.

mod ack;
mod endpoint;

pub use ack::{Ack, acks};
pub use endpoint::{Endpoint, endpoints};

use super::{Span, text};
use crate::fault::Fault;
use smallvec::SmallVec;

/// Parameter lines in one message; more are refused.
pub const MAX_PARAMETERS: usize = 64;
/// Session descriptions in one message: a response may describe two connections (RFC 3435 section 3.3).
pub const MAX_DESCRIPTIONS: usize = 4;
/// The largest transaction identifier (RFC 3435 section 3.2.1.2).
pub const MAX_TRANSACTION: u32 = 999_999_999;

/// The messages of a datagram, without the lines of one dot between them (RFC 3435 section 3.5.5).
pub fn messages(bytes: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let line = text::line(bytes, at);
        if text::trim(bytes, line).of(bytes) == b"." {
            found.push(Span::new(start, line.start));
            start = line.end;
        }
        at = line.end;
    }
    found.push(Span::new(start, bytes.len()));
    found.retain(|span| !text::trim(bytes, *span).is_empty());
    found
}

/// What a message is, from its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `VERB 1204 endpoint@domain MGCP 1.0 PROFILE`
    Command {
        /// Four letters.
        verb: Verb,
        /// Whom it is for, or whom it is from.
        endpoint: Endpoint,
    },
    /// `200 1204 OK`
    Response {
        /// 0 acknowledges a response (section 3.5.6); 100 to 199 are provisional.
        code: u16,
    },
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident => $token:literal,)+) => {
        /// What a command asks for (RFC 3435 section 2.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $($(#[$doc])* $name,)+
            /// One that we do not know: passed on as it is.
            Other,
        }

        impl Verb {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+ Self::Other];

            fn read(token: &[u8]) -> Self {
                $(if token.eq_ignore_ascii_case($token.as_bytes()) { return Self::$name; })+
                Self::Other
            }

            /// As it is written; `other` for those that we do not know.
            pub const fn token(self) -> &'static str {
                match self {
                    $(Self::$name => $token,)+
                    Self::Other => "other",
                }
            }
        }
    };
}

verbs! {
    /// EndpointConfiguration.
    Configure => "EPCF",
    /// CreateConnection.
    Create => "CRCX",
    /// ModifyConnection.
    Modify => "MDCX",
    /// DeleteConnection, from either side.
    Delete => "DLCX",
    /// NotificationRequest.
    Request => "RQNT",
    /// Notify, from the gateway.
    Notify => "NTFY",
    /// AuditEndpoint.
    AuditEndpoint => "AUEP",
    /// AuditConnection.
    AuditConnection => "AUCX",
    /// RestartInProgress, from the gateway.
    Restart => "RSIP",
}

/// One parameter line, `N: ca@[10.0.0.1]:2727`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The line with its end.
    pub line: Span,
    /// Before the colon.
    pub name: Span,
    /// After it, without white space at both ends.
    pub value: Span,
}

/// A message. All spans are offsets in [`Message::bytes`].
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// What it is.
    pub start: Start,
    /// Its transaction.
    pub transaction: u32,
    /// Where that is written.
    pub transaction_span: Span,
    /// The first line with its end.
    pub start_line: Span,
    /// The parameter lines in their order.
    pub parameters: Vec<Parameter>,
    /// The session descriptions.
    pub descriptions: SmallVec<[Span; 2]>,
}

impl<'a> Message<'a> {
    /// Reads one message of a datagram.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when the first line or a parameter line cannot be read; [`Fault::Refused`] when there are
    /// more than [`MAX_PARAMETERS`] or [`MAX_DESCRIPTIONS`]. [`transaction`] may still tell whom to answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let first = text::line(bytes, skip_blank(bytes));
        let words = words(bytes, first);
        let (start, id) = start(bytes, &words)?;
        let transaction = transaction_of(id.of(bytes)).ok_or(Fault::Malformed("MGCP transaction"))?;
        let mut message = Self {
            bytes,
            start,
            transaction,
            transaction_span: id,
            start_line: first,
            parameters: Vec::new(),
            descriptions: SmallVec::new(),
        };
        let body = message.read_parameters(first.end)?;
        message.read_descriptions(body)?;
        Ok(message)
    }

    /// The message as it was given.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first parameter of this name, in any case.
    pub fn parameter(&self, name: &str) -> Option<Parameter> {
        self.all(name).next()
    }

    /// All parameters of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Parameter> {
        let named = move |p: &&Parameter| p.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().filter(named).copied()
    }

    /// The value of the first parameter of this name.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        Some(self.parameter(name)?.value.of(self.bytes))
    }

    /// Where a further parameter line can be inserted.
    pub fn parameters_end(&self) -> usize {
        self.parameters.last().map_or(self.start_line.end, |last| last.line.end)
    }

    /// The line end that this message uses.
    pub fn line_end(&self) -> &'static str {
        if self.start_line.of(self.bytes).ends_with(b"\n")
            && !self.start_line.of(self.bytes).ends_with(b"\r\n")
        {
            "\n"
        } else {
            "\r\n"
        }
    }

    /// Reads parameter lines up to the empty line; gives the offset after it.
    fn read_parameters(&mut self, mut at: usize) -> Result<usize, Fault> {
        while at < self.bytes.len() {
            let line = text::line(self.bytes, at);
            at = line.end;
            let content = text::trim(self.bytes, line);
            if content.is_empty() {
                break;
            }
            if self.parameters.len() == MAX_PARAMETERS {
                return Err(Fault::Refused("too many MGCP parameters"));
            }
            self.parameters.push(parameter(self.bytes, line, content)?);
        }
        Ok(at)
    }

    /// Session descriptions stand one after another, an empty line between two.
    fn read_descriptions(&mut self, from: usize) -> Result<(), Fault> {
        let (mut start, mut at) = (from, from);
        while at < self.bytes.len() {
            let line = text::line(self.bytes, at);
            if text::trim(self.bytes, line).is_empty() {
                self.push_description(Span::new(start, line.start))?;
                start = line.end;
            }
            at = line.end;
        }
        self.push_description(Span { start, end: self.bytes.len() })
    }

    fn push_description(&mut self, span: Span) -> Result<(), Fault> {
        if text::trim(self.bytes, span).is_empty() {
            return Ok(());
        }
        if self.descriptions.len() == MAX_DESCRIPTIONS {
            return Err(Fault::Refused("too many session descriptions"));
        }
        self.descriptions.push(span);
        Ok(())
    }
}

/// The transaction of something that may be no message otherwise, so that it can be refused; and whether it looks
/// like a command.
pub fn transaction(bytes: &[u8]) -> Option<(u32, bool)> {
    let words = words(bytes, text::line(bytes, skip_blank(bytes)));
    let id = transaction_of(words.get(1)?.of(bytes))?;
    Some((id, !words.first()?.of(bytes).first()?.is_ascii_digit()))
}

fn transaction_of(digits: &[u8]) -> Option<u32> {
    let id = u32::try_from(text::number(digits)?).ok()?;
    (1..=MAX_TRANSACTION).contains(&id).then_some(id)
}

fn skip_blank(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !text::is_lws(b)).unwrap_or(bytes.len())
}

/// The first words of a line; what comes after the fifth is one word.
fn words(bytes: &[u8], line: Span) -> SmallVec<[Span; 6]> {
    let mut found = SmallVec::new();
    let mut rest = text::trim(bytes, line);
    while !rest.is_empty() && found.len() < 6 {
        let end = text::find(bytes, rest, |b| matches!(b, b' ' | b'\t')).unwrap_or(rest.end);
        found.push(Span::new(rest.start, end));
        rest = text::trim(bytes, Span::new(end, rest.end));
    }
    found
}

fn start(bytes: &[u8], words: &[Span]) -> Result<(Start, Span), Fault> {
    let [first, id, ..] = *words else { return Err(Fault::Malformed("MGCP first line")) };
    let token = first.of(bytes);
    if token.iter().all(u8::is_ascii_digit) {
        let code = text::number(token).filter(|code| token.len() == 3 && *code <= 999);
        let code = code.ok_or(Fault::Malformed("MGCP response code"))?;
        return Ok((Start::Response { code: code as u16 }, id));
    }
    let [_, _, name, version, ..] = *words else { return Err(Fault::Malformed("MGCP command line")) };
    let lettered = token.len() == 4 && token.iter().all(u8::is_ascii_alphanumeric);
    if !lettered || !version.of(bytes).eq_ignore_ascii_case(b"MGCP") {
        return Err(Fault::Malformed("MGCP command line"));
    }
    let endpoint = Endpoint::parse(bytes, name).ok_or(Fault::Malformed("MGCP endpoint name"))?;
    Ok((Start::Command { verb: Verb::read(token), endpoint }, id))
}

fn parameter(bytes: &[u8], line: Span, content: Span) -> Result<Parameter, Fault> {
    let colon = text::find_octet(bytes, content, b':').ok_or(Fault::Malformed("MGCP parameter line"))?;
    let name = text::trim(bytes, Span::new(content.start, colon));
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'/' | b'_' | b'.');
    if name.is_empty() || !name.of(bytes).iter().all(is_name) {
        return Err(Fault::Malformed("MGCP parameter name"));
    }
    Ok(Parameter { line, name, value: text::trim(bytes, Span::new(colon + 1, content.end)) })
}
