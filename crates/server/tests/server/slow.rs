//! Slow consumers: bounds, holding back, and who must not suffer from whom.

use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gantline_protocol::packet::{Delivery, Packet, Publish};
use gantline_protocol::{PacketType, ProtocolVersion};
use gantline_server::{Overflow, QoS, ReasonCode, RunningServer, ServerOptions, Stream};
use gantline_transport::{PeerInfo, Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::peer::{
    Peer, clean, client, connected, encoded, lasting, publish, seconds_pass, server, server_with, settle,
    subscriber, text,
};

/// Sends PINGREQs without reading, then reads the answers.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_gets_all_answers() {
    let server = server().await;
    let mut peer = client(&server, "a").await;
    const PINGS: usize = 300_000;
    let bytes = encoded((0..PINGS).map(|_| Packet::PingReq), ProtocolVersion::default());
    let mut rest = &bytes[..];
    // As much as goes without reading.
    while let Ok(()) = tokio::time::timeout(Duration::from_millis(5), peer.send_bytes(&rest[..2])).await {
        rest = &rest[2..];
        if rest.is_empty() {
            break;
        }
    }
    let sent = (bytes.len() - rest.len()) / 2;
    assert!(sent < PINGS, "the server reads without bound");
    for number in 0..sent {
        assert_eq!(peer.receive().await, Packet::PingResp, "{number}");
    }
}

/// Two clients with tiny mailboxes publish QoS 1 to each other as fast as they can.
#[tokio::test(start_paused = true)]
async fn two_clients_that_publish_to_each_other_do_not_lock_up() {
    let server = server_with(ServerOptions::default().max_queued_messages(8).receive_maximum(100)).await;
    let (mut peers, began) = (Vec::new(), Instant::now());
    for (own, other) in [("a", "b"), ("b", "a")] {
        let mut connect = clean(own);
        connect.properties.receive_maximum = NonZeroU16::new(2);
        let peer = subscriber(&server, connect, &[own], QoS::AtLeastOnce).await;
        peers.push(tokio::spawn(talk(peer, other)));
    }
    for peer in peers {
        assert_eq!(peer.await.unwrap(), 2_000);
    }
    // Nobody is held back for the whole time: acknowledgements are read all the same.
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
}

/// Publishes 2,000 messages, 50 at a time, acknowledges whatever comes, and returns how many were acknowledged.
async fn talk(mut peer: Peer, to: &str) -> usize {
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < 2_000 {
        while sent < 2_000 && sent - acknowledged < 50 {
            let publish = peer.made(to, "x", QoS::AtLeastOnce);
            peer.send(Packet::Publish(Box::new(publish))).await;
            sent += 1;
        }
        match peer.receive().await {
            Packet::PubAck(_) => acknowledged += 1,
            Packet::Publish(publish) => {
                let id = publish.delivery.packet_id().unwrap().get();
                peer.ack(Packet::PubAck, id, ReasonCode::Success).await;
            }
            other => panic!("{other:?}"),
        }
    }
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn a_client_that_floods_its_own_subscription_goes_on() {
    let server = server_with(ServerOptions::default().max_queued_messages(16)).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut peer = subscriber(&server, clean("a"), &["t"], qos).await;
        for round in 0..20 {
            let packets: Vec<_> =
                (0..40).map(|_| Packet::Publish(Box::new(peer.made("t", "x", qos)))).collect();
            peer.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
            peer.send(Packet::PingReq).await;
            loop {
                match peer.receive().await {
                    Packet::PingResp => break,
                    Packet::Publish(publish) => {
                        if let Delivery::AtLeastOnce(id) = publish.delivery {
                            peer.ack(Packet::PubAck, id.get(), ReasonCode::Success).await;
                        }
                    }
                    Packet::PubAck(_) => {}
                    other => panic!("{round}: {other:?}"),
                }
            }
        }
        peer.goes().await;
    }
}

/// A subscriber that has one message in flight, which it does not acknowledge, and `queued` behind it.
async fn stuck(server: &RunningServer, other: &mut Peer, queued: usize) -> (Peer, u16) {
    let mut connect = clean("stuck");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let mut peer = subscriber(server, connect, &["t"], QoS::AtLeastOnce).await;
    other.publish("t", "first", QoS::AtLeastOnce).await;
    let id = peer.publish_packet().await.delivery.packet_id().unwrap().get();
    for number in 0..queued {
        other.publish("t", &number.to_string(), QoS::AtLeastOnce).await;
    }
    (peer, id)
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_from_a_publisher_that_is_held_back_is_not_taken_again_after_a_takeover() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let mut other = client(&server, "b").await;
    let (mut peer, id) = stuck(&server, &mut other, 2).await;
    // It has something in flight, so it is read even while it is held back.
    let mut held = subscriber(&server, lasting("held", 100), &["own"], QoS::AtLeastOnce).await;
    other.publish("own", "x", QoS::AtLeastOnce).await;
    held.publish_packet().await;
    for number in 2..6 {
        held.publish("t", &number.to_string(), QoS::ExactlyOnce).await;
    }
    let publishes: Vec<_> =
        (6..9).map(|number| held.made("t", &number.to_string(), QoS::ExactlyOnce)).collect();
    let packets = publishes.iter().map(|publish| Packet::Publish(Box::new(publish.clone())));
    held.send_bytes(&encoded(packets, ProtocolVersion::default())).await;
    held.hears_nothing().await;
    let mut again = connected(&server, lasting("held", 100)).await;
    for publish in publishes {
        again.complete(Publish { dup: true, ..publish }).await;
    }
    peer.ack(Packet::PubAck, id, ReasonCode::Success).await;
    assert_eq!(peer.texts(9).await, (0..9).map(|number| number.to_string()).collect::<Vec<_>>());
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_oldest_makes_room_by_default() {
    let server = server_with(ServerOptions::default().max_queued_messages(10)).await;
    let mut other = client(&server, "b").await;
    let (mut peer, id) = stuck(&server, &mut other, 25).await;
    assert_eq!(server.metrics().dropped.total(), 15);
    peer.ack(Packet::PubAck, id, ReasonCode::Success).await;
    assert_eq!(peer.texts(10).await, (15..25).map(|number| number.to_string()).collect::<Vec<_>>());
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_dropped_if_that_is_the_policy() {
    let options = ServerOptions::default().max_queued_messages(10).overflow(Overflow::DropNewest);
    let server = server_with(options).await;
    let mut other = client(&server, "b").await;
    let (mut peer, id) = stuck(&server, &mut other, 25).await;
    assert_eq!(server.metrics().dropped.total(), 15);
    peer.ack(Packet::PubAck, id, ReasonCode::Success).await;
    assert_eq!(peer.texts(10).await, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    peer.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_client_is_disconnected_if_that_is_the_policy() {
    let options = ServerOptions::default().max_queued_messages(10).overflow(Overflow::Disconnect);
    let server = server_with(options).await;
    let mut other = client(&server, "b").await;
    let (mut peer, _) = stuck(&server, &mut other, 10).await;
    assert_eq!(server.metrics().dropped.total(), 0);
    peer.hears_nothing().await;
    other.publish("t", "too many", QoS::AtLeastOnce).await;
    assert_eq!(server.metrics().dropped.total(), 1);
    peer.is_disconnected(ReasonCode::QuotaExceeded).await;
    // The next connection of the client begins anew.
    client(&server, "stuck").await.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too_and_one_message_always_has_room() {
    let server = server_with(ServerOptions::default().max_queued_bytes(10_000)).await;
    let mut other = client(&server, "b").await;
    let (mut peer, id) = stuck(&server, &mut other, 0).await;
    for size in [3_000, 3_000, 3_000, 3_000, 50_000] {
        other.publish("t", &"x".repeat(size), QoS::AtLeastOnce).await;
    }
    assert_eq!(server.metrics().dropped.total(), 4);
    peer.ack(Packet::PubAck, id, ReasonCode::Success).await;
    assert_eq!(peer.text().await.len(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn qos_0_for_a_client_that_does_not_read_is_bounded_and_counted() {
    let server = server_with(ServerOptions::default().max_queued_messages(50)).await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..1_000 {
        other.publish("t", &format!("{number:04000}"), QoS::AtMostOnce).await;
    }
    other.ping().await;
    let dropped = server.metrics().dropped.total();
    assert!(dropped > 700, "{dropped}");
    let mut last = None;
    for _ in 0..1_000 - dropped {
        let number: u32 = peer.text().await.parse().unwrap();
        assert!(last.is_none_or(|last| last < number));
        last = Some(number);
    }
    assert_eq!(last, Some(999));
    peer.hears_nothing().await;
    assert_eq!(server.metrics().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn one_frozen_client_delays_nobody_for_more_than_50_ms() {
    let server = server_with(ServerOptions::default().max_queued_messages(20)).await;
    let mut other = client(&server, "b").await;
    let (frozen, _) = stuck(&server, &mut other, 0).await;
    let mut quick = subscriber(&server, clean("quick"), &["t"], QoS::AtLeastOnce).await;
    let mut publishers = [other, client(&server, "c").await, client(&server, "d").await];
    let began = Instant::now();
    for round in 0..100 {
        for publisher in &mut publishers {
            let before = Instant::now();
            publisher.publish("t", &round.to_string(), QoS::AtLeastOnce).await;
            quick.text().await;
            assert!(before.elapsed() <= Duration::from_millis(51), "{:?}", before.elapsed());
        }
    }
    // Once each at most, and behind the first nobody is waited for.
    assert!(began.elapsed() <= Duration::from_millis(160), "{:?}", began.elapsed());
    let metrics = server.metrics();
    assert!(metrics.quarantines == 1 && (1..=3).contains(&metrics.holds), "{metrics:?}");
    drop(frozen);
}

/// Its socket is full long before its mailbox is half full, so there is nothing to wait for any more.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_client_whose_socket_took_nothing_for_long() {
    let server = server_with(ServerOptions::default().max_queued_messages(40)).await;
    let frozen = subscriber(&server, clean("frozen"), &["t"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "b").await;
    for number in 0..500 {
        let before = Instant::now();
        other.publish("t", &format!("{number:04000}"), QoS::AtLeastOnce).await;
        assert_eq!(before.elapsed(), Duration::ZERO, "{number}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(server.metrics().dropped.total() > 0, "{:?}", server.metrics());
    drop(frozen);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_is_held_back_while_its_receiver_works_off_a_burst() {
    let server = server_with(ServerOptions::default().max_queued_messages(100).receive_maximum(20)).await;
    let mut connect = clean("slow");
    connect.properties.receive_maximum = NonZeroU16::new(10);
    let mut slow = subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await;
    let mut fast = client(&server, "fast").await;
    let publisher = tokio::spawn(async move {
        let (mut sent, mut open) = (0, 0);
        while sent < 400 || open > 0 {
            while sent < 400 && open < 20 {
                let publish = fast.made("t", &sent.to_string(), QoS::AtLeastOnce);
                fast.send(Packet::Publish(Box::new(publish))).await;
                sent += 1;
                open += 1;
            }
            fast.expect(PacketType::PubAck).await;
            open -= 1;
        }
    });
    for number in 0..400 {
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(slow.text().await, number.to_string());
    }
    publisher.await.unwrap();
    let metrics = server.metrics();
    assert_eq!((metrics.dropped.total(), metrics.quarantines), (0, 0));
    assert!(metrics.holds > 0);
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_all_clients_bounds_them_together() {
    let server = server_with(ServerOptions::default().max_queued_bytes_in_all(100_000)).await;
    let mut other = client(&server, "b").await;
    let mut peers = Vec::new();
    for number in 0..20 {
        let mut connect = clean(&number.to_string());
        connect.properties.receive_maximum = NonZeroU16::new(1);
        peers.push(subscriber(&server, connect, &["t"], QoS::AtLeastOnce).await);
    }
    for _ in 0..20 {
        other.publish("t", &"x".repeat(2_000), QoS::AtLeastOnce).await;
    }
    let metrics = server.metrics();
    assert!(metrics.queued_bytes <= 100_000 && metrics.dropped.total() > 0, "{metrics:?}");
    drop(peers);
    settle().await;
    assert_eq!(server.metrics().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up_if_it_is_silent_too() {
    let server = server().await;
    let mut connect = clean("a");
    connect.keep_alive = 10;
    let peer = subscriber(&server, connect, &["t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    for _ in 0..100 {
        other.publish("t", &"x".repeat(4_000), QoS::AtMostOnce).await;
    }
    seconds_pass(18).await;
    assert_eq!(server.metrics().connections, 1);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_large_messages_comes_whole_to_a_reader_that_keeps_up() {
    let server = server().await;
    let mut peer = subscriber(&server, clean("a"), &["t"], QoS::AtMostOnce).await;
    let mut other = client(&server, "b").await;
    let sender = tokio::spawn(async move {
        for number in 0..200_u32 {
            let zeros = (number as usize * 7_919) % 150_000;
            let payload = format!("{}{number}", "0".repeat(zeros));
            other.send(Packet::Publish(Box::new(publish("t", &payload, Delivery::AtMostOnce)))).await;
        }
        other.ping().await;
    });
    for number in 0..200_u32 {
        assert_eq!(text(&peer.message().await).parse(), Ok(number));
    }
    sender.await.unwrap();
}

/// A stream whose writes, but for the first, wait until a gate opens, and then all succeed at once.
struct Gated {
    input: Vec<u8>,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    waiting: Option<Waker>,
    written: usize,
    last: Option<u8>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let count = buffer.remaining().min(self.input.len());
        buffer.put_slice(&self.input[..count]);
        self.input.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut gate = self.gate.lock().unwrap();
        if gate.written > 0 && !gate.open {
            gate.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        gate.written += bytes.len();
        gate.last = bytes.last().copied();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_answers_all_go_at_once_is_read_again() {
    let server = server().await;
    let gate = pings_behind_a_gate(&server, 400_000).await;
    open(&gate).await;
    // A PINGRESP is as long as a PINGREQ; CONNACK is on top.
    assert!(gate.lock().unwrap().written > 2 * 400_000);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_says_so_behind_answers_that_did_not_go_at_once() {
    let server = server().await;
    let gate = pings_behind_a_gate(&server, 1_000).await;
    let said = async {
        settle().await;
        assert!(gate.lock().unwrap().written < 2 * 1_000);
        open(&gate).await;
        let gate = gate.lock().unwrap();
        let disconnect = Some(ReasonCode::ServerShuttingDown.value());
        assert!(
            gate.written > 2 * 1_000 && gate.last == disconnect,
            "{} bytes, {:?}",
            gate.written,
            gate.last
        );
    };
    tokio::join!(server.shutdown(Duration::from_secs(5)), said);
}

/// A client whose CONNACK has gone, and the answers to these pings wait.
async fn pings_behind_a_gate(server: &RunningServer, pings: usize) -> Arc<Mutex<Gate>> {
    let connect = encoded([Packet::Connect(Box::new(clean("a")))], ProtocolVersion::default());
    let gate = Arc::new(Mutex::new(Gate::default()));
    let input = [&connect[..], &[0xC0, 0].repeat(pings)].concat();
    let stream = Gated { input, gate: Arc::clone(&gate) };
    server.serve(Stream::from_io(stream, PeerInfo::new(Scheme::Memory, "server", "client")));
    settle().await;
    gate
}

async fn open(gate: &Mutex<Gate>) {
    let waiting = {
        let mut gate = gate.lock().unwrap();
        gate.open = true;
        gate.waiting.take().unwrap()
    };
    waiting.wake();
    settle().await;
}
