//! What can go wrong with a transport: [`TransportError`] for connecting and listening, [`FramedError`] for reading.
//!
//! Relates to: [`AddressError`](crate::AddressError), which comes before both. Leaves out: writing, which fails with a
//! plain [`io::Error`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gantline_protocol::Violation;

use crate::address::{Address, Scheme};
use crate::proxy::{Proxy, ProxyFailure};
use crate::tls::{TlsFailure, TlsOptionsError};
use crate::websocket::{WebSocketFailure, WebSocketOptionsError};

/// Why [`connect`](crate::connect()) or [`bind`](crate::bind) failed. Nothing is left behind.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// You asked for a transport that was left out when this program was built.
    #[error("{scheme}:// is not supported by this build")]
    Unsupported {
        /// The scheme of the address.
        scheme: Scheme,
    },
    /// You set an option that the transport of the address does not have. Nothing is ignored silently.
    #[error("the option {option} cannot be honoured: {scheme}:// does not have it")]
    OptionUnused {
        /// The name of the setter.
        option: &'static str,
        /// The scheme of the address.
        scheme: Scheme,
    },
    /// You set an option that is about making a connection, and gave a stream that is connected already.
    #[error("the option {option} cannot be honoured over a stream that is connected already")]
    OptionOverStream {
        /// The name of the setter.
        option: &'static str,
    },
    /// You asked to listen with TLS and gave no certificate.
    #[error("{address} cannot be listened on: TLS needs a certificate and its private key")]
    TlsMissing {
        /// The address.
        address: Address,
    },
    /// The TLS options are wrong; the error says which file or option, and why. Nothing was sent.
    #[error(transparent)]
    TlsOptions(#[from] TlsOptionsError),
    /// The peer was reached and TLS failed. The reason says whose fault it is; only a lost network passes.
    #[error("{address}: {failure}")]
    Handshake {
        /// Where to.
        address: Address,
        /// Why.
        #[source]
        failure: Box<TlsFailure>,
    },
    /// The WebSocket options are wrong; the error says which, and why. Nothing was sent.
    #[error(transparent)]
    WebSocketOptions(#[from] WebSocketOptionsError),
    /// The peer was reached and the upgrade to WebSocket failed. The reason says whose fault it is.
    #[error("{address}: {failure}")]
    WebSocket {
        /// Where to.
        address: Address,
        /// Why.
        #[source]
        failure: Box<WebSocketFailure>,
    },
    /// The socket file could not be connected to: nobody listens there, or we may not. May pass.
    #[error("{address} cannot be connected to: {cause}")]
    SocketFile {
        /// Where to.
        address: Address,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// You asked to connect to port 0, which only a listener may ask for.
    #[error("{address} cannot be connected to: port 0 is for listening only")]
    PortZero {
        /// Where to.
        address: Address,
    },
    /// The name could not be resolved. Check it, or the network's resolver; may pass.
    #[error("the host {host:?} cannot be resolved: {cause}")]
    Unresolved {
        /// The host of the address.
        host: String,
        /// What the resolver said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The name has no address, or none that the local address of the options can reach.
    #[error("the host {host:?} has no address that can be used")]
    NoAddress {
        /// The host of the address.
        host: String,
    },
    /// No attempt succeeded: the server is down, or the network does not let it be reached. May pass.
    #[error("{address} cannot be reached: {attempts}")]
    Unreachable {
        /// Where to.
        address: Address,
        /// What was tried, in this order.
        attempts: Attempts,
    },
    /// The proxy of the options cannot be reached, or refused, or did not reach the server. The reason says which.
    #[error("{address} cannot be reached through {proxy}: {failure}")]
    Proxy {
        /// Where to.
        address: Address,
        /// The proxy.
        proxy: Box<Proxy>,
        /// Why.
        #[source]
        failure: Box<ProxyFailure>,
    },
    /// The system did not let the listener have its address.
    #[error("{address} cannot be listened on: {cause}")]
    Bind {
        /// The address.
        address: Address,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Nobody in this process listens on this name, or stopped before the connection was accepted.
    #[error("nothing in this process listens on memory://{name}")]
    NameNotBound {
        /// The name.
        name: String,
    },
    /// Another listener in this process has this name; it is free when that one is dropped.
    #[error("memory://{name} is listened on already")]
    NameInUse {
        /// The name.
        name: String,
    },
}

/// The addresses that a connect tried, each with the reason why it failed.
#[derive(Clone, Debug)]
pub struct Attempts(Arc<[(SocketAddr, io::Error)]>);

impl Attempts {
    pub(crate) fn new(attempts: Vec<(SocketAddr, io::Error)>) -> Self {
        Self(attempts.into())
    }

    /// The attempts in the order in which they were made.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &io::Error)> {
        self.0.iter().map(|(address, cause)| (*address, cause))
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, cause)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {cause}")?;
        }
        Ok(())
    }
}

/// Why nothing more can be read from a [`Framed`](crate::Framed).
///
/// Exhaustive: there is no fourth way to end, and who reads must answer each of them.
#[derive(Debug, thiserror::Error)]
pub enum FramedError {
    /// The peer closed the connection between two packets.
    #[error("the peer closed the connection")]
    Closed,
    /// The network failed; [`io::ErrorKind::UnexpectedEof`] if the connection ended inside a packet.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The peer sent a header that is none, or announced a packet that is too large.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Whether the other end has closed the connection, in whatever way.
#[cfg(any(feature = "tls", feature = "websocket"))]
pub(crate) fn peer_has_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
