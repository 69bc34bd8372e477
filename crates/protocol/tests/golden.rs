//! Runs every script in `tests/scripts` against a client and a server machine on a virtual clock.
//!
//! The format is described in `gantline_test_support::script`, the commands in [`execute`]. With `UPDATE_SCRIPTS=1`
//! the traces are written anew; read them before you accept them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use gantline_protocol::{
    Ack, AckProperties, Auth, AuthProperties, ConnAck, Connect, Delivery, Disconnect, DisconnectProperties,
    Message, Packet, PacketId, ProtocolVersion, Publish, QoS, ReasonCode, SubAck, Subscribe, SubscribeFilter,
    SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName, UnsubAck,
};
use gantline_test_support::pair::{End, Pair};
use gantline_test_support::script::{self, Command};

#[test]
fn scripts() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 35, "only {} scripts in {}", paths.len(), folder.display());
    for path in paths {
        let mut pair = Pair::default();
        script::check(&path, |command, trace| {
            execute(&mut pair, command);
            trace.extend(pair.take_trace());
        });
    }
}

/// One command:
///
/// * `offer key=…`: what the server offers on later connections.
/// * `connect [clean] [version=] [id=] [keep_alive=] [expiry=] [receive_maximum=] [max_packet=] [aliases=] [method=]
///   [terse]`
/// * `publish END TOPIC [PAYLOAD] [qos=] [retain] [expiry=] [waited=] [subscription_id=] [size=]`
/// * `wait END`, `answer END`: whether the end's caller holds back its answers; `ack END ID [reason=]` gives one.
/// * `subscribe FILTER… [qos=] [id=] [no_local]`, `unsubscribe FILTER…`, `ping`
/// * `suback REASON id= [string=]`: the server's answer, if it waits with it.
/// * `disconnect END [reason=] [expiry=] [string=] [server=]`, `leave END …`: the same without closing.
/// * `send END PACKET …`: a packet that the machine would not send; `bytes END HEX…`: the same as bytes.
/// * `lose END [after=]`, `cut`, `forget`, `advance SECONDS`, `show END`
fn execute(pair: &mut Pair, command: &Command) {
    match &*command.name {
        "offer" => offer(pair, command),
        "connect" => pair.connect(&connect(command)),
        "publish" => publish(pair, command),
        "wait" => pair.wait(end(command), true),
        "answer" => pair.wait(end(command), false),
        "ack" => pair.acknowledge(end(command), id(command.word(1)), reason(command)),
        "subscribe" => {
            let properties =
                SubscribeProperties { subscription_identifier: command.option("id"), ..Default::default() };
            pair.subscribe(filters(command, 0), properties);
        }
        "unsubscribe" => {
            pair.unsubscribe(command.words().iter().map(|filter| topic_filter(filter)).collect())
        }
        "ping" => pair.ping(),
        "disconnect" => {
            pair.disconnect(end(command), reason(command), &goodbye(command));
        }
        "leave" => pair.leave(end(command), reason(command), &goodbye(command)),
        "suback" => {
            let properties = AckProperties { reason_string: command.option("string"), ..Default::default() };
            let packet_id = id(&command.option::<String>("id").unwrap_or_default());
            pair.suback(&SubAck { packet_id, reasons: vec![reason_code(command.word(0))], properties });
        }
        "send" => pair.send_packet(end(command), &packet(command)),
        "bytes" => {
            let bytes: Vec<u8> =
                command.words()[1..].iter().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            pair.send_bytes(end(command), &bytes);
        }
        "lose" => pair.lose(end(command), command.option("after").unwrap_or(0)),
        "cut" => pair.cut(),
        "forget" => pair.forget(),
        "advance" => {
            pair.advance(Duration::from_millis((command.word(0).parse::<f64>().unwrap() * 1000.0) as u64))
        }
        "show" => pair.show(end(command)),
        other => panic!("there is no command `{other}`"),
    }
}

fn offer(pair: &mut Pair, command: &Command) {
    let offer = pair.offer_mut();
    let set = |place: &mut u16, key| *place = command.option(key).unwrap_or(*place);
    set(&mut offer.receive_maximum, "receive_maximum");
    set(&mut offer.inflight, "inflight");
    set(&mut offer.topic_alias_maximum, "aliases");
    offer.maximum_packet_size = command.option("max_packet").unwrap_or(offer.maximum_packet_size);
    offer.keep_alive_maximum = command.option("keep_alive").or(offer.keep_alive_maximum);
    offer.session_expiry_maximum = command.option("expiry").unwrap_or(offer.session_expiry_maximum);
    offer.maximum_qos = command.option("qos").map_or(offer.maximum_qos, qos);
    offer.retain_available = command.option("retain").unwrap_or(offer.retain_available);
    let available = |place: &mut bool, key| *place = command.option(key).unwrap_or(*place);
    available(&mut offer.wildcard_subscriptions_available, "wildcards");
    available(&mut offer.shared_subscriptions_available, "shared");
    available(&mut offer.subscription_identifiers_available, "subscription_ids");
}

fn connect(command: &Command) -> Connect {
    let mut connect = Connect {
        version: command.option::<ProtocolVersion>("version").unwrap_or_default(),
        client_id: command.option("id").unwrap_or_else(|| "c".to_owned()),
        clean_start: command.has("clean"),
        keep_alive: command.option("keep_alive").unwrap_or(0),
        ..Connect::default()
    };
    let properties = &mut connect.properties;
    properties.session_expiry_interval = command.option("expiry");
    properties.receive_maximum = command.option("receive_maximum");
    properties.maximum_packet_size = command.option::<NonZeroU32>("max_packet");
    properties.topic_alias_maximum = command.option("aliases");
    properties.request_problem_information = command.has("terse").then_some(false);
    properties.authentication_method = command.option("method");
    connect
}

fn publish(pair: &mut Pair, command: &Command) {
    let payload = match command.option::<usize>("size") {
        Some(size) => "x".repeat(size),
        None => command.words().get(2).cloned().unwrap_or_default(),
    };
    let mut message =
        Message::new(command.word(1), payload).unwrap().qos(qos(command.option("qos").unwrap_or(0)));
    message = message.retain(command.has("retain"));
    if let Some(seconds) = command.option("expiry") {
        message = message.expiry(seconds);
    }
    match command.option::<u64>("waited") {
        Some(seconds) => pair.publish_late(end(command), &message, Duration::from_secs(seconds)),
        None => {
            let ids: Vec<u32> = command.option("subscription_id").into_iter().collect();
            pair.publish(end(command), &message, &ids);
        }
    }
}

fn packet(command: &Command) -> Packet {
    let packet_id = id(&command.option::<String>("id").unwrap_or_else(|| "1".to_owned()));
    let reasons = || command.words()[2..].iter().map(|reason| reason_code(reason)).collect();
    let properties = AckProperties { reason_string: command.option("string"), ..Default::default() };
    let ack = || Ack { packet_id, reason: reason(command), properties: properties.clone() };
    match command.word(1) {
        "connect" => Packet::Connect(Box::new(connect(command))),
        "connack" => {
            let session_present = command.has("session_present");
            let mut connack = ConnAck { session_present, reason: reason(command), ..ConnAck::default() };
            connack.properties.authentication_method = command.option("method");
            Packet::ConnAck(Box::new(connack))
        }
        "publish" => Packet::Publish(Box::new(raw_publish(command, packet_id))),
        "puback" => Packet::PubAck(ack()),
        "pubrec" => Packet::PubRec(ack()),
        "pubrel" => Packet::PubRel(ack()),
        "pubcomp" => Packet::PubComp(ack()),
        "subscribe" => {
            let properties = SubscribeProperties {
                subscription_identifier: command.option("subscription_id"),
                ..Default::default()
            };
            Packet::Subscribe(Subscribe { packet_id, filters: filters(command, 2), properties })
        }
        "suback" => Packet::SubAck(SubAck { packet_id, reasons: reasons(), properties }),
        "unsuback" => Packet::UnsubAck(UnsubAck { packet_id, reasons: reasons(), properties }),
        "pingreq" => Packet::PingReq,
        "pingresp" => Packet::PingResp,
        "disconnect" => {
            Packet::Disconnect(Disconnect { reason: reason(command), properties: goodbye(command) })
        }
        "auth" => {
            let properties =
                AuthProperties { authentication_method: command.option("method"), ..Default::default() };
            Packet::Auth(Auth { reason: reason(command), properties })
        }
        other => panic!("there is no packet `{other}`"),
    }
}

fn goodbye(command: &Command) -> DisconnectProperties {
    DisconnectProperties {
        session_expiry_interval: command.option("expiry"),
        reason_string: command.option("string"),
        server_reference: command.option("server"),
        ..Default::default()
    }
}

fn raw_publish(command: &Command, packet_id: PacketId) -> Publish {
    let mut publish = Publish {
        dup: command.has("dup"),
        retain: command.has("retain"),
        topic: command.option::<String>("topic").map(|topic| TopicName::new(topic).unwrap()),
        delivery: match command.option("qos").unwrap_or(0) {
            0 => Delivery::AtMostOnce,
            1 => Delivery::AtLeastOnce(packet_id),
            _ => Delivery::ExactlyOnce(packet_id),
        },
        payload: Bytes::from_static(b"x"),
        properties: Default::default(),
    };
    publish.properties.topic_alias = command.option::<NonZeroU16>("alias");
    publish.properties.subscription_identifiers = command.option("subscription_id").into_iter().collect();
    publish
}

fn filters(command: &Command, skip: usize) -> Vec<SubscribeFilter> {
    let options = SubscriptionOptions {
        maximum_qos: qos(command.option("qos").unwrap_or(0)),
        no_local: command.has("no_local"),
        ..SubscriptionOptions::default()
    };
    let words = command.words()[skip..].iter().filter(|word| *word != "no_local");
    words.map(|word| SubscribeFilter { filter: topic_filter(word), options }).collect()
}

fn end(command: &Command) -> End {
    match command.word(0) {
        "client" => End::Client,
        "server" => End::Server,
        other => panic!("an end is `client` or `server`, not `{other}`"),
    }
}

fn topic_filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn id(text: &str) -> PacketId {
    PacketId::new(text.parse().unwrap()).unwrap()
}

fn qos(value: u8) -> QoS {
    QoS::from_u8(value).unwrap()
}

fn reason(command: &Command) -> ReasonCode {
    command.option::<String>("reason").map_or(ReasonCode::Success, |text| reason_code(&text))
}

fn reason_code(hex: &str) -> ReasonCode {
    ReasonCode::from_u8(u8::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap()).unwrap()
}
