//! Reason codes: the result of an operation, as one byte.
//!
//! Relates to: every packet that answers or ends something, and [`Rule`](crate::Rule), which maps broken rules to
//! codes. Leaves out: the reason string, a property. The 3.x return codes of CONNACK are mapped here, so that nobody
//! else needs to know that they exist.

use std::fmt;

use crate::packet::PacketType;
use crate::qos::QoS;

/// Declares the codes once: value, variant, name in the specification, packets that may carry it.
macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $value:literal $variant:ident $name:literal [$($packet:ident)+];)+) => {
        /// The result of an operation. Below 0x80 it succeeded.
        ///
        /// All codes of MQTT 5.0, named as there. On the older versions only their counterparts travel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $variant = $value,)+
        }

        impl ReasonCode {
            /// All codes in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code of this number; `None` if the specification has none.
            #[inline]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The name as the specification writes it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// One bit for each packet type that may carry the code.
            const fn carriers(self) -> u16 {
                match self {
                    $(Self::$variant => 0 $(| 1 << PacketType::$packet.value())+,)+
                }
            }
        }
    };
}

reason_codes! {
    /// Done. In a DISCONNECT: normal disconnection, without will. In a SUBACK: granted QoS 0.
    0x00 Success "Success" [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    /// The subscription is accepted with QoS 1.
    0x01 GrantedQoS1 "Granted QoS 1" [SubAck];
    /// The subscription is accepted with QoS 2.
    0x02 GrantedQoS2 "Granted QoS 2" [SubAck];
    /// The client leaves and wants its will to be published.
    0x04 DisconnectWithWillMessage "Disconnect with Will Message" [Disconnect];
    /// The message is accepted, and nobody has subscribed to it.
    0x10 NoMatchingSubscribers "No matching subscribers" [PubAck PubRec];
    /// There was nothing to unsubscribe.
    0x11 NoSubscriptionExisted "No subscription existed" [UnsubAck];
    /// Authentication goes on with another step.
    0x18 ContinueAuthentication "Continue authentication" [Auth];
    /// The client authenticates again on a standing connection.
    0x19 ReAuthenticate "Re-authenticate" [Auth];
    /// An error that the sender does not want to explain, or that has no code.
    0x80 UnspecifiedError "Unspecified error" [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// A packet could not be read.
    0x81 MalformedPacket "Malformed Packet" [ConnAck Disconnect];
    /// A packet was out of order or contradicted the protocol.
    0x82 ProtocolError "Protocol Error" [ConnAck Disconnect];
    /// A valid packet that this receiver does not process.
    0x83 ImplementationSpecificError "Implementation specific error" [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server does not speak this version.
    0x84 UnsupportedProtocolVersion "Unsupported Protocol Version" [ConnAck];
    /// The server does not accept this client id.
    0x85 ClientIdentifierNotValid "Client Identifier not valid" [ConnAck];
    /// The server does not accept this user name or password.
    0x86 BadUserNameOrPassword "Bad User Name or Password" [ConnAck];
    /// The client may not do this.
    0x87 NotAuthorized "Not authorized" [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server is not available.
    0x88 ServerUnavailable "Server unavailable" [ConnAck];
    /// The server is busy; try later.
    0x89 ServerBusy "Server busy" [ConnAck Disconnect];
    /// The client is banned by administrative action.
    0x8A Banned "Banned" [ConnAck];
    /// The server stops.
    0x8B ServerShuttingDown "Server shutting down" [Disconnect];
    /// The authentication method is not supported or not the one in use.
    0x8C BadAuthenticationMethod "Bad authentication method" [ConnAck Disconnect];
    /// Nothing came for one and a half times the keep alive.
    0x8D KeepAliveTimeout "Keep Alive timeout" [Disconnect];
    /// Another connection took the client id over.
    0x8E SessionTakenOver "Session taken over" [Disconnect];
    /// The topic filter is well-formed and not accepted.
    0x8F TopicFilterInvalid "Topic Filter invalid" [SubAck UnsubAck Disconnect];
    /// The topic name is well-formed and not accepted.
    0x90 TopicNameInvalid "Topic Name invalid" [ConnAck PubAck PubRec Disconnect];
    /// The packet identifier belongs to another flow.
    0x91 PacketIdentifierInUse "Packet identifier in use" [PubAck PubRec SubAck UnsubAck];
    /// The packet identifier belongs to no flow. Not an error while sessions recover.
    0x92 PacketIdentifierNotFound "Packet Identifier not found" [PubRel PubComp];
    /// More publishes were unacknowledged than the receiver allows.
    0x93 ReceiveMaximumExceeded "Receive Maximum exceeded" [Disconnect];
    /// The topic alias is 0 or above the maximum.
    0x94 TopicAliasInvalid "Topic Alias invalid" [Disconnect];
    /// The packet is larger than the receiver allows.
    0x95 PacketTooLarge "Packet too large" [ConnAck Disconnect];
    /// Messages come too fast.
    0x96 MessageRateTooHigh "Message rate too high" [Disconnect];
    /// A limit of the receiver is reached.
    0x97 QuotaExceeded "Quota exceeded" [ConnAck PubAck PubRec SubAck Disconnect];
    /// Closed by an administrator.
    0x98 AdministrativeAction "Administrative action" [Disconnect];
    /// The payload is not of the announced format.
    0x99 PayloadFormatInvalid "Payload format invalid" [ConnAck PubAck PubRec Disconnect];
    /// The server does not keep retained messages.
    0x9A RetainNotSupported "Retain not supported" [ConnAck Disconnect];
    /// The QoS is above the maximum of the server.
    0x9B QoSNotSupported "QoS not supported" [ConnAck Disconnect];
    /// The client should use another server for now.
    0x9C UseAnotherServer "Use another server" [ConnAck Disconnect];
    /// The client should use another server from now on.
    0x9D ServerMoved "Server moved" [ConnAck Disconnect];
    /// The server does not support `$share`.
    0x9E SharedSubscriptionsNotSupported "Shared Subscriptions not supported" [SubAck Disconnect];
    /// Connections come too fast.
    0x9F ConnectionRateExceeded "Connection rate exceeded" [ConnAck Disconnect];
    /// The connection has lasted as long as it may.
    0xA0 MaximumConnectTime "Maximum connect time" [Disconnect];
    /// The server does not support subscription identifiers.
    0xA1 SubscriptionIdentifiersNotSupported "Subscription Identifiers not supported" [SubAck Disconnect];
    /// The server does not support wildcards.
    0xA2 WildcardSubscriptionsNotSupported "Wildcard Subscriptions not supported" [SubAck Disconnect];
}

impl ReasonCode {
    /// The number on the wire.
    #[inline]
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// Whether the operation failed.
    #[inline]
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// Whether this packet may carry the code.
    #[inline]
    pub const fn allowed_in(self, packet: PacketType) -> bool {
        self.carriers() & 1 << packet.value() != 0
    }

    /// This code, or where the packet cannot carry it what is nearest: an unspecified error, or success.
    pub const fn adapted_to(self, packet: PacketType) -> Self {
        match self {
            code if code.allowed_in(packet) => code,
            code if code.is_error() => Self::UnspecifiedError,
            _ => Self::Success,
        }
    }

    /// What a SUBACK says when a subscription is accepted with this QoS.
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }

    /// The CONNACK return code, 0 to 5, by which a client that knows no reason codes is told. What has no counterpart
    /// is "server unavailable".
    pub const fn return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The code that stands for this CONNACK return code; `None` above 5, which is reserved.
    pub const fn from_return_code(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl fmt::Display for ReasonCode {
    /// The number and the name: `0x87 Not authorized`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.value(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codes_round_trip() {
        assert_eq!(ReasonCode::ALL.len(), 43);
        assert!(ReasonCode::ALL.is_sorted());
        let known = (0..=u8::MAX).filter_map(ReasonCode::from_u8).collect::<Vec<_>>();
        assert_eq!(known, ReasonCode::ALL);
        assert!(known.iter().all(|code| ReasonCode::from_u8(code.value()) == Some(*code)));
    }

    #[test]
    fn each_packet_has_the_codes_of_the_specification() {
        let count = |packet| ReasonCode::ALL.iter().filter(|code| code.allowed_in(packet)).count();
        assert_eq!(count(PacketType::ConnAck), 22);
        assert_eq!(count(PacketType::PubAck), 9);
        assert_eq!(count(PacketType::PubRec), 9);
        assert_eq!(count(PacketType::PubRel), 2);
        assert_eq!(count(PacketType::PubComp), 2);
        assert_eq!(count(PacketType::SubAck), 12);
        assert_eq!(count(PacketType::UnsubAck), 7);
        assert_eq!(count(PacketType::Auth), 3);
        assert_eq!(count(PacketType::Publish), 0);
    }

    #[test]
    fn return_codes_round_trip() {
        for value in 0..=5 {
            let code = ReasonCode::from_return_code(value).unwrap();
            assert_eq!(code.return_code(), value);
        }
        assert_eq!(ReasonCode::from_return_code(6), None);
        assert_eq!(ReasonCode::QuotaExceeded.return_code(), 3);
    }

    #[test]
    fn display_has_number_and_name() {
        assert_eq!(ReasonCode::NotAuthorized.to_string(), "0x87 Not authorized");
        assert!(ReasonCode::UnspecifiedError.is_error());
        assert!(!ReasonCode::ReAuthenticate.is_error());
    }
}
