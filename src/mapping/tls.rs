//! Where a realm's certificates are. The files themselves are read when the configuration is put to work.

use super::check::Check;
use super::merge::Item;
use super::place::At;
use super::raw::{RawListener, RawRealm, RawRoots, RawTls};
use crate::tls::RealmTls;
use std::path::{Path, PathBuf};

/// The same files, relative ones from this directory.
pub(super) fn under(tls: &RealmTls, directory: &Path) -> RealmTls {
    let pair = |(certificate, key): &(PathBuf, PathBuf)| (directory.join(certificate), directory.join(key));
    RealmTls {
        certificates: tls.certificates.iter().map(pair).collect(),
        clients: tls.clients.as_ref().map(|file| directory.join(file)),
        roots: tls.roots.as_ref().map(|file| directory.join(file)),
        ..tls.clone()
    }
}

/// Check what a realm says about TLS; `None` when it has none.
pub(super) fn tls(check: &mut Check<'_>, item: &Item<'_, RawRealm>) -> Option<RealmTls> {
    let (raw, at) = (&item.raw, item.at);
    let listener = raw.sip.iter().position(|l| matches!(l, RawListener::Tls(_) | RawListener::Wss(_)));
    match (&raw.tls, listener) {
        (None, listener) => {
            let what = listener.map(|n| at.field("sip").nth(n));
            needs_certificate(check, what.or(raw.per_shard_tls.map(|_| at.field("per_shard_tls"))));
            None
        }
        (Some(tls), listener) => {
            if listener.is_none() && raw.per_shard_tls.is_none() {
                let hint = "add a `Tls(5061)` listener, or in a core realm `per_shard_tls`, or remove it";
                check.warning_at_key(at.field("tls"), "nothing uses these certificates", hint);
            }
            Some(files(check, at.field("tls"), tls))
        }
    }
}

fn needs_certificate(check: &mut Check<'_>, at: Option<At<'_>>) {
    if let Some(at) = at {
        let hint = "add `tls: (certificate: \"chain.pem\", key: \"key.pem\")` to the realm";
        check.error(at, "TLS needs a certificate", hint);
    }
}

fn files(check: &mut Check<'_>, at: At<'_>, raw: &RawTls) -> RealmTls {
    let mut file = |at: At<'_>, name: &str| {
        if name.is_empty() {
            check.error(at, "a file's name is empty", "relative names start at the main file's directory");
        }
        PathBuf::from(name)
    };
    let first = (file(at.field("certificate"), &raw.certificate), file(at.field("key"), &raw.key));
    let also = raw.also.iter().enumerate().map(|(n, (certificate, key))| {
        let at = at.field("also").nth(n);
        (file(at.nth(0), certificate), file(at.nth(1), key))
    });
    let also: Vec<_> = also.collect();
    let clients = raw.clients.as_ref().map(|name| file(at.field("clients"), name));
    let roots = match &raw.roots {
        Some(RawRoots::File(name)) => Some(file(at.field("roots"), name)),
        Some(RawRoots::Word) => system(check, at.field("roots")),
        None => None,
    };
    RealmTls {
        certificates: std::iter::once(first).chain(also).collect(),
        require_client: clients.is_some(),
        clients,
        roots,
        verify_servers: true,
    }
}

fn system(check: &mut Check<'_>, at: At<'_>) -> Option<PathBuf> {
    if &at.source.text[at.span()] != "System" {
        let hint = "`System`, or a file's name in double quotes";
        check.error(at, "these are no authorities", hint);
    }
    None
}
