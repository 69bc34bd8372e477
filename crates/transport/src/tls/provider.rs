//! The cryptography: ring or what the options bring, always passed by hand.
//!
//! A process-wide default would be somebody else's choice, and rustls panics where two crates disagree on it; see
//! docs/adr/0012-tls.md.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;

use super::{TlsInfo, TlsOptionsError, TlsVersion};

/// Who does the cryptography of some options.
#[derive(Clone, Default)]
pub(super) struct Crypto(Option<Arc<CryptoProvider>>);

impl Crypto {
    pub(super) const fn of(provider: Arc<CryptoProvider>) -> Self {
        Self(Some(provider))
    }

    pub(super) const fn ring() -> Self {
        Self(None)
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        static RING: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
        let ring = || Arc::new(rustls::crypto::ring::default_provider());
        Arc::clone(self.0.as_ref().unwrap_or_else(|| RING.get_or_init(ring)))
    }
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "given" } else { "ring" })
    }
}

/// The versions that options allow.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    v1_2: bool,
    v1_3: bool,
}

impl Versions {
    pub(super) const ALL: Self = Self { v1_2: true, v1_3: true };

    pub(super) fn new(versions: &[TlsVersion]) -> Self {
        Self { v1_2: versions.contains(&TlsVersion::V1_2), v1_3: versions.contains(&TlsVersion::V1_3) }
    }

    pub(super) fn supported(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsOptionsError> {
        let chosen = [(self.v1_3, &rustls::version::TLS13), (self.v1_2, &rustls::version::TLS12)];
        let chosen: Vec<_> =
            chosen.into_iter().filter_map(|(chosen, version)| chosen.then_some(version)).collect();
        if chosen.is_empty() { Err(TlsOptionsError::NoVersion) } else { Ok(chosen) }
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self::ALL
    }
}

pub(super) fn other(error: &dyn ToString) -> TlsOptionsError {
    TlsOptionsError::Other(error.to_string())
}

/// What a finished handshake agreed on.
pub(super) fn info_of<Data>(connection: &rustls::ConnectionCommon<Data>) -> TlsInfo {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
        _ => TlsVersion::V1_3,
    };
    let alpn = connection.alpn_protocol().map(|protocol| protocol.to_vec().into());
    let chain = connection.peer_certificates().unwrap_or_default();
    TlsInfo::new(version, alpn, chain.iter().map(|certificate| certificate.to_vec().into()).collect())
}
