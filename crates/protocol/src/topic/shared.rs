//! Shared filters: `$share/<group>/<filter>`, whose messages are divided among the group.
//!
//! Relates to: [`TopicFilter`](super::TopicFilter), which recognises them. Leaves out: how a server divides.

use super::{TopicError, excerpt};

/// The parts of a shared filter, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFilter<'a> {
    /// The name of the group: not empty, without `/` and wildcards.
    pub group: &'a str,
    /// The filter behind the group. Not empty; its wildcards are not checked here.
    pub filter: &'a str,
}

impl<'a> SharedFilter<'a> {
    /// Takes a filter apart. `None` if it does not begin with `$share/` and so is an ordinary one.
    ///
    /// # Errors
    ///
    /// The group is empty or contains a wildcard, or no filter follows it [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    pub fn parse(text: &'a str) -> Result<Option<Self>, TopicError> {
        let Some(rest) = text.strip_prefix(PREFIX) else { return Ok(None) };
        let (group, filter) = rest.split_once('/').unwrap_or((rest, ""));
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::InvalidGroup { text: excerpt(text) });
        }
        if filter.is_empty() {
            return Err(TopicError::MissingPattern { text: excerpt(text) });
        }
        Ok(Some(Self { group, filter }))
    }
}

/// What shared filters begin with.
pub(super) const PREFIX: &str = "$share/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filter_has_two_parts() {
        let parse = |text| SharedFilter::parse(text).unwrap();
        assert_eq!(parse("$share/g/a/+"), Some(SharedFilter { group: "g", filter: "a/+" }));
        assert_eq!(parse("$share/g//"), Some(SharedFilter { group: "g", filter: "/" }));
    }

    #[test]
    fn other_filters_are_ordinary() {
        for text in ["a/b", "$share", "$shared/g/a", "a/$share/g/b", "$SHARE/g/a"] {
            assert_eq!(SharedFilter::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn group_and_filter_must_be_there() {
        for text in ["$share/", "$share//a", "$share/+/a", "$share/g#/a", "$share/#"] {
            assert!(matches!(SharedFilter::parse(text), Err(TopicError::InvalidGroup { .. })), "{text}");
        }
        for text in ["$share/g", "$share/g/"] {
            assert!(matches!(SharedFilter::parse(text), Err(TopicError::MissingPattern { .. })), "{text}");
        }
    }
}
