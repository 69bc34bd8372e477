//! What only 5.0 has, so that an older connection can refuse it by name instead of leaving it out.
//!
//! Relates to: [`ConnectOptions::validate_features`](crate::ConnectOptions::validate_features), which switches this
//! off. Leaves out: the options of CONNECT, which `options/check.rs` knows.

use gantline_protocol::{Message, ProtocolVersion};

use crate::shared::Shared;

/// The first property of a message that older versions do not have, by the name of its setter. What belongs to one
/// transmission, alias and subscription identifiers, is none of them.
pub(crate) fn property_of(message: &Message) -> Option<&'static str> {
    let properties = message.properties();
    if properties.is_empty() {
        return None;
    }
    first_of([
        ("expiry", properties.message_expiry_interval.is_some()),
        ("payload_format", properties.payload_format_indicator != Default::default()),
        ("content_type", properties.content_type.is_some()),
        ("response_topic", properties.response_topic.is_some()),
        ("correlation_data", properties.correlation_data.is_some()),
        ("user_property", !properties.user_properties.is_empty()),
    ])
}

/// The first of these names that applies.
pub(crate) fn first_of(options: impl IntoIterator<Item = (&'static str, bool)>) -> Option<&'static str> {
    options.into_iter().find_map(|(name, is_set)| is_set.then_some(name))
}

impl Shared {
    /// The version of the present connection, if what only 5.0 has is an error on it.
    pub(crate) fn strict_version(&self) -> Option<ProtocolVersion> {
        let station = self.station.lock();
        station.version.filter(|version| !version.has_properties() && station.options.validate_features)
    }
}
