//! Calls over MQTT: a request is a message, its answer another one.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use gantline_client::{Client, QoS};
//! use gantline_rpc::{Request, RpcClient, RpcServer};
//!
//! # async fn example(client: Client, device: Client) -> Result<(), Box<dyn std::error::Error>> {
//! // On the device:
//! let running = RpcServer::new()
//!     .method("kitchen.echo", |request: Request| async move { Ok(request.payload().clone()) })
//!     .start(device)
//!     .await?;
//!
//! // Elsewhere:
//! let rpc = RpcClient::new(client);
//! let answer = rpc.execute("kitchen.echo", "hello", QoS::AtLeastOnce, Duration::from_secs(5)).await?;
//! println!("{}", answer.payload_str()?);
//! # Ok(()) }
//! ```
//!
//! Both work over whatever publishes and subscribes ([`PubSub`](gantline_client::PubSub)).
//!
//! # Topics
//!
//! A request goes to `MQTTnet.RPC/<32 hex digits>/<method>`, its answer to the same with `/response` behind it: the
//! topics of MQTTnet, so devices that know those are called, and answer, as they are. On MQTT 5 the request names
//! response topic and correlation data in addition. What the digits mean, and how many subscriptions that takes, is
//! the choice of a [`TopicScheme`]: [`MqttNetTopics`] for everybody, [`ResponseInbox`] for MQTT 5 on both ends, or one
//! of your own.
//!
//! # When it fails
//!
//! A call has a time-out, but what can be known earlier is told at once: that the server refuses the subscription to
//! the answer, that nobody subscribes to the method, that the connection was lost, that the responder failed or is
//! busy. See [`CallError`]. An answer that comes late is dropped.
//!
//! # Features
//!
//! `json`: typed calls, [`RpcClient::call`](RpcClient) and `RpcServer::json_method`.

mod answering;
mod call_id;
mod caller;
mod calls;
mod error;
mod inboxes;
#[cfg(feature = "json")]
mod json;
mod losses;
mod reply;
mod responder;
mod scheme;
mod stream;

pub use self::answering::{RpcServerStats, RunningRpcServer};
pub use self::call_id::CallId;
pub use self::caller::{RpcClient, RpcClientOptions, RpcClientStats};
pub use self::error::{CallError, CallStage, Failure, InvalidMethod, ServeError};
#[cfg(feature = "json")]
pub use self::json::JsonCallError;
pub use self::reply::Unmarked;
pub use self::responder::{Request, RpcServer};
pub use self::scheme::{Inbox, MqttNetTopics, ResponseInbox, TopicScheme};
