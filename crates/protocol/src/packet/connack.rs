//! CONNACK: the server's answer to CONNECT.
//!
//! Relates to: [`Limits`](crate::Limits), which its properties change. Leaves out: what a client makes of a session
//! that it does not expect.

use super::{PacketType, check_reason, decode_body, encode_body, read_reason};
use crate::codec::Reader;
use crate::error::{EncodeError, Rule, Violation};
use crate::properties::ConnAckProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// Whether the connection is accepted, and on which terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server has an earlier session of the client. 3.1 does not say; then it is false.
    pub session_present: bool,
    /// The result. The default is success. The older versions have five errors.
    pub reason: ReasonCode,
    /// What the server offers.
    pub properties: ConnAckProperties,
}

impl ConnAck {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// A reserved flag, a session with an error, a reason code that CONNACK cannot carry, wrong properties, or a wrong
    /// length.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        decode_body(PacketType::ConnAck, body, flags, version, |reader| Self::read(reader, version))
    }

    /// Appends the whole packet. On the older versions the reason is the return code that is nearest.
    ///
    /// # Errors
    ///
    /// There is a session with an error, CONNACK cannot carry the reason, or a property cannot be sent. Then nothing is
    /// appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_reason(PacketType::ConnAck, self.reason)?;
        if self.session_present && self.reason.is_error() {
            return Err(EncodeError::OutOfRange { field: "Session Present", value: 1 });
        }
        encode_body(PacketType::ConnAck, out, |out| {
            out.push((self.session_present && version.has_session_present()).into());
            if version.has_reason_codes() {
                out.push(self.reason.value());
                self.properties.write(out)
            } else {
                out.push(self.reason.return_code());
                Ok(())
            }
        })
    }

    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let flags = reader.u8()?;
        if version.has_session_present() && flags & !SESSION_PRESENT != 0 {
            return Err(Violation::new(Rule::ConnAckFlagsReserved).value(flags.into()));
        }
        // 3.1 does not use the byte.
        let session_present = version.has_session_present() && flags == SESSION_PRESENT;
        let (reason, properties) = if !version.has_reason_codes() || is_of_older_server(reader) {
            (read_return_code(reader)?, ConnAckProperties::default())
        } else {
            (read_reason(reader, PacketType::ConnAck)?, ConnAckProperties::read(reader)?)
        };
        if session_present && reason.is_error() {
            return Err(Violation::new(Rule::SessionPresentWithError).value(reason.value().into()));
        }
        Ok(Self { session_present, reason, properties })
    }
}

impl Default for ConnAck {
    fn default() -> Self {
        Self { session_present: false, reason: ReasonCode::Success, properties: ConnAckProperties::default() }
    }
}

/// Whether a server that does not know our version refuses it in the form of its own, as the older versions tell it to
/// (3.1.1, section 3.1.2.2). In 5.0 neither the code nor the length exists, so that nothing else can be meant.
fn is_of_older_server(reader: &Reader<'_>) -> bool {
    let mut ahead = *reader;
    ahead.rest() == [ReasonCode::UnsupportedProtocolVersion.return_code()]
}

fn read_return_code(reader: &mut Reader<'_>) -> Result<ReasonCode, Violation> {
    let value = reader.u8()?;
    ReasonCode::from_return_code(value)
        .ok_or_else(|| Violation::new(Rule::ReasonCodeInvalid).value(value.into()))
}

const SESSION_PRESENT: u8 = 0x01;
