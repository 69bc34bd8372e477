//! What a TLS handshake agreed on.
//!
//! Relates to: [`PeerInfo`](crate::PeerInfo), which holds it. Leaves out: what the certificates say; they are handed on
//! as they came, and were judged in the handshake.

use std::fmt;

use bytes::Bytes;

/// A version of TLS that we speak; older ones are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// All versions.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_3];
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

/// What the ends of a TLS connection agreed on, and who the peer says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    version: TlsVersion,
    alpn: Option<Bytes>,
    peer_certificates: Vec<Bytes>,
}

impl TlsInfo {
    /// Describes a connection, for a [`Stream`](crate::Stream) of your own.
    pub const fn new(version: TlsVersion, alpn: Option<Bytes>, peer_certificates: Vec<Bytes>) -> Self {
        Self { version, alpn, peer_certificates }
    }

    /// The version.
    pub const fn version(&self) -> TlsVersion {
        self.version
    }

    /// The application protocol, if one was negotiated (ALPN).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The certificates of the peer in DER, its own first. Empty on a server whose client sent none.
    pub fn peer_certificates(&self) -> &[Bytes] {
        &self.peer_certificates
    }
}
