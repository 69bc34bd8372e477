//! The topics that a client may publish to without being asked about again.
//!
//! Relates to: [`Permission::Allow`](super::Permission), which adds to them. Leaves out: subscriptions, which are asked
//! about once each.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// The permits of one connection. Clones share them until [`renew`](Self::renew) leaves the clones behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permits {
    topics: Arc<Mutex<HashSet<Box<str>, RandomState>>>,
}

impl Permits {
    pub(crate) fn has(&self, topic: &str) -> bool {
        self.topics.lock().contains(topic)
    }

    /// Adds a topic. Of too many all are forgotten: a client with so many topics gains little.
    pub(crate) fn add(&self, topic: &str) {
        let mut topics = self.topics.lock();
        if topics.len() >= MOST_TOPICS {
            topics.clear();
        }
        topics.insert(topic.into());
    }

    /// Voids all. What is still being asked about adds to those that nobody looks at.
    pub(crate) fn renew(&mut self) {
        *self = Self::default();
    }
}

const MOST_TOPICS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{MOST_TOPICS, Permits};

    #[test]
    fn an_answer_from_before_the_renewal_permits_nothing() {
        let mut permits = Permits::default();
        let asked = permits.clone();
        permits.renew();
        asked.add("a");
        assert!(!permits.has("a"));
        permits.add("a");
        assert!(permits.has("a"));
    }

    #[test]
    fn a_client_with_many_topics_costs_a_bounded_set() {
        let permits = Permits::default();
        (0..10 * MOST_TOPICS).for_each(|number| permits.add(&number.to_string()));
        assert!(permits.topics.lock().len() <= MOST_TOPICS);
    }
}
