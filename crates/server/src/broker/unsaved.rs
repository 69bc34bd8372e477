//! The topics whose retained messages have changed since the store was told.
//!
//! It is a set, so the last value wins, and its memory is bounded by the number of topics however far behind the store
//! is. Relates to: `retaining.rs`, which adds to it after each change; `persistence.rs`, which takes it. Leaves out:
//! the values, which are read from the tree when they are written.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;
use gantline_transport::sync::Mutex;
use hashbrown::HashSet;
use tokio::sync::Notify;

/// Topics that the store is still to be told of.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    topics: Mutex<HashSet<Box<str>, RandomState>>,
    /// How many topics were taken and are not saved yet.
    in_hand: AtomicUsize,
    arrived: Notify,
}

impl Unsaved {
    /// A topic has changed. To be called after the change, so that whoever takes the topic reads the new value.
    pub(crate) fn add(&self, topic: &str) {
        let mut topics = self.topics.lock();
        let first = topics.is_empty();
        topics.get_or_insert_with(topic, |topic| topic.into());
        drop(topics);
        if first {
            self.arrived.notify_one();
        }
    }

    /// Is notified when there is something to take after there was nothing.
    pub(crate) fn arrived(&self) -> &Notify {
        &self.arrived
    }

    /// Takes all topics. Each is to be [saved](Self::saved) or [put back](Self::put_back).
    pub(crate) fn take(&self) -> Vec<Box<str>> {
        let topics = mem::take(&mut *self.topics.lock());
        self.in_hand.fetch_add(topics.len(), Ordering::Relaxed);
        topics.into_iter().collect()
    }

    /// So many of the topics that were taken are saved.
    pub(crate) fn saved(&self, count: usize) {
        self.in_hand.fetch_sub(count, Ordering::Relaxed);
    }

    /// Gives topics back that were not saved.
    pub(crate) fn put_back(&self, topics: Vec<Box<str>>) {
        let count = topics.len();
        let mut left = topics.into_iter().peekable();
        while left.peek().is_some() {
            self.topics.lock().extend(left.by_ref().take(PUT_BACK_AT_ONCE));
        }
        self.saved(count);
    }

    /// How many topics the store is still to be told of.
    pub(crate) fn len(&self) -> usize {
        self.topics.lock().len() + self.in_hand.load(Ordering::Relaxed)
    }
}

/// Publishers may wait for the lock meanwhile.
const PUT_BACK_AT_ONCE: usize = 1_000;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_there_once_however_often_it_changes() {
        let unsaved = Unsaved::default();
        for _ in 0..3 {
            ["a", "b"].into_iter().for_each(|topic| unsaved.add(topic));
        }
        let mut taken = unsaved.take();
        taken.sort();
        assert_eq!(taken, ["a", "b"].map(Box::from));
        assert_eq!((unsaved.len(), unsaved.take().len()), (2, 0));
    }

    #[test]
    fn what_is_put_back_comes_again_with_what_was_added_meanwhile() {
        let unsaved = Unsaved::default();
        (0..2_500).for_each(|number| unsaved.add(&number.to_string()));
        let taken = unsaved.take();
        ["1", "new"].into_iter().for_each(|topic| unsaved.add(topic));
        unsaved.put_back(taken);
        assert_eq!(unsaved.len(), 2_501);
        let taken = unsaved.take().len();
        unsaved.saved(taken);
        assert_eq!((taken, unsaved.len()), (2_501, 0));
    }
}
