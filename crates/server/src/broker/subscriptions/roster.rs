//! The subscribers of one filter, or the members of one share group.
//!
//! Relates to: [`Subscriptions`](super::Subscriptions) and [`ShareGroup`](crate::broker::shared::ShareGroup), which
//! keep rosters. Leaves out: the filter.

use std::{mem, slice};

use gantline_protocol::{QoS, SubscriptionIds};
use hashbrown::HashTable;

use super::{Subscriber, Subscription, Target};

/// Subscriptions of different subscribers to one filter, in no order that means anything.
///
/// As large as its only entry, because most filters have one subscriber and there may be a million of them.
#[derive(Clone, Debug, Default)]
pub(crate) enum Roster<S> {
    /// Nobody.
    #[default]
    Empty,
    /// One subscriber.
    One(Entry<S>),
    /// Two or more.
    Many(Box<Crowd<S>>),
}

impl<S: Subscriber> Roster<S> {
    /// How many subscribers there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nobody is here any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &[Entry<S>] {
        match self {
            Self::Empty => &[],
            Self::One(entry) => slice::from_ref(entry),
            Self::Many(crowd) => &crowd.list,
        }
    }

    /// Whether a subscriber has a subscription here.
    pub(crate) fn contains(&self, key: usize) -> bool {
        match self {
            Self::Empty => false,
            Self::One(entry) => entry.key() == key,
            Self::Many(crowd) => crowd.position(key).is_some(),
        }
    }

    /// Adds a subscription; `true` if it took the place of one of the same subscriber [MQTT-3.8.4-3].
    pub(crate) fn insert(&mut self, subscription: Subscription<S>) -> bool {
        let entry = Entry::new(subscription);
        match mem::replace(self, Self::Empty) {
            Self::Empty => {
                *self = Self::One(entry);
                false
            }
            Self::One(first) if first.key() == entry.key() => {
                *self = Self::One(entry);
                true
            }
            Self::One(first) => {
                *self = Self::Many(Box::new(Crowd { list: vec![first, entry], index: None }));
                false
            }
            Self::Many(mut crowd) => {
                let replaced = crowd.insert(entry);
                *self = Self::Many(crowd);
                replaced
            }
        }
    }

    /// Removes the subscription of a subscriber, and says whether there was one.
    pub(crate) fn remove(&mut self, key: usize) -> bool {
        match self {
            Self::Empty => return false,
            Self::One(entry) => {
                if entry.key() != key {
                    return false;
                }
                *self = Self::Empty;
            }
            Self::Many(crowd) => {
                if !crowd.remove(key) {
                    return false;
                }
                if crowd.list.len() == 1
                    && let Some(last) = crowd.list.pop()
                {
                    *self = Self::One(last);
                }
            }
        }
        true
    }
}

/// Two subscribers or more.
#[derive(Clone, Debug)]
pub(crate) struct Crowd<S> {
    list: Vec<Entry<S>>,
    /// Positions in `list` by subscriber, once the list is too long to search.
    index: Option<HashTable<u32>>,
}

impl<S: Subscriber> Crowd<S> {
    fn insert(&mut self, entry: Entry<S>) -> bool {
        let key = entry.key();
        if let Some(position) = self.position(key) {
            self.list[position] = entry;
            return true;
        }
        self.list.push(entry);
        let Self { list, index } = self;
        let hash_at = |&position: &u32| hash(list[position as usize].key());
        if let Some(index) = index {
            index.insert_unique(hash(key), narrow(list.len() - 1), hash_at);
        } else if list.len() > INDEXED_ABOVE {
            let mut made = HashTable::with_capacity(list.len() * 2);
            for (position, entry) in list.iter().enumerate() {
                made.insert_unique(hash(entry.key()), narrow(position), hash_at);
            }
            *index = Some(made);
        }
        false
    }

    fn remove(&mut self, key: usize) -> bool {
        let Some(position) = self.position(key) else { return false };
        let Self { list, index } = self;
        let last = list.len() - 1;
        if let Some(index) = index {
            if let Ok(found) = index.find_entry(hash(key), |&other| other as usize == position) {
                found.remove();
            }
            // The last entry is about to move to the place of the removed one.
            if let Some(moved) = index.find_mut(hash(list[last].key()), |&other| other as usize == last) {
                *moved = narrow(position);
            }
        }
        list.swap_remove(position);
        if list.len() < INDEXED_ABOVE / 2 {
            *index = None;
        }
        if list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
        true
    }

    fn position(&self, key: usize) -> Option<usize> {
        match &self.index {
            None => self.list.iter().position(|entry| entry.key() == key),
            Some(index) => index
                .find(hash(key), |&position| self.list[position as usize].key() == key)
                .map(|&position| position as usize),
        }
    }
}

/// A subscription as it is kept: 24 bytes for a subscriber that is a pointer.
#[derive(Clone, Debug)]
pub(crate) struct Entry<S> {
    subscriber: S,
    /// Made once, so that a match only counts a reference.
    ids: Option<SubscriptionIds>,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
}

impl<S: Subscriber> Entry<S> {
    fn new(subscription: Subscription<S>) -> Self {
        let Subscription { subscriber, qos, no_local, retain_as_published, id } = subscription;
        let ids = id.and_then(|id| SubscriptionIds::new(&[id.get()]));
        Self { subscriber, ids, qos, no_local, retain_as_published }
    }

    fn key(&self) -> usize {
        self.subscriber.key()
    }

    /// Who subscribed.
    pub(crate) fn subscriber(&self) -> &S {
        &self.subscriber
    }

    /// The highest QoS that the subscriber gets.
    pub(crate) fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether this subscription does not want what its own client publishes [MQTT-3.8.3-3].
    pub(crate) fn refuses(&self, publisher: Option<usize>) -> bool {
        self.no_local && publisher == Some(self.key())
    }

    /// What a match reports.
    pub(crate) fn target(&self) -> Target<S> {
        Target {
            subscriber: self.subscriber.clone(),
            qos: self.qos,
            retain_as_published: self.retain_as_published,
            ids: self.ids.clone(),
        }
    }
}

/// Lists up to this length are searched from end to end.
const INDEXED_ABOVE: usize = 32;

/// Keys are numbers that the server gave out, so the hash has only to spread them.
const fn hash(key: usize) -> u64 {
    let product = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[expect(clippy::expect_used, reason = "2^32 entries need more than 90 GiB")]
fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 subscribers")
}
