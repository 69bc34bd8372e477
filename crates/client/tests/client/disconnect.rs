//! Ending: what is said, what is still written, who is told, and that nothing has to wait for it.

use std::time::Duration;

use futures_util::future::poll_immediate;
use gantline_client::{
    Client, ConnectOptions, ConnectionError, DisconnectCause, Event, PublishError, QoS, ReasonCode,
    SubscribeError,
};
use gantline_protocol::DisconnectProperties;
use gantline_protocol::packet::Packet;
use tokio::time::Instant;

use crate::peer::{ONCE, connected, message};

#[tokio::test(start_paused = true)]
async fn disconnect_says_goodbye_and_leaves_no_connection() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    let server = async {
        let goodbye = peer.expect_disconnect().await;
        peer.hears_the_end().await;
        drop(peer);
        goodbye
    };
    let (result, goodbye) = tokio::join!(client.disconnect(), server);
    result.unwrap();
    assert_eq!(goodbye.reason, ReasonCode::Success);
    assert!(!client.is_connected());
    assert!(client.connection().is_none());
    let event = poll_immediate(events.next()).await;
    assert!(matches!(event, Some(Some(Event::Disconnected { cause: DisconnectCause::Requested }))));
    assert!(matches!(client.disconnect().await, Err(ConnectionError::NotConnected)));
    assert!(matches!(client.ping().await, Err(ConnectionError::NotConnected)));
    assert!(matches!(client.flush().await, Err(ConnectionError::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn the_goodbye_carries_reason_and_properties() {
    let options = ConnectOptions::default().session_expiry(Duration::from_secs(100));
    let (client, mut peer) = connected(options).await;
    let properties = DisconnectProperties {
        session_expiry_interval: Some(7),
        reason_string: Some("going home".into()),
        ..DisconnectProperties::default()
    };
    let disconnect = client.disconnect().reason(ReasonCode::DisconnectWithWillMessage).properties(properties);
    let (result, goodbye) = tokio::join!(disconnect, async {
        let goodbye = peer.expect_disconnect().await;
        drop(peer);
        goodbye
    });
    result.unwrap();
    assert_eq!(goodbye.reason, ReasonCode::DisconnectWithWillMessage);
    assert_eq!(goodbye.properties.session_expiry_interval, Some(7));
    assert_eq!(goodbye.properties.reason_string.as_deref(), Some("going home"));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_with_its_connection_cannot_be_kept_by_the_goodbye() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let properties =
        DisconnectProperties { session_expiry_interval: Some(7), ..DisconnectProperties::default() };
    let (_, goodbye) = tokio::join!(client.disconnect().properties(properties), async {
        let goodbye = peer.expect_disconnect().await;
        drop(peer);
        goodbye
    });
    assert_eq!(goodbye.properties.session_expiry_interval, None);
}

#[tokio::test(start_paused = true)]
async fn a_reason_that_a_goodbye_cannot_carry_is_replaced() {
    for (reason, said) in [
        (ReasonCode::NoMatchingSubscribers, ReasonCode::Success),
        (ReasonCode::BadUserNameOrPassword, ReasonCode::UnspecifiedError),
    ] {
        let (client, mut peer) = connected(ConnectOptions::default()).await;
        let (_, goodbye) = tokio::join!(client.disconnect().reason(reason), async {
            let goodbye = peer.expect_disconnect().await;
            drop(peer);
            goodbye
        });
        assert_eq!(goodbye.reason, said);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_before_is_written_first() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let large = "x".repeat(200_000);
    let mut deliveries = Vec::new();
    for qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
        deliveries.push(client.publish(message("a", &large, qos)).queued().await.unwrap());
    }
    let (result, ()) = tokio::join!(client.disconnect(), async {
        let mut qos =
            [peer.expect_publish().await.delivery.qos(), peer.expect_publish().await.delivery.qos()];
        qos.sort_unstable();
        assert_eq!(qos, [QoS::AtMostOnce, QoS::AtLeastOnce]);
        peer.expect_disconnect().await;
        drop(peer);
    });
    result.unwrap();
    // Nobody acknowledged it any more.
    let Err(PublishError::ConnectionLost(lost)) = deliveries.remove(0).await else { panic!() };
    assert!(matches!(lost.cause, DisconnectCause::Requested) && !lost.resent_on_resume);
    assert!(deliveries.remove(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_close_is_left_after_the_close_timeout() {
    let limit = Duration::from_secs(3);
    let (client, mut peer) = connected(ConnectOptions::default().close_timeout(limit)).await;
    let start = Instant::now();
    client.disconnect().await.unwrap();
    assert_eq!(start.elapsed(), limit);
    peer.expect_disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn writing_and_closing_share_one_timeout() {
    let limit = Duration::from_secs(3);
    let (client, peer) = connected(ConnectOptions::default().close_timeout(limit)).await;
    client.publish(message("a", &"x".repeat(200_000), QoS::AtMostOnce)).await.unwrap();
    let start = Instant::now();
    client.disconnect().await.unwrap();
    assert_eq!(start.elapsed(), limit);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn no_timeout_is_too_long() {
    let options = ConnectOptions::default().connect_timeout(Duration::MAX).close_timeout(Duration::MAX);
    let (client, mut peer) = connected(options).await;
    let (result, ()) = tokio::join!(client.disconnect(), async {
        peer.expect_disconnect().await;
        drop(peer);
    });
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_who_disconnect_at_once_wait_for_the_same_end() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let second = client.disconnect().reason(ReasonCode::UnspecifiedError);
    let (first, second, goodbye) = tokio::join!(client.disconnect(), second, async {
        let goodbye = peer.expect_disconnect().await;
        peer.hears_the_end().await;
        drop(peer);
        goodbye
    });
    first.unwrap();
    second.unwrap();
    assert_eq!(goodbye.reason, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_before_the_goodbye_is_an_error() {
    let (client, peer) = connected(ConnectOptions::default()).await;
    client.publish(message("a", &"x".repeat(200_000), QoS::AtMostOnce)).await.unwrap();
    let disconnect = tokio::spawn(async move { client.disconnect().await });
    tokio::task::yield_now().await;
    drop(peer);
    assert!(matches!(disconnect.await.unwrap(), Err(ConnectionError::ConnectionLost(_))));
}

#[tokio::test(start_paused = true)]
async fn requests_without_answer_end_with_the_goodbye_and_not_with_the_closing() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let start = Instant::now();
    let subscribe = async {
        let error = client.subscribe("a", QoS::AtMostOnce).await.unwrap_err();
        assert!(matches!(error, SubscribeError::ConnectionLost(_)), "{error}");
        assert_eq!(start.elapsed(), Duration::ZERO);
    };
    let ping = async {
        assert!(matches!(client.ping().await, Err(ConnectionError::ConnectionLost(_))));
        assert_eq!(start.elapsed(), Duration::ZERO);
    };
    let ((), (), result) = tokio::join!(subscribe, ping, client.disconnect());
    result.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert!(matches!(peer.receive().await, Packet::Subscribe(_)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_is_waited_for_by_the_next() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    peer.expect_disconnect().await;
    let reconnect = crate::peer::reconnected(&client, Default::default());
    let ((_, _peer), ()) = tokio::join!(reconnect, async {
        tokio::task::yield_now().await;
        drop(peer);
    });
    closing.await.unwrap().unwrap();
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_says_goodbye_behind_what_was_accepted() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    client.publish(message("a", "", QoS::AtMostOnce)).await.unwrap();
    let clone = client.clone();
    drop(client);
    peer.expect_publish().await;
    peer.hears_nothing().await;
    drop(clone);
    assert_eq!(peer.expect_disconnect().await.reason, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_messages_keeps_the_connection() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut messages = client.messages();
    drop(client);
    peer.publish("a", "", ONCE).await;
    assert!(messages.next().await.is_some());
    drop(messages);
    peer.expect_disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_nobody_holds_does_not_keep_the_connection() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let handler = client.on_message(|_| async {});
    drop(client);
    peer.expect_disconnect().await;
    drop(peer);
    handler.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_a_session_that_ends_with_its_connection() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce);
    let (subscription, _) = tokio::join!(subscribe, peer.grant(&[ReasonCode::Success]));
    let (mut subscription, mut messages) = (subscription.unwrap(), client.messages());
    peer.publish("a", "last", ONCE).await;
    peer.hears_nothing().await;
    drop(peer);
    // What had come can still be taken.
    assert_eq!(subscription.next().await.unwrap().payload_str().unwrap(), "last");
    assert!(subscription.next().await.is_none());
    // Everything goes on with the next connection.
    messages.next().await.unwrap();
    let (_, mut peer) = crate::peer::reconnected(&client, Default::default()).await;
    peer.publish("a", "again", ONCE).await;
    assert_eq!(messages.next().await.unwrap().payload_str().unwrap(), "again");
}

#[tokio::test(start_paused = true)]
async fn every_call_is_legal_while_a_message_is_handled() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let handle = {
        let client: Client = client.clone();
        move |received: gantline_client::Message| {
            let client = client.clone();
            async move {
                assert_eq!(received.topic().as_str(), "go");
                client.publish(message("reply", "", QoS::AtMostOnce)).await.unwrap();
                client.publish(message("reply", "", QoS::AtLeastOnce)).await.unwrap();
                client.publish(message("reply", "", QoS::ExactlyOnce)).await.unwrap();
                let subscription = client.subscribe("more", QoS::AtMostOnce).await.unwrap();
                client.unsubscribe("more").await.unwrap();
                drop(subscription);
                client.ping().await.unwrap();
                client.flush().await.unwrap();
                assert!(client.is_connected());
                client.disconnect().await.unwrap();
            }
        }
    };
    let handler = client.on_message(handle);
    peer.publish("go", "", ONCE).await;
    assert_eq!(peer.expect_publish().await.delivery, ONCE);
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
    peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
    peer.expect_ack().await;
    peer.ack(Packet::PubComp, packet_id, ReasonCode::Success).await;
    peer.grant(&[ReasonCode::Success]).await;
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["more"]);
    assert!(matches!(peer.receive().await, Packet::PingReq));
    peer.send(Packet::PingResp).await;
    peer.expect_disconnect().await;
    drop(peer);
    let mut events = client.events();
    assert!(matches!(events.next().await, Some(Event::Disconnected { cause: DisconnectCause::Requested })));
    handler.abort();
}
