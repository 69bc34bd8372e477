//! The will: the part of CONNECT that becomes a message when the connection is lost.
//!
//! Relates to: [`Connect`](super::Connect), which carries it. Leaves out: when it is published.

use bytes::Bytes;

use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::message::Message;
use crate::properties::WillProperties;
use crate::qos::QoS;
use crate::topic::TopicName;
use crate::version::ProtocolVersion;

/// What the server publishes for a client that is gone without saying goodbye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The topic of the message.
    pub topic: TopicName,
    /// Its content.
    pub payload: Bytes,
    /// What is promised about its delivery.
    pub qos: QoS,
    /// Whether the server keeps it for later subscribers.
    pub retain: bool,
    /// Its properties, and how long the server waits with it.
    pub properties: WillProperties,
}

impl Will {
    /// The message that it becomes. The delay is not part of it.
    pub fn message(&self) -> Message {
        let properties = Box::new(self.properties.clone().into());
        let (topic, payload) = (self.topic.clone(), self.payload.clone());
        Message::from_parts(topic, payload.into(), self.qos, self.retain, Some(properties))
    }

    /// Reads what stands in the payload of CONNECT; QoS and RETAIN stand in its flags.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        qos: QoS,
        retain: bool,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        let properties =
            if version.has_properties() { WillProperties::read(reader)? } else { WillProperties::default() };
        let topic = reader.string()?;
        let rule = if topic.is_empty() { Rule::TopicNameEmpty } else { Rule::TopicNameInvalid };
        let topic = TopicName::new(topic).map_err(|_| rule)?;
        let payload = Bytes::copy_from_slice(reader.binary()?);
        Ok(Self { topic, payload, qos, retain, properties })
    }

    pub(super) fn write(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version.has_properties() {
            self.properties.write(out)?;
        }
        writer::string("Will Topic", self.topic.as_str(), out)?;
        writer::binary("Will Payload", &self.payload, out)
    }
}
