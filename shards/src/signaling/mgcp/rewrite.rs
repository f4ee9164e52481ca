//! One message on its way to the other side: what is ours on each hop is replaced, all else stays.

use crate::fault::Fault;
use crate::signaling::reading::Reading;
use crate::types::Side;
use crate::wire::Span;
use crate::wire::mgcp::{Endpoint, MAX_DESCRIPTIONS, Message, Parameter, endpoints};
use crate::wire::splice::Splice;

/// A message and the changes to it.
pub(super) struct Rewrite<'m, 'b> {
    pub(super) message: &'m Message<'b>,
    splice: Splice<'b>,
    /// Descriptions that were replaced.
    replaced: [bool; MAX_DESCRIPTIONS],
}

impl<'m, 'b> Rewrite<'m, 'b> {
    /// Under another transaction number.
    pub(super) fn new(message: &'m Message<'b>, id: u32) -> Self {
        let mut splice = Splice::new(message.bytes());
        splice.replace(message.transaction_span, id.to_string());
        Self { message, splice, replaced: [false; MAX_DESCRIPTIONS] }
    }

    /// The domain of a name.
    pub(super) fn domain(&mut self, name: &Endpoint, domain: &[u8]) {
        self.splice.replace(name.domain, domain);
    }

    /// The names of further endpoints (RFC 3435 sections 3.2.2.11 and 3.2.2.13).
    pub(super) fn endpoints(&mut self, domain: &[u8]) {
        for name in ["Z", "Z2"] {
            for parameter in self.message.all(name) {
                let named = endpoints(self.message.bytes(), parameter.value);
                named.for_each(|endpoint| self.splice.replace(endpoint.domain, domain));
            }
        }
    }

    /// What a response says in words, where that names the gateway.
    pub(super) fn comment(&mut self, from: &[u8], to: &[u8]) {
        let rest = Span::new(self.message.transaction_span.end, self.message.start_line.end);
        let text = rest.of(self.message.bytes());
        let mut at = 0;
        while let Some(found) = find(&text[at..], from) {
            let start = rest.start + at + found;
            self.splice.replace(Span::new(start, start + from.len()), to);
            at += found + from.len();
        }
    }

    /// A parameter's value.
    pub(super) fn value(&mut self, parameter: Parameter, value: &[u8]) {
        let space: &[u8] = if parameter.value.is_empty() { b" " } else { b"" };
        self.splice.replace(parameter.value, [space, value].concat());
    }

    /// A parameter is taken out.
    pub(super) fn drop(&mut self, parameter: Parameter) {
        self.splice.delete(parameter.line);
    }

    /// One more parameter.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) {
        let (at, end) = (self.message.parameters_end(), self.message.line_end());
        let ended = Span::new(0, at).of(self.message.bytes()).ends_with(b"\n");
        let before = if ended { "" } else { end };
        let line = [before.as_bytes(), name.as_bytes(), b": ", value, end.as_bytes()].concat();
        self.splice.insert(at, line);
    }

    /// The session description of this number.
    pub(super) fn description(&mut self, at: usize, body: &[u8]) {
        if let Some(span) = self.message.descriptions.get(at) {
            self.splice.replace(*span, body);
            self.replaced[at] = true;
        }
    }

    /// Descriptions that belong to no connection, and were not replaced: `side` wrote them.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when one cannot be read; it must not be passed on.
    pub(super) fn conceal(&mut self, reading: Reading, side: Side) -> Result<(), Fault> {
        let message = self.message;
        for (at, span) in message.descriptions.iter().enumerate() {
            if !self.replaced[at] {
                self.description(at, &reading.conceal(side, span.of(message.bytes()))?);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.splice.finish()
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    if what.is_empty() {
        return None;
    }
    text.windows(what.len()).position(|at| at.eq_ignore_ascii_case(what))
}
