//! H.248 / Megaco messages (ITU-T H.248.1, RFC 3525), versions 1 to 3, in text (Annex B) and in binary (Annex A, BER):
//! scanners that find what a proxy reads or replaces, behind one view, and leave all else as it is.
//!
//! [`Message::parse`] recognises the encoding; [`Edit`] replaces what is ours on each hop and gives the octets of the new
//! message: in text a splice, in binary a splice of whole elements whose enclosing lengths are corrected. Without an edit
//! that is the input, octet for octet. [`build`] writes the few messages that a proxy has to send by itself.

mod ber;
pub mod build;
mod edit;
mod mid;
mod text;
mod view;

pub use edit::{Edit, Keep};
pub use mid::{ChangeAddress, Mid};
pub use view::{
    Acked, Action, Audit, Command, Context, Counted, Description, ErrorDescriptor, Group, Kind, Method, Mode,
    ObservedEvent, Segment, ServiceChange, Statistic, Stream, Termination, Transaction, Verb,
};

use super::Span;
use crate::fault::Fault;
use smallvec::SmallVec;
use std::borrow::Cow;

/// How deeply blocks (text) or elements (BER) may be nested.
pub const MAX_DEPTH: usize = 32;
/// Items of one text message: everything between two commas or braces.
pub const MAX_ITEMS: usize = 16_384;
/// Transactions in one message.
pub const MAX_TRANSACTIONS: usize = 64;
/// Actions in one transaction.
pub const MAX_ACTIONS: usize = 256;
/// Commands in one action.
pub const MAX_COMMANDS: usize = 1024;
/// Terminations that one command names.
pub const MAX_TERMINATIONS: usize = 1024;
/// Streams of one command.
pub const MAX_STREAMS: usize = 16;
/// Session descriptions in one Local or Remote descriptor.
pub const MAX_GROUPS: usize = 16;
/// Acknowledged ranges, observed events, statistics: of one list each.
pub const MAX_LIST: usize = 256;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// H.248.1 Annex B.
    Text,
    /// H.248.1 Annex A.
    Ber,
}

impl Encoding {
    /// Which of the two it is, from the first octets: a MegacoMessage in BER is a SEQUENCE (0x30), and a text message
    /// begins with white space, a comment, a letter or `!`.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.first() == Some(&0x30) { Self::Ber } else { Self::Text }
    }
}

/// What a message carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// The whole message that was received is refused.
    Error(ErrorDescriptor),
    /// Requests, replies and so on; not empty.
    Transactions(Vec<Transaction>),
}

/// A message. All spans are offsets in [`Message::bytes`].
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// How it is written.
    pub encoding: Encoding,
    /// The protocol's version, 1 to 99.
    pub version: u8,
    /// Its originator.
    pub mid: Mid,
    /// Where that is written: in text the name, in binary the element of the choice.
    pub mid_span: Span,
    /// The interim authentication header (section 10.2): in text with the white space after it.
    pub authentication: Option<Span>,
    /// What it carries.
    pub body: Body,
}

impl<'a> Message<'a> {
    /// Reads the one message of a datagram or TPKT.
    ///
    /// # Errors
    /// [`Unread`]: what is wrong with it, and whom to tell.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Unread> {
        match Encoding::of(bytes) {
            Encoding::Text => text::parse(bytes),
            Encoding::Ber => ber::parse(bytes),
        }
    }

    /// The message as it was given.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The transactions in their order; none when the message is an error.
    pub fn transactions(&self) -> &[Transaction] {
        match &self.body {
            Body::Transactions(transactions) => transactions,
            Body::Error(_) => &[],
        }
    }

    /// A session description as text, as `wire::sdp` and `signaling::sdp` read it: in text without its escapes, in
    /// binary a line for each property of Annex C.11.
    pub fn sdp(&self, group: &Group) -> Cow<'a, [u8]> {
        match self.encoding {
            Encoding::Text => text::sdp(group.span.of(self.bytes)),
            Encoding::Ber => Cow::Owned(ber::sdp(self.bytes, group.span)),
        }
    }
}

/// Whom to tell that a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// All of it: an error descriptor instead of transactions.
    Message,
    /// This request: a reply with an error descriptor.
    Request(u32),
    /// Nobody: it went wrong in a reply, an acknowledgement or an error.
    Nobody,
}

/// Why a message cannot be read, and what could be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What is wrong with it.
    pub fault: Fault,
    /// How it is written.
    pub encoding: Encoding,
    /// The protocol's version, where it could be read.
    pub version: Option<u8>,
    /// Its originator, where it could be read.
    pub mid: Option<Mid>,
    /// Whom to tell.
    pub blame: Blame,
}

impl Unread {
    /// The error code for it (H.248.8): 510 when a limit was met, 403 for a request, 400 for a message.
    pub const fn code(&self) -> u16 {
        match (self.fault, self.blame) {
            (Fault::Refused(_), _) => 510,
            (_, Blame::Request(_)) => 403,
            _ => 400,
        }
    }
}

/// A list that has a maximum.
trait Bounded<T> {
    /// Adds to it; refused, as too many of `what`, when it is full.
    fn put(&mut self, item: T, limit: usize, what: &'static str) -> Result<(), Fault>;
}

impl<T> Bounded<T> for Vec<T> {
    fn put(&mut self, item: T, limit: usize, what: &'static str) -> Result<(), Fault> {
        room(self.len(), limit, what).map(|()| self.push(item))
    }
}

impl<T> Bounded<T> for SmallVec<[T; 1]> {
    fn put(&mut self, item: T, limit: usize, what: &'static str) -> Result<(), Fault> {
        room(self.len(), limit, what).map(|()| self.push(item))
    }
}

const fn room(length: usize, limit: usize, what: &'static str) -> Result<(), Fault> {
    if length < limit { Ok(()) } else { Err(Fault::Refused(what)) }
}
