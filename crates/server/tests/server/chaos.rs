//! Many clients that do whatever comes to their minds: nothing panics, nothing hangs, and nothing is left behind.

use std::time::Duration;

use gantline_protocol::packet::{Connect, Packet, Publish};
use gantline_server::{Overflow, QoS, ReasonCode, RunningServer, ServerOptions};

use crate::peer::{ALL_QOS, Peer, clean, lasting, options, server_with, stranger, subscribe, will};

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const TOPICS: [&str; 4] = ["t/a", "t/b", "u/a", "t"];
const FILTERS: [&str; 6] = ["t/a", "t/+", "#", "$share/g/t/#", "$share/h/+/a", "u/#"];

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn connect(numbers: &mut Numbers) -> Connect {
    let id = numbers.pick(&IDS);
    let mut connect =
        if numbers.below(2) == 0 { clean(id) } else { lasting(id, numbers.pick(&[1, 5, 1_000])) };
    connect.properties.receive_maximum = std::num::NonZeroU16::new(numbers.pick(&[1, 2, 100]));
    connect.properties.topic_alias_maximum = numbers.pick(&[None, Some(1), Some(10)]);
    connect.keep_alive = numbers.pick(&[0, 60]);
    if numbers.below(3) == 0 {
        connect.will = will(numbers.pick(&TOPICS), "will", numbers.pick(&[0, 2]));
    }
    connect
}

/// A few connections, one after the other.
async fn act(server: RunningServer, seed: u64, connections: usize) {
    let mut numbers = Numbers(seed);
    for _ in 0..connections {
        let mut peer = stranger(&server);
        peer.send(Packet::Connect(Box::new(connect(&mut numbers)))).await;
        for _ in 0..numbers.below(60) {
            step(&mut peer, &mut numbers).await;
        }
        if numbers.below(2) == 0 {
            peer.leave(numbers.pick(&[ReasonCode::Success, ReasonCode::DisconnectWithWillMessage]), None)
                .await;
        }
    }
}

async fn step(peer: &mut Peer, numbers: &mut Numbers) {
    match numbers.below(10) {
        0 => {
            let qos = numbers.pick(&ALL_QOS);
            let packet = subscribe(
                peer.next_id(),
                &[(numbers.pick(&FILTERS), options(qos))],
                numbers.pick(&[None, Some(7)]),
            );
            peer.send(Packet::Subscribe(packet)).await;
        }
        1..=4 => {
            let payload = "x".repeat(numbers.pick(&[0, 10, 5_000]));
            let publish = peer.made(numbers.pick(&TOPICS), &payload, numbers.pick(&ALL_QOS));
            let publish = Publish { retain: numbers.below(3) == 0, ..publish };
            peer.send(Packet::Publish(Box::new(publish))).await;
        }
        5..=8 => {
            // Takes what is there, and answers some of it.
            while let Ok(Some(packet)) = tokio::time::timeout(Duration::from_millis(1), peer.packet()).await {
                let success = ReasonCode::Success;
                match packet {
                    Packet::Publish(publish) if numbers.below(8) > 0 => match publish.delivery.qos() {
                        QoS::AtMostOnce => {}
                        QoS::AtLeastOnce => {
                            peer.ack(Packet::PubAck, publish.delivery.packet_id().unwrap().get(), success)
                                .await;
                        }
                        QoS::ExactlyOnce => {
                            peer.ack(Packet::PubRec, publish.delivery.packet_id().unwrap().get(), success)
                                .await;
                        }
                    },
                    Packet::PubRel(ack) => peer.ack(Packet::PubComp, ack.packet_id.get(), success).await,
                    Packet::PubRec(ack) => peer.ack(Packet::PubRel, ack.packet_id.get(), success).await,
                    _ => {}
                }
            }
        }
        _ => tokio::time::sleep(Duration::from_millis(numbers.pick(&[1, 100, 2_000]))).await,
    }
}

async fn nothing_is_left(server: &RunningServer) {
    for id in IDS {
        crate::peer::client(server, id).await.goes().await;
    }
    let mut peer = crate::peer::client(server, "last").await;
    for topic in TOPICS {
        peer.publish_retained(topic, "", QoS::AtLeastOnce).await;
    }
    peer.goes().await;
    server.shutdown(Duration::from_secs(5)).await;
    let metrics = server.metrics();
    assert_eq!((metrics.connections, metrics.sessions, metrics.subscriptions), (0, 0, 0));
    assert_eq!((metrics.retained_messages, metrics.retained_bytes, metrics.queued_bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind() {
    for (seed, overflow) in (1..).zip([Overflow::DropOldest, Overflow::DropNewest, Overflow::Disconnect]) {
        let options =
            ServerOptions::default().max_queued_messages(20).max_parked_messages(10).overflow(overflow);
        let server = server_with(options).await;
        let actors: Vec<_> =
            (0..8).map(|actor| tokio::spawn(act(server.clone(), seed * 100 + actor, 25))).collect();
        for actor in actors {
            actor.await.unwrap();
        }
        assert_eq!(server.metrics().violations, 0);
        nothing_is_left(&server).await;
    }
}
