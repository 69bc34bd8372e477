//! What property sets read, write and refuse.

use std::num::{NonZeroU16, NonZeroU32};

use super::*;
use crate::error::{EncodeError, Rule};
use crate::qos::QoS;
use crate::topic::TopicName;

/// Writes properties behind their length and reads them back.
macro_rules! assert_round_trip {
    ($set:ident $value:expr) => {{
        let value: $set = $value;
        let mut out = Vec::new();
        value.write(&mut out).unwrap();
        let mut reader = Reader::new(&out);
        assert_eq!($set::read(&mut reader), Ok(value.clone()));
        assert!(reader.is_empty());
        assert!(!value.is_empty());
        assert!($set::default().is_empty());
        let length = value.encoded_len().unwrap();
        assert_eq!(out.len() - length, if length < 128 { 1 } else { 2 });
    }};
}

fn pairs() -> UserProperties {
    [("k", "v"), ("k", ""), ("ü", "€")].into_iter().collect()
}

fn publish() -> PublishProperties {
    PublishProperties {
        payload_format_indicator: PayloadFormat::Utf8,
        message_expiry_interval: Some(0),
        topic_alias: NonZeroU16::new(3),
        response_topic: Some(TopicName::new("a/b").unwrap()),
        correlation_data: Some(vec![0, 255].into()),
        subscription_identifiers: vec![1, 268_435_455, 1],
        content_type: Some(String::new()),
        user_properties: pairs(),
    }
}

#[test]
fn properties_of_a_session_round_trip() {
    assert_round_trip!(ConnectProperties ConnectProperties {
        session_expiry_interval: Some(u32::MAX),
        receive_maximum: NonZeroU16::new(1),
        maximum_packet_size: NonZeroU32::new(100),
        topic_alias_maximum: Some(0),
        request_response_information: Some(true),
        request_problem_information: Some(false),
        authentication_method: Some("SCRAM".into()),
        authentication_data: Some("x".into()),
        user_properties: pairs(),
    });
    assert_round_trip!(ConnAckProperties ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_maximum: NonZeroU16::new(7),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: NonZeroU32::new(1 << 20),
        assigned_client_identifier: Some("id".into()),
        topic_alias_maximum: Some(9),
        reason_string: Some("because".into()),
        wildcard_subscription_available: Some(true),
        subscription_identifiers_available: Some(false),
        shared_subscription_available: Some(true),
        server_keep_alive: Some(0),
        response_information: Some("r/".into()),
        server_reference: Some("other".into()),
        authentication_method: Some("m".into()),
        authentication_data: Some("x".into()),
        user_properties: pairs(),
    });
    assert_round_trip!(DisconnectProperties DisconnectProperties {
        session_expiry_interval: Some(1),
        reason_string: Some("why".into()),
        server_reference: Some("there".into()),
        user_properties: pairs(),
    });
    assert_round_trip!(AuthProperties AuthProperties {
        authentication_method: Some("m".into()),
        authentication_data: Some(vec![7; 200].into()),
        reason_string: Some("why".into()),
        user_properties: pairs(),
    });
}

#[test]
fn properties_of_messages_and_requests_round_trip() {
    assert_round_trip!(PublishProperties publish());
    assert_round_trip!(WillProperties WillProperties {
        will_delay_interval: Some(5),
        payload_format_indicator: PayloadFormat::Utf8,
        message_expiry_interval: Some(6),
        content_type: Some("c".into()),
        response_topic: Some(TopicName::new("r").unwrap()),
        correlation_data: Some("d".into()),
        user_properties: pairs(),
    });
    assert_round_trip!(AckProperties AckProperties { reason_string: Some("r".into()), user_properties: pairs() });
    assert_round_trip!(SubscribeProperties SubscribeProperties {
        subscription_identifier: Some(128),
        user_properties: pairs(),
    });
    assert_round_trip!(UnsubscribeProperties UnsubscribeProperties { user_properties: pairs() });
}

#[test]
fn no_properties_are_one_zero_byte() {
    let mut out = Vec::new();
    AckProperties::default().write(&mut out).unwrap();
    assert_eq!(out, [0]);
}

#[test]
fn the_table_has_all_properties_of_the_specification() {
    assert_eq!(PropertyId::ALL.len(), 27);
    assert!(PropertyId::ALL.is_sorted());
    let count = |allowed: u64| allowed.count_ones();
    assert_eq!(count(ConnectProperties::ALLOWED), 9);
    assert_eq!(count(ConnAckProperties::ALLOWED), 17);
    assert_eq!(count(WillProperties::ALLOWED), 7);
    assert_eq!(count(PublishProperties::ALLOWED), 8);
    assert_eq!(count(DisconnectProperties::ALLOWED), 4);
    assert_eq!(count(AuthProperties::ALLOWED), 4);
    assert_eq!(PublishProperties::REPEATABLE.count_ones(), 2);
    assert_eq!(SubscribeProperties::REPEATABLE.count_ones(), 1);
}

/// The rule and the number that a violation names.
fn refusal<T: fmt::Debug>(result: Result<T, Violation>) -> (Rule, Option<u32>) {
    let violation = result.unwrap_err();
    (violation.rule, violation.value)
}

#[test]
fn unknown_and_misplaced_properties_are_refused() {
    for id in (0..=u8::MAX).filter(|id| PropertyId::from_u8(*id).is_none()) {
        let bytes = [id, 0, 0, 0, 0];
        assert_eq!(refusal(ConnectProperties::parse(&bytes)), (Rule::PropertyUnknown, Some(id.into())));
        assert_eq!(refusal(PublishPropertiesRef::parse(&bytes)), (Rule::PropertyUnknown, Some(id.into())));
    }
    assert_eq!(refusal(ConnectProperties::parse(&[0x23, 0, 1])), (Rule::PropertyNotAllowed, Some(0x23)));
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x21, 0, 1])), (Rule::PropertyNotAllowed, Some(0x21)));
    assert_eq!(refusal(UnsubscribeProperties::parse(&[0x0B, 1])), (Rule::PropertyNotAllowed, Some(0x0B)));
    // A number of two bytes cannot be that of a property.
    assert_eq!(refusal(AckProperties::parse(&[0x80, 0x01])), (Rule::PropertyUnknown, Some(0x80)));
}

#[test]
fn repeated_properties_are_refused() {
    let twice = |bytes: &[u8]| [bytes, bytes].concat();
    let expiry = twice(&[0x02, 0, 0, 0, 9]);
    assert_eq!(refusal(PublishProperties::parse(&expiry)), (Rule::PropertyRepeated, Some(2)));
    assert_eq!(refusal(PublishPropertiesRef::parse(&expiry)), (Rule::PropertyRepeated, Some(2)));
    // Also with the value that is taken for absent.
    let format = twice(&[0x01, 0]);
    assert_eq!(refusal(PublishProperties::parse(&format)), (Rule::PropertyRepeated, Some(1)));
    assert_eq!(refusal(WillProperties::parse(&format)), (Rule::PropertyRepeated, Some(1)));
    let id = twice(&[0x0B, 5]);
    assert_eq!(refusal(SubscribeProperties::parse(&id)), (Rule::PropertyRepeated, Some(11)));
    assert_eq!(PublishProperties::parse(&id).unwrap().subscription_identifiers, [5, 5]);
    assert_eq!(AckProperties::parse(&twice(&[0x26, 0, 0, 0, 0])).unwrap().user_properties.len(), 2);
}

#[test]
fn wrong_values_are_refused() {
    let connect = |bytes: &[u8]| refusal(ConnectProperties::parse(bytes));
    let connack = |bytes: &[u8]| refusal(ConnAckProperties::parse(bytes));
    assert_eq!(connect(&[0x21, 0, 0]), (Rule::PropertyValue, Some(0x21)));
    assert_eq!(connect(&[0x27, 0, 0, 0, 0]), (Rule::PropertyValue, Some(0x27)));
    for id in [0x17, 0x19] {
        assert_eq!(connect(&[id, 2]), (Rule::PropertyValue, Some(id.into())));
    }
    for id in [0x24, 0x25, 0x28, 0x29, 0x2A] {
        assert_eq!(connack(&[id, 2]), (Rule::PropertyValue, Some(id.into())));
    }
    let refused = (Rule::PropertyValue, Some(0x0B));
    assert_eq!(refusal(SubscribeProperties::parse(&[0x0B, 0])), refused);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x0B, 0])), refused);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x01, 2])), (Rule::PropertyValue, Some(1)));
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x23, 0, 0])), (Rule::TopicAliasOutOfRange, Some(0)));
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x08, 0, 1, b'#'])).0, Rule::ResponseTopicInvalid);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x08, 0, 0])).0, Rule::ResponseTopicInvalid);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x03, 0, 1, 0])).0, Rule::StringContainsNull);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x26, 0, 0, 0, 1, 0xFF])).0, Rule::StringNotUtf8);
    assert_eq!(refusal(PublishPropertiesRef::parse(&[0x0B, 0x81, 0x00])).0, Rule::VarintNotMinimal);
}

#[test]
fn both_forms_agree_on_every_cut_and_every_changed_byte() {
    let mut bytes = Vec::new();
    publish().write(&mut bytes).unwrap();
    let bytes = &bytes[1..];
    let agree = |bytes: &[u8]| {
        let owned = PublishProperties::parse(bytes);
        let borrowed = PublishPropertiesRef::parse(bytes).map(|properties| properties.to_owned());
        assert_eq!(owned, borrowed);
    };
    for end in 0..=bytes.len() {
        agree(&bytes[..end]);
    }
    for index in 0..bytes.len() {
        for value in 0..=u8::MAX {
            let mut changed = bytes.to_vec();
            changed[index] = value;
            agree(&changed);
        }
    }
}

#[test]
fn a_length_beyond_the_packet_is_refused() {
    assert_eq!(refusal(AckProperties::read(&mut Reader::new(&[5, 0x1F, 0, 0]))).0, Rule::IncompletePacket);
    assert_eq!(refusal(AckProperties::read(&mut Reader::new(&[]))).0, Rule::IncompletePacket);
}

#[test]
fn what_cannot_be_sent_is_refused_and_nothing_is_written() {
    let mut out = Vec::new();
    let long = AckProperties { reason_string: Some("x".repeat(65_536)), ..AckProperties::default() };
    assert_eq!(long.write(&mut out), Err(EncodeError::TooLong { field: "Reason String", length: 65_536 }));
    let null =
        AckProperties { user_properties: [("a", "\0")].into_iter().collect(), ..AckProperties::default() };
    assert_eq!(null.write(&mut out), Err(EncodeError::NullCharacter { field: "User Property" }));
    for value in [0, 268_435_456] {
        let id =
            SubscribeProperties { subscription_identifier: Some(value), ..SubscribeProperties::default() };
        assert_eq!(
            id.write(&mut out),
            Err(EncodeError::OutOfRange { field: "Subscription Identifier", value })
        );
    }
    let qos = ConnAckProperties { maximum_qos: Some(QoS::ExactlyOnce), ..ConnAckProperties::default() };
    assert_eq!(qos.write(&mut out), Err(EncodeError::OutOfRange { field: "Maximum QoS", value: 2 }));
    assert!(out.is_empty());
}

#[test]
fn forwarding_takes_out_what_concerns_one_connection() {
    let all = publish();
    let mut raw = Vec::new();
    all.write(&mut raw).unwrap();
    let borrowed = PublishPropertiesRef::parse(&raw[1..]).unwrap();
    assert!(!borrowed.is_plain());
    assert_eq!((borrowed.expiry(), borrowed.topic_alias()), (Some(0), Some(3)));
    assert_eq!(borrowed.subscription_identifiers().collect::<Vec<_>>(), [1, 268_435_455, 1]);

    let (mut from_wire, mut from_fields) = (Vec::new(), Vec::new());
    borrowed.forwarded(&mut from_wire);
    all.write_forwarded(&mut from_fields);
    assert_eq!(from_wire, from_fields);
    let plain = PublishPropertiesRef::parse(&from_wire).unwrap();
    assert!(plain.is_plain());
    assert_eq!(plain.subscription_identifiers().count(), 0);
    let expected = PublishProperties {
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: Vec::new(),
        ..all
    };
    assert_eq!(plain.to_owned(), expected);
    let mut again = Vec::new();
    plain.forwarded(&mut again);
    assert_eq!(again, from_wire);
}

#[test]
fn forwarding_keeps_the_order_of_the_sender() {
    let raw = [0x26, 0, 1, b'b', 0, 0, 0x23, 0, 1, 0x01, 0, 0x26, 0, 1, b'a', 0, 0];
    let mut out = Vec::new();
    PublishPropertiesRef::parse(&raw).unwrap().forwarded(&mut out);
    assert_eq!(out, [&raw[..6], &raw[9..]].concat());
}
