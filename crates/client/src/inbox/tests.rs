//! Inboxes: what they take, what presses and what gives way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::Message;

use super::{Gauge, Inbox, Item, OnFull, StreamBounds, Ticket};

fn inbox(messages: usize, bytes: usize, on_full: OnFull) -> (Inbox, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    (Inbox::new(StreamBounds { messages, bytes }, on_full, Arc::clone(&gauge)), gauge)
}

fn push(inbox: &Inbox, payload: &str) -> u64 {
    let mut filling = inbox.fill();
    filling.push(Item::new(Message::new("t", payload.to_owned()).unwrap(), Ticket::Void), &mut Vec::new());
    filling.finish().dropped
}

fn take(inbox: &Inbox) -> Option<String> {
    match inbox.poll_take(&mut VecDeque::new(), &mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some((item, _))) => Some(item.message.payload_str().unwrap().to_owned()),
        _ => None,
    }
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
    let end = inbox.poll_take(&mut VecDeque::new(), &mut Context::from_waker(Waker::noop()));
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
