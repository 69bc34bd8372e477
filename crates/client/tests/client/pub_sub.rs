//! The client behind `PubSub`: what libraries that are built upon it rely on.

use futures_util::StreamExt;
use gantline_client::{
    Client, ConnectOptions, DisconnectCause, ProtocolVersion, PubSub, PublishError, QoS, ReasonCode,
    SubscribeError, TopicFilter,
};
use gantline_protocol::packet::{Ack, ConnAck, Packet};

use crate::peer::{ONCE, connected, ended, message, reconnected};

async fn publish(client: &impl PubSub, topic: &str) -> Result<ReasonCode, PublishError> {
    client.publish(message(topic, "1", QoS::AtLeastOnce)).await.map(|result| result.reason)
}

async fn subscribe<C: PubSub>(client: &C, filters: &[&str]) -> Result<C::Subscription, SubscribeError> {
    let filters: Vec<_> =
        filters.iter().map(|filter| (TopicFilter::new(filter).unwrap(), QoS::AtLeastOnce)).collect();
    client.subscribe(&filters).await
}

#[tokio::test(start_paused = true)]
async fn a_publish_tells_that_nobody_subscribes() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    assert_eq!(PubSub::version(&client), Some(ProtocolVersion::V5_0));
    let nobody = async {
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
        peer.ack(Packet::PubAck as fn(Ack) -> Packet, packet_id, ReasonCode::NoMatchingSubscribers).await;
    };
    let (reason, ()) = tokio::join!(publish(&client, "a"), nobody);
    assert_eq!(reason.unwrap(), ReasonCode::NoMatchingSubscribers);
}

#[tokio::test(start_paused = true)]
async fn several_filters_are_one_stream_and_a_refusal_names_its_filter() {
    let (client, mut peer) = connected(ConnectOptions::default()).await;
    let granted = [ReasonCode::GrantedQoS1, ReasonCode::Success];
    let (stream, sent) = tokio::join!(subscribe(&client, &["a", "b"]), peer.grant(&granted));
    assert_eq!(sent.filters[1].options.maximum_qos, QoS::AtLeastOnce);
    peer.publish("a", "1", ONCE).await;
    peer.publish("b", "2", ONCE).await;
    let topics: Vec<_> = stream.unwrap().take(2).map(|message| message.topic().to_string()).collect().await;
    assert_eq!(topics, ["a", "b"]);

    let (refused, _) = tokio::join!(subscribe(&client, &["c"]), async {
        assert_eq!(peer.expect_unsubscribe(ReasonCode::Success).await, ["a", "b"]);
        peer.grant(&[ReasonCode::NotAuthorized]).await
    });
    let Err(SubscribeError::Refused(refused)) = refused else { panic!() };
    assert_eq!(refused.filters, [(TopicFilter::new("c").unwrap(), ReasonCode::NotAuthorized)]);
}

#[tokio::test(start_paused = true)]
async fn each_lost_connection_is_told_and_nothing_else() {
    let client = Client::new(ConnectOptions::default());
    let mut losses = client.losses();
    assert_eq!(client.version(), None);
    assert!(matches!(publish(&client, "a").await, Err(PublishError::NotConnected)));
    assert!(matches!(subscribe(&client, &["a"]).await, Err(SubscribeError::NotConnected)));
    for _ in 0..2 {
        let (_, peer) = reconnected(&client, ConnAck::default()).await;
        drop(peer);
        assert!(matches!(losses.next().await, Some(DisconnectCause::ClosedByServer)));
    }
    ended(&client).await;
    drop(client);
    assert!(losses.next().await.is_none());
}
