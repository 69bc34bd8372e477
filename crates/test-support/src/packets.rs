//! Packets for tests: generated ones, and bytes written by hand.
//!
//! [`packet`] and [`packet_of`] are strategies of whatever a version can be asked to send; [`carried`] says what of it
//! arrives. [`bytes`] reads the notation of the byte tables. Leaves out: wrong packets, which are written by hand or
//! made by changing the bytes of good ones.

use std::num::{NonZeroU16, NonZeroU32};

use gantline_protocol::packet::{
    Ack, Auth, ConnAck, Connect, Delivery, Disconnect, Packet, Publish, RetainHandling, SubAck, Subscribe,
    SubscribeFilter, SubscriptionOptions, UnsubAck, Unsubscribe, Will,
};
use gantline_protocol::{
    AckProperties, AuthProperties, ConnAckProperties, ConnectProperties, DisconnectProperties, PacketId,
    PacketType, PayloadFormat, ProtocolVersion, PublishProperties, QoS, ReasonCode, SubscribeProperties,
    TopicFilter, TopicName, UnsubscribeProperties, UserProperties, WillProperties,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;

/// Reads bytes from text: two hexadecimal digits each, or `'text'` without spaces for its bytes. `..`, at most once,
/// stands for the number of bytes behind it, below 128.
///
/// ```
/// use gantline_test_support::packets::bytes;
///
/// assert_eq!(bytes("30 .. 00 01 'a' 07"), [0x30, 4, 0, 1, b'a', 7]);
/// ```
///
/// # Panics
///
/// If the text is anything else.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut length_at = None;
    let mut bytes = Vec::new();
    for token in text.split_whitespace() {
        if token == ".." {
            length_at = Some(bytes.len());
            bytes.push(0);
        } else if let Some(quoted) = token.strip_prefix('\'').and_then(|token| token.strip_suffix('\'')) {
            bytes.extend_from_slice(quoted.as_bytes());
        } else {
            let byte = u8::from_str_radix(token, 16);
            bytes.push(byte.unwrap_or_else(|_| panic!("`{token}` is no byte in `{text}`")));
        }
    }
    if let Some(at) = length_at {
        let length = bytes.len() - at - 1;
        assert!(length < 128, "`..` has one byte, {length} bytes follow it");
        bytes[at] = length as u8;
    }
    bytes
}

/// A packet of any type that the version has.
pub fn packet(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let types = (1..=15).filter_map(PacketType::from_u8);
    let strategies: Vec<_> = types.filter_map(|packet_type| packet_of(packet_type, version)).collect();
    proptest::strategy::Union::new(strategies)
}

/// A packet of this type that can be sent on this version, perhaps with parts that do not travel there. `None` if the
/// version has no such packet.
pub fn packet_of(packet_type: PacketType, version: ProtocolVersion) -> Option<BoxedStrategy<Packet>> {
    let ack = move || ack(packet_type);
    Some(match packet_type {
        PacketType::Connect => connect(version).prop_map(|packet| Packet::Connect(Box::new(packet))).boxed(),
        PacketType::ConnAck => connack().prop_map(|packet| Packet::ConnAck(Box::new(packet))).boxed(),
        PacketType::Publish => publish(version).prop_map(|packet| Packet::Publish(Box::new(packet))).boxed(),
        PacketType::PubAck => ack().prop_map(Packet::PubAck).boxed(),
        PacketType::PubRec => ack().prop_map(Packet::PubRec).boxed(),
        PacketType::PubRel => ack().prop_map(Packet::PubRel).boxed(),
        PacketType::PubComp => ack().prop_map(Packet::PubComp).boxed(),
        PacketType::Subscribe => subscribe().prop_map(Packet::Subscribe).boxed(),
        PacketType::SubAck => (packet_id(), vec(reason(packet_type), 1..5), ack_properties())
            .prop_map(|(packet_id, reasons, properties)| {
                Packet::SubAck(SubAck { packet_id, reasons, properties })
            })
            .boxed(),
        PacketType::Unsubscribe => (packet_id(), vec(topic_filter(), 1..5), user_properties())
            .prop_map(|(packet_id, filters, user_properties)| {
                let properties = UnsubscribeProperties { user_properties };
                Packet::Unsubscribe(Unsubscribe { packet_id, filters, properties })
            })
            .boxed(),
        PacketType::UnsubAck => (packet_id(), vec(reason(packet_type), 1..5), ack_properties())
            .prop_map(|(packet_id, reasons, properties)| {
                Packet::UnsubAck(UnsubAck { packet_id, reasons, properties })
            })
            .boxed(),
        PacketType::PingReq => Just(Packet::PingReq).boxed(),
        PacketType::PingResp => Just(Packet::PingResp).boxed(),
        PacketType::Disconnect => disconnect().prop_map(Packet::Disconnect).boxed(),
        PacketType::Auth if version.has_reason_codes() => auth().prop_map(Packet::Auth).boxed(),
        PacketType::Auth => return None,
    })
}

/// What of a packet arrives on this version: the older ones have no properties and few reasons.
pub fn carried(packet: Packet, version: ProtocolVersion) -> Packet {
    if version.has_properties() {
        return packet;
    }
    let ack = |ack: Ack| Ack { reason: ReasonCode::Success, properties: AckProperties::default(), ..ack };
    match packet {
        Packet::Connect(mut packet) => {
            packet.properties = ConnectProperties::default();
            if let Some(will) = &mut packet.will {
                will.properties = WillProperties::default();
            }
            Packet::Connect(packet)
        }
        Packet::ConnAck(packet) => Packet::ConnAck(Box::new(ConnAck {
            session_present: packet.session_present && version.has_session_present(),
            reason: ReasonCode::from_return_code(packet.reason.return_code()).unwrap_or(packet.reason),
            properties: ConnAckProperties::default(),
        })),
        Packet::Publish(mut packet) => {
            packet.properties = PublishProperties::default();
            Packet::Publish(packet)
        }
        Packet::PubAck(packet) => Packet::PubAck(ack(packet)),
        Packet::PubRec(packet) => Packet::PubRec(ack(packet)),
        Packet::PubRel(packet) => Packet::PubRel(ack(packet)),
        Packet::PubComp(packet) => Packet::PubComp(ack(packet)),
        Packet::Subscribe(mut packet) => {
            packet.properties = SubscribeProperties::default();
            for filter in &mut packet.filters {
                filter.options = SubscriptionOptions::default().maximum_qos(filter.options.maximum_qos);
            }
            Packet::Subscribe(packet)
        }
        Packet::SubAck(mut packet) => {
            packet.properties = AckProperties::default();
            for reason in packet.reasons.iter_mut().filter(|reason| reason.is_error()) {
                let failure = version.has_subscribe_failure();
                *reason = if failure { ReasonCode::UnspecifiedError } else { ReasonCode::Success };
            }
            Packet::SubAck(packet)
        }
        Packet::Unsubscribe(packet) => {
            Packet::Unsubscribe(Unsubscribe { properties: UnsubscribeProperties::default(), ..packet })
        }
        Packet::UnsubAck(packet) => {
            Packet::UnsubAck(UnsubAck { reasons: Vec::new(), properties: AckProperties::default(), ..packet })
        }
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::default()),
        packet @ (Packet::PingReq | Packet::PingResp | Packet::Auth(_)) => packet,
    }
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let credentials = (option::of(text()), option::of(data())).prop_map(move |(user_name, password)| {
        let alone = user_name.is_some() || version.has_properties();
        (user_name, password.filter(|_| alone))
    });
    let start = (any::<bool>(), any::<u16>(), any::<bool>());
    (text(), start, option::of(will()), credentials, connect_properties()).prop_map(
        move |(client_id, (clean_start, keep_alive, bridge), will, (user_name, password), properties)| {
            Connect {
                version,
                client_id,
                clean_start,
                keep_alive,
                will,
                user_name,
                password: password.map(Into::into),
                properties,
                bridge: bridge && !version.has_properties(),
            }
        },
    )
}

fn will() -> impl Strategy<Value = Will> {
    let properties =
        (option::of(any::<u32>()), publish_properties()).prop_map(|(delay, of_message)| WillProperties {
            will_delay_interval: delay,
            payload_format_indicator: of_message.payload_format_indicator,
            message_expiry_interval: of_message.message_expiry_interval,
            content_type: of_message.content_type,
            response_topic: of_message.response_topic,
            correlation_data: of_message.correlation_data,
            user_properties: of_message.user_properties,
        });
    (topic_name(), data(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, properties)| Will {
            topic,
            payload: payload.into(),
            qos,
            retain,
            properties,
        },
    )
}

fn connack() -> impl Strategy<Value = ConnAck> {
    (any::<bool>(), reason(PacketType::ConnAck), connack_properties()).prop_map(
        |(session_present, reason, properties)| ConnAck {
            session_present: session_present && !reason.is_error(),
            reason,
            properties,
        },
    )
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, topic_name(), delivery(), data(), publish_properties()).prop_map(
        move |((dup, retain, only_alias), topic, delivery, payload, properties)| {
            let only_alias = only_alias && version.has_properties() && properties.topic_alias.is_some();
            Publish {
                dup: dup && delivery != Delivery::AtMostOnce,
                retain,
                topic: (!only_alias).then_some(topic),
                delivery,
                payload: payload.into(),
                properties,
            }
        },
    )
}

fn ack(packet_type: PacketType) -> impl Strategy<Value = Ack> {
    (packet_id(), reason(packet_type), ack_properties()).prop_map(|(packet_id, reason, properties)| Ack {
        packet_id,
        reason,
        properties,
    })
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    let handling = select(vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    let filter = (topic_filter(), options).prop_map(|(filter, (qos, no_local, as_published, handling))| {
        let options = SubscriptionOptions::default()
            .maximum_qos(qos)
            .no_local(no_local && !filter.is_shared())
            .retain_as_published(as_published)
            .retain_handling(handling);
        SubscribeFilter { filter, options }
    });
    (packet_id(), vec(filter, 1..5), option::of(subscription_identifier()), user_properties()).prop_map(
        |(packet_id, filters, subscription_identifier, user_properties)| Subscribe {
            packet_id,
            filters,
            properties: SubscribeProperties { subscription_identifier, user_properties },
        },
    )
}

fn disconnect() -> impl Strategy<Value = Disconnect> {
    let texts = (option::of(text()), option::of(text()));
    (reason(PacketType::Disconnect), option::of(any::<u32>()), texts, user_properties()).prop_map(
        |(reason, session_expiry_interval, (reason_string, server_reference), user_properties)| Disconnect {
            reason,
            properties: DisconnectProperties {
                session_expiry_interval,
                reason_string,
                server_reference,
                user_properties,
            },
        },
    )
}

fn auth() -> impl Strategy<Value = Auth> {
    let bare = Just(Auth { reason: ReasonCode::Success, properties: AuthProperties::default() });
    let step = (reason(PacketType::Auth), text(), option::of(data()), option::of(text()), user_properties())
        .prop_map(|(reason, method, data, reason_string, user_properties)| Auth {
            reason,
            properties: AuthProperties {
                authentication_method: Some(method),
                authentication_data: data.map(Into::into),
                reason_string,
                user_properties,
            },
        });
    prop_oneof![1 => bare, 9 => step]
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
    );
    let flags = (option::of(any::<bool>()), option::of(any::<bool>()));
    (numbers, flags, authentication(), user_properties()).prop_map(
        |(numbers, flags, (method, data), user_properties)| ConnectProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: flags.0,
            request_problem_information: flags.1,
            authentication_method: method,
            authentication_data: data.map(Into::into),
            user_properties,
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let flag = || option::of(any::<bool>());
    let maximum_qos = option::of(select(vec![QoS::AtMostOnce, QoS::AtLeastOnce]));
    let offers = (maximum_qos, flag(), flag(), flag(), flag());
    let string = || option::of(text());
    let texts = (string(), string(), string(), string());
    (numbers, offers, texts, authentication(), user_properties()).prop_map(
        |(numbers, offers, texts, (method, data), user_properties)| ConnAckProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: offers.0,
            retain_available: offers.1,
            maximum_packet_size: numbers.2,
            assigned_client_identifier: texts.0,
            topic_alias_maximum: numbers.3,
            reason_string: texts.1,
            wildcard_subscription_available: offers.2,
            subscription_identifiers_available: offers.3,
            shared_subscription_available: offers.4,
            server_keep_alive: numbers.4,
            response_information: texts.2,
            server_reference: texts.3,
            authentication_method: method,
            authentication_data: data.map(Into::into),
            user_properties,
        },
    )
}

fn publish_properties() -> impl Strategy<Value = PublishProperties> {
    let format = select(vec![PayloadFormat::Unspecified, PayloadFormat::Utf8]);
    let numbers =
        (option::of(any::<u32>()), option::of(any::<NonZeroU16>()), vec(subscription_identifier(), 0..3));
    let of_answer = (option::of(topic_name()), option::of(data()));
    (format, numbers, of_answer, option::of(text()), user_properties()).prop_map(
        |(format, numbers, (response_topic, correlation_data), content_type, user_properties)| {
            PublishProperties {
                payload_format_indicator: format,
                message_expiry_interval: numbers.0,
                topic_alias: numbers.1,
                response_topic,
                correlation_data: correlation_data.map(Into::into),
                subscription_identifiers: numbers.2,
                content_type,
                user_properties,
            }
        },
    )
}

fn ack_properties() -> impl Strategy<Value = AckProperties> {
    (option::of(text()), user_properties())
        .prop_map(|(reason_string, user_properties)| AckProperties { reason_string, user_properties })
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3).prop_map(UserProperties::from_iter)
}

/// A method, and perhaps data, which needs one.
fn authentication() -> impl Strategy<Value = (Option<String>, Option<Vec<u8>>)> {
    prop_oneof![
        Just((None, None)),
        (text(), option::of(data())).prop_map(|(method, data)| (Some(method), data))
    ]
}

fn subscription_identifier() -> impl Strategy<Value = u32> {
    1_u32..=268_435_455
}

fn reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes = ReasonCode::ALL.iter().copied();
    select(codes.filter(|code| code.allowed_in(packet_type)).collect::<Vec<_>>())
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![
        Just(Delivery::AtMostOnce),
        packet_id().prop_map(Delivery::AtLeastOnce),
        packet_id().prop_map(Delivery::ExactlyOnce)
    ]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<NonZeroU16>().prop_map(PacketId::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn topic_name() -> impl Strategy<Value = TopicName> {
    "[a-c$/ ü€]{1,12}".prop_map(|text| {
        TopicName::new(&text).unwrap_or_else(|error| panic!("the strategy makes topic names: {error}"))
    })
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let levels = vec(prop_oneof![Just("+".to_owned()), "[a-cü]{0,3}"], 1..4);
    let group = option::of("[a-c]{1,3}");
    (group, levels, any::<bool>()).prop_filter_map("a filter is not empty", |(group, levels, all_below)| {
        let mut text = group.map_or_else(String::new, |group| format!("$share/{group}/"));
        text.push_str(&levels.join("/"));
        text.push_str(if all_below { "/#" } else { "" });
        TopicFilter::new(text).ok()
    })
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

/// Mostly short; now and then longer than one byte of length can say.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![9 => vec(any::<u8>(), 0..24), 1 => vec(any::<u8>(), 100..300)]
}
