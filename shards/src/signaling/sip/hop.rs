//! One hop of a message: the Vias, routes, contacts and names that each side owns (RFC 3261 section 16, as an edge).

use super::overload;
use crate::fault::Fault;
use crate::realm::{Realm, Softswitch};
use crate::types::{Flow, Transport};
use crate::wire::Span;
use crate::wire::sip::{Header, Message, Name, NameAddr, Start, Uri, Via, values};
use crate::wire::splice::Splice;
use bytes::Bytes;
use std::net::SocketAddr;

/// The URI parameter that carries a sealed label.
pub(super) const LABEL: &[u8] = b"pl";

/// Parameters that belong to the place, not to who is there: they lead nowhere from the other side.
pub(super) const HOP_PARAMS: [&[u8]; 3] = [b"maddr", b"received", b"transport"];

/// A message being rewritten for its next hop.
pub(super) struct Rewrite<'m, 'b> {
    message: &'m Message<'b>,
    splice: Splice<'b>,
}

/// Our own place on one side, as peers there are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ours {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    /// The peer there is asked how much it can take (RFC 7339).
    pub(super) asks: bool,
}

impl Ours {
    /// Our end of a flow of this realm.
    pub(super) fn of(realm: &Realm, flow: &Flow) -> Self {
        let address = SocketAddr::new(realm.advertised, flow.local.port());
        Self { address, transport: flow.transport, asks: false }
    }

    /// The same, toward a server of this softswitch.
    pub(super) fn toward(self, softswitch: &Softswitch) -> Self {
        Self { asks: softswitch.overload, ..self }
    }
}

/// A name (URI of From or To) as the sender of the request writes it, and as the receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) near: Bytes,
    pub(super) far: Bytes,
}

impl<'m, 'b> Rewrite<'m, 'b> {
    /// Begin: what stands before the start line or after the body does not travel on.
    pub(super) fn new(message: &'m Message<'b>) -> Self {
        let mut splice = Splice::new(message.bytes());
        let body = message.body_span();
        splice.delete(Span::new(body.end, message.bytes().len()));
        Self { message, splice }
    }

    /// Delete all lines of this header.
    pub(super) fn remove(&mut self, name: Name) {
        for header in self.message.all(name) {
            self.splice.delete(header.line);
        }
    }

    /// Put whole header lines on top of all others.
    pub(super) fn on_top(&mut self, lines: impl Into<Vec<u8>>) {
        if let Some(first) = self.message.headers().first() {
            self.splice.insert(first.line.start, lines);
        }
    }

    /// Replace the Request-URI. Headers in it stay behind: they have no place there (RFC 3261 section 19.1.1), and who
    /// believes in them would make them headers of the message.
    pub(super) fn request_uri(&mut self, uri: impl Into<Vec<u8>>) {
        let mut uri = uri.into();
        if let Ok(Uri { headers: Some(headers), .. }) = Uri::parse(&uri, Span::new(0, uri.len())) {
            uri.truncate(headers.start);
        }
        if let Some(span) = self.message.request_uri() {
            self.splice.replace(span, uri);
        }
    }

    /// One hop fewer; a missing header becomes 70 (RFC 3261 section 16.6 step 3).
    pub(super) fn count_hop(&mut self) {
        match (self.message.first(Name::MaxForwards), self.message.max_forwards()) {
            (Some(header), Some(hops)) => {
                self.splice.replace(header.value, hops.saturating_sub(1).to_string());
            }
            (Some(header), None) => self.splice.replace(header.value, "70"),
            (None, _) => self.on_top("Max-Forwards: 70\r\n"),
        }
    }

    /// Write the names of From and To in the form that the next hop knows.
    pub(super) fn rename(&mut self, name: Name, to: &[u8]) {
        if let Some(uri) = name_of(self.message, name) {
            self.splice.replace(uri.span, to);
        }
    }

    /// Rewrite each Contact URI; `None` removes that contact. One that cannot be read is removed too: it would show the
    /// address that is in it. `*` stays.
    pub(super) fn contacts(&mut self, mut with: impl FnMut(&NameAddr) -> Option<Vec<u8>>) {
        for header in self.message.all(Name::Contact).collect::<Vec<_>>() {
            self.contact_line(header, &mut with);
        }
    }

    fn contact_line(&mut self, header: Header, with: &mut impl FnMut(&NameAddr) -> Option<Vec<u8>>) {
        let bytes = self.message.bytes();
        let values = self.message.values(Name::Contact).filter(|value| header.line.contains(*value));
        let values = values.filter(|value| value.of(bytes) != b"*").collect::<Vec<_>>();
        let read = values.iter().filter_map(|value| NameAddr::parse(bytes, *value).ok()).collect::<Vec<_>>();
        let new = read.iter().map(|contact| (contact, with(contact))).collect::<Vec<_>>();
        if new.len() == values.len() && new.iter().all(|(_, uri)| uri.is_some()) {
            for (contact, uri) in new {
                self.contact_uri(contact, &uri.unwrap_or_default());
            }
            return;
        }
        let kept = new
            .iter()
            .filter_map(|(contact, uri)| uri.as_ref().map(|uri| write_contact(bytes, contact, uri)));
        let kept = kept.collect::<Vec<_>>();
        if kept.is_empty() {
            self.splice.delete(header.line);
        } else {
            self.splice.replace(header.value, kept.join(&b", "[..]));
        }
    }

    /// Rewrite each Contact value as a whole; `None` removes that contact, and what is no address.
    pub(super) fn contact_values(&mut self, mut with: impl FnMut(&NameAddr) -> Option<Vec<u8>>) {
        self.header_values(Name::Contact, |bytes, value| with(&NameAddr::parse(bytes, value).ok()?));
    }

    /// Rewrite each value of a header that lists them; `None` removes that one, and with the last its line.
    pub(super) fn header_values(&mut self, name: Name, mut with: impl FnMut(&[u8], Span) -> Option<Vec<u8>>) {
        let bytes = self.message.bytes();
        for header in self.message.all(name).collect::<Vec<_>>() {
            let old = values(bytes, header.value).collect::<Vec<_>>();
            let new = old.iter().map(|value| with(bytes, *value)).collect::<Vec<_>>();
            if new.iter().all(Option::is_some) {
                for (value, new) in old.into_iter().zip(new.into_iter().flatten()) {
                    self.splice.replace(value, new);
                }
                continue;
            }
            match new.into_iter().flatten().reduce(|one, next| [&one[..], b", ", &next].concat()) {
                Some(kept) => self.splice.replace(header.value, kept),
                None => self.splice.delete(header.line),
            }
        }
    }

    /// Replace the value of a header's first line, if there is one.
    pub(super) fn value(&mut self, name: Name, value: impl Into<Vec<u8>>) {
        if let Some(header) = self.message.first(name) {
            self.splice.replace(header.value, value);
        }
    }

    /// Delete all lines of a header that has no [`Name`] of its own.
    pub(super) fn remove_other(&mut self, name: &[u8]) {
        for header in self.message.all(Name::Other) {
            if header.name_span.of(self.message.bytes()).eq_ignore_ascii_case(name) {
                self.splice.delete(header.line);
            }
        }
    }

    /// A bare URI gets brackets: its new parameters must not read as the header's (RFC 3261 section 20.10).
    fn contact_uri(&mut self, contact: &NameAddr, uri: &[u8]) {
        if contact.bracketed {
            self.splice.replace(contact.uri.span, uri);
        } else {
            self.splice.replace(contact.uri.span, [b"<", uri, b">"].concat());
        }
    }

    /// Replace the body, and say its length, once.
    pub(super) fn body(&mut self, body: Vec<u8>) {
        let length = body.len().to_string();
        let mut said = self.message.all(Name::ContentLength);
        match said.next() {
            Some(header) => self.splice.replace(header.value, length),
            None => self.on_top(format!("Content-Length: {length}\r\n")),
        }
        for header in said {
            self.splice.delete(header.line);
        }
        self.splice.replace(self.message.body_span(), body);
    }

    /// A stream needs to be told where the body ends (RFC 3261 section 18.3): it may have come by a datagram.
    pub(super) fn framed(&mut self, transport: Transport) {
        if transport.is_reliable() && self.message.first(Name::ContentLength).is_none() {
            self.on_top(format!("Content-Length: {}\r\n", self.message.body().len()));
        }
    }

    /// The octets to send.
    pub(super) fn finish(self) -> Vec<u8> {
        let start = match self.message.start() {
            Start::Request { method, .. } => method.start,
            Start::Response { .. } => 0,
        };
        let mut bytes = self.splice.finish();
        bytes.drain(..start);
        bytes
    }
}

fn write_contact(bytes: &[u8], contact: &NameAddr, uri: &[u8]) -> Vec<u8> {
    [b"<", uri, b">", contact.params.of(bytes)].concat()
}

/// The URI of From or To.
pub(super) fn name_of(message: &Message<'_>, name: Name) -> Option<Uri> {
    let header = message.first(name)?;
    NameAddr::parse(message.bytes(), header.value).ok().map(|addr| addr.uri)
}

/// A contact URI at our address: the user and all parameters are kept, the place is ours.
pub(super) fn contact_at(bytes: &[u8], uri: &Uri, ours: Ours, label: Option<&str>) -> Vec<u8> {
    let mut out = uri.scheme.of(bytes).to_vec();
    out.push(b':');
    if let Some(user) = uri.user {
        out.extend_from_slice(user.of(bytes));
        out.push(b'@');
    }
    out.extend_from_slice(ours.address.to_string().as_bytes());
    out.extend_from_slice(&kept_params(bytes, uri));
    if ours.transport != Transport::Udp {
        out.extend_from_slice(format!(";transport={}", ours.transport.param()).as_bytes());
    }
    if let Some(label) = label {
        out.extend_from_slice(b";pl=");
        out.extend_from_slice(label.as_bytes());
    }
    out
}

/// Parameters of a contact but for those that would lead elsewhere: an older label, maddr, the transport.
pub(super) fn kept_params(bytes: &[u8], uri: &Uri) -> Vec<u8> {
    let mut splice = Splice::new(bytes);
    for name in HOP_PARAMS.into_iter().chain([LABEL]) {
        if let Some(param) = uri.param(bytes, name) {
            splice.delete(param.span);
        }
    }
    splice.delete(Span::new(0, uri.params.start));
    splice.delete(Span::new(uri.params.end, bytes.len()));
    splice.finish()
}

/// The label that a URI carries.
pub(super) fn label_of<'b>(bytes: &'b [u8], uri: &Uri) -> Option<&'b [u8]> {
    uri.param(bytes, LABEL)?.value.map(|value| value.of(bytes))
}

/// A URI with another host, and no port.
pub(super) fn with_host(bytes: &[u8], uri: &Uri, host: &str) -> Vec<u8> {
    [&bytes[uri.span.start..uri.hostport.start], host.as_bytes(), &bytes[uri.hostport.end..uri.span.end]]
        .concat()
}

/// All lines of a header as they stand, each ended by CRLF.
pub(super) fn lines_of(message: &Message<'_>, name: Name) -> Vec<u8> {
    message.all(name).flat_map(|header| header_line(message.bytes(), header)).collect()
}

/// All lines of a header that has no name of its own in [`Name`], as they stand.
pub(super) fn lines_named(message: &Message<'_>, name: &[u8]) -> Vec<u8> {
    let bytes = message.bytes();
    let named = |header: &Header| header.name_span.of(bytes).eq_ignore_ascii_case(name);
    message.headers().iter().copied().filter(named).flat_map(|header| header_line(bytes, header)).collect()
}

/// A header line as it stands, ended by CRLF.
pub(super) fn header_line(bytes: &[u8], header: Header) -> Vec<u8> {
    let line = &bytes[header.line.start..header.value.end];
    [line, b"\r\n"].concat()
}

/// The Vias to restore in the response, the topmost with the source filled in (RFC 3261 section 18.2.1, RFC 3581
/// section 4).
///
/// # Errors
/// [`Fault::Malformed`] without a Via.
pub(super) fn vias_of(message: &Message<'_>, flow: &Flow) -> Result<Vec<u8>, Fault> {
    let via = message.top_via().ok_or(Fault::Malformed("Via"))?;
    let lines = lines_of(message, Name::Via);
    let Some(first) = message.first(Name::Via) else { return Err(Fault::Malformed("Via")) };
    let before = via.span.end - first.line.start;
    let top = received(message.bytes(), &via, first.line.start, flow);
    Ok([&top[..], &lines[before..]].concat())
}

/// The text from `start` to the end of the top Via with `received` and `rport` filled in.
fn received(bytes: &[u8], via: &Via, start: usize, flow: &Flow) -> Vec<u8> {
    let mut splice = Splice::new(bytes);
    if let Some(old) = via.received {
        splice.delete(old);
    }
    let asked = via.rport.as_ref();
    if let Some(rport) = asked {
        splice.replace(rport.span, format!(";rport={}", flow.remote.port()));
    }
    if asked.is_some() || via.host_ip(bytes) != Some(flow.remote.ip()) {
        splice.insert(via.span.end, format!(";received={}", flow.remote.ip()));
    }
    splice.delete(Span::new(0, start));
    splice.delete(Span::new(via.span.end, bytes.len()));
    splice.finish()
}

/// Our own Via line.
pub(super) fn own_via(ours: Ours, branch: &str) -> String {
    let offer = if ours.asks { overload::OFFER } else { "" };
    format!("Via: SIP/2.0/{} {};branch={branch};rport{offer}\r\n", ours.transport.token(), ours.address)
}

/// Route lines for a route set.
pub(super) fn route_lines(routes: &[Bytes]) -> Vec<u8> {
    routes.iter().flat_map(|route| [b"Route: ", &route[..], b"\r\n"].concat()).collect()
}

/// The route set that a message's Record-Route headers announce, in their order.
pub(super) fn record_routes(message: &Message<'_>) -> Vec<Bytes> {
    let bytes = message.bytes();
    message.values(Name::RecordRoute).map(|span| Bytes::copy_from_slice(span.of(bytes))).collect()
}
