//! Who one end of a connection is: a certificate chain with its private key, from PEM, DER or PKCS#12.
//!
//! Relates to: [`TlsClientOptions`](super::TlsClientOptions) and [`TlsServerOptions`](super::TlsServerOptions), which
//! take one. Leaves out: the formats, which are in `material.rs` and `pfx.rs`.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rustls::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsOptionsError;
use super::material::{Certificates, PrivateKey};
#[cfg(feature = "pfx")]
use super::password::KeyPassword;
#[cfg(feature = "pfx")]
use super::pfx::{self, Pfx};

/// Who one end of a connection is: its certificate, those that lead to its CA, and the private key.
///
/// What comes from files is read whenever it is needed. `Debug` shows no key and no password.
#[derive(Clone, Debug)]
pub struct TlsIdentity(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Pair(Certificates, PrivateKey),
    #[cfg(feature = "pfx")]
    Pfx(Pfx),
}

/// A certificate chain and its key, read.
pub(super) type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl TlsIdentity {
    /// A certificate, followed by those that lead to its CA, and its key.
    pub const fn new(chain: Certificates, key: PrivateKey) -> Self {
        Self(Kind::Pair(chain, key))
    }

    /// What a PKCS#12 file (PFX, `.p12`) holds: the first private key in it, its certificate and those that lead to its
    /// CA. Read are the algorithms that OpenSSL 3, OpenSSL 1.1 and Java use by default, and those of `openssl pkcs12
    /// -legacy`. No password is the empty one.
    #[cfg(feature = "pfx")]
    pub fn pfx(bytes: impl Into<Vec<u8>>, password: impl Into<KeyPassword>) -> Self {
        Self(Kind::Pfx(Pfx::new(super::source::Source::bytes(bytes), password.into())))
    }

    /// As [`pfx`](Self::pfx), for a file that is read whenever it is needed.
    #[cfg(feature = "pfx")]
    pub fn pfx_file(path: impl Into<std::path::PathBuf>, password: impl Into<KeyPassword>) -> Self {
        Self(Kind::Pfx(Pfx::new(super::source::Source::File(path.into()), password.into())))
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> Vec<&Path> {
        match &self.0 {
            Kind::Pair(chain, key) => chain.files().chain(key.files()).collect(),
            #[cfg(feature = "pfx")]
            Kind::Pfx(pfx) => pfx.files().collect(),
        }
    }

    pub(super) fn read(&self) -> Result<Parts, TlsOptionsError> {
        match &self.0 {
            Kind::Pair(chain, key) => Ok((chain.read()?, key.read()?)),
            #[cfg(feature = "pfx")]
            Kind::Pfx(pfx) => pfx::read(pfx),
        }
    }

    /// Why rustls does not take it.
    pub(super) fn refused(&self, error: &Error) -> TlsOptionsError {
        let (certificate, key) = match &self.0 {
            Kind::Pair(chain, key) => (chain.origin(), key.origin()),
            #[cfg(feature = "pfx")]
            Kind::Pfx(pfx) => (pfx.origin(), pfx.origin()),
        };
        match error {
            Error::InconsistentKeys(_) => TlsOptionsError::KeyMismatch { certificate, key },
            Error::InvalidCertificate(problem) => {
                TlsOptionsError::Certificate { origin: certificate, problem: problem.to_string() }
            }
            error => TlsOptionsError::Key { origin: key, problem: error.to_string() },
        }
    }
}

/// Any error of a callback.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

type Answer = Pin<Box<dyn Future<Output = Result<TlsIdentity, BoxError>> + Send>>;

/// Where a client's identity comes from.
#[derive(Clone)]
pub(super) enum IdentitySource {
    Given(TlsIdentity),
    Asked(Arc<dyn Fn() -> Answer + Send + Sync>),
}

impl IdentitySource {
    pub(super) fn asked<F, R, E>(provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<TlsIdentity, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::Asked(Arc::new(move || {
            let answer = provider();
            Box::pin(async move { answer.await.map_err(Into::into) })
        }))
    }
}

impl fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(identity) => identity.fmt(f),
            Self::Asked(_) => f.write_str("asked at each connect"),
        }
    }
}
