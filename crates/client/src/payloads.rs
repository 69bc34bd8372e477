//! Memory for the payloads of received messages.
//!
//! A small payload gets an allocation of its own. Larger ones are copied one behind the other into chunks that are used
//! again once the application has dropped all that lies in them, so that a stream of messages does not ask the system for
//! memory again and again. Relates to: `exchange.rs`, which makes messages. Leaves out: what is larger than pays.

use bytes::{Bytes, BytesMut};

/// The chunks that are in use now.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    middle: Ring,
    large: Ring,
}

/// A few chunks in turn.
#[derive(Debug, Default)]
struct Ring {
    chunks: [BytesMut; CHUNKS],
    current: usize,
}

impl Payloads {
    /// A copy of a payload.
    #[inline]
    pub(crate) fn copy(&mut self, payload: &[u8]) -> Bytes {
        match payload.len() {
            MIDDLE..LARGE => self.middle.copy(payload, MIDDLE_CHUNK),
            LARGE..=LARGEST => self.large.copy(payload, LARGE_CHUNK),
            _ => Bytes::copy_from_slice(payload),
        }
    }

    /// Lets go of all memory that no message holds.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}

impl Ring {
    fn copy(&mut self, payload: &[u8], size: usize) -> Bytes {
        if !has_room(&self.chunks[self.current], payload) {
            self.current = (self.current + 1) % CHUNKS;
            let chunk = &mut self.chunks[self.current];
            // Succeeds if no message holds a part of it any more.
            if !chunk.try_reclaim(payload.len()) {
                *chunk = BytesMut::with_capacity(size);
            }
        }
        let chunk = &mut self.chunks[self.current];
        chunk.extend_from_slice(payload);
        chunk.split().freeze()
    }
}

fn has_room(chunk: &BytesMut, payload: &[u8]) -> bool {
    chunk.capacity() - chunk.len() >= payload.len()
}

/// Chunks in a ring.
const CHUNKS: usize = 3;
/// From this size on payloads share a chunk of 32 KiB, from the next on one of 256 KiB, so that a payload which the
/// application keeps holds at most 32 times its size.
const MIDDLE: usize = 1 << 10;
const MIDDLE_CHUNK: usize = 32 << 10;
const LARGE: usize = 8 << 10;
const LARGE_CHUNK: usize = 256 << 10;
/// Above this size an allocation of its own costs less than the copying.
const LARGEST: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::{CHUNKS, LARGE, LARGE_CHUNK, LARGEST, MIDDLE, MIDDLE_CHUNK, Payloads};

    #[test]
    fn a_copy_is_one_of_any_size() {
        let mut payloads = Payloads::default();
        for size in [0, 1, MIDDLE - 1, MIDDLE, LARGE - 1, LARGE, LARGEST, LARGEST + 1] {
            let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
            assert_eq!(payloads.copy(&payload), payload);
        }
    }

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        for (size, chunk) in [(MIDDLE, MIDDLE_CHUNK), (LARGE, LARGE_CHUNK)] {
            let mut payloads = Payloads::default();
            let mut places = std::collections::HashSet::new();
            for _ in 0..10 * CHUNKS * (chunk / size) {
                places.insert(payloads.copy(&vec![0; size]).as_ptr() as usize);
            }
            assert!(places.len() <= CHUNKS * (chunk / size), "{}", places.len());
        }
    }

    #[test]
    fn what_is_held_is_not_overwritten() {
        let mut payloads = Payloads::default();
        let held: Vec<_> = (0..200u8).map(|n| (n, payloads.copy(&[n; MIDDLE]))).collect();
        assert!(held.iter().all(|(n, payload)| payload.iter().all(|byte| byte == n)));
        payloads.release();
        assert_eq!(held[7].1[0], 7);
    }
}
