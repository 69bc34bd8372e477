//! SUBSCRIBE: the client asks for messages.
//!
//! Relates to: [`SubAck`](super::SubAck), which answers filter by filter, and [`TopicFilter`]. Leaves out: what a
//! server does not offer, which it knows from its [`Limits`](crate::Limits).

use super::{PacketType, decode_body, encode_body, read_packet_id};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::packet_id::PacketId;
use crate::properties::SubscribeProperties;
use crate::qos::QoS;
use crate::topic::TopicFilter;
use crate::version::ProtocolVersion;

/// One or more filters, each with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// By which SUBACK is recognised.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.8.3-2].
    pub filters: Vec<SubscribeFilter>,
    /// The properties.
    pub properties: SubscribeProperties,
}

/// A filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// Which messages are wanted.
    pub filter: TopicFilter,
    /// How they are wanted.
    pub options: SubscriptionOptions,
}

/// How a subscriber wants its messages. On the older versions only the maximum QoS can be chosen.
///
/// ```
/// use gantline_protocol::QoS;
/// use gantline_protocol::packet::{RetainHandling, SubscriptionOptions};
///
/// let options = SubscriptionOptions::default()
///     .maximum_qos(QoS::AtLeastOnce)
///     .no_local(true)
///     .retain_handling(RetainHandling::IfNew);
/// assert!(!options.retain_as_published);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The QoS above which messages are not sent: they come with this one instead. Default QoS 0.
    pub maximum_qos: QoS,
    /// Leaves out messages that the same client published. Default false; never for a shared filter [MQTT-3.8.3-4].
    pub no_local: bool,
    /// RETAIN stays as the publisher set it, instead of saying that the message was kept. Default false.
    pub retain_as_published: bool,
    /// When the messages that the server keeps are sent. Default always.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// Sets the highest QoS.
    #[must_use]
    pub const fn maximum_qos(mut self, qos: QoS) -> Self {
        self.maximum_qos = qos;
        self
    }

    /// Sets whether own messages are left out.
    #[must_use]
    pub const fn no_local(mut self, no_local: bool) -> Self {
        self.no_local = no_local;
        self
    }

    /// Sets whether RETAIN stays as it was published.
    #[must_use]
    pub const fn retain_as_published(mut self, retain_as_published: bool) -> Self {
        self.retain_as_published = retain_as_published;
        self
    }

    /// Sets when the messages that the server keeps are sent.
    #[must_use]
    pub const fn retain_handling(mut self, retain_handling: RetainHandling) -> Self {
        self.retain_handling = retain_handling;
        self
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let byte = reader.u8()?;
        let refused = |rule| Violation::new(rule).value(byte.into());
        let reserved = if has_options(version) { RESERVED } else { !MAXIMUM_QOS };
        if byte & reserved != 0 {
            return Err(refused(Rule::SubscriptionOptionsReserved));
        }
        Ok(Self {
            maximum_qos: QoS::from_u8(byte & MAXIMUM_QOS)
                .ok_or_else(|| refused(Rule::SubscriptionQoSInvalid))?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling: RetainHandling::from_u8(byte >> RETAIN_HANDLING_SHIFT & 0b11)
                .ok_or_else(|| refused(Rule::RetainHandlingInvalid))?,
        })
    }

    fn byte(self, version: ProtocolVersion) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut byte = self.maximum_qos.value();
        if has_options(version) {
            byte |= flag(self.no_local, NO_LOCAL)
                | flag(self.retain_as_published, RETAIN_AS_PUBLISHED)
                | self.retain_handling.value() << RETAIN_HANDLING_SHIFT;
        }
        byte
    }
}

/// When the messages that a server keeps are sent to a new subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE, also one that repeats a filter; the default.
    #[default]
    Always = 0,
    /// If the client did not have this filter before.
    IfNew = 1,
    /// Not at all.
    Never = 2,
}

impl RetainHandling {
    /// The choice of this number; `None` above 2.
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Always,
            1 => Self::IfNew,
            2 => Self::Never,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }
}

impl Subscribe {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// The packet id 0, no filter, a text that is no filter, wrong options or properties.
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
        decode_body(PacketType::Subscribe, body, flags, version, |reader| Self::read(reader, version, most))
    }

    /// Appends the whole packet. On the older versions only the maximum QoS of the options is written.
    ///
    /// # Errors
    ///
    /// There is no filter, a shared one with No Local, or a property that cannot be sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::Missing { field: "Topic Filter" });
        }
        if has_options(version) && self.filters.iter().any(SubscribeFilter::is_shared_without_own) {
            return Err(EncodeError::OutOfRange { field: "No Local of a shared subscription", value: 1 });
        }
        encode_body(PacketType::Subscribe, out, |out| {
            writer::u16(self.packet_id.get(), out);
            if version.has_properties() {
                self.properties.write(out)?;
            }
            for SubscribeFilter { filter, options } in &self.filters {
                writer::string("Topic Filter", filter.as_str(), out)?;
                out.push(options.byte(version));
            }
            Ok(())
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion, most: usize) -> Result<Self, Violation> {
        let packet_id = read_packet_id(reader)?;
        let properties = if version.has_properties() {
            SubscribeProperties::read(reader)?
        } else {
            SubscribeProperties::default()
        };
        let mut filters = Vec::new();
        while !reader.is_empty() {
            if filters.len() >= most {
                return Err(Rule::TooManyFilters.into());
            }
            filters.push(SubscribeFilter::read(reader, version)?);
        }
        if filters.is_empty() {
            return Err(Rule::NoTopicFilters.into());
        }
        Ok(Self { packet_id, filters, properties })
    }
}

impl SubscribeFilter {
    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let filter = read_filter(reader)?;
        let options = SubscriptionOptions::read(reader, version)?;
        let subscription = Self { filter, options };
        if subscription.is_shared_without_own() {
            return Err(Rule::SharedNoLocal.into());
        }
        Ok(subscription)
    }

    /// Whether it asks for what a shared subscription must not [MQTT-3.8.3-4].
    fn is_shared_without_own(&self) -> bool {
        self.options.no_local && self.filter.is_shared()
    }
}

/// Reads a topic filter.
pub(super) fn read_filter(reader: &mut Reader<'_>) -> Result<TopicFilter, Violation> {
    TopicFilter::new(reader.string()?).map_err(|_| Rule::TopicFilterInvalid.into())
}

/// Whether the byte behind a filter says more than the QoS.
const fn has_options(version: ProtocolVersion) -> bool {
    matches!(version, ProtocolVersion::V5_0)
}

const MAXIMUM_QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED: u8 = 0b1100_0000;
