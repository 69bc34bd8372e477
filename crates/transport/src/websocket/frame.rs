//! The head of a frame, and masking (RFC 6455, section 5).
//!
//! Relates to: `decoder.rs` and `socket.rs`, which read and write frames. Leaves out: extensions, of which none is ever
//! offered, so the reserved bits are wrong whenever they are set.

/// Which end of the connection we are: clients mask what they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    const fn value(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// The bytes of a head, as far as they are not written yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadBytes {
    bytes: [u8; LONGEST_HEAD],
    start: u8,
    end: u8,
}

impl HeadBytes {
    /// Nothing is to be written.
    pub(super) const NONE: Self = Self { bytes: [0; LONGEST_HEAD], start: 0, end: 0 };

    /// The head of a whole message with so many bytes.
    pub(super) fn new(opcode: Opcode, len: usize, mask: Option<Mask>) -> Self {
        let mut head = Self { end: 2, ..Self::NONE };
        head.bytes[0] = FINAL | opcode.value();
        let masked = if mask.is_some() { MASKED } else { 0 };
        head.bytes[1] = masked
            | match len {
                0..=125 => len as u8,
                126..=0xFFFF => {
                    head.push(&(len as u16).to_be_bytes());
                    LENGTH_16
                }
                _ => {
                    head.push(&(len as u64).to_be_bytes());
                    LENGTH_64
                }
            };
        if let Some(Mask(key)) = mask {
            head.push(&key);
        }
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = usize::from(self.end);
        self.bytes[end..end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len() as u8;
    }

    pub(super) fn left(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..usize::from(self.end)]
    }

    /// Forgets what was written of `wrote` bytes that began with this head; returns how many were behind it.
    pub(super) fn advance(&mut self, wrote: usize) -> usize {
        let own = wrote.min(self.left().len());
        self.start += own as u8;
        wrote - own
    }
}

/// The key by which the payload of a client is masked, turned so that it begins with the byte for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(pub(super) [u8; 4]);

impl Mask {
    /// As after this many bytes.
    pub(super) const fn after(self, len: usize) -> Self {
        let Self([a, b, c, d]) = self;
        match len % 4 {
            0 => self,
            1 => Self([b, c, d, a]),
            2 => Self([c, d, a, b]),
            _ => Self([d, a, b, c]),
        }
    }

    /// Masks or unmasks `bytes`.
    pub(super) fn apply(self, bytes: &mut [u8]) {
        let Self([a, b, c, d]) = self;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip([a, b, c, d].iter().cycle()) {
            *byte ^= key;
        }
    }
}

/// The longest head in bytes: opcode, length, eight bytes of length, mask.
pub(super) const LONGEST_HEAD: usize = 14;
/// The longest payload of a control frame in bytes.
pub(super) const LONGEST_CONTROL: usize = 125;
/// The bit of the last frame of a message.
pub(super) const FINAL: u8 = 0x80;
/// The bits of extensions.
pub(super) const RESERVED: u8 = 0x70;
/// The bit of a payload that is masked.
pub(super) const MASKED: u8 = 0x80;
/// The length stands in the next two bytes.
pub(super) const LENGTH_16: u8 = 126;
/// The length stands in the next eight bytes.
pub(super) const LENGTH_64: u8 = 127;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    #[test]
    fn heads_are_those_that_others_read() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 10 << 20] {
            for mask in [None, Some(Mask([1, 2, 3, 4]))] {
                let head = HeadBytes::new(Opcode::Binary, len, mask);
                let mut cursor = Cursor::new(head.left());
                let (read, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
                assert_eq!(cursor.position() as usize, head.left().len());
                assert_eq!((read.is_final, read.opcode), (true, OpCode::Data(Data::Binary)));
                assert_eq!((length, read.mask), (len as u64, mask.map(|mask| mask.0)));
            }
        }
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let mask = Mask([0x11, 0x22, 0x44, 0x88]);
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ mask.0[at % 4]).collect();
        for cut in 0..plain.len() {
            let mut bytes = plain.clone();
            mask.apply(&mut bytes[..cut]);
            mask.after(cut).apply(&mut bytes[cut..]);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }
}
