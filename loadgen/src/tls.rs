//! TLS of terminals and softswitch: whom they trust, and what the softswitch shows.

use anyhow::{Context, ensure};
use portolan_shards::types::Transport;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom to trust, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of those who may vouch for a server (PEM).
    pub ca: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// The name that servers' certificates must show; without one, the address that is dialled.
    pub name: Option<String>,
    /// The softswitch's own chain and key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What connections are made from.
pub(crate) struct Contexts {
    client: Option<Arc<ClientConfig>>,
    server: Option<Arc<ServerConfig>>,
    name: Option<ServerName<'static>>,
}

impl Contexts {
    /// Load what is needed to dial or accept connections over TLS.
    ///
    /// # Errors
    /// A file cannot be read or used, or nobody is trusted though TLS is dialled.
    pub(crate) fn load(tls: &Tls, dials: bool, accepts: bool) -> anyhow::Result<Self> {
        let client = if dials { Some(Arc::new(client(tls)?)) } else { None };
        let server = match (&tls.certificate, accepts) {
            (Some((chain, key)), true) => Some(Arc::new(server(chain, key)?)),
            (None, true) => anyhow::bail!("a softswitch over TLS needs a certificate and a key"),
            (_, false) => None,
        };
        let name = tls.name.clone().map(ServerName::try_from).transpose().context("name of the server")?;
        Ok(Self { client, server, name })
    }

    /// The client's half of a connection; `None` for TCP.
    pub(crate) fn dial(&self, transport: Transport, to: IpAddr) -> io::Result<Option<Connection>> {
        let Some(client) = self.client.as_ref().filter(|_| transport == Transport::Tls) else {
            return Ok(None);
        };
        let name = self.name.clone().unwrap_or_else(|| ServerName::from(to));
        let connection = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
        Ok(Some(connection.into()))
    }

    /// The server's half of a connection; `None` for TCP.
    pub(crate) fn accept(&self, transport: Transport) -> io::Result<Option<Connection>> {
        let Some(server) = self.server.as_ref().filter(|_| transport == Transport::Tls) else {
            return Ok(None);
        };
        Ok(Some(ServerConnection::new(Arc::clone(server)).map_err(io::Error::other)?.into()))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client(tls: &Tls) -> anyhow::Result<ClientConfig> {
    ensure!(tls.insecure || tls.ca.is_some(), "TLS needs --tls-ca FILE, or --tls-insecure to trust anybody");
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &tls.ca {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider()))),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).with_context(|| format!("{} holds no root", file.display()))?;
    }
    Ok(roots)
}

fn server(chain: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("key in {}", key.display()))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(certificates(chain)?, key)?)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("certificates in {}", file.display()))
}

/// Trusts any certificate, but still checks that the server has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
