//! Memory for the payloads of received messages.
//!
//! They are copied one behind the other into chunks that are used again once the application has dropped all that lies
//! in them: many messages share what memory costs, and a stream of them does not ask the system for more again and
//! again. Relates to: `exchange.rs`, which makes messages. Leaves out: what is larger than pays.

use bytes::BytesMut;
use gantline_protocol::Payload;

/// The chunks that are in use now, for each class of sizes.
#[derive(Debug, Default)]
pub(crate) struct Payloads {
    rings: [Ring; CLASSES.len()],
}

/// A few chunks in turn.
#[derive(Debug, Default)]
struct Ring {
    chunks: [BytesMut; CHUNKS],
    current: usize,
}

impl Payloads {
    /// A copy of a payload. A short one lies in the value.
    #[inline]
    pub(crate) fn copy(&mut self, payload: &[u8]) -> Payload {
        Payload::short(payload).unwrap_or_else(|| self.copy_long(payload))
    }

    fn copy_long(&mut self, payload: &[u8]) -> Payload {
        if payload.len() > LARGEST {
            return Payload::copy_from_slice(payload);
        }
        let class = CLASSES.partition_point(|class| class.largest < payload.len());
        self.rings[class].copy(payload, CLASSES[class].chunk).into()
    }

    /// Lets go of all memory that no message holds.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}

impl Ring {
    #[inline]
    fn copy(&mut self, payload: &[u8], size: usize) -> BytesMut {
        let chunk = &mut self.chunks[self.current];
        if payload.len() >= REWOUND {
            // From the front again if all of it is free: that part is most likely in the cache.
            let _ = chunk.try_reclaim(size);
        }
        if chunk.capacity() - chunk.len() < payload.len() {
            self.turn(payload.len(), size);
        }
        let chunk = &mut self.chunks[self.current];
        chunk.extend_from_slice(payload);
        chunk.split()
    }

    /// Goes to the next chunk.
    fn turn(&mut self, length: usize, size: usize) {
        self.current = (self.current + 1) % CHUNKS;
        let chunk = &mut self.chunks[self.current];
        // Succeeds if no message holds a part of it any more.
        if !chunk.try_reclaim(length) {
            *chunk = BytesMut::with_capacity(size);
        }
    }
}

/// Payloads that share chunks.
#[derive(Debug)]
struct Class {
    largest: usize,
    chunk: usize,
}

/// Chunks in a ring.
const CHUNKS: usize = 3;
/// A payload that the application keeps holds at most 32 times its size.
const CLASSES: [Class; 5] = [
    Class { largest: 63, chunk: 512 },
    Class { largest: 255, chunk: 2 << 10 },
    Class { largest: 1023, chunk: 8 << 10 },
    Class { largest: (8 << 10) - 1, chunk: 32 << 10 },
    Class { largest: LARGEST, chunk: 256 << 10 },
];
/// From this size on the cache counts for more than the question whether a chunk is free.
const REWOUND: usize = 1 << 10;
/// Above this size an allocation of its own costs less than the copying.
const LARGEST: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::{CHUNKS, CLASSES, Class, LARGEST, Payloads};

    #[test]
    fn a_copy_is_one_of_any_size() {
        let mut payloads = Payloads::default();
        let limits = CLASSES.iter().flat_map(|class| [class.largest, class.largest + 1]);
        for size in limits.chain([0, 1]) {
            let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
            assert_eq!(payloads.copy(&payload), payload);
        }
        assert!(CLASSES.iter().all(|class| class.largest <= LARGEST));
    }

    #[test]
    fn memory_is_used_again_once_nobody_holds_it() {
        for Class { largest: size, chunk } in CLASSES {
            let mut payloads = Payloads::default();
            let mut places = std::collections::HashSet::new();
            for _ in 0..10 * CHUNKS * (chunk / size) {
                places.insert(payloads.copy(&vec![0; size]).as_ptr() as usize);
            }
            assert!(places.len() <= CHUNKS * (chunk / size), "{}", places.len());
        }
    }

    #[test]
    fn large_payloads_that_are_dropped_at_once_stay_in_one_place() {
        let mut payloads = Payloads::default();
        let places: std::collections::HashSet<_> =
            (0..100).map(|_| payloads.copy(&[0; 64 << 10]).as_ptr() as usize).collect();
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn what_is_held_is_not_overwritten() {
        for size in CLASSES.map(|class| class.largest) {
            let mut payloads = Payloads::default();
            let held: Vec<_> = (0..100u8).map(|n| (n, payloads.copy(&vec![n; size]))).collect();
            assert!(held.iter().all(|(n, payload)| payload.iter().all(|byte| byte == n)));
            payloads.release();
            assert_eq!(held[7].1[0], 7);
        }
    }

    #[test]
    fn a_payload_that_is_kept_holds_at_most_32_times_its_size() {
        let smallest = [24].into_iter().chain(CLASSES.map(|class| class.largest + 1));
        for (size, class) in smallest.zip(CLASSES) {
            assert!(class.chunk <= 32 * size);
        }
    }
}
