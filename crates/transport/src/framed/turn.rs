//! One turn of reading: whole frames handed out in place, within bounds.
//!
//! Relates to: [`Framed`](super::Framed), which says where the bytes are. Leaves out: where bytes come from and what
//! happens to those that are left over.

use gantline_protocol::{FixedHeader, Rule, Violation};

/// What the handler of a packet says about the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go on with the next packet.
    Continue,
    /// This packet is handled; keep the others for the next turn.
    Stop,
}

/// What one turn of [`Framed::poll_read_turn`](super::Framed::poll_read_turn) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTurn {
    /// Packets that were handled.
    pub frames: u32,
    /// Bytes that were read from the stream.
    pub bytes: usize,
    /// Whether the next turn most likely has something to do without waiting: whole packets are left over, or the
    /// stream gave as much as could be read at once.
    pub more: bool,
}

/// Packets that are handled in one turn.
const FRAMES_PER_TURN: u32 = 256;
/// Bytes of answers after which a turn ends.
const OUT_PER_TURN: usize = 64 << 10;

/// The handler of a turn and what is left of the turn.
pub(super) struct Frames<F> {
    /// Packets that were handled.
    pub(super) count: u32,
    handle: F,
    max_packet: u32,
    out_limit: usize,
    stopped: bool,
}

impl<F> Frames<F>
where
    F: FnMut(&[u8], &mut Vec<u8>) -> Turn,
{
    pub(super) const fn new(max_packet: u32, out_len: usize, handle: F) -> Self {
        Self { count: 0, handle, max_packet, out_limit: out_len + OUT_PER_TURN, stopped: false }
    }

    /// Whether the turn has reached its end.
    pub(super) const fn is_full(&self) -> bool {
        self.stopped || self.count >= FRAMES_PER_TURN
    }

    /// Handles whole frames at the front of `bytes` and says how many bytes they were.
    ///
    /// A violation behind frames that were handled in this turn is left to the next one.
    pub(super) fn run(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Violation> {
        let mut used = 0;
        while !self.is_full() {
            let rest = &bytes[used..];
            let len = match frame_len(rest, self.max_packet) {
                Ok(Some(len)) if len <= rest.len() => len,
                Ok(_) => break,
                Err(_) if self.count > 0 => {
                    self.stopped = true;
                    break;
                }
                Err(violation) => return Err(violation),
            };
            self.stopped = (self.handle)(&rest[..len], out) == Turn::Stop || out.len() >= self.out_limit;
            self.count += 1;
            used += len;
        }
        Ok(used)
    }
}

/// The length of the frame at the front of `bytes`; `None` if its header is not whole.
#[inline]
pub(super) fn frame_len(bytes: &[u8], max_packet: u32) -> Result<Option<usize>, Violation> {
    let Some(header) = FixedHeader::parse(bytes)? else { return Ok(None) };
    let len = header.frame_len();
    if len > max_packet as usize {
        return Err(Violation::new(Rule::PacketTooLarge).in_packet(header.packet_type).value(len as u32));
    }
    Ok(Some(len))
}
