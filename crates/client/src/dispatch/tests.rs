//! Who gets a message, who holds a filter, and which streams end with it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{Message, TopicFilter, TopicName, topic};

use super::{Dispatch, Effects, Event, StreamId};
use crate::inbox::{Inbox, OnFull, StreamBounds};
use crate::items::{Item, Items};
use crate::ticket::Ticket;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

struct Listener {
    id: StreamId,
    inbox: Arc<Inbox>,
}

fn listen(dispatch: &mut Dispatch, filters: &[&str]) -> Listener {
    let inbox = Arc::new(Inbox::new(StreamBounds::default(), OnFull::HoldAcks, Arc::default()));
    let id = dispatch.add(Arc::clone(&inbox), filters.iter().map(|text| filter(text)).collect());
    assert!(dispatch.ask(id));
    Listener { id, inbox }
}

impl Listener {
    fn poll(&self) -> Poll<Option<String>> {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut batch = Items::new();
        let fetched = self.inbox.poll_fetch(&mut batch, false, cx);
        fetched.map(|_| batch.pop_front().map(|item| item.message.topic().to_string()))
    }

    fn count(&self) -> usize {
        std::iter::from_fn(|| matches!(self.poll(), Poll::Ready(Some(_))).then_some(())).count()
    }
}

fn deliver(dispatch: &mut Dispatch, topic: &str) -> Effects {
    let mut effects = Effects::default();
    let arrived = Item::new(Message::new(topic, "").unwrap(), Ticket::Void);
    dispatch.deliver(&mut Items::from_iter([arrived]), &mut effects);
    effects
}

#[test]
fn each_stream_gets_one_copy_however_many_of_its_filters_match() {
    let mut dispatch = Dispatch::default();
    let exact = listen(&mut dispatch, &["a/b"]);
    let both = listen(&mut dispatch, &["a/+", "a/#", "a/b"]);
    let all = listen(&mut dispatch, &[]);
    let other = listen(&mut dispatch, &["c"]);
    deliver(&mut dispatch, "a/b");
    assert_eq!([exact.count(), both.count(), all.count(), other.count()], [1, 1, 1, 0]);
}

#[test]
fn a_shared_subscription_matches_without_its_prefix() {
    let mut dispatch = Dispatch::default();
    let exact = listen(&mut dispatch, &["$share/group/a/b"]);
    let wildcard = listen(&mut dispatch, &["$share/group/a/#"]);
    deliver(&mut dispatch, "a/b");
    assert_eq!([exact.count(), wildcard.count()], [1, 1]);
}

/// All sequences of one to four of these levels, without the empty text.
fn all(levels: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(ToString::to_string).collect();
    let mut longest = all.clone();
    for _ in 1..4 {
        longest = longest
            .iter()
            .flat_map(|start| levels.iter().map(move |level| format!("{start}/{level}")))
            .collect();
        all.extend_from_slice(&longest);
    }
    all.retain(|text| !text.is_empty());
    all
}

#[test]
fn every_filter_gets_the_topics_of_the_reference() {
    let mut filters = all(&["", "a", "b", "$x", "+", "#"]);
    filters.retain(|text| !text.split('/').rev().skip(1).any(|level| level == "#"));
    let mut dispatch = Dispatch::default();
    // Slots are given in this order.
    for text in &filters {
        listen(&mut dispatch, &[text]);
        listen(&mut dispatch, &[&format!("$share/g/{text}")]);
    }
    for name in all(&["", "a", "b", "$x"]) {
        let matching = filters.iter().enumerate().filter(|(_, text)| topic::matches(text, &name));
        let expected: Vec<_> = matching.flat_map(|(place, _)| [2 * place, 2 * place + 1]).collect();
        dispatch.find(&TopicName::new(name.as_str()).unwrap());
        assert_eq!(dispatch.targets, expected, "{name}");
    }
}

#[test]
fn a_message_that_nobody_wants_is_told() {
    let effects = deliver(&mut Dispatch::default(), "a");
    assert!(matches!(effects.events[..], [Event::MessagesUnclaimed { count: 1 }]));
}

#[test]
fn only_the_last_holder_leaves_a_filter_behind() {
    let mut dispatch = Dispatch::default();
    let first = listen(&mut dispatch, &["a", "b"]);
    let second = listen(&mut dispatch, &["a"]);
    assert!(dispatch.remove(first.id));
    assert_eq!(dispatch.take_unheld(), [filter("b")]);
    assert!(dispatch.remove(second.id));
    let third = listen(&mut dispatch, &["a"]);
    assert!(dispatch.take_unheld().is_empty());
    dispatch.refused(third.id, &filter("a"));
    assert!(!dispatch.remove(third.id));
    assert!(!dispatch.remove(third.id));
    assert!(!dispatch.ask(third.id));
}

#[test]
fn a_filter_that_the_server_was_not_asked_for_is_not_left_behind() {
    let mut dispatch = Dispatch::default();
    let asked = listen(&mut dispatch, &["a"]);
    let inbox = Arc::new(Inbox::new(StreamBounds::default(), OnFull::HoldAcks, Arc::default()));
    let id = dispatch.add(inbox, vec![filter("a"), filter("b")]);
    assert!(!dispatch.remove(asked.id));
    assert!(dispatch.remove(id));
    assert_eq!(dispatch.take_unheld(), [filter("a")]);
}

#[test]
fn a_filter_that_found_a_new_holder_is_left_behind_by_that_one() {
    let mut dispatch = Dispatch::default();
    let first = listen(&mut dispatch, &["a"]);
    assert!(dispatch.remove(first.id));
    let inbox = Arc::new(Inbox::new(StreamBounds::default(), OnFull::HoldAcks, Arc::default()));
    let id = dispatch.add(inbox, vec![filter("a")]);
    assert!(dispatch.take_unheld().is_empty());
    assert!(dispatch.remove(id));
    assert_eq!(dispatch.take_unheld(), [filter("a")]);
}

#[test]
fn a_stream_ends_with_its_last_filter() {
    let mut dispatch = Dispatch::default();
    let stream = listen(&mut dispatch, &["a", "b"]);
    let mark = dispatch.mark();
    let later = listen(&mut dispatch, &["b"]);
    let mut effects = Effects::default();
    dispatch.forget(&[filter("a")], mark, &mut effects);
    assert!(stream.poll().is_pending());
    dispatch.forget(&[filter("b")], mark, &mut effects);
    assert!(matches!(stream.poll(), Poll::Ready(None)));
    deliver(&mut dispatch, "b");
    assert_eq!(later.count(), 1);
}

#[test]
fn a_lost_session_ends_subscriptions_and_not_the_stream_of_everything() {
    let mut dispatch = Dispatch::default();
    let stream = listen(&mut dispatch, &["a/+"]);
    let all = listen(&mut dispatch, &[]);
    dispatch.end_subscriptions(&mut Effects::default());
    deliver(&mut dispatch, "a/b");
    assert!(matches!(stream.poll(), Poll::Ready(None)));
    assert_eq!(all.count(), 1);
    dispatch.end_all(&mut Effects::default());
    assert!(matches!(all.poll(), Poll::Ready(None)));
}
