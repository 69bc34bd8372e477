//! The protocol versions and what differs between them, as questions.
//!
//! Relates to: `codec/`, `packet/`, `limits.rs` and `client_id.rs`, the only other places that name a variant.
//! Everything else asks a predicate or reads [`Limits`](crate::Limits). Leaves out: how packets differ, which is said
//! where each packet is read and written.

use std::fmt;
use std::str::FromStr;

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1 of 2010, protocol name `MQIsdp`.
    V3_1,
    /// MQTT 3.1.1 of 2014, also ISO/IEC 20922.
    V3_1_1,
    /// MQTT 5.0 of 2019; the default.
    #[default]
    V5_0,
}

impl ProtocolVersion {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V3_1, Self::V3_1_1, Self::V5_0];

    /// The protocol name in CONNECT [MQTT-3.1.2-1].
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 | Self::V5_0 => "MQTT",
        }
    }

    /// The protocol level in CONNECT: 3, 4 or 5.
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1 => 3,
            Self::V3_1_1 => 4,
            Self::V5_0 => 5,
        }
    }

    /// The version of this protocol name and level. `None` if the two do not belong together or are not known
    /// [MQTT-3.1.2-2].
    pub fn from_wire(name: &[u8], level: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.level() == level && version.name().as_bytes() == name)
    }

    /// Whether packets have properties.
    pub const fn has_properties(self) -> bool {
        matches!(self, Self::V5_0)
    }

    /// Whether acknowledgements carry reason codes, so that a receiver can refuse a message and name the reason.
    pub const fn has_reason_codes(self) -> bool {
        matches!(self, Self::V5_0)
    }

    /// Whether the server may send DISCONNECT before it closes.
    pub const fn server_may_disconnect(self) -> bool {
        matches!(self, Self::V5_0)
    }

    /// Whether CONNACK says if the session was present.
    pub const fn has_session_present(self) -> bool {
        !matches!(self, Self::V3_1)
    }

    /// Whether SUBACK can refuse a filter.
    pub const fn has_subscribe_failure(self) -> bool {
        !matches!(self, Self::V3_1)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5_0 => "5.0",
        })
    }
}

impl FromStr for ProtocolVersion {
    type Err = UnknownVersion;

    /// Reads `3.1`, `3.1.1`, `5.0` or `5`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "3.1" => Ok(Self::V3_1),
            "3.1.1" => Ok(Self::V3_1_1),
            "5" | "5.0" => Ok(Self::V5_0),
            _ => Err(UnknownVersion),
        }
    }
}

/// A text that names no version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown MQTT version: known are 3.1, 3.1.1 and 5.0")]
pub struct UnknownVersion;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_level_must_belong_together() {
        for version in ProtocolVersion::ALL {
            assert_eq!(ProtocolVersion::from_wire(version.name().as_bytes(), version.level()), Some(version));
        }
        assert_eq!(ProtocolVersion::from_wire(b"MQTT", 3), None);
        assert_eq!(ProtocolVersion::from_wire(b"MQIsdp", 4), None);
        assert_eq!(ProtocolVersion::from_wire(b"mqtt", 5), None);
        assert_eq!(ProtocolVersion::from_wire(b"MQTT", 6), None);
    }

    #[test]
    fn text_round_trips() {
        for version in ProtocolVersion::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert_eq!("4".parse::<ProtocolVersion>(), Err(UnknownVersion));
    }
}
