//! A session in a store: what waits for the store, what a restarted process goes on with, and what becomes of it
//! otherwise.
//!
//! A process that is killed is a client with a copy of the log as it was at that moment.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use gantline_client::{
    Client, ClientId, ConnectError, ConnectOptions, ConnectionInfo, DisconnectCause, Durability, Event,
    OptionsError, Progress, ProtocolVersion, PublishError, QoS, ReasonCode, SessionChange, SessionStore,
    StoreError, async_trait,
};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};
use tokio::sync::watch;

use crate::peer::{
    Peer, at_least_once, ended, exactly_once, id, message, pair, reconnected, session_present, text,
};

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
async fn packets_that_cannot_be_taken_back_wait_for_the_store() {
    let (log, client, mut peer) = begun().await;
    let mut messages = client.messages();

    log.set(State::Blocks);
    send(&client, "x", QoS::ExactlyOnce).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(publish(&mut peer).await.1, 1);

    log.set(State::Blocks);
    peer.ack(Packet::PubRec, 1, ReasonCode::Success).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRel);

    log.set(State::Blocks);
    peer.publish("a", "x", exactly_once(7)).await;
    messages.next().await.unwrap();
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubRec);

    log.set(State::Blocks);
    peer.ack(Packet::PubRel, 7, ReasonCode::Success).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    assert_eq!(peer.expect_ack().await.0, PacketType::PubComp);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_done_twice_does_not_wait_for_the_store() {
    let (log, client, mut peer) = begun().await;
    let mut messages = client.messages();
    let delivery = client.publish(message("a", "x", QoS::AtLeastOnce)).queued().await.unwrap();
    peer.expect_publish().await;
    log.set(State::Blocks);
    // The end of a flow, QoS 1 in the other direction, and QoS 0.
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    delivery.await.unwrap();
    peer.publish("a", "x", at_least_once(1)).await;
    messages.next().await.unwrap();
    assert_eq!(peer.expect_ack().await.0, PacketType::PubAck);
    client.publish(message("a", "0", QoS::AtMostOnce)).await.unwrap();
    peer.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn the_server_is_not_blamed_for_a_store_that_is_slow() {
    let (log, client, mut peer) = begun().await;
    log.set(State::Blocks);
    send(&client, "x", QoS::AtLeastOnce).await;
    // Several times the keep alive.
    tokio::time::sleep(Duration::from_secs(600)).await;
    log.set(State::Works);
    assert_eq!(publish(&mut peer).await.0, "x");
    assert!(matches!(peer.receive().await, Packet::PingReq));
    assert!(client.is_connected());
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_while_the_store_is_busy_share_its_next_call() {
    let (log, client, mut peer) = begun().await;
    log.set(State::Blocks);
    for number in 0..100 {
        send(&client, &number.to_string(), QoS::AtLeastOnce).await;
    }
    peer.hears_nothing().await;
    log.set(State::Works);
    for number in 0..100 {
        assert_eq!(publish(&mut peer).await, (number.to_string(), number + 1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn behind_the_packets_the_store_is_no_more_than_it_may_be() {
    let log = Log::new();
    let options = options(&log).session_durability(Durability::WriteBehind { most: 10_000 });
    let (client, mut peer) = started_with(options, ConnAck::default()).await;
    log.set(State::Blocks);
    for _ in 0..2 {
        transfer(&client, &mut peer, &"x".repeat(4_000), QoS::AtLeastOnce).await;
    }
    send(&client, &"x".repeat(4_000), QoS::AtLeastOnce).await;
    peer.hears_nothing().await;
    log.set(State::Works);
    peer.expect_publish().await;
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
async fn a_clean_start_gives_up_what_was_kept() {
    let (log, _client, _peer) = one_in_flight().await;

    let client = Client::new(options(&log.copy()).clean_start(true));
    let (connect, _peer) = reconnected(&client, ConnAck::default()).await;
    assert!(connect.clean_start);
    assert_eq!(text(&client.connection().unwrap().undelivered[0]), "1");
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
async fn a_store_that_fails_ends_the_connection_and_gets_everything_with_the_next() {
    let (log, client, mut peer) = begun().await;
    let mut events = client.events();
    log.set(State::Fails);
    send(&client, "1", QoS::AtLeastOnce).await;
    peer.hears_the_end().await;
    let Some(Event::Disconnected { cause: DisconnectCause::StoreFailed(error) }) = events.next().await else {
        panic!()
    };
    assert_eq!(error.to_string(), "cannot write the log: disk full");

    let (stream, _peer) = pair();
    assert!(matches!(client.reconnect_with(stream).await, Err(ConnectError::Store(_))));
    log.set(State::Works);
    let (_, mut peer) = reconnected(&client, session_present()).await;
    expect_again(&mut peer, "1", 1).await;
    let (_, mut peer, _) = started(&log.copy(), session_present()).await;
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_up_connecting_no_longer_than_the_time_out() {
    let log = Log::new();
    log.set(State::Blocks);
    let (stream, _peer) = pair();
    let error = Client::connect_with(options(&log), stream).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection within 10s: our session store did not answer");
}

#[tokio::test(start_paused = true)]
async fn disconnecting_waits_for_the_store_within_its_time_out() {
    let (log, client, mut peer) = one_in_flight().await;
    log.set(State::Blocks);
    peer.ack(Packet::PubAck, 1, ReasonCode::Success).await;
    peer.hears_nothing().await;
    let disconnect = tokio::spawn(client.disconnect().into_future());
    peer.expect_disconnect().await;
    drop(peer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!disconnect.is_finished());
    log.set(State::Works);
    disconnect.await.unwrap().unwrap();
    let completed = SessionChange::Completed(id(1));
    assert_eq!(log.changes.lock().unwrap().last(), Some(&completed));

    // One that never answers does not keep the client.
    let (client, mut peer, _) = started(&log.copy(), session_present()).await;
    log.set(State::Blocks);
    let disconnect = tokio::spawn(client.disconnect().into_future());
    peer.expect_disconnect().await;
    drop(peer);
    disconnect.await.unwrap().unwrap();
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
async fn a_store_belongs_to_one_client_id() {
    let log = Log::of(vec![SessionChange::Begin(ClientId::new("cellar").unwrap())]);
    let (stream, _peer) = pair();
    let error = Client::connect_with(options(&log), stream).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "our session store belongs to the client id \"cellar\": each client id needs a store of its own"
    );
}

#[tokio::test(start_paused = true)]
async fn another_client_id_does_not_cost_what_is_kept() {
    let (log, client, peer) = one_in_flight().await;
    drop(peer);
    ended(&client).await;
    for other in [ConnectOptions::default(), ConnectOptions::default().client_id("cellar").unwrap()] {
        client.set_options(other);
        let (stream, _peer) = pair();
        let error = client.reconnect_with(stream).await.unwrap_err();
        assert!(matches!(&error, ConnectError::SessionOfAnother { owner } if owner.as_str() == "kitchen"));
    }
    client.set_options(options(&log));
    let (_, mut peer) = reconnected(&client, session_present()).await;
    expect_again(&mut peer, "1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_beginning_is_ours() {
    let sent = message("a", "1", QoS::AtLeastOnce);
    let mut log = Log::of(vec![SessionChange::Sent { id: id(7), message: sent, expires: None, name: None }]);
    for _ in 0..2 {
        let (_, mut peer, _) = started(&log, session_present()).await;
        expect_again(&mut peer, "1", 7).await;
        log = log.copy();
    }
    assert!(log.changes.lock().unwrap().iter().any(|change| matches!(change, SessionChange::Begin(_))));
}

#[test]
fn a_store_without_a_session_is_refused() {
    let store = |options: ConnectOptions| options.session_store(Log::new()).check();
    assert_eq!(store(ConnectOptions::default()), Err(OptionsError::StoreWithoutClientId));
    let named = ConnectOptions::default().client_id("kitchen").unwrap();
    let option = |option| Err(OptionsError::StoreWithoutSession { option });
    assert_eq!(store(named.clone()), option("session_expiry"));
    assert_eq!(store(named.clone().version(ProtocolVersion::V3_1_1)), option("clean_start(false)"));
    assert_eq!(store(named.clone().version(ProtocolVersion::V3_1_1).clean_start(false)), Ok(()));
    assert_eq!(store(named.session_expiry(Duration::MAX)), Ok(()));
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
