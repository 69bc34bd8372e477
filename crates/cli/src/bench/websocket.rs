//! As much WebSocket as a load generator needs: its handshake, and bytes in and out of frames.
//!
//! It shares nothing with the crates of this workspace, for the same reason as [`wire`](super::wire). All frames have
//! the same mask, since it hides nothing that a generator has. Leaves out: everything that a broker does not need to be
//! held to, such as whether its handshake proves that it has read ours.

use std::io::{self, Read, Write};

use super::{failure::Failure, place::Place};

/// The most bytes that go into a frame.
const FRAME: usize = 64 << 10;
/// The longest answer to the handshake.
const HEAD: usize = 16 << 10;
/// What RFC 6455 masks its examples with.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Both directions of a connection.
#[derive(Default)]
pub(crate) struct Frames {
    /// Frames that wait to be written, and how much of them is.
    out: Vec<u8>,
    written: usize,
    /// The incomplete head of a frame.
    head: Vec<u8>,
    /// The kind of the frame that is being read, and what is missing of it.
    opcode: u8,
    left: u64,
    /// What came with a ping.
    ping: Vec<u8>,
    is_closed: bool,
}

impl Frames {
    /// Asks for the upgrade over a stream that blocks.
    pub(crate) fn shake_hands(
        stream: &mut (impl Read + Write),
        place: &Place,
        client_id: &str,
    ) -> Result<Self, Failure> {
        let of_connection = |error| Failure::of_connection(client_id, error);
        let url = &place.address;
        let (host, port) = (url.host(), place.broker.port());
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n",
            url.path()
        );
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(of_connection)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
            // Byte by byte: nothing of what comes behind the head may be taken.
            let mut byte = [0];
            stream.read_exact(&mut byte).map_err(of_connection)?;
            head.push(byte[0]);
        }
        let status = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        if status.starts_with(b"HTTP/1.1 101") {
            return Ok(Self::default());
        }
        Err(Failure::NotUpgraded { status: String::from_utf8_lossy(status).into_owned() })
    }

    /// Whether the broker has closed.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Makes a frame of the first bytes, and says of how many. All earlier frames are written by now.
    pub(crate) fn wrap(&mut self, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(FRAME)];
        self.frame(BINARY, bytes);
        bytes.len()
    }

    fn frame(&mut self, first: u8, bytes: &[u8]) {
        self.out.push(first);
        match bytes.len() {
            short @ 0..126 => self.out.push(0x80 | short as u8),
            middle @ 126..=0xFFFF => {
                self.out.push(0x80 | 126);
                self.out.extend((middle as u16).to_be_bytes());
            }
            long => {
                self.out.push(0x80 | 127);
                self.out.extend((long as u64).to_be_bytes());
            }
        }
        self.out.extend(MASK);
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        for (index, byte) in self.out[start..].iter_mut().enumerate() {
            *byte ^= MASK[index % 4];
        }
    }

    /// Writes what waits.
    pub(crate) fn send(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while self.written < self.out.len() {
            self.written += stream.write(&self.out[self.written..])?;
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Moves what frames carry to the front of `bytes`, which have come, and says how much that is.
    pub(crate) fn unwrap(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if self.left == 0 {
                self.head.push(bytes[at]);
                at += 1;
                self.begin();
                continue;
            }
            let count = (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let part = at..at + count;
            match self.opcode {
                PING => self.ping.extend_from_slice(&bytes[part]),
                CLOSE | PONG => {}
                _ => {
                    bytes.copy_within(part, kept);
                    kept += count;
                }
            }
            at += count;
            self.left -= count as u64;
            self.end();
        }
        kept
    }

    /// Begins a frame when its head is there.
    fn begin(&mut self) {
        let left = match *self.head {
            [_, short @ 0..126] => short.into(),
            [_, 126, high, low] => u16::from_be_bytes([high, low]).into(),
            [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            // A server that masks is no server; what comes of it is not MQTT.
            [_, 128..=255, ..] => 0,
            _ => return,
        };
        self.opcode = self.head[0] & 0xF;
        self.left = left;
        self.head.clear();
        self.end();
    }

    /// Answers what has to be answered when a frame is there.
    fn end(&mut self) {
        if self.left > 0 {
            return;
        }
        match self.opcode {
            CLOSE => self.is_closed = true,
            PING => {
                let ping = std::mem::take(&mut self.ping);
                self.frame(0x80 | PONG, &ping);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_frames_is_found_however_it_is_cut() {
        let mut sent = vec![BINARY, 3, 1, 2, 3, 0x89, 2, 8, 9, 0x02, 126, 1, 0];
        sent.extend([7; 256]);
        sent.extend([0x80, 127, 0, 0, 0, 0, 0, 0, 0, 1, 4, BINARY, 0]);
        let expected = [&[1, 2, 3][..], &[7; 256], &[4]].concat();
        for size in [1, 2, 5, 1000] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in sent.chunks(size) {
                let mut part = part.to_vec();
                let kept = frames.unwrap(&mut part);
                found.extend_from_slice(&part[..kept]);
            }
            assert_eq!(found, expected, "in parts of {size}");
            assert_eq!(frames.out[..6], [&[0x8A, 0x82][..], &MASK].concat(), "a pong");
            assert!(!frames.is_closed());
            frames.unwrap(&mut [0x88, 0]);
            assert!(frames.is_closed());
        }
    }

    /// The example of a masked text in RFC 6455, section 5.7, as a binary one.
    #[test]
    fn frames_are_masked_as_the_specification_shows() {
        let mut frames = Frames::default();
        assert_eq!(frames.wrap(b"Hello"), 5);
        assert_eq!(frames.out, [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        let mut long = Frames::default();
        assert_eq!(long.wrap(&[0; 70_000]), FRAME);
        assert_eq!(long.out[..10], [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
