//! Messages as JSON objects.
//!
//! A message is `{"topic":"a/b","payload":"21.5"}` with what else it has; a payload that is no plain text is
//! `payload_base64`. Relates to: the records of the logs and the arrays of `json.rs`, which have such objects. Leaves
//! out: MQTTnet's shape.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantline_protocol::{Message, PayloadFormat, PublishProperties, QoS, TopicName};
use serde::{Deserialize, Serialize};

/// Why the object of a message is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not JSON, or lacks something, or has something that we do not know.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// What must be a topic is none; the error names it.
    #[error("{0}")]
    Topic(String),
    /// Bytes are not in base64.
    #[error("{field} is not base64: {source}")]
    Base64 {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        source: base64::DecodeError,
    },
    /// A field has a value that it cannot have.
    #[error("{field} cannot be {value}")]
    Value {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// There is no payload, or two.
    #[error("a message needs exactly one payload")]
    Payload,
    /// The payload is empty, which to a server means that nothing is retained.
    #[error("a retained message needs a payload that is not empty")]
    EmptyPayload,
    /// Its line would be too long.
    #[error("it takes a line of {bytes} bytes, and {longest} are allowed (FileStoreOptions::longest_line)")]
    TooLong {
        /// How long it would be.
        bytes: usize,
        /// How long it may be.
        longest: u32,
    },
    /// The message holds something that MQTT cannot carry.
    #[error("the message cannot be sent: {0}")]
    Message(String),
}

/// A message. What is not said is as in MQTT.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageRecord<'a> {
    topic: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_format: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The message expiry interval in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<u32>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl<'a> MessageRecord<'a> {
    /// The record of a message that expires then. What could not be read again is refused.
    pub(crate) fn of(message: &'a Message, expires: Option<SystemTime>) -> Result<Self, RecordError> {
        check(message)?;
        let properties = message.properties();
        let text = message.payload_str().ok().filter(|text| is_plain(text));
        Ok(Self {
            topic: message.topic().as_str().into(),
            payload: text.map(Into::into),
            payload_base64: text.is_none().then(|| STANDARD.encode(message.payload())),
            qos: message.qos_level().value(),
            retain: message.is_retained(),
            payload_format: (properties.payload_format_indicator == PayloadFormat::Utf8)
                .then_some(UTF8.into()),
            content_type: properties.content_type.as_deref().map(Into::into),
            response_topic: properties.response_topic.as_ref().map(|topic| topic.as_str().into()),
            correlation_data_base64: properties.correlation_data.as_ref().map(|data| STANDARD.encode(data)),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            expiry: properties.message_expiry_interval,
            expires: expires.map(millis),
        })
    }

    /// The same of a message that is retained anyway.
    #[cfg(feature = "server")]
    pub(crate) const fn retained(mut self) -> Self {
        self.retain = false;
        self
    }

    /// The message, and when it expires.
    pub(crate) fn message(self) -> Result<(Message, Option<SystemTime>), RecordError> {
        let payload = match (self.payload, self.payload_base64) {
            (Some(text), None) => text.into_owned().into_bytes(),
            (None, Some(text)) => decode("payload_base64", &text)?,
            _ => return Err(RecordError::Payload),
        };
        let correlation = self.correlation_data_base64;
        let properties = PublishProperties {
            payload_format_indicator: match self.payload_format.as_deref() {
                None => PayloadFormat::Unspecified,
                Some(UTF8) => PayloadFormat::Utf8,
                Some(other) => return Err(value("payload_format", other)),
            },
            message_expiry_interval: self.expiry,
            content_type: self.content_type.map(Cow::into_owned),
            response_topic: self.response_topic.as_deref().map(topic).transpose()?,
            correlation_data: correlation
                .map(|data| decode("correlation_data_base64", &data))
                .transpose()?
                .map(Into::into),
            user_properties: self.user_properties.into_iter().collect(),
            ..PublishProperties::NONE
        };
        let expires = match self.expires {
            None => None,
            Some(millis) => Some(
                SystemTime::UNIX_EPOCH
                    .checked_add(Duration::from_millis(millis))
                    .ok_or_else(|| value("expires", millis))?,
            ),
        };
        let message = finish(topic(&self.topic)?, payload, self.qos, properties)?;
        Ok((message.retain(self.retain), expires))
    }
}

/// The message of its parts, if it can be sent.
pub(crate) fn finish(
    topic: TopicName,
    payload: Vec<u8>,
    qos: u8,
    properties: PublishProperties,
) -> Result<Message, RecordError> {
    let qos = QoS::from_u8(qos).ok_or_else(|| value("qos", qos))?;
    let message = Message::new(topic, payload).map_err(|error| RecordError::Topic(error.to_string()))?;
    let message = if properties.is_empty() { message } else { message.with_properties(properties) };
    check(&message)?;
    Ok(message.qos(qos))
}

fn check(message: &Message) -> Result<(), RecordError> {
    message.check().map_err(|error| RecordError::Message(error.to_string()))
}

pub(crate) fn topic(text: &str) -> Result<TopicName, RecordError> {
    TopicName::new(text).map_err(|error| RecordError::Topic(error.to_string()))
}

pub(crate) fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, RecordError> {
    STANDARD.decode(text).map_err(|source| RecordError::Base64 { field, source })
}

#[expect(clippy::needless_pass_by_value, reason = "so that numbers and texts read alike")]
pub(crate) fn value(field: &'static str, value: impl ToString) -> RecordError {
    RecordError::Value { field, value: value.to_string() }
}

/// Milliseconds since 1970; what is earlier has long expired.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether JSON shows the text as it is.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
}

pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn is_zero(number: &u8) -> bool {
    *number == 0
}

const UTF8: &str = "utf8";
