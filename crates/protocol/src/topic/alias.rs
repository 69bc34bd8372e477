//! Topic aliases: numbers that stand for topics, for one direction of one connection.
//!
//! [`InboundAliases`] keeps what the peer assigned, [`OutboundAliases`] decides what we assign. Both end with the
//! connection [MQTT-3.3.2-7]. Leaves out: where the alias stands in a packet, which is the property table's affair.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::error::Rule;

/// The aliases that the peer assigned on this connection. Holds no allocation until the first one.
///
/// A tree instead of a list by number, so that a large number costs no more memory than what came with it.
#[derive(Debug, Default)]
pub struct InboundAliases {
    topics: BTreeMap<u16, Box<str>>,
}

impl InboundAliases {
    /// The topic of a PUBLISH with an alias: a topic that is not empty is assigned to the alias, an empty one is
    /// looked up. `maximum` is the Topic Alias Maximum that we announced.
    ///
    /// # Errors
    ///
    /// [`Rule::TopicAliasOutOfRange`] for 0 and above the maximum [MQTT-3.3.2-8] [MQTT-3.3.2-9],
    /// [`Rule::TopicAliasUnknown`] for one that was not assigned on this connection.
    pub fn resolve<'a>(&'a mut self, alias: u16, topic: &'a str, maximum: u16) -> Result<&'a str, Rule> {
        if alias == 0 || alias > maximum {
            return Err(Rule::TopicAliasOutOfRange);
        }
        if topic.is_empty() {
            return self.topics.get(&alias).map(|topic| &**topic).ok_or(Rule::TopicAliasUnknown);
        }
        let known = self.topics.get(&alias).is_some_and(|known| **known == *topic);
        if !known {
            self.topics.insert(alias, topic.into());
        }
        Ok(topic)
    }
}

/// How the topic of an outgoing PUBLISH is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The topic with this alias, which stands for it from now on.
    Assign(NonZeroU16),
    /// An empty topic: the alias was assigned before.
    Use(NonZeroU16),
}

impl Alias {
    /// The number on the wire.
    pub const fn number(self) -> NonZeroU16 {
        match self {
            Self::Assign(number) | Self::Use(number) => number,
        }
    }
}

/// The aliases that we assign on this connection.
///
/// Topics get the numbers first come, first served. When all are given, one in [`MISSES_PER_REASSIGNMENT`] messages
/// without an alias takes over the number that was assigned longest ago, so that the aliases follow topics that
/// change, and a sender of ever new topics wastes little on it.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    numbers: HashMap<Arc<[u8]>, NonZeroU16>,
    /// The topics by number, from 1.
    topics: Vec<Arc<[u8]>>,
    /// The place in `topics` that is taken over next.
    oldest: usize,
    misses: u8,
}

impl OutboundAliases {
    /// At most `maximum` aliases, and never more than [`MOST_ALIASES`].
    pub fn new(maximum: u16) -> Self {
        Self {
            maximum: maximum.min(MOST_ALIASES),
            numbers: HashMap::new(),
            topics: Vec::new(),
            oldest: 0,
            misses: 0,
        }
    }

    /// The alias of this topic, if it has one.
    pub fn find(&self, topic: &[u8]) -> Option<Alias> {
        self.numbers.get(topic).copied().map(Alias::Use)
    }

    /// How to write this topic: a new assignment counts as sent. `None` is without an alias.
    pub fn choose(&mut self, topic: &[u8]) -> Option<Alias> {
        if let Some(alias) = self.find(topic) {
            return Some(alias);
        }
        if topic.len() < SHORTEST_TOPIC || self.maximum == 0 {
            return None;
        }
        let place = if self.topics.len() < usize::from(self.maximum) {
            self.topics.len()
        } else {
            self.misses += 1;
            if self.misses < MISSES_PER_REASSIGNMENT {
                return None;
            }
            self.misses = 0;
            self.oldest
        };
        self.assign(place, topic).map(Alias::Assign)
    }

    fn assign(&mut self, place: usize, topic: &[u8]) -> Option<NonZeroU16> {
        let number = NonZeroU16::new(u16::try_from(place + 1).ok()?)?;
        let topic: Arc<[u8]> = topic.into();
        if place == self.topics.len() {
            self.topics.push(Arc::clone(&topic));
        } else {
            let before = std::mem::replace(&mut self.topics[place], Arc::clone(&topic));
            self.numbers.remove(&before);
            self.oldest = (place + 1) % self.topics.len();
        }
        self.numbers.insert(topic, number);
        Some(number)
    }
}

/// How many messages without an alias pass before one of them takes an alias over.
pub const MISSES_PER_REASSIGNMENT: u8 = 8;
/// The bound of our own memory, whatever the peer would accept.
pub const MOST_ALIASES: u16 = 1024;
/// The property has 3 bytes: a topic as short as that is not worth one.
const SHORTEST_TOPIC: usize = 4;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::{Alias, InboundAliases, MISSES_PER_REASSIGNMENT, OutboundAliases};
    use crate::error::Rule;

    fn assign(number: u16) -> Option<Alias> {
        NonZeroU16::new(number).map(Alias::Assign)
    }

    fn use_(number: u16) -> Option<Alias> {
        NonZeroU16::new(number).map(Alias::Use)
    }

    #[test]
    fn an_alias_is_assigned_used_and_assigned_anew() {
        let mut aliases = InboundAliases::default();
        assert_eq!(aliases.resolve(3, "first/topic", 5), Ok("first/topic"));
        assert_eq!(aliases.resolve(3, "", 5), Ok("first/topic"));
        assert_eq!(aliases.resolve(3, "second/topic", 5), Ok("second/topic"));
        assert_eq!(aliases.resolve(3, "", 5), Ok("second/topic"));
    }

    #[test]
    fn aliases_out_of_range_or_unknown_are_refused() {
        let mut aliases = InboundAliases::default();
        assert_eq!(aliases.resolve(0, "topic", 5), Err(Rule::TopicAliasOutOfRange));
        assert_eq!(aliases.resolve(6, "topic", 5), Err(Rule::TopicAliasOutOfRange));
        assert_eq!(aliases.resolve(1, "topic", 0), Err(Rule::TopicAliasOutOfRange));
        assert_eq!(aliases.resolve(5, "", 5), Err(Rule::TopicAliasUnknown));
    }

    #[test]
    fn outgoing_topics_are_served_first_come_first_served() {
        let mut aliases = OutboundAliases::new(2);
        assert_eq!(aliases.choose(b"topic/a"), assign(1));
        assert_eq!(aliases.choose(b"topic/b"), assign(2));
        assert_eq!(aliases.choose(b"topic/c"), None);
        assert_eq!(aliases.choose(b"topic/a"), use_(1));
        assert_eq!(aliases.find(b"topic/c"), None);
    }

    #[test]
    fn when_all_are_given_the_oldest_is_taken_over_now_and_then() {
        let mut aliases = OutboundAliases::new(2);
        aliases.choose(b"topic/a");
        aliases.choose(b"topic/b");
        for _ in 1..MISSES_PER_REASSIGNMENT {
            assert_eq!(aliases.choose(b"topic/c"), None);
        }
        assert_eq!(aliases.choose(b"topic/c"), assign(1));
        assert_eq!(aliases.choose(b"topic/c"), use_(1));
        assert_eq!(aliases.choose(b"topic/b"), use_(2));
        assert_eq!(aliases.choose(b"topic/a"), None);
    }

    #[test]
    fn topics_shorter_than_the_property_and_peers_without_aliases_get_none() {
        assert_eq!(OutboundAliases::new(5).choose(b"abc"), None);
        assert_eq!(OutboundAliases::new(0).choose(b"topic/a"), None);
    }
}
