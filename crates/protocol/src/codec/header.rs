//! The fixed header: the first two to five bytes of every packet.
//!
//! Relates to: the framing of a transport, which needs to know how long a packet is, and the packets, which get the
//! flags. Leaves out: the flags of PUBLISH, which are fields of that packet.

use super::varint;
use crate::error::{Rule, Violation};
use crate::packet::PacketType;
use crate::version::ProtocolVersion;

/// The fixed header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// The type of the packet.
    pub packet_type: PacketType,
    /// The low four bits of the first byte.
    pub flags: u8,
    /// How many bytes follow the fixed header; at most 268,435,455.
    pub remaining_length: u32,
    /// How many bytes the fixed header itself has: 2 to 5.
    pub header_len: u8,
}

impl FixedHeader {
    /// Reads the header at the front of `bytes`. `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The type 0, or a remaining length that is too long or not in the shortest form.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let Some(packet_type) = PacketType::from_u8(first >> 4) else {
            return Err(Violation::new(Rule::ReservedPacketType).value(0));
        };
        match varint::read(rest) {
            Ok(Some((remaining_length, len))) => Ok(Some(Self {
                packet_type,
                flags: first & 0x0F,
                remaining_length,
                header_len: 1 + len as u8,
            })),
            Ok(None) => Ok(None),
            Err(rule) => Err(Violation::new(rule).in_packet(packet_type)),
        }
    }

    /// The length of the whole packet in bytes.
    #[inline]
    pub const fn frame_len(&self) -> usize {
        self.header_len as usize + self.remaining_length as usize
    }

    /// Checks the reserved flags [MQTT-2.1.3-1]. Those of PUBLISH are not reserved.
    ///
    /// # Errors
    ///
    /// A flag that the version does not allow for the packet type.
    #[inline]
    pub const fn check_flags(&self, version: ProtocolVersion) -> Result<(), Violation> {
        let flags = match (self.packet_type, version) {
            (PacketType::Publish, _) => return Ok(()),
            // 3.1 marks these as repeated when it sends them again.
            (PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PubRel, ProtocolVersion::V3_1) => {
                self.flags & !DUP
            }
            _ => self.flags,
        };
        if flags == Self::reserved_flags(self.packet_type) {
            Ok(())
        } else {
            Err(Violation::new(Rule::ReservedFlags).in_packet(self.packet_type).value(self.flags as u32))
        }
    }

    /// The flags that a packet of this type is sent with; for PUBLISH, those of a plain one.
    #[inline]
    pub const fn reserved_flags(packet_type: PacketType) -> u8 {
        match packet_type {
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

const DUP: u8 = 0b1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> FixedHeader {
        FixedHeader::parse(bytes).unwrap().unwrap()
    }

    #[test]
    fn a_header_tells_where_its_packet_ends() {
        let publish = header(&[0x3D, 0x80, 0x01, 0xFF]);
        assert_eq!(publish.packet_type, PacketType::Publish);
        assert_eq!((publish.flags, publish.remaining_length, publish.header_len), (0x0D, 128, 3));
        assert_eq!(publish.frame_len(), 131);
    }

    #[test]
    fn a_header_that_is_not_whole_asks_for_more() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x80]] {
            assert_eq!(FixedHeader::parse(bytes), Ok(None));
        }
    }

    #[test]
    fn type_zero_and_wrong_lengths_are_refused() {
        let rule = |bytes: &[u8]| FixedHeader::parse(bytes).unwrap_err().rule;
        assert_eq!(rule(&[0x00]), Rule::ReservedPacketType);
        assert_eq!(rule(&[0x30, 0x80, 0x00]), Rule::VarintNotMinimal);
        assert_eq!(rule(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Rule::VarintTooLong);
    }

    #[test]
    fn reserved_flags_are_checked_for_each_type() {
        for kind in 1..=15_u8 {
            for flags in 0..=15 {
                let header = header(&[kind << 4 | flags, 0]);
                let expected = match kind {
                    3 => true,
                    6 | 8 | 10 => flags == 2,
                    _ => flags == 0,
                };
                assert_eq!(header.check_flags(ProtocolVersion::V5_0).is_ok(), expected, "{kind} {flags}");
                assert_eq!(header.check_flags(ProtocolVersion::V3_1_1).is_ok(), expected, "{kind} {flags}");
            }
        }
    }

    #[test]
    fn the_first_version_may_mark_repeated_requests() {
        for first in [0x6A, 0x8A, 0xAA] {
            assert!(header(&[first, 0]).check_flags(ProtocolVersion::V3_1).is_ok());
        }
        assert!(header(&[0x4A, 0]).check_flags(ProtocolVersion::V3_1).is_err());
        assert!(header(&[0x88, 0]).check_flags(ProtocolVersion::V3_1).is_err());
    }
}
