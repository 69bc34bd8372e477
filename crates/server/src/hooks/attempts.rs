//! What hooks are asked about: views of what a client wants, or is about to get.
//!
//! A view borrows what the server has in hand and copies nothing; a hook that takes its time copies what it needs
//! before it waits. Relates to: `decision.rs`, the answers.

use std::sync::Arc;

use gantline_protocol::packet::SubscribeFilter;
use gantline_protocol::{Message, Moment, Outbound, QoS, TopicFilter};

use super::client::{ClientContext, Sender};
use crate::broker::publication::Publication;

/// A message that is about to be published: before it is kept, and before it is handed to anybody.
#[derive(Debug)]
pub struct PublishAttempt<'a> {
    pub(crate) sender: Sender<'a>,
    pub(crate) publication: &'a Publication<'a>,
    pub(crate) now: Moment,
}

impl<'a> PublishAttempt<'a> {
    /// Whose message it is.
    pub const fn sender(&self) -> Sender<'a> {
        self.sender
    }

    /// The topic; a topic alias is resolved.
    pub const fn topic(&self) -> &'a str {
        self.publication.topic
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.publication.payload()
    }

    /// The QoS with which it was published.
    pub const fn qos(&self) -> QoS {
        self.publication.qos
    }

    /// Whether it is to be retained.
    pub const fn is_retained(&self) -> bool {
        self.publication.retain
    }

    /// The whole message with its properties, copied: to look at them, or to send another in its place.
    pub fn to_message(&self) -> Message {
        self.publication.to_message(self.now)
    }
}

/// A subscription that a client asks for.
#[derive(Debug)]
pub struct SubscribeAttempt<'a> {
    pub(crate) client: &'a Arc<ClientContext>,
    pub(crate) subscription: &'a SubscribeFilter,
    pub(crate) id: Option<u32>,
}

impl<'a> SubscribeAttempt<'a> {
    /// Who asks.
    pub const fn client(&self) -> &'a Arc<ClientContext> {
        self.client
    }

    /// The filter, with its options.
    pub const fn subscription(&self) -> &'a SubscribeFilter {
        self.subscription
    }

    /// The subscription identifier.
    pub const fn identifier(&self) -> Option<u32> {
        self.id
    }
}

/// A filter that a client unsubscribes from.
#[derive(Debug)]
pub struct UnsubscribeAttempt<'a> {
    pub(crate) client: &'a Arc<ClientContext>,
    pub(crate) filter: &'a TopicFilter,
}

impl<'a> UnsubscribeAttempt<'a> {
    /// Who asks.
    pub const fn client(&self) -> &'a Arc<ClientContext> {
        self.client
    }

    /// The filter.
    pub const fn filter(&self) -> &'a TopicFilter {
        self.filter
    }
}

/// A message that is about to be sent to one of its receivers: live, from its queue, or a retained one. What is sent
/// again after a lost connection was asked about before.
#[derive(Debug)]
pub struct DeliveryAttempt<'a> {
    pub(crate) receiver: &'a Arc<ClientContext>,
    pub(crate) message: &'a Outbound,
    pub(crate) now: Moment,
}

impl<'a> DeliveryAttempt<'a> {
    /// Who is to get it.
    pub const fn receiver(&self) -> &'a Arc<ClientContext> {
        self.receiver
    }

    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.message.frame.topic()
    }

    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        self.message.frame.payload()
    }

    /// The QoS with which it is to be sent: the lower one of that of the message and that of the subscription.
    pub const fn qos(&self) -> QoS {
        self.message.qos
    }

    /// The RETAIN flag with which it is to be sent.
    pub const fn is_retained(&self) -> bool {
        self.message.retain
    }

    /// The whole message with its properties, copied.
    pub fn to_message(&self) -> Message {
        let Outbound { frame, qos, retain, .. } = self.message;
        frame.to_message(*qos, *retain, self.message.remaining(self.now), self.message.subscription_ids())
    }
}

/// What a client wants to do and needs [permission](super::Permission) for.
#[derive(Debug)]
pub struct Access<'a> {
    pub(crate) client: &'a Arc<ClientContext>,
    pub(crate) action: Action<'a>,
}

impl<'a> Access<'a> {
    /// Who wants it.
    pub const fn client(&self) -> &'a Arc<ClientContext> {
        self.client
    }

    /// What it wants.
    pub const fn action(&self) -> Action<'a> {
        self.action
    }
}

/// Something that needs permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// To publish a message to this topic, as a client or by its will.
    Publish {
        /// The topic.
        topic: &'a str,
        /// Whether the message is to be retained.
        retain: bool,
    },
    /// To get all messages that this filter matches: asked at SUBSCRIBE, when a session with the subscription is
    /// resumed, and by [`reauthorize`](crate::RunningServer::reauthorize).
    Subscribe {
        /// The filter; that of a share group with its prefix.
        filter: &'a TopicFilter,
    },
}

/// A packet as it came, or as it is sent.
#[derive(Debug)]
pub struct PacketView<'a> {
    pub(crate) client: &'a Arc<ClientContext>,
    pub(crate) direction: PacketDirection,
    pub(crate) bytes: &'a [u8],
}

impl<'a> PacketView<'a> {
    /// Whose connection it is.
    pub const fn client(&self) -> &'a Arc<ClientContext> {
        self.client
    }

    /// Which way it goes.
    pub const fn direction(&self) -> PacketDirection {
        self.direction
    }

    /// All its bytes, fixed header included; [`Packet::decode`](gantline_protocol::Packet::decode) reads them.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketDirection {
    /// From the client.
    In,
    /// To the client.
    Out,
}
