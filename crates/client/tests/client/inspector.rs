//! The packet inspector: every packet, whole, in both directions.

use std::sync::{Arc, Mutex};

use gantline_client::{ConnectOptions, PacketDirection, QoS, ReasonCode};
use gantline_protocol::PacketType;
use gantline_protocol::packet::Packet;

use crate::peer::{ONCE, connected, message, publish};

#[tokio::test(start_paused = true)]
async fn an_inspector_sees_every_packet_whole_and_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let options = ConnectOptions::default().packet_inspector(move |direction, packet| {
        let kind = Packet::decode(packet, Default::default()).unwrap().packet_type();
        log.lock().unwrap().push((direction, kind, packet.len()));
    });
    let (client, mut peer) = connected(options).await;
    let mut messages = client.messages();
    // Large enough to be written and read in parts.
    let large = "x".repeat(300_000);
    let server = async {
        let packet_id = peer.expect_publish().await.delivery.packet_id().unwrap().get();
        let mut bytes = Vec::new();
        publish("a", &large, ONCE).encode(Default::default(), &mut bytes).unwrap();
        for part in bytes.chunks(1000) {
            peer.send_bytes(part).await;
        }
        peer.ack(Packet::PubAck, packet_id, ReasonCode::Success).await;
    };
    let (result, ()) = tokio::join!(client.publish(message("b", &large, QoS::AtLeastOnce)), server);
    result.unwrap();
    messages.next().await.unwrap();
    let (result, _) = tokio::join!(client.disconnect(), async {
        peer.expect_disconnect().await;
        drop(peer);
    });
    result.unwrap();
    let seen = seen.lock().unwrap();
    let of = |wanted| {
        let some = seen.iter().filter(move |(direction, ..)| *direction == wanted);
        some.map(|(_, kind, length)| (*kind, *length > 300_000)).collect::<Vec<_>>()
    };
    assert_eq!(
        of(PacketDirection::Sent),
        [(PacketType::Connect, false), (PacketType::Publish, true), (PacketType::Disconnect, false)]
    );
    assert_eq!(
        of(PacketDirection::Received),
        [(PacketType::ConnAck, false), (PacketType::Publish, true), (PacketType::PubAck, false)]
    );
}
