//! Certificates and private keys, from bytes or files.
//!
//! Nothing is read before it is needed, so that a file which is replaced counts from the next connect or reload.
//! Relates to: `source.rs`, where the bytes come from. Leaves out: PKCS#12.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsOptionsError;
#[cfg(feature = "pfx")]
use super::password::KeyPassword;
use super::source::{GIVEN, Source};

/// One or more certificates. Of a server or client its own comes first, then those that lead to its CA.
#[derive(Clone, Debug)]
pub struct Certificates(Chain);

#[derive(Clone, Debug)]
enum Chain {
    Encoded(Source),
    Der(Arc<[CertificateDer<'static>]>),
}

impl Certificates {
    /// The certificates in a file, PEM or DER. It is read whenever it is needed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Chain::Encoded(Source::File(path.into())))
    }

    /// The certificates in PEM; other sections are skipped.
    pub fn pem(text: impl Into<Vec<u8>>) -> Self {
        Self(Chain::Encoded(Source::bytes(text)))
    }

    /// Certificates in DER.
    pub fn der(certificates: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self(Chain::Der(certificates.into_iter().map(|one| CertificateDer::from(one.into())).collect()))
    }

    /// The file, if it is one.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        match &self.0 {
            Chain::Encoded(source) => source.file(),
            Chain::Der(_) => None,
        }
        .into_iter()
    }

    /// Where they come from, for errors.
    pub(super) fn origin(&self) -> String {
        match &self.0 {
            Chain::Encoded(source) => source.origin(),
            Chain::Der(_) => GIVEN.to_owned(),
        }
    }

    pub(super) fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsOptionsError> {
        let chain = match &self.0 {
            Chain::Der(chain) => chain.to_vec(),
            Chain::Encoded(source) => parse(&source.read()?).map_err(|error| TlsOptionsError::Pem {
                origin: source.origin(),
                problem: error.to_string(),
            })?,
        };
        if chain.is_empty() {
            return Err(TlsOptionsError::NoCertificate { origin: self.origin() });
        }
        Ok(chain)
    }
}

/// The certificates in PEM or one in DER; none in anything else.
fn parse(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    if is_pem(bytes) {
        CertificateDer::pem_slice_iter(bytes).collect()
    } else if bytes.first() == Some(&DER_SEQUENCE) {
        Ok(vec![CertificateDer::from(bytes.to_vec())])
    } else {
        Ok(Vec::new())
    }
}

/// The private key of a certificate: PKCS#8, PKCS#1 or SEC1. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct PrivateKey {
    source: Source,
    #[cfg(feature = "pfx")]
    password: Option<KeyPassword>,
}

impl PrivateKey {
    /// The first private key in a file, PEM or DER. It is read whenever it is needed.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::from_source(Source::File(path.into()))
    }

    /// The first private key in PEM; other sections are skipped.
    pub fn pem(text: impl Into<Vec<u8>>) -> Self {
        Self::from_source(Source::bytes(text))
    }

    /// A private key in DER.
    pub fn der(key: impl Into<Vec<u8>>) -> Self {
        Self::from_source(Source::bytes(key))
    }

    /// The password of an encrypted key: an `ENCRYPTED PRIVATE KEY` section of PEM, which is PKCS#8. A key that is not
    /// encrypted needs none and is read all the same. Default: none.
    #[cfg(feature = "pfx")]
    #[must_use]
    pub fn password(mut self, password: impl Into<KeyPassword>) -> Self {
        self.password = Some(password.into());
        self
    }

    const fn from_source(source: Source) -> Self {
        Self {
            source,
            #[cfg(feature = "pfx")]
            password: None,
        }
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let password = {
            #[cfg(feature = "pfx")]
            {
                self.password.as_ref().and_then(KeyPassword::path)
            }
            #[cfg(not(feature = "pfx"))]
            {
                None
            }
        };
        self.source.file().into_iter().chain(password)
    }

    /// Where it comes from, for errors.
    pub(super) fn origin(&self) -> String {
        self.source.origin()
    }

    pub(super) fn read(&self) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
        let origin = || self.origin();
        let bytes = self.source.read()?;
        if bytes.trim_ascii().is_empty() {
            return Err(TlsOptionsError::NoKey { origin: origin() });
        }
        if !is_pem(&bytes) {
            return PrivateKeyDer::try_from(bytes.to_vec())
                .map_err(|problem| TlsOptionsError::Key { origin: origin(), problem: problem.to_owned() });
        }
        if contains(&bytes, ENCRYPTED_KEY) {
            return self.decrypt(&bytes);
        }
        // The old form looks like a plain key but for this header.
        if contains(&bytes, b"Proc-Type: 4,ENCRYPTED") {
            let problem = "by PEM itself".to_owned();
            return Err(TlsOptionsError::EncryptedKeyUnsupported { origin: origin(), problem });
        }
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsOptionsError::NoKey { origin: origin() },
            error => TlsOptionsError::Pem { origin: origin(), problem: error.to_string() },
        })
    }

    #[cfg(feature = "pfx")]
    fn decrypt(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
        let origin = || self.origin();
        let Some(password) = &self.password else {
            return Err(TlsOptionsError::EncryptedKey { origin: origin() });
        };
        let key = super::pfx::encrypted_section(pem)
            .map_err(|problem| TlsOptionsError::Pem { origin: origin(), problem })?;
        super::pfx::decrypt_key(&key, &origin, password)
    }

    #[cfg(not(feature = "pfx"))]
    fn decrypt(&self, _: &[u8]) -> Result<PrivateKeyDer<'static>, TlsOptionsError> {
        Err(TlsOptionsError::EncryptedKey { origin: self.origin() })
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN")
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What an encrypted key begins with, without the version of its encryption.
const ENCRYPTED_KEY: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// What every DER certificate begins with.
const DER_SEQUENCE: u8 = 0x30;
