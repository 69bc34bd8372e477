//! Topic filters: what a subscription wants.
//!
//! Relates to: [`TopicName`], which filters match, and [`SharedFilter`], the form with a group.
//! Leaves out: the options of a subscription, which stand in SUBSCRIBE.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::shared::{self, SharedFilter};
use super::{TopicError, TopicName, excerpt};

/// A topic filter: a text in levels, of which some may be wildcards, perhaps shared in a group. Cheap to clone.
///
/// Two filters are equal if their whole texts are.
///
/// ```
/// use gantline_protocol::TopicFilter;
///
/// let filter = TopicFilter::new("$share/workers/jobs/+")?;
/// assert_eq!((filter.group(), filter.pattern()), (Some("workers"), "jobs/+"));
/// assert!(filter.matches("jobs/7"));
/// # Ok::<(), gantline_protocol::TopicError>(())
/// ```
#[derive(Clone)]
pub struct TopicFilter {
    text: Arc<str>,
    /// Where the pattern begins: behind `$share/<group>/`, else 0. The text has at most 65,535 bytes.
    pattern: u16,
    has_wildcard: bool,
}

impl TopicFilter {
    /// Takes a text as topic filter, with or without `$share/<group>/`.
    ///
    /// # Errors
    ///
    /// The text is empty, too long, contains U+0000, has a wildcard that is not a whole level or a `#` that is not the
    /// last one, or begins with `$share/` and has no valid group or nothing behind it.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(TopicError::TooLong { text: excerpt(text), length: text.len() });
        }
        if text.as_bytes().contains(&0) {
            return Err(TopicError::NullCharacter { text: excerpt(text) });
        }
        let pattern = SharedFilter::parse(text)?.map_or(text, |shared| shared.filter);
        let has_wildcard =
            check_wildcards(pattern).ok_or_else(|| TopicError::MisplacedWildcard { text: excerpt(text) })?;
        Ok(Self { text: text.into(), pattern: (text.len() - pattern.len()) as u16, has_wildcard })
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What topics are compared with: the text without `$share/<group>/`.
    pub fn pattern(&self) -> &str {
        &self.text[usize::from(self.pattern)..]
    }

    /// The group, if the filter is shared.
    pub fn group(&self) -> Option<&str> {
        let end = usize::from(self.pattern).checked_sub(1)?;
        self.text.get(shared::PREFIX.len()..end)
    }

    /// Whether the filter is shared in a group.
    pub const fn is_shared(&self) -> bool {
        self.pattern != 0
    }

    /// The levels of the pattern. A `/` at the front or end, or two in a row, make empty ones.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.pattern().split('/')
    }

    /// Whether the pattern has a `+` or `#`, so that it may match more than one topic.
    pub const fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    /// Whether it wants messages with this topic; see [`topic::matches`](super::matches).
    pub fn matches(&self, topic: &str) -> bool {
        if self.has_wildcard { super::matches(self.pattern(), topic) } else { self.pattern() == topic }
    }
}

/// Whether the pattern has wildcards; `None` if one is misplaced [MQTT-4.7.1-1] [MQTT-4.7.1-2].
fn check_wildcards(pattern: &str) -> Option<bool> {
    let mut found = false;
    let mut levels = pattern.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "+" => found = true,
            "#" if levels.peek().is_none() => found = true,
            _ if level.contains(['+', '#']) => return None,
            _ => {}
        }
    }
    Some(found)
}

impl PartialEq for TopicFilter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicFilter {}

impl PartialOrd for TopicFilter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicFilter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for TopicFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for TopicFilter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<&String> for TopicFilter {
    type Error = TopicError;

    fn try_from(text: &String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<&Self> for TopicFilter {
    fn from(filter: &Self) -> Self {
        filter.clone()
    }
}

/// The filter that wants exactly this topic. One that begins with `$share/` means a group when it is a filter, so
/// that there is none for it.
impl TryFrom<&TopicName> for TopicFilter {
    type Error = TopicError;

    fn try_from(name: &TopicName) -> Result<Self, Self::Error> {
        match Self::new(name) {
            Ok(filter) if filter.is_shared() => {
                Err(TopicError::InvalidGroup { text: excerpt(name.as_str()) })
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn wildcards_are_whole_levels() {
        for text in ["#", "+", "a/#", "a/+", "+/a", "+/+/#", "/+", "/#", "a//#", "a/b", "/", "$SYS/#"] {
            assert!(TopicFilter::new(text).is_ok(), "{text}");
        }
        for text in ["#/a", "a#", "a+", "+a", "a/#/b", "a/b#", "##", "++", "a/+b", "#/", "/#/", "#/#"] {
            assert!(matches!(TopicFilter::new(text), Err(TopicError::MisplacedWildcard { .. })), "{text}");
        }
    }

    #[test]
    fn empty_long_and_null_are_refused() {
        assert_eq!(TopicFilter::new(""), Err(TopicError::Empty));
        assert!(matches!(TopicFilter::new("a\0"), Err(TopicError::NullCharacter { .. })));
        assert!(matches!(TopicFilter::new("x".repeat(65_536)), Err(TopicError::TooLong { .. })));
        assert!(TopicFilter::new("x".repeat(65_535)).is_ok());
    }

    #[test]
    fn a_shared_filter_matches_by_its_pattern() {
        let filter = TopicFilter::new("$share/g/#").unwrap();
        assert_eq!((filter.group(), filter.pattern()), (Some("g"), "#"));
        assert_eq!(filter.as_str(), "$share/g/#");
        assert_eq!(filter.levels().collect::<Vec<_>>(), ["#"]);
        assert!(filter.is_shared() && filter.has_wildcard());
        assert!(filter.matches("a/b"));
        assert!(!filter.matches("$SYS/a"));
        assert!(matches!(TopicFilter::new("$share/g/a#"), Err(TopicError::MisplacedWildcard { .. })));
        assert!(TopicFilter::new("$share/g").is_err());
    }

    #[test]
    fn an_ordinary_filter_has_no_group() {
        let filter = TopicFilter::new("$share").unwrap();
        assert_eq!((filter.group(), filter.pattern(), filter.has_wildcard()), (None, "$share", false));
        assert!(filter.matches("$share"));
        assert!(!filter.matches("$share/a"));
    }

    #[test]
    fn the_whole_text_is_the_identity() {
        let plain = TopicFilter::new("a").unwrap();
        let shared = TopicFilter::new("$share/g/a").unwrap();
        assert_ne!(plain, shared);
        assert!(HashSet::from([shared, plain]).contains("$share/g/a"));
    }
}
