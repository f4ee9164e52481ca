//! One message on its way to the other side: what is ours on each hop is replaced, all else stays. Its transactions may have
//! different fates, so each destination gets a message of those that are for it.

use super::description::Groups;
use super::transaction::Transaction;
use crate::fault::Fault;
use crate::table::Key;
use crate::types::Flow;
use crate::wire::Span;
use crate::wire::h248::{Description, Edit, Group, Keep, Message, Mid, Mode, ServiceChange, Stream};

/// Where we are in a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Whose association it belongs to.
    pub(super) gateway: Key,
    /// The place of the transaction in the message.
    pub(super) at: usize,
    /// Where the message came from.
    pub(super) flow: Flow,
}

/// A message, the changes to it, and what becomes of its transactions.
pub(super) struct Draft<'m, 'b> {
    pub(super) message: &'m Message<'b>,
    /// Our name on the other side.
    mid: Mid,
    /// The restart in it was counted when its gateway was let in.
    pub(super) counted: bool,
    /// Descriptions that were looked at, whether they are others now or not.
    seen: Vec<Span>,
    /// Changes, by transaction.
    changes: Vec<(usize, Change<'m>)>,
    /// What goes where.
    onward: Vec<(usize, Flow)>,
    /// Requests that are sent on for the first time.
    pub(super) begun: Vec<(usize, Transaction)>,
    /// Replies, to which requests they belong, and whether they end them.
    pub(super) answers: Vec<(usize, Key, bool)>,
}

enum Change<'m> {
    Description(Group, Vec<u8>),
    Mode(&'m Stream, Mode),
    /// The address goes; the controller's name goes too, or is this.
    Service(&'m ServiceChange, Option<Mid>),
}

impl<'m, 'b> Draft<'m, 'b> {
    /// No changes yet but the name.
    pub(super) fn new(message: &'m Message<'b>, mid: Mid) -> Self {
        let (seen, changes, onward) = (Vec::new(), Vec::new(), Vec::new());
        let (begun, answers) = (Vec::new(), Vec::new());
        Self { message, mid, counted: false, seen, changes, onward, begun, answers }
    }

    /// A session description of this transaction is another one.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when a binary message has no property for what it says.
    pub(super) fn description(
        &mut self,
        transaction: usize,
        group: &Group,
        sdp: Vec<u8>,
    ) -> Result<(), Fault> {
        self.seen.push(group.span);
        if *self.message.sdp(group) != sdp[..] {
            Edit::new(self.message).description(group, &sdp)?;
            self.changes.push((transaction, Change::Description(*group, sdp)));
        }
        Ok(())
    }

    /// Was this description looked at?
    pub(super) fn has_seen(&self, group: &Group) -> bool {
        self.seen.contains(&group.span)
    }

    /// All alternatives of a descriptor are others.
    ///
    /// # Errors
    /// As [`Self::description`].
    pub(super) fn descriptions(
        &mut self,
        transaction: usize,
        description: &Description,
        shown: Groups,
    ) -> Result<(), Fault> {
        let mut each = description.groups.iter().zip(shown);
        each.try_for_each(|(group, shown)| self.description(transaction, group, shown.into_vec()))
    }

    /// The mode of a stream is another one.
    pub(super) fn mode(&mut self, transaction: usize, stream: &'m Stream, mode: Mode) {
        self.changes.push((transaction, Change::Mode(stream, mode)));
    }

    /// The addresses of a ServiceChange: none, but for the controller that is named.
    pub(super) fn service(&mut self, transaction: usize, change: &'m ServiceChange, mgc: Option<Mid>) {
        self.changes.push((transaction, Change::Service(change, mgc)));
    }

    /// The transaction goes there.
    pub(super) fn send(&mut self, transaction: usize, to: Flow) {
        self.onward.push((transaction, to));
    }

    /// Each destination, and the transactions that go there.
    pub(super) fn destinations(&self) -> Vec<(Flow, Vec<usize>)> {
        let mut all: Vec<(Flow, Vec<usize>)> = Vec::new();
        for &(transaction, to) in &self.onward {
            match all.iter_mut().find(|(flow, _)| *flow == to) {
                Some((_, transactions)) => transactions.push(transaction),
                None => all.push((to, vec![transaction])),
            }
        }
        all
    }

    /// A message of these transactions.
    pub(super) fn write(&self, only: &[usize]) -> Vec<u8> {
        let mut edit = Edit::new(self.message);
        edit.mid(&self.mid);
        edit.drop_authentication();
        for (at, transaction) in self.message.transactions().iter().enumerate() {
            if !only.contains(&at) {
                edit.drop_transaction(transaction);
            }
        }
        for (_, change) in self.changes.iter().filter(|(at, _)| only.contains(at)) {
            match change {
                // It could be written when it was put here.
                Change::Description(group, sdp) => drop(edit.description(group, sdp)),
                Change::Mode(stream, mode) => edit.mode(stream, *mode),
                Change::Service(change, mgc) => {
                    let mgc = mgc.as_ref().map_or(Keep::Drop, Keep::As);
                    edit.service_change(change, Keep::Drop, mgc);
                }
            }
        }
        edit.finish()
    }
}
