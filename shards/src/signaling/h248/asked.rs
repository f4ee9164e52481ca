//! What a request asks, as far as its reply must be read by it.

use super::bearer::Opened;
use super::description::Groups;
use crate::realm::Server;
use crate::table::Key;
use crate::types::RealmId;
use crate::wire::h248::{Command, Context, Mode, Termination, Verb};
use smallvec::SmallVec;

/// What one request asks: its commands in their order.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) commands: Vec<AskedCommand>,
    /// The gateway speaks for all its terminations: it registers.
    pub(super) registers: bool,
}

/// One command.
#[derive(Debug)]
pub(super) struct AskedCommand {
    pub(super) context: Context,
    pub(super) verb: Verb,
    pub(super) terminations: SmallVec<[Termination; 1]>,
    pub(super) streams: Vec<AskedStream>,
    /// Bearers that are about to end.
    pub(super) ending: Vec<Key>,
    /// It makes an end of all that its terminations carry.
    pub(super) ends: bool,
    /// The controller sends the gateway there.
    pub(super) redirect: Option<Server>,
    pub(super) answered: bool,
}

/// What one command says of a stream.
#[derive(Debug, Default)]
pub(super) struct AskedStream {
    pub(super) id: u16,
    pub(super) mode: Option<Mode>,
    /// The gateway was told to send, although it is to listen only.
    pub(super) coaxed: bool,
    /// The controller's description, until the gateway has agreed to it.
    pub(super) offer: Option<Groups>,
    /// The session of a bearer that is to be.
    pub(super) session: Option<Opened>,
    /// The bearer that it is about.
    pub(super) bearer: Option<Key>,
}

impl Asked {
    /// Is a bearer to be made on this realm?
    pub(super) fn opens(&self, realm: RealmId) -> bool {
        let mut streams = self.commands.iter().flat_map(|command| &command.streams);
        streams.any(|one| one.session.is_some_and(|opened| opened.realms.contains(&realm)))
    }

    /// The command that a command of a reply answers: the first of its kind that still wants an answer. One with a wildcard
    /// may be answered several times.
    pub(super) fn answered_by(&mut self, context: Context, reply: &Command) -> Option<&mut AskedCommand> {
        self.commands.iter_mut().find(|asked| {
            asked.verb == reply.verb
                && (!asked.answered || asked.is_many())
                && asked.is_in(context)
                && asked.is_about(reply)
        })
    }
}

impl AskedCommand {
    pub(super) fn new(context: Context, command: &Command) -> Self {
        Self {
            context,
            verb: command.verb,
            terminations: command.terminations.clone(),
            streams: Vec::new(),
            ending: Vec::new(),
            ends: false,
            redirect: None,
            answered: false,
        }
    }

    /// May it be answered by several commands?
    pub(super) fn is_many(&self) -> bool {
        self.terminations.len() > 1 || self.terminations.iter().any(Termination::is_all)
    }

    /// The one termination that it names, or leaves to the gateway.
    pub(super) fn termination(&self) -> Option<&Termination> {
        match &self.terminations[..] {
            [one] if !one.is_all() && !one.is_root() => Some(one),
            _ => None,
        }
    }

    fn is_in(&self, context: Context) -> bool {
        self.context == context || matches!(self.context, Context::Choose | Context::All)
    }

    fn is_about(&self, reply: &Command) -> bool {
        let wild = self.terminations.iter().any(|asked| asked.is_all() || asked.is_choose());
        wild || reply.terminations.iter().all(|one| self.terminations.contains(one))
    }
}
