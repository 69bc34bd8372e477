//! Share groups: one member gets each message.

use std::collections::BTreeSet;

use gantline_protocol::packet::{Packet, Publish};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, RunningServer, ServerOptions};

use crate::peer::{
    ALL_QOS, Peer, clean, client, connected, lasting, of_version, options, seconds_pass, server, server_with,
    subscriber, text,
};

const FILTER: &str = "$share/g/t/+";

async fn members(server: &RunningServer, count: usize, qos: QoS) -> Vec<Peer> {
    let mut members = Vec::new();
    for number in 0..count {
        members.push(subscriber(server, clean(&format!("member-{number}")), &[FILTER], qos).await);
    }
    members
}

#[tokio::test(start_paused = true)]
async fn members_take_turns_and_each_message_comes_once() {
    let server = server().await;
    let mut members = members(&server, 3, QoS::ExactlyOnce).await;
    let mut other = client(&server, "publisher").await;
    for qos in ALL_QOS {
        for number in 0..30 {
            other.publish("t/u", &number.to_string(), qos).await;
        }
        other.ping().await;
        let mut seen = BTreeSet::new();
        for member in &mut members {
            for _ in 0..10 {
                assert!(seen.insert(member.text().await));
            }
        }
        assert_eq!(seen.len(), 30);
    }
    for member in &mut members {
        member.expect(PacketType::PubRel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_group_and_each_subscription_gets_its_own_copy() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    peer.subscribe_with(&[("$share/g/t", options(QoS::AtLeastOnce))], Some(1)).await;
    peer.subscribe_with(&[("$share/h/t", options(QoS::AtLeastOnce))], Some(2)).await;
    peer.subscribe_with(&[("t", options(QoS::AtLeastOnce))], Some(3)).await;
    client(&server, "b").await.publish("t", "x", QoS::AtLeastOnce).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(peer.message().await.properties.subscription_identifiers);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_subscription_gets_no_retained_messages() {
    let server = server().await;
    let mut other = client(&server, "b").await;
    other.publish_retained("t/u", "kept", QoS::AtMostOnce).await;
    let mut peer = subscriber(&server, clean("a"), &[FILTER], QoS::AtLeastOnce).await;
    peer.hears_nothing().await;
    other.publish("t/u", "live", QoS::AtMostOnce).await;
    assert_eq!(peer.text().await, "live");
}

#[tokio::test(start_paused = true)]
async fn no_local_on_a_shared_subscription_is_a_violation() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    // Written by hand: the codec refuses to.
    peer.send_bytes(&[0x82, 16, 0, 1, 0, 0, 10]).await;
    peer.send_bytes(b"$share/g/t").await;
    peer.send_bytes(&[0b100]).await;
    peer.is_disconnected(ReasonCode::ProtocolError).await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_without_group_or_pattern_is_a_violation() {
    let server = server().await;
    // Written by hand: the codec refuses to.
    let body = |version: ProtocolVersion, filter: &str| {
        let mut body = vec![0, 1];
        body.extend(version.has_properties().then_some(0));
        body.extend([0, filter.len() as u8]);
        body.extend(filter.bytes());
        body
    };
    let forms = [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//t",
        "$share/g+/t",
        "$share/+/t",
        "$share/#",
        "$share/g#/t",
    ];
    for version in ProtocolVersion::ALL {
        for filter in forms {
            for (first, option) in [(0x82, Some(0)), (0xA2, None)] {
                let mut peer = connected(&server, of_version(version, "a", true)).await;
                let mut body = body(version, filter);
                body.extend(option);
                peer.send_bytes(&[first, body.len() as u8]).await;
                peer.send_bytes(&body).await;
                if version.server_may_disconnect() {
                    peer.is_disconnected(ReasonCode::TopicFilterInvalid).await;
                } else {
                    peer.hears_the_end().await;
                }
            }
        }
        // These only look like it.
        let mut peer =
            subscriber(&server, of_version(version, "a", true), &["$share", "$shared/g/t"], QoS::AtMostOnce)
                .await;
        for topic in ["$share", "$shared/g/t"] {
            peer.publish(topic, topic, QoS::AtMostOnce).await;
            assert_eq!(peer.text().await, topic);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_are_away_are_passed_over_as_long_as_one_is_there() {
    let server = server().await;
    let away = lasting("away", 100);
    subscriber(&server, away.clone(), &[FILTER], QoS::AtLeastOnce).await.vanishes().await;
    let mut here = members(&server, 2, QoS::AtLeastOnce).await;
    let mut other = client(&server, "publisher").await;
    for number in 0..20 {
        other.publish("t/u", &number.to_string(), QoS::AtLeastOnce).await;
    }
    for member in &mut here {
        member.texts(10).await;
        member.hears_nothing().await;
    }
    drop(here);
    crate::peer::settle().await;
    // With nobody there it waits for the one that may come back; QoS 0 does not.
    assert_eq!(other.publish("t/u", "waits", QoS::AtLeastOnce).await, ReasonCode::Success);
    other.publish("t/u", "lost", QoS::AtMostOnce).await;
    let mut peer = connected(&server, away).await;
    assert_eq!(peer.text().await, "waits");
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_member_did_not_take_goes_to_others_when_its_session_ends() {
    let server = server().await;
    let mut connect = lasting("leaving", 10);
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut leaving = subscriber(&server, connect, &[FILTER], QoS::AtLeastOnce).await;
    let mut other = client(&server, "publisher").await;
    for number in 0..5 {
        other.publish("t/u", &number.to_string(), QoS::AtLeastOnce).await;
    }
    // One is complete, one in flight, three queued.
    assert_eq!(leaving.text().await, "0");
    leaving.ping().await;
    leaving.vanishes().await;
    let mut stays = subscriber(&server, clean("stays"), &[FILTER], QoS::AtLeastOnce).await;
    seconds_pass(9).await;
    stays.hears_nothing().await;
    seconds_pass(2).await;
    let texts: BTreeSet<String> = stays.texts(4).await.into_iter().collect();
    assert_eq!(texts, ["1", "2", "3", "4"].map(str::to_owned).into());
    stays.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_qos_2_message_that_was_sent_is_not_given_to_another() {
    let server = server().await;
    let mut leaving = subscriber(&server, clean("leaving"), &[FILTER], QoS::ExactlyOnce).await;
    client(&server, "publisher").await.publish("t/u", "x", QoS::ExactlyOnce).await;
    let Publish { .. } = leaving.publish_packet().await;
    let mut stays = subscriber(&server, clean("stays"), &[FILTER], QoS::ExactlyOnce).await;
    leaving.vanishes().await;
    stays.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_the_group_gets_nothing_more_from_it() {
    let server = server().await;
    let mut members = members(&server, 3, QoS::AtLeastOnce).await;
    let mut other = client(&server, "publisher").await;
    assert_eq!(members[1].unsubscribe(&[FILTER]).await, [ReasonCode::Success]);
    for number in 0..10 {
        other.publish("t/u", &number.to_string(), QoS::AtLeastOnce).await;
    }
    members[1].hears_nothing().await;
    for member in [0, 2] {
        members[member].texts(5).await;
    }
    members.truncate(2);
    crate::peer::settle().await;
    for number in 0..10 {
        other.publish("t/u", &number.to_string(), QoS::AtMostOnce).await;
        assert_eq!(members[0].text().await, number.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn the_highest_qos_of_the_chosen_member_counts() {
    let server = server().await;
    let mut members = Vec::new();
    for (number, qos) in ALL_QOS.into_iter().enumerate() {
        members.push(subscriber(&server, clean(&number.to_string()), &[FILTER], qos).await);
    }
    let mut other = client(&server, "publisher").await;
    for _ in 0..3 {
        other.publish("t/u", "x", QoS::ExactlyOnce).await;
    }
    for (mut member, qos) in members.into_iter().zip(ALL_QOS) {
        let message = member.message().await;
        assert_eq!((message.delivery.qos(), text(&message).as_str()), (qos, "x"));
        if let Some(id) = message.delivery.packet_id()
            && qos == QoS::ExactlyOnce
        {
            assert!(matches!(member.receive().await, Packet::PubRel(ack) if ack.packet_id == id));
        }
        member.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_sent_waits_for_its_member_to_come_back() {
    let server = server().await;
    let connect = lasting("a", 100);
    let mut peer = subscriber(&server, connect.clone(), &[FILTER], QoS::ExactlyOnce).await;
    let mut other = client(&server, "publisher").await;
    let mut sent = Vec::new();
    for (payload, qos) in [("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce), ("3", QoS::ExactlyOnce)] {
        other.publish("t/u", payload, qos).await;
        sent.push(peer.publish_packet().await);
    }
    let released = sent[0].delivery.packet_id().unwrap();
    peer.ack(Packet::PubRec, released.get(), ReasonCode::Success).await;
    peer.ack_of(PacketType::PubRel, released).await;
    let mut stays = subscriber(&server, clean("stays"), &[FILTER], QoS::ExactlyOnce).await;
    peer.vanishes().await;
    seconds_pass(90).await;
    stays.hears_nothing().await;
    let mut peer = connected(&server, connect).await;
    for before in &sent[1..] {
        let again = peer.publish_packet().await;
        assert_eq!((again.dup, again.delivery, text(&again)), (true, before.delivery, text(before)));
    }
    assert_eq!(peer.ack_of(PacketType::PubRel, released).await, ReasonCode::Success);
    stays.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_goes_to_others_whatever_its_qos() {
    let server = server().await;
    let mut connect = lasting("leaving", 10);
    connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let mut leaving = subscriber(&server, connect, &[FILTER], QoS::ExactlyOnce).await;
    let mut other = client(&server, "publisher").await;
    for (payload, qos) in [("sent", QoS::ExactlyOnce), ("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce)] {
        other.publish("t/u", payload, qos).await;
    }
    assert_eq!(text(&leaving.publish_packet().await), "sent");
    leaving.vanishes().await;
    let mut stays = subscriber(&server, clean("stays"), &[FILTER], QoS::ExactlyOnce).await;
    seconds_pass(11).await;
    for (payload, qos) in [("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce)] {
        let message = stays.publish_packet().await;
        assert_eq!((text(&message).as_str(), message.delivery.qos(), message.dup), (payload, qos, false));
    }
    stays.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_goes_to_another_member_is_as_it_was_published() {
    let server = server().await;
    let leaving = subscriber(&server, lasting("leaving", 10), &[FILTER], QoS::AtLeastOnce).await;
    leaving.vanishes().await;
    let mut other = client(&server, "publisher").await;
    other.publish_retained("t/u", "x", QoS::ExactlyOnce).await;
    let mut stays = client(&server, "stays").await;
    let wanted = options(QoS::ExactlyOnce).retain_as_published(true);
    stays.subscribe_with(&[(FILTER, wanted)], Some(7)).await;
    seconds_pass(11).await;
    let message = stays.message().await;
    assert_eq!((message.delivery.qos(), message.retain), (QoS::ExactlyOnce, true));
    assert_eq!(message.properties.subscription_identifiers, [7]);
}

#[tokio::test(start_paused = true)]
async fn what_a_member_refuses_goes_to_nobody() {
    let server = server().await;
    let connect = lasting("a", 10);
    let mut peer = subscriber(&server, connect.clone(), &[FILTER], QoS::ExactlyOnce).await;
    let mut other = client(&server, "publisher").await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        other.publish("t/u", "x", qos).await;
    }
    let mut stays = subscriber(&server, clean("stays"), &[FILTER], QoS::ExactlyOnce).await;
    for kind in [Packet::PubAck, Packet::PubRec] {
        let refused = peer.publish_packet().await.delivery.packet_id().unwrap();
        peer.ack(kind, refused.get(), ReasonCode::QuotaExceeded).await;
    }
    peer.ping().await;
    peer.vanishes().await;
    // It neither comes again nor is left to others by the end of the session.
    let mut peer = connected(&server, connect).await;
    peer.hears_nothing().await;
    peer.vanishes().await;
    seconds_pass(11).await;
    stays.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_away_and_takes_no_more_than_qos_0_is_passed_over() {
    let server = server().await;
    let kept = lasting("kept", 100);
    subscriber(&server, lasting("lossy", 100), &[FILTER], QoS::AtMostOnce).await.vanishes().await;
    subscriber(&server, kept.clone(), &[FILTER], QoS::AtLeastOnce).await.vanishes().await;
    let mut other = client(&server, "publisher").await;
    for number in 0..4 {
        assert_eq!(other.publish("t/u", &number.to_string(), QoS::AtLeastOnce).await, ReasonCode::Success);
    }
    let mut kept = connected(&server, kept).await;
    assert_eq!(kept.texts(4).await, ["0", "1", "2", "3"]);
    kept.goes().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_waited_for_in_vain_comes_last() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let mut connect = clean("slow");
    connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let _slow = subscriber(&server, connect, &[FILTER], QoS::AtLeastOnce).await;
    let mut fast = subscriber(&server, clean("fast"), &[FILTER], QoS::AtLeastOnce).await;
    let mut other = client(&server, "publisher").await;
    for number in 0..100 {
        other.publish("t/u", &number.to_string(), QoS::AtLeastOnce).await;
    }
    fast.texts(90).await;
    assert_eq!(server.metrics().dropped.total(), 0);
}
