//! Why there is no tunnel through a proxy.
//!
//! Relates to: [`TransportError::Proxy`](crate::TransportError::Proxy), which adds proxy and server. Leaves out: what
//! happens in the tunnel.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::error::Attempts;

/// Why there is no tunnel through a proxy.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// You gave a host that cannot be told to a proxy. Nothing was sent.
    #[error("the host {host:?} cannot be told to a proxy: {why}")]
    HostUnfit {
        /// The host of the address.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// You gave credentials that this kind of proxy cannot take. They were not sent.
    #[error("the credentials cannot be told to this kind of proxy: {why}")]
    CredentialsUnfit {
        /// What is wrong with them.
        why: &'static str,
    },
    /// You gave port 0 as that of the proxy.
    #[error("no proxy has port 0")]
    PortZero,
    /// The name of the proxy could not be resolved. Check it, or the network's resolver; may pass.
    #[error("the name of the proxy cannot be resolved: {0}")]
    Unresolved(#[source] Arc<io::Error>),
    /// The proxy has no address that can be used.
    #[error("the proxy has no address that can be used")]
    NoAddress,
    /// The proxy does not answer: it is down, or the network does not let it be reached. May pass.
    #[error("the proxy does not answer: {0}")]
    Unreachable(Attempts),
    /// The proxy wants credentials and you gave none.
    #[error("the proxy wants a user name and password: write them into its URL")]
    CredentialsMissing,
    /// The proxy does not accept the credentials.
    #[error("the proxy refuses the user name or password")]
    CredentialsRefused,
    /// The proxy wants to be convinced in another way than by user name and password.
    #[error("the proxy wants an authentication that we do not have: {offered}")]
    AuthenticationUnsupported {
        /// What it named.
        offered: String,
    },
    /// The SOCKS5 proxy refused, or did not reach the server.
    #[error("the proxy says: {0}")]
    Socks(SocksRefusal),
    /// The HTTP proxy refused, or did not reach the server: 403 is most likely a rule of the proxy about hosts or
    /// ports, 502 to 504 a server that cannot be reached from there.
    #[error("the proxy says: {status} {reason}")]
    Http {
        /// The status.
        status: u16,
        /// The words behind it, shortened; may be empty.
        reason: String,
    },
    /// What came back is not an answer of such a proxy: it is of another kind, or none.
    #[error("what answers is no {expected} proxy: it sent {sent:?}")]
    NotAProxy {
        /// The kind of proxy that you named.
        expected: &'static str,
        /// How its answer begins.
        sent: String,
    },
    /// The proxy broke its protocol.
    #[error("the proxy breaks its protocol: {0}")]
    Violated(&'static str),
    /// The proxy closed the connection instead of answering. Proxies of another kind do so, too.
    #[error("the proxy closed the connection without an answer: it may be of another kind")]
    Closed,
    /// The connection to the proxy broke. May pass.
    #[error("the connection to the proxy failed: {0}")]
    Io(#[source] Arc<io::Error>),
}

/// The refusal of a SOCKS5 proxy (RFC 1928, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksRefusal {
    /// 1: something went wrong on the side of the proxy.
    GeneralFailure,
    /// 2: the rules of the proxy forbid it.
    NotAllowed,
    /// 3: the proxy has no way into the network of the server.
    NetworkUnreachable,
    /// 4: the server does not answer the proxy, or its name is not known there.
    HostUnreachable,
    /// 5: nobody listens there.
    ConnectionRefused,
    /// 6: the server is too far away.
    TtlExpired,
    /// 7: the proxy makes no connections.
    CommandNotSupported,
    /// 8: the proxy does not know this kind of address; it may not resolve names, or have no IPv6.
    AddressTypeNotSupported,
    /// Another code, which the RFC does not know.
    Other(u8),
}

impl SocksRefusal {
    pub(super) const fn new(code: u8) -> Self {
        match code {
            1 => Self::GeneralFailure,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::ConnectionRefused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for SocksRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GeneralFailure => "general failure (1)",
            Self::NotAllowed => "its rules do not allow this connection (2)",
            Self::NetworkUnreachable => "the network of the server is unreachable (3)",
            Self::HostUnreachable => "the server is unreachable, or its name is not known (4)",
            Self::ConnectionRefused => "the server refused the connection (5)",
            Self::TtlExpired => "the server is too far away (6)",
            Self::CommandNotSupported => "it makes no connections (7)",
            Self::AddressTypeNotSupported => "it does not know this kind of address (8)",
            Self::Other(code) => return write!(f, "refused with code {code}"),
        })
    }
}
