//! Counters that tell a cache of matches whether the subscription index has changed since.
//!
//! Relates to: [`Subscriptions`](super::subscriptions::Subscriptions), whose changes are counted here; the caches of
//! publishing connections, which keep a [`Stamp`] with each result. Leaves out: the cache.
//!
//! A change counts only for topics that begin with the same level as the filter (or share a stripe with it by
//! accident), so that unrelated subscribing does not empty the caches. Filters that begin with a wildcard have their
//! own counter, which every stamp includes.

use std::array;
use std::hash::{BuildHasher, Hasher};
#[cfg(not(shuttle))]
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use gantline_protocol::TopicFilter;
#[cfg(shuttle)]
use shuttle::sync::atomic::{AtomicU64, Ordering};

/// The counters of one index.
///
/// Order matters. Who changes the index calls [`changed`](Self::changed) *after* the change and before anybody is told
/// of it (SUBACK); who fills a cache takes the [`stamp`](Self::stamp) *before* the match.
///
/// Then a stale result is never taken for a fresh one: if the match missed a change, it held the lock of the index
/// before that change did, so its stamp was taken before the change was counted, and differs once it is. If a stamp
/// shows a change as counted, the release of `changed` and the acquire of `stamp` make the change itself visible to the
/// match that follows. The two loads of a stamp need not be one atomic step, because both come before the match and
/// each counter only grows.
#[derive(Debug)]
pub(crate) struct Generations {
    stripes: [AtomicU64; STRIPES],
    /// For filters that begin with `+` or `#`.
    wildcard: AtomicU64,
    hasher: RandomState,
}

impl Generations {
    /// The state in which a match of this topic is about to be made.
    pub(crate) fn stamp(&self, topic: &str) -> Stamp {
        self.load(self.stripe(topic))
    }

    /// Whether nothing has changed for the topic of this stamp; cheaper than to take a new one and compare.
    ///
    /// Who learned of a change by any synchronised way (a lock, a mailbox, a socket) sees it counted here too, because
    /// it was counted before it was told.
    pub(crate) fn is_current(&self, stamp: Stamp) -> bool {
        self.load(stamp.stripe) == stamp
    }

    /// Counts a change of the subscriptions to a filter; for `$share`, of what follows the group's name.
    pub(crate) fn changed(&self, filter: &TopicFilter) {
        let pattern = filter.pattern();
        let counter = match first_level(pattern) {
            b"+" | b"#" => &self.wildcard,
            _ => &self.stripes[usize::from(self.stripe(pattern))],
        };
        counter.fetch_add(1, Ordering::Release);
    }

    fn load(&self, stripe: u8) -> Stamp {
        Stamp {
            stripe,
            of_level: self.stripes[usize::from(stripe)].load(Ordering::Acquire),
            of_wildcards: self.wildcard.load(Ordering::Acquire),
        }
    }

    fn stripe(&self, text: &str) -> u8 {
        let mut state = self.hasher.build_hasher();
        state.write(first_level(text));
        (state.finish() % STRIPES as u64) as u8
    }
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            stripes: array::from_fn(|_| AtomicU64::new(0)),
            wildcard: AtomicU64::new(0),
            hasher: RandomState::default(),
        }
    }
}

/// The state of the index as far as it concerns one topic. Equal stamps of one topic mean that nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    stripe: u8,
    of_level: u64,
    of_wildcards: u64,
}

const STRIPES: usize = 64;

fn first_level(text: &str) -> &[u8] {
    let bytes = text.as_bytes();
    bytes.split(|&byte| byte == b'/').next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use gantline_protocol::TopicFilter;

    use super::Generations;

    fn outdated_by(topic: &str, filter: &str) -> bool {
        let generations = Generations::default();
        let stamp = generations.stamp(topic);
        assert!(generations.is_current(stamp));
        generations.changed(&TopicFilter::new(filter).unwrap());
        assert_eq!(generations.is_current(stamp), generations.stamp(topic) == stamp);
        !generations.is_current(stamp)
    }

    #[test]
    fn every_filter_that_may_match_outdates_a_stamp() {
        for filter in
            ["a", "a/b", "a/#", "a/+", "+/b", "+", "#", "$share/g/a/b", "$share/g/+/b", "$share/g/#"]
        {
            assert!(outdated_by("a", filter), "{filter}");
            assert!(outdated_by("a/b", filter), "{filter}");
        }
        assert!(outdated_by("/a", "/a"));
        assert!(outdated_by("/a", "/#"));
        assert!(outdated_by("$SYS/x", "$SYS/#"));
    }

    #[test]
    fn unrelated_filters_mostly_leave_a_stamp_alone() {
        let outdated = (0..1_000).filter(|number| outdated_by("a/b", &format!("b{number}/#"))).count();
        assert!(outdated < 100, "{outdated} of 1000");
    }
}
