//! The outbox by itself: bounds, order, expiry, and what is noted for the store.

use std::time::Duration;

use super::*;

fn bounds(messages: usize, on_full: OnOutboxFull) -> OutboxBounds {
    OutboxBounds { messages, bytes: 1000, on_full }
}

fn outbox(messages: usize, on_full: OnOutboxFull) -> Outbox {
    let mut outbox = Outbox::new(bounds(messages, on_full), false);
    outbox.accept(true);
    outbox
}

fn stored() -> Outbox {
    let mut outbox = Outbox::new(bounds(100, OnOutboxFull::DropNewest), true);
    outbox.accept(true);
    outbox
}

fn message(payload: &str, qos: QoS) -> Message {
    Message::new("t", payload.to_owned()).unwrap().qos(qos)
}

fn offer(outbox: &mut Outbox, message: Message) -> Offered {
    outbox.offer(message, (Instant::now(), SystemTime::UNIX_EPOCH))
}

fn put(outbox: &mut Outbox, payload: &str) -> Offered {
    offer(outbox, message(payload, QoS::AtLeastOnce))
}

fn take(outbox: &mut Outbox) -> Option<Entry> {
    match outbox.poll_take(Instant::now(), &mut Context::from_waker(Waker::noop())).0 {
        Poll::Ready(Taken::Message(entry)) => Some(entry),
        Poll::Ready(Taken::Expired(_)) | Poll::Pending => None,
    }
}

fn text(entry: &Entry) -> &str {
    entry.message.payload_str().unwrap()
}

fn drained(outbox: &mut Outbox) -> Vec<String> {
    std::iter::from_fn(|| take(outbox)).map(|entry| text(&entry).to_owned()).collect()
}

fn batch(outbox: &mut Outbox) -> Option<Batch> {
    match outbox.poll_changes(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => batch,
        Poll::Pending => None,
    }
}

/// The store keeps all that there is; what it was told, in short.
fn keep(outbox: &mut Outbox) -> Vec<String> {
    let Some(batch) = batch(outbox) else { return Vec::new() };
    let told = batch.changes.iter().map(|change| match change {
        OutboxChange::Append(message) => format!("+{}", message.id),
        OutboxChange::Sent(id) => format!("s{id}"),
        OutboxChange::Remove(id) => format!("-{id}"),
    });
    let told = told.collect();
    for sender in outbox.kept(&batch).0 {
        let _ = sender.send(());
    }
    told
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_dropped_at_the_bound() {
    let mut outbox = outbox(2, OnOutboxFull::DropNewest);
    put(&mut outbox, "1");
    put(&mut outbox, "2");
    let third = put(&mut outbox, "3");
    assert!(matches!(third.answer, Answer::Full) && third.removed.is_empty());
    assert_eq!(drained(&mut outbox), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_that_waits_gives_way_and_what_is_in_flight_does_not() {
    let mut outbox = outbox(2, OnOutboxFull::DropOldest);
    put(&mut outbox, "1");
    put(&mut outbox, "2");
    let third = put(&mut outbox, "3");
    assert_eq!(text(&third.removed[0]), "1");
    let in_flight = [take(&mut outbox).unwrap(), take(&mut outbox).unwrap()];
    assert!(matches!(put(&mut outbox, "4").answer, Answer::Full));
    outbox.put_back(in_flight.into());
    assert_eq!(drained(&mut outbox), ["2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_a_bound_too_and_one_message_always_fits() {
    let mut outbox = outbox(100, OnOutboxFull::DropNewest);
    put(&mut outbox, &"x".repeat(2000));
    assert!(matches!(put(&mut outbox, "y").answer, Answer::Full));
    let entry = take(&mut outbox).unwrap();
    outbox.done(&entry);
    assert_eq!(outbox.load(), Load::default());
    put(&mut outbox, "y");
    assert_eq!(outbox.load(), Load { messages: 1, bytes: 2 });
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_makes_room_and_is_not_sent() {
    let mut outbox = outbox(2, OnOutboxFull::DropNewest);
    offer(&mut outbox, message("1", QoS::AtMostOnce).expiry(5));
    offer(&mut outbox, message("2", QoS::AtMostOnce).expiry(60));
    tokio::time::advance(Duration::from_millis(5_500)).await;
    let third = put(&mut outbox, "3");
    assert_eq!(text(&third.removed[0]), "1");
    // What is left of its time, rounded up.
    let second = take(&mut outbox).unwrap();
    assert_eq!(second.to_send(Instant::now()).properties().message_expiry_interval, Some(55));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(drained(&mut outbox), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_outbox_takes_nothing() {
    let mut outbox = outbox(2, OnOutboxFull::DropNewest);
    outbox.accept(false);
    let offered = put(&mut outbox, "1");
    assert!(matches!(offered.answer, Answer::Closed) && offered.id.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_accepted_and_may_be_sent_once_it_is_stored() {
    let mut outbox = stored();
    let Answer::Accepted { kept: Some(mut kept), .. } = put(&mut outbox, "1").answer else { panic!() };
    assert!(take(&mut outbox).is_none() && kept.try_recv().is_err());
    assert_eq!(keep(&mut outbox), ["+1"]);
    kept.try_recv().unwrap();
    let entry = take(&mut outbox).unwrap();
    outbox.done(&entry);
    assert_eq!(keep(&mut outbox), ["-1"]);
}

#[tokio::test(start_paused = true)]
async fn qos_2_is_noted_before_it_is_sent_and_qos_0_is_removed_before() {
    let mut outbox = stored();
    for qos in [QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
        offer(&mut outbox, message("", qos));
    }
    assert_eq!(keep(&mut outbox), ["+1", "+2", "+3"]);
    assert!(take(&mut outbox).is_none());
    assert_eq!(keep(&mut outbox), ["s1", "-2"]);
    let entries: Vec<Entry> = std::iter::from_fn(|| take(&mut outbox)).collect();
    assert_eq!(entries.len(), 3);
    // Sent again, it is not noted again; done with, QoS 0 is not removed again.
    outbox.put_back(entries);
    while let Some(entry) = take(&mut outbox) {
        outbox.done(&entry);
    }
    assert_eq!(keep(&mut outbox), ["-1", "-3"]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_stored_is_out_and_the_rest_comes_again() {
    let mut outbox = stored();
    put(&mut outbox, "1");
    keep(&mut outbox);
    let first = take(&mut outbox).unwrap();
    put(&mut outbox, "2");
    outbox.done(&first);
    let failed = batch(&mut outbox).unwrap();
    put(&mut outbox, "3");
    let (refused, _) = outbox.not_kept(failed);
    assert_eq!(refused.iter().map(text).collect::<Vec<_>>(), ["2"]);
    outbox.done(&refused[0]);
    assert_eq!(keep(&mut outbox), ["-2", "-1", "+3"]);
    assert_eq!(drained(&mut outbox), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_what_is_not_stored() {
    let mut outbox = stored();
    offer(&mut outbox, message("0", QoS::AtMostOnce));
    put(&mut outbox, "1");
    keep(&mut outbox);
    take(&mut outbox);
    keep(&mut outbox);
    let (gone, told) = outbox.stop();
    assert_eq!(gone.iter().map(text).collect::<Vec<_>>(), ["0"]);
    assert_eq!(told.iter().map(|(id, _)| id.value()).collect::<Vec<_>>(), [2]);
    assert_eq!(drained(&mut outbox), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn restored_messages_come_first_and_ids_go_on_behind_them() {
    let mut outbox = stored();
    outbox.know(MessageId::new(9));
    let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(70));
    let old = OutboxMessage {
        id: MessageId::new(4),
        message: message("old", QoS::AtLeastOnce),
        expires,
        sent: false,
    };
    outbox.restore(old, (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(30)));
    assert_eq!(put(&mut outbox, "new").id, Some(MessageId::new(10)));
    keep(&mut outbox);
    let entry = take(&mut outbox).unwrap();
    assert_eq!((text(&entry), entry.deadline), ("old", Some(Instant::now() + Duration::from_secs(40))));
    assert_eq!(drained(&mut outbox), ["new"]);
}
