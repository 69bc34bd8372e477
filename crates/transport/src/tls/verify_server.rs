//! How a client judges the certificate of a server: by its CAs, by a callback, or not at all.
//!
//! Whatever the verdict, rustls checks that the server has the key of its certificate. Relates to:
//! [`TlsClientOptions`](super::TlsClientOptions), whose setters are the choice.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::provider::{other, provider};
use super::{TlsFailure, TlsOptionsError};

/// What a callback has to judge a server by.
#[derive(Debug)]
pub struct ServerVerification<'a> {
    chain: Vec<&'a [u8]>,
    server_name: String,
    error: Option<&'a TlsFailure>,
}

impl ServerVerification<'_> {
    /// The certificates in DER, that of the server first. The others are what the server sent with it, in its order.
    pub fn chain(&self) -> &[&[u8]] {
        &self.chain
    }

    /// The name that the certificate should be for.
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// What is wrong with the certificate by the usual rules; `None` if nothing is.
    pub const fn error(&self) -> Option<&TlsFailure> {
        self.error
    }
}

/// Who judges the server.
#[derive(Clone, Default)]
pub(super) enum Trust {
    #[default]
    Roots,
    Callback(Arc<dyn Fn(&ServerVerification<'_>) -> bool + Send + Sync>),
    Anybody,
}

impl Trust {
    pub(super) fn verifier(
        &self,
        roots: RootCertStore,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsOptionsError> {
        // Without roots everybody is unknown, and only others than rustls can judge.
        let usual = if roots.is_empty() {
            None
        } else {
            let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
            Some(usual.build().map_err(|error| other(&error))?)
        };
        Ok(match (self, usual) {
            (Self::Roots, Some(usual)) => usual,
            (trust, usual) => Arc::new(Verifier { trust: trust.clone(), usual }),
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "Roots",
            Self::Callback(_) => "Callback",
            Self::Anybody => "Anybody",
        })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    usual: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = || match &self.usual {
            Some(usual) => {
                usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let judge = match &self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Roots => return usual(),
            Trust::Callback(judge) => judge,
        };
        let usual = usual();
        let failure = usual.as_ref().err().map(TlsFailure::from);
        let verification = ServerVerification {
            chain: std::iter::once(end_entity).chain(intermediates).map(|one| &**one).collect(),
            server_name: server_name.to_str().into_owned(),
            error: failure.as_ref(),
        };
        if judge(&verification) {
            return Ok(ServerCertVerified::assertion());
        }
        usual.and_then(|_| Err(refused()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What rustls is told when a callback says no: as an error of the certificate, the peer gets to know what it is about.
pub(super) fn refused() -> Error {
    let failure = TlsFailure::RefusedByCallback;
    CertificateError::Other(rustls::OtherError(Arc::new(failure))).into()
}
