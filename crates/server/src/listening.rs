//! Where a server listens and with which options, and streams that the application accepts itself.
//!
//! Relates to: [`Server::start`], which binds what is collected here; [`gantline_transport::BindOptions`], which says
//! what there is to choose. Leaves out: accepting.

use std::fmt;

#[cfg(feature = "websocket")]
use gantline_transport::WebSocketServerOptions;
use gantline_transport::{
    Address, AddressError, BindOptions, Listener, Scheme, Stream, TcpOptions, TransportError, accept_over,
    bind,
};
#[cfg(feature = "tls")]
use gantline_transport::{TlsAcceptor, TlsOptionsError, TlsServerOptions};

use crate::error::StartError;
use crate::server::{RunningServer, Server};

/// An address to listen on, and what its listener does otherwise than the server's options say.
pub(crate) struct Place {
    address: Result<Address, AddressError>,
    change: Option<Change>,
}

type Change = Box<dyn FnOnce(BindOptions) -> BindOptions + Send + Sync>;

impl Server {
    /// Adds an address to listen on: `mqtt://`, `ws://`, `mqtts://` or `wss://` (which need a certificate:
    /// `Server::tls`), `unix://` or `memory://`. A path of `ws://` and `wss://` is the only one that is served, but for
    /// those of `Server::websocket`. Port 0 takes a free one. May be called more than once; a bad address is kept for
    /// [`start`](Self::start), whose error names it.
    #[must_use]
    pub fn listen<A>(mut self, address: A) -> Self
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        self.places.push(Place { address: address.try_into().map_err(Into::into), change: None });
        self
    }

    /// The options of WebSocket, such as the paths that are served, for all `ws://` and `wss://` addresses of the
    /// server. Default: none; with such options and without such an address, starting is an error.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, options: WebSocketServerOptions) -> Self {
        self.websocket = Some(options);
        self
    }

    /// As [`listen`](Self::listen), with options for this listener alone: `change` gets those that the server would use
    /// and returns what to use. For load balancers that speak the PROXY protocol, say, or the permissions of a socket
    /// file:
    ///
    /// ```
    /// use gantline_server::{ProxyProtocol, Server, ServerOptions};
    ///
    /// # fn main() -> Result<(), gantline_server::NetworkError> {
    /// let balancers = ProxyProtocol::from_networks(["10.0.7.0/24".parse()?]);
    /// let server = Server::new(ServerOptions::default())
    ///     .listen_with("mqtt://0.0.0.0:1883", |options| options.proxy_protocol(balancers))
    ///     .listen_with("unix:///run/mqtt.sock", |options| options.socket_mode(Some(0o660)));
    /// # Ok(()) }
    /// ```
    ///
    /// An option that the transport of the address does not have is an error of [`start`](Self::start).
    #[must_use]
    pub fn listen_with<A>(
        mut self,
        address: A,
        change: impl FnOnce(BindOptions) -> BindOptions + Send + Sync + 'static,
    ) -> Self
    where
        A: TryInto<Address>,
        A::Error: Into<AddressError>,
    {
        let change: Option<Change> = Some(Box::new(change));
        self.places.push(Place { address: address.try_into().map_err(Into::into), change });
        self
    }
}

impl RunningServer {
    /// Serves a connection that the application has accepted itself, as a listener of the server at this address would:
    /// what its scheme puts on top of a socket, TLS for `mqtts://` say, runs over the stream, with the options of the
    /// server. The address need not be one that the server listens on. As [`serve`](Self::serve) otherwise, which takes
    /// a stream as it is; for other options see [`gantline_transport::accept_over`].
    ///
    /// # Errors
    ///
    /// The server has no TLS and the scheme needs it, or this build has no such transport. The stream is closed.
    pub fn accept(&self, stream: Stream, address: &Address) -> Result<(), TransportError> {
        let options = self.core.layers.options_for(address.scheme());
        self.serve(accept_over(stream, address, &options)?);
        Ok(())
    }
}

/// What the options of the server put on top of sockets.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    socket: BindOptions,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsAcceptor>,
    #[cfg(feature = "websocket")]
    websocket: Option<WebSocketServerOptions>,
}

impl Layers {
    /// Reads the certificate, if there is one; it needs an address to be used at, or no addresses at all.
    pub(crate) async fn new(
        tcp: TcpOptions,
        #[cfg(feature = "tls")] tls: Option<TlsServerOptions>,
        #[cfg(feature = "websocket")] websocket: Option<WebSocketServerOptions>,
        places: &[Place],
    ) -> Result<Self, StartError> {
        for place in places {
            place.address.as_ref().map_err(Clone::clone)?;
        }
        #[cfg(feature = "websocket")]
        if websocket.is_some() && !places.is_empty() && !places.iter().any(Place::is_websocket) {
            return Err(StartError::WebSocketUnused);
        }
        #[cfg(feature = "tls")]
        let tls = match tls {
            None => None,
            Some(_) if !places.is_empty() && !places.iter().any(Place::is_secure) => {
                return Err(StartError::TlsUnused);
            }
            Some(options) => {
                let read = tokio::task::spawn_blocking(move || TlsAcceptor::new(options)).await;
                let read = read.map_err(|error| TlsOptionsError::Other(error.to_string())).flatten();
                Some(read.map_err(TransportError::from)?)
            }
        };
        Ok(Self {
            socket: BindOptions::default().tcp(tcp),
            #[cfg(feature = "tls")]
            tls,
            #[cfg(feature = "websocket")]
            websocket,
        })
    }

    /// The options of a listener with this scheme.
    fn options_for(&self, scheme: Scheme) -> BindOptions {
        #[cfg_attr(
            not(any(feature = "tls", feature = "websocket")),
            expect(unused_mut, reason = "no layers")
        )]
        let mut options = self.socket.clone();
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.clone().filter(|_| scheme.is_secure()) {
            options = options.tls(tls);
        }
        #[cfg(feature = "websocket")]
        if let Some(websocket) = self.websocket.clone().filter(|_| scheme.is_websocket()) {
            options = options.websocket(websocket);
        }
        let _ = scheme;
        options
    }

    pub(crate) async fn bind(&self, place: Place) -> Result<Box<dyn Listener>, StartError> {
        let address = place.address?;
        let options = self.options_for(address.scheme());
        let options = match place.change {
            Some(change) => change(options),
            None => options,
        };
        Ok(bind(&address, &options).await?)
    }
}

impl Place {
    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.address.as_ref().is_ok_and(|address| address.scheme().is_secure())
    }

    #[cfg(feature = "websocket")]
    fn is_websocket(&self) -> bool {
        self.address.as_ref().is_ok_and(|address| address.scheme().is_websocket())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
