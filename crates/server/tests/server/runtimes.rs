//! Runtimes and real sockets: one thread or several, connections spread over workers, TCP.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gantline_protocol::packet::{Delivery, Packet};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{QoS, ReasonCode, RunningServer, Server, ServerOptions};
use gantline_transport::{DialOptions, connect};
use tokio::runtime::{Builder, Handle};

use crate::peer::{Peer, clean, encoded, lasting, of_version, publish, text};

const DEADLINE: Duration = Duration::from_secs(5);

async fn over_tcp(server: &RunningServer) -> Peer {
    Peer::over(connect(&server.local_addresses()[0], &DialOptions::default()).await.unwrap())
}

async fn tcp_client(server: &RunningServer, id: &str, filters: &[&str]) -> Peer {
    let mut peer = over_tcp(server).await;
    assert_eq!(peer.introduce(clean(id)).await.reason, ReasonCode::Success);
    for filter in filters {
        peer.subscribe(filter, QoS::ExactlyOnce).await;
    }
    peer
}

/// Several publishers to several subscribers; all of it arrives, in order.
async fn crowd(server: RunningServer) {
    const MESSAGES: usize = 200;
    let mut tasks = Vec::new();
    let mut receivers = Vec::new();
    for number in 0..4 {
        receivers.push(tcp_client(&server, &format!("receiver-{number}"), &["t/#"]).await);
    }
    for number in 0..4 {
        let mut peer = tcp_client(&server, &format!("sender-{number}"), &[]).await;
        tasks.push(tokio::spawn(async move {
            for message in 0..MESSAGES {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
                peer.publish(&format!("t/{number}"), &message.to_string(), qos).await;
            }
            peer.ping().await;
        }));
    }
    for mut peer in receivers {
        tasks.push(tokio::spawn(async move {
            let mut next = BTreeMap::new();
            for _ in 0..4 * MESSAGES {
                let message = peer.message().await;
                let next = next.entry(message.topic.clone().unwrap().to_string()).or_insert(0);
                assert_eq!(text(&message), next.to_string());
                *next += 1;
            }
            peer.ping().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.metrics().dropped.total(), 0);
    server.shutdown(DEADLINE).await;
    assert_eq!(server.metrics().connections, 0);
}

fn tcp_server() -> Server {
    Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0")
}

#[tokio::test]
async fn one_thread_is_enough() {
    crowd(tcp_server().start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_threads_work_together() {
    crowd(tcp_server().start().await.unwrap()).await;
}

/// A runtime in a thread of its own, until the sender is dropped.
fn worker() -> (Handle, tokio::sync::oneshot::Sender<()>, thread::JoinHandle<()>) {
    let (handle, handles) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let thread = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        handle.send(runtime.handle().clone()).unwrap();
        let _ = runtime.block_on(stopped);
    });
    (handles.recv().unwrap(), stop, thread)
}

#[tokio::test]
async fn connections_are_spread_over_workers() {
    let workers: Vec<_> = (0..2).map(|_| worker()).collect();
    let handles = workers.iter().map(|(handle, ..)| handle.clone()).collect();
    crowd(tcp_server().workers(handles).start().await.unwrap()).await;
    for (_, stop, thread) in workers {
        drop(stop);
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_worker_that_stops_gives_its_sessions_back() {
    let (handle, stop, thread) = worker();
    let server = tcp_server().workers(vec![handle]).start().await.unwrap();
    let mut peer = over_tcp(&server).await;
    peer.introduce(lasting("a", 100)).await;
    peer.subscribe("t", QoS::AtLeastOnce).await;
    drop(stop);
    thread.join().unwrap();
    peer.hears_the_end().await;
    assert_eq!(
        server.publish(gantline_server::Message::new("t", "x").unwrap().qos(QoS::AtLeastOnce)).await,
        Ok(1)
    );
    // A stream that the application brings runs on the runtime of the caller.
    let (ours, theirs) = gantline_transport::memory::pair();
    server.serve(theirs);
    let mut peer = Peer::over(ours);
    assert!(peer.introduce(lasting("a", 100)).await.session_present);
    assert_eq!(peer.text().await, "x");
}

#[tokio::test]
async fn a_refused_client_that_sends_more_still_hears_why() {
    let server = tcp_server().start().await.unwrap();
    for _ in 0..20 {
        let mut peer = over_tcp(&server).await;
        let version = ProtocolVersion::ALL[0];
        peer.speaks(version);
        let connect = Packet::Connect(Box::new(of_version(version, "", true)));
        let rest = (0..1_000).map(|_| Packet::Publish(Box::new(publish("t", "x", Delivery::AtMostOnce))));
        peer.send_bytes(&encoded([connect].into_iter().chain(rest), version)).await;
        assert_eq!(peer.connack().await.reason, ReasonCode::ClientIdentifierNotValid);
    }
}

#[tokio::test]
async fn a_disconnected_client_that_sends_more_still_hears_why() {
    let server = tcp_server().start().await.unwrap();
    for _ in 0..20 {
        let mut peer = tcp_client(&server, "a", &[]).await;
        peer.send_bytes(&[0x00, 0]).await;
        let rest = (0..1_000).map(|_| Packet::Publish(Box::new(publish("t", "x", Delivery::AtMostOnce))));
        peer.send_bytes(&encoded(rest, ProtocolVersion::default())).await;
        match peer.expect(PacketType::Disconnect).await {
            Packet::Disconnect(packet) => assert_eq!(packet.reason, ReasonCode::MalformedPacket),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_id_that_many_fight_for_has_one_connection_in_the_end() {
    let server = tcp_server().start().await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..8 {
        let server = server.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..25 {
                let mut peer = over_tcp(&server).await;
                let connect = if (number + round) % 2 == 0 { clean("a") } else { lasting("a", 100) };
                assert_eq!(peer.introduce(connect).await.reason, ReasonCode::Success);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut last = tcp_client(&server, "a", &["t"]).await;
    last.publish("t", "x", QoS::AtLeastOnce).await;
    assert_eq!(last.text().await, "x");
    drop(last);
    server.shutdown(DEADLINE).await;
    assert_eq!(server.metrics().connections, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_missed_behind_suback_on_several_threads() {
    let server = tcp_server().start().await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..4 {
        let server = server.clone();
        tasks.push(tokio::spawn(async move {
            let topic = format!("t/{number}");
            let mut receiver = tcp_client(&server, &format!("receiver-{number}"), &[]).await;
            let mut sender = tcp_client(&server, &format!("sender-{number}"), &[]).await;
            for round in 0..50 {
                sender.publish(&topic, "nobody", QoS::AtMostOnce).await;
                let filter = [topic.as_str(), "t/+"][round % 2];
                receiver.subscribe(filter, QoS::AtMostOnce).await;
                sender.publish(&topic, &format!("{number} {round}"), QoS::AtMostOnce).await;
                while receiver.text().await != format!("{number} {round}") {}
                receiver.unsubscribe(&[filter]).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}
