//! CONNECT and CONNACK: who is let in, under which name and on which terms, and how others are told no.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use gantline_protocol::packet::{Connect, Packet};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, ServerOptions};
use tokio::time::Instant;

use crate::peer::{
    ALL_QOS, answered, clean, client, connected, encoded, goodbye, of_version, seconds_pass, server,
    server_with, settle, stranger, will,
};

#[tokio::test(start_paused = true)]
async fn every_version_is_let_in() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        for clean_start in [true, false] {
            let (mut peer, connack) = answered(&server, of_version(version, "a", clean_start)).await;
            assert_eq!((connack.reason, connack.session_present), (ReasonCode::Success, false), "{version}");
            peer.ping().await;
            peer.goes().await;
            answered(&server, of_version(version, "a", true)).await.0.goes().await;
        }
    }
    assert_eq!((server.metrics().connected, server.metrics().violations), (12, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_without_an_id_gets_one_where_its_version_allows() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        for clean_start in [true, false] {
            let (_, connack) = answered(&server, of_version(version, "", clean_start)).await;
            let (reason, assigned) = (connack.reason, connack.properties.assigned_client_identifier);
            if version.has_properties() {
                assert_eq!((reason, assigned.unwrap().is_empty()), (ReasonCode::Success, false));
            } else if version.has_session_present() && clean_start {
                assert_eq!((reason, assigned), (ReasonCode::Success, None));
            } else {
                assert_eq!((reason, assigned), (ReasonCode::ClientIdentifierNotValid, None));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn assigned_ids_differ_and_can_be_used_again() {
    let server = server().await;
    let mut lasting = of_version(ProtocolVersion::default(), "", false);
    let (one, first) = answered(&server, lasting.clone()).await;
    let (_two, second) = answered(&server, lasting.clone()).await;
    let first = first.properties.assigned_client_identifier.unwrap();
    assert_ne!(first, second.properties.assigned_client_identifier.unwrap());
    one.goes().await;
    lasting.client_id = first;
    let (_, connack) = answered(&server, lasting).await;
    assert!(connack.session_present);
    assert_eq!(connack.properties.assigned_client_identifier, None);
}

#[tokio::test(start_paused = true)]
async fn a_long_id_is_refused_in_the_version_that_bounds_it() {
    let server = server().await;
    let id = "x".repeat(24);
    for version in ProtocolVersion::ALL {
        let (mut peer, connack) = answered(&server, of_version(version, &id, true)).await;
        if version.has_session_present() {
            assert_eq!(connack.reason, ReasonCode::Success, "{version}");
        } else {
            assert_eq!(connack.reason, ReasonCode::ClientIdentifierNotValid);
            peer.hears_the_end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_grant_is_told() {
    let options = ServerOptions::default()
        .max_packet_size(10_000)
        .receive_maximum(7)
        .session_expiry_max(60)
        .keep_alive_max(30)
        .topic_alias_maximum(3)
        .maximum_qos(QoS::AtLeastOnce)
        .retain_available(false)
        .wildcard_subscriptions(false)
        .shared_subscriptions(false)
        .subscription_identifiers(false);
    let server = server_with(options).await;
    let mut connect = Connect { keep_alive: 100, ..clean("a") };
    connect.properties.session_expiry_interval = Some(3_600);
    let (_, connack) = answered(&server, connect).await;
    let properties = connack.properties;
    assert_eq!(properties.maximum_packet_size, NonZeroU32::new(10_000));
    assert_eq!(properties.receive_maximum, NonZeroU16::new(7));
    assert_eq!((properties.session_expiry_interval, properties.server_keep_alive), (Some(60), Some(30)));
    assert_eq!((properties.topic_alias_maximum, properties.maximum_qos), (Some(3), Some(QoS::AtLeastOnce)));
    for available in [
        properties.retain_available,
        properties.wildcard_subscription_available,
        properties.shared_subscription_available,
        properties.subscription_identifiers_available,
    ] {
        assert_eq!(available, Some(false));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_client_asks_for_and_gets_is_not_repeated() {
    let server = server().await;
    let (_, connack) = answered(&server, Connect { keep_alive: 60, ..clean("a") }).await;
    let properties = connack.properties;
    assert_eq!((properties.session_expiry_interval, properties.server_keep_alive), (None, None));
    assert_eq!((properties.maximum_qos, properties.retain_available), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_will_that_the_server_does_not_offer_is_refused() {
    let options =
        ServerOptions::default().maximum_qos(QoS::AtLeastOnce).retain_available(false).max_topic_levels(2);
    let server = server_with(options).await;
    for (topic, qos, retain, reason) in [
        ("a", QoS::AtLeastOnce, false, ReasonCode::Success),
        ("a", QoS::ExactlyOnce, false, ReasonCode::QoSNotSupported),
        ("a", QoS::AtMostOnce, true, ReasonCode::RetainNotSupported),
        ("a/b/c", QoS::AtMostOnce, false, ReasonCode::TopicNameInvalid),
    ] {
        for version in ProtocolVersion::ALL {
            let mut connect = of_version(version, "a", true);
            connect.will = will(topic, "", 0).map(|will| gantline_protocol::Will { qos, retain, ..will });
            let (mut peer, connack) = answered(&server, connect).await;
            match reason {
                ReasonCode::Success => assert_eq!(connack.reason, reason),
                _ if version.has_reason_codes() => assert_eq!(connack.reason, reason),
                _ => assert_eq!(connack.reason, ReasonCode::ServerUnavailable),
            }
            if reason.is_error() {
                peer.hears_the_end().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_authentication_method_is_refused() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.authentication_method = Some("SCRAM".to_owned());
    let (mut peer, connack) = answered(&server, connect).await;
    assert_eq!(connack.reason, ReasonCode::BadAuthenticationMethod);
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_version_is_told_in_the_form_that_all_can_read() {
    let server = server().await;
    for level in [0, 2, 6, 0xFF] {
        let mut peer = stranger(&server);
        peer.speaks(ProtocolVersion::ALL[1]);
        let mut bytes = encoded([Packet::Connect(Box::new(clean("a")))], ProtocolVersion::default());
        bytes[8] = level;
        peer.send_bytes(&bytes).await;
        assert_eq!(peer.connack().await.reason, ReasonCode::UnsupportedProtocolVersion);
        peer.hears_the_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_cannot_be_read_is_answered_where_there_is_a_code_for_it() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let mut peer = stranger(&server);
        peer.speaks(version);
        let mut bytes = encoded([Packet::Connect(Box::new(of_version(version, "a", true)))], version);
        // The reserved flag, behind header, name and level.
        let flags = 2 + 2 + version.name().len() + 1;
        bytes[flags] |= 1;
        peer.send_bytes(&bytes).await;
        if version.has_reason_codes() {
            assert_eq!(peer.connack().await.reason, ReasonCode::MalformedPacket);
        }
        peer.hears_the_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_packet_has_to_be_connect() {
    let server = server().await;
    let mut peer = stranger(&server);
    peer.send(Packet::PingReq).await;
    peer.hears_the_end().await;
    let mut peer = stranger(&server);
    peer.send_bytes(&b"GET / HTTP/1.1\r\n".repeat(10)).await;
    peer.hears_the_end().await;
    assert_eq!(server.metrics().violations, 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_connect_ends_the_connection() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        let connect = of_version(version, "a", true);
        let mut peer = connected(&server, connect.clone()).await;
        peer.send(Packet::Connect(Box::new(connect))).await;
        if version.server_may_disconnect() {
            peer.is_disconnected(ReasonCode::ProtocolError).await;
        } else {
            peer.hears_the_end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_connect_at_once_is_handled_behind_the_answer() {
    let server = server().await;
    let mut peer = stranger(&server);
    let connect = Packet::Connect(Box::new(clean("a")));
    peer.send_bytes(&encoded([connect, Packet::PingReq, Packet::PingReq], ProtocolVersion::default())).await;
    assert_eq!(peer.connack().await.reason, ReasonCode::Success);
    assert_eq!(peer.receive().await, Packet::PingResp);
    assert_eq!(peer.receive().await, Packet::PingResp);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_send_connect_is_closed_in_time() {
    let server = server_with(ServerOptions::default().connect_timeout(Duration::from_secs(3))).await;
    for sent in [0, 1, 10] {
        let began = Instant::now();
        let mut peer = stranger(&server);
        let bytes = encoded([Packet::Connect(Box::new(clean("a")))], ProtocolVersion::default());
        peer.send_bytes(&bytes[..sent]).await;
        peer.hears_the_end().await;
        assert_eq!(began.elapsed().as_secs(), 3, "{sent}");
    }
    assert_eq!(server.metrics().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn an_oversize_connect_is_not_read() {
    let server = server_with(ServerOptions::default().max_connect_size(1_000)).await;
    let connect = |size: usize| clean(&"x".repeat(size));
    assert_eq!(answered(&server, connect(900)).await.1.reason, ReasonCode::Success);
    let began = Instant::now();
    let mut peer = stranger(&server);
    peer.send(Packet::Connect(Box::new(connect(1_000)))).await;
    peer.hears_the_end().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_too_many_is_refused_and_room_comes_back() {
    let server = server_with(ServerOptions::default().max_connections(2)).await;
    let one = client(&server, "1").await;
    let _two = client(&server, "2").await;
    for version in ProtocolVersion::ALL {
        let (mut peer, connack) = answered(&server, of_version(version, "3", true)).await;
        let reason = if version.has_reason_codes() {
            ReasonCode::QuotaExceeded
        } else {
            ReasonCode::ServerUnavailable
        };
        assert_eq!(connack.reason, reason);
        peer.hears_the_end().await;
    }
    assert_eq!(server.metrics().refused, 3);
    one.goes().await;
    settle().await;
    client(&server, "3").await;
}

#[tokio::test(start_paused = true)]
async fn strangers_far_too_many_are_closed_without_a_word() {
    let server = server_with(ServerOptions::default().max_connections(1)).await;
    let strangers: Vec<_> = (0..100).map(|_| stranger(&server)).collect();
    settle().await;
    assert_eq!(server.metrics().connections, 65);
    drop(strangers);
    settle().await;
    assert_eq!(server.metrics().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_take_even_connack_is_closed() {
    let server = server().await;
    let mut connect = clean("a");
    connect.properties.maximum_packet_size = NonZeroU32::new(4);
    let mut peer = stranger(&server);
    peer.send(Packet::Connect(Box::new(connect))).await;
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn packets_that_only_a_server_sends_end_the_connection() {
    let server = server().await;
    for bytes in
        [&[0x20_u8, 3, 0, 0, 0][..], &[0x90, 4, 0, 1, 0, 0], &[0xB0, 4, 0, 1, 0, 0], &[0xD0, 0], &[0xF0, 0]]
    {
        let mut peer = client(&server, "a").await;
        peer.send_bytes(bytes).await;
        peer.is_disconnected(ReasonCode::ProtocolError).await;
    }
    assert_eq!(server.metrics().violations, 5);
}

#[tokio::test(start_paused = true)]
async fn bytes_may_come_one_at_a_time() {
    let server = server().await;
    let mut peer = stranger(&server);
    let mut sender = stranger(&server);
    sender.introduce(clean("sender")).await;
    let packets = [
        Packet::Connect(Box::new(clean("a"))),
        Packet::Subscribe(crate::peer::subscribe(
            crate::peer::id(1),
            &[("t", crate::peer::options(QoS::AtMostOnce))],
            None,
        )),
    ];
    for byte in encoded(packets, ProtocolVersion::default()) {
        peer.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    peer.connack().await;
    peer.expect(PacketType::SubAck).await;
    for qos in ALL_QOS {
        sender.publish("t", "x", qos).await;
        assert_eq!(peer.text().await, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_same_breath_is_answered_first() {
    let server = server().await;
    for version in ProtocolVersion::ALL {
        for packets in [
            vec![Packet::Disconnect(goodbye())],
            vec![Packet::PingReq, Packet::PingReq, Packet::Disconnect(goodbye())],
        ] {
            let mut peer = stranger(&server);
            peer.speaks(version);
            let (answers, connect) = (packets.len() - 1, of_version(version, "a", true));
            let all = [Packet::Connect(Box::new(connect))].into_iter().chain(packets);
            peer.send_bytes(&encoded(all, version)).await;
            assert_eq!(peer.connack().await.reason, ReasonCode::Success, "{version}");
            for _ in 0..answers {
                peer.expect(PacketType::PingResp).await;
            }
            peer.hears_the_end().await;
            peer.vanishes().await;
        }
    }
    assert_eq!((server.metrics().connected, server.metrics().connections), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_and_stays_is_closed_in_time() {
    let server = server_with(ServerOptions::default().close_timeout(Duration::from_secs(3))).await;
    let mut peer = stranger(&server);
    let packets = [Packet::Connect(Box::new(clean("a"))), Packet::Disconnect(goodbye())];
    peer.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
    peer.connack().await;
    peer.hears_the_end().await;
    let start = Instant::now();
    while server.metrics().connections > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() <= Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_sends_connect_and_nothing_more_is_answered() {
    let server = server().await;
    let mut peer = stranger(&server);
    peer.send(Packet::Connect(Box::new(clean("a")))).await;
    peer.falls_silent().await;
    assert_eq!(peer.connack().await.reason, ReasonCode::Success);
    peer.hears_the_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_waits_for_who_goes_on_sending_garbage() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    // A remaining length that does not end: where the next packet begins will never be known.
    peer.send_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]).await;
    peer.is_disconnected(ReasonCode::MalformedPacket).await;
    settle().await;
    assert!(peer.is_read().await, "a socket that is closed while something is unread takes the goodbye back");
    seconds_pass(2).await;
    assert!(!peer.is_read().await, "not for ever");
}
