//! An MQTT client for tokio: one handle, one driver task.
//!
//! ```no_run
//! use gantline_client::{Client, ConnectOptions, Message, QoS};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ConnectOptions::new("mqtt://localhost")?.client_id("kitchen")?).await?;
//!
//! let mut readings = client.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await?;
//! client.publish(Message::new("sensors/kitchen/temperature", "21.5")?.qos(QoS::AtLeastOnce)).await?;
//!
//! while let Some(message) = readings.next().await {
//!     println!("{}: {}", message.topic(), message.payload_str()?);
//! }
//!
//! client.disconnect().await?;
//! # Ok(()) }
//! ```
//!
//! # Publishing
//!
//! [`Client::publish`] has two steps, one future for both: a message is *accepted* into the bounded output, then
//! *acknowledged*. Awaited, it waits for both; with [`Publish::queued`] for the first, which gives a [`Delivery`] for
//! the second.
//!
//! # Receiving
//!
//! Messages are bounded streams: a [`Subscription`] for its filters, [`Client::messages`] for everything. A message of
//! QoS 1 or 2 is acknowledged when the application has taken it, so an application that is slow holds its senders back
//! and loses nothing; see [`OnFull`] for the choice and [`ManualAcks`] for acknowledging by hand.
//!
//! A payload of 24 bytes to 128 KiB shares memory with its neighbours, at most 32 times its size; who keeps many of them
//! for long copies them ([`Payload::copy_from_slice`]).
//!
//! # When the connection is lost
//!
//! Publishes that wait end with [`ConnectionLost`], which says whether the message will be sent again. The client does
//! not reconnect by itself (the one of `gantline-managed` does): [`Client::events`] tells of the loss,
//! [`Client::reconnect`] connects the same handle again, from within an event handler too. With a session that outlives
//! its connection ([`ConnectOptions::session_expiry`]) subscriptions and streams go on and what was in flight is sent
//! again; without one, subscriptions end.
//!
//! With [`ConnectOptions::session_store`] the session outlives the process too: a client that was restarted sends again
//! what was in flight, and what the server already has comes no second time.
//!
//! # How it is made
//!
//! Connecting runs in the caller's future; what follows is done by one task for each connection, the driver, which owns
//! the socket and never awaits user code. Handles talk to it through a mailbox, acknowledgements wake a slot of a slab,
//! so a message costs no channel.

mod authentication;
#[cfg(feature = "aws-iot")]
pub mod aws_iot;
mod client;
mod command;
mod concurrent;
mod connecting;
mod deadlines;
mod dispatch;
mod driver;
mod error;
mod event;
mod exchange;
mod features;
mod inbox;
mod inspector;
mod items;
mod journal;
mod kept;
pub mod lowlevel;
mod options;
mod payloads;
mod pending;
mod pub_sub;
mod publish;
mod reauthenticate;
mod recorder;
mod request;
mod session;
mod session_store;
mod shared;
mod subscription;
mod ticket;

pub use gantline_protocol::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, StoreError,
    async_trait,
};
pub use gantline_protocol::{
    ClientId, Message, PacketId, Payload, ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscribeFilter,
    SubscribeProperties, SubscriptionOptions, TemplateError, TopicError, TopicFilter, TopicName,
    TopicParameters, TopicTemplate,
};
#[cfg(feature = "pfx")]
pub use gantline_transport::KeyPassword;
pub use gantline_transport::{
    Address, Proxy, ProxyFailure, SocksRefusal, Stream, TcpOptions, TlsFailure, TransportError,
    WebSocketFailure, WebSocketInfo, WebSocketOptionsError,
};
#[cfg(feature = "tls")]
pub use gantline_transport::{
    Certificates, PrivateKey, ServerVerification, TlsClientOptions, TlsIdentity, TlsVersion,
};
#[cfg(feature = "websocket")]
pub use gantline_transport::{WebSocketClientOptions, WebSocketRequest};

pub use self::client::Client;
pub use self::error::{
    AuthenticationFailure, ConnectError, ConnectStage, ConnectionError, ConnectionLost, DisconnectCause,
    FiltersRefused, Progress, PublishError, PublishResult, ReauthenticateError, Refusal, RequestFailed,
    ServerGoodbye, SubscribeError, UnsubscribeError,
};
pub use self::event::{ConnectionInfo, Event, Events};
pub use self::inbox::OnFull;
pub use self::inspector::PacketDirection;
pub use self::options::{
    ConnectOptions, Credentials, CredentialsProvider, CredentialsRequest, OptionsError, Password,
};
pub use self::pub_sub::{Losses, PubSub};
pub use self::publish::{Delivery, Publish, Queued};
pub use self::request::{Disconnect, Subscribe, Subscribed, Unsubscribe, Unsubscribed};
pub use self::session_store::{Durability, SessionChange, SessionStore};
pub use self::subscription::{ManualAcks, Messages, Source, Subscription, Unacknowledged};
