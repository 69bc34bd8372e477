//! The shape in which MQTTnet's server has its retained messages.
//!
//! Its users serialise `MqttApplicationMessage`, or the model of its sample, with one of two libraries, and the classes
//! have changed over the years; so names may begin small, enums may be words, and bytes may be base64 or numbers.
//! Relates to: `json.rs`. Leaves out: what belongs to one transmission (DUP, alias, subscription identifiers).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantline_protocol::{PayloadFormat, PublishProperties};
use gantline_server::RetainedMessage;
use serde::{Deserialize, Serialize};

use crate::message::{RecordError, decode, finish, topic, value};

/// A message of MQTTnet.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ForeignRecord {
    #[serde(alias = "topic")]
    topic: String,
    #[serde(default, alias = "payload")]
    payload: Option<Bytes>,
    /// What the payload is in version 4.
    #[serde(default, alias = "payloadSegment", skip_serializing)]
    payload_segment: Option<Bytes>,
    #[serde(default, alias = "qualityOfServiceLevel")]
    quality_of_service_level: Option<Choice>,
    #[serde(default, alias = "retain")]
    retain: Option<bool>,
    #[serde(default, alias = "payloadFormatIndicator")]
    payload_format_indicator: Option<Choice>,
    #[serde(default, alias = "messageExpiryInterval")]
    message_expiry_interval: Option<u32>,
    #[serde(default, alias = "contentType")]
    content_type: Option<String>,
    #[serde(default, alias = "responseTopic")]
    response_topic: Option<String>,
    #[serde(default, alias = "correlationData")]
    correlation_data: Option<Bytes>,
    #[serde(default, alias = "userProperties")]
    user_properties: Option<Vec<Pair>>,
}

impl ForeignRecord {
    pub(crate) fn of(retained: &RetainedMessage, now: SystemTime) -> Self {
        let RetainedMessage { message, expires } = retained;
        let properties = message.properties();
        let bytes = |bytes: &[u8]| Bytes::Base64(STANDARD.encode(bytes));
        let left = expires.map(|expires| expires.duration_since(now).unwrap_or_default());
        Self {
            topic: message.topic().to_string(),
            payload: Some(bytes(message.payload())),
            payload_segment: None,
            quality_of_service_level: Some(Choice::Number(message.qos_level().value())),
            retain: Some(true),
            payload_format_indicator: Some(Choice::Number(u8::from(
                properties.payload_format_indicator == PayloadFormat::Utf8,
            ))),
            message_expiry_interval: left.map(seconds).or(properties.message_expiry_interval),
            content_type: properties.content_type.clone(),
            response_topic: properties.response_topic.as_ref().map(ToString::to_string),
            correlation_data: properties.correlation_data.as_deref().map(bytes),
            user_properties: (!properties.user_properties.is_empty())
                .then(|| properties.user_properties.iter().map(Pair::of).collect()),
        }
    }

    /// The message; `None` without a payload, which MQTTnet has for a topic that was cleared.
    pub(crate) fn message(self, now: SystemTime) -> Result<Option<RetainedMessage>, RecordError> {
        let payload = match self.payload.or(self.payload_segment) {
            Some(bytes) => bytes.decode("Payload")?,
            None => Vec::new(),
        };
        if payload.is_empty() {
            return Ok(None);
        }
        let response = self.response_topic.filter(|text| !text.is_empty());
        let correlation = self.correlation_data.map(|data| data.decode("CorrelationData")).transpose()?;
        let pairs = self.user_properties.unwrap_or_default().into_iter().map(Pair::parts);
        let properties = PublishProperties {
            payload_format_indicator: match Choice::number(
                self.payload_format_indicator,
                "PayloadFormatIndicator",
                &["Unspecified", "CharacterData"],
            )? {
                0 => PayloadFormat::Unspecified,
                _ => PayloadFormat::Utf8,
            },
            content_type: self.content_type,
            response_topic: response.as_deref().map(topic).transpose()?,
            correlation_data: correlation.filter(|data| !data.is_empty()).map(Into::into),
            user_properties: pairs.collect::<Result<Vec<_>, _>>()?.into_iter().collect(),
            ..PublishProperties::NONE
        };
        let qos = Choice::number(
            self.quality_of_service_level,
            "QualityOfServiceLevel",
            &["AtMostOnce", "AtLeastOnce", "ExactlyOnce"],
        )?;
        // There 0 is "not set".
        let expiry = self.message_expiry_interval.filter(|seconds| *seconds > 0);
        let expires = expiry.and_then(|seconds| now.checked_add(Duration::from_secs(seconds.into())));
        let message = finish(topic(&self.topic)?, payload, qos, properties)?.retain(true);
        Ok(Some(RetainedMessage { message, expires }))
    }
}

/// Bytes, as one library or the other writes an array or a segment of one.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Base64(String),
    Numbers(Vec<u8>),
    #[serde(rename_all = "PascalCase")]
    Segment {
        array: Option<String>,
        offset: usize,
        count: usize,
    },
}

impl Bytes {
    fn decode(self, field: &'static str) -> Result<Vec<u8>, RecordError> {
        match self {
            Self::Base64(text) => decode(field, &text),
            Self::Numbers(numbers) => Ok(numbers),
            Self::Segment { array, offset, count } => {
                let array = decode(field, &array.unwrap_or_default())?;
                let end = offset.checked_add(count);
                let segment = end.and_then(|end| array.get(offset..end));
                segment
                    .map(<[u8]>::to_vec)
                    .ok_or_else(|| value(field, format!("{count} bytes from {offset} on")))
            }
        }
    }
}

/// A value of an enum.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Choice {
    Number(u8),
    Word(String),
}

impl Choice {
    fn number(choice: Option<Self>, field: &'static str, words: &[&str]) -> Result<u8, RecordError> {
        match choice {
            None => Ok(0),
            Some(Self::Number(number)) if usize::from(number) < words.len() => Ok(number),
            Some(Self::Number(number)) => Err(value(field, number)),
            Some(Self::Word(word)) => {
                let found = (0..).zip(words).find(|(_, known)| known.eq_ignore_ascii_case(&word));
                found.map(|(number, _)| number).ok_or_else(|| value(field, word))
            }
        }
    }
}

/// A user property.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    #[serde(alias = "name")]
    name: String,
    #[serde(default, alias = "value", skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// What the value is in later versions, in base64.
    #[serde(default, alias = "valueBuffer", skip_serializing)]
    value_buffer: Option<Bytes>,
}

impl Pair {
    fn of((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: Some(value.to_owned()), value_buffer: None }
    }

    fn parts(self) -> Result<(String, String), RecordError> {
        let text = match (self.value, self.value_buffer) {
            (Some(text), _) => text,
            (None, Some(bytes)) => String::from_utf8(bytes.decode("ValueBuffer")?)
                .map_err(|error| value("ValueBuffer", format!("{:?}", error.into_bytes())))?,
            (None, None) => String::new(),
        };
        Ok((self.name, text))
    }
}

/// Whole seconds, and not the 0 that says "never".
fn seconds(left: Duration) -> u32 {
    u32::try_from(left.as_millis().div_ceil(1_000).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use gantline_protocol::{Message, QoS, TopicName};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn read(json: &str) -> Result<Option<RetainedMessage>, RecordError> {
        serde_json::from_str::<ForeignRecord>(json).unwrap().message(NOW)
    }

    fn expected() -> RetainedMessage {
        let message = Message::new("a/b", "21.5").unwrap().qos(QoS::AtLeastOnce).retain(true);
        RetainedMessage { message, expires: None }
    }

    #[test]
    fn all_that_their_versions_write_is_understood() {
        for json in [
            // 3.x with Newtonsoft.Json.
            r#"{"Topic":"a/b","Payload":"MjEuNQ==","QualityOfServiceLevel":1,"Retain":true,"UserProperties":null,
               "ContentType":null,"ResponseTopic":null,"PayloadFormatIndicator":null,"MessageExpiryInterval":null,
               "TopicAlias":null,"CorrelationData":null,"SubscriptionIdentifiers":null}"#,
            // 4.x, whose payload is also a segment.
            r#"{"Topic":"a/b","PayloadSegment":[50,49,46,53],"Payload":"MjEuNQ==","QualityOfServiceLevel":1,
               "Dup":false,"MessageExpiryInterval":0,"PayloadFormatIndicator":0,"TopicAlias":0,"Retain":true}"#,
            r#"{"Topic":"a/b","PayloadSegment":{"Array":"ADIxLjUA","Offset":1,"Count":4},"QualityOfServiceLevel":1}"#,
            // The model of the sample of 4.x and 5.x, with System.Text.Json.
            r#"{"ContentType":null,"CorrelationData":null,"Payload":"MjEuNQ==","PayloadFormatIndicator":0,
               "QualityOfServiceLevel":1,"ResponseTopic":null,"Topic":"a/b","UserProperties":null}"#,
            // With enums as words and small names.
            r#"{"topic":"a/b","payload":"MjEuNQ==","qualityOfServiceLevel":"AtLeastOnce"}"#,
        ] {
            assert_eq!(read(json).unwrap(), Some(expected()), "{json}");
        }
    }

    #[test]
    fn properties_are_kept() {
        let json = r#"{"Topic":"t","Payload":"eA==","PayloadFormatIndicator":1,"MessageExpiryInterval":9,"ContentType":"c",
            "ResponseTopic":"r","CorrelationData":"AA==","UserProperties":[{"Name":"k","Value":"v"},
            {"Name":"l","ValueBuffer":"dg=="}]}"#;
        let RetainedMessage { message, expires } = read(json).unwrap().unwrap();
        let wanted = Message::new("t", "x")
            .unwrap()
            .retain(true)
            .payload_format(PayloadFormat::Utf8)
            .content_type("c")
            .response_topic(TopicName::new("r").unwrap())
            .correlation_data(vec![0])
            .user_property("k", "v")
            .user_property("l", "v");
        assert_eq!((message, expires), (wanted, Some(NOW + Duration::from_secs(9))));
    }

    #[test]
    fn without_payload_there_is_no_message() {
        for json in [r#"{"Topic":"a","Payload":null}"#, r#"{"Topic":"a","Payload":""}"#, r#"{"Topic":"a"}"#] {
            assert_eq!(read(json).unwrap(), None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, complaint) in [
            (
                r#"{"Topic":"a","Payload":"eA==","QualityOfServiceLevel":3}"#,
                "QualityOfServiceLevel cannot be 3",
            ),
            (r#"{"Topic":"a","Payload":"?"}"#, "Payload is not base64"),
            (r#"{"Topic":"a/#","Payload":"eA=="}"#, "a/#"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
