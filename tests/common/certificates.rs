//! Certificates for one test, in files.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use portolan::tls::RealmTls;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An authority and the files that it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    /// A new one; its own certificate is in `roots.pem`.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("roots.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    /// Its own certificate.
    pub fn roots(&self) -> PathBuf {
        self.directory.path().join("roots.pem")
    }

    /// A chain and a key for these names and addresses.
    pub fn sign(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        self.sign_as(names[0], &params.unwrap())
    }

    /// As [`Authority::sign`], with all that a certificate may say.
    pub fn sign_as(&self, file: &str, params: &CertificateParams) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate: Certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.directory.path().join(format!("{file}.{end}"));
        write(&path("pem"), &certificate.pem());
        write(&path("key"), &key.serialize_pem());
        (path("pem"), path("key"))
    }

    /// A realm with this certificate that believes this authority.
    pub fn realm(&self, names: &[&str]) -> RealmTls {
        RealmTls { certificates: vec![self.sign(names)], roots: Some(self.roots()), ..RealmTls::default() }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
