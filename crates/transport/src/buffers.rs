//! The buffers that all connections of a thread share, so that a waiting connection holds none.
//!
//! Relates to: [`Framed`](crate::Framed), which reads into the scratch within one poll, keeps an output buffer only
//! while there is output, and the tail of a large packet only until that is whole. Leaves out: small tails.

use std::cell::{Cell, RefCell};

/// Size of the scratch: 256 KiB. Only a connection with large packets uses more of it than its front; what is not used
/// takes no memory.
pub(crate) const SCRATCH: usize = 256 << 10;

/// Buffers that the pool of a thread keeps at most.
const POOLED: usize = 64;
/// Capacity above which a buffer is not kept.
const LARGEST_POOLED: usize = 128 << 10;
/// Capacity of a buffer when the pool has none.
const SMALLEST: usize = 4 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `read` with a buffer of [`SCRATCH`] bytes of any content.
///
/// It is the one of the thread, unless a `read` further up the stack has it or the thread is ending; then it is a fresh
/// one.
#[inline]
pub(crate) fn with_scratch<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    // Taken out rather than borrowed: whoever comes in between finds none, and a panic leaves nothing locked.
    let mut scratch = READ.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch = vec![0; SCRATCH];
    }
    let result = read(&mut scratch);
    let _ = READ.try_with(|cell| cell.set(scratch));
    result
}

/// An empty buffer with some capacity.
#[inline]
pub(crate) fn take() -> Vec<u8> {
    pooled().unwrap_or_else(|| Vec::with_capacity(SMALLEST))
}

/// An empty buffer, with some capacity if the pool has one: for output that may well stay small.
#[inline]
pub(crate) fn take_if_pooled() -> Vec<u8> {
    pooled().unwrap_or_default()
}

/// An empty buffer with at most this capacity, none if the pool's next one has more.
#[inline]
pub(crate) fn take_up_to(capacity: usize) -> Vec<u8> {
    match pooled() {
        Some(buffer) if buffer.capacity() > capacity => {
            give(buffer);
            Vec::new()
        }
        found => found.unwrap_or_default(),
    }
}

#[inline]
fn pooled() -> Option<Vec<u8>> {
    POOL.try_with(|pool| pool.try_borrow_mut().ok()?.pop()).ok().flatten()
}

/// Gives a buffer back; its content is forgotten.
#[inline]
pub(crate) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() < SMALLEST || buffer.capacity() > LARGEST_POOLED {
        return;
    }
    buffer.clear();
    // A thread that is ending has no pool any more: the buffer is freed.
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.len() < POOLED
        {
            pool.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_reader_gets_a_buffer_of_its_own() {
        with_scratch(|outer| {
            outer.fill(1);
            with_scratch(|inner| {
                assert_eq!(inner.len(), SCRATCH);
                inner.fill(2);
            });
            assert!(outer.iter().all(|byte| *byte == 1));
        });
        with_scratch(|again| assert_eq!(again[0], 1, "the thread keeps its scratch"));
    }

    #[test]
    fn a_panicking_reader_leaves_the_scratch_usable() {
        let panicked = std::panic::catch_unwind(|| with_scratch(|scratch| scratch[SCRATCH]));
        assert!(panicked.is_err());
        assert_eq!(with_scratch(|scratch| scratch.len()), SCRATCH);
    }

    #[test]
    fn the_pool_is_bounded_in_number_and_size() {
        for _ in 0..2 * POOLED {
            give(Vec::with_capacity(SMALLEST));
        }
        give(Vec::with_capacity(LARGEST_POOLED + 1));
        give(Vec::new());
        POOL.with(|pool| {
            assert_eq!(pool.borrow().len(), POOLED);
            assert!(
                pool.borrow().iter().all(|buffer| (SMALLEST..=LARGEST_POOLED).contains(&buffer.capacity()))
            );
        });
    }

    #[test]
    fn buffers_come_back_empty() {
        give(vec![7; SMALLEST]);
        let buffer = take();
        assert!(buffer.is_empty() && buffer.capacity() >= SMALLEST);
    }
}
