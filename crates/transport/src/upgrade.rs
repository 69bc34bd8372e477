//! What an accepted connection has to do before MQTT begins.
//!
//! A listener hands its connections on at once, each with the [`Upgrade`] that is common to them all;
//! [`Stream::handshake`] runs it in the task of the connection, from the outermost layer to the innermost. Relates to:
//! [`bind`](crate::bind), which makes it of the options. Leaves out: time-outs, which belong to the caller.

use std::io;
use std::sync::Arc;

use crate::address::Scheme;
use crate::proxy_protocol::{ProxyHeaderError, ProxyProtocol};
use crate::stream::Stream;
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::tls::TlsFailure;
use crate::websocket::WebSocketFailure;
#[cfg(feature = "websocket")]
use crate::websocket::{self, WebSocketServerOptions};

/// The layers on top of an accepted socket, the outermost first.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    /// What the connection is once all is done.
    pub(crate) scheme: Scheme,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsAcceptor>,
    #[cfg(feature = "websocket")]
    pub(crate) websocket: Option<Arc<WebSocketServerOptions>>,
}

impl Upgrade {
    pub(crate) async fn run(&self, stream: Stream) -> Result<Stream, HandshakeError> {
        let stream = match &self.proxy_protocol {
            Some(proxy_protocol) => proxy_protocol.accept(stream).await?,
            None => stream,
        };
        #[cfg(feature = "tls")]
        let stream = match &self.tls {
            Some(tls) => tls.accept(stream, self.scheme).await?,
            None => stream,
        };
        #[cfg(feature = "websocket")]
        if let Some(options) = &self.websocket {
            // In a box, so that the others do not have to make room for it.
            return Ok(Box::pin(websocket::accept(stream, options, self.scheme)).await?);
        }
        Ok(stream)
    }
}

/// Why an accepted connection never got as far as MQTT. The peer was told as far as possible.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The header of the PROXY protocol is missing or wrong.
    #[error(transparent)]
    ProxyProtocol(#[from] ProxyHeaderError),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The upgrade to WebSocket failed.
    #[error(transparent)]
    WebSocket(#[from] WebSocketFailure),
    /// The network failed, or the peer left.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
