//! What gateways and those who control them tell each other, whatever letters a protocol writes it with.

/// Which ways media may pass at a gateway (RFC 3435 section 3.2.2.6; H.248.1 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Mode {
    /// Does the gateway send?
    pub(super) const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// What happens at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    OffHook,
    OnHook,
    /// Hold, or take back.
    Flash,
    /// `0` to `9` and `A` to `D`.
    Digits(String),
}

/// What a line is made to sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    DialTone,
    Ring,
    RingBack,
}

/// How a gateway comes into service, or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// All connections are gone.
    Restart,
    /// The same, and it is out of service.
    Forced,
    /// It was out of reach, and its connections are still there.
    Disconnected,
}

/// What a connection has carried, by its gateway's count (RFC 3435 section 3.2.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
}

/// One command, to a gateway or from one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The gateway's name. H.248 writes the sender's there.
    pub(super) name: String,
    /// Which line: `*` is all of them, `$` any one.
    pub(super) line: String,
    /// Whom the line shall tell what happens, or whom it tells.
    pub(super) entity: Option<String>,
    /// Answers that need not be kept any longer.
    pub(super) confirmed: Vec<u32>,
    pub(super) what: What,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// From a gateway: it is there, or not. `number` is its own, if it says one.
    Restart { method: Method, number: Option<u32> },
    /// From a gateway: something has happened, which `request` had asked for.
    Notify { request: u32, seen: Vec<Seen>, connection: Option<String> },
    /// Is it there?
    Audit,
    /// Tell what happens from now on.
    Watch { request: u32, digits: bool, signal: Option<Signal>, connection: Option<String> },
    /// Connect the line to the network. `call` describes the call to the gateway.
    Create { number: u32, call: String, mode: Mode, remote: Option<String> },
    /// Change a connection.
    Modify { number: u32, connection: String, mode: Mode, remote: Option<String> },
    /// End a connection; from a gateway: it has ended, and has carried that.
    Delete { number: Option<u32>, connection: Option<String>, counts: Option<Counts> },
}

/// What a command has led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// 200 to 299 is success (RFC 3435 section 2.4); H.248 has 0 for that, which is written 200 here.
    pub(super) code: u16,
    /// The line that was taken for `$`.
    pub(super) line: Option<String>,
    pub(super) connection: Option<String>,
    /// Where the gateway listens.
    pub(super) local: Option<String>,
    pub(super) counts: Option<Counts>,
}

impl Answer {
    pub(super) fn code(code: u16) -> Self {
        Self { code, ..Self::default() }
    }

    pub(super) const fn is_good(&self) -> bool {
        matches!(self.code, 200..300)
    }
}

/// One message of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its transaction.
    pub(super) id: u32,
    pub(super) told: Told,
}

/// What a message tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Order(Order),
    /// It will take a while. MGCP may say already what will come of it.
    Pending,
    /// The final answer. `confirm`: it is repeated until it is confirmed.
    Answer {
        answer: Answer,
        confirm: bool,
    },
    /// The final answer has arrived.
    Confirmed,
}
