//! Tests of what golden scripts cannot show: memory, stale receipts and the bound of a resend.

use super::{ClientConnection, NotSent, Received, ServerConnection};
use crate::error::Rule;
use crate::limits::{Limits, Offer};
use crate::message::Message;
use crate::outbound::Outbound;
use crate::packet::{Auth, Connect, Packet, PacketType, SubAck, UnsubAck};
use crate::packet_id::PacketId;
use crate::properties::{AckProperties, AuthProperties, DisconnectProperties, UserProperties};
use crate::qos::QoS;
use crate::reason_code::ReasonCode;
use crate::session::{Request, Session};
use crate::time::Moment;
use crate::version::ProtocolVersion;

const NOW: Moment = Moment::ZERO;

fn server(session: Box<Session>) -> ServerConnection<Box<Session>> {
    ServerConnection::new(Limits::neutral(ProtocolVersion::default()), session, NOW)
}

fn message(payload: usize, qos: QoS) -> Outbound {
    Outbound::new(&Message::new("a/b", vec![b'x'; payload]).unwrap().qos(qos), NOW)
}

/// The bytes of a PUBLISH from the other side.
fn publish(qos: QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    server(Box::default()).publish(NOW, message(1, qos), &mut bytes).unwrap();
    bytes
}

fn packets(mut bytes: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Some(header) = crate::codec::FixedHeader::parse(bytes).unwrap() {
        let (frame, rest) = bytes.split_at(header.frame_len());
        packets.push(Packet::decode(frame, ProtocolVersion::default()).unwrap());
        bytes = rest;
    }
    packets
}

#[test]
fn an_idle_connection_stays_within_its_memory_budget() {
    let size = size_of::<ServerConnection<[usize; 3]>>();
    assert!(size <= 256, "{size}");
    let size = size_of::<Received<'_>>();
    assert!(size <= 160, "{size}");
}

#[test]
fn a_receipt_of_an_earlier_connection_does_nothing() {
    let frame = publish(QoS::AtLeastOnce);
    let mut first = server(Box::default());
    let mut out = Vec::new();
    let Received::Publish(_, stale) = first.receive(NOW, &frame, &mut out).unwrap() else { panic!() };
    let mut second = server(first.into_session());
    let Received::Publish(_, fresh) = second.receive(NOW, &frame, &mut out).unwrap() else { panic!() };
    second.acknowledge(stale, ReasonCode::Success, &mut out);
    assert!(out.is_empty());
    second.acknowledge(fresh, ReasonCode::Success, &mut out);
    assert_eq!(packets(&out)[0].packet_type(), PacketType::PubAck);
}

#[test]
fn a_resend_comes_in_portions() {
    let mut first = server(Box::default());
    for _ in 0..10 {
        first.publish(NOW, message(20_000, QoS::AtLeastOnce), &mut Vec::new()).unwrap();
    }
    let mut second = server(first.into_session());
    let mut out = Vec::new();
    assert!(second.resume(NOW, &mut out).is_empty());
    assert!(out.len() < 100_000);
    assert_eq!(second.quota(), 0);
    let mut resent = packets(&out);
    let mut acknowledged = 0;
    while acknowledged < resent.len() {
        let Packet::Publish(publish) = &resent[acknowledged] else { panic!() };
        assert!(publish.dup);
        let mut ack = Vec::new();
        let id = publish.delivery.packet_id().unwrap();
        crate::packet::ack::write(
            PacketType::PubAck,
            id,
            ReasonCode::Success,
            ProtocolVersion::default(),
            &mut ack,
        );
        let mut more = Vec::new();
        let received = second.receive(NOW, &ack, &mut more).unwrap();
        assert!(matches!(received, Received::Acked(_)));
        resent.extend(packets(&more));
        acknowledged += 1;
    }
    assert_eq!(acknowledged, 10);
    assert_eq!(second.inflight(), 0);
    assert_eq!(second.quota(), u16::MAX);
}

#[test]
fn a_frame_that_is_cut_off_is_a_violation() {
    let frame = publish(QoS::AtMostOnce);
    for length in 0..frame.len() {
        assert!(server(Box::default()).receive(NOW, &frame[..length], &mut Vec::new()).is_err());
    }
}

#[test]
fn trimming_frees_what_is_empty() {
    let mut server = server(Box::default());
    let mut out = Vec::new();
    server.publish(NOW, message(1, QoS::AtLeastOnce), &mut out).unwrap();
    server.trim();
    assert_eq!(server.inflight(), 1);
}

#[test]
fn behind_the_goodbye_of_the_peer_nothing_is_heard_or_said() {
    let (frame, mut out) = (publish(QoS::AtLeastOnce), Vec::new());
    let mut server = server(Box::default());
    let Received::Publish(_, receipt) = server.receive(NOW, &frame, &mut out).unwrap() else { panic!() };
    assert!(matches!(server.receive(NOW, &[0xE0, 0], &mut out), Ok(Received::Disconnect(_))));
    assert!(!server.is_open());
    for frame in [&frame[..], &[0xC0, 0], &[0x00]] {
        assert!(matches!(server.receive(NOW, frame, &mut out), Ok(Received::Handled)));
    }
    server.acknowledge(receipt, ReasonCode::Success, &mut out);
    assert!(server.publish(NOW, message(1, QoS::AtMostOnce), &mut out).is_err());
    server.disconnect(ReasonCode::ServerShuttingDown, &DisconnectProperties::default(), &mut out);
    assert!(out.is_empty());
}

#[test]
fn flows_that_are_never_completed_do_not_pile_up_from_connection_to_connection() {
    let mut limits = Limits::neutral(ProtocolVersion::default());
    limits.peer.receive_maximum = 10;
    let mut session: Box<Session> = Box::default();
    for inflight in [10, 20, 20, 20] {
        let mut server = ServerConnection::new(limits.clone(), session, NOW);
        server.resume(NOW, &mut Vec::new());
        while server.quota() > 0 {
            let mut out = Vec::new();
            server.publish(NOW, message(1, QoS::ExactlyOnce), &mut out).unwrap();
            let Packet::Publish(publish) = &packets(&out)[0] else { panic!() };
            // The client takes it over, and never says that it has seen PUBREL.
            let [high, low] = publish.delivery.packet_id().unwrap().get().to_be_bytes();
            server.receive(NOW, &[0x50, 2, high, low], &mut out).unwrap();
        }
        assert_eq!(server.inflight(), inflight);
        session = server.into_session();
    }
    let mut server = ServerConnection::new(limits, session, NOW);
    server.resume(NOW, &mut Vec::new());
    for id in 1..=20 {
        server.receive(NOW, &[0x70, 2, 0, id], &mut Vec::new()).unwrap();
    }
    assert_eq!((server.inflight(), server.quota()), (0, 10));
}

#[test]
fn an_alias_that_could_not_be_sent_is_not_taken_for_known() {
    let mut connect = Connect::default();
    connect.properties.topic_alias_maximum = Some(5);
    let limits = Limits::for_server(&connect, &Offer { inflight: u16::MAX, ..Offer::default() });
    let mut server = ServerConnection::new(limits, Box::<Session>::default(), NOW);
    let of = |topic: &str| Outbound::new(&Message::new(topic, "").unwrap().qos(QoS::AtLeastOnce), NOW);
    let mut out = Vec::new();
    // All packet ids but those of the quota are taken by something that does not count.
    while let Some(id) = server.session.outgoing.next_id() {
        server.session.outgoing.insert_request(id, Request { answer: PacketType::SubAck, filters: 1 });
    }
    assert!(matches!(server.publish(NOW, of("sensors/a"), &mut out), Err(NotSent::NoQuota(_))));
    server.publish_once(NOW, &of("sensors/a"), &mut out).unwrap();
    let Packet::Publish(publish) = &packets(&out)[0] else { panic!() };
    assert!(publish.topic.is_some(), "the alias was never assigned");
}

#[test]
fn bytes_from_the_server_are_a_sign_of_life() {
    let mut out = Vec::new();
    let connect = Connect { keep_alive: 10, ..Connect::default() };
    let mut client = ClientConnection::new(&connect, Box::<Session>::default(), NOW, &mut out).unwrap();
    client.receive(NOW, &[0x20, 3, 0, 0, 0], &mut out).unwrap();
    client.handle_timeout(Moment::from_millis(10_000), &mut out).unwrap();
    client.note_received(Moment::from_millis(19_000));
    assert_eq!(client.handle_timeout(Moment::from_millis(20_000), &mut out), Ok(()));
    let silent = client.handle_timeout(Moment::from_millis(29_000), &mut out);
    assert_eq!(silent.unwrap_err().rule, Rule::PingUnanswered);
}

#[test]
fn a_step_of_authentication_above_the_peers_maximum_is_not_sent() {
    let mut connect = Connect::default();
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(100);
    let limits = Limits::for_server(&connect, &Offer::default());
    let mut server = ServerConnection::new(limits, Box::<Session>::default(), NOW);
    let mut out = vec![0];
    for (length, fits) in [(50, true), (100, false)] {
        let properties = AuthProperties {
            authentication_method: Some("m".into()),
            authentication_data: Some(vec![0; length].into()),
            ..AuthProperties::default()
        };
        let auth = Auth { reason: ReasonCode::ContinueAuthentication, properties };
        let before = out.len();
        let sent = server.auth(&auth, &mut out);
        assert_eq!((sent.is_ok(), out.len() > before), (fits, fits));
    }
}

#[test]
fn words_that_do_not_fit_are_left_out() {
    let words = |text: &str, pairs: usize| {
        let user_properties = UserProperties::from_iter((0..pairs).map(|_| ("key", "value")));
        AckProperties { reason_string: (!text.is_empty()).then(|| text.into()), user_properties }
    };
    let (packet_id, reasons) = (PacketId::new(7).unwrap(), vec![ReasonCode::NotAuthorized; 3]);
    for properties in [words("a reason of some length", 0), words("", 2), words("why", 1)] {
        for (maximum, is_whole) in [(20, false), (60, true)] {
            let mut limits = Limits::neutral(ProtocolVersion::default());
            limits.peer.maximum_packet_size = maximum;
            let mut machine = ServerConnection::new(limits, Box::<Session>::default(), NOW);
            let mut out = Vec::new();
            let (reasons, told) = (reasons.clone(), properties.clone());
            machine
                .suback(&SubAck { packet_id, reasons: reasons.clone(), properties: told.clone() }, &mut out);
            machine.unsuback(&UnsubAck { packet_id, reasons, properties: told.clone() }, &mut out);
            let goodbye = DisconnectProperties {
                reason_string: told.reason_string,
                user_properties: told.user_properties,
                ..DisconnectProperties::default()
            };
            machine.disconnect(ReasonCode::ServerBusy, &goodbye, &mut out);
            let packets = packets(&out);
            let [Packet::SubAck(suback), Packet::UnsubAck(unsuback), Packet::Disconnect(goodbye)] =
                &packets[..]
            else {
                panic!("{packets:?}")
            };
            assert_eq!((suback.reasons.len(), unsuback.reasons.len()), (3, 3));
            let expected = if is_whole { properties.clone() } else { AckProperties::default() };
            assert_eq!((&suback.properties, &unsuback.properties), (&expected, &expected));
            assert_eq!(goodbye.properties.user_properties, expected.user_properties);
            assert_eq!(goodbye.properties.reason_string, expected.reason_string);
        }
    }
}
