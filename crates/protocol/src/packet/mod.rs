//! Control packets: one type for each, in the form of 5.0.
//!
//! On the older versions packets have no properties, and hardly any reason code travels; what a version cannot say is
//! left out when written. Every packet reads and writes its body; [`Packet`] puts the fixed header before it. On the
//! hot path there are [`PublishRef`], which stays where it was received, and the functions of `publish.rs` and `ack.rs`
//! that need no owned packet. Leaves out: when a packet may be sent, which is in
//! [`connection`](crate::connection).

pub(crate) mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
pub(crate) mod publish;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;
mod will;

use std::fmt;

pub use self::ack::Ack;
pub use self::auth::Auth;
pub use self::connack::ConnAck;
pub use self::connect::Connect;
pub use self::disconnect::Disconnect;
pub use self::publish::{Delivery, Publish, PublishRef};
pub use self::suback::SubAck;
pub use self::subscribe::{RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions};
pub use self::unsuback::UnsubAck;
pub use self::unsubscribe::Unsubscribe;
pub use self::will::Will;
use crate::codec::{FixedHeader, Reader, writer};
use crate::error::{EncodeError, Rule, Violation};
use crate::packet_id::PacketId;
use crate::reason_code::ReasonCode;
use crate::version::ProtocolVersion;

/// The type of a control packet: the high half of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// The client asks for a connection.
    Connect = 1,
    /// The server's answer to CONNECT.
    ConnAck = 2,
    /// A message.
    Publish = 3,
    /// Acknowledges a PUBLISH with QoS 1.
    PubAck = 4,
    /// QoS 2, first answer: received.
    PubRec = 5,
    /// QoS 2, second step: may be released.
    PubRel = 6,
    /// QoS 2, last answer: complete.
    PubComp = 7,
    /// The client asks for messages.
    Subscribe = 8,
    /// The answer to SUBSCRIBE.
    SubAck = 9,
    /// The client wants no more messages.
    Unsubscribe = 10,
    /// The answer to UNSUBSCRIBE.
    UnsubAck = 11,
    /// The client shows that it is alive.
    PingReq = 12,
    /// The answer to PINGREQ.
    PingResp = 13,
    /// The last packet of a connection.
    Disconnect = 14,
    /// A step of extended authentication.
    Auth = 15,
}

impl PacketType {
    /// The type of this number; `None` for 0, which is reserved, and above 15.
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[inline]
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// The name as the specification writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A control packet of any type.
///
/// ```
/// use gantline_protocol::ProtocolVersion;
/// use gantline_protocol::packet::Packet;
///
/// let mut bytes = Vec::new();
/// Packet::PingReq.encode(ProtocolVersion::V5_0, &mut bytes)?;
/// assert_eq!(bytes, [0xC0, 0]);
/// assert_eq!(Packet::decode(&bytes, ProtocolVersion::V5_0), Ok(Packet::PingReq));
/// # Ok::<(), gantline_protocol::EncodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The client asks for a connection.
    Connect(Box<Connect>),
    /// The server's answer to CONNECT.
    ConnAck(Box<ConnAck>),
    /// A message.
    Publish(Box<Publish>),
    /// Acknowledges a PUBLISH with QoS 1.
    PubAck(Ack),
    /// QoS 2, first answer: received.
    PubRec(Ack),
    /// QoS 2, second step: may be released.
    PubRel(Ack),
    /// QoS 2, last answer: complete.
    PubComp(Ack),
    /// The client asks for messages.
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// The client wants no more messages.
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(UnsubAck),
    /// The client shows that it is alive.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// A step of extended authentication.
    Auth(Auth),
}

impl Packet {
    /// Reads one whole packet, fixed header included. CONNECT says its version itself; `version` is that of the
    /// connection for all others.
    ///
    /// # Errors
    ///
    /// The bytes are not exactly one packet, or the packet breaks a rule that can be judged without the state of the
    /// connection.
    pub fn decode(frame: &[u8], version: ProtocolVersion) -> Result<Self, Violation> {
        let Some(header) = FixedHeader::parse(frame)? else { return Err(Rule::IncompletePacket.into()) };
        let (packet_type, flags) = (header.packet_type, header.flags);
        let violation = |rule| Violation::new(rule).in_packet(packet_type);
        if frame.len() > header.frame_len() {
            return Err(violation(Rule::TrailingBytes));
        }
        if frame.len() < header.frame_len() {
            return Err(violation(Rule::IncompletePacket));
        }
        let body = &frame[header.header_len.into()..];
        let ack = || {
            header.check_flags(version)?;
            Ack::decode(packet_type, body, version)
        };
        let empty = |packet| decode_body(packet_type, body, flags, version, |_| Ok(packet));
        Ok(match packet_type {
            PacketType::Connect => Self::Connect(Box::new(Connect::decode(body, flags, version)?)),
            PacketType::ConnAck => Self::ConnAck(Box::new(ConnAck::decode(body, flags, version)?)),
            PacketType::Publish => Self::Publish(Box::new(Publish::decode(body, flags, version)?)),
            PacketType::PubAck => Self::PubAck(ack()?),
            PacketType::PubRec => Self::PubRec(ack()?),
            PacketType::PubRel => Self::PubRel(ack()?),
            PacketType::PubComp => Self::PubComp(ack()?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(body, flags, version)?),
            PacketType::SubAck => Self::SubAck(SubAck::decode(body, flags, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(body, flags, version)?),
            PacketType::UnsubAck => Self::UnsubAck(UnsubAck::decode(body, flags, version)?),
            PacketType::PingReq => empty(Self::PingReq)?,
            PacketType::PingResp => empty(Self::PingResp)?,
            PacketType::Disconnect => Self::Disconnect(Disconnect::decode(body, flags, version)?),
            PacketType::Auth => Self::Auth(Auth::decode(body, flags, version)?),
        })
    }

    /// Appends the whole packet, fixed header included. What `version` has no place for, properties and most reason
    /// codes of the older ones, is left out. CONNECT is written in its own version.
    ///
    /// # Errors
    ///
    /// A field cannot be expressed. Then nothing is appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(version, out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.encode(self.packet_type(), version, out)
            }
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::UnsubAck(packet) => packet.encode(version, out),
            Self::PingReq | Self::PingResp => encode_body(self.packet_type(), out, |_| Ok(())),
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(version, out),
        }
    }

    /// The type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Reads a body whole: checks the flags before and the end behind, and names the packet in violations.
fn decode_body<'a, T>(
    packet_type: PacketType,
    body: &'a [u8],
    flags: u8,
    version: ProtocolVersion,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Violation>,
) -> Result<T, Violation> {
    FixedHeader { packet_type, flags, remaining_length: 0, header_len: 0 }.check_flags(version)?;
    let mut reader = Reader::new(body);
    let packet = read(&mut reader).and_then(|packet| {
        reader.finish()?;
        Ok(packet)
    });
    packet.map_err(|violation| violation.in_packet(packet_type))
}

/// Appends a packet of which `write` appends the body.
fn encode_body(
    packet_type: PacketType,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    writer::packet(first_byte(packet_type), out, write)
}

/// The first byte of a packet other than PUBLISH.
#[inline]
const fn first_byte(packet_type: PacketType) -> u8 {
    packet_type.value() << 4 | FixedHeader::reserved_flags(packet_type)
}

#[inline]
fn read_packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Violation> {
    PacketId::new(reader.u16()?).ok_or(Violation::new(Rule::PacketIdZero))
}

/// Reads a reason code that this packet may carry.
#[inline]
fn read_reason(reader: &mut Reader<'_>, packet_type: PacketType) -> Result<ReasonCode, Violation> {
    let value = reader.u8()?;
    match ReasonCode::from_u8(value) {
        Some(reason) if reason.allowed_in(packet_type) => Ok(reason),
        _ => Err(Violation::new(Rule::ReasonCodeInvalid).value(value.into())),
    }
}

/// Whether a reason code can be sent in this packet.
const fn check_reason(packet_type: PacketType, reason: ReasonCode) -> Result<(), EncodeError> {
    if reason.allowed_in(packet_type) {
        Ok(())
    } else {
        Err(EncodeError::OutOfRange { field: "Reason Code", value: reason.value() as u32 })
    }
}
