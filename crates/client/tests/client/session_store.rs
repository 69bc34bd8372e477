//! A session in a store: what a restarted process goes on with, and what becomes of it otherwise.
//!
//! A process that is killed is a client with a copy of the log as it was at that moment.

mod ownership;
mod waiting;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use gantline_client::{
    Client, ConnectError, ConnectOptions, ConnectionInfo, Progress, ProtocolVersion, PublishError, QoS,
    ReasonCode, SessionChange, SessionStore, StoreError, async_trait,
};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::sync::watch;

use crate::peer::{Peer, ended, exactly_once, message, pair, reconnected, session_present, text};

/// A log in memory that can be blocked, or fail.
#[derive(Debug)]
struct Log {
    changes: Mutex<Vec<SessionChange>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Works,
    Blocks,
    Fails,
}

impl Log {
    fn new() -> Arc<Self> {
        Self::of(Vec::new())
    }

    fn of(changes: Vec<SessionChange>) -> Arc<Self> {
        Arc::new(Self { changes: Mutex::new(changes), state: watch::Sender::new(State::Works) })
    }

    /// What a process finds that starts now.
    fn copy(&self) -> Arc<Self> {
        Self::of(self.changes.lock().unwrap().clone())
    }

    fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    async fn works(&self) -> Result<(), StoreError> {
        let state = *self.state.subscribe().wait_for(|state| *state != State::Blocks).await.unwrap();
        match state {
            State::Fails => Err(StoreError::new("cannot write the log", "disk full")),
            State::Works | State::Blocks => Ok(()),
        }
    }
}

#[async_trait]
impl SessionStore for Log {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        self.works().await?;
        self.changes.lock().unwrap().iter().cloned().for_each(found);
        Ok(())
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        self.works().await?;
        self.changes.lock().unwrap().extend(changes);
        Ok(())
    }
}

fn options(log: &Arc<Log>) -> ConnectOptions {
    let options = ConnectOptions::default().client_id("kitchen").unwrap().clean_start(false);
    options.session_expiry(Duration::from_secs(3600)).session_store(Arc::clone(log))
}

/// A client of a process that starts with these options, and its server.
async fn started_with(options: ConnectOptions, connack: ConnAck) -> (Client, Peer) {
    let client = Client::new(options);
    let (_, peer) = reconnected(&client, connack).await;
    (client, peer)
}

/// A client of a process that starts with this log, and its server.
async fn started(log: &Arc<Log>, connack: ConnAck) -> (Client, Peer, Arc<ConnectionInfo>) {
    let client = Client::new(options(log));
    let (connect, peer) = reconnected(&client, connack).await;
    assert!(!connect.clean_start);
    let info = client.connection().unwrap();
    (client, peer, info)
}

/// A client with a new session, and its server.
async fn begun() -> (Arc<Log>, Client, Peer) {
    let log = Log::new();
    let (client, peer, _) = started(&log, ConnAck::default()).await;
    (log, client, peer)
}

/// The same with a message in flight: "1", of QoS 1 and under the packet id 1.
async fn one_in_flight() -> (Arc<Log>, Client, Peer) {
    let (log, client, mut peer) = begun().await;
    transfer(&client, &mut peer, "1", QoS::AtLeastOnce).await;
    (log, client, peer)
}

async fn send(client: &Client, payload: &str, qos: QoS) {
    drop(client.publish(message("a", payload, qos)).queued().await.unwrap());
}

/// Sends a message, which reaches the server.
async fn transfer(client: &Client, peer: &mut Peer, payload: &str, qos: QoS) {
    send(client, payload, qos).await;
    peer.expect_publish().await;
}

/// The server has the message with this packet id: PUBREC is answered with PUBREL.
async fn release(peer: &mut Peer, packet_id: u16) {
    peer.ack(Packet::PubRec, packet_id, ReasonCode::Success).await;
    expect_pubrel(peer, packet_id).await;
}

async fn expect_pubrel(peer: &mut Peer, packet_id: u16) {
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, packet_id, ReasonCode::Success));
}

/// The next PUBLISH: its payload, packet id and DUP.
async fn publish(peer: &mut Peer) -> (String, u16, bool) {
    let publish = peer.expect_publish().await;
    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
    (payload, publish.delivery.packet_id().unwrap().get(), publish.dup)
}

/// The next PUBLISH is a message that was sent before, with the id that it had.
async fn expect_again(peer: &mut Peer, payload: &str, packet_id: u16) {
    assert_eq!(publish(peer).await, (payload.to_owned(), packet_id, true));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_sends_again_what_was_in_flight() {
    let (log, client, mut peer) = begun().await;
    for (payload, qos) in [
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
        ("3", QoS::ExactlyOnce),
        ("4", QoS::AtLeastOnce),
        ("5", QoS::ExactlyOnce),
    ] {
        transfer(&client, &mut peer, payload, qos).await;
    }
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    release(&mut peer, 2).await;
    peer.hears_nothing().await;

    let (client, mut peer, info) = started(&log.copy(), session_present()).await;
    assert_eq!(info.lost, 0);
    for (payload, packet_id) in [("3", 3), ("4", 4), ("5", 5)] {
        expect_again(&mut peer, payload, packet_id).await;
    }
    expect_pubrel(&mut peer, 2).await;
    // What is new goes behind, under an id that is free.
    send(&client, "6", QoS::AtLeastOnce).await;
    assert_eq!(publish(&mut peer).await, ("6".to_owned(), 6, false));
}

#[tokio::test(start_paused = true)]
async fn older_versions_go_on_too() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let options = |log: &Arc<Log>| {
            let options = ConnectOptions::default().version(version).client_id("kitchen").unwrap();
            options.clean_start(false).session_store(Arc::clone(log))
        };
        let log = Log::new();
        let (client, mut peer) = started_with(options(&log), ConnAck::default()).await;
        for (payload, qos) in [("1", QoS::ExactlyOnce), ("2", QoS::AtLeastOnce)] {
            transfer(&client, &mut peer, payload, qos).await;
        }
        release(&mut peer, 1).await;

        // 3.1 has no way to say that the session is there.
        let session_present = version.has_session_present();
        let connack = ConnAck { session_present, ..ConnAck::default() };
        let (_client, mut peer) = started_with(options(&log.copy()), connack).await;
        assert_eq!(publish(&mut peer).await, ("2".to_owned(), 2, true), "{version}");
        assert_eq!(peer.expect_ack().await.0, PacketType::PubRel, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_knows_what_it_has_taken() {
    let (log, client, mut peer) = begun().await;
    let mut messages = client.messages();
    for packet_id in [1, 2, 3] {
        peer.publish("a", "x", exactly_once(packet_id)).await;
    }
    // The third one is not taken.
    for packet_id in [1, 2] {
        messages.next().await.unwrap();
        assert_eq!(peer.expect_ack().await, (PacketType::PubRec, packet_id, ReasonCode::Success));
    }
    peer.ack(Packet::PubRel, 1, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubComp, 1, ReasonCode::Success));

    let client = Client::new(options(&log.copy()));
    let mut messages = client.messages();
    let (_, mut peer) = reconnected(&client, session_present()).await;
    for (packet_id, payload) in [(2, "again"), (3, "new to the application"), (1, "new")] {
        peer.publish("a", payload, exactly_once(packet_id)).await;
    }
    assert_eq!(peer.expect_ack().await, (PacketType::PubRec, 2, ReasonCode::Success));
    assert_eq!(text(&messages.next().await.unwrap()), "new to the application");
    assert_eq!(text(&messages.next().await.unwrap()), "new");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_session_that_the_server_has_lost_are_offered() {
    let (log, client, mut peer) = begun().await;
    for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::ExactlyOnce)] {
        drop(client.publish(message("a", payload, qos).expiry(60)).queued().await.unwrap());
        peer.expect_publish().await;
    }
    release(&mut peer, 2).await;

    let restarted = log.copy();
    let (client, mut peer, info) = started(&restarted, ConnAck::default()).await;
    let undelivered: Vec<(&str, QoS)> =
        info.undelivered.iter().map(|message| (text(message), message.qos_level())).collect();
    // The server has the second one.
    assert_eq!((info.lost, undelivered), (3, vec![("1", QoS::AtLeastOnce), ("3", QoS::ExactlyOnce)]));
    let expiry = info.undelivered[0].properties().message_expiry_interval;
    assert!(expiry.is_some_and(|seconds| (59..=60).contains(&seconds)), "{expiry:?}");
    peer.hears_nothing().await;
    client.disconnect().await.unwrap();

    // They were offered once.
    let (_, _, info) = started(&restarted.copy(), session_present()).await;
    assert_eq!(info.lost, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_loses_nothing() {
    let (log, _client, _peer) = one_in_flight().await;

    let client = Client::new(options(&log.copy()));
    let (stream, mut peer) = pair();
    let (result, _) = tokio::join!(client.reconnect_with(stream), peer.refuse(ReasonCode::ServerUnavailable));
    assert!(matches!(result, Err(ConnectError::Refused(_))));
    let (connect, mut peer) = reconnected(&client, session_present()).await;
    assert!(!connect.clean_start);
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lives_goes_on_with_what_is_in_memory() {
    let (log, client, peer) = one_in_flight().await;
    drop(peer);
    ended(&client).await;
    // Were it loaded once more, there would be nothing.
    log.changes.lock().unwrap().clear();
    let (_, mut peer) = reconnected(&client, session_present()).await;
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_hears_what_became_of_publishes_with_a_name() {
    let (log, client, mut peer) = begun().await;
    for (name, qos) in [(12, QoS::ExactlyOnce), (13, QoS::AtLeastOnce), (14, QoS::ExactlyOnce)] {
        let publish = client.publish(message("a", "x", qos)).across_restarts(name);
        drop(publish.queued().await.unwrap());
        peer.expect_publish().await;
    }
    transfer(&client, &mut peer, "nameless", QoS::AtLeastOnce).await;
    release(&mut peer, 1).await;

    let client = Client::new(options(&log.copy()));
    let mut found = client.load_session().await.unwrap();
    let names: Vec<u64> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [13, 14, 12], "in the order in which they go on");
    assert!(client.load_session().await.unwrap().is_empty());
    found.sort_unstable_by_key(|(name, _)| *name);
    let (_, mut peer) = reconnected(&client, session_present()).await;
    for (payload, packet_id) in [("x", 2), ("x", 3), ("nameless", 4)] {
        expect_again(&mut peer, payload, packet_id).await;
    }
    expect_pubrel(&mut peer, 1).await;
    peer.ack(Packet::PubComp, 1, ReasonCode::Success).await;
    peer.ack(Packet::PubAck, 2, ReasonCode::NotAuthorized).await;
    drop(found.pop());
    let at_least_once = found.pop().unwrap().1.await;
    assert!(matches!(at_least_once, Err(PublishError::Refused(_))), "{at_least_once:?}");
    assert_eq!(found.pop().unwrap().1.await.unwrap().reason, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_name_outlives_the_next_restart_and_the_end_of_the_session_is_an_outcome() {
    let (log, client, mut peer) = begun().await;
    drop(client.publish(message("a", "x", QoS::ExactlyOnce)).across_restarts(12).queued().await.unwrap());
    peer.expect_publish().await;
    let log = log.copy();
    let (_client, mut peer, _) = started(&log, session_present()).await;
    peer.expect_publish().await;
    release(&mut peer, 1).await;

    let client = Client::new(options(&log.copy()));
    let (name, delivery) = client.load_session().await.unwrap().pop().unwrap();
    let (_, _peer) = reconnected(&client, ConnAck::default()).await;
    let Err(PublishError::ConnectionLost(lost)) = delivery.await else { panic!() };
    assert_eq!((name, lost.progress), (12, Progress::Received));
}
