//! Runtimes: any of them will do, handles work from outside, and one that stops takes the connection with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use gantline_client::{Client, ConnectOptions, DisconnectCause, Event, PublishError, QoS, ReasonCode};
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::runtime::{Builder, Runtime};

use crate::peer::{ONCE, Peer, connected, message, session_present};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Acknowledges whatever comes until the client says goodbye; returns how much came.
async fn serve(mut peer: Peer) -> usize {
    let mut count = 0;
    loop {
        match peer.receive().await {
            Packet::Publish(publish) => {
                count += 1;
                let packet_id = publish.delivery.packet_id().unwrap().get();
                peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
            }
            Packet::Disconnect(_) => return count,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_client_on_many_threads() {
    let (client, peer) = connected(ConnectOptions::default().output_bounds(4, 1 << 20)).await;
    let server = tokio::spawn(serve(peer));
    let publishers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    client.publish(message("a", "", QoS::AtLeastOnce)).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    client.disconnect().await.unwrap();
    assert_eq!(server.await.unwrap(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_come_and_go_while_others_publish_and_nobody_waits_for_ever() {
    let options = ConnectOptions::default().session_expiry(Duration::MAX).output_bounds(4, 1 << 20);
    let client = Client::new(options);
    let over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce]
        .map(|qos| {
            let (client, over) = (client.clone(), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match client.publish(message("a", "", qos)).await {
                        Ok(_) | Err(PublishError::ConnectionLost(_)) => {}
                        Err(PublishError::NotConnected) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .into();
    for round in 0..50 {
        let connack = if round == 0 { ConnAck::default() } else { session_present() };
        let (_, mut peer) = crate::peer::reconnected(&client, connack).await;
        for _ in 0..20 {
            peer.receive().await;
        }
        drop(peer);
    }
    over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

#[test]
fn a_handle_works_from_a_thread_without_the_runtime_of_its_connection() {
    let runtime = current_thread();
    let (client, peer) = runtime.block_on(connected(ConnectOptions::default()));
    let (done, until_done) = tokio::sync::oneshot::channel();
    let outside = thread::spawn(move || {
        // No timer and no IO of its own is needed.
        let local = Builder::new_current_thread().build().unwrap();
        local.block_on(async {
            client.publish(message("a", "", QoS::AtLeastOnce)).await.unwrap();
            client.disconnect().await.unwrap();
        });
        done.send(()).unwrap();
    });
    runtime.block_on(async {
        assert_eq!(serve(peer).await, 1);
        until_done.await.unwrap();
    });
    outside.join().unwrap();
}

#[test]
fn a_runtime_that_stops_ends_the_connection_and_tells_everybody() {
    let runtime = current_thread();
    let (client, mut peer) = runtime.block_on(connected(ConnectOptions::default()));
    let delivery = runtime.block_on(client.publish(message("a", "", QoS::AtLeastOnce)).queued()).unwrap();
    runtime.block_on(peer.expect_publish());
    let mut events = client.events();
    drop(runtime);
    let next = current_thread();
    next.block_on(async {
        let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
        assert!(matches!(lost.cause, DisconnectCause::RuntimeStopped));
        let event = events.next().await;
        assert!(matches!(event, Some(Event::Disconnected { cause: DisconnectCause::RuntimeStopped })));
        peer.hears_the_end().await;
        // Another runtime serves as well.
        let (_, _peer) = crate::peer::reconnected(&client, ConnAck::default()).await;
        client.publish(message("a", "", QoS::AtMostOnce)).await.unwrap();
        client.flush().await.unwrap();
    });
}

#[test]
fn a_stream_is_read_from_another_thread() {
    let runtime = current_thread();
    let (client, mut peer) = runtime.block_on(connected(ConnectOptions::default()));
    let mut messages = client.messages();
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let local = Builder::new_current_thread().build().unwrap();
        sender.send(local.block_on(messages.next())).unwrap();
    });
    runtime.block_on(async {
        peer.publish("a", "", ONCE).await;
        client.flush().await.unwrap();
    });
    let received = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(received.unwrap().topic().as_str(), "a");
    reader.join().unwrap();
}
