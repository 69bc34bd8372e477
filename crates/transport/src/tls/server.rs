//! The server's side of TLS: who it is, and which clients it wants to know.
//!
//! Relates to: [`TlsAcceptor`](super::TlsAcceptor), which is made of it. Leaves out: several certificates for several
//! names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::identity::TlsIdentity;
use super::material::{Certificates, PrivateKey};
use super::provider::{Crypto, Versions, other};
use super::roots::add_roots;
use super::verify_client::{JudgeClient, Verifier};
use super::{ClientVerification, TlsOptionsError, TlsVersion};

/// How a server does TLS.
///
/// By default it speaks 1.3 and 1.2 and does not ask clients for certificates.
///
/// ```no_run
/// use gantline_transport::{Certificates, ClientCertificates, PrivateKey, TlsServerOptions};
///
/// let options = TlsServerOptions::new(Certificates::file("server.pem"), PrivateKey::file("server.key"))
///     .client_ca(Certificates::file("devices-ca.pem"))
///     .client_certificates(ClientCertificates::Required);
/// ```
#[derive(Clone, Debug)]
pub struct TlsServerOptions {
    identity: TlsIdentity,
    client_ca: Vec<Certificates>,
    client_certificates: ClientCertificates,
    judge: Option<JudgeClient>,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
    crypto: Crypto,
    watch: Option<Duration>,
}

/// Whether clients have to have certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Clients are not asked.
    #[default]
    NotAsked,
    /// Clients are asked. Who has none is welcome; who has one that cannot be trusted is not.
    Optional,
    /// Only clients with a certificate that can be trusted are let in.
    Required,
}

impl TlsServerOptions {
    /// A server with this certificate, followed by those that lead to its CA, and its key.
    pub const fn new(certificate: Certificates, key: PrivateKey) -> Self {
        Self::with_identity(TlsIdentity::new(certificate, key))
    }

    /// A server with this identity, which may be a PKCS#12 file.
    pub const fn with_identity(identity: TlsIdentity) -> Self {
        Self {
            identity,
            client_ca: Vec::new(),
            client_certificates: ClientCertificates::NotAsked,
            judge: None,
            alpn: Vec::new(),
            versions: Versions::ALL,
            crypto: Crypto::ring(),
            watch: None,
        }
    }

    /// Trusts client certificates of these CAs. May be called more than once. Needs
    /// [`client_certificates`](Self::client_certificates), which says whether they are asked for.
    #[must_use]
    pub fn client_ca(mut self, certificates: Certificates) -> Self {
        self.client_ca.push(certificates);
        self
    }

    /// Whether clients are asked for certificates. Default [`ClientCertificates::NotAsked`].
    #[must_use]
    pub const fn client_certificates(mut self, wanted: ClientCertificates) -> Self {
        self.client_certificates = wanted;
        self
    }

    /// Lets a callback judge each client certificate, after the usual rules have. Its word is final: it may accept what
    /// they refuse and refuse what they accept. It must not block. It is not asked about clients without a certificate.
    /// It is asked at each connect: no TLS session is resumed, because that would bring no certificate.
    #[must_use]
    pub fn verify_client(
        mut self,
        judge: impl Fn(&ClientVerification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.judge = Some(JudgeClient(Arc::new(judge)));
        self
    }

    /// The application protocols to accept, the best first (ALPN). A client that offers others only is refused, one
    /// that offers none is not concerned. Default: none, which accepts every client.
    #[must_use]
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The versions to speak. Default: 1.2 and 1.3.
    #[must_use]
    pub fn versions(mut self, versions: &[TlsVersion]) -> Self {
        self.versions = Versions::new(versions);
        self
    }

    /// Who does the cryptography, such as aws-lc-rs for FIPS or for key exchange that withstands quantum computers.
    /// Default: ring. See [`TlsClientOptions::crypto_provider`](super::TlsClientOptions::crypto_provider).
    #[must_use]
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.crypto = Crypto::of(provider);
        self
    }

    /// Looks that often whether the files of these options have changed, and then reads them again as
    /// [`reload_from_files`](super::TlsAcceptor::reload_from_files) does: for new connections, and only if everything
    /// is right; what is wrong is logged, once for each change. At least 1 s. Default: nobody looks.
    ///
    /// A server looks by itself; who has a listener of their own runs
    /// [`TlsAcceptor::watch`](super::TlsAcceptor::watch).
    #[must_use]
    pub fn watch_files(mut self, every: Duration) -> Self {
        self.watch = Some(every.max(LEAST_WATCH));
        self
    }

    pub(super) const fn watched_every(&self) -> Option<Duration> {
        self.watch
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let ca = self.client_ca.iter().flat_map(Certificates::files);
        self.identity.files().into_iter().chain(ca).map(Into::into).collect()
    }

    pub(super) fn build(&self) -> Result<ServerConfig, TlsOptionsError> {
        let (chain, key) = self.identity.read()?;
        let mut config = ServerConfig::builder_with_provider(self.crypto.provider())
            .with_protocol_versions(&self.versions.supported()?)
            .map_err(|error| other(&error))?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_single_cert(chain, key)
            .map_err(|error| self.identity.refused(&error))?;
        config.alpn_protocols.clone_from(&self.alpn);
        if self.judge.is_some() {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn client_verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsOptionsError> {
        let judged = self.judge.is_some() || !self.client_ca.is_empty();
        match self.client_certificates {
            ClientCertificates::NotAsked if judged => {
                return Err(TlsOptionsError::ClientCertificatesNotAsked);
            }
            ClientCertificates::NotAsked => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientCertificates::Optional | ClientCertificates::Required if !judged => {
                return Err(TlsOptionsError::NothingToJudgeBy);
            }
            ClientCertificates::Optional | ClientCertificates::Required => {}
        }
        let mandatory = self.client_certificates == ClientCertificates::Required;
        let usual = self.usual_verifier(mandatory)?;
        match (&self.judge, usual) {
            (None, Some(usual)) => Ok(usual),
            (None, None) => Err(TlsOptionsError::NothingToJudgeBy),
            (Some(judge), usual) => {
                let (judge, crypto) = (judge.clone(), self.crypto.clone());
                Ok(Arc::new(Verifier { judge, usual, mandatory, crypto }))
            }
        }
    }

    fn usual_verifier(
        &self,
        mandatory: bool,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsOptionsError> {
        if self.client_ca.is_empty() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        for certificates in &self.client_ca {
            add_roots(&mut roots, certificates)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), self.crypto.provider());
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        Ok(Some(builder.build().map_err(|error| other(&error))?))
    }
}

/// More often would only wear the disk.
const LEAST_WATCH: Duration = Duration::from_secs(1);
