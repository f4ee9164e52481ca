//! What must hold for any octets that are taken for a SIP message.

use portolan_shards::wire::sip::{self, Header, Message, Name, NameAddr, Start, Uri, Via};
use portolan_shards::wire::splice::Splice;
use portolan_shards::wire::{Span, sdp};

/// Reads `data` in every way there is and checks what the scanner promises.
pub(crate) fn run(data: &[u8]) {
    let whole = Span::new(0, data.len());
    let _ = Uri::parse(data, whole).map(|uri| check_uri(data, whole, uri));
    let _ = NameAddr::parse(data, whole).map(|address| check_address(data, whole, address));
    let _ = Via::parse(data, whole).map(|via| check_via(data, whole, via));
    check_dialog_names(data, whole);
    if let Some(message) = sip::parse_for_reply(data) {
        assert!(message.is_request() && message.method() != b"ACK");
        visit(&message);
    }
    if let Ok(message) = Message::parse(data) {
        assert!(!sip::is_ping(data));
        visit(&message);
        promises(&message);
        identity(&message);
    }
}

/// Every span is within the message, and within what it is a part of.
fn visit(message: &Message<'_>) {
    let data = message.bytes();
    let whole = Span::new(0, data.len());
    match message.start() {
        Start::Request { method, uri, version } => nested(whole, &[method, uri, version]),
        Start::Response { version, status_span, reason, .. } => {
            nested(whole, &[version, status_span, reason]);
        }
    }
    nested(whole, &[message.body_span(), Span::empty(message.headers_end())]);
    for header in message.headers() {
        nested(whole, &[header.line]);
        nested(header.line, &[header.name_span, header.value]);
        assert_eq!(header.name, Name::of(header.name_span.of(data)));
        assert!(message.find(header.name_span.of(data)).is_some());
        visit_values(data, *header);
        check_dialog_names(data, header.value);
    }
    let _ = (message.from_tag(), message.to_tag(), message.content_length(), message.max_forwards());
    for part in message.sdp_parts() {
        nested(message.body_span(), &[part]);
        assert!(message.parts(|_| true).iter().any(|any| any.content.contains(part)));
        let _ = sdp::Sdp::parse(part.of(data));
    }
}

/// Names of dialogs, in a header and within a URI.
fn check_dialog_names(data: &[u8], outer: Span) {
    if let Ok(id) = sip::DialogId::parse(data, outer) {
        nested(outer, &[id.call_id, id.params]);
        assert!(!id.call_id.is_empty() && id.call_id.end <= id.params.start);
        check_params(data, id.params);
    }
    let mut from = outer.start;
    for id in sip::call_ids(data, outer) {
        nested(outer, &[id]);
        assert!(id.start >= from && !id.is_empty() && !id.of(data).contains(&b','));
        from = id.end;
    }
    check_uri_headers(data, outer);
    if let Some(plain) = sip::unescape(outer.of(data)) {
        assert_eq!(sip::unescape(&sip::escape(&plain)), Some(plain));
    }
}

fn check_uri_headers(data: &[u8], outer: Span) {
    let mut from = outer.start;
    for header in sip::uri_headers(data, outer) {
        nested(outer, &[header.name, header.value]);
        assert!(header.name.start >= from && header.name.end <= header.value.start);
        from = header.value.end;
        nested(header.value, &[sip::encoded_call_id(data, header.value)]);
    }
}

fn visit_values(data: &[u8], header: Header) {
    let mut from = header.value.start;
    for value in sip::values(data, header.value) {
        nested(header.value, &[value]);
        assert!(value.start >= from && !value.is_empty());
        from = value.end;
        let _ = Via::parse(data, value).map(|via| check_via(data, value, via));
        let _ = NameAddr::parse(data, value).map(|address| check_address(data, value, address));
    }
}

fn check_via(data: &[u8], outer: Span, via: Via) {
    nested(outer, &[via.span]);
    nested(via.span, &[via.transport, via.sent_by, via.params]);
    nested(via.sent_by, &[via.host]);
    assert!(via.transport.end <= via.sent_by.start && via.sent_by.end <= via.params.start);
    nested(
        via.params,
        &[via.branch, via.received, via.rport.map(|p| p.span)].map(|s| s.unwrap_or(via.params)),
    );
    check_params(data, via.params);
    let _ = (via.host_ip(data), via.param(data, b"maddr"));
}

fn check_address(data: &[u8], outer: Span, address: NameAddr) {
    nested(outer, &[address.span]);
    nested(address.span, &[address.uri.span, address.params, address.display(data)]);
    assert!(address.uri.span.end <= address.params.start);
    check_uri(data, address.span, address.uri);
    check_params(data, address.params);
    let _ = address.param(data, b"tag");
}

fn check_uri(data: &[u8], outer: Span, uri: Uri) {
    nested(outer, &[uri.span]);
    nested(uri.span, &[uri.scheme, uri.hostport, uri.params, uri.headers.unwrap_or(uri.span)]);
    nested(uri.hostport, &[uri.host]);
    nested(uri.span, &[uri.user.unwrap_or(uri.span)]);
    assert!(uri.hostport.end <= uri.params.start);
    assert!(!uri.is_sip(data) || !uri.host.is_empty());
    check_params(data, uri.params);
    check_uri_headers(data, uri.headers.unwrap_or(Span::empty(uri.span.end)));
    let _ = (uri.host_ip(data), uri.param(data, b"transport"));
}

fn check_params(data: &[u8], params: Span) {
    let mut from = params.start;
    for param in sip::params(data, params) {
        nested(params, &[param.span]);
        nested(param.span, &[param.name, param.value.unwrap_or(param.name)]);
        assert!(param.span.start >= from && param.span.of(data).starts_with(b";"));
        from = param.span.end;
    }
}

/// What everything above the scanner relies on.
fn promises(message: &Message<'_>) {
    let data = message.bytes();
    assert!(!message.call_id().is_empty());
    assert!(message.cseq().is_some_and(|(number, _)| number < 1 << 31));
    assert!(!message.method().is_empty());
    assert!(message.top_via().is_some());
    assert!(message.status().is_none_or(|status| (100..=699).contains(&status)));
    assert!(message.first(Name::MaxForwards).is_none() || message.max_forwards().is_some());
    for name in [Name::From, Name::To] {
        let value = message.first(name).map(|h| h.value).unwrap_or_default();
        assert!(NameAddr::parse(data, value).is_ok());
    }
    tiles(message);
}

/// The header lines follow each other without a gap up to the blank line, and the body follows that.
fn tiles(message: &Message<'_>) {
    let lines: Vec<Span> = message.headers().iter().map(|h| h.line).collect();
    assert!(lines.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_eq!(lines.last().map(|line| line.end), Some(message.headers_end()));
    let blank = Span::new(message.headers_end(), message.body_span().start);
    assert!(matches!(blank.of(message.bytes()), b"\r\n" | b"\n"));
    assert!(message.content_length().is_none_or(|length| length == message.body().len()));
}

/// Without an edit the message stays as it is; with a new header it reads the same, and the header is the last.
fn identity(message: &Message<'_>) {
    let data = message.bytes();
    assert_eq!(Splice::new(data).finish(), data);
    if message.headers().len() == portolan_shards::limits::MAX_HEADERS {
        return;
    }
    let mut splice = Splice::new(data);
    splice.insert(message.headers_end(), "X-Added: \r\n");
    let longer = splice.finish();
    let again = Message::parse(&longer).expect("one header more does not make it unreadable");
    assert_eq!(again.headers().len(), message.headers().len() + 1);
    assert_eq!(again.find(b"x-added").map(|h| h.line.end), Some(again.headers_end()));
    assert_eq!((again.body(), again.call_id()), (message.body(), message.call_id()));
}

fn nested(outer: Span, inner: &[Span]) {
    for span in inner {
        assert!(span.start <= span.end && outer.contains(*span), "{span:?} is not within {outer:?}");
    }
}
