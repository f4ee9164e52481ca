//! What both encodings say, in one set of types.

use super::mid::{ChangeAddress, Mid};
use crate::wire::Span;
use smallvec::SmallVec;

/// An error descriptor (section 7.1.9; codes in H.248.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorDescriptor {
    /// Its code, such as 430.
    pub code: u16,
    /// What it says in words, without quotes; may be empty.
    pub text: Span,
}

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TransactionRequest.
    Request,
    /// TransactionReply.
    Reply,
    /// TransactionPending.
    Pending,
    /// TransactionResponseAck.
    ResponseAck,
    /// SegmentReply (version 3): a segment of a reply was received.
    Segment,
}

/// A part of a reply (version 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from 1.
    pub number: u16,
    /// No more segments follow.
    pub last: bool,
}

/// Replies that have arrived, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The first transaction.
    pub first: u32,
    /// The last; not before the first.
    pub last: u32,
}

/// One transaction of a message.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// What it is.
    pub kind: Kind,
    /// Its identifier; 0 for acknowledgements, which have none.
    pub id: u32,
    /// Where that is written: digits, or the element; empty for acknowledgements.
    pub id_span: Span,
    /// All of it.
    pub whole: Span,
    /// The reply wants to be acknowledged at once.
    pub ack_required: bool,
    /// The reply comes in parts, or this acknowledges one.
    pub segment: Option<Segment>,
    /// The reply refuses the whole request.
    pub error: Option<ErrorDescriptor>,
    /// Its actions in their order.
    pub actions: Vec<Action>,
    /// What is acknowledged.
    pub acks: Vec<Acked>,
}

impl Transaction {
    /// One that holds nothing yet.
    pub(super) const fn new(kind: Kind, id: u32, id_span: Span, whole: Span) -> Self {
        Self {
            kind,
            id,
            id_span,
            whole,
            ack_required: false,
            segment: None,
            error: None,
            actions: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// All its commands in their order, with their contexts.
    pub fn commands(&self) -> impl Iterator<Item = (Context, &Command)> {
        self.actions.iter().flat_map(|action| action.commands.iter().map(|command| (action.context, command)))
    }
}

/// A context's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// `-`: of terminations that are in no context.
    Null,
    /// `$`: the gateway is to choose one.
    Choose,
    /// `*`.
    All,
    /// This one.
    Id(u32),
}

impl Context {
    /// From the number that stands for it in binary.
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::Null,
            0xffff_fffe => Self::Choose,
            0xffff_ffff => Self::All,
            id => Self::Id(id),
        }
    }

    /// The number that stands for it in binary.
    pub const fn number(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Choose => 0xffff_fffe,
            Self::All => 0xffff_ffff,
            Self::Id(id) => id,
        }
    }
}

/// What is asked of one context, or answered.
#[derive(Clone, Debug)]
pub struct Action {
    /// The context.
    pub context: Context,
    /// All of it.
    pub whole: Span,
    /// The rest of the commands was not carried out.
    pub error: Option<ErrorDescriptor>,
    /// What is said of the context itself (topology, priority, audits of it, whatever we do not know).
    pub properties: SmallVec<[Span; 2]>,
    /// The commands in their order.
    pub commands: Vec<Command>,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident => $long:literal, $short:literal,)+) => {
        /// What a command does (section 7.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $($(#[$doc])* $name,)+
        }

        impl Verb {
            /// All of them, in the order of Annex A.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The long token of Annex B.
            pub const fn token(self) -> &'static str {
                match self { $(Self::$name => $long,)+ }
            }

            pub(super) fn read(token: &[u8]) -> Option<Self> {
                $(if super::text::is(token, $long, $short) { return Some(Self::$name); })+
                None
            }
        }
    };
}

verbs! {
    /// A termination joins a context.
    Add => "Add", "A",
    /// It goes to another.
    Move => "Move", "MV",
    /// It changes.
    Modify => "Modify", "MF",
    /// It leaves.
    Subtract => "Subtract", "S",
    /// What it could be.
    AuditCapability => "AuditCapability", "AC",
    /// What it is.
    AuditValue => "AuditValue", "AV",
    /// Something was observed, from the gateway.
    Notify => "Notify", "N",
    /// Terminations, or the whole gateway, come, go or move.
    ServiceChange => "ServiceChange", "SC",
}

/// A termination's name, comparable within one gateway and encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Termination {
    /// In text the name in lower case; in binary the wildcard octets, each after an octet 0xff, and the identifier.
    name: SmallVec<[u8; 24]>,
    /// Stands for one that is to be chosen.
    choose: bool,
    /// Stands for several.
    all: bool,
}

impl Termination {
    /// A name as text has it.
    pub(super) fn text(name: &[u8]) -> Self {
        let has = |octet| name.contains(&octet);
        Self { name: name.iter().map(u8::to_ascii_lowercase).collect(), choose: has(b'$'), all: has(b'*') }
    }

    /// A name as binary has it.
    pub(super) fn binary(wildcards: &[u8], id: &[u8]) -> Self {
        // Bit 6 of a wildcard: CHOOSE, else ALL (Annex A.1).
        let choose = wildcards.iter().any(|octet| octet & 0x40 != 0);
        let all = wildcards.iter().any(|octet| octet & 0x40 == 0);
        let marked = wildcards.iter().flat_map(|octet| [0xff, *octet]);
        Self { name: marked.chain(id.iter().copied()).collect(), choose, all }
    }

    /// Octets that are the same for the same termination of one gateway.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The gateway as a whole.
    pub fn is_root(&self) -> bool {
        !self.all && !self.choose && (self.name.as_slice() == b"root" || self.name.as_slice() == [0xff; 8])
    }

    /// `$` is in it: the gateway chooses.
    pub const fn is_choose(&self) -> bool {
        self.choose
    }

    /// `*` is in it: several are meant.
    pub const fn is_all(&self) -> bool {
        self.all
    }

    /// Does this name, with its wildcards, stand for that one? In binary a wildcard stands for all.
    pub fn takes(&self, other: &Self) -> bool {
        if !self.all || self.name.first() == Some(&0xff) {
            return self.all || self == other;
        }
        let mut parts = self.name.split(|&octet| octet == b'*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = other.name.strip_prefix(first) else { return false };
        let parts = parts.collect::<SmallVec<[_; 4]>>();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle.iter().filter(|part| !part.is_empty()) {
            let Some(at) = rest.windows(part.len()).position(|at| at == *part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// It names one termination, which is not the root.
    pub fn is_exact(&self) -> bool {
        !self.choose && !self.all && !self.is_root()
    }
}

/// One command, of a request or of a reply.
#[derive(Clone, Debug)]
pub struct Command {
    /// What it does.
    pub verb: Verb,
    /// All of it, its comma not included.
    pub whole: Span,
    /// `O-`: the next commands are carried out even if this one fails.
    pub optional: bool,
    /// `W-`: one answer for all that a wildcard stands for.
    pub wildcard_response: bool,
    /// Whom it is about; empty when an audit of a whole context failed.
    pub terminations: SmallVec<[Termination; 1]>,
    /// In the reply to an audit: these are the terminations of the context, with no word about each.
    pub lists_context: bool,
    /// The streams of its Media descriptor.
    pub streams: SmallVec<[Stream; 1]>,
    /// What is asked about it.
    pub audit: Option<Audit>,
    /// The parameters of a ServiceChange.
    pub service_change: Option<ServiceChange>,
    /// What a Notify tells, or an audit.
    pub observed: Vec<ObservedEvent>,
    /// What was counted.
    pub statistics: Vec<Statistic>,
    /// It failed.
    pub error: Option<ErrorDescriptor>,
}

impl Command {
    /// One that holds nothing yet.
    pub(super) fn new(verb: Verb, whole: Span) -> Self {
        Self {
            verb,
            whole,
            optional: false,
            wildcard_response: false,
            terminations: SmallVec::new(),
            lists_context: false,
            streams: SmallVec::new(),
            audit: None,
            service_change: None,
            observed: Vec::new(),
            statistics: Vec::new(),
            error: None,
        }
    }

    /// The stream of this number.
    pub fn stream(&self, id: u16) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }
}

/// An Audit descriptor of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// All of it.
    pub whole: Span,
    /// Nothing is asked: the answer only shows that someone is there.
    pub empty: bool,
}

/// Who hears whom at a stream, seen from outside the context (section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Media only leaves the context.
    SendOnly,
    /// Media only enters it.
    ReceiveOnly,
    /// Both.
    SendReceive,
    /// None.
    Inactive,
    /// What comes is sent back.
    Loopback,
}

impl Mode {
    /// The long token of Annex B.
    pub(super) const fn token(self) -> &'static str {
        match self {
            Self::SendOnly => "SendOnly",
            Self::ReceiveOnly => "ReceiveOnly",
            Self::SendReceive => "SendReceive",
            Self::Inactive => "Inactive",
            Self::Loopback => "Loopback",
        }
    }

    /// The number of Annex A.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::SendOnly => 0,
            Self::ReceiveOnly => 1,
            Self::SendReceive => 2,
            Self::Inactive => 3,
            Self::Loopback => 4,
        }
    }
}

/// What a Media descriptor says about one stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its number; 1 when there is no Stream descriptor (section 7.1.6).
    pub id: u16,
    /// The direction of media.
    pub mode: Option<Mode>,
    /// Where that is written: the word, or the element.
    pub mode_span: Span,
    /// Resources for all values of a description are to be reserved.
    pub reserve_value: Option<bool>,
    /// Resources for all descriptions are to be reserved.
    pub reserve_group: Option<bool>,
    /// What the gateway is to receive.
    pub local: Option<Description>,
    /// What it is to send.
    pub remote: Option<Description>,
    /// What was counted (version 3).
    pub statistics: Vec<Statistic>,
}

impl Stream {
    /// One that holds nothing yet.
    pub(super) const fn new(id: u16) -> Self {
        Self {
            id,
            mode: None,
            mode_span: Span::empty(0),
            reserve_value: None,
            reserve_group: None,
            local: None,
            remote: None,
            statistics: Vec::new(),
        }
    }
}

/// A Local or Remote descriptor (section 7.1.8).
#[derive(Clone, Debug)]
pub struct Description {
    /// What is between its braces, or its element.
    pub whole: Span,
    /// The alternatives, best first; none when it is empty.
    pub groups: SmallVec<[Group; 1]>,
}

/// One session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its lines, or its element.
    pub span: Span,
}

/// Why terminations come or go (section 7.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// They will leave when nothing uses them any more.
    Graceful,
    /// They are gone.
    Forced,
    /// They are back, and have forgotten everything.
    Restart,
    /// The gateway was out of reach, and has forgotten nothing.
    Disconnected,
    /// The controller hands over to another, or the gateway comes from another.
    HandOff,
    /// The gateway turns to another controller because its own failed.
    Failover,
    /// One that we do not know.
    Other,
}

impl Method {
    /// The long token of Annex B, and the number of Annex A; none for one that we do not know.
    pub(super) const fn written(self) -> Option<(&'static str, u32)> {
        match self {
            Self::Failover => Some(("Failover", 0)),
            Self::Forced => Some(("Forced", 1)),
            Self::Graceful => Some(("Graceful", 2)),
            Self::Restart => Some(("Restart", 3)),
            Self::Disconnected => Some(("Disconnected", 4)),
            Self::HandOff => Some(("HandOff", 5)),
            Self::Other => None,
        }
    }
}

/// The parameters of a ServiceChange, or of the reply to one.
#[derive(Clone, Debug)]
pub struct ServiceChange {
    /// The descriptor with its name, or its element.
    pub whole: Span,
    /// None in replies.
    pub method: Option<Method>,
    /// The code at the beginning of the reason, such as 901.
    pub reason: Option<u16>,
    /// In seconds.
    pub delay: Option<u32>,
    /// Where further requests are to be sent.
    pub address: Option<ChangeAddress>,
    /// The controller to turn to.
    pub mgc: Option<Mid>,
    /// The protocol's version.
    pub version: Option<u8>,
    /// `name/version`.
    pub profile: Option<Span>,
    /// How the two addresses are taken out.
    pub(super) places: Places,
}

/// Where [`ServiceChange::address`] and [`ServiceChange::mgc`] are written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    /// The value of the first, or its element within the choice.
    pub(super) address: Span,
    /// All of it with a comma, or its element.
    pub(super) address_whole: Span,
    /// The value of the second, or its element within the choice.
    pub(super) mgc: Span,
    /// All of it with a comma, or its element.
    pub(super) mgc_whole: Span,
    /// There are other parameters.
    pub(super) others: bool,
    /// What surrounds all parameters: the command's block with its braces; empty in binary.
    pub(super) block: Span,
}

/// Something that was observed at a termination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedEvent {
    /// `package/event` or the four octets of both.
    pub name: Span,
    /// All of it.
    pub whole: Span,
    /// At which stream.
    pub stream: Option<u16>,
}

/// What a statistic counts (packages nt and rtp, H.248.1 Annex E.11 and E.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// `nt/dur`, in milliseconds.
    Duration,
    /// `nt/os`.
    OctetsSent,
    /// `nt/or`.
    OctetsReceived,
    /// `rtp/ps`.
    PacketsSent,
    /// `rtp/pr`.
    PacketsReceived,
    /// `rtp/pl`, in percent.
    Loss,
    /// `rtp/jit`, in milliseconds.
    Jitter,
    /// `rtp/delay`, in milliseconds.
    Delay,
    /// Any other.
    Other,
}

/// One statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// What it counts.
    pub counted: Counted,
    /// `package/statistic` or the four octets of both.
    pub name: Span,
    /// How much, a fraction cut off; `None` when only the name is given or it is no number.
    pub value: Option<u64>,
}

/// The statistics that we know: name in text, code in binary.
pub(super) const COUNTED: [(&[u8], [u8; 4], Counted); 8] = [
    (b"nt/dur", [0, 11, 0, 1], Counted::Duration),
    (b"nt/os", [0, 11, 0, 2], Counted::OctetsSent),
    (b"nt/or", [0, 11, 0, 3], Counted::OctetsReceived),
    (b"rtp/ps", [0, 12, 0, 4], Counted::PacketsSent),
    (b"rtp/pr", [0, 12, 0, 5], Counted::PacketsReceived),
    (b"rtp/pl", [0, 12, 0, 6], Counted::Loss),
    (b"rtp/jit", [0, 12, 0, 7], Counted::Jitter),
    (b"rtp/delay", [0, 12, 0, 8], Counted::Delay),
];
