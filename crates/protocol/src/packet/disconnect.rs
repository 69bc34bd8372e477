//! DISCONNECT: the last packet of a connection.
//!
//! Relates to: the machines in [`connection`](crate::connection), which know who may send it and what the session
//! expiry in it may be. Leaves out: both.

use super::{PacketType, check_reason, decode_body, encode_body, read_reason};
use crate::codec::Reader;
use crate::error::{EncodeError, Violation};
use crate::properties::DisconnectProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason. The default is success, the normal end, after which there is no will.
    pub reason: ReasonCode,
    /// What else is to be said.
    pub properties: DisconnectProperties,
}

impl Disconnect {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// A reason code that DISCONNECT cannot carry, wrong properties, or a wrong length.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        decode_body(PacketType::Disconnect, body, flags, version, |reader| Self::read(reader, version))
    }

    /// Appends the whole packet. The older versions have no reason; whoever sends an error there should close without
    /// DISCONNECT instead, because it tells the server to forget the will.
    ///
    /// # Errors
    ///
    /// DISCONNECT cannot carry the reason, or a property cannot be sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_reason(PacketType::Disconnect, self.reason)?;
        encode_body(PacketType::Disconnect, out, |out| {
            let has_properties = version.has_properties() && !self.properties.is_empty();
            if has_properties || version.has_reason_codes() && self.reason != ReasonCode::Success {
                out.push(self.reason.value());
            }
            if has_properties { self.properties.write(out) } else { Ok(()) }
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let mut disconnect = Self::default();
        // Without reason code it is the normal end; without length there are no properties (section 3.14.2).
        if version.has_reason_codes() && !reader.is_empty() {
            disconnect.reason = read_reason(reader, PacketType::Disconnect)?;
            if !reader.is_empty() {
                disconnect.properties = DisconnectProperties::read(reader)?;
            }
        }
        Ok(disconnect)
    }
}

impl Default for Disconnect {
    fn default() -> Self {
        Self { reason: ReasonCode::Success, properties: DisconnectProperties::default() }
    }
}
