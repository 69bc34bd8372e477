//! Inboxes: what they take, what presses and what gives way.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{ClientConnection, Connect, Message, Moment, ReasonCode, Receipt, Received, Session};

use super::{Gauge, Inbox, Item, Items, OnFull, StreamBounds};
use crate::ticket::Ticket;

fn inbox(messages: usize, bytes: usize, on_full: OnFull) -> (Inbox, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    (Inbox::new(StreamBounds { messages, bytes }, on_full, Arc::clone(&gauge)), gauge)
}

fn push(inbox: &Inbox, payload: &str) -> u64 {
    let mut filling = inbox.fill();
    filling.push(Item::new(Message::new("t", payload.to_owned()).unwrap(), Ticket::Void), &mut Vec::new());
    filling.finish().dropped
}

fn poll_fetch(inbox: &Inbox, batch: &mut Items) -> Poll<Option<bool>> {
    inbox.poll_fetch(batch, false, &mut Context::from_waker(Waker::noop()))
}

fn take(inbox: &Inbox) -> Option<String> {
    let mut batch = Items::new();
    let _ = poll_fetch(inbox, &mut batch);
    Some(batch.pop_front()?.message.payload_str().unwrap().to_owned())
}

/// Receipts of the first messages of QoS 1 on a connection.
fn receipts(count: u8) -> Vec<Receipt> {
    let (session, out) = (Box::new(Session::default()), &mut Vec::new());
    let mut machine = ClientConnection::new(&Connect::default(), session, Moment::ZERO, out).unwrap();
    machine.receive(Moment::ZERO, &[0x20, 3, 0, 0, 0], out).unwrap();
    let mut publish = |id| match machine.receive(Moment::ZERO, &[0x32, 6, 0, 1, b't', 0, id, 0], out) {
        Ok(Received::Publish(_, receipt)) => receipt,
        other => panic!("{other:?}"),
    };
    (1..=count).map(&mut publish).collect()
}

/// Fills with messages of QoS 1.
fn push_all(inbox: &Inbox, receipts: &[Receipt]) {
    let mut filling = inbox.fill();
    for &receipt in receipts {
        let item = Item::new(Message::new("t", "").unwrap(), Ticket::sole(Some(receipt)));
        filling.push(item, &mut Vec::new());
    }
    drop(filling.finish());
}

/// Takes as an application does; returns whether the driver has to be told.
fn settle(inbox: &Inbox) -> Option<bool> {
    match inbox.poll_fetch(&mut Items::new(), true, &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(tells) => tells,
        Poll::Pending => None,
    }
}

fn collect(inbox: &Inbox) -> Vec<Receipt> {
    let mut collected = Vec::new();
    inbox.collect(&mut collected);
    collected.into_iter().map(|(receipt, _)| receipt).collect()
}

fn stop_waiting(inbox: &Inbox) -> u64 {
    inbox.stop_waiting(&mut Vec::new())
}

#[test]
fn a_stream_that_is_waited_for_loses_nothing() {
    let (inbox, gauge) = inbox(2, 1 << 20, OnFull::HoldAcks);
    for text in ["1", "2", "3"] {
        assert_eq!(push(&inbox, text), 0);
    }
    assert!(gauge.is_pressing());
    assert_eq!(
        [take(&inbox), take(&inbox), take(&inbox)],
        [Some("1".into()), Some("2".into()), Some("3".into())]
    );
    assert!(!gauge.is_pressing());
}

#[test]
fn the_oldest_message_of_qos_0_gives_way_when_the_waiting_ends() {
    let (inbox, gauge) = inbox(2, 1 << 20, OnFull::HoldAcks);
    for text in ["1", "2", "3"] {
        push(&inbox, text);
    }
    assert_eq!(stop_waiting(&inbox), 1);
    assert!(!gauge.is_pressing() && !gauge.is_over());
    assert_eq!((push(&inbox, "4"), inbox.dropped()), (1, 2));
    assert_eq!([take(&inbox), take(&inbox), take(&inbox)], [Some("3".into()), Some("4".into()), None]);
    assert_eq!(inbox.held(), 0);
}

#[test]
fn a_stream_that_was_taken_from_is_waited_for_again() {
    let (inbox, gauge) = inbox(8, 1 << 20, OnFull::HoldAcks);
    for _ in 0..9 {
        push(&inbox, "");
    }
    assert_eq!(stop_waiting(&inbox), 1);
    // More than a quarter is left.
    (0..5).for_each(|_| drop(take(&inbox)));
    push(&inbox, "");
    push(&inbox, "");
    assert!(!gauge.is_pressing());
    (0..3).for_each(|_| drop(take(&inbox)));
    (0..3).for_each(|_| assert_eq!(push(&inbox, ""), 0));
    assert!(gauge.is_pressing());
    // The driver reads on below a quarter, not as soon as there is room for one.
    (0..2).for_each(|_| drop(take(&inbox)));
    assert!(gauge.is_pressing());
    take(&inbox);
    assert!(!gauge.is_pressing());
}

#[test]
fn an_empty_stream_takes_one_message_of_any_size() {
    let (inbox, gauge) = inbox(10, 4, OnFull::DropOldest);
    assert_eq!(push(&inbox, "much too long"), 0);
    assert!(!gauge.is_over());
    assert_eq!(stop_waiting(&inbox), 0);
    assert_eq!(take(&inbox).as_deref(), Some("much too long"));
}

#[test]
fn an_ended_stream_hands_out_what_it_has_and_is_not_waited_for() {
    let (inbox, gauge) = inbox(1, 1 << 20, OnFull::HoldAcks);
    push(&inbox, "last");
    assert!(gauge.is_pressing());
    assert!(inbox.end().is_none());
    assert!(!gauge.is_pressing());
    assert_eq!(take(&inbox).as_deref(), Some("last"));
    let end = poll_fetch(&inbox, &mut Items::new());
    assert!(matches!(end, Poll::Ready(None)));
}

#[test]
fn a_stream_that_is_gone_presses_no_longer() {
    let (inbox, gauge) = inbox(1, 1 << 20, OnFull::HoldAcks);
    push(&inbox, "1");
    push(&inbox, "2");
    assert!(gauge.is_pressing() && gauge.is_over());
    drop(inbox);
    assert!(!gauge.is_pressing() && !gauge.is_over());
}

#[test]
fn what_was_fetched_counts_until_the_stream_comes_again() {
    let (inbox, gauge) = inbox(64, 1 << 20, OnFull::HoldAcks);
    for _ in 0..33 {
        push(&inbox, "");
    }
    assert!(gauge.is_pressing());
    let mut batch = Items::new();
    let poll = |batch: &mut Items| {
        let Poll::Ready(Some(freed)) = poll_fetch(&inbox, batch) else { panic!() };
        (batch.drain().skip(1).count(), freed)
    };
    // A sixteenth of the bounds is fetched, and half of them is exceeded by one.
    for left in [32, 27, 22] {
        assert_eq!((poll(&mut batch), inbox.held()), ((4, false), left), "a topic has one byte");
    }
    // Of the 18 that are left, four were fetched before: a quarter is reached when that is told.
    assert_eq!(poll(&mut batch), (4, false));
    assert!(gauge.is_pressing());
    assert_eq!(poll(&mut batch), (4, true));
    assert!(!gauge.is_pressing());
}

#[test]
fn a_stream_fetches_no_more_than_its_share_of_bytes() {
    let (inbox, _) = inbox(1 << 10, 160, OnFull::HoldAcks);
    for _ in 0..20 {
        push(&inbox, "1234");
    }
    let mut batch = Items::new();
    let _ = poll_fetch(&inbox, &mut batch);
    // Five bytes each, and ten are a sixteenth.
    assert_eq!((batch.len(), inbox.held()), (1 + 2, 95));
}

#[test]
fn all_that_waits_is_fetched_if_it_is_little() {
    let (inbox, _) = inbox(1 << 10, 1 << 20, OnFull::HoldAcks);
    let texts = ["1", "2", "3", "4"];
    for text in texts {
        push(&inbox, text);
    }
    let mut batch = Items::new();
    let _ = poll_fetch(&inbox, &mut batch);
    let taken: Vec<_> = batch.drain().map(|item| item.message.payload_str().unwrap().to_owned()).collect();
    assert_eq!(taken, texts);
    push(&inbox, "5");
    assert_eq!((take(&inbox), inbox.held()), (Some("5".into()), 0));
}

#[test]
fn what_was_fetched_is_not_dropped_and_leaves_less_room() {
    for on_full in [OnFull::HoldAcks, OnFull::DropOldest] {
        let (inbox, _) = inbox(32, 1 << 20, on_full);
        for _ in 0..32 {
            push(&inbox, "");
        }
        let mut batch = Items::new();
        let _ = poll_fetch(&inbox, &mut batch);
        assert_eq!((batch.len(), stop_waiting(&inbox)), (1 + 2, 0));
        // 31 are left, two of them fetched.
        assert_eq!([push(&inbox, ""), push(&inbox, ""), push(&inbox, "")], [0, 1, 1]);
        assert_eq!((inbox.dropped(), batch.len()), (2, 1 + 2));
    }
}

#[test]
fn a_stream_that_is_gone_gives_back_what_it_had_fetched() {
    let (inbox, gauge) = inbox(32, 1 << 20, OnFull::HoldAcks);
    for _ in 0..34 {
        push(&inbox, "");
    }
    let mut batch = Items::new();
    let _ = poll_fetch(&inbox, &mut batch);
    assert!(gauge.is_over());
    assert!(inbox.abandon(|receipts| receipts.is_empty()));
    assert!(!gauge.is_over() && !gauge.is_pressing());
    assert_eq!(inbox.held(), 0);
}

#[test]
fn the_end_of_a_connection_finds_the_receipts_of_all_that_was_taken_and_of_nothing_else() {
    let (inbox, _) = inbox(8, 1 << 20, OnFull::HoldAcks);
    let receipts = receipts(3);
    push_all(&inbox, &receipts);
    let (mut batch, mut released) = (Items::new(), Vec::new());
    let _ = settle(&inbox);
    let _ = poll_fetch(&inbox, &mut batch);
    inbox.freeze();
    inbox.keep(&mut released);
    assert_eq!(released, [(receipts[0], ReasonCode::Success)], "the second is acknowledged by hand");
    assert_eq!((batch.len(), settle(&inbox)), (1, None), "the third is frozen");
}

#[test]
fn the_driver_hears_of_the_first_receipt_and_collects_all() {
    let (inbox, _) = inbox(8, 1 << 20, OnFull::HoldAcks);
    let receipts = receipts(4);
    push_all(&inbox, &receipts);
    assert_eq!([settle(&inbox), settle(&inbox)], [Some(true), Some(false)]);
    assert_eq!(collect(&inbox), receipts[..2]);
    // One that is taken later leaves too, though nobody comes for another.
    assert_eq!(settle(&inbox), Some(true));
    assert_eq!(collect(&inbox), receipts[2..3]);
}

#[test]
fn what_was_taken_and_not_collected_is_kept_at_the_end_of_a_connection() {
    let (inbox, _) = inbox(8, 1 << 20, OnFull::HoldAcks);
    let receipts = receipts(2);
    push_all(&inbox, &receipts);
    settle(&inbox);
    inbox.freeze();
    assert_eq!(settle(&inbox), None);
    let mut kept = Vec::new();
    inbox.keep(&mut kept);
    assert_eq!(kept, [(receipts[0], ReasonCode::Success)]);
    assert_eq!(collect(&inbox), []);
}

#[test]
fn a_receipt_of_an_earlier_connection_does_not_hide_the_first_of_the_next() {
    let (inbox, _) = inbox(8, 1 << 20, OnFull::HoldAcks);
    push_all(&inbox, &receipts(2));
    // Nobody collects: there is no connection.
    assert_eq!(settle(&inbox), Some(true));
    inbox.forget_settled();
    assert_eq!(settle(&inbox), Some(true));
}

#[test]
fn a_stream_that_is_gone_leaves_all_its_receipts() {
    let (inbox, _) = inbox(8, 1 << 20, OnFull::HoldAcks);
    let receipts = receipts(3);
    push_all(&inbox, &receipts);
    settle(&inbox);
    let left = inbox.abandon(|left| left);
    assert_eq!(left.into_iter().map(|(receipt, _)| receipt).collect::<Vec<_>>(), receipts);
}
