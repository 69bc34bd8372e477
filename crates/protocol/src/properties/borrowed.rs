//! The properties of a received PUBLISH, checked and left where they are.
//!
//! A server forwards most properties as the bytes that came [MQTT-3.3.2-4]; only alias, expiry and subscription
//! identifiers concern the connection or the time and are taken out. Relates to: [`PublishProperties`], the owned form.

use super::table::{Seen, in_property, scan};
use super::{PropertyId, PublishProperties, kind};
use crate::codec::{Reader, varint};
use crate::error::Violation;

/// The properties of a PUBLISH in place. Made by [`parse`](Self::parse), which checks all of them; the default is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishPropertiesRef<'a> {
    raw: &'a [u8],
    expiry: Option<u32>,
    /// 0 is none.
    topic_alias: u16,
    has_subscription_identifiers: bool,
}

impl<'a> PublishPropertiesRef<'a> {
    /// Checks the properties of a PUBLISH: all bytes behind their length.
    ///
    /// # Errors
    ///
    /// A property that is unknown, not allowed in a PUBLISH, there twice, or has a value that it must not have.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, Violation> {
        if raw.is_empty() { Ok(Self::default()) } else { Self::parse_some(raw) }
    }

    /// All bytes as they came, without their length.
    #[inline]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The Message Expiry Interval in seconds, as it came.
    #[inline]
    pub const fn expiry(&self) -> Option<u32> {
        self.expiry
    }

    /// The topic alias; never 0.
    #[inline]
    pub const fn topic_alias(&self) -> Option<u16> {
        match self.topic_alias {
            0 => None,
            alias => Some(alias),
        }
    }

    /// The subscription identifiers in order.
    pub fn subscription_identifiers(&self) -> impl Iterator<Item = u32> + use<'a> {
        let raw = if self.has_subscription_identifiers { self.raw } else { &[] };
        Parts(raw).filter(|part| part.id == PropertyId::SubscriptionIdentifier).filter_map(|part| {
            let (value, _) = varint::read(part.bytes.get(1..)?).ok()??;
            Some(value)
        })
    }

    /// Whether there is a subscription identifier.
    #[inline]
    pub const fn has_subscription_identifiers(&self) -> bool {
        self.has_subscription_identifiers
    }

    /// Whether there is neither alias nor expiry nor subscription identifier, so that all bytes can be forwarded.
    #[inline]
    pub const fn is_plain(&self) -> bool {
        self.expiry.is_none() && self.topic_alias == 0 && !self.has_subscription_identifiers
    }

    /// Appends what is forwarded, in order and as it came: all properties but alias, expiry and subscription
    /// identifiers, without a length.
    #[inline]
    pub fn forwarded(&self, out: &mut Vec<u8>) {
        if self.is_plain() {
            out.extend_from_slice(self.raw);
            return;
        }
        for part in Parts(self.raw).filter(|part| part.id.is_forwarded()) {
            out.extend_from_slice(part.bytes);
        }
    }

    /// The same properties as fields.
    pub fn to_owned(&self) -> PublishProperties {
        // They were checked; there is nothing that could fail.
        PublishProperties::parse(self.raw).unwrap_or_default()
    }

    fn parse_some(raw: &'a [u8]) -> Result<Self, Violation> {
        let mut properties = Self { raw, ..Self::default() };
        let mut reader = Reader::new(raw);
        let mut seen = Seen::new(PublishProperties::ALLOWED, PublishProperties::REPEATABLE);
        while !reader.is_empty() {
            match seen.next(&mut reader)? {
                PropertyId::TopicAlias => {
                    properties.topic_alias = scan::<kind::TopicAlias>(&mut reader)?.get()
                }
                PropertyId::MessageExpiryInterval => {
                    properties.expiry = Some(scan::<kind::MessageExpiryInterval>(&mut reader)?);
                }
                PropertyId::SubscriptionIdentifier => {
                    scan::<kind::SubscriptionIdentifier>(&mut reader)?;
                    properties.has_subscription_identifiers = true;
                }
                id => id.skip(&mut reader).map_err(|violation| in_property(violation, id))?,
            }
        }
        Ok(properties)
    }
}

impl PropertyId {
    /// Whether a server passes the property of a PUBLISH on as it came.
    const fn is_forwarded(self) -> bool {
        !matches!(self, Self::TopicAlias | Self::MessageExpiryInterval | Self::SubscriptionIdentifier)
    }
}

/// Walks over properties that were checked.
struct Parts<'a>(&'a [u8]);

struct Part<'a> {
    id: PropertyId,
    /// The number and the value.
    bytes: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    #[inline]
    fn next(&mut self) -> Option<Part<'a>> {
        let (first, value) = self.0.split_first()?;
        let id = PropertyId::from_u8(*first)?;
        let (bytes, rest) = self.0.split_at_checked(1 + id.shape().len(value))?;
        self.0 = rest;
        Some(Part { id, bytes })
    }
}
