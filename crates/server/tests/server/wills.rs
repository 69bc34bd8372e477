//! Wills: when they are published, and when not.

use gantline_protocol::packet::{Connect, Packet};
use gantline_protocol::{ProtocolVersion, Will};
use gantline_server::{QoS, ReasonCode, RunningServer};

use crate::peer::{
    ALL_QOS, Peer, clean, client, connected, lasting, of_version, seconds_pass, server, settle, subscriber,
    text, will,
};

async fn watcher(server: &RunningServer) -> Peer {
    subscriber(server, clean("watcher"), &["will/#"], QoS::ExactlyOnce).await
}

fn mortal(connect: Connect, delay: u32) -> Connect {
    Connect { will: will("will/a", "gone", delay), ..connect }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_when_the_connection_is_lost() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    for version in ProtocolVersion::ALL {
        for qos in ALL_QOS {
            let mut connect = mortal(of_version(version, "a", true), 0);
            connect.will = connect.will.map(|will| Will { qos, ..will });
            connected(&server, connect).await.vanishes().await;
            let message = watcher.message().await;
            assert_eq!((text(&message).as_str(), message.delivery.qos()), ("gone", qos));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_not_published_behind_a_goodbye() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    for version in ProtocolVersion::ALL {
        connected(&server, mortal(of_version(version, "a", false), 0)).await.goes().await;
        connected(&server, of_version(version, "a", true)).await.vanishes().await;
    }
    watcher.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_if_the_goodbye_asks_for_it() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    for reason in [ReasonCode::DisconnectWithWillMessage, ReasonCode::UnspecifiedError] {
        connected(&server, mortal(clean("a"), 0)).await.leave(reason, None).await;
        assert_eq!(watcher.text().await, "gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_when_the_client_breaks_the_protocol() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    let mut peer = connected(&server, mortal(clean("a"), 0)).await;
    peer.send_bytes(&[0x00, 0]).await;
    assert_eq!(watcher.text().await, "gone");
    peer.is_disconnected(ReasonCode::MalformedPacket).await;
}

#[tokio::test(start_paused = true)]
async fn a_will_is_published_when_the_keep_alive_is_over() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    let mut peer = connected(&server, Connect { keep_alive: 2, ..mortal(clean("a"), 0) }).await;
    peer.is_disconnected(ReasonCode::KeepAliveTimeout).await;
    assert_eq!(watcher.text().await, "gone");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    connected(&server, mortal(lasting("a", 100), 10)).await.vanishes().await;
    seconds_pass(9).await;
    watcher.hears_nothing().await;
    seconds_pass(1).await;
    assert_eq!(watcher.text().await, "gone");
    // Once.
    seconds_pass(200).await;
    watcher.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_does_not_outlive_the_session() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    connected(&server, mortal(lasting("a", 5), 10)).await.vanishes().await;
    seconds_pass(4).await;
    watcher.hears_nothing().await;
    seconds_pass(1).await;
    assert_eq!(watcher.text().await, "gone");
    // A session that ends with its connection leaves no time.
    connected(&server, mortal(clean("a"), 10)).await.vanishes().await;
    assert_eq!(watcher.text().await, "gone");
}

#[tokio::test(start_paused = true)]
async fn coming_back_cancels_a_delayed_will() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    connected(&server, mortal(lasting("a", 100), 10)).await.vanishes().await;
    seconds_pass(5).await;
    let peer = connected(&server, lasting("a", 100)).await;
    seconds_pass(50).await;
    watcher.hears_nothing().await;
    peer.vanishes().await;
    seconds_pass(500).await;
    watcher.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_session_by_a_clean_start_publishes_a_delayed_will() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    connected(&server, mortal(lasting("a", 100), 10)).await.vanishes().await;
    let _peer = client(&server, "a").await;
    assert_eq!(watcher.text().await, "gone");
    seconds_pass(500).await;
    watcher.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_takeover_publishes_the_will_unless_it_is_delayed_and_the_session_goes_on() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    for (delay, clean_start, published) in
        [(0, false, true), (0, true, true), (10, false, false), (10, true, true)]
    {
        let _old = connected(&server, mortal(lasting("a", 100), delay)).await;
        let new = connected(&server, Connect { clean_start, ..lasting("a", 100) }).await;
        if published {
            assert_eq!(watcher.text().await, "gone", "{delay} {clean_start}");
        }
        seconds_pass(20).await;
        watcher.hears_nothing().await;
        new.goes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_a_loss_before_does_not_shorten_the_next() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    connected(&server, mortal(lasting("a", 100), 10)).await.vanishes().await;
    seconds_pass(8).await;
    connected(&server, mortal(lasting("a", 100), 10)).await.vanishes().await;
    seconds_pass(8).await;
    watcher.hears_nothing().await;
    seconds_pass(2).await;
    assert_eq!(watcher.text().await, "gone");
}

#[tokio::test(start_paused = true)]
async fn a_retained_will_is_kept() {
    let server = server().await;
    let mut connect = mortal(clean("a"), 0);
    connect.will = connect.will.map(|will| Will { retain: true, ..will });
    connected(&server, connect).await.vanishes().await;
    let message = watcher(&server).await.message().await;
    assert_eq!((text(&message).as_str(), message.retain), ("gone", true));
}

#[tokio::test(start_paused = true)]
async fn the_properties_of_a_will_reach_its_receivers_and_expiry_counts_from_publishing() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    let mut connect = mortal(lasting("a", 100), 10);
    let will = connect.will.as_mut().unwrap();
    will.properties.message_expiry_interval = Some(5);
    will.properties.content_type = Some("text".to_owned());
    connected(&server, connect).await.vanishes().await;
    seconds_pass(10).await;
    let message = watcher.message().await;
    assert_eq!(message.properties.content_type.as_deref(), Some("text"));
    assert_eq!(message.properties.message_expiry_interval, Some(5));
}

#[tokio::test(start_paused = true)]
async fn the_will_of_a_client_that_cannot_be_let_in_is_not_published() {
    let server = server().await;
    let mut watcher = watcher(&server).await;
    let mut connect = mortal(clean("a"), 0);
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(4);
    let mut peer = crate::peer::stranger(&server);
    peer.send(Packet::Connect(Box::new(connect))).await;
    peer.hears_the_end().await;
    settle().await;
    watcher.hears_nothing().await;
}
