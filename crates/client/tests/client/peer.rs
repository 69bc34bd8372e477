//! A server that does what the test says, packet by packet, over a stream in memory.
//!
//! It reads and writes with the codec of the protocol crate and keeps no state, so that it can misbehave. Time is
//! virtual in these tests: [`Peer::hears_nothing`] waits until everybody waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use gantline_client::{Client, ConnectOptions, QoS, ReasonCode};
use gantline_protocol::packet::{
    Ack, ConnAck, Connect, Delivery, Disconnect, Packet, Publish, SubAck, Subscribe, UnsubAck,
};
use gantline_protocol::{
    AckProperties, FixedHeader, Message, PacketId, PacketType, ProtocolVersion, TopicName,
};
use gantline_transport::{Stream, memory};

pub(crate) struct Peer {
    stream: Stream,
    version: ProtocolVersion,
    unread: Vec<u8>,
    unsent: VecDeque<u8>,
}

/// A stream for the client, and the server at its other end.
pub(crate) fn pair() -> (Stream, Peer) {
    let (ours, theirs) = memory::pair();
    (ours, Peer::over(theirs))
}

/// A connected client.
pub(crate) async fn connected(options: ConnectOptions) -> (Client, Peer) {
    let (stream, mut peer) = pair();
    let (client, _) = tokio::join!(Client::connect_with(options, stream), peer.accept(ConnAck::default()));
    (client.unwrap(), peer)
}

/// Waits until the client has seen the end of its connection, if it has one.
pub(crate) async fn ended(client: &Client) {
    assert!(client.ping().await.is_err());
}

/// Connects a client again, to a server that answers with this CONNACK.
pub(crate) async fn reconnected(client: &Client, connack: ConnAck) -> (Connect, Peer) {
    ended(client).await;
    let (stream, mut peer) = pair();
    let (result, connect) = tokio::join!(client.reconnect_with(stream), peer.accept(connack));
    result.unwrap();
    (connect, peer)
}

/// A CONNACK that has the session.
pub(crate) fn session_present() -> ConnAck {
    ConnAck { session_present: true, ..ConnAck::default() }
}

impl Peer {
    pub(crate) fn over(stream: Stream) -> Self {
        Self { stream, version: ProtocolVersion::default(), unread: Vec::new(), unsent: VecDeque::new() }
    }

    /// The next packet of the client.
    pub(crate) async fn receive(&mut self) -> Packet {
        self.next().await.expect("a packet, not the end")
    }

    /// The client closes, having sent nothing more.
    pub(crate) async fn hears_the_end(&mut self) {
        if let Some(packet) = self.next().await {
            panic!("expected the end, got {packet:?}");
        }
    }

    /// The client sends nothing, however long one waits for what is not timed.
    pub(crate) async fn hears_nothing(&mut self) {
        if let Ok(packet) = tokio::time::timeout(Duration::from_millis(1), self.next()).await {
            panic!("expected nothing, got {packet:?}");
        }
    }

    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(header) = FixedHeader::parse(&self.unread).unwrap()
                && self.unread.len() >= header.frame_len()
            {
                let frame: Vec<u8> = self.unread.drain(..header.frame_len()).collect();
                let packet = Packet::decode(&frame, self.version).unwrap();
                if let Packet::Connect(connect) = &packet {
                    self.version = connect.version;
                }
                return Some(packet);
            }
            let mut buffer = [0; 4096];
            match poll_fn(|cx| self.stream.poll_read(cx, &mut buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    /// Cancel safe: what is not written is written first by the next call.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            // A client that has closed reads no more; the test finds out otherwise.
            let Ok(written) = poll_fn(|cx| self.stream.poll_write(cx, front)).await else {
                return self.unsent.clear();
            };
            self.unsent.drain(..written);
        }
    }

    /// Takes the CONNECT and answers it.
    pub(crate) async fn accept(&mut self, connack: ConnAck) -> Connect {
        let Packet::Connect(connect) = self.receive().await else { panic!("expected CONNECT") };
        self.send(Packet::ConnAck(Box::new(connack))).await;
        *connect
    }

    pub(crate) async fn refuse(&mut self, reason: ReasonCode) -> Connect {
        self.accept(ConnAck { reason, ..ConnAck::default() }).await
    }

    pub(crate) async fn expect_publish(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => *publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// The client acknowledges; returns kind, packet id and reason.
    pub(crate) async fn expect_ack(&mut self) -> (PacketType, u16, ReasonCode) {
        let packet = self.receive().await;
        let kind = packet.packet_type();
        match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                (kind, ack.packet_id.get(), ack.reason)
            }
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    pub(crate) async fn expect_disconnect(&mut self) -> Disconnect {
        match self.receive().await {
            Packet::Disconnect(disconnect) => disconnect,
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
    }

    /// Takes a SUBSCRIBE and answers it with these reasons.
    pub(crate) async fn grant(&mut self, reasons: &[ReasonCode]) -> Subscribe {
        let Packet::Subscribe(subscribe) = self.receive().await else { panic!("expected SUBSCRIBE") };
        self.send(Packet::SubAck(SubAck {
            packet_id: subscribe.packet_id,
            reasons: reasons.to_vec(),
            properties: AckProperties::default(),
        }))
        .await;
        subscribe
    }

    /// Takes an UNSUBSCRIBE, answers it and returns its filters.
    pub(crate) async fn expect_unsubscribe(&mut self, reason: ReasonCode) -> Vec<String> {
        let Packet::Unsubscribe(unsubscribe) = self.receive().await else { panic!("expected UNSUBSCRIBE") };
        let reasons = vec![reason; unsubscribe.filters.len()];
        let properties = AckProperties::default();
        self.send(Packet::UnsubAck(UnsubAck { packet_id: unsubscribe.packet_id, reasons, properties })).await;
        unsubscribe.filters.iter().map(ToString::to_string).collect()
    }

    /// Publishes to the client.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str, delivery: Delivery) {
        self.send(publish(topic, payload, delivery)).await;
    }

    pub(crate) async fn ack(&mut self, kind: fn(Ack) -> Packet, packet_id: u16, reason: ReasonCode) {
        self.send(kind(Ack { packet_id: id(packet_id), reason, properties: AckProperties::default() })).await;
    }
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn publish(topic: &str, payload: &str, delivery: Delivery) -> Packet {
    Packet::Publish(Box::new(Publish {
        dup: false,
        retain: false,
        topic: Some(TopicName::new(topic).unwrap()),
        delivery,
        payload: payload.to_owned().into(),
        properties: Default::default(),
    }))
}

pub(crate) fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    Message::new(topic, payload.to_owned()).unwrap().qos(qos)
}

pub(crate) fn text(message: &Message) -> &str {
    message.payload_str().unwrap()
}

pub(crate) const ONCE: Delivery = Delivery::AtMostOnce;

pub(crate) fn at_least_once(packet_id: u16) -> Delivery {
    Delivery::AtLeastOnce(id(packet_id))
}

pub(crate) fn exactly_once(packet_id: u16) -> Delivery {
    Delivery::ExactlyOnce(id(packet_id))
}
