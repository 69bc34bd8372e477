//! What can be wrong: rules that a peer breaks, and packets that cannot be expressed.
//!
//! [`Rule`] is the list of rules, each with its clause and the reason code that answers it; a [`Violation`] is one
//! case. [`EncodeError`] is the other direction: our side asked for something that MQTT cannot carry. Leaves out:
//! errors of the network and of user operations, which belong to the crates that have them, and texts that are no topic
//! ([`TopicError`](crate::topic::TopicError)).

use std::fmt;

use crate::packet::PacketType;
use crate::properties::PropertyId;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// Declares the rules once: variant, the reason code that answers, the clause of MQTT 5.0, the sentence. The sentence
/// says what the peer did and is also the documentation of the variant.
macro_rules! rules {
    ($($variant:ident $reason:ident $clause:literal $text:literal;)+) => {
        /// A rule of MQTT, named after how a peer breaks it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("The peer broke a rule: ", $text, " (", $clause, ").")] $variant,)+
        }

        impl Rule {
            /// All rules, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The reason code to answer with, in a DISCONNECT or CONNACK.
            pub const fn reason(self) -> ReasonCode {
                match self {
                    $(Self::$variant => ReasonCode::$reason,)+
                }
            }

            /// The clause of MQTT 5.0, such as `MQTT-2.1.3-1`, or the section where the rule has no number. Rules
            /// that differ in the older versions name the clause of 5.0 too.
            pub const fn clause(self) -> &'static str {
                match self {
                    $(Self::$variant => $clause,)+
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

rules! {
    // Packets in general.
    ReservedPacketType MalformedPacket "section 2.1.2" "the packet type is reserved";
    ReservedFlags MalformedPacket "MQTT-2.1.3-1" "the flags of the fixed header are not those of the packet type";
    VarintTooLong MalformedPacket "section 1.5.5" "a variable byte integer has more than four bytes";
    VarintNotMinimal MalformedPacket "MQTT-1.5.5-1" "a variable byte integer is longer than it needs to be";
    IncompletePacket MalformedPacket "section 1.2" "the packet ends too early";
    TrailingBytes MalformedPacket "section 1.2" "the packet goes on behind its end";
    PacketTooLarge PacketTooLarge "MQTT-3.2.2-15" "the packet is larger than the Maximum Packet Size";
    StringNotUtf8 MalformedPacket "MQTT-1.5.4-1" "a string is not UTF-8";
    StringContainsNull MalformedPacket "MQTT-1.5.4-2" "a string contains U+0000";
    PacketIdZero ProtocolError "MQTT-2.2.1-3" "the packet identifier is zero";
    UnexpectedPacket ProtocolError "section 4.13" "this packet is not allowed here";
    ReasonCodeInvalid ProtocolError "section 2.4" "the packet cannot carry this reason code";

    // Properties.
    PropertyUnknown MalformedPacket "section 2.2.2.2" "there is no such property";
    PropertyNotAllowed MalformedPacket "section 2.2.2.2" "the packet cannot carry this property";
    PropertyRepeated ProtocolError "section 2.2.2.2" "a property is there more than once";
    PropertyValue ProtocolError "section 2.2.2.2" "the value of a property is not allowed";
    ResponseTopicInvalid ProtocolError "MQTT-3.3.2-14" "the response topic is not a topic name";

    // CONNECT and CONNACK.
    FirstPacketNotConnect ProtocolError "MQTT-3.1.0-1" "the first packet is not CONNECT";
    SecondConnect ProtocolError "MQTT-3.1.0-2" "there is a second CONNECT";
    UnsupportedProtocolVersion UnsupportedProtocolVersion "MQTT-3.1.2-2" "the protocol name and level are not supported";
    ConnectReservedFlag MalformedPacket "MQTT-3.1.2-3" "the reserved flag of CONNECT is set";
    WillFlagsWithoutWill MalformedPacket "MQTT-3.1.2-11" "there are will flags without a will";
    WillQoSInvalid MalformedPacket "MQTT-3.1.2-12" "the QoS of the will is 3";
    PasswordWithoutUserName MalformedPacket "section 3.1.2.9" "there is a password without a user name";
    ClientIdInvalid ClientIdentifierNotValid "MQTT-3.1.3-8" "the client identifier is not valid";
    AuthenticationDataWithoutMethod ProtocolError "section 3.1.2.11.10" "there is authentication data without a method";
    AuthenticationMethodMissing ProtocolError "section 3.15.2.2.2" "the authentication method is missing";
    AuthenticationMethodChanged ProtocolError "MQTT-4.12.0-5" "the authentication method is not that of CONNECT";
    AuthenticationNotStarted ProtocolError "MQTT-4.12.0-6" "there is authentication that CONNECT did not ask for";
    ConnAckFlagsReserved MalformedPacket "MQTT-3.2.2-1" "a reserved flag of CONNACK is set";
    SessionPresentUnexpected ProtocolError "MQTT-3.2.2-4" "the server has a session that the client does not know";
    SessionPresentWithError ProtocolError "MQTT-3.2.2-6" "a refused connection has a session";
    PingUnanswered KeepAliveTimeout "MQTT-3.12.4-1" "PINGREQ was not answered in time, and nothing else came";
    KeepAliveExpired KeepAliveTimeout "MQTT-3.1.2-22" "nothing came within one and a half times the keep alive";

    // PUBLISH and its acknowledgements.
    QoSInvalid MalformedPacket "MQTT-3.3.1-4" "the QoS is 3";
    DupWithoutQoS MalformedPacket "MQTT-3.3.1-2" "DUP is set with QoS 0";
    TopicNameInvalid TopicNameInvalid "MQTT-3.3.2-2" "the topic name contains a wildcard";
    TopicNameEmpty ProtocolError "MQTT-4.7.3-1" "the topic name is empty and there is no topic alias";
    TopicAliasOutOfRange TopicAliasInvalid "MQTT-3.3.2-9" "the topic alias is zero or above the maximum";
    TopicAliasUnknown ProtocolError "section 3.3.4" "the topic alias has no topic";
    PayloadNotUtf8 PayloadFormatInvalid "section 3.3.2.3.2" "the payload is announced as UTF-8 and is not";
    QoSAboveMaximum QoSNotSupported "MQTT-3.2.2-11" "the QoS is above the Maximum QoS";
    RetainUnavailable RetainNotSupported "MQTT-3.2.2-14" "RETAIN is set, which is not available";
    ReceiveMaximumExceeded ReceiveMaximumExceeded "MQTT-3.3.4-7" "more publishes are open than the Receive Maximum";
    SubscriptionIdentifierFromClient ProtocolError "MQTT-3.3.4-6" "a client sent a subscription identifier";
    AcknowledgementMismatch ProtocolError "section 4.3" "the acknowledgement does not fit the state of its flow";

    // SUBSCRIBE, UNSUBSCRIBE and their acknowledgements.
    NoTopicFilters ProtocolError "MQTT-3.8.3-2" "there is no topic filter";
    TooManyFilters QuotaExceeded "section 4.13" "the packet has more topic filters than the server takes";
    TopicFilterInvalid TopicFilterInvalid "MQTT-4.7.1-1" "the topic filter is not valid";
    SubscriptionOptionsReserved MalformedPacket "MQTT-3.8.3-5" "a reserved bit of the subscription options is set";
    SubscriptionQoSInvalid ProtocolError "section 3.8.3.1" "the maximum QoS of a subscription is 3";
    RetainHandlingInvalid ProtocolError "section 3.8.3.1" "the retain handling of a subscription is 3";
    SharedNoLocal ProtocolError "MQTT-3.8.3-4" "a shared subscription asks for No Local";
    WildcardSubscriptionsUnavailable WildcardSubscriptionsNotSupported "section 3.2.2.3.11"
        "wildcard subscriptions are not available";
    SubscriptionIdentifiersUnavailable SubscriptionIdentifiersNotSupported "section 3.2.2.3.12"
        "subscription identifiers are not available";
    SharedSubscriptionsUnavailable SharedSubscriptionsNotSupported "section 3.2.2.3.13"
        "shared subscriptions are not available";
    ReasonCountMismatch ProtocolError "MQTT-3.8.4-6" "there is not one reason code for each topic filter";

    // DISCONNECT.
    SessionExpiryRaised ProtocolError "section 3.14.2.2.2" "the session expiry was zero and is not any more";
    SessionExpiryFromServer ProtocolError "MQTT-3.14.2-2" "a server sent a session expiry with DISCONNECT";
}

impl Rule {
    /// Whether the value of a violation is the number of a property.
    const fn is_about_property(self) -> bool {
        matches!(
            self,
            Self::PropertyUnknown | Self::PropertyNotAllowed | Self::PropertyRepeated | Self::PropertyValue
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// One case of a broken [`Rule`]: the peer is at fault, and the connection is to be closed [MQTT-4.13.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The packet that broke it, if one did and its type is known.
    pub packet: Option<PacketType>,
    /// The number that is wrong. For rules about properties it is the number of the property.
    pub value: Option<u32>,
}

impl Violation {
    /// A violation of which no more is known yet.
    #[cold]
    pub const fn new(rule: Rule) -> Self {
        Self { rule, packet: None, value: None }
    }

    /// Adds the packet, unless it is known already.
    #[must_use]
    pub const fn in_packet(mut self, packet: PacketType) -> Self {
        if self.packet.is_none() {
            self.packet = Some(packet);
        }
        self
    }

    /// Adds the wrong number, unless it is known already.
    #[must_use]
    pub const fn value(mut self, value: u32) -> Self {
        if self.value.is_none() {
            self.value = Some(value);
        }
        self
    }

    /// The reason code to answer with.
    pub const fn reason(&self) -> ReasonCode {
        self.rule.reason()
    }
}

impl From<Rule> for Violation {
    fn from(rule: Rule) -> Self {
        Self::new(rule)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer broke the protocol")?;
        if let Some(packet) = self.packet {
            write!(f, " in {packet}")?;
        }
        write!(f, ": {}", self.rule)?;
        match (self.value, self.value.and_then(|value| PropertyId::from_u8(u8::try_from(value).ok()?))) {
            (_, Some(id)) if self.rule.is_about_property() => write!(f, ": {id}")?,
            (Some(value), _) => write!(f, ": {value}")?,
            (None, _) => {}
        }
        write!(f, " [{}] ({})", self.rule.clause(), self.reason())
    }
}

impl std::error::Error for Violation {}

/// Why a packet cannot be written: our side asked for something that MQTT cannot carry. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field has more than 65,535 bytes.
    #[error("{field} has {length} bytes, at most 65535 can be sent")]
    TooLong {
        /// The field as the specification names it.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A string contains U+0000 [MQTT-1.5.4-2].
    #[error("{field} contains U+0000, which no string may")]
    NullCharacter {
        /// The field as the specification names it.
        field: &'static str,
    },
    /// A number has no place in its field.
    #[error("{field} cannot be {value}")]
    OutOfRange {
        /// The field as the specification names it.
        field: &'static str,
        /// The number.
        value: u32,
    },
    /// A packet needs something that it does not have.
    #[error("{field} is missing")]
    Missing {
        /// The field as the specification names it.
        field: &'static str,
    },
    /// A packet is longer than a remaining length of 268,435,455 can say.
    #[error("the packet has {length} bytes behind its header, at most 268435455 can be sent")]
    TooLarge {
        /// The length behind the fixed header in bytes.
        length: usize,
    },
    /// A packet is larger than the peer's Maximum Packet Size.
    #[error("the packet has {length} bytes and the peer accepts {maximum}")]
    AbovePeerMaximum {
        /// The bytes of the packet.
        length: usize,
        /// The peer's maximum.
        maximum: u32,
    },
    /// The version of the connection cannot express it.
    #[error("MQTT {version} cannot express {field}")]
    NotInVersion {
        /// The field as the specification names it.
        field: &'static str,
        /// The version of the connection.
        version: ProtocolVersion,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_says_who_what_where_and_how_it_is_answered() {
        let violation = Violation::new(Rule::QoSAboveMaximum).in_packet(PacketType::Publish).value(2);
        assert_eq!(
            violation.to_string(),
            "the peer broke the protocol in PUBLISH: the QoS is above the Maximum QoS: 2 \
             [MQTT-3.2.2-11] (0x9B QoS not supported)"
        );
    }

    #[test]
    fn a_violation_names_the_property() {
        let violation = Violation::new(Rule::PropertyRepeated).value(0x21);
        assert_eq!(
            violation.to_string(),
            "the peer broke the protocol: a property is there more than once: Receive Maximum \
             [section 2.2.2.2] (0x82 Protocol Error)"
        );
    }

    #[test]
    fn every_rule_is_answered_with_an_error_that_can_be_sent() {
        for rule in Rule::ALL {
            let reason = rule.reason();
            assert!(reason.is_error(), "{rule:?}");
            assert!(
                reason.allowed_in(PacketType::ConnAck) || reason.allowed_in(PacketType::Disconnect),
                "{rule:?}"
            );
            assert!(rule.clause().starts_with("MQTT-") || rule.clause().starts_with("section "), "{rule:?}");
        }
    }
}
