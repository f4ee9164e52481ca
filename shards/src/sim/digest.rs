//! Digest authentication (RFC 2617, MD5), computed by `rsip`.

use super::message::digest_param;
use rsip::headers::auth::{Algorithm, AuthQop};
use rsip::services::DigestGenerator;

/// A user's name and secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// The Authorization value that answers `challenge` for `method` and `uri`; `None` if it cannot be answered.
    pub fn answer(&self, challenge: &str, method: &str, uri: &str) -> Option<String> {
        let (realm, nonce) = (digest_param(challenge, "realm")?, digest_param(challenge, "nonce")?);
        let qop = digest_param(challenge, "qop").is_some();
        let response = respond(self, realm, nonce, method, uri, qop)?;
        let user = &self.user;
        let tail = if qop { ", qop=auth, nc=00000001, cnonce=\"0a4f113b\"" } else { "" };
        Some(format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5{tail}"
        ))
    }

    /// Is `authorization` right for these credentials, this nonce and this method?
    pub fn verify(&self, authorization: &str, nonce: &str, method: &str) -> bool {
        let get = |name| digest_param(authorization, name);
        let (Some(realm), Some(uri), Some(response)) = (get("realm"), get("uri"), get("response")) else {
            return false;
        };
        get("nonce") == Some(nonce)
            && get("username") == Some(&self.user)
            && respond(self, realm, nonce, method, uri, get("qop").is_some()).as_deref() == Some(response)
    }
}

fn respond(
    who: &Credentials,
    realm: &str,
    nonce: &str,
    method: &str,
    uri: &str,
    qop: bool,
) -> Option<String> {
    let qop = qop.then(|| AuthQop::Auth { cnonce: "0a4f113b".into(), nc: 1 });
    let generator = DigestGenerator {
        username: &who.user,
        password: &who.password,
        nonce,
        uri: &rsip::Uri::try_from(uri).ok()?,
        realm,
        method: &method.parse().ok()?,
        qop: qop.as_ref(),
        algorithm: Algorithm::Md5,
    };
    Some(generator.compute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Credentials {
        Credentials { user: "alice".into(), password: "secret".into() }
    }

    #[test]
    fn the_right_answer_is_accepted_and_others_are_not() {
        for qop in ["", ", qop=\"auth\""] {
            let challenge = format!("Digest realm=\"example.net\", nonce=\"n1\", algorithm=MD5{qop}");
            let answer = alice().answer(&challenge, "REGISTER", "sip:example.net").expect("answer");
            assert!(alice().verify(&answer, "n1", "REGISTER"));
            assert!(!alice().verify(&answer, "n2", "REGISTER"));
            assert!(!alice().verify(&answer, "n1", "INVITE"));
            let mallory = Credentials { password: "guess".into(), ..alice() };
            assert!(!mallory.verify(&answer, "n1", "REGISTER"));
        }
    }
}
