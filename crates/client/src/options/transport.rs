//! The options of what carries the connection: TCP, TLS, WebSocket, a proxy.
//!
//! Relates to: [`gantline_transport::DialOptions`], to which they go. Leaves out: what they mean, which stands there.

#[cfg(all(feature = "tls", feature = "websocket"))]
use gantline_transport::Address;
#[cfg(feature = "tls")]
use gantline_transport::TlsClientOptions;
#[cfg(feature = "websocket")]
use gantline_transport::WebSocketClientOptions;
use gantline_transport::{Proxy, TcpOptions};

use super::ConnectOptions;
#[cfg(feature = "websocket")]
use super::OptionsError;

impl ConnectOptions {
    /// Options of the TCP connection.
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.dial = self.dial.tcp(options);
        self
    }

    /// The proxy to connect through: SOCKS5 or HTTP CONNECT. For every address over TCP, below TLS and WebSocket; with
    /// another address, or a stream of your own, connecting is an error. Default: none, and the environment is not
    /// asked.
    ///
    /// ```
    /// use gantline_client::{ConnectOptions, Proxy};
    /// # fn main() -> Result<(), gantline_client::OptionsError> {
    /// let options = ConnectOptions::new("mqtts://broker.example")?.proxy(Proxy::new("socks5://10.0.0.1:1080")?);
    /// # Ok(()) }
    /// ```
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.dial = self.dial.proxy(proxy);
        self.proxied = true;
        self
    }

    /// Options of TLS: whom to trust, a client certificate, and more. For `mqtts://` and `wss://` only; with another
    /// address, connecting is an error. Default: [`TlsClientOptions::default`], which trusts the well-known CAs.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.dial = self.dial.tls(options);
        self.tls = true;
        #[cfg(feature = "websocket")]
        if let Some(secure) = self.secure_websocket.take() {
            self.address = Some(secure);
        }
        self
    }

    /// Options for the server at this URL of WebSocket, `ws://` or `wss://`, whose scheme may be left out: then it is
    /// `wss://` if there are options of [TLS](Self::tls), else `ws://`. Port, user name and password may be left out
    /// too.
    ///
    /// ```
    /// use gantline_client::ConnectOptions;
    /// # fn main() -> Result<(), gantline_client::OptionsError> {
    /// let options = ConnectOptions::websocket("broker.example:8000/mqtt")?;
    /// assert_eq!(options.address().unwrap().to_string(), "ws://broker.example:8000/mqtt");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// The text is no such URL.
    #[cfg(feature = "websocket")]
    pub fn websocket(url: impl AsRef<str>) -> Result<Self, OptionsError> {
        let url = url.as_ref();
        if url.contains("://") {
            let options = Self::new(url)?;
            return match &options.address {
                Some(address) if !address.scheme().is_websocket() => {
                    Err(OptionsError::NotOfWebSocket { scheme: address.scheme() })
                }
                _ => Ok(options),
            };
        }
        let options = Self::new(format!("ws://{url}"))?;
        #[cfg(feature = "tls")]
        let options = {
            let secure = Address::new(format!("wss://{url}"))?.without_credentials();
            Self { secure_websocket: Some(secure), ..options }
        };
        Ok(options)
    }

    /// Options of WebSocket: headers, cookies, sub-protocols and more. For `ws://` and `wss://` only; with another
    /// address, connecting is an error. Default: [`WebSocketClientOptions::default`].
    #[cfg(feature = "websocket")]
    pub fn websocket_options(mut self, options: WebSocketClientOptions) -> Self {
        self.dial = self.dial.websocket(options);
        self.has_websocket = true;
        self
    }
}
