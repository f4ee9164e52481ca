//! Changes to a message on its way to the other side: what is ours on each hop is replaced, all else stays.

use super::ber::{self, Patches};
use super::{
    Acked, ChangeAddress, Encoding, Group, Kind, Message, Mid, ServiceChange, Transaction, build, text,
};
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::splice::Splice;

/// What becomes of a parameter.
#[derive(Debug, PartialEq, Eq)]
pub enum Keep<'v, T> {
    /// It stays as it is.
    AsIs,
    /// It is taken out, if it is there.
    Drop,
    /// It says this instead, if it is there.
    As(&'v T),
}

impl<T> Clone for Keep<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Keep<'_, T> {}

/// A message and the changes to it, each of another part.
pub struct Edit<'m, 'b> {
    message: &'m Message<'b>,
    changes: Changes<'b>,
}

enum Changes<'b> {
    Text(Splice<'b>),
    Ber(Patches),
}

impl<'m, 'b> Edit<'m, 'b> {
    /// No changes yet: [`Edit::finish`] would give the message as it is.
    pub const fn new(message: &'m Message<'b>) -> Self {
        let changes = match message.encoding {
            Encoding::Text => Changes::Text(Splice::new(message.bytes)),
            Encoding::Ber => Changes::Ber(Patches::new()),
        };
        Self { message, changes }
    }

    /// The message's originator is this one.
    pub fn mid(&mut self, mid: &Mid) {
        self.replace(self.message.mid_span, || mid.to_string().into_bytes(), || ber::mid(mid));
    }

    /// The authentication header is taken out: it signs addresses that are no longer true (section 10.2).
    pub fn drop_authentication(&mut self) {
        if let Some(header) = self.message.authentication {
            self.delete(header);
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
        if !left {
            return self.delete(places.block);
        }
        match address {
            _ if change.address.is_none() => {}
            Keep::AsIs => {}
            Keep::Drop => self.delete(places.address_whole),
            Keep::As(new) => {
                self.replace(places.address, || new.to_string().into_bytes(), || ber::change_address(new));
            }
        }
        match mgc {
            _ if change.mgc.is_none() => {}
            Keep::AsIs => {}
            Keep::Drop => self.delete(places.mgc_whole),
            Keep::As(new) => self.replace(places.mgc, || new.to_string().into_bytes(), || ber::mid(new)),
        }
    }

    /// A session description is this one, as `wire::sdp` writes it.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when a binary message has no property for what it says.
    pub fn description(&mut self, group: &Group, sdp: &[u8]) -> Result<(), Fault> {
        match &mut self.changes {
            Changes::Text(splice) => splice.replace(group.span, text::escape(sdp)),
            Changes::Ber(patches) => {
                patches.replace(group.span, ber::rewrite(self.message.bytes, group.span, sdp)?);
            }
        }
        Ok(())
    }

    /// Another identifier for a transaction that has one.
    pub fn transaction(&mut self, transaction: &Transaction, id: u32) {
        if transaction.kind != Kind::ResponseAck {
            self.replace(transaction.id_span, || id.to_string().into_bytes(), || ber::integer(0x80, id));
        }
    }

    /// A transaction is taken out. Of a message with none left nothing should be sent.
    pub fn drop_transaction(&mut self, transaction: &Transaction) {
        self.delete(transaction.whole);
    }

    /// An acknowledgement is of these only, which are not none.
    pub fn acknowledge(&mut self, transaction: &Transaction, acks: &[Acked]) {
        let text = || build::acknowledged_text(acks).into_bytes();
        self.replace(transaction.whole, text, || build::acknowledged_ber(acks));
    }

    /// The message with all changes.
    pub fn finish(self) -> Vec<u8> {
        match self.changes {
            Changes::Text(splice) => splice.finish(),
            Changes::Ber(patches) => patches.apply(self.message.bytes),
        }
    }

    fn delete(&mut self, span: Span) {
        self.replace(span, Vec::new, Vec::new);
    }

    fn replace(&mut self, span: Span, text: impl FnOnce() -> Vec<u8>, ber: impl FnOnce() -> Vec<u8>) {
        match &mut self.changes {
            Changes::Text(splice) => splice.replace(span, text()),
            Changes::Ber(patches) => patches.replace(span, ber()),
        }
    }
}
