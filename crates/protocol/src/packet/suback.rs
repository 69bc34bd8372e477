//! SUBACK: the answer to SUBSCRIBE.
//!
//! Relates to: [`Subscribe`](super::Subscribe), whose filters it answers in their order. Leaves out: whether there are
//! as many answers as filters, which whoever sent them knows.

use super::{PacketType, check_reason, decode_body, encode_body, read_packet_id, read_reason};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::packet_id::PacketId;
use crate::properties::AckProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// For each filter the QoS that is granted, or why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The packet id of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter. Before 5.0 every error is [`ReasonCode::UnspecifiedError`].
    pub reasons: Vec<ReasonCode>,
    /// Why, in words.
    pub properties: AckProperties,
}

impl SubAck {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// The packet id 0, no reason code or one that SUBACK cannot carry, or wrong properties.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        decode_body(PacketType::SubAck, body, flags, version, |reader| Self::read(reader, version))
    }

    /// Appends the whole packet. 3.1 cannot refuse a filter: there an error is written as QoS 0.
    ///
    /// # Errors
    ///
    /// There is no reason code or one that SUBACK cannot carry, or a property cannot be sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.reasons.is_empty() {
            return Err(EncodeError::Missing { field: "Reason Code" });
        }
        self.reasons.iter().try_for_each(|reason| check_reason(PacketType::SubAck, *reason))?;
        encode_body(PacketType::SubAck, out, |out| {
            writer::u16(self.packet_id.get(), out);
            if version.has_properties() {
                self.properties.write(out)?;
            }
            out.extend(self.reasons.iter().map(|reason| code(*reason, version)));
            Ok(())
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let packet_id = read_packet_id(reader)?;
        let properties =
            if version.has_properties() { AckProperties::read(reader)? } else { AckProperties::default() };
        if reader.is_empty() {
            return Err(Rule::ReasonCountMismatch.into());
        }
        let mut reasons = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            let reason = read_reason(reader, PacketType::SubAck)?;
            if !version.has_reason_codes() && reason.is_error() && reason != ReasonCode::UnspecifiedError {
                return Err(Violation::new(Rule::ReasonCodeInvalid).value(reason.value().into()));
            }
            // 3.1 has no failure, but servers answer its clients with that of 3.1.1, which is taken as meant.
            reasons.push(reason);
        }
        Ok(Self { packet_id, reasons, properties })
    }
}

/// What is written for a reason.
const fn code(reason: ReasonCode, version: ProtocolVersion) -> u8 {
    match reason {
        _ if !reason.is_error() || version.has_reason_codes() => reason.value(),
        _ if version.has_subscribe_failure() => ReasonCode::UnspecifiedError.value(),
        _ => ReasonCode::Success.value(),
    }
}
