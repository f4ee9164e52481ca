//! Who we are under TLS and whom we believe: certificates, keys and roots of each realm, out of PEM files.
//!
//! A generation of contexts is immutable. New connections take the newest one; a connection goes on with the one that
//! it began under.

mod files;
mod verify;

use files::Chain;
use portolan_shards::types::RealmId;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// TLS of one realm, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmTls {
    /// Chains (the realm's own certificate first) and their keys, in PEM files. A caller gets the one that has the name
    /// that it asks for (SNI, RFC 6066 section 3), else the first. The first one is also shown to servers that ask for
    /// a client certificate. Empty: the realm can dial but not listen.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Roots that client certificates must lead to; `None`: clients are not asked for one.
    pub clients: Option<PathBuf>,
    /// Roots that servers' certificates must lead to; `None`: those of the system.
    pub roots: Option<PathBuf>,
    /// A client without a certificate is refused. Needs `clients`.
    pub require_client: bool,
    /// Verify servers that are dialled: root, name and date. `false` accepts any certificate.
    pub verify_servers: bool,
}

impl Default for RealmTls {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            clients: None,
            roots: None,
            require_client: false,
            verify_servers: true,
        }
    }
}

/// What is wrong with the TLS of a realm, and in which file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {what}", .file.display())]
pub struct TlsProblem {
    /// The realm that names the file.
    pub realm: RealmId,
    /// The file; empty for the roots of the system.
    pub file: PathBuf,
    /// What is wrong, in a sentence without a full stop.
    pub what: String,
}

/// One generation of the realms' certificates, keys and roots. A realm without an entry can neither listen nor dial by
/// TLS.
#[derive(Clone, Default)]
pub struct Contexts {
    realms: HashMap<RealmId, Context>,
    warnings: Vec<TlsProblem>,
    expiries: Vec<Expiry>,
}

/// When a file of certificates is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The realm that names the file.
    pub realm: RealmId,
    /// The chain.
    pub file: PathBuf,
    /// When the first of its certificates ends, in seconds since 1970.
    pub at: i64,
}

#[derive(Clone)]
struct Context {
    server: Option<Arc<ServerConfig>>,
    client: Arc<ClientConfig>,
}

impl Contexts {
    /// Reads all files and checks that they fit together.
    ///
    /// # Errors
    /// All problems of all realms: a file that cannot be read or holds no certificate or key, a key that belongs to
    /// another certificate, roots that are none.
    pub fn load(realms: &[(RealmId, RealmTls)]) -> Result<Self, Vec<TlsProblem>> {
        let mut contexts = Self::default();
        let mut problems = Vec::new();
        for (realm, tls) in realms {
            let mut loading = Loading {
                realm: *realm,
                warnings: &mut contexts.warnings,
                problems: &mut problems,
                expiries: &mut contexts.expiries,
            };
            if let Some(context) = loading.context(tls) {
                contexts.realms.insert(*realm, context);
            }
        }
        if problems.is_empty() { Ok(contexts) } else { Err(problems) }
    }

    /// What works but should be looked at: certificates that have expired, are not valid yet, or expire within 14 days.
    pub fn warnings(&self) -> &[TlsProblem] {
        &self.warnings
    }

    /// When each chain ends.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    /// For connections that this realm accepts; `None` when it has no certificate.
    pub fn server(&self, realm: RealmId) -> Option<Arc<ServerConfig>> {
        self.realms.get(&realm)?.server.clone()
    }

    /// For connections that this realm dials; `None` when it has no TLS.
    pub fn client(&self, realm: RealmId) -> Option<Arc<ClientConfig>> {
        self.realms.get(&realm).map(|context| context.client.clone())
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let realms: Vec<_> = self.realms.keys().collect();
        f.debug_struct("Contexts").field("realms", &realms).field("warnings", &self.warnings).finish()
    }
}

/// One realm while its files are read.
struct Loading<'a> {
    realm: RealmId,
    warnings: &'a mut Vec<TlsProblem>,
    problems: &'a mut Vec<TlsProblem>,
    expiries: &'a mut Vec<Expiry>,
}

impl Loading<'_> {
    /// `None`: there are problems.
    fn context(&mut self, tls: &RealmTls) -> Option<Context> {
        let found = self.problems.len();
        let chains: Vec<Chain> = tls.certificates.iter().filter_map(|pair| self.chain(pair)).collect();
        let server = self.server(tls, &chains);
        let client = self.client(tls, chains.first());
        let context = Context { server, client: client? };
        (self.problems.len() == found).then_some(context)
    }

    fn chain(&mut self, (chain, key): &(PathBuf, PathBuf)) -> Option<Chain> {
        let read = files::chain(chain, key).map_err(|(file, what)| self.problem(&file, &what)).ok()?;
        for what in read.worries() {
            self.warnings.push(TlsProblem { realm: self.realm, file: chain.clone(), what });
        }
        if let Some(at) = read.end() {
            self.expiries.push(Expiry { realm: self.realm, file: chain.clone(), at });
        }
        Some(read)
    }

    fn server(&mut self, tls: &RealmTls, chains: &[Chain]) -> Option<Arc<ServerConfig>> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
        let builder = match &tls.clients {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(self.roots(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = if tls.require_client { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| self.problem(file, &e)).ok()?)
            }
        };
        if chains.is_empty() {
            return None;
        }
        let keys = chains.iter().map(|chain| chain.key.clone()).collect();
        let mut config = builder.with_cert_resolver(Arc::new(verify::ByName::new(keys)));
        // Tickets of one realm must not open another: its clients may have to show other certificates.
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| self.problem(Path::new(""), &error)).ok()?;
        Some(Arc::new(config))
    }

    fn client(&mut self, tls: &RealmTls, own: Option<&Chain>) -> Option<Arc<ClientConfig>> {
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().ok()?;
        let builder = if tls.verify_servers {
            let roots = match &tls.roots {
                Some(file) => self.roots(file)?,
                None => files::system_roots().map_err(|what| self.problem(Path::new(""), &what)).ok()?,
            };
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            let file = tls.roots.clone().unwrap_or_default();
            builder.with_webpki_verifier(verifier.map_err(|error| self.problem(&file, &error)).ok()?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::Anyone::new(provider())))
        };
        let config = match own {
            Some(chain) => builder.with_client_cert_resolver(Arc::new(verify::Own(chain.key.clone()))),
            None => builder.with_no_client_auth(),
        };
        Some(Arc::new(config))
    }

    fn roots(&mut self, file: &Path) -> Option<RootCertStore> {
        files::roots(file).map_err(|what| self.problem(file, &what)).ok()
    }

    fn problem(&mut self, file: &Path, what: &dyn fmt::Display) {
        self.problems.push(TlsProblem { realm: self.realm, file: file.to_owned(), what: what.to_string() });
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
