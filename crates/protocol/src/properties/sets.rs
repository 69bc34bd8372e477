//! Which properties each packet may carry.
//!
//! Relates to: `mod.rs`, where each property has its number and type. Leaves out: rules that concern more than one
//! property or the state of a connection; packets and machines know those.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::table::{
    Field, Seen, encoded_len, is_absent, property_set, read_into, write_all, write_length, write_valid,
};
use super::value::PayloadFormat;
use super::{PropertyId, UserProperties, kind};
use crate::codec::Reader;
use crate::error::{EncodeError, Rule, Violation};
use crate::qos::QoS;
use crate::topic::TopicName;

property_set! {
    /// The properties of CONNECT. `None` is what the specification takes for absent.
    ConnectProperties {
        /// How long the server keeps the session after the connection, in seconds. `None`: not at all; `u32::MAX`: for
        /// ever.
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// How many QoS 1 and 2 publishes the client takes at a time. `None`: 65,535.
        receive_maximum: Option<NonZeroU16> = ReceiveMaximum,
        /// The largest packet that the client takes, in bytes. `None`: no limit.
        maximum_packet_size: Option<NonZeroU32> = MaximumPacketSize,
        /// The highest topic alias that the server may use. `None`: 0, no aliases.
        topic_alias_maximum: Option<u16> = TopicAliasMaximum,
        /// Whether the client wants response information in CONNACK. `None`: no.
        request_response_information: Option<bool> = RequestResponseInformation,
        /// Whether the client wants reason strings and user properties with failures. `None`: yes.
        request_problem_information: Option<bool> = RequestProblemInformation,
        /// The name of the authentication method. `None`: no extended authentication.
        authentication_method: Option<String> = AuthenticationMethod,
        /// The data of the authentication method.
        authentication_data: Option<Bytes> = AuthenticationData,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of a will. All but the delay become those of the message.
    WillProperties {
        /// How long the server waits with the will after the connection ended, in seconds. `None`: 0.
        will_delay_interval: Option<u32> = WillDelayInterval,
        /// What the payload is.
        payload_format_indicator: PayloadFormat = PayloadFormatIndicator,
        /// How long the message is of use, in seconds from when it is published. `None`: for ever.
        message_expiry_interval: Option<u32> = MessageExpiryInterval,
        /// What the content is, by a name that applications agree on, such as a MIME type.
        content_type: Option<String> = ContentType,
        /// Where an answer is to be sent.
        response_topic: Option<TopicName> = ResponseTopic,
        /// By what the asker recognises the answer.
        correlation_data: Option<Bytes> = CorrelationData,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of CONNACK. `None` is what the specification takes for absent.
    ConnAckProperties {
        /// How long the server keeps the session, in seconds. `None`: as the client asked.
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// How many QoS 1 and 2 publishes the server takes at a time. `None`: 65,535.
        receive_maximum: Option<NonZeroU16> = ReceiveMaximum,
        /// The highest QoS that the server takes: 0 or 1. `None`: 2.
        maximum_qos: Option<QoS> = MaximumQoS,
        /// Whether the server keeps retained messages. `None`: yes.
        retain_available: Option<bool> = RetainAvailable,
        /// The largest packet that the server takes, in bytes. `None`: no limit.
        maximum_packet_size: Option<NonZeroU32> = MaximumPacketSize,
        /// The client id that the server chose, if the client brought none.
        assigned_client_identifier: Option<String> = AssignedClientIdentifier,
        /// The highest topic alias that the client may use. `None`: 0, no aliases.
        topic_alias_maximum: Option<u16> = TopicAliasMaximum,
        /// Why, for people who read logs.
        reason_string: Option<String> = ReasonString,
        /// Whether the server supports wildcard subscriptions. `None`: yes.
        wildcard_subscription_available: Option<bool> = WildcardSubscriptionAvailable,
        /// Whether the server supports subscription identifiers. `None`: yes.
        subscription_identifiers_available: Option<bool> = SubscriptionIdentifiersAvailable,
        /// Whether the server supports `$share`. `None`: yes.
        shared_subscription_available: Option<bool> = SharedSubscriptionAvailable,
        /// The keep alive that the client is to use instead of its own, in seconds.
        server_keep_alive: Option<u16> = ServerKeepAlive,
        /// From which the client makes response topics.
        response_information: Option<String> = ResponseInformation,
        /// Another server to use.
        server_reference: Option<String> = ServerReference,
        /// The name of the authentication method.
        authentication_method: Option<String> = AuthenticationMethod,
        /// The data of the authentication method.
        authentication_data: Option<Bytes> = AuthenticationData,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of PUBLISH. Alias and subscription identifiers concern one connection, the others the message.
    PublishProperties {
        /// What the payload is.
        payload_format_indicator: PayloadFormat = PayloadFormatIndicator,
        /// How long the message is still of use, in seconds. `None`: for ever.
        message_expiry_interval: Option<u32> = MessageExpiryInterval,
        /// The number that stands for the topic on this connection.
        topic_alias: Option<NonZeroU16> = TopicAlias,
        /// Where an answer is to be sent.
        response_topic: Option<TopicName> = ResponseTopic,
        /// By what the asker recognises the answer.
        correlation_data: Option<Bytes> = CorrelationData,
        /// Which subscriptions of the receiver matched, if those have identifiers: 1 to 268,435,455.
        subscription_identifiers: Vec<u32> = SubscriptionIdentifier,
        /// What the content is, by a name that applications agree on, such as a MIME type.
        content_type: Option<String> = ContentType,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of all acknowledgements: PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    AckProperties {
        /// Why, for people who read logs.
        reason_string: Option<String> = ReasonString,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of SUBSCRIBE.
    SubscribeProperties {
        /// A number, 1 to 268,435,455, that comes with each message that matches one of the filters.
        subscription_identifier: Option<u32> = SubscriptionIdentifier,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of UNSUBSCRIBE.
    UnsubscribeProperties {
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of DISCONNECT.
    DisconnectProperties {
        /// Only from a client: how long the session is kept, instead of what was agreed, in seconds.
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// Why, for people who read logs.
        reason_string: Option<String> = ReasonString,
        /// Only from a server: another server to use.
        server_reference: Option<String> = ServerReference,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

property_set! {
    /// The properties of AUTH.
    AuthProperties {
        /// The name of the authentication method. AUTH must have one.
        authentication_method: Option<String> = AuthenticationMethod,
        /// The data of the authentication method.
        authentication_data: Option<Bytes> = AuthenticationData,
        /// Why, for people who read logs.
        reason_string: Option<String> = ReasonString,
        /// Pairs that applications agree on.
        user_properties: UserProperties = UserProperty,
    }
}

impl PublishProperties {
    /// No properties.
    pub const NONE: Self = Self {
        payload_format_indicator: PayloadFormat::Unspecified,
        message_expiry_interval: None,
        topic_alias: None,
        response_topic: None,
        correlation_data: None,
        subscription_identifiers: Vec::new(),
        content_type: None,
        user_properties: UserProperties::new(),
    };

    /// Appends the properties that are the same for every receiver: all but alias, expiry and subscription
    /// identifiers; without their length. A value that cannot be sent is left out; [`encoded_len`](Self::encoded_len)
    /// tells whether there is one.
    pub fn write_forwarded(&self, out: &mut Vec<u8>) {
        write_valid::<kind::PayloadFormatIndicator>(&self.payload_format_indicator, out);
        write_valid::<kind::ResponseTopic>(&self.response_topic, out);
        write_valid::<kind::CorrelationData>(&self.correlation_data, out);
        write_valid::<kind::ContentType>(&self.content_type, out);
        write_valid::<kind::UserProperty>(&self.user_properties, out);
    }
}

impl From<WillProperties> for PublishProperties {
    /// The properties of the message that the will becomes; the delay is not among them.
    fn from(will: WillProperties) -> Self {
        Self {
            payload_format_indicator: will.payload_format_indicator,
            message_expiry_interval: will.message_expiry_interval,
            response_topic: will.response_topic,
            correlation_data: will.correlation_data,
            content_type: will.content_type,
            user_properties: will.user_properties,
            ..Self::NONE
        }
    }
}
