//! MQTT 3.1, 3.1.1 and 5.0 without IO: no socket, no clock, no runtime.
//!
//! From the bottom up: small values ([`QoS`], [`PacketId`], [`ReasonCode`], …), [`topic`] names and filters,
//! [`properties`], and the [`Message`] that applications see; [`packet`]s, read and written by the [`codec`]. Packets
//! are those of 5.0; on an older version they have no properties, and hardly anybody asks which version it is. A
//! [`Frame`] is what all receivers of a message share, an [`Outbound`] is one for one of them. A [`Session`] holds the
//! flows of a client id, and a [`Connection`] is the machine that turns bytes and time into
//! bytes and events under the [`Limits`] of CONNECT and CONNACK. Time comes in as an argument, a [`Moment`]. Leaves
//! out: everything that waits.
//!
//! Above this crate, `gantline-transport` moves the bytes, and `gantline-client` and `gantline-server` are what most
//! users want.

mod client_id;
mod packet_id;
mod qos;
mod reason_code;
mod store_error;
mod time;
mod version;

mod error;

pub mod topic;

pub mod properties;

mod frame;
mod message;
mod outbound;
mod output;
mod payload;

pub mod codec;

pub mod packet;

mod authentication;

mod limits;

pub mod connection;
pub mod session;

/// The attribute with which an [`AuthenticationExchange`] is written.
pub use async_trait::async_trait;

pub use self::authentication::{
    AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep,
};
pub use self::client_id::{ClientId, ClientIdError};
pub use self::codec::FixedHeader;
pub use self::connection::{
    Acked, ClientConnection, Connected, Connection, NotSent, Receipt, Received, RequestError,
    ServerConnection,
};
pub use self::error::{EncodeError, Rule, Violation};
pub use self::frame::{Frame, Head};
pub use self::limits::{Bounds, Limits, MAXIMUM_PACKET_SIZE, Offer};
pub use self::message::Message;
pub use self::outbound::{Outbound, SubscriptionIds};
pub use self::output::Output;
pub use self::packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, PacketType, Publish, PublishRef,
    RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscriptionOptions, UnsubAck, Unsubscribe, Will,
};
pub use self::packet_id::PacketId;
pub use self::payload::Payload;
pub use self::properties::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties, PayloadFormat,
    PropertyId, PublishProperties, PublishPropertiesRef, SubscribeProperties, UnsubscribeProperties,
    UserProperties, WillProperties,
};
pub use self::qos::QoS;
pub use self::reason_code::ReasonCode;
pub use self::session::Session;
pub use self::store_error::StoreError;
pub use self::time::Moment;
pub use self::topic::{
    SharedFilter, TemplateError, TopicError, TopicFilter, TopicName, TopicParameters, TopicTemplate,
};
pub use self::version::{ProtocolVersion, UnknownVersion};
