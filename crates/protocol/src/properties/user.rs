//! User properties: pairs of strings that applications agree on.
//!
//! Relates to: every property set, which has them as its last field.

use super::table::{Field, Kind};
use super::value::Pair;

/// Pairs of name and value, in order. Names may repeat; the order is kept on the way [MQTT-3.3.2-18].
///
/// ```
/// use gantline_protocol::UserProperties;
///
/// let mut properties = UserProperties::default();
/// properties.push("unit", "celsius");
/// assert_eq!(properties.get("unit"), Some("celsius"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserProperties(Vec<(String, String)>);

impl UserProperties {
    /// No pairs.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a pair at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of the first pair of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many pairs there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Kind<Wire = Pair>> Field<K> for UserProperties {
    const REPEATS: bool = true;

    fn put(&mut self, value: (String, String)) {
        self.0.push(value);
    }

    fn values(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for UserProperties {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl IntoIterator for UserProperties {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_may_repeat() {
        let properties = UserProperties::from_iter([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(properties.get("b"), Some("1"));
        assert_eq!(properties.get("c"), None);
        assert_eq!(properties.len(), 3);
    }
}
