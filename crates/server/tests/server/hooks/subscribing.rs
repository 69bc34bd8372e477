//! Hooks about SUBSCRIBE and UNSUBSCRIBE.

use std::time::Duration;

use gantline_protocol::SubscriptionOptions;
use gantline_protocol::packet::{Packet, SubscribeFilter};
use gantline_server::{
    Decision, Message, Outcome, QoS, ReasonCode, SubscribeAttempt, TopicFilter, UnsubscribeAttempt,
};

use super::build;
use crate::peer::{client, subscribe};

#[tokio::test(start_paused = true)]
async fn subscriptions_are_replaced_refused_and_accepted_in_name_only() {
    let decide = |filter: &TopicFilter| match filter.as_str() {
        "old" => {
            let filter = TopicFilter::new("new").unwrap();
            Outcome::Replace(SubscribeFilter { filter, options: SubscriptionOptions::default() })
        }
        "bad" => Outcome::Refuse(ReasonCode::QuotaExceeded),
        "none" => Outcome::Drop,
        "close" => Outcome::Close(ReasonCode::NotAuthorized),
        _ => Outcome::Forward,
    };
    for slow in [false, true] {
        let server = build()
            .intercept_subscriptions(move |attempt: &SubscribeAttempt<'_>| {
                let outcome = decide(&attempt.subscription().filter);
                match slow {
                    true => Decision::later(async {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        outcome
                    }),
                    false => Decision::Now(outcome),
                }
            })
            .intercept_unsubscriptions(move |attempt: &UnsubscribeAttempt<'_>| {
                match attempt.filter().as_str() {
                    "old" => Outcome::Replace(TopicFilter::new("new").unwrap()),
                    "bad" => Outcome::Refuse(ReasonCode::TopicFilterInvalid),
                    "none" => Outcome::Drop,
                    _ => Outcome::Forward,
                }
            })
            .start()
            .await
            .unwrap();
        let mut client = client(&server, "client").await;
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filters = [("old", options), ("bad", options), ("none", options), ("good", options)];
        let granted = client.subscribe_with(&filters, None).await;
        let expected = [
            ReasonCode::Success,
            ReasonCode::QuotaExceeded,
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS1,
        ];
        assert_eq!(granted, expected);
        for topic in ["old", "bad", "none", "new", "good"] {
            server.publish(Message::new(topic, topic).unwrap()).await.unwrap();
        }
        assert_eq!(client.texts(2).await, ["new", "good"]);
        let answers = client.unsubscribe(&["old", "bad", "none", "good", "new"]).await;
        let success = ReasonCode::Success;
        let gone = ReasonCode::NoSubscriptionExisted;
        assert_eq!(answers, [success, ReasonCode::TopicFilterInvalid, success, success, gone]);
        let ended = client.made("x", "x", QoS::AtMostOnce);
        client.send(Packet::Publish(Box::new(ended))).await;
        let id = client.next_id();
        client.send(Packet::Subscribe(subscribe(id, &[("close", options)], None))).await;
        client.is_disconnected(ReasonCode::NotAuthorized).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_subscribe_waits_for_its_hook() {
    let server = build()
        .intercept_subscriptions(|_: &SubscribeAttempt<'_>| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Outcome::Forward
        })
        .start()
        .await
        .unwrap();
    let mut client = client(&server, "client").await;
    let id = client.next_id();
    let filters = [("a", SubscriptionOptions::default()), ("b", SubscriptionOptions::default())];
    client.send(Packet::Subscribe(subscribe(id, &filters, None))).await;
    let publish = client.made("b", "mine", QoS::AtMostOnce);
    client.send(Packet::Publish(Box::new(publish))).await;
    assert!(matches!(client.receive().await, Packet::SubAck(_)));
    assert_eq!(client.text().await, "mine");
}
