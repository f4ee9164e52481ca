//! H.248 as gateways and controllers mean it, whichever of its two encodings it is written in: one transaction with one
//! context in each message.
//!
//! A line is a termination `al/n`, a connection is a context of its own with that line and a termination `rtp/n`.

use super::order::{Answer, Counts, Message, Method, Mode, Order, Seen, Signal, Told, What};

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Who sends it.
    pub(super) mid: String,
    pub(super) kind: Kind,
    pub(super) id: u32,
    /// Answers that have arrived.
    pub(super) acknowledged: Vec<u32>,
    /// The answer is to be confirmed at once.
    pub(super) confirm: bool,
    pub(super) error: Option<u16>,
    pub(super) context: Context,
    pub(super) commands: Vec<Command>,
}

/// What kind of transaction it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// None: the message acknowledges only.
    #[default]
    Nothing,
    Request,
    Reply,
    Pending,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Context {
    #[default]
    Null,
    Choose,
    Id(u32),
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Modify,
    Subtract,
    AuditValue,
    Notify,
    ServiceChange,
}

/// One command, or the reply to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) termination: String,
    pub(super) media: Option<Media>,
    /// Request number, and whether digits are wanted.
    pub(super) events: Option<(u32, bool)>,
    /// An empty descriptor ends all signals.
    pub(super) signal: Option<Option<Signal>>,
    pub(super) observed: Option<(u32, Vec<Seen>)>,
    pub(super) change: Option<Change>,
    pub(super) counts: Option<Counts>,
}

/// The one stream of a termination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) mode: Option<Mode>,
    pub(super) local: Option<String>,
    pub(super) remote: Option<String>,
}

/// ServiceChange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) method: Method,
    /// The gateway's number, as its profile tells it.
    pub(super) number: Option<u32>,
}

impl Command {
    pub(super) fn new(verb: Verb, termination: &str) -> Self {
        Self {
            verb,
            termination: termination.to_owned(),
            media: None,
            events: None,
            signal: None,
            observed: None,
            change: None,
            counts: None,
        }
    }
}

/// What a command is called.
pub(super) const fn verb(what: &What) -> &'static str {
    match what {
        What::Restart { .. } => "ServiceChange",
        What::Notify { .. } => "Notify",
        What::Audit => "AuditValue",
        What::Watch { .. } | What::Modify { .. } => "Modify",
        What::Create { .. } => "Add",
        What::Delete { .. } => "Subtract",
    }
}

/// The gateway itself.
pub(super) const ROOT: &str = "ROOT";
/// What a busy line answers (H.248.8: unexpected initial hook state), and the same in MGCP.
const BUSY: (u16, u16) = (540, 401);

/// What a command says.
pub(super) fn order(id: u32, me: &str, order: &Order) -> Said {
    let mut said = Said {
        mid: me.to_owned(),
        kind: Kind::Request,
        id,
        acknowledged: order.confirmed.clone(),
        ..Said::default()
    };
    let (context, commands) = commands(order);
    (said.context, said.commands) = (context, commands);
    said
}

fn commands(order: &Order) -> (Context, Vec<Command>) {
    let line = |verb| Command::new(verb, &order.line);
    match &order.what {
        What::Restart { method, number } => {
            let change = Some(Change { method: *method, number: *number });
            (Context::Null, vec![Command { change, ..Command::new(Verb::ServiceChange, ROOT) }])
        }
        What::Notify { request, seen, connection } => {
            let observed = Some((*request, seen.clone()));
            (place(connection.as_ref()).0, vec![Command { observed, ..line(Verb::Notify) }])
        }
        What::Audit => (Context::Null, vec![Command::new(Verb::AuditValue, ROOT)]),
        What::Watch { request, digits, signal, connection } => {
            let (events, signal) = (Some((*request, *digits)), Some(*signal));
            (place(connection.as_ref()).0, vec![Command { events, signal, ..line(Verb::Modify) }])
        }
        What::Create { call, mode, remote, .. } => {
            let media = Media { mode: Some(*mode), local: Some(template(call)), remote: remote.clone() };
            let network = Command { media: Some(media), ..Command::new(Verb::Add, "rtp/$") };
            (Context::Choose, vec![line(Verb::Add), network])
        }
        What::Modify { connection, mode, remote, .. } => {
            let (context, termination) = place(Some(connection));
            let media = Some(Media { mode: Some(*mode), local: None, remote: remote.clone() });
            (context, vec![Command { media, ..Command::new(Verb::Modify, &termination) }])
        }
        What::Delete { connection, counts, .. } => {
            let (context, termination) = place(connection.as_ref());
            if counts.is_none() {
                return (context, vec![Command::new(Verb::Subtract, "*")]);
            }
            let change = Some(Change { method: Method::Forced, number: None });
            (context, vec![Command { change, ..Command::new(Verb::ServiceChange, &termination) }])
        }
    }
}

/// What the final answer to a command says.
pub(super) fn answer(id: u32, me: &str, order: &Order, answer: &Answer, confirm: bool) -> Said {
    let mut said = Said { mid: me.to_owned(), kind: Kind::Reply, id, confirm, ..Said::default() };
    let (context, asked) = commands(order);
    let made = answer.connection.as_ref();
    said.context = if made.is_some() { place(made).0 } else { context };
    if !answer.is_good() {
        said.error = Some(if answer.code == BUSY.1 { BUSY.0 } else { answer.code });
        return said;
    }
    said.commands = asked.into_iter().map(|command| replied(command, answer)).collect();
    if let (What::Delete { connection, .. }, [one]) = (&order.what, &mut said.commands[..]) {
        one.termination = place(connection.as_ref()).1;
        one.counts = answer.counts;
    }
    said
}

/// What a stranger says, who knows what gateways are called.
pub(super) fn stranger(id: u32, line: u32, salt: u64) -> Said {
    let change = |method| Command {
        change: Some(Change { method, number: None }),
        ..Command::new(Verb::ServiceChange, ROOT)
    };
    let named = |verb| Command::new(verb, &format!("al/{line}"));
    let (kind, context, command) = match salt % 5 {
        0 => (Kind::Request, Context::Null, change(Method::Restart)),
        1 => (Kind::Request, Context::Null, change(Method::Forced)),
        2 => (Kind::Request, Context::Id(line), Command::new(Verb::Subtract, "*")),
        3 => (Kind::Reply, Context::Id(line), named(Verb::Add)),
        _ => (Kind::Request, Context::Choose, named(Verb::Add)),
    };
    let mid = if salt.is_multiple_of(2) { "[192.168.1.10]:2944" } else { "<gw0.example.org>:2944" };
    Said { mid: mid.into(), kind, id, context, commands: vec![command], ..Said::default() }
}

/// The reply to one command.
fn replied(asked: Command, answer: &Answer) -> Command {
    let network = asked.termination.starts_with("rtp/");
    let chosen =
        if network { answer.connection.as_ref().map(|one| place(Some(one)).1) } else { answer.line.clone() };
    let local = answer.local.clone().filter(|_| network && asked.media.is_some());
    let media = local.map(|local| Media { local: Some(local), ..Media::default() });
    Command { media, ..Command::new(asked.verb, &chosen.unwrap_or(asked.termination)) }
}

/// The messages in what was said.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn messages(said: &Said) -> Result<Vec<Message>, String> {
    let confirmed = |id: &u32| Message { id: *id, told: Told::Confirmed };
    let mut messages: Vec<Message> = said.acknowledged.iter().map(confirmed).collect();
    let id = said.id;
    let told = match said.kind {
        Kind::Nothing => return Ok(messages),
        Kind::Pending => Told::Pending,
        Kind::Reply => Told::Answer { confirm: said.confirm, answer: answered(said) },
        Kind::Request => Told::Order(ordered(said)?),
    };
    if id == 0 {
        return Err("transaction 0".into());
    }
    messages.push(Message { id, told });
    Ok(messages)
}

fn answered(said: &Said) -> Answer {
    if let Some(code) = said.error {
        return Answer::code(if code == BUSY.0 { BUSY.1 } else { code });
    }
    let mut answer = Answer::code(200);
    for command in &said.commands {
        let line = command.termination.starts_with("al/").then(|| command.termination.clone());
        if let (Verb::Add, Context::Id(context)) = (command.verb, said.context) {
            let connection = format!("{context}|{}", command.termination);
            answer.connection = if line.is_some() { answer.connection } else { Some(connection) };
            answer.line = line.or(answer.line);
        }
        answer.local = command.media.as_ref().and_then(|media| media.local.clone()).or(answer.local);
        answer.counts = command.counts.or(answer.counts);
    }
    answer
}

fn ordered(said: &Said) -> Result<Order, String> {
    let command = said.commands.first().ok_or("no command")?;
    let media = said.commands.iter().find_map(|command| command.media.as_ref());
    let connection = match said.context {
        Context::Id(context) => Some(format!("{context}|{}", command.termination)),
        Context::Null | Context::Choose => None,
    };
    let (name, entity, confirmed) = (said.mid.clone(), None, Vec::new());
    let what = what(command, media, connection)?;
    let every = matches!(what, What::Modify { .. } | What::Delete { .. });
    let line = if every { "*".into() } else { command.termination.clone() };
    Ok(Order { name, line, entity, confirmed, what })
}

fn what(command: &Command, media: Option<&Media>, connection: Option<String>) -> Result<What, String> {
    let here = || connection.clone().ok_or_else(|| format!("{:?} without a context", command.verb));
    Ok(match command.verb {
        Verb::ServiceChange => match &command.change {
            Some(change) if command.termination.eq_ignore_ascii_case(ROOT) => {
                What::Restart { method: change.method, number: change.number }
            }
            _ => What::Delete { number: None, connection: Some(here()?), counts: None },
        },
        Verb::Notify => {
            let (request, seen) = command.observed.clone().ok_or("nothing observed")?;
            What::Notify { request, seen, connection }
        }
        Verb::AuditValue => What::Audit,
        Verb::Subtract => What::Delete { number: None, connection: Some(here()?), counts: None },
        Verb::Add => {
            let media = media.ok_or("no media")?;
            let call = media.local.as_deref().and_then(call_of).ok_or("no call in the description")?;
            let number = call.split(';').next().and_then(|number| number.parse().ok());
            let (mode, remote) = (media.mode.ok_or("no mode")?, media.remote.clone());
            What::Create { number: number.ok_or("no number")?, call, mode, remote }
        }
        Verb::Modify => match (media, command.events) {
            (Some(media), _) => {
                let (mode, remote) = (media.mode.ok_or("no mode")?, media.remote.clone());
                What::Modify { number: 0, connection: here()?, mode, remote }
            }
            (None, Some((request, digits))) => {
                What::Watch { request, digits, signal: command.signal.flatten(), connection }
            }
            (None, None) => return Err("a modification of nothing".into()),
        },
    })
}

/// The description that a gateway is to complete; it tells the call's story to the gateway (RFC 8866 section 5.4).
fn template(call: &str) -> String {
    format!("v=0\r\ns=-\r\ni={call}\r\nc=IN IP4 $\r\nt=0 0\r\nm=audio $ RTP/AVP 0\r\n")
}

fn call_of(template: &str) -> Option<String> {
    template.lines().find_map(|line| line.strip_prefix("i=")).map(|call| call.trim().to_owned())
}

/// The context and the termination of a connection.
fn place(connection: Option<&String>) -> (Context, String) {
    let parts = connection.and_then(|name| name.split_once('|'));
    match parts.and_then(|(context, termination)| Some((context.parse().ok()?, termination))) {
        Some((context, termination)) => (Context::Id(context), termination.to_owned()),
        None => (Context::Null, "*".into()),
    }
}
