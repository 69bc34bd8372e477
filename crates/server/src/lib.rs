//! An embeddable MQTT server for tokio: MQTT 3.1, 3.1.1 and 5.0.
//!
//! [`Server`] is configured and started, [`RunningServer`] is the handle: it publishes and subscribes without a client
//! in between, and shuts down. It runs on whichever runtime you have, with one thread or several.
//!
//! ```no_run
//! use gantline_server::{Message, QoS, Server, ServerOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(ServerOptions::default()).listen("mqtt://0.0.0.0:1883").start().await?;
//! let mut commands = server.subscribe("commands/#", QoS::AtLeastOnce)?;
//! while let Some(command) = commands.next().await {
//!     println!("{}", command.topic());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What a client can make the server hold for others or for itself is bounded, see [`ServerOptions`]; what is lost at a
//! bound is counted, see [`Metrics`]. What happens is told by [`RunningServer::events`] and
//! [`RunningServer::message_events`], and published under `$SYS/` if that is wanted
//! ([`ServerOptions::sys_interval`]).
//!
//! Inside there are two halves. `broker/` is what all connections share: synchronous, without clock and socket. Around
//! it are tasks that do IO: one for each connection, one for each listener, one that keeps the time, and one that saves
//! retained messages if there is a [store](RetainedStore) for them.

mod accepting;
mod administration;
mod admission;
mod authentication;
mod broker;
mod claim;
mod connection;

mod error;
mod events;
mod exchange;
mod handshake;
mod hold;
mod hooks;
mod intercepted;
mod listening;
mod local;
mod memory;
mod metrics;
mod notices;
mod options;
mod persistence;
mod publishing;
mod rate;
mod retained_store;
mod review;
mod running;
mod server;
mod session_items;
mod subscribing;
mod sys;
mod timekeeper;
mod unconnected;
mod validation;

pub use gantline_protocol::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, ClientId,
    Message, Payload, QoS, ReasonCode, RetainHandling, StoreError, SubscribeFilter, SubscriptionOptions,
    TopicFilter, TopicName, async_trait,
};
#[cfg(feature = "pfx")]
pub use gantline_transport::KeyPassword;
#[cfg(feature = "websocket")]
pub use gantline_transport::WebSocketServerOptions;
pub use gantline_transport::{
    Address, BindOptions, Listener, Network, NetworkError, Overflow, ProxyProtocol, Stream, TcpOptions,
    TlsFailure, TlsOptionsError, TransportError, WebSocketFailure, WebSocketInfo, WebSocketOptionsError,
};
#[cfg(feature = "tls")]
pub use gantline_transport::{
    Certificates, ClientCertificates, ClientVerification, PrivateKey, TlsAcceptor, TlsIdentity,
    TlsServerOptions, TlsVersion,
};

pub use self::administration::{ClientTraffic, SessionStatus};
#[cfg(feature = "bench-support")]
#[doc(hidden)]
pub use self::broker::bench_support;
pub use self::error::{PublishError, StartError};
pub use self::events::{DisconnectCause, DropCause, MessageEvent, MessageEvents, ServerEvent, ServerEvents};
pub use self::hooks::{
    Access, Action, ClientContext, Decision, DeliveryAttempt, IntoDecision, Outcome, PacketDirection,
    PacketView, Permission, PublishAttempt, Sender, SubscribeAttempt, UnsubscribeAttempt,
};
pub use self::local::LocalSubscription;
pub use self::metrics::{DropMetrics, Metrics, TrafficMetrics};
pub use self::options::ServerOptions;
pub use self::retained_store::{RetainedChange, RetainedMessage, RetainedStore};
pub use self::server::{RunningServer, Server};
pub use self::session_items::SessionItems;
pub use self::validation::{Acceptance, ConnectionRequest, ConnectionValidator, Refusal, Verdict};
