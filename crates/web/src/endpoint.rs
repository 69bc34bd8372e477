//! The endpoint: from a request for an upgrade to a connection of the server.
//!
//! Relates to: [`WebSocketServerOptions::answer`], which judges the request, and [`RunningServer::serve`], which gets
//! the connection. Leaves out: waiting. A request is answered at once, and a task waits for the upgrade, which comes
//! when the web server has sent the answer, or not at all when that connection breaks.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use gantline_server::RunningServer;
use gantline_transport::http::{Request, Response, StatusCode};
use gantline_transport::{
    Endpoint, PeerInfo, Scheme, Stream, WebSocketInfo, WebSocketOptionsError, WebSocketServerOptions,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tower_service::Service;

/// Where requests for MQTT over WebSocket arrive.
///
/// Cheap to clone. It holds a handle of the server, which so lives as long as the routes do; after
/// [`shutdown`](RunningServer::shutdown), connections are closed as soon as they are upgraded.
///
/// As a tower service it answers every request, whatever its path and method: what is not a request for MQTT over
/// WebSocket is told what it should be (400, 403, 405, 426). The address of the client is taken from the extensions of
/// the request: a [`SocketAddr`], or with axum its `ConnectInfo<SocketAddr>`. Without either the server does not know
/// it, which only logs and validators miss.
#[derive(Clone, Debug)]
pub struct MqttEndpoint {
    server: RunningServer,
    options: Arc<WebSocketServerOptions>,
    scheme: Scheme,
}

impl MqttEndpoint {
    /// An endpoint of this server, for pages of every site.
    pub fn new(server: &RunningServer) -> Self {
        Self { server: server.clone(), options: Arc::default(), scheme: Scheme::Ws }
    }

    /// An endpoint with options: the sites whose pages may connect, the headers that are kept for those who judge
    /// clients, the largest message, paths if it stands behind several. The bound of the HTTP head is the web server's.
    ///
    /// # Errors
    ///
    /// An option cannot be meant; the error names it.
    pub fn with_options(
        server: &RunningServer,
        options: WebSocketServerOptions,
    ) -> Result<Self, WebSocketOptionsError> {
        options.check()?;
        Ok(Self { options: Arc::new(options), ..Self::new(server) })
    }

    /// Says that the web server speaks TLS, or what stands before it, so that connections count as `wss://`. Default:
    /// `ws://`.
    #[must_use]
    pub const fn secure(mut self) -> Self {
        self.scheme = Scheme::Wss;
        self
    }

    /// Answers one request, from this peer, for those who have no tower service. Send the answer as it is: if its
    /// status is 101, the server gets the connection as soon as it is sent. Needs a tokio runtime, which runs the
    /// connection.
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    ///
    /// use gantline_web::MqttEndpoint;
    /// use hyper::{Request, Response, body::Incoming};
    ///
    /// fn handle(mqtt: &MqttEndpoint, mut request: Request<Incoming>, peer: SocketAddr) -> Response<String> {
    ///     match request.uri().path() {
    ///         "/mqtt" => mqtt.answer(&mut request, peer),
    ///         _ => Response::new("hello".to_owned()),
    ///     }
    /// }
    /// ```
    pub fn answer<B>(&self, request: &mut Request<B>, peer: impl Into<Endpoint>) -> Response<String> {
        let (response, asked) = match self.options.answer(request) {
            Ok(accepted) => accepted,
            Err((response, failure)) => {
                tracing::info!(%failure, "no upgrade to WebSocket");
                return response;
            }
        };
        let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            tracing::error!(
                "this web server does not upgrade connections: hyper has to serve them with_upgrades"
            );
            let mut response = Response::new("this connection cannot be upgraded\n".to_owned());
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
            return response;
        };
        tokio::spawn(self.clone().serve(upgrade, peer.into(), asked));
        response.map(|()| String::new())
    }

    async fn serve(self, upgrade: OnUpgrade, peer: Endpoint, asked: WebSocketInfo) {
        let info = PeerInfo::new(self.scheme, peer, "").with_websocket(asked);
        match upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                self.server.serve(Stream::from_upgraded_websocket(io, info, &self.options));
            }
            Err(error) => tracing::debug!(peer = %info, %error, "left before it was upgraded"),
        }
    }
}

impl<B> Service<Request<B>> for MqttEndpoint {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = peer_of(&request).map_or_else(|| UNKNOWN.into(), Endpoint::Socket);
        ready(Ok(self.answer(&mut request, peer)))
    }
}

fn peer_of<B>(request: &Request<B>) -> Option<SocketAddr> {
    let told = request.extensions().get::<SocketAddr>().copied();
    #[cfg(feature = "axum")]
    let told = told.or_else(|| crate::route::peer_of(request));
    told
}

/// The name of a client whose address nobody has told.
const UNKNOWN: &str = "unknown";
