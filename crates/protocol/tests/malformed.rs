//! What a peer must not send, as a table: version, bytes, the rule that is broken, how it is answered, and its clause.
//!
//! Bytes are in the notation of `gantline_test_support::packets::bytes`: `..` is the right remaining length. The reason
//! code and the clause are written out, because they are what the peer and the log get to see. Leaves out: rules that
//! need the state of a connection, which have golden scripts.

use std::collections::BTreeSet;

use gantline_protocol::ProtocolVersion::{V3_1, V3_1_1, V5_0};
use gantline_protocol::packet::{Packet, Subscribe, Unsubscribe};
use gantline_protocol::{
    ClientConnection, Connect, FixedHeader, Limits, Moment, PacketType, ProtocolVersion, PublishRef, Receipt,
    Received, Rule, ServerConnection, Session, Violation,
};
use gantline_test_support::packets::bytes;

/// Version, bytes, rule, reason code, clause.
type Row = (ProtocolVersion, &'static str, Rule, u8, &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // The fixed header.
    (V5_0,   "00 00",                                Rule::ReservedPacketType,     0x81, "section 2.1.2"),
    (V3_1_1, "F0 00",                                Rule::ReservedPacketType,     0x81, "section 2.1.2"),
    (V3_1,   "F0 00",                                Rule::ReservedPacketType,     0x81, "section 2.1.2"),
    (V5_0,   "C0",                                   Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "30 80 80 80 80 01",                    Rule::VarintTooLong,          0x81, "section 1.5.5"),
    (V5_0,   "30 85 00 00 01 'a' 00 'x'",            Rule::VarintNotMinimal,       0x81, "MQTT-1.5.5-1"),
    (V5_0,   "C0 80 00",                             Rule::VarintNotMinimal,       0x81, "MQTT-1.5.5-1"),
    (V3_1_1, "E0 80 80 80 00",                       Rule::VarintNotMinimal,       0x81, "MQTT-1.5.5-1"),
    (V3_1,   "30 FF FF FF FF",                       Rule::VarintTooLong,          0x81, "section 1.5.5"),
    (V5_0,   "40 03 00 01",                          Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "40 02 00 01 00",                       Rule::TrailingBytes,          0x81, "section 1.2"),

    // CONNECT: version and flags.
    (V5_0,   "11 .. 00 04 'MQTT' 05 02 00 00 00 00 00", Rule::ReservedFlags,       0x81, "MQTT-2.1.3-1"),
    (V5_0,   "10 .. 00 04 'MQTT' 06 02 00 00 00 00 00", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 04 'MQTT' 03 02 00 00 00 00", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 06 'MQIsdp' 04 02 00 00 00 00", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 04 'mqtt' 04 02 00 00 00 00", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 04 'MQTT' 85 02 00 00 00 00 00", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 03 00 00 00 00 00", Rule::ConnectReservedFlag, 0x81, "MQTT-3.1.2-3"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 01 00 00 00 00", Rule::ConnectReservedFlag,    0x81, "MQTT-3.1.2-3"),
    (V5_0,   "10 .. 00 04 'MQTT' 04 82 00 00 00 00", Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "10 .. 00 07 'MQTT' 05 02 00 00 00",    Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V5_0,   "10 .. 00 04 'MQTT'",                   Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "10 00",                                Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1,   "10 .. 00 06 'MQIsdp' 05 02 00 00 00 01 'c'", Rule::UnsupportedProtocolVersion, 0x84, "MQTT-3.1.2-2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 1E 00 00 00 00 00 01 'w' 00 00", Rule::WillQoSInvalid, 0x81, "MQTT-3.1.2-12"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 08 00 00 00 00 00", Rule::WillFlagsWithoutWill, 0x81, "MQTT-3.1.2-11"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 18 00 00 00 00", Rule::WillFlagsWithoutWill,   0x81, "MQTT-3.1.2-11"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 20 00 00 00 00", Rule::WillFlagsWithoutWill,   0x81, "MQTT-3.1.2-11"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 20 00 00 00 00 00", Rule::WillFlagsWithoutWill, 0x81, "MQTT-3.1.2-11"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 1C 00 00 00 00 00 00 00 01 'w' 00 00", Rule::WillQoSInvalid, 0x81, "MQTT-3.1.2-12"),
    (V3_1,   "10 .. 00 06 'MQIsdp' 03 1C 00 00 00 00 00 01 'w' 00 00", Rule::WillQoSInvalid, 0x81, "MQTT-3.1.2-12"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 40 00 00 00 00 00 01 'p'", Rule::PasswordWithoutUserName, 0x81, "section 3.1.2.9"),
    (V3_1,   "10 .. 00 06 'MQIsdp' 03 40 00 00 00 00 00 01 'p'", Rule::PasswordWithoutUserName, 0x81, "section 3.1.2.9"),
    // CONNECT: properties.
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 02 1F 00 00 00", Rule::PropertyNotAllowed, 0x81, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 02 04 00 00 00", Rule::PropertyUnknown, 0x81, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 03 21 00 00 00 00", Rule::PropertyValue, 0x82, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 05 27 00 00 00 00 00 00", Rule::PropertyValue, 0x82, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 02 17 02 00 00", Rule::PropertyValue, 0x82, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 06 21 00 01 21 00 01 00 00", Rule::PropertyRepeated, 0x82, "section 2.2.2.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 04 16 00 01 'd' 00 00", Rule::AuthenticationDataWithoutMethod, 0x82, "section 3.1.2.11.10"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 40 21 00 01 00 00", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 80 00 00 00", Rule::VarintNotMinimal, 0x81, "MQTT-1.5.5-1"),
    // CONNECT: payload.
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 00 00 01 FF", Rule::StringNotUtf8,    0x81, "MQTT-1.5.4-1"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 06 00 00 00 00 00", Rule::IncompletePacket,    0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 06 00 00 00 00 00 00 00 01 'w'", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 06 00 00 00 00 00 00 00 01 FF 00 00", Rule::StringNotUtf8, 0x81, "MQTT-1.5.4-1"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 00 00 00 00 00 01 'w' 00 00", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 82 00 00 00 00 00", Rule::IncompletePacket,    0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 82 00 00 00 00 00 00 01 FF", Rule::StringNotUtf8, 0x81, "MQTT-1.5.4-1"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 00 00 00 00 01 'u'", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 C2 00 00 00 00 00 00 01 'u'", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 82 00 00 00 00 00 00 01 'u' 00 01 'p'", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 02 00 00 00",    Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00",          Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00 00 00 05 'abc'", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 82 00 00 00 00", Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00 00 00 00 00 01 'u'", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 02 00 00", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 06 00 00 00 00", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 06 00 00 00 00 00 01 'w'", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 02 00 00 00 00 00 01 'w' 00 00", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 82 00 00 00 00 00 01 'u' 00 01 'p'", Rule::TrailingBytes, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 C2 00 00 00 00 00 01 'u'", Rule::IncompletePacket, 0x81, "section 1.2"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 06 00 00 00 00 00 01 FF 00 00", Rule::StringNotUtf8, 0x81, "MQTT-1.5.4-1"),
    (V3_1_1,  "10 .. 00 04 'MQTT' 04 82 00 00 00 00 00 01 FF", Rule::StringNotUtf8, 0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00 00 00 01 FF", Rule::StringNotUtf8,       0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00 00 00 03 ED A0 80", Rule::StringNotUtf8, 0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 02 00 00 00 01 00", Rule::StringContainsNull,  0x81, "MQTT-1.5.4-2"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 06 00 00 00 00 00 00 00 00", Rule::TopicNameEmpty, 0x82, "MQTT-4.7.3-1"),
    (V3_1_1, "10 .. 00 04 'MQTT' 04 06 00 00 00 00 00 01 '#' 00 00", Rule::TopicNameInvalid, 0x90, "MQTT-3.3.2-2"),
    (V5_0,   "10 .. 00 04 'MQTT' 05 06 00 00 00 00 00 02 23 00 00 01 'w' 00 00", Rule::PropertyNotAllowed, 0x81, "section 2.2.2.2"),

    // CONNACK.
    (V5_0,   "21 03 00 00 00",                       Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "20 03 02 00 00",                       Rule::ConnAckFlagsReserved,   0x81, "MQTT-3.2.2-1"),
    (V3_1_1, "20 02 81 00",                          Rule::ConnAckFlagsReserved,   0x81, "MQTT-3.2.2-1"),
    (V3_1_1, "20 02 01 05",                          Rule::SessionPresentWithError, 0x82, "MQTT-3.2.2-6"),
    (V5_0,   "20 03 01 87 00",                       Rule::SessionPresentWithError, 0x82, "MQTT-3.2.2-6"),
    (V3_1_1, "20 02 00 06",                          Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "20 03 00 01 00",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "20 03 00 8E 00",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "20 02 00 00",                          Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "20 03 00 00 00",                       Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "20 05 00 00 02 24 02",                 Rule::PropertyValue,          0x82, "section 2.2.2.2"),

    // PUBLISH.
    (V5_0,   "36 .. 00 01 'a' 00 01 00",             Rule::QoSInvalid,             0x81, "MQTT-3.3.1-4"),
    (V3_1,   "36 .. 00 01 'a' 00 01",                Rule::QoSInvalid,             0x81, "MQTT-3.3.1-4"),
    (V3_1_1, "36 .. 00 01 'a' 00 01",                   Rule::QoSInvalid,              0x81, "MQTT-3.3.1-4"),
    (V5_0,   "38 .. 00 01 'a' 00",                   Rule::DupWithoutQoS,          0x81, "MQTT-3.3.1-2"),
    (V3_1_1, "38 .. 00 01 'a'",                         Rule::DupWithoutQoS,           0x81, "MQTT-3.3.1-2"),
    (V5_0,   "32 .. 00 01 'a' 00 00 00",             Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V3_1_1, "34 .. 00 01 'a' 00 00",                Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V3_1_1, "30 .. 00 00 'x'",                      Rule::TopicNameEmpty,         0x82, "MQTT-4.7.3-1"),
    (V5_0,   "30 .. 00 00 00 'x'",                   Rule::TopicNameEmpty,         0x82, "MQTT-4.7.3-1"),
    (V5_0,   "30 .. 00 03 'a/+' 00",                 Rule::TopicNameInvalid,       0x90, "MQTT-3.3.2-2"),
    (V3_1,   "30 .. 00 01 '#'",                      Rule::TopicNameInvalid,       0x90, "MQTT-3.3.2-2"),
    (V5_0,   "30 .. 00 02 'a' 00 00",                Rule::StringContainsNull,     0x81, "MQTT-1.5.4-2"),
    (V5_0,   "30 .. 00 02 C0 AF 00",                 Rule::StringNotUtf8,          0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "30 .. 00 03 ED A0 80",                    Rule::StringNotUtf8,           0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "30 .. 00 02 'a' 00",                      Rule::StringContainsNull,      0x81, "MQTT-1.5.4-2"),
    (V3_1_1, "30 .. 00 03 'a/+'",                       Rule::TopicNameInvalid,        0x90, "MQTT-3.3.2-2"),
    (V3_1_1, "30 .. 00 05 'abc'",                    Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "32 .. 00 01 'a' 00",                   Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "30 .. 00 01 'a'",                      Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "30 .. 00 01 'a' 09 01 00",             Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "30 .. 00 01 'a' 03 23 00 00",          Rule::TopicAliasOutOfRange,   0x94, "MQTT-3.3.2-9"),
    (V5_0,   "30 .. 00 01 'a' 02 0B 00",             Rule::PropertyValue,          0x82, "section 2.2.2.2"),
    (V5_0,   "30 .. 00 01 'a' 02 01 02",             Rule::PropertyValue,          0x82, "section 2.2.2.2"),
    (V5_0,   "30 .. 00 01 'a' 04 01 01 01 01",       Rule::PropertyRepeated,       0x82, "section 2.2.2.2"),
    (V5_0,   "30 .. 00 01 'a' 04 08 00 01 '+'",      Rule::ResponseTopicInvalid,   0x82, "MQTT-3.3.2-14"),
    (V5_0,   "30 .. 00 01 'a' 03 21 00 01",          Rule::PropertyNotAllowed,     0x81, "section 2.2.2.2"),

    // PUBACK, PUBREC, PUBREL and PUBCOMP.
    (V5_0,   "42 02 00 01",                          Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "60 02 00 01",                          Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "6A 02 00 01",                          Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "40 02 00 00",                          Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V3_1_1, "50 02 00 00",                          Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V3_1,   "70 01 00",                             Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "40 03 00 01 00",                       Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "40 03 00 01 92",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "50 03 00 01 03",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "62 03 00 01 10",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "70 03 00 01 80",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "40 05 00 01 00 00 00",                 Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "50 .. 00 01 00 03 12 00 00",           Rule::PropertyNotAllowed,     0x81, "section 2.2.2.2"),
    (V5_0,   "62 .. 00 01 00 06 1F 00 00 1F 00 00",  Rule::PropertyRepeated,       0x82, "section 2.2.2.2"),

    // SUBSCRIBE.
    (V5_0,   "80 .. 00 01 00 00 01 'a' 00",          Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1,   "80 .. 00 01 00 01 'a' 00",             Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "80 .. 00 01 00 01 'a' 00",                Rule::ReservedFlags,           0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "8A .. 00 01 00 01 'a' 00",                Rule::ReservedFlags,           0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "82 .. 00 00 00 01 'a' 00",                Rule::PacketIdZero,            0x82, "MQTT-2.2.1-3"),
    (V5_0,   "82 .. 00 00 00 00 01 'a' 00",          Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V5_0,   "82 03 00 01 00",                       Rule::NoTopicFilters,         0x82, "MQTT-3.8.3-2"),
    (V3_1_1, "82 02 00 01",                          Rule::NoTopicFilters,         0x82, "MQTT-3.8.3-2"),
    (V5_0,   "82 .. 00 01 00 00 01 'a' 40",          Rule::SubscriptionOptionsReserved, 0x81, "MQTT-3.8.3-5"),
    (V3_1_1, "82 .. 00 01 00 01 'a' 04",             Rule::SubscriptionOptionsReserved, 0x81, "MQTT-3.8.3-5"),
    (V5_0,   "82 .. 00 01 00 00 01 'a' 03",          Rule::SubscriptionQoSInvalid, 0x82, "section 3.8.3.1"),
    (V3_1_1, "82 .. 00 01 00 01 'a' 03",             Rule::SubscriptionQoSInvalid, 0x82, "section 3.8.3.1"),
    (V5_0,   "82 .. 00 01 00 00 01 'a' 30",          Rule::RetainHandlingInvalid,  0x82, "section 3.8.3.1"),
    (V5_0,   "82 .. 00 01 00 00 0A '$share/g/a' 04", Rule::SharedNoLocal,          0x82, "MQTT-3.8.3-4"),
    (V5_0,   "82 .. 00 01 00 00 03 'a/#' 00 00 03 '#/a' 00", Rule::TopicFilterInvalid, 0x8F, "MQTT-4.7.1-1"),
    (V3_1_1, "82 .. 00 01 00 02 'a+' 00",            Rule::TopicFilterInvalid,     0x8F, "MQTT-4.7.1-1"),
    (V3_1_1, "82 .. 00 01 00 00 00",                 Rule::TopicFilterInvalid,     0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 08 '$share/g' 00",   Rule::TopicFilterInvalid,     0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 07 '$share/' 00",       Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 09 '$share/g/' 00",     Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 09 '$share//t' 00",     Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 0B '$share/g+/t' 00",   Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 0B '$share/g#/t' 00",   Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 0B '$share/g/t#' 00",   Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V3_1_1, "82 .. 00 01 00 08 '$share/g' 00",         Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "82 .. 00 01 00 00 01 FF 00",           Rule::StringNotUtf8,          0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "82 .. 00 01 00 01 FF 00",                 Rule::StringNotUtf8,           0x81, "MQTT-1.5.4-1"),
    (V3_1_1, "82 .. 00 01 00 01 00 00",                 Rule::StringContainsNull,      0x81, "MQTT-1.5.4-2"),
    (V5_0,   "82 .. 00 01 00 00 01 'a'",             Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "82 .. 00 01 02 0B 00 00 01 'a' 00",    Rule::PropertyValue,          0x82, "section 2.2.2.2"),
    (V5_0,   "82 .. 00 01 04 0B 01 0B 02 00 01 'a' 00", Rule::PropertyRepeated,    0x82, "section 2.2.2.2"),

    // SUBACK.
    (V5_0,   "92 04 00 01 00 00",                    Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "90 04 00 00 00 00",                    Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V5_0,   "90 03 00 01 00",                       Rule::ReasonCountMismatch,    0x82, "MQTT-3.8.4-6"),
    (V3_1_1, "90 02 00 01",                          Rule::ReasonCountMismatch,    0x82, "MQTT-3.8.4-6"),
    (V5_0,   "90 04 00 01 00 03",                    Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "90 04 00 01 00 11",                    Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V3_1_1, "90 03 00 01 87",                       Rule::ReasonCodeInvalid,      0x82, "section 2.4"),

    // UNSUBSCRIBE.
    (V5_0,   "A0 .. 00 01 00 00 01 'a'",             Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "A0 .. 00 01 00 01 'a'",                   Rule::ReservedFlags,           0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "A2 .. 00 00 00 01 'a'",                   Rule::PacketIdZero,            0x82, "MQTT-2.2.1-3"),
    (V3_1_1, "A2 02 00 01",                             Rule::NoTopicFilters,          0x82, "MQTT-3.8.3-2"),
    (V3_1_1, "A2 .. 00 01 00 01 FF",                    Rule::StringNotUtf8,           0x81, "MQTT-1.5.4-1"),
    (V5_0,   "A2 .. 00 01 00 00 08 '$share/g'",         Rule::TopicFilterInvalid,      0x8F, "MQTT-4.7.1-1"),
    (V5_0,   "A2 .. 00 00 00 00 01 'a'",             Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V5_0,   "A2 03 00 01 00",                       Rule::NoTopicFilters,         0x82, "MQTT-3.8.3-2"),
    (V3_1,   "A2 02 00 01",                          Rule::NoTopicFilters,         0x82, "MQTT-3.8.3-2"),
    (V5_0,   "A2 .. 00 01 00 00 02 'a#'",            Rule::TopicFilterInvalid,     0x8F, "MQTT-4.7.1-1"),
    (V3_1_1, "A2 .. 00 01 00 02 'a'",                Rule::IncompletePacket,       0x81, "section 1.2"),
    (V5_0,   "A2 .. 00 01 02 0B 01 00 01 'a'",       Rule::PropertyNotAllowed,     0x81, "section 2.2.2.2"),

    // UNSUBACK.
    (V5_0,   "B2 04 00 01 00 00",                    Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "B0 04 00 00 00 00",                    Rule::PacketIdZero,           0x82, "MQTT-2.2.1-3"),
    (V5_0,   "B0 03 00 01 00",                       Rule::ReasonCountMismatch,    0x82, "MQTT-3.8.4-6"),
    (V5_0,   "B0 02 00 01",                          Rule::IncompletePacket,       0x81, "section 1.2"),
    (V3_1_1, "B0 03 00 01 00",                       Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "B0 04 00 01 00 01",                    Rule::ReasonCodeInvalid,      0x82, "section 2.4"),

    // PINGREQ and PINGRESP.
    (V5_0,   "C1 00",                                Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "C0 01 00",                             Rule::TrailingBytes,          0x81, "section 1.2"),
    (V3_1,   "D8 00",                                Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "D0 01 00",                             Rule::TrailingBytes,          0x81, "section 1.2"),

    // DISCONNECT.
    (V5_0,   "E1 00",                                Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "E1 00",                                   Rule::ReservedFlags,           0x81, "MQTT-2.1.3-1"),
    (V3_1_1, "E0 01 00",                             Rule::TrailingBytes,          0x81, "section 1.2"),
    (V3_1,   "E0 02 00 00",                          Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "E0 01 01",                             Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "E0 01 92",                             Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "E0 03 00 00 00",                       Rule::TrailingBytes,          0x81, "section 1.2"),
    (V5_0,   "E0 05 00 03 21 00 01",                 Rule::PropertyNotAllowed,     0x81, "section 2.2.2.2"),
    (V5_0,   "E0 03 00 05 11",                       Rule::IncompletePacket,       0x81, "section 1.2"),

    // AUTH.
    (V5_0,   "F1 00",                                Rule::ReservedFlags,          0x81, "MQTT-2.1.3-1"),
    (V5_0,   "F0 06 80 04 15 00 01 'm'",             Rule::ReasonCodeInvalid,      0x82, "section 2.4"),
    (V5_0,   "F0 02 18 00",                          Rule::AuthenticationMethodMissing, 0x82, "section 3.15.2.2.2"),
    (V5_0,   "F0 06 18 04 16 00 01 'd'",             Rule::AuthenticationMethodMissing, 0x82, "section 3.15.2.2.2"),
    (V5_0,   "F0 01 18",                             Rule::IncompletePacket,       0x81, "section 1.2"),
];

#[test]
fn each_is_refused_with_the_rule_that_it_breaks() {
    for &(version, text, rule, reason, clause) in TABLE {
        let bytes = bytes(text);
        let Err(violation) = Packet::decode(&bytes, version) else { panic!("{version} {text} is accepted") };
        assert_eq!(violation.rule, rule, "{version} {text}");
        assert_eq!(violation.reason().value(), reason, "{version} {text}");
        assert_eq!(violation.rule.clause(), clause, "{version} {text}");
        // Who reads the log wants to know which packet it was, once its type is known.
        if rule != Rule::ReservedPacketType && bytes.len() > 1 {
            assert_eq!(violation.packet, PacketType::from_u8(bytes[0] >> 4), "{version} {text}");
        }
    }
}

/// [MQTT-4.13.1-1] [MQTT-4.13.2-1]: whoever sends it on an open connection hears the reason and is not listened to
/// any more.
#[test]
fn each_is_answered_with_its_reason_by_both_ends() {
    for &(version, text, rule, reason, _) in TABLE.iter().filter(|row| row.0 == V5_0) {
        let bytes = bytes(text);
        // What has no whole header, never becomes a frame.
        let Ok(Some(header)) = FixedHeader::parse(&bytes) else { continue };
        let kind = header.packet_type;
        let (mut out, mut goodbyes) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut server =
            ServerConnection::new(Limits::neutral(version), Box::<Session>::default(), Moment::ZERO);
        let to_server = server.receive(Moment::ZERO, &bytes, &mut out).map(drop).unwrap_err();
        server.goodbye(&to_server, &mut goodbyes[0]);
        let mut client = ClientConnection::new(
            &Connect::default(),
            Box::<Session>::default(),
            Moment::ZERO,
            &mut Vec::new(),
        )
        .unwrap();
        client.receive(Moment::ZERO, &[0x20, 3, 0, 0, 0], &mut out).map(drop).unwrap();
        let to_client = client.receive(Moment::ZERO, &bytes, &mut out).map(drop).unwrap_err();
        client.goodbye(&to_client, &mut goodbyes[1]);
        assert!(out.is_empty() && !server.is_open() && !client.is_open(), "{text}");
        for ((violation, goodbye), not_taken) in
            [to_server, to_client].iter().zip(goodbyes).zip([NOT_FOR_SERVER, NOT_FOR_CLIENT])
        {
            let Ok(Packet::Disconnect(goodbye)) = Packet::decode(&goodbye, version) else { panic!("{text}") };
            assert_eq!(goodbye.reason, violation.reason(), "{text}");
            if !not_taken.contains(&kind) {
                assert_eq!((violation.rule, goodbye.reason.value()), (rule, reason), "{text}");
            }
        }
    }
}

/// Publishes have a way of their own into the machines, which must lead to the same.
#[test]
fn publishes_are_judged_the_same_on_their_own_way() {
    type Judged = Result<Option<(String, Receipt)>, Violation>;
    let judged = |received: Result<Received<'_>, Violation>| -> Judged {
        Ok(match received? {
            Received::Publish(publish, receipt) => Some((format!("{publish:?}"), receipt)),
            _ => None,
        })
    };
    let judged_alone = |received: Result<Option<(PublishRef<'_>, Receipt)>, Violation>| -> Judged {
        Ok(received?.map(|(publish, receipt)| (format!("{publish:?}"), receipt)))
    };
    let server = || ServerConnection::new(Limits::neutral(V5_0), Box::<Session>::default(), Moment::ZERO);
    let client = || {
        let session = Box::<Session>::default();
        ClientConnection::new(&Connect::default(), session, Moment::ZERO, &mut Vec::new()).unwrap()
    };
    let good = [
        "34 .. 00 01 'a' 00 01 00 'x'",
        "3C .. 00 01 'a' 00 01 00 'x'",
        "32 .. 00 01 'b' 00 02 00 'y'",
        "31 .. 00 01 'b' 00 'z'",
    ];
    let bad = TABLE.iter().filter(|row| row.0 == V5_0 && row.1.starts_with('3')).map(|row| row.1);
    let bad: Vec<_> =
        bad.map(bytes).filter(|frame| matches!(FixedHeader::parse(frame), Ok(Some(_)))).collect();
    assert!(bad.len() > 10);
    for bad in bad {
        let mut out = Vec::new();
        let frames = good.map(bytes).into_iter().chain([bad]);
        let (mut servers, mut clients) = ([server(), server()], [client(), client()]);
        let too_early = judged(clients[0].receive(Moment::ZERO, &bytes(good[0]), &mut out));
        assert_eq!(
            judged_alone(clients[1].receive_publish(Moment::ZERO, &bytes(good[0]), &mut out)),
            too_early
        );
        too_early.unwrap_err();
        let (mut servers_out, mut clients_out) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for client in &mut clients {
            client.receive(Moment::ZERO, &bytes("20 03 00 00 00"), &mut out).map(drop).unwrap();
        }
        for frame in frames {
            let usual = judged(servers[0].receive(Moment::ZERO, &frame, &mut servers_out[0]));
            let alone = servers[1].receive_publish(Moment::ZERO, &frame, &mut servers_out[1]);
            assert_eq!(judged_alone(alone), usual);
            let usual = judged(clients[0].receive(Moment::ZERO, &frame, &mut clients_out[0]));
            let alone = clients[1].receive_publish(Moment::ZERO, &frame, &mut clients_out[1]);
            assert_eq!(judged_alone(alone), usual);
            if let Err(violation) = usual {
                clients
                    .iter_mut()
                    .zip(&mut clients_out)
                    .for_each(|(client, out)| client.goodbye(&violation, out));
            }
        }
        let last = bytes(good[3]);
        assert_eq!(judged(clients[0].receive(Moment::ZERO, &last, &mut out)), Ok(None));
        assert_eq!(judged_alone(clients[1].receive_publish(Moment::ZERO, &last, &mut out)), Ok(None));
        assert_eq!(servers_out[0], servers_out[1]);
        assert_eq!(clients_out[0], clients_out[1]);
    }
}

/// Types that an end does not take at all on an open connection, however they are made.
const NOT_FOR_SERVER: &[PacketType] = &[
    PacketType::Connect,
    PacketType::ConnAck,
    PacketType::SubAck,
    PacketType::UnsubAck,
    PacketType::PingResp,
];
const NOT_FOR_CLIENT: &[PacketType] = &[
    PacketType::Connect,
    PacketType::ConnAck,
    PacketType::Subscribe,
    PacketType::Unsubscribe,
    PacketType::PingReq,
];

#[test]
fn the_table_has_every_packet() {
    let seen: BTreeSet<_> =
        TABLE.iter().filter_map(|row| PacketType::from_u8(bytes(row.1)[0] >> 4)).collect();
    assert_eq!(seen.len(), 15);
    assert!(TABLE.len() >= 70, "{} rows", TABLE.len());
}

/// What the first version says or leaves open, and the later ones forbid.
#[test]
fn the_first_version_is_read_as_it_says() {
    let decode = |text: &str| Packet::decode(&bytes(text), V3_1);
    // Sent again, these are marked so.
    for text in ["8A .. 00 01 00 01 'a' 00", "AA .. 00 01 00 01 'a'", "6A 02 00 01"] {
        assert!(decode(text).is_ok(), "{text}");
    }
    // The length of the packet decides whether user name and password are there.
    for text in ["10 .. 00 06 'MQIsdp' 03 C2 00 00 00 01 'c'", "10 .. 00 06 'MQIsdp' 03 82 00 00 00 01 'c'"] {
        let Ok(Packet::Connect(connect)) = decode(text) else { panic!("{text}") };
        assert_eq!((connect.user_name.as_deref(), connect.password), (None, None), "{text}");
    }
    let Ok(Packet::Connect(connect)) = decode("10 .. 00 06 'MQIsdp' 03 C2 00 00 00 01 'c' 00 01 'u'") else {
        panic!("a missing password")
    };
    assert_eq!((connect.user_name.as_deref(), connect.password), (Some("u"), None));
    // Without a will, its QoS and RETAIN are disregarded.
    let Ok(Packet::Connect(connect)) = decode("10 .. 00 06 'MQIsdp' 03 3A 00 00 00 01 'c'") else {
        panic!("flags of no will")
    };
    assert_eq!(connect.will, None);
    // The first byte of CONNACK is not used.
    let Ok(Packet::ConnAck(connack)) = decode("20 02 01 00") else { panic!("CONNACK") };
    assert!(!connack.session_present);
}

#[test]
fn more_filters_than_wanted_are_refused_before_they_are_looked_at() {
    // The second is no filter.
    let subscribe = bytes("82 .. 00 01 00 00 01 'a' 00 00 02 '#a' 00");
    let unsubscribe = bytes("A2 .. 00 01 00 00 01 'a' 00 02 '#a'");
    for (most, rule) in [(1, Rule::TooManyFilters), (2, Rule::TopicFilterInvalid)] {
        let refused = [
            Subscribe::decode_within(most, &subscribe[2..], 2, V5_0).map(drop),
            Unsubscribe::decode_within(most, &unsubscribe[2..], 2, V5_0).map(drop),
        ];
        assert_eq!(refused.map(|refused| refused.unwrap_err().rule), [rule; 2]);
    }
    assert_eq!(Rule::TooManyFilters.reason().value(), 0x97);
}
