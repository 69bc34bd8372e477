//! What happens when the future of an operation is dropped, and that nothing stays behind when everything is.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use gantline_client::{Client, ConnectOptions, DisconnectCause, Event, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Packet};
use gantline_protocol::{Message, PacketType};

use crate::peer::{ONCE, Peer, at_least_once, connected, ended, exactly_once, message, pair, text};

/// Polls once, which must not be enough, and drops.
fn begin_and_drop<F: IntoFuture>(operation: F) {
    assert!(Box::pin(operation.into_future()).now_or_never().is_none());
}

async fn pings(client: &Client, peer: &mut Peer) {
    let (result, ()) = tokio::join!(client.ping(), async {
        assert!(matches!(peer.receive().await, Packet::PingReq));
        peer.send(Packet::PingResp).await;
    });
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connecting_leaves_nothing_behind() {
    let client = Client::new(ConnectOptions::default());
    let (stream, mut peer) = pair();
    begin_and_drop(client.reconnect_with(stream));
    assert!(matches!(peer.receive().await, Packet::Connect(_)));
    peer.hears_the_end().await;
    assert!(!client.is_connected());
    let (stream, mut peer) = pair();
    let (result, _) = tokio::join!(client.reconnect_with(stream), peer.accept(ConnAck::default()));
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_nobody_waits_for_is_given_up() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    begin_and_drop(client.subscribe("a", QoS::AtLeastOnce));
    // It was ordered and given up before it was sent.
    pings(&client, &mut peer).await;
    let subscribe = tokio::spawn(client.subscribe("a", QoS::AtLeastOnce).into_future());
    assert!(matches!(peer.receive().await, Packet::Subscribe(_)));
    subscribe.abort();
    assert!(subscribe.await.is_err());
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_that_nobody_waits_for_is_made() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (subscription, _) =
        tokio::join!(client.subscribe("a", QoS::AtLeastOnce), peer.grant(&[ReasonCode::Success]));
    begin_and_drop(client.unsubscribe("a"));
    assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a"]);
    assert_eq!(subscription.unwrap().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_sent_if_it_was_accepted() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    drop(client.publish(message("never", "", QoS::AtLeastOnce)));
    begin_and_drop(client.publish(message("a", "", QoS::AtLeastOnce)));
    let publish = peer.expect_publish().await;
    assert_eq!(publish.topic.unwrap().as_str(), "a");
    peer.ack(Packet::PubAck, publish.delivery.packet_id().unwrap().get(), ReasonCode::Success).await;
    pings(&client, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_and_a_flush_that_nobody_waits_for_do_no_harm() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    begin_and_drop(client.ping());
    begin_and_drop(client.flush());
    assert!(matches!(peer.receive().await, Packet::PingReq));
    peer.send(Packet::PingResp).await;
    pings(&client, &mut peer).await;
    client.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_that_nobody_waits_for_is_made() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut events = client.events();
    drop(client.disconnect());
    pings(&client, &mut peer).await;
    begin_and_drop(client.disconnect());
    peer.expect_disconnect().await;
    drop(peer);
    assert!(matches!(events.next().await, Some(Event::Disconnected { cause: DisconnectCause::Requested })));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_message_or_an_event_takes_none() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let (mut messages, mut events) = (client.messages(), client.events());
    begin_and_drop(messages.next());
    begin_and_drop(events.next());
    for (payload, packet_id) in [("1", 1), ("2", 2)] {
        peer.publish("a", payload, at_least_once(packet_id)).await;
    }
    peer.hears_nothing().await;
    assert_eq!(text(&messages.next().await.unwrap()), "1");
    assert_eq!(peer.expect_ack().await, (PacketType::PubAck, 1, ReasonCode::Success));
    let mut by_hand = messages.manual_acks();
    assert_eq!(text(&by_hand.next().await.unwrap()), "2");
    begin_and_drop(by_hand.next());
    drop(peer);
    assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
}

/// The options hold the inspector, the client holds the options: what the inspector holds lives as long as anything
/// does.
#[tokio::test(start_paused = true)]
async fn nothing_stays_behind_whatever_was_under_way() {
    let probe = Arc::new(());
    let options = |id: &str| {
        let held = Arc::clone(&probe);
        let options = ConnectOptions::default().client_id(id).unwrap().session_expiry(Duration::MAX);
        options.packet_inspector(move |_, _| assert!(Arc::strong_count(&held) > 1))
    };
    // Never connected; connected and idle.
    drop(Client::new(options("new")));
    let (client, peer) = connected(options("idle")).await;
    drop(client);
    drop(peer);
    // Everything under way at once, and everybody gone.
    let (client, mut peer) = connected(options("busy")).await;
    let mut messages = client.messages();
    let handlers = [
        client.on_message(|_| async {}),
        client.on_event(|_| async {}),
        client.messages().for_each_concurrent(2, |_| std::future::pending()),
    ];
    for packet_id in 1..=5 {
        peer.publish("a", "", exactly_once(packet_id)).await;
    }
    messages.next().await.unwrap();
    let unacknowledged = messages.manual_acks().next().await.unwrap();
    let delivery = client.publish(message("a", "", QoS::ExactlyOnce)).queued().await.unwrap();
    begin_and_drop(client.subscribe("a", QoS::AtLeastOnce));
    begin_and_drop(client.ping());
    drop(peer);
    ended(&client).await;
    drop((delivery, client, unacknowledged));
    for handler in handlers {
        handler.abort();
        let _ = handler.await;
    }
    // The connections that are closing have their time for that.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(Arc::strong_count(&probe), 1);
}

/// Answers everything until the client says goodbye; its own messages come between.
async fn serve(mut peer: Peer) {
    let mut next = 1;
    loop {
        match peer.receive().await {
            Packet::Publish(publish) => {
                let packet_id = publish.delivery.packet_id().unwrap().get();
                peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
                peer.publish("more", "", exactly_once(1000 + next)).await;
                next += 1;
            }
            Packet::PubRel(ack) => peer.ack(Packet::PubComp, ack.packet_id.get(), ReasonCode::Success).await,
            Packet::PubRec(ack) => peer.ack(Packet::PubRel, ack.packet_id.get(), ReasonCode::Success).await,
            Packet::PubComp(_) => {}
            Packet::PingReq => peer.send(Packet::PingResp).await,
            Packet::Subscribe(subscribe) => {
                let (packet_id, properties) = (subscribe.packet_id, Default::default());
                let reasons = vec![ReasonCode::GrantedQoS2];
                let suback = gantline_protocol::packet::SubAck { packet_id, reasons, properties };
                peer.send(Packet::SubAck(suback)).await;
            }
            Packet::Unsubscribe(unsubscribe) => {
                let (packet_id, properties) = (unsubscribe.packet_id, Default::default());
                let reasons = vec![ReasonCode::Success; unsubscribe.filters.len()];
                let unsuback = gantline_protocol::packet::UnsubAck { packet_id, reasons, properties };
                peer.send(Packet::UnsubAck(unsuback)).await;
            }
            Packet::Disconnect(_) => return,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_call_everything_while_all_queues_are_full() {
    // No Receive Maximum holds the server back, so that the stream is above its bounds.
    let options = ConnectOptions::default().version("3.1.1".parse().unwrap());
    let (client, mut peer) = connected(options.stream_bounds(2, 1 << 20).output_bounds(1, 1 << 20)).await;
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let mut handled = 0;
    let handle = {
        let client = client.clone();
        move |_: Message| {
            handled += 1;
            let (client, done, is_last) = (client.clone(), done.clone(), handled == 20);
            async move {
                client.publish(message("reply", "", QoS::ExactlyOnce)).await.unwrap();
                let subscription = client.subscribe("more", QoS::ExactlyOnce).await.unwrap();
                client.unsubscribe("more").await.unwrap();
                drop(subscription);
                client.ping().await.unwrap();
                client.flush().await.unwrap();
                if is_last {
                    client.disconnect().await.unwrap();
                    done.send(()).unwrap();
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    let handler = client.on_message(handle);
    for packet_id in 1..=10 {
        peer.publish("go", "", exactly_once(packet_id)).await;
    }
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                while client.publish(message("busy", "", QoS::ExactlyOnce)).await.is_ok() {}
            })
        })
        .collect();
    let server = tokio::spawn(serve(peer));
    tokio::time::timeout(Duration::from_secs(60), finished.recv()).await.expect("no deadlock").unwrap();
    server.await.unwrap();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    handler.abort();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_in_a_handler_ends() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let mut held = Some(client.clone());
    let handler = client.on_message(move |_| {
        drop(held.take());
        std::future::ready(())
    });
    drop(client);
    peer.publish("a", "", ONCE).await;
    peer.expect_disconnect().await;
    drop(peer);
    handler.await.unwrap();
}
