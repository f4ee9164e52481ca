//! Changes to a message on its way to the other side: what is ours on each hop is replaced, all else stays.

use super::text;
use super::{Acked, ChangeAddress, Encoding, Group, Kind, Message, Mid, ServiceChange, Transaction};
use crate::wire::Span;
use crate::wire::splice::Splice;

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep<'v, T> {
    /// It stays as it is.
    AsIs,
    /// It is taken out, if it is there.
    Drop,
    /// It says this instead, if it is there.
    As(&'v T),
}

/// A message and the changes to it, each of another part.
pub struct Edit<'m, 'b> {
    message: &'m Message<'b>,
    splice: Splice<'b>,
}

impl<'m, 'b> Edit<'m, 'b> {
    /// No changes yet: [`Edit::finish`] would give the message as it is.
    pub const fn new(message: &'m Message<'b>) -> Self {
        Self { message, splice: Splice::new(message.bytes) }
    }

    /// The message's originator is this one.
    pub fn mid(&mut self, mid: &Mid) {
        self.replace(self.message.mid_span, mid.to_string().into_bytes());
    }

    /// The authentication header is taken out: it signs addresses that are no longer true (section 10.2).
    pub fn drop_authentication(&mut self) {
        if let Some(header) = self.message.authentication {
            self.splice.delete(header);
        }
    }

    /// The two addresses that a ServiceChange or its reply can hold.
    pub fn service_change(
        &mut self,
        change: &ServiceChange,
        address: Keep<'_, ChangeAddress>,
        mgc: Keep<'_, Mid>,
    ) {
        let places = change.places;
        let stays = |there: bool, dropped: bool| there && !dropped;
        let left = places.others
            || stays(change.address.is_some(), address == Keep::Drop)
            || stays(change.mgc.is_some(), mgc == Keep::Drop);
        if !left && !places.block.is_empty() {
            return self.splice.delete(places.block);
        }
        if change.address.is_some() {
            self.keep(address, places.address, places.address_whole, |address| {
                address.to_string().into_bytes()
            });
        }
        if change.mgc.is_some() {
            self.keep(mgc, places.mgc, places.mgc_whole, |mgc| mgc.to_string().into_bytes());
        }
    }

    /// A session description is this one, as `wire::sdp` writes it.
    pub fn description(&mut self, group: &Group, sdp: &[u8]) {
        self.replace(group.span, text::escape(sdp));
    }

    /// Another identifier for a transaction that has one.
    pub fn transaction(&mut self, transaction: &Transaction, id: u32) {
        if transaction.kind != Kind::ResponseAck {
            self.replace(transaction.id_span, id.to_string().into_bytes());
        }
    }

    /// A transaction is taken out. Of a message with none left nothing should be sent.
    pub fn drop_transaction(&mut self, transaction: &Transaction) {
        self.splice.delete(transaction.whole);
    }

    /// An acknowledgement is of these only, which are not none.
    pub fn acknowledge(&mut self, transaction: &Transaction, acks: &[Acked]) {
        let ranges = acks.iter().map(|ack| match ack.first == ack.last {
            true => ack.first.to_string(),
            false => format!("{}-{}", ack.first, ack.last),
        });
        let text = format!("TransactionResponseAck{{{}}}", ranges.collect::<Vec<_>>().join(","));
        self.replace(transaction.whole, text.into_bytes());
    }

    /// The message with all changes.
    pub fn finish(self) -> Vec<u8> {
        self.splice.finish()
    }

    fn keep<T>(&mut self, keep: Keep<'_, T>, value: Span, whole: Span, write: impl Fn(&T) -> Vec<u8>) {
        match keep {
            Keep::AsIs => {}
            Keep::Drop => self.splice.delete(whole),
            Keep::As(new) => self.replace(value, write(new)),
        }
    }

    fn replace(&mut self, span: Span, with: Vec<u8>) {
        debug_assert_eq!(self.message.encoding, Encoding::Text);
        self.splice.replace(span, with);
    }
}
