//! The client's side of TLS: what it trusts, who it is, and the handshake.
//!
//! Relates to: [`connect`](crate::connect()), which uses it for `mqtts://`. Leaves out: the system's CAs; the built-in ones
//! are those of Mozilla (webpki-roots), which are the same everywhere.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::material::{Certificates, PrivateKey};
use super::provider::{Versions, info_of, other, provider};
use super::server::identity_error;
use super::verify_server::Trust;
use super::{ServerVerification, TlsFailure, TlsOptionsError, TlsVersion};
use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::peer::PeerInfo;
use crate::stream::Stream;

/// How a client does TLS.
///
/// By default it speaks 1.3 and 1.2, trusts the CAs of Mozilla, and has no certificate itself.
///
/// ```no_run
/// use gantline_transport::{Certificates, PrivateKey, TlsClientOptions};
///
/// let options = TlsClientOptions::default()
///     .ca(Certificates::file("company-ca.pem"))
///     .client_certificate(Certificates::file("device.pem"), PrivateKey::file("device.key"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsClientOptions {
    ca: Vec<Certificates>,
    extra_ca: Vec<Certificates>,
    identity: Option<(Certificates, PrivateKey)>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    versions: Versions,
    trust: Trust,
    /// What these options come to, kept so that later connections resume TLS sessions of earlier ones. Not for files,
    /// which may change.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl TlsClientOptions {
    /// Trusts these CAs and no longer the built-in ones. May be called more than once.
    #[must_use]
    pub fn ca(mut self, certificates: Certificates) -> Self {
        self.ca.push(certificates);
        self.changed()
    }

    /// Trusts these CAs as well. May be called more than once.
    #[must_use]
    pub fn extra_ca(mut self, certificates: Certificates) -> Self {
        self.extra_ca.push(certificates);
        self.changed()
    }

    /// The certificate to show to a server that asks for one, and its key. Default: none.
    #[must_use]
    pub fn client_certificate(mut self, chain: Certificates, key: PrivateKey) -> Self {
        self.identity = Some((chain, key));
        self.changed()
    }

    /// The application protocols to offer, the best first (ALPN), for servers that want one: `mqtt` is the registered
    /// name. Default: none.
    #[must_use]
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self.changed()
    }

    /// The name to tell the server (SNI) and to look for in its certificate. Default: the host of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The versions to speak. Default: 1.2 and 1.3.
    #[must_use]
    pub fn versions(mut self, versions: &[TlsVersion]) -> Self {
        self.versions = Versions::new(versions);
        self.changed()
    }

    /// Lets a callback judge each certificate, after the usual rules have. Its word is final: it may accept what they
    /// refuse, such as a self-signed certificate that it knows, and refuse what they accept. It must not block.
    #[must_use]
    pub fn verify_server(
        mut self,
        judge: impl Fn(&ServerVerification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.trust = Trust::Callback(Arc::new(judge));
        self.changed()
    }

    /// Accepts every certificate. **Anybody on the way can then read and change everything**, passwords included; for
    /// experiments only. Each connect logs a warning.
    #[must_use]
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Anybody;
        self.changed()
    }

    /// The configuration that we keep is out of date, for these options but not for their earlier clones.
    fn changed(mut self) -> Self {
        self.config = Arc::default();
        self
    }

    fn reads_files(&self) -> bool {
        let identity = self.identity.iter().any(|(chain, key)| chain.is_file() || key.is_file());
        identity || self.ca.iter().chain(&self.extra_ca).any(Certificates::is_file)
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, TlsOptionsError> {
        if self.reads_files() {
            let options = self.clone();
            let built = tokio::task::spawn_blocking(move || options.build());
            return built.await.map_err(|error| other(&error))?.map(Arc::new);
        }
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    fn build(&self) -> Result<ClientConfig, TlsOptionsError> {
        let mut roots = RootCertStore::empty();
        if self.ca.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for certificates in self.ca.iter().chain(&self.extra_ca) {
            add_roots(&mut roots, certificates)?;
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions.supported()?)
            .map_err(|error| other(&error))?
            .dangerous()
            .with_custom_certificate_verifier(self.trust.verifier(roots)?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.read()?, key.read()?)
                .map_err(|error| identity_error(&error, chain, key))?,
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn name_for(&self, address: &Address) -> Result<ServerName<'static>, TlsOptionsError> {
        let host = if address.host().is_empty() { "localhost" } else { address.host() };
        let name = self.server_name.as_deref().unwrap_or(host);
        // A zone is ours to know, and no certificate has one.
        let bare = name.split_once('%').map_or(name, |(ip, _)| ip);
        ServerName::try_from(bare.to_owned())
            .map_err(|_| TlsOptionsError::ServerName { name: name.to_owned() })
    }
}

pub(super) fn add_roots(
    roots: &mut RootCertStore,
    certificates: &Certificates,
) -> Result<(), TlsOptionsError> {
    for certificate in certificates.read()? {
        roots.add(certificate).map_err(|error| TlsOptionsError::Certificate {
            origin: certificates.origin(),
            problem: error.to_string(),
        })?;
    }
    Ok(())
}

/// Checks the options, gets a stream with `socket`, and shakes hands over it.
pub(crate) async fn connect(
    address: &Address,
    options: &TlsClientOptions,
    socket: impl Future<Output = Result<Stream, TransportError>>,
) -> Result<Stream, TransportError> {
    let (name, config) = (options.name_for(address)?, options.config().await?);
    if matches!(options.trust, Trust::Anybody) {
        tracing::warn!(%address, "any certificate is accepted: this connection is not protected against anybody on the way");
    }
    let stream = socket.await?;
    let info = PeerInfo::clone(stream.info()).with_scheme(Scheme::Mqtts);
    match tokio_rustls::TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => {
            let agreed = info_of(stream.get_ref().1);
            Ok(Stream::from_tls(stream.into(), info.with_tls(agreed)))
        }
        Err(error) => {
            let address = address.clone().without_credentials();
            Err(TransportError::Handshake { address, failure: Box::new(TlsFailure::of_handshake(error)) })
        }
    }
}
