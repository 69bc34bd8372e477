//! Records: a change as a JSON object.
//!
//! A message is `{"topic":"a/b","payload":"21.5"}` with what else it has; a payload that is no plain text is
//! `payload_base64`. A clearing is `{"clear":"a/b"}`. Relates to: `line.rs`, which adds the checksum; `json.rs`, whose
//! arrays have the same objects. Leaves out: MQTTnet's shape.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantline_protocol::{Message, PayloadFormat, PublishProperties, QoS, TopicName};
use gantline_server::{RetainedChange, RetainedMessage};
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
    /// There is no payload, or an empty one, or two.
    #[error("a retained message needs exactly one payload that is not empty")]
    Payload,
    /// The message holds something that MQTT cannot carry.
    #[error("the message cannot be sent: {0}")]
    Message(String),
}

/// Appends the JSON of a change.
pub(crate) fn write(change: &RetainedChange, out: &mut Vec<u8>) -> Result<(), RecordError> {
    match change {
        RetainedChange::Set(message) => serde_json::to_writer(out, &MessageRecord::of(message))?,
        RetainedChange::Clear(topic) => {
            serde_json::to_writer(out, &ClearRecord { clear: topic.as_str().into() })?;
        }
    }
    Ok(())
}

/// The change of a JSON.
pub(crate) fn read(json: &[u8]) -> Result<RetainedChange, RecordError> {
    if json.starts_with(b"{\"clear\":") {
        let record: ClearRecord<'_> = serde_json::from_slice(json)?;
        return Ok(RetainedChange::Clear(topic(&record.clear)?));
    }
    serde_json::from_slice::<MessageRecord<'_>>(json)?.message().map(Into::into)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearRecord<'a> {
    clear: Cow<'a, str>,
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
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl<'a> MessageRecord<'a> {
    pub(crate) fn of(retained: &'a RetainedMessage) -> Self {
        let RetainedMessage { message, expires } = retained;
        let properties = message.properties();
        let text = message.payload_str().ok().filter(|text| is_plain(text));
        Self {
            topic: message.topic().as_str().into(),
            payload: text.map(Into::into),
            payload_base64: text.is_none().then(|| STANDARD.encode(message.payload())),
            qos: message.qos_level().value(),
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
            expires: expires.map(millis),
        }
    }

    pub(crate) fn message(self) -> Result<RetainedMessage, RecordError> {
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
        finish(topic(&self.topic)?, payload, self.qos, properties, expires)
    }
}

/// The message of its parts, if a server can retain it.
pub(crate) fn finish(
    topic: TopicName,
    payload: Vec<u8>,
    qos: u8,
    properties: PublishProperties,
    expires: Option<SystemTime>,
) -> Result<RetainedMessage, RecordError> {
    if payload.is_empty() {
        return Err(RecordError::Payload);
    }
    let qos = QoS::from_u8(qos).ok_or_else(|| value("qos", qos))?;
    let message = Message::new(topic, payload).map_err(|error| RecordError::Topic(error.to_string()))?;
    let message = if properties.is_empty() { message } else { message.with_properties(properties) };
    message.check().map_err(|error| RecordError::Message(error.to_string()))?;
    Ok(RetainedMessage { message: message.qos(qos).retain(true), expires })
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

const fn is_zero(number: &u8) -> bool {
    *number == 0
}

const UTF8: &str = "utf8";

#[cfg(test)]
mod tests {
    use super::*;

    fn json(change: &RetainedChange) -> String {
        let mut out = Vec::new();
        write(change, &mut out).unwrap();
        assert_eq!(&read(&out).unwrap(), change);
        String::from_utf8(out).unwrap()
    }

    fn kept(message: Message, expires: Option<u64>) -> RetainedChange {
        let expires = expires.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
        RetainedMessage { message: message.retain(true), expires }.into()
    }

    #[test]
    fn text_stays_text() {
        let message = Message::new("sensors/kitchen", "21.5 \"°C\"\n").unwrap();
        assert_eq!(json(&kept(message, None)), r#"{"topic":"sensors/kitchen","payload":"21.5 \"°C\"\n"}"#);
    }

    #[test]
    fn what_is_no_text_is_base64() {
        for payload in [&b"\xff\x00"[..], b"\0", b"\x1b[0m"] {
            let json = json(&kept(Message::new("t", payload.to_vec()).unwrap(), None));
            assert!(json.contains(r#""payload_base64":""#), "{json}");
        }
    }

    #[test]
    fn everything_that_a_message_has_comes_back() {
        let message = Message::new("t", "x")
            .unwrap()
            .qos(QoS::ExactlyOnce)
            .payload_format(PayloadFormat::Utf8)
            .content_type("text/plain")
            .response_topic(TopicName::new("r").unwrap())
            .correlation_data(vec![0, 1])
            .user_property("k", "1")
            .user_property("k", "2");
        assert_eq!(
            json(&kept(message, Some(1_764_000_000_123))),
            concat!(
                r#"{"topic":"t","payload":"x","qos":2,"payload_format":"utf8","content_type":"text/plain","#,
                r#""response_topic":"r","correlation_data_base64":"AAE=","user_properties":[["k","1"],["k","2"]],"#,
                r#""expires":1764000000123}"#
            )
        );
        assert_eq!(json(&RetainedChange::Clear(TopicName::new("t").unwrap())), r#"{"clear":"t"}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, complaint) in [
            (r#"{"payload":"x"}"#, "missing field `topic` at line 1 column 15"),
            (r#"{"topic":"a/#","payload":"x"}"#, "a/#"),
            (r#"{"topic":"a"}"#, "a retained message needs exactly one payload that is not empty"),
            (
                r#"{"topic":"a","payload":""}"#,
                "a retained message needs exactly one payload that is not empty",
            ),
            (r#"{"topic":"a","payload_base64":"?"}"#, "payload_base64 is not base64"),
            (r#"{"topic":"a","payload":"x","qos":3}"#, "qos cannot be 3"),
            (r#"{"topic":"a","payload":"x","content_type":"\u0000"}"#, "Content Type"),
            (r#"{"topic":"a","payload":"x","colour":1}"#, "unknown field `colour`"),
        ] {
            let error = read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
