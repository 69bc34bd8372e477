//! How a server judges the certificates of clients: by its CAs, or by a callback.
//!
//! Whatever the verdict, rustls checks that the client has the key of its certificate. Relates to:
//! [`TlsServerOptions`](super::TlsServerOptions), whose setters are the choice.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::TlsFailure;
use super::provider::Crypto;
use super::verify_server::refused;

/// What a callback has to judge a client by.
#[derive(Debug)]
pub struct ClientVerification<'a> {
    chain: Vec<&'a [u8]>,
    error: Option<&'a TlsFailure>,
}

impl ClientVerification<'_> {
    /// The certificates in DER, that of the client first. The others are what the client sent with it, in its order.
    pub fn chain(&self) -> &[&[u8]] {
        &self.chain
    }

    /// What is wrong with the certificate by the usual rules; `None` if nothing is.
    pub const fn error(&self) -> Option<&TlsFailure> {
        self.error
    }
}

/// A callback that judges clients.
#[derive(Clone)]
pub(super) struct JudgeClient(pub(super) Arc<dyn Fn(&ClientVerification<'_>) -> bool + Send + Sync>);

impl fmt::Debug for JudgeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JudgeClient")
    }
}

/// Asks a callback after the usual rules.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) judge: JudgeClient,
    /// `None` where no CA is trusted.
    pub(super) usual: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) mandatory: bool,
    pub(super) crypto: Crypto,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: the callback may accept certificates of other CAs, and clients would not offer them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let usual = match &self.usual {
            Some(usual) => usual.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let failure = usual.as_ref().err().map(TlsFailure::from);
        let verification = ClientVerification {
            chain: std::iter::once(end_entity).chain(intermediates).map(|one| &**one).collect(),
            error: failure.as_ref(),
        };
        if (self.judge.0)(&verification) {
            return Ok(ClientCertVerified::assertion());
        }
        usual.and_then(|_| Err(refused()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.crypto.provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.crypto.provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.provider().signature_verification_algorithms.supported_schemes()
    }
}
