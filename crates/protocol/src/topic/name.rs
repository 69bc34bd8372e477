//! Topic names: what a message is about.
//!
//! Relates to: [`TopicFilter`](super::TopicFilter), which selects names. Leaves out: which names a server lets a
//! client use.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::{TopicError, excerpt};
use crate::codec::words;

/// The topic of a message: a text in levels that `/` separates. Not empty, without wildcards and U+0000, at most
/// 65,535 bytes. Cheap to clone.
///
/// ```
/// use gantline_protocol::TopicName;
///
/// let topic = TopicName::new("sensors/kitchen/temperature")?;
/// assert_eq!(topic.levels().count(), 3);
/// assert!(TopicName::new("sensors/+").is_err());
/// # Ok::<(), gantline_protocol::TopicError>(())
/// ```
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// By text. Names that share it, as messages in a row do, need no look at it.
impl PartialEq for TopicName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for TopicName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TopicName {
    /// Takes a text as topic name.
    ///
    /// # Errors
    ///
    /// The text is empty, too long, or contains `+`, `#` or U+0000.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// A text that was checked where it came from.
    pub(crate) fn trusted(text: &str) -> Self {
        debug_assert!(Self::is_valid(text));
        Self(text.into())
    }

    /// Whether a text is a topic name, as an error that says why not. Makes no copy of a good text.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    #[inline]
    pub fn check(text: &str) -> Result<(), TopicError> {
        if Self::is_valid(text) { Ok(()) } else { Err(explain(text)) }
    }

    /// Whether a text is a topic name. Looks at each byte once and allocates nothing, whatever the answer.
    #[inline]
    pub fn is_valid(text: &str) -> bool {
        let length = text.len();
        length != 0 && length <= usize::from(u16::MAX) && !words::any(text.as_bytes(), special_bits)
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels. A `/` at the front or end, or two in a row, make empty ones.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Not zero if one of the eight bytes is U+0000, `+` or `#`. In UTF-8 none of the three is part of another character.
#[inline]
const fn special_bits(word: u64) -> u64 {
    // `#` and `+` differ in one bit only.
    const DIFFERENCE: u8 = b'#' ^ b'+';
    let wildcard = (word & words::each(!DIFFERENCE)) ^ words::each(b'#' & !DIFFERENCE);
    words::zero_bits(word) | words::zero_bits(wildcard)
}

#[cold]
fn explain(text: &str) -> TopicError {
    if text.is_empty() {
        TopicError::Empty
    } else if text.len() > usize::from(u16::MAX) {
        TopicError::TooLong { text: excerpt(text), length: text.len() }
    } else if text.as_bytes().contains(&0) {
        TopicError::NullCharacter { text: excerpt(text) }
    } else {
        TopicError::WildcardInName { text: excerpt(text) }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for TopicName {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<&str> for TopicName {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<&String> for TopicName {
    type Error = TopicError;

    fn try_from(text: &String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<&Self> for TopicName {
    fn from(name: &Self) -> Self {
        name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_dollars_and_spaces_are_allowed_anywhere() {
        for text in ["a", "/", "//", "/a/", "a//b", "$SYS", "a b", "ä/€/𝄞", "a,b*c!\"$%&'()-."] {
            assert_eq!(TopicName::check(text), Ok(()), "{text}");
        }
        assert_eq!(TopicName::new("/a//").unwrap().levels().collect::<Vec<_>>(), ["", "a", "", ""]);
    }

    #[test]
    fn a_special_character_is_found_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for special in [b'+', b'#', 0] {
                    let mut bytes = vec![b'x'; length];
                    assert!(TopicName::is_valid(str::from_utf8(&bytes).unwrap()));
                    bytes[at] = special;
                    assert!(!TopicName::is_valid(str::from_utf8(&bytes).unwrap()), "{length} {at}");
                }
            }
        }
    }

    #[test]
    fn no_other_character_is_taken_for_a_special_one() {
        for character in (1..0x3000).filter_map(char::from_u32).filter(|c| !"+#".contains(*c)) {
            let text = String::from_iter([character; 9]);
            assert!(TopicName::is_valid(&text), "{character:?}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(TopicName::new(""), Err(TopicError::Empty));
        let text = || "a\0b".to_owned();
        assert_eq!(TopicName::new(text()), Err(TopicError::NullCharacter { text: text() }));
        assert_eq!(
            "a/+/b".parse::<TopicName>().unwrap_err().to_string(),
            "topic name \"a/+/b\" contains a wildcard, which only filters may"
        );
        assert!(TopicName::new("x".repeat(65_535)).is_ok());
        assert!(matches!(TopicName::new("x".repeat(65_536)), Err(TopicError::TooLong { .. })));
    }
}
