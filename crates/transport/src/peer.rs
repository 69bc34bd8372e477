//! Who is at the other end of a connection, and what carries it.
//!
//! Relates to: [`Stream`](crate::Stream), which has a [`PeerInfo`]. Leaves out: who the client is in MQTT; that comes
//! later.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::Scheme;
use crate::tls::TlsInfo;
use crate::websocket::WebSocketInfo;

/// Who is at the other end of a [`Stream`](crate::Stream) and what carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    scheme: Scheme,
    peer: Endpoint,
    local: Endpoint,
    tls: Option<Arc<TlsInfo>>,
    websocket: Option<Arc<WebSocketInfo>>,
}

impl PeerInfo {
    /// Describes a connection. For a transport of your own take the scheme that is nearest.
    pub fn new(scheme: Scheme, peer: impl Into<Endpoint>, local: impl Into<Endpoint>) -> Self {
        Self { scheme, peer: peer.into(), local: local.into(), tls: None, websocket: None }
    }

    /// The same connection with what its TLS handshake agreed on.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsInfo) -> Self {
        self.tls = Some(Arc::new(tls));
        self
    }

    /// The same connection with what its upgrade to WebSocket agreed on.
    #[must_use]
    pub fn with_websocket(mut self, websocket: WebSocketInfo) -> Self {
        self.websocket = Some(Arc::new(websocket));
        self
    }

    pub(crate) fn with_peer(mut self, peer: Endpoint) -> Self {
        self.peer = peer;
        self
    }

    pub(crate) const fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// What carries the connection.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The other end; behind a load balancer that speaks the PROXY protocol, the one that it tells.
    pub const fn peer(&self) -> &Endpoint {
        &self.peer
    }

    /// Our end.
    pub const fn local(&self) -> &Endpoint {
        &self.local
    }

    /// What TLS agreed on; `None` without TLS, and before its handshake.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }

    /// What the upgrade to WebSocket agreed on; `None` without WebSocket, and before its handshake.
    pub fn websocket(&self) -> Option<&WebSocketInfo> {
        self.websocket.as_deref()
    }
}

impl fmt::Display for PeerInfo {
    /// The other end as a URL, such as `mqtt://192.0.2.1:52311`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.peer)
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// An IP address and port.
    Socket(SocketAddr),
    /// Something else that has a name; may be empty.
    Name(Arc<str>),
}

impl Endpoint {
    /// The IP address and port, if it has one.
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(socket) => Some(*socket),
            Self::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        Self::Socket(socket)
    }
}

impl From<&str> for Endpoint {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Endpoint {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => socket.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}
