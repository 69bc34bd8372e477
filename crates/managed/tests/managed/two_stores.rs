//! An outbox in a store above a session in a store: what a restarted process does with a message that one of the two
//! has, or both.
//!
//! A process that is killed is a client with copies of both logs as they were at that moment.

use std::sync::Arc;
use std::time::Duration;

use gantline_client::{SessionChange, SessionStore};
use gantline_managed::{
    Doubt, InDoubt, ManagedClient, ManagedEvent, ManagedEvents, ManagedOptions, MessageId, OutboxChange,
    OutboxStore, Outcome, QoS, ReasonCode, StoreError, async_trait,
};
use gantline_protocol::PacketType;
use gantline_protocol::packet::{ConnAck, Packet};

use crate::peer::{Peer, session_present};
use crate::support::{Script, connect, find, message, queue, started};

/// Logs in memory.
#[derive(Debug, Default)]
struct Disk {
    outbox: parking_lot::Mutex<Vec<OutboxChange>>,
    session: parking_lot::Mutex<Vec<SessionChange>>,
}

impl Disk {
    /// What a process finds that starts now.
    fn copy(&self) -> Arc<Self> {
        let (outbox, session) = (self.outbox.lock().clone(), self.session.lock().clone());
        Arc::new(Self { outbox: outbox.into(), session: session.into() })
    }

    fn is_sent(&self, id: MessageId) -> bool {
        self.outbox.lock().contains(&OutboxChange::Sent(id))
    }

    fn is_removed(&self, id: MessageId) -> bool {
        self.outbox.lock().contains(&OutboxChange::Remove(id))
    }
}

#[async_trait]
impl OutboxStore for Disk {
    async fn load(&self, found: &mut (dyn FnMut(OutboxChange) + Send)) -> Result<(), StoreError> {
        self.outbox.lock().iter().cloned().for_each(found);
        Ok(())
    }

    async fn apply(&self, changes: Vec<OutboxChange>) -> Result<(), StoreError> {
        self.outbox.lock().extend(changes);
        Ok(())
    }
}

#[async_trait]
impl SessionStore for Disk {
    async fn load(&self, found: &mut (dyn FnMut(SessionChange) + Send)) -> Result<(), StoreError> {
        self.session.lock().iter().cloned().for_each(found);
        Ok(())
    }

    async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), StoreError> {
        self.session.lock().extend(changes);
        Ok(())
    }
}

fn options(name: &str, disk: &Arc<Disk>) -> ManagedOptions {
    let session = Duration::from_secs(3600);
    let connect = connect(name).clean_start(false).session_expiry(session).session_store(Arc::clone(disk));
    ManagedOptions::new(connect).outbox_store(Arc::clone(disk))
}

/// The client of a process that starts with this disk, and its events from the beginning.
async fn restarted(options: ManagedOptions) -> (ManagedClient, ManagedEvents) {
    let client = ManagedClient::new(options);
    let events = client.events();
    client.start().await.unwrap();
    (client, events)
}

/// The next outcome.
async fn outcome(events: &mut ManagedEvents) -> (u64, Outcome) {
    let found = find(events, |event| match event {
        ManagedEvent::Processed { id, outcome } => Some((id.value(), outcome)),
        _ => None,
    });
    found.await
}

/// The next PUBLISH: its payload, packet id and DUP.
async fn publish(peer: &mut Peer) -> (String, u16, bool) {
    let publish = peer.expect_publish().await;
    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
    (payload, publish.delivery.packet_id().unwrap().get(), publish.dup)
}

fn sent(text: &str, id: u16, dup: bool) -> (String, u16, bool) {
    (text.to_owned(), id, dup)
}

/// Completes the flow of QoS 2 of this id.
async fn complete(peer: &mut Peer, id: u16) {
    peer.ack(Packet::PubRec, id, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, id, ReasonCode::Success));
    peer.ack(Packet::PubComp, id, ReasonCode::Success).await;
}

/// Of two messages the first one is in flight, because more may not be.
async fn one_in_flight(name: &str, qos: QoS) -> (Script, ManagedClient, Peer, Arc<Disk>) {
    let mut script = Script::new(name).await;
    let disk = Arc::new(Disk::default());
    let client = started(options(name, &disk).max_in_flight(1)).await;
    let mut peer = script.accept(ConnAck::default()).await;
    for text in ["1", "2"] {
        drop(queue(&client, message("t", text).qos(qos)).await);
    }
    assert_eq!(publish(&mut peer).await, sent("1", 1, false));
    peer.hears_nothing().await;
    (script, client, peer, disk)
}

#[tokio::test(start_paused = true)]
async fn what_the_session_has_goes_on_there_and_what_waits_follows() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut script, _client, _peer, disk) = one_in_flight("both-follow", qos).await;
        let disk = disk.copy();
        let (_client, mut events) = restarted(options("both-follow", &disk)).await;
        let mut peer = script.accept(session_present()).await;
        assert_eq!(publish(&mut peer).await, sent("1", 1, true));
        assert_eq!(publish(&mut peer).await, sent("2", 2, false));
        for id in [1, 2] {
            match qos {
                QoS::ExactlyOnce => complete(&mut peer, id).await,
                _ => peer.ack(Packet::PubAck, id, ReasonCode::Success).await,
            }
            let (ended, outcome) = outcome(&mut events).await;
            assert!(ended == u64::from(id) && outcome.is_delivered(), "{ended}: {outcome:?}");
        }
        peer.hears_nothing().await;
        assert!(disk.is_removed(MessageId::new(1)) && disk.is_removed(MessageId::new(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_taken_over_has_its_outcome_after_the_restart() {
    let (mut script, _client, mut peer, disk) = one_in_flight("both-released", QoS::ExactlyOnce).await;
    peer.ack(Packet::PubRec, 1, ReasonCode::Success).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, 1, ReasonCode::Success));
    let (_client, mut events) = restarted(options("both-released", &disk.copy()).max_in_flight(1)).await;
    let mut peer = script.accept(session_present()).await;
    assert_eq!(peer.expect_ack().await, (PacketType::PubRel, 1, ReasonCode::Success));
    peer.hears_nothing().await;
    peer.ack(Packet::PubComp, 1, ReasonCode::Success).await;
    let (ended, outcome) = outcome(&mut events).await;
    assert!(ended == 1 && outcome.is_delivered(), "{ended}: {outcome:?}");
    assert_eq!(publish(&mut peer).await, sent("2", 2, false));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_only_the_session_has_is_done_with_and_its_id_not_used() {
    let (mut script, _client, _peer, disk) = one_in_flight("both-removed", QoS::ExactlyOnce).await;
    let disk = disk.copy();
    disk.outbox.lock().clear();
    let (client, mut events) = restarted(options("both-removed", &disk)).await;
    let mut peer = script.accept(session_present()).await;
    assert_eq!(publish(&mut peer).await, sent("1", 1, true));
    complete(&mut peer, 1).await;
    let delivery = queue(&client, message("t", "3").qos(QoS::ExactlyOnce)).await;
    assert_eq!(delivery.id(), Some(MessageId::new(2)));
    assert_eq!(publish(&mut peer).await, sent("3", 2, false));
    complete(&mut peer, 2).await;
    assert_eq!(outcome(&mut events).await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_sent_and_the_session_has_no_more_is_in_doubt() {
    for in_doubt in [InDoubt::GiveUp, InDoubt::Resend] {
        let (mut script, _client, _peer, disk) = one_in_flight("both-doubt", QoS::ExactlyOnce).await;
        assert!(disk.is_sent(MessageId::new(1)) && !disk.is_sent(MessageId::new(2)));
        let disk = disk.copy();
        disk.session.lock().push(SessionChange::Completed(crate::peer::id(1)));
        let (_client, mut events) = restarted(options("both-doubt", &disk).in_doubt(in_doubt)).await;
        let mut peer = script.accept(session_present()).await;
        if in_doubt == InDoubt::Resend {
            assert_eq!(publish(&mut peer).await.0, "1");
        } else {
            let (ended, outcome) = outcome(&mut events).await;
            assert!(ended == 1 && matches!(outcome, Outcome::Indeterminate(Doubt::Restarted)), "{outcome:?}");
        }
        assert_eq!(publish(&mut peer).await.0, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_session_leaves_qos_2_in_doubt_and_gets_qos_1_again() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut script, _client, _peer, disk) = one_in_flight("both-gone", qos).await;
        let (_client, mut events) = restarted(options("both-gone", &disk.copy())).await;
        let mut peer = script.accept(ConnAck::default()).await;
        if qos == QoS::AtLeastOnce {
            assert_eq!(publish(&mut peer).await.0, "1");
        } else {
            let (ended, outcome) = outcome(&mut events).await;
            assert!(
                ended == 1 && matches!(outcome, Outcome::Indeterminate(Doubt::SessionLost(_))),
                "{outcome:?}"
            );
        }
        let (text, _, dup) = publish(&mut peer).await;
        assert!(text == "2" && !dup);
    }
}
