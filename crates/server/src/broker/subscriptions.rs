//! The subscription index: which subscribers want a topic.
//!
//! [`Subscriptions`] keeps filters without a wildcard in a hash map and the others in a tree of levels (`trie`); under
//! each filter stand its subscribers (`roster`) and the share groups that have it. [`Matches`] takes the result.
//!
//! Relates to: [`ShareGroup`], which chooses one of its members; [`Generations`](super::generations::Generations),
//! which tells caches that the index has changed. Leaves out: locks, permissions, and the list of filters that each
//! client has, which is kept with the client.

mod matches;
mod roster;
mod trie;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::RandomState;
use gantline_protocol::{QoS, TopicFilter};
use hashbrown::HashMap;

use self::trie::Trie;
use super::shared::{LAST_GROUP, ShareGroup};

pub(crate) use self::matches::{Matches, Target};
pub(crate) use self::roster::Roster;

/// Who can subscribe. Clones are made for each match, so a clone should be a counted reference.
pub(crate) trait Subscriber: Clone {
    /// A number that no other living subscriber has and that never changes.
    fn key(&self) -> usize;
}

/// One subscription of one subscriber, without its filter.
#[derive(Clone, Debug)]
pub(crate) struct Subscription<S> {
    /// Who subscribes.
    pub(crate) subscriber: S,
    /// The highest QoS it wants.
    pub(crate) qos: QoS,
    /// Whether it does not want what it publishes itself [MQTT-3.8.3-3].
    pub(crate) no_local: bool,
    /// Whether the RETAIN flag stays as the publisher set it.
    pub(crate) retain_as_published: bool,
    /// The identifier to send along with each message.
    pub(crate) id: Option<NonZeroU32>,
}

/// All subscriptions of a server.
///
/// The cost of a match depends on the levels of the topic and on what matches, not on how many subscriptions there are.
#[derive(Debug)]
pub(crate) struct Subscriptions<S> {
    exact: HashMap<Box<str>, Place<S>, RandomState>,
    wildcard: Trie<Place<S>>,
    /// Share groups by identity. Publishers remember them, so a change of a group that is in use makes a copy; one of
    /// a group that nobody publishes to needs none.
    groups: HashMap<u32, Arc<ShareGroup<S>>, RandomState>,
    /// Identities of share groups by their whole filter, `$share` and name included.
    names: HashMap<TopicFilter, u32, RandomState>,
    last_group: u32,
    len: usize,
    shared_len: usize,
}

impl<S: Subscriber> Subscriptions<S> {
    /// Adds a subscription; `true` if it took the place of one of the same subscriber and filter [MQTT-3.8.4-3].
    pub(crate) fn insert(&mut self, filter: &TopicFilter, subscription: Subscription<S>) -> bool {
        let replaced = match filter.group() {
            None => self.place(filter).own.insert(subscription),
            Some(_) => self.join(filter, subscription),
        };
        self.len += usize::from(!replaced);
        self.shared_len += usize::from(!replaced && filter.is_shared());
        replaced
    }

    /// Removes the subscription that a subscriber has to a filter, and says whether there was one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, key: usize) -> bool {
        let removed = match filter.group() {
            None => self.change(filter, |place| place.own.remove(key)),
            Some(_) => self.leave(filter, key),
        };
        self.len -= usize::from(removed);
        self.shared_len -= usize::from(removed && filter.is_shared());
        removed
    }

    /// How many subscriptions there are, shared ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of them are shared.
    pub(crate) fn shared_len(&self) -> usize {
        self.shared_len
    }

    /// Adds to `out`, which the caller has cleared, all that want a message with this topic. `publisher` is the key
    /// of the subscriber that published it, if one did.
    pub(crate) fn matches(&self, topic: &str, publisher: Option<usize>, out: &mut Matches<S>) {
        let Matches { targets, groups, frontier, .. } = out;
        let mut contributions = 0;
        let mut take = |place: &Place<S>| {
            let before = targets.len();
            // No-local ones are left out here, before merging, so that another filter of the publisher still counts.
            let wanting = place.own.entries().iter().filter(|entry| !entry.refuses(publisher));
            targets.extend(wanting.map(|entry| entry.target()));
            contributions += usize::from(targets.len() > before);
            let ids = place.groups.iter().flat_map(|ids| ids.iter());
            groups.extend(ids.filter_map(|id| self.groups.get(id).cloned()));
        };
        if let Some(place) = self.exact.get(topic) {
            take(place);
        }
        self.wildcard.walk(topic, frontier, take);
        // Within one filter each subscriber occurs once.
        if contributions > 1 {
            out.merge();
        }
    }

    /// The share group with an identity, as it is now; `None` when its last member has left.
    pub(crate) fn group(&self, id: u32) -> Option<&Arc<ShareGroup<S>>> {
        self.groups.get(&id)
    }

    fn join(&mut self, filter: &TopicFilter, subscription: Subscription<S>) -> bool {
        if let Some(group) = self.names.get(filter).and_then(|id| self.groups.get_mut(id)) {
            return Arc::make_mut(group).insert(subscription);
        }
        let id = self.unused_group();
        let mut group = ShareGroup::new(id);
        group.insert(subscription);
        self.names.insert(filter.clone(), id);
        self.groups.insert(id, Arc::new(group));
        self.place(filter).groups.get_or_insert_default().insert(id);
        false
    }

    fn leave(&mut self, filter: &TopicFilter, key: usize) -> bool {
        let Some(&id) = self.names.get(filter) else { return false };
        let Some(group) = self.groups.get_mut(&id) else { return false };
        // Looked up first, so that nothing is copied in vain.
        if !group.contains(key) {
            return false;
        }
        let group = Arc::make_mut(group);
        group.remove(key);
        if group.is_empty() {
            self.groups.remove(&id);
            self.names.remove(filter);
            self.change(filter, |place| {
                place.groups.take_if(|ids| ids.remove(&id) && ids.is_empty());
            });
        }
        true
    }

    /// A number that no group has. Numbers come round after 2^29 groups, long after the last entry of a queue that
    /// could name an old one.
    fn unused_group(&mut self) -> u32 {
        loop {
            self.last_group = self.last_group % LAST_GROUP + 1;
            if !self.groups.contains_key(&self.last_group) {
                return self.last_group;
            }
        }
    }

    fn place(&mut self, filter: &TopicFilter) -> &mut Place<S> {
        if filter.has_wildcard() {
            self.wildcard.entry(filter.pattern())
        } else {
            self.exact.entry(filter.pattern().into()).or_default()
        }
    }

    /// Changes what stands under a filter, if anything does, and removes it when it is empty then.
    fn change<R: Default>(&mut self, filter: &TopicFilter, change: impl FnOnce(&mut Place<S>) -> R) -> R {
        let pattern = filter.pattern();
        let place =
            if filter.has_wildcard() { self.wildcard.get_mut(pattern) } else { self.exact.get_mut(pattern) };
        let Some(place) = place else { return R::default() };
        let result = change(place);
        if !place.is_empty() {
            return result;
        }
        if filter.has_wildcard() {
            self.wildcard.remove(pattern);
        } else {
            self.exact.remove(pattern);
            if self.exact.len() < self.exact.capacity() / 8 {
                self.exact.shrink_to(self.exact.len() * 2);
            }
        }
        result
    }
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Self {
        Self {
            exact: HashMap::default(),
            wildcard: Trie::default(),
            groups: HashMap::default(),
            names: HashMap::default(),
            last_group: 0,
            len: 0,
            shared_len: 0,
        }
    }
}

/// What stands under one pattern.
#[derive(Debug)]
struct Place<S> {
    /// The subscribers on their own behalf.
    own: Roster<S>,
    /// The identities of the share groups; there exactly if there are some. Most filters have none, or a few, but a
    /// client may make as many as it likes.
    #[expect(clippy::box_collection, reason = "a third of the size, and there may be a million filters")]
    groups: Option<Box<BTreeSet<u32>>>,
}

impl<S: Subscriber> Place<S> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.groups.is_none()
    }
}

impl<S> Default for Place<S> {
    fn default() -> Self {
        Self { own: Roster::default(), groups: None }
    }
}
