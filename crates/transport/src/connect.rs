//! Connecting: the address picks the transport.
//!
//! Relates to: [`bind`](crate::bind), the other direction. Leaves out: time-outs and retries, which belong to the caller;
//! dropping the future gives the attempt up.

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::memory;
use crate::stream::Stream;
use crate::tcp::{self, TcpOptions};
#[cfg(feature = "tls")]
use crate::tls::{self, TlsClientOptions};
#[cfg(unix)]
use crate::unix;

/// Options for connecting, of all transports. What the transport of an address cannot honour is an error; only `tcp` is
/// passed over by transports without TCP.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    tcp: TcpOptions,
    #[cfg(feature = "tls")]
    tls: Option<TlsClientOptions>,
}

impl DialOptions {
    /// The options of TCP.
    #[must_use]
    pub const fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// The options of TLS, for `mqtts://` only. Default: those of [`TlsClientOptions::default`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// Refuses options that the scheme cannot honour, and schemes that this build does not have.
    fn check(&self, scheme: Scheme) -> Result<(), TransportError> {
        let built = match scheme {
            Scheme::Mqtt | Scheme::Memory => true,
            Scheme::Mqtts => cfg!(feature = "tls"),
            Scheme::Unix => cfg!(unix),
            Scheme::Ws | Scheme::Wss => false,
        };
        if !built {
            return Err(TransportError::Unsupported { scheme });
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !scheme.is_secure() {
            return Err(TransportError::OptionUnused { option: "tls", scheme });
        }
        Ok(())
    }
}

/// Connects to `address`.
///
/// A host with several addresses is tried address by address, in the order that the resolver prefers.
///
/// # Errors
///
/// The host is not known, no attempt succeeded, the TLS handshake failed, an option is wrong or cannot be honoured, or this
/// build has no such transport.
pub async fn connect(address: &Address, options: &DialOptions) -> Result<Stream, TransportError> {
    options.check(address.scheme())?;
    secured(address, options, socket(address, options)).await
}

/// Connects to `address` over a stream that you have already, such as a tunnel: what the scheme puts on top of a socket,
/// TLS say, runs over it. The host of the address is the server's name.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_over(
    stream: Stream,
    address: &Address,
    options: &DialOptions,
) -> Result<Stream, TransportError> {
    options.check(address.scheme())?;
    secured(address, options, std::future::ready(Ok(stream))).await
}

/// The bare socket.
async fn socket(address: &Address, options: &DialOptions) -> Result<Stream, TransportError> {
    match address.scheme() {
        Scheme::Mqtt | Scheme::Mqtts | Scheme::Ws | Scheme::Wss => tcp::connect(address, &options.tcp).await,
        #[cfg(unix)]
        Scheme::Unix => unix::connect(address).await,
        Scheme::Memory => memory::connect(address.host()).await,
        #[cfg(not(unix))]
        scheme @ Scheme::Unix => Err(TransportError::Unsupported { scheme }),
    }
}

/// What comes out of `socket`, with TLS on top if the scheme wants it.
async fn secured(
    address: &Address,
    options: &DialOptions,
    socket: impl Future<Output = Result<Stream, TransportError>>,
) -> Result<Stream, TransportError> {
    #[cfg(feature = "tls")]
    if address.scheme().is_secure() {
        return match &options.tls {
            Some(tls) => tls::connect(address, tls, socket).await,
            None => tls::connect(address, &TlsClientOptions::default(), socket).await,
        };
    }
    let _ = (address, options);
    socket.await
}
