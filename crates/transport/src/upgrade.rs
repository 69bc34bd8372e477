//! What an accepted connection has to do before MQTT begins.
//!
//! A listener hands its connections on at once, each with the [`Upgrade`] that is common to them all;
//! [`Stream::handshake`] runs it in the task of the connection, from the outermost layer to the innermost. Relates to:
//! [`bind`](crate::bind), which makes it of the options. Leaves out: time-outs, which belong to the caller.

use std::io;
use std::sync::Arc;

use crate::address::Scheme;
use crate::stream::Stream;
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::tls::TlsFailure;

/// The layers on top of an accepted socket, the outermost first.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    /// What the connection is once all is done.
    pub(crate) scheme: Scheme,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Upgrade {
    pub(crate) async fn run(&self, stream: Stream) -> Result<Stream, HandshakeError> {
        #[cfg(feature = "tls")]
        let stream = match &self.tls {
            Some(tls) => tls.accept(stream).await?,
            None => stream,
        };
        Ok(stream)
    }
}

/// Why an accepted connection never got as far as MQTT. The peer was told as far as possible.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// The network failed, or the peer left.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
