//! A client that does what the test says, packet by packet, over a stream in memory.
//!
//! It reads and writes with the codec of the protocol crate and keeps no state but what it has not looked at, so that
//! it can misbehave. Time is virtual in most of these tests: [`Peer::hears_nothing`] waits until everybody waits.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use gantline_protocol::packet::{
    Ack, ConnAck, Connect, Delivery, Disconnect, Packet, Publish, Subscribe, SubscribeFilter, Unsubscribe,
};
use gantline_protocol::{
    AckProperties, DisconnectProperties, FixedHeader, PacketId, PacketType, ProtocolVersion,
    PublishProperties, SubscribeProperties, SubscriptionOptions, TopicFilter, TopicName,
    UnsubscribeProperties, Will, WillProperties,
};
use gantline_server::{QoS, ReasonCode, RunningServer, Server, ServerOptions, Stream};
use gantline_transport::memory;

pub(crate) const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

pub(crate) struct Peer {
    stream: Stream,
    version: ProtocolVersion,
    unread: Vec<u8>,
    /// Packets that came before the one that was asked for.
    aside: VecDeque<Packet>,
    last_id: u16,
}

/// A server that listens nowhere.
pub(crate) async fn server() -> RunningServer {
    server_with(ServerOptions::default()).await
}

pub(crate) async fn server_with(options: ServerOptions) -> RunningServer {
    Server::new(options).start().await.unwrap()
}

/// A connection that has not said anything.
pub(crate) fn stranger(server: &RunningServer) -> Peer {
    let (ours, theirs) = memory::pair();
    server.serve(theirs);
    Peer::over(ours)
}

/// A connection that was answered with this CONNACK.
pub(crate) async fn answered(server: &RunningServer, connect: Connect) -> (Peer, ConnAck) {
    let mut peer = stranger(server);
    let connack = peer.introduce(connect).await;
    (peer, connack)
}

/// A client that was accepted.
pub(crate) async fn connected(server: &RunningServer, connect: Connect) -> Peer {
    let (peer, connack) = answered(server, connect).await;
    assert_eq!(connack.reason, ReasonCode::Success);
    peer
}

/// A 5.0 client whose session ends with its connection.
pub(crate) async fn client(server: &RunningServer, id: &str) -> Peer {
    connected(server, clean(id)).await
}

/// A client that is accepted and has these subscriptions.
pub(crate) async fn subscriber(server: &RunningServer, connect: Connect, filters: &[&str], qos: QoS) -> Peer {
    let mut peer = connected(server, connect).await;
    for filter in filters {
        assert!(!peer.subscribe(filter, qos).await.is_error());
    }
    peer
}

/// CONNECT of a client whose session ends with its connection.
pub(crate) fn clean(id: &str) -> Connect {
    Connect { client_id: id.to_owned(), clean_start: true, ..Connect::default() }
}

/// DISCONNECT of a client that needs no will.
pub(crate) fn goodbye() -> Disconnect {
    Disconnect { reason: ReasonCode::Success, properties: DisconnectProperties::default() }
}

/// CONNECT of a client whose session goes on for so many seconds.
pub(crate) fn lasting(id: &str, seconds: u32) -> Connect {
    let mut connect = Connect { clean_start: false, ..clean(id) };
    connect.properties.session_expiry_interval = Some(seconds);
    connect
}

/// CONNECT in any version; the session goes on if `clean` is false.
pub(crate) fn of_version(version: ProtocolVersion, id: &str, clean_start: bool) -> Connect {
    let mut connect = Connect { version, clean_start, ..clean(id) };
    if version.has_properties() && !clean_start {
        connect.properties.session_expiry_interval = Some(3_600);
    }
    connect
}

pub(crate) fn will(topic: &str, payload: &str, delay: u32) -> Option<Will> {
    let properties =
        WillProperties { will_delay_interval: (delay > 0).then_some(delay), ..WillProperties::default() };
    Some(Will {
        topic: TopicName::new(topic).unwrap(),
        payload: payload.to_owned().into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties,
    })
}

impl Peer {
    pub(crate) fn over(stream: Stream) -> Self {
        let version = ProtocolVersion::default();
        Self { stream, version, unread: Vec::new(), aside: VecDeque::new(), last_id: 0 }
    }

    /// Sends CONNECT and waits for the answer.
    pub(crate) async fn introduce(&mut self, connect: Connect) -> ConnAck {
        self.version = connect.version;
        self.send(Packet::Connect(Box::new(connect))).await;
        self.connack().await
    }

    pub(crate) fn speaks(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    // ---- what comes ----

    pub(crate) async fn connack(&mut self) -> ConnAck {
        match self.receive().await {
            Packet::ConnAck(connack) => *connack,
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// The next packet of the server.
    pub(crate) async fn receive(&mut self) -> Packet {
        let next = tokio::time::timeout(PATIENCE, self.next()).await;
        next.expect("a packet, not silence").expect("a packet, not the end")
    }

    /// The next packet of this kind; others are put aside.
    pub(crate) async fn expect(&mut self, kind: PacketType) -> Packet {
        if let Some(position) = self.aside.iter().position(|packet| packet.packet_type() == kind) {
            return self.aside.remove(position).unwrap();
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.read()).await;
            let packet = next.unwrap_or_else(|_| panic!("silence, waiting for {kind:?}"));
            let packet = packet.unwrap_or_else(|| panic!("the end, waiting for {kind:?}"));
            if packet.packet_type() == kind {
                return packet;
            }
            self.aside.push_back(packet);
        }
    }

    /// The server closes, having sent nothing more.
    pub(crate) async fn hears_the_end(&mut self) {
        match tokio::time::timeout(PATIENCE, self.next()).await {
            Ok(None) => {}
            other => panic!("expected the end, got {other:?}"),
        }
    }

    /// The server sends nothing, however long one waits for what is not timed.
    pub(crate) async fn hears_nothing(&mut self) {
        if let Ok(packet) = tokio::time::timeout(Duration::from_millis(1), self.next()).await {
            panic!("expected nothing, got {packet:?}");
        }
    }

    /// The server says DISCONNECT with this reason and closes.
    pub(crate) async fn is_disconnected(&mut self, reason: ReasonCode) {
        match self.expect(PacketType::Disconnect).await {
            Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, reason),
            other => panic!("expected DISCONNECT, got {other:?}"),
        }
        assert!(tokio::time::timeout(PATIENCE, self.read()).await.unwrap().is_none());
    }

    /// The next message, not acknowledged.
    pub(crate) async fn publish_packet(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => *publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// The next message, acknowledged; its QoS 2 flow is completed as packets come.
    pub(crate) async fn message(&mut self) -> Publish {
        loop {
            match self.receive().await {
                Packet::PubRel(ack) => {
                    self.ack(Packet::PubComp, ack.packet_id.get(), ReasonCode::Success).await
                }
                Packet::Publish(publish) => {
                    match publish.delivery {
                        Delivery::AtMostOnce => {}
                        Delivery::AtLeastOnce(id) => {
                            self.ack(Packet::PubAck, id.get(), ReasonCode::Success).await
                        }
                        Delivery::ExactlyOnce(id) => {
                            self.ack(Packet::PubRec, id.get(), ReasonCode::Success).await
                        }
                    }
                    return *publish;
                }
                other => panic!("expected PUBLISH, got {other:?}"),
            }
        }
    }

    /// The payload of the next message, which is acknowledged.
    pub(crate) async fn text(&mut self) -> String {
        text(&self.message().await)
    }

    /// Completes the flow of the message with QoS 2 that came last.
    pub(crate) async fn complete_last(&mut self) {
        let Packet::PubRel(release) = self.expect(PacketType::PubRel).await else { unreachable!() };
        self.ack(Packet::PubComp, release.packet_id.get(), ReasonCode::Success).await;
    }

    /// The payloads of the next messages.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.text().await);
        }
        texts
    }

    /// The next packet, or the end.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        self.next().await
    }

    async fn next(&mut self) -> Option<Packet> {
        match self.aside.pop_front() {
            Some(packet) => Some(packet),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(header) = FixedHeader::parse(&self.unread).unwrap()
                && self.unread.len() >= header.frame_len()
            {
                let frame: Vec<u8> = self.unread.drain(..header.frame_len()).collect();
                return Some(Packet::decode(&frame, self.version).unwrap());
            }
            let mut buffer = vec![0; 16 << 10];
            match poll_fn(|cx| self.stream.poll_read(cx, &mut buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    // ---- what goes ----

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written =
                tokio::time::timeout(PATIENCE, poll_fn(|cx| self.stream.poll_write(cx, bytes))).await;
            // A server that has closed reads no more; the test finds out otherwise.
            let Ok(written) = written.expect("the server reads") else { return };
            bytes = &bytes[written..];
        }
    }

    /// Whether the server still reads what is sent.
    pub(crate) async fn is_read(&mut self) -> bool {
        poll_fn(|cx| self.stream.poll_write(cx, &[0xFF])).await.is_ok()
    }

    /// Says that nothing more comes, and goes on listening.
    pub(crate) async fn falls_silent(&mut self) {
        poll_fn(|cx| self.stream.poll_shutdown(cx)).await.unwrap();
    }

    /// Publishes, completes the flow, and returns what the server said.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> ReasonCode {
        let packet = self.made(topic, payload, qos);
        self.complete(packet).await
    }

    pub(crate) async fn publish_retained(&mut self, topic: &str, payload: &str, qos: QoS) -> ReasonCode {
        let packet = Publish { retain: true, ..self.made(topic, payload, qos) };
        self.complete(packet).await
    }

    /// Sends PUBLISH and completes its flow.
    pub(crate) async fn complete(&mut self, publish: Publish) -> ReasonCode {
        let delivery = publish.delivery;
        self.send(Packet::Publish(Box::new(publish))).await;
        match delivery {
            Delivery::AtMostOnce => ReasonCode::Success,
            Delivery::AtLeastOnce(id) => self.ack_of(PacketType::PubAck, id).await,
            Delivery::ExactlyOnce(id) => {
                let reason = self.ack_of(PacketType::PubRec, id).await;
                if !reason.is_error() {
                    self.ack(Packet::PubRel, id.get(), ReasonCode::Success).await;
                    assert_eq!(self.ack_of(PacketType::PubComp, id).await, ReasonCode::Success);
                }
                reason
            }
        }
    }

    /// A PUBLISH with the next packet id.
    pub(crate) fn made(&mut self, topic: &str, payload: &str, qos: QoS) -> Publish {
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce(self.next_id()),
            QoS::ExactlyOnce => Delivery::ExactlyOnce(self.next_id()),
        };
        publish(topic, payload, delivery)
    }

    pub(crate) fn next_id(&mut self) -> PacketId {
        self.last_id = self.last_id % 60_000 + 1;
        id(self.last_id)
    }

    /// Waits for an acknowledgement of a flow.
    pub(crate) async fn ack_of(&mut self, kind: PacketType, packet_id: PacketId) -> ReasonCode {
        match self.expect(kind).await {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                assert_eq!(ack.packet_id, packet_id);
                ack.reason
            }
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self, kind: fn(Ack) -> Packet, packet_id: u16, reason: ReasonCode) {
        self.send(kind(Ack { packet_id: id(packet_id), reason, properties: AckProperties::default() })).await;
    }

    /// Subscribes to one filter and returns what was granted.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> ReasonCode {
        self.subscribe_with(&[(filter, options(qos))], None).await[0]
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let packet_id = self.next_id();
        self.send(Packet::Subscribe(subscribe(packet_id, filters, identifier))).await;
        match self.expect(PacketType::SubAck).await {
            Packet::SubAck(suback) if suback.packet_id == packet_id => suback.reasons,
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    pub(crate) async fn unsubscribe(&mut self, filters: &[&str]) -> Vec<ReasonCode> {
        let packet_id = self.next_id();
        let filters = filters.iter().map(|filter| TopicFilter::new(*filter).unwrap()).collect();
        let properties = UnsubscribeProperties::default();
        self.send(Packet::Unsubscribe(Unsubscribe { packet_id, filters, properties })).await;
        match self.expect(PacketType::UnsubAck).await {
            Packet::UnsubAck(unsuback) if unsuback.packet_id == packet_id => unsuback.reasons,
            other => panic!("expected UNSUBACK, got {other:?}"),
        }
    }

    /// Waits until the server has handled all that was sent before.
    pub(crate) async fn ping(&mut self) {
        self.send(Packet::PingReq).await;
        self.expect(PacketType::PingResp).await;
    }

    /// Says goodbye and waits until the server has closed.
    pub(crate) async fn leave(mut self, reason: ReasonCode, expiry: Option<u32>) {
        let properties =
            DisconnectProperties { session_expiry_interval: expiry, ..DisconnectProperties::default() };
        self.send(Packet::Disconnect(Disconnect { reason, properties })).await;
        while self.read().await.is_some() {}
    }

    /// Says a plain goodbye.
    pub(crate) async fn goes(self) {
        self.leave(ReasonCode::Success, None).await;
    }

    /// Ends as a network failure does, and waits until the server has noticed.
    pub(crate) async fn vanishes(self) {
        drop(self);
        settle().await;
    }
}

/// Lets all others go on until they wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Lets virtual time pass, and what is due happen.
pub(crate) async fn seconds_pass(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 150)).await;
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions::default().maximum_qos(qos)
}

pub(crate) fn publish(topic: &str, payload: &str, delivery: Delivery) -> Publish {
    Publish {
        dup: false,
        retain: false,
        topic: (!topic.is_empty()).then(|| TopicName::new(topic).unwrap()),
        delivery,
        payload: payload.to_owned().into(),
        properties: PublishProperties::default(),
    }
}

pub(crate) fn subscribe(
    packet_id: PacketId,
    filters: &[(&str, SubscriptionOptions)],
    identifier: Option<u32>,
) -> Subscribe {
    let filters = filters.iter().map(|(filter, options)| SubscribeFilter {
        filter: TopicFilter::new(*filter).unwrap(),
        options: *options,
    });
    let properties =
        SubscribeProperties { subscription_identifier: identifier, ..SubscribeProperties::default() };
    Subscribe { packet_id, filters: filters.collect(), properties }
}

pub(crate) fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

/// The bytes of packets, one behind the other.
pub(crate) fn encoded(packets: impl IntoIterator<Item = Packet>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.into_iter().for_each(|packet| packet.encode(version, &mut bytes).unwrap());
    bytes
}

/// Longer than anything takes that is not timed.
const PATIENCE: Duration = Duration::from_secs(60);
