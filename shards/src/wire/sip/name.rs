//! Names of header fields.

/// A header field that Portolan knows; long and compact forms (RFC 3261 7.3.3, IANA) are the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the header field of that name")]
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    Route,
    RecordRoute,
    MaxForwards,
    ContentLength,
    ContentType,
    ContentEncoding,
    ContentDisposition,
    Expires,
    MinExpires,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    Path,
    ServiceRoute,
    Supported,
    Require,
    ProxyRequire,
    Allow,
    AllowEvents,
    Event,
    ReferTo,
    ReferredBy,
    Replaces,
    SessionExpires,
    MinSe,
    RSeq,
    RAck,
    Warning,
    RetryAfter,
    UserAgent,
    Server,
    Subject,
    SubscriptionState,
    AcceptContact,
    RejectContact,
    RequestDisposition,
    Identity,
    IdentityInfo,
    /// Any other: see the header's `name_span`.
    Other,
}

/// Octets of the longest name below.
const LONGEST: usize = 19;

impl Name {
    /// The name that `text` spells, in long or compact form, in any case.
    pub fn of(text: &[u8]) -> Self {
        let mut buffer = [0_u8; LONGEST];
        let Some(lower) = buffer.get_mut(..text.len()) else {
            return Self::Other;
        };
        lower.copy_from_slice(text);
        lower.make_ascii_lowercase();
        Self::of_lower(lower)
    }

    fn of_lower(lower: &[u8]) -> Self {
        match lower {
            b"via" | b"v" => Self::Via,
            b"from" | b"f" => Self::From,
            b"to" | b"t" => Self::To,
            b"call-id" | b"i" => Self::CallId,
            b"cseq" => Self::CSeq,
            b"contact" | b"m" => Self::Contact,
            b"route" => Self::Route,
            b"record-route" => Self::RecordRoute,
            b"max-forwards" => Self::MaxForwards,
            b"content-length" | b"l" => Self::ContentLength,
            b"content-type" | b"c" => Self::ContentType,
            b"content-encoding" | b"e" => Self::ContentEncoding,
            b"content-disposition" => Self::ContentDisposition,
            b"expires" => Self::Expires,
            b"min-expires" => Self::MinExpires,
            b"authorization" => Self::Authorization,
            b"proxy-authorization" => Self::ProxyAuthorization,
            b"www-authenticate" => Self::WwwAuthenticate,
            b"proxy-authenticate" => Self::ProxyAuthenticate,
            b"path" => Self::Path,
            b"service-route" => Self::ServiceRoute,
            b"supported" | b"k" => Self::Supported,
            b"require" => Self::Require,
            b"proxy-require" => Self::ProxyRequire,
            b"allow" => Self::Allow,
            b"allow-events" | b"u" => Self::AllowEvents,
            b"event" | b"o" => Self::Event,
            _ => Self::of_lower_rest(lower),
        }
    }

    fn of_lower_rest(lower: &[u8]) -> Self {
        match lower {
            b"refer-to" | b"r" => Self::ReferTo,
            b"referred-by" | b"b" => Self::ReferredBy,
            b"replaces" => Self::Replaces,
            b"session-expires" | b"x" => Self::SessionExpires,
            b"min-se" => Self::MinSe,
            b"rseq" => Self::RSeq,
            b"rack" => Self::RAck,
            b"warning" => Self::Warning,
            b"retry-after" => Self::RetryAfter,
            b"user-agent" => Self::UserAgent,
            b"server" => Self::Server,
            b"subject" | b"s" => Self::Subject,
            b"subscription-state" => Self::SubscriptionState,
            b"accept-contact" | b"a" => Self::AcceptContact,
            b"reject-contact" | b"j" => Self::RejectContact,
            b"request-disposition" | b"d" => Self::RequestDisposition,
            b"identity" | b"y" => Self::Identity,
            b"identity-info" | b"n" => Self::IdentityInfo,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_forms_are_the_same_name() {
        let pairs: [(&[u8], &[u8]); 19] = [
            (b"v", b"Via"),
            (b"m", b"Contact"),
            (b"i", b"Call-ID"),
            (b"l", b"Content-Length"),
            (b"t", b"To"),
            (b"c", b"Content-Type"),
            (b"f", b"From"),
            (b"k", b"Supported"),
            (b"s", b"Subject"),
            (b"e", b"Content-Encoding"),
            (b"o", b"Event"),
            (b"u", b"Allow-Events"),
            (b"r", b"Refer-To"),
            (b"b", b"Referred-By"),
            (b"x", b"Session-Expires"),
            (b"a", b"Accept-Contact"),
            (b"j", b"Reject-Contact"),
            (b"d", b"Request-Disposition"),
            (b"y", b"Identity"),
        ];
        for (compact, long) in pairs {
            assert_ne!(Name::of(long), Name::Other);
            assert_eq!(Name::of(compact), Name::of(long));
        }
        assert_eq!(Name::of(b"n"), Name::of(b"Identity-Info"));
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(Name::of(b"PROXY-authorization"), Name::ProxyAuthorization);
        assert_eq!(Name::of(b"V"), Name::Via);
    }

    #[test]
    fn the_longest_names_fit() {
        for name in [&b"proxy-authorization"[..], b"request-disposition", b"content-disposition"] {
            assert_ne!(Name::of(name), Name::Other);
            assert!(name.len() <= LONGEST);
        }
        assert_eq!(Name::of(&[b'x'; 70]), Name::Other);
    }
}
