//! PEM files to certificates, keys and roots.

use super::provider;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// A certificate that expires within this many seconds is worth a warning.
const SOON: i64 = 14 * 86_400;

/// A certificate with those that vouch for it, and its key.
pub(super) struct Chain {
    pub(super) key: Arc<CertifiedKey>,
}

/// What is wrong, and with which file.
type Problem = (PathBuf, String);

/// Reads a chain and the key of its first certificate.
///
/// # Errors
/// Names the file that cannot be used.
pub(super) fn chain(chain: &Path, key: &Path) -> Result<Chain, Problem> {
    let certificates = certificates(chain).map_err(|what| (chain.to_owned(), what))?;
    let in_key = |what: String| (key.to_owned(), what);
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_key(told("private key", &error)))?;
    let signer = provider().key_provider.load_private_key(private);
    let signer = signer.map_err(|error| in_key(format!("not a key that can sign: {error}")))?;
    let certified = CertifiedKey::new(certificates, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(in_key(format!("not the key of the certificate in {}", chain.display())));
        }
        Err(error) => return Err((chain.to_owned(), error.to_string())),
    }
    Ok(Chain { key: Arc::new(certified) })
}

impl Chain {
    /// When the first of its certificates ends, in seconds since 1970.
    pub(super) fn end(&self) -> Option<i64> {
        let parsed = self.key.cert.iter().filter_map(|der| X509Certificate::from_der(der).ok());
        parsed.map(|(_, certificate)| certificate.validity().not_after.timestamp()).min()
    }

    /// What should be looked at before long.
    pub(super) fn worries(&self) -> Vec<String> {
        let parsed = self.key.cert.iter().filter_map(|der| X509Certificate::from_der(der).ok());
        parsed.filter_map(|(_, certificate)| worry(&certificate, ASN1Time::now())).collect()
    }
}

fn worry(certificate: &X509Certificate<'_>, now: ASN1Time) -> Option<String> {
    let (validity, subject) = (certificate.validity(), certificate.subject());
    let (start, end) = (validity.not_before, validity.not_after);
    if now < start {
        return Some(format!("the certificate of \"{subject}\" is not valid before {start}"));
    }
    if end < now {
        return Some(format!("the certificate of \"{subject}\" expired {end}"));
    }
    (end.timestamp() - now.timestamp() < SOON)
        .then(|| format!("the certificate of \"{subject}\" expires {end}"))
}

/// Reads the certificates of a file as roots.
///
/// # Errors
/// The file cannot be read, holds none, or one that cannot be a root.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("not a root: {error}"))?;
    }
    Ok(roots)
}

/// The roots that the operating system believes.
///
/// # Errors
/// There are none.
pub(super) fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!("the system has no root certificates{why}; name a file of roots"));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| told("certificate", &error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| told("certificate", &error))?;
    if all.is_empty() { Err("no certificate in it (PEM, \"BEGIN CERTIFICATE\")".to_owned()) } else { Ok(all) }
}

fn told(what: &str, error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => format!("cannot be read: {error}"),
        Error::NoItemsFound => format!("no {what} in it (PEM)"),
        other => format!("no {what} in PEM: {other}"),
    }
}
