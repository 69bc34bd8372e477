//! An MQTT toolkit: client and embeddable server for MQTT 3.1, 3.1.1 and 5.0.
//!
//! This crate is one name for the crates of the workspace and holds no code of its own. What most programs
//! need is at the top; everything else is in the modules, which are the crates themselves:
//!
//! * [`protocol`]: packets, topics, sessions and connection machines, without IO;
//! * [`transport`]: addresses, streams, listeners, framing;
//! * `client` (feature `client`, on by default): [`Client`], a handle with one driver task;
//! * `server` (feature `server`): [`Server`], to embed into an application;
//! * `storage_file` (feature `storage-file`): `FileStore`, files that keep its retained messages.
//!
//! The feature `tls`, on by default, adds `mqtts://` to both. `pfx` adds PKCS#12 files and keys with a password to it,
//! `system-roots` the CAs of the system, and `aws-iot` the client's options for AWS IoT Core.
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
//! A URL picks the transport everywhere: `mqtt://` (or `tcp://`) is TCP, `mqtts://` TLS, `memory://` is
//! within the process.

pub use gantline_protocol as protocol;
#[doc(no_inline)]
pub use gantline_protocol::{
    ClientId, Message, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions, TopicFilter,
    TopicName, TopicTemplate,
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
pub use gantline_transport::{WebSocketClientOptions, WebSocketServerOptions};

#[cfg(feature = "client")]
pub use gantline_client as client;
#[cfg(feature = "client")]
#[doc(no_inline)]
pub use gantline_client::{Client, ConnectOptions, Event, Events, Subscription};

#[cfg(feature = "server")]
pub use gantline_server as server;
#[cfg(feature = "server")]
#[doc(no_inline)]
pub use gantline_server::{RunningServer, Server, ServerOptions, StartError};

#[cfg(feature = "storage-file")]
pub use gantline_storage_file as storage_file;
#[cfg(feature = "storage-file")]
#[doc(no_inline)]
pub use gantline_storage_file::FileStore;

/// The programs of the README and the guides, compiled.
#[cfg(all(doctest, feature = "client", feature = "server"))]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/client.md")]
    struct ClientGuide;
    #[doc = include_str!("../../../docs/guide/server.md")]
    struct ServerGuide;
    #[doc = include_str!("../../../docs/guide/tls.md")]
    struct TlsGuide;
    #[doc = include_str!("../../../docs/guide/aws-iot.md")]
    struct AwsIotGuide;
}
