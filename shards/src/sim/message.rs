//! SIP messages as text: what arrived, judged by `rsip`, and drafts of what leaves.
//!
//! Reading is by a plain line parser of our own, so that an endpoint can go on after a message that `rsip` refuses; the
//! refusal is a finding that the endpoint reports.

use bytes::Bytes;
use rsip::prelude::{HasHeaders, HeadersExt, ToTypedHeader, UntypedHeader};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Msg {
    start: Start,
    headers: Vec<(String, String)>,
    body: String,
    octets: usize,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `METHOD uri SIP/2.0`
    Request {
        /// Its method.
        method: String,
        /// Its Request-URI.
        uri: String,
    },
    /// `SIP/2.0 status reason`
    Response(u16),
}

impl Msg {
    /// Read a datagram. The error says what makes it no SIP message at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no empty line after the headers")?;
        let mut lines = head.split("\r\n");
        let start = start(lines.next().unwrap_or_default())?;
        let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
        let msg = Self { start, headers, body: body.to_owned(), octets: bytes.len() };
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            msg.header(name).ok_or_else(|| format!("no {name}"))?;
        }
        Ok(msg)
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response(_) => None,
        }
    }

    /// The Request-URI of a request.
    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response(_) => "",
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response(status) => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// First value of a header, by its long name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All lines of a header, in order, lists not taken apart.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All headers as they came, compact names made long.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// All values of a header, comma-separated lists taken apart.
    pub fn list<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.all(name).flat_map(split_list).collect()
    }

    /// The body as text.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// Number and method of CSeq.
    pub fn cseq(&self) -> (u32, &str) {
        let mut words = self.header("CSeq").unwrap_or_default().split_whitespace();
        let number = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        (number, words.next().unwrap_or_default())
    }

    /// The topmost Via.
    pub fn via(&self) -> &str {
        self.all("Via").flat_map(split_list).next().unwrap_or_default()
    }

    /// Branch of the topmost Via.
    pub fn branch(&self) -> &str {
        param(self.via(), "branch").unwrap_or_default()
    }

    /// Sent-by of the topmost Via.
    pub fn sent_by(&self) -> &str {
        let after = self.via().split_whitespace().nth(1).unwrap_or_default();
        after.split(';').next().unwrap_or_default()
    }

    /// Tag of From or To.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| param(value, "tag"))
    }

    /// URI of the first Contact.
    pub fn contact(&self) -> Option<&str> {
        self.list("Contact").first().map(|value| uri_of(value))
    }

    /// The start line, for reports.
    pub fn summary(&self) -> String {
        match &self.start {
            Start::Request { method, uri } => format!("{method} {uri}"),
            Start::Response(status) => format!("{status} to {}", self.cseq().1),
        }
    }

    /// Length of the datagram in octets.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

/// What an independent parser holds against the message; `None` when it is well.
pub fn judge(bytes: &[u8]) -> Option<String> {
    let message = match rsip::SipMessage::try_from(bytes) {
        Ok(message) => message,
        Err(error) => return Some(format!("rsip: {error}")),
    };
    typed_headers(&message).err().or_else(|| lengths(&message, bytes))
}

fn typed_headers(message: &rsip::SipMessage) -> Result<(), String> {
    let blame = |what: &str, e: rsip::Error| format!("rsip: {what}: {e}");
    let via = message.via_header().and_then(ToTypedHeader::typed).map_err(|e| blame("Via", e))?;
    via.branch().ok_or("Via without a branch")?;
    message.from_header().and_then(ToTypedHeader::typed).map_err(|e| blame("From", e))?;
    message.to_header().and_then(ToTypedHeader::typed).map_err(|e| blame("To", e))?;
    let cseq = message.cseq_header().and_then(ToTypedHeader::typed).map_err(|e| blame("CSeq", e))?;
    message.call_id_header().map_err(|e| blame("Call-ID", e))?;
    if let rsip::SipMessage::Request(request) = message {
        message
            .max_forwards_header()
            .and_then(rsip::headers::MaxForwards::num)
            .map_err(|e| blame("Max-Forwards", e))?;
        if cseq.method != *request.method() {
            return Err("the method of CSeq is not the request's".into());
        }
    }
    Ok(())
}

fn lengths(message: &rsip::SipMessage, bytes: &[u8]) -> Option<String> {
    let header = message.headers().iter().find_map(|h| match h {
        rsip::Header::ContentLength(length) => length.value().trim().parse::<usize>().ok(),
        _ => None,
    });
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.len() - head;
    match header {
        Some(length) if length != body => Some(format!("Content-Length {length}, but {body} octets follow")),
        None if body > 0 => Some("a body without Content-Length".into()),
        _ => None,
    }
}

fn start(line: &str) -> Result<Start, String> {
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let code = rest.split(' ').next().unwrap_or_default();
        return code.parse().map(Start::Response).map_err(|_| format!("status {code}"));
    }
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(uri), Some("SIP/2.0"), None) if !method.is_empty() => {
            Ok(Start::Request { method: method.into(), uri: uri.into() })
        }
        _ => Err(format!("start line {line:?}")),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
    Ok((long_name(name.trim()).to_owned(), value.trim().to_owned()))
}

/// RFC 3261 section 7.3.3: compact forms.
fn long_name(name: &str) -> &str {
    match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "k" => "Supported",
        "s" => "Subject",
        other => other,
    }
}

/// Split at commas outside quotes and angle brackets.
fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut bracketed) = (false, false);
    let parts = value.split(move |c| {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        c == ',' && !quoted && !bracketed
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// The URI of a name-addr or addr-spec: what stands in angle brackets, or all up to the first parameter.
pub fn uri_of(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// A parameter of a header value, outside its angle brackets.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let outside = value.rsplit('>').next().unwrap_or(value);
    let mut parts = outside.split(';').skip(1).map(|p| p.split_once('=').unwrap_or((p, "")));
    parts.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

/// A `name=value` of a challenge or credentials, quotes removed.
pub fn digest_param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let list = value.trim().strip_prefix("Digest")?;
    let mut pairs = split_list(list).filter_map(|p| p.split_once('='));
    pairs.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().trim_matches('"'))
}

/// The user part of a SIP URI.
pub fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// Where a SIP URI with an address as its host points; port 5060 when it names none.
pub fn destination(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:")?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    address(host.split([';', '?']).next()?)
}

/// `host:port` or `host`, the host being an address.
pub fn address(host: &str) -> Option<SocketAddr> {
    let bare = || host.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 5060));
    host.parse().ok().or_else(bare)
}

/// A message to be sent: headers in the order they are added.
#[derive(Clone, Debug)]
pub struct Draft {
    head: String,
}

impl Draft {
    /// A request.
    pub fn request(method: &str, uri: &str) -> Self {
        Self { head: format!("{method} {uri} SIP/2.0\r\n") }
    }

    /// A response.
    pub fn response(status: u16) -> Self {
        Self { head: format!("SIP/2.0 {status} {}\r\n", reason(status)) }
    }

    /// A response to `request`, which came from `from`: its Vias (the top one with `received` and `rport`, RFC 3581), From,
    /// To with our `tag`, Call-ID, CSeq.
    pub fn answer(status: u16, request: &Msg, from: SocketAddr, tag: &str) -> Self {
        let mut draft = Self::response(status);
        for (index, via) in request.list("Via").into_iter().enumerate() {
            draft = draft.header("Via", if index == 0 { stamped(via, from) } else { via.to_owned() });
        }
        draft = draft.header("From", request.header("From").unwrap_or_default());
        let to = request.header("To").unwrap_or_default();
        let tagged = param(to, "tag").is_none() && status > 100;
        draft = draft.header("To", if tagged { format!("{to};tag={tag}") } else { to.to_owned() });
        draft = draft.header("Call-ID", request.call_id());
        draft.header("CSeq", request.header("CSeq").unwrap_or_default())
    }

    /// Add a header.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let _ = write!(self.head, "{name}: {}\r\n", value.as_ref());
        self
    }

    /// Add a header, if there is a value.
    pub fn maybe(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Finish without a body.
    pub fn end(self) -> Bytes {
        Bytes::from(self.head + "Content-Length: 0\r\n\r\n")
    }

    /// Finish with a body.
    pub fn body(self, kind: &str, body: &str) -> Bytes {
        let length = body.len();
        Bytes::from(self.head + &format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"))
    }
}

/// Where the response to a request goes (RFC 3261 section 18.2.2, RFC 3581 section 4).
pub fn reply_to(request: &Msg, from: SocketAddr) -> SocketAddr {
    if param(request.via(), "rport").is_some() {
        return from;
    }
    let port = address(request.sent_by()).map_or(5060, |sent_by| sent_by.port());
    SocketAddr::new(from.ip(), port)
}

/// The Via with `received`, and `rport` filled in where it was asked for.
pub fn stamped(via: &str, from: SocketAddr) -> String {
    let mut out = Vec::new();
    for part in via.split(';') {
        let name = part.split('=').next().unwrap_or_default().trim();
        match name {
            "received" => {}
            "rport" => out.push(format!("rport={}", from.port())),
            _ => out.push(part.to_owned()),
        }
    }
    out.push(format!("received={}", from.ip()));
    out.join(";")
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        603 => "Decline",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.1:5062;rport;branch=z9hG4bK1, SIP/2.0/UDP x;branch=z2\r\n\
        f: <sip:c@d>;tag=1\r\nt: <sip:a@b>\r\ni: id\r\nCSeq: 5 OPTIONS\r\nMax-Forwards: 70\r\nl: 0\r\n\r\n";

    #[test]
    fn reads_compact_names_and_lists() {
        let msg = Msg::parse(OPTIONS.as_bytes()).expect("message");
        assert_eq!(msg.list("Via").len(), 2);
        assert_eq!((msg.branch(), msg.sent_by(), msg.tag("From")), ("z9hG4bK1", "10.0.0.1:5062", Some("1")));
        assert_eq!(msg.cseq(), (5, "OPTIONS"));
    }

    #[test]
    fn an_answer_carries_every_via_and_names_the_source() {
        let msg = Msg::parse(OPTIONS.as_bytes()).expect("message");
        let from: SocketAddr = "203.0.113.7:40001".parse().expect("address");
        let bytes = Draft::answer(200, &msg, from, "t").end();
        let answer = Msg::parse(&bytes).expect("answer");
        assert_eq!(answer.list("Via").len(), 2);
        assert_eq!(param(answer.via(), "rport"), Some("40001"));
        assert_eq!(param(answer.via(), "received"), Some("203.0.113.7"));
        assert_eq!(judge(&bytes), None);
        assert_eq!(reply_to(&msg, from), from);
    }

    #[test]
    fn the_judge_sees_a_wrong_content_length_and_a_wrong_cseq() {
        let long = OPTIONS.replace("l: 0", "Content-Length: 9").replace("v:", "Via:").replace("f:", "From:");
        let long = long.replace("t: ", "To: ").replace("i: id", "Call-ID: id");
        assert!(judge(long.as_bytes()).expect("finding").contains("Content-Length"));
        let wrong = long.replace("Length: 9", "Length: 0").replace("5 OPTIONS", "5 INVITE");
        assert!(judge(wrong.as_bytes()).expect("finding").contains("CSeq"));
    }

    #[test]
    fn a_uri_names_its_user_and_destination() {
        let uri = "sip:alice@127.0.2.1:6001;pl=abc";
        assert_eq!(user_of(uri), "alice");
        assert_eq!(destination(uri), "127.0.2.1:6001".parse().ok());
        assert_eq!(destination("sip:x@10.0.0.1"), "10.0.0.1:5060".parse().ok());
        assert_eq!(destination("sip:x@example.net"), None);
    }
}
