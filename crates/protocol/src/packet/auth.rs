//! AUTH: a step of extended authentication, from either side.
//!
//! Relates to: CONNECT and CONNACK, which begin and end an exchange. Leaves out: the methods, which users bring, and
//! whether a step is expected.

use std::fmt;

use bytes::Bytes;

use super::{PacketType, check_reason, decode_body, encode_body, read_reason};
use crate::codec::Reader;
use crate::error::{EncodeError, Rule, Violation};
use crate::properties::AuthProperties;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// A step of authentication. Not on the older versions. Its `Debug` output has no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// Whether it goes on, begins again, or is done.
    pub reason: ReasonCode,
    /// Method and data. The method must be there; only a success may come without any properties.
    pub properties: AuthProperties,
}

impl Auth {
    /// Reads the body behind the fixed header.
    ///
    /// # Errors
    ///
    /// The version has no AUTH, the packet cannot carry the reason code, the authentication method is missing, or
    /// properties are wrong.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        if !version.has_reason_codes() {
            return Err(Violation::new(Rule::ReservedPacketType).value(PacketType::Auth.value().into()));
        }
        decode_body(PacketType::Auth, body, flags, version, Self::read)
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    ///
    /// The version has no AUTH, AUTH cannot carry the reason, the authentication method is missing, or a property
    /// cannot be sent. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !version.has_reason_codes() {
            return Err(EncodeError::NotInVersion { field: "AUTH", version });
        }
        check_reason(PacketType::Auth, self.reason)?;
        let is_short = self.reason == ReasonCode::Success && self.properties.is_empty();
        if !is_short && self.properties.authentication_method.is_none() {
            return Err(EncodeError::Missing { field: "Authentication Method" });
        }
        encode_body(PacketType::Auth, out, |out| {
            if is_short {
                return Ok(());
            }
            out.push(self.reason.value());
            self.properties.write(out)
        })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        // A success without properties may be empty (section 3.15.2.1).
        if reader.is_empty() {
            return Ok(Self { reason: ReasonCode::Success, properties: AuthProperties::default() });
        }
        let reason = read_reason(reader, PacketType::Auth)?;
        let properties = AuthProperties::read(reader)?;
        if properties.authentication_method.is_none() {
            return Err(Rule::AuthenticationMethodMissing.into());
        }
        Ok(Self { reason, properties })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut properties = self.properties.clone();
        properties.authentication_data =
            properties.authentication_data.map(|_| Bytes::from_static(b"<redacted>"));
        f.debug_struct("Auth").field("reason", &self.reason).field("properties", &properties).finish()
    }
}
