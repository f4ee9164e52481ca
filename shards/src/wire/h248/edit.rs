//! Changes to a message on its way to the other side: what is ours on each hop is replaced, all else stays.

use super::ber;
use super::{
    Acked, ChangeAddress, Encoding, Group, Kind, Message, Mid, Mode, ServiceChange, Stream, Transaction,
    build, text,
};
use crate::fault::Fault;
use crate::wire::Span;
use crate::wire::splice::Splice;
use std::cmp::Reverse;

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

/// A message and the changes to it, in any order, each of another part. A change within something that is taken out has no
/// effect.
pub struct Edit<'m, 'b> {
    message: &'m Message<'b>,
    /// What stands where instead; of two that begin at one place the longer first.
    list: Vec<(Span, Vec<u8>)>,
}

impl<'m, 'b> Edit<'m, 'b> {
    /// No changes yet: [`Edit::finish`] would give the message as it is.
    pub const fn new(message: &'m Message<'b>) -> Self {
        Self { message, list: Vec::new() }
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
        let any = change.address.is_some() || change.mgc.is_some();
        if any && !left {
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
        let with = match self.message.encoding {
            Encoding::Text => text::escape(sdp),
            Encoding::Ber => ber::rewrite(self.message.bytes, group.span, sdp)?,
        };
        self.put(group.span, with);
        Ok(())
    }

    /// The mode of a stream that has one is this.
    pub fn mode(&mut self, stream: &Stream, mode: Mode) {
        if stream.mode.is_some() {
            let text = || mode.token().as_bytes().to_vec();
            self.replace(stream.mode_span, text, || ber::integer(0x80, mode.number()));
        }
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
        match self.message.encoding {
            Encoding::Text => splice(self.message.bytes, self.list),
            Encoding::Ber => ber::patch(self.message.bytes, &self.list),
        }
    }

    fn delete(&mut self, span: Span) {
        self.put(span, Vec::new());
    }

    fn replace(&mut self, span: Span, text: impl FnOnce() -> Vec<u8>, ber: impl FnOnce() -> Vec<u8>) {
        let with = match self.message.encoding {
            Encoding::Text => text(),
            Encoding::Ber => ber(),
        };
        self.put(span, with);
    }

    /// The last word about one place is what counts.
    fn put(&mut self, span: Span, with: Vec<u8>) {
        let order = |span: Span| (span.start, Reverse(span.end));
        match self.list.binary_search_by_key(&order(span), |(known, _)| order(*known)) {
            Ok(at) => self.list[at].1 = with,
            Err(at) => self.list.insert(at, (span, with)),
        }
    }
}

/// The text with the changes, but for those within others.
fn splice(bytes: &[u8], list: Vec<(Span, Vec<u8>)>) -> Vec<u8> {
    let mut splice = Splice::new(bytes);
    let mut from = 0;
    for (span, with) in list {
        if span.start >= from {
            from = span.end;
            splice.replace(span, with);
        }
    }
    splice.finish()
}
