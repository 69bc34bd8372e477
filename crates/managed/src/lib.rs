//! An MQTT client that stays connected: it reconnects, restores its subscriptions and sends what waits.
//!
//! ```no_run
//! use gantline_managed::{ConnectOptions, ManagedClient, ManagedOptions, Message, QoS};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connect = ConnectOptions::new("mqtt://localhost")?.client_id("kitchen")?;
//! let client = ManagedClient::new(ManagedOptions::new(connect));
//! let mut readings = client.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await?;
//! client.start().await?;
//!
//! // Whether or not there is a connection now.
//! let message = Message::new("sensors/kitchen/temperature", "21.5")?.qos(QoS::AtLeastOnce);
//! client.publish(message).await.into_result()?;
//! while let Some(message) = readings.next().await {
//!     println!("{}: {}", message.topic(), message.payload_str()?);
//! }
//!
//! client.stop().drain(std::time::Duration::from_secs(10)).await;
//! # Ok(()) }
//! ```
//!
//! # Publishing
//!
//! A message goes into a bounded outbox and out of it when there is a connection, many at a time and in order. Each
//! publish ends exactly once, with an [`Outcome`]: delivered, rejected, dropped or indeterminate. With an
//! [`OutboxStore`] the outbox outlives the program.
//!
//! | QoS | the connection is lost while the message is in flight |
//! |-----|---|
//! | 0 | it may be lost; its outcome was *delivered* when the connection took it |
//! | 1 | it is sent again before all later ones: by the session if the server has it, else as a new message |
//! | 2 | by the session if the server has it; else it is in doubt, and [`InDoubt`] decides |
//!
//! # Receiving
//!
//! What is subscribed to is a wish that outlives connections, and so do its streams. A connection whose server has no
//! session of ours subscribes to everything again, some filters at a time; one that has is asked for what has changed
//! meanwhile. Messages wait until the subscriptions are restored.
//!
//! # How it is made
//!
//! On top of [`Client`](gantline_client::Client), whose sessions and streams it uses rather than having its own. One
//! task, the supervisor, owns connecting; the handles record what is wanted and that task makes it so.

mod backoff;
mod client;
mod counters;
mod desire;
mod event;
mod journal;
mod lifecycle;
mod membership;
mod options;
mod outbox;
mod outbox_store;
mod outcome;
mod pub_sub;
mod publish;
mod pump;
mod servers;
mod session_link;
mod shared;
mod state;
mod subscribe;
mod subscription;
mod supervisor;
mod synchronize;

pub use gantline_client::{
    ConnectError, ConnectOptions, ConnectionInfo, DisconnectCause, OnFull, OptionsError, PubSub,
    PublishResult, SubscribeError, Unacknowledged, UnsubscribeError,
};
pub use gantline_protocol::{
    ClientId, Message, Payload, ProtocolVersion, QoS, ReasonCode, RetainHandling, StoreError, TopicError,
    TopicFilter, TopicName, async_trait,
};
pub use gantline_transport::{Address, AddressError};

pub use self::client::{ManagedClient, Stop};
pub use self::counters::Counters;
pub use self::event::{ManagedEvent, ManagedEvents};
pub use self::options::{InDoubt, ManagedOptions, OnOutboxFull};
pub use self::outbox_store::{MessageId, OutboxChange, OutboxMessage, OutboxStore};
pub use self::outcome::{Doubt, DropReason, NotDelivered, Outcome, Rejection};
pub use self::publish::{Delivery, Publish, Queued};
pub use self::state::{Failure, State, StopCause};
pub use self::subscribe::Subscribe;
pub use self::subscription::{FilterError, ManagedMessages, ManualStream, Subscription};
