//! Properties: the optional fields of packets.
//!
//! Below is the one table of all properties; `sets.rs` says which packet may carry which. From the two follow reading,
//! writing, lengths, and the refusal of unknown, misplaced, repeated and wrong ones. On the hot path
//! [`PublishPropertiesRef`] checks the properties of a PUBLISH and leaves them where they are. Leaves out: what
//! properties do.

mod borrowed;
mod sets;
mod table;
#[cfg(test)]
mod tests;
mod user;
mod value;

use std::fmt;

pub use self::borrowed::PublishPropertiesRef;
pub use self::sets::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties,
    PublishProperties, SubscribeProperties, UnsubscribeProperties, WillProperties,
};
use self::table::{Kind, property_ids};
pub use self::user::UserProperties;
pub use self::value::PayloadFormat;
use self::value::{
    Alias, Data, Flag, Format, FourBytes, HighestQoS, NonZeroFourBytes, NonZeroTwoBytes, NonZeroVarint, Pair,
    Shape, Text, Topic, TwoBytes, Wire,
};
use crate::codec::Reader;
use crate::error::Violation;

property_ids! {
    /// Whether the payload is UTF-8.
    0x01 PayloadFormatIndicator "Payload Format Indicator": Format;
    /// After how many seconds the message is of no use.
    0x02 MessageExpiryInterval "Message Expiry Interval": FourBytes;
    /// What the content of the message is.
    0x03 ContentType "Content Type": Text;
    /// Where an answer is to be sent.
    0x08 ResponseTopic "Response Topic": Topic;
    /// By what an answer is recognised.
    0x09 CorrelationData "Correlation Data": Data;
    /// The number of a subscription.
    0x0B SubscriptionIdentifier "Subscription Identifier": NonZeroVarint;
    /// How many seconds a session lives after its connection.
    0x11 SessionExpiryInterval "Session Expiry Interval": FourBytes;
    /// The client id that the server chose.
    0x12 AssignedClientIdentifier "Assigned Client Identifier": Text;
    /// The keep alive that the server demands.
    0x13 ServerKeepAlive "Server Keep Alive": TwoBytes;
    /// The name of an authentication method.
    0x15 AuthenticationMethod "Authentication Method": Text;
    /// The data of an authentication method.
    0x16 AuthenticationData "Authentication Data": Data;
    /// Whether the client wants to be told why.
    0x17 RequestProblemInformation "Request Problem Information": Flag;
    /// How many seconds the will waits.
    0x18 WillDelayInterval "Will Delay Interval": FourBytes;
    /// Whether the client wants response information.
    0x19 RequestResponseInformation "Request Response Information": Flag;
    /// From which the client makes response topics.
    0x1A ResponseInformation "Response Information": Text;
    /// Another server to use.
    0x1C ServerReference "Server Reference": Text;
    /// Why, for people who read logs.
    0x1F ReasonString "Reason String": Text;
    /// How many publishes may be unacknowledged.
    0x21 ReceiveMaximum "Receive Maximum": NonZeroTwoBytes;
    /// The highest topic alias.
    0x22 TopicAliasMaximum "Topic Alias Maximum": TwoBytes;
    /// The number that stands for the topic.
    0x23 TopicAlias "Topic Alias": Alias;
    /// The highest QoS.
    0x24 MaximumQoS "Maximum QoS": HighestQoS;
    /// Whether retained messages are kept.
    0x25 RetainAvailable "Retain Available": Flag;
    /// A pair that applications agree on.
    0x26 UserProperty "User Property": Pair;
    /// The largest packet.
    0x27 MaximumPacketSize "Maximum Packet Size": NonZeroFourBytes;
    /// Whether wildcard subscriptions are supported.
    0x28 WildcardSubscriptionAvailable "Wildcard Subscription Available": Flag;
    /// Whether subscription identifiers are supported.
    0x29 SubscriptionIdentifiersAvailable "Subscription Identifiers Available": Flag;
    /// Whether `$share` is supported.
    0x2A SharedSubscriptionAvailable "Shared Subscription Available": Flag;
}

impl PropertyId {
    /// The number on the wire.
    #[inline]
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// A bit of its own, for sets of properties.
    #[inline]
    const fn bit(self) -> u64 {
        1 << self.value()
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
