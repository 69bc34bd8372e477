//! UNSUBSCRIBE: the client wants no more messages.
//!
//! Relates to: [`UnsubAck`](super::UnsubAck), the answer. Leaves out: options, which only SUBSCRIBE has.

use super::subscribe::read_filter;
use super::{PacketType, decode_body, encode_body, read_packet_id};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::packet_id::PacketId;
use crate::properties::UnsubscribeProperties;
use crate::topic::TopicFilter;
use crate::version::ProtocolVersion;

/// One or more filters, each as it was subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// By which UNSUBACK is recognised.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.10.3-2].
    pub filters: Vec<TopicFilter>,
    /// The properties.
    pub properties: UnsubscribeProperties,
}

impl Unsubscribe {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// The packet id 0, no filter, a text that is no filter, or wrong properties.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        Self::decode_within(usize::MAX, body, flags, version)
    }

    /// As [`decode`](Self::decode), of a packet that has at most so many filters. Of one that has more, no more than
    /// that are looked at.
    ///
    /// # Errors
    ///
    /// As of `decode`, or there are more filters.
    pub fn decode_within(
        most: usize,
        body: &[u8],
        flags: u8,
        version: ProtocolVersion,
    ) -> Result<Self, Violation> {
        decode_body(PacketType::Unsubscribe, body, flags, version, |reader| Self::read(reader, version, most))
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    ///
    /// There is no filter, or a property cannot be sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::Missing { field: "Topic Filter" });
        }
        encode_body(PacketType::Unsubscribe, out, |out| {
            writer::u16(self.packet_id.get(), out);
            if version.has_properties() {
                self.properties.write(out)?;
            }
            self.filters.iter().try_for_each(|filter| writer::string("Topic Filter", filter.as_str(), out))
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion, most: usize) -> Result<Self, Violation> {
        let packet_id = read_packet_id(reader)?;
        let properties = if version.has_properties() {
            UnsubscribeProperties::read(reader)?
        } else {
            UnsubscribeProperties::default()
        };
        let mut filters = Vec::new();
        while !reader.is_empty() {
            if filters.len() >= most {
                return Err(Rule::TooManyFilters.into());
            }
            filters.push(read_filter(reader)?);
        }
        if filters.is_empty() {
            return Err(Rule::NoTopicFilters.into());
        }
        Ok(Self { packet_id, filters, properties })
    }
}
