//! Just enough of SIP messages to carry a plain call through a proxy.

/// A received message.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    head: &'a str,
    body: &'a str,
}

impl<'a> Received<'a> {
    /// `None` when it has no end of headers.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Self { head, body })
    }

    /// The description.
    pub const fn body(&self) -> &'a str {
        self.body
    }

    /// The status code; `None` when it is a request.
    pub fn status(&self) -> Option<u16> {
        self.head.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method: of the request, or of what is answered.
    pub fn method(&self) -> &'a str {
        self.header("CSeq").and_then(|cseq| cseq.split_ascii_whitespace().nth(1)).unwrap_or_default()
    }

    /// The values of all headers of this name, in their order.
    pub fn headers(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines().filter_map(move |(of, value)| of.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// Lines of these headers, as they came, each with its end.
    pub fn copied(&self, names: &[&str]) -> String {
        let wanted = |of: &str| names.iter().any(|name| of.eq_ignore_ascii_case(name));
        self.lines().filter(|(of, _)| wanted(of)).map(|(of, value)| format!("{of}: {value}\r\n")).collect()
    }

    fn lines(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.trim(), value.trim()))
    }

    /// The URI of the first Contact, without its brackets.
    pub fn contact(&self) -> Option<&'a str> {
        let contact = self.header("Contact")?;
        match contact.split_once('<') {
            Some((_, rest)) => rest.split_once('>').map(|(uri, _)| uri),
            None => contact.split(';').next(),
        }
    }

    /// The way of later requests, as the caller sees it: all Record-Route entries, the last one first (RFC 3261 section
    /// 12.1.2), as Route lines.
    pub fn routes(&self) -> String {
        let mut entries: Vec<&str> =
            self.headers("Record-Route").flat_map(|line| line.split(',')).map(str::trim).collect();
        entries.reverse();
        entries.iter().map(|entry| format!("Route: {entry}\r\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nRecord-Route: <sip:1;lr>,\
        <sip:2;lr>\r\nRecord-Route: <sip:3;lr>\r\nCSeq: 1 INVITE\r\nContact: \"x\" <sip:c@d;ob>;q=1\r\n\r\nv=0\r\n";

    #[test]
    fn an_answer_is_understood() {
        let answer = Received::parse(ANSWER).expect("message");
        assert_eq!((answer.status(), answer.method(), answer.body()), (Some(200), "INVITE", "v=0\r\n"));
        assert_eq!(answer.contact(), Some("sip:c@d;ob"));
        assert_eq!(answer.routes(), "Route: <sip:3;lr>\r\nRoute: <sip:2;lr>\r\nRoute: <sip:1;lr>\r\n");
        assert_eq!(answer.copied(&["via"]), "Via: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\n");
    }

    #[test]
    fn a_request_has_no_status() {
        let request = Received::parse("BYE sip:a SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n").expect("message");
        assert_eq!((request.status(), request.method()), (None, "BYE"));
        assert!(Received::parse("BYE sip:a SIP/2.0\r\n").is_none());
    }
}
