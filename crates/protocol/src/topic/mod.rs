//! Topics: names that messages have, filters that subscriptions have, and how the two match.
//!
//! [`TopicName`] and [`TopicFilter`] cannot hold a wrong text; [`SharedFilter`] takes a `$share` filter apart;
//! [`matches()`] says whether a filter wants a message; a [`TopicTemplate`] names levels. The aliases of one
//! connection stand in `alias.rs`. Leaves out: finding all matching subscriptions at once, which a server does with an
//! index.

mod alias;
mod filter;
mod name;
mod shared;
mod template;

use std::convert::Infallible;

pub use self::alias::{Alias, InboundAliases, MISSES_PER_REASSIGNMENT, MOST_ALIASES, OutboundAliases};
pub use self::filter::TopicFilter;
pub use self::name::TopicName;
pub use self::shared::SharedFilter;
pub use self::template::{TemplateError, TopicParameters, TopicTemplate};

/// Whether a message with this topic is wanted by a subscription with this pattern.
///
/// This is the reference: it takes both texts as they are and walks them level by level. `+` stands for one level,
/// which may be empty, `#` for the level before it and everything below [MQTT-4.7.1-1]. A wildcard at the front does
/// not match a topic that begins with `$` [MQTT-4.7.2-1]. The pattern is without `$share/<group>/`.
///
/// ```
/// use gantline_protocol::topic;
///
/// assert!(topic::matches("sensors/+/temperature", "sensors/kitchen/temperature"));
/// assert!(topic::matches("sensors/#", "sensors"));
/// assert!(!topic::matches("#", "$SYS/uptime"));
/// ```
pub fn matches(pattern: &str, topic: &str) -> bool {
    if topic.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in pattern.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == level || wanted == "+" => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Why a text is no topic name or no topic filter. Long texts are shown shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// It is empty [MQTT-4.7.3-1].
    #[error("the topic is empty")]
    Empty,
    /// It has more than 65,535 bytes [MQTT-4.7.3-3].
    #[error("topic {text:?} has {length} bytes, at most 65535 are allowed")]
    TooLong {
        /// The text.
        text: String,
        /// Its length in bytes.
        length: usize,
    },
    /// It contains U+0000 [MQTT-4.7.3-2].
    #[error("topic {text:?} contains U+0000")]
    NullCharacter {
        /// The text.
        text: String,
    },
    /// A topic name contains `+` or `#` [MQTT-4.7.0-1].
    #[error("topic name {text:?} contains a wildcard, which only filters may")]
    WildcardInName {
        /// The text.
        text: String,
    },
    /// A wildcard of a filter is not a whole level, or `#` is not the last one [MQTT-4.7.1-1] [MQTT-4.7.1-2].
    #[error("in topic filter {text:?}, `+` must be a whole level and `#` the whole last one")]
    MisplacedWildcard {
        /// The text.
        text: String,
    },
    /// The group of a `$share` filter is empty or contains a wildcard [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    #[error("topic filter {text:?} has no valid group behind `$share/`")]
    InvalidGroup {
        /// The text.
        text: String,
    },
    /// A `$share` filter has a group and nothing behind it [MQTT-4.8.2-2].
    #[error("topic filter {text:?} ends behind its group, expected `$share/<group>/<filter>`")]
    MissingPattern {
        /// The text.
        text: String,
    },
}

/// Lets what is a topic name already be given where a text may.
impl From<Infallible> for TopicError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// As much of a text as an error shows.
fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 80;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pattern_matches_only_itself() {
        assert!(matches("a/b", "a/b"));
        for topic in ["a", "a/b/", "/a/b", "a/b/c", "a/B", "A/b", "ab"] {
            assert!(!matches("a/b", topic), "{topic}");
        }
    }

    #[test]
    fn plus_stands_for_exactly_one_level() {
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
        assert!(matches("+/tennis/#", "sport/tennis"));
    }

    #[test]
    fn hash_stands_for_its_parent_and_everything_below() {
        for topic in ["sport", "sport/", "sport/tennis", "sport/tennis/player1/ranking"] {
            assert!(matches("sport/#", topic), "{topic}");
            assert!(matches("#", topic), "{topic}");
        }
        assert!(!matches("sport/#", "sports"));
        assert!(!matches("sport/+/#", "sport"));
        assert!(matches("/#", "/"));
        assert!(matches("/#", "/a"));
        assert!(!matches("/#", "a"));
    }

    #[test]
    fn wildcards_at_the_front_do_not_see_dollar_topics() {
        assert!(!matches("#", "$SYS/monitor"));
        assert!(!matches("+/monitor", "$SYS/monitor"));
        assert!(!matches("+", "$"));
        assert!(matches("$SYS/#", "$SYS/monitor"));
        assert!(matches("$SYS/+", "$SYS/monitor"));
        assert!(matches("a/+", "a/$SYS"), "a dollar further behind is an ordinary character");
    }

    #[test]
    fn empty_levels_are_levels() {
        assert!(matches("a//b", "a//b"));
        assert!(matches("a/+/b", "a//b"));
        assert!(!matches("a/b", "a//b"));
        assert!(matches("//", "//"));
        assert!(matches("+/+/+", "//"));
        assert!(!matches("+/+", "//"));
    }

    #[test]
    fn characters_of_several_bytes_are_compared_whole() {
        assert!(matches("größe/+", "größe/€"));
        assert!(!matches("größe", "grösse"));
    }

    #[test]
    fn errors_show_an_excerpt() {
        let long = "ä".repeat(70_000);
        let TopicError::TooLong { text, length } = TopicName::new(&long).unwrap_err() else {
            panic!("too long");
        };
        assert_eq!((text.chars().count(), length), (81, 140_000));
    }
}
