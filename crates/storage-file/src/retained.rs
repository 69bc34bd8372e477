//! Retained messages as a log: what its lines are.
//!
//! A message is an object as `message.rs` says, and is retained without saying so. A clearing is `{"clear":"a/b"}`.
//! Relates to: `store.rs`, whose log it is; `json.rs`, whose arrays have the same objects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

use gantline_server::{RetainedChange, RetainedMessage};
use serde::{Deserialize, Serialize};

use crate::log::{Change, Place};
use crate::message::{MessageRecord, RecordError, topic};

impl Change for RetainedChange {
    const NAME: &'static str = "retained";

    /// The topic.
    type Key = Box<str>;

    fn write(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        match self {
            Self::Set(message) if message.message.payload().is_empty() => {
                return Err(RecordError::EmptyPayload);
            }
            Self::Set(message) => serde_json::to_writer(out, &record(message)?)?,
            Self::Clear(topic) => serde_json::to_writer(out, &ClearRecord { clear: topic.as_str().into() })?,
        }
        Ok(())
    }

    fn instead(&self) -> Option<Self> {
        matches!(self, Self::Set(_)).then(|| Self::Clear(self.topic().clone()))
    }

    fn read(json: &[u8]) -> Result<Self, RecordError> {
        if json.starts_with(b"{\"clear\":") {
            let record: ClearRecord<'_> = serde_json::from_slice(json)?;
            return Ok(Self::Clear(topic(&record.clear)?));
        }
        retained(serde_json::from_slice(json)?).map(Into::into)
    }

    fn settle(self, place: Place, places: &mut HashMap<Box<str>, Place>, now: SystemTime) {
        match self {
            Self::Set(message) if !message.is_expired(now) => {
                let topic = message.message.topic().as_str();
                match places.get_mut(topic) {
                    Some(earlier) => *earlier = place,
                    None => drop(places.insert(topic.into(), place)),
                }
            }
            change => drop(places.remove(change.topic().as_str())),
        }
    }

    fn name(&self) -> String {
        self.topic().to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearRecord<'a> {
    clear: Cow<'a, str>,
}

/// The record of a retained message.
pub(crate) fn record(retained: &RetainedMessage) -> Result<MessageRecord<'_>, RecordError> {
    Ok(MessageRecord::of(&retained.message, retained.expires)?.retained())
}

/// The message of a record, if a server can retain it.
pub(crate) fn retained(record: MessageRecord<'_>) -> Result<RetainedMessage, RecordError> {
    let (message, expires) = record.message()?;
    if message.payload().is_empty() {
        return Err(RecordError::EmptyPayload);
    }
    Ok(RetainedMessage { message: message.retain(true), expires })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantline_protocol::{Message, PayloadFormat, QoS, TopicName};

    use super::*;

    fn json(change: &RetainedChange) -> String {
        let mut out = Vec::new();
        change.write(&mut out).unwrap();
        assert_eq!(&RetainedChange::read(&out).unwrap(), change);
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
            (r#"{"topic":"a"}"#, "a message needs exactly one payload"),
            (r#"{"topic":"a","payload":""}"#, "a retained message needs a payload that is not empty"),
            (r#"{"topic":"a","payload_base64":"?"}"#, "payload_base64 is not base64"),
            (r#"{"topic":"a","payload":"x","qos":3}"#, "qos cannot be 3"),
            (r#"{"topic":"a","payload":"x","content_type":"\u0000"}"#, "Content Type"),
            (r#"{"topic":"a","payload":"x","colour":1}"#, "unknown field `colour`"),
        ] {
            let error = RetainedChange::read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
