//! Certificates and private keys, from bytes or files.
//!
//! Nothing is read before it is needed, so that a file which is replaced counts from the next connect or reload. Leaves
//! out: PKCS#12, and keys with a password.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsOptionsError;

/// One or more certificates. Of a server or client its own comes first, then those that lead to its CA.
#[derive(Clone, Debug)]
pub struct Certificates(Source);

impl Certificates {
    /// The certificates in a file, PEM or DER. It is read whenever it is needed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The certificates in PEM; other sections are skipped.
    pub fn pem(text: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(Arc::new(text.into())))
    }

    /// Certificates in DER.
    pub fn der(certificates: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let chain = certificates.into_iter().map(|one| CertificateDer::from(one.into())).collect();
        Self(Source::Chain(chain))
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self.0, Source::File(_))
    }

    /// Where they come from, for errors.
    pub(super) fn origin(&self) -> String {
        self.0.origin()
    }

    pub(super) fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsOptionsError> {
        let none = || TlsOptionsError::NoCertificate { origin: self.origin() };
        let chain = match &self.0 {
            Source::Chain(chain) => chain.to_vec(),
            source => {
                let bytes = source.read()?;
                if bytes.trim_ascii().is_empty() {
                    return Err(none());
                }
                if is_pem(&bytes) {
                    CertificateDer::pem_slice_iter(&bytes)
                        .collect::<Result<_, _>>()
                        .map_err(|error| source.damaged(&error))?
                } else if bytes.first() == Some(&DER_SEQUENCE) {
                    vec![CertificateDer::from(bytes.to_vec())]
                } else {
                    Vec::new()
                }
            }
        };
        if chain.is_empty() { Err(none()) } else { Ok(chain) }
    }
}

/// The private key of a certificate: PKCS#8, PKCS#1 or SEC1. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct PrivateKey(Source);

impl PrivateKey {
    /// The first private key in a file, PEM or DER. It is read whenever it is needed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The first private key in PEM; other sections are skipped.
    pub fn pem(text: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(Arc::new(text.into())))
    }

    /// A private key in DER.
    pub fn der(key: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(Arc::new(key.into())))
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self.0, Source::File(_))
    }

    /// Where it comes from, for errors.
    pub(super) fn origin(&self) -> String {
        self.0.origin()
    }

    pub(super) fn read(&self) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
        let origin = || self.origin();
        let bytes = self.0.read()?;
        if bytes.trim_ascii().is_empty() {
            return Err(TlsOptionsError::NoKey { origin: origin() });
        }
        if !is_pem(&bytes) {
            return PrivateKeyDer::try_from(bytes.to_vec())
                .map_err(|problem| TlsOptionsError::Key { origin: origin(), problem: problem.to_owned() });
        }
        // The old form of an encrypted key looks like a plain one but for this header.
        if contains(&bytes, b"ENCRYPTED") {
            return Err(TlsOptionsError::EncryptedKey { origin: origin() });
        }
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsOptionsError::NoKey { origin: origin() },
            error => self.0.damaged(&error),
        })
    }
}

/// Where something comes from.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    Bytes(Arc<Vec<u8>>),
    Chain(Arc<[CertificateDer<'static>]>),
}

impl Source {
    fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes(_) | Self::Chain(_) => "the given bytes".to_owned(),
        }
    }

    fn read(&self) -> Result<Arc<Vec<u8>>, TlsOptionsError> {
        match self {
            Self::Bytes(bytes) => Ok(Arc::clone(bytes)),
            Self::File(path) => fs::read(path)
                .map(Arc::new)
                .map_err(|cause| TlsOptionsError::File { origin: self.origin(), cause: Arc::new(cause) }),
            Self::Chain(chain) => Ok(Arc::new(chain.iter().flat_map(|one| one.iter().copied()).collect())),
        }
    }

    fn damaged(&self, error: &pem::Error) -> TlsOptionsError {
        TlsOptionsError::Pem { origin: self.origin(), problem: error.to_string() }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What every DER certificate begins with.
const DER_SEQUENCE: u8 = 0x30;
