//! How a client judges the certificate of a server: by its CAs, by a callback, or not at all.
//!
//! Whatever the verdict, rustls checks that the server has the key of its certificate. Relates to:
//! [`TlsClientOptions`](super::TlsClientOptions), whose setters are the choice.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::TlsFailure;

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
    /// Who judges, given who judges by the usual rules.
    pub(super) fn over(&self, usual: Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier> {
        match self {
            Self::Roots => usual,
            trust => Arc::new(Verifier { trust: trust.clone(), usual }),
        }
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
    usual: Arc<dyn ServerCertVerifier>,
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
        let usual =
            || self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
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
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// What rustls is told when a callback says no: as an error of the certificate, the peer gets to know what it is about.
pub(super) fn refused() -> Error {
    let failure = TlsFailure::RefusedByCallback;
    CertificateError::Other(rustls::OtherError(Arc::new(failure))).into()
}
