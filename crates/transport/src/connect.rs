//! Connecting: the address picks the transport.
//!
//! Relates to: [`bind`](crate::bind), the other direction. Leaves out: time-outs and retries, which belong to the
//! caller; dropping the future gives the attempt up.

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::memory;
use crate::proxy::{self, Proxy};
use crate::stream::Stream;
use crate::tcp::{self, TcpOptions};
#[cfg(feature = "tls")]
use crate::tls::{self, TlsClientOptions};
#[cfg(unix)]
use crate::unix;
#[cfg(feature = "websocket")]
use crate::websocket::{self, WebSocketClientOptions};

/// Options for connecting, of all transports. What the transport of an address cannot honour is an error; only `tcp` is
/// passed over by transports without TCP.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    tcp: TcpOptions,
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    tls: Option<TlsClientOptions>,
    #[cfg(feature = "websocket")]
    websocket: Option<WebSocketClientOptions>,
}

impl DialOptions {
    /// The options of TCP.
    #[must_use]
    pub const fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// A proxy to connect through, for every scheme over TCP; its name and port are what [`tcp`](Self::tcp) applies to
    /// then, and the server's name is resolved by the proxy. Default: none; the environment is not asked.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// The options of TLS, for `mqtts://` and `wss://` only. Default: those of [`TlsClientOptions::default`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// The options of WebSocket, for `ws://` and `wss://` only. Default: those of [`WebSocketClientOptions::default`].
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, options: WebSocketClientOptions) -> Self {
        self.websocket = Some(options);
        self
    }

    /// Refuses options that the scheme cannot honour, and schemes that this build does not have.
    fn check(&self, scheme: Scheme) -> Result<(), TransportError> {
        check_built(scheme)?;
        if self.proxy.is_some() && matches!(scheme, Scheme::Unix | Scheme::Memory) {
            return Err(TransportError::OptionUnused { option: "proxy", scheme });
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !scheme.is_secure() {
            return Err(TransportError::OptionUnused { option: "tls", scheme });
        }
        #[cfg(feature = "websocket")]
        if self.websocket.is_some() && !scheme.is_websocket() {
            return Err(TransportError::OptionUnused { option: "websocket", scheme });
        }
        Ok(())
    }
}

/// Whether this build has the transport.
pub(crate) const fn check_built(scheme: Scheme) -> Result<(), TransportError> {
    let built = match scheme {
        Scheme::Mqtt | Scheme::Memory => true,
        Scheme::Mqtts => cfg!(feature = "tls"),
        Scheme::Unix => cfg!(unix),
        Scheme::Ws => cfg!(feature = "websocket"),
        Scheme::Wss => cfg!(all(feature = "tls", feature = "websocket")),
    };
    if built { Ok(()) } else { Err(TransportError::Unsupported { scheme }) }
}

/// Connects to `address`.
///
/// A host with several addresses is tried address by address, both IP versions in turn, the next one beside those that
/// do not answer ([`TcpOptions::attempt_delay`]). Needs a runtime with IO and time. Cancel safe: dropped, it leaves
/// nothing behind.
///
/// # Errors
///
/// The host is not known, no attempt succeeded, the proxy refused, a handshake failed, an option is wrong or cannot be
/// honoured, or this build has no such transport.
pub async fn connect(address: &Address, options: &DialOptions) -> Result<Stream, TransportError> {
    options.check(address.scheme())?;
    upgraded(address, options, secured(address, options, socket(address, options))).await
}

/// Connects to `address` over a stream that you have already, such as a tunnel: what the scheme puts on top of a
/// socket, TLS say, runs over it. The host of the address is the server's name.
///
/// # Errors
///
/// As [`connect`]; also if the options have a proxy, which only a new connection can go through.
pub async fn connect_over(
    stream: Stream,
    address: &Address,
    options: &DialOptions,
) -> Result<Stream, TransportError> {
    options.check(address.scheme())?;
    if options.proxy.is_some() {
        return Err(TransportError::OptionOverStream { option: "proxy" });
    }
    upgraded(address, options, secured(address, options, std::future::ready(Ok(stream)))).await
}

/// The bare socket.
async fn socket(address: &Address, options: &DialOptions) -> Result<Stream, TransportError> {
    match address.scheme() {
        Scheme::Mqtt | Scheme::Mqtts | Scheme::Ws | Scheme::Wss => match &options.proxy {
            Some(proxy) => proxy::connect(address, proxy, &options.tcp).await,
            None => tcp::connect(address, &options.tcp).await,
        },
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

/// What comes out of `socket`, with WebSocket on top if the scheme wants it.
async fn upgraded(
    address: &Address,
    options: &DialOptions,
    socket: impl Future<Output = Result<Stream, TransportError>>,
) -> Result<Stream, TransportError> {
    #[cfg(feature = "websocket")]
    if address.scheme().is_websocket() {
        return match &options.websocket {
            Some(websocket) => websocket::connect(address, websocket, socket).await,
            None => websocket::connect(address, &WebSocketClientOptions::default(), socket).await,
        };
    }
    let _ = (address, options);
    socket.await
}
