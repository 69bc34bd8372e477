//! The server's side of TLS: who it is, and which clients it wants to know.
//!
//! Relates to: [`TlsAcceptor`](super::TlsAcceptor), which is made of it. Leaves out: several certificates for several
//! names.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{Error, RootCertStore, ServerConfig};

use super::client::add_roots;
use super::material::{Certificates, PrivateKey};
use super::provider::{Versions, other, provider};
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
    certificate: Certificates,
    key: PrivateKey,
    client_ca: Vec<Certificates>,
    client_certificates: ClientCertificates,
    judge: Option<JudgeClient>,
    alpn: Vec<Vec<u8>>,
    versions: Versions,
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
        Self {
            certificate,
            key,
            client_ca: Vec::new(),
            client_certificates: ClientCertificates::NotAsked,
            judge: None,
            alpn: Vec::new(),
            versions: Versions::ALL,
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
    #[must_use]
    pub fn verify_client(
        mut self,
        judge: impl Fn(&ClientVerification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.judge = Some(JudgeClient(Arc::new(judge)));
        self
    }

    /// The application protocols to accept, the best first (ALPN). A client that offers others only is refused, one that
    /// offers none is not concerned. Default: none, which accepts every client.
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

    pub(super) fn build(&self) -> Result<ServerConfig, TlsOptionsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions.supported()?)
            .map_err(|error| other(&error))?
            .with_client_cert_verifier(self.client_verifier()?)
            .with_single_cert(self.certificate.read()?, self.key.read()?)
            .map_err(|error| identity_error(&error, &self.certificate, &self.key))?;
        config.alpn_protocols.clone_from(&self.alpn);
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
            (Some(judge), usual) => Ok(Arc::new(Verifier { judge: judge.clone(), usual, mandatory })),
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
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        Ok(Some(builder.build().map_err(|error| other(&error))?))
    }
}

/// Why rustls does not take a certificate with its key.
pub(super) fn identity_error(error: &Error, certificate: &Certificates, key: &PrivateKey) -> TlsOptionsError {
    match error {
        Error::InconsistentKeys(_) => {
            TlsOptionsError::KeyMismatch { certificate: certificate.origin(), key: key.origin() }
        }
        Error::InvalidCertificate(problem) => {
            TlsOptionsError::Certificate { origin: certificate.origin(), problem: problem.to_string() }
        }
        error => TlsOptionsError::Key { origin: key.origin(), problem: error.to_string() },
    }
}
