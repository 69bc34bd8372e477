//! The client's side of TLS: what it trusts, who it is, and the handshake.
//!
//! Relates to: [`connect`](crate::connect()), which uses it for `mqtts://`. Leaves out: what CAs are trusted
//! (`roots.rs`), and how a certificate is judged (`verify_server.rs`).

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

use super::identity::{BoxError, IdentitySource, TlsIdentity};
use super::material::{Certificates, PrivateKey};
use super::provider::{Crypto, Versions, info_of, other};
use super::roots::Roots;
use super::verify_server::Trust;
use super::{HTTP, ServerVerification, TlsFailure, TlsOptionsError, TlsVersion};
use crate::address::Address;
use crate::error::TransportError;
use crate::peer::PeerInfo;
use crate::stream::Stream;
use crate::tcp::host_of;

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
    roots: Roots,
    identity: Option<IdentitySource>,
    alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    versions: Versions,
    trust: Trust,
    crypto: Crypto,
    /// What these options come to, kept so that later connections resume TLS sessions of earlier ones. Not for files,
    /// which may change.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl TlsClientOptions {
    /// Trusts these CAs and no longer the built-in ones, which are those of Mozilla. May be called more than once.
    #[must_use]
    pub fn ca(mut self, certificates: Certificates) -> Self {
        self.roots.own.push(certificates);
        self.changed()
    }

    /// Trusts the CAs of the system and no longer the built-in ones; together with [`ca`](Self::ca), both. On macOS and
    /// Windows the system then also judges, revocation included; elsewhere its CAs are read from where its OpenSSL has
    /// them, or from `SSL_CERT_FILE` and `SSL_CERT_DIR`, once for these options and their clones. Connecting is an
    /// error if there is nothing to trust.
    #[cfg(feature = "system-roots")]
    #[must_use]
    pub fn system_roots(mut self) -> Self {
        self.roots.system = true;
        self.changed()
    }

    /// Trusts these CAs beside all others. May be called more than once.
    #[must_use]
    pub fn extra_ca(mut self, certificates: Certificates) -> Self {
        self.roots.extra.push(certificates);
        self.changed()
    }

    /// The certificate to show to a server that asks for one, and its key. Default: none.
    #[must_use]
    pub fn client_certificate(self, chain: Certificates, key: PrivateKey) -> Self {
        self.identity(TlsIdentity::new(chain, key))
    }

    /// The identity to show to a server that asks for one, which may be a PKCS#12 file. Default: none.
    #[must_use]
    pub fn identity(mut self, identity: TlsIdentity) -> Self {
        self.identity = Some(IdentitySource::Given(identity));
        self.changed()
    }

    /// Asks for the identity at each connect, from a store of secrets or a service that issues certificates, say. It
    /// counts against the connect time-out; its error ends the attempt. No TLS session is resumed then, because it
    /// could be that of another identity. What files change by themselves needs no provider: they are read at each
    /// connect anyway.
    ///
    /// ```
    /// use gantline_transport::{Certificates, PrivateKey, TlsClientOptions, TlsIdentity};
    ///
    /// let options = TlsClientOptions::default().identity_provider(|| async {
    ///     let [certificate, key] = ["CERTIFICATE", "KEY"].map(std::env::var);
    ///     let (certificate, key) = (certificate?, key?);
    ///     Ok::<_, std::env::VarError>(TlsIdentity::new(Certificates::pem(certificate), PrivateKey::pem(key)))
    /// });
    /// ```
    #[must_use]
    pub fn identity_provider<F, R, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<TlsIdentity, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.identity = Some(IdentitySource::asked(provider));
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

    /// Who does the cryptography, such as aws-lc-rs for FIPS or for key exchange that withstands quantum computers:
    /// `Arc::new(rustls::crypto::aws_lc_rs::default_provider())`, with the feature `aws_lc_rs` of your rustls 0.23.
    /// Default: ring. A default of the process is not looked at.
    #[must_use]
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.crypto = Crypto::of(provider);
        self.changed()
    }

    /// Lets a callback judge each certificate, after the usual rules have. Its word is final: it may accept what they
    /// refuse, such as a self-signed certificate that it knows, and refuse what they accept. It must not block. It is
    /// asked at each connect: no TLS session is resumed, because that would bring no certificate.
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

    /// What these options come to in rustls, for connections that you make yourself, such as one that blocks. Files are
    /// read now. The [`server_name`](Self::server_name) is not part of it.
    ///
    /// # Errors
    ///
    /// A file or an option is wrong; or there is an [`identity_provider`](Self::identity_provider), which is asked by
    /// connecting only.
    pub fn rustls_config(&self) -> Result<ClientConfig, TlsOptionsError> {
        match &self.identity {
            None => self.build(None),
            Some(IdentitySource::Given(identity)) => self.build(Some(identity.clone())),
            Some(IdentitySource::Asked(_)) => Err(TlsOptionsError::IdentityNotAsked),
        }
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, TlsOptionsError> {
        let identity = match &self.identity {
            None => None,
            Some(IdentitySource::Given(identity)) => Some(identity.clone()),
            Some(IdentitySource::Asked(provider)) => {
                let asked = provider().await;
                Some(asked.map_err(|cause| TlsOptionsError::IdentityProvider { cause: cause.into() })?)
            }
        };
        let asked = matches!(self.identity, Some(IdentitySource::Asked(_)));
        let files = identity.as_ref().is_some_and(|identity| !identity.files().is_empty());
        let lasts = !asked && !files && self.roots.files().next().is_none();
        if lasts && let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        // To open a PKCS#12 file takes computing, so what is asked for at each connect goes there as well.
        let config = if asked || files || self.roots.on_disk() {
            let options = self.clone();
            let built = tokio::task::spawn_blocking(move || options.build(identity));
            built.await.map_err(|error| other(&error))??
        } else {
            self.build(identity)?
        };
        let config = Arc::new(config);
        Ok(if lasts { Arc::clone(self.config.get_or_init(|| config)) } else { config })
    }

    fn build(&self, identity: Option<TlsIdentity>) -> Result<ClientConfig, TlsOptionsError> {
        let builder = ClientConfig::builder_with_provider(self.crypto.provider())
            .with_protocol_versions(&self.versions.supported()?)
            .map_err(|error| other(&error))?
            .dangerous()
            .with_custom_certificate_verifier(self.trust.over(self.roots.verifier(&self.crypto)?));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| identity.refused(&error))?
            }
        };
        config.alpn_protocols.clone_from(&self.alpn);
        if let Trust::Callback(_) = self.trust {
            config.resumption = Resumption::disabled();
        }
        Ok(config)
    }

    fn name_for(&self, address: &Address) -> Result<ServerName<'static>, TlsOptionsError> {
        let name = self.server_name.as_deref().unwrap_or(host_of(address));
        // A zone is ours to know, and no certificate has one.
        let bare = name.split_once('%').map_or(name, |(ip, _)| ip);
        ServerName::try_from(bare.to_owned())
            .map_err(|_| TlsOptionsError::ServerName { name: name.to_owned() })
    }
}

/// Checks the options, gets a stream with `socket`, and shakes hands over it.
pub(crate) async fn connect(
    address: &Address,
    options: &TlsClientOptions,
    socket: impl Future<Output = Result<Stream, TransportError>>,
) -> Result<Stream, TransportError> {
    let (name, mut config) = (options.name_for(address)?, options.config().await?);
    if address.scheme().is_websocket() && config.alpn_protocols.is_empty() {
        // The copy shares the memory of sessions to resume.
        Arc::make_mut(&mut config).alpn_protocols = vec![HTTP.to_vec()];
    }
    if matches!(options.trust, Trust::Anybody) {
        tracing::warn!(%address, "any certificate is accepted: this connection is not protected against anybody on the way");
    }
    let stream = socket.await?;
    let info = PeerInfo::clone(stream.info()).with_scheme(address.scheme());
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
