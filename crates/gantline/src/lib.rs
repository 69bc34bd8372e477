//! An MQTT toolkit: client and embeddable server for MQTT 3.1, 3.1.1 and 5.0.
//!
//! This crate is one name for the crates of the workspace and holds no code of its own. What most programs
//! need is at the top; everything else is in the modules, which are the crates themselves:
//!
//! * [`protocol`]: packets, topics, sessions and connection machines, without IO;
//! * [`transport`]: addresses, streams, listeners, framing;
//! * `client` (feature `client`, on by default): [`Client`], a handle with one driver task;
//! * `rpc` (feature `rpc`): `RpcClient` and `RpcServer`, calls by messages; typed ones with `rpc-json`;
//! * `managed` (feature `managed`): `ManagedClient`, a client that stays connected;
//! * `server` (feature `server`): [`Server`], to embed into an application;
//! * `web` (feature `web`): `MqttEndpoint`, which puts the server on a route of axum or hyper;
//! * `storage_file` (feature `storage-file`): `FileStore`, files that keep the retained messages of a server,
//!   `FileSessionStore`, those that keep the session of a client, and `FileOutbox`, those of a managed one.
//!
//! The feature `tls`, on by default, adds `mqtts://` to both, `websocket` adds `ws://`, both together `wss://`. `pfx`
//! adds PKCS#12 files and keys with a password to TLS, `system-roots` the CAs of the system, and `aws-iot` the client's
//! options for AWS IoT Core.
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gantline::{Client, ConnectOptions, Message, QoS};
//!
//! let client = Client::connect(ConnectOptions::new("mqtt://localhost")?.client_id("kitchen")?).await?;
//! let mut readings = client.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await?;
//! client.publish(Message::new("sensors/kitchen/temperature", "21.5")?.qos(QoS::AtLeastOnce)).await?;
//! while let Some(message) = readings.next().await {
//!     println!("{}: {}", message.topic(), message.payload_str()?);
//! }
//! # Ok(()) }
//! ```
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use gantline::{Message, Server, ServerOptions};
//!
//! let server = Server::new(ServerOptions::default()).listen("mqtt://0.0.0.0:1883").start().await?;
//! server.publish(Message::new("announcements", "up")?).await?;
//! server.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! A URL picks the transport everywhere: `mqtt://` (or `tcp://`) is TCP, `mqtts://` TLS, `ws://` and `wss://`
//! WebSocket, `unix://` a Unix socket, `memory://` is within the process.

pub use gantline_protocol as protocol;
#[doc(no_inline)]
pub use gantline_protocol::{
    ClientId, Message, Payload, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
    TopicFilter, TopicName, TopicTemplate,
};
pub use gantline_transport as transport;
#[doc(no_inline)]
pub use gantline_transport::Address;
#[cfg(feature = "pfx")]
#[doc(no_inline)]
pub use gantline_transport::KeyPassword;
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use gantline_transport::{Certificates, PrivateKey, TlsClientOptions, TlsIdentity, TlsServerOptions};
#[cfg(feature = "websocket")]
#[doc(no_inline)]
pub use gantline_transport::{WebSocketClientOptions, WebSocketRequest, WebSocketServerOptions};

#[cfg(feature = "client")]
pub use gantline_client as client;
#[cfg(feature = "client")]
#[doc(no_inline)]
pub use gantline_client::{Client, ConnectOptions, Event, Events, Subscription};

#[cfg(feature = "rpc")]
pub use gantline_rpc as rpc;
#[cfg(feature = "rpc")]
#[doc(no_inline)]
pub use gantline_rpc::{RpcClient, RpcServer};

#[cfg(feature = "managed")]
pub use gantline_managed as managed;
#[cfg(feature = "managed")]
#[doc(no_inline)]
pub use gantline_managed::{ManagedClient, ManagedOptions, Outcome};

#[cfg(feature = "server")]
pub use gantline_server as server;
#[cfg(feature = "server")]
#[doc(no_inline)]
pub use gantline_server::{RunningServer, Server, ServerOptions, StartError};

#[cfg(feature = "storage-file")]
pub use gantline_storage_file as storage_file;
#[cfg(all(feature = "storage-file", feature = "managed"))]
#[doc(no_inline)]
pub use gantline_storage_file::FileOutbox;
#[cfg(all(feature = "storage-file", feature = "client"))]
#[doc(no_inline)]
pub use gantline_storage_file::FileSessionStore;
#[cfg(all(feature = "storage-file", feature = "server"))]
#[doc(no_inline)]
pub use gantline_storage_file::FileStore;

#[cfg(feature = "web")]
pub use gantline_web as web;

/// The programs of the README and the guides, compiled.
#[cfg(all(doctest, feature = "client", feature = "server"))]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/client.md")]
    struct ClientGuide;
    #[cfg(feature = "managed")]
    #[doc = include_str!("../../../docs/guide/managed.md")]
    struct ManagedGuide;
    #[doc = include_str!("../../../docs/guide/server.md")]
    struct ServerGuide;
    #[doc = include_str!("../../../docs/guide/tls.md")]
    struct TlsGuide;
    #[doc = include_str!("../../../docs/guide/websocket.md")]
    struct WebSocketGuide;
    #[doc = include_str!("../../../docs/guide/aws-iot.md")]
    struct AwsIotGuide;
    #[cfg(feature = "rpc-json")]
    #[doc = include_str!("../../../docs/guide/rpc.md")]
    struct RpcGuide;
    #[cfg(all(
        feature = "aws-iot",
        feature = "managed",
        feature = "pfx",
        feature = "rpc",
        feature = "storage-file",
        feature = "web"
    ))]
    #[doc = include_str!("../../../docs/guide/from-mqttnet.md")]
    struct FromMqttnet;
}
