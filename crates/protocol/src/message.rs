//! Messages: what applications send and get.
//!
//! Relates to: [`Publish`](crate::packet::Publish), the packet that carries one, and [`Frame`](crate::Frame), the form
//! in which a server passes one to many. Leaves out: packet id, DUP and alias, which belong to one transmission.

use std::fmt;
use std::str::Utf8Error;

use bytes::Bytes;

use crate::error::EncodeError;
use crate::payload::Payload;
use crate::properties::{PayloadFormat, PublishProperties};
use crate::qos::QoS;
use crate::topic::{TopicError, TopicName};

/// A topic, a payload, and how it is to be delivered. Cheap to clone.
///
/// ```
/// use gantline_protocol::{Message, QoS};
///
/// let message = Message::new("sensors/kitchen/temperature", "21.5")?
///     .qos(QoS::AtLeastOnce)
///     .retain(true)
///     .expiry(3600)
///     .user_property("unit", "celsius");
/// assert_eq!(message.payload_str(), Ok("21.5"));
/// # Ok::<(), gantline_protocol::TopicError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    topic: TopicName,
    payload: Payload,
    /// Most messages have none, and many wait in queues.
    properties: Option<Box<PublishProperties>>,
    flags: Flags,
}

/// QoS and retain in one byte of which every value counts: messages are moved a lot, and a compiler that found room for
/// the tag of an `Option` here, behind everything else, would move them in pieces.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    const RETAIN: u8 = 4;

    const fn new(qos: QoS, retain: bool) -> Self {
        Self(qos.value() | if retain { Self::RETAIN } else { 0 })
    }

    const fn qos(self) -> QoS {
        match self.0 & !Self::RETAIN {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    const fn retain(self) -> bool {
        self.0 & Self::RETAIN != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.qos(), if self.retain() { ", retain" } else { "" })
    }
}

impl Message {
    /// A message with QoS 0, not retained, without properties.
    ///
    /// # Errors
    ///
    /// The text is no topic name. A [`TopicName`] always is.
    pub fn new(
        topic: impl TryInto<TopicName, Error: Into<TopicError>>,
        payload: impl Into<Payload>,
    ) -> Result<Self, TopicError> {
        let topic = topic.try_into().map_err(Into::into)?;
        Ok(Self {
            topic,
            payload: payload.into(),
            properties: None,
            flags: Flags::new(QoS::AtMostOnce, false),
        })
    }

    #[inline]
    pub(crate) fn from_parts(
        topic: TopicName,
        payload: Payload,
        qos: QoS,
        retain: bool,
        properties: Option<Box<PublishProperties>>,
    ) -> Self {
        let properties = properties.filter(|properties| !properties.is_empty());
        Self { topic, payload, properties, flags: Flags::new(qos, retain) }
    }

    /// Sets what is promised about the delivery. Default QoS 0.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.flags = Flags::new(qos, self.flags.retain());
        self
    }

    /// Sets whether the server keeps the message for later subscribers, in place of an earlier one of the topic.
    /// Default false. With an empty payload it clears the topic.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.flags = Flags::new(self.flags.qos(), retain);
        self
    }

    /// Sets after how many seconds the message need not be delivered any more. Default never. Not on the older
    /// versions, as for all properties.
    #[must_use]
    pub fn expiry(mut self, seconds: u32) -> Self {
        self.properties_mut().message_expiry_interval = Some(seconds);
        self
    }

    /// Sets what the payload is. Default unspecified.
    #[must_use]
    pub fn payload_format(mut self, format: PayloadFormat) -> Self {
        self.properties_mut().payload_format_indicator = format;
        self
    }

    /// Sets what the content is, by a name that applications agree on, such as a MIME type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties_mut().content_type = Some(content_type.into());
        self
    }

    /// Sets where an answer is to be sent.
    #[must_use]
    pub fn response_topic(mut self, topic: TopicName) -> Self {
        self.properties_mut().response_topic = Some(topic);
        self
    }

    /// Sets by what the answer is recognised.
    #[must_use]
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.properties_mut().correlation_data = Some(data.into());
        self
    }

    /// Adds a pair that applications agree on.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties_mut().user_properties.push(name, value);
        self
    }

    /// Sets all properties at once. Topic alias and subscription identifiers do not travel with a message: what sends
    /// it chooses those.
    #[must_use]
    pub fn with_properties(mut self, properties: PublishProperties) -> Self {
        *self.properties_mut() = properties;
        self
    }

    /// The same message with another topic: for who passes it on.
    #[must_use]
    pub fn with_topic(mut self, topic: TopicName) -> Self {
        self.topic = topic;
        self
    }

    /// The same message with another payload: for who passes it on. Properties that tell of the old one, such as its
    /// content type, stay.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Payload>) -> Self {
        self.payload = payload.into();
        self
    }

    /// What the message is about.
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The content.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The content as text.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub fn payload_str(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(&self.payload)
    }

    /// What is promised about the delivery. Of a received message: with which QoS it came.
    pub const fn qos_level(&self) -> QoS {
        self.flags.qos()
    }

    /// Whether it is to be kept. Of a received message: whether it was kept before the subscription, or as it was sent
    /// if the subscription asked for that.
    pub const fn is_retained(&self) -> bool {
        self.flags.retain()
    }

    /// The properties. Empty on the older versions.
    pub fn properties(&self) -> &PublishProperties {
        static NONE: PublishProperties = PublishProperties::NONE;
        self.properties.as_deref().unwrap_or(&NONE)
    }

    /// Whether the properties can be sent. To be asked before a message is taken for delivery, because the setters
    /// accept everything.
    ///
    /// # Errors
    ///
    /// A string or the correlation data has more than 65,535 bytes, or a string contains U+0000.
    pub fn check(&self) -> Result<(), EncodeError> {
        self.properties.as_ref().map_or(Ok(()), |properties| properties.encoded_len().map(drop))
    }

    /// About how many bytes it takes in memory: topic, payload and properties. For bounds of queues.
    #[inline]
    pub fn weight(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.properties_weight()
    }

    /// Few messages have properties, but a peer could put a whole packet of them into each.
    fn properties_weight(&self) -> usize {
        let Some(properties) = &self.properties else { return 0 };
        if properties.is_empty() {
            return 0;
        }
        // What cannot be written is refused before it is queued.
        let encoded = properties.encoded_len().unwrap_or_default();
        encoded + properties.user_properties.len() * size_of::<(String, String)>()
    }

    fn properties_mut(&mut self) -> &mut PublishProperties {
        self.properties.get_or_insert_default()
    }
}

/// Equal are messages that a receiver could not tell apart.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.topic == other.topic
            && self.payload == other.payload
            && self.flags == other.flags
            && self.properties() == other.properties()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_be_text_or_a_name() {
        let name = TopicName::new("a/b").unwrap();
        let message = Message::new("a/b", "x").unwrap();
        assert_eq!(Message::new(&name, "x"), Ok(message.clone()));
        assert_eq!(Message::new(String::from("a/b"), vec![b'x']), Ok(message.clone()));
        assert_eq!(Message::new(name, "x"), Ok(message));
        assert!(matches!(Message::new("a/#", ""), Err(TopicError::WildcardInName { .. })));
    }

    #[test]
    fn setters_fill_the_properties() {
        let message = Message::new("a", "").unwrap();
        assert!(message.properties().is_empty());
        let message = message
            .qos(QoS::ExactlyOnce)
            .retain(true)
            .expiry(7)
            .payload_format(PayloadFormat::Utf8)
            .content_type("text/plain")
            .response_topic(TopicName::new("b").unwrap())
            .correlation_data("id")
            .user_property("k", "v");
        assert_eq!((message.qos_level(), message.is_retained()), (QoS::ExactlyOnce, true));
        let expected = PublishProperties {
            payload_format_indicator: PayloadFormat::Utf8,
            message_expiry_interval: Some(7),
            response_topic: Some(TopicName::new("b").unwrap()),
            correlation_data: Some("id".into()),
            content_type: Some("text/plain".into()),
            user_properties: [("k", "v")].into_iter().collect(),
            ..PublishProperties::NONE
        };
        assert_eq!(message.properties(), &expected);
        assert_eq!(message.check(), Ok(()));
    }

    #[test]
    fn what_is_passed_on_keeps_all_that_is_not_replaced() {
        let message =
            Message::new("a", "x").unwrap().qos(QoS::AtLeastOnce).retain(true).user_property("k", "v");
        let expected =
            Message::new("b", "y").unwrap().qos(QoS::AtLeastOnce).retain(true).user_property("k", "v");
        assert_eq!(message.with_topic(TopicName::new("b").unwrap()).with_payload("y"), expected);
    }

    #[test]
    fn empty_properties_make_no_difference() {
        let message = Message::new("a", "x").unwrap();
        let explicit = message.clone().with_properties(PublishProperties::default());
        assert_eq!(message, explicit);
    }

    #[test]
    fn what_cannot_be_sent_is_found_before() {
        let message = Message::new("a", "").unwrap().content_type("x\0");
        assert_eq!(message.check(), Err(EncodeError::NullCharacter { field: "Content Type" }));
    }
}
