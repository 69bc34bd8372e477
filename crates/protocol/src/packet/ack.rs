//! PUBACK, PUBREC, PUBREL and PUBCOMP, which have one body.
//!
//! Relates to: the flows of QoS 1 and 2 in `session/`. [`write`] and [`read_id_reason`] are the way without an owned
//! packet, which nearly all of them take. Leaves out: which of the four comes when.

use super::{PacketType, check_reason, first_byte, read_packet_id, read_reason};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Violation};
use crate::packet_id::PacketId;
use crate::properties::AckProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// The body of an acknowledgement. Which of the four it is, the [`Packet`](super::Packet) around it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The packet id of the PUBLISH.
    pub packet_id: PacketId,
    /// The result. On the older versions always success.
    pub reason: ReasonCode,
    /// Why, in words.
    pub properties: AckProperties,
}

impl Ack {
    /// Reads the body behind the fixed header. The flags are checked by [`FixedHeader`](crate::FixedHeader).
    ///
    /// # Errors
    ///
    /// The packet id 0, a reason code that this packet cannot carry, wrong properties, or a wrong length.
    pub fn decode(kind: PacketType, body: &[u8], version: ProtocolVersion) -> Result<Self, Violation> {
        Self::read(kind, body, version).map_err(|violation| violation.in_packet(kind))
    }

    /// Appends the whole packet; reason and properties only where the version has them.
    ///
    /// # Errors
    ///
    /// The packet cannot carry the reason, or a property cannot be sent. Then nothing is appended.
    pub fn encode(
        &self,
        kind: PacketType,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        check_reason(kind, self.reason)?;
        if !version.has_properties() || self.properties.is_empty() {
            write(kind, self.packet_id, self.reason, version, out);
            return Ok(());
        }
        super::encode_body(kind, out, |out| {
            writer::u16(self.packet_id.get(), out);
            out.push(self.reason.value());
            self.properties.write(out)
        })
    }

    fn read(kind: PacketType, body: &[u8], version: ProtocolVersion) -> Result<Self, Violation> {
        let mut reader = Reader::new(body);
        let packet_id = read_packet_id(&mut reader)?;
        let mut ack = Self { packet_id, reason: ReasonCode::Success, properties: AckProperties::default() };
        // Without reason code it is success; without length there are no properties (section 3.4.2.1).
        if version.has_reason_codes() && !reader.is_empty() {
            ack.reason = read_reason(&mut reader, kind)?;
            if !reader.is_empty() {
                ack.properties = AckProperties::read(&mut reader)?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }
}

/// Reads an acknowledgement of which nobody wants the properties. They are checked all the same.
///
/// # Errors
///
/// As for [`Ack::decode`].
#[inline]
pub(crate) fn read_id_reason(
    kind: PacketType,
    body: &[u8],
    version: ProtocolVersion,
) -> Result<(PacketId, ReasonCode), Violation> {
    if let [high, low] = *body
        && let Some(id) = PacketId::new(u16::from_be_bytes([high, low]))
    {
        return Ok((id, ReasonCode::Success));
    }
    let ack = Ack::decode(kind, body, version)?;
    Ok((ack.packet_id, ack.reason))
}

/// Appends an acknowledgement without properties. The reason must be one that the packet may carry.
#[inline]
pub(crate) fn write(
    kind: PacketType,
    id: PacketId,
    reason: ReasonCode,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) {
    debug_assert!(reason.allowed_in(kind));
    let [high, low] = id.get().to_be_bytes();
    if reason == ReasonCode::Success || !version.has_reason_codes() {
        out.extend_from_slice(&[first_byte(kind), 2, high, low]);
    } else {
        out.extend_from_slice(&[first_byte(kind), 3, high, low, reason.value()]);
    }
}
