//! CONNECT: how a client introduces itself.
//!
//! It says the version of all that follows. Relates to: [`Will`], a part of it, and [`Limits`](crate::Limits), which
//! are computed from it. Leaves out: whether the client id is acceptable, because a server answers a bad one with
//! CONNACK.

use std::fmt;

use bytes::Bytes;

use super::{PacketType, Will, decode_body, encode_body};
use crate::codec::{Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::properties::ConnectProperties;
use crate::qos::QoS;
use crate::version::ProtocolVersion;

/// The first packet of a connection, from the client. Its `Debug` output has no secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connect {
    /// The version of the connection.
    pub version: ProtocolVersion,
    /// The name of the client and its session. Empty if the server is to choose one.
    pub client_id: String,
    /// Whether an earlier session is discarded. On the older versions, where it is called Clean Session, the session
    /// also ends with the connection.
    pub clean_start: bool,
    /// After how many seconds without a packet the client pings; 0 switches it off.
    pub keep_alive: u16,
    /// What is published when the connection is lost.
    pub will: Option<Will>,
    /// The name by which the client authenticates.
    pub user_name: Option<String>,
    /// The secret by which it does so. Before 5.0 only beside a user name.
    pub password: Option<Bytes>,
    /// The properties.
    pub properties: ConnectProperties,
    /// The client is another server, which wants RETAIN as it was published and none of its own messages back. Not in
    /// the specification: the high bit of the protocol level, which 5.0 has subscription options instead of.
    pub bridge: bool,
}

impl Connect {
    /// Reads the body behind the fixed header. The version is that which CONNECT says, not the argument.
    ///
    /// # Errors
    ///
    /// An unknown version, flags that contradict each other, a will that is no message, or wrong properties.
    pub fn decode(body: &[u8], flags: u8, version: ProtocolVersion) -> Result<Self, Violation> {
        decode_body(PacketType::Connect, body, flags, version, Self::read)
    }

    /// Appends the whole packet in its own version, not that of the argument.
    ///
    /// # Errors
    ///
    /// A field is too long or contains U+0000, or there is a password without user name before 5.0. Then nothing is
    /// appended.
    pub fn encode(&self, _version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let version = self.version;
        if self.password.is_some() && self.user_name.is_none() && !may_omit_user_name(version) {
            return Err(EncodeError::NotInVersion { field: "Password without User Name", version });
        }
        if self.properties.authentication_data.is_some() && self.properties.authentication_method.is_none() {
            return Err(EncodeError::Missing { field: "Authentication Method" });
        }
        encode_body(PacketType::Connect, out, |out| self.write(out))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        let (version, bridge) = read_version(reader)?;
        let flags = Flags::read(reader, version)?;
        let keep_alive = reader.u16()?;
        let properties = if version.has_properties() {
            ConnectProperties::read(reader)?
        } else {
            ConnectProperties::default()
        };
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(Rule::AuthenticationDataWithoutMethod.into());
        }
        let client_id = reader.string()?.to_owned();
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::read(reader, qos, retain, version)?),
            None => None,
        };
        // 3.1 lets the remaining length decide whether these two are there (its section 3.1).
        let is_missing = |reader: &Reader<'_>| version == ProtocolVersion::V3_1 && reader.is_empty();
        let user_name = match flags.user_name && !is_missing(reader) {
            true => Some(reader.string()?.to_owned()),
            false => None,
        };
        let password = match flags.password && !is_missing(reader) {
            true => Some(Bytes::copy_from_slice(reader.binary()?)),
            false => None,
        };
        Ok(Self {
            version,
            client_id,
            clean_start: flags.clean_start,
            keep_alive,
            will,
            user_name,
            password,
            properties,
            bridge,
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let version = self.version;
        writer::string("Protocol Name", version.name(), out)?;
        let bridge = if self.bridge && has_bridge_bit(version) { BRIDGE } else { 0 };
        out.push(version.level() | bridge);
        out.push(self.flags());
        writer::u16(self.keep_alive, out);
        if version.has_properties() {
            self.properties.write(out)?;
        }
        writer::string("Client Identifier", &self.client_id, out)?;
        if let Some(will) = &self.will {
            will.write(version, out)?;
        }
        if let Some(user_name) = &self.user_name {
            writer::string("User Name", user_name, out)?;
        }
        if let Some(password) = &self.password {
            writer::binary("Password", password, out)?;
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let will = self
            .will
            .as_ref()
            .map_or(0, |will| WILL | will.qos.value() << WILL_QOS_SHIFT | flag(will.retain, WILL_RETAIN));
        flag(self.clean_start, CLEAN_START)
            | will
            | flag(self.password.is_some(), PASSWORD)
            | flag(self.user_name.is_some(), USER_NAME)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = || Bytes::from_static(REDACTED.as_bytes());
        let mut properties = self.properties.clone();
        properties.authentication_data = properties.authentication_data.map(|_| redacted());
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("will", &self.will)
            .field("user_name", &self.user_name.as_deref().map(shown))
            .field("password", &self.password.as_ref().map(|_| REDACTED))
            .field("properties", &properties)
            .field("bridge", &self.bridge)
            .finish()
    }
}

/// A user name without what stands behind a `?`: clients of AWS IoT put tokens there.
fn shown(user_name: &str) -> String {
    match user_name.split_once('?') {
        Some((name, _)) => format!("{name}?{REDACTED}"),
        None => user_name.to_owned(),
    }
}

/// The connect flags.
struct Flags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    password: bool,
    user_name: bool,
}

impl Flags {
    fn read(reader: &mut Reader<'_>, version: ProtocolVersion) -> Result<Self, Violation> {
        let flags = reader.u8()?;
        let refused = |rule| Err(Violation::new(rule).value(flags.into()));
        let has = |bit| flags & bit != 0;
        if has(RESERVED) {
            return refused(Rule::ConnectReservedFlag);
        }
        let will = match QoS::from_u8(flags >> WILL_QOS_SHIFT & 0b11) {
            Some(qos) if has(WILL) => Some((qos, has(WILL_RETAIN))),
            None if has(WILL) => return refused(Rule::WillQoSInvalid),
            // 3.1 disregards both where there is no will [MQTT-3.1.2-11] [MQTT-3.1.2-13].
            Some(QoS::AtMostOnce) if !has(WILL_RETAIN) => None,
            _ if version == ProtocolVersion::V3_1 => None,
            _ => return refused(Rule::WillFlagsWithoutWill),
        };
        if has(PASSWORD) && !has(USER_NAME) && !may_omit_user_name(version) {
            return refused(Rule::PasswordWithoutUserName);
        }
        Ok(Self { clean_start: has(CLEAN_START), will, password: has(PASSWORD), user_name: has(USER_NAME) })
    }
}

/// Reads protocol name and level: the version, and whether the bridge bit is set.
fn read_version(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), Violation> {
    let name = reader.binary()?;
    let level = reader.u8()?;
    let bridge = level & BRIDGE != 0;
    match ProtocolVersion::from_wire(name, level & !BRIDGE) {
        Some(version) if !bridge || has_bridge_bit(version) => Ok((version, bridge)),
        _ => Err(Violation::new(Rule::UnsupportedProtocolVersion).value(level.into())),
    }
}

const fn has_bridge_bit(version: ProtocolVersion) -> bool {
    matches!(version, ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1)
}

/// 5.0 allows a password alone (section 3.1.2.9).
const fn may_omit_user_name(version: ProtocolVersion) -> bool {
    matches!(version, ProtocolVersion::V5_0)
}

const BRIDGE: u8 = 0x80;
const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;
const REDACTED: &str = "<redacted>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secrets() {
        let mut connect = Connect {
            user_name: Some("ann?token=sesame".into()),
            password: Some("hunter2".into()),
            ..Connect::default()
        };
        connect.properties.authentication_data = Some("sesame".into());
        let text = format!("{connect:?}");
        assert!(text.contains("ann?<redacted>") && text.contains("password: Some(\"<redacted>\")"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("sesame"), "{text}");
        assert!(format!("{:?}", Connect::default()).contains("password: None"));
    }
}
