//! MQTT over WebSocket on a web server of your own, beside its other routes and behind its middleware.
//!
//! A [`Server`](gantline_server::Server) listens by itself on `ws://` addresses; this is for programs that have an HTTP
//! server already and want one port, one certificate, one set of cookies. [`MqttEndpoint`] is a tower service that
//! answers requests for an upgrade and hands the connections to the server; with the feature `axum`, on by default, it
//! is also a route:
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use gantline_server::{Server, ServerOptions};
//! use gantline_web::MqttEndpoint;
//!
//! // It may listen elsewhere too, on `mqtt://0.0.0.0:1883` say.
//! let server = Server::new(ServerOptions::default()).start().await?;
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .route("/mqtt", MqttEndpoint::new(&server).route());
//! axum::serve(tokio::net::TcpListener::bind("0.0.0.0:8080").await?, app).await?;
//! # Ok(()) }
//! ```
//!
//! Over hyper alone, [`MqttEndpoint::answer`] does the same for one request. What it takes from the HTTP server is the
//! upgrade of hyper 1, which is that of HTTP/1.1: serve connections `with_upgrades`. WebSocket over HTTP/2 (RFC 8441)
//! is not there, and browsers do not ask for it unless a server offers it.
//!
//! Leaves out: TLS, which is the web server's; who a client is, which MQTT asks; everything behind the upgrade, which
//! is that of a `ws://` listener.

mod endpoint;
#[cfg(feature = "axum")]
mod route;

pub use gantline_transport::{WebSocketOptionsError, WebSocketServerOptions};

pub use self::endpoint::MqttEndpoint;
