//! Delivery hooks at their edges: what was remembered before the receiver came.

use gantline_server::{
    Decision, DeliveryAttempt, Message, Outcome, QoS, RunningServer, Server, ServerOptions,
};

use crate::peer::{client, connected, lasting, settle, subscriber};

async fn delivering<F>(deliver: F) -> RunningServer
where
    F: Fn(&DeliveryAttempt<'_>) -> Decision<Outcome<Message>> + Send + Sync + 'static,
{
    Server::new(ServerOptions::default()).intercept_deliveries(deliver).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_delivery_hook_sees_messages_whose_route_was_found_while_the_receiver_was_away() {
    let server = delivering(|_: &DeliveryAttempt<'_>| Decision::Now(Outcome::Drop)).await;
    let receiver = subscriber(&server, lasting("receiver", 60), &["t"], QoS::AtLeastOnce).await;
    receiver.vanishes().await;
    settle().await;
    let mut publisher = client(&server, "publisher").await;
    publisher.publish("t", "away", QoS::AtMostOnce).await;
    publisher.ping().await;
    let mut receiver = connected(&server, lasting("receiver", 60)).await;
    publisher.publish("t", "back", QoS::AtMostOnce).await;
    receiver.hears_nothing().await;
    assert_eq!(server.metrics().messages_intercepted, 1);
}
