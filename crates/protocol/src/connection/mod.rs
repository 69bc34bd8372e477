//! One end of an MQTT connection, as a state machine without IO.
//!
//! [`Connection`] is the machine; [`ServerConnection`] and [`ClientConnection`] are its two ends. What both ends do
//! is in `link.rs`, what only one does is in `server.rs` and `client.rs`. The machine is called and never calls:
//!
//! 1. **Bytes in.** [`receive`](ServerConnection::receive) looks at one whole packet in place. What the machine
//!    answers by itself (PUBREL, PUBCOMP, PINGRESP, …) is appended to `out`; what concerns the caller is returned as a
//!    [`Received`], which may borrow the packet.
//! 2. **Commands.** [`publish`](Connection::publish), [`acknowledge`](Connection::acknowledge) and the others append
//!    to `out` too. Whoever calls writes `out` to the socket in order.
//! 3. **Time.** It comes in as an argument. After any of the above, `next_timeout` says when `handle_timeout` is due.
//! 4. **The end.** On a [`Violation`](crate::Violation) the caller appends
//!    [`goodbye`](Connection::goodbye), writes `out` and closes. Behind a goodbye, of whichever side, the machine
//!    writes nothing and disregards what comes [MQTT-3.14.4-1]. [`into_session`](Connection::into_session) gives back
//!    what survives.
//!
//! Every PUBLISH that is returned comes with a [`Receipt`]. The caller acknowledges it when it has taken the message
//! over, at once or much later, in any order; the machine sends the acknowledgements in the order of arrival
//! [MQTT-4.6.0-2] [MQTT-4.6.0-3]. Open receipts count against our Receive Maximum, so not acknowledging holds a peer
//! back.

mod client;
mod keep_alive;
mod link;
mod receipts;
mod receiving;
mod sending;
mod server;
#[cfg(test)]
mod tests;

pub use self::client::{ClientConnection, ClientSide, RequestError};
pub use self::link::Connection;
pub use self::receipts::Receipt;
pub use self::server::{ServerConnection, ServerSide};
use crate::outbound::Outbound;
use crate::packet::{Auth, ConnAck, Disconnect, PublishRef, SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::packet_id::PacketId;
use crate::properties::AckProperties;
use crate::qos::QoS;
use crate::reason_code::ReasonCode;
use crate::session::Lost;

/// What a packet means to the caller.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received<'a> {
    /// Nothing: the machine has done what was to be done.
    Handled,
    /// A message. Its topic is never empty, aliases are resolved. To be acknowledged with the receipt.
    Publish(PublishRef<'a>, Receipt),
    /// The flow of one of our publishes is complete.
    Acked(Acked),
    /// Server: the client subscribes; to be answered with [`ServerConnection::suback`]. What the limits do not offer
    /// is still among it where the version could not tell the client.
    Subscribe(Subscribe),
    /// Server: the client unsubscribes; to be answered with [`ServerConnection::unsuback`].
    Unsubscribe(Unsubscribe),
    /// The peer says goodbye. Nothing follows: close.
    Disconnect(Disconnect),
    /// A step of (re-)authentication, with the method of CONNECT.
    Auth(Auth),
    /// Client: the server answered CONNECT.
    Connected(Box<Connected>),
    /// Client: the answer to the SUBSCRIBE with this id, as many reasons as filters.
    SubAck(SubAck),
    /// Client: the answer to the UNSUBSCRIBE with this id, as many reasons as filters (filled in where the version
    /// sends none).
    UnsubAck(UnsubAck),
    /// Client: the server answered our PINGREQ.
    Pong,
}

impl<'a> Received<'a> {
    /// A message, or nothing.
    #[inline]
    fn publish(taken: Option<(PublishRef<'a>, Receipt)>) -> Self {
        match taken {
            Some((publish, receipt)) => Self::Publish(publish, receipt),
            None => Self::Handled,
        }
    }
}

/// The end of a flow that we began with a QoS 1 or 2 publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The id, which is free again.
    pub packet_id: PacketId,
    /// The tag of the [`Outbound`].
    pub tag: u32,
    /// The QoS of the publish.
    pub qos: QoS,
    /// What the receiver said, an error or not; on QoS 2 the word of PUBREC.
    pub reason: ReasonCode,
    /// Client only: the properties of the last acknowledgement, if it had any.
    pub properties: Option<Box<AckProperties>>,
}

/// The server's answer to CONNECT.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The CONNACK. If its reason is an error, the connection is over.
    pub connack: ConnAck,
    /// Messages of the session that will not be sent again, in send order: all, if the server has no session any more
    /// [MQTT-3.2.2-5]; else those that exceed the server's new maximum packet size. The others are on their way.
    pub lost: Vec<Lost>,
}

/// A message that was not sent, given back to the caller. Nothing was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotSent {
    /// It is larger than the peer's Maximum Packet Size: it never can be sent on this connection [MQTT-3.1.2-24].
    TooLarge(Outbound),
    /// No more may be in flight now, or the connection is not (or no longer) accepted: try again later.
    NoQuota(Outbound),
    /// Client: the server offers no such thing; the reason says what (QoS or RETAIN).
    NotOffered(Outbound, ReasonCode),
}

impl NotSent {
    /// The message.
    pub fn into_message(self) -> Outbound {
        match self {
            Self::TooLarge(message) | Self::NoQuota(message) | Self::NotOffered(message, _) => message,
        }
    }
}
