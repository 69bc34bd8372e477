//! Whom a client trusts: the CAs of Mozilla, of the system, or its own.
//!
//! Relates to: [`TlsClientOptions`](super::TlsClientOptions), whose setters are the choice; `verify_server.rs`, where a
//! callback can overrule it.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;

use super::TlsOptionsError;
use super::material::Certificates;
use super::provider::{Crypto, other};

/// The CAs to trust.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots {
    /// Instead of the built-in ones.
    pub(super) own: Vec<Certificates>,
    /// Beside all others.
    pub(super) extra: Vec<Certificates>,
    /// Those of the system, instead of the built-in ones.
    #[cfg(feature = "system-roots")]
    pub(super) system: bool,
}

impl Roots {
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.own.iter().chain(&self.extra).flat_map(Certificates::files)
    }

    /// Whether the disk has to be read.
    pub(super) fn on_disk(&self) -> bool {
        #[cfg(feature = "system-roots")]
        if self.system {
            return true;
        }
        self.files().next().is_some()
    }

    /// Who judges by them.
    pub(super) fn verifier(&self, crypto: &Crypto) -> Result<Arc<dyn ServerCertVerifier>, TlsOptionsError> {
        let mut roots = RootCertStore::empty();
        for certificates in self.own.iter().chain(&self.extra) {
            add_roots(&mut roots, certificates)?;
        }
        #[cfg(feature = "system-roots")]
        if self.system {
            return self.with_system(crypto);
        }
        if self.own.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto.provider());
        Ok(usual.build().map_err(|error| other(&error))?)
    }

    /// As the system judges, which on some is more than a list of CAs.
    #[cfg(feature = "system-roots")]
    fn with_system(&self, crypto: &Crypto) -> Result<Arc<dyn ServerCertVerifier>, TlsOptionsError> {
        let mut more = Vec::new();
        for certificates in self.own.iter().chain(&self.extra) {
            more.extend(certificates.read()?);
        }
        #[cfg(not(target_os = "android"))]
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(more, crypto.provider());
        #[cfg(target_os = "android")]
        let verifier = match more.is_empty() {
            true => rustls_platform_verifier::Verifier::new(crypto.provider()),
            false => Err(rustls::Error::General("Android takes no CAs beside its own".to_owned())),
        };
        match verifier {
            Ok(verifier) => Ok(Arc::new(verifier)),
            Err(error) => Err(TlsOptionsError::NoSystemRoots { problem: error.to_string() }),
        }
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
