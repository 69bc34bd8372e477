//! Topic templates: topics with named levels, to make names and filters from and to take names apart.
//!
//! Relates to: [`TopicFilter`], which a template becomes on the wire, and [`TopicName`]. Leaves out: types; what a
//! level says is text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{TopicError, TopicFilter, TopicName, excerpt};

/// A topic in which levels have names: `sensors/{room}/temperature`. Cheap to clone.
///
/// A level in braces is a parameter and stands for one level of any content, like `+`. `{name...}` as the last level
/// stands for all further levels, which may be none, like `#`.
///
/// ```
/// use gantline_protocol::TopicTemplate;
///
/// let template = TopicTemplate::new("sensors/{room}/temperature")?;
/// assert_eq!(template.filter().as_str(), "sensors/+/temperature");
/// assert_eq!(template.extract("sensors/kitchen/temperature").unwrap().get("room"), Some("kitchen"));
/// assert_eq!(template.fill(&[("room", "cellar")])?.as_str(), "sensors/cellar/temperature");
/// # Ok::<(), gantline_protocol::TemplateError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicTemplate {
    text: Arc<str>,
    levels: Arc<[Level]>,
    filter: TopicFilter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Level {
    Fixed(Box<str>),
    /// One level.
    One(Box<str>),
    /// All further levels.
    Rest(Box<str>),
}

impl TopicTemplate {
    /// Takes a text as template.
    ///
    /// # Errors
    ///
    /// Braces are not around a whole level, a parameter has no name or the name of another one, `{name...}` is not the
    /// last level, what stands around the parameters is part of no topic name, or the template begins with `$share/`:
    /// the group belongs to the subscription, see [`shared_filter`](Self::shared_filter).
    pub fn new(text: impl AsRef<str>) -> Result<Self, TemplateError> {
        let text = text.as_ref();
        let levels: Vec<Level> = text.split('/').map(Level::parse).collect::<Result<_, _>>()?;
        let misplaced = levels.iter().rev().skip(1).find_map(|level| match level {
            Level::Rest(name) => Some(name),
            Level::Fixed(_) | Level::One(_) => None,
        });
        if let Some(name) = misplaced {
            return Err(TemplateError::MisplacedRest { name: name.to_string() });
        }
        let names: Vec<&str> = levels.iter().filter_map(Level::name).collect();
        if let Some((_, name)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name))
        {
            return Err(TemplateError::DuplicateName { name: (*name).to_owned() });
        }
        for level in &levels {
            if let Level::Fixed(fixed) = level
                && !fixed.is_empty()
            {
                TopicName::check(fixed)?;
            }
        }
        let filter = TopicFilter::new(pattern(&levels))?;
        if filter.group().is_some() {
            return Err(TemplateError::Shared { text: excerpt(text) });
        }
        Ok(Self { text: text.into(), levels: levels.into(), filter })
    }

    /// The text, with its braces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(Level::name)
    }

    /// The filter that selects all topics of this template, to subscribe to.
    pub const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// As [`filter`](Self::filter), shared in a group.
    ///
    /// # Errors
    ///
    /// The text is no name of a group.
    pub fn shared_filter(&self, group: &str) -> Result<TopicFilter, TemplateError> {
        Ok(TopicFilter::new(format!("$share/{group}/{}", self.filter))?)
    }

    /// Whether a topic is one of this template. A parameter at the front does not match a topic that begins with `$`
    /// [MQTT-4.7.2-1], as its filter would not.
    pub fn matches(&self, topic: &str) -> bool {
        self.extract(topic).is_some()
    }

    /// Takes a topic apart; `None` if it is not one of this template.
    pub fn extract<'a>(&'a self, topic: &'a str) -> Option<TopicParameters<'a>> {
        if topic.starts_with('$') && self.levels.first().is_some_and(|level| level.name().is_some()) {
            return None;
        }
        let mut found = Vec::new();
        // What is left, `None` behind the last level.
        let mut rest = Some(topic);
        for level in self.levels.iter() {
            if let Level::Rest(name) = level {
                found.push((&**name, rest.unwrap_or("")));
                return Some(TopicParameters(found));
            }
            let (first, behind) = match rest?.split_once('/') {
                Some((first, behind)) => (first, Some(behind)),
                None => (rest?, None),
            };
            match level {
                Level::Fixed(fixed) if **fixed != *first => return None,
                Level::Fixed(_) | Level::Rest(_) => {}
                Level::One(name) => found.push((&**name, first)),
            }
            rest = behind;
        }
        rest.is_none().then_some(TopicParameters(found))
    }

    /// The topic in which these values stand for the parameters. The value of a `{name...}` may have several levels; if
    /// it is empty, the topic ends before it.
    ///
    /// # Errors
    ///
    /// A parameter has no value or two, a value is for no parameter, is more than one level, contains a wildcard or
    /// U+0000, or the whole is too long or empty.
    pub fn fill(&self, values: &[(&str, &str)]) -> Result<TopicName, TemplateError> {
        for (index, (name, _)) in values.iter().enumerate() {
            if !self.parameters().any(|parameter| parameter == *name) {
                return Err(TemplateError::UnknownName { name: (*name).to_owned(), template: self.clone() });
            }
            if values[..index].iter().any(|(other, _)| other == name) {
                return Err(TemplateError::DuplicateName { name: (*name).to_owned() });
            }
        }
        let value_of = |name: &str| {
            let value = values.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            value.ok_or_else(|| TemplateError::MissingValue { name: name.to_owned(), template: self.clone() })
        };
        let mut topic = String::with_capacity(self.text.len());
        for (index, level) in self.levels.iter().enumerate() {
            let part = match level {
                Level::Fixed(fixed) => fixed,
                Level::One(name) => match value_of(name)? {
                    value if value.contains('/') => {
                        let (name, value) = (name.to_string(), excerpt(value));
                        return Err(TemplateError::SeveralLevels { name, value });
                    }
                    value => value,
                },
                Level::Rest(name) => match value_of(name)? {
                    "" if index > 0 => break,
                    value => value,
                },
            };
            if index > 0 {
                topic.push('/');
            }
            topic.push_str(part);
        }
        Ok(TopicName::new(topic)?)
    }
}

/// The text of the filter.
fn pattern(levels: &[Level]) -> String {
    let levels: Vec<&str> = levels.iter().map(Level::pattern).collect();
    levels.join("/")
}

impl Level {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.contains(['{', '}']) {
            return Ok(Self::Fixed(text.into()));
        }
        let misplaced = || TemplateError::MisplacedBraces { level: excerpt(text) };
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(misplaced)?;
        let (name, is_rest) = match inside.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inside, false),
        };
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(misplaced());
        }
        Ok(if is_rest { Self::Rest(name.into()) } else { Self::One(name.into()) })
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }

    fn pattern(&self) -> &str {
        match self {
            Self::Fixed(fixed) => fixed,
            Self::One(_) => "+",
            Self::Rest(_) => "#",
        }
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

/// Lets a template be given where a filter may.
impl From<&TopicTemplate> for TopicFilter {
    fn from(template: &TopicTemplate) -> Self {
        template.filter.clone()
    }
}

impl FromStr for TopicTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// What stands in a topic for the parameters of a template. Made by [`TopicTemplate::extract`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicParameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> TopicParameters<'a> {
    /// What stands for the parameter of this name; `None` if the template has none.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(held, _)| *held == name).map(|(_, value)| *value)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }
}

/// Why a text is no topic template, or why a template cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Braces are not around a whole level, or around nothing.
    #[error("in level {level:?}, braces must be around the whole level and have a name inside")]
    MisplacedBraces {
        /// The level.
        level: String,
    },
    /// All further levels are followed by one more.
    #[error("parameter {{{name}...}} must be the last level")]
    MisplacedRest {
        /// The name of the parameter.
        name: String,
    },
    /// Two parameters, or two values, have one name.
    #[error("parameter {name:?} is there twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// The template begins with `$share/`.
    #[error(
        "template {text:?} is that of a shared subscription: leave `$share/<group>/` out and use shared_filter"
    )]
    Shared {
        /// The text.
        text: String,
    },
    /// A value is given for a parameter that the template does not have.
    #[error("template {template} has no parameter {name:?}")]
    UnknownName {
        /// The name.
        name: String,
        /// The template.
        template: TopicTemplate,
    },
    /// A parameter was given no value.
    #[error("parameter {name:?} of template {template} has no value")]
    MissingValue {
        /// The name.
        name: String,
        /// The template.
        template: TopicTemplate,
    },
    /// The value of a single level has a `/`.
    #[error("value {value:?} of parameter {name:?} has more than one level")]
    SeveralLevels {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// It is no topic otherwise.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

#[cfg(test)]
mod tests;
