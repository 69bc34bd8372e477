//! UNSUBACK: the answer to UNSUBSCRIBE.
//!
//! Relates to: [`Unsubscribe`](super::Unsubscribe), whose filters it answers in their order. Leaves out: whether there
//! are as many answers as filters, which whoever sent them knows.

use super::{PacketType, check_reason, decode_body, encode_body, read_packet_id, read_reason};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::packet_id::PacketId;
use crate::properties::AckProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// For each filter the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The packet id of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter; empty on the older versions, where all succeed.
    pub reasons: Vec<ReasonCode>,
    /// Why, in words.
    pub properties: AckProperties,
}

impl UnsubAck {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// The packet id 0, no reason code or one that UNSUBACK cannot carry, wrong properties, or a wrong length.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        decode_body(PacketType::UnsubAck, body, flags, version, |reader| Self::read(reader, version))
    }

    /// Appends the whole packet; on the older versions the packet id alone.
    ///
    /// # Errors
    ///
    /// There is no reason code where the version has them or one that UNSUBACK cannot carry, or a property cannot be
    /// sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version.has_reason_codes() && self.reasons.is_empty() {
            return Err(EncodeError::Missing { field: "Reason Code" });
        }
        self.reasons.iter().try_for_each(|reason| check_reason(PacketType::UnsubAck, *reason))?;
        encode_body(PacketType::UnsubAck, out, |out| {
            writer::u16(self.packet_id.get(), out);
            if version.has_reason_codes() {
                self.properties.write(out)?;
                out.extend(self.reasons.iter().map(|reason| reason.value()));
            }
            Ok(())
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let packet_id = read_packet_id(reader)?;
        if !version.has_reason_codes() {
            return Ok(Self { packet_id, reasons: Vec::new(), properties: AckProperties::default() });
        }
        let properties = AckProperties::read(reader)?;
        if reader.is_empty() {
            return Err(Rule::ReasonCountMismatch.into());
        }
        let mut reasons = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            reasons.push(read_reason(reader, PacketType::UnsubAck)?);
        }
        Ok(Self { packet_id, reasons, properties })
    }
}
