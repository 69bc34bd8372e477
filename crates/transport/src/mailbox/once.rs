//! The QoS 0 messages of a mailbox: `ready` and, behind it, `late`.
//!
//! Relates to: the lanes, which bound them. Leaves out: bounds, and the budget.

use std::collections::VecDeque;
use std::mem;

use gantline_protocol::{FixedHeader, Outbound};

use super::{Late, Load, weight};
use crate::buffers;

/// QoS 0 messages in order.
pub(super) struct Once {
    /// Finished frames; those before `ready_start` were dropped.
    ready: Vec<u8>,
    ready_start: usize,
    /// What `ready` and `late` hold.
    load: Load,
    /// The messages among them that are in `late`.
    late_messages: u32,
    late: VecDeque<Late>,
}

/// Finished frames on their way to the output, and where they begin.
#[derive(Default)]
pub(super) struct Ready {
    bytes: Vec<u8>,
    start: usize,
}

impl Once {
    pub(super) const fn new() -> Self {
        Self {
            ready: Vec::new(),
            ready_start: 0,
            load: Load { messages: 0, bytes: 0 },
            late_messages: 0,
            late: VecDeque::new(),
        }
    }

    pub(super) const fn load(&self) -> Load {
        self.load
    }

    pub(super) fn push(&mut self, frames: &[u8], count: u32) {
        if count == 0 {
            return;
        }
        debug_assert_eq!(Frames(frames).count(), count as usize, "the count of frames is right");
        self.load.add(Load { messages: count, bytes: weight(frames.len()) });
        if self.late.is_empty() {
            if self.ready.capacity() == 0 {
                self.ready = buffers::take_if_pooled();
            }
            self.ready.extend_from_slice(frames);
            return;
        }
        self.late_messages += count;
        match self.late.back_mut() {
            // Kept short, because the oldest frame is cut off at the front.
            Some(Late::Finished(bytes, held)) if bytes.len() + frames.len() <= CHUNK => {
                bytes.extend_from_slice(frames);
                *held += count;
            }
            _ => self.push_chunks(frames, count),
        }
    }

    fn push_chunks(&mut self, frames: &[u8], count: u32) {
        if frames.len() <= CHUNK {
            self.late.push_back(Late::Finished(frames.to_vec(), count));
            return;
        }
        let (mut chunk, mut held) = (Vec::new(), 0);
        for frame in Frames(frames) {
            if held > 0 && chunk.len() + frame.len() > CHUNK {
                self.late.push_back(Late::Finished(mem::take(&mut chunk), mem::take(&mut held)));
            }
            chunk.extend_from_slice(frame);
            held += 1;
        }
        self.late.push_back(Late::Finished(chunk, held));
    }

    pub(super) fn push_late(&mut self, message: Outbound) {
        self.load.add(Load { messages: 1, bytes: weight(message.weight()) });
        self.late_messages += 1;
        self.late.push_back(Late::Message(message));
    }

    /// Removes the oldest message, if there is one; if it was not a finished frame it goes to `lost`.
    pub(super) fn drop_oldest(&mut self, lost: &mut Vec<Outbound>) -> bool {
        if self.ready_start < self.ready.len() {
            let length = first_frame(&self.ready[self.ready_start..]);
            self.ready_start += length;
            self.load.remove(Load { messages: 1, bytes: weight(length) });
            // Amortised: the dead part is moved away once it is as large as what lives.
            if self.ready_start * 2 >= self.ready.len() {
                self.ready.drain(..self.ready_start);
                self.ready_start = 0;
            }
            return true;
        }
        let bytes = match self.late.front_mut() {
            Some(Late::Finished(bytes, held)) if *held > 1 => {
                let length = first_frame(bytes);
                bytes.drain(..length);
                *held -= 1;
                length
            }
            _ => match self.late.pop_front() {
                Some(Late::Message(message)) => {
                    let bytes = message.weight();
                    lost.push(message);
                    bytes
                }
                Some(Late::Finished(bytes, _)) => bytes.len(),
                None => return false,
            },
        };
        self.late_messages -= 1;
        self.load.remove(Load { messages: 1, bytes: weight(bytes) });
        true
    }

    /// How many finished frames there are that [`take_ready`](Self::take_ready) takes.
    pub(super) fn ready_messages(&self) -> u32 {
        self.load.messages - self.late_messages
    }

    /// Takes all finished frames: by exchange if `out` is empty, else into what is returned.
    pub(super) fn take_ready(&mut self, out: &mut Vec<u8>) -> (usize, Ready) {
        let length = self.ready.len() - self.ready_start;
        if length == 0 {
            return (0, Ready::default());
        }
        self.load = Load { messages: self.late_messages, bytes: self.load.bytes - weight(length) };
        if out.is_empty() && self.ready_start == 0 {
            mem::swap(out, &mut self.ready);
            return (length, Ready::default());
        }
        (length, Ready { bytes: mem::take(&mut self.ready), start: mem::take(&mut self.ready_start) })
    }

    /// Takes the oldest of `late`. What is in `ready` is older still and must be taken first.
    pub(super) fn take_late(&mut self) -> Option<Late> {
        let late = self.late.pop_front()?;
        self.late_messages -= late.messages();
        self.load.remove(Load { messages: late.messages(), bytes: weight(late.weight()) });
        Some(late)
    }

    /// Empties itself.
    pub(super) fn take_all(&mut self) -> Self {
        mem::replace(self, Self::new())
    }

    /// Gives up the allocations of what is empty; what is returned holds no frames.
    pub(super) fn release(&mut self) -> Ready {
        if self.late.capacity() > 0 && self.late.is_empty() {
            self.late = VecDeque::new();
        }
        if self.ready.is_empty() {
            Ready { bytes: mem::take(&mut self.ready), start: 0 }
        } else {
            Ready::default()
        }
    }

    #[cfg(all(test, not(shuttle)))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.ready.capacity() + self.late.capacity()
    }
}

impl Ready {
    /// Appends the frames to `out` and gives the buffer back.
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        if self.bytes.capacity() > 0 {
            out.extend_from_slice(&self.bytes[self.start..]);
            self.give_back();
        }
    }

    pub(super) fn give_back(self) {
        buffers::give(self.bytes);
    }
}

impl Late {
    const fn messages(&self) -> u32 {
        match self {
            Self::Message(_) => 1,
            Self::Finished(_, count) => *count,
        }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Message(message) => message.weight(),
            Self::Finished(bytes, _) => bytes.len(),
        }
    }
}

/// The whole frames of a buffer, one after the other.
pub(super) struct Frames<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (frame, rest) = self.0.split_at(first_frame(self.0));
        self.0 = rest;
        Some(frame)
    }
}

/// Length of the first frame. Lanes hold only frames that this workspace wrote, so a header that does not parse
/// cannot occur; should it, the rest counts as one frame, which keeps the sums right.
fn first_frame(bytes: &[u8]) -> usize {
    match FixedHeader::parse(bytes) {
        Ok(Some(header)) => header.frame_len().min(bytes.len()),
        Ok(None) | Err(_) => bytes.len(),
    }
}

/// Most bytes of finished frames that stand together in `late`, unless it is one frame.
const CHUNK: usize = 4 << 10;
