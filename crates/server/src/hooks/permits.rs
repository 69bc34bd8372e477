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
    topics: Arc<Mutex<Topics>>,
}

/// Without and with RETAIN, because who may send a message may not be one who may leave it there.
type Topics = [HashSet<Box<str>, RandomState>; 2];

impl Permits {
    pub(crate) fn has(&self, topic: &str, retain: bool) -> bool {
        self.topics.lock()[usize::from(retain)].contains(topic)
    }

    /// Adds a topic. Of too many all are forgotten: a client with so many topics gains little.
    pub(crate) fn add(&self, topic: &str, retain: bool) {
        let topics = &mut self.topics.lock()[usize::from(retain)];
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
        asked.add("a", false);
        assert!(!permits.has("a", false));
        permits.add("a", false);
        assert!(permits.has("a", false) && !permits.has("a", true));
    }

    #[test]
    fn a_client_with_many_topics_costs_a_bounded_set() {
        let permits = Permits::default();
        (0..10 * MOST_TOPICS).for_each(|number| permits.add(&number.to_string(), false));
        assert!(permits.topics.lock()[0].len() <= MOST_TOPICS);
    }
}
