//! Import and export: all messages as one JSON array.
//!
//! Relates to: `message.rs`, our shape of a message; `mqttnet.rs`, that of MQTTnet's server. Leaves out: where the
//! messages come from and go to.

use std::borrow::Borrow;
use std::io::{self, Read, Write};
use std::time::SystemTime;

use gantline_server::RetainedMessage;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::message::RecordError;
use crate::mqttnet::ForeignRecord;
use crate::retained::{record, retained};

/// What the objects of an array look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// As in our own files: `{"topic":"a/b","payload":"21.5","qos":1}`. A payload that is no plain text is
    /// `payload_base64`, and so is `correlation_data_base64`; `user_properties` are pairs, and `expires` is in
    /// milliseconds since 1970.
    #[default]
    Plain,
    /// As MQTTnet's server writes them to `RetainedMessages.json`, in all its versions:
    /// `{"Topic":"a/b","Payload":"MjEuNQ==","QualityOfServiceLevel":1,"Retain":true,…}`.
    Mqttnet,
}

/// Why messages were not read. None was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The input cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The input is no JSON array; the error says where.
    #[error("this is no JSON array of messages: {0}")]
    Json(serde_json::Error),
    /// A message in it is none.
    #[error("message {number} of the array cannot be read: {source}")]
    Message {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// Reads messages from a JSON array, whatever the [`Shape`] of each. An expiry that says how long and not from when, as
/// in MQTTnet's shape, counts from `now`. Messages of MQTTnet without payload, which stand for nothing, are left out.
/// If a topic is there twice, both are returned; the last is meant.
///
/// ```
/// use std::time::SystemTime;
/// use gantline_storage_file::read_json;
///
/// let theirs = br#"[{"Topic":"lamp","Payload":"b24=","QualityOfServiceLevel":1,"Retain":true}]"#;
/// let ours = br#"[{"topic":"lamp","payload":"on","qos":1}]"#;
/// let now = SystemTime::now();
/// assert_eq!(read_json(&theirs[..], now)?, read_json(&ours[..], now)?);
/// # Ok::<(), gantline_storage_file::ImportError>(())
/// ```
///
/// # Errors
///
/// The input cannot be read, or something in it is no message; the error says which.
pub fn read_json(mut input: impl Read, now: SystemTime) -> Result<Vec<RetainedMessage>, ImportError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    // What .NET writes may begin with a byte order mark.
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let items: Option<Vec<&RawValue>> = serde_json::from_slice(json).map_err(ImportError::Json)?;
    let mut messages = Vec::new();
    for (number, item) in (1..).zip(items.unwrap_or_default()) {
        messages.extend(message(item.get(), now).map_err(|source| ImportError::Message { number, source })?);
    }
    Ok(messages)
}

fn message(json: &str, now: SystemTime) -> Result<Option<RetainedMessage>, RecordError> {
    let marks: Marks = serde_json::from_str(json)?;
    if marks.is_foreign() {
        return serde_json::from_str::<ForeignRecord>(json)?.message(now);
    }
    let RetainedMessage { message, expires } = retained(serde_json::from_str(json)?)?;
    let counted = RetainedMessage::new(message, now);
    Ok(Some(RetainedMessage { expires: expires.or(counted.expires), ..counted }))
}

/// Writes messages as a JSON array, one on each line. In MQTTnet's shape an expiry is written as the seconds that are
/// left at `now`; messages that have expired by then are left out in both shapes.
///
/// # Errors
///
/// The output cannot be written, or a message is none that MQTT can carry.
pub fn write_json<M: Borrow<RetainedMessage>>(
    mut output: impl Write,
    messages: impl IntoIterator<Item = M>,
    shape: Shape,
    now: SystemTime,
) -> io::Result<()> {
    let mut separator = "[\n";
    for message in messages {
        let message = message.borrow();
        if message.is_expired(now) {
            continue;
        }
        output.write_all(separator.as_bytes())?;
        match shape {
            Shape::Plain => serde_json::to_writer(&mut output, &record(message).map_err(io::Error::other)?)?,
            Shape::Mqttnet => serde_json::to_writer(&mut output, &ForeignRecord::of(message, now))?,
        }
        separator = ",\n";
    }
    output.write_all(if separator == "[\n" { b"[]\n" } else { b"\n]\n" })?;
    output.flush()
}

/// What tells the shapes apart.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "Topic")]
    topic: Option<IgnoredAny>,
    #[serde(rename = "qualityOfServiceLevel")]
    level: Option<IgnoredAny>,
}

impl Marks {
    const fn is_foreign(&self) -> bool {
        self.topic.is_some() || self.level.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantline_protocol::{Message, PayloadFormat, QoS, TopicName};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn kept(message: Message) -> RetainedMessage {
        RetainedMessage::new(message, NOW)
    }

    fn full() -> Vec<RetainedMessage> {
        let full = Message::new("b", vec![0, 255])
            .unwrap()
            .qos(QoS::ExactlyOnce)
            .payload_format(PayloadFormat::Utf8)
            .content_type("text/plain")
            .response_topic(TopicName::new("r").unwrap())
            .correlation_data(vec![7])
            .user_property("k", "v")
            .expiry(60);
        vec![kept(Message::new("a", "x").unwrap()), kept(full)]
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        for shape in [Shape::Plain, Shape::Mqttnet] {
            for messages in [Vec::new(), full()] {
                let mut json = Vec::new();
                write_json(&mut json, &messages, shape, NOW).unwrap();
                assert_eq!(read_json(json.as_slice(), NOW).unwrap(), messages, "{shape:?}");
                assert_eq!(json.iter().filter(|byte| **byte == b'\n').count(), [1, 0, 4][messages.len()]);
            }
        }
    }

    #[test]
    fn what_has_expired_is_not_exported() {
        let mut json = Vec::new();
        write_json(&mut json, full(), Shape::Plain, NOW + Duration::from_secs(60)).unwrap();
        assert_eq!(read_json(json.as_slice(), NOW).unwrap(), full()[..1]);
    }

    #[test]
    fn an_expiry_without_a_beginning_counts_from_now() {
        let ours = r#"[{"topic":"b","payload":"x","expiry":60}]"#;
        let theirs = r#"[{"Topic":"b","Payload":"eA==","MessageExpiryInterval":60}]"#;
        let expected = [kept(Message::new("b", "x").unwrap().expiry(60))];
        assert_eq!(read_json(ours.as_bytes(), NOW).unwrap(), expected);
        assert_eq!(read_json(theirs.as_bytes(), NOW).unwrap(), expected);
        let own = Message::new("b", "x").unwrap().expiry(60).retain(true);
        let mut json = Vec::new();
        write_json(&mut json, [RetainedMessage { message: own, expires: None }], Shape::Mqttnet, NOW)
            .unwrap();
        assert_eq!(read_json(json.as_slice(), NOW).unwrap(), expected);
    }

    #[test]
    fn nothing_and_null_are_no_messages() {
        for text in ["", " \r\n", "null", "[]", "\u{feff}[]"] {
            assert_eq!(read_json(text.as_bytes(), NOW).unwrap(), [], "{text:?}");
        }
    }

    #[test]
    fn an_error_says_which_message_is_wrong() {
        let text = r#"[{"topic":"a","payload":"x"},{"topic":"b"}]"#;
        let error = read_json(text.as_bytes(), NOW).unwrap_err().to_string();
        assert!(error.starts_with("message 2 of the array cannot be read: "), "{error}");
        let error = read_json(&b"{}"[..], NOW).unwrap_err().to_string();
        assert!(error.starts_with("this is no JSON array of messages: "), "{error}");
    }
}
